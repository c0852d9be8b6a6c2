"""The Runtime API of one worker: a runtime that is a program gets its events here, and leaves its answers.

Wire format: "Runtime API" of the AWS Lambda developer guide, version 2018-06-01, with the states and errors of AWS's own runtime
interface emulator (facts of Lambda, sections 1.1 to 1.5 and 1.11). One thread has the sockets, the program and its output; the
thread of a lane hands a call over and waits for what becomes of it.
"""

import atexit
import collections
import json
import os
import queue
import re
import selectors
import signal
import socket
import subprocess
import threading
import time

from . import crash, errors, logs
from .frames import clean
from .relay_http import Server

# Largest event and result, in bytes (facts of Lambda, section 1.2).
PAYLOAD_BYTES_MAX = 6_291_556
_VERSION = "/2018-06-01"
_NEXT = _VERSION + "/runtime/invocation/next"
_INIT_ERROR = _VERSION + "/runtime/init/error"
_PING = _VERSION + "/ping"
_ANSWER = re.compile(_VERSION + r"/runtime/invocation/([^/]+)/(response|error)")
_ERROR_TYPE = "lambda-runtime-function-error-type"
_ERROR_BODY = "lambda-runtime-function-error-body"
_MODE = "lambda-runtime-function-response-mode"
_KNOWN_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")
# The longest line that is kept together.
_LINE_BYTES_MAX = 64 * 1024
_PIPE_BYTES = 64 * 1024
# Turns of the loop after the end of a program in which what it has sent before is still read.
_LAST_TURNS_MAX = 1000

# States of a runtime, as errors name them.
STARTED, READY, RUNNING, ANSWERED = "Started", "Ready", "Running", "InvocationResponse"


class Failed(errors.Told):
    """What became of an event, with the `error` of its `done` frame."""


class Call:
    """An event on its way. Attributes: the id of its invocation, the event's bytes, headers for the runtime, deadline."""

    __slots__ = ("id", "payload", "headers", "deadline_ms", "trace", "told")

    def __init__(self, identity, payload, headers, deadline_ms, trace):
        self.id = identity
        self.payload = payload
        self.headers = headers
        self.deadline_ms = deadline_ms
        self.trace = trace
        # ("line", text), and at last ("answer", (content type, bytes)) or ("failed", error).
        self.told = queue.SimpleQueue()


