"""Values in and out: through the app's own converters, for every annotation."""

import json
import os
import sys
import textwrap
import unittest

from harness import NOTHING, WorkerTest, collection, json_data, request, string

QUEUE_METADATA = {
    "QueueTrigger": ["string", "hello"],
    "DequeueCount": ["json", "3"],
    "ExpirationTime": ["json", '"2026-11-01T00:00:00+00:00"'],
    "Id": ["string", "6d"],
    "InsertionTime": ["json", '"2026-10-25T00:00:00+00:00"'],
    "NextVisibleTime": ["json", '"2026-10-25T00:10:00+00:00"'],
    "PopReceipt": ["string", "AgAA"],
}


class Http(WorkerTest):
    APP = """
        import json

        @app.route(route="echo/{id}")
        def echo(req: func.HttpRequest) -> func.HttpResponse:
            text = json.dumps({
                "method": req.method, "url": req.url, "agent": req.headers["User-Agent"],
                "query": dict(req.params), "route": dict(req.route_params), "body": req.get_body().decode(),
            })
            return func.HttpResponse(text, status_code=201, mimetype="application/json", headers={"X-A": "b"})

        @app.route()
        def parsed(req: func.HttpRequest) -> str:
            return json.dumps(req.get_json()["a"])

        @app.route()
        def form(req: func.HttpRequest) -> str:
            return req.form["name"]

        @app.route()
        def text(req: func.HttpRequest) -> str:
            return "gr\\u00fc\\u00df"

        @app.route()
        def raw(req: func.HttpRequest) -> bytes:
            return b"\\x00\\xff"

        @app.route()
        def nothing(req: func.HttpRequest) -> None:
            pass

        @app.route()
        def size(req: func.HttpRequest) -> func.HttpResponse:
            return func.HttpResponse(req.get_body() * 2, mimetype="application/octet-stream")

        @app.route()
        def cookies(req: func.HttpRequest) -> func.HttpResponse:
            response = func.HttpResponse("x")
            for text in json.loads(req.get_body()):
                response.headers.add("Set-Cookie", text)
            return response

        @app.route()
        def repeated(req: func.HttpRequest) -> func.HttpResponse:
            response = func.HttpResponse("x", headers={"Content-Type": "text/css"})
            response.headers.add("Link", "a")
            response.headers.add("Link", "b")
            return response

        @app.route()
        def wrong(req: func.HttpRequest):
            return {"a": 1}

        @app.route()
        def surrogate(req: func.HttpRequest):
            return func.HttpResponse("x", headers={"X-A": "a\\ud800b"})

        @app.route()
        def bad_status(req: func.HttpRequest):
            return func.HttpResponse("x", status_code="abc")
    """

    def setUp(self):
        self.worker_process = self.good_app(self.APP)

    def check(self, function, kind, payload, **arguments):
        answer = self.worker_process.call(function, {"req": request(**arguments)})
        self.assertTrue(answer.ok, answer.error)
        found = answer.outputs["$return"]
        self.assertEqual((found[0], found[2]), (kind, payload))
        return found[1]

    def test_request_and_response(self):
        answer = self.worker_process.call("echo", {"req": request(
            "POST", "http://h/api/echo/7?a=1", {"user-agent": "x", "host": "h"}, {"a": "1"}, {"id": "7"}, b"body")})
        kind, value, _ = answer.outputs["$return"]
        self.assertEqual((kind, value["status"]), ("http", 201))
        self.assertEqual(value["headers"], [["X-A", "b"], ["content-type", "application/json"]])
        self.assertEqual(answer.json(), {
            "method": "POST", "url": "http://h/api/echo/7?a=1", "agent": "x", "query": {"a": "1"},
            "route": {"id": "7"}, "body": "body"})
        self.assertGreaterEqual(answer.header["user_us"], 0)

    def test_body_kinds(self):
        self.check("parsed", "string", b"[1]", body=b'{"a": [1]}')
        self.check("form", "string", b"Ann", body=b"name=Ann",
                   headers={"content-type": "application/x-www-form-urlencoded"})
        self.check("text", "string", "grüß".encode())
        self.check("raw", "bytes", b"\x00\xff")
        self.check("nothing", "none", b"")

    def test_body_larger_than_any_buffer(self):
        body = bytes(range(256)) * 12_000
        self.check("size", "http", body * 2, body=body)
        # What follows a large frame is read rightly too.
        self.check("size", "http", b"abab", body=b"ab")

    def test_invalid_json_is_the_apps_error(self):
        answer = self.worker_process.call("parsed", {"req": request(body=b"{")})
        self.assertEqual(answer.error["kind"], "ValueError")
        self.assertIn("JSON", answer.error["message"])

    def test_cookies(self):
        sent = ["k=v; Expires=Sun, 21 Oct 2035 07:28:00 GMT; Max-Age=60; Domain=example.org; Path=/; Secure; "
                "HttpOnly; SameSite=None", "k2=v2", 'k3="a b"', "", "odd=1; Partitioned; Priority=High"]
        value = self.check("cookies", "http", b"x", body=json.dumps(sent).encode())
        found = [text for name, text in value["headers"] if name == "set-cookie"]
        self.assertEqual(found[:3], [
            "k=v; expires=Sun, 21 Oct 2035 07:28:00 GMT; max-age=60; domain=example.org; path=/; secure; "
            "samesite=none; httponly", "k2=v2", "k3=a%20b"])
        self.assertEqual(len(found), 4)
        self.assertIn("odd=1", found[3])

    def test_cookie_with_a_bad_expiry_is_an_error(self):
        answer = self.worker_process.call("cookies", {"req": request(
            body=json.dumps(["k=v; Expires=Xyz, 99 Abc 2035 07:28:00 GMT"]).encode())})
        if answer.ok:
            # Python's parser took the cookie apart as far as it could; nothing may be lost.
            names = [text for name, text in answer.outputs["$return"][1]["headers"] if name == "set-cookie"]
            self.assertIn("k=v", names[0])
        else:
            self.assertIn("is not a date", answer.error["message"])

    def test_repeated_headers_are_kept(self):
        value = self.check("repeated", "http", b"x")
        self.assertEqual(value["headers"], [["Content-Type", "text/css"], ["Link", "a"], ["Link", "b"]])

    def test_wrong_values_are_errors(self):
        for function, word in (("wrong", "json.dumps"), ("bad_status", "status_code")):
            answer = self.worker_process.call(function)
            self.assertFalse(answer.ok)
            self.assertIn(word, answer.error["message"])

    def test_text_that_no_encoding_takes(self):
        value = self.check("surrogate", "http", b"x")
        self.assertEqual(value["headers"][0], ["X-A", "a\\ud800b"])


