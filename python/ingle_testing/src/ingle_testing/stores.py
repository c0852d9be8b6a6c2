"""Queues, blobs, documents and tables of the platform, as a test fills and reads them."""

from __future__ import annotations

import json as json_module
from datetime import timedelta
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from .records import Message
from .server import BlobNotFound, Server

_ALL = 1_000_000


class Queue:
    """A queue. Reading it takes no message away."""

    def __init__(self, server: Server, name: str):
        self._server = server
        self.name = name

    def send(self, body: Union[str, bytes, Mapping[str, Any], Sequence[Any]], *,
             delay: Union[timedelta, float] = 0) -> None:
        """Puts a message into the queue: text, bytes, or something that becomes JSON. `delay` (seconds, by the platform's
        clock) is how long it can't be seen."""
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if isinstance(body, str):
            content = body.encode()
        elif isinstance(body, (bytes, bytearray)):
            content = bytes(body)
        else:
            content = json_module.dumps(body).encode()
        self._server.ask("POST", "/v1/queues/messages", {"name": self.name, "delay": int(seconds)}, content)

    @property
    def messages(self) -> List[Message]:
        """All messages: those that can be seen in their order, then the delayed ones."""
        entries = self._server.ask_json("GET", "/v1/state/entries", {"name": self.name, "count": _ALL})
        return [Message.read(entry) for entry in entries["messages"]]

    def peek(self) -> Optional[Message]:
        """The next message, or None."""
        entries = self._server.ask_json("GET", "/v1/state/entries", {"name": self.name, "count": 1})["messages"]
        return Message.read(entries[0]) if entries else None

    def __len__(self) -> int:
        return len(self.messages)

    def __bool__(self) -> bool:
        # Without this, an empty queue would not be true, and `platform.queue("a") or …` a trap.
        return True


class Blob:
    """A blob, `container/name`, which need not exist."""

    def __init__(self, server: Server, path: str):
        self._server = server
        self.path = path

    def put(self, content: Union[str, bytes], *, content_type: Optional[str] = None) -> None:
        """Makes or replaces it."""
        query = {"path": self.path}
        if content_type is not None:
            query["type"] = content_type
        body = content.encode() if isinstance(content, str) else bytes(content)
        self._server.ask("PUT", "/v1/blobs", query, body)

    def get(self) -> bytes:
        """Its content. Raises KeyError if there is no such blob."""
        try:
            return self._server.ask("GET", "/v1/blobs", {"path": self.path})
        except BlobNotFound:
            container = self.path.partition("/")[0]
            there = ", ".join(self.names(self._server, container)[:10]) or "nothing"
            raise KeyError("there is no blob %s; in %s: %s" % (self.path, container, there)) from None

    def text(self) -> str:
        """Its content as UTF-8."""
        return self.get().decode()

    def json(self) -> Any:
        """Its content as JSON."""
        return json_module.loads(self.get())

    def exists(self) -> bool:
        """Whether there is such a blob."""
        container, _, name = self.path.partition("/")
        return name in self.names(self._server, container, name)

    def delete(self) -> None:
        """Deletes it; one that is not there is deleted already."""
        self._server.ask("DELETE", "/v1/blobs", {"path": self.path})

    @staticmethod
    def names(server: Server, container: str, prefix: str = "") -> List[str]:
        """The names of the blobs of a container that begin with a prefix."""
        names: List[str] = []
        after = ""
        while True:
            query = {"container": container, "prefix": prefix, "after": after}
            listed = server.ask_json("GET", "/v1/blobs/list", query)
            names.extend(blob["name"] for blob in listed["blobs"])
            after = listed.get("next", "")
            if not after:
                return names


class Documents:
    """The documents of a container, `database/container`."""

    def __init__(self, server: Server, container: str):
        self._server = server
        self.container = container

    def put(self, *documents: Mapping[str, Any]) -> None:
        """Makes or replaces documents. Those without `id` get one."""
        body = json_module.dumps([dict(document) for document in documents]).encode()
        self._server.ask("POST", "/v1/documents", {"container": self.container}, body)

    def all(self) -> List[Dict[str, Any]]:
        """All documents, the one that was changed last first, with the system properties such as `_ts`."""
        query = {"name": self.container, "count": _ALL}
        found: List[Dict[str, Any]] = self._server.ask_json("GET", "/v1/state/entries", query)["documents"]
        return found

    def get(self, id: str) -> Dict[str, Any]:
        """The document with this id. Raises KeyError if there is none, and LookupError if there are several."""
        found = [document for document in self.all() if document["id"] == id]
        if not found:
            raise KeyError("there is no document %r in %s" % (id, self.container))
        if len(found) > 1:
            raise LookupError("%d documents in %s have the id %r" % (len(found), self.container, id))
        return found[0]

    def __len__(self) -> int:
        return len(self.all())

    def __bool__(self) -> bool:
        return True


class Table:
    """The entities of a table."""

    def __init__(self, server: Server, name: str):
        self._server = server
        self.name = name

    def add(self, *entities: Mapping[str, Any]) -> None:
        """Adds entities; each has a `PartitionKey` and a `RowKey`, which are texts."""
        body = json_module.dumps([dict(entity) for entity in entities]).encode()
        self._server.ask("POST", "/v1/entities", {"table": self.name}, body)

    def all(self) -> List[Dict[str, Any]]:
        """All entities by partition and row key."""
        query = {"name": "table:" + self.name, "count": _ALL}
        found: List[Dict[str, Any]] = self._server.ask_json("GET", "/v1/state/entries", query)["entities"]
        return found

    def get(self, partition_key: str, row_key: str) -> Dict[str, Any]:
        """One entity. Raises KeyError if there is none."""
        for entity in self.all():
            if (entity["PartitionKey"], entity["RowKey"]) == (partition_key, row_key):
                return entity
        raise KeyError("there is no entity %r, %r in %s" % (partition_key, row_key, self.name))

    def __len__(self) -> int:
        return len(self.all())

    def __bool__(self) -> bool:
        return True
