//! Functions that take their process down, or try to (T-087): the caller is told what happened, everybody else is
//! served.

use ingle_testkit::{App, Python, Request, Response, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    os_exit_fails_only_its_invocation,
    sys_exit_fails_only_its_invocation,
    a_segmentation_fault_fails_only_its_invocation,
    a_base_exception_fails_only_its_invocation,
    an_async_function_fares_no_better_and_no_worse,
    a_replaced_standard_output_harms_nobody,
    closed_descriptors_harm_nobody,
    a_forked_child_does_not_answer_for_its_parent,
    a_deadlock_ends_at_the_time_limit,
    a_blocked_event_loop_ends_at_the_time_limit,
    a_message_that_kills_its_worker_ends_in_the_poison_queue,
    a_message_that_hangs_ends_in_the_poison_queue,
);

const APP: &str = r#"
import ctypes, asyncio

def crash(kind):
    if kind == "os_exit":
        os._exit(3)
    elif kind == "sys_exit":
        sys.exit(4)
    elif kind == "segfault":
        ctypes.string_at(0)
    elif kind == "base_exception":
        raise BaseException("neither an Exception nor good manners")
    elif kind == "keyboard":
        raise KeyboardInterrupt
    elif kind == "stdout":
        sys.stdout = sys.stderr = None
    elif kind == "descriptors":
        for number in (0, 1, 2):
            os.close(number)
    elif kind == "deadlock":
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()
    elif kind == "fork":
        if os.fork() == 0:
            return "from the child"
        os.wait()
    return "survived"

@app.route(route="crash/{kind}")
def crash_sync(req: func.HttpRequest) -> str:
    return crash(req.route_params["kind"])

@app.route(route="crash-async/{kind}")
async def crash_async(req: func.HttpRequest) -> str:
    await asyncio.sleep(0)
    return crash(req.route_params["kind"])

@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    print("slow begins")
    time.sleep(0.7)
    return "slow is done"

@app.route(route="slow-async")
async def slow_async(req: func.HttpRequest) -> str:
    print("slow begins")
    await asyncio.sleep(0.7)
    return "slow is done"

@app.route(route="good")
def good(req: func.HttpRequest) -> str:
    print("good speaks")
    return "fine"

@app.queue_trigger(arg_name="message", queue_name="crashes", connection="S")
def crash_message(message: str) -> None:
    crash(message)
"#;

fn app() -> App {
    App::python(APP).settings(&json!({"S": "embedded"}))
}

