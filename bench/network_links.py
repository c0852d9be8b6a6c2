"""Networks with a cable to the machine: for each a namespace, a pair of `veth`, and rules of nftables that say what is let
through. Made with `ip` and `nft`, as root.

All names begin with `ingle-bench-`, `ib` and `ingle_bench_` and have the number of this process; nothing else of the machine is
changed, and everything is taken away at the end. Should this program be killed: `ip netns del`, `ip link del` and
`nft delete table inet` with these names.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

PROGRAM_TIMEOUT_S = 30.0
GONE_TIMEOUT_S = 20.0
# Others on this machine who make the same addresses are waited for, by holding a name that only one can have.
TURN, TURN_TIMEOUT_S, TURN_POLL_S = "\0ingle-bench-network", 600.0, 0.1
# Networks of 198.18.0.0/15 are for measuring (RFC 2544), so nothing that matters has these addresses.
MEASURING = "198.18.0.0/15"
OUTSIDE_HOST, OUTSIDE_PEER = "198.19.0.1", "198.19.0.2"
# Four addresses for each: 64 networks in one number.
STEP, NETWORKS_MAX = 4, 64 * 256
# The programs that are started for each network: `ip` twice and `nft`.
PROGRAMS = (("ip", "-V"), ("ip", "-V"), ("nft", "-v"))


class LinksFailed(RuntimeError):
    """A program refused, or something is left of what was made; the text says what."""


@dataclass(frozen=True)
class Network:
    """One app's: its namespace, the machine's end of its cable, and the addresses of both ends."""

    number: int
    namespace: str
    device: str
    host: str
    inside: str


def missing() -> Optional[str]:
    """Why this can't be done here."""
    if os.geteuid() != 0:
        return "it takes root"
    absent = [name for name in ("ip", "nft") if shutil.which(name) is None]
    if absent:
        return f"`{'` and `'.join(absent)}` is not installed (on Debian: `apt-get install iproute2 nftables`)"
    taken = run(["ip", "-4", "-oneline", "route", "show", "root", MEASURING])
    return f"this machine uses addresses of {MEASURING}: {taken.strip()}" if taken.strip() else None


def own_mark() -> str:
    return str(os.getpid())


def own_turn() -> socket.socket:
    """Closing it, or ending, gives the turn to the next one."""
    turn = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deadline = time.monotonic() + TURN_TIMEOUT_S
    while True:
        try:
            turn.bind(TURN)
            return turn
        except OSError:
            if time.monotonic() > deadline:
                turn.close()
                raise LinksFailed(f"another measure of networks has run for {TURN_TIMEOUT_S:.0f} s") from None
        time.sleep(TURN_POLL_S)


