"""T-004: doors into the kernel."""

import ctypes
import errno
import os
import platform
import socket

from trying import LIBC, Attempts, call, system_call

NAMESPACES = {"user": 0x10000000, "mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000,
              "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
# Numbers of x86_64; those since 5.1 are the same everywhere.
X86 = {
    "ptrace": 101, "syslog": 103, "pivot_root": 155, "adjtimex": 159, "chroot": 161, "acct": 163,
    "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167, "reboot": 169, "sethostname": 170, "iopl": 172,
    "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179, "add_key": 248, "request_key": 249,
    "keyctl": 250, "migrate_pages": 256, "kexec_load": 246, "mq_open": 240, "unshare": 272, "move_pages": 279,
    "vmsplice": 278, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "finit_module": 313, "bpf": 321, "userfaultfd": 323, "modify_ldt": 154,
}
NEW = {
    "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fspick": 433, "clone3": 435,
    "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
    "memfd_secret": 447, "process_mrelease": 448, "statmount": 457, "listmount": 458, "lsm_get_self_attr": 459,
}
REFUSED = {"EPERM", "ENOSYS", "EACCES"}


def calls(_arguments):
    """Each call with arguments that mean nothing: who hears of them was let in."""
    attempts = Attempts()
    numbers = dict(NEW, **(X86 if platform.machine() == "x86_64" else {}))
    for name, number in numbers.items():
        attempts.attempt(name, lambda: system_call(number, 0, 0, 0, 0, 0, 0))
    for name, flag in NAMESPACES.items():
        if platform.machine() == "x86_64":
            attempts.attempt("unshare " + name, lambda: system_call(272, flag))
            # In clone the bit of the last one is part of a signal's number.
            if name != "time":
                attempts.attempt("clone " + name, lambda: _clone(flag))
    if platform.machine() == "x86_64":
        attempts.attempt("addresses that are not random", lambda: system_call(135, 0x0040000))
    # Another error than a refusal: the kernel has looked at the arguments.
    for name, why in list(attempts.refused.items()):
        if why not in REFUSED:
            attempts.got[name] = attempts.refused.pop(name)
    return attempts.answer()


def _clone(flag):
    child = system_call(56, flag | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def sockets(_arguments):
    """Kinds of sockets that know no namespaces, or more than those who use them may."""
    attempts = Attempts()
    kinds = {
        "raw": (socket.AF_INET, socket.SOCK_RAW, 1), "raw 6": (socket.AF_INET6, socket.SOCK_RAW, 58),
        "packet": (17, socket.SOCK_RAW, 3), "vsock": (40, socket.SOCK_STREAM, 0), "kernel crypto": (38, 5, 0),
        "netfilter": (16, socket.SOCK_RAW, 12), "audit": (16, socket.SOCK_RAW, 9), "uevent": (16, socket.SOCK_DGRAM, 15),
        "bluetooth": (31, 3, 1), "sctp": (socket.AF_INET, socket.SOCK_STREAM, 132), "xdp": (44, socket.SOCK_RAW, 0),
        "ping": (socket.AF_INET, socket.SOCK_DGRAM, 1), "tipc": (30, 5, 0), "can": (29, socket.SOCK_RAW, 1),
        "key": (15, socket.SOCK_RAW, 2),
    }
    for name, (family, kind, protocol) in kinds.items():
        attempts.attempt(name, lambda: socket.socket(family, kind, protocol))
    return attempts.answer()


def terminal(_arguments):
    """T-056: the terminal on which the server runs."""
    attempts = Attempts()
    attempts.attempt("open the terminal", lambda: os.open("/dev/tty", os.O_RDWR))
    attempts.attempt("write to it", lambda: _write_to_terminals())
    attempts.attempt("type into it", lambda: call(LIBC.ioctl, 0, 0x5412, ctypes.c_char_p(b"x")))
    return attempts.answer()


def _write_to_terminals():
    for number in range(3):
        if os.isatty(number):
            return os.write(number, b"attack")
    raise OSError(errno.ENOTTY, "there is none")


def other_interface(_arguments):
    """Calls of i386, which a list for x86_64 does not name: the process has to end."""
    import mmap

    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    return {"got": {"i386": ctypes.CFUNCTYPE(ctypes.c_int)(address)()}, "refused": {}}
