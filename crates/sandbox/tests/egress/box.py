"""A box for tests: namespaces of its own, a filter that hands over connect and listen, and a piece of code to run.

Descriptor 3 is a Unix socket to the test. It gets the listener, and the two sockets of a resolver; a byte that comes back
starts the code. If this machine does not let us make a box, the output begins with `SKIPPED` and says why.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
CALLS = {"x86_64": (0xC000003E, 42, 50, 317), "aarch64": (0xC00000B7, 203, 201, 277)}
NEWUSER, NEWNET = 0x10000000, 0x40000000
NEW_LISTENER, WAIT_KILLABLE_RECV = 8, 32


def skip(why):
    print("SKIPPED", why, flush=True)
    os._exit(0)


def check(result, what):
    if result < 0:
        skip(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def make_namespaces():
    user, group = os.geteuid(), os.getegid()
    check(libc.unshare(NEWUSER | NEWNET), "unshare")
    try:
        with open("/proc/self/setgroups", "w") as file:
            file.write("deny")
        with open("/proc/self/uid_map", "w") as file:
            file.write(f"0 {user} 1")
        with open("/proc/self/gid_map", "w") as file:
            file.write(f"0 {group} 1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            # SIOCSIFFLAGS: up and running.
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
    except OSError as error:
        skip(f"namespaces: {error}")


def resolver_sockets():
    packets = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    packets.bind(("127.0.0.53", 53))
    connections = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connections.bind(("127.0.0.53", 53))
    connections.listen(16)
    return packets, connections


def install_filter():
    architecture, connect, listen, seccomp = CALLS[platform.machine()]
    # Load the architecture: another's call is allowed here, as nothing but Python runs. Load the number of the call.
    code = [
        (0x20, 0, 0, 4), (0x15, 0, 3, architecture), (0x20, 0, 0, 0),
        (0x15, 2, 0, connect), (0x15, 1, 0, listen), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x7FC00000),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    header = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
    check(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    flags = NEW_LISTENER | WAIT_KILLABLE_RECV
    listener = libc.syscall(seccomp, 1, flags, ctypes.create_string_buffer(header))
    return check(listener, "seccomp")


# What follows is for the pieces of code.


def attempt(call, *arguments):
    """The name of the error, or OK."""
    try:
        call(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "OK"


def connect_to(host, port, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as client:
        return attempt(client.connect, (host, port))


def echo(client, text):
    client.sendall(text)
    received = b""
    while len(received) < len(text):
        received += client.recv(65536)
    return received == text


def failed_of_host(port):
    """A socket of the host's namespace, whose connection to a port where nobody listens has failed."""
    client = socket.socket()
    client.setblocking(False)
    assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
    import select
    select.select([], [client], [])
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    return client


def main():
    code, values = sys.argv[1], json.loads(sys.argv[2])
    make_namespaces()
    packets, connections = resolver_sockets()
    listener = install_filter()
    with socket.socket(fileno=3) as test:
        socket.send_fds(test, [b"."], [listener, packets.fileno(), connections.fileno()])
        os.close(listener)
        packets.close()
        connections.close()
        test.recv(1)
    exec(compile(code, "code", "exec"), dict(globals(), **values))
    # Not the usual way out: it ends threads, for which Python may want a library that a changed root does not have.
    sys.stdout.flush()
    os._exit(0)


main()
