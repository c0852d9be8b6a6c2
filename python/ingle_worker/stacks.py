"""Where the invocations in work stand just now."""

import sys
import traceback

from . import invoke
from .errors import format_frames, safe_text


def stacks(invocations):
    """Stack of each invocation by id, outermost frame first, frames of the worker folded away."""
    frames = sys._current_frames()
    found = {}
    for invocation in invocations:
        try:
            found[invocation.id] = _stack(invocation, frames)
        except Exception as problem:
            found[invocation.id] = "(the stack could not be read: %s)" % safe_text(problem)
    return found


def _stack(invocation, frames):
    text = ""
    if invocation.thread is not None and invocation.thread in frames:
        text = format_frames(_inside(traceback.extract_stack(frames[invocation.thread])))
    coroutine = invocation.coroutine
    if coroutine is not None:
        text += format_frames(_await_chain(coroutine))
    return text or "(between two steps)"


def _inside(frames):
    """The frames from the function on: what starts the lane's thread says nothing."""
    for index in range(len(frames) - 1, -1, -1):
        if frames[index].filename == invoke.__file__ and frames[index].name == "run":
            return frames[index + 1 :]
    return frames


def _await_chain(awaitable):
    """Frames of a suspended coroutine and of what it awaits, as far as they are Python's."""
    summary = []
    while awaitable is not None:
        frame = getattr(awaitable, "cr_frame", None) or getattr(awaitable, "gi_frame", None)
        if frame is None:
            break
        summary.extend(traceback.StackSummary.extract([(frame, frame.f_lineno)]))
        awaitable = getattr(awaitable, "cr_await", None) or getattr(awaitable, "gi_yieldfrom", None)
    return summary
