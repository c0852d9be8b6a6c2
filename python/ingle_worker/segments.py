"""Where a handler finds the daemon of AWS X-Ray: a port of the worker, whose datagrams go to the server.

The SDK reads the address when it is imported, so the port is there before the app is; the workers of a zygote share it, and
whichever comes first takes what is sent (facts of the Lambda runtime, section 8.3).
"""

import os
import socket

from . import logs

_ADDRESS = "AWS_XRAY_DAEMON_ADDRESS"
# No more than the SDK sends, nor than the port of a UDP datagram takes.
_DATAGRAM_BYTES_MAX = 65536
# Datagrams that come together are many at most: room for those of an invocation that is in nobody's way.
_BUFFER_BYTES = 1 << 20
_AT_ONCE_MAX = 64

_port = None


def open_port():
    """Opens the port, unless the app says where another daemon is, or this machine has no loopback for it."""
    global _port
    if os.environ.get(_ADDRESS):
        return
    port = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        port.setblocking(False)
        port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        port.bind(("127.0.0.1", 0))
    except OSError as error:
        port.close()
        logs.send("warning", "ingle_worker", "no port for segments of X-Ray: %s" % error)
        return
    _port = port
    host, number = port.getsockname()
    os.environ[_ADDRESS] = "%s:%d" % (host, number)
    os.environ["_" + _ADDRESS] = host
    os.environ["_AWS_XRAY_DAEMON_PORT"] = str(number)


def descriptors():
    """The port's number, in a set; empty if there is none."""
    return set() if _port is None else {_port.fileno()}


def listen(loop):
    """Lets a worker's event loop hand over what comes."""
    if _port is not None:
        loop.add_reader(_port.fileno(), _take)


def _take():
    for _ in range(_AT_ONCE_MAX):
        try:
            data = _port.recv(_DATAGRAM_BYTES_MAX)
        except OSError:
            # Nothing is left, or another worker was first.
            return
        logs.send("segment", "", data.decode("utf-8", "replace"))
