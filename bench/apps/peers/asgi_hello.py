"""The greeting and the echo as a bare ASGI application: the least that Python can do behind uvicorn."""

import json
from urllib.parse import parse_qs


async def app(scope, receive, send) -> None:
    if scope["type"] != "http":
        return
    if scope["path"] == "/echo":
        body, kind = await whole_body(receive), b"application/octet-stream"
    else:
        names = parse_qs(scope["query_string"].decode()).get("name", ["world"])
        body, kind = json.dumps({"greeting": f"Hello, {names[0]}!"}).encode(), b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def whole_body(receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)