class Dates(unittest.TestCase):
    """The short cut for dates gives what the SDK gives."""

    TEXTS = ("2026-10-25T00:10:00+00:00", "9999-12-31T23:59:59+00:00", "2026-10-25T00:10:00.123456Z",
             "2026-10-25T00:10:00.1234567+00:00", "10/25/2026 00:10:00Z", "2026-13-25T00:10:00+00:00", "", None)

    def test_same_as_the_sdk(self):
        import azure.functions.meta as meta

        sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
        try:
            from ingle_worker import sdk
        finally:
            del sys.path[0]

        def results():
            found = []
            for text in self.TEXTS:
                try:
                    found.append(meta.InConverter._parse_datetime(text))
                except ValueError as error:
                    found.append(str(error))
            return found

        kept = meta._BaseConverter.__dict__["_parse_datetime"]
        before = results()
        try:
            sdk._read_usual_dates_fast(meta)
            self.assertIsNot(meta._BaseConverter.__dict__["_parse_datetime"], kept)
            self.assertEqual(results(), before)
        finally:
            meta._BaseConverter._parse_datetime = kept


class Inputs(WorkerTest):
    APP = """
        import json, typing
        from typing import List, Dict, Optional

        def show(value):
            print(json.dumps(value))

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def message(msg: func.QueueMessage):
            show([msg.id, msg.get_body().decode(), msg.dequeue_count, msg.pop_receipt, msg.expiration_time.year,
                  msg.insertion_time.isoformat(), msg.time_next_visible.minute])

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def text(msg: str):
            show(msg)

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def raw(msg: bytes):
            show([type(msg).__name__, len(msg)])

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def mapping(msg: dict):
            show(msg["a"])

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def items(msg: List[str]):
            show(msg)

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def optional(msg: Optional[func.QueueMessage]):
            show(msg.get_json())

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def unannotated(msg):
            show(msg.get_body().decode())

        @app.route()
        @app.cosmos_db_input(arg_name="docs", connection="c", database_name="d", container_name="n")
        def documents(req: func.HttpRequest, docs: func.DocumentList):
            show(None if docs is None else [dict(doc) for doc in docs])
            return ""

        @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
        def tick(timer: func.TimerRequest):
            show([timer.past_due, timer.schedule, timer.schedule_status])

        @app.timer_trigger(arg_name="timer", schedule="0 * * * * *")
        def tick_text(timer: str):
            show(json.loads(timer)["IsPastDue"])

        @app.event_hub_message_trigger(arg_name="events", connection="c", event_hub_name="e", cardinality="many")
        def hub(events: List[func.EventHubEvent]):
            show([event.get_body().decode() for event in events])

        @app.generic_trigger(arg_name="thing", type="rabbitMQTrigger")
        def generic(thing):
            show(thing)
            return {"returned": [1]}

        @app.generic_trigger(arg_name="thing", type="rabbitMQTrigger")
        def strange(thing):
            return True if thing == "true" else float(thing)
    """

    def setUp(self):
        self.worker_process = self.good_app(self.APP)

    def check(self, function, inputs, printed, metadata=None):
        answer = self.worker_process.call(function, inputs, metadata=metadata or {})
        self.assertTrue(answer.ok, answer.error)
        self.assertEqual([json.loads(message) for message in answer.messages("stdout")], [printed])
        return answer

    def test_queue_messages(self):
        self.check("message", {"msg": string("hello")}, [
            "6d", "hello", 3, "AgAA", 2026, "2026-10-25T00:00:00+00:00", 10], QUEUE_METADATA)
        self.check("text", {"msg": string("hello")}, "hello")
        self.check("raw", {"msg": ("bytes", None, b"\x00\xff")}, ["bytes", 2])
        self.check("optional", {"msg": string("[1]")}, [1])
        self.check("unannotated", {"msg": string("a")}, "a")

    def test_json_into_dict_and_list(self):
        self.check("mapping", {"msg": string('{"a": {"b": 1}}')}, {"b": 1})
        self.check("items", {"msg": string('["x"]')}, ["x"])
        for text, word in (("no", "not JSON"), ("[]", "is a list")):
            answer = self.worker_process.call("mapping", {"msg": string(text)})
            self.assertIn(word, answer.error["message"])

    def test_documents(self):
        self.check("documents", {"req": request(), "docs": json_data([{"id": "1"}])}, [{"id": "1"}])
        self.check("documents", {"docs": json_data({"id": "1"}), "req": request(body=b"xyz")}, [{"id": "1"}])
        self.check("documents", {"req": request(), "docs": NOTHING}, None)
        self.check("documents", {"req": request()}, None)

    def test_timer_events_and_generic(self):
        status = {"Last": "0001-01-01T00:00:00+00:00", "Next": "2026-10-25T00:05:00+00:00",
                  "LastUpdated": "2026-10-25T00:00:00+00:00"}
        timer = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": True}
        metadata = {"TimerTrigger": ["string", "10/25/2026 00:00:00"]}
        self.check("tick", {"timer": json_data(timer)}, [True, {"AdjustForDST": True}, status], metadata)
        self.check("tick_text", {"timer": json_data(timer)}, True, metadata)
        self.check("tick", {"timer": json_data({**timer, "ScheduleStatus": None, "IsPastDue": False})},
                   [False, {"AdjustForDST": True}, {}], metadata)
        self.check("hub", {"events": collection("collection_string", [b"a", b"", b"b"])}, ["a", "", "b"],
                   {"SystemPropertiesArray": ["json", "[{},{},{}]"]})
        answer = self.check("generic", {"thing": json_data({"a": 1})}, '{"a": 1}')
        self.assertEqual(answer.outputs["$return"][0], "json")
        self.assertEqual(answer.json(), {"returned": [1]})
        self.check("generic", {"thing": NOTHING}, None)

    def test_numbers_that_generic_triggers_return(self):
        for text, expected in (("true", ("int", 1, b"")), ("1.5", ("double", 1.5, b"")), ("nan", ("string", None, b"nan"))):
            answer = self.worker_process.call("strange", {"thing": string(text)})
            self.assertEqual(answer.outputs["$return"], expected)

    def test_data_that_the_converter_refuses(self):
        answer = self.worker_process.call("message", {"msg": json_data({})}, metadata=QUEUE_METADATA)
        self.assertEqual(answer.error["kind"], "TypeError")
        self.assertIn("queueTrigger", answer.error["message"])


