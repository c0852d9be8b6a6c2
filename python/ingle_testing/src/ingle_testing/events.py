"""Arguments of functions, as the platform makes them: real objects of the app's own `azure.functions`, complete with ids,
times and metadata. They need no server.

| trigger or binding | builder |
|---|---|
| HTTP | `http_request` |
| queue | `queue_message` |
| blob, trigger and input | `blob` |
| timer | `timer` |
| Cosmos DB, trigger and input | `documents` |
| Event Grid | `event_grid_event`, `cloud_event` |
| Event Hubs | `event_hub_event`, `event_hub_events` |
| Service Bus | `service_bus_message` |
| Kafka | `kafka_event` |
| SQL, MySQL | `sql_rows`, `mysql_rows` |
| table input | `entity`, `entities` |
| warmup | `warmup` |
| output parameters | `out` |
| the argument `context` | `context` |

Times without a zone are taken for times in UTC. What is not given gets a value that is the same in each run, except ids.
"""

from __future__ import annotations

import json as json_module
import threading
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Generic, List, Mapping, Optional, Sequence, TypeVar, Union
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from . import sdk
from .errors import SdkMissing

Json = Union[Mapping[str, Any], Sequence[Any]]
Value = TypeVar("Value")

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
"""The time of events, unless told otherwise."""
_NEVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)


def http_request(method: str = "GET", url: str = "/", *, params: Optional[Mapping[str, str]] = None,
                 headers: Optional[Mapping[str, str]] = None, route_params: Optional[Mapping[str, str]] = None,
                 json: Any = None, form: Optional[Mapping[str, str]] = None,
                 body: Union[str, bytes] = b"") -> Any:
    """An `HttpRequest`.

    `url`: a path, or all of it. `params` are added to its query; `route_params` are those of the route's template. The
    body is `json` or a `form`, which also set `Content-Type`, or `body` as it is.
    """
    if (json is not None) + (form is not None) + bool(body) > 1:
        raise TypeError("a request has one body: json, form or body")
    sent = {name.lower(): value for name, value in (headers or {}).items()}
    if json is not None:
        body = json_module.dumps(json)
        sent.setdefault("content-type", "application/json")
    elif form is not None:
        body = urlencode(form)
        sent.setdefault("content-type", "application/x-www-form-urlencoded")
    content = body.encode() if isinstance(body, str) else bytes(body)
    if content:
        sent.setdefault("content-length", str(len(content)))
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True) + list((params or {}).items())
    whole = urlunsplit((parts.scheme or "http", parts.netloc or "localhost:7071", parts.path or "/", urlencode(pairs), ""))
    sent.setdefault("host", urlsplit(whole).netloc)
    request = sdk.module().HttpRequest
    return request(method.upper(), whole, headers=sent, params=_joined(pairs), route_params=dict(route_params or {}),
                   body=content)


def _joined(pairs: Sequence[Any]) -> Dict[str, str]:
    """Several of one name are joined by commas, as Azure's host does."""
    found: Dict[str, str] = {}
    for name, value in pairs:
        found[name] = "%s,%s" % (found[name], value) if name in found else value
    return found


def queue_message(body: Union[str, bytes, Json], *, id: Optional[str] = None, dequeue_count: int = 1,
                  insertion_time: Optional[datetime] = None, expiration_time: Optional[datetime] = None,
                  time_next_visible: Optional[datetime] = None, pop_receipt: str = "receipt") -> Any:
    """A `QueueMessage`. A `body` that is neither text nor bytes becomes JSON."""
    inserted = sdk.utc(insertion_time or NOW)
    content = body if isinstance(body, (str, bytes)) else json_module.dumps(body)
    return sdk.decode("queueTrigger", content, "bytes" if isinstance(content, bytes) else "string", {
        "Id": id or str(uuid.uuid4()),
        "DequeueCount": dequeue_count,
        "InsertionTime": inserted,
        "ExpirationTime": sdk.utc(expiration_time or _NEVER),
        "NextVisibleTime": sdk.utc(time_next_visible or inserted + timedelta(minutes=10)),
        "PopReceipt": pop_receipt,
    })


