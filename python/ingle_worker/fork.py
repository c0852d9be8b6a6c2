"""Forking: a process makes another worker of itself, which serves the server on sockets of its own.

The process that has imported the app is the *zygote*; it never runs an invocation. Whether it may be forked at all is
judged by what it holds after the import (`reasons_against`): a thread or a connection can't be in two processes.
"""

import _imp
import fcntl
import os
import re
import signal
import socket
import stat
import sys
import threading
import warnings
from importlib.machinery import ModuleSpec

from . import crash, logs

# Thread pools that end before a fork and start anew in both processes when they are used next (`pthread_atfork`).
# One that is seen in no other way than by its threads can't be told from one that would hang, so only these count.
_RESTARTING_POOL = re.compile(r"/lib(scipy_)?openblas[^/]*\.so[^/]*$")
_REASONS_MAX = 5

_entry = None

# This process's own life line, if it was forked.
_life_line = None


def fork(descriptors, standing, cell=None, announces=False):
    """Forks. Returns the child's process id, in the child 0, after it has taken `descriptors` for its own.

    `descriptors`: control socket, standard output, standard error, life line, in this order; perhaps that of a lane.
    `standing`: the numbers of the control socket and of the socket that waits to be the lane's. In the child they lead to
    its own ones: the objects around them, which its parent made, are right at once. What a child does before its first
    call is what that call waits for, so it does as little as it can.
    `cell`: descriptors of the process numbers and mounts into which the child goes before anything of it runs.
    `announces`: the child says a byte on its control socket, by which the server learns who it is: numbers of processes are
    others in a box.
    """
    descriptors = [_above_standard(descriptor) for descriptor in descriptors]
    crash.FORKS.of_our_own = True
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of every thread. Those that matter were found by `reasons_against`.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork() if cell is None else entry().fork(cell[0], cell[1], os.fsencode(_directory()))
    except OSError:
        _close(descriptors)
        raise
    finally:
        crash.FORKS.of_our_own = False
        if cell is not None:
            _close(cell)
    if child == 0:
        if announces:
            os.write(descriptors[0], b"\0")
        _move_in(descriptors, standing)
        return 0
    try:
        # Both sides do this: whoever comes first, the group is there before anybody signals it.
        os.setpgid(child, child)
    except OSError:
        pass
    _die_with(descriptors[3], child)
    _close(descriptors)
    return child


def entry():
    """The native part: it forks into a cell, which Python can't before 3.12."""
    global _entry
    if _entry is None:
        name = "ingle_entry"
        path = os.path.join(os.path.dirname(__file__), "entry.so")
        _entry = _imp.create_dynamic(ModuleSpec(name, None, origin=path))
    return _entry


def _directory():
    try:
        return os.getcwd()
    except OSError:
        # It is gone.
        return "/"


def _above_standard(descriptor):
    """The app may have closed 0 to 2, which then come to us; they are about to mean something else."""
    if descriptor > 2:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(descriptor)
    return moved


def _close(descriptors):
    for descriptor in descriptors:
        os.close(descriptor)


def _move_in(descriptors, standing):
    global _life_line
    control, output, errors, life_line, *lane = descriptors
    os.setpgid(0, 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for theirs, number in zip((control, *lane), standing):
        os.dup2(theirs, number, inheritable=False)
    if _life_line is not None:
        # The parent's; held here it would not close with the parent.
        os.close(_life_line)
    _life_line = life_line
    _close((control, output, errors, *lane))


def _die_with(descriptor, child):
    """Lets the system end the child when the server closes its end, whatever the child does just then.

    A death signal (`prctl`) won't do: the parent is the zygote, which may go while its workers stay. The server hands
    over work only when it has been told of the child, so work begins with the line in place.
    """
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, child)
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)


def renew(loop):
    """Gives a forked event loop a selector and a wake-up socket of its own; the old ones are still the parent's.

    Objects that were made at import time keep the loop that they know.
    """
    old = loop._selector
    kept = [key for key in old.get_map().values() if key.fd != loop._ssock.fileno()]
    loop._selector = type(old)()
    for key in kept:
        loop._selector.register(key.fileobj, key.events, key.data)
    old.close()
    loop._close_self_pipe()
    loop._make_self_pipe()


