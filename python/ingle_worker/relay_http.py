"""HTTP/1.1 for the runtimes and extensions of one worker: a small server on a selector, all in one thread.

`http.server` has a thread for each connection and needs several milliseconds for what takes a fraction of one here. It knows
what runtimes and the clients in extensions send: bodies with a length or in chunks, trailers, `Expect: 100-continue`.
"""

import selectors
import socket

# A cause for X-Ray of up to 1 MiB is among the headers of an error.
_HEAD_BYTES_MAX = 2 * 1024 * 1024
_READ_BYTES = 256 * 1024
_CONNECTIONS_MAX = 256
_REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
            413: "Request Entity Too Large", 500: "Internal Server Error"}


class Malformed(Exception):
    """What came is no HTTP."""


class Request:
    """One whole request. Names of headers and trailers are in small letters."""

    __slots__ = ("method", "path", "headers", "trailers", "body", "size", "is_too_large", "stream")

    def __init__(self, method, path, headers):
        self.method = method
        self.path = path
        self.headers = headers
        self.trailers = {}
        self.body = b""
        # Bytes of the body, also of one that is too large and was not kept.
        self.size = 0
        self.is_too_large = False
        # Who takes the body as it comes; None if it is gathered.
        self.stream = None


class Server:
    """Listens on the loopback address of the worker's box.

    `handle(connection, request)` is called for each request and answers it, now or later; `gone(connection)` when a
    connection has ended. `opened(connection, request)` is called before the body comes: what it gives takes the pieces with
    `take(piece)`, which is false for the one that is too much; with None the body is gathered.
    """

    def __init__(self, selector, handle, gone, body_bytes_max, opened=lambda connection, request: None):
        self._selector = selector
        self._open = set()
        self.handle = handle
        self.gone = gone
        self.opened = opened
        self.body_bytes_max = body_bytes_max
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=_CONNECTIONS_MAX)
        self.socket.setblocking(False)
        selector.register(self.socket, selectors.EVENT_READ, self._on_connect)

    @property
    def address(self):
        return "%s:%d" % self.socket.getsockname()

    def _on_connect(self, _mask):
        try:
            connected, _ = self.socket.accept()
        except OSError:
            return
        if len(self._open) >= _CONNECTIONS_MAX:
            connected.close()
            return
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, connected)
        self._open.add(connection)
        self._selector.register(connected, selectors.EVENT_READ, connection.on_ready)

    def watch(self, connection, mask):
        """Looks for what `mask` says from now on; for nothing if it is 0."""
        is_watched = connection.socket in self._selector.get_map()
        if not mask:
            if is_watched:
                self._selector.unregister(connection.socket)
        elif is_watched:
            self._selector.modify(connection.socket, mask, connection.on_ready)
        else:
            self._selector.register(connection.socket, mask, connection.on_ready)

    def forget(self, connection):
        self._open.discard(connection)
        self.watch(connection, 0)
        connection.socket.close()
        self.gone(connection)


