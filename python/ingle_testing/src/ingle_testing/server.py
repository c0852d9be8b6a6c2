"""The program `ingle` as a child process: found, started, spoken to, ended."""

from __future__ import annotations

import collections
import http.client
import json
import os
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Deque, Dict, List, Mapping, Optional, Sequence
from urllib.parse import urlencode

from .errors import AppProblems, IngleNotFound, NotSettled, PlatformError

START_SECONDS = 120.0
"""How long a start may take; an app's packages may have to be installed first."""
_GRACE_SECONDS = 2.0
"""How long a server may take to end; work that was left undone is of no use to anybody."""


def find_program(given: Optional[str] = None) -> str:
    """The program `ingle`: `given`, else the variable `INGLE`, else the one on the search path.

    Raises IngleNotFound.
    """
    for source, wanted in (("the option", given), ("the variable INGLE", os.environ.get("INGLE")), ("PATH", "ingle")):
        if not wanted:
            continue
        found = shutil.which(os.path.expanduser(wanted))
        if found is not None:
            return os.path.abspath(found)
        if source != "PATH":
            raise IngleNotFound("%s names %r, which is no program that can be run" % (source, wanted))
    raise IngleNotFound("there is no program `ingle` on PATH; install it, or name it with `pytest --ingle=…`, "
                        "Platform(ingle=…) or the variable INGLE")


class Server:
    """A running `ingle start` on a moved clock. It ends with this process, however that ends."""

    def __init__(self, program: str, folder: Path, arguments: Sequence[str], settings: Mapping[str, str]):
        self._home = tempfile.mkdtemp(prefix="ingle-")
        self._errors: Deque[str] = collections.deque(maxlen=200)
        self._events: queue.Queue[Optional[Dict[str, Any]]] = queue.Queue()
        state = os.path.join(self._home, "state")
        command = [program, "start", str(folder), "--json", "--no-reload", "--port", "0", "--state", state, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment.update(settings)
        # Functions see nothing of a server's environment but what it is told to show them.
        command += [part for name in settings for part in ("--environment", name)]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             stderr=subprocess.PIPE, env=environment, start_new_session=True)
        except OSError as problem:
            shutil.rmtree(self._home, ignore_errors=True)
            raise IngleNotFound("%s can't be started: %s" % (program, problem)) from None
        self._output = threading.Thread(target=self._read_output, name="ingle-output", daemon=True)
        self._output.start()
        self._reader = threading.Thread(target=self._read_errors, name="ingle-errors", daemon=True)
        self._reader.start()
        self._socket = os.path.join(state, "admin.sock")
        try:
            self.ready = self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        host, _, port = self.ready["address"].rpartition("/")[2].rpartition(":")
        self.address = (host, int(port))

    # --- starting and ending

    def _read_output(self) -> None:
        output = self._process.stdout
        assert output is not None
        for line in output:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            # The others are asked for through the admin socket, in order with what the test does.
            if event.get("event") in ("ready", "error"):
                self._events.put(event)
        self._events.put(None)

    def _read_errors(self) -> None:
        errors = self._process.stderr
        assert errors is not None
        for line in errors:
            self._errors.append(line.decode(errors="replace").rstrip())

    def _wait_until_ready(self) -> Dict[str, Any]:
        try:
            event = self._events.get(timeout=START_SECONDS)
        except queue.Empty:
            raise PlatformError("ingle was not ready after %d seconds%s" % (START_SECONDS, self.last_words())) from None
        if event is None:
            self._process.wait(_GRACE_SECONDS)
            self._reader.join(_GRACE_SECONDS)
            raise PlatformError("ingle ended with code %s before it was ready%s" % (
                self._process.returncode, self.last_words()))
        if event["event"] == "error":
            text = "%s (%s)" % (event["message"], event["code"])
            if event.get("hint"):
                text += "\nhint: %s" % event["hint"]
            raise _error_of(event["code"], text)
        return event

    def last_words(self) -> str:
        """What the server wrote to its standard error, for the end of a message."""
        return "".join("\n  %s" % line for line in self._errors)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the server and removes its folder. A second call does nothing."""
        process = self._process
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # The threads that read the others see their end, and close nothing that is being read.
        if process.stdin is not None:
            process.stdin.close()
        self._reader.join(_GRACE_SECONDS)
        self._output.join(_GRACE_SECONDS)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self._home, ignore_errors=True)

    # --- the admin socket

    def ask(self, method: str, path: str, query: Optional[Mapping[str, Any]] = None, body: bytes = b"",
            timeout: float = 60.0) -> bytes:
        """The body of an answer of the admin socket.

        Raises PlatformError, or NotSettled if the server says so, and KeyError for what is not there.
        """
        target = path + ("?" + urlencode(query) if query else "")
        connection = _UnixConnection(self._socket, timeout)
        try:
            connection.request(method, target, body, {"Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
        except OSError as problem:
            raise PlatformError("the server does not answer: %s%s" % (problem, self.last_words())) from None
        finally:
            connection.close()
        if answer.status == 200:
            return content
        try:
            error = json.loads(content)["error"]
        except (ValueError, KeyError):
            raise PlatformError("%s %s: %d %r" % (method, target, answer.status, content)) from None
        raise _error_of(error["code"], error["message"])

    def ask_json(self, method: str, path: str, query: Optional[Mapping[str, Any]] = None, body: bytes = b"",
                 timeout: float = 60.0) -> Any:
        """As `ask`, read as JSON."""
        return json.loads(self.ask(method, path, query, body, timeout))


def problems_text(problems: List[Dict[str, Any]]) -> str:
    """Problems as a person reads them."""
    lines = []
    for problem in problems:
        place = ""
        if problem.get("file"):
            place = " (%s%s)" % (problem["file"], ":%s" % problem["line"] if problem.get("line") else "")
        lines.append("%s %s%s" % (problem["code"], problem["message"], place))
        if problem.get("detail"):
            lines.extend("    " + line for line in problem["detail"].splitlines())
        if problem.get("fix"):
            lines.append("    fix: %s" % problem["fix"])
    return "\n".join(lines)


def _error_of(code: str, text: str) -> PlatformError:
    if code == "E0510":
        return NotSettled(text)
    if code == "E0421":
        return BlobNotFound(text)
    if code.startswith("E02"):
        return AppProblems(text, [])
    return PlatformError(text)


class BlobNotFound(PlatformError):
    """There is no such blob."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
