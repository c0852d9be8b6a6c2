"""Functions with `async def` and with `def` side by side, in one app and one process."""

import asyncio
import hashlib
import json
import time

import azure.functions as func
from forms import forms

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(forms)

LONGEST_S = 10.0


@app.route(route="wait", methods=["GET"])
async def wait(req: func.HttpRequest) -> func.HttpResponse:
    """Waits on the event loop: thousands of these cost one thread."""
    seconds = duration(req)
    started = time.monotonic()
    await asyncio.gather(*(asyncio.sleep(seconds) for _ in range(3)))
    return answer({"how": "async def", "waited": round(time.monotonic() - started, 3)})


@app.route(route="block", methods=["GET"])
def block(req: func.HttpRequest) -> func.HttpResponse:
    """Waits in a thread of its own: the event loop goes on."""
    started = time.monotonic()
    time.sleep(duration(req))
    return answer({"how": "def", "waited": round(time.monotonic() - started, 3)})


@app.route(route="digest", methods=["POST"])
def digest(req: func.HttpRequest) -> str:
    """Takes bytes of any kind and returns text."""
    return hashlib.sha256(req.get_body()).hexdigest()


def duration(req: func.HttpRequest) -> float:
    """The seconds in the query, within bounds; a tenth if it has none that make sense."""
    try:
        seconds = float(req.params.get("seconds", ""))
    except ValueError:
        return 0.1
    return min(seconds, LONGEST_S) if seconds >= 0 else 0.1


def answer(value: dict) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(value), mimetype="application/json")
