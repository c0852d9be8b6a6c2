"""Debugging: debugpy listens inside the worker, and the server leads the editor's connection to it.

debugpy is imported only when the server asks for it. Its adapter runs in this process (`in_process_debug_adapter`), so
there is no second process that would outlive the worker.
"""

import os
import socket
import sys

from . import logs

_HOST = "127.0.0.1"


def listen(request, root, send):
    """Starts the debugger that a `load` frame asks for and tells its port; may wait for an editor.

    `root`: only code below it is the user's, so that nobody steps through the worker.
    """
    # debugpy reads both when it is imported. The first one keeps it quiet about modules that are frozen into Python.
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    os.environ.setdefault("IDE_PROJECT_ROOTS", root)
    try:
        debugpy = _import(request["site"])
        port = _free_port()
        debugpy.listen((_HOST, port), in_process_debug_adapter=True)
    except Exception as error:
        logs.send("error", "ingle_worker", "debugging is off: debugpy did not start: %s: %s" % (
            type(error).__name__, error))
        return
    send({"type": "debugger", "port": port})
    if request["wait"]:
        debugpy.wait_for_client()
    if request["stop"]:
        _stop_at_first_line()


def _import(site):
    """`debugpy`, from a folder that is on the path for this import only."""
    if site is None:
        import debugpy
    else:
        sys.path.insert(0, site)
        try:
            import debugpy
        finally:
            sys.path.remove(site)
    return debugpy


def _free_port():
    # Older versions of debugpy do not tell which port they took.
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return probe.getsockname()[1]


def _stop_at_first_line():
    # debugpy has this for programs that it starts itself; there is no public name for it.
    try:
        from _pydevd_bundle.pydevd_api import PyDevdAPI

        PyDevdAPI().stop_on_entry()
    except Exception as error:
        logs.send("warning", "ingle_worker", "this debugpy can't stop at the first line: %r" % (error,))
