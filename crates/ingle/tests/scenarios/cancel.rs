//! T-089: clients who go away. What has not run is not run, what runs is told, and no place stays occupied.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use ingle_testkit::{App, DEADLINE, Python, Request, Server, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(
    one_that_waits_is_never_run,
    what_an_async_function_awaits_is_cancelled,
    a_function_that_goes_on_has_succeeded,
    a_plain_function_is_told_and_runs_to_its_end,
    nobody_tries_again_for_a_client_who_has_gone,
    a_cancelled_function_keeps_its_deadline,
    a_half_closed_connection_is_no_departure,
    a_client_who_sends_two_requests_at_once_has_not_left,
    fifty_who_leave_at_once_leave_no_place_occupied,
    an_app_can_have_everything_run_to_its_end,
);
on_the_pythons_between!(what_an_async_function_awaits_is_cancelled);

/// `hold` and `pause` wait until the file `go` is there.
const APP: &str = r#"
import asyncio

def note(text):
    with open("notes", "a") as notes:
        notes.write(text + "\n")

@app.route(route="hold")
def hold(req: func.HttpRequest) -> str:
    print("hold begins")
    while not os.path.exists("go"):
        time.sleep(0.01)
    return "held"

@app.route(route="pause")
async def pause(req: func.HttpRequest, context: func.Context) -> str:
    print("pause begins")
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)
    note("pause " + str(context.cancelled))
    return "paused"

@app.route(route="quick")
def quick(req: func.HttpRequest) -> str:
    note("quick")
    return "quick"

@app.route(route="awaits")
@app.queue_output(arg_name="out", queue_name="sent", connection="S")
async def awaits(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set("half")
    try:
        print("awaits begins")
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0)
        note("finally")

@app.route(route="swallows")
@app.queue_output(arg_name="out", queue_name="sent", connection="S")
async def swallows(req: func.HttpRequest, out: func.Out[str]) -> str:
    try:
        print("swallows begins")
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        out.set("whole")
    return "done"

@app.route(route="looks")
@app.queue_output(arg_name="out", queue_name="sent", connection="S")
def looks(req: func.HttpRequest, context: func.Context, out: func.Out[str]) -> str:
    print("looks begins")
    while not context.cancelled:
        time.sleep(0.01)
    out.set("looked")
    return "done"

@app.route(route="retried")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:00")
async def retried(req: func.HttpRequest) -> str:
    note("retried")
    print("retried begins")
    await asyncio.sleep(3600)

@app.route(route="fails")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:00")
def fails(req: func.HttpRequest, context: func.Context) -> str:
    note("fails")
    print("fails begins")
    while not context.cancelled:
        time.sleep(0.01)
    raise ValueError("too late")

@app.route(route="rests")
@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="01:00:00")
def rests(req: func.HttpRequest) -> str:
    raise ValueError("later, perhaps")

@app.route(route="stubborn")
def stubborn(req: func.HttpRequest, context: func.Context) -> str:
    print("stubborn begins")
    while True:
        time.sleep(0.01)
"#;

fn start(python: &Python, toml: &str) -> Server {
    App::python(APP).file("ingle.toml", toml).settings(&json!({"S": "embedded"})).start(python)
}

/// One worker with one place.
const ONE_PLACE: &str = "[workers]\nmax = 1\nconcurrency = 1\n";

