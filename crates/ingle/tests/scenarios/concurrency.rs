//! Many invocations at once, `async def` and `def` side by side.

use ingle_testkit::{App, Python, on_each_python};
use serde_json::json;

const ASYNC_REQUESTS: usize = 200;
const SYNC_REQUESTS: usize = 100;

on_each_python!(three_hundred_slow_requests_run_side_by_side, lanes_are_bounded_by_the_setting);

const APP: &str = r#"
import asyncio
lock = threading.Lock()
at_work = {"sync": 0, "async": 0}
most = {"sync": 0, "async": 0}

def enter(kind):
    with lock:
        at_work[kind] += 1
        most[kind] = max(most[kind], at_work[kind])

def leave(kind):
    with lock:
        at_work[kind] -= 1

@app.route(route="sync")
def in_thread(req: func.HttpRequest) -> str:
    enter("sync")
    time.sleep(0.05)
    leave("sync")
    return "sync"

@app.route(route="async")
async def on_loop(req: func.HttpRequest) -> str:
    enter("async")
    await asyncio.sleep(0.05)
    leave("async")
    return "async"

@app.route(route="most")
def show(req: func.HttpRequest) -> str:
    return json.dumps(most) + " "
"#;

fn burst(server: &ingle_testkit::Server) {
    std::thread::scope(|scope| {
        for number in 0..ASYNC_REQUESTS + SYNC_REQUESTS {
            let kind = if number % 3 == 0 { "sync" } else { "async" };
            scope.spawn(move || assert_eq!(server.get(&format!("/api/{kind}")).status(200).text(), kind));
        }
    });
}

/// Counted inside the function, because times on a busy machine say nothing.
fn three_hundred_slow_requests_run_side_by_side(python: &Python) {
    let server = App::python(APP).start(python);
    burst(&server);
    let most = server.get("/api/most").status(200).json();
    assert!(most["async"].as_u64() >= Some(10), "at most {most} at once");
    assert!(most["sync"].as_u64() >= Some(5), "at most {most} at once");
    server.invocations("on_loop", ASYNC_REQUESTS);
    server.invocations("in_thread", SYNC_REQUESTS);
}

fn lanes_are_bounded_by_the_setting(python: &Python) {
    let app = App::python(APP).settings(&json!({"PYTHON_THREADPOOL_THREAD_COUNT": "3"}));
    let server = app.start(python);
    burst(&server);
    let most = server.get("/api/most").status(200).json();
    assert!(most["sync"].as_u64() <= Some(3), "{most} at once");
    assert!(most["async"].as_u64() >= Some(10), "async functions need no lane: {most} at once");
}
