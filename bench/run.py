"""Measures Ingle beside its peers and writes a page about it. `cargo xtask bench` prepares what this needs.

Usage: python bench/run.py --binary target/release/ingle --scratch target/bench --page docs/performance.md [--quick]

The interpreter must have the packages of bench/requirements.txt, and `wrk` must be on the PATH. Everything listens on
the loopback interface and lives in a folder of its own under `--scratch`, which is removed at the end.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, List

import boxes
import drain
import events
import many
import measures
import neighbour
import network_ways
import overload
import reload
import report
import zero
from systems import Place

PACKAGES = ("awslambdaric", "chalice", "functions-framework", "gunicorn", "flask", "uvicorn", "fastapi", "numpy", "pandas")
# Each measures one field of `report.Results`, in the order of its fields after the first.
ROOMS = (drain, reload, events, zero, overload, many, boxes, neighbour, network_ways)
# Longest path of a Unix socket, less `/state/admin.sock` and a little.
SCRATCH_LENGTH_MAX = 85


def main() -> int:
    arguments = parse_arguments()
    extent = measures.QUICK if arguments.quick else measures.FULL
    # So that `finally` and the servers' own clean-up run when somebody ends this program.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=arguments.scratch.resolve()))
    try:
        if len(str(scratch)) > SCRATCH_LENGTH_MAX:
            raise SystemExit(f"error: {scratch} is too long for a socket in it; choose another --scratch")
        place = Place(arguments.binary.resolve(), scratch / "apps", scratch, arguments.serverless.resolve())
        shutil.copytree(Path(__file__).parent / "apps", place.apps)
        text, results = measure(place, extent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    arguments.page.write_text(text, encoding="utf-8")
    (arguments.scratch / "results.json").write_text(json.dumps(results, indent=1, default=vars))
    print(text)
    print(f"written to {arguments.page}")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures Ingle beside its peers.")
    parser.add_argument("--binary", type=Path, required=True, help="the program under test")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for everything temporary")
    parser.add_argument("--serverless", type=Path, required=True, help="where npm has put serverless and serverless-offline")
    parser.add_argument("--page", type=Path, required=True, help="file to write")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    return parser.parse_args()


def measure(place: Place, extent: measures.Extent) -> tuple:
    began = time.monotonic()
    busy = busy_before()
    say(f"before  other programs use {busy:.0%} of the processors")
    http = measures.HttpResults()
    measures.prepare(place)
    for part in (measures.starts, measures.loads, measures.echoes):
        timed(part.__name__, lambda: part(place, extent, http, say))
    found = [timed(room.__name__, lambda: room.measure(place, extent, say)) for room in ROOMS]
    lines = machine(busy, time.monotonic() - began)
    results = report.Results(http, *found)
    return report.page(lines, results, extent), {"machine": lines, "results": results}


def timed(name: str, part: Callable[[], Any]) -> Any:
    began = time.monotonic()
    result = part()
    say(f"took    {time.monotonic() - began:.0f} s for {name}")
    return result


def say(line: str) -> None:
    print(line, flush=True)


def machine(busy: float, took_s: float) -> List[str]:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return [
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {os.cpu_count()} cores ({processor()}), "
        f"{memory_kib / 1e6:.0f} GB of memory, Linux {platform.release()}, CPython {platform.python_version()}",
        f"Ingle {commit()}; {versions}",
        f"other programs used {busy:.0%} of the processors in the two seconds before; the whole run took {took_s:.0f} s",
    ]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit() -> str:
    """The commit of the checkout, and whether files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "of an unknown commit"


def busy_before() -> float:
    """The share of processor time that others use, over two seconds: the noise in the figures to come."""
    begin = processor_times()
    time.sleep(2)
    used, total = (after - before for after, before in zip(processor_times(), begin))
    return used / total if total else 0.0


def processor_times() -> tuple:
    """Clock ticks in use, stolen ones included, and all of them."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


if __name__ == "__main__":
    sys.exit(main())
