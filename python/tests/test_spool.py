"""Large contents as files, in and out."""

import json
import os
import unittest

from harness import NOTHING, PRELUDE, Worker, WorkerTest, request

LARGE = 3 * 1024 * 1024 + 7

APP = PRELUDE + """
import io

def blob(function):
    function = app.blob_input(arg_name="found", path="in/x", connection="A")(function)
    return app.route()(function)

@blob
def stream(req: func.HttpRequest, found: func.InputStream) -> str:
    return "%s %d %s" % (found.read(3), len(found.read()), found.read(1))

@blob
def content(req: func.HttpRequest, found: bytes) -> str:
    return "%s %d" % (type(found).__name__, len(found))

@blob
def text(req: func.HttpRequest, found: str) -> str:
    return "%s %d" % (type(found).__name__, len(found))

def out(function):
    function = app.blob_output(arg_name="out", path="out/x", connection="A")(function)
    return app.route()(function)

MAKERS = {
    "bytes": lambda size: b"x" * size,
    "bytearray": lambda size: bytearray(b"x" * size),
    "str": lambda size: "ü" * size,
    "file": lambda size: io.BytesIO(b"x" * size),
    "text file": lambda size: io.StringIO("ü" * size),
}

@out
def put(req: func.HttpRequest, out: func.Out[bytes]) -> str:
    out.set(MAKERS[req.params["kind"]](int(req.params["size"])))

@app.blob_input(arg_name="found", path="in/x", connection="A")
@app.blob_output(arg_name="out", path="out/x", connection="A")
@app.route()
def copy(req: func.HttpRequest, found: func.InputStream, out: func.Out[func.InputStream]) -> str:
    out.set(found)
"""


class SpoolTest(WorkerTest):
    def start(self):
        root = self.folder({"function_app.py": APP, "spool/.keep": "", "large": "x" * LARGE})
        self.spool = os.path.join(root, "spool")
        self.large = ("file", {"path": os.path.join(root, "large")}, b"")
        worker = Worker(root)
        self.addCleanup(worker.close)
        self.assertEqual(worker.load(spool=self.spool)["problems"], [])
        return worker

    def test_a_file_is_read_as_the_function_wants_it(self):
        worker = self.start()

        def check(function, expected):
            self.assertEqual(worker.call(function, {"req": request(), "found": self.large}).text(), expected)

        check("stream", "b'xxx' %d b''" % (LARGE - 3))
        check("content", "bytes %d" % LARGE)
        check("text", "str %d" % LARGE)
        self.assertIn("NoneType", worker.call("stream", {"req": request(), "found": NOTHING}).error["message"])

    def written(self, answer):
        """Size of an output, and whether it came as a file."""
        kind, value, payload = answer.outputs["out"]
        if kind != "file":
            return len(payload), False
        path = os.path.join(self.spool, value["name"])
        size = os.path.getsize(path)
        os.unlink(path)
        return size, True

    def test_large_outputs_are_files(self):
        worker = self.start()
        for kind, width in (("bytes", 1), ("bytearray", 1), ("str", 2), ("file", 1), ("text file", 2)):
            for size in (0, 5, LARGE):
                answer = worker.call("put", {"req": request(query={"kind": kind, "size": str(size)})})
                self.assertEqual(self.written(answer), (size * width, size == LARGE), (kind, size))
        answer = worker.call("copy", {"req": request(), "found": self.large})
        self.assertEqual(self.written(answer), (LARGE, True))
        self.assertEqual(os.listdir(self.spool), [".keep"])

    def test_without_a_folder_all_travels_in_frames(self):
        worker = self.start()
        worker = Worker(worker.root)
        self.addCleanup(worker.close)
        worker.load()
        answer = worker.call("put", {"req": request(query={"kind": "file", "size": str(LARGE)})})
        self.assertEqual(self.written(answer), (LARGE, False), json.dumps(answer.header))


if __name__ == "__main__":
    unittest.main()