/// Sends a request whose answer nobody has read yet.
fn send(server: &Server, function: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("GET /api/{function} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    stream
}

/// Calls a function and leaves once it runs. Gives its record.
fn leave(server: &Server, function: &str) -> Value {
    let stream = send(server, function);
    server.log(&format!("{function} begins"));
    drop(stream);
    server.invocations(function, 1).remove(0)
}

#[track_caller]
fn check_cancelled(record: &Value, part: &str) {
    let failure = &record["failure"];
    assert_eq!((&record["outcome"], &record["status"]), (&json!("cancelled"), &Value::Null), "{record}");
    assert_eq!((&failure["code"], &failure["blame"]), (&json!("E0313"), &json!("caller")));
    assert!(failure["message"].as_str().unwrap().contains(part), "{failure}");
}

fn go(server: &Server) {
    std::fs::write(server.folder().join("go"), "").unwrap();
}

fn notes(server: &Server) -> Vec<String> {
    let notes = std::fs::read_to_string(server.folder().join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

fn sent(server: &Server) -> Vec<Value> {
    server.messages("sent").iter().map(|message| message["text"].clone()).collect()
}

/// Invocations in all workers, as `ingle ps` tells.
fn in_work(server: &Server) -> u64 {
    let processes = server.call(&["ps", "--json"]).json();
    let workers = processes["workers"].as_array().unwrap();
    workers.iter().map(|worker| worker["inWork"].as_u64().unwrap()).sum()
}

fn one_that_waits_is_never_run(python: &Python) {
    let server = start(python, ONE_PLACE);
    thread::scope(|scope| {
        let first = scope.spawn(|| server.get("/api/hold"));
        server.log("hold begins");
        for function in ["quick", "awaits"] {
            drop(send(&server, function));
            let record = server.invocations(function, 1).remove(0);
            check_cancelled(&record, "before it ran");
            assert!(record["phasesMs"]["queue"].as_f64().unwrap() > 0.0 && record["phasesMs"]["user"] == 0.0);
        }
        go(&server);
        assert_eq!(first.join().unwrap().status(200).text(), "held");
    });
    assert_eq!(server.get("/api/hold").status(200).text(), "held");
    assert_eq!(notes(&server), [""; 0]);
}

fn what_an_async_function_awaits_is_cancelled(python: &Python) {
    let server = start(python, "");
    let record = leave(&server, "awaits");
    check_cancelled(&record, "while the function ran");
    assert!(record["phasesMs"]["user"].as_f64().unwrap() > 0.0, "{record}");
    let place = record["failure"]["location"].as_str().unwrap();
    assert!(place.starts_with("function_app.py:"), "{place}");
    assert_eq!(notes(&server), ["finally"]);
    assert_eq!(sent(&server), [""; 0], "what it had set is not written");
}

fn a_function_that_goes_on_has_succeeded(python: &Python) {
    let server = start(python, "");
    let record = leave(&server, "swallows");
    assert_eq!((&record["outcome"], &record["failure"]), (&json!("success"), &Value::Null));
    assert_eq!(record["effects"], json!(["queue sent", "the client had gone"]));
    assert_eq!(sent(&server), ["whole"]);
}

fn a_plain_function_is_told_and_runs_to_its_end(python: &Python) {
    let server = start(python, "");
    let record = leave(&server, "looks");
    assert_eq!(record["outcome"], "success");
    assert_eq!(sent(&server), ["looked"]);
    // Its lane serves the next one, who has not left.
    assert_eq!(server.get("/api/quick").status(200).text(), "quick");
}

fn nobody_tries_again_for_a_client_who_has_gone(python: &Python) {
    let server = start(python, "");
    check_cancelled(&leave(&server, "retried"), "while the function ran");
    let failed = leave(&server, "fails");
    assert_eq!((&failed["outcome"], &failed["failure"]["kind"]), (&json!("failed"), &json!("ValueError")));
    assert_eq!(notes(&server), ["retried", "fails"]);
    // Between two attempts as well.
    let stream = send(&server, "rests");
    assert_eq!(server.invocations("rests", 1)[0]["outcome"], "retrying");
    drop(stream);
    let failed = server.invocations("rests", 2).remove(1);
    assert_eq!(failed["failure"]["message"], "later, perhaps");
}

/// T-087: being told does not make a function that hangs any safer.
fn a_cancelled_function_keeps_its_deadline(python: &Python) {
    let app = App::python(APP).settings(&json!({"S": "embedded"}));
    let server = app.host(&json!({"version": "2.0", "functionTimeout": "00:00:02"})).start(python);
    let record = leave(&server, "stubborn");
    assert_eq!((&record["outcome"], &record["failure"]["code"]), (&json!("timed_out"), &json!("E0302")));
    assert_eq!(server.get("/api/quick").status(200).text(), "quick");
}

/// What `nc -N` does, and a client that closes everything: only the second has left.
fn a_half_closed_connection_is_no_departure(python: &Python) {
    let server = start(python, "");
    let mut stream = send(&server, "pause");
    stream.shutdown(Shutdown::Write).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&interim),
        "HTTP/1.1 100 Continue\r\n\r\n",
        "it is asked whether it is there"
    );
    go(&server);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("paused"), "{answer}");
    let record = server.invocations("pause", 1).remove(0);
    assert_eq!((&record["outcome"], &record["effects"]), (&json!("success"), &json!([])));
    assert_eq!(notes(&server), ["pause False"]);
    // One of HTTP/1.0 is not asked.
    let mut old = TcpStream::connect(server.address()).unwrap();
    old.set_read_timeout(Some(DEADLINE)).unwrap();
    old.write_all(b"GET /api/pause HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    old.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    old.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("paused"), "{answer}");
}

fn a_client_who_sends_two_requests_at_once_has_not_left(python: &Python) {
    let server = start(python, "");
    let mut stream = send(&server, "pause");
    server.log("pause begins");
    stream.write_all(b"GET /api/quick HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    go(&server);
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.contains("paused") && answers.ends_with("quick"), "{answers}");
    // Kept open for the next request, a connection is one request's at a time.
    let mut client = server.client();
    for _ in 0..3 {
        assert_eq!(client.send(Request::get("/api/pause")).unwrap().status(200).text(), "paused");
    }
    assert!(!notes(&server).contains(&"pause True".to_owned()));
}

fn fifty_who_leave_at_once_leave_no_place_occupied(python: &Python) {
    const CLIENTS: usize = 50;
    let server = start(python, "[workers]\nmax = 1\nconcurrency = 10\n[admission]\nwaiting_max = 50\n");
    let clients: Vec<_> = (0..CLIENTS).map(|_| send(&server, "awaits")).collect();
    // Ten run, and forty wait.
    server.wait_for_many(10, "calls in work", |event| event["message"] == "awaits begins");
    drop(clients);
    let records = server.invocations("awaits", CLIENTS);
    assert!(records.iter().all(|record| record["outcome"] == "cancelled"));
    server.events().look_until("nothing in work", || (in_work(&server) == 0).then_some(()));
    // Each of the places can be had again, on the loop and in threads.
    thread::scope(|scope| {
        let calls: Vec<_> = (0..10).map(|_| scope.spawn(|| server.get("/api/pause"))).collect();
        server.wait_for_many(10, "calls in work", |event| event["message"] == "pause begins");
        go(&server);
        calls.into_iter().for_each(|call| drop(call.join().unwrap().status(200)));
    });
    assert_eq!(server.get("/api/quick").status(200).text(), "quick");
    assert_eq!(server.workers().len(), 1);
}

fn an_app_can_have_everything_run_to_its_end(python: &Python) {
    let toml = format!(
        "{ONE_PLACE}[http]\non_disconnect = \"finish\"\n[functions.awaits]\non_disconnect = \"cancel\"\n"
    );
    let server = start(python, &toml);
    let first = send(&server, "pause");
    server.log("pause begins");
    drop(send(&server, "quick"));
    drop(first);
    // Whoever said so for itself is cancelled all the same.
    drop(send(&server, "awaits"));
    check_cancelled(&server.invocations("awaits", 1)[0], "before it ran");
    go(&server);
    for function in ["pause", "quick"] {
        let record = server.invocations(function, 1).remove(0);
        assert_eq!(record["outcome"], "success", "{record}");
    }
    let notes = notes(&server);
    assert!(notes.contains(&"quick".to_owned()) && notes[0].starts_with("pause"), "{notes:?}");
}