class Outputs(WorkerTest):
    APP = """
        import json
        from typing import List

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def last_wins(req: func.HttpRequest, out: func.Out[str]) -> str:
            out.set("first")
            out.set("second")
            return out.get()

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def never_set(req: func.HttpRequest, out: func.Out[func.QueueMessage]) -> str:
            return "x"

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def many(req: func.HttpRequest, out: func.Out[List[str]]) -> str:
            out.set(["a", "b"])
            return isinstance(out, func.Out) and "Out" or "no"

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def message(req: func.HttpRequest, out: func.Out[func.QueueMessage]) -> str:
            out.set(func.QueueMessage(id="1", body="b"))
            return ""

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def mapping(req: func.HttpRequest, out: func.Out[dict]) -> str:
            out.set({"a": 1})
            return ""

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def raw(req: func.HttpRequest, out: func.Out[bytes]) -> str:
            out.set(b"\\xff")
            return ""

        @app.route()
        @app.cosmos_db_output(arg_name="doc", connection="c", database_name="d", container_name="n")
        def document(req: func.HttpRequest, doc: func.Out[func.Document]) -> str:
            doc.set(func.Document.from_dict({"id": "1"}))
            return ""

        @app.route()
        @app.cosmos_db_output(arg_name="docs", connection="c", database_name="d", container_name="n")
        def documents(req: func.HttpRequest, docs: func.Out[func.DocumentList]) -> str:
            docs.set(func.DocumentList([func.Document.from_dict({"id": "1"}), func.Document.from_dict({"id": "2"})]))
            return ""

        @app.route()
        @app.cosmos_db_output(arg_name="docs", connection="c", database_name="d", container_name="n")
        def plain_documents(req: func.HttpRequest, docs: func.Out) -> str:
            docs.set([{"id": "1"}])
            return ""

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        @app.queue_output(arg_name="$return", queue_name="r", connection="c")
        def returned(msg: str) -> str:
            return msg + "!" if msg else None

        @app.queue_trigger(arg_name="msg", queue_name="q", connection="c")
        def no_place(msg: str):
            return "lost"

        LISTS = {"texts": ["a", "b"], "bytes": [b"a", b"\\xff\\0"], "mappings": [{"a": 1}, {"b": 2}],
                 "mixed": ["a", {"b": 2}], "empty": [],
                 "messages": [func.QueueMessage(id="1", body="b"), func.QueueMessage(id="2", body="c")]}

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def listed(req: func.HttpRequest, out: func.Out[List[str]]) -> str:
            out.set(LISTS[req.params["which"]])
            return ""

        @app.route()
        @app.generic_output_binding(arg_name="out", type="somethingElse")
        def listed_generic(req: func.HttpRequest, out: func.Out[list]) -> str:
            out.set(LISTS[req.params["which"]])
            return ""

        @app.route()
        @app.cosmos_db_output(arg_name="docs", connection="c", database_name="d", container_name="n")
        def listed_documents(req: func.HttpRequest, docs: func.Out[List[func.Document]]) -> str:
            docs.set([func.Document.from_dict({"id": "1"}), {"id": "2"}])
            return ""

        @app.route()
        @app.queue_output(arg_name="out", queue_name="q", connection="c")
        def wrong(req: func.HttpRequest, out: func.Out[str]) -> str:
            out.set(object())
            return ""
    """

    def setUp(self):
        self.worker_process = self.good_app(self.APP)

    def check(self, function, name, kind, payload, inputs=None):
        answer = self.worker_process.call(function, inputs)
        self.assertTrue(answer.ok, answer.error)
        found = answer.outputs[name]
        self.assertEqual(found[0], kind)
        self.assertEqual(json.loads(found[2]) if kind == "json" else found[2], payload)
        return answer

    def test_outputs(self):
        self.assertEqual(self.check("last_wins", "out", "string", b"second").text(), "second")
        self.assertEqual(self.check("many", "out", "json", ["a", "b"]).text(), "Out")
        self.check("message", "out", "json", {"id": "1", "body": "b"})
        self.check("mapping", "out", "json", {"a": 1})
        self.check("raw", "out", "bytes", b"\xff")
        self.check("document", "doc", "json", [{"id": "1"}])
        self.check("documents", "docs", "json", [{"id": "1"}, {"id": "2"}])
        self.check("plain_documents", "docs", "json", [{"id": "1"}])
        self.assertEqual(list(self.worker_process.call("never_set").outputs), ["$return"])

    def test_dynamic_lists(self):
        """What a function gives as a list becomes one message or document each: the kinds that a list can be of."""

        def check(function, which, kind, payload, name="out"):
            self.check(function, name, kind, payload, {"req": request(query={"which": which})})

        for function in ("listed", "listed_generic"):
            check(function, "texts", "json", ["a", "b"])
            check(function, "mappings", "json", [{"a": 1}, {"b": 2}])
            check(function, "mixed", "json", ["a", {"b": 2}])
            check(function, "empty", "json", [])
            check(function, "bytes", "collection_bytes", b"a\xff\0")
        check("listed", "messages", "json", [{"id": "1", "body": "b"}, {"id": "2", "body": "c"}])
        check("listed_documents", "", "json", [{"id": "1"}, {"id": "2"}], "docs")

    def test_dynamic_lists_of_function_json(self):
        """The same in the other model, with annotations that say less."""
        bindings = [{"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous"},
                    {"type": "queue", "direction": "out", "name": "out", "queueName": "q"},
                    {"type": "queueTrigger", "direction": "in", "name": "msg", "queueName": "q", "dataType": "binary"}]
        text = textwrap.dedent("""\
            import typing
            import azure.functions as func

            def main(req, out: func.Out[typing.List[bytes]]):
                out.set([b"1", b"22"])

            def take(msg: bytes) -> None:
                print("%s %r" % (type(msg).__name__, msg))

            def wrapped(msg: func.QueueMessage) -> None:
                print(repr(msg.get_body()))
            """)
        functions = [
            {"name": name, "directory": "f", "script_file": "f/__init__.py", "entry_point": name, "bindings": chosen}
            for name, chosen in (("main", bindings[:2]), ("take", bindings[2:]), ("wrapped", bindings[2:]))]
        worker = self.worker({"f/__init__.py": text})
        self.assertEqual(worker.load("azure-v1", functions=functions)["problems"], [])
        answer = worker.call("main")
        self.assertEqual(answer.outputs["out"], ("collection_bytes", [1, 2], b"122"))
        binary = {"msg": ("bytes", None, b"\xff\0")}
        self.assertEqual(worker.call("take", binary).messages("stdout"), ["bytes b'\\xff\\x00'"])
        self.assertEqual(worker.call("wrapped", binary).messages("stdout"), ["b'\\xff\\x00'"])

    def test_returned_values(self):
        self.check("returned", "$return", "string", b"a!", {"msg": string("a")})
        self.check("returned", "$return", "none", b"", {"msg": string("")})
        answer = self.worker_process.call("no_place", {"msg": string("a")})
        self.assertIn("without a $return binding returned", answer.error["message"])
        answer = self.worker_process.call("wrong")
        self.assertIn("'out'", answer.error["message"])


