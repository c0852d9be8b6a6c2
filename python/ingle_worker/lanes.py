"""Lanes: one socket and one thread each, for `def` functions.

The thread that reads an invocation runs it and answers it, so nothing is handed from thread to thread.
"""

import threading

from . import crash, invoke
from .context import Invocation
from .frames import Channel, LaneReader, ProtocolError


class Lane:
    """One slot of the worker."""

    def __init__(self, worker, connected):
        self.socket = connected
        self.invocation = None
        self._worker = worker
        self._reader = LaneReader(connected)
        self._channel = Channel(connected)

    def start(self, number):
        # A daemon thread: it waits on its socket for ever, and must not keep the process from ending.
        threading.Thread(target=self._serve, name="lane-%d" % number, daemon=True).start()

    def close(self):
        self.socket.close()

    def _serve(self):
        try:
            self._serve_frames()
        except (OSError, ProtocolError):
            # The server's end is gone, or talks nonsense. It sees the closed socket.
            pass
        finally:
            crash.leave_if_forked()
            self.invocation = None
            self._worker.lane_ended(self)
            self.close()

    def _serve_frames(self):
        worker = self._worker
        read = self._reader.read
        channel = self._channel
        thread = threading.get_ident()
        channel.send(b'{"type":"lane","thread":%d}' % thread)
        fresh_context = worker.base_context.copy
        plans = worker.plans
        loop = worker.loop
        while True:
            frame = read()
            if frame is None:
                return
            header, body = frame
            if header["type"] != "invoke":
                continue
            plan = plans.get(header["function"])
            if plan is None or worker.stopping:
                channel.send(*worker.refuse(header))
                continue
            invocation = Invocation(header["id"], header["function"], channel, thread)
            self.invocation = invocation
            if invocation.id in worker.early_cancels:
                invocation.cancelled = True
            fresh_context().run(invoke.run, plan, invocation, header, body, loop)
            self.invocation = None
            # Neither the request's bytes nor the response may live until the next invocation.
            frame = header = body = invocation = None
            if worker.stopping:
                worker.wake()
