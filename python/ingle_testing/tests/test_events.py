"""Events: real objects of the installed SDK, complete."""

from datetime import datetime, timedelta, timezone

import azure.functions as func
import pytest
from ingle_testing import SdkMissing, events

TIME = datetime(2031, 5, 6, 7, 8, 9, tzinfo=timezone.utc)


def test_a_request_is_complete():
    request = events.http_request("post", "/api/orders?page=1", params={"q": "ü"}, route_params={"id": "7"}, json={"a": [1]})
    assert isinstance(request, func.HttpRequest)
    assert (request.method, request.url) == ("POST", "http://localhost:7071/api/orders?page=1&q=%C3%BC")
    assert dict(request.params) == {"page": "1", "q": "ü"}
    assert dict(request.route_params) == {"id": "7"}
    assert request.get_json() == {"a": [1]}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["host"] == "localhost:7071"


def test_a_request_has_one_body():
    assert events.http_request("POST", form={"name": "Ada"}).form["name"] == "Ada"
    assert events.http_request("POST", body=b"\xff\x00").get_body() == b"\xff\x00"
    assert events.http_request("POST", json=None).get_body() == b""
    with pytest.raises(TypeError):
        events.http_request("POST", json={}, body="x")


def test_a_message_is_complete():
    message = events.queue_message({"id": 1}, dequeue_count=3, insertion_time=TIME)
    assert isinstance(message, func.QueueMessage)
    assert (message.get_json(), message.dequeue_count, message.pop_receipt) == ({"id": 1}, 3, "receipt")
    assert message.insertion_time == TIME
    assert message.time_next_visible == TIME + timedelta(minutes=10)
    assert message.expiration_time > TIME
    assert len(message.id) == 36 and message.id != events.queue_message("x").id
    assert events.queue_message(b"\xff").get_body() == b"\xff"
    assert events.queue_message("text").get_body() == b"text"


def test_a_blob_is_complete():
    stream = events.blob("grüße", name="images/a b.txt", metadata={"owner": "ada"}, content_type="text/plain")
    assert isinstance(stream, func.InputStream)
    assert (stream.name, stream.length) == ("images/a b.txt", 7)
    assert stream.uri.endswith("/images/a%20b.txt")
    assert stream.metadata == {"owner": "ada"}
    assert stream.blob_properties["ContentType"] == "text/plain"
    assert stream.read(2) + stream.read() == "grüße".encode()


def test_a_timer_knows_its_schedule():
    timer = events.timer(past_due=True, last=TIME, next=TIME + timedelta(days=1))
    assert timer.past_due is True
    assert timer.schedule_status["Last"] == "2031-05-06T07:08:09+00:00"
    assert timer.schedule_status["Next"] == "2031-05-07T07:08:09+00:00"
    assert timer.schedule == {"AdjustForDST": True}
    assert events.timer().schedule_status["Last"].startswith("0001-")


def test_a_time_without_a_zone_is_utc():
    assert events.queue_message("x", insertion_time=TIME.replace(tzinfo=None)).insertion_time == TIME
    there = TIME.astimezone(timezone(timedelta(hours=5)))
    assert events.queue_message("x", insertion_time=there).insertion_time == TIME


def test_documents_have_ids_and_system_properties():
    found = events.documents([{"id": "1", "price": 4}, {"price": 5}])
    assert isinstance(found, func.DocumentList)
    assert [document["price"] for document in found] == [4, 5]
    assert found[0]["id"] == "1" and found[1]["id"]
    assert found[0]["_ts"] == int(events.NOW.timestamp())
    assert list(events.documents({"id": "1"}, system_properties=False)[0].keys()) == ["id"]


