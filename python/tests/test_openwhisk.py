"""Actions of OpenWhisk: which dictionary a request becomes, and which response a result."""

import io
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from ingle_worker import openwhisk  # noqa: E402


def call(result, method="GET", path="/", query="", body=b"", kind="", raw=False, seen=None):
    """Status, headers and body for what an action gives; its arguments are appended to `seen`."""
    told = []

    def run(arguments):
        if seen is not None:
            seen.append(arguments)
        return result

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_TYPE": kind,
               "wsgi.input": io.BytesIO(body), "HTTP_X_ONE": "1"}
    pieces = openwhisk.app(run, raw)(environ, lambda status, headers: told.append((status, dict(headers))))
    status, headers = told[0]
    return int(status.split()[0]), headers.get("Content-Type"), b"".join(pieces)


class Arguments(unittest.TestCase):
    def check(self, expected, **request):
        seen = []
        call({}, seen=seen, **request)
        own = seen[0]
        self.assertEqual(own.pop("__ow_method"), request.get("method", "GET").lower())
        self.assertEqual(own.pop("__ow_headers")["x-one"], "1")
        own.pop("__ow_path")
        self.assertEqual(own, expected)

    def test_query_and_body_are_members_and_the_body_wins(self):
        self.check({"a": "2", "b": ""}, query="a=1&a=2&b=")
        self.check({"a": 3}, query="a=1", method="POST", body=b'{"a": 3}', kind="application/json; charset=utf-8")
        self.check({"a": "x y"}, method="POST", body=b"a=x+y", kind="application/x-www-form-urlencoded")

    def test_other_bodies_are_one_member(self):
        self.check({"__ow_body": "text"}, method="POST", body=b"text", kind="text/plain")
        self.check({"__ow_body": "AP8="}, method="POST", body=b"\0\xff", kind="image/png")
        self.check({"__ow_body": "/w=="}, method="POST", body=b"\xff")
        self.check({"__ow_body": [1]}, method="POST", body=b"[1]", kind="application/json")

    def test_raw_actions_get_them_as_they_are(self):
        self.check({"__ow_query": "a=1&a=2", "__ow_body": "e30="}, raw=True, query="a=1&a=2", body=b"{}", kind="application/json")
        self.check({"__ow_query": "", "__ow_body": ""}, raw=True)

    def test_reserved_names_are_refused(self):
        for request in ({"query": "__ow_path=x"}, {"body": b'{"__ow_headers": {}}', "kind": "application/json"}):
            self.assertEqual(call({}, **request)[0], 400)


class Responses(unittest.TestCase):
    def test_results_are_responses(self):
        html = "text/html; charset=UTF-8"
        for result, expected in (
            ({}, (204, None, b"")),
            ({"body": "<b>"}, (200, html, b"<b>")),
            ({"body": ""}, (204, None, b"")),
            ({"statusCode": "202", "body": [1]}, (202, "application/json", b"[1]")),
            ({"statusCode": 302, "headers": {"Location": "/"}}, (302, None, b"")),
            ({"headers": {"content-type": "image/png"}, "body": "AP8="}, (200, "image/png", b"\0\xff")),
            ({"headers": {"Content-Type": "application/json"}, "body": "{}"}, (200, "application/json", b"{}")),
            ({"error": {"statusCode": 418, "body": "tea"}}, (418, html, b"tea")),
        ):
            self.assertEqual(call(result), expected, result)

    def test_what_is_no_response_is_refused(self):
        for result in ({"statusCode": 99}, {"statusCode": True}, {"statusCode": "many"}, {"statusCode": 200.5}, {"headers": 7},
                       {"headers": {"a": {}}}, {"headers": {"Content-Type": "image/png"}, "body": "no base64"},
                       {"headers": {"Content-Type": "text/plain"}, "body": {}}, {"error": "text"}, [1]):
            self.assertEqual(call(result)[0], 400, result)

    def test_what_is_no_result_is_a_failure(self):
        for result in (None, 7, "text", {"body": {1, 2}}):
            with self.assertRaises(openwhisk.ActionFailed):
                call(result)

    def test_extensions_choose_a_part(self):
        path = "/api/v1/web/guest/default/hello"
        result = {"body": "<svg/>"}
        self.assertEqual(call(result, path=path + ".json")[1:], ("application/json", b'{"body": "<svg/>"}'))
        self.assertEqual(call(result, path=path + ".svg")[1:], ("image/svg+xml", b"<svg/>"))
        self.assertEqual(call({"html": "x"}, path=path + ".html")[2], b"x")
        self.assertEqual(call({"text": 7}, path=path + ".text")[2], b"7")
        self.assertEqual(call({}, path=path + ".text")[0], 404)
        self.assertEqual(call({}, path=path + ".html")[0], 400)
        seen = []
        call(result, path=path + ".http/a/b", seen=seen)
        self.assertEqual(seen[0]["__ow_path"], "/a/b")


if __name__ == "__main__":
    unittest.main()
