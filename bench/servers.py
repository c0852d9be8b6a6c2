"""Server processes: start, wait for the first answer, look at memory, stop.

Every server is a session of its own, on the loopback interface, and is ended by its process id; so are its
descendants, should they outlive it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Dict, List, Optional, Tuple
from urllib.parse import urlsplit

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
# Between two tries to connect: short against a start, long enough to leave the processor to the server.
POLL_S = 0.001
# A server that is measured sees the user's environment, but not that of the program that measures.
HIDDEN = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


class ServerFailed(RuntimeError):
    """A server ended, or did not answer in time; the text holds the end of its log."""


class Server:
    """A running server; a context manager that stops it."""

    def __init__(self, command: List[str], environment: Dict[str, str], log: Path, port: Optional[int]) -> None:
        """Starts it. With `port` it was told where to listen; otherwise it says so in its log, as Ingle does."""
        inherited = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        self.log = log
        self.base = f"http://127.0.0.1:{port}" if port else ""
        self.started_at = time.perf_counter()
        with open(log, "wb") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**inherited, **environment},
                start_new_session=True,
            )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def first_answer(self, path: str) -> float:
        """Waits until a GET of `path` is answered with 200; seconds since the start of the process."""
        deadline = self.started_at + START_TIMEOUT_S
        while time.perf_counter() < deadline:
            if self.process.poll() is not None:
                raise ServerFailed(f"{self.process.args} ended with {self.process.returncode}:\n{self.last_words()}")
            if self.address() and self.answers(path):
                return time.perf_counter() - self.started_at
            time.sleep(POLL_S)
        raise ServerFailed(f"{self.process.args} did not answer in {START_TIMEOUT_S:.0f} s:\n{self.last_words()}")

    def wait_for_address(self, timeout_s: float, poll_s: float = POLL_S) -> "Server":
        """Waits until it says where it listens; ends it, and raises `ServerFailed` with its last words, if it does not."""
        deadline = time.monotonic() + timeout_s
        while not self.address():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"{self.process.args} does not listen:\n{self.last_words()}")
            time.sleep(poll_s)
        return self

    def address(self) -> str:
        """`http://127.0.0.1:<port>`, or nothing as long as it is not known."""
        if not self.base:
            ready = first_event(self.log, "ready")
            self.base = ready["address"] if ready else ""
        return self.base

    def answers(self, path: str) -> bool:
        try:
            connection = http.client.HTTPConnection(urlsplit(self.base).netloc, timeout=START_TIMEOUT_S)
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            connection.close()
        except OSError:
            return False
        if response.status != 200:
            raise ServerFailed(f"{self.base}{path} answered {response.status}")
        return True

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def memory(self) -> Tuple[float, float]:
        """Bytes of the process and its descendants: their proportional share (PSS), and what they would need alone."""
        maps = []
        for pid in self.pids():
            try:
                maps.append(Path(f"/proc/{pid}/smaps").read_text())
            except OSError:
                continue
        return proportional(maps), alone(maps)

    def pids(self) -> List[int]:
        return [self.process.pid, *descendants(self.process.pid)]

    def stop(self) -> None:
        """Asks it to end, waits, and then ends it; also what it has started."""
        family = [(pid, birth(pid)) for pid in self.pids()]
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)
        for pid, born in family[1:]:
            # The same number with another birth is somebody else's process.
            if born is not None and birth(pid) == born:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


def first_event(log: Path, event: str) -> Optional[dict]:
    """The first complete line of a log of JSON objects whose `event` is this."""
    with open(log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.endswith("\n") and line.startswith("{"):
                value = json.loads(line)
                if value.get("event") == event:
                    return value
    return None


def proportional(maps: List[str]) -> float:
    """Bytes, from texts of /proc/<pid>/smaps: each page divided by the number of processes that have it."""
    return sum(1024.0 * int(size) for text in maps for size in re.findall(r"^Pss: +(\d+) kB$", text, re.MULTILINE))


def alone(maps: List[str]) -> float:
    """Bytes, from texts of /proc/<pid>/smaps: each page once, as if nobody else had it.

    The part of a file that is shared counts as much as the process of these that has most of it; memory without a file
    is shared between parent and child at the same address.
    """
    total, shared = 0, {}
    for text in maps:
        key = None
        for line in text.splitlines():
            head = re.match(r"([0-9a-f]+)-[0-9a-f]+ \S+ ([0-9a-f]+) (\S+) (\d+)", line)
            if head:
                address, offset, device, inode = head.groups()
                key, here = (address,) if inode == "0" else (device, inode, offset), 0
                continue
            name, _, size = line.partition(":")
            if name in ("Private_Clean", "Private_Dirty"):
                total += int(size.split()[0])
            elif name in ("Shared_Clean", "Shared_Dirty"):
                here += int(size.split()[0])
                shared[key] = max(shared.get(key, 0), here)
    return 1024.0 * (total + sum(shared.values()))


def descendants(pid: int) -> List[int]:
    found: List[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found.append(child)
            found.extend(descendants(child))
    return found


def birth(pid: int) -> Optional[str]:
    """When a process was started, in clock ticks since the machine was; `None` if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state == "Z" else rest[18]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