def blob(content: Union[str, bytes], *, name: str = "container/blob", uri: Optional[str] = None,
         metadata: Optional[Mapping[str, str]] = None, content_type: str = "application/octet-stream",
         last_modified: Optional[datetime] = None) -> Any:
    """An `InputStream`, as blob triggers and inputs give one. `name`: with the container, as in `stream.name`."""
    data = content.encode() if isinstance(content, str) else bytes(content)
    return sdk.decode("blobTrigger", data, "bytes", {
        "BlobTrigger": name,
        # The SDK expects JSON here.
        "Uri": sdk.Quoted(uri or "https://account.blob.core.windows.net/" + quote(name)),
        "Properties": {"BlobType": "BlockBlob", "ContentLength": len(data), "Length": len(data),
                       "ContentType": content_type, "ETag": "0x8D0000000000000",
                       "LastModified": sdk.date_text(last_modified or NOW)},
        "Metadata": dict(metadata or {}),
    })


def timer(*, past_due: bool = False, last: Optional[datetime] = None, next: Optional[datetime] = None,
          updated: Optional[datetime] = None) -> Any:
    """A `TimerRequest`. `last`: the occurrence before this one; none if the function never ran. `next`: the one after."""
    now = sdk.utc(updated or NOW)
    status = {"Last": sdk.date_text(last) if last else "0001-01-01T00:00:00+00:00",
              "Next": sdk.date_text(next or now + timedelta(hours=1)), "LastUpdated": sdk.date_text(now)}
    return sdk.decode("timerTrigger", {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status,
                                       "IsPastDue": past_due}, "json")


def documents(items: Union[Mapping[str, Any], Sequence[Mapping[str, Any]]], *, system_properties: bool = True) -> Any:
    """A `DocumentList` of one or several documents, as a Cosmos DB trigger or input gives them.

    Those without `id` get one. With `system_properties` they have `_ts`, `_etag` and the others, as documents do that are
    read from a container.
    """
    listed = [items] if isinstance(items, Mapping) else items
    return sdk.decode("cosmosDB", [_document(item, system_properties) for item in listed], "json")


def _document(item: Mapping[str, Any], system_properties: bool) -> Dict[str, Any]:
    whole = {"id": str(uuid.uuid4()), **item}
    if system_properties:
        whole.setdefault("_rid", "AQAAAAEAAAABAAAAAAAAAA==")
        whole.setdefault("_self", "dbs/AQAAAA==/colls/AQAAAAEAAAA=/docs/AQAAAAEAAAABAAAAAAAAAA==/")
        whole.setdefault("_etag", '"%s"' % uuid.uuid4())
        whole.setdefault("_attachments", "attachments/")
        whole.setdefault("_ts", int(NOW.timestamp()))
    return whole


def event_grid_event(data: Any = None, *, event_type: str = "Test.Event", subject: str = "/test", topic: str = "/topics/test",
                     id: Optional[str] = None, event_time: Optional[datetime] = None, data_version: str = "1.0") -> Any:
    """An `EventGridEvent`."""
    return sdk.decode("eventGridTrigger", {
        "id": id or str(uuid.uuid4()), "topic": topic, "subject": subject, "eventType": event_type,
        "eventTime": sdk.date_text(event_time or NOW), "data": {} if data is None else data, "dataVersion": data_version,
    }, "json")


def cloud_event(data: Any = None, *, type: str = "test.event", source: str = "/test", subject: Optional[str] = None,
                id: Optional[str] = None, time: Optional[datetime] = None, **extensions: Any) -> Any:
    """A `CloudEvent`, which only newer versions of the SDK have. Raises SdkMissing with others."""
    if not hasattr(sdk.module("azure.functions._eventgrid"), "CloudEvent"):
        raise SdkMissing("the azure-functions of the tests has no CloudEvent: it came with a later version")
    event = {"specversion": "1.0", "id": id or str(uuid.uuid4()), "source": source, "type": type, "subject": subject,
             "time": sdk.date_text(time or NOW), "datacontenttype": "application/json", "data": data, **extensions}
    return sdk.decode("eventGridTrigger", sdk.plain(event), "json")


