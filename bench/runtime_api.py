"""The least of a Lambda host, so that awslambdaric can be measured: requests come in over HTTP, environments fetch them.

Usage: python bench/runtime_api.py --port 8080 --folder app --handler module.function --environments 2

An environment is a process `python -m awslambdaric`. One is started when a request finds none free and there are fewer
than allowed; a request waits until one fetches it. One port serves both sides:

| path | meaning |
| --- | --- |
| `GET /2018-06-01/runtime/invocation/next` | an environment waits for the next event |
| `POST /2018-06-01/runtime/invocation/{id}/response`, `…/error` | its answer |
| `POST /2018-06-01/runtime/init/error` | its import failed |
| `DELETE /environments` | ends all of them, and answers when they are gone |
| any other | a request for the function: an event like those of Lambda's function URLs (version 2.0) |

The protocol is AWS's "Using the Lambda runtime API for custom runtimes". Only what awslambdaric needs is here: no limits
of time or memory, no log. Bodies have a `Content-Length`.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Deque, Dict, List, Optional
from urllib.parse import parse_qsl, urlsplit

RUNTIME = "/2018-06-01/runtime/"
WAITING_MAX = 10_000
TIME_LIMIT_S = 60
REASONS = {200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 502: "Bad Gateway"}


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    body: bytes


def take_request(buffer: bytearray) -> Optional[Request]:
    """Removes a whole request from the front of the buffer; `None` as long as there is none."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *fields = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    length = 0
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "content-length":
            length = int(value)
    if len(buffer) < end + 4 + length:
        return None
    method, target, _ = first.split(" ")
    body = bytes(buffer[end + 4 : end + 4 + length])
    del buffer[: end + 4 + length]
    return Request(method, target, body)


def head(status: int, fields: Dict[str, str], length: int) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, f"content-length: {length}", "", ""]).encode("latin-1")


def event_of(request: Request) -> bytes:
    """What the function gets: the path and the query of a request."""
    parts = urlsplit(request.target)
    event = {
        "version": "2.0",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "queryStringParameters": dict(parse_qsl(parts.query)),
        "requestContext": {"http": {"method": request.method, "path": parts.path}},
        "body": request.body.decode("utf-8", "replace"),
        "isBase64Encoded": False,
    }
    return json.dumps(event).encode()


class Host:
    """Requests that wait, environments that wait, and who gets which answer."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.waiting: Deque[tuple] = collections.deque()
        self.idle: Deque["Connection"] = collections.deque()
        self.callers: Dict[str, "Connection"] = {}
        self.environments: List[subprocess.Popen] = []
        self.count = 0

    def handle(self, connection: "Connection", request: Request) -> None:
        if request.target.startswith(RUNTIME):
            self.runtime(connection, request)
        elif (request.method, request.target) == ("DELETE", "/environments"):
            self.end_environments()
            connection.reply(200, {}, b"")
        elif len(self.waiting) >= WAITING_MAX:
            connection.reply(429, {}, b"")
        else:
            self.admit(connection, request)

    def admit(self, connection: "Connection", request: Request) -> None:
        self.count += 1
        invocation = f"00000000-0000-4000-8000-{self.count:012x}"
        self.callers[invocation] = connection
        event = event_of(request)
        while self.idle:
            environment = self.idle.popleft()
            if not environment.is_closed:
                environment.hand_over(invocation, event)
                return
        self.waiting.append((invocation, event))
        if len(self.environments) < self.arguments.environments:
            self.environments.append(self.start_environment())

    def start_environment(self) -> subprocess.Popen:
        folder = self.arguments.folder
        environment = {
            **os.environ,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.arguments.port}",
            "AWS_LAMBDA_FUNCTION_NAME": "hello",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "LAMBDA_TASK_ROOT": folder,
        }
        command = [sys.executable, "-m", "awslambdaric", self.arguments.handler]
        return subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL)

    def runtime(self, connection: "Connection", request: Request) -> None:
        path = request.target[len(RUNTIME) :]
        if path == "invocation/next":
            if self.waiting:
                connection.hand_over(*self.waiting.popleft())
            else:
                self.idle.append(connection)
            return
        if path == "init/error":
            print(request.body.decode("utf-8", "replace"), file=sys.stderr, flush=True)
            # Nobody will fetch them.
            for invocation, _ in self.waiting:
                self.callers.pop(invocation).reply(502, {}, request.body)
            self.waiting.clear()
        else:
            _, invocation, kind = path.split("/")
            caller = self.callers.pop(invocation, None)
            if caller is None:
                connection.reply(400, {"content-type": "application/json"}, b'{"errorType": "InvalidRequestID"}')
                return
            answer(caller, request.body, is_error=kind == "error")
        connection.reply(202, {"content-type": "application/json"}, b'{"status": "OK"}')

    def end_environments(self) -> None:
        for process in self.environments:
            process.kill()
        for process in self.environments:
            process.wait()
        self.environments.clear()
        self.idle.clear()


def answer(caller: "Connection", body: bytes, is_error: bool) -> None:
    if is_error:
        caller.reply(502, {"content-type": "application/json"}, body)
        return
    value = json.loads(body)
    caller.reply(value["statusCode"], value["headers"], value["body"].encode())


class Connection(asyncio.Protocol):
    """One request at a time, on a connection that stays open."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.buffer = bytearray()
        self.is_closed = False
        self.transport: Optional[asyncio.Transport] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _error: Optional[Exception]) -> None:
        self.is_closed = True

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            request = take_request(self.buffer)
            if request is None:
                return
            self.host.handle(self, request)

    def reply(self, status: int, fields: Dict[str, str], body: bytes) -> None:
        if not self.is_closed:
            self.transport.write(head(status, fields, len(body)) + body)

    def hand_over(self, invocation: str, event: bytes) -> None:
        fields = {
            # Without exactly this type awslambdaric takes the event for bytes, or fails.
            "content-type": "application/json",
            "lambda-runtime-aws-request-id": invocation,
            "lambda-runtime-deadline-ms": str(int(time.time() * 1000) + TIME_LIMIT_S * 1000),
            "lambda-runtime-invoked-function-arn": "arn:aws:lambda:us-east-1:000000000000:function:hello",
        }
        self.reply(200, fields, event)


async def serve(arguments: argparse.Namespace) -> None:
    host = Host(arguments)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(host), "127.0.0.1", arguments.port, backlog=512)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves a Lambda function over HTTP.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", required=True, help="where the module with the handler is")
    parser.add_argument("--handler", required=True, help="module.function")
    parser.add_argument("--environments", type=int, required=True, help="most processes at once")
    arguments = parser.parse_args()
    # Only here, so that the tests of this file need no package.
    import uvloop

    uvloop.run(serve(arguments))


if __name__ == "__main__":
    main()
