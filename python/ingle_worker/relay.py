"""The Runtime API of one worker: a runtime that is a program gets its events here, and leaves its answers.

Wire format: "Runtime API" of the AWS Lambda developer guide, version 2018-06-01, with the states and errors of AWS's own runtime
interface emulator (facts of Lambda, sections 1.1 to 1.5 and 1.11). One thread has the sockets, the program and its output; the
thread of a lane hands a call over and waits for what becomes of it.
"""

import atexit
import collections
import heapq
import itertools
import json
import os
import re
import selectors
import signal
import socket
import threading
import time

from . import crash, logs
from .relay_call import Failed
from .relay_extensions import SHUTDOWN_SECONDS, Extensions
from .relay_http import Server
from .relay_program import ERROR_TYPE, Program, exit_failure, told_failure
from .relay_stream import STREAMED_BYTES_MAX, Stream

# Largest event and result, in bytes (facts of Lambda, section 1.2).
PAYLOAD_BYTES_MAX = 6_291_556
_VERSION = "/2018-06-01"
_NEXT = _VERSION + "/runtime/invocation/next"
_INIT_ERROR = _VERSION + "/runtime/init/error"
_PING = _VERSION + "/ping"
_ANSWER = re.compile(_VERSION + r"/runtime/invocation/([^/]+)/(response|error)")
_MODE = "lambda-runtime-function-response-mode"
# Turns of the loop after the end of a program in which what it has sent before is still read.
_LAST_TURNS_MAX = 1000

# What of the time that an environment has for its end is the runtime's.
_PART_OF_RUNTIME = 0.3
# How long a runtime may take to end that has said that it can't go on.
_END_SECONDS = 2
# How long after the end of a connection in the middle of an answer it is known whether the runtime itself has ended.
_BREAK_SECONDS = 0.2

# What an environment is.
DOWN, STARTING, UP, ENDING = "down", "starting", "up", "ending"
# States of a runtime, as errors name them.
STARTED, READY, RUNNING, ANSWERED = "Started", "Ready", "Running", "InvocationResponse"


_numbers = itertools.count()


