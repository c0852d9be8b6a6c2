"""The measures of events that Ingle makes itself: how soon a blob reaches its function, and many timers at once."""

from __future__ import annotations

import collections
import json
import math
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List

from drain import AdminConnection, start, wait_for_line
from figures import Figure, percentile
from measures import Extent
from servers import Server, proportional
from systems import Place

TIMERS = 20_000
# Each fires once in an hour, and every second of the hour has its share of them.
HOUR_S = 3_600
TIMER_APP = """import azure.functions as func

app = func.FunctionApp()


def tick(timer: func.TimerRequest) -> None:
    pass


for number in range({timers}):
    function = app.function_name(f"timer_{{number}}")(
        app.timer_trigger(arg_name="timer", schedule=f"{{number % 60}} {{number // 60 % 60}} * * * *")(tick)
    )
"""
# An occurrence that begins later than this has missed its second.
LATE_S = 1.0
START_TIMEOUT_S = 180.0


@dataclass
class EventResults:
    """Seconds from the begin of a put to the end of its function; bytes of the server with its timers, and of all its
    processes; what became of the seconds of the run."""

    blob: Figure = field(default_factory=Figure)
    timers_server: Figure = field(default_factory=Figure)
    timers_all: Figure = field(default_factory=Figure)
    timer_start_s: float = math.nan
    seconds: int = 0
    fired: int = 0
    missed_seconds: int = 0
    late_seconds: int = 0


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> EventResults:
    results = EventResults()
    blobs(place, extent.blobs, results)
    p50, p99 = (percentile(results.blob.readings, share) * 1000 for share in (0.5, 0.99))
    say(f"blob    from putting to done {p50:.2f} ms, 99 % within {p99:.2f} ms")
    timers(place, extent.timer_s, results)
    say(f"timers  {TIMERS:,} timers {results.timers_server.median / 1e6:.1f} MB, {results.fired} fired in {results.seconds} s, "
        f"{results.missed_seconds} seconds missed, {results.late_seconds} late")
    return results


def blobs(place: Place, count: int, results: EventResults) -> None:
    """Puts one blob at a time over the admin socket and waits for the line that tells of the end of its function."""
    shutil.rmtree(place.scratch / "state", ignore_errors=True)
    with start(place, 1, (), app="blobs") as server, open(server.log, encoding="utf-8") as log:
        admin = AdminConnection(place.scratch / "state/admin.sock")
        for number in range(count):
            log.seek(0, os.SEEK_END)
            begin = time.perf_counter()
            admin.ask("PUT", f"/v1/blobs?path=inbox/{number}.txt", b"content")
            wait_for_line(log)
            results.blob.add(time.perf_counter() - begin)
    done = len(invocations(server.log))
    if done != count:
        raise RuntimeError(f"{count} blobs were put, and the log tells of {done}")


def timers(place: Place, duration_s: int, results: EventResults) -> None:
    """Starts an app with many timers, lets it run, and looks which seconds had their timers and when those began."""
    folder = place.apps / "timers"
    folder.mkdir(exist_ok=True)
    (folder / "host.json").write_text('{"version": "2.0"}\n', encoding="utf-8")
    (folder / "function_app.py").write_text(TIMER_APP.format(timers=TIMERS), encoding="utf-8")
    shutil.rmtree(place.scratch / "state", ignore_errors=True)
    begin = time.monotonic()
    with start(place, 1, (), app="timers", timeout_s=START_TIMEOUT_S) as server:
        results.timer_start_s = time.monotonic() - begin
        # The states of the new timers are stored first; then come whole seconds.
        time.sleep(2)
        first = math.ceil(time.time())
        time.sleep(max(0.0, first + duration_s + LATE_S - time.time()))
        results.timers_server.add(pss(server, [server.process.pid]))
        results.timers_all.add(pss(server, server.pids()))
    count_seconds(invocations(server.log), range(first, first + duration_s), results)


def count_seconds(values: List[dict], seconds: range, results: EventResults) -> None:
    """What became of each second: each has as many timers as the schedules of the app say."""
    wanted, began = collections.defaultdict(set), {}
    for number in range(TIMERS):
        wanted[number % HOUR_S].add(f"timer_{number}")
    for value in values:
        began.setdefault(value["function"], []).append(value["time"] / 1e3)
    results.seconds = len(seconds)
    for second in seconds:
        begins = [
            [begin for begin in began.get(name, []) if second <= begin < second + 60] for name in wanted[second % HOUR_S]
        ]
        results.fired += sum(len(found) > 0 for found in begins)
        results.missed_seconds += any(not found for found in begins)
        results.late_seconds += any(found and min(found) >= second + LATE_S for found in begins)


def pss(server: Server, pids: List[int]) -> float:
    maps = []
    for pid in pids:
        try:
            maps.append(Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8"))
        except OSError:
            continue
    if not maps:
        raise RuntimeError(f"the server has ended:\n{server.last_words()}")
    return proportional(maps)


def invocations(log: Path) -> List[Dict[str, object]]:
    """The lines of invocations that succeeded, in the order of the log."""
    found = []
    with open(log, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith('{"event":"invocation"'):
                value = json.loads(line)
                if value["outcome"] == "success":
                    found.append(value)
    return found
