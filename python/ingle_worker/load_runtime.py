"""Functions of AWS Lambda whose runtime is a program: the `bootstrap` of a custom runtime, or AWS's own for Python.

What such a program sees is in "Building a custom runtime" of the AWS Lambda developer guide (facts of Lambda, sections 1.2, 1.6 and
1.7).
"""

import base64
import importlib.util
import json
import os
import sys

from . import logs
from .context import CURRENT
from .convert import NOTHING, encode_bytes, encode_text
from .plan import Plan
from .relay import Relay
from .relay_call import Call
from .relay_stream import Sender

RIC = "awslambdaric"
_STREAMED = "application/vnd.awslambda.http-integration-response"
_END_OF_PRELUDE = b"\0" * 8


def load_function(root, function, loaded):
    """Adds the function, or says why its runtime can't run."""
    name, settings = function["name"], function["bindings"][0]
    if settings["runtime"] == RIC:
        command = _ric(function, loaded)
    else:
        command = _bootstrap(root, function, settings["programs"], loaded)
    if command is None:
        return
    relay = Relay(command, root, settings)
    loaded.starters.append(relay.start)
    loaded.enders.append(relay.expire)
    loaded.functions.append({
        "name": name,
        "directory": "",
        "script_file": function["script_file"],
        "entry_point": function["entry_point"],
        "bindings": function["bindings"],
        "is_async": False,
        "file": function["script_file"],
        "line": None,
    })
    loaded.plans[name] = _plan(name, relay, root, settings)


def beside(plan, root, settings, loaded):
    """Lets the extensions of a function that the worker itself runs live with it, and know of its events."""
    relay = Relay(None, root, settings)

    def start():
        relay.start()
        logs.listen(relay.heard)

    loaded.starters.append(start)
    loaded.enders.append(relay.expire)
    decode, run = plan.decoders["context"], plan.function
    to_call = _context_decoder(settings)

    def decode_both(kind, value, payload, header):
        return to_call(kind, value, payload, header), decode(kind, value, payload, header)

    def call(event, context):
        make, own = context
        relay.call(make(b""))
        status = "error"
        try:
            result = run(event, own)
            status = "success"
            return result
        finally:
            relay.over(status)

    plan.decoders["context"] = decode_both
    plan.function = call
    return plan


def _ric(function, loaded):
    try:
        found = importlib.util.find_spec(RIC)
    except (ImportError, ValueError):
        found = None
    if found is None:
        loaded.report("E0247", "the app's environment has no awslambdaric, which is its runtime", function=function["name"],
                      file="ingle.toml", fix="add awslambdaric to requirements.txt, or take `runtime` out of [lambda]")
        return None
    return [sys.executable, "-m", RIC, function["entry_point"]]


def _bootstrap(root, function, programs, loaded):
    """The program, as AWS looks for it: in the code, then in the layers."""
    name = function["name"]
    for program in programs:
        if not os.path.isfile(program):
            continue
        if os.access(program, os.X_OK):
            return [program]
        shown = os.path.relpath(program, root) if program.startswith(root + os.sep) else program
        loaded.report("E0246", "%s can't be executed" % shown, function=name, file=shown, fix="chmod +x %s" % program)
        return None
    loaded.report("E0245", "there is no bootstrap, which is the runtime of the function", function=name,
                  file=function["script_file"],
                  fix="build it into the function's folder or a layer: an executable file of that name")
    return None


def _plan(name, relay, root, settings):
    def call(event, context):
        return relay.call(context(event))

    plan = Plan(name, call, root)
    plan.decoders = {"event": _raw, "context": _context_decoder(settings)}
    plan.inputs = ("event", "context")
    plan.returned = encode_answer
    return plan


def _raw(kind, value, payload, header):
    return payload


def _context_decoder(settings):
    from .load_lambda import trace_header

    def decode(kind, value, payload, header):
        time_ms = int(settings["timeout_seconds"] * 1000)
        trace = trace_header(header.get("trace"), header["id"])
        headers = [("Lambda-Runtime-Aws-Request-Id", header["id"]),
                   ("Lambda-Runtime-Invoked-Function-Arn", settings["arn"])]
        if trace is not None:
            headers.append(("Lambda-Runtime-Trace-Id", trace))
        client = header["metadata"].get("client_context")
        if client is not None:
            headers.append(("Lambda-Runtime-Client-Context", client[1]))
        invocation = CURRENT.get()
        sender = Sender(invocation) if header.get("pieces") else None

        def begin():
            invocation.channel.send(('{"type":"begun","id":"%s"}' % invocation.id).encode())

        return lambda event: Call(header["id"], event, headers, time_ms, trace, sender, begin)

    return decode


def encode_answer(answer):
    """What the runtime answered, JSON as text and anything else as bytes. None was sent in pieces."""
    if answer is None:
        return NOTHING
    content_type, body = answer
    if content_type.lower().startswith(_STREAMED):
        body = unstreamed(body)
    elif content_type and not content_type.lower().startswith("application/json"):
        return encode_bytes(body)
    try:
        return encode_text("json", body.decode())
    except UnicodeDecodeError:
        return encode_bytes(body)


def unstreamed(body):
    """The response that a prelude, eight zero bytes and a body stand for, as functions return it whole."""
    prelude, _, content = body.partition(_END_OF_PRELUDE)
    try:
        response = json.loads(prelude)
    except ValueError:
        response = None
    if not isinstance(response, dict):
        return body
    response.setdefault("statusCode", 200)
    try:
        response["body"] = content.decode()
    except UnicodeDecodeError:
        response.update(body=base64.b64encode(content).decode(), isBase64Encoded=True)
    return json.dumps(response).encode()
