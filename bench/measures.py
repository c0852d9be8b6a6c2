"""The measures over HTTP: first answer, memory, latency, throughput, large bodies.

Each goes through all systems before it begins the next round, and each round begins with another system: what else
happens on the machine then hits all of them.
"""

from __future__ import annotations

import http.client
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, List, Sequence, TypeVar
from urllib.parse import urlsplit

import wrk
from figures import Figure
from systems import INGLE, INGLE_ASYNC, INGLE_HANDLER, LAMBDA_PEERS, PANDAS, PEERS, Place, System

ECHO_BYTES = 100_000_000
# Connections that keep two workers busy.
MANY_CLIENTS = 32
WORKERS = 2

Item = TypeVar("Item")
# Readings of one measure, by the name of the system.
Table = Dict[str, Figure]


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    starts: int
    load_rounds: int
    load_s: int
    echo_rounds: int
    drain_rounds: int
    messages: int
    single_messages: int
    reloads: int
    blobs: int
    timer_s: int
    zero_rounds: int
    first_answers: int
    peer_starts: int
    overload_s: int
    network_rounds: int
    connects: int


FULL = Extent(starts=7, load_rounds=3, load_s=3, echo_rounds=3, drain_rounds=3, messages=20_000, single_messages=300,
              reloads=10, blobs=300, timer_s=30, zero_rounds=3, first_answers=100, peer_starts=3, overload_s=60, network_rounds=7, connects=1_000)
QUICK = Extent(starts=1, load_rounds=1, load_s=1, echo_rounds=1, drain_rounds=1, messages=2_000, single_messages=30,
               reloads=2, blobs=30, timer_s=5, zero_rounds=1, first_answers=20, peer_starts=1, overload_s=5, network_rounds=1, connects=200)


def tables() -> Dict[str, Figure]:
    return defaultdict(Figure)


@dataclass
class HttpResults:
    """Times in seconds, memory in bytes, rates per second."""

    first_answer: Table = field(default_factory=tables)
    one_worker_pss: Table = field(default_factory=tables)
    one_worker_alone: Table = field(default_factory=tables)
    two_workers_pss: Table = field(default_factory=tables)
    two_workers_alone: Table = field(default_factory=tables)
    p50: Table = field(default_factory=tables)
    p99: Table = field(default_factory=tables)
    requests: Table = field(default_factory=tables)
    busy_p99: Table = field(default_factory=tables)
    echo: Table = field(default_factory=tables)
    complaints: List[str] = field(default_factory=list)


def rotated(items: Sequence[Item], rounds: int) -> Iterator[Item]:
    """All items in each round, each round beginning one further."""
    for number in range(rounds):
        shift = number % len(items)
        yield from [*items[shift:], *items[:shift]]


def prepare(place: Place) -> None:
    """Builds Ingle's environment and compiles every app's bytecode, so that no measured start does."""
    for system in [INGLE, INGLE_HANDLER, *PEERS, *LAMBDA_PEERS, *PANDAS.values()]:
        with system.start(place, 1) as server:
            server.first_answer(system.hello)


def starts(place: Place, extent: Extent, results: HttpResults, say: Callable[[str], None]) -> None:
    """From exec to the first answer, and the memory of host and one worker after a second of one client."""
    for system in rotated([INGLE, *PEERS], extent.starts):
        with system.start(place, 1) as server:
            took = server.first_answer(system.hello)
            results.first_answer[system.name].add(took)
            wrk.run(server.base + system.hello, clients=1, duration_s=1)
            pss, alone = server.memory()
        results.one_worker_pss[system.name].add(pss)
        results.one_worker_alone[system.name].add(alone)
        say(f"start   {system.name:32} {took * 1000:6.0f} ms  {pss / 1e6:6.1f} MB")


def loads(place: Place, extent: Extent, results: HttpResults, say: Callable[[str], None]) -> None:
    """Latency with one client, requests per second with many, memory after that; two worker processes."""
    for system in rotated([INGLE, INGLE_ASYNC, INGLE_HANDLER, *PEERS, *LAMBDA_PEERS], extent.load_rounds):
        with system.start(place, WORKERS) as server:
            server.first_answer(system.hello)
            url = server.base + system.hello
            wrk.run(url, clients=MANY_CLIENTS, duration_s=1)
            quiet = wrk.run(url, clients=1, duration_s=extent.load_s)
            busy = wrk.run(url, clients=MANY_CLIENTS, duration_s=extent.load_s)
            pss, alone = server.memory()
        results.requests[system.name].add(busy.requests_per_s)
        results.two_workers_pss[system.name].add(pss)
        results.two_workers_alone[system.name].add(alone)
        for load, medians, worst in ((quiet, results.p50, results.p99), (busy, None, results.busy_p99)):
            if not load.answers:
                results.complaints.append(f"{system.name}: no answer in one run of {extent.load_s} s")
                continue
            if medians is not None:
                medians[system.name].add(load.p50_s)
            worst[system.name].add(load.p99_s)
            if load.bad_answers or load.socket_errors:
                what = f"{load.bad_answers} answers other than 2xx and {load.socket_errors} socket errors"
                results.complaints.append(f"{system.name}: {what} in one run")
        say(f"load    {system.name:32} {quiet.p50_s * 1e6:6.0f} µs  {busy.requests_per_s:8,.0f} requests/s")


def echoes(place: Place, extent: Extent, results: HttpResults, say: Callable[[str], None]) -> None:
    """A large body there and back, one at a time; the second of two, as the first one warms up."""
    body = bytes(ECHO_BYTES)
    for system in rotated([INGLE, *PEERS], extent.echo_rounds):
        with system.start(place, WORKERS) as server:
            server.first_answer(system.hello)
            echo(server.base, system, body)
            took = echo(server.base, system, body)
        results.echo[system.name].add(took)
        say(f"echo    {system.name:32} {took * 1000:6.0f} ms")


def echo(base: str, system: System, body: bytes) -> float:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
    begin = time.perf_counter()
    connection.request("POST", system.echo, body=body, headers={"content-type": "application/octet-stream"})
    response = connection.getresponse()
    returned = response.read()
    took = time.perf_counter() - begin
    connection.close()
    if response.status != 200 or len(returned) != len(body):
        raise RuntimeError(f"{system.name} echoed {len(returned)} bytes with status {response.status}")
    return took
