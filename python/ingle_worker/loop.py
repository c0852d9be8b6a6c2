"""The life of the worker: hello, load, serve, stop. The main thread runs the event loop and the control socket."""

import asyncio
import atexit
import contextvars
import errno
import gc
import os
import select
import socket
import sys
import threading
import types

from . import crash, fork, invoke, logs, segments, spool, streaming
from .context import CURRENT, Invocation
from .frames import Channel, ControlReader, ProtocolError, adopt, to_json
from .lanes import Lane
from .load import load

VERSION = 1
_DESCRIPTOR_VARIABLE = "INGLE_WORKER_FD"
_ASGI_SHUTDOWN_SECONDS_MAX = 5
# Control socket, standard output, standard error, life line.
_DESCRIPTORS_OF_A_FORK = 4
# Cancellations that are kept for lanes that have not read their call yet.
_EARLY_CANCELS_MAX = 1000
# Longer than most first calls take, and shorter than anybody would notice that the loop is late.
_FIRST_CALL_MS = 3


def main():
    """Runs the worker until the server ends it."""
    descriptor = os.environ.pop(_DESCRIPTOR_VARIABLE, None)
    if descriptor is None or not descriptor.isdigit():
        sys.stderr.write("ingle_worker is started by Ingle, which sets %s\n" % _DESCRIPTOR_VARIABLE)
        sys.exit(2)
    connected = adopt(int(descriptor))
    # User code that looks for `__main__`, and processes that multiprocessing spawns, must not find the worker there.
    sys.modules["__main__"] = types.ModuleType("__main__")
    Worker(connected).run()


def _status_of(child):
    """Takes the exit status of a child that has ended; None if somebody else has taken it."""
    try:
        return os.waitpid(child, 0)[1]
    except OSError:
        return None


