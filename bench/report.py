"""Writes what was measured as a page in Markdown."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Callable, List, Sequence

from drain import QueueResults
from events import LATE_S, TIMERS, EventResults, percentile
from figures import Figure, megabytes, per_second, ratio, seconds
from measures import ECHO_BYTES, MANY_CLIENTS, WORKERS, Extent, HttpResults, Table
from reload import WATCHERS, ReloadResults
from systems import INGLE, INGLE_ASYNC, PEERS
from zero import FIRST, SPARE, ZeroResults

ALL = [INGLE.name, INGLE_ASYNC.name, *(peer.name for peer in PEERS)]


@dataclass
class Results:
    """All that was measured."""

    http: HttpResults = field(default_factory=HttpResults)
    queue: QueueResults = field(default_factory=QueueResults)
    reload: ReloadResults = field(default_factory=ReloadResults)
    events: EventResults = field(default_factory=EventResults)
    zero: ZeroResults = field(default_factory=ZeroResults)


@dataclass(frozen=True)
class Target:
    """A promise about one figure."""

    what: str
    figure: Figure
    unit: Callable[[float], str]
    limit: float
    at_least: bool

    def row(self) -> List[str]:
        sign = "≥" if self.at_least else "≤"
        return [self.what, f"{sign} {self.unit(self.limit)}", self.figure.show(self.unit), self.verdict()]

    def verdict(self) -> str:
        if math.isnan(self.figure.median):
            return "not measured"
        met = self.figure.median >= self.limit if self.at_least else self.figure.median <= self.limit
        return "met" if met else "**missed**"


def targets(results: Results) -> List[Target]:
    name, http, queue, events = INGLE.name, results.http, results.queue, results.events
    requests, messages = per_second("requests"), per_second("messages")
    return [
        Target("first answer after the start", http.first_answer[name], seconds, 1.0, False),
        Target("p50, 1 client", http.p50[name], seconds, 250e-6, False),
        Target(f"throughput, {MANY_CLIENTS} clients, {WORKERS} workers", http.requests[name], requests, 8000, True),
        Target("memory of host and 1 worker, PSS", http.one_worker_pss[name], megabytes, 40e6, False),
        Target("the same, alone (see [Memory](#memory))", http.one_worker_alone[name], megabytes, 40e6, False),
        Target("queue drained by 1 worker", queue.rate[1], messages, 5000, True),
        Target("reload of a small app", results.reload.took[name], seconds, 0.3, False),
        Target("a blob, from putting to done, p50", events.blob, seconds, 0.01, False),
        Target(f"server with {TIMERS:,} timers, PSS", events.timers_server, megabytes, 100e6, False),
        Target("seconds without one of their timers", missed_seconds(events), per_run, 0, False),
        *from_zero(results.zero),
    ]


def from_zero(zero: ZeroResults) -> List[Target]:
    names = [name for name, _, _ in FIRST]
    limits = list(zip(names, (0.002, 0.004, 0.009), (0.006, 0.010, 0.018)))
    limits.append((SPARE[0], 0.001, math.inf))
    found = []
    for name, p50, p99 in limits:
        figure = zero.first.get(name, Figure())
        found.append(Target(f"first answer without a worker, {name}, p50", figure, seconds, p50, False))
        if p99 < math.inf:
            last = Figure([percentile(figure.readings, 0.99)] if figure.readings else [])
            found.append(Target("the same, p99", last, seconds, p99, False))
    for app, limit in (("cold", 2e6), ("pandas", 8e6)):
        what = f"one more worker adds, {'hello' if app == 'cold' else app}, PSS"
        found.append(Target(what, zero.added.get(app, Figure()), megabytes, limit, False))
    return found

def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; a bar inside of a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def comparison(what: str, figures: Table, unit: Callable[[float], str], names: Sequence[str] = ALL) -> str:
    """One row a system that was measured, with its ratio to Ingle's `def` function."""
    base = figures[INGLE.name]
    measured = [name for name in names if figures[name].readings]
    rows = [[name, figures[name].show(unit), ratio(figures[name], base)] for name in measured]
    return table(["system", what, "ratio to Ingle"], rows)


def memory(pss: Table, alone: Table) -> str:
    base = pss[INGLE.name]
    measured = [name for name in ALL if pss[name].readings]
    rows = [[name, pss[name].show(megabytes), alone[name].show(megabytes), ratio(pss[name], base)] for name in measured]
    return table(["system", "PSS", "alone", "ratio of PSS to Ingle"], rows)


def queue_part(queue: QueueResults, extent: Extent) -> str:
    messages = per_second("messages")
    rows = [
        [f"drain {extent.messages:,} messages, {workers} worker process{'es' if workers > 1 else ''}", figure.show(messages)]
        for workers, figure in queue.rate.items()
    ]
    rows.append([f"one message, from sending to done ({len(queue.single.readings)} readings)", queue.single.show(seconds)])
    rows.append([f"one forced write of 4 KiB ({queue.filesystem})", queue.disk.show(seconds)])
    text = table(["measure", "figure"], rows)
    if queue.left_out:
        text += f"\n{queue.left_out:,} lines of the log were left out; those runs end when the queue was seen empty.\n"
    return text


def missed_seconds(events: EventResults) -> Figure:
    return Figure([float(events.missed_seconds)] if events.seconds else [])


def per_run(value: float) -> str:
    return f"{value:.0f}"


def reload_part(results: ReloadResults) -> str:
    names = [watcher.name for watcher in WATCHERS]
    return comparison("saved to served", results.took, seconds, names)


