"""The process: lanes and event loop at once, cancel, stacks, stop, and the server's death."""

import ast
import os
import signal
import sys
import time
import unittest

from harness import WORKER, WorkerTest, request

APP = """
    import asyncio, threading, os
    started = threading.Event()
    release = threading.Event()
    async_release = None

    @app.route()
    def blocks(req, context):
        print("begun")
        release.wait()
        return str(context.cancelled)

    @app.route()
    def releases(req):
        release.set()
        return "released"

    @app.route()
    async def awaits(req, context):
        global async_release
        async_release = asyncio.Event()
        print("begun")
        await inner()
        return str(context.cancelled)

    async def inner():
        await async_release.wait()

    @app.route()
    async def frees(req):
        async_release.set()
        return "freed"

    @app.route()
    def hello(req):
        return threading.current_thread().name

    @app.route()
    def wrapper(req):
        async def later():
            await asyncio.sleep(0)
            print("awaited")
            if req.params:
                raise ValueError("later")
            return "later"
        return later()
"""


class Process(WorkerTest):
    def setUp(self):
        self.worker_process = self.good_app(APP)

    def begin(self, function, where):
        begun = self.worker_process.begin(function, {"req": request()}, where)
        where.receive_until("log", message="begun")
        return begun

    def test_lanes_and_the_loop_at_once(self):
        worker = self.worker_process
        one, two = worker.open_lane(), worker.open_lane()
        blocked = self.begin("blocks", one)
        awaiting = self.begin("awaits", worker.control)
        self.assertEqual(worker.call("hello", where=two).text(), "lane-1")
        self.assertEqual(worker.call("releases", where=two).text(), "released")
        self.assertEqual(worker.finish(blocked).text(), "False")
        identity = worker.begin("frees", {"req": request()}, worker.control)[1]
        done = {worker.control.receive_until("done")[1]["id"] for _ in range(2)}
        self.assertEqual(done, {identity, awaiting[1]})

    def test_many_lanes_in_one_go(self):
        worker = self.worker_process
        lanes = [worker.open_lane() for _ in range(40)]
        names = {worker.finish(worker.begin("hello", {"req": request()}, lane)).text() for lane in lanes}
        self.assertEqual(len(names), 40)

    def test_frames_sent_together_are_taken_one_by_one(self):
        worker = self.worker_process
        begun = [worker.begin("hello", {"req": request(body=b"x" * size)}) for size in (0, 10, 70_000, 0, 5)]
        self.assertEqual([worker.finish(each).text() for each in begun], ["lane-0"] * 5)

    def test_awaitables_and_the_wrong_socket(self):
        worker = self.worker_process
        answer = worker.call("wrapper")
        self.assertEqual((answer.text(), answer.messages()), ("later", []))
        logged = worker.control.receive_until("log")[1]
        self.assertEqual((logged["id"], logged["message"]), (answer.header["id"], "awaited"))
        answer = worker.call("wrapper", {"req": request(query={"a": "1"})})
        self.assertEqual((answer.error["kind"], answer.error["message"]), ("ValueError", "later"))
        self.assertTrue(worker.call_async("hello").ok)
        self.assertEqual(worker.call("frees").error["kind"], "AttributeError")

    def test_unknown_function(self):
        for where in (self.worker_process.lane(), self.worker_process.control):
            answer = self.worker_process.call("nobody", where=where)
            self.assertEqual(answer.error["kind"], "FunctionNotFound")

    def test_cancel(self):
        worker = self.worker_process
        for function, where, free in (("awaits", worker.control, "frees"), ("blocks", worker.open_lane(), "releases")):
            _, identity = self.begin(function, where)
            worker.control.send({"type": "cancel", "id": identity})
            worker.control.send({"type": "stacks"})
            worker.control.receive_until("stacks")
            freeing = worker.begin(free, {"req": request()}, worker.control if free == "frees" else worker.open_lane())
            if where is worker.control:
                bodies = [worker.control.receive_until("done") for _ in range(2)]
                self.assertIn(b"True", [body for _, _, body in bodies])
            else:
                worker.finish(freeing)
                self.assertEqual(worker.finish((where, identity)).text(), "True")

    def test_stacks(self):
        worker = self.worker_process
        _, blocked = self.begin("blocks", worker.open_lane())
        _, awaiting = self.begin("awaits", worker.control)
        worker.control.send({"type": "stacks"})
        stacks = worker.control.receive_until("stacks")[1]["stacks"]
        self.assertEqual(set(stacks), {blocked, awaiting})
        self.assertTrue(stacks[blocked].startswith('  File "%s/function_app.py"' % worker.root), stacks[blocked])
        self.assertIn("release.wait()", stacks[blocked])
        self.assertIn("await inner()", stacks[awaiting])
        self.assertIn("await async_release.wait()", stacks[awaiting])
        self.assertNotIn("ingle_worker", "".join(stacks.values()))

    def test_stop_waits_and_runs_exit_handlers(self):
        for stop in (lambda worker: worker.control.send({"type": "stop"}), lambda worker: worker.process.terminate()):
            worker = self.good_app("""
                import asyncio, atexit
                atexit.register(print, "goodbye")

                @app.route()
                def waits(req):
                    print("begun")
                    with open("gate") as gate:
                        return gate.read()

                @app.route()
                async def lives(req):
                    return ""
                """)
            gate = os.path.join(worker.root, "gate")
            os.mkfifo(gate)
            busy, idle = worker.open_lane(), worker.open_lane()
            begun = worker.begin("waits", {"req": request()}, busy)
            busy.receive_until("log", message="begun")
            # Ctrl-C on the terminal reaches the worker too and must not matter.
            os.kill(worker.process.pid, signal.SIGINT)
            self.assertTrue(worker.call_async("lives").ok)
            stop(worker)
            # A worker that takes a signal does so a moment later; until then it accepts.
            while worker.call_async("lives").ok:
                pass
            self.assertEqual(worker.call("lives", where=idle).error["kind"], "WorkerStopping")
            with open(gate, "w") as file:
                file.write("in peace")
            self.assertEqual(worker.finish(begun).text(), "in peace")
            worker.control.receive_until("log", message="goodbye")
            self.assertEqual(worker.wait()[0], 0)

    def test_the_servers_death_ends_it_at_once(self):
        worker = self.worker_process
        self.begin("blocks", worker.open_lane())
        begun = time.monotonic()
        worker.control.close()
        self.assertEqual(worker.wait()[0], 0)
        self.assertLess(time.monotonic() - begun, 5)

    def test_a_closed_lane_ends_its_thread_only(self):
        worker = self.worker_process
        lane = worker.open_lane()
        worker.call("hello", where=lane)
        lane.close()
        self.assertEqual(worker.call("hello", where=worker.open_lane()).text(), "lane-1")


