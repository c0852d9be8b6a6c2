"""The HTTP server of the Runtime API on what clients send, and on what is no HTTP; prelude and body of streamed responses."""

import json
import os
import selectors
import socket
import sys
import threading
import unittest
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from ingle_worker import relay_http, relay_program, relay_stream
from ingle_worker.load_runtime import encode_answer, unstreamed
from ingle_worker.relay_call import Call

BODY_BYTES_MAX = 1000


class ServerTest(unittest.TestCase):
    """A server that answers each request with what it has understood of it."""

    def setUp(self):
        selector = selectors.DefaultSelector()
        self.addCleanup(selector.close)
        self.server = relay_http.Server(selector, self.handle, lambda connection: None, BODY_BYTES_MAX, self.opened)
        self.streams = []
        self.addCleanup(self.server.socket.close)
        ours, theirs = socket.socketpair()
        self.running = True
        selector.register(theirs, selectors.EVENT_READ, lambda mask: None)
        thread = threading.Thread(target=self.serve, args=(selector,))
        thread.start()

        def stop():
            self.running = False
            ours.send(b"x")
            thread.join()
            ours.close()
            theirs.close()

        self.addCleanup(stop)

    def serve(self, selector):
        while self.running:
            for key, mask in selector.select():
                key.data(mask)

    def opened(self, connection, request):
        if request.path != "/streamed":
            return None
        self.streams.append(_Pauses(connection))
        return self.streams[-1]

    def handle(self, connection, request):
        if request.path == "/resume":
            self.streams[-1].connection.resume()
        if request.stream is not None:
            request.body = b"|".join(request.stream.pieces)
        understood = [request.method, request.path, request.body.decode(), request.size, request.is_too_large, request.trailers]
        connection.answer(200, json.dumps(understood).encode(), [("X-Lines", "a\r\nb")])

    def exchange(self, *pieces):
        """Everything that comes back when the client has no more to send."""
        with socket.create_connection(self.server.socket.getsockname(), 30) as client:
            for piece in pieces:
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()

    def bodies(self, *pieces):
        answers = self.exchange(*pieces).split(b"HTTP/1.1 ")[1:]
        return [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]

    def test_bodies_come_with_a_length_or_in_chunks(self):
        self.assertEqual(self.bodies(b"POST /a?b HTTP/1.1\r\ncontent-LENGTH: 3\r\n\r\nabc"), [["POST", "/a", "abc", 3, False, {}]])
        chunked = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-End: yes\r\n\r\n"
        self.assertEqual(self.bodies(chunked), [["POST", "/a", "abcde", 5, False, {"x-end": "yes"}]])
        # However it is cut into pieces on its way.
        self.assertEqual(self.bodies(*(chunked[at : at + 1] for at in range(len(chunked)))),
                         [["POST", "/a", "abcde", 5, False, {"x-end": "yes"}]])

    def test_requests_behind_each_other_are_answered_in_their_order(self):
        one = b"GET /%d HTTP/1.1\r\n\r\n"
        self.assertEqual([body[1] for body in self.bodies(b"".join(one % number for number in range(5)))],
                         ["/0", "/1", "/2", "/3", "/4"])

    def test_a_large_body_is_taken_and_not_kept(self):
        large = b"POST /a HTTP/1.1\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000
        self.assertEqual(self.bodies(large + b"GET /b HTTP/1.1\r\n\r\n"),
                         [["POST", "/a", "", 5000, True, {}], ["GET", "/b", "", 0, False, {}]])
        chunk = b"258\r\n" + b"x" * 600 + b"\r\n"
        self.assertEqual(self.bodies(b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 2 * chunk + b"0\r\n\r\n"),
                         [["POST", "/a", "", 1200, True, {}]])

    def test_what_is_no_http_is_refused(self):
        for wrong in (b"hello\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nno value\r\n\r\n",
                      b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                      "POST / HTTP/1.1\r\nContent-Length: \u00b2\r\n\r\n".encode(), b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
                      b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                      b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"):
            answer = self.exchange(wrong)
            self.assertIn(b"HTTP/1.1 400 Bad Request\r\n", answer)
            self.assertIn(b"InvalidRequestFormat", answer)
            self.assertIn(b"Connection: close\r\n", answer)
        self.assertIn(b"TruncatedHTTPRequest", self.exchange(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc"))

    def test_connections_close_as_clients_wish_and_headers_have_one_line(self):
        answer = self.exchange(b"GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 1)
        self.assertIn(b"\r\nX-Lines: a  b\r\n", answer)
        self.assertIn(b"Connection: close\r\n", answer)

    def test_who_asks_may_send_its_body(self):
        head = b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        with socket.create_connection(self.server.socket.getsockname(), 30) as client:
            client.sendall(head)
            self.assertEqual(client.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            client.sendall(b"x")
            self.assertIn(b"HTTP/1.1 200 OK", client.recv(1000))


    def test_pieces_are_passed_on_and_may_wait(self):
        head = b"POST /streamed HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        with socket.create_connection(self.server.socket.getsockname(), 30) as client:
            client.sendall(head + b"3\r\none\r\n")
            # It is paused with the first piece, and hears of the rest when it goes on.
            client.sendall(b"3\r\ntwo\r\n0\r\nEnd: yes\r\n\r\n")
            while self.bodies(b"POST /look HTTP/1.1\r\nContent-Length: 0\r\n\r\n") and not self.streams[0].pieces:
                pass
            self.bodies(b"POST /resume HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            answer = json.loads(client.makefile("rb").read().partition(b"\r\n\r\n")[2])
        self.assertEqual(answer, ["POST", "/streamed", "one|two", 6, False, {"end": "yes"}])

    def test_a_piece_that_is_too_much_is_said_at_the_end(self):
        body = b"x" * (BODY_BYTES_MAX + 1)
        (answer,) = self.bodies(b"POST /streamed HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body), body)
        # What is gathered has a bound, and what is passed on its own.
        self.assertFalse(answer[4])
        (answer,) = self.bodies(b"POST /streamed HTTP/1.1\r\nContent-Length: 4\r\n\r\nmuch")
        self.assertTrue(answer[4])


class _Pauses:
    """Takes pieces, and pauses with the first if there are more."""

    def __init__(self, connection):
        self.connection = connection
        self.pieces = []

    def take(self, piece):
        self.pieces.append(bytes(piece))
        if piece == b"one":
            self.connection.pause()
        return piece != b"much"


class StreamTest(unittest.TestCase):
    """An answer in pieces between the loop and the lane."""

    def setUp(self):
        self.connection = mock.Mock()
        self.call = Call("1", b"", [], 0, None)
        self.refused = []
        self.stream = relay_stream.Stream(self.call, self.connection, self.refused.append)

    def told(self):
        found = []
        while not self.call.told.empty():
            found.append(self.call.told.get())
        return found

    def test_what_waits_is_given_at_once(self):
        self.stream.take(b"a")
        self.stream.take(b"b")
        self.assertEqual(self.told(), [("pieces", self.stream)])
        self.assertEqual(self.stream.give(), (b"ab", False))
        self.stream.take(b"c")
        self.assertEqual(self.told(), [("pieces", self.stream)])
        self.connection.pause.assert_not_called()

    def test_a_runtime_waits_for_the_lane(self):
        self.stream.take(bytes(1024 * 1024))
        self.connection.pause.assert_called_once_with()
        self.assertTrue(self.stream.give()[1])
        self.stream.go_on()
        self.connection.resume.assert_called_once_with()

    def test_an_answer_has_a_bound(self):
        with mock.patch.object(relay_stream, "STREAMED_BYTES_MAX", 3):
            self.assertTrue(self.stream.take(b"abc"))
            self.assertFalse(self.stream.take(b"d"))
            self.assertEqual(self.refused, [self.stream])
            self.stream.end()
            # Nobody waits for it: it is dropped, and held up by nobody.
            self.assertTrue(self.stream.take(b"e"))
        self.assertEqual(self.stream.give(), (b"abc", False))


class AnswerTest(unittest.TestCase):
    def test_a_streamed_response_becomes_a_whole_one(self):
        self.assertEqual(json.loads(unstreamed(b'{"statusCode": 201}' + b"\0" * 8 + b"text")), {"statusCode": 201, "body": "text"})
        self.assertEqual(json.loads(unstreamed(b"{}" + b"\0" * 8 + b"\xff")),
                         {"statusCode": 200, "body": "/w==", "isBase64Encoded": True})
        self.assertEqual(unstreamed(b"no prelude"), b"no prelude")

    def test_json_is_text_and_what_else_there_is_bytes(self):
        self.assertIn('"json"', str(encode_answer(("application/json; charset=utf-8", b"1"))))
        self.assertIn('"json"', str(encode_answer(("", b"1"))))
        self.assertIn('"bytes"', str(encode_answer(("application/octet-stream", b"1"))))
        self.assertIn('"bytes"', str(encode_answer(("application/json", b"\xff"))))

    def test_a_failure_is_what_the_runtime_says(self):
        def told(body, headers=None, trailers=None):
            request = relay_http.Request("POST", "/", headers or {})
            request.body, request.trailers = body, trailers or {}
            failure = relay_program.told_failure(request)
            return failure["kind"], failure["message"], failure["body"]

        own = b'{"errorType": "A", "errorMessage": "b", "more": 1}'
        self.assertEqual(told(own), ("A", "b", own.decode()))
        for kind, known in (("Runtime.Own", "Runtime.Own"), ("Function.x", "Function.Unknown"), ("Other", "Runtime.Unknown"),
                            ("", "Runtime.Unknown")):
            made = json.dumps({"errorType": known, "errorMessage": ""})
            for body in (b"", b"[]", b"\xff", b"7"):
                self.assertEqual(told(body, {relay_program.ERROR_TYPE: kind}), (known, "", made))


if __name__ == "__main__":
    unittest.main()
