"""The measure of ways to say what functions may reach: a network of their own in which the server connects for them (Ingle), a
network of their own with a cable and rules of nftables, and the machine's network with Landlock's rules for ports.

The same code (`apps/network/probe.py`) measures inside of each, in turns, and tries what goes through. It takes root, `ip`, `nft`
and Landlock of Linux 6.7; where one is absent nothing is measured, and it is said why.

By itself: python bench/network_ways.py --binary target/release/ingle --scratch target/bench [--cache DIR] [--quick]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple
from urllib.parse import urlsplit

import boxes
import measures
import network_kernel
from figures import Figure, Latency, ratio, seconds, table
from measures import Extent, rotated
from network_links import OUTSIDE_HOST, OUTSIDE_PEER, Links, LinksFailed, Network, missing, starting_programs
from servers import Server, first_event
from systems import Place

HERE = Path(__file__).resolve().parent
SENT_BYTES = 256_000_000
HUNDRED = 100
TIMEOUT_S = 120.0
# Who owns nothing: `nobody` on most machines.
ORDINARY_USER = 65534
PLAIN, PLAIN_TRACKED = "plain process", "plain process, rules of nftables in the machine"
SERVER, OPEN_BOX = "server connects", 'box with `egress = "all"`'
CABLE, PORTS = "veth and nftables", "Landlock's rules for TCP"
WAYS = (PLAIN, PLAIN_TRACKED, OPEN_BOX, SERVER, CABLE, PORTS)
CONFINING = (SERVER, CABLE, PORTS)
ON_MACHINE, BEYOND = "on this machine", "on another machine (a namespace behind a cable)"
BOX, NAMESPACE, NETWORK, PROGRAMS, REMOVED, RULESET = (
    "server connects: what it adds to a box, by the server's own figures",
    "server connects: namespace, loopback and filter alone, by system calls",
    "veth and nftables: namespace, cable and rules, with `ip` and `nft`",
    "of that, starting these programs",
    "veth and nftables: taking it away again",
    "Landlock's rules for TCP: by system calls",
)
# What no try can show, by the ways of `CONFINING`.
KNOWN = [
    ["decides by", "address and port", "address and port", "port only"],
    ["a listed name", "its addresses, looked up again as they age; never link-local or metadata", "its addresses of when the rules were made", "not at all"],
    ["a name that leads to another address on the second look", "the address is checked at connect", "the address of each packet is checked", "not seen"],
    ["datagrams (UDP)", "never leave; names by a resolver of ours", "by rules", "not looked at"],
    ["rights that the server needs", "none", "CAP_NET_ADMIN and CAP_SYS_ADMIN of the machine", "none"],
    ["of the machine's settings", "nothing", "forwarding, addresses, routes, firewall, masquerading", "nothing"],
    ["tells what was refused", "the server, with its reason", "a log of the kernel, if rules say so", "nobody"],
    ["for 1,000 apps", "1,000 namespaces", "1,000 namespaces, 1,000 cables of two devices, 1,000 chains", "nothing that is kept"],
]


@dataclass
class Reach:
    """Of one way to one target: seconds of connecting and of an exchange, bytes a second."""

    connect: Latency = field(default_factory=Latency)
    exchange: Latency = field(default_factory=Latency)
    sent: Figure = field(default_factory=Figure)


@dataclass
class NetworkResults:
    """By target and way what was measured; seconds of making, one by one; what was tried, by way and name."""

    reach: Dict[str, Dict[str, Reach]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(Reach)))
    made: Dict[str, Figure] = field(default_factory=lambda: defaultdict(Figure))
    tried: Dict[str, Dict[str, Any]] = field(default_factory=dict)


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> NetworkResults:
    try:
        reason = missing() or without_ports()
        if not reason:
            return measured(place, extent, say)
    except LinksFailed as error:
        # Such as a machine whose own firewall lets nothing through.
        reason = str(error)
    say(f"network not measured: {reason}")
    return NetworkResults()


def measured(place: Place, extent: Extent, say: Callable[[str], None]) -> NetworkResults:
    results = NetworkResults()
    make_boxes(place, extent, results, say)
    with Stage(place) as stage:
        for target, way in turns(extent):
            reach = results.reach[target][way]
            found = stage.ask(way, {"kind": "measure", **stage.question(target, extent)})
            reach.connect.add_run(found["connects"])
            reach.exchange.add_run(found["exchanges"])
            reach.sent.add(SENT_BYTES / found["sent"])
            connect_us, exchange_us = (latency.p50.readings[-1] * 1e6 for latency in (reach.connect, reach.exchange))
            say(f"network {way:48} {target[:18]:18} connect {connect_us:6.0f} µs  exchange {exchange_us:5.0f} µs  "
                f"{reach.sent.readings[-1] / 1e6:6,.0f} MB/s")
        for way in WAYS:
            results.tried[way] = stage.ask(way, {"kind": "try", **stage.question(ON_MACHINE, extent)})
            say(f"network {way:48} lets through: {json.dumps(results.tried[way])}")
        make_hundred(stage, results, say)
        as_ordinary_user(stage, results, say)
    return results


def without_ports() -> str:
    """Why Landlock can't be measured here; nothing if it can."""
    version = network_kernel.landlock_version()
    if version >= network_kernel.LANDLOCK_VERSION_OF_PORTS:
        return ""
    return f"Landlock here is of version {version}, and knows ports from version {network_kernel.LANDLOCK_VERSION_OF_PORTS}"


