"""Runs wrk, and reads what it prints."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

# How wrk abbreviates durations.
UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Load:
    """One run: latencies in seconds, and what went wrong. Without an answer there is no latency, and wrk prints zeros."""

    answers: int
    p50_s: float
    p99_s: float
    requests_per_s: float
    bad_answers: int
    socket_errors: int


class Unreadable(ValueError):
    """wrk printed something else than expected."""


def run(url: str, clients: int, duration_s: int) -> Load:
    """Keeps `clients` connections busy from one thread.

    Raises `Unreadable`, or `subprocess.SubprocessError` if wrk fails or hangs.
    """
    command = ["wrk", "-t1", f"-c{clients}", f"-d{duration_s}s", "--latency", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=duration_s + 30, check=True)
    return parse(done.stdout)


def parse(text: str) -> Load:
    """Reads the report that `wrk --latency` prints."""
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(
        answers=int(found(r"^\s+(\d+) requests in ", text)),
        p50_s=duration(found(r"^\s+50%\s+(\S+)$", text)),
        p99_s=duration(found(r"^\s+99%\s+(\S+)$", text)),
        requests_per_s=float(found(r"^Requests/sec:\s+([\d.]+)$", text)),
        bad_answers=int(bad.group(1)) if bad else 0,
        socket_errors=sum(int(count) for count in errors.groups()) if errors else 0,
    )


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise Unreadable(f"wrk printed nothing like {pattern!r}:\n{text}")
    return match.group(1)


def duration(text: str) -> float:
    """`157.00us` in seconds."""
    match = re.fullmatch(r"([\d.]+)([a-z]+)", text)
    if match is None or match.group(2) not in UNITS_S:
        raise Unreadable(f"{text!r} is no duration of wrk's")
    return float(match.group(1)) * UNITS_S[match.group(2)]
