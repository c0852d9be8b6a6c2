"""Invocations whose caller goes away: what is interrupted, what is told, and what is said of it."""

import unittest

from harness import WorkerTest, invocation, request

APP = """
    import asyncio, threading
    release = threading.Event()

    @app.route()
    async def awaits(req, context):
        try:
            print("begun")
            await asyncio.sleep(3600)
        finally:
            print("finally", context.cancelled)

    @app.route()
    async def swallows(req):
        try:
            print("begun")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "in spite of it"

    @app.route()
    async def fails(req):
        try:
            print("begun")
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise ValueError("instead")

    @app.route()
    async def shields(req):
        print("begun")
        await asyncio.shield(asyncio.ensure_future(kept()))

    async def kept():
        await asyncio.sleep(0.01)
        print("kept")

    @app.route()
    async def cancels_itself(req):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    @app.route()
    def wraps(req):
        return awaits_inside()

    async def awaits_inside():
        try:
            print("begun")
            await asyncio.sleep(3600)
        finally:
            print("finally inside")

    @app.route()
    def blocks(req, context):
        print("begun")
        release.wait()
        return str(context.cancelled)

    @app.route()
    def releases(req):
        release.set()

    @app.route()
    def hello(req, context):
        return str(context.cancelled)
"""


class Cancel(WorkerTest):
    def setUp(self):
        self.served = self.good_app(APP)

    def begin(self, function, where, speaks_on=None):
        begun = self.served.begin(function, {"req": request()}, where)
        (speaks_on or where).receive_until("log", message="begun")
        return begun

    def cancel(self, identity, **more):
        self.served.control.send({"type": "cancel", "id": identity, **more})

    def check(self, function, where=None, interrupt=True):
        """The answer of a function that is cancelled in its first await."""
        begun = self.begin(function, where or self.served.control)
        self.cancel(begun[1], interrupt=interrupt)
        return self.served.finish(begun)

    def test_what_is_awaited_is_cancelled(self):
        answer = self.check("awaits")
        self.assertEqual((answer.ok, answer.header["cancelled"]), (False, True))
        self.assertEqual(answer.error["kind"], "CancelledError")
        self.assertTrue(answer.error["location"].startswith("function_app.py:"), answer.error)
        self.assertEqual(answer.messages(), ["finally True"])

    def test_who_catches_it_goes_on(self):
        answer = self.check("swallows")
        self.assertEqual((answer.ok, answer.text()), (True, "in spite of it"))

    def test_what_is_raised_instead_is_a_failure(self):
        answer = self.check("fails")
        self.assertEqual((answer.error["kind"], answer.header["cancelled"]), ("ValueError", False))

    def test_what_is_shielded_goes_on(self):
        self.assertTrue(self.check("shields").header["cancelled"])
        self.served.control.receive_until("log", message="kept")

    def test_the_coroutine_of_a_plain_function_is_cancelled(self):
        control = self.served.control
        begun = self.begin("wraps", self.served.open_lane(), control)
        self.cancel(begun[1], interrupt=True)
        control.receive_until("log", message="finally inside")
        self.assertTrue(self.served.finish(begun).header["cancelled"])

    def test_without_interrupt_a_function_is_only_told(self):
        begun = self.begin("awaits", self.served.control)
        self.cancel(begun[1], interrupt=False)
        # A second one is the first one's repetition, not more.
        self.cancel(begun[1], interrupt=True)
        self.assertTrue(self.served.call_async("cancels_itself").error)
        self.served.control.send({"type": "stacks"})
        self.assertIn(begun[1], self.served.control.receive_until("stacks")[1]["stacks"])

    def test_before_its_first_step(self):
        """Both frames are read in one go: there is a task, but it has not begun."""
        control = self.served.control
        header, body = invocation("swallows", {"req": request()})
        cancel = {"type": "cancel", "id": header["id"], "interrupt": True}
        control.socket.sendall(control.packed(header, body) + control.packed(cancel))
        answer = self.served.finish((control, header["id"]))
        self.assertTrue(answer.header["cancelled"])
        self.assertEqual(answer.messages(), [])

    def test_its_own_cancellation_is_a_failure(self):
        answer = self.served.call_async("cancels_itself")
        self.assertEqual((answer.error["kind"], answer.header["cancelled"]), ("CancelledError", False))

    def test_a_thread_is_told(self):
        lane = self.served.open_lane()
        begun = self.begin("blocks", lane)
        self.cancel(begun[1], interrupt=True)
        # What comes on the control socket is read in its order.
        self.served.control.send({"type": "stacks"})
        self.served.control.receive_until("stacks")
        self.served.call("releases", where=self.served.open_lane())
        self.assertEqual(self.served.finish(begun).text(), "True")
        self.assertEqual(self.served.call("hello", where=lane).text(), "False")

    def test_a_lane_that_had_not_read_the_call_is_told(self):
        """The two sockets have no common order."""
        lane = self.served.open_lane()
        identity = "11111111-2222-3333-4444-555555555555"
        self.cancel(identity, interrupt=True)
        self.served.control.send({"type": "stacks"})
        self.served.control.receive_until("stacks")
        self.assertEqual(self.served.call("hello", where=lane, id=identity).text(), "True")

    def test_a_cancel_for_one_that_is_over_is_nothing(self):
        for _ in range(1200):
            self.cancel("00000000-0000-0000-0000-000000000000", interrupt=True)
        self.assertEqual(self.served.call("hello").text(), "False")


if __name__ == "__main__":
    unittest.main()
