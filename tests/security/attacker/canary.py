"""T-048, T-050: looks for words that it must not find, in all that a function can see.

The words come in halves, so that looking for one does not put it where it is looked for.
"""

import contextlib
import ctypes
import os
import stat

# What nobody of the test could have written to, and is large.
SKIPPED = ("/usr", "/proc/kpage", "/proc/kallsyms", "/proc/config.gz")
BYTES_MAX = 1 << 20
MEMORY_MAX = 96 << 20


def look(arguments):
    halves = [(first.encode(), second.encode()) for first, second in arguments["halves"]]
    found, looked = set(), [0, 0]

    def search(content, place):
        looked[0] += 1
        looked[1] += len(content)
        for first, second in halves:
            at = content.find(first)
            while at >= 0:
                if content.startswith(second, at + len(first)):
                    found.add("%s… in %s" % (first.decode(), place))
                at = content.find(first, at + 1)

    for path, folders, names in os.walk("/", onerror=None):
        folders[:] = [name for name in folders if not os.path.join(path, name).startswith(SKIPPED + tuple(arguments["skipped"]))]
        for name in folders + names:
            search(name.encode("utf-8", "surrogateescape"), "name of " + path)
        for name in names:
            _file(os.path.join(path, name), search)
    for number in [name for name in os.listdir("/proc") if name.isdigit()]:
        _memory(number, search)
    search("\0".join("%s=%s" % pair for pair in os.environ.items()).encode(), "environment")
    return {"found": sorted(found), "files": looked[0], "bytes": looked[1]}


def _file(path, search):
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            search(os.readlink(path).encode("utf-8", "surrogateescape"), path)
            return
        if not stat.S_ISREG(mode) or path.startswith(SKIPPED) or path.endswith("/mem") or "/pagemap" in path:
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            search(os.read(descriptor, BYTES_MAX), path)
        finally:
            os.close(descriptor)
    except OSError:
        pass


def _memory(number, search):
    """Its own memory, what it has from its parent in it, and whoever else's can be read."""
    left = MEMORY_MAX
    try:
        with open("/proc/%s/maps" % number) as file:
            maps = file.read().splitlines()
        with _reader(number) as read:
            for line in maps:
                span, rights = line.split()[:2]
                if "r" not in rights or "[v" in line or left <= 0:
                    continue
                start, end = (int(number, 16) for number in span.split("-"))
                size = min(end - start, left, 16 << 20)
                try:
                    content = read(start, size)
                except (OSError, ValueError, OverflowError):
                    continue
                left -= len(content)
                search(content, "memory of %s" % number)
                content = None
    except OSError:
        pass


@contextlib.contextmanager
def _reader(number):
    """Reads memory of a process: as a file, or, where there is no such file, what is its own through a pipe."""
    if os.path.exists("/proc/%s/mem" % number) or int(number) != os.getpid():
        with open("/proc/%s/mem" % number, "rb", buffering=0) as memory:
            yield lambda start, size: memory.seek(start) and memory.read(size)
        return
    ours, theirs = os.pipe()
    try:
        yield lambda start, size: _through(ours, theirs, start, size)
    finally:
        os.close(ours)
        os.close(theirs)


def _through(ours, theirs, start, size):
    """The kernel copies it, and refuses what is not there, which a read of our own would not outlive."""
    from trying import LIBC, call

    content = bytearray()
    while len(content) < size:
        piece = min(size - len(content), 1 << 15)
        call(LIBC.write, theirs, ctypes.c_void_p(start + len(content)), ctypes.c_size_t(piece))
        content += os.read(ours, piece)
    return bytes(content)


def keep(arguments):
    """T-049: leaves something wherever something can be left."""
    import ctypes
    import socket
    import sys

    from trying import LIBC, worker_module

    mark = arguments["mark"]
    os.environ["LEFT_OVER"] = mark
    sys.LEFT_OVER = mark
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", os.path.dirname(os.path.abspath(__file__)), "/tmp/state"):
        try:
            with open(folder + "/" + mark, "w") as file:
                file.write(mark)
        except OSError:
            pass
    with open(os.path.join(worker_module("spool").SPOOL.folder, "%d-left" % worker_module("spool").SPOOL.owner), "w") as file:
        file.write(mark)
    os.umask(0)
    os.chdir("/tmp")
    # What Python does only for its main thread.
    LIBC.signal(10, ctypes.c_void_p(1))
    left = socket.socket(socket.AF_UNIX)
    left.bind("\0" + mark)
    left.listen()
    sys.KEPT_SOCKET = left
    LIBC.shmget(0x1234, 4096, 0o1666)
    return {"pid": os.getpid()}


def left(arguments):
    """What is still there of it in another worker."""
    import socket
    import sys

    from trying import LIBC, Attempts, worker_module

    mark = arguments["mark"]
    attempts = Attempts()

    def there(condition):
        if not condition:
            raise LookupError("nothing is left")
        return True

    attempts.attempt("environment", lambda: there(os.environ.get("LEFT_OVER")))
    attempts.attempt("module", lambda: there(hasattr(sys, "LEFT_OVER")))
    for folder in ("/tmp", "/dev/shm", "/var/tmp", "/run", os.path.dirname(os.path.abspath(__file__)), "/tmp/state"):
        attempts.attempt("file in " + folder, lambda: there(os.path.exists(folder + "/" + mark)))
    attempts.attempt("spool", lambda: there(os.listdir(worker_module("spool").SPOOL.folder)))
    attempts.attempt("umask", lambda: there(os.umask(0o22) == 0))
    attempts.attempt("folder", lambda: there(os.getcwd() == "/tmp"))
    attempts.attempt("signals", lambda: there(_ignored() & 1 << 9))
    attempts.attempt("shared memory", lambda: there(LIBC.shmget(0x1234, 4096, 0) >= 0))
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(1)
    attempts.attempt("socket", lambda: connected.connect("\0" + mark))
    return attempts.answer()


def _ignored():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("SigIgn:"))
