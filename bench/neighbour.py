"""The measure of a neighbour: how long the calls of one app take while another app of the same server attacks it.

The apps are those of the attack suite (tests/security). Each attack is made again and again for some seconds, while the
neighbour is called over one connection with a pause behind each answer; and the same once more with nobody attacking,
right before, as a machine has its moods.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List
from urllib.parse import urlsplit

from figures import Figure, Latency
from measures import Extent
from servers import Server
from systems import Place
from wire import Line

SUITE = Path(__file__).resolve().parent.parent / "tests" / "security"
# A call may be behind another one of the same app, but not for that long.
TIMEOUT_S = 60.0
PAUSE_S = 0.002
CALLS_FULL_S, CALLS_QUICK_S = 6.0, 1.0
# Until what the attack before has left is gone.
SETTLE_S = 1.5
LOG_TAIL = 2000


@dataclass(frozen=True)
class Attack:
    """What the app does; `hurried` is the same app with a time limit of a second."""

    name: str
    app: str
    path: str
    arguments: Dict[str, int] = field(default_factory=dict)
    at_once: int = 1


# What calls alone do, made as the attacks are: their client takes its part of the processors, too.
NO_ATTACK = Attack("does nothing, as often as it is asked", "app", "floods/lines", {"lines": 0})
ATTACKS = [
    NO_ATTACK,
    Attack("never ends", "hurried", "bombs/spin"),
    Attack("never ends, eight at once", "hurried", "bombs/spin", at_once=8),
    Attack("never ends, in one call of C", "hurried", "bombs/spin_in_c"),
    Attack("sleeps for ever", "hurried", "bombs/sleep"),
    Attack("takes no signal", "hurried", "bombs/deaf"),
    Attack("stops all that it can signal", "hurried", "survivors/stop_all"),
    Attack("forks until that is refused", "app", "bombs/forks"),
    Attack("a storm of forks", "hurried", "bombs/fork_storm"),
    Attack("starts threads until that is refused", "app", "bombs/threads"),
    Attack("takes memory, large pieces", "app", "bombs/bytes_without_end"),
    Attack("takes memory, small pieces", "app", "bombs/many_small"),
    Attack("takes memory, shared mappings", "app", "bombs/shared_mapping"),
    Attack("takes memory, files in memory", "app", "bombs/memory_files"),
    Attack("prints and logs lines", "app", "floods/lines", {"lines": 5000}),
    Attack("writes what is no text", "app", "floods/garbage"),
    Attack("writes a line of 20 MB", "app", "floods/one_line", {"megabytes": 20}),
    Attack("prints a message of 8 MB", "app", "floods/one_message", {"bytes": 8 << 20}),
]


@dataclass
class NeighbourResults:
    """The neighbour's calls at rest, a run before each attack; by name of the attack those during it, and how often it was made."""

    rest: Latency = field(default_factory=Latency)
    during: Dict[str, Latency] = field(default_factory=lambda: defaultdict(Latency))
    made: Dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def ratio(self, name: str) -> Figure:
        """The neighbour's p99 during an attack to its usual p99: the median of all runs at rest."""
        usual = self.rest.p99.median
        return Figure([during / usual for during in self.during[name].p99.readings])


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> NeighbourResults:
    results = NeighbourResults()
    lasting_s = CALLS_FULL_S if extent.starts > 1 else CALLS_QUICK_S
    folder = make(place)
    with serve(place, folder) as server:
        for attack in ATTACKS:
            results.rest.add_run(calls(server, lasting_s))
            during = results.during[attack.name]
            with Attacker(server, attack) as attacker:
                during.add_run(calls(server, lasting_s))
            results.made[attack.name] = made = attacker.made.value
            time.sleep(SETTLE_S)
            before, after = results.rest.p99.readings[-1], during.p99.readings[-1]
            say(
                f"beside  {attack.name:40} {made:4} times  p50 {during.p50.readings[-1] * 1000:6.2f} ms  "
                f"p99 {before * 1000:6.2f} → {after * 1000:6.2f} ms  × {after / before:.2f}"
            )
    return results


def make(place: Place) -> Path:
    """The folder with the three apps."""
    folder = place.scratch / "beside"
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in (("app", "attacker"), ("hurried", "attacker"), ("neighbour", "neighbour")):
        shutil.copytree(SUITE / source, folder / name)
        (folder / name / "local.settings.json").write_text('{"Values": {"S": ""}}', encoding="utf-8")
        (folder / name / "requirements.txt").write_text("azure-functions\n", encoding="utf-8")
    (folder / "hurried" / "host.json").write_text('{"version": "2.0", "functionTimeout": "00:00:01"}', encoding="utf-8")
    return folder


def serve(place: Place, folder: Path) -> Server:
    command = [str(place.binary), "--json", "--cache", str(place.scratch / "cache"), "start", "--apps", str(folder)]
    command += ["--port", "0", "--state", str(place.scratch / "beside-state")]
    return Server(command, {}, place.scratch / "beside.log", None).wait_for_address(TIMEOUT_S * 5)


class Attacker:
    """Makes an attack again and again, in processes of its own, whose work delays no reading. Answers are errors mostly."""

    def __init__(self, server: Server, attack: Attack) -> None:
        self.over = multiprocessing.Event()
        self.made = multiprocessing.Value("i", 0)
        each = {"target": self.run, "args": (server.base, attack), "name": "attacker"}
        self.processes = [multiprocessing.Process(**each) for _ in range(attack.at_once)]

    def __enter__(self) -> "Attacker":
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for process in self.processes:
            process.join()

    def run(self, base: str, attack: Attack) -> None:
        path, body = f"/api/attack/{attack.path}", json.dumps(attack.arguments)
        while not self.over.is_set():
            connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=TIMEOUT_S)
            connection.request("POST", path, body=body, headers={"Host": f"{attack.app}.localhost"})
            connection.getresponse().read()
            connection.close()
            with self.made.get_lock():
                self.made.value += 1


def calls(server: Server, lasting_s: float) -> List[float]:
    """Seconds that each call of the neighbour took."""
    took = []
    with Line(server.base, TIMEOUT_S, host="neighbour.localhost") as line:
        line.ask("GET", "/api/ping")
        end = time.perf_counter() + lasting_s
        while time.perf_counter() < end:
            took.append(line.ask("GET", "/api/ping"))
            time.sleep(PAUSE_S)
    return took
