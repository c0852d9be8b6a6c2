//! Accounts that are down at the start, go down, or never answer: nothing else is held up, and nothing is lost (T-073).

use std::net::TcpListener;

use ingle_testkit::azurite::{Azurite, connection};
use ingle_testkit::{App, Request};
use tokio::time::Instant;

use super::{ECHO, PUT_TEXT, RECEIVE, launch, start, wait_until_degraded};

const SECOND: &str = r#"
@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
def tick(timer: func.TimerRequest) -> None:
    pass

@app.queue_trigger(arg_name="message", queue_name="local", connection="AzureWebJobsStorage")
@app.queue_output(arg_name="out", queue_name="forwarded", connection="Cloud")
def forward(message: func.QueueMessage, out: func.Out[str]) -> None:
    out.set(message.get_body().decode())
"#;

/// Lines of the log about a trouble of the queue trigger and its end: one each, however many tries there were.
fn lines(stderr: &[String], part: &str) -> usize {
    stderr.iter().filter(|line| line.contains("queue work in Cloud") && line.contains(part)).count()
}

#[test]
fn t_073_an_account_that_is_down_at_the_start_is_waited_for() {
    let mut azurite = Azurite::stopped();
    let server = start(&App::python(&format!("{ECHO}{SECOND}")), &azurite);
    let found = wait_until_degraded(&server, |found| !found.is_empty());
    assert!(found[0].starts_with("queue work in Cloud, for function work: no connection: "), "{found:?}");
    assert!(found[0].contains("start Azurite"), "{found:?}");
    assert_eq!(server.get("/api/alive").status(200).text(), "alive");
    server.invocations("tick", 3);
    azurite.restart();
    azurite
        .python(&format!("{PUT_TEXT}\nclient('work').send_message(base64.b64encode(b'late').decode())"), &[]);
    server.invocations("work", 1);
    assert_eq!(azurite.wait_for(RECEIVE, &[]), "b'late'");
    wait_until_degraded(&server, <[String]>::is_empty);
    let ended = server.stop();
    assert_eq!(
        (lines(&ended.stderr, "in trouble"), lines(&ended.stderr, "well again")),
        (1, 1),
        "{:#?}",
        ended.stderr
    );
}

#[test]
fn t_073_an_account_that_goes_down_is_caught_up_with_when_it_is_back() {
    let mut azurite = Azurite::start();
    let server = start(&App::python(&format!("{ECHO}{SECOND}")), &azurite);
    azurite
        .python(&format!("{PUT_TEXT}\nclient('work').send_message(base64.b64encode(b'one').decode())"), &[]);
    server.invocations("work", 1);
    azurite.stop();
    wait_until_degraded(&server, |found| found.iter().any(|one| one.starts_with("queue work in Cloud")));
    server.get("/api/large/5").status(500);
    let refused = &server.invocations("large", 1)[0];
    assert_eq!(refused["failure"]["code"], "E0430", "{refused}");
    assert_eq!(server.get("/api/alive").status(200).text(), "alive");
    for number in 0..3 {
        server.send_queue("local", &format!("m{number}"));
    }
    let failed = server.invocations("forward", 3);
    assert!(failed.iter().all(|record| record["failure"]["code"] == "E0430"), "{failed:#?}");
    azurite.restart();
    azurite
        .python(&format!("{PUT_TEXT}\nclient('work').send_message(base64.b64encode(b'two').decode())"), &[]);
    server.invocations("work", 2);
    // What could not be written was no attempt: all three come through, and none is put aside.
    server.wait_for_many(3, "forwarded", |event| {
        event["function"] == "forward" && event["outcome"] == "success"
    });
    let forwarded = "for message in queues.get_queue_client('forwarded').receive_messages(): print(base64.b64decode(message.content).decode())";
    let mut forwarded: Vec<String> = azurite.python(forwarded, &[]).lines().map(str::to_owned).collect();
    forwarded.sort();
    assert_eq!(forwarded, ["m0", "m1", "m2"]);
    assert_eq!(server.queue_length("local-poison"), 0);
    wait_until_degraded(&server, <[String]>::is_empty);
    let ended = server.stop();
    assert_eq!(
        (lines(&ended.stderr, "in trouble"), lines(&ended.stderr, "well again")),
        (1, 1),
        "{:#?}",
        ended.stderr
    );
}

/// A server that takes connections and never answers.
fn half_open() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            held.push(stream);
        }
    });
    port
}

#[test]
fn t_073_a_server_that_never_answers_holds_nothing_else_up() {
    let port = half_open();
    let app = App::python(&format!("{ECHO}{SECOND}"));
    let server = launch(&app, &connection(&[port; 3])).start();
    let began = Instant::now();
    let mut slow = server.client();
    let waiting =
        std::thread::spawn(move || slow.send(Request::get("/api/large/5")).map(|answer| answer.status));
    server.invocations("tick", 3);
    assert_eq!(server.get("/api/alive").status(200).text(), "alive");
    let found = wait_until_degraded(&server, |found| !found.is_empty());
    assert!(found[0].contains("no answer within 20 s"), "{found:?}");
    assert_eq!(waiting.join().unwrap().ok(), Some(500));
    assert!(began.elapsed() < std::time::Duration::from_secs(50));
    let refused = &server.invocations("large", 1)[0];
    assert_eq!(refused["failure"]["code"], "E0430", "{refused}");
    assert_eq!(server.get("/api/alive").status(200).text(), "alive");
    let ended = server.stop();
    assert_eq!(lines(&ended.stderr, "in trouble"), 1, "{:#?}", ended.stderr);
}
