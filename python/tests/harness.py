"""A small server for tests: it speaks frames to a real worker process that serves a temporary app."""

import array
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import unittest
import uuid

WORKER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "ingle_worker")
# Long enough for a machine under load; reached only by a worker that hangs, which is a failure.
PATIENCE_SECONDS = int(os.environ.get("PATIENCE", "60"))


class Connection:
    """One end of a control socket or a lane."""

    def __init__(self, connected):
        self.socket = connected
        connected.settimeout(PATIENCE_SECONDS)
        self._buffer = b""

    @staticmethod
    def packed(header, body=b""):
        """The bytes of a frame."""
        text = json.dumps(header).encode()
        return struct.pack("<II", len(text), len(body)) + text + body

    def send(self, header, body=b"", descriptors=()):
        data = self.packed(header, body)
        if descriptors:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            sent = self.socket.sendmsg([data], rights)
            data = data[sent:]
        self.socket.sendall(data)

    def receive(self):
        """The next frame as `(header, body)`; None at the end."""
        while True:
            if len(self._buffer) >= 8:
                header_size, body_size = struct.unpack_from("<II", self._buffer)
                total = 8 + header_size + body_size
                if len(self._buffer) >= total:
                    header = json.loads(self._buffer[8 : 8 + header_size].decode("utf-8"))
                    body = self._buffer[8 + header_size : total]
                    self._buffer = self._buffer[total:]
                    return header, body
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._buffer += data

    def receive_until(self, kind, **fields):
        """Frames up to the one of a kind with the given fields: `(before, header, body)`."""
        before = []
        while True:
            frame = self.receive()
            if frame is None:
                raise AssertionError("the worker closed the socket before %r; got %r" % (kind, before))
            header, body = frame
            if header["type"] == kind and all(header.get(name) == value for name, value in fields.items()):
                return before, header, body
            before.append(header)

    def close(self):
        self.socket.close()


class Answer:
    """How an invocation went."""

    def __init__(self, before, header, body):
        self.logs = [entry for entry in before if entry["type"] == "log"]
        self.header = header
        self.ok = header["ok"]
        self.error = header.get("error")
        self.outputs = {}
        start = 0
        for name, (kind, value, size) in header["outputs"].items():
            payload = body[start : start + size]
            start += size
            self.outputs[name] = (kind, value, payload)
        assert start == len(body), "the body has bytes that no datum takes"

    def text(self, name="$return"):
        return self.outputs[name][2].decode("utf-8")

    def json(self, name="$return"):
        return json.loads(self.text(name))

    def messages(self, level=None):
        return [entry["message"] for entry in self.logs if level is None or entry["level"] == level]


def request(method="GET", url="http://localhost/api/x", headers=None, query=None, params=None, body=b""):
    """An HTTP datum with its bytes."""
    value = {"method": method, "url": url, "headers": headers or {}, "query": query or {}, "params": params or {}}
    return "http", value, body


def string(text):
    return "string", None, text.encode("utf-8")


def json_data(value):
    return "json", None, json.dumps(value).encode("utf-8")


def collection(kind, parts):
    return kind, [len(part) for part in parts], b"".join(parts)


NOTHING = ("none", None, b"")


def invocation(function, inputs, **more):
    """An `invoke` frame: `(header, body)`."""
    header = {"type": "invoke", "id": str(uuid.uuid4()), "function": function, "inputs": {}, "metadata": {},
              "trace": ["", ""]}
    header.update(more)
    body = b""
    for name, (kind, value, payload) in inputs.items():
        header["inputs"][name] = [kind, value, len(payload)]
        body += payload
    return header, body


class Worker:
    """A worker process with its control socket."""

    def __init__(self, root, entry=WORKER, environment=None):
        ours, theirs = socket.socketpair()
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        variables.update(INGLE_WORKER_FD=str(theirs.fileno()), **(environment or {}))
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, entry], pass_fds=[theirs.fileno()], env=variables, cwd=root, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        theirs.close()
        self.control = Connection(ours)
        self.lanes = []
        self.logs = []
        self.hello = self.control.receive_until("hello")[1]

    def load(self, dialect="azure-v2", script_file="function_app.py", functions=(), **more):
        self.control.send({"type": "load", "root": self.root, "dialect": dialect, "script_file": script_file,
                           "functions": list(functions), "development": True, **more})
        before, self.loaded, _ = self.control.receive_until("loaded")
        self.logs = before
        return self.loaded

    def open_lane(self):
        ours, theirs = socket.socketpair()
        self.control.send({"type": "lane", "lane": len(self.lanes)}, descriptors=[theirs.fileno()])
        theirs.close()
        lane = Connection(ours)
        self.lanes.append(lane)
        return lane

    def lane(self):
        return self.lanes[0] if self.lanes else self.open_lane()

    def begin(self, function, inputs, where=None, **more):
        """Sends an invocation; `finish` takes its answer."""
        header, body = invocation(function, inputs, **more)
        where = where or self.lane()
        where.send(header, body)
        return where, header["id"]

    @staticmethod
    def finish(begun):
        where, identity = begun
        return Answer(*where.receive_until("done", id=identity))

    def call(self, function, inputs=None, where=None, **more):
        return self.finish(self.begin(function, {"req": request()} if inputs is None else inputs, where, **more))

    def call_async(self, function, inputs=None, **more):
        return self.call(function, inputs, self.control, **more)

    def wait(self):
        """Exit status, standard output and standard error of the ended process."""
        out, error = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out.decode(), error.decode()

    def close(self):
        for lane in self.lanes:
            lane.close()
        self.control.close()
        try:
            self.process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            # Children that it forked hold its pipes open.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate()


class WorkerTest(unittest.TestCase):
    """Base of tests with apps in temporary folders."""

    maxDiff = None

    def folder(self, files):
        """An app; `files` maps paths to sources."""
        root = os.path.realpath(tempfile.mkdtemp(prefix="ingle-worker-"))
        self.addCleanup(shutil.rmtree, root, ignore_errors=True)
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(text))
        return root

    def worker(self, files, **options):
        started = Worker(self.folder(files), **options)
        self.addCleanup(started.close)
        return started

    def app(self, source, files=None, debug_logging=False, **options):
        """A worker with a loaded v2 app, whose problems are the test's business."""
        sources = {"function_app.py": textwrap.dedent(source)}
        sources.update(files or {})
        started = self.worker(sources, **options)
        started.load(debug_logging=debug_logging)
        return started

    def good_app(self, source, files=None, **options):
        """The same; the app has to be without a fault."""
        started = self.app(PRELUDE + textwrap.dedent(source), files, **options)
        self.assertEqual(started.loaded["problems"], [])
        return started


PRELUDE = textwrap.dedent("""\
    import azure.functions as func
    app = func.FunctionApp()
    """)
