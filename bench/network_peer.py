"""The other side of the measure of ways into the network: listens, and does what whoever connects wishes.

`python network_peer.py <address> [<address>]` prints the ports that it listens on as JSON, and ends with its standard input.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import List, Tuple

sys.path.insert(0, str(Path(__file__).parent / "apps" / "network"))

import probe

BACKLOG = 1024
TRIES_MAX = 100


def main(hosts: List[str]) -> None:
    first, *others = hosts
    listed, further = with_same_port(first, others)
    unlisted = socket.create_server((first, 0), backlog=BACKLOG)
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind((first, 0))
    for listener in (listed, *further, unlisted):
        threading.Thread(target=accept, args=(listener,), name="accept", daemon=True).start()
    threading.Thread(target=echo_datagrams, args=(datagrams,), name="datagrams", daemon=True).start()
    ports = {"port": listed, "other_port": unlisted, "datagram_port": datagrams}
    print(json.dumps({name: listener.getsockname()[1] for name, listener in ports.items()}), flush=True)
    sys.stdin.read()
    # The threads wait for connections that will not come.
    os._exit(0)


def with_same_port(first: str, others: List[str]) -> Tuple[socket.socket, List[socket.socket]]:
    """Listens on one port of all these addresses, and of no other."""
    for _ in range(TRIES_MAX):
        listed = socket.create_server((first, 0), backlog=BACKLOG)
        try:
            return listed, [socket.create_server((host, listed.getsockname()[1]), backlog=BACKLOG) for host in others]
        except OSError:
            listed.close()
    raise SystemExit(f"error: no port is free on all of {[first, *others]}")


def accept(listener: socket.socket) -> None:
    """One at a time: the other side measures one thing after the other."""
    with probe.OwnCore(1):
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    serve(connection)
                except (ConnectionError, TimeoutError):
                    # It went away, as it does when a connection was all that it wanted.
                    continue


def serve(connection: socket.socket) -> None:
    connection.settimeout(probe.TIMEOUT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"+")
    wish = probe.receive(connection, 1)
    if wish == probe.ECHO:
        while True:
            connection.sendall(probe.receive(connection, probe.MESSAGE_BYTES))
    if wish == probe.TAKE:
        take(connection)
    if wish == probe.VISIT:
        visit(connection)


def take(connection: socket.socket) -> None:
    (left,) = struct.unpack("!Q", probe.receive(connection, 8))
    room = memoryview(bytearray(probe.PIECE_BYTES))
    while left:
        count = connection.recv_into(room)
        if not count:
            return
        left -= count
    connection.sendall(b".")


def visit(connection: socket.socket) -> None:
    (port,) = struct.unpack("!H", probe.receive(connection, 2))
    try:
        socket.create_connection(("127.0.0.1", port), probe.TIMEOUT_S).close()
    except OSError:
        connection.sendall(b"n")
    else:
        connection.sendall(b"y")


def echo_datagrams(datagrams: socket.socket) -> None:
    while True:
        text, sender = datagrams.recvfrom(1)
        datagrams.sendto(text, sender)


if __name__ == "__main__":
    main(sys.argv[1:])
