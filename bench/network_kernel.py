"""What the kernel gives a process to be kept from the network with, by system calls alone: a namespace and a filter that
hands `connect` over, or Landlock's rules for ports.

`python network_kernel.py make <namespace|landlock> <count> <user>` makes it in so many processes and prints what each took, in
seconds, as JSON; `python network_kernel.py landlock '<ports>' '<question>'` answers a question of `probe.py` behind rules.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List

# <linux/landlock.h>; the numbers of these calls are the same on every architecture.
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_ACCESS_NET_CONNECT_TCP = 2
LANDLOCK_RULE_NET_PORT = 2
# The first version of Landlock that knows ports: Linux 6.7.
LANDLOCK_VERSION_OF_PORTS = 4
# <linux/seccomp.h>, <linux/filter.h>, <linux/prctl.h>, <linux/sched.h>, <linux/sockios.h>, <linux/if.h>
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 3, 1 << 5
SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW = 0x7FC0_0000, 0x7FFF_0000
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR = 0x8913, 0x8914, 0x8916
IFF_UP = 1
# By architecture: seccomp, connect, listen.
NUMBERS = {"x86_64": (317, 42, 50), "aarch64": (277, 203, 201)}
# As many entries as the list of what may be reached has in all ways.
ENTRIES = 10

LIBRARY = ctypes.CDLL(None, use_errno=True)


def checked(returned: int, what: str) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return returned


def landlock_version() -> int:
    """0 if the kernel has none."""
    return max(0, LIBRARY.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), LANDLOCK_CREATE_RULESET_VERSION))


def allow_no_more_rights() -> None:
    checked(LIBRARY.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def restrict_ports(ports: List[int]) -> None:
    """From now on this process connects to these ports only, by TCP."""
    # No right to files is handled, and the one to connect is.
    attributes = struct.pack("=QQ", 0, LANDLOCK_ACCESS_NET_CONNECT_TCP)
    size = ctypes.c_size_t(len(attributes))
    ruleset = checked(LIBRARY.syscall(LANDLOCK_CREATE_RULESET, attributes, size, 0), "landlock_create_ruleset")
    for port in ports:
        rule = struct.pack("=QQ", LANDLOCK_ACCESS_NET_CONNECT_TCP, port)
        checked(LIBRARY.syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_NET_PORT, rule, 0), "landlock_add_rule")
    allow_no_more_rights()
    checked(LIBRARY.syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def enter_namespace() -> None:
    """A network with nothing but loopback, and a filter whose listener is told of each `connect` and `listen`."""
    namespaces = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWUSER | CLONE_NEWNET
    checked(LIBRARY.unshare(namespaces), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", struct.unpack("16sH22x", flags)[1] | IFF_UP))
        resolver = struct.pack("16sHH4s16x", b"lo:0", socket.AF_INET, 0, socket.inet_aton("127.0.0.53"))
        fcntl.ioctl(control, SIOCSIFADDR, resolver)
    allow_no_more_rights()
    hand_over_connections()


def hand_over_connections() -> int:
    """The listener's descriptor."""
    seccomp, connect, listen = NUMBERS[platform.machine()]
    steps = [
        (LOAD_WORD, 0, 0, 0),
        (JUMP_IF_EQUAL, 2, 0, connect),
        (JUMP_IF_EQUAL, 1, 0, listen),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
        (RETURN, 0, 0, SECCOMP_RET_USER_NOTIF),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
    return checked(LIBRARY.syscall(seccomp, SECCOMP_SET_MODE_FILTER, ctypes.c_ulong(flags), program), "seccomp")


WAYS: Dict[str, Callable[[], None]] = {
    "namespace": enter_namespace,
    "landlock": lambda: restrict_ports(list(range(1, ENTRIES + 1))),
}


def make(way: str, count: int, user: int) -> List[float]:
    """Seconds that each of so many processes of this user took, all of which are there until the last one is."""
    readings = []
    end, kept = os.pipe()
    for _ in range(count):
        answer, saying = os.pipe()
        if os.fork() == 0:
            os.close(kept)
            make_in_child(way, user, saying, end)
        os.close(saying)
        with os.fdopen(answer) as text:
            said = text.read()
        if not said or "error" in json.loads(said):
            raise SystemExit(f"error: {json.loads(said)['error'] if said else 'a process ended without a word'}")
        readings.append(json.loads(said)["took"])
    os.close(kept)
    return readings


def make_in_child(way: str, user: int, saying: int, end: int) -> None:
    try:
        if user != os.geteuid():
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        begin = time.perf_counter()
        try:
            WAYS[way]()
            said = {"took": time.perf_counter() - begin}
        except OSError as error:
            said = {"error": error.strerror}
        os.write(saying, json.dumps(said).encode())
        os.close(saying)
        os.read(end, 1)
    finally:
        # It must not go on with the work of its parent.
        os._exit(0)


def main(arguments: List[str]) -> None:
    if arguments[0] == "make":
        print(json.dumps(make(arguments[1], int(arguments[2]), int(arguments[3]))))
        return
    sys.path.insert(0, str(Path(__file__).parent / "apps" / "network"))
    import probe

    restrict_ports(json.loads(arguments[1]))
    print(json.dumps(probe.answer(json.loads(arguments[2]))))


if __name__ == "__main__":
    main(sys.argv[1:])
