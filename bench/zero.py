"""The measure of workers that are made on demand: the first answer with no worker at all, with one spare that waits, and
what a further worker adds to memory; beside the start of a process of the peers.

Between two readings every worker of Ingle retires. A reading begins with the request on a connection that is open already,
and ends with the whole answer. Peers that know no "no worker" are started anew: from exec to the first answer.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional
from urllib.parse import urlsplit

from drain import AdminConnection, start
from figures import Figure, Latency
from measures import Extent, Table, rotated, tables
from servers import Server, proportional
from systems import FRAMEWORK, FRAMEWORK_ASGI, GROUP, HELLO, INGLE, LAMBDA, PANDAS, UVICORN, Place, System
from wire import Line

# Shorter than the wait between two readings, and longer than a reading.
NO_SPARE = '[workers]\nspare = 0\nidle_timeout = "30ms"\n'
# Each answer wears its worker out, so the next one comes from the spare, which has run nothing yet.
ONE_SPARE = "[workers]\nspare = 1\nmax = 3\nrecycle_after = 1\n"
FEW, MANY = 1, 7
# Connections that reach every worker of a peer with one call each.
VISITORS = 8
WAIT_TIMEOUT_S = 30.0
# Looking at memory is part of the status, so it is asked seldom, and not right before a reading.
POLL_S = 0.005
SETTLE_S = 0.02
# Longest wait for a peer that is asked for an answer or for memory.
PEER_TIMEOUT_S = 60.0
HANDLER_APP = "lambda_cold"


@dataclass(frozen=True)
class Row:
    """One state of things in which a first request comes; limits in seconds."""

    name: str
    app: str
    path: str
    workers: str
    p50_max: float
    p99_max: Optional[float]
    # What the peers are asked for; without, they have nothing to compare.
    peer_path: str = ""

    def is_spare(self) -> bool:
        return self.workers == ONE_SPARE

    def peers(self) -> List[System]:
        if not self.peer_path:
            return []
        if self.app == HANDLER_APP:
            return [LAMBDA]
        systems = (LAMBDA, FRAMEWORK, FRAMEWORK_ASGI, UVICORN)
        return [PANDAS[system.name] for system in systems] if self.app == "pandas" else list(systems)


ROWS = [
    Row("hello", "cold", "/api/hello?name=Ada", NO_SPARE, 0.002, 0.006, HELLO),
    Row("hello, handler of Lambda", HANDLER_APP, HELLO, NO_SPARE, 0.002, None, HELLO),
    Row("numpy and pandas imported, not used", "pandas", "/api/hello?name=Ada", NO_SPARE, 0.004, 0.010, HELLO),
    Row("numpy and pandas, with a group-by", "pandas", "/api/group", NO_SPARE, 0.009, 0.018, GROUP),
    Row("hello, one spare waits", "cold", "/api/hello?name=Ada", ONE_SPARE, 0.001, None),
]


@dataclass(frozen=True)
class Added:
    """What one more worker of an app may add to memory, in bytes."""

    name: str
    app: str
    path: str
    peer_path: str
    limit: float

    def peers(self) -> List[System]:
        systems = (LAMBDA, FRAMEWORK, UVICORN)
        return [PANDAS[system.name] for system in systems] if self.app == "pandas" else list(systems)


ADDED = [
    Added("hello", "cold", "/api/hello", HELLO, 2e6),
    Added("pandas after a group-by", "pandas", "/api/group", GROUP, 8e6),
]


@dataclass
class ZeroResults:
    """First answers by name of the row and of the system; bytes that one more worker adds, by the same."""

    first: Dict[str, Dict[str, Latency]] = field(default_factory=lambda: {row.name: defaultdict(Latency) for row in ROWS})
    added: Dict[str, Table] = field(default_factory=lambda: {row.name: tables() for row in ADDED})


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> ZeroResults:
    results = ZeroResults()
    for row in rotated(ROWS, extent.zero_rounds):
        for system in [INGLE, *row.peers()]:
            if system is INGLE:
                took = answers(place, row, extent.first_answers)
            elif system.name == LAMBDA.name:
                took = environments(place, system, row.peer_path, extent.peer_starts)
            else:
                took = [process(place, system, row.peer_path) for _ in range(extent.peer_starts)]
            latency = results.first[row.name][system.name]
            latency.add_run(took)
            say(f"zero    {row.name:36} {system.name:32} {latency.p50.readings[-1] * 1000:7.2f} ms")
    for added in rotated(ADDED, extent.zero_rounds):
        for system in [INGLE, *added.peers()]:
            more = of_ingle(place, added) if system is INGLE else of_peer(place, system, added.peer_path)
            results.added[added.name][system.name].add(more)
            say(f"memory  one more, {added.name:26} {system.name:32} {more / 1e6:7.2f} MB")
    return results


def answers(place: Place, row: Row, count: int) -> List[float]:
    """Seconds of so many first answers of Ingle, each from a worker that has run nothing before."""
    readings = []
    with serve(place, row.app, row.workers) as server, Line(server.base, WAIT_TIMEOUT_S) as line:
        admin = AdminConnection(place.scratch / "state" / "admin.sock")
        known: set = set()
        # The first fork of all copies pages that later ones find copied, and belongs to the start.
        for number in range(count + 1):
            wait_until(admin, server, has_fresh_worker(known) if row.is_spare() else is_empty)
            took = line.ask("GET", row.path)
            if number:
                readings.append(took)
        admin.close()
    check_starts(server.log, count + 1, row)
    return readings


def serve(place: Place, app: str, workers: str, variables: Optional[Dict[str, str]] = None) -> Server:
    shutil.rmtree(place.scratch / "state", ignore_errors=True)
    (place.apps / app / "ingle.toml").write_text(workers, encoding="utf-8")
    return start(place, 0, (), app=app, timeout_s=300, variables=variables)


def wait_until(admin: AdminConnection, server: Server, is_time: Callable[[dict], bool]) -> None:
    """Waits for it, and until what led to it is over: an app without work has been so for longer than an instant."""
    deadline = time.monotonic() + WAIT_TIMEOUT_S
    while time.monotonic() < deadline:
        if is_time(admin.ask("GET", "/v1/status")):
            time.sleep(SETTLE_S)
            return
        time.sleep(POLL_S)
    raise RuntimeError(f"the workers did not come to be as wished:\n{server.last_words()}")


def is_empty(status: dict) -> bool:
    return not status["workers"]


def has_fresh_worker(known: set) -> Callable[[dict], bool]:
    """Whether all that there is are workers that have run nothing and were not there at the reading before."""

    def is_time(status: dict) -> bool:
        ids = {worker["id"] for worker in status["workers"] if worker["phase"] == "Ready" and not worker["completed"]}
        is_so = bool(ids) and len(ids) == len(status["workers"]) and not ids & known
        if is_so:
            known.update(ids)
        return is_so

    return is_time


def check_starts(log: Path, count: int, row: Row) -> None:
    """The server's own word: each of these calls had to start a worker, or, with a spare, none had to."""
    started = []
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith('{"event":"invocation"'):
            started.append(json.loads(line)["phasesMs"]["start"] > 0)
    wanted = [False] * count if row.is_spare() else [True] * count
    # Nobody waits for the first spare.
    if started[row.is_spare() :] != wanted[row.is_spare() :]:
        raise RuntimeError(f"{row.name}: {sum(started)} of {len(started)} calls started a worker ({count} calls)")