def event_hub_event(body: Union[str, bytes, Json], *, partition_key: Optional[str] = None, sequence_number: int = 0,
                    offset: str = "0", enqueued_time: Optional[datetime] = None,
                    iothub: Optional[Mapping[str, str]] = None) -> Any:
    """An `EventHubEvent`. `iothub`: the metadata of a device's message, such as `connection-device-id`."""
    properties = _event_hub_properties(partition_key, sequence_number, offset, enqueued_time, iothub)
    return sdk.decode("eventHubTrigger", _bytes(body), "bytes", {
        **sdk.plain({name: value for name, value in properties.items() if not name.startswith("iothub-")}),
        "EnqueuedTimeUtc": sdk.utc(enqueued_time or NOW),
        "SystemProperties": properties,
    })


def event_hub_events(bodies: Sequence[Union[str, bytes, Json]], *, partition_key: Optional[str] = None,
                     first_sequence_number: int = 0, enqueued_time: Optional[datetime] = None) -> List[Any]:
    """A list of `EventHubEvent`s, as a function with cardinality `many` is given one."""
    properties = [_event_hub_properties(partition_key, first_sequence_number + index, str(index), enqueued_time, None)
                  for index in range(len(bodies))]
    return list(sdk.decode("eventHubTrigger", [_bytes(body) for body in bodies], "collection_bytes",
                           {"SystemPropertiesArray": properties}))


def _event_hub_properties(partition_key: Optional[str], sequence_number: int, offset: str,
                          enqueued_time: Optional[datetime], iothub: Optional[Mapping[str, str]]) -> Dict[str, Any]:
    found = {"PartitionKey": partition_key, "SequenceNumber": sequence_number, "Offset": offset,
             "EnqueuedTimeUtc": sdk.date_text(enqueued_time or NOW)}
    found.update({"iothub-" + name: value for name, value in (iothub or {}).items()})
    return sdk.plain(found)


def service_bus_message(body: Union[str, bytes, Json], *, message_id: Optional[str] = None, delivery_count: int = 1,
                        content_type: Optional[str] = None, correlation_id: Optional[str] = None,
                        session_id: Optional[str] = None, subject: Optional[str] = None, partition_key: Optional[str] = None,
                        reply_to: Optional[str] = None, to: Optional[str] = None, sequence_number: int = 1,
                        enqueued_time: Optional[datetime] = None, expires_at: Optional[datetime] = None,
                        properties: Optional[Mapping[str, Any]] = None) -> Any:
    """A `ServiceBusMessage`, as the trigger of a queue or topic gives one. `properties`: those of the application."""
    enqueued = sdk.utc(enqueued_time or NOW)
    is_json = not isinstance(body, (str, bytes))
    return sdk.decode("serviceBusTrigger", _bytes(body), "bytes", {
        "MessageId": message_id or str(uuid.uuid4()),
        "DeliveryCount": delivery_count,
        "ContentType": content_type or ("application/json" if is_json else None),
        "CorrelationId": correlation_id,
        "SessionId": session_id,
        "Subject": subject,
        "Label": subject,
        "PartitionKey": partition_key,
        "ReplyTo": reply_to,
        "To": to,
        "SequenceNumber": sequence_number,
        "EnqueuedSequenceNumber": sequence_number,
        "EnqueuedTimeUtc": enqueued,
        "ExpiresAtUtc": sdk.utc(expires_at or enqueued + timedelta(days=14)),
        "LockToken": str(uuid.uuid4()),
        "ApplicationProperties": dict(properties or {}),
        "UserProperties": dict(properties or {}),
    })


def kafka_event(body: Union[str, bytes, Json], *, key: Optional[str] = None, topic: str = "test", partition: int = 0,
                offset: int = 0, timestamp: Optional[datetime] = None,
                headers: Optional[Mapping[str, str]] = None) -> Any:
    """A `KafkaEvent`."""
    listed = [{"Key": name, "Value": value} for name, value in (headers or {}).items()]
    return sdk.decode("kafkaTrigger", _bytes(body), "bytes", {
        "Key": key, "Topic": topic, "Partition": partition, "Offset": offset, "Headers": listed,
        "Timestamp": sdk.Quoted(sdk.date_text(timestamp or NOW)),
    })


