"""What an environment tells extensions of its log and of its events.

Wire format: "Lambda Telemetry API" and "Lambda Logs API" of the AWS Lambda developer guide, versions 2022-07-01 and 2020-08-15 (facts of Lambda,
section 2). Records are made on the thread of the relay; each subscription has a thread that sends them.
"""

import http.client
import json
import math
import os
import queue
import socket
import threading
import time
import urllib.parse

from .frames import clean, to_json

_TELEMETRY = "/2022-07-01/telemetry"
_LOGS = "/2020-08-15/logs"
_SCHEMAS = ("2022-07-01", "2022-12-13", "2025-01-29", "2020-08-15", "2021-03-18")
_TYPES = ("platform", "function", "extension")
# The environment itself, as extensions name it.
_HOSTS = ("sandbox.localdomain", "sandbox", "localhost", "127.0.0.1")
# Least, most and usual value of what a subscription may say.
_BUFFERING = {"maxItems": (1000, 10_000, 10_000), "maxBytes": (262_144, 1_048_576, 262_144), "timeoutMs": (25, 30_000, 1000)}
# Records that wait for an extension that does not take them; what comes then is lost, as on AWS.
_WAITING_MAX = 20_000
_SEND_SECONDS_MAX = 5
_FLUSH_SECONDS = 0.3


class Telemetry:
    """The subscriptions of one environment."""

    def __init__(self, relay):
        self._relay = relay
        self._subscriptions = {}

    @property
    def is_wanted(self):
        return bool(self._subscriptions)

    def knows(self, request):
        return request.method == "PUT" and request.path in (_TELEMETRY, _LOGS)

    def subscribe(self, connection, request, name, is_open):
        kind = "Logs" if request.path == _LOGS else "Telemetry"
        if not is_open:
            connection.refuse(403, kind + ".SubscriptionClosed", "%s API subscription is closed already" % kind)
            return
        try:
            subscription = Subscription(json.loads(request.body), name)
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            connection.refuse(400, "ValidationError", "The subscription can't be taken: %s" % problem)
            return
        old = self._subscriptions.pop(name, None)
        if old is not None:
            old.finish()
        self._subscriptions[name] = subscription
        subscription.start()
        connection.answer(200, b'"OK"')
        self.platform("telemetrySubscription", {"name": name, "state": "Subscribed", "types": list(subscription.types)})

    def platform(self, what, record):
        """An event of the environment: `start`, `runtimeDone`, `report`, …"""
        self._send("platform", "platform." + what, record)

    def report(self, identity, status, seconds, size):
        """How an event went, that took so many `seconds`; `size`: bytes of its answer."""
        if not self._subscriptions:
            return
        duration_ms = round(seconds * 1000, 2)
        self.platform("runtimeDone", {"requestId": identity, "status": status,
                                      "metrics": {"durationMs": duration_ms, "producedBytes": size}})
        memory = int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"))
        self.platform("report", {"requestId": identity, "status": status, "metrics": {
            "durationMs": duration_ms, "billedDurationMs": math.ceil(duration_ms), "memorySizeMB": memory}})

    def line(self, line, is_extension):
        """A line that the function or an extension has written. In a log of JSON, one that is an object goes as such."""
        kind = "extension" if is_extension else "function"
        if self._subscriptions:
            self._send(kind, kind, _as_object(line) if line.startswith("{") else line)

    def _send(self, group, kind, record):
        if self._subscriptions:
            record = {"time": _now(), "type": kind, "record": record}
            for subscription in self._subscriptions.values():
                if group in subscription.types:
                    subscription.send(record)

    def finish(self):
        """Sends what is left."""
        for subscription in self._subscriptions.values():
            subscription.finish()


class Subscription:
    """Where the records of some types go. Raises `ValueError` and its like if what was asked for can't be."""

    def __init__(self, body, name):
        self.name = name
        if body.get("schemaVersion", _SCHEMAS[0]) not in _SCHEMAS:
            raise ValueError("the schemaVersion %r is not known" % (body["schemaVersion"],))
        self.types = tuple(body["types"])
        if not self.types or any(kind not in _TYPES for kind in self.types):
            raise ValueError("`types` has to name some of %s" % ", ".join(_TYPES))
        buffering = body.get("buffering") or {}
        self._items_max, self._bytes_max, timeout_ms = (
            _bounded(buffering, name, *bounds) for name, bounds in _BUFFERING.items())
        self._seconds_max = timeout_ms / 1000
        destination = body["destination"]
        self._protocol = str(destination["protocol"]).upper()
        if self._protocol == "HTTP":
            place = urllib.parse.urlsplit(destination["URI"])
            if place.scheme != "http" or place.hostname not in _HOSTS or place.port is None:
                raise ValueError("the URI has to be http://sandbox.localdomain:PORT")
            self._port, self._path = place.port, place.path or "/"
        elif self._protocol == "TCP":
            self._port, self._path = int(destination["port"]), ""
        else:
            raise ValueError("the protocol has to be HTTP or TCP")
        self._records = queue.Queue(_WAITING_MAX)
        self._connected = None
        self._thread = None

    def start(self):
        self._thread = threading.Thread(target=self._serve, name="relay-telemetry", daemon=True)
        self._thread.start()

    def send(self, record):
        try:
            self._records.put_nowait(record)
        except queue.Full:
            # Who does not take them has none; the function does not wait for that.
            pass

    def finish(self):
        """Lets the thread send what is left, and waits a moment for that."""
        try:
            self._records.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(_FLUSH_SECONDS)

    def _serve(self):
        is_open = True
        while is_open:
            batch, is_open = self._gather()
            if not batch:
                continue
            try:
                self._deliver(batch)
            except (OSError, http.client.HTTPException):
                # It does not listen yet, or any more.
                self._connected = None

    def _gather(self):
        """The next records, as many as go together, as JSON; and whether there will be more."""
        batch, size, until = [], 0, None
        while len(batch) < self._items_max and size < self._bytes_max:
            try:
                record = self._records.get(timeout=None if until is None else max(until - time.monotonic(), 0))
            except queue.Empty:
                break
            if record is None:
                return batch, False
            batch.append(to_json(record))
            size += len(batch[-1])
            if until is None:
                until = time.monotonic() + self._seconds_max
        return batch, True

    def _deliver(self, batch):
        if self._protocol == "TCP":
            if self._connected is None:
                self._connected = socket.create_connection(("127.0.0.1", self._port), _SEND_SECONDS_MAX)
            self._connected.sendall(b"".join(record + b"\n" for record in batch))
            return
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SEND_SECONDS_MAX)
        try:
            connection.request("POST", self._path, b"[" + b",".join(batch) + b"]", {"Content-Type": "application/json"})
            connection.getresponse().read()
        finally:
            connection.close()


def _as_object(line):
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() != "JSON":
        return line
    try:
        return json.loads(line)
    except ValueError:
        return line


def _bounded(buffering, name, least, most, usual):
    value = int(buffering.get(name, usual))
    if not least <= value <= most:
        raise ValueError("%s has to be from %d to %d" % (clean(name), least, most))
    return value


def _now():
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%03dZ" % (seconds % 1 * 1000)
