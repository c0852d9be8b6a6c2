"""Triggers and bindings that hand over whole JSON values: change feeds, Event Grid, tables, warmup."""

import json
import unittest

from harness import NOTHING, WorkerTest, json_data, request, string

EVENT = {"id": "1", "topic": "/shop", "subject": "cat.png", "eventType": "Stored", "dataVersion": "1",
         "eventTime": "2026-10-25T08:00:00.1234567Z", "metadataVersion": "1", "data": {"url": "https://example.org/"}}


class Triggers(WorkerTest):
    APP = """
        import json

        @app.cosmos_db_trigger(arg_name="changes", connection="c", database_name="shop", container_name="orders")
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def changed(changes: func.DocumentList, out: func.Out[str]) -> None:
            out.set(json.dumps([type(changes[0]).__name__, [change["id"] for change in changes], changes[0]["price"]]))

        @app.cosmos_db_trigger(arg_name="changes", connection="c", database_name="shop", container_name="orders")
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def changed_text(changes: str, out: func.Out[str]) -> None:
            out.set(json.dumps(len(json.loads(changes))))

        @app.event_grid_trigger(arg_name="event")
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def stored(event: func.EventGridEvent, out: func.Out[str]) -> None:
            out.set(json.dumps([event.id, event.topic, event.subject, event.event_type, event.data_version,
                                str(event.event_time), event.get_json()]))

        @app.event_grid_trigger(arg_name="event")
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def stored_text(event: str, out: func.Out[str]) -> None:
            out.set(event)

        @app.warm_up_trigger(arg_name="warm")
        def warm(warm) -> None:
            print(type(warm).__name__)

        @app.route()
        @app.table_input(arg_name="note", table_name="Notes", connection="c", partition_key="a", row_key="b")
        def noted(req: func.HttpRequest, note: str) -> str:
            return "nothing" if not note else json.loads(note)["Text"]

        @app.route()
        @app.table_output(arg_name="note", table_name="Notes", connection="c")
        def keep(req: func.HttpRequest, note: func.Out[str]) -> str:
            note.set(json.dumps({"RowKey": "1"}))
            return "kept"

        @app.generic_trigger(arg_name="message", type="queueTrigger", queueName="q", connection="c")
        @app.generic_output_binding(arg_name="row", type="table", tableName="Notes", connection="c")
        def generic(message: func.QueueMessage, row: func.Out[str]) -> None:
            row.set(json.dumps({"PartitionKey": "a", "RowKey": message.get_body().decode()}))
    """

    def setUp(self):
        self.worker_process = self.good_app(self.APP)

    def check(self, function, inputs, output, expected, **more):
        answer = self.worker_process.call(function, inputs, **more)
        self.assertTrue(answer.ok, answer.error)
        self.assertEqual(answer.json(output) if output != "$return" else answer.text(), expected)

    def test_a_change_feed_is_a_list_of_documents(self):
        changes = [{"id": "1", "price": 2.5, "_ts": 1}, {"id": "2", "price": 3}]
        self.check("changed", {"changes": json_data(changes)}, "out", ["Document", ["1", "2"], 2.5])
        self.check("changed", {"changes": string(json.dumps(changes))}, "out", ["Document", ["1", "2"], 2.5])
        self.check("changed_text", {"changes": json_data(changes)}, "out", 2)

    def test_an_event_of_event_grid(self):
        metadata = {"data": ["json", json.dumps(EVENT["data"])]}
        self.check("stored", {"event": json_data(EVENT)}, "out",
                   ["1", "/shop", "cat.png", "Stored", "1", "2026-10-25 08:00:00.123456+00:00", EVENT["data"]],
                   metadata=metadata)
        self.check("stored_text", {"event": json_data(EVENT)}, "out", EVENT)

    def test_warming_up(self):
        answer = self.worker_process.call("warm", {"warm": json_data({})})
        self.assertTrue(answer.ok, answer.error)
        self.assertIn("WarmUpContext", answer.messages("stdout"))

    def test_entities_are_json_text(self):
        entity = {"PartitionKey": "a", "RowKey": "b", "Text": "hello"}
        self.check("noted", {"req": request(), "note": json_data(entity)}, "$return", "hello")
        self.check("noted", {"req": request(), "note": NOTHING}, "$return", "nothing")
        self.check("keep", {"req": request()}, "note", {"RowKey": "1"})

    def test_generic_bindings_of_known_types(self):
        metadata = {"Id": ["string", "m"], "DequeueCount": ["json", "1"], "PopReceipt": ["string", "p"],
                    "ExpirationTime": ["json", '"2026-11-01T00:00:00+00:00"'],
                    "InsertionTime": ["json", '"2026-10-25T00:00:00+00:00"'],
                    "NextVisibleTime": ["json", '"2026-10-25T00:10:00+00:00"']}
        self.check("generic", {"message": string("7")}, "row", {"PartitionKey": "a", "RowKey": "7"}, metadata=metadata)
        declared = {function["name"]: function["bindings"] for function in self.worker_process.loaded["functions"]}
        kinds = {binding["type"]: binding for binding in declared["generic"]}
        self.assertEqual(kinds["queueTrigger"]["queueName"], "q")
        self.assertEqual(kinds["table"]["tableName"], "Notes")


if __name__ == "__main__":
    unittest.main()