def sql_rows(rows: Union[Mapping[str, Any], Sequence[Mapping[str, Any]]]) -> Any:
    """A `SqlRowList`, as an input binding `sql` gives it."""
    return sdk.decode("sql", [rows] if isinstance(rows, Mapping) else list(rows), "json")


def sql_changes(changes: Sequence[Mapping[str, Any]], *, operation: int = 0) -> str:
    """The text that a SQL trigger gives: the rows that changed. `operation`: 0 inserted, 1 updated, 2 deleted."""
    return json_module.dumps([{"Operation": operation, "Item": dict(item)} for item in changes])


def mysql_rows(rows: Union[Mapping[str, Any], Sequence[Mapping[str, Any]]]) -> Any:
    """A `MySqlRowList`, as an input binding `mysql` gives it."""
    return sdk.decode("mysql", [rows] if isinstance(rows, Mapping) else list(rows), "json")


def entity(partition_key: str, row_key: str, **properties: Any) -> str:
    """One entity as an input binding `table` with a row key gives it: JSON text."""
    return json_module.dumps({"PartitionKey": partition_key, "RowKey": row_key, **properties})


def entities(rows: Sequence[Mapping[str, Any]]) -> str:
    """Entities as an input binding `table` without a row key gives them: a JSON list as text. Each has a `PartitionKey`
    and a `RowKey`."""
    for row in rows:
        if not {"PartitionKey", "RowKey"} <= set(row):
            raise ValueError("an entity has a PartitionKey and a RowKey: %r" % (row,))
    return json_module.dumps([dict(row) for row in rows])


def warmup() -> Any:
    """The argument of a warmup function."""
    return sdk.decode("warmupTrigger", "", "string")


class Out(Generic[Value]):
    """What a function is given for an output parameter: `func.Out`, with the value to look at."""

    def __init__(self) -> None:
        self.value: Optional[Value] = None

    def set(self, value: Value) -> None:
        """What functions call. The value set last wins."""
        self.value = value

    def get(self) -> Optional[Value]:
        """What functions may call: the value set last."""
        return self.value

    @property
    def is_set(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


def out() -> Out[Any]:
    """An output parameter; after the call its `value` is what the function set, or None."""
    # So that `isinstance` says what it says in production.
    sdk.module().Out.register(Out)
    return Out()


class TraceContext:
    """`context.trace_context`."""

    def __init__(self, trace_parent: str, trace_state: str, attributes: Mapping[str, str]):
        self.trace_parent = self.Traceparent = trace_parent
        self.trace_state = self.Tracestate = trace_state
        self.attributes = self.Attributes = dict(attributes)


class RetryContext:
    """`context.retry_context`."""

    def __init__(self, retry_count: int, max_retry_count: int, exception: Optional[BaseException]):
        self.retry_count = retry_count
        self.max_retry_count = max_retry_count
        self.exception = exception
        self.rpc_exception = exception


class Context:
    """The argument `context`. Takes any other attribute, as extensions want it."""

    def __init__(self, **values: Any):
        self.__dict__.update(values)


def context(*, function_name: str = "function", function_directory: str = ".", invocation_id: Optional[str] = None,
            trace_parent: Optional[str] = None, trace_state: str = "", retry_count: int = 0, max_retry_count: int = 0,
            exception: Optional[BaseException] = None, cancelled: bool = False) -> Context:
    """The argument `context` of a function. `retry_count`, `max_retry_count` and `exception` are those of an attempt of a
    retry policy; `cancelled` says that the HTTP client has left, and may be set while the function runs.
    """
    sdk.module().Context.register(Context)
    id = invocation_id or str(uuid.uuid4())
    storage = threading.local()
    storage.invocation_id = id
    parent = trace_parent or "00-%s-%s-01" % (uuid.uuid4().hex, uuid.uuid4().hex[:16])
    return Context(invocation_id=id, function_name=function_name, function_directory=function_directory,
                   thread_local_storage=storage, trace_context=TraceContext(parent, trace_state, {}),
                   retry_context=RetryContext(retry_count, max_retry_count, exception), cancelled=cancelled)


def _bytes(body: Union[str, bytes, Json]) -> bytes:
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    return body.encode() if isinstance(body, str) else json_module.dumps(body).encode()
