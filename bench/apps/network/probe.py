"""What is measured and tried inside: the same code in a function, in a namespace and in a plain process.

`python probe.py '<question>'` prints the answer to a question, both JSON; a function calls `answer`. The other side is
`network_peer.py`, which says a byte to whoever it accepts.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from typing import Any, Dict, List, Optional

# What is tried may wait for ever; what is measured waits in the kernel and not in Python, which costs a call less.
TIMEOUT_S = 10.0
# Long enough for a datagram that comes, on a machine that is busy.
DATAGRAM_TIMEOUT_S = 0.5
MESSAGE_BYTES = 100
PIECE_BYTES = 1 << 18
# Closing forgets the connection at once: thousands that linger would use up the ports of the machine.
FORGET = struct.pack("ii", 1, 0)
ECHO, TAKE, VISIT = b"e", b"t", b"v"


def answer(question: Dict[str, Any]) -> Dict[str, Any]:
    """Measures or tries what is asked for, by its `kind`. Times are seconds."""
    if question["kind"] == "measure":
        return measure(question)
    return tries(question)


class OwnCore:
    """Keeps this thread on one of the cores while it measures; the other side is kept on another. Which core wakes which
    decides more about a connection than any of the ways does, and would be another one at each reading."""

    def __init__(self, number: int) -> None:
        self.cores = os.sched_getaffinity(0)
        self.own = sorted(self.cores)[number % len(self.cores)]

    def __enter__(self) -> None:
        os.sched_setaffinity(0, {self.own})

    def __exit__(self, *_: object) -> None:
        os.sched_setaffinity(0, self.cores)


def measure(question: Dict[str, Any]) -> Dict[str, Any]:
    """`{"connects": [seconds], "exchanges": [seconds], "sent": seconds for all bytes}` to one address."""
    address = (question["host"], question["port"])
    with OwnCore(0):
        return measure_here(address, question)


def measure_here(address: tuple, question: Dict[str, Any]) -> Dict[str, Any]:
    # The first few are slower everywhere: code is read, caches are filled.
    connects(address, question["connects"] // 10)
    return {
        "connects": connects(address, question["connects"]),
        "exchanges": exchanges(address, question["exchanges"]),
        "sent": send(address, question["bytes"]),
    }


def connects(address: tuple, count: int) -> List[float]:
    readings = []
    for _ in range(count):
        with unconnected(None) as connection:
            begin = time.perf_counter()
            connection.connect(address)
            readings.append(time.perf_counter() - begin)
            greeted(connection)
    return readings


def exchanges(address: tuple, count: int) -> List[float]:
    readings = []
    message = bytes(MESSAGE_BYTES)
    with connected(address, ECHO) as connection:
        for number in range(count + count // 10):
            begin = time.perf_counter()
            connection.sendall(message)
            receive(connection, MESSAGE_BYTES)
            if number >= count // 10:
                readings.append(time.perf_counter() - begin)
    return readings


def send(address: tuple, size: int) -> float:
    """Until the other side says that it has all."""
    piece = memoryview(bytes(PIECE_BYTES))
    with connected(address, TAKE) as connection:
        connection.sendall(struct.pack("!Q", size))
        begin, left = time.perf_counter(), size
        while left:
            left -= connection.send(piece[:left])
        receive(connection, 1)
        return time.perf_counter() - begin


def tries(question: Dict[str, Any]) -> Dict[str, Any]:
    """What goes through, by name: True, or what the system says instead; False if it says nothing."""
    allowed = (question["host"], question["port"])
    return {
        "listed": reaches(allowed),
        "other address, same port": reaches((question["other_host"], question["port"])),
        "same address, other port": reaches((question["host"], question["other_port"])),
        "datagram": is_echoed((question["host"], question["datagram_port"])),
        "served to the machine": is_visited(allowed),
    }


def reaches(address: tuple) -> Any:
    try:
        with unconnected(TIMEOUT_S) as connection:
            connection.connect(address)
            greeted(connection)
    except OSError as error:
        return error.strerror or str(error)
    return True


def is_echoed(address: tuple) -> Any:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(DATAGRAM_TIMEOUT_S)
        try:
            datagrams.sendto(b"?", address)
            return datagrams.recv(1) == b"?"
        except OSError as error:
            return error.strerror or str(error)


def is_visited(address: tuple) -> bool:
    """Whether the machine reaches on its loopback what listens on the loopback in here."""
    with socket.create_server(("127.0.0.1", 0)) as server, connected(address, VISIT) as connection:
        connection.sendall(struct.pack("!H", server.getsockname()[1]))
        return receive(connection, 1) == b"y"


def unconnected(timeout_s: Optional[float]) -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    return connection


def connected(address: tuple, wish: bytes) -> socket.socket:
    connection = unconnected(None)
    connection.connect(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    greeted(connection)
    connection.sendall(wish)
    return connection


def greeted(connection: socket.socket) -> None:
    """Waits until it is accepted, so that the next one finds nobody busy with this one."""
    receive(connection, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FORGET)


def receive(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = connection.recv(count - len(found))
        if not piece:
            raise ConnectionError("the other side has closed")
        found += piece
    return found


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.argv[1]))))