def reseed():
    """Workers of one zygote must not draw the same numbers. `random` and OpenSSL see to that themselves."""
    generators = sys.modules.get("numpy.random")
    if generators is not None:
        try:
            generators.seed()
        except Exception as error:
            logs.send("warning", "ingle_worker", "numpy's random numbers could not be seeded anew: %r" % (error,))
    ids = sys.modules.get("uuid")
    if ids is not None:
        ids._last_timestamp = None


def before_snapshot():
    """Runs the hooks that the app registered with the package `snapshot_restore_py`, last registered first."""
    hooks = sys.modules.get("snapshot_restore_py")
    if hooks is not None:
        for function, arguments, named in reversed(list(hooks.get_before_snapshot())):
            function(*arguments, **named)


def after_restore():
    """The other half, in the order of registration. One that fails is logged: the worker is there all the same."""
    hooks = sys.modules.get("snapshot_restore_py")
    if hooks is None:
        return
    for function, arguments, named in list(hooks.get_after_restore()):
        try:
            function(*arguments, **named)
        except Exception:
            logs.send("error", "ingle_worker", "a hook behind the fork failed: %s" % logs.exception_text())


def reasons_against(ours):
    """Why this process must not be forked, in words for a person; empty when it may.

    `ours`: the file descriptors that the worker itself holds.
    """
    ours = set(ours) | crash.descriptors() | {_life_line}
    return (_threads() + _children() + _descriptors(ours))[:_REASONS_MAX]


def _threads():
    main = threading.main_thread()
    python = [thread for thread in threading.enumerate() if thread is not main]
    reasons = ["the thread '%s' runs after the import" % thread.name for thread in python]
    own_name = _read("/proc/self/comm")
    unnamed = 0
    # The main thread's is the process's; what `threading` knows of it may be from before a fork.
    known = {str(thread.native_id) for thread in python} | {str(os.getpid())}
    for task in os.listdir("/proc/self/task"):
        if task in known:
            continue
        name = _read("/proc/self/task/%s/comm" % task)
        if name is None:
            continue
        if name == own_name:
            unnamed += 1
        else:
            reasons.append("a native library runs the thread '%s'" % name)
    pools = _restarting_pools()
    # Each pool has one thread less than there are cores: the caller works, too.
    allowed = len(pools) * max(os.cpu_count() - 1, 0)
    if unnamed > allowed:
        reasons.append("a native library runs %d thread%s" % (unnamed, "s" if unnamed > 1 else ""))
    return reasons


def _children():
    """Processes that the import started. They are this process's to wait for, and a worker could not."""
    reasons = []
    for task in os.listdir("/proc/self/task"):
        for number in (_read("/proc/self/task/%s/children" % task) or "").split():
            # `1234 (name) S …`: the name may hold anything, so what counts is behind the last bracket.
            state = (_read("/proc/%s/stat" % number) or "").rpartition(") ")[2][:1]
            if state and state not in "ZX":
                name = _read("/proc/%s/comm" % number)
                reasons.append("the import left the process %s running (%s)" % (number, name))
    return reasons


def _restarting_pools():
    found = set()
    for line in (_read("/proc/self/maps") or "").splitlines():
        match = _RESTARTING_POOL.search(line)
        if match:
            found.add(match.group())
    return found


def _descriptors(ours):
    reasons = []
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        if number <= 2 or number in ours:
            continue
        try:
            target = os.readlink("/proc/self/fd/" + name)
            mode = os.fstat(number).st_mode
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
        except OSError:
            # It was the one that lists the folder.
            continue
        if stat.S_ISSOCK(mode):
            reasons.append("the import left %s open" % _socket(number))
        elif stat.S_ISFIFO(mode):
            reasons.append("the import left a pipe open")
        elif target.startswith("anon_inode:"):
            reasons.append("the import left an %s open" % target[len("anon_inode:") :].strip("[]"))
        elif stat.S_ISREG(mode) and flags & os.O_ACCMODE != os.O_RDONLY and not flags & os.O_APPEND:
            if not target.startswith("/memfd:"):
                reasons.append("the import left the file %s open for writing" % target)
    return reasons


def _socket(number):
    try:
        shared = socket.socket(fileno=os.dup(number))
    except OSError:
        return "a socket"
    with shared:
        try:
            peer = shared.getpeername()
        except OSError:
            return "a socket"
    if isinstance(peer, tuple) and len(peer) >= 2:
        return "a connection to %s:%s" % (peer[0], peer[1])
    return "a connection to %s" % (peer or "another process",)


def _read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None