class Relay:
    """Stands between a worker and a runtime. `command`: words of the program; `folder`: where it runs."""

    def __init__(self, command, folder):
        self._command = command
        self._folder = folder
        self._lock = threading.Lock()
        self._inbox = collections.deque()
        self._wake = None
        self._selector = None
        self._server = None
        self._program = None
        self._state = STARTED
        # The connection on which the runtime waits for an event.
        self._waiting = None
        self._call = None
        # Why there is no runtime; told to the next call.
        self._failure = None

    # === From other threads ===

    def start(self):
        """Starts the runtime, so that it is ready when an event comes. In a process that serves."""
        with self._lock:
            if self._wake is not None:
                return
            wake, self._wake = socket.socketpair()
            self._wake.setblocking(False)
            wake.setblocking(False)
            atexit.register(self.stop)
            threading.Thread(target=self._serve, args=(wake,), name="relay", daemon=True).start()

    def call(self, call):
        """Has an event handled. Gives content type and bytes of the answer; raises `Failed`."""
        self.start()
        self._post(self._take, call)
        while True:
            kind, value = call.told.get()
            if kind == "line":
                logs.send("stdout", "", value)
            elif kind == "answer":
                return value
            else:
                raise Failed(value)

    def stop(self):
        """Ends the runtime, at the end of the worker."""
        program = self._program
        if program is not None:
            program.end()

    def _post(self, do, *arguments):
        self._inbox.append((do, arguments))
        try:
            self._wake.send(b"\0")
        except BlockingIOError:
            # It is awake.
            pass

    # === The loop ===

    def _serve(self, wake):
        try:
            self._loop(wake)
        except BaseException:
            # A mistake of ours: nobody would ever answer again.
            logs.send("critical", "ingle_worker", "the Runtime API has failed: %s" % logs.exception_text())
            crash.leave(70)

    def _loop(self, wake):
        self._selector = selectors.DefaultSelector()
        self._server = Server(self._selector, self._handle, self._gone, PAYLOAD_BYTES_MAX)
        self._selector.register(wake, selectors.EVENT_READ, lambda _mask: wake.recv(4096))
        self._begin()
        while True:
            self._turn(None)
            while self._inbox:
                do, arguments = self._inbox.popleft()
                do(*arguments)

    def _turn(self, timeout):
        ready = self._selector.select(timeout)
        for key, mask in ready:
            key.data(mask)
        return bool(ready)

    # === The program ===

    def _begin(self):
        """Starts the runtime."""
        self._state = STARTED
        self._waiting = None
        self._failure = None
        environment = dict(os.environ, AWS_LAMBDA_RUNTIME_API=self._server.address)
        wrapper = environment.get("AWS_LAMBDA_EXEC_WRAPPER")
        command = ([wrapper] if wrapper else []) + self._command
        try:
            self._program = Program(self, command, self._folder, environment, "")
        except OSError as problem:
            self._failure = self._unstartable(command, problem)

    def _unstartable(self, command, problem):
        reason = problem.strerror or str(problem)
        message = "fork/exec %s: %s" % (command[0], reason.lower())
        return {"reason": "unstartable", "kind": "Runtime.InvalidEntrypoint", "message": message, "platform": message}

    def ended(self, program, status):
        """The program has come to its end. On the loop's thread."""
        turns = 0
        while self._turn(0) and turns < _LAST_TURNS_MAX:
            turns += 1
        program.drain(last=True)
        if program is not self._program:
            return
        self._program = None
        failure = self._failure or _exit_failure(status, self._state == STARTED)
        if self._call is None:
            # Of an end between two events nobody need be told: the next one finds a new runtime.
            self._failure = failure if self._state == STARTED else None
        elif self._state in (READY, ANSWERED):
            # It has ended behind the event before, and this one has not been dealt.
            self._begin()
            if self._failure is not None:
                self._take(self._call)
        else:
            self._fail(failure)

    def said(self, program, line):
        """A line that the program has written."""
        if self._call is not None and program is self._program:
            self._call.told.put(("line", line))
        else:
            logs.send("stdout", program.name, line)

    # === Events ===

    def _take(self, call):
        self._call = call
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self._discard()
            self._fail(failure)
            return
        if self._program is None:
            self._begin()
            if self._failure is not None:
                self._take(call)
                return
        self._deal()

    def _deal(self):
        """Gives the event to the runtime, if there is one and the other waits."""
        if self._call is None or self._state != READY or self._waiting is None:
            return
        connection, self._waiting = self._waiting, None
        self._state = RUNNING
        connection.answer(200, self._call.payload, self._call.headers)
        connection.go_on()

    def _finish(self, kind, value):
        """Tells the lane. What the program has written before it answered goes first."""
        if self._program is not None:
            self._program.drain(last=True)
        call, self._call = self._call, None
        call.told.put((kind, value))

    def _fail(self, failure):
        failure = dict(failure)
        platform = failure.pop("platform", None)
        if platform is not None:
            failure["body"] = json.dumps({
                "errorType": failure["kind"], "errorMessage": "RequestId: %s Error: %s" % (self._call.id, platform)})
        self._finish("failed", failure)

    # === Requests ===

    def _gone(self, connection):
        if connection is self._waiting:
            self._waiting = None

    def _handle(self, connection, request):
        path, method = request.path, request.method
        if path == _NEXT and method == "GET":
            self._on_next(connection)
            return
        match = _ANSWER.fullmatch(path)
        if match is not None and method == "POST":
            self._on_answer(connection, request, match.group(1), match.group(2) == "error")
        elif path == _INIT_ERROR and method == "POST":
            self._on_init_error(connection, request)
        elif path == _PING and method == "GET":
            connection.answer(200, b"pong", content_type="text/plain; charset=utf-8")
        elif path in (_NEXT, _INIT_ERROR, _PING) or match is not None:
            connection.answer(405, b"405 method not allowed\n", content_type="text/plain")
        else:
            connection.answer(404, b"404 page not found\n", content_type="text/plain")

    def _refuse_state(self, connection, wanted):
        connection.refuse(403, "InvalidStateTransition", "State transition from %s to %s failed for runtime. Error: State "
                          "transition is not allowed" % (self._state, wanted))

    def _on_next(self, connection):
        if self._state == RUNNING:
            self._refuse_state(connection, READY)
            return
        self._state = READY
        self._waiting = connection
        self._deal()

    def _on_answer(self, connection, request, identity, is_error):
        if self._state in (STARTED, READY):
            self._refuse_state(connection, "InvocationErrorResponse" if is_error else "InvocationResponse")
        elif self._state != RUNNING or self._call is None or identity != self._call.id:
            connection.refuse(400, "InvalidRequestID", "Invalid request ID")
        elif request.headers.get(_MODE, "streaming").lower() != "streaming":
            connection.refuse(400, "InvalidFunctionResponseMode", "Invalid response mode: %s" % request.headers[_MODE])
        elif request.is_too_large:
            connection.refuse(413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (%d bytes)." % PAYLOAD_BYTES_MAX)
            self._state = ANSWERED
            self._fail({"reason": "too_large", "kind": "Function.ResponseSizeTooLarge",
                        "message": "the answer has %d bytes" % request.size})
        else:
            self._state = ANSWERED
            if is_error or _ERROR_TYPE in request.trailers:
                failure = _told_failure(request)
                self._acknowledge(connection)
                self._fail(failure)
            else:
                self._acknowledge(connection)
                self._finish("answer", (request.headers.get("content-type", ""), request.body))

    def _acknowledge(self, connection):
        connection.answer(202, b'{"status":"OK"}\n')

    def _on_init_error(self, connection, request):
        if self._state != STARTED:
            self._refuse_state(connection, "InitError")
            return
        self._acknowledge(connection)
        failure = dict(_told_failure(request), reason="init")
        if self._call is not None:
            self._fail(failure)
            # It says so and ends; what comes next is for a new one.
            self._discard()
        else:
            self._failure = failure

    def _discard(self):
        """Ends the runtime; the next event gets a new one."""
        program, self._program = self._program, None
        if program is not None:
            program.end()


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
        relay._selector.register(self._output, selectors.EVENT_READ, lambda _mask: self.drain())
        threading.Thread(target=self._wait, name="relay-wait", daemon=True).start()

    def _wait(self):
        status = self._process.wait()
        self._relay._post(self._relay.ended, self, status)

    def drain(self, last=False):
        """Takes what it has written; at the `last` also the line that has no end yet."""
        while self._output is not None:
            try:
                data = os.read(self._output, _PIPE_BYTES)
            except BlockingIOError:
                break
            if not data:
                self._relay._selector.unregister(self._output)
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


def _exit_failure(status, in_init):
    """Of a program that ended: what AWS's platform says then is made by the server."""
    if status < 0:
        message, how = "the runtime was ended by signal %d" % -status, {"signal": -status}
    else:
        message, how = "the runtime exited with status %d" % status, {"status": status}
    if in_init:
        message += " before it was ready"
    return {"reason": "init" if in_init else "exited", "kind": "Runtime.ExitError", "message": message, "exit": how}


def _told_failure(request):
    """What a runtime says of a failure: in a body of its own, or in the trailers of an answer that broke off."""
    body = request.body
    kind = request.headers.get(_ERROR_TYPE, "")
    if _ERROR_TYPE in request.trailers:
        import base64

        kind = request.trailers[_ERROR_TYPE]
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


def now_ms():
    return int(time.time() * 1000)
