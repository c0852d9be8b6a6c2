//! What a worker is from its first call on, although it does the least before it.

use std::thread;

use ingle_testkit::{App, Python, on_each_python};

on_each_python!(
    a_long_first_call_holds_up_no_other,
    the_first_call_reaches_the_loop_of_the_app,
    the_first_lane_waits_for_ever_for_its_calls,
);

const APP: &str = r#"
import asyncio, threading

LOOP = asyncio.get_event_loop_policy().get_event_loop()
HERE = os.path.dirname(__file__)

@app.route(route="long")
def long(req: func.HttpRequest) -> str:
    open(os.path.join(HERE, "began"), "w").close()
    while not os.path.exists(os.path.join(HERE, "end")):
        time.sleep(0.005)
    return "%d" % whoami()

@app.route(route="quick")
async def quick(req: func.HttpRequest) -> str:
    return "%d" % whoami()

@app.route(route="loop")
def through_the_loop(req: func.HttpRequest) -> str:
    async def where():
        await asyncio.sleep(0)
        return threading.current_thread().name
    return asyncio.run_coroutine_threadsafe(where(), LOOP).result()
"#;

fn app() -> App {
    App::python(APP).file("ingle.toml", "[workers]\nspare = 0\nidle_timeout = \"50ms\"\n")
}

/// The event loop is made ready behind the first call, but does not wait for its end.
fn a_long_first_call_holds_up_no_other(python: &Python) {
    let server = app().start(python);
    thread::scope(|scope| {
        let first = scope.spawn(|| server.get("/api/long").status(200).text());
        let began = server.folder().join("began");
        server.events().look_until("the first call at work", || began.exists().then_some(()));
        let other = server.get("/api/quick").status(200).text();
        std::fs::write(server.folder().join("end"), "").unwrap();
        assert_eq!(first.join().unwrap(), other, "one worker runs both");
    });
}

/// A loop that the app kept from its import time serves also the very first call of each worker.
fn the_first_call_reaches_the_loop_of_the_app(python: &Python) {
    let server = app().start(python);
    for _ in 0..3 {
        server.events().look_until("no worker", || server.workers().is_empty().then_some(()));
        assert_eq!(server.get("/api/loop").status(200).text(), "MainThread");
    }
}

/// Whatever time limit the app has set for the sockets that it makes.
fn the_first_lane_waits_for_ever_for_its_calls(python: &Python) {
    let source = r#"
import socket, threading

socket.setdefaulttimeout(0.0001)

@app.route(route="lane")
def lane(req: func.HttpRequest) -> str:
    return "%d %s" % (whoami(), threading.current_thread().name)
"#;
    let server = App::python(source).start(python);
    let mut lanes = (0..10).map(|_| server.get("/api/lane").status(200).text());
    let first = lanes.next().unwrap();
    let later: Vec<String> = lanes.collect();
    assert!(later.contains(&first), "{first} is not among {later:?}");
}
