"""An event on its way through the relay, and what becomes of it."""

import queue

from . import errors

# Lines that the lane has not taken yet.
_LINES_MAX = 1000


class Failed(errors.Told):
    """What became of an event, with the `error` of its `done` frame."""


class Call:
    """An event on its way. Attributes: the id of its invocation, the event's bytes, headers for the runtime, milliseconds that it may
    take from when it is dealt, X-Ray's id, and what sends an answer in pieces, None if it has to be whole. `begin()`: tells the
    server that it is dealt.
    """

    __slots__ = ("id", "payload", "headers", "time_ms", "deadline_ms", "trace", "sender", "begin", "told")

    def __init__(self, identity, payload, headers, time_ms, trace, sender=None, begin=lambda: None):
        self.id = identity
        self.payload = payload
        self.headers = headers
        self.time_ms = time_ms
        # Of epoch, once it is dealt.
        self.deadline_ms = None
        self.trace = trace
        self.sender = sender
        self.begin = begin
        # ("begun", None), ("line", text), ("head", content type) and ("pieces", stream) of an answer in pieces, and at last
        # ("answer", (content type, bytes)), ("streamed", None), ("go", None) or ("failed", error).
        # Bounded: who writes without end waits until its words are taken.
        self.told = queue.Queue(_LINES_MAX)
