"""HTTP in pieces: functions that take a web framework's request and return its response.

The app's web extension (`azurefunctions-extensions-http-fastapi`) names the framework's types. Where Azure starts a
second web server in the worker and sends requests there, the request is built here from an ASGI scope, and the response
object is called as the ASGI application that it is; bodies travel in frames both ways, a few pieces at a time. The
shapes of scope and messages are those of the ASGI specification, version 3.0.
"""

import asyncio
import concurrent.futures
import contextvars
import logging
import os
import sys
import threading
from urllib.parse import unquote, urlsplit

from . import crash, errors, invoke
from .context import CURRENT
from .frames import quote
from .http_data import encode_head

_BASE = "azurefunctions.extensions.base"
# One frame carries at most this much of a body; the server holds `WINDOW` of them for a caller who reads slowly.
PIECE_BYTES_MAX = 256 * 1024
WINDOW = 8
_THREADS_VARIABLE = "PYTHON_THREADPOOL_THREAD_COUNT"
_THREADS_MAX = 1000


class CallerGone(ConnectionError):
    """The caller has gone away; nobody takes the response any more."""


def find_extension():
    """The base package of the web extension that the app has imported, or None.

    It is not imported here: an app that does not use it does not pay for it.
    """
    base = sys.modules.get(_BASE)
    checker = getattr(base, "HttpV2FeatureChecker", None)
    return base if checker is not None and checker.http_v2_enabled() else None


def takes_request(base, sdk, annotation):
    """Whether a parameter of an `httpTrigger` with this annotation gets the framework's request.

    In Azure one import switches all functions of an app. Here one that asks for the SDK's request still gets that.
    """
    if annotation is None:
        return True
    return bool(base.RequestTrackerMeta.check_type(annotation))


def request_decoder(base):
    """Makes the decoder of an `httpTrigger` parameter that gives the framework's request."""
    make = base.RequestTrackerMeta.get_request_type()
    synchronizer = base.RequestTrackerMeta.get_synchronizer()

    def decode(kind, value, payload, header):
        if kind != "http":
            raise TypeError("the httpTrigger takes a request, not %r data" % kind)
        exchange = CURRENT.get().exchange
        if not value.get("stream"):
            exchange.collect(payload)
        request = make(scope(value), exchange.receive)
        synchronizer.sync_route_params(request, value["params"])
        exchange.scope = request.scope
        return request

    return decode


def scope(value):
    """The ASGI scope of a request: `value` is that of an `http` datum."""
    url = urlsplit(value["url"])
    try:
        port = url.port
    except ValueError:
        port = None
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": value["method"],
        "scheme": url.scheme,
        "path": unquote(url.path) or "/",
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), text.encode("utf-8", "surrogateescape"))
                    for name, text in value["headers"].items()],
        "client": None,
        "server": (url.hostname or "localhost", port or (443 if url.scheme == "https" else 80)),
        "state": {},
        "path_params": {},
    }


def head_frame(identity, status, headers):
    """The header of a frame that begins a response. `headers`: pairs of texts."""
    fragments = ",".join("[%s,%s]" % (quote(name), quote(value)) for name, value in headers)
    return ('{"type":"head","id":"%s","status":%d,"headers":[%s]}' % (identity, status, fragments)).encode()


def chunk_frame(identity):
    """The header of a frame with a piece of a response."""
    return ('{"type":"chunk","id":"%s"}' % identity).encode()


