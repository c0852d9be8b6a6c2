"""Ends of the process that are not the worker's own: `os._exit`, faults in native code, forks."""

import faulthandler
import os
import signal
import sys
import threading

from . import logs
from .context import current_id
from .frames import to_json

_leave = os._exit
_owner = os.getpid()
_control = None
_fault_file = None
_sockets = []
_forked = False
_fork_masks = threading.local()


class Forks:
    """Whose fork is going on."""

    # True while the worker makes another worker of itself: that child is no child of the user's.
    of_our_own = False


FORKS = Forks()


def install(control):
    """Takes over `os._exit`, faults and forks. `control` is told before the process goes."""
    settle(control)

    def exit_told(status):
        """`os._exit`, telling Ingle which invocation called it."""
        if os.getpid() == _owner:
            try:
                _control.send(to_json({"type": "exiting", "id": current_id(), "status": _as_status(status)}))
            except OSError:
                pass
        _leave(status)

    exit_told.__name__ = "_exit"
    os._exit = exit_told
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


def settle(control):
    """Makes this process, started or forked, the one that is watched."""
    global _owner, _control, _fault_file
    _owner = os.getpid()
    _control = control
    # A copy of fd 2, which user code may close or replace.
    try:
        if _fault_file is not None:
            # The fault handler knows the number, and a forked process has another fd 2 behind it.
            os.dup2(2, _fault_file, inheritable=False)
            return
        _fault_file = os.dup(2)
        faulthandler.enable(file=_fault_file, all_threads=True)
    except (OSError, ValueError):
        pass


def descriptors():
    """The file descriptors that are kept here."""
    return set() if _fault_file is None else {_fault_file}


def _as_status(status):
    return status if isinstance(status, int) else 1


def leave(status):
    """Ends the process without telling anyone."""
    _leave(status)


def watch(connected):
    """A socket to close in a forked child."""
    _sockets.append(connected)


def unwatch(connected):
    try:
        _sockets.remove(connected)
    except ValueError:
        pass


def _before_fork():
    # Python forgets signals that reach a new child before it is ready. Ours would otherwise live on after a
    # `Process.terminate()` right behind its start: without our handler, SIGTERM would have ended it.
    _fork_masks.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _after_fork():
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork_masks.mask)


def _in_child():
    # A child has its own business. Were it to answer on our sockets, the server would take its words for ours.
    global _forked
    if FORKS.of_our_own:
        _after_fork()
        return
    _forked = True
    for connected in _sockets:
        try:
            connected.close()
        except OSError:
            pass
    logs.become_plain()
    os._exit = _leave
    if threading.current_thread() is threading.main_thread():
        # `Process.terminate()` has to end the child, which our handler would not.
        for number, handler in _handlers.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    _after_fork()


_handlers = {}


def install_signals(stop):
    """Ctrl-C reaches the whole terminal group and is the server's affair; SIGTERM is `stop`. Apps may override."""

    # A handler that does nothing rather than SIG_IGN, which the app's child processes would inherit.
    def ignore(_number, _frame):
        pass

    def terminate(_number, _frame):
        stop()

    _handlers[signal.SIGINT] = ignore
    _handlers[signal.SIGTERM] = terminate
    for number, handler in _handlers.items():
        signal.signal(number, handler)


def leave_if_forked():
    """Ends a forked child that came back from the app's code: it has no business in the worker's loops."""
    if _forked:
        try:
            os.write(2, b"a child process forked by the app came back from its code instead of calling os._exit; ended\n")
        except OSError:
            pass
        sys.stdout.flush()
        _leave(1)