class ContextArgument(WorkerTest):
    def test_all_fields(self):
        worker = self.good_app("""
            import json

            @app.route()
            def fields(req: func.HttpRequest, context: func.Context) -> str:
                trace, retry = context.trace_context, context.retry_context
                return json.dumps([
                    context.invocation_id, context.function_name, context.function_directory,
                    trace.trace_parent, trace.Traceparent, trace.trace_state, trace.Tracestate, trace.attributes,
                    retry.retry_count, retry.max_retry_count, retry.exception,
                    context.thread_local_storage.invocation_id == context.invocation_id, context.cancelled,
                    type(context).__name__,
                ])
            """)
        where, identity = worker.begin("fields", {"req": request()}, trace=["00-a-b-01", "k=v"], retry=[1, 3])
        answer = worker.finish((where, identity))
        self.assertEqual(answer.json(), [
            identity, "fields", worker.root, "00-a-b-01", "00-a-b-01", "k=v", "k=v", {}, 1, 3, None, True, False,
            "Context"])
        answer = worker.call("fields")
        self.assertEqual(answer.json()[8:10], [0, 0])

    def test_the_attempt_before(self):
        worker = self.good_app("""
            import json

            @app.route()
            def why(req: func.HttpRequest, context: func.Context) -> str:
                exception = context.retry_context.exception
                if exception is None:
                    return json.dumps(None)
                return json.dumps([exception.type, exception.message, exception.stack_trace, str(exception),
                                   exception.is_user_exception, context.retry_context.rpc_exception is exception])
            """)

        def call(retry):
            return worker.finish(worker.begin("why", {"req": request()}, retry=retry)).json()

        self.assertIsNone(call([0, 3]))
        failure = {"kind": "ValueError", "message": "kaput", "traceback": "File …"}
        self.assertEqual(call([1, -1, failure]), [
            "ValueError", "ValueError: kaput", "File …", "ValueError: kaput", True, True])