def test_event_grid_events_of_both_schemas():
    event = events.event_grid_event({"a": 1}, event_type="Shop.Sold", event_time=TIME)
    assert isinstance(event, func.EventGridEvent)
    assert (event.get_json(), event.event_type, event.event_time) == ({"a": 1}, "Shop.Sold", TIME)
    if hasattr(func, "CloudEvent"):
        cloud = events.cloud_event({"a": 1}, type="shop.sold", time=TIME)
        assert (cloud.get_json(), cloud.type, cloud.time) == ({"a": 1}, "shop.sold", TIME)
    else:
        with pytest.raises(SdkMissing):
            events.cloud_event()


def test_event_hub_events_one_and_many():
    event = events.event_hub_event({"a": 1}, partition_key="p", sequence_number=7, enqueued_time=TIME,
                                   iothub={"connection-device-id": "d1"})
    assert isinstance(event, func.EventHubEvent)
    assert (event.get_body(), event.partition_key, event.sequence_number) == (b'{"a": 1}', "p", 7)
    assert event.enqueued_time == TIME
    assert event.iothub_metadata == {"connection-device-id": "d1"}
    assert event.metadata["SequenceNumber"] == 7
    many = events.event_hub_events(["a", b"b"], first_sequence_number=5)
    assert [(one.get_body(), one.sequence_number) for one in many] == [(b"a", 5), (b"b", 6)]


def test_a_service_bus_message_is_complete():
    message = events.service_bus_message({"a": 1}, session_id="s", properties={"colour": "red"}, enqueued_time=TIME)
    assert isinstance(message, func.ServiceBusMessage)
    assert (message.get_body(), message.session_id, message.delivery_count) == (b'{"a": 1}', "s", 1)
    assert message.content_type == "application/json"
    assert message.application_properties == message.user_properties == {"colour": "red"}
    assert message.enqueued_time_utc == TIME
    assert message.expires_at_utc == TIME + timedelta(days=14)


def test_a_kafka_event_is_complete():
    event = events.kafka_event("x", key="k", topic="orders", partition=2, offset=9, headers={"h": "v"})
    assert isinstance(event, func.KafkaEvent)
    assert (event.get_body(), event.key, event.topic, event.partition, event.offset) == (b"x", "k", "orders", 2, 9)
    assert event.headers == [{"Key": "h", "Value": "v"}]


def test_rows():
    assert isinstance(events.sql_rows([{"id": 1}]), func.SqlRowList)
    assert events.sql_rows({"id": 1})[0]["id"] == 1
    assert isinstance(events.mysql_rows([{"id": 2}]), func.MySqlRowList)
    assert events.sql_changes([{"id": 1}], operation=2) == '[{"Operation": 2, "Item": {"id": 1}}]'
    assert events.entity("a", "1", price=4) == '{"PartitionKey": "a", "RowKey": "1", "price": 4}'
    assert events.entities([{"PartitionKey": "a", "RowKey": "1"}]) == '[{"PartitionKey": "a", "RowKey": "1"}]'
    with pytest.raises(ValueError):
        events.entities([{"RowKey": "1"}])


def test_warmup_has_the_type_of_the_sdk():
    assert isinstance(events.warmup(), func.warmup.WarmUpContext)


def test_an_output_shows_what_was_set():
    out = events.out()
    assert isinstance(out, func.Out) and not out.is_set
    out.set("a")
    out.set("b")
    assert (out.value, out.get(), out.is_set) == ("b", "b", True)


def test_a_context_is_one_of_the_sdk():
    context = events.context(function_name="cook", retry_count=1, max_retry_count=3)
    assert isinstance(context, func.Context)
    assert (context.function_name, context.retry_context.retry_count, context.retry_context.max_retry_count) == ("cook", 1, 3)
    assert context.thread_local_storage.invocation_id == context.invocation_id
    assert len(context.trace_context.trace_parent) == 55 and context.trace_context.Traceparent
    assert (context.cancelled, events.context(cancelled=True).cancelled) == (False, True)
    # Each attribute that the SDK promises is there.
    missing = [name for name in func.Context.__abstractmethods__ if not hasattr(context, name)]
    assert missing == []