def environments(place: Place, system: System, path: str, count: int) -> List[float]:
    """Seconds of so many first answers behind the Runtime API, whose server runs already; each from a new environment."""
    readings = []
    with system.start(place, 1) as server:
        wait_for_port(server)
        with Line(server.base, PEER_TIMEOUT_S) as line:
            for _ in range(count):
                line.ask("DELETE", "/environments")
                time.sleep(SETTLE_S)
                readings.append(line.ask("GET", path))
    return readings


def wait_for_port(server: Server) -> None:
    address = urlsplit(server.base)
    deadline = time.monotonic() + PEER_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address.hostname, address.port)).close()
            return
        except OSError:
            time.sleep(POLL_S)
    raise RuntimeError(f"no connection to {server.base}:\n{server.last_words()}")


def process(place: Place, system: System, path: str) -> float:
    with system.start(place, 1) as server:
        return server.first_answer(path)


def of_ingle(place: Place, added: Added) -> float:
    """What all processes hold with many workers less what they hold with few, for each worker more: bytes."""
    held = {}
    for count in (FEW, MANY):
        # Calls that come at once go to different workers then, and none makes threads for several.
        settings = f"[workers]\nmin = {count}\nmax = {count}\nconcurrency = 1\n"
        with serve(place, added.app, settings) as server:
            admin = AdminConnection(place.scratch / "state" / "admin.sock")
            wait_until(admin, server, lambda status: len(status["workers"]) == count)
            deadline = time.monotonic() + WAIT_TIMEOUT_S
            # Until each has run something.
            while sum(worker["completed"] > 0 for worker in admin.ask("GET", "/v1/status")["workers"]) < count:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"not every worker of {count} was given a call:\n{server.last_words()}")
                visit(server, added.path, VISITORS * count)
            held[count] = resident(server)
            admin.close()
    return (held[MANY] - held[FEW]) / (MANY - FEW)


def of_peer(place: Place, system: System, path: str) -> float:
    """The same of a peer, whose workers can't be told apart from outside: it gets many calls at once."""
    held = {}
    for count in (FEW, MANY):
        with system.start(place, count) as server:
            server.first_answer(path)
            for _ in range(3):
                visit(server, path, VISITORS * count)
            held[count] = resident(server)
    return (held[MANY] - held[FEW]) / (MANY - FEW)


def visit(server: Server, path: str, count: int) -> None:
    address = urlsplit(server.base)
    connections = [http.client.HTTPConnection(address.netloc, timeout=PEER_TIMEOUT_S) for _ in range(count)]
    for connection in connections:
        connection.request("GET", path)
    for connection in connections:
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}:\n{server.last_words()}")
        connection.close()


def resident(server: Server) -> float:
    """Bytes of the server and all its descendants, each page divided by the processes that have it."""
    return proportional([maps(pid) for pid in server.pids()])


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return ""
