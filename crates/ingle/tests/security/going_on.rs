//! Functions that go on when they should have ended. Each has a server of its own, as it takes other limits than the stage has.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use ingle_testkit::{App, DEADLINE, Python, Server};
use serde_json::json;
use tokio::time::Instant;

use crate::ending::wait_until_ended;
use crate::stage::descendants;
use crate::table::{self, Row};
use crate::using_up::memory_peak;

#[test]
fn t_015_t_019_nobody_goes_on_for_long() {
    let mut rows = vec![behind_the_limit(), beside_the_stop()];
    rows.extend(without_end());
    table::settle("Class default, one app at a time", &rows);
}

fn attacker(limit: &str) -> Server {
    let app = App::folder("tests/security/attacker");
    app.host(&json!({"version": "2.0", "functionTimeout": limit})).start(&Python::any())
}

/// T-015: whoever is over its time goes on for as long as others of its process may finish, which has an end as well.
fn behind_the_limit() -> Row {
    const LIMIT: Duration = Duration::from_secs(8);
    /// So late that its own time ends when the other's process must be gone.
    const BEHIND: Duration = Duration::from_millis(6500);
    const GRACE: Duration = Duration::from_secs(5);
    let server = attacker("00:00:08");
    let first = server.get("/api/pid").status(200);
    let process = server.workers()[0];
    let sleep = || {
        let answer = server.post("/api/attack/bombs/sleep", "{}");
        (answer, Instant::now())
    };
    let begun = Instant::now();
    let (culprit, bystander) = thread::scope(|scope| {
        let culprit = scope.spawn(sleep);
        while begun.elapsed() < BEHIND {
            thread::park_timeout(BEHIND.saturating_sub(begun.elapsed()));
        }
        let bystander = scope.spawn(sleep);
        let culprit = culprit.join().unwrap();
        // Others are served by another worker meanwhile.
        let next = server.get("/api/pid").status(200);
        assert_ne!(process, server.workers()[0], "{} {}", first.text(), next.text());
        (culprit, bystander.join().unwrap())
    });
    assert!(culprit.0.status == 504 && culprit.0.text().contains("E0302"), "{}", culprit.0.text());
    assert!(bystander.0.status >= 500 && !bystander.0.text().contains("E0302"), "{}", bystander.0.text());
    let grace = bystander.1 - culprit.1;
    // It ends before the bystander's own time does.
    let fits = bystander.1 - begun < BEHIND + LIMIT && grace + Duration::from_secs(1) > GRACE;
    assert!(fits, "{grace:?}: {}", bystander.0.text());
    assert_eq!(wait_until_ended(&[process]), [0_u32; 0]);
    server.stop();
    Row::new("T-015", "go on behind its time, beside a call that is in time", "ends five seconds later")
}

/// T-015: a function that hears nothing does not keep the server from stopping.
fn beside_the_stop() -> Row {
    let server = attacker("00:05:00");
    let mut connection = TcpStream::connect(server.address()).unwrap();
    connection
        .write_all(b"POST /api/attack/bombs/deaf HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
    server.events().look_until("the function to begin", || {
        let shown = server.call(&["ps", "--json"]).code(0).json();
        (shown["workers"][0]["inWork"] == 1).then_some(())
    });
    let processes = descendants(server.process_id());
    assert!(!processes.is_empty());
    let begun = Instant::now();
    let ended = server.stop();
    assert_eq!(ended.signal, None, "{ended:?}");
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    let left = wait_until_ended(&processes);
    assert!(left.is_empty(), "processes are left: {left:?}");
    Row::new("T-015", "take no signal while the server stops", "ends with the server, ten seconds later")
}

const ENDLESS: &str = r#"
import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, StreamingResponse

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def pieces():
    while True:
        yield bytes(64 * 1024)


@app.route(route="endless")
def endless(req: Request) -> StreamingResponse:
    return StreamingResponse(pieces())


@app.route(route="ping")
def ping(req: func.HttpRequest) -> str:
    return "pong"
"#;

/// T-019: an answer in pieces that never ends.
fn without_end() -> Vec<Row> {
    const MOST: usize = 4 << 20;
    let endless = App::folder("examples/fastapi-streaming")
        .file("function_app.py", ENDLESS)
        .host(&json!({"version": "2.0", "functionTimeout": "00:00:03"}));
    let bounded = endless.clone().file("ingle.toml", "[sandbox]\nresponse = \"4MB\"\n");
    let launch = endless.launch(&Python::any()).own_choice_of_python().beside("bounded", &bounded);
    let server = launch.start();
    let process = server.process_id();
    let before = memory_peak(process);
    let (length, is_whole) = read(&server, "app");
    assert!(length > MOST && !is_whole, "{length} bytes of an answer without end");
    told(&server, "app", 1, ("timed_out", "E0302"));
    let (length, is_whole) = read(&server, "bounded");
    // The bound is of the body; what else is sent is little.
    assert!(length < MOST + (1 << 20) && !is_whole, "{length} bytes of {MOST}");
    told(&server, "bounded", 1, ("failed", "E0316"));
    let mut leaving = ask(&server, "app");
    leaving.read_exact(&mut [0; 100_000]).unwrap();
    leaving.shutdown(Shutdown::Both).unwrap();
    drop(leaving);
    told(&server, "app", 2, ("cancelled", "E0313"));
    for app in ["app", "bounded"] {
        assert_eq!(server.get_of(app, "/api/ping").status(200).text(), "pong");
    }
    let grown = memory_peak(process).saturating_sub(before);
    assert!(grown < 100 << 20, "the server holds {grown} bytes more");
    server.stop();
    vec![
        Row::new(
            "T-019",
            "answer in pieces without end",
            "ends at the time limit; the server's memory stays",
        ),
        Row::new("T-019", "the same, where `response` is set", "ends there: E0316"),
        Row::new("T-019", "the same, to somebody who leaves", "is cancelled: E0313"),
    ]
}

fn ask(server: &Server, app: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let head = format!("GET /api/endless HTTP/1.1\r\nhost: {app}.localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Bytes until the connection ends, and whether the last of them says that this was all.
fn read(server: &Server, app: &str) -> (usize, bool) {
    let mut stream = ask(server, app);
    let (mut length, mut last) = (0, Vec::new());
    let mut piece = vec![0; 1 << 20];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        length += count;
        last.extend_from_slice(&piece[..count]);
        last.drain(..last.len().saturating_sub(5));
    }
    (length, last == b"0\r\n\r\n")
}

/// How the invocations of an app ended, as the server tells.
fn told(server: &Server, app: &str, count: usize, (outcome, code): (&str, &str)) {
    let records = server.wait_for_many(count, "answers without end", |event| {
        event["event"] == "invocation" && event["app"] == app && event["function"] == "endless"
    });
    let last = records.last().unwrap();
    assert!(last["outcome"] == outcome && last.to_string().contains(code), "{last}");
}