def turns(extent: Extent) -> List[Tuple[str, str]]:
    return [(target, way) for target in (ON_MACHINE, BEYOND) for way in rotated(WAYS, extent.network_rounds)]


class Stage:
    """All that stands while it is measured: the networks, the listeners, and a server for each kind of box."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.stack = ExitStack()

    def __enter__(self) -> "Stage":
        with self.stack:
            self.links = self.stack.enter_context(Links())
            self.network = self.links.make(0)
            self.on_machine = self.stack.enter_context(Peer([], [self.network.host, OUTSIDE_HOST]))
            self.beyond = self.stack.enter_context(Peer(inside(self.links.outside), [OUTSIDE_PEER]))
            self.servers = {way: self.stack.enter_context(self.serve(way)) for way in (SERVER, OPEN_BOX)}
            ready = first_event(self.servers[SERVER].log, "ready")
            self.python = ready["python"]["path"] if ready else sys.executable
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def targets(self) -> List[Tuple[str, int]]:
        """What may be reached: the two that are, and as many others as a list may have."""
        reached = [(self.network.host, self.on_machine.ports["port"]), (OUTSIDE_PEER, self.beyond.ports["port"])]
        further = [(f"203.0.113.{number}", 440 + number) for number in range(1, network_kernel.ENTRIES - 1)]
        return [*reached, *further]

    def serve(self, way: str) -> Server:
        """A server of the app whose boxes are of this kind."""
        name = "network-listed" if way == SERVER else "network-open"
        folder = self.place.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.place.apps / "network", folder)
        (folder / "ingle.toml").write_text(settings(self.targets() if way == SERVER else None), encoding="utf-8")
        command = [str(self.place.binary), "--json", "--cache", str(self.place.scratch / "cache"), "start", str(folder)]
        command += ["--port", "0", "--state", str(self.place.scratch / f"{name}-state")]
        return Server(command, {}, self.place.scratch / f"{name}.log", None).wait_for_address(TIMEOUT_S)

    def question(self, target: str, extent: Extent) -> Dict[str, Any]:
        host, peer = (self.network.host, self.on_machine) if target == ON_MACHINE else (OUTSIDE_PEER, self.beyond)
        size = {"connects": extent.connects, "exchanges": extent.connects, "bytes": SENT_BYTES}
        return {"host": host, "other_host": OUTSIDE_HOST, **peer.ports, **size}

    def ask(self, way: str, question: Dict[str, Any]) -> Dict[str, Any]:
        """Rules of nftables are in the machine only where they belong to what is measured: they touch everybody's packets."""
        if way in self.servers:
            return call(self.servers[way], question)
        if way not in (CABLE, PLAIN_TRACKED):
            return self.ask_process(way, question)
        self.links.load_rules()
        try:
            self.links.allow(self.network, self.targets())
            return self.ask_process(way, question)
        finally:
            self.links.unload_rules()

    def ask_process(self, way: str, question: Dict[str, Any]) -> Dict[str, Any]:
        asked = json.dumps(question)
        if way == PORTS:
            ports = json.dumps([port for _, port in self.targets()])
            return json.loads(output([self.python, str(HERE / "network_kernel.py"), "landlock", ports, asked]))
        prefix = inside(self.network) if way == CABLE else []
        return json.loads(output([*prefix, self.python, str(HERE / "apps" / "network" / "probe.py"), asked]))


