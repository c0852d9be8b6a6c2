"""Who is running: the invocation in work, the `context` argument, and `Out` parameters."""

import contextvars
import threading

# The invocation that this thread or task works for. Everything that is logged is tied to it.
CURRENT = contextvars.ContextVar("ingle_invocation", default=None)

# Azure's way to tie a thread to an invocation by hand: `context.thread_local_storage.invocation_id = …`.
THREAD_LOCAL = threading.local()


class Invocation:
    """One invocation in work."""

    __slots__ = ("id", "function", "channel", "thread", "active", "cancelled", "interrupted", "coroutine", "task",
                 "exchange")

    def __init__(self, identity, function, channel, thread):
        self.id = identity
        self.function = function
        self.channel = channel
        # The thread of the lane, whose log frames go over the lane; None for functions on the event loop.
        self.thread = thread
        self.active = True
        self.cancelled = False
        # Whether what is awaited for it is to be cancelled, too.
        self.interrupted = False
        # What is awaited for it, so that a stack can be shown.
        self.coroutine = None
        # The task of the event loop that awaits it, as long as it may be cancelled.
        self.task = None
        # `streaming.Exchange` of a function with streamed bodies.
        self.exchange = None

    def cancel(self, interrupt):
        """Nobody waits for it any more. On the thread of the event loop."""
        if self.cancelled:
            return
        self.cancelled = True
        self.interrupted = interrupt
        if interrupt and self.task is not None:
            self.task.cancel()
        if self.exchange is not None:
            self.exchange.on_cancel()


class TraceContext:
    """W3C trace context of the invocation."""

    __slots__ = ("trace_parent", "trace_state", "attributes")

    def __init__(self, trace):
        self.trace_parent = trace[0] if trace else ""
        self.trace_state = trace[1] if trace and len(trace) > 1 else ""
        self.attributes = {}

    # Older apps use the names of Azure's protocol.
    @property
    def Traceparent(self):
        return self.trace_parent

    @property
    def Tracestate(self):
        return self.trace_state

    @property
    def Attributes(self):
        return self.attributes


class RpcException:
    """The exception of the attempt before, under the names that Azure's worker gives it."""

    __slots__ = ("source", "type", "message", "stack_trace", "is_user_exception")

    def __init__(self, failure):
        self.source = ""
        self.type = failure["kind"]
        self.message = "%s: %s" % (failure["kind"], failure["message"])
        self.stack_trace = failure["traceback"]
        self.is_user_exception = bool(failure["traceback"])

    def __str__(self):
        return self.message


class RetryContext:
    """Which attempt this is; zeros for a function without a retry policy, as in Azure."""

    __slots__ = ("retry_count", "max_retry_count", "exception")

    def __init__(self, retry):
        self.retry_count, self.max_retry_count = retry[:2] if retry else (0, 0)
        # None on the first attempt.
        self.exception = RpcException(retry[2]) if retry and len(retry) > 2 else None

    @property
    def rpc_exception(self):
        return self.exception


class Context:
    """The `context` argument of a function. Mirrors `azure.functions.Context`.

    Extensions hang things of their own on it (OpenCensus its tracer), so it takes any attribute.
    """

    __slots__ = ("_invocation", "_directory", "_trace", "_retry", "__dict__")

    def __init__(self, invocation, directory, header):
        self._invocation = invocation
        self._directory = directory
        self._trace = header.get("trace")
        self._retry = header.get("retry")

    @property
    def invocation_id(self):
        return self._invocation.id

    @property
    def function_name(self):
        return self._invocation.function

    @property
    def function_directory(self):
        return self._directory

    @property
    def thread_local_storage(self):
        return THREAD_LOCAL

    @property
    def trace_context(self):
        if not isinstance(self._trace, TraceContext):
            self._trace = TraceContext(self._trace)
        return self._trace

    @property
    def retry_context(self):
        if not isinstance(self._retry, RetryContext):
            self._retry = RetryContext(self._retry)
        return self._retry

    @property
    def cancelled(self):
        """True once the client that waits for the answer has gone away. Ingle's own; absent in Azure.

        Meant for `def` functions, which can't be interrupted: they may look at it between two steps.
        """
        return self._invocation.cancelled


class Out:
    """An output parameter. The value set last wins."""

    __slots__ = ("_value",)

    def __init__(self):
        self._value = None

    def set(self, value):
        self._value = value

    def get(self):
        return self._value


def current_id():
    """Id of the invocation that this code runs for, or None."""
    invocation = CURRENT.get()
    if invocation is not None:
        return invocation.id
    return getattr(THREAD_LOCAL, "invocation_id", None)
