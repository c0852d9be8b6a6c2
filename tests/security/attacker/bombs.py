"""T-012 to T-015, T-017: using up what there is."""

import ctypes
import errno
import mmap
import os
import socket
import threading
import time

from trying import LIBC, worker_module


def forks(_arguments):
    """Forks until that is refused, and counts who came to be. None of them is waited for."""
    born = 0
    while True:
        try:
            child = os.fork()
        except OSError as error:
            return {"born": born, "refused": errno.errorcode[error.errno]}
        if child == 0:
            time.sleep(3600)
            os._exit(0)
        born += 1
        if born > 5000:
            return {"born": born, "refused": None}


def fork_storm(_arguments):
    """Each process forks two, for ever: nobody counts."""
    while True:
        try:
            if os.fork() == 0:
                try:
                    os.setsid()
                except OSError:
                    pass
        except OSError:
            pass


def bytes_without_end(_arguments):
    kept = []
    while True:
        kept.append(bytearray(4 << 20))


def many_small(_arguments):
    kept = []
    while True:
        kept.append(dict(a=len(kept)))


def shared_folder(_arguments):
    return _fill_folder("/dev/shm")


def _fill_folder(folder, piece=1 << 20, most=1 << 33):
    written = 0
    try:
        with open(folder + "/bomb", "wb", buffering=0) as file:
            while written < most:
                written += file.write(b"x" * piece)
    except OSError as error:
        os.unlink(folder + "/bomb")
        return {"written": written, "refused": errno.errorcode[error.errno]}
    return {"written": written, "refused": None}


def temporary_folder(_arguments):
    return _fill_folder("/tmp")


def shared_mapping(_arguments):
    kept = []
    while True:
        mapping = mmap.mmap(-1, 16 << 20)
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(mapping)), 1, 16 << 20)
        kept.append(mapping)


def memory_files(_arguments):
    kept = []
    while True:
        file = os.memfd_create("bomb")
        os.write(file, b"x" * (8 << 20))
        kept.append(file)


def system_v(arguments):
    """Shared memory that outlives its maker: made, filled, left behind."""
    LIBC.shmat.restype = ctypes.c_void_p
    size = arguments["bytes"]
    identity = LIBC.shmget(0, size, 0o1600)
    address = LIBC.shmat(identity, None, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        return {"refused": errno.errorcode.get(ctypes.get_errno(), "?")}
    ctypes.memset(address, 1, size)
    os._exit(0)


def children(_arguments):
    """A child takes the memory, not the worker itself. One that is forked in the first moments counts for the process that
    forked the worker, which has the same limit, and is told in another way."""
    _wait_for_limits()
    if os.fork() == 0:
        kept = []
        while True:
            kept.append(bytearray(4 << 20))
    while True:
        time.sleep(1)


def daemon(_arguments):
    """A process that has left its worker takes the memory, slowly enough for somebody who looks now and then."""
    _wait_for_limits()
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        kept = []
        while True:
            kept.append(bytearray(4 << 20))
            time.sleep(0.02)
    os.wait()
    while True:
        time.sleep(1)


def _wait_for_limits():
    if os.GROUPS_AT_IMPORT is None:
        return
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with open("/proc/self/cgroup") as file:
            if file.read() != os.GROUPS_AT_IMPORT:
                return
        time.sleep(0.01)


def files(_arguments):
    """Empty files: a file system has a number of them, too."""
    made = 0
    os.mkdir("/tmp/files")
    try:
        while made < 10_000_000:
            os.close(os.open("/tmp/files/%d" % made, os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        return {"made": made, "refused": errno.errorcode[error.errno]}
    return {"made": made, "refused": None}


def descriptors(_arguments):
    return _until_refused(lambda: os.dup(0), os.close)


def sockets(_arguments):
    return _until_refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), lambda made: made.close())


def watches(_arguments):
    return _until_refused(lambda: _checked(LIBC.inotify_init1(0)), os.close)


def _checked(number):
    if number < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return number


def _until_refused(make, close):
    made, refused = [], None
    try:
        while len(made) < 100_000:
            made.append(make())
    except OSError as error:
        refused = errno.errorcode[error.errno]
    for one in made:
        close(one)
    return {"made": len(made), "refused": refused}


def threads(_arguments):
    started, over = [], threading.Event()
    refused = None
    try:
        while len(started) < 20_000:
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        refused = str(error)
    over.set()
    for thread in started:
        thread.join()
    return {"started": len(started), "refused": refused}


def spin(_arguments):
    while True:
        pass


def spin_in_c(_arguments):
    """Holds the interpreter's lock in one call that never comes back."""
    import re

    return {"matched": bool(re.match(r"(a+)+$", "a" * 64 + "b"))}


def sleep(_arguments):
    time.sleep(3600)


def deaf(_arguments):
    """Takes no signal that can be left untaken."""
    import signal

    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass


def spool_folder(arguments):
    """The one folder of the host that can be written to."""
    folder = worker_module("spool").SPOOL.folder
    written = _fill_folder(folder, most=arguments["most"])
    if os.path.exists(folder + "/bomb"):
        os.unlink(folder + "/bomb")
    return written
