"""A bare ASGI application: a greeting that does not use what it has imported, and a group-by at `/group`."""

import json
from urllib.parse import parse_qs

import numpy
import pandas

FRAME = pandas.DataFrame({"key": numpy.arange(200) % 7, "value": numpy.arange(200)})


async def app(scope, receive, send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/group":
        body = FRAME.groupby("key").value.sum().to_json().encode()
    else:
        names = parse_qs(scope["query_string"].decode()).get("name", ["world"])
        body = json.dumps({"greeting": f"Hello, {names[0]}!"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
