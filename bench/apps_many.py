"""Many idle apps on one server: what all processes hold, and how soon an app answers that nobody has called before.

The apps are made here: each has a function for HTTP, one for a queue and a timer, and one of a few virtual environments.
They are served once, so that the server knows what they declare, and then once more: that is what is measured.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from pathlib import Path
from typing import Callable, Dict, List
from urllib.parse import urlsplit

from measures import Extent
from servers import Server, first_event
from systems import Place, ingle_command

APPS, APPS_QUICK = 1000, 100
ENVIRONMENTS = 20
# Apps that are asked for a first answer.
ASKED = 100
# Importing a thousand apps takes minutes; looking at their files seconds.
START_TIMEOUT_S = 1200.0
# Its log is long by then, and each look reads it.
POLL_S = 0.05
# The server gives memory back some seconds after its start.
SETTLE_S = 8.0

SOURCE = '''import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="hello")
def hello(req: func.HttpRequest) -> str:
    return "hello from {name}"


@app.queue_trigger(arg_name="message", queue_name="orders", connection="Storage")
def order(message: func.QueueMessage) -> None:
    print(message.get_body())


@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
def nightly(timer: func.TimerRequest) -> None:
    print("night")
'''


def measure(place: Place, extent: Extent, say: Callable[[str], None]) -> Dict[str, object]:
    """`{"apps": number, "memory_bytes": PSS of all processes, "first_ms": milliseconds of first answers}`."""
    count = APPS if extent.starts > 1 else APPS_QUICK
    names = make(place, count, min(ENVIRONMENTS, count))
    with serve(place, "first.log") as server:
        say(f"apps    {count:,} imported and known in {took_s(server):.1f} s")
    with serve(place, "second.log") as server:
        say(f"apps    {count:,} served from what is known in {took_s(server):.1f} s")
        time.sleep(SETTLE_S)
        idle = server.memory()[0]
        first_ms = [first_answer_ms(server, name) for name in names[:: max(count // ASKED, 1)]]
        details(server, say, idle / count, count)
    return {"apps": count, "memory_bytes": idle, "first_ms": first_ms}


def folder(place: Place) -> Path:
    return place.scratch / "many"


def make(place: Place, count: int, environments: int) -> List[str]:
    """Writes the apps, unless they are there, and answers their names."""
    names = [f"app-{number:04}" for number in range(count)]
    if not (folder(place) / names[-1] / "host.json").exists():
        made = make_environments(place, environments)
        for number, name in enumerate(names):
            app = folder(place) / name
            app.mkdir(parents=True, exist_ok=True)
            (app / "function_app.py").write_text(SOURCE.replace("{name}", name))
            (app / "local.settings.json").write_text(json.dumps({"Values": {"Storage": "", "NAME": name}}))
            (app / ".venv").symlink_to(made[number % environments])
            (app / "host.json").write_text('{"version": "2.0"}')
    return names


def make_environments(place: Place, count: int) -> List[Path]:
    """Virtual environments that find the SDK in the one that Ingle makes for the app `hello`."""
    command, environment = ingle_command(place, "hello", 0)
    with Server(command, environment, place.scratch / "environment.log", None) as server:
        server.first_answer("/api/hello?name=Ada")
        ready = first_event(server.log, "ready")
    python = Path(ready["python"]["path"])
    packages = next((python.parent.parent / "lib").glob("python3*/site-packages"))
    made = []
    for number in range(count):
        root = place.scratch / "environments" / f"environment-{number:02}"
        subprocess.run([str(python), "-m", "venv", "--without-pip", str(root)], check=True)
        own = next((root / "lib").glob("python3*/site-packages"))
        (own / "packages.pth").write_text(f"{packages}\n")
        made.append(root)
    return made


def serve(place: Place, log: str) -> Server:
    """A server of all apps; each was tried when this returns."""
    command = [str(place.binary), "--json", "--cache", str(place.scratch / "cache"), "start"]
    command += ["--apps", str(folder(place)), "--port", "0"]
    server = Server(command, {}, place.scratch / log, None).wait_for_address(START_TIMEOUT_S, POLL_S)
    bad = [app for app in first_event(server.log, "ready")["apps"] if app["functions"] != 3 or app["errors"]]
    if bad:
        server.stop()
        raise RuntimeError(f"not every app is served: {bad[:3]}")
    return server


def took_s(server: Server) -> float:
    return first_event(server.log, "ready")["tookMs"] / 1000


def first_answer_ms(server: Server, name: str) -> float:
    """From the request, on a connection that is open already, to the whole answer."""
    address = urlsplit(server.base)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("GET", "/api/hello", headers={"Host": f"{name}.localhost"})
    response = connection.getresponse()
    text = response.read().decode()
    took = time.perf_counter() - began
    connection.close()
    if (response.status, text) != (200, f"hello from {name}"):
        raise RuntimeError(f"{name} answered {response.status}: {text}")
    return took * 1000


def details(server: Server, say: Callable[[str], None], bytes_per_app: float, count: int) -> None:
    process = Path(f"/proc/{server.process.pid}")
    threads, descriptors = len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))
    say(
        f"apps    each holds {bytes_per_app / 1e6:.2f} MB, {threads / count:.1f} threads and {descriptors / count:.1f} "
        f"descriptors"
    )
