"""The measure of workers that are made on demand: the first answer with no worker at all, with one spare that waits, and
what a further worker adds to memory.

Between two readings every worker retires. A reading begins with the request on a connection that is open already, and ends
with the whole answer.
"""

from __future__ import annotations

import http.client
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Tuple
from urllib.parse import urlsplit

from drain import AdminConnection, start
from figures import Figure
from measures import Extent
from servers import Server, proportional
from systems import Place

# Shorter than the wait between two readings, and longer than a reading.
NO_SPARE = '[workers]\nspare = 0\nidle_timeout = "30ms"\n'
# Each answer wears its worker out, so the next one comes from the spare, which has run nothing yet.
ONE_SPARE = "[workers]\nspare = 1\nmax = 3\nrecycle_after = 1\n"
FEW, MANY = 1, 9
WAIT_TIMEOUT_S = 30.0
POLL_S = 0.002

# Name of the figure, app, path.
FIRST: List[Tuple[str, str, str]] = [
    ("hello", "cold", "/api/hello?name=Ada"),
    ("numpy and pandas imported, not used", "pandas", "/api/hello?name=Ada"),
    ("numpy and pandas, with a group-by", "pandas", "/api/group"),
]
SPARE = ("hello, one spare waits", "cold", "/api/hello?name=Ada")


@dataclass
class ZeroResults:
    """Seconds from the request to the whole answer, by name; bytes that one more worker adds, by app."""

    first: Dict[str, Figure] = field(default_factory=dict)
    added: Dict[str, Figure] = field(default_factory=dict)


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> ZeroResults:
    results = ZeroResults()
    for name, app, path in FIRST:
        results.first[name] = Figure(answers(place, app, path, NO_SPARE, extent.first_answers, is_empty))
        say(f"zero    {name:40} {results.first[name].median * 1000:6.2f} ms")
    name, app, path = SPARE
    results.first[name] = Figure(answers(place, app, path, ONE_SPARE, extent.first_answers, has_fresh_worker))
    say(f"zero    {name:40} {results.first[name].median * 1000:6.2f} ms")
    for app, path in (("cold", "/api/hello"), ("pandas", "/api/group")):
        results.added[app] = Figure([added_memory(place, app, path)])
        say(f"zero    one more worker, {app:23} {results.added[app].median / 1e6:6.2f} MB")
    return results


def answers(
    place: Place, app: str, path: str, workers: str, count: int, is_time: Callable[[dict], bool]
) -> List[float]:
    readings = []
    with serve(place, app, workers) as server:
        connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=WAIT_TIMEOUT_S)
        # The first fork of all copies pages that later ones find copied, and belongs to the start.
        for number in range(count + 1):
            wait_until(place, server, is_time)
            begin = time.perf_counter()
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            took = time.perf_counter() - begin
            if response.status != 200 or not body:
                raise RuntimeError(f"{path} answered {response.status}:\n{server.last_words()}")
            if number:
                readings.append(took)
        connection.close()
    return readings


def serve(place: Place, app: str, workers: str) -> Server:
    shutil.rmtree(place.scratch / "state", ignore_errors=True)
    (place.apps / app / "ingle.toml").write_text(workers, encoding="utf-8")
    server = start(place, 0, (), app=app, timeout_s=300)
    return server


def wait_until(place: Place, server: Server, is_time: Callable[[dict], bool]) -> None:
    admin = AdminConnection(place.scratch / "state" / "admin.sock")
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while time.monotonic() < deadline:
        if is_time(admin.ask("GET", "/v1/status")):
            return
        time.sleep(POLL_S)
    raise RuntimeError(f"the workers did not come to be as wished:\n{server.last_words()}")


def is_empty(status: dict) -> bool:
    return not status["workers"]


def has_fresh_worker(status: dict) -> bool:
    ready = [worker for worker in status["workers"] if worker["phase"] == "Ready"]
    return bool(ready) and all(worker["completed"] == 0 for worker in ready)


def added_memory(place: Place, app: str, path: str) -> float:
    """What all processes hold with many workers less what they hold with few, for each worker more."""
    held = {}
    for count in (FEW, MANY):
        with serve(place, app, f"[workers]\nmin = {count}\nmax = {count}\n") as server:
            wait_until(place, server, lambda status: len(status["workers"]) == count)
            connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=WAIT_TIMEOUT_S)
            seen = set()
            deadline = time.monotonic() + WAIT_TIMEOUT_S
            # Until each has run something.
            while time.monotonic() < deadline:
                connection.request("GET", path)
                connection.getresponse().read()
                workers = AdminConnection(place.scratch / "state" / "admin.sock").ask("GET", "/v1/status")["workers"]
                seen = {worker["id"] for worker in workers if worker["completed"]}
                if len(seen) == count:
                    break
            connection.close()
            held[count] = proportional([maps(pid) for pid in server.pids()])
    return (held[MANY] - held[FEW]) / (MANY - FEW)


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return ""
