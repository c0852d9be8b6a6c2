"""The measure of boxes: what confining functions adds to a first answer, to a warm call and to memory, and how long it takes
to make a box. Each reading is paired with one of the same server with `isolation = "off"`, in turns.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Callable, Dict, List

import wrk
import zero
from drain import AdminConnection
from figures import Figure, Latency
from measures import Extent, rotated
from servers import Server
from systems import Place

CLASSES = {"off": '\n[sandbox]\nisolation = "off"\n', "default": ""}
ROWS = [row for row in zero.ROWS if not row.is_spare()]
ONE_WORKER = "[workers]\nmin = 1\nmax = 1\n"
HELLO = "/api/hello?name=Ada"
# `a box was made took_ms=3.2` of the server's own trace.
MADE = re.compile(r"a box was made.*?took_ms=([0-9.]+)")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
BOXES_MADE = 20


@dataclass
class BoxResults:
    """By class of isolation: first answers by row, warm p50 in seconds, bytes of all processes; seconds to make a box."""

    first: Dict[str, Dict[str, Latency]] = field(default_factory=lambda: {row.name: defaultdict(Latency) for row in ROWS})
    warm: Dict[str, Figure] = field(default_factory=lambda: defaultdict(Figure))
    memory: Dict[str, Figure] = field(default_factory=lambda: defaultdict(Figure))
    making: Figure = field(default_factory=Figure)

    def added(self, row: str) -> Figure:
        """What a box adds to the median first answer, by round."""
        return difference(self.first[row]["default"].p50, self.first[row]["off"].p50)

    def added_warm(self) -> Figure:
        return difference(self.warm["default"], self.warm["off"])

    def added_memory(self) -> Figure:
        return difference(self.memory["default"], self.memory["off"])


def difference(more: Figure, less: Figure) -> Figure:
    return Figure([one - other for one, other in zip(more.readings, less.readings)])


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> BoxResults:
    results = BoxResults()
    for row in ROWS:
        for name in rotated(list(CLASSES), extent.zero_rounds):
            took = first_answers(place, row, name, extent.first_answers)
            latency = results.first[row.name][name]
            latency.add_run(took)
            say(f"boxes   {row.name:36} {name:8} {latency.p50.readings[-1] * 1000:7.2f} ms")
    for name in rotated(list(CLASSES), extent.load_rounds):
        with zero.serve(place, "cold", ONE_WORKER + CLASSES[name]) as server:
            server.first_answer(HELLO)
            wrk.run(server.base + HELLO, clients=1, duration_s=1)
            results.warm[name].add(wrk.run(server.base + HELLO, clients=1, duration_s=extent.load_s).p50_s)
            results.memory[name].add(zero.resident(server))
        say(f"boxes   warm, 1 client {name:8} {results.warm[name].readings[-1] * 1e6:7.0f} µs")
    results.making = Figure(making(place))
    say(f"boxes   made in {results.making.median * 1000:.2f} ms")
    return results


def first_answers(place: Place, row: zero.Row, name: str, count: int) -> List[float]:
    return zero.answers(place, zero.Row(row.name, row.app, row.path, row.workers + CLASSES[name], row.p50_max, None), count)


def making(place: Place, settings: str = ONE_WORKER) -> List[float]:
    """Seconds for each box of a server whose app is loaded again and again: each generation has its own."""
    with zero.serve(place, "cold", settings, {"INGLE_LOG": "debug"}) as server:
        server.first_answer(HELLO)
        admin = AdminConnection(place.scratch / "state" / "admin.sock")
        for number in range(BOXES_MADE):
            (place.apps / "cold" / "touched.py").write_text(f"# {number}\n", encoding="utf-8")
            zero.wait_until(admin, server, lambda _status, wanted=number + 1: reloads(server) >= wanted)
        admin.close()
        (place.apps / "cold" / "touched.py").unlink()
        return made_in(server.log.read_text(encoding="utf-8", errors="replace"))


def reloads(server: Server) -> int:
    lines = server.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return sum(line.startswith('{"event":"reloaded"') and bool(json.loads(line)) for line in lines)


def made_in(log: str) -> List[float]:
    return [float(found) / 1000 for found in MADE.findall(ESCAPES.sub("", log))]
