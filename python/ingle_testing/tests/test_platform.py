"""The platform: the real server, on a clock that the tests move."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import datetime, timedelta, timezone

import pytest
from ingle_testing import AppProblems, FunctionFailed, NotSettled, PlatformError, SdkMissing

CHAIN = """
@app.route(route="orders", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="orders", connection=S)
def take(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set(req.get_body().decode())
    return "taken"

@app.queue_trigger(arg_name="message", queue_name="orders", connection=S)
@app.blob_output(arg_name="out", path="receipts/{id}.txt", connection=S)
def cook(message: func.QueueMessage, out: func.Out[str]) -> None:
    logging.info("cooking at %s", message.insertion_time.isoformat())
    out.set(message.get_json()["dish"])

@app.blob_trigger(arg_name="receipt", path="receipts/{name}", connection=S)
@app.queue_output(arg_name="out", queue_name="filed", connection=S)
def file(receipt: func.InputStream, out: func.Out[str]) -> None:
    out.set(receipt.name)

@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
@app.queue_output(arg_name="out", queue_name="nights", connection=S)
def night(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set(json.dumps({"late": timer.past_due, "next": timer.schedule_status["Next"]}))
"""

FAILING = """
@app.queue_trigger(arg_name="message", queue_name="work", connection=S)
def work(message: func.QueueMessage) -> None:
    logging.warning("try %d", message.dequeue_count)
    raise ValueError("no " + message.get_body().decode())
"""

TIMERS = """
@app.timer_trigger(arg_name="timer", schedule="0 */20 * * * *")
@app.queue_output(arg_name="out", queue_name="out", connection=S)
def often(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set("often")

@app.timer_trigger(arg_name="timer", schedule="0 30 * * * *")
@app.queue_output(arg_name="out", queue_name="out", connection=S)
def half(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set("half")

@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
@app.queue_output(arg_name="out", queue_name="out", connection=S)
def hourly(timer: func.TimerRequest, out: func.Out[str]) -> None:
    out.set("hourly")
"""


def functions(platform):
    return [invocation.function for invocation in platform.invocations]


def texts(platform, queue):
    return [message.text for message in platform.queue(queue).messages]


def test_a_chain_runs_while_a_day_passes(start):
    platform = start(CHAIN)
    assert platform.http.post("/api/orders", json={"id": "1", "dish": "soup"}).text == "taken"
    # Nothing happens behind the back of the test.
    assert functions(platform) == ["take"]
    platform.settle()
    assert platform.blob("receipts/1.txt").text() == "soup"
    assert texts(platform, "filed") == ["receipts/1.txt"]
    assert [line.message for line in platform.logs] == ["cooking at 2030-01-01T00:00:00+00:00"]
    platform.advance(days=1)
    assert functions(platform) == ["take", "cook", "file", "night"]
    assert platform.invocations[-1].time == datetime(2030, 1, 1, 3, tzinfo=timezone.utc)
    assert platform.queue("nights").peek().json() == {"late": False, "next": "2030-01-02T03:00:00+00:00"}
    assert platform.now == datetime(2030, 1, 2, tzinfo=timezone.utc)


def test_the_order_is_the_same_each_time(start):
    platform = start(CHAIN + TIMERS)
    stories = []
    for _ in range(3):
        for number in range(5):
            platform.http.post("/api/orders", json={"id": str(number), "dish": "soup"})
        platform.advance(hours=3)
        stories.append(functions(platform) + texts(platform, "filed") + texts(platform, "out"))
        platform.reset()
    assert stories[0] == stories[1] == stories[2]
    assert stories[0][:15] == ["take"] * 5 + ["cook"] * 5 + ["file"] * 5
    assert stories[0][-15:-10] == ["often", "half", "often", "hourly", "often"]


def test_a_delayed_message_waits_for_its_time(start):
    platform = start(CHAIN)
    platform.queue("orders").send({"id": "1", "dish": "soup"}, delay=timedelta(hours=2))
    platform.advance(hours=1, minutes=59, seconds=59)
    assert functions(platform) == []
    assert platform.queue("orders").peek().state == "delayed"
    platform.advance(seconds=1)
    assert functions(platform) == ["cook", "file"]


def test_a_failure_that_nobody_expects_fails_the_test(start):
    platform = start(FAILING)
    platform.queue("work").send("soup")
    with pytest.raises(FunctionFailed, match="ValueError: no soup(?s:.*)function_app.py") as caught:
        platform.settle()
    assert len(caught.value.failures) == 5
    # Once told it is known.
    platform.settle()
    assert texts(platform, "work-poison") == ["soup"]
    assert platform.queue("work-poison").peek().poison_reason


def test_a_failure_can_be_expected(start):
    platform = start(FAILING)
    with platform.expect_failures("work") as failures:
        platform.queue("work").send("soup")
    assert [failure.logs[0].message for failure in failures] == ["try %d" % number for number in range(1, 6)]
    with pytest.raises(AssertionError, match="work did not fail"):
        with platform.expect_failures("work"):
            pass
    with pytest.raises(FunctionFailed):
        with platform.expect_failures("another"):
            platform.queue("work").send("stew")


def test_work_left_undone_is_done_at_the_end(start):
    platform = start(FAILING)
    platform.queue("work").send("soup")
    with pytest.raises(FunctionFailed):
        platform.verify()


def test_visibility_timeout_is_moved_time(start):
    host = '{"version": "2.0", "extensions": {"queues": {"visibilityTimeout": "01:00:00", "maxDequeueCount": 3}}}'
    platform = start(FAILING, host=host)
    platform.queue("work").send("soup")
    with platform.expect_failures():
        platform.settle()
    assert len(platform.failures) == 1
    with platform.expect_failures():
        platform.advance(hours=3)
    times = [failure.time.hour for failure in platform.failures]
    assert times == [0, 1, 2]


def test_retries_wait_for_moved_time(start):
    platform = start("""
    @app.queue_trigger(arg_name="message", queue_name="work", connection=S)
    @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:10:00")
    @app.queue_output(arg_name="out", queue_name="done", connection=S)
    def work(message: func.QueueMessage, out: func.Out[str], context: func.Context) -> None:
        if context.retry_context.retry_count < 2:
            raise RuntimeError("not yet")
        out.set("done")
    """)
    platform.queue("work").send("x")
    platform.settle()
    assert [entry.outcome for entry in platform.invocations] == ["retrying"]
    platform.advance(minutes=10)
    assert texts(platform, "done") == []
    # It rests for longer than a lease lasts, which is renewed meanwhile.
    platform.advance(minutes=30)
    assert texts(platform, "done") == ["done"]
    assert [entry.outcome for entry in platform.invocations] == ["retrying", "retrying", "success"]


def test_a_reset_forgets_what_still_waits_for_an_attempt(start):
    platform = start("""
    @app.queue_trigger(arg_name="message", queue_name="work", connection=S)
    @app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="01:00:00")
    def work(message: func.QueueMessage) -> None:
        raise RuntimeError("not yet")
    """)
    platform.queue("work").send("x")
    platform.settle()
    platform.reset()
    platform.advance(days=1)
    assert platform.invocations == []


def test_changes_of_documents_are_followed_also_after_a_reset(start):
    platform = start("""
    @app.cosmos_db_trigger(arg_name="changes", database_name="shop", container_name="orders", connection=S,
                           lease_container_name="leases")
    @app.queue_output(arg_name="out", queue_name="seen", connection=S)
    def follow(changes: func.DocumentList, out: func.Out[str]) -> None:
        out.set(",".join(change["id"] for change in changes))
    """)
    for _ in range(3):
        platform.documents("shop/orders").put({"id": "1"}, {"id": "2"})
        platform.settle()
        assert texts(platform, "seen") == ["1,2"]
        assert len(platform.documents("shop/orders")) == 2
        platform.reset()


def test_a_reset_begins_anew_in_the_same_process(start):
    platform = start(CHAIN)
    pids = []
    for _ in range(3):
        platform.http.post("/api/orders", json={"id": "1", "dish": "soup"})
        platform.advance(days=2)
        assert functions(platform) == ["take", "cook", "file", "night", "night"]
        pids.append(platform.server.ask_json("GET", "/v1/status")["workers"][0]["processId"])
        platform.reset()
        assert (functions(platform), platform.blobs("receipts"), platform.logs) == ([], [], [])
        assert platform.now == datetime(2030, 1, 1, tzinfo=timezone.utc)
    assert len(set(pids)) == 1


def test_accounts_of_the_developer_are_not_touched(start, tmp_path):
    (tmp_path / "app").mkdir()
    settings = '{"Values": {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}}'
    (tmp_path / "app" / "local.settings.json").write_text(settings)
    platform = start(CHAIN)
    platform.http.post("/api/orders", json={"id": "1", "dish": "soup"})
    platform.settle()
    assert platform.blob("receipts/1.txt").text() == "soup"


def test_run_on_startup_runs_before_the_test_begins(start):
    platform = start("""
    @app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
    def warm(timer: func.TimerRequest) -> None:
        pass
    """)
    assert functions(platform) == ["warm"]


def test_stores_are_filled_and_read(start):
    platform = start("""
    @app.route(route="price")
    @app.table_input(arg_name="rows", table_name="Prices", partition_key="{dish}", connection=S)
    @app.blob_input(arg_name="currency", path="settings/currency", connection=S)
    def price(req: func.HttpRequest, rows: str, currency: str) -> str:
        return "%s %s" % (json.loads(rows)[0]["Amount"], currency)
    """)
    platform.table("Prices").add({"PartitionKey": "soup", "RowKey": "1", "Amount": 4})
    blob = platform.blob("settings/currency")
    blob.put("EUR", content_type="text/plain")
    assert platform.http.get("/api/price", params={"dish": "soup"}).text == "4 EUR"
    assert platform.table("Prices").get("soup", "1")["Amount"] == 4
    assert (blob.exists(), blob.text(), platform.blobs("settings")) == (True, "EUR", ["currency"])
    blob.delete()
    assert not blob.exists()
    with pytest.raises(KeyError, match="settings: nothing"):
        blob.get()
    with pytest.raises(KeyError):
        platform.documents("a/b").get("1")
    with pytest.raises(PlatformError, match="PartitionKey"):
        platform.table("Prices").add({"RowKey": "1"})
    platform.queue("binary").send(b"\xff\x00")
    assert platform.queue("binary").peek().body == b"\xff\x00"


def test_functions_are_run_by_hand_with_settings_of_the_test(start):
    platform = start("""
    @app.timer_trigger(arg_name="timer", schedule="%WHEN%")
    @app.queue_output(arg_name="out", queue_name="out", connection=S)
    def tick(timer: func.TimerRequest, out: func.Out[str]) -> None:
        out.set(os.environ["MODE"])
    """, settings={"WHEN": "0 0 5 * * *", "MODE": "test"}, time=datetime(2031, 7, 1))
    assert platform.invoke("tick")["outcome"] == "success"
    assert texts(platform, "out") == ["test"]
    platform.advance_to(datetime(2031, 7, 1, 5))
    assert len(platform.queue("out")) == 2
    with pytest.raises(PlatformError, match="forward only"):
        platform.advance_to(datetime(2031, 7, 1, 4))


AGAIN = """
@app.queue_trigger(arg_name="message", queue_name="again", connection=S)
@app.queue_output(arg_name="out", queue_name="again", connection=S)
def again(message: func.QueueMessage, out: func.Out[str]) -> None:
    out.set("again")
"""


def test_what_never_ends_is_named(start):
    platform = start(AGAIN, ingle="[loops]\nmax_hops = 0\n")
    platform.queue("again").send("x")
    with pytest.raises(NotSettled, match="again|invocation"):
        platform.settle(timeout=0.3)


def test_t_081_a_loop_fails_the_test_that_started_it(start):
    platform = start(AGAIN)
    platform.queue("again").send("x")
    with pytest.raises(FunctionFailed, match="again has passed through 16 functions"):
        platform.settle()
    assert len(platform.queue("again-poison")) == 1


def test_a_long_way_ends_at_the_limit(start):
    platform = start("""
    @app.timer_trigger(arg_name="timer", schedule="* * * * * *")
    def tick(timer: func.TimerRequest) -> None:
        pass
    """)
    with pytest.raises(NotSettled, match="stands at 2030-01-01T"):
        platform.advance(days=1000, timeout=0.3)
    platform.settle()
    ran = len(platform.invocations)
    assert ran > 0
    # It goes on from there.
    platform.advance(seconds=2)
    assert len(platform.invocations) == ran + 2


def test_an_app_with_errors_is_told_with_place_and_fix(start):
    with pytest.raises(AppProblems, match="function_app.py:") as caught:
        start("import no_such_module\n")
    assert caught.value.problems[0]["code"] == "E0203"
    with pytest.raises(PlatformError, match="no app"):
        start_nothing(start)


def start_nothing(start):
    platform = start("\n" + CHAIN)
    platform.close()
    (platform.folder / "function_app.py").unlink()
    platform.start()


def test_a_missing_sdk_is_told(start, monkeypatch):
    import ingle_testing.sdk

    monkeypatch.setattr(ingle_testing.sdk.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SdkMissing, match="pip install azure-functions"):
        start(CHAIN)


def test_no_server_outlives_its_tests(start, tmp_path):
    platform = start(CHAIN)
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent("""
        import sys, time
        from ingle_testing import Platform
        platform = Platform(sys.argv[1]).start()
        print(platform.server.ask_json("GET", "/v1/status")["processId"], flush=True)
        time.sleep(600)
    """))
    child = subprocess.Popen([sys.executable, str(program), str(platform.folder)], stdout=subprocess.PIPE)
    server = int(child.stdout.readline())
    os.kill(server, 0)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 30
    while True:
        try:
            os.kill(server, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline, "the server is still there"
        time.sleep(0.02)
