"""The measures of the queue: how fast a function empties it, and how long a single message takes."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional
from urllib.parse import urlsplit

from figures import Figure
from measures import Extent, rotated
from servers import Server
from systems import Place, ingle_command

MESSAGES_A_CALL = 1000
WORKER_COUNTS = (1, 2)
DRAIN_TIMEOUT_S = 120.0
# Counting a queue costs the server something, so it is not asked all the time.
POLL_S = 0.1


class AdminConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket in the state folder."""

    def __init__(self, path: Path) -> None:
        super().__init__("ingle", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self.path))

    def ask(self, method: str, target: str, body: bytes = b"") -> dict:
        self.request(method, target, body=body)
        response = self.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{method} {target} answered {response.status}: {text!r}")
        return json.loads(text)


@dataclass
class QueueResults:
    """Messages per second by number of workers, seconds from sending to done, seconds of one forced write."""

    rate: Dict[int, Figure] = field(default_factory=lambda: {count: Figure() for count in WORKER_COUNTS})
    single: Figure = field(default_factory=Figure)
    disk: Figure = field(default_factory=Figure)
    filesystem: str = ""
    left_out: int = 0


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> QueueResults:
    results = QueueResults(filesystem=filesystem(place.scratch))
    results.disk.readings = forced_writes(place.scratch, count=200)
    for workers in rotated(WORKER_COUNTS, extent.drain_rounds):
        rate, left_out = drain(place, workers, extent.messages)
        results.rate[workers].add(rate)
        results.left_out += left_out
        say(f"queue   {extent.messages:,} messages, {workers} worker(s) {rate:13,.0f} messages/s")
    results.single.readings = single_messages(place, extent.single_messages)
    say(f"queue   one message {results.single.median * 1e3:.2f} ms")
    return results


def drain(place: Place, workers: int, messages: int) -> tuple:
    """Fills the queue while nobody listens, then lets a second server empty it: messages/s, and missing log lines."""
    shutil.rmtree(place.scratch / "state", ignore_errors=True)
    with start(place, 1, ("fill",)) as server:
        fill(server, messages)
    with start(place, workers, ("work",)) as server:
        seen_empty = wait_until_empty(place)
    # The server has stopped, so its log is whole.
    first, last, done, left_out = spans(server.log)
    if done + left_out != messages:
        raise RuntimeError(f"{messages} messages were sent, and the log tells of {done} (left out: {left_out})")
    end = last if left_out == 0 else seen_empty
    return messages / (end - first), left_out


def start(place: Place, workers: int, functions: tuple, app: str = "queue", timeout_s: float = 60,
          variables: Optional[Dict[str, str]] = None) -> Server:
    command, environment = ingle_command(place, app, workers, functions)
    environment.update(variables or {})
    return Server(command, environment, place.scratch / "server.log", None).wait_for_address(timeout_s)


def fill(server: Server, messages: int) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.base).netloc, timeout=60)
    left = messages
    while left > 0:
        connection.request("POST", f"/api/fill?count={min(left, MESSAGES_A_CALL)}")
        response = connection.getresponse()
        response.read()
        if response.status != 202:
            raise RuntimeError(f"filling the queue answered {response.status}:\n{server.last_words()}")
        left -= MESSAGES_A_CALL
    connection.close()


def wait_until_empty(place: Place) -> float:
    """Returns the time (seconds since 1970) at which the queue was seen without a message, leased ones included."""
    admin = AdminConnection(place.scratch / "state/admin.sock")
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while time.monotonic() < deadline:
        queues = admin.ask("GET", "/v1/state")["queues"]
        if not any(queue["ready"] + queue["leased"] + queue["delayed"] for queue in queues):
            return time.time()
        time.sleep(POLL_S)
    raise RuntimeError(f"the queue was not empty after {DRAIN_TIMEOUT_S:.0f} s: {queues}")


def spans(log: Path) -> tuple:
    """From the lines of the invocations: first begin and last end (seconds since 1970), how many succeeded, how many
    lines were left out."""
    first, last, done, left_out = float("inf"), 0.0, 0, 0
    with open(log, encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("{"):
                continue
            value = json.loads(line)
            if value.get("event") == "left_out":
                left_out += value["lines"]
            if value.get("event") != "invocation" or value["outcome"] != "success":
                continue
            begin = value["time"] / 1e3
            first, last, done = min(first, begin), max(last, begin + value["phasesMs"]["total"] / 1e3), done + 1
    return first, last, done, left_out


def single_messages(place: Place, count: int) -> List[float]:
    """Sends one message at a time over the admin socket and waits for the line that tells of its end: seconds each.

    Two forced writes lie between: the message is stored before the call returns, and removed before the line is
    written.
    """
    shutil.rmtree(place.scratch / "state", ignore_errors=True)
    with start(place, 1, ("work",)) as server, open(server.log, encoding="utf-8") as log:
        admin = AdminConnection(place.scratch / "state/admin.sock")
        readings = []
        for number in range(count):
            log.seek(0, os.SEEK_END)
            begin = time.perf_counter()
            admin.ask("POST", "/v1/queues/messages?name=work", json.dumps({"order": number}).encode())
            wait_for_line(log)
            readings.append(time.perf_counter() - begin)
    return readings


def wait_for_line(log) -> None:
    deadline = time.monotonic() + 30
    text = ""
    while not text.endswith("\n"):
        text += log.readline()
        if not text:
            # Short against what is measured, and yet the processor is left to the server.
            time.sleep(0.000_05)
        if time.monotonic() > deadline:
            raise RuntimeError("a message was not worked on within 30 s")


def forced_writes(folder: Path, count: int) -> List[float]:
    """What this disk takes to make 4 KiB durable, in seconds: the floor under every acknowledged message."""
    path = folder / "disk"
    readings = []
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            begin = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            readings.append(time.perf_counter() - begin)
    path.unlink()
    return readings


def filesystem(folder: Path) -> str:
    """The type of the file system that holds the folder: the mount with the longest prefix."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, fs, *_ = line.split()
        if str(folder).startswith(point) and len(point) >= len(best):
            best, kind = point, fs
    return kind
