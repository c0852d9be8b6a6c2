"""The measure of too much work: ten times of what an app can do, and how soon all is well again.

The app has one worker with four places, and its function takes 50 ms: 80 answers a second. Requests begin at their times,
whatever became of those before, on connections that stay open; who has been refused comes back as another request. After the
load a single caller asks until it is answered as in quiet times. The load comes in two ways: for a minute to an app that says
how long callers may wait, and whose clients still wait for their answers when it is over; and shorter, to an app that says
nothing, and whose clients hang up at the end, as load generators do.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Deque, Dict, List, Optional
from urllib.parse import urlsplit

import wire
import zero
from figures import Figure
from measures import Extent
from servers import Server
from systems import Place

TIMES = 10
PLACES = 4
CALL_S = 0.05
CAPACITY = PLACES / CALL_S
PATH = "/api/work"
CALM_CALLS = 20
# An answer is a normal one if it took at most so many times what it takes in quiet times.
NORMAL_TIMES = 2.0
RECOVERY_TIMEOUT_S = 60.0
# Between two looks at what is due.
TICK_S = 0.002


@dataclass(frozen=True)
class Case:
    name: str
    settings: str
    # The part of the extent's seconds for which it lasts.
    share: float
    # Room for those that wait, those in work, and those that are just refused.
    connections_max: int
    hangs_up: bool


WORKERS = f"[workers]\nmax = 1\nconcurrency = {PLACES}\n"
CASES = [
    Case("160 may wait, 2 s at most", WORKERS + '[admission]\nwaiting_max = 160\nwait_max = "2s"\n', 1, 2_000, False),
    Case("default limits, clients hang up", WORKERS, 1 / 3, 12_000, True),
]


@dataclass
class CaseResults:
    """Times in seconds, memory in bytes; `answers` counts by status, 0 for a connection that broke."""

    lasted_s: float = 0.0
    offered: int = 0
    # Requests whose time had come when all connections were in use.
    withheld: int = 0
    # Requests whose client hung up.
    left: int = 0
    answers: Counter = field(default_factory=Counter)
    without_advice: int = 0
    calm: Figure = field(default_factory=Figure)
    good: List[float] = field(default_factory=list)
    memory_before: Figure = field(default_factory=Figure)
    memory_peak: Figure = field(default_factory=Figure)
    recovery: Figure = field(default_factory=Figure)

    @property
    def others(self) -> int:
        """Answers that are neither good nor a polite refusal."""
        return sum(count for status, count in self.answers.items() if status not in (200, 429, 503))


@dataclass
class OverloadResults:
    cases: Dict[str, CaseResults] = field(default_factory=lambda: {case.name: CaseResults() for case in CASES})


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> OverloadResults:
    results = OverloadResults()
    allow_connections()
    for case in CASES:
        found = results.cases[case.name]
        with zero.serve(place, "slow", case.settings) as server:
            server.first_answer(PATH)
            asyncio.run(run(server, case, extent.overload_s * case.share, found))
            found.memory_peak.add(status_bytes(server, "VmHWM"))
        answers = ", ".join(f"{count:,} × {status or 'broken'}" for status, count in sorted(found.answers.items()))
        say(f"over    {case.name}: {found.offered:,} requests in {found.lasted_s:.0f} s: {answers}, {found.left:,} left")
        say(f"over    normal again after {found.recovery.median:.2f} s, at most {found.memory_peak.median / 1e6:.1f} MB")
    return results


def allow_connections() -> None:
    """Lets this process, and the servers that it starts, open as many files as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def run(server: Server, case: Case, duration_s: float, results: CaseResults) -> None:
    address = urlsplit(server.base)
    client = Client(address.hostname, address.port, case.connections_max)
    for _ in range(CALM_CALLS):
        status, took = await client.ask()
        if status != 200:
            raise RuntimeError(f"{PATH} answered {status} in quiet times:\n{server.last_words()}")
        results.calm.add(took)
    results.memory_before.add(status_bytes(server, "VmRSS"))
    await offer(client, duration_s, results)
    ended = time.perf_counter()
    if case.hangs_up:
        results.left = await client.hang_up()
    # Of its own, so that it stands in no line of ours.
    caller = Client(address.hostname, address.port, 1)
    normal = until_normal(caller, NORMAL_TIMES * statistics.median(results.calm.readings))
    try:
        await asyncio.wait_for(normal, RECOVERY_TIMEOUT_S)
        results.recovery.add(time.perf_counter() - ended)
    except asyncio.TimeoutError:
        # Too long for every promise; how long, nobody has waited for.
        results.recovery.add(RECOVERY_TIMEOUT_S)
    await client.close()
    await caller.close()


