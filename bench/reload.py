"""The measure of reloading: from saving a file to the first answer of the new version.

Each system watches its own copy of a small app. Saving writes another number into its text; a client then asks without
pause until an answer has it. Answers of the version before, and refused connections, are asked again.
"""

from __future__ import annotations

import http.client
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List
from urllib.parse import urlsplit

from figures import Figure
from measures import Extent, Table, rotated, tables
from servers import Server, free_port
from systems import INGLE, Place, ingle_command

VERSION = "VERSION = 0\n"
RELOAD_TIMEOUT_S = 30.0
# Between two questions: short against a reload, and the processor is left to the server.
POLL_S = 0.001
# A watcher may tell times of files apart by whole seconds only, and needs some time to begin watching.
PAUSE_S = 1.2


@dataclass(frozen=True)
class Watcher:
    """A system that serves an app from a folder and reloads it by itself."""

    name: str
    file: str
    source: str
    path: str
    command: Callable[[Place, Path, int], List[str]]
    is_ingle: bool = False

    def start(self, place: Place, folder: Path) -> Server:
        port = 0 if self.is_ingle else free_port()
        return Server(self.command(place, folder, port), {}, place.scratch / "server.log", port or None)


@dataclass
class ReloadResults:
    """Seconds from saving to the first answer of the new version, by the name of the system."""

    took: Table = field(default_factory=tables)


INGLE_SOURCE = (
    VERSION
    + """
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="version")
def version(req: func.HttpRequest) -> str:
    return str(VERSION)
"""
)

FLASK_SOURCE = (
    VERSION
    + """
import sys

from flask import Flask

app = Flask(__name__)


@app.route("/version")
def version():
    return str(VERSION)


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), debug=True, reloader_type="stat")
"""
)

FASTAPI_SOURCE = (
    VERSION
    + """
from fastapi import FastAPI

app = FastAPI()


@app.get("/version")
def version():
    return VERSION
"""
)


def ingle(place: Place, folder: Path, _port: int) -> List[str]:
    command, _ = ingle_command(place, "hello", 1)
    command[command.index("start") + 1] = str(folder)
    return command


def flask(_place: Place, folder: Path, port: int) -> List[str]:
    """Its own server, and its watcher that looks at files once a second: the other one needs more of the kernel's watches
    than many machines allow, and `flask run` takes it where its package is installed."""
    return [sys.executable, str(folder / "main.py"), str(port)]


def uvicorn(_place: Place, folder: Path, port: int) -> List[str]:
    command = [sys.executable, "-m", "uvicorn", "main:app", "--app-dir", str(folder), "--reload"]
    return [*command, "--reload-dir", str(folder), "--port", str(port), "--log-level", "warning"]


WATCHERS = [
    Watcher(INGLE.name, "function_app.py", INGLE_SOURCE, "/api/version", ingle, is_ingle=True),
    Watcher("Flask, debug=True", "main.py", FLASK_SOURCE, "/version", flask),
    Watcher("uvicorn --reload + FastAPI", "main.py", FASTAPI_SOURCE, "/version", uvicorn),
]


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> ReloadResults:
    results = ReloadResults()
    for watcher in rotated(WATCHERS, 1):
        readings = reloads(place, watcher, extent.reloads)
        results.took[watcher.name].readings = readings
        say(f"reload  {watcher.name:32} {Figure(readings).median * 1000:6.0f} ms")
    return results


def reloads(place: Place, watcher: Watcher, count: int) -> List[float]:
    shutil.rmtree(place.scratch / "state", ignore_errors=True)
    folder = place.scratch / "reload"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "host.json").write_text('{"version": "2.0"}\n', encoding="utf-8")
    file = folder / watcher.file
    file.write_text(watcher.source, encoding="utf-8")
    readings = []
    with watcher.start(place, folder) as server:
        server.first_answer(watcher.path)
        for number in range(1, count + 1):
            time.sleep(PAUSE_S)
            begin = time.perf_counter()
            file.write_text(watcher.source.replace(VERSION, f"VERSION = {number}\n"), encoding="utf-8")
            wait_for(server, watcher.path, str(number))
            readings.append(time.perf_counter() - begin)
    return readings


def wait_for(server: Server, path: str, expected: str) -> None:
    """Asks on a connection of its own each time, as the process behind the port may be another one."""
    deadline = time.monotonic() + RELOAD_TIMEOUT_S
    while time.monotonic() < deadline:
        if answer(server.base, path) == expected:
            return
        time.sleep(POLL_S)
    raise RuntimeError(f"version {expected} was not served in {RELOAD_TIMEOUT_S:.0f} s:\n{server.last_words()}")


def answer(base: str, path: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=RELOAD_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
