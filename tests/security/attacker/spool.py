"""T-010: the folder into which large outputs are written, and what is named there."""

import os
import time

from trying import LIBC, worker_module


def prepare(arguments):
    """Lets the worker name something else than what it should have written."""
    module = worker_module("spool")
    folder, manner, leads_to = module.SPOOL.folder, arguments["manner"], arguments["leads_to"]
    name = "%d-%s" % (module.SPOOL.owner, manner)
    path, other = os.path.join(folder, name), os.path.join(folder, name + "-other")

    def named(_pieces):
        for old in (path, other):
            if os.path.lexists(old):
                os.rmdir(old) if os.path.isdir(old) and not os.path.islink(old) else os.unlink(old)
        told = MANNERS[manner](path, other, leads_to) or name
        return '["file",{"name":"%s"},0]' % told, (), 0

    module._write = named


def _swap(path, other, leads_to):
    with open(path, "wb") as file:
        file.write(b"x" * (2 << 20))
    os.symlink(leads_to, other)
    if os.fork() == 0:
        until = time.monotonic() + 1
        while time.monotonic() < until and LIBC.renameat2(-100, path.encode(), -100, other.encode(), 2) == 0:
            pass
        os._exit(0)


MANNERS = {
    "link": lambda path, other, leads_to: os.symlink(leads_to, path),
    "hard": lambda path, other, leads_to: os.link(leads_to, path),
    "pipe": lambda path, other, leads_to: os.mkfifo(path),
    "folder": lambda path, other, leads_to: os.mkdir(path),
    "above": lambda path, other, leads_to: "../../" + os.path.basename(leads_to),
    "absolute": lambda path, other, leads_to: leads_to,
    "swap": _swap,
}
