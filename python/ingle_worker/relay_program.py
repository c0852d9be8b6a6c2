"""Programs of an environment, what they write, and what is told of their ends and failures."""

import base64
import json
import os
import re
import selectors
import signal
import subprocess
import threading

from . import errors
from .frames import clean

ERROR_TYPE = "lambda-runtime-function-error-type"
_ERROR_BODY = "lambda-runtime-function-error-body"
_KNOWN_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")
# The longest line that is kept together.
_LINE_BYTES_MAX = 64 * 1024
_PIPE_BYTES = 64 * 1024


class Program:
    """A process of the runtime or an extension, with what it writes. Raises `OSError` if it can't be started."""

    def __init__(self, relay, command, folder, environment, name):
        self.name = name
        self._relay = relay
        self._line = bytearray()
        self._output, written = os.pipe()
        try:
            # Both in one pipe: so their lines stay in order.
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=written, stderr=written, cwd=folder,
                                             env=environment)
        except BaseException:
            os.close(self._output)
            raise
        finally:
            os.close(written)
        os.set_blocking(self._output, False)
        relay.selector.register(self._output, selectors.EVENT_READ, lambda _mask: self.drain())
        threading.Thread(target=self._wait, name="relay-wait", daemon=True).start()

    def _wait(self):
        status = self._process.wait()
        self._relay.post(self._relay.ended, self, status)

    def drain(self, last=False):
        """Takes what it has written; at the `last` also the line that has no end yet."""
        while self._output is not None:
            try:
                data = os.read(self._output, _PIPE_BYTES)
            except BlockingIOError:
                break
            if not data:
                self._relay.selector.unregister(self._output)
                os.close(self._output)
                self._output = None
                break
            self._take(data)
            if not last:
                break
        if last and self._line:
            self._take(b"\n")

    def _take(self, data):
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._say(bytes(self._line) + line)
            self._line.clear()
        self._line += rest
        if len(self._line) > _LINE_BYTES_MAX:
            self._say(bytes(self._line))
            self._line.clear()

    def _say(self, line):
        self._relay.said(self, line.decode("utf-8", "backslashreplace"))

    def end(self, number=signal.SIGKILL):
        self._process.send_signal(number)


def exit_failure(status, in_init):
    """Of a program that ended: what AWS's platform says then is made by the server."""
    if status < 0:
        message, how = "the runtime was ended by signal %d" % -status, {"signal": -status}
    else:
        message, how = "the runtime exited with status %d" % status, {"status": status}
    if in_init:
        message += " before it was ready"
    return {"reason": "init" if in_init else "exited", "kind": "Runtime.ExitError", "message": message, "exit": how}


def told_failure(request):
    """What a runtime says of a failure: in a body of its own, or in the trailers of an answer that broke off."""
    body = request.body
    kind = request.headers.get(ERROR_TYPE, "")
    if ERROR_TYPE in request.trailers:
        kind = request.trailers[ERROR_TYPE]
        try:
            body = base64.b64decode(request.trailers.get(_ERROR_BODY, ""))
        except ValueError:
            body = b""
    text = body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        told = {}
    stack = told.get("stackTrace", told.get("trace"))
    frames = [frame for frame in stack if isinstance(frame, str)] if isinstance(stack, list) else []
    kind = str(told.get("errorType") or _known_type(kind))
    message = str(told.get("errorMessage") or "")
    if not told:
        text = json.dumps({"errorType": kind, "errorMessage": message})
    return {"reason": "raised", "kind": clean(kind), "message": errors.shorten(clean(message)), "body": text,
            "traceback": _traceback(frames, kind, message), "location": _location(frames)}


def _known_type(kind):
    """As AWS's platform lets it through."""
    if _KNOWN_TYPE.fullmatch(kind):
        return kind
    return "Function.Unknown" if kind.startswith("Function.") else "Runtime.Unknown"


def _traceback(frames, kind, message):
    if not frames:
        return ""
    lines = "".join(frame if frame.endswith("\n") else frame + "\n" for frame in frames)
    return errors.shorten(clean("Traceback (most recent call last):\n%s%s: %s\n" % (lines, kind, message)))


def _location(frames):
    """File and line of the innermost frame of Python in the app."""
    for frame in reversed(frames):
        match = re.search(r'File "([^"]+)", line (\d+)', frame)
        relative = match and errors.FOLDING.relative(match.group(1))
        if relative:
            return "%s:%s" % (relative, match.group(2))
    return None
