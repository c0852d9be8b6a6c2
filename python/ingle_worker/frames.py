"""Frames on a Unix stream socket. The format is in `proto/frames.md`.

Writing is safe from any thread, and from code that interrupts a write (signal handlers, finalizers).
"""

import array
import collections
import json
import os
import socket
import struct
import threading

_LENGTHS = struct.Struct("<II")
_unpack = _LENGTHS.unpack_from
_pack = _LENGTHS.pack
_scan = json.decoder.JSONDecoder().scan_once
_quote_ascii = json.encoder.encode_basestring_ascii
_quote_unicode = json.encoder.encode_basestring

HEADER_BYTES_MAX = 16 * 1024 * 1024
_BUFFER_BYTES = 64 * 1024
# Below this, copying the parts into one buffer is cheaper than a vectored write.
_JOIN_BYTES_MAX = 16 * 1024
_VECTOR_MAX = 512
_FILE_DESCRIPTORS_MAX = 64


class ProtocolError(Exception):
    """The server sent something that is not a frame. The worker cannot go on."""


def quote(text):
    """`text` as a JSON string. A lone surrogate, which no UTF-8 can carry, is written as its escape."""
    if text.isascii():
        return _quote_ascii(text)
    return _quote_unicode(clean(text))


def clean(text):
    """`text` with lone surrogates spelled out, so that it can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def to_json(value):
    """Bytes of a header. Strings may hold anything that a Python string can hold."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def adopt(descriptor):
    """A blocking socket around a file descriptor that the server gave us."""
    if descriptor < 3:
        # User code may have closed 0 to 2, and native code writes there without asking.
        import fcntl

        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
        # Left open, else the next file that is opened would be standard input to whoever reads it.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, descriptor)
        if nothing != descriptor:
            os.close(nothing)
        descriptor = moved
    os.set_inheritable(descriptor, False)
    adopted = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
    # An app may have called `socket.setdefaulttimeout`, which would make this one give up.
    adopted.settimeout(None)
    return adopted


class Channel:
    """The writing half of a socket: whole frames, one after the other."""

    __slots__ = ("socket", "_lock", "_writing", "_waiting")

    def __init__(self, connected):
        self.socket = connected
        self._lock = threading.RLock()
        self._writing = False
        self._waiting = collections.deque(maxlen=10_000)

    def send(self, header, parts=(), size=0):
        """Sends one frame: `header` as JSON bytes, `parts` as its body of `size` bytes. Raises `OSError`."""
        start = _pack(len(header), size) + header
        with self._lock:
            if self._writing:
                # This thread was interrupted in the middle of a write; what it says now comes after that frame.
                self._waiting.append((start, parts, size))
                return
            self._writing = True
            try:
                self._write(start, parts, size)
                while self._waiting:
                    self._write(*self._waiting.popleft())
            finally:
                self._writing = False

    def _write(self, start, parts, size):
        if not size:
            self.socket.sendall(start)
        elif size <= _JOIN_BYTES_MAX:
            self.socket.sendall(start + b"".join(parts))
        else:
            self._write_vector([start, *parts])

    def _write_vector(self, parts):
        views = collections.deque(memoryview(part) for part in parts if len(part))
        while views:
            sent = self.socket.sendmsg([views[index] for index in range(min(len(views), _VECTOR_MAX))])
            while sent:
                first = views[0]
                if sent < len(first):
                    views[0] = first[sent:]
                    break
                sent -= len(first)
                views.popleft()


class LaneReader:
    """Reads frames from a lane with blocking calls; in the usual case one call a frame."""

    def __init__(self, connected):
        self._receive_into = connected.recv_into
        self._receive = connected.recv
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._have = 0

    def read(self):
        """The next frame as `(header, body)`, or `None` at the end of the stream."""
        view = self._view
        have = self._have
        while have < 8:
            count = self._receive_into(view[have:])
            if not count:
                return None
            have += count
        header_size, body_size = _unpack(self._buffer)
        if header_size > HEADER_BYTES_MAX:
            raise ProtocolError("a header of %d bytes" % header_size)
        body_start = 8 + header_size
        total = body_start + body_size
        if total > _BUFFER_BYTES:
            return self._read_large(have, header_size, body_size)
        while have < total:
            count = self._receive_into(view[have:])
            if not count:
                return None
            have += count
        header = _scan(str(view[8:body_start], "utf-8"), 0)[0]
        body = bytes(view[body_start:total]) if body_size else b""
        rest = have - total
        if rest:
            self._buffer[:rest] = self._buffer[total:have]
        self._have = rest
        return header, body

    def _read_large(self, have, header_size, body_size):
        total = 8 + header_size + body_size
        pieces = [bytes(self._view[: min(have, total)])]
        missing = total - len(pieces[0])
        rest = have - len(pieces[0])
        if rest:
            self._buffer[:rest] = self._buffer[len(pieces[0]) : have]
        self._have = rest
        while missing:
            piece = self._receive(missing, socket.MSG_WAITALL)
            if not piece:
                return None
            pieces.append(piece)
            missing -= len(piece)
        if 8 + header_size <= len(pieces[0]):
            header = pieces[0][8 : 8 + header_size]
            pieces[0] = pieces[0][8 + header_size :]
            body = b"".join(pieces)
        else:
            whole = b"".join(pieces)
            header = whole[8 : 8 + header_size]
            body = whole[8 + header_size :]
        return _scan(header.decode(), 0)[0], body


class ControlReader:
    """Reads frames and file descriptors from the control socket."""

    def __init__(self, connected):
        self._socket = connected
        self._buffer = bytearray()
        self.descriptors = collections.deque()

    def empty(self):
        """Forgets what has arrived: in a process that was forked, it is its parent's."""
        self._buffer.clear()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    def fill(self, blocking):
        """Takes what has arrived. False at the end of the stream."""
        flags = socket.MSG_CMSG_CLOEXEC | (0 if blocking else socket.MSG_DONTWAIT)
        item = array.array("i")
        space = socket.CMSG_SPACE(_FILE_DESCRIPTORS_MAX * item.itemsize)
        try:
            # Who waits here with a blocking call is told little.
            data, ancillary, _, _ = self._socket.recvmsg(_BUFFER_BYTES if blocking else 4 * _BUFFER_BYTES, space, flags)
        except (BlockingIOError, InterruptedError):
            return True
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
                self.descriptors.extend(received)
        if not data:
            return False
        self._buffer += data
        return True

    def take(self):
        """The next whole frame as `(header, body)`, or `None` if more has to arrive first."""
        buffer = self._buffer
        if len(buffer) < 8:
            return None
        header_size, body_size = _unpack(buffer)
        if header_size > HEADER_BYTES_MAX:
            raise ProtocolError("a header of %d bytes" % header_size)
        body_start = 8 + header_size
        total = body_start + body_size
        if len(buffer) < total:
            return None
        with memoryview(buffer) as view:
            header = _scan(str(view[8:body_start], "utf-8"), 0)[0]
            body = bytes(view[body_start:total])
        del buffer[:total]
        return header, body
