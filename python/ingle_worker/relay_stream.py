"""An answer that a runtime gives in pieces, on its way to the lane: what is said of it as "response streaming" in the AWS Lambda
developer guide (facts of Lambda, section 1.5).

The loop's thread takes pieces from the runtime's connection, the thread of the lane sends them to the server. A lane is read when
whoever waits for the answer has room for more; the runtime is read when the lane has taken what came before.
"""

import threading

from .streaming import PIECE_BYTES_MAX, chunk_frame, head_frame

# Largest answer in pieces, in bytes.
STREAMED_BYTES_MAX = 200 * 1024 * 1024
# What may wait for the lane, in bytes; the connection's own buffer comes to it.
_WAITING_BYTES_MAX = 1024 * 1024


class Stream:
    """One answer in pieces that comes on `connection`. `too_much(stream)` is called when it has more than it may have."""

    def __init__(self, call, connection, too_much):
        self.connection = connection
        # Of what was given.
        self.size = 0
        self._call = call
        self._too_much = too_much
        # Nobody waits for the rest.
        self._is_over = False
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._is_told = False

    # === On the loop's thread ===

    def take(self, piece):
        """Takes a piece of the body. False if it is the one that is too much."""
        if self._is_over:
            return True
        self.size += len(piece)
        if self.size > STREAMED_BYTES_MAX:
            self._too_much(self)
            return False
        with self._lock:
            self._waiting += piece
            was_told, self._is_told = self._is_told, True
            is_full = len(self._waiting) >= _WAITING_BYTES_MAX
        if is_full:
            self.connection.pause()
        if not was_told:
            self._call.told.put(("pieces", self))
        return True

    def go_on(self):
        """The lane has taken what there was."""
        self.connection.resume()

    def end(self):
        """What still comes is dropped."""
        self._is_over = True
        self.connection.resume()

    # === On the thread of the lane ===

    def give(self):
        """All that waits, and whether the runtime has to be told to go on."""
        with self._lock:
            found, self._waiting = self._waiting, bytearray()
            self._is_told = False
        return found, len(found) >= _WAITING_BYTES_MAX


class Sender:
    """Sends an answer in pieces over the lane of an invocation."""

    def __init__(self, invocation):
        self._id = invocation.id
        self._channel = invocation.channel

    def begin(self, content_type):
        headers = [("content-type", content_type)] if content_type else []
        self._channel.send(head_frame(self._id, 200, headers))

    def send(self, content):
        content = memoryview(content)
        for start in range(0, len(content), PIECE_BYTES_MAX):
            piece = content[start : start + PIECE_BYTES_MAX]
            self._channel.send(chunk_frame(self._id), (piece,), len(piece))
