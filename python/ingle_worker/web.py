"""Requests and responses of web apps: WSGI as PEP 3333 has it, ASGI as version 3.0 of its specification.

A WSGI app is called in the thread of its lane, with whole bodies. An ASGI app runs on the event loop; its bodies go in
pieces, through the exchange that `streaming` has.
"""

import asyncio
import inspect
import io
import sys
from urllib.parse import unquote_to_bytes, urlsplit

from . import streaming
from .context import CURRENT
from .http_data import encode_head
from .plan import is_async

WSGI = "wsgi"
ASGI = "asgi"
# Packages whose objects are WSGI apps if they can be called with two arguments.
_WSGI_PACKAGES = ("flask", "django", "werkzeug")
_PORTS = {"http": 80, "https": 443}


def interface_of(target):
    """`WSGI`, `ASGI`, or None for what is neither: by how it can be called.

    Two arguments and an answer at once is WSGI, three and an answer to wait for is ASGI. What calls its second parameter
    a context is a handler of AWS Lambda.
    """
    if not callable(target) or isinstance(target, type):
        return None
    names = _parameters(target)
    if names is None:
        return None
    if _takes(target, 3) and (is_async(target) or not _takes(target, 2)):
        return ASGI
    if _takes(target, 2) and not is_async(target):
        return None if len(names) > 1 and "context" in names[1].lower() else WSGI
    return None


def is_certain(target):
    """Whether this can only be a web app, and no handler of AWS Lambda, which has two parameters too."""
    interface = interface_of(target)
    if interface != WSGI:
        return interface == ASGI
    packages = {base.__module__.split(".")[0] for base in type(target).__mro__}
    names = _parameters(target)
    return bool(packages.intersection(_WSGI_PACKAGES)) or (len(names) > 1 and names[1] == "start_response")


def _parameters(target):
    try:
        return list(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return None


def _takes(target, count):
    try:
        inspect.signature(target).bind(*range(count))
    except (TypeError, ValueError):
        # What is built in may have no signature to look at.
        return False
    return True


# --- WSGI


def environ_decoder():
    """Makes `decode(kind, value, payload, header)`, which gives the `environ` of a request."""

    def decode(kind, value, payload, header):
        if kind != "http":
            raise TypeError("a web app takes a request, not %r data" % kind)
        return environ(value, payload, _client(header))

    return decode


def environ(value, body, client):
    """The `environ` of a request; `value` is that of an `http` datum, `client` an address or None."""
    url = urlsplit(value["url"])
    scheme = url.scheme or "http"
    target = url.path + ("?" + url.query if url.query else "")
    found = {
        "REQUEST_METHOD": value["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path or "/").decode("latin-1"),
        "QUERY_STRING": url.query,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "SERVER_NAME": url.hostname or "localhost",
        "SERVER_PORT": str(_port(url)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if client is not None:
        found["REMOTE_ADDR"] = client
    for name, text in value["headers"].items():
        # `a_b` would pass for `a-b`, which a proxy in front may have taken care of.
        if "_" in name or name == "content-length":
            continue
        key = "CONTENT_TYPE" if name == "content-type" else "HTTP_" + name.upper().replace("-", "_")
        found[key] = text.encode("utf-8", "surrogateescape").decode("latin-1")
    return found


def _port(url):
    try:
        port = url.port
    except ValueError:
        port = None
    return port or _PORTS.get(url.scheme, 80)


def _client(header):
    # The server knows none when the app is invoked by hand.
    found = header.get("metadata", {}).get("client")
    return found[1] if found else None


def call_wsgi(app, environ):
    """Calls the app to the end of its response: `(status, [(name, value), …], body)`."""
    head = []
    written = []

    def start_response(status, headers, exc_info=None):
        try:
            if head and exc_info is None:
                raise AssertionError("start_response was called a second time without exc_info")
            # Nothing is sent yet, so an error page takes the place of what has been begun.
            head[:] = [status, list(headers)]
        finally:
            exc_info = None
        return written.append

    pieces = app(environ, start_response)
    try:
        body = b"".join(written + list(pieces))
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    if not head:
        raise RuntimeError("the WSGI app returned without having called start_response")
    status, headers = head
    return int(status.split(" ", 1)[0]), headers, body


def encode_response(response):
    """What `call_wsgi` gave, as a datum: `(fragment, parts, size)`."""
    status, headers, body = response
    headers = [(name, _text(value)) for name, value in headers]
    return encode_head(status, headers, len(body)), (body,), len(body)


def _text(value):
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


# --- ASGI


def scope_decoder():
    """Makes `decode(kind, value, payload, header)`, which gives the `scope` of a request and sets its exchange up."""

    def decode(kind, value, payload, header):
        if kind != "http":
            raise TypeError("a web app takes a request, not %r data" % kind)
        exchange = CURRENT.get().exchange
        if not value.get("stream"):
            exchange.collect(payload)
        scope = streaming.scope(value)
        del scope["path_params"]
        client = _client(header)
        if client is not None:
            # Through proxies nobody knows the port.
            scope["client"] = (client, 0)
        exchange.is_of_app = True
        exchange.scope = scope
        return scope

    return decode


class Lifespan:
    """The lifespan of an ASGI app: one start in each worker, before its first request. An app may have none."""

    def __init__(self, app):
        self._app = app
        self._state = {}
        self._starting = None
        self._running = None
        self._to_app = None
        self._answer = None
        # The worker ends it, as it does for those that the SDK has started.
        self.startup_task_done = False
        self.middleware = self

    async def start(self):
        """Waits until the app has started; gives what it wants each request to know. Raises if it can't start."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        mine = self._starting
        try:
            # A request that is cancelled does not take the start of the others with it.
            await asyncio.shield(mine)
        except BaseException:
            if mine.done() and self._starting is mine:
                # The next request tries again.
                self._starting = None
            raise
        return dict(self._state)

    async def notify_shutdown(self):
        """Waits until the app has shut down."""
        self._answer = asyncio.get_running_loop().create_future()
        self._to_app.put_nowait({"type": "lifespan.shutdown"})
        await self._heard("shutdown")

    async def _start(self):
        self._state.clear()
        self._to_app = asyncio.Queue()
        self._answer = asyncio.get_running_loop().create_future()
        self._running = asyncio.ensure_future(self._run())
        self._to_app.put_nowait({"type": "lifespan.startup"})
        self.startup_task_done = await self._heard("startup")

    async def _heard(self, step):
        """Whether the app takes part; raises if it says that it failed."""
        kind, message = await self._answer
        if kind == "lifespan.%s.failed" % step:
            raise LifespanFailed("the lifespan of the app failed at its %s: %s" % (step, message.strip() or "it says no more"))
        return kind is not None

    async def _run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._to_app.get, self._hear)
        except Exception:
            # One that knows no lifespan raises before it answers; what fails later has said so.
            pass
        finally:
            if not self._answer.done():
                self._answer.set_result((None, ""))

    async def _hear(self, message):
        if not self._answer.done():
            self._answer.set_result((message["type"], message.get("message", "")))


class LifespanFailed(RuntimeError):
    """An ASGI app could not start."""
