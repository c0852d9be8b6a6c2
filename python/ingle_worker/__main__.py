"""Entry: `python <folder>/ingle_worker` or `python <folder>/ingle_worker/__main__.py`."""


def _start():
    import os
    import sys

    package = os.path.dirname(os.path.realpath(__file__))
    # Python put our own folder on the path because it ran us from there. Left in place, a user's `import logs` or
    # `import frames` would find our modules; so our parent is there only while the package itself is looked up.
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != package]
    sys.path.insert(0, os.path.dirname(package))
    try:
        import ingle_worker.loop as loop
    finally:
        del sys.path[0]
    loop.main()


# A process that `multiprocessing` spawns imports this file again under another name.
if __name__ == "__main__":
    _start()