class Peer:
    """A listener in a process of its own; a context manager that ends it. `ports` by name."""

    def __init__(self, prefix: List[str], hosts: List[str]) -> None:
        command = [*prefix, sys.executable, str(HERE / "network_peer.py"), *hosts]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            self.end()
            raise LinksFailed(f"nobody listens on {hosts}")
        self.ports: Dict[str, int] = json.loads(line)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process.stdout.close()


def inside(network: Network) -> List[str]:
    return ["ip", "netns", "exec", network.namespace]


def output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise LinksFailed(f"`{' '.join(command[:4])} …` failed: {done.stderr.strip()}")
    return done.stdout


def settings(targets: Optional[Sequence[Tuple[str, int]]]) -> str:
    """`ingle.toml` of an app that may reach these, or with `None` the network of the machine."""
    egress = "all" if targets is None else [f"{host}:{port}" for host, port in targets]
    return f"{boxes.ONE_WORKER}\n[sandbox]\negress = {json.dumps(egress)}\n"


def call(server: Server, question: Dict[str, Any]) -> Dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=TIMEOUT_S)
    connection.request("POST", "/api/ask", body=json.dumps(question), headers={"content-type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"the function answered {response.status}: {text!r}\n{server.last_words()}")
    return json.loads(text)


def make_boxes(place: Place, extent: Extent, results: NetworkResults, say: Callable[[str], None]) -> None:
    """A box whose network is its own and one with the machine's, in turns: the differences of their medians by round."""
    listed = settings([("203.0.113.1", 440 + number) for number in range(network_kernel.ENTRIES)])
    classes = {"own": listed, "machine's": settings(None)}
    found: Dict[str, Figure] = defaultdict(Figure)
    for name in rotated(list(classes), extent.network_rounds):
        found[name].add(statistics.median(boxes.making(place, classes[name])))
        say(f"network a box with {name} network was made in {found[name].readings[-1] * 1000:.2f} ms")
    results.made[BOX] = boxes.difference(found["own"], found["machine's"])


def make_hundred(stage: Stage, results: NetworkResults, say: Callable[[str], None]) -> None:
    """So many of each, all of which are there together, and what it takes to remove those that stay by themselves."""
    for way, what in (("namespace", NAMESPACE), ("landlock", RULESET)):
        results.made[what] = Figure(by_system_calls(stage, way, HUNDRED, os.geteuid()))
    links = stage.links
    links.load_rules()
    try:
        networks = [links.network(number) for number in range(1, HUNDRED + 1)]
        for network in networks:
            results.made[NETWORK].add(timed(lambda: (links.make(network.number), links.allow(network, stage.targets()))))
        for network in networks:
            results.made[REMOVED].add(timed(lambda: (links.forbid(network), links.remove(network))))
    finally:
        links.unload_rules()
    results.made[PROGRAMS] = Figure([starting_programs() for _ in range(HUNDRED)])
    for what, figure in results.made.items():
        say(f"network {what:72} {figure.median * 1000:7.2f} ms, {len(figure.readings)} of them {sum(figure.readings):6.2f} s")


def by_system_calls(stage: Stage, way: str, count: int, user: int) -> List[float]:
    return json.loads(output([stage.python, str(HERE / "network_kernel.py"), "make", way, str(count), str(user)]))


def as_ordinary_user(stage: Stage, results: NetworkResults, say: Callable[[str], None]) -> None:
    """Whether each can be made without root. A user's own namespace may have a cable, but not its other end in the machine's."""
    cable = f"ip link add {stage.links.network(HUNDRED + 1).device} type veth peer name eth1 netns 1"
    as_user = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []}
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--net", *cable.split()],
                          capture_output=True, text=True, timeout=TIMEOUT_S, check=False, **as_user)
    found: Dict[str, Any] = {CABLE: True if done.returncode == 0 else done.stderr.strip()}
    for way, name in ((SERVER, "namespace"), (PORTS, "landlock")):
        try:
            found[way] = bool(by_system_calls(stage, name, 1, ORDINARY_USER))
        except LinksFailed as error:
            found[way] = str(error)
    for way, made in found.items():
        results.tried[way]["made by an ordinary user"] = made
    say(f"network made by an ordinary user: {json.dumps(found)}")