class Worker:
    """The process: its control socket, lanes, functions and event loop."""

    def __init__(self, connected):
        self._lanes = set()
        self._async_invocations = {}
        self._apps = []
        self._starters = []
        self._enders = []
        self.plans = {}
        self.loop = None
        self.base_context = None
        self.stopping = False
        # Cancelled invocations that were not in work: over, or not read by their lane yet. Oldest first.
        self.early_cancels = {}
        self._finished = False
        self._is_loaded = False
        self._control = Channel(connected)
        self._reader = ControlReader(connected)
        self._connected = connected
        # A zygote's, for its workers: their first lane, and a way to wait while it has its call.
        self._first_lane = None
        self._first_call = None
        crash.watch(connected)

    def run(self):
        """Says hello, then does what the server says: import the app, fork, serve."""
        self._hello()
        logs.install(self._control)
        crash.install(self._control)
        while True:
            header = self._wait_for_frame()
            kind = header["type"]
            if kind == "load":
                self._import(header)
                if header.get("role") != "zygote":
                    for start in self._starters:
                        start()
                    self._serve()
            elif kind == "fork":
                if self._fork(header) and self._is_loaded:
                    self._serve()
            elif kind == "reap":
                self._send({"type": "reaped", "pid": header["pid"], "status": _status_of(header["pid"])})
            elif kind == "settings":
                logs.set_debug(header["debug_logging"])
            elif kind == "stop":
                self._finish()

    def _hello(self):
        self._send({
            "type": "hello",
            "version": VERSION,
            "pid": os.getpid(),
            "python": "%d.%d.%d" % sys.version_info[:3],
            "executable": sys.executable,
            "thread": threading.get_ident(),
        })

    def _send(self, header):
        try:
            self._control.send(to_json(header))
        except OSError:
            crash.leave(0)

    def _wait_for_frame(self):
        while True:
            frame = self._reader.take()
            if frame is not None:
                return frame[0]
            if not self._reader.fill(blocking=True):
                crash.leave(0)

    def _import(self, request):
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)
        self.loop.set_exception_handler(logs.asyncio_failed)
        crash.install_signals(lambda: self.loop.call_soon_threadsafe(self._stop))
        # The app is imported with the loop running, as in Azure: clients made at import time need one.
        self.loop.call_soon(self._load, request)
        self._run_loop(until_loaded=True)

    def _load(self, request):
        is_zygote = request.get("role") == "zygote"
        logs.set_debug(request.get("debug_logging", False))
        if "debugger" in request:
            from . import debugger

            debugger.listen(request["debugger"], request["root"], self._send)
        loaded = load(request)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # A process that the import forked and that came to its end, too, has done its work.
        crash.leave_if_forked()
        self.plans = loaded.plans
        self._apps = loaded.apps
        self._starters = loaded.starters
        self._enders = loaded.enders
        self.base_context = contextvars.copy_context()
        header = loaded.header()
        if is_zygote:
            header["unsafe_to_fork"] = self._prepare_to_fork()
        # Nothing of what was imported is garbage; the collector need not look at it again, and in a zygote its marks
        # would be written into every page that the workers share.
        gc.freeze()
        self._is_loaded = True
        self._send(header)
        self.loop.stop()

    def _prepare_to_fork(self):
        fork.before_snapshot()
        # Made here, it is there in each worker.
        fork.entry()
        gc.collect()
        loop = self.loop
        # Only the object is of use: in the worker its number means another socket.
        self._first_lane = Lane(self, adopt(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach()))
        self._first_call = select.poll()
        self._first_call.register(self._connected, select.POLLIN)
        ours = (self._connected, self._first_lane.socket, loop._ssock, loop._csock, loop._selector)
        return fork.reasons_against({each.fileno() for each in ours} | segments.descriptors())

    def _fork(self, request):
        """Makes one more process, which opens its first lane at once if it gets one. True in it."""
        lane = request.get("lane")
        count = _DESCRIPTORS_OF_A_FORK + (lane is not None)
        taken = [self._reader.descriptors.popleft() for _ in range(count)]
        cell = [self._reader.descriptors.popleft() for _ in range(2)] if request.get("cell") else None
        standing = [self._connected.fileno()]
        if lane is not None:
            standing.append(self._first_lane.socket.fileno())
        try:
            child = fork.fork(taken, standing, cell, request.get("announces", False))
        except OSError as error:
            full = error.errno == errno.EAGAIN
            self._send({"type": "forked", "pid": None, "problem": str(error), "full": full})
            return False
        if child:
            self._send({"type": "forked", "pid": child, "problem": None})
            return False
        spool.SPOOL.owner = request.get("owner", 0)
        # What further forks brought that were asked for already is the parent's business.
        self._reader.empty()
        crash.settle(self._control)
        fork.reseed()
        if self._is_loaded:
            fork.after_restore()
            self._begin(lane)
        return True

    def _begin(self, lane):
        """Lets the first call of a lane have the processor. What only the event loop needs is made after that call, or
        when it takes longer than a moment, or when there is more to do."""
        for start in self._starters:
            start()
        if lane is None:
            self._first_lane.close()
        else:
            self._start_lane(self._first_lane, lane)
            self._first_call.poll(_FIRST_CALL_MS)
        self._first_lane = self._first_call = None
        fork.renew(self.loop)

    def _serve(self):
        """Runs invocations until the end of the process."""
        self.loop.add_reader(self._connected.fileno(), self._on_readable)
        segments.listen(self.loop)
        self.loop.call_soon(self._take_frames)
        self._run_loop()
        self._finish()

    def _run_loop(self, until_loaded=False):
        while not (self._is_loaded if until_loaded else self._finished):
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # A task that user code started raised it. asyncio lets it through; the worker goes on.
                crash.leave_if_forked()
                logs.send("error", "asyncio", "a task raised %s, which ends only the task" % type(error).__name__)

    def _on_readable(self):
        crash.leave_if_forked()
        try:
            alive = self._reader.fill(blocking=False)
        except OSError:
            alive = False
        if not alive:
            # The server died. Nobody waits for anything any more.
            crash.leave(0)
        self._take_frames()

    def _take_frames(self):
        try:
            while True:
                frame = self._reader.take()
                if frame is None:
                    return
                self._on_frame(*frame)
        except (ProtocolError, KeyError, TypeError, ValueError) as problem:
            logs.send("critical", "ingle_worker", "the control socket carries nonsense: %r" % (problem,))
            crash.leave(70)

    def _on_frame(self, header, body):
        kind = header["type"]
        if kind == "invoke":
            self._invoke(header, body)
        elif kind == "lane":
            self._open_lane(header["lane"], self._reader.descriptors.popleft())
        elif kind == "cancel":
            self._cancel(header["id"], header.get("interrupt", False))
        elif kind == "piece" or kind == "room":
            self._stream(header, body)
        elif kind == "stacks":
            from .stacks import stacks

            self._send({"type": "stacks", "stacks": stacks(self.in_work())})
        elif kind == "settings":
            logs.set_debug(header["debug_logging"])
        elif kind == "expire":
            for end in self._enders:
                end()
        elif kind == "stop":
            self._stop()

    def _open_lane(self, number, descriptor):
        self._start_lane(Lane(self, adopt(descriptor)), number)

    def _start_lane(self, lane, number):
        crash.watch(lane.socket)
        self._lanes.add(lane)
        lane.start(number)

    def lane_ended(self, lane):
        """Called by the lane's thread when the server has closed it."""
        self._lanes.discard(lane)
        crash.unwatch(lane.socket)
        if self.stopping:
            self.wake()

    def in_work(self):
        """The invocations in work."""
        found = [lane.invocation for lane in list(self._lanes)]
        return [invocation for invocation in found if invocation is not None] + list(self._async_invocations.values())

    def _cancel(self, identity, interrupt):
        # Before the search, so that a lane that begins meanwhile finds it: see `Lane`.
        self.early_cancels[identity] = True
        for invocation in self.in_work():
            if invocation.id == identity:
                invocation.cancel(interrupt)
                del self.early_cancels[identity]
                return
        if len(self.early_cancels) > _EARLY_CANCELS_MAX:
            del self.early_cancels[next(iter(self.early_cancels))]

    def _stream(self, header, body):
        invocation = self._async_invocations.get(header["id"])
        # It may have ended while the frame was on its way.
        if invocation is None or invocation.exchange is None:
            return
        if header["type"] == "piece":
            invocation.exchange.on_piece(body, header["end"])
        else:
            invocation.exchange.on_room(header["count"])

    def _invoke(self, header, body):
        plan = self.plans.get(header["function"])
        if plan is None or self.stopping:
            self._control.send(*self.refuse(header))
            return
        invocation = Invocation(header["id"], header["function"], self._control, None)
        self._async_invocations[invocation.id] = invocation
        context = self.base_context.copy()
        context.run(CURRENT.set, invocation)
        if plan.streams:
            invocation.exchange = streaming.Exchange(streaming.find_extension(), invocation, self.loop)
            running = streaming.run(plan, invocation, header, body, self.loop)
            task = context.run(self.loop.create_task, running)
        elif plan.is_async:
            running = invoke.run_async(plan, invocation, header, body)
            task = invocation.task = context.run(self.loop.create_task, running)
        else:
            # The server sends these over lanes; should it not, they must not block the loop.
            task = context.run(self.loop.run_in_executor, None, context.copy().run, invoke.run, plan, invocation,
                               header, body, self.loop)
        invoke.KEPT_TASKS.keep(task).add_done_callback(lambda task: self._async_ended(invocation, task))

    def _async_ended(self, invocation, task):
        self._async_invocations.pop(invocation.id, None)
        if task.cancelled() and invocation.active:
            # Before its first step: everything later is caught and answered there.
            try:
                invoke.finish(invocation, invoke.failure(invocation, asyncio.CancelledError()))
            except OSError:
                crash.leave(0)
        if not task.cancelled() and isinstance(task.exception(), OSError):
            # Only the answer itself is outside the function's own error handling: the server is gone.
            crash.leave(0)
        if self.stopping:
            self._check_idle()

    def refuse(self, header):
        """The answer to an invocation that is not run."""
        if self.stopping:
            error = invoke.ready_error("WorkerStopping", "the worker is stopping and takes no new invocation")
        else:
            error = invoke.ready_error("FunctionNotFound", "the worker has no function '%s'" % header["function"])
        return invoke.refusal(header["id"], error)

    def wake(self):
        """Lets the main thread look whether everything is done. From any thread."""
        self.loop.call_soon_threadsafe(self._check_idle)

    def _stop(self):
        self.stopping = True
        self._check_idle()

    def _check_idle(self):
        if self.stopping and not self.in_work():
            self._finished = True
            self.loop.stop()

    def _finish(self):
        """The orderly end: exit handlers run, threads that user code left behind do not hold it up."""
        for app in self._apps:
            self._shut_down_asgi(app)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                # User code may have put anything there.
                pass
        crash.leave(0)

    def _shut_down_asgi(self, app):
        """Ends the lifespan of an ASGI app that was started, which the SDK leaves to a finalizer."""
        if not getattr(app, "startup_task_done", False):
            return
        app.startup_task_done = False
        try:
            self.loop.run_until_complete(
                asyncio.wait_for(app.middleware.notify_shutdown(), _ASGI_SHUTDOWN_SECONDS_MAX))
        except BaseException as error:
            logs.send("error", "ingle_worker", "the ASGI app failed to shut down: %s" % type(error).__name__)
