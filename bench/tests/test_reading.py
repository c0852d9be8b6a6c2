"""What wrk, servers and their logs print is read right. Nothing here measures time."""

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import drain
import many
import runtime_api
import servers
import wire
import wrk
import zero

REPORT = """Running 3s test @ http://127.0.0.1:1/hello
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.55ms    1.69ms  17.45ms   73.39%
    Req/Sec    13.34k     1.17k   15.49k    80.00%
  Latency Distribution
     50%  {p50}
     75%    3.22ms
     90%    4.62ms
     99%    {p99}
  39847 requests in 3.00s, 4.33MB read
{errors}Requests/sec:  13263.06
Transfer/sec:      1.44MB
"""


class Wrk(unittest.TestCase):
    def check(self, p50, p99, errors, expected):
        load = wrk.parse(REPORT.format(p50=p50, p99=p99, errors=errors))
        for got, want in zip((load.p50_s, load.p99_s, load.requests_per_s), (*expected[:2], 13263.06)):
            self.assertAlmostEqual(got, want, places=9)
        self.assertEqual((load.answers, load.bad_answers, load.socket_errors), (39847, *expected[2:]))

    def test_units_are_told_apart(self):
        self.check("157.00us", "3.57ms", "", (0.000157, 0.00357, 0, 0))
        self.check("1.20s", "1.10m", "", (1.2, 66.0, 0, 0))

    def test_failures_are_counted(self):
        errors = "  Socket errors: connect 1, read 20, write 0, timeout 3\n  Non-2xx or 3xx responses: 7\n"
        self.check("1.00ms", "2.00ms", errors, (0.001, 0.002, 7, 24))

    def test_anything_else_is_refused(self):
        for text in ("", "unable to connect to 127.0.0.1:1", REPORT.format(p50="fast", p99="2.00ms", errors="")):
            with self.assertRaises(wrk.Unreadable):
                wrk.parse(text)


class Log(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = Path(folder.name) / "log"

    def test_the_span_reaches_from_the_first_begin_to_the_last_end(self):
        line = '{"event":"invocation","time":%d,"outcome":"%s","phasesMs":{"total":%d}}\n'
        lines = [line % (5000, "success", 1000), line % (4000, "success", 500), line % (1000, "failed", 9000)]
        self.log.write_text("a warning\n" + "".join(lines) + '{"event":"left_out","lines":3}\n')
        self.assertEqual(drain.spans(self.log), (4.0, 6.0, 2, 3))

    def test_the_ready_line_counts_once_it_is_complete(self):
        self.log.write_text('{"event":"ready","address"')
        self.assertIsNone(servers.first_event(self.log, "ready"))
        self.log.write_text('warning\n{"event":"other"}\n{"event":"ready","address":"a"}\n')
        self.assertEqual(servers.first_event(self.log, "ready"), {"event": "ready", "address": "a"})


class Starts(unittest.TestCase):
    def check(self, row, starts, count, is_good):
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            lines = ['{"event":"invocation","phasesMs":{"start":%s}}' % start for start in starts]
            log.write_text("\n".join(["a warning", '{"event":"ready"}', *lines]))
            if is_good:
                zero.check_starts(log, count, row)
            else:
                self.assertRaises(RuntimeError, zero.check_starts, log, count, row)

    def test_without_a_worker_each_call_starts_one(self):
        row = zero.ROWS[0]
        self.check(row, [1.5, 0.7], 2, True)
        self.check(row, [1.5, 0.0], 2, False)
        self.check(row, [1.5], 2, False)

    def test_with_a_spare_no_call_but_the_first_starts_one(self):
        row = next(row for row in zero.ROWS if row.is_spare())
        self.check(row, [1.5, 0.0, 0.0], 3, True)
        self.check(row, [0.0, 0.0, 0.0], 3, True)
        self.check(row, [0.0, 0.4, 0.0], 3, False)

    def test_a_spare_is_fresh_once(self):
        known = set()
        is_time = zero.has_fresh_worker(known)

        def status(*workers):
            return {"workers": [{"id": name, "phase": phase, "completed": done} for name, phase, done in workers]}

        self.assertFalse(is_time(status()))
        self.assertFalse(is_time(status(("a", "Starting", 0))))
        self.assertTrue(is_time(status(("a", "Ready", 0))))
        # It has run something, and the server does not know it yet.
        self.assertFalse(is_time(status(("a", "Ready", 0))))
        self.assertFalse(is_time(status(("a", "Draining", 1), ("b", "Ready", 0))))
        self.assertTrue(is_time(status(("b", "Ready", 0))))


class Wire(unittest.TestCase):
    def test_an_answer_is_taken_when_it_is_whole(self):
        whole = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno"
        for length in range(len(whole)):
            self.assertIsNone(wire.take_answer(bytearray(whole[:length])))
        buffer = bytearray(whole + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        self.assertEqual(wire.take_answer(buffer), (429, True))
        self.assertEqual(wire.take_answer(buffer), (200, False))
        self.assertEqual(buffer, b"")

    def test_a_request_to_the_runtime_api_is_taken_when_it_is_whole(self):
        whole = b"POST /2018-06-01/runtime/invocation/1/response HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
        for length in range(len(whole)):
            self.assertIsNone(runtime_api.take_request(bytearray(whole[:length])))
        buffer = bytearray(whole + b"GET / HTTP/1.1\r\n\r\n")
        expected = [("POST", "/2018-06-01/runtime/invocation/1/response", b"{}"), ("GET", "/", b"")]
        for method, target, body in expected:
            self.assertEqual(runtime_api.take_request(buffer), runtime_api.Request(method, target, body))

    def test_a_request_becomes_an_event_of_a_function_url(self):
        event = json.loads(runtime_api.event_of(runtime_api.Request("GET", "/hello?name=Ada%20L", b"")))
        self.assertEqual((event["rawPath"], event["queryStringParameters"]), ("/hello", {"name": "Ada L"}))

    def test_many_apps_are_read_in_seconds_and_bytes(self):
        results = many.read({"apps": 1000, "memory_bytes": 1_500_000_000, "first_ms": [20, 150.0]})
        self.assertEqual((results.apps, results.memory.readings, results.first.readings), (1000, [1.5e9], [0.02, 0.15]))


class Memory(unittest.TestCase):
    def test_a_page_counts_once_in_a_system_of_two(self):
        def mapping(address, inode, pss, shared, private):
            head = f"{address}-ffff0000 r-xp 00001000 08:01 {inode} /lib/some.so\n"
            sizes = f"Pss: {pss} kB\nShared_Clean: {shared} kB\nShared_Dirty: 0 kB\n"
            return head + sizes + f"Private_Clean: 0 kB\nPrivate_Dirty: {private} kB\n"

        # A library at different addresses, a page of a parent at the same one, and memory of one's own.
        one = mapping("a0000000", 7, 15, 30, 5) + mapping("b0000000", 0, 10, 20, 100)
        other = mapping("c0000000", 7, 10, 20, 0) + mapping("b0000000", 0, 10, 20, 50)
        self.assertEqual(servers.proportional([one, other]), 45 * 1024)
        self.assertEqual(servers.alone([one, other]), (5 + 100 + 50 + 30 + 20) * 1024)


if __name__ == "__main__":
    unittest.main()
