"""T-051: places that can be reached from the machine and must not be reached from a function."""

import errno
import os
import socket
import tempfile
import threading

from trying import Attempts


def _talk(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as connected:
        connected.settimeout(3)
        connected.connect(address)
        connected.sendall(b"GET /admin/host/status HTTP/1.0\r\nhost: localhost\r\n\r\n")
        return connected.recv(200)


def reach(arguments):
    attempts = Attempts()
    ports = arguments["ports"]
    for port in ports:
        for host in ("127.0.0.1", "127.1.2.3", "0.0.0.0", "localhost", *arguments["own"]):
            attempts.attempt("%s port %d" % (host, ports.index(port)), lambda: _talk(socket.AF_INET, (host, port)))
        for host in ("::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1"):
            attempts.attempt("%s port %d" % (host, ports.index(port)), lambda: _talk(socket.AF_INET6, (host, port)))
    # Where nothing keeps them in, requests would leave the machine.
    for host in () if arguments.get("only_here") else ("169.254.169.254", "168.63.129.16", "100.100.100.200", "10.0.0.1", "192.168.0.1", "172.17.0.1",
                 "100.64.0.1", "224.0.0.1", "255.255.255.255"):
        attempts.attempt(host, lambda: _talk(socket.AF_INET, (host, 80)))
    for path in arguments["paths"]:
        attempts.attempt(path, lambda: _talk(socket.AF_UNIX, path))
    for name in arguments["abstract"]:
        attempts.attempt("@" + name, lambda: _talk(socket.AF_UNIX, "\0" + name))
    return attempts.answer()


def datagrams(arguments):
    """Nothing of it may arrive; whether sending fails is of no interest."""
    sent = 0
    for host in ("127.0.0.1", *arguments["own"]):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(arguments["text"].encode(), (host, arguments["port"]))
                sent += 1
            except OSError:
                pass
    return {"sent": sent}


def slyly(arguments):
    """Ways to connect other than connect."""
    attempts = Attempts()
    port = arguments["port"]

    def fast_open():
        with socket.socket() as sender:
            return sender.sendto(b"x", 0x20000000, ("127.0.0.1", port))

    def threads():
        """The address changes while the server looks at it."""
        import ctypes
        import threading
        import time

        address = (ctypes.c_char * 16).from_buffer(bytearray(b"\x02\x00" + port.to_bytes(2, "big") + b"\x0a\x00\x00\x01" + bytes(8)))
        over = []

        def flip():
            while not over:
                address[4:8] = b"\x7f\x00\x00\x01"
                address[4:8] = b"\x0a\x00\x00\x01"

        flipper = threading.Thread(target=flip, daemon=True)
        flipper.start()
        library = ctypes.CDLL(None, use_errno=True)
        until = time.monotonic() + 1
        try:
            while time.monotonic() < until:
                with socket.socket() as connected:
                    connected.setblocking(False)
                    library.connect(connected.fileno(), address, 16)
                    try:
                        if connected.getpeername()[0] == "127.0.0.1":
                            return "connected"
                    except OSError:
                        pass
        finally:
            over.append(True)
            flipper.join()
        raise ConnectionRefusedError("never")

    def listen_outside():
        listening = socket.socket()
        listening.bind(("0.0.0.0", arguments["listen"]))
        listening.listen()
        return _keep(listening)

    attempts.attempt("connect by sending", fast_open)
    attempts.attempt("swap the address", threads)
    answer = attempts.answer()
    try:
        answer["listens"] = listen_outside()
    except OSError as error:
        answer["listens"] = str(error)
    return answer


def serve(arguments):
    """Serves in all manners in which programs of one machine talk with each other, and tells where."""
    mark = arguments["mark"]
    stream, datagram = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream.bind(("0.0.0.0", 0))
    datagram.bind(("0.0.0.0", 0))
    abstract, named = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + mark)
    path = tempfile.gettempdir() + "/" + mark
    named.bind(path)
    os.chmod(path, 0o777)
    for listening in (stream, abstract, named):
        listening.listen()
        threading.Thread(target=_greet, args=(listening,), daemon=True).start()
    threading.Thread(target=_echo, args=(datagram,), daemon=True).start()
    KEPT.extend((stream, datagram, abstract, named))
    return {"stream": stream.getsockname()[1], "datagram": datagram.getsockname()[1], "abstract": mark, "path": path}


def _greet(listening):
    while True:
        visitor, _address = listening.accept()
        with visitor:
            visitor.sendall(b"a secret of this app")


def _echo(datagram):
    while True:
        _content, address = datagram.recvfrom(100)
        datagram.sendto(b"a secret of this app", address)


def visit(arguments):
    """Tries to reach what an app serves."""
    attempts = Attempts()
    for host in ("127.0.0.1", *arguments["own"]):
        attempts.attempt("stream", lambda: _heard(socket.AF_INET, (host, arguments["stream"])))
        attempts.attempt("datagram", lambda: _answered((host, arguments["datagram"])))
    attempts.attempt("abstract", lambda: _heard(socket.AF_UNIX, "\0" + arguments["abstract"]))
    attempts.attempt("path", lambda: _heard(socket.AF_UNIX, arguments["path"]))
    return attempts.answer()


def _heard(family, address):
    with socket.socket(family) as visiting:
        visiting.settimeout(0.3)
        visiting.connect(address)
        return _secret(visiting.recv(100))


def _answered(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as visiting:
        visiting.settimeout(0.1)
        visiting.sendto(b"knock", address)
        return _secret(visiting.recv(100))


def _secret(content):
    if not content:
        raise ConnectionResetError(errno.ECONNRESET, "nothing was said")
    return content


KEPT = []


def _keep(listening):
    KEPT.append(listening)
    return listening.getsockname()[1]


def dns(arguments):
    """Names that lead to places of the machine."""
    attempts = Attempts()
    for name in arguments["names"]:
        attempts.attempt(name, lambda: _talk(socket.AF_INET, (name, arguments["port"])))
    return attempts.answer()
