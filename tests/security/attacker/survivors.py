"""T-016: processes and threads that are to outlive their worker. Each is marked by the name that the host sees."""

import ctypes
import os
import signal
import threading
import time

from trying import LIBC


def daemons(arguments):
    """In all manners in which a program leaves its parent."""
    for manner in (_double_fork, _own_session, _own_group, _deaf, _new_program):
        if os.fork() == 0:
            try:
                manner(arguments["mark"])
            finally:
                os._exit(0)
    return {"seen": _wait_for(arguments["mark"], arguments.get("named", 5))}


def _wait_for(mark, count):
    until = time.monotonic() + 10
    while True:
        seen = sum(mark in _read(number) for number in os.listdir("/proc") if number.isdigit())
        if seen >= count or time.monotonic() > until:
            return seen
        time.sleep(0.01)


def _read(number):
    try:
        with open("/proc/%s/comm" % number) as file:
            return file.read()
    except OSError:
        return ""


def _rest(mark):
    LIBC.prctl(15, ctypes.c_char_p(mark.encode()), 0, 0, 0)
    while True:
        time.sleep(3600)


def _double_fork(mark):
    os.setsid()
    if os.fork() == 0:
        _rest(mark)


def _own_session(mark):
    os.setsid()
    _rest(mark)


def _own_group(mark):
    os.setpgid(0, 0)
    _rest(mark)


def _deaf(mark):
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    LIBC.prctl(36, 1, 0, 0, 0)
    if os.fork() == 0:
        os.setsid()
        _rest(mark)
    os._exit(0)


def _new_program(mark):
    os.setsid()
    os.execv("/bin/sh", [mark, "-c", "printf %s > /proc/self/comm; while :; do sleep 3600; done" % mark])


def thread_behind(_arguments):
    """A thread goes on after the answer."""
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()
    return {"threads": threading.active_count()}


def end(_arguments):
    os._exit(7)


def stop_all(_arguments):
    """Stops every process that can be signalled; the server has to notice."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        # There is nobody.
        pass
    # Of this thread, so that it can't go on until the others have stopped.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
