"""T-087: what user code does to its own process, by mistake or not."""

import asyncio
import ctypes
import os
import sys


def exit_at_once(_arguments):
    os._exit(3)


def exit_python(_arguments):
    sys.exit(3)


def raise_base(_arguments):
    raise BaseException("neither caught nor expected")


def raise_interrupt(_arguments):
    raise KeyboardInterrupt


def crash(_arguments):
    ctypes.string_at(0)


def abort(_arguments):
    os.abort()


def close_standard(_arguments):
    for number in range(3):
        os.close(number)
    return {"closed": 3}


def close_all(_arguments):
    os.closerange(3, 256)
    return {"closed": "all"}


def replace_output(_arguments):
    sys.stdout = sys.stderr = None
    print("nobody hears it")
    return {"replaced": True}


def break_output(_arguments):
    class Broken:
        def write(self, text):
            raise OSError("broken")

        flush = write

    sys.stdout = sys.stderr = Broken()
    return {"replaced": True}


def change_loop(_arguments):
    class Policy(asyncio.DefaultEventLoopPolicy):
        def get_event_loop(self):
            raise RuntimeError("no loop for anybody")

    asyncio.set_event_loop_policy(Policy())
    return {"changed": True}


def fork_and_return(_arguments):
    child = os.fork()
    if child == 0:
        return {"forked": "child"}
    os.waitpid(child, 0)
    return {"forked": "parent"}


def recursion(_arguments):
    sys.setrecursionlimit(10**9)

    def deeper():
        deeper()

    deeper()


def deadlock(_arguments):
    import threading

    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
