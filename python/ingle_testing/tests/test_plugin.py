"""The plug-in: a test session of its own for each case, as a user runs it."""

import os
import subprocess
import sys
import textwrap

import pytest
from conftest import write_app

APP = """
@app.queue_trigger(arg_name="message", queue_name="work", connection=S)
@app.queue_output(arg_name="out", queue_name="done", connection=S)
def work(message: func.QueueMessage, out: func.Out[str]) -> None:
    logging.info("at work on %s", message.get_body().decode())
    if message.get_body() == b"bad":
        raise ValueError("kaput")
    out.set(os.environ.get("MODE", "none"))
"""


@pytest.fixture
def session(tmp_path):
    """Runs pytest on these tests, beside an app in the folder `shop`."""

    def run(tests, *arguments, environment=None):
        shop = tmp_path / "shop"
        shop.mkdir()
        write_app(shop, APP)
        (tmp_path / "pytest.ini").write_text("[pytest]\ningle_app = shop\ningle_time = 2031-01-01T06:00:00Z\n")
        (tmp_path / "test_it.py").write_text("import pytest\n" + textwrap.dedent(tests))
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *arguments]
        # A plug-in that is not installed has to be named.
        if not installed():
            command += ["-p", "ingle_testing.plugin"]
        known = {**os.environ, **(environment or {})}
        done = subprocess.run(command, cwd=tmp_path, env=known, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    return run


def installed():
    from importlib.metadata import entry_points

    found = entry_points()
    group = found.select(group="pytest11") if hasattr(found, "select") else found.get("pytest11", ())
    return any(entry.value == "ingle_testing.plugin" for entry in group)


needs_ingle = pytest.mark.skipif(not os.environ.get("INGLE"), reason="the variable INGLE names no program")


@needs_ingle
def test_each_test_begins_anew_and_failures_are_shown(session):
    code, output = session("""
        def test_good(ingle_platform):
            ingle_platform.queue("work").send("good")
            ingle_platform.advance(hours=1)
            assert ingle_platform.queue("done").peek().text == "none"
            assert ingle_platform.now.hour == 7

        def test_anew(ingle_platform):
            assert len(ingle_platform.queue("done")) == 0
            assert ingle_platform.now.hour == 6

        def test_bad(ingle_platform):
            ingle_platform.queue("work").send("bad")
            ingle_platform.settle()

        def test_left_undone(ingle_platform):
            ingle_platform.queue("work").send("bad")

        @pytest.mark.ingle(settings={"MODE": "night"}, time="2031-01-02", fresh=True)
        def test_marked(ingle_platform):
            ingle_platform.queue("work").send("good")
            ingle_platform.settle()
            assert ingle_platform.queue("done").peek().text == "night"
            assert ingle_platform.now.day == 2
    """)
    assert code == 1, output
    assert "4 passed, 1 failed, 1 error" in output or "1 failed, 4 passed, 1 error" in output, output
    for part in ("ERROR test_it.py::test_left_undone", "FAILED test_it.py::test_bad", "ValueError: kaput",
                 "Ingle: invocations and logs", "work info: at work on bad"):
        assert part in output, output


def test_a_missing_program_is_an_error_of_each_test(session):
    code, output = session("def test_it(ingle_platform): pass\n", "--ingle=nowhere")
    assert code == 1 and "the option names 'nowhere', which is no program" in output, output


@needs_ingle
def test_a_mistake_in_the_marker_is_told(session):
    code, output = session("""
        @pytest.mark.ingle(folder="shop")
        def test_it(ingle_platform):
            pass
    """)
    assert code == 1 and "the marker ingle does not know folder" in output, output