class Exchange:
    """Request body and response of one invocation. Everything of it runs on the event loop."""

    def __init__(self, base, invocation, loop):
        self.scope = None
        # What responds is the whole app, and not what a function of it returned.
        self.is_of_app = False
        self._has_begun = False
        self._has_ended = False
        self._base = base
        self._id = invocation.id
        self._channel = invocation.channel
        self._loop = loop
        self._piece = None
        self._body_ended = False
        self._room = WINDOW
        self._waiting_for_room = None
        self._gone = loop.create_future()
        self._responding = None
        # What was collected of a response that does not go in pieces: status, headers, body.
        self._collected = None

    def collect(self, payload):
        """Takes the whole body of a request, and keeps the whole response: nobody sends and takes pieces."""
        self._piece = self._loop.create_future()
        self._loop.call_soon(self.on_piece, payload, True)
        self._collected = [200, [], bytearray()]

    def datum(self):
        """The response that was collected as `(fragment, parts, size)`, or None if it was sent."""
        if self._collected is None:
            return None
        status, headers, body = self._collected
        return encode_head(status, headers, len(body)), (bytes(body),), len(body)

    # --- frames of the server

    def on_piece(self, payload, end):
        """A piece of the request's body."""
        if self._piece is not None and not self._piece.done():
            self._piece.set_result((payload, end))

    def on_room(self, count):
        """The caller has taken pieces of the response."""
        self._room += count
        self._wake()

    def on_cancel(self):
        """The caller has gone away."""
        if self._gone.done():
            return
        self._gone.set_result(None)
        if self._piece is not None and not self._piece.done():
            self._piece.set_result(None)
        self._wake()
        if self._responding is not None:
            self._responding.cancel()

    def _wake(self):
        if self._waiting_for_room is not None and not self._waiting_for_room.done():
            self._waiting_for_room.set_result(None)

    # --- the ASGI interface

    async def receive(self):
        """The next message about the request."""
        if self._gone.done() or self._body_ended:
            await asyncio.shield(self._gone)
            return {"type": "http.disconnect"}
        if self._piece is None:
            self._piece = self._loop.create_future()
            self._channel.send(('{"type":"pull","id":"%s"}' % self._id).encode())
        # Whoever is cancelled here leaves the piece for the next one.
        found = await asyncio.shield(self._piece)
        self._piece = None
        if found is None:
            return {"type": "http.disconnect"}
        payload, end = found
        self._body_ended = end
        return {"type": "http.request", "body": payload, "more_body": not end}

    async def send(self, message):
        """Takes a message of the response."""
        if self._gone.done():
            raise CallerGone("the caller has gone away")
        self._note(message)
        if self._collected is not None:
            self._keep(message)
        elif message["type"] == "http.response.start":
            headers = [(_text(name), _text(value)) for name, value in message.get("headers", ())]
            self._channel.send(head_frame(self._id, message["status"], headers))
        elif message["type"] == "http.response.body":
            body = memoryview(message.get("body", b""))
            for start in range(0, len(body), PIECE_BYTES_MAX):
                await self._send_piece(body[start : start + PIECE_BYTES_MAX])
        else:
            raise ValueError("an ASGI message of type %r, which Ingle doesn't know" % message["type"])

    def _note(self, message):
        if message["type"] == "http.response.start":
            self._has_begun = True
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._has_ended = True

    def _keep(self, message):
        if message["type"] == "http.response.start":
            self._collected[0] = message["status"]
            self._collected[1] = [(_text(name), _text(value)) for name, value in message.get("headers", ())]
        else:
            self._collected[2] += message.get("body", b"")

    async def _send_piece(self, piece):
        while self._room == 0 and not self._gone.done():
            self._waiting_for_room = self._loop.create_future()
            await self._waiting_for_room
        if self._gone.done():
            raise CallerGone("the caller has gone away")
        self._room -= 1
        self._channel.send(chunk_frame(self._id), (piece,), len(piece))

    async def respond(self, result):
        """Sends what the function returned, to its end. Closes what makes the pieces in any case."""
        response = self._response(result)
        self._responding = self._loop.create_task(response(self.scope, self.receive, self.send))
        try:
            if self._gone.done():
                self._responding.cancel()
            await self._responding
            self._check_whole()
        except asyncio.CancelledError:
            raise CallerGone("the caller has gone away") from None
        except Exception as error:
            # A framework answers with its page for errors, and lets the error through for the log.
            if not (self.is_of_app and self._has_ended):
                raise
            logging.getLogger("ingle.web").error("%s after the response: %s", type(error).__name__,
                                                 errors.safe_text(error), exc_info=True)
        finally:
            self._responding = None
            close = getattr(getattr(response, "body_iterator", None), "aclose", None)
            if close is not None:
                await close()

    def _check_whole(self):
        if self.is_of_app and not self._has_ended:
            what = "in the middle of its response" if self._has_begun else "without a response"
            raise RuntimeError("the ASGI app returned " + what)

    def _response(self, result):
        if self.is_of_app:
            return result
        if self._base.ResponseTrackerMeta.check_type(type(result)) and callable(result):
            return result
        if callable(result) and hasattr(result, "status_code"):
            # A response class of the framework that the extension does not list.
            return result
        if hasattr(result, "get_body") and hasattr(result, "headers"):
            return _sdk_response(result)
        labels = self._base.ResponseLabels
        make = self._base.ResponseTrackerMeta.get_response_type(labels.JSON)
        return make(_jsonable(result))


