"""Writes what was measured as a page in Markdown."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Callable, List, Mapping, Optional, Sequence

from boxes import BoxResults
from drain import QueueResults
from events import LATE_S, TIMERS, EventResults
from figures import Figure, megabytes, per_second, percentile, ratio, seconds, table
from many import ManyResults
from measures import ECHO_BYTES, MANY_CLIENTS, WORKERS, Extent, HttpResults, Table
from neighbour import NO_ATTACK, NeighbourResults
from network_ways import NetworkResults, network_part
from overload import CAPACITY, TIMES, OverloadResults
from reload import WATCHERS, ReloadResults
from systems import INGLE, INGLE_ASYNC, INGLE_HANDLER, LAMBDA_PEERS, PEERS
from zero import ADDED, ROWS, ZeroResults

ALL = [INGLE.name, INGLE_ASYNC.name, INGLE_HANDLER.name, *(peer.name for peer in PEERS), *(peer.name for peer in LAMBDA_PEERS)]

OURS = (INGLE.name, INGLE_ASYNC.name, INGLE_HANDLER.name)


@dataclass
class Results:
    """All that was measured."""

    http: HttpResults = field(default_factory=HttpResults)
    queue: QueueResults = field(default_factory=QueueResults)
    reload: ReloadResults = field(default_factory=ReloadResults)
    events: EventResults = field(default_factory=EventResults)
    zero: ZeroResults = field(default_factory=ZeroResults)
    overload: OverloadResults = field(default_factory=OverloadResults)
    many: ManyResults = field(default_factory=ManyResults)
    boxes: BoxResults = field(default_factory=BoxResults)
    neighbour: NeighbourResults = field(default_factory=NeighbourResults)
    network: NetworkResults = field(default_factory=NetworkResults)


@dataclass(frozen=True)
class Target:
    """A promise about one figure, and what others reach in the same run."""

    what: str
    figure: Figure
    unit: Callable[[float], str]
    limit: float
    at_least: bool = False
    peers: Mapping[str, Figure] = field(default_factory=dict)

    def row(self) -> List[str]:
        sign = "≥" if self.at_least else "≤"
        measured = [f"{sign} {self.unit(self.limit)}", self.figure.show(self.unit), self.verdict()]
        return [self.what, *measured, *self.beside()]

    def verdict(self) -> str:
        if math.isnan(self.figure.median):
            return "not measured"
        met = self.figure.median >= self.limit if self.at_least else self.figure.median <= self.limit
        return "met" if met else "**missed**"

    def beside(self) -> List[str]:
        """The best of the peers, and its ratio to Ingle."""
        found = {name: figure for name, figure in self.peers.items() if figure.readings}
        if not found:
            return ["–", "–"]
        best = (max if self.at_least else min)(found, key=lambda name: found[name].median)
        return [f"{self.unit(found[best].median)}, {best}", ratio(found[best], self.figure)]


def of_peers(figures: Table) -> Mapping[str, Figure]:
    return {name: figure for name, figure in figures.items() if name not in OURS}


def targets(results: Results) -> List[Target]:
    """Every promise, in the order of the page."""
    name, http, queue, events = INGLE.name, results.http, results.queue, results.events
    messages, pss, alone = per_second("messages"), http.one_worker_pss, http.one_worker_alone
    return [
        *from_zero(results.zero),
        *warm(http),
        *under_overload(results.overload),
        *of_many_apps(results.many),
        *of_boxes(results.boxes),
        *of_neighbour(results.neighbour),
        Target("first answer after the start", http.first_answer[name], seconds, 1.0, peers=of_peers(http.first_answer)),
        Target("memory of host and 1 worker, PSS", pss[name], megabytes, 40e6, peers=of_peers(pss)),
        Target("the same, alone (see [Memory](#memory))", alone[name], megabytes, 40e6, peers=of_peers(alone)),
        Target("queue drained by 1 worker", queue.rate[1], messages, 5000, at_least=True),
        Target("reload of a small app", results.reload.took[name], seconds, 0.3, peers=of_peers(results.reload.took)),
        Target("a blob, from putting to done, p50", events.blob, seconds, 0.01),
        Target(f"server with {TIMERS:,} timers, PSS", events.timers_server, megabytes, 100e6),
        Target("seconds without one of their timers", missed_seconds(events), per_run, 0),
    ]


def from_zero(zero: ZeroResults) -> List[Target]:
    found = []
    for row in ROWS:
        latencies = zero.first[row.name]
        of_ingle = latencies[INGLE.name]
        others = {name: latency for name, latency in latencies.items() if name != INGLE.name}
        p50s = {name: latency.p50 for name, latency in others.items()}
        p99s = {name: latency.p99 for name, latency in others.items()}
        what = row.name if row.is_spare() else f"no worker, {row.name}"
        found.append(Target(f"first answer, {what}, p50", of_ingle.p50, seconds, row.p50_max, peers=p50s))
        if row.p99_max is not None:
            found.append(Target("the same, p99", of_ingle.p99, seconds, row.p99_max, peers=p99s))
    for added in ADDED:
        figures = zero.added[added.name]
        what = f"one more worker adds, {added.name}, PSS"
        found.append(Target(what, figures[INGLE.name], megabytes, added.limit, peers=of_peers(figures)))
    return found


def warm(http: HttpResults) -> List[Target]:
    requests = per_second("requests")
    found = [Target("p50, 1 client", http.p50[INGLE.name], seconds, 150e-6, peers=of_peers(http.p50))]
    for system in (INGLE, INGLE_ASYNC):
        what = f"{system.name}, {MANY_CLIENTS} clients, {WORKERS} workers"
        found.append(Target(what, http.requests[system.name], requests, 15_000, True, of_peers(http.requests)))
    name, of_lambda = INGLE_HANDLER.name, lambda table: {peer.name: table[peer.name] for peer in LAMBDA_PEERS}
    found.append(Target(f"{name}, p50, 1 client", http.p50[name], seconds, 160e-6, peers=of_lambda(http.p50)))
    what = f"{name}, {MANY_CLIENTS} clients, {WORKERS} workers"
    found.append(Target(what, http.requests[name], requests, 20_000, True, of_lambda(http.requests)))
    return found


def under_overload(overload: OverloadResults) -> List[Target]:
    found = []
    for name, case in overload.cases.items():
        seen = bool(case.offered)
        others = Figure([float(case.others)] if seen else [])
        silent = Figure([float(case.without_advice)] if seen else [])
        found.append(Target(f"{TIMES}× the load ({name}), then a normal answer after", case.recovery, seconds, 5.0))
        found.append(Target("answers under it but 200, 429 and 503", others, per_run, 0))
        found.append(Target("refusals without `Retry-After`", silent, per_run, 0))
    return found


def of_boxes(boxes: BoxResults) -> List[Target]:
    added = [
        Target(f"a box adds to the first answer, {row}, p50", boxes.added(row), seconds, 0.001) for row in boxes.first
    ]
    return [
        *added,
        Target("a box adds to a warm call, p50", boxes.added_warm(), seconds, 10e-6),
        Target("a box is made in", boxes.making, seconds, 0.02),
    ]


def of_neighbour(neighbour: NeighbourResults) -> List[Target]:
    return [Target(f"a neighbour's p99 while an app {name}, to that at rest", neighbour.ratio(name), times, 1.25) for name in neighbour.during if name != NO_ATTACK.name]


def times(value: float) -> str:
    return f"{value:.2f}×"


def neighbour_part(neighbour: NeighbourResults) -> str:
    """How an app fares beside one that attacks."""
    rows = [
        [name, str(neighbour.made[name]), during.p50.show(seconds), during.p99.show(seconds), neighbour.ratio(name).show(times)]
        for name, during in neighbour.during.items()
    ]
    rest = ["nobody attacks", "–", neighbour.rest.p50.show(seconds), neighbour.rest.p99.show(seconds), "1.00×"]
    return table(["what the app beside it does", "times", "p50", "p99", "p99 to that at rest"], [rest, *rows])


def boxes_part(boxes: BoxResults) -> str:
    """What confining costs, beside the same server without it."""
    rows = [
        [f"first answer, {name}, p50", latencies["off"].p50.show(seconds), latencies["default"].p50.show(seconds)]
        for name, latencies in boxes.first.items()
    ]
    rows.append(["warm call, 1 client, p50", boxes.warm["off"].show(seconds), boxes.warm["default"].show(seconds)])
    rows.append(["all processes with one worker, PSS", boxes.memory["off"].show(megabytes), boxes.memory["default"].show(megabytes)])
    rows.append(["memory of a box with its cells", "–", boxes.added_memory().show(megabytes)])
    return table(["measure", "`off`", "`default`"], rows)


def of_many_apps(many: ManyResults) -> List[Target]:
    name = f"{many.apps or 1000:,} idle apps"
    slowest = Figure([max(many.first.readings)] if many.first.readings else [])
    return [
        Target(f"{name}, all processes, PSS", many.memory, megabytes, 2e9),
        Target("first answer of any of them", slowest, seconds, 0.2),
    ]


def comparison(what: str, figures: Mapping[str, Figure], unit: Callable[[float], str], names: Sequence[str] = ALL) -> str:
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
    parts = []
    for row in ROWS:
        latencies = {name: latency for name, latency in zero.first[row.name].items() if latency.count}
        base = zero.first[row.name][INGLE.name].p50
        rows = [
            [name, latency.p50.show(seconds), latency.p99.show(seconds), str(latency.count), ratio(latency.p50, base)]
            for name, latency in latencies.items()
        ]
        limit = f"p50 ≤ {seconds(row.p50_max)}" + (f", p99 ≤ {seconds(row.p99_max)}" if row.p99_max is not None else "")
        head = ["system", "p50", "p99", "answers", "ratio of p50 to Ingle"]
        parts.append(f"First answer, {row.name} (target: {limit}):\n\n" + table(head, rows))
    for added in ADDED:
        text = comparison("adds, PSS", zero.added[added.name], megabytes)
        parts.append(f"What one more worker adds, {added.name} (target: ≤ {megabytes(added.limit)}):\n\n" + text)
    return "\n".join(parts)


def overload_part(overload: OverloadResults) -> str:
    columns = [
        [
            f"{case.offered:,} requests in {case.lasted_s:.0f} s",
            f"{case.withheld:,}",
            f"{case.answers[200]:,}",
            f"{case.answers[429]:,}",
            f"{case.answers[503]:,}",
            f"{case.others:,}",
            f"{case.left:,}",
            seconds(case.calm.median),
            seconds(percentile(case.good, 0.5)),
            seconds(percentile(case.good, 0.99)),
            case.memory_before.show(megabytes),
            case.memory_peak.show(megabytes),
            case.recovery.show(seconds),
        ]
        for case in overload.cases.values()
    ]
    measures = [
        "offered",
        "its time had come while all connections were in use",
        "answered with 200",
        "refused with 429",
        "refused with 503",
        "anything else",
        "hung up at the end",
        "p50 in quiet times",
        "p50 of the answers with 200",
        "p99 of these",
        "resident memory of the server before",
        "at its peak",
        "a normal answer, after the end of the load",
    ]
    return table(["measure", *overload.cases], list(zip(measures, *columns)))


def many_part(many: ManyResults) -> Optional[str]:
    """Nothing if it was not measured."""
    if not many.apps:
        return None
    rows = [
        ["apps, of which none has anything to do", f"{many.apps:,}"],
        ["all processes, PSS", many.memory.show(megabytes)],
        ["for each app", megabytes(many.memory.median / many.apps)],
        [f"first answer, p50 ({len(many.first.readings)} readings)", seconds(many.first.median)],
        ["the slowest of them", seconds(max(many.first.readings, default=math.nan))],
    ]
    return table(["measure", "figure"], rows)


def page(machine: Sequence[str], results: Results, extent: Extent) -> str:
    """The whole report."""
    http, queue = results.http, results.queue
    head = ["promise", "target", "measured", "", "best peer", "its ratio to Ingle"]
    limits = table(head, [target.row() for target in targets(results)])
    many = many_part(results.many)
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
        f"## From zero\n\nEvery worker has retired, or one spare waits that has run nothing; {extent.zero_rounds} round(s) of "
        f"{extent.first_answers} requests, each on a connection that is open. Of the peers, the Runtime API's server runs and starts "
        f"awslambdaric for the request; the others are started anew, {extent.peer_starts} time(s) a round, from exec to the first answer. "
        "The figures are medians of the rounds.\n\n" + zero_part(results.zero).rstrip(),
        f"## Too much work\n\nA function of 50 ms in one worker with four places can answer {CAPACITY:.0f} requests a second; {TIMES} "
        "times that come, each at its time, on connections that stay open. After the load clients wait for the answers that are to come, "
        "or hang up.\n\n" + overload_part(results.overload).rstrip(),
        *([f"## Many apps\n\nApps that have nothing to do, several on each environment, in one server.\n\n{many.rstrip()}"] if many else []),
        "## Boxes\n\nThe same server with functions in a box and without one, in turns: the differences of the pairs are above.\n\n"
        + boxes_part(results.boxes).rstrip(),
        *([f"## Ways into the network\n\n{network}"] if (network := network_part(results.network).rstrip()) else []),
        "## Neighbours\n\nOne client calls an app again and again, with a pause of 2 ms, while another app of the same server does the "
        "worst that it can, over and over.\n\n" + neighbour_part(results.neighbour).rstrip(),
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
        "The request to an app without workers comes some 20 ms after the last worker has gone, not hours later: what the kernel would "
        "have dropped or moved meanwhile is still there.",
        "The Runtime API behind which awslambdaric is measured is a small one of our own (bench/runtime_api.py, asyncio on uvloop). An "
        "environment of it takes one request at a time, as in Lambda.",
        "functions-framework runs 4 threads for each core in a worker, Ingle as many as there are calls at once; the others run one "
        "call or one event loop a worker.",
        *(sorted(set(http.complaints))),
    ]