/// A slow safe request runs beside the crash, and must be answered properly whatever becomes of the process.
fn crash_beside_others(server: &Server, target: &str) -> Response {
    std::thread::scope(|scope| {
        let slow = ["/api/slow", "/api/slow-async"].map(|path| scope.spawn(move || server.get(path)));
        server.wait_for_many(2, "slow begins", |event| event["message"] == "slow begins");
        let crashed = server.get(target);
        assert_eq!(server.get("/api/good").status(200).text(), "fine", "the next request is not served");
        for slow in slow {
            match slow.join() {
                Ok(answer) => assert_eq!(answer.status(200).text(), "slow is done"),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        crashed
    })
}

fn assert_failed(
    server: &Server,
    function: &str,
    answer: &Response,
    status: u16,
    code: &str,
    parts: &[&str],
) {
    let text = answer.clone().status(status).text();
    for part in parts.iter().chain([&code]) {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    let record = server.invocations(function, 1).remove(0);
    assert_eq!(
        (&record["failure"]["code"], &record["failure"]["blame"]),
        (&json!(code), &json!("app")),
        "{record}"
    );
}

fn os_exit_fails_only_its_invocation(python: &Python) {
    let server = app().start(python);
    let answer = crash_beside_others(&server, "/api/crash/os_exit");
    assert_failed(&server, "crash_sync", &answer, 502, "E0303", &["os._exit(3)"]);
}

fn sys_exit_fails_only_its_invocation(python: &Python) {
    let server = app().start(python);
    let before = server.workers();
    let answer = crash_beside_others(&server, "/api/crash/sys_exit");
    assert_failed(&server, "crash_sync", &answer, 500, "E0301", &["sys.exit(4)", "SystemExit"]);
    assert_eq!(server.workers(), before, "the process lives on");
}

fn a_segmentation_fault_fails_only_its_invocation(python: &Python) {
    let server = app().start(python);
    let answer = crash_beside_others(&server, "/api/crash/segfault");
    assert_failed(&server, "crash_sync", &answer, 502, "E0303", &["SIGSEGV", "in crash"]);
}

fn a_base_exception_fails_only_its_invocation(python: &Python) {
    let server = app().start(python);
    let before = server.workers();
    let answer = crash_beside_others(&server, "/api/crash/base_exception");
    assert_failed(&server, "crash_sync", &answer, 500, "E0301", &["BaseException", "good manners"]);
    let keyboard = server.get("/api/crash/keyboard").status(500).text();
    assert!(keyboard.contains("KeyboardInterrupt"), "{keyboard}");
    assert_eq!(server.workers(), before, "the process lives on");
}

fn an_async_function_fares_no_better_and_no_worse(python: &Python) {
    let server = app().start(python);
    let check = |kind: &str, status: u16, part: &str| {
        let text = server.get(&format!("/api/crash-async/{kind}")).status(status).text();
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
        assert_eq!(server.get("/api/slow-async").status(200).text(), "slow is done");
    };
    check("base_exception", 500, "good manners");
    check("sys_exit", 500, "sys.exit(4)");
    check("keyboard", 500, "KeyboardInterrupt");
    check("os_exit", 502, "os._exit(3)");
    check("segfault", 502, "SIGSEGV");
}

fn a_replaced_standard_output_harms_nobody(python: &Python) {
    let server = app().start(python);
    let answer = crash_beside_others(&server, "/api/crash/stdout");
    assert_eq!(answer.status(200).text(), "survived");
    assert_eq!(server.get("/api/good").status(200).text(), "fine");
}

fn closed_descriptors_harm_nobody(python: &Python) {
    let server = app().start(python);
    let answer = crash_beside_others(&server, "/api/crash/descriptors");
    assert_eq!(answer.status(200).text(), "survived");
    assert_eq!(server.get("/api/good").status(200).text(), "fine");
    server.wait_for_many(2, "what `good` prints afterwards", |event| event["message"] == "good speaks");
}

fn a_forked_child_does_not_answer_for_its_parent(python: &Python) {
    let server = app().start(python);
    let answer = crash_beside_others(&server, "/api/crash/fork");
    assert_eq!(answer.status(200).text(), "survived");
    server.log("forked by the app came back from its code");
}

fn with_time_limit() -> App {
    app().host(&json!({"version": "2.0", "functionTimeout": "00:00:01",
        "extensions": {"queues": {"maxDequeueCount": 2}}}))
}

fn a_deadlock_ends_at_the_time_limit(python: &Python) {
    let server = with_time_limit().start(python);
    let before = server.workers();
    let answer = crash_beside_others(&server, "/api/crash/deadlock");
    assert_failed(&server, "crash_sync", &answer, 504, "E0302", &["function_app.py:24", "lock.acquire()"]);
    let place = server.invocations("crash_sync", 1).remove(0)["failure"]["location"].clone();
    assert_eq!(place, "function_app.py:24");
    server.events().look_until("another worker", || (server.workers() != before).then_some(()));
    assert_eq!(server.get("/api/good").status(200).text(), "fine");
}

fn a_blocked_event_loop_ends_at_the_time_limit(python: &Python) {
    let server = with_time_limit().start(python);
    let answer = server.get("/api/crash-async/deadlock").status(504).text();
    assert!(answer.contains("E0302"), "{answer}");
    assert_eq!(server.get("/api/slow-async").status(200).text(), "slow is done");
}

fn poisoned(server: &Server, message: &str, tries: usize) -> Value {
    server.send_queue("crashes", message);
    let records = server.invocations("crash_message", tries);
    assert_eq!(records[tries - 1]["effects"], json!(["poison crashes-poison"]));
    server.get("/api/good").status(200);
    assert_eq!(server.queue_length("crashes"), 0);
    server.messages("crashes-poison").pop().unwrap_or_default()
}

/// T-061, T-087: a crash counts as an attempt.
fn a_message_that_kills_its_worker_ends_in_the_poison_queue(python: &Python) {
    let server = app().start(python);
    let put_aside = poisoned(&server, "segfault", 5);
    assert_eq!((&put_aside["text"], &put_aside["poison"]["attempts"]), (&json!("segfault"), &json!(5)));
    assert!(
        put_aside["poison"]["reason"].as_str().is_some_and(|reason| reason.contains("SIGSEGV")),
        "{put_aside}"
    );
    let runs = server
        .stop()
        .events
        .into_iter()
        .filter(|event| event["function"] == "crash_message" && event["event"] == "invocation");
    assert_eq!(runs.count(), 5, "tried more often than allowed");
}

/// T-061, T-087.
fn a_message_that_hangs_ends_in_the_poison_queue(python: &Python) {
    let server = with_time_limit().start(python);
    let put_aside = poisoned(&server, "deadlock", 2);
    assert_eq!(put_aside["poison"]["attempts"], 2);
    // Beside a request, which is not the message's fault.
    assert_eq!(server.send(Request::get("/api/slow")).status(200).text(), "slow is done");
}