def timed(part: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    part()
    return time.perf_counter() - begin


def network_part(results: NetworkResults) -> str:
    """What the report says; nothing if it was not measured."""
    if not results.tried:
        return ""
    parts = [
        "Three ways to say what functions may reach ([why Ingle has the first](adr/0014-egress.md)), measured by the same Python code in "
        f"turns, on one core, with the listener on another where there are two; {network_kernel.ENTRIES} entries in each list. Making one, "
        f"and {HUNDRED} of them that are there together:",
        making_table(results.made),
    ]
    for target, found in results.reach.items():
        parts += [
            f"A listener {target}: connecting, {len(found[PLAIN].connect.p50.readings)} round(s) of "
            f"{found[PLAIN].connect.count // max(1, len(found[PLAIN].connect.p50.readings)):,}; an exchange of 100 bytes each way on an "
            f"open connection; {SENT_BYTES // 1_000_000} MB sent:",
            reach_table(found),
        ]
    parts += [
        "A function that measures for so long gives way to whoever else wants its processor ([why](adr/0016-giving-way.md)), a plain process "
        "does not; the box with the machine's network tells that from what the server's connecting costs.",
        "What goes through, tried; and what follows from how it works:",
        ability_table(results.tried),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def making_table(made: Dict[str, Figure]) -> str:
    def hundred(figure: Figure) -> str:
        return seconds(sum(figure.readings)) if len(figure.readings) == HUNDRED else "–"

    order = [what for what in (BOX, NAMESPACE, NETWORK, PROGRAMS, REMOVED, RULESET) if made[what].readings]
    return table(["what is made", "one", str(HUNDRED)], [[what, made[what].show(seconds), hundred(made[what])] for what in order])


def reach_table(found: Dict[str, Reach]) -> str:
    base = found[PLAIN]
    rows = [
        [
            way,
            reach.connect.p50.show(seconds),
            reach.connect.p99.show(seconds),
            seconds(boxes.difference(reach.connect.p50, base.connect.p50).median) if way != PLAIN else "–",
            reach.exchange.p50.show(seconds),
            reach.sent.show(lambda value: f"{value / 1e6:,.0f} MB/s"),
            ratio(reach.sent, base.sent),
        ]
        for way, reach in found.items()
    ]
    head = ["way", "connect, p50", "p99", "p50 more than plain", "exchange, p50", "sent", "ratio to plain"]
    return table(head, sorted(rows, key=lambda row: WAYS.index(row[0])))


def ability_table(tried: Dict[str, Dict[str, Any]]) -> str:
    def cell(found: Any) -> str:
        return {True: "yes", False: "no"}[found] if isinstance(found, bool) else f"no ({found})"

    names = list(tried[SERVER])
    rows = [[f"{name} (tried)", *(cell(tried[way].get(name, False)) for way in CONFINING)] for name in names]
    return table(["", *CONFINING], [*rows, *KNOWN])


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures ways to say what functions may reach.")
    parser.add_argument("--binary", type=Path, required=True, help="the program under test")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for everything temporary")
    parser.add_argument("--cache", type=Path, help="a cache folder of Ingle's with environments in it")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    arguments = parser.parse_args()
    import run  # which has this measure in its list, and so imports it

    # So that what was made is removed when somebody ends this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=arguments.scratch.resolve()) as folder:
        scratch = Path(folder)
        place = Place(arguments.binary.resolve(), scratch / "apps", scratch)
        shutil.copytree(HERE / "apps", place.apps)
        if arguments.cache:
            (scratch / "cache").symlink_to(arguments.cache.resolve())
        extent = measures.QUICK if arguments.quick else measures.FULL
        print(f"before  other programs use {run.busy_before():.0%} of the processors")
        results = measure(place, extent, run.say)
        print(f"after   other programs use {run.busy_before():.0%} of the processors")
    print(network_part(results))
    return 0 if results.tried else 1


if __name__ == "__main__":
    sys.exit(main())