def _jsonable(value):
    """As FastAPI makes JSON of what a handler returns; plain values pass where it is not there."""
    encoders = sys.modules.get("fastapi.encoders")
    return value if encoders is None else encoders.jsonable_encoder(value)


def _sdk_response(result):
    """A `func.HttpResponse` in ASGI's terms."""
    from .http_data import response_head

    status, headers = response_head(result)
    headers = [(name.encode(), value.encode()) for name, value in headers]

    async def response(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": result.get_body() or b""})

    return response


def _text(value):
    """A header's name or value as text: UTF-8 where it is that, as the server reads them."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class _Threads:
    """Threads for `def` functions with a streamed response; made when the first one is called."""

    def __init__(self):
        self._lock = threading.Lock()
        self._executor = None

    def get(self):
        with self._lock:
            if self._executor is None:
                text = os.environ.get(_THREADS_VARIABLE, "")
                count = int(text) if text.isdigit() else _THREADS_MAX
                self._executor = concurrent.futures.ThreadPoolExecutor(
                    min(max(count, 1), _THREADS_MAX), thread_name_prefix="streaming")
            return self._executor


_THREADS = _Threads()


async def run(plan, invocation, header, body, loop):
    """Runs a function on the event loop, or in a thread if it is a `def`, streams its response, and answers."""
    timer = invoke.Timer()
    start = invoke._clock()
    try:
        arguments = invoke.Arguments(plan, invocation, header, body)
        if plan.is_async:
            invocation.task = asyncio.current_task()
            if invocation.interrupted:
                # Before there was a task to cancel.
                invocation.task.cancel()
            try:
                result = await _call(plan, arguments, invocation)
            finally:
                # From here on the response is cancelled instead.
                invocation.task = None
        else:
            call = contextvars.copy_context().run
            result = await loop.run_in_executor(_THREADS.get(), call, _call_in_thread, plan, arguments)
            if hasattr(type(result), "__await__"):
                result = await result
        if plan.hooks is not None:
            plan.hooks.after(arguments.context, arguments.named, result)
        await invocation.exchange.respond(result)
        timer.user_us = (invoke._clock() - start) // 1000
        frame = invoke._success(plan, invocation, arguments, None, timer, invocation.exchange.datum())
    except BaseException as error:
        timer.user_us = (invoke._clock() - start) // 1000
        frame = invoke.failure(invocation, error, timer)
    finally:
        crash.leave_if_forked()
    invoke.finish(invocation, frame)


async def _call(plan, arguments, invocation):
    if plan.hooks is not None:
        plan.hooks.before(arguments.context, arguments.named)
    result = plan.function(**arguments.named)
    if hasattr(type(result), "__await__"):
        invocation.coroutine = result
        result = await result
    return result


def _call_in_thread(plan, arguments):
    if plan.hooks is not None:
        plan.hooks.before(arguments.context, arguments.named)
    return plan.function(**arguments.named)