async def until_normal(caller: "Client", limit_s: float) -> None:
    while True:
        status, took = await caller.ask()
        if status == 200 and took <= limit_s:
            return


async def offer(client: "Client", duration_s: float, results: CaseResults) -> None:
    """Sends what is due, and counts what comes; returns at the end of the time, with answers still to come."""
    begin = time.perf_counter()
    due_total = 0
    while True:
        elapsed = time.perf_counter() - begin
        due = int(TIMES * CAPACITY * min(elapsed, duration_s)) - due_total
        due_total += due
        for _ in range(due):
            if client.busy >= client.connections_max:
                results.withheld += 1
            else:
                results.offered += 1
                client.send(results)
        if elapsed >= duration_s:
            break
        await asyncio.sleep(TICK_S)
    results.lasted_s = time.perf_counter() - begin


class Client:
    """Connections that stay open, each with one request at a time; more are opened when all are in use."""

    def __init__(self, host: str, port: int, connections_max: int) -> None:
        self.host, self.port, self.connections_max = host, port, connections_max
        self.idle: Deque["Connection"] = deque()
        self.tasks: set = set()
        self.busy = 0

    async def ask(self) -> tuple:
        """Status (0 if the connection broke) and seconds of one request."""
        status, _, took = await self.exchange()
        return status, took

    def send(self, results: CaseResults) -> None:
        """The same in the background, into the results."""
        task = asyncio.get_running_loop().create_task(self.count(results))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def count(self, results: CaseResults) -> None:
        status, has_advice, took = await self.exchange()
        results.answers[status] += 1
        if status == 200:
            results.good.append(took)
        elif status in (429, 503) and not has_advice:
            results.without_advice += 1

    async def exchange(self) -> tuple:
        self.busy += 1
        begin = time.perf_counter()
        connection = self.take()
        try:
            connection = connection or await Connection.open(self.host, self.port)
            status, has_advice = await connection.ask()
            self.idle.append(connection)
        except OSError:
            status, has_advice = 0, False
        except asyncio.CancelledError:
            if connection is not None:
                connection.transport.abort()
            raise
        finally:
            self.busy -= 1
        return status, has_advice, time.perf_counter() - begin

    def take(self) -> Optional["Connection"]:
        """One that is open. The server may close those that were idle for long, which harms nobody."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.is_lost:
                return connection
        return None

    async def hang_up(self) -> int:
        """Ends all connections with a request on the way: their number."""
        tasks = [task for task in self.tasks if task.cancel()]
        if tasks:
            await asyncio.wait(tasks)
        return len(tasks)

    async def close(self) -> None:
        """Waits for the answers that are to come, and hangs up."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=RECOVERY_TIMEOUT_S)
        for connection in self.idle:
            connection.transport.close()


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer = bytearray()
        self.transport: Optional[asyncio.Transport] = None
        self.answer: Optional[asyncio.Future] = None
        self.is_lost = False

    @staticmethod
    async def open(host: str, port: int) -> "Connection":
        _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
        return connection

    async def ask(self) -> tuple:
        """The status and whether the answer says when to come back; `ConnectionError` if there is none."""
        if self.is_lost:
            raise ConnectionResetError("closed before the request")
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(wire.request("GET", PATH))
        return await self.answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        found = wire.take_answer(self.buffer)
        if found is not None and self.answer is not None and not self.answer.done():
            self.answer.set_result(found)

    def connection_lost(self, _error: Optional[Exception]) -> None:
        self.is_lost = True
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionResetError("closed within a request"))


def status_bytes(server: Server, name: str) -> float:
    """A size in /proc/<pid>/status of the server itself, without its workers: bytes."""
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024.0 * int(line.split()[1])
    raise RuntimeError(f"no {name} of the server")