def run(command: Sequence[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=False)
    if done.returncode:
        raise LinksFailed(f"`{' '.join(command)}` failed: {done.stderr.strip()}\n{text}")
    return done.stdout


class Links:
    """The networks; a context manager that removes all of them. One network stands for a machine elsewhere."""

    def __init__(self, mark: str = "") -> None:
        """`mark` is part of all names, so that only what is ours is removed: the number of this process, unless given."""
        self.mark = mark or own_mark()
        self.table = f"ingle_bench_{self.mark}"
        self.outside = Network(0, f"ingle-bench-{self.mark}-outside", f"ib{self.mark}out", OUTSIDE_HOST, OUTSIDE_PEER)
        self.networks: Dict[int, Network] = {}
        self.turn: Optional[socket.socket] = None

    def __enter__(self) -> "Links":
        self.turn = own_turn()
        try:
            self.connect(self.outside, has_route=False)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.remove_all()
        finally:
            self.turn.close()

    def network(self, number: int) -> Network:
        if number >= NETWORKS_MAX:
            raise LinksFailed(f"there are addresses for {NETWORKS_MAX} networks")
        prefix, first = f"198.18.{number // 64}", number % 64 * STEP
        names = (f"ingle-bench-{self.mark}-{number}", f"ib{self.mark}n{number}")
        return Network(number, *names, f"{prefix}.{first + 1}", f"{prefix}.{first + 2}")

    def make(self, number: int) -> Network:
        """Namespace and cable, without rules: nothing is kept from it yet."""
        network = self.network(number)
        self.networks[number] = network
        self.connect(network, has_route=True)
        return network

    def connect(self, network: Network, has_route: bool) -> None:
        run(["ip", "-batch", "-"], f"""netns add {network.namespace}
link add {network.device} type veth peer name eth0 netns {network.namespace}
addr add {network.host}/30 dev {network.device}
link set {network.device} up
""")
        run(["ip", "-netns", network.namespace, "-batch", "-"], f"""link set lo up
addr add {network.inside}/30 dev eth0
link set eth0 up
""" + (f"route add default via {network.host}\n" if has_route else ""))
        # Only of what comes through this cable, as the machine's own switch is not ours to turn.
        Path(f"/proc/sys/net/ipv4/conf/{network.device}/forwarding").write_text("1")

    def load_rules(self) -> None:
        """What holds for all networks: what is not let through is refused, and what leaves has the machine's address."""
        devices = f'"ib{self.mark}n*"'
        run(["nft", "-f", "-"], f"""table inet {self.table} {{
    map apps {{ type ifname : verdict; }}
    chain guard {{
        ct state established,related accept
        iifname vmap @apps
        reject with icmpx admin-prohibited
    }}
    chain to_machine {{ type filter hook input priority filter; policy accept; iifname {devices} jump guard; }}
    chain through {{ type filter hook forward priority filter; policy accept; iifname {devices} jump guard; }}
    chain leave {{ type nat hook postrouting priority srcnat; policy accept; oifname != "lo" ip saddr 198.18.0.0/16 masquerade; }}
}}
""")

    def allow(self, network: Network, targets: Sequence[Tuple[str, int]]) -> None:
        listed = ", ".join(f"{host} . {port}" for host, port in targets)
        run(["nft", "-f", "-"], f"""add chain inet {self.table} app_{network.number}
add rule inet {self.table} app_{network.number} ip daddr . tcp dport {{ {listed} }} accept
add element inet {self.table} apps {{ "{network.device}" : jump app_{network.number} }}
""")

    def forbid(self, network: Network) -> None:
        run(["nft", "-f", "-"], f"""delete element inet {self.table} apps {{ "{network.device}" }}
delete chain inet {self.table} app_{network.number}
""")

    def remove(self, network: Network) -> None:
        """Both ends of a cable go with one of them; the namespace when its last process has ended."""
        run(["ip", "-batch", "-"], f"link del {network.device}\nnetns del {network.namespace}\n")
        del self.networks[network.number]

    def unload_rules(self) -> None:
        run(["nft", "delete", "table", "inet", self.table])

    def remove_all(self) -> None:
        """Looks for what is there instead of trusting what was made: a step may have failed halfway."""
        deadline = time.monotonic() + GONE_TIMEOUT_S
        while self.left() and time.monotonic() < deadline:
            for command in self.left():
                subprocess.run(command, capture_output=True, timeout=PROGRAM_TIMEOUT_S, check=False)
        if self.left():
            raise LinksFailed("this is left, remove it by hand: " + "; ".join(" ".join(command) for command in self.left()))
        self.networks.clear()

    def left(self) -> List[List[str]]:
        """What is to be run to remove what is there."""
        namespaces = [line.split()[0] for line in run(["ip", "netns", "list"]).splitlines() if line]
        devices = [name for _, name in socket.if_nameindex()]
        tables = run(["nft", "list", "tables"]).split()
        return [
            *(["nft", "delete", "table", "inet", name] for name in tables if name == self.table),
            *(["ip", "link", "del", name] for name in devices if name.startswith(f"ib{self.mark}n") or name == self.outside.device),
            *(["ip", "netns", "del", name] for name in namespaces if name.startswith(f"ingle-bench-{self.mark}-")),
        ]


def starting_programs() -> float:
    """Seconds that starting the programs alone takes for one network: a server would speak to the kernel by itself."""
    begin = time.perf_counter()
    for command in PROGRAMS:
        run(command)
    return time.perf_counter() - begin
