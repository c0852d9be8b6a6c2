"""What needs no server: records, headers, finding the program."""

from datetime import datetime, timedelta, timezone

import pytest
from ingle_testing import IngleNotFound, Platform, PlatformError
from ingle_testing.http import HttpClient
from ingle_testing.records import Headers, Invocation, LogLine, Message, from_milliseconds, to_milliseconds
from ingle_testing.server import find_program, problems_text


def test_times_survive_the_way_to_milliseconds_and_back():
    time = datetime(2030, 1, 1, 0, 0, 0, 123000, tzinfo=timezone.utc)
    assert to_milliseconds(time) == 1893456000123
    assert from_milliseconds(1893456000123) == time
    assert to_milliseconds(time.replace(tzinfo=None)) == to_milliseconds(time.astimezone(timezone(timedelta(hours=-7))))


def test_headers_are_found_in_any_case():
    headers = Headers([("Content-Type", "a"), ("X", "1"), ("x", "2")])
    assert headers["content-TYPE"] == headers.get("Content-type") == "a"
    assert headers["X"] == "1, 2" and "x" in headers and "y" not in headers


def test_messages_of_all_kinds_are_read():
    entry = {"id": "1", "state": "delayed", "dequeueCount": 0, "insertedAt": 0, "visibleAt": 60000, "text": '{"a": 1}'}
    message = Message.read(entry)
    assert (message.json(), message.text, message.state) == ({"a": 1}, '{"a": 1}', "delayed")
    assert message.visible_at - message.inserted_at == timedelta(minutes=1)
    del entry["text"]
    poisoned = Message.read({**entry, "bytes": {"size": 2, "base64": "/wA="}, "poison": {"reason": "delivered 5 times"}})
    assert (poisoned.body, poisoned.poison_reason) == (b"\xff\x00", "delivered 5 times")


def test_an_invocation_tells_why_it_failed():
    failure = {"kind": "ValueError", "message": "no", "traceback": "  File \"a.py\", line 1", "code": "E0301", "hint": None}
    event = {"id": "inv_1", "function": "cook", "time": 0, "summary": "queue a", "outcome": "failed", "status": None,
             "effects": [], "failure": failure}
    line = LogLine.read({"message": "m", "level": "info", "logger": "", "source": "stdout", "function": "cook",
                         "invocation": "inv_1"})
    invocation = Invocation.read(event, [line])
    assert not invocation.is_success and invocation.logs == (line,)
    assert invocation.describe() == "cook (queue a): failed\nValueError: no\n  File \"a.py\", line 1"


def test_problems_are_told_with_place_and_fix():
    problem = {"code": "E0203", "message": "no module 'x'", "file": "function_app.py", "line": 3, "fix": "add it",
               "detail": "one\ntwo"}
    expected = "E0203 no module 'x' (function_app.py:3)\n    one\n    two\n    fix: add it"
    assert problems_text([problem]) == expected


def test_a_missing_program_is_told_at_once(monkeypatch, tmp_path):
    monkeypatch.delenv("INGLE", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(IngleNotFound, match="--ingle="):
        find_program()
    with pytest.raises(IngleNotFound, match="the option names"):
        find_program(str(tmp_path / "nowhere"))
    monkeypatch.setenv("INGLE", "nowhere")
    with pytest.raises(IngleNotFound, match="the variable INGLE"):
        find_program()
    program = tmp_path / "ingle"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.delenv("INGLE")
    assert find_program() == str(program)


def test_a_program_that_is_another_is_told(tmp_path):
    program = tmp_path / "other"
    program.write_text("#!/bin/sh\necho no such option >&2\nexit 4\n")
    program.chmod(0o755)
    with pytest.raises(PlatformError, match="code 4(?s:.*)no such option"):
        Platform(tmp_path, ingle=str(program)).start()


def test_a_platform_that_is_not_started_says_so(tmp_path):
    program = tmp_path / "ingle"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with pytest.raises(PlatformError, match="with Platform"):
        Platform(tmp_path, ingle=str(program)).settle()


def test_a_request_has_one_body():
    with pytest.raises(TypeError):
        HttpClient(("127.0.0.1", 1)).post("/", json={}, data="x")