class Relay:
    """Stands between a worker and an environment: a runtime, extensions, or both.

    `command`: words of the runtime's program, None if the worker itself runs the function; `folder`: where it runs; `settings`: of the
    function.
    """

    def __init__(self, command, folder, settings):
        self._command = command
        self._folder = folder
        self._settings = settings
        self._lock = threading.Lock()
        self._inbox = collections.deque()
        self._timers = []
        self._wake = None
        self.selector = None
        self._server = None
        self._extensions = None
        self._program = None
        self._phase = DOWN
        self._state = STARTED
        # The connection on which the runtime waits for an event.
        self._waiting = None
        self._call = None
        # The answer in pieces that the runtime is giving.
        self._stream = None
        # The event that was dealt last, and when.
        self._in_work = None
        self._dealt_at = 0.0
        # That of the loop.
        self._thread = None
        # Why there is no environment; told to the next call.
        self._failure = None
        self._is_stopped = threading.Event()

    # === From other threads ===

    def start(self):
        """Starts the environment, so that it is ready when an event comes. In a process that serves."""
        with self._lock:
            if self._wake is not None:
                return
            wake, self._wake = socket.socketpair()
            self._wake.setblocking(False)
            wake.setblocking(False)
            atexit.register(self.stop)
            threading.Thread(target=self._serve, args=(wake,), name="relay", daemon=True).start()

    def call(self, call):
        """Has an event handled. Gives content type and bytes of the answer, None if it was sent in pieces; raises `Failed`.

        Where the worker itself runs the function: gives None when extensions know of the event, and wants `over` to be called.
        """
        self.start()
        self.post(self._take, call)
        while True:
            kind, value = call.told.get()
            if kind == "line":
                logs.send("stdout", "", value)
            elif kind == "begun":
                call.begin()
            elif kind == "head":
                call.sender.begin(value)
            elif kind == "pieces":
                content, was_full = value.give()
                call.sender.send(content)
                if was_full:
                    self.post(value.go_on)
            elif kind == "failed":
                raise Failed(value)
            else:
                return value

    def over(self, status):
        """The worker has run the function: `success` or `error`."""
        self.post(self._on_over, status)

    def heard(self, line):
        """The function has said something, in the worker."""
        # What extensions say is said by the thread of the loop, which has told of it.
        if threading.get_ident() != self._thread and self._extensions is not None and self._extensions.telemetry.is_wanted:
            self.post(self._on_heard, line)

    def stop(self):
        """Ends the environment, at the end of the worker."""
        self.post(self._on_stop)
        self._is_stopped.wait(SHUTDOWN_SECONDS + 1)

    def expire(self):
        """The time of the event in work is over: ends the environment, and then the process."""
        self.post(self._on_expire)

    def post(self, do, *arguments):
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
        self._thread = threading.get_ident()
        self.selector = selectors.DefaultSelector()
        self._server = Server(self.selector, self._handle, self._gone, PAYLOAD_BYTES_MAX, self._opened)
        self.selector.register(wake, selectors.EVENT_READ, lambda _mask: wake.recv(4096))
        self._begin()
        while True:
            self._turn(max(self._timers[0][0] - time.monotonic(), 0) if self._timers else None)
            while self._inbox:
                do, arguments = self._inbox.popleft()
                do(*arguments)
            while self._timers and self._timers[0][0] <= time.monotonic():
                _, _, do, arguments = heapq.heappop(self._timers)
                do(*arguments)

    def _turn(self, timeout):
        ready = self.selector.select(timeout)
        for key, mask in ready:
            key.data(mask)
        return bool(ready)

    def after(self, seconds, do, *arguments):
        # The second is never the same, so nothing behind it is compared.
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(_numbers), do, arguments))

    # === The environment ===

    def _begin(self):
        """Starts extensions, and behind them the runtime."""
        self._phase = STARTING
        self._state = STARTED
        self._waiting = None
        self._failure = None
        environment = dict(os.environ, AWS_LAMBDA_RUNTIME_API=self._server.address)
        self._extensions = Extensions(self, self._settings)
        failure = self._extensions.start(environment)
        if failure is not None:
            self.fail_environment(failure)
        else:
            self.registered()

    def registered(self):
        """An extension has come. When all are there, the runtime starts; when that is ready, the first event is dealt."""
        if self._phase == STARTING and not self._extensions.awaits_registration():
            self._phase = UP
            self._begin_runtime()
        if self._phase == UP and self._command is None and self._state == STARTED and self._extensions.are_ready():
            self._on_ready()
        self._deal()

    def _begin_runtime(self):
        self._extensions.telemetry.platform("initStart", {"initializationType": "on-demand", "phase": "init"})
        if self._command is None:
            return
        environment = dict(os.environ, AWS_LAMBDA_RUNTIME_API=self._server.address)
        wrapper = environment.get("AWS_LAMBDA_EXEC_WRAPPER")
        command = ([wrapper] if wrapper else []) + self._command
        try:
            self._program = self.run(command, self._folder, environment, "")
        except OSError as problem:
            message = "fork/exec %s: %s" % (command[0], (problem.strerror or str(problem)).lower())
            self.fail_environment({"reason": "unstartable", "kind": "Runtime.InvalidEntrypoint", "message": message,
                                   "platform": message})

    def run(self, command, folder, environment, name):
        return Program(self, command, folder, environment, name)

    def _on_ready(self):
        if self._state == STARTED:
            self._extensions.close()
            self._extensions.telemetry.platform("initRuntimeDone", {"initializationType": "on-demand", "status": "success"})
        self._state = READY

    def fail_environment(self, failure):
        """It can't go on: the event in work hears of it, or, if there has been none yet, the next one."""
        if self._phase == ENDING:
            return
        if self._call is not None:
            self._fail(failure)
        elif self._state == STARTED:
            self._failure = failure
        self._tear_down("failure")

    def _tear_down(self, reason):
        """Ends it in order: the runtime, then extensions, which are told `reason`."""
        if self._phase in (DOWN, ENDING):
            return
        self._phase = ENDING
        self._reason = reason
        program = self._program
        if program is not None and self._extensions.count:
            program.end(signal.SIGTERM)
            self.after(SHUTDOWN_SECONDS * _PART_OF_RUNTIME, program.end)
            return
        if program is not None:
            self._program = None
            program.end()
        self._extensions.shut_down(reason)

    def down(self):
        """Nothing of it is left."""
        self._phase = DOWN
        if self._call is not None:
            self._take(self._call)

    def _on_stop(self):
        self.down = self._is_stopped.set
        if self._phase == DOWN:
            self._is_stopped.set()
        self._tear_down("spindown")

    def _on_expire(self):
        # Nobody waits for its answer.
        self._call = None
        self.down = lambda: crash.leave(0)
        if self._phase == DOWN:
            self.down()
        self._tear_down("timeout")

    def ended(self, program, status):
        """A program has come to its end. On the loop's thread."""
        turns = 0
        while self._turn(0) and turns < _LAST_TURNS_MAX:
            turns += 1
        program.drain(last=True)
        if program.name:
            failure = self._extensions.ended(program, status)
            if failure is not None:
                self.fail_environment(failure)
            return
        if program is not self._program:
            return
        self._program = None
        if self._phase == ENDING:
            self._extensions.shut_down(self._reason)
            return
        failure = self._failure or exit_failure(status, self._state == STARTED)
        if self._call is not None and self._state not in (READY, ANSWERED):
            self._fail(failure)
            failure = None
        # Of an end between two events nobody need be told: the next one finds a new environment.
        self._failure = failure if self._state == STARTED else None
        self._tear_down("failure")

    def said(self, program, line):
        """A line that a program has written."""
        self._extensions.telemetry.line(line, bool(program.name))
        if self._call is not None and program is self._program:
            self._call.told.put(("line", line))
        else:
            logs.send("stdout", program.name, line)

    # === Events ===

    def _take(self, call):
        self._call = call
        if self._phase in (DOWN, ENDING) and self._failure is not None:
            failure, self._failure = self._failure, None
            self._fail(failure)
            return
        if self._phase == DOWN:
            self._begin()
        self._deal()

    def _deal(self):
        """Gives the event to all who wait for it, if all do."""
        is_there = self._state == READY and (self._waiting is not None or self._command is None)
        if self._call is None or self._phase != UP or not is_there or not self._extensions.are_ready():
            return
        self._state = RUNNING
        call = self._in_work = self._call
        self._dealt_at = time.monotonic()
        call.deadline_ms = int(time.time() * 1000) + call.time_ms
        call.told.put(("begun", None))
        self._extensions.invoke(call, self._settings["arn"])
        self._extensions.telemetry.platform("start", {"requestId": call.id, "version": "$LATEST"})
        if self._command is None:
            self._call = None
            call.told.put(("go", None))
            return
        connection, self._waiting = self._waiting, None
        connection.answer(200, call.payload, call.headers + [("Lambda-Runtime-Deadline-Ms", str(call.deadline_ms))])
        connection.go_on()

    def _on_heard(self, line):
        self._extensions.telemetry.line(line.rstrip("\n"), False)

    def _on_over(self, status):
        if self._state == RUNNING:
            self._state = READY
            self._report(self._in_work, status, 0)

    def _report(self, call, status, size):
        """Tells extensions how the event went."""
        if call is not None:
            self._extensions.telemetry.report(call.id, status, time.monotonic() - self._dealt_at, size)

    def _finish(self, kind, value):
        """Tells the lane. What the program has written before it answered goes first."""
        if self._program is not None:
            self._program.drain(last=True)
        call, self._call = self._call, None
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.end()
        call.told.put((kind, value))
        if kind == "failed":
            self._report(self._in_work, "failure" if "exit" in value else "error", 0)
        else:
            self._report(self._in_work, "success", len(value[1]) if stream is None else stream.size)
        self._in_work = None

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
        if self._stream is not None and connection is self._stream.connection:
            self.after(_BREAK_SECONDS, self._on_break, self._stream)
        self._extensions.gone(connection)

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
        elif not self._extensions.handle(connection, request):
            connection.answer(404, b"404 page not found\n", content_type="text/plain")

    def _refuse_state(self, connection, wanted):
        connection.refuse(403, "InvalidStateTransition", "State transition from %s to %s failed for runtime. Error: State "
                          "transition is not allowed" % (self._state, wanted))

    def _on_next(self, connection):
        if self._stream is not None and not self._stream.connection.is_open:
            # It has given its answer up, and goes on.
            self._on_break(self._stream)
        if self._state == RUNNING or self._command is None:
            self._refuse_state(connection, READY)
            return
        self._on_ready()
        self._waiting = connection
        self._deal()

    def _opened(self, connection, request):
        """An answer in pieces goes on as it comes, if the caller takes it so."""
        match = _ANSWER.fullmatch(request.path)
        is_streamed = request.headers.get(_MODE, "").lower() == "streaming"
        if not is_streamed or match is None or match.group(2) == "error" or request.method != "POST":
            return None
        if not self._awaits(match.group(1)) or self._call.sender is None:
            return None
        self._stream = Stream(self._call, connection, self._on_too_much)
        self._call.told.put(("head", request.headers.get("content-type", "")))
        return self._stream

    def _awaits(self, identity):
        is_given = self._stream is not None and self._stream.connection.is_open
        return self._state == RUNNING and self._call is not None and identity == self._call.id and not is_given

    def _on_answer(self, connection, request, identity, is_error):
        if self._state in (STARTED, READY):
            self._refuse_state(connection, "InvocationErrorResponse" if is_error else "InvocationResponse")
        elif request.stream is not None and request.is_too_large:
            # The event has failed with the piece that was too much.
            _refuse_size(connection, STREAMED_BYTES_MAX)
        elif request.stream is not self._stream if request.stream is not None else not self._awaits(identity):
            connection.refuse(400, "InvalidRequestID", "Invalid request ID")
        elif request.headers.get(_MODE, "streaming").lower() != "streaming":
            connection.refuse(400, "InvalidFunctionResponseMode", "Invalid response mode: %s" % request.headers[_MODE])
        elif request.is_too_large:
            _refuse_size(connection, PAYLOAD_BYTES_MAX)
            self._fail_size(request.size, PAYLOAD_BYTES_MAX)
        else:
            self._state = ANSWERED
            self._acknowledge(connection)
            if is_error or ERROR_TYPE in request.trailers:
                self._fail(told_failure(request))
            elif request.stream is not None:
                self._finish("streamed", None)
            else:
                self._finish("answer", (request.headers.get("content-type", ""), request.body))

    def _on_too_much(self, stream):
        self._fail_size(stream.size, STREAMED_BYTES_MAX)

    def _fail_size(self, size, most):
        self._state = ANSWERED
        message = "the function gave back %d bytes, more than the %d that it may" % (size, most)
        self._fail({"reason": "too_large", "kind": "Function.ResponseSizeTooLarge", "message": message})

    def _on_break(self, stream):
        """The connection ended in the middle of an answer, and the runtime did not."""
        if self._stream is stream:
            self._state = ANSWERED
            message = "the runtime broke its answer off after %d bytes" % stream.size
            self._fail({"reason": "raised", "kind": "Runtime.TruncatedResponse", "message": message, "body": json.dumps(
                {"errorType": "Runtime.TruncatedResponse", "errorMessage": message})})

    def _acknowledge(self, connection):
        connection.answer(202, b'{"status":"OK"}\n')

    def _on_init_error(self, connection, request):
        if self._state != STARTED or self._phase != UP:
            self._refuse_state(connection, "InitError")
            return
        self._acknowledge(connection)
        # It is about to end, and may have more to write; who does not is ended.
        self._failure = dict(told_failure(request), reason="init")
        if self._program is not None:
            self.after(_END_SECONDS, self._program.end)


def _refuse_size(connection, most):
    connection.refuse(413, "RequestEntityTooLarge", "Exceeded maximum allowed payload size (%d bytes)." % most)