BLOB_METADATA = {
    "BlobTrigger": ["string", "images/in/a.txt"],
    "Uri": ["json", '"ingle://blob/images/in/a.txt"'],
    "Properties": ["json", '{"BlobType": "BlockBlob", "ContentLength": 5, "Length": 5, '
                           '"ContentType": "text/plain", "ETag": "0x1"}'],
    "Metadata": ["json", '{"by": "Ann"}'],
    "name": ["string", "a"],
}


class Blobs(WorkerTest):
    def trigger(self, annotation, body, extra=""):
        return self.good_app("""
            import json, os, pathlib, typing

            @app.blob_trigger(arg_name="blob", path="images/in/{{name}}.txt", connection="AzureWebJobsStorage"{extra})
            @app.queue_output(arg_name="$return", queue_name="out", connection="AzureWebJobsStorage")
            def f(blob{annotation}) -> str:
                return json.dumps({body})
            """.format(annotation=annotation, body=body, extra=extra))

    def check(self, annotation, body, given, expected, extra=""):
        answer = self.trigger(annotation, body, extra).call("f", {"blob": given}, metadata=BLOB_METADATA)
        self.assertTrue(answer.ok, answer.error)
        self.assertEqual(answer.json(), expected)

    def test_a_stream_knows_all_about_its_blob(self):
        body = ("[blob.name, blob.length, blob.uri, blob.blob_properties['ContentType'], blob.metadata['by'], "
                "blob.read(2).decode(), blob.read().decode(), blob.readable()]")
        expected = ["images/in/a.txt", 5, "ingle://blob/images/in/a.txt", "text/plain", "Ann", "he", "llo", True]
        for annotation in (": func.InputStream", ""):
            self.check(annotation, body, ("bytes", None, b"hello"), expected)

    def test_plain_annotations(self):
        both = "[type(blob).__name__, blob if isinstance(blob, str) else blob.decode()]"
        self.check(": bytes", both, ("bytes", None, b"hello"), ["bytes", "hello"])
        self.check(": str", both, ("bytes", None, "\ufeffgr\u00fc\u00df".encode()), ["str", "gr\u00fc\u00df"])
        self.check(": str", both, string("hello"), ["str", "hello"])
        self.check(": typing.Optional[bytes]", both, ("bytes", None, b"hello"), ["bytes", "hello"])

    def test_text_that_is_none_is_an_error_and_not_damaged(self):
        worker = self.trigger(": str", "[blob]")
        answer = worker.call("f", {"blob": ("bytes", None, b"ab\xff")}, metadata=BLOB_METADATA)
        self.assertEqual(answer.error["kind"], "ValueError")
        self.assertIn("byte 2", answer.error["message"])

    def test_a_file_is_a_path(self):
        body = "[type(blob).__name__.replace('Posix', ''), os.fspath(blob)]"
        for annotation, kind in ((": str", "str"), ("", "str"), (": pathlib.Path", "Path"), (": os.PathLike", "Path")):
            self.check(annotation, body, string("/tmp/a.txt"), [kind, "/tmp/a.txt"], ', mode="file"')
        worker = self.app("""
            import azure.functions as func
            app = func.FunctionApp()

            @app.blob_trigger(arg_name="blob", path="images/{name}", connection="AzureWebJobsStorage", mode="file")
            def f(blob: func.InputStream) -> None:
                pass
            """)
        problem = worker.loaded["problems"][0]
        self.assertEqual(problem["code"], "E0210")
        self.assertIn("gives the path of a file", problem["message"])

    def test_inputs_and_outputs(self):
        worker = self.good_app("""
            @app.route()
            @app.blob_input(arg_name="old", path="images/a", connection="AzureWebJobsStorage")
            @app.blob_output(arg_name="new", path="images/b", connection="AzureWebJobsStorage")
            def f(req: func.HttpRequest, old: func.InputStream, new: func.Out[bytes]) -> str:
                if old is None:
                    return "none"
                new.set(old.read() + b"\\xff")
                return str(old.name)

            @app.route()
            @app.blob_output(arg_name="new", path="images/b", connection="AzureWebJobsStorage")
            def text(req: func.HttpRequest, new: func.Out[str]) -> str:
                new.set("first")
                new.set("gr\u00fc\u00df")
                return ""

            @app.route()
            @app.blob_output(arg_name="new", path="images/b", connection="AzureWebJobsStorage")
            def stream(req: func.HttpRequest, new: func.Out[func.InputStream]) -> str:
                import io
                new.set(io.BytesIO(b"from a stream"))
                return ""
            """)
        answer = worker.call("f", {"req": request(), "old": NOTHING})
        self.assertEqual((answer.text(), answer.outputs.get("new", NOTHING)), ("none", NOTHING))
        answer = worker.call("f", {"req": request(), "old": ("bytes", None, b"\x00old")})
        self.assertEqual(answer.outputs["new"], ("bytes", None, b"\x00old\xff"))
        self.assertEqual(worker.call("text").outputs["new"], ("string", None, "gr\u00fc\u00df".encode()))
        self.assertEqual(worker.call("stream").outputs["new"], ("bytes", None, b"from a stream"))


