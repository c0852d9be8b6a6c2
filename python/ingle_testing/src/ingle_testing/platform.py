"""The platform, on a clock that stands still until a test moves it."""

from __future__ import annotations

import contextlib
import json as json_module
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from . import sdk
from .errors import AppProblems, FunctionFailed, NotSettled, PlatformError
from .http import HttpClient
from .records import Invocation, LogLine, from_milliseconds, to_milliseconds
from .server import Server, find_program, problems_text
from .stores import Blob, Documents, Queue, Table

START = datetime(2030, 1, 1, tzinfo=timezone.utc)
"""Where the clock begins unless told otherwise: the same time in each run."""
SETTLE_SECONDS = 30.0

Body = Union[bytes, str, Mapping[str, Any], Sequence[Any], None]


class Platform:
    """A server of one app, for tests; a context manager.

    It runs the program `ingle` as a child process, with empty queues, tables and containers in a temporary folder, on a
    loopback port that the system chooses. Requests and `invoke` run functions at once. Events of queues, blobs, documents and
    timers wait for `settle`, or for `advance`, which moves the clock: what falls due on the way happens at its time and comes
    to its end before the clock goes on. They run one after the other, so the order is the same in each run.

    `folder`: the app's. `ingle`: the program, else the variable `INGLE`, else the one on PATH. `time`: where the clock begins.
    `settings`: app settings that win over those of local.settings.json. `python`: the interpreter of the app; that of the
    test unless given, and with `None` the one that Ingle chooses. `functions`: only these. `allow_problems`: start although
    a part of the app has errors.

    Raises IngleNotFound, SdkMissing, AppProblems or another PlatformError.
    """

    def __init__(self, folder: Union[str, "os.PathLike[str]"] = ".", *, ingle: Optional[str] = None, time: datetime = START,
                 settings: Optional[Mapping[str, str]] = None, python: Optional[str] = sys.executable,
                 functions: Sequence[str] = (), allow_problems: bool = False):
        self.folder = Path(folder).resolve()
        self._program = find_program(ingle)
        self._python = python
        self._start_time = time if time.tzinfo is not None else time.replace(tzinfo=timezone.utc)
        self._functions = list(functions)
        self._allow_problems = allow_problems
        # Tests use the embedded store, whatever accounts the developer's own settings name.
        self._settings = {"INGLE_STORAGE": "embedded", **(settings or {})}
        self._server: Optional[Server] = None
        self._journal = _Journal()
        self._expected: List[_Expectation] = []

    # --- life

    def start(self) -> Platform:
        """Starts the server and waits until its listeners listen. `with` does this."""
        if self._server is not None:
            return self
        if self._python == sys.executable and not sdk.is_there():
            raise sdk.missing()
        start = self._start_time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        arguments = ["--clock", "moved=%s" % start]
        if self._python is not None:
            arguments += ["--python", self._python]
        if self._functions:
            arguments += ["--functions", *self._functions]
        self._server = Server(self._program, self.folder, arguments, self._settings)
        self._journal.clear()
        problems = [problem for problem in self._server.ready["problems"] if problem["severity"] == "error"]
        if problems and not self._allow_problems:
            self.close()
            raise AppProblems("the app has errors:\n%s" % problems_text(problems), problems)
        self.server.ask("POST", "/v1/settle")
        return self

    def close(self) -> None:
        """Ends the server, with what is in work. Says nothing of functions that failed; see `verify`."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Platform:
        return self.start()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        try:
            # An error of the test itself is not covered up.
            if kind is None:
                self.verify()
        finally:
            self.close()

    def reset(self) -> None:
        """Makes everything as it was at the start: empty queues, tables and containers, no records, the clock at its first
        time. Takes milliseconds. The worker process stays, and with it what the app keeps in its modules."""
        try:
            self.server.ask("POST", "/v1/clock/restart", {"to": to_milliseconds(self._start_time)})
            self.server.ask("POST", "/v1/settle")
            self._pull()
        except PlatformError:
            # Something is still in work, or waits for its next attempt: the next test shall see nothing of it.
            self.close()
            self.start()
        self._journal.clear()
        self._expected.clear()

    @property
    def is_started(self) -> bool:
        """Whether the server runs."""
        return self._server is not None and self._server.is_running

    @property
    def server(self) -> Server:
        """The child process."""
        if self._server is None:
            raise PlatformError("the platform is not started: use `with Platform(…) as platform:`")
        return self._server

    # --- time

    @property
    def now(self) -> datetime:
        """The time on the platform's clock, in UTC. Python's own clock, also that of the functions, is not moved."""
        return from_milliseconds(self.server.ask_json("GET", "/v1/clock")["now"])

    def settle(self, timeout: float = SETTLE_SECONDS) -> None:
        """Lets the app work until nothing is in work and nothing is due at the present time: messages that can be seen are
        worked on, and so is what comes of them.

        Raises FunctionFailed if a function failed that nobody expected to fail, and NotSettled after `timeout` seconds
        of real time.
        """
        self._ask_and_check("/v1/settle", {}, timeout)

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0,
                milliseconds: float = 0, timeout: float = SETTLE_SECONDS) -> None:
        """Moves the clock forward. Timers, delayed messages and the attempts of retry policies happen on the way, in the
        order of their times, and each comes to its end before the clock goes on.

        Raises as `settle` does.
        """
        step = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
        self.advance_to(self.now + step, timeout=timeout)

    def advance_to(self, time: datetime, *, timeout: float = SETTLE_SECONDS) -> None:
        """As `advance`, up to a time. One without a zone is taken for one in UTC."""
        self._ask_and_check("/v1/clock", {"to": to_milliseconds(time)}, timeout)

    def _ask_and_check(self, path: str, query: Dict[str, int], timeout: float) -> None:
        query["limit"] = int(timeout * 1000)
        try:
            # The server answers at its limit; a little more is for a busy machine.
            self.server.ask("POST", path, query, timeout=timeout + 30)
        except NotSettled:
            # Why a function failed says more than that it is still tried.
            self._check()
            raise
        self._check()

    # --- doors

    @property
    def http(self) -> HttpClient:
        """Sends requests to the functions: `platform.http.post("/api/orders", json={…})`."""
        return HttpClient(self.server.address)

    def queue(self, name: str) -> Queue:
        """A queue of the storage account."""
        return Queue(self.server, name)

    def blob(self, path: str) -> Blob:
        """A blob, `container/name`."""
        return Blob(self.server, path)

    def blobs(self, container: str, prefix: str = "") -> List[str]:
        """The names of the blobs of a container, sorted."""
        return Blob.names(self.server, container, prefix)

    def documents(self, container: str) -> Documents:
        """The documents of a container, `database/container`."""
        return Documents(self.server, container)

    def table(self, name: str) -> Table:
        """The entities of a table."""
        return Table(self.server, name)

    def invoke(self, function: str, payload: Body = None, *, method: Optional[str] = None,
               parameters: Optional[Mapping[str, str]] = None) -> Dict[str, Any]:
        """Runs a function now, whatever its trigger is, with this payload, and gives what `ingle invoke --json` prints:
        `outcome`, `outputs`, `effects`, and `failure` if it failed.

        `method` and `parameters` (of route and query) are for HTTP functions.
        """
        query = {"function": function}
        if method is not None:
            query["method"] = method
        for name, value in (parameters or {}).items():
            query["p." + name] = value
        body = body_bytes(payload)
        told: Dict[str, Any] = self.server.ask_json("POST", "/v1/invoke", query, body, timeout=SETTLE_SECONDS + 300)
        return told

    # --- what happened

    @property
    def invocations(self) -> List[Invocation]:
        """All invocations since the start or the last `reset`, in the order in which they ended."""
        self._pull()
        return list(self._journal.invocations)

    @property
    def logs(self) -> List[LogLine]:
        """All lines that the app logged or printed since then."""
        self._pull()
        return list(self._journal.logs)

    @property
    def failures(self) -> List[Invocation]:
        """The invocations that failed. To read them is to know of them: they do not fail the test any more."""
        self._pull()
        return self._journal.see_failures()

    @contextlib.contextmanager
    def expect_failures(self, *functions: str) -> Iterator[List[Invocation]]:
        """Within it functions may fail: those that are named, or any. The list it gives holds their invocations at its end.

        Raises AssertionError at its end if none failed.
        """
        self._check()
        expectation = _Expectation(functions)
        self._expected.append(expectation)
        try:
            yield expectation.failures
            self.settle()
        finally:
            self._pull()
            self._journal.hand_over(expectation)
            self._expected.remove(expectation)
        self._check()
        if not expectation.failures:
            raise AssertionError("%s did not fail" % (" and ".join(functions) or "no function failed: any function"))

    def verify(self) -> None:
        """What the end of a test does: `settle`, so that nothing is left undone, and so fails unseen."""
        if self.is_started:
            self.settle()

    def report(self) -> str:
        """Invocations and logs as text, for whoever reads a test that failed."""
        self._pull()
        lines = ["%s %s" % (entry.time.strftime("%Y-%m-%d %H:%M:%S"), entry.describe())
                 for entry in self._journal.invocations]
        lines += ["%s %s: %s" % (line.function or "(no function)", line.level, line.message)
                  for line in self._journal.logs]
        return "\n".join(lines)

    def _pull(self) -> None:
        if self._server is None or not self._server.is_running:
            return
        told = self._server.ask_json("GET", "/v1/journal")
        self._journal.add(told["events"])
        if told["leftOut"]:
            raise PlatformError("%d records were too many to be kept: settle more often" % told["leftOut"])

    def _check(self) -> None:
        self._pull()
        for expectation in reversed(self._expected):
            self._journal.hand_over(expectation)
        failures = self._journal.see_failures(only_new=True)
        if failures:
            text = "\n\n".join(failure.describe() for failure in failures)
            raise FunctionFailed("%s\n\nIf a test is about a failure, say so: `with platform.expect_failures():`" % text,
                                 failures)


def body_bytes(body: Body) -> bytes:
    """Bytes as they are, text as UTF-8, everything else as JSON, and nothing for None."""
    if body is None:
        return b""
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    if isinstance(body, str):
        return body.encode()
    return json_module.dumps(body).encode()


class _Expectation:
    def __init__(self, functions: Tuple[str, ...]):
        self._functions = {name.lower() for name in functions}
        self.failures: List[Invocation] = []

    def covers(self, invocation: Invocation) -> bool:
        return not self._functions or invocation.function.lower() in self._functions


class _Journal:
    """What the server told so far."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.invocations: List[Invocation] = []
        self.logs: List[LogLine] = []
        self._logs_of: Dict[str, List[LogLine]] = {}
        self._unseen: List[Invocation] = []

    def add(self, events: List[Dict[str, Any]]) -> None:
        for event in events:
            if event["event"] == "log":
                line = LogLine.read(event)
                self.logs.append(line)
                if line.invocation is not None:
                    self._logs_of.setdefault(line.invocation, []).append(line)
            elif event["event"] == "invocation":
                invocation = Invocation.read(event, self._logs_of.pop(event["id"], []))
                self.invocations.append(invocation)
                # After an attempt that is retried another one decides.
                if invocation.failure is not None and invocation.outcome != "retrying":
                    self._unseen.append(invocation)

    def hand_over(self, expectation: _Expectation) -> None:
        expectation.failures.extend(entry for entry in self._unseen if expectation.covers(entry))
        self._unseen = [entry for entry in self._unseen if not expectation.covers(entry)]

    def see_failures(self, only_new: bool = False) -> List[Invocation]:
        seen, self._unseen = self._unseen, []
        if only_new:
            return seen
        return [entry for entry in self.invocations if entry.failure is not None and entry.outcome != "retrying"]
