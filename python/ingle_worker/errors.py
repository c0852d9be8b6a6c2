"""Exceptions as errors of the wire: kind, message, a traceback that starts in the user's code, and a place.

Nothing in here may raise, whatever the exception does: an error that cannot be told is still an error.
"""

import os
import re
import traceback

TEXT_CHARACTERS_MAX = 64 * 1024

_PACKAGE = os.path.dirname(os.path.realpath(__file__)) + os.sep
_ENVIRONMENT = re.compile(r"[/\\](site-packages|dist-packages|\.python_packages|\.venv|lib[/\\]python3[^/\\]*)[/\\]")
# A folded frame is put through the standard formatter as a frame with this file name, then rewritten: so it ends
# up indented rightly inside exception groups too.
_FOLDED = re.compile('File "\0([0-9]+):([^"]*)", line 1, in [^\n]*')


class Folding:
    """Which frames are the user's."""

    def __init__(self):
        self.root = None
        self.sdk = None

    def label(self, filename):
        """`""` for a frame to drop, a package's name for one to fold, None for one to show."""
        if filename.startswith(_PACKAGE) or filename.startswith("<frozen importlib"):
            return ""
        if filename.endswith("/importlib/__init__.py") or filename.endswith("\\importlib\\__init__.py"):
            return ""
        if self.sdk is not None and filename.startswith(self.sdk):
            return "azure.functions"
        return None

    def relative(self, filename):
        """`filename` relative to the app, or None if it is not a file of the app itself."""
        if not filename or self.root is None:
            return None
        path = os.path.abspath(filename)
        for root in (self.root, os.path.realpath(self.root)):
            if path.startswith(root + os.sep):
                inside = path[len(root) :]
                return None if _ENVIRONMENT.search(inside) else inside[1:]
        return None


FOLDING = Folding()


class Told(Exception):
    """Carries an `error` of the wire that was made elsewhere."""

    def __init__(self, error):
        super().__init__(error.get("message", ""))
        self.error = error


def describe(error):
    """The `error` of a `done` frame for an exception that a function raised."""
    if isinstance(error, Told):
        return error.error
    kind = type(error).__name__
    try:
        message = _message(error)
    except BaseException:
        message = "(the exception's text could not be made)"
    try:
        trace = format_traceback(error)
    except BaseException:
        trace = "  (the traceback could not be made)\n%s: %s\n" % (kind, message)
    try:
        place = location(error)
    except BaseException:
        place = None
    return {
        "kind": kind,
        "message": message,
        "traceback": trace,
        "location": "%s:%d" % place if place else None,
    }


def _message(error):
    text = safe_text(error)
    if isinstance(error, SystemExit):
        return "the function called sys.exit(%s); return or raise instead, the worker goes on" % safe_repr(error.code)
    if isinstance(error, KeyboardInterrupt):
        return "the function raised KeyboardInterrupt%s" % (": " + text if text else "")
    if isinstance(error, GeneratorExit):
        return "the function raised GeneratorExit%s" % (": " + text if text else "")
    if isinstance(error, MemoryError):
        return "the function ran out of memory%s" % (": " + text if text else "")
    return text


def safe_text(value):
    """`str(value)`, shortened; a note if it raises."""
    try:
        return shorten(str(value))
    except BaseException as problem:
        return "<%s.__str__ raised %s>" % (type(value).__name__, type(problem).__name__)


def safe_repr(value):
    try:
        return shorten(repr(value))
    except BaseException as problem:
        return "<%s.__repr__ raised %s>" % (type(value).__name__, type(problem).__name__)


def shorten(text):
    """`text` without its middle if it is very long: beginning and end tell most."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    half = TEXT_CHARACTERS_MAX // 2 - 40
    return "%s\n… %d characters left out …\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def format_traceback(error):
    """The whole chain of exceptions, as Python prints it, with the frames of others folded."""
    summary = traceback.TracebackException(type(error), error, error.__traceback__)
    _fold_all(summary, set())
    return _render(summary.format())


def format_frames(frames):
    """A stack of `traceback.FrameSummary`, outermost first, folded likewise."""
    return _render(traceback.StackSummary.from_list(fold(frames)).format())


def _render(lines):
    text = "".join(lines)
    text = _FOLDED.sub(lambda match: "… %s frame%s of %s" % (
        match.group(1), "" if match.group(1) == "1" else "s", match.group(2)), text)
    return shorten(text)


def _fold_all(summary, seen):
    # Written as a loop: a chain of exceptions can be longer than the stack is deep.
    waiting = [summary]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if current.stack is not None:
            current.stack = traceback.StackSummary.from_list(fold(current.stack))
        waiting.append(current.__cause__)
        waiting.append(current.__context__)
        waiting.extend(getattr(current, "exceptions", None) or ())


def fold(frames):
    """`frames` without those of the worker, and with each run of SDK frames as one."""
    kept = []
    count = 0
    previous = None
    for frame in frames:
        label = FOLDING.label(frame.filename)
        if label == "":
            continue
        if label is None:
            kept.append(frame)
            count = 0
        elif label == previous and count:
            count += 1
            kept[-1] = _folded(count, label)
        else:
            count = 1
            kept.append(_folded(count, label))
        previous = label
    return kept


def _folded(count, label):
    return traceback.FrameSummary("\0%d:%s" % (count, label), 1, "-", lookup_line=False, line="")


def location(error):
    """File (relative to the app) and line of the innermost frame in the app's own code, or None."""
    found = None
    step = error.__traceback__
    while step is not None:
        relative = FOLDING.relative(step.tb_frame.f_code.co_filename)
        if relative is not None:
            found = (relative, step.tb_lineno)
        step = step.tb_next
    return found
