"""Prints what the worker costs: time to `loaded`, and per invocation over one lane and on the event loop.

The figures hold for both ends together: this client, in Python too, takes its part of each round trip.
"""

import json
import os
import shutil
import statistics
import struct
import sys
import tempfile
import time

from harness import PRELUDE, Worker, invocation, request

APP = PRELUDE + """
@app.route()
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("Hello, %s" % req.params.get("name", "you"))

@app.route()
async def hello_async(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("Hello, %s" % req.params.get("name", "you"))
"""
HEADERS = {"host": "localhost:7071", "user-agent": "measure/1", "accept": "*/*", "accept-encoding": "gzip, deflate",
           "connection": "keep-alive"}
STARTS = 7
ROUNDS = 5
CALLS = 4000


def main():
    root = tempfile.mkdtemp(prefix="ingle-measure-")
    try:
        with open(os.path.join(root, "function_app.py"), "w", encoding="utf-8") as file:
            file.write(APP)
        starts = []
        for _ in range(STARTS):
            begun = time.perf_counter()
            worker = Worker(root)
            worker.load()
            starts.append((time.perf_counter() - begun) * 1000)
            imported = worker.loaded["import_ms"]
            worker.close()
        print("Python %s, azure-functions %s" % (sys.version.split()[0], worker.loaded["sdk"]))
        print("start to loaded: %.1f ms (median of %d), of which importing %.1f ms" % (
            statistics.median(starts), STARTS, imported))
        worker = Worker(root)
        worker.load()
        for name, where, function in (("lane", worker.open_lane(), "hello"), ("event loop", worker.control, "hello_async")):
            wall, busy = best(worker, where, function)
            print("%s: %.1f us per round trip, %.1f us of it processor time of the worker" % (name, wall, busy))
        worker.close()
    finally:
        shutil.rmtree(root)


def best(worker, where, function):
    """Microseconds per round trip in the best of some rounds, and the worker's processor time per call over all."""
    header, body = invocation(function, {"req": request(headers=HEADERS, query={"name": "Ann"})})
    text = json.dumps(header).encode()
    frame = struct.pack("<II", len(text), len(body)) + text + body
    send, receive = where.socket.sendall, where.socket.recv
    rounds = []
    busy = -processor_seconds(worker)
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(CALLS):
            send(frame)
            # An answer this small arrives in one piece.
            receive(65536)
        rounds.append((time.perf_counter() - begun) / CALLS * 1e6)
    busy += processor_seconds(worker)
    return min(rounds), busy / (ROUNDS * CALLS) * 1e6


def processor_seconds(worker):
    """User and system time of the worker's process so far (Linux)."""
    with open("/proc/%d/stat" % worker.process.pid) as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