class Connection:
    """One client's connection, on which one request after the other is answered."""

    def __init__(self, server, connected):
        self.socket = connected
        self.is_open = True
        self._server = server
        self._buffer = bytearray()
        self._out = bytearray()
        self._requests = self._parse()
        # A request waits for its answer.
        self._is_busy = False
        self._is_in_body = False
        self._is_paused = False
        self._closes = False

    def on_ready(self, mask):
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if mask & selectors.EVENT_READ and self.is_open:
            self._read()

    def _read(self):
        try:
            data = self.socket.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if data:
            self._buffer += data
            self._go_on()
            return
        if self._is_in_body:
            self.refuse(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")
        self.close()

    def _go_on(self):
        while self.is_open and not self._is_busy:
            try:
                request = next(self._requests)
            except Malformed as problem:
                self._closes = True
                self.refuse(400, "InvalidRequestFormat", str(problem))
                return
            if request is None:
                return
            self._is_busy = True
            self._server.handle(self, request)

    def pause(self):
        """Takes no more from the client for now. What is in the buffer still comes."""
        self._is_paused = True
        self._watch()

    def resume(self):
        if self._is_paused:
            self._is_paused = False
            self._watch()

    def _watch(self):
        if self.is_open:
            reads = 0 if self._is_paused else selectors.EVENT_READ
            self._server.watch(self, reads | (selectors.EVENT_WRITE if self._out else 0))

    def close(self):
        if self.is_open:
            self.is_open = False
            self._server.forget(self)

    # === What comes ===

    def _parse(self):
        """Gives each whole request, and None when more bytes are needed."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n\r\n")
            while end < 0:
                if len(buffer) > _HEAD_BYTES_MAX:
                    raise Malformed("the head of the request is too long")
                yield None
                end = buffer.find(b"\r\n\r\n")
            request = _read_head(bytes(buffer[:end]))
            del buffer[: end + 4]
            headers = request.headers
            if headers.get("connection", "").lower() == "close":
                self._closes = True
            if headers.get("expect", "").lower() == "100-continue":
                self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.stream = self._server.opened(self, request)
            self._is_in_body = True
            body = bytearray()
            if "chunked" in headers.get("transfer-encoding", "").lower():
                yield from self._chunks(request, body)
            else:
                length = headers.get("content-length", "0")
                # Python calls more a digit than `int` takes: "²".
                if not (length.isascii() and length.isdigit()) or len(length) > 15:
                    raise Malformed("Content-Length is no number")
                yield from self._sized(request, int(length), body)
            self._is_in_body = False
            if not request.is_too_large:
                request.body = bytes(body)
            yield request

    def _sized(self, request, missing, body):
        """Takes so many bytes, and keeps them or passes them on unless the body has more than it may have."""
        buffer = self._buffer
        request.size += missing
        if request.stream is None and request.size > self._server.body_bytes_max:
            request.is_too_large = True
        while missing:
            if not buffer:
                yield None
                continue
            count = min(missing, len(buffer))
            if request.stream is not None:
                request.is_too_large = request.is_too_large or not request.stream.take(buffer[:count])
            elif not request.is_too_large:
                body += buffer[:count]
            del buffer[:count]
            missing -= count

    def _chunks(self, request, body):
        while True:
            line = yield from self._line()
            try:
                size = int(bytes(line).split(b";")[0].strip(), 16)
            except ValueError:
                raise Malformed("a chunk has no size") from None
            if size < 0:
                raise Malformed("a chunk has no size")
            if size == 0:
                break
            yield from self._sized(request, size, body)
            yield from self._line()
        while True:
            line = yield from self._line()
            if not line:
                return
            name, _, value = line.decode("utf-8", "replace").partition(":")
            request.trailers[name.strip().lower()] = value.strip()

    def _line(self):
        buffer = self._buffer
        end = buffer.find(b"\r\n")
        while end < 0:
            if len(buffer) > _HEAD_BYTES_MAX:
                raise Malformed("a line is too long")
            yield None
            end = buffer.find(b"\r\n")
        line = bytes(buffer[:end])
        del buffer[: end + 2]
        return line

    # === What goes ===

    def answer(self, status, body=b"", headers=(), content_type="application/json"):
        """Answers the request that is waited for. `headers`: pairs of texts."""
        lines = ["HTTP/1.1 %d %s" % (status, _REASONS.get(status, "Unknown")), "Content-Type: %s" % content_type,
                 "Content-Length: %d" % len(body)]
        lines.extend("%s: %s" % (name, _one_line(value)) for name, value in headers)
        if self._closes:
            lines.append("Connection: close")
        head = "\r\n".join(lines) + "\r\n\r\n"
        self._send(head.encode("utf-8", "backslashreplace") + body)
        self._is_busy = False
        if self.is_open and self._closes and not self._out:
            self.close()

    def refuse(self, status, kind, message):
        """Answers with an error as the Runtime API has them: `{"errorMessage", "errorType"}`."""
        from .frames import to_json

        self.answer(status, to_json({"errorMessage": message, "errorType": kind}))

    def go_on(self):
        """Takes what the client has sent behind the request that has just been answered."""
        if self._buffer:
            self._go_on()

    def _send(self, data):
        if not self.is_open:
            return
        if not self._out:
            try:
                data = data[self.socket.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                # Reading tells that it has ended.
                return
        if data:
            self._out += data
            self._watch()

    def _flush(self):
        try:
            del self._out[: self.socket.send(self._out)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not self._out:
            self._watch()
            if self._closes and not self._is_busy:
                self.close()


def _read_head(head):
    first, *lines = head.decode("utf-8", "replace").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise Malformed("the request has no line of a method, a path and HTTP/1.1")
    headers = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator:
            raise Malformed("a header has no value")
        headers[name.strip().lower()] = value.strip()
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Request(words[0], words[1].partition("?")[0], headers)


def _one_line(value):
    # JSON may have line breaks between its members, where spaces do as well.
    return value.replace("\r", " ").replace("\n", " ")
