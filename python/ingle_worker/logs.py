"""Everything that user code says becomes a `log` frame, tied to the invocation it was said for.

`logging`, `print`, standard error, warnings, uncaught exceptions of threads, unraisable ones, and those of asyncio.
What belongs to no invocation goes out with a null id: it is never dropped.
"""

import concurrent.futures
import io
import logging
import os
import sys
import threading

from .context import CURRENT, THREAD_LOCAL
from .frames import clean, quote

# The server has others to hear, too, and reads a message in one go.
MESSAGE_BYTES_MAX = 256 * 1024
# A line longer than this goes out in pieces.
_LINE_CHARACTERS_MAX = 64 * 1024

_control = None
_plain = False
# Is told each line in the form of the platform that the app was written for; see `listen`.
_listener = None
# The level that the root logger was given here.
_root_level = None
# Nobody but the app changes it.
_level_is_left = False
_streams = []
_get_ident = threading.get_ident


def send(level, logger, message, text=None):
    """One `log` frame: on the lane if this thread is the lane of its invocation, on the control socket otherwise.

    `text`: the same as the platform writes it that the app was written for, if that has a form of its own.
    """
    if len(message) > MESSAGE_BYTES_MAX // 4:
        message = _capped(message)
    if text is not None and len(text) > MESSAGE_BYTES_MAX // 4:
        text = _capped(text)
    if _plain:
        _write_plain(level, message if text is None else text.rstrip("\n"))
        return
    if _listener is not None:
        _listener(message if text is None else text)
    invocation = CURRENT.get()
    channel = _control
    if invocation is not None:
        identity = '"%s"' % invocation.id
        if invocation.active and invocation.thread == _get_ident():
            channel = invocation.channel
    else:
        identity = getattr(THREAD_LOCAL, "invocation_id", None)
        identity = "null" if identity is None else quote(str(identity))
    text = "" if text is None else ',"text":' + quote(text)
    header = '{"type":"log","id":%s,"level":"%s","logger":%s,"message":%s%s}' % (
        identity, level, quote(logger), quote(message), text)
    try:
        channel.send(header.encode())
    except OSError:
        # The server is gone, and this process is about to go.
        pass


