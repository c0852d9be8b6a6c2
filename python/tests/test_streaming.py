"""Streamed HTTP bodies, frame by frame.

The web extension and its framework are not among the test's packages, so a small one stands in for them: modules with
the names and base classes that the worker looks for, and response classes that are ASGI applications as FastAPI's are.
Stories through the real binary use the real packages.
"""

import textwrap
import unittest

from harness import Connection, WorkerTest, request

BASE = textwrap.dedent("""\
    import enum

    class HttpV2FeatureChecker:
        @staticmethod
        def http_v2_enabled():
            return True

    class ResponseLabels(enum.Enum):
        JSON = "json"

    class Synchronizer:
        def sync_route_params(self, request, path_params):
            request.path_params.clear()
            request.path_params.update(path_params)

    class Request:
        def __init__(self, scope, receive):
            self.scope, self._receive = scope, receive
        @property
        def path_params(self):
            return self.scope["path_params"]
        async def stream(self):
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise RuntimeError("disconnected")
                yield message["body"]
                if not message["more_body"]:
                    return

    class Response:
        def __init__(self, pieces, status=200):
            self.body_iterator, self.status_code = pieces, status
        async def __call__(self, scope, receive, send):
            await send({"type": "http.response.start", "status": self.status_code, "headers": [(b"x-a", b"b")]})
            async for piece in self.body_iterator:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def one(value):
        yield repr(value).encode()

    class RequestTrackerMeta(type):
        @classmethod
        def get_request_type(cls):
            return Request
        @classmethod
        def get_synchronizer(cls):
            return Synchronizer()
        @classmethod
        def check_type(cls, kind):
            return isinstance(kind, type) and issubclass(kind, Request)

    class ResponseTrackerMeta(type):
        @classmethod
        def check_type(cls, kind):
            return issubclass(kind, Response)
        @classmethod
        def get_response_type(cls, label):
            return lambda value: Response(one(value))
    """)

APP = """\
    import asyncio
    import azurefunctions.extensions.base as base
    from azurefunctions.extensions.base import Request, Response

    @app.route()
    async def length(req: Request):
        total = 0
        async for piece in req.stream():
            total += len(piece)
        return {"length": total, "parameters": req.path_params, "query": req.scope["query_string"]}

    async def count():
        try:
            for number in range(3):
                yield b"%d" % number
                if number == 1:
                    await asyncio.sleep(3600)
        finally:
            print("generator closed")

    @app.route()
    def counting(req: Request) -> Response:
        return Response(count())

    async def much():
        for number in range(100):
            yield b"x" * 300_000
            print("made", number)

    @app.route()
    async def large(req: Request) -> Response:
        return Response(much())

    async def broken():
        yield b"first"
        raise ValueError("in the middle")

    @app.route()
    async def breaks(req: Request) -> Response:
        return Response(broken())

    @app.route()
    async def fails(req: Request) -> Response:
        raise KeyError("before")

    @app.route()
    def classic(req: func.HttpRequest) -> str:
        return "classic"
    """


class StreamingTest(WorkerTest):
    def start(self):
        return self.good_app(APP, {"azurefunctions/extensions/base.py": BASE})

    def begin(self, worker, function, **about):
        kind, value, body = request(**about)
        return worker.begin(function, {"req": (kind, dict(value, stream=True), body)}, worker.control)

    def test_who_streams(self):
        worker = self.start()
        streams = {found["name"]: found["streams"] for found in worker.loaded["functions"]}
        self.assertEqual([name for name in streams if not streams[name]], ["classic"])
        self.assertEqual(worker.call("classic").text(), "classic")

    def test_a_request_body_comes_in_pieces(self):
        worker = self.start()
        control, identity = self.begin(worker, "length", url="http://h/api/length?a=1", params={"id": "7"})
        for size in (10, 300_000):
            control.receive_until("pull", id=identity)
            control.send({"type": "piece", "id": identity, "end": False}, b"x" * size)
        control.receive_until("pull", id=identity)
        control.send({"type": "piece", "id": identity, "end": True})
        before, head, _ = control.receive_until("head", id=identity)
        self.assertEqual([entry for entry in before if entry["type"] == "pull"], [])
        self.assertEqual((head["status"], head["headers"]), (200, [["x-a", "b"]]))
        _, _, body = control.receive_until("chunk", id=identity)
        self.assertEqual(eval(body), {"length": 300_010, "parameters": {"id": "7"}, "query": b"a=1"})
        _, done, _ = control.receive_until("done", id=identity)
        self.assertEqual((done["ok"], done["outputs"]), (True, {}))

    def test_no_more_is_sent_than_there_is_room_for(self):
        worker = self.start()
        control, identity = self.begin(worker, "large")
        control.receive_until("head", id=identity)
        sizes = []
        for _ in range(8):
            sizes.append(len(control.receive_until("chunk", id=identity)[2]))
        self.assertEqual(sizes, [262_144, 37_856] * 4)
        # Another invocation is answered; the one without room has sent nothing more until then.
        other, second = self.begin(worker, "breaks")
        before, _, body = other.receive_until("chunk", id=second)
        self.assertEqual(body, b"first")
        self.assertEqual([entry for entry in before if entry["type"] == "chunk"], [])
        control.send({"type": "room", "id": identity, "count": 2})
        before, _, _ = control.receive_until("chunk", id=identity)
        control.receive_until("chunk", id=identity)
        control.send({"type": "cancel", "id": identity})
        before, done, _ = control.receive_until("done", id=identity)
        self.assertEqual((done["ok"], done["error"]["kind"]), (False, "CallerGone"))

    def test_the_generator_is_closed_when_the_caller_goes_away(self):
        worker = self.start()
        control, identity = self.begin(worker, "counting")
        for expected in (b"0", b"1"):
            self.assertEqual(control.receive_until("chunk", id=identity)[2], expected)
        control.send({"type": "cancel", "id": identity})
        before, done, _ = control.receive_until("done", id=identity)
        self.assertIn("generator closed", [entry.get("message") for entry in before])
        self.assertFalse(done["ok"])

    def test_a_run_by_hand_has_whole_bodies(self):
        worker = self.start()
        answer = worker.call_async("length", {"req": request(body=b"12345")})
        self.assertEqual(eval(answer.outputs["$return"][2])["length"], 5)
        self.assertEqual(answer.outputs["$return"][1], {"status": 200, "headers": [["x-a", "b"]]})
        self.assertEqual(len(worker.call_async("large").outputs["$return"][2]), 30_000_000)

    def test_a_caller_who_leaves_while_sending(self):
        worker = self.start()
        control, identity = self.begin(worker, "length")
        control.receive_until("pull", id=identity)
        control.send({"type": "cancel", "id": identity})
        self.assertEqual(control.receive_until("done", id=identity)[1]["error"]["message"], "disconnected")

    def test_failures_before_and_in_the_middle(self):
        worker = self.start()
        control, identity = self.begin(worker, "fails")
        before, done, _ = control.receive_until("done", id=identity)
        self.assertEqual((done["error"]["kind"], [entry["type"] for entry in before]), ("KeyError", []))
        control, identity = self.begin(worker, "breaks")
        before, done, _ = control.receive_until("done", id=identity)
        self.assertEqual([entry["type"] for entry in before], ["head", "chunk"])
        self.assertEqual((done["ok"], done["error"]["message"]), (False, "in the middle"))
        self.assertIsInstance(control, Connection)


if __name__ == "__main__":
    unittest.main()
