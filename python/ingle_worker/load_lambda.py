"""Handlers of AWS Lambda: one function, named as `module.function`, that takes an event and a context.

What the handler sees is what AWS's own runtime shows it (facts of the Lambda runtime, sections 1.3 and 1.7). That is not needed
here: a worker of Ingle hands the event over itself.
"""

import asyncio
import importlib
import inspect
import json
import os
import re
import sys
import time
import uuid

from . import lambda_logs, load_chalice, problems, segments, web
from .convert import encode_bytes, encode_text
from .lambda_context import LambdaContext, standing
from .load import where
from .plan import Plan, is_async

_STREAM = "AWS_LAMBDA_LOG_STREAM_NAME"
_TRACE = "_X_AMZN_TRACE_ID"
# Of W3C's `tracestate`: functions that an event caused by this one has passed through.
_HOPS = re.compile(r"(?:^|,)\s*ingle=(\d+)")
# From these on text goes out as it is, and not as \u escapes.
_PLAIN_TEXT_SINCE = (3, 12)


def load(root, request, loaded):
    """Imports the module of each handler."""
    os.register_at_fork(after_in_child=_name_stream)
    _name_stream()
    lambda_logs.install()
    segments.open_port()
    asyncio.set_event_loop_policy(_LoopInEachThread())
    # A module may run a loop of its own while it is imported: on AWS none runs then.
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        for function in request.get("functions") or ():
            _load_function(root, function, loaded)
    finally:
        asyncio._set_running_loop(running)


class _LoopInEachThread(asyncio.DefaultEventLoopPolicy):
    """Makes an event loop for whoever asks for one, as Python does in the main thread, where AWS runs handlers."""

    def get_event_loop(self):
        try:
            return super().get_event_loop()
        except RuntimeError:
            self.set_event_loop(self.new_event_loop())
            return super().get_event_loop()


def _name_stream():
    # Each execution environment logs to a stream of its own.
    os.environ[_STREAM] = "%s/[$LATEST]%s" % (time.strftime("%Y/%m/%d", time.gmtime()), uuid.uuid4().hex)


def import_target(root, function, loaded):
    """What `entry_point` names, in a tuple; None if it can't be had, which is reported."""
    name, script_file = function["name"], function["script_file"]
    module_name, handler = function["entry_point"].rsplit(".", 1)
    module_name = module_name.replace("/", ".")
    if not os.path.isfile(os.path.join(root, script_file)):
        loaded.report("E0213", "the handler's file %s does not exist" % script_file, function=name, file=script_file,
                      fix="create it, or name another: in the project's file, or with --handler module.function")
        return None
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:
        loaded.problems.append(problems.import_failed(error, name, script_file))
        return None
    target = getattr(module, handler, None)
    if not callable(target):
        what = "has no function '%s'" % handler if target is None else "has a '%s' that can't be called" % handler
        loaded.report("E0212", "%s %s" % (script_file, what), function=name, file=script_file, line=1,
                      fix="define it, or name another: in the project's file, or with --handler module.function")
        return None
    return (target,)


def _load_function(root, function, loaded):
    if function["bindings"][0].get("runtime"):
        # Imported here, as most functions need nothing of it.
        from . import load_runtime
        load_runtime.load_function(root, function, loaded)
        return
    found = import_target(root, function, loaded)
    if found is None:
        return
    target = found[0]
    name, script_file = function["name"], function["script_file"]
    handler = function["entry_point"].rsplit(".", 1)[1]
    if web.is_certain(target):
        # The server makes a web app of it, and loads it as one.
        from .load_web import declaration
        loaded.functions.append(declaration(function, script_file, None))
        return
    if is_async(target):
        loaded.report("E0214", "the handler %s is a coroutine function, which Lambda calls and does not await" % handler,
                      function=name, file=script_file, line=where(target)[1],
                      fix="declare it with def, and use asyncio.run() in it")
        return
    file, line = where(target)
    bindings = function["bindings"]
    if load_chalice.is_app(target):
        # Its class is where its calls go, and no place of the app's.
        file, line = script_file, None
        bindings = [dict(bindings[0], chalice=load_chalice.declared(target))]
    loaded.functions.append({
        "name": name,
        "directory": "",
        "script_file": script_file,
        "entry_point": handler,
        "bindings": bindings,
        "is_async": False,
        "file": file or script_file,
        "line": line,
    })
    settings = function["bindings"][0]
    plan = _plan(name, target, root, settings)
    if settings.get("extensions"):
        from . import load_runtime
        load_runtime.beside(plan, root, settings, loaded)
    loaded.plans[name] = plan


