"""What user code says: every way of saying it, tied to its invocation, never dropped."""

import unittest

from harness import WorkerTest


class Logs(WorkerTest):
    def one(self, source, function="f", files=None, **options):
        worker = self.good_app(source, files, **options)
        return worker, worker.call(function)

    def test_every_way(self):
        worker, answer = self.one("""
            import logging, sys, warnings

            @app.route()
            def f(req):
                logging.debug("not shown")
                logging.info("hello %s", "you")
                logging.getLogger("shop.orders").critical("burning")
                print("a", 1)
                print("two\\nlines")
                print("no end", end="")
                sys.stderr.write("trouble\\n")
                sys.stdout.buffer.write("gr\\u00fc\\u00df\\n".encode())
                warnings.warn("old")
                logging.info("%d", "no number")
                try:
                    1 / 0
                except ZeroDivisionError:
                    logging.exception("failed")
                return ""
            """)
        self.assertTrue(answer.ok, answer.error)
        said = [(entry["level"], entry["logger"], entry["message"]) for entry in answer.logs]
        self.assertEqual(said[:4], [("info", "root", "hello you"), ("critical", "shop.orders", "burning"),
                                    ("stdout", "", "a 1"), ("stdout", "", "two")])
        self.assertIn(("stderr", "", "trouble"), said)
        self.assertIn(("stdout", "", "no endgrüß"), said)
        levels = [level for level, _, _ in said]
        self.assertNotIn("debug", levels)
        warning = [message for level, logger, message in said if logger == "py.warnings"][0]
        self.assertIn("UserWarning: old", warning)
        failed = [message for level, _, message in said if level == "error"][0]
        self.assertTrue(failed.startswith("failed\nTraceback"), failed)
        self.assertIn("no number", "\n".join(answer.messages("stderr")))
        self.assertEqual({entry["id"] for entry in answer.logs}, {answer.header["id"]})

    def test_debug_level(self):
        _, answer = self.one("""
            import logging
            @app.route()
            def f(req):
                logging.debug("deep")
                return ""
            """, debug_logging=True)
        self.assertIn("deep", answer.messages("debug"))

    def test_debug_level_changes_while_serving(self):
        worker, answer = self.one("""
            import logging
            @app.route()
            def f(req):
                logging.debug("deep")
                return ""
            @app.route()
            def own_level(req):
                logging.getLogger().setLevel(logging.WARNING)
                return ""
            """)
        self.assertEqual(answer.messages("debug"), [])
        for wanted, expected in ((True, ["deep"]), (False, []), (True, ["deep"])):
            worker.control.send({"type": "settings", "debug_logging": wanted})
            # An answer on the control socket: what was sent before it is done.
            worker.control.send({"type": "stacks"})
            worker.control.receive_until("stacks")
            self.assertEqual(worker.call("f").messages("debug"), expected)
        worker.call("own_level")
        worker.control.send({"type": "settings", "debug_logging": False})
        worker.control.send({"type": "settings", "debug_logging": True})
        worker.control.send({"type": "stacks"})
        worker.control.receive_until("stacks")
        self.assertEqual(worker.call("f").messages("debug"), [], "a level that the app has set stays")

    def test_import_time(self):
        worker = self.good_app("""
            import logging
            print("importing")
            print("unfinished", end="")
            logging.warning("careful")
            @app.route()
            def f(req):
                return ""
            """)
        said = [(entry["id"], entry["level"], entry["message"]) for entry in worker.logs]
        self.assertEqual(said, [(None, "stdout", "importing"), (None, "warning", "careful"), (None, "stdout", "unfinished")])

    def test_threads_and_executors(self):
        worker = self.good_app("""
            import asyncio, logging, threading
            from concurrent.futures import ThreadPoolExecutor
            from multiprocessing.pool import ThreadPool
            pool = ThreadPoolExecutor(1)

            class Mine(threading.Thread):
                def run(self):
                    logging.info("subclass")

            @app.route()
            def f(req):
                for thread in (threading.Thread(target=print, args=("thread",)), Mine(), threading.Timer(0, print, ["timer"])):
                    thread.start()
                    thread.join()
                pool.submit(print, "pool").result()
                list(ThreadPoolExecutor(2).map(print, ["map"]))
                asyncio.run(asyncio.to_thread(print, "to_thread")) if hasattr(asyncio, "to_thread") else print("to_thread")
                ThreadPool(1).map(logging.info, ["threadpool"])
                return ""

            @app.route()
            async def g(req):
                await asyncio.get_running_loop().run_in_executor(pool, logging.info, "executor")
                await asyncio.gather(asyncio.create_task(say("task 1")), say("task 2"))
                return ""

            async def say(text):
                print(text)
            """)
        answer = worker.call("f")
        self.assertTrue(answer.ok, answer.error)
        wanted = {"thread", "subclass", "timer", "pool", "map", "to_thread", "threadpool"}
        seen = {entry["message"]: entry["id"] for entry in answer.logs}
        while set(seen) < wanted:
            header = worker.control.receive_until("log")[1]
            seen[header["message"]] = header["id"]
        self.assertEqual(seen, {word: answer.header["id"] for word in wanted})
        answer = worker.call_async("g")
        self.assertEqual({(entry["id"], entry["message"]) for entry in answer.logs}, {
            (answer.header["id"], text) for text in ("executor", "task 1", "task 2")})

    def test_a_pool_thread_does_not_keep_its_first_invocation(self):
        worker = self.good_app("""
            from concurrent.futures import ThreadPoolExecutor
            pool = ThreadPoolExecutor(1)
            @app.route()
            def f(req):
                pool.submit(print, "x").result()
                return ""
            """)
        for _ in range(2):
            answer = worker.call("f")
            header = worker.control.receive_until("log")[1]
            self.assertEqual(header["id"], answer.header["id"])

    def test_azures_thread_local_storage(self):
        worker, answer = self.one("""
            import _thread, threading
            @app.route()
            def f(req, context: func.Context):
                done = threading.Event()
                def run():
                    print("unknown")
                    context.thread_local_storage.invocation_id = context.invocation_id
                    print("known")
                    done.set()
                _thread.start_new_thread(run, ())
                done.wait()
                return ""
            """)
        first, second = (worker.control.receive_until("log")[1] for _ in range(2))
        self.assertEqual((first["id"], first["message"]), (None, "unknown"))
        self.assertEqual((second["id"], second["message"]), (answer.header["id"], "known"))

    def test_failed_threads_tasks_and_finalizers(self):
        worker = self.good_app("""
            import asyncio, gc, threading
            @app.route()
            def f(req):
                def fail():
                    raise ValueError("in thread")
                thread = threading.Thread(target=fail, name="sorter")
                thread.start()
                thread.join()
                class Ends:
                    def __del__(self):
                        raise ValueError("in del")
                Ends()
                return ""

            @app.route()
            async def g(req):
                async def fail():
                    raise ValueError("in task")
                task = asyncio.create_task(fail())
                await asyncio.wait([task])
                del task
                gc.collect()
                return ""
            """)
        answer = worker.call("f")
        thread = worker.control.receive_until("log")[1]
        self.assertEqual((thread["id"], thread["level"]), (answer.header["id"], "error"))
        self.assertIn("sorter", thread["message"])
        self.assertIn("ValueError: in thread", thread["message"])
        self.assertNotIn("_bootstrap_inner\n    self.run", thread["message"].split("function_app.py")[-1])
        self.assertIn("in del", "".join(answer.messages("error")))
        self.assertIn("in task", "".join(worker.call_async("g").messages("error")))

    def test_huge_and_odd_messages(self):
        worker, answer = self.one("""
            import logging
            @app.route()
            def f(req):
                logging.info("x" * 3_000_000)
                print("y" * 3_000_000)
                logging.info("a\\ud800b\\0\\x1b")
                return ""
            """)
        info = answer.messages("info")
        self.assertLess(len(info[0]), 256 * 1024 + 100)
        self.assertIn("bytes left out", info[0])
        self.assertLess(max(map(len, answer.messages("stdout"))), 256 * 1024 + 100)
        self.assertEqual(info[1], "a\\ud800b\0\x1b")

    def test_logs_are_told_apart_between_lanes(self):
        worker = self.good_app("""
            import threading
            barrier = threading.Barrier(2)
            @app.route()
            def f(req):
                print(req.url, end="")
                barrier.wait()
                print("", req.url)
                return ""
            """)
        from harness import request
        begun = [worker.begin("f", {"req": request(url=name)}, worker.open_lane()) for name in ("one", "two")]
        for name, each in zip(("one", "two"), begun):
            answer = worker.finish(each)
            self.assertEqual(answer.messages("stdout"), ["%s %s" % (name, name)])


if __name__ == "__main__":
    unittest.main()
