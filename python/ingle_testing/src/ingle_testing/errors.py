"""What can go wrong in a test, apart from the test itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    from .records import Invocation


class PlatformError(Exception):
    """The platform could not be started, or did not do what it was asked for."""


class IngleNotFound(PlatformError):
    """There is no program `ingle`."""


class SdkMissing(PlatformError):
    """The environment of the tests has no `azure-functions`, or one that lacks what was asked for."""


class AppProblems(PlatformError):
    """The app has errors; `problems` holds them as `ingle check --json` shows them."""

    def __init__(self, message: str, problems: List[Dict[str, Any]]):
        super().__init__(message)
        self.problems = problems


class NotSettled(PlatformError):
    """Work went on, or was still due, when the time for waiting was over."""


class FunctionFailed(AssertionError):
    """A function failed that the test did not expect to fail; `failures` holds its invocations."""

    def __init__(self, message: str, failures: List[Invocation]):
        super().__init__(message)
        self.failures = failures
