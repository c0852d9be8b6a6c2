"""T-087: user code that ends, breaks or takes over its process. The invocation fails clearly, others do not."""

import os
import signal
import sys
import unittest

from harness import WorkerTest, request


class Ends(WorkerTest):
    APP = """
        import asyncio, os, sys

        @app.route()
        def exits(req):
            sys.exit(3)

        @app.route()
        def interrupts(req):
            raise KeyboardInterrupt

        @app.route()
        def generator(req):
            raise GeneratorExit

        class Base(BaseException):
            pass

        @app.route()
        def base(req):
            raise Base("odd")

        @app.route()
        def memory(req):
            bytearray(1 << 62)

        @app.route()
        def deep(req):
            return deep_inner(0)

        def deep_inner(n):
            return deep_inner(n + 1) + 1

        @app.route()
        async def async_exits(req):
            sys.exit(3)

        @app.route()
        async def async_cancels(req):
            asyncio.current_task().cancel()
            await asyncio.sleep(0)

        @app.route()
        async def child_exits(req):
            async def child():
                sys.exit(9)
            asyncio.ensure_future(child())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return "still here"

        @app.route()
        def good(req):
            return "good"

        @app.route()
        def leaves(req):
            os._exit(int(req.params.get("status", "7")))

        @app.route()
        def leaves_in_thread(req):
            import threading
            thread = threading.Thread(target=os._exit, args=(8,))
            thread.start()
            thread.join()

        @app.route()
        def faults(req):
            import ctypes
            ctypes.string_at(0)

        @app.route()
        def closes(req):
            for number in range(3):
                try:
                    os.close(number)
                except OSError:
                    pass
            sys.stdout = sys.stderr = None
            import logging
            logging.info("still heard")
            return "closed"

        @app.route()
        def replaces(req):
            import io
            sys.stdout = io.StringIO()
            print("into the string")
            text = sys.stdout.getvalue()
            sys.stdout = sys.__stdout__
            return text

        @app.route()
        def policy(req):
            asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
            return "policy"

        @app.route()
        async def async_good(req):
            return "good"
    """

    def setUp(self):
        self.worker_process = self.good_app(self.APP)

    def check(self, function, kind, *words, on_loop=False):
        worker = self.worker_process
        answer = worker.call_async(function) if on_loop else worker.call(function)
        self.assertFalse(answer.ok)
        self.assertEqual(answer.error["kind"], kind)
        for word in words:
            self.assertIn(word, answer.error["message"])
        self.assertTrue(answer.error["location"].startswith("function_app.py:"), answer.error)
        self.assertEqual(worker.call("good").text(), "good")
        self.assertEqual(worker.call_async("async_good").text(), "good")

    def test_base_exceptions(self):
        self.check("exits", "SystemExit", "the function called sys.exit(3)")
        self.check("interrupts", "KeyboardInterrupt", "KeyboardInterrupt")
        self.check("generator", "GeneratorExit", "GeneratorExit")
        self.check("base", "Base", "odd")

    def test_resources(self):
        self.check("memory", "MemoryError" if sys.maxsize > 1 << 61 else "OverflowError")
        self.check("deep", "RecursionError", "recursion")

    def test_on_the_event_loop(self):
        self.check("async_exits", "SystemExit", "sys.exit(3)", on_loop=True)
        self.check("async_cancels", "CancelledError", on_loop=True)
        self.assertEqual(self.worker_process.call_async("child_exits").text(), "still here")
        self.assertEqual(self.worker_process.call_async("async_good").text(), "good")

    def test_os_exit_is_announced(self):
        worker = self.worker_process
        _, identity = worker.begin("leaves", {"req": request(query={"status": "7"})})
        header = worker.control.receive_until("exiting")[1]
        self.assertEqual((header["id"], header["status"]), (identity, 7))
        self.assertEqual(worker.wait()[0], 7)

    def test_os_exit_in_a_thread_names_the_invocation(self):
        worker = self.worker_process
        _, identity = worker.begin("leaves_in_thread", {"req": request()})
        header = worker.control.receive_until("exiting")[1]
        self.assertEqual((header["id"], header["status"]), (identity, 8))
        self.assertEqual(worker.wait()[0], 8)

    def test_a_fault_leaves_a_stack(self):
        worker = self.worker_process
        worker.begin("faults", {"req": request()})
        status, _, error = worker.wait()
        self.assertEqual(status, -signal.SIGSEGV)
        self.assertIn("Segmentation fault", error)
        self.assertIn("in faults", error)

    def test_a_fault_is_told_even_with_fd_2_closed(self):
        # The stack goes to the pipe that was fd 2 at the start.
        worker = self.worker_process
        self.assertEqual(worker.call("closes").text(), "closed")
        worker.begin("faults", {"req": request()}, worker.open_lane())
        self.assertIn("in faults", worker.wait()[2])

    def test_standard_streams_closed_or_replaced(self):
        answer = self.worker_process.call("replaces")
        self.assertEqual(answer.text(), "into the string\n")
        answer = self.worker_process.call("closes")
        self.assertEqual(answer.messages("info"), ["still heard"])
        # The next sockets would land on 0 to 2, where native code writes.
        lane = self.worker_process.open_lane()
        self.assertEqual(self.worker_process.call("good", where=lane).text(), "good")
        self.assertEqual(self.worker_process.call("policy").text(), "policy")
        self.assertEqual(self.worker_process.call_async("async_good").text(), "good")


class Forks(WorkerTest):
    def test_children_leave_the_channel_alone(self):
        worker = self.good_app("""
            import logging, multiprocessing, os, sys

            def speak():
                print("child prints", flush=True)
                logging.warning("child logs")

            @app.route()
            def forks(req):
                child = multiprocessing.get_context("fork").Process(target=speak)
                child.start()
                child.join()
                return str(child.exitcode)

            @app.route()
            def terminated(req):
                import signal
                child = multiprocessing.get_context("fork").Process(target=signal.pause)
                child.start()
                child.terminate()
                child.join()
                return str(child.exitcode)

            @app.route()
            def returns(req):
                child = os.fork()
                if child:
                    return str(os.waitpid(child, 0)[1] >> 8)
                return "from the child"

            @app.route()
            async def async_returns(req):
                child = os.fork()
                if child:
                    return str(os.waitpid(child, 0)[1] >> 8)
                return "from the child"

            @app.route()
            def exits(req):
                child = os.fork()
                if not child:
                    os._exit(5)
                return str(os.waitpid(child, 0)[1] >> 8)
            """)
        for function, status in (("forks", "0"), ("terminated", "-15"), ("returns", "1"), ("exits", "5")):
            answer = worker.call(function)
            self.assertTrue(answer.ok, answer.error)
            self.assertEqual((answer.text(), answer.logs), (status, []), function)
        self.assertEqual(worker.call_async("async_returns").text(), "1")
        worker.control.send({"type": "stop"})
        status, out, error = worker.wait()
        self.assertEqual(status, 0)
        self.assertEqual(out, "child prints\n")
        self.assertIn("child logs", error)
        self.assertIn("instead of calling os._exit", error)

    def test_spawned_processes(self):
        worker = self.good_app("""
            import multiprocessing
            import helper

            @app.route()
            def spawns(req):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    return str(pool.map(helper.double, [4]))
            """, {"helper.py": "def double(n):\n    return 2 * n\n"})
        answer = worker.call("spawns")
        self.assertTrue(answer.ok, answer.error)
        self.assertEqual(answer.text(), "[8]")


if __name__ == "__main__":
    unittest.main()
