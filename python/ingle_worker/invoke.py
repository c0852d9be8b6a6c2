"""One invocation: the data of its frame to arguments, the call, what came back to a `done` frame.

This is the hot path: everything that can be known at load is in the plan, and headers are written by hand.
"""

import asyncio
import threading
import time

from . import crash, errors, logs
from .context import CURRENT, THREAD_LOCAL, Context, Out
from .frames import clean, quote, to_json

_clock = time.perf_counter_ns
_thread_clock = getattr(time, "thread_time_ns", time.process_time_ns)


class Arguments:
    """The keyword arguments of one call, and the `Out` objects among them."""

    __slots__ = ("named", "outputs", "context")

    def __init__(self, plan, invocation, header, body):
        named = {}
        decoders = plan.decoders
        start = 0
        for name, (kind, value, size) in header["inputs"].items():
            end = start + size
            decode = decoders.get(name)
            if decode is not None:
                named[name] = decode(kind, value, body[start:end], header)
            start = end
        for name in plan.inputs:
            if name not in named:
                named[name] = decoders[name]("none", None, b"", header)
        self.outputs = ()
        if plan.outputs:
            self.outputs = [(name, Out(), encode) for name, encode in plan.outputs]
            for name, out, _ in self.outputs:
                named[name] = out
        self.context = None
        if plan.needs_context:
            THREAD_LOCAL.invocation_id = invocation.id
            self.context = named["context"] = Context(invocation, plan.directory, header)
        elif plan.hooks is not None:
            self.context = Context(invocation, plan.directory, header)
        self.named = named


class Timer:
    """Time spent in the user's code."""

    __slots__ = ("user_us", "cpu_us")

    def __init__(self):
        self.user_us = 0
        self.cpu_us = 0


def run(plan, invocation, header, body, loop):
    """Runs a function in this thread and answers. Meant to run in a context of its own."""
    CURRENT.set(invocation)
    timer = Timer()
    try:
        arguments = Arguments(plan, invocation, header, body)
        cpu_start = _thread_clock()
        start = _clock()
        try:
            if plan.hooks is not None:
                plan.hooks.before(arguments.context, arguments.named)
            result = plan.function(**arguments.named)
            if hasattr(type(result), "__await__"):
                result = _await_on_loop(loop, result, invocation)
            if plan.hooks is not None:
                plan.hooks.after(arguments.context, arguments.named, result)
        finally:
            timer.user_us = (_clock() - start) // 1000
            timer.cpu_us = (_thread_clock() - cpu_start) // 1000
        frame = _success(plan, invocation, arguments, result, timer)
    except BaseException as error:
        frame = failure(invocation, error, timer)
    finally:
        crash.leave_if_forked()
    finish(invocation, frame)


async def run_async(plan, invocation, header, body):
    """The same for a function on the event loop."""
    timer = Timer()
    try:
        arguments = Arguments(plan, invocation, header, body)
        start = _clock()
        try:
            if plan.hooks is not None:
                plan.hooks.before(arguments.context, arguments.named)
            result = plan.function(**arguments.named)
            if hasattr(type(result), "__await__"):
                invocation.coroutine = result
                result = await result
            if plan.hooks is not None:
                plan.hooks.after(arguments.context, arguments.named, result)
        finally:
            timer.user_us = (_clock() - start) // 1000
        frame = _success(plan, invocation, arguments, result, timer)
    except BaseException as error:
        # Also SystemExit and KeyboardInterrupt, which asyncio would let end the loop.
        frame = failure(invocation, error, timer)
    finally:
        crash.leave_if_forked()
    finish(invocation, frame)


def finish(invocation, frame):
    """Answers. Nothing of the invocation is sent after this."""
    logs.flush_lines(invocation)
    invocation.coroutine = None
    invocation.active = False
    invocation.channel.send(*frame)


def _await_on_loop(loop, awaitable, invocation):
    """Awaits what a plain function returned on the event loop, while this thread waits."""
    done = threading.Event()
    result = []

    async def catch():
        try:
            invocation.coroutine = awaitable
            invocation.task = asyncio.current_task()
            if invocation.interrupted:
                # Before there was a task to cancel.
                invocation.task.cancel()
            result.append((True, await awaitable))
        except BaseException as error:
            result.append((False, error))
        invocation.task = None
        done.set()

    # The callback runs in a copy of this thread's context, so its logs carry the invocation.
    loop.call_soon_threadsafe(lambda: KEPT_TASKS.keep(loop.create_task(catch())))
    done.wait()
    succeeded, value = result[0]
    if not succeeded:
        raise value
    return value


class TaskSet:
    """Holds tasks until they end; the event loop itself has only weak references."""

    def __init__(self):
        self.tasks = set()

    def keep(self, task):
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


KEPT_TASKS = TaskSet()


class UnexpectedReturn(RuntimeError):
    """A function without a place for it returned a value."""


def _success(plan, invocation, arguments, result, timer, returned=None):
    """The `done` frame. `returned`: the datum of the returned value, if it is made already."""
    fragments = []
    parts = []
    size = 0
    for name, out, encode in arguments.outputs:
        value = out.get()
        if value is None:
            continue
        fragment, pieces, count = _encode(encode, name, value)
        fragments.append("%s:%s" % (quote(name), fragment))
        parts.extend(pieces)
        size += count
    if plan.returned is not None or returned is not None:
        fragment, pieces, count = returned or _encode(plan.returned, "the returned value", result)
        fragments.append('"$return":' + fragment)
        parts.extend(pieces)
        size += count
    elif result is not None:
        raise UnexpectedReturn("function '%s' without a $return binding returned a non-None value (%s)" % (
            plan.name, type(result).__name__))
    header = '{"type":"done","id":"%s","ok":true,"outputs":{%s},"user_us":%d,"cpu_us":%d}' % (
        invocation.id, ",".join(fragments), timer.user_us, timer.cpu_us)
    return header.encode(), parts, size


def _encode(encode, name, value):
    try:
        return encode(value)
    except UnicodeEncodeError as problem:
        raise ValueError("%s holds text that UTF-8 can't carry: %s" % (name, problem)) from None


def failure(invocation, error, timer=None):
    """The `done` frame of an invocation that ended with `error`."""
    cancelled = invocation.interrupted and isinstance(error, asyncio.CancelledError)
    return refusal(invocation.id, errors.describe(error), timer, cancelled)


def refusal(identity, error, timer=None, cancelled=False):
    """A `done` frame with a ready-made error. `cancelled`: the function ended by the cancellation it was told of."""
    header = {
        "type": "done",
        "id": identity,
        "ok": False,
        "outputs": {},
        "error": error,
        "cancelled": cancelled,
        "user_us": timer.user_us if timer else 0,
        "cpu_us": timer.cpu_us if timer else 0,
    }
    return to_json(header), (), 0


def ready_error(kind, message):
    """An `error` object for what is not an exception of the user."""
    return {"kind": kind, "message": clean(message), "traceback": "", "location": None}
