"""What the platform tells: answers, invocations, lines of logs, messages. Plain values."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Mapping, Optional, Tuple

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def from_milliseconds(milliseconds: int) -> datetime:
    """The time that many milliseconds after 1970, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(time: datetime) -> int:
    """Milliseconds since 1970. A time without a zone is taken for one in UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return (time - _EPOCH) // timedelta(milliseconds=1)


class Headers(Dict[str, str]):
    """Names in lower case; looked up in any. Several of one name are joined by a comma."""

    def __init__(self, pairs: Any = ()):
        super().__init__()
        for name, value in pairs:
            name = name.lower()
            self[name] = "%s, %s" % (self[name], value) if name in self else value

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


@dataclass(frozen=True)
class Response:
    """The answer to a request."""

    status: int
    headers: Headers
    body: bytes
    cookies: Tuple[str, ...] = ()
    """The values of `Set-Cookie`, one for each."""

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Failure:
    """Why an invocation failed."""

    kind: str
    """Name of the exception's class."""
    message: str
    traceback: str
    code: str
    """What `ingle explain` explains, e.g. `E0301`."""
    hint: Optional[str] = None

    def __str__(self) -> str:
        return "%s: %s" % (self.kind, self.message)


@dataclass(frozen=True)
class LogLine:
    """A line that the app logged or printed."""

    message: str
    level: str
    """`debug`, `info`, `warning`, `error` or `critical`."""
    logger: str
    """Name of the Python logger; empty for what was printed."""
    source: str
    """`logging`, `stdout` or `stderr`."""
    function: Optional[str]
    invocation: Optional[str]

    @classmethod
    def read(cls, event: Mapping[str, Any]) -> LogLine:
        return cls(event["message"], event["level"], event["logger"], event["source"], event["function"],
                   event["invocation"])


@dataclass(frozen=True)
class Invocation:
    """One run of a function, in the order in which they ended."""

    id: str
    function: str
    time: datetime
    """When it began, by the moved clock."""
    summary: str
    """What started it: `POST /api/orders`, `queue orders`, `timer 0 0 3 * * *`."""
    outcome: str
    """`success`, `failed`, `timed_out`, `cancelled`, `rejected`, or `retrying` if another attempt follows."""
    status: Optional[int]
    """What an HTTP caller was answered."""
    effects: Tuple[str, ...]
    """Outputs that were written, and what became of the event: `queue kitchen`, `poison orders-poison`."""
    failure: Optional[Failure]
    logs: Tuple[LogLine, ...] = field(default=(), repr=False)

    @property
    def is_success(self) -> bool:
        """Whether it ended well."""
        return self.outcome == "success" and self.failure is None

    @classmethod
    def read(cls, event: Mapping[str, Any], logs: List[LogLine]) -> Invocation:
        failure = None
        if event.get("failure"):
            told = event["failure"]
            failure = Failure(told["kind"], told["message"], told["traceback"], told["code"], told.get("hint"))
        return cls(event["id"], event["function"], from_milliseconds(event["time"]), event["summary"], event["outcome"],
                   event.get("status"), tuple(event["effects"]), failure, tuple(logs))

    def describe(self) -> str:
        """A few lines for a person, with the traceback if it failed."""
        text = "%s (%s): %s" % (self.function, self.summary, self.outcome)
        if self.failure is not None:
            text += "\n%s" % self.failure
            if self.failure.traceback:
                text += "\n%s" % self.failure.traceback.rstrip()
        return text


@dataclass(frozen=True)
class Message:
    """A message in a queue."""

    id: str
    body: bytes
    state: str
    """`ready`, `delayed` or `leased`."""
    dequeue_count: int
    inserted_at: datetime
    visible_at: datetime
    poison_reason: Optional[str] = None
    """Why it was given up on, in a poison queue."""

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Message:
        body = entry["text"].encode() if "text" in entry else base64.b64decode(entry["bytes"]["base64"])
        return cls(entry["id"], body, entry["state"], entry["dequeueCount"], from_milliseconds(entry["insertedAt"]),
                   from_milliseconds(entry["visibleAt"]), (entry.get("poison") or {}).get("reason"))
