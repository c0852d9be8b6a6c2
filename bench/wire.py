"""HTTP/1.1 with as little of a client as there can be: where an answer takes a millisecond, `http.client` would be a good
part of it."""

from __future__ import annotations

import socket
import time
from typing import Optional
from urllib.parse import urlsplit

RECEIVE_BYTES = 65_536


class Line:
    """A connection that stays open, for one request after another."""

    def __init__(self, base: str, timeout_s: float, host: str = "bench") -> None:
        address = urlsplit(base)
        self.host = host
        self.socket = socket.create_connection((address.hostname, address.port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Line":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, method: str, path: str) -> float:
        """Seconds from the request to the whole answer; `RuntimeError` unless its status is 200."""
        message = request(method, path, self.host)
        buffer = bytearray()
        begin = time.perf_counter()
        self.socket.sendall(message)
        while True:
            data = self.socket.recv(RECEIVE_BYTES)
            took = time.perf_counter() - begin
            if not data:
                raise RuntimeError(f"{method} {path}: the connection was closed")
            buffer += data
            found = take_answer(buffer)
            if found is not None:
                break
        if found[0] != 200:
            raise RuntimeError(f"{method} {path} answered {found[0]}")
        return took


def request(method: str, path: str, host: str = "bench") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode("latin-1")


def take_answer(buffer: bytearray) -> Optional[tuple]:
    """Removes a whole answer from the buffer: its status, and whether it has a `Retry-After`; `None` if it is not whole.

    The answer has a `Content-Length`.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *fields = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    named = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    whole = end + 4 + int(named["content-length"])
    if len(buffer) < whole:
        return None
    del buffer[:whole]
    return int(first.split(" ")[1]), "retry-after" in named