class Errors(WorkerTest):
    def test_tracebacks(self):
        worker = self.good_app("""
            import json

            class Silent(Exception):
                def __str__(self):
                    raise RuntimeError("no text")

            class Loud(Exception):
                def __repr__(self):
                    return "x" * 500_000
                __str__ = __repr__

            @app.route()
            def chained(req):
                try:
                    try:
                        {}["a"]
                    except KeyError as error:
                        raise ValueError("second") from error
                except ValueError:
                    helper()

            def helper():
                json.loads("{")

            @app.route()
            def silent(req):
                raise Silent()

            @app.route()
            def loud(req):
                raise Loud()

            @app.route()
            def group(req):
                raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])

            @app.route()
            def sdk(req):
                func.HttpResponse(42)

            @app.route()
            def cycle(req):
                one, two = ValueError("one"), ValueError("two")
                one.__cause__, two.__cause__ = two, one
                raise one
            """)
        error = worker.call("chained").error
        self.assertEqual(error["kind"], "JSONDecodeError")
        with open(os.path.join(worker.root, "function_app.py")) as file:
            line = file.read().split("\n").index('    json.loads("{")') + 1
        self.assertEqual(error["location"], "function_app.py:%d" % line)
        trace = error["traceback"]
        self.assertLess(trace.index("KeyError: 'a'"), trace.index("direct cause"))
        self.assertLess(trace.index("ValueError: second"), trace.index("During handling"))
        self.assertNotIn("ingle_worker", trace)
        self.assertTrue(trace.startswith('Traceback (most recent call last):\n  File "%s/function_app.py"' % worker.root))
        self.assertIn("__str__ raised RuntimeError", worker.call("silent").error["message"])
        error = worker.call("loud").error
        self.assertLess(len(error["message"]), 70_000)
        self.assertLess(len(error["traceback"]), 70_000)
        self.assertIn("… 2 frames of azure.functions", worker.call("sdk").error["traceback"])
        self.assertIn("ValueError: two", worker.call("cycle").error["traceback"])
        error = worker.call("group").error
        if sys.version_info >= (3, 11):
            self.assertIn("TypeError: two", error["traceback"])
        else:
            self.assertEqual(error["kind"], "NameError")


class Package(unittest.TestCase):
    """Promises about the source itself."""

    def sources(self):
        for name in sorted(os.listdir(WORKER)):
            if name.endswith(".py"):
                with open(os.path.join(WORKER, name), encoding="utf-8") as file:
                    yield name, file.read()

    def test_only_the_standard_library_is_imported(self):
        # Names added since 3.10, when Python began to know its own library.
        known = getattr(sys, "stdlib_module_names", None)
        if known is None:
            known = set(sys.builtin_module_names)
            library = os.path.dirname(os.__file__)
            known.update(entry.split(".")[0] for entry in os.listdir(library) if entry != "site-packages")
            known.update(entry.split(".")[0] for entry in os.listdir(os.path.join(library, "lib-dynload")))
        looked_up = set()
        for name, source in self.sources():
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Import):
                    imported = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom):
                    imported = [] if node.level else [node.module]
                else:
                    if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                            and node.func.attr == "import_module" and isinstance(node.args[0], ast.Constant)):
                        looked_up.add(node.args[0].value.split(".")[:2] == ["azure", "functions"])
                    continue
                for module in imported:
                    allowed = module.split(".")[0] in known or (name == "__main__.py" and module == "ingle_worker.loop")
                    # The debugger that the user asked for with --debug.
                    allowed = allowed or (name == "debugger.py" and module in ("debugpy", "_pydevd_bundle.pydevd_api"))
                    self.assertTrue(allowed, "%s imports %s" % (name, module))
        self.assertEqual(looked_up, {True})

    def test_it_parses_as_python_3_8_and_files_are_short(self):
        for name, source in self.sources():
            ast.parse(source, feature_version=(3, 8))
            self.assertLessEqual(source.count("\n"), 500, name)
            self.assertTrue(ast.get_docstring(ast.parse(source)), name)


if __name__ == "__main__":
    unittest.main()