def _plan(name, handler, root, settings):
    if settings.get("takes_fewer_arguments"):
        handler = _with_both(handler)

    def call(event, context):
        # By position, so that a handler may name its parameters as it likes.
        result = handler(event, context)
        if hasattr(type(result), "__await__"):
            if hasattr(result, "close"):
                result.close()
            raise MarshalError("Unable to marshal response: Object of type %s is not JSON serializable" % (
                type(result).__name__))
        return result

    plan = Plan(name, call, root)
    timeout = settings["timeout_seconds"]
    plan.decoders = {"event": _decode_event, "context": _context_decoder(settings, timeout)}
    plan.inputs = ("event", "context")
    plan.returned = encode_result
    return plan


def _with_both(handler):
    """A function that may take the event alone, or nothing, as one that takes both."""
    for count in (2, 1, 0):
        try:
            inspect.signature(handler).bind(*range(count))
        except TypeError:
            continue
        except ValueError:
            # What is built in may have no signature to look at.
            break
        return lambda event, context: handler(*(event, context)[:count])
    return handler


def _decode_event(kind, value, payload, header):
    try:
        return json.loads(payload)
    except ValueError as error:
        raise UnmarshalError("Unable to unmarshal input: %s" % error) from None


def trace_header(trace, identity):
    """`traceparent` of W3C as X-Ray writes it; None without one. What the function traces is part of this call, whose segment has
    an id of its own (`types::spans::segment_id`)."""
    parts = trace[0].split("-") if trace else ()
    if len(parts) == 4 and len(parts[1]) == 32:
        text = "Root=1-%s-%s;Parent=%s;Sampled=%d" % (
            parts[1][:8], parts[1][8:], identity.replace("-", "")[-16:], parts[3].endswith("1"))
        # AWS's clients send it along, so that a chain of functions that never ends is seen.
        hops = _HOPS.search(trace[1] or "") if len(trace) > 1 else None
        return "%s;Lineage=1:696e676c:%s" % (text, hops.group(1)) if hops else text
    return None


def _set_trace(trace, identity):
    """Puts it where X-Ray's SDK looks for it."""
    header = trace_header(trace, identity)
    if header is not None:
        os.environ[_TRACE] = header
    else:
        os.environ.pop(_TRACE, None)


def _context_decoder(settings, timeout):
    known = {}

    def decode(kind, value, payload, header):
        if not known:
            # With the first call, as each process that is forked logs to a stream of its own.
            known.update(standing(settings["arn"]))
        _set_trace(header.get("trace"), header["id"])
        return LambdaContext(header["id"], known, time.time() + timeout, header["metadata"].get("client_context"))

    return decode


class UnmarshalError(Exception):
    """AWS's `Runtime.UnmarshalError`: the event is no JSON."""


class MarshalError(Exception):
    """AWS's `Runtime.MarshalError`: what the handler returned can't be written as JSON."""


UnmarshalError.__name__ = "Runtime.UnmarshalError"
MarshalError.__name__ = "Runtime.MarshalError"


# Stands on both sides of a number that is to be written as it is.
_MARK = uuid.uuid4().hex
_MARKED = re.compile('"%s([^"]*)%s"' % (_MARK, _MARK))


def _default(value):
    # Not imported here, as that takes longer than most handlers.
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return float("nan") if value.is_nan() else _MARK + str(value) + _MARK
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


_ENCODER = json.JSONEncoder(ensure_ascii=sys.version_info < _PLAIN_TEXT_SINCE, default=_default)


def encode_result(value):
    """What the handler returned, as JSON text; bytes as they are."""
    if isinstance(value, bytes):
        return encode_bytes(value)
    try:
        text = _ENCODER.encode(value)
        if _MARK in text:
            text = _MARKED.sub(r"\1", text)
        return encode_text("json", text)
    except (TypeError, ValueError, RecursionError) as error:
        raise MarshalError("Unable to marshal response: %s" % error) from None