def events_part(results: EventResults, extent: Extent) -> str:
    def ordered(share: float) -> str:
        return seconds(percentile(results.blob.readings, share))

    rows = [
        [f"a blob of 7 bytes, from putting to done, p50 ({len(results.blob.readings)} readings)", ordered(0.5)],
        ["the same, p99", ordered(0.99)],
        [f"server with {TIMERS:,} timers, PSS", results.timers_server.show(megabytes)],
        ["the same with its Python processes", results.timers_all.show(megabytes)],
        ["its start, with 20,000 decorators to import and to check", seconds(results.timer_start_s)],
        [f"timers that fired in {results.seconds} s", f"{results.fired:,}"],
        ["seconds of these without one of their timers", str(results.missed_seconds)],
        [f"seconds of these with a timer that was more than {LATE_S:.0f} s late", str(results.late_seconds)],
    ]
    return table(["measure", "figure"], rows)


def zero_part(zero: ZeroResults) -> str:
    rows = []
    for name, figure in zero.first.items():
        p99 = seconds(percentile(figure.readings, 0.99))
        rows.append([name, figure.show(seconds), p99, str(len(figure.readings))])
    text = table(["first answer", "p50", "p99", "readings"], rows)
    added = [[app, figure.show(megabytes)] for app, figure in zero.added.items()]
    return text + "\n" + table(["one more worker of the app", "adds, PSS"], added)


def page(machine: Sequence[str], results: Results, extent: Extent) -> str:
    """The whole report."""
    http, queue = results.http, results.queue
    limits = table(["promise", "target", "measured", ""], [target.row() for target in targets(results)])
    echo_rate = {name: Figure([ECHO_BYTES / took for took in figure.readings]) for name, figure in http.echo.items()}
    echo_figures = HttpResults().echo
    echo_figures.update(echo_rate)
    parts = [
        "# Performance",
        "Written by `cargo xtask bench`, which measures Ingle and its peers in the same run, on one machine, the client included. "
        "Compare figures inside of one report only.",
        "\n".join(f"- {line}" for line in machine),
        "Each figure is the median, with the smallest and the largest reading in brackets. A ratio of 2.00 means twice the figure "
        "of Ingle's `def` function.",
        "## Targets\n\n" + limits.rstrip(),
        f"## First answer\n\nFrom exec of the server to the first complete answer of the hello function, environment and bytecode "
        f"cached, one worker, {extent.starts} start(s) of each system.\n\n"
        + comparison("time", http.first_answer, seconds).rstrip(),
        f"## Latency, 1 client\n\nThe hello function: one query parameter in, a JSON greeting out. {WORKERS} worker processes, "
        f"{extent.load_rounds} round(s) of {extent.load_s} s.\n\n"
        + comparison("p50", http.p50, seconds)
        + "\n"
        + comparison("p99", http.p99, seconds).rstrip(),
        f"## Throughput, {MANY_CLIENTS} clients\n\nThe same servers.\n\n"
        + comparison("answered", http.requests, per_second("requests"))
        + "\n"
        + comparison(f"p99 with {MANY_CLIENTS} clients", http.busy_p99, seconds).rstrip(),
        "## Memory\n\nAll processes of a system. PSS divides a page among all processes of the machine that have it, and other "
        "Pythons have pages of the same interpreter; \"alone\" is what the system would need without them. One worker, after a "
        "second of 1 client:\n\n"
        + memory(http.one_worker_pss, http.one_worker_alone)
        + f"\n{WORKERS} workers, after the throughput run:\n\n"
        + memory(http.two_workers_pss, http.two_workers_alone).rstrip(),
        f"## A body of {ECHO_BYTES // 1_000_000} MB\n\nPosted and returned, one at a time; body bytes per second of the whole "
        "exchange.\n\n" + comparison("echoed", echo_figures, lambda value: f"{megabytes(value)}/s").rstrip(),
        "## Queue\n\nA `def` function that reads each message as JSON; `batchSize` 32. Each commit is forced to the disk.\n\n"
        + queue_part(queue, extent).rstrip(),
        f"## Reload\n\nFrom saving a file of a small app to the first answer of the new version; {extent.reloads} times, every system "
        "with its own watcher.\n\n" + reload_part(results.reload).rstrip(),
        "## Blobs and timers\n\nBlobs are put one at a time into the embedded store. The timers fire once an hour each, five or six in "
        "every second.\n\n" + events_part(results.events, extent).rstrip(),
        "## Workers on demand\n\nEvery worker has retired, or one spare waits that has run nothing. A reading begins with the request on an "
        "open connection.\n\n" + zero_part(results.zero).rstrip(),
        "## Read with care\n\n" + "\n".join(f"- {line}" for line in cautions(http)),
    ]
    return "\n\n".join(parts) + "\n"


def cautions(http: HttpResults) -> List[str]:
    return [
        "Ingle writes a line for each invocation to a file, as it does by default. The peers write none: gunicorn and "
        "functions-framework have no access log by default, and uvicorn's is switched off.",
        "gunicorn's sync worker closes the connection after each answer, so its figures include connecting.",
        "uvicorn runs with uvloop and httptools, and the bare application has no routes, no validation and no framework.",
        "flask and uvicorn reload by ending the server and starting it anew, so requests are refused meanwhile; Ingle's old version answers "
        "until the new one is there. Ingle waits 40 ms for further files to be saved.",
        "functions-framework runs 4 threads for each core in a worker, Ingle as many as there are calls at once; the others run one "
        "call or one event loop a worker.",
        *(sorted(set(http.complaints))),
    ]