class WebApplications(WorkerTest):
    def test_asgi(self):
        asgi = self.app("""
            import azure.functions as func

            async def asgi(scope, receive, send):
                if scope["type"] == "lifespan":
                    assert (await receive())["type"] == "lifespan.startup"
                    await send({"type": "lifespan.startup.complete"})
                    assert (await receive())["type"] == "lifespan.shutdown"
                    print("shut down")
                    await send({"type": "lifespan.shutdown.complete"})
                    return
                await send({"type": "http.response.start", "status": 202, "headers": [(b"x-a", b"b")]})
                await send({"type": "http.response.body", "body": scope["path"].encode()})

            app = func.AsgiFunctionApp(asgi)
            """)
        self.assertEqual(asgi.loaded["problems"], [])
        self.assertTrue(asgi.loaded["functions"][0]["is_async"])
        answer = asgi.call_async("http_app_func", {"req": request(url="http://h/api/x")})
        self.assertEqual(answer.outputs["$return"][1]["status"], 202)
        asgi.control.send({"type": "stop"})
        asgi.control.receive_until("log", message="shut down")

    def test_an_asgi_app_starts_once(self):
        """Requests that come together wait for the same start; after a failed one the next request tries again."""
        worker = self.good_app("""
            import asyncio, json
            starts = []

            async def asgi(scope, receive, send):
                if scope["type"] == "lifespan":
                    await receive()
                    starts.append("start")
                    await asyncio.sleep(0.05)
                    if len(starts) == 1:
                        await send({"type": "lifespan.startup.failed", "message": "not yet"})
                        return
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
                    await send({"type": "lifespan.shutdown.complete"})
                    return
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": json.dumps(starts).encode()})

            app = func.AsgiFunctionApp(asgi)
            """)
        begun = [worker.begin("http_app_func", {"req": request()}, worker.control) for _ in range(3)]
        # Answers come in the order in which the requests were sent.
        self.assertEqual([worker.finish(each).ok for each in begun], [False, False, False])
        begun = [worker.begin("http_app_func", {"req": request()}, worker.control) for _ in range(3)]
        self.assertEqual([worker.finish(each).json() for each in begun], [["start", "start"]] * 3)

    def test_wsgi(self):
        wsgi = self.app("""
            import azure.functions as func

            def wsgi(environ, start_response):
                start_response("203 Fine", [("Content-Type", "text/plain")])
                return [environ["PATH_INFO"].encode()]

            app = func.WsgiFunctionApp(wsgi)
            """)
        answer = wsgi.call("http_app_func", {"req": request(url="http://h/api/x")})
        self.assertEqual((answer.outputs["$return"][1]["status"], answer.text()), (203, "/api/x"))
        # The bytes of the path as Latin-1 (PEP 3333), and those as UTF-8 again.
        answer = wsgi.call("http_app_func", {"req": request(url="http://h/api/%C3%A4")})
        self.assertEqual(answer.text(), "/api/ä".encode().decode("latin-1"))


if __name__ == "__main__":
    unittest.main()