def _capped(message):
    data = clean(message).encode()
    if len(data) <= MESSAGE_BYTES_MAX:
        return message
    kept = data[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")
    return "%s… (%d bytes left out)" % (kept, len(data) - len(kept.encode()))


def listen(listener):
    """Tells `listener` of all that is said from now on, on the thread that says it."""
    global _listener
    _listener = listener


def become_plain():
    """In a forked child: the sockets are the parent's, so the text goes to the plain file descriptors."""
    global _plain
    _plain = True


def _write_plain(level, message):
    # A child may have put a pipe of its own under 1; everything else is for people, on 2.
    descriptor = 1 if level == "stdout" else 2
    data = (clean(message) + "\n").encode()
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        pass


class Handler(logging.Handler):
    """The root logger's handler."""

    def emit(self, record):
        try:
            send(level_name(record.levelno), record.name, self.format(record))
        except Exception:
            # Arguments that do not fit the message: `logging` prints what and where to standard error.
            self.handleError(record)


def level_name(number):
    """A level of `logging` as the wire names it."""
    if number >= 50:
        return "critical"
    if number >= 40:
        return "error"
    if number >= 30:
        return "warning"
    return "info" if number >= 20 else "debug"


class LineStream(io.TextIOBase):
    """Takes the place of `sys.stdout` or `sys.stderr`. Lines of different threads and invocations do not mix."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = False
    mode = "w"

    def __init__(self, level, descriptor):
        super().__init__()
        self.name = "<%s>" % level
        self._level = level
        self._descriptor = descriptor
        self._begun = {}
        self.buffer = _BinaryStream(self)

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not %s" % type(text).__name__)
        if not text:
            return 0
        key = (_get_ident(), CURRENT.get())
        whole = self._begun.pop(key, "") + text
        end = whole.rfind("\n")
        if end < 0:
            if len(whole) < _LINE_CHARACTERS_MAX:
                self._begun[key] = whole
            else:
                send(self._level, "", whole)
            return len(text)
        if end + 1 < len(whole):
            self._begun[key] = whole[end + 1 :]
        send(self._level, "", whole[:end])
        return len(text)

    def flush(self):
        """Sends the line that this thread has begun."""
        begun = self._begun
        if begun:
            self.flush_key((_get_ident(), CURRENT.get()))

    def flush_key(self, key):
        text = self._begun.pop(key, "")
        if text:
            send(self._level, "", text)

    def has_begun(self):
        return bool(self._begun)

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self._descriptor

    def reconfigure(self, **_options):
        """Accepted and without effect: encoding and buffering are the worker's."""

    def close(self):
        """Flushes and stays open: there is always somewhere for output to go."""
        self.flush()


class _BinaryStream(io.RawIOBase):
    """`sys.stdout.buffer`: bytes that are taken for UTF-8."""

    def __init__(self, stream):
        super().__init__()
        self._stream = stream

    def write(self, data):
        data = bytes(data)
        self._stream.write(data.decode("utf-8", "backslashreplace"))
        return len(data)

    def flush(self):
        self._stream.flush()

    def writable(self):
        return True

    def fileno(self):
        return self._stream.fileno()

    def close(self):
        self.flush()


def flush_lines(invocation):
    """Sends the lines without an end that this thread printed for an invocation."""
    for stream in _streams:
        if stream.has_begun():
            stream.flush_key((_get_ident(), invocation))


def _flush_thread():
    for stream in _streams:
        stream.flush()


def speak_through(control):
    """From now on what is said outside of lanes goes to another socket: that of a forked worker."""
    global _control
    _control = control


def install(control):
    """Takes over what user code can say."""
    speak_through(control)
    _streams[:] = [LineStream("stdout", 1), LineStream("stderr", 2)]
    sys.stdout, sys.stderr = _streams
    set_debug(False)
    root = logging.getLogger()
    root.addHandler(Handler())
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _unraisable
    _carry_into_threads()


def exception_text():
    """The traceback of the exception that is being handled."""
    return _exception_text(*sys.exc_info())


def leave_level(level):
    """Sets the level of the root logger, for the app alone to change."""
    global _level_is_left
    _level_is_left = True
    logging.getLogger().setLevel(level)


def set_debug(debug):
    """Lets debug messages through the root logger, or not. A level that the app has set itself stays."""
    global _root_level
    if _level_is_left:
        return
    root = logging.getLogger()
    if _root_level is None or root.level == _root_level:
        _root_level = logging.DEBUG if debug else logging.INFO
        root.setLevel(_root_level)


def _exception_text(kind, value, trace):
    from . import errors

    if value is None:
        return kind.__name__
    if value.__traceback__ is None and trace is not None:
        value = value.with_traceback(trace)
    try:
        return errors.format_traceback(value).rstrip("\n")
    except BaseException:
        return "%s (its traceback could not be made)" % kind.__name__


def _thread_failed(arguments):
    if arguments.exc_type is SystemExit:
        # Python's own rule: a thread may end itself so.
        return
    name = arguments.thread.name if arguments.thread is not None else "?"
    send("error", "threading", "Exception in thread %s:\n%s" % (
        name, _exception_text(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)))


def _unraisable(unraisable):
    from . import errors

    what = unraisable.err_msg or "Exception ignored in"
    send("error", "sys.unraisablehook", "%s: %s\n%s" % (
        what, errors.safe_repr(unraisable.object),
        _exception_text(unraisable.exc_type, unraisable.exc_value, unraisable.exc_traceback)))


def asyncio_failed(loop, context):
    """The event loop's exception handler: its own text, said for the invocation of the task if that is known."""
    task = context.get("task") or context.get("future")
    get_context = getattr(task, "get_context", None)
    if get_context is not None:
        get_context().run(loop.default_exception_handler, context)
    else:
        loop.default_exception_handler(context)


def _carry_into_threads():
    """Lets threads that user code starts, and tasks of its executors, speak for the invocation that started them.

    Only our own variable is carried. With the whole context the app would see values in its threads that plain
    Python does not put there.
    """
    start = threading.Thread.start
    bootstrap = threading.Thread._bootstrap_inner

    def start_carrying(self):
        invocation = CURRENT.get()
        if invocation is not None:
            self._ingle_invocation = invocation
        return start(self)

    def bootstrap_carrying(self):
        invocation = self.__dict__.pop("_ingle_invocation", None)
        if invocation is not None:
            CURRENT.set(invocation)
        try:
            bootstrap(self)
        finally:
            _flush_thread()

    threading.Thread.start = start_carrying
    threading.Thread._bootstrap_inner = bootstrap_carrying
    executor = concurrent.futures.ThreadPoolExecutor
    submit = executor.submit

    def submit_carrying(self, function, *args, **kwargs):
        # Also None is carried: a pool's thread outlives the invocation that happened to start it.
        return submit(self, _run_for, CURRENT.get(), function, args, kwargs)

    executor.submit = submit_carrying


def _run_for(invocation, function, args, kwargs):
    token = CURRENT.set(invocation)
    try:
        return function(*args, **kwargs)
    finally:
        _flush_thread()
        CURRENT.reset(token)
