"""The worker's own sockets in the hands of its functions: frames that no worker sends."""

import json
import os
import struct

from trying import worker_module


def _own():
    invocation = worker_module("context").CURRENT.get()
    return invocation, invocation.channel.socket


def _frame(header, body=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<II", len(header), len(body) if length is None else length) + header + body


def _control():
    """The control socket: the one that is neither a lane's nor a pair of the event loop."""
    import gc
    import socket

    own = _own()[1].fileno()
    for candidate in gc.get_objects():
        if type(candidate).__name__ == "Worker" and hasattr(candidate, "_connected"):
            return candidate._connected
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number == 3 and number != own:
            return socket.socket(fileno=os.dup(number))
    raise LookupError("no control socket")


NONSENSE = {
    "no_json": b"\x04\x00\x00\x00\x00\x00\x00\x00nope",
    "huge_header": struct.pack("<II", 0xFFFFFFFF, 0),
    "huge_body": struct.pack("<II", 2, 0xFFFFFFFF) + b"{}",
    "no_type": _frame({"id": "x"}),
    "unknown_type": _frame({"type": "launch"}),
    "deep": _frame(b"[" * 100_000),
    "forked": _frame({"type": "forked", "pid": 1, "problem": None}),
    "reaped": _frame({"type": "reaped", "pid": 1, "status": 0}),
    "loaded": _frame({"type": "loaded", "functions": [{"name": "../../x"}], "problems": [], "sdk": None,
                      "import_ms": 1, "modules_max": []}),
    "hello": _frame({"type": "hello", "version": 1, "pid": 1, "python": "3", "executable": "/x", "thread": 1}),
    "exiting": _frame({"type": "exiting", "id": None, "status": 0}),
    "debugger": _frame({"type": "debugger", "port": 22}),
    "chunks": _frame({"type": "chunk", "id": "00000000-0000-0000-0000-000000000000"}, b"x" * 4096) * 64,
    "done_of_another": _frame({"type": "done", "id": "00000000-0000-0000-0000-000000000000", "ok": True,
                               "outputs": {}, "error": None, "user_us": 1, "cpu_us": 1}),
}


def nonsense(arguments):
    """Sends it on the lane or the control socket, then goes on as if nothing had been."""
    target = _own()[1] if arguments["socket"] == "lane" else _control()
    target.sendall(NONSENSE[arguments["kind"]])
    return {"sent": arguments["kind"]}


def descriptors(_arguments):
    """Sends the server descriptors, as many as a message takes."""
    import array
    import socket

    own = _own()[1]
    log = _frame({"type": "log", "id": None, "level": "info", "logger": "", "message": "with descriptors"})
    for _ in range(200):
        own.sendmsg([log], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 250))])
    return {"sent": 200 * 250}


def large(arguments):
    """A frame that is larger than the worker itself may be."""
    own = _own()[1]
    size = arguments["bytes"]
    own.sendall(_frame({"type": "log", "id": None, "level": "info", "logger": "", "message": ""}, length=size))
    piece = bytes(1 << 20)
    for _ in range(size >> 20):
        own.sendall(piece)
    return {"sent": size}


def answer(arguments):
    """An answer made by hand: what the gateway gets need not be what the SDK would make."""
    invocation, own = _own()
    own.sendall(_frame({
        "type": "done", "id": invocation.id, "ok": True, "outputs": {"$return": arguments["value"]}, "error": None,
        "user_us": 1, "cpu_us": 1,
    }, arguments.get("body", "").encode()))
    return {"sent": True}
