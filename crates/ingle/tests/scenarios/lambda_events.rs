//! Events for a handler whose callers do not wait: what was taken is run, again if it fails, and never lost.

use ingle_testkit::{App, Launch, Python, Request, Server};
use serde_json::{Value, json};

const HANDLER: &str = r#"
def lambda_handler(event, context):
    client = context.client_context
    print("event %s for %s" % (event["name"], client.custom["who"] if client else "nobody"))
    if event.get("fails"):
        raise ValueError("not today")
"#;

/// `{"custom": {"who": "Ada"}}`
const CLIENT_CONTEXT: &str = "eyJjdXN0b20iOiB7IndobyI6ICJBZGEifX0=";
/// `2030-01-01T08:00:00Z`, in seconds since 1970.
const MORNING: u64 = 1_893_484_800;
const POISON: &str = "lambda-events-poison";

fn launch() -> Launch {
    App::default().file("lambda_function.py", HANDLER).launch(&Python::any())
}

fn at(launch: Launch, time: &str) -> Server {
    launch.argument("--clock").argument(&format!("moved={time}")).start()
}

/// Hands an event over; the id that the caller is told, as the log has it.
#[track_caller]
fn send(server: &Server, event: &Value) -> String {
    let request = Request::post("/2015-03-31/functions/app/invocations", event.to_string());
    let request =
        request.header("x-amz-invocation-type", "Event").header("x-amz-client-context", CLIENT_CONTEXT);
    let answer = server.send(request).status(202);
    assert_eq!(answer.text(), "");
    format!("inv_{}", answer.header("x-amzn-requestid").replace('-', ""))
}

#[track_caller]
fn administer(server: &Server, target: &str) {
    server.admin_client().send(Request::post(target, "")).unwrap().status(200);
}

/// Moves the clock to so many seconds after the morning; what falls due until then is done.
#[track_caller]
fn advance(server: &Server, seconds: u64) {
    administer(server, &format!("/v1/clock?to={}", (MORNING + seconds) * 1000));
}

fn records(server: &Server) -> Vec<Value> {
    let is_record = |event: &&Value| event["event"] == "invocation";
    server.events().all().iter().filter(is_record).cloned().collect()
}

#[test]
fn an_event_is_run_for_a_caller_who_does_not_wait() {
    let server = launch().start();
    let id = send(&server, &json!({"name": "one"}));
    let record = server.wait_for("the event", |event| event["event"] == "invocation");
    assert_eq!((&record["id"], &record["outcome"]), (&json!(id), &json!("success")));
    assert_eq!(record["summary"], "event");
    server.log("event one for Ada");
    // The queue is Ingle's own.
    assert_eq!(server.state()["queues"], json!([]));
}

/// As on AWS: again after one minute, after two more, and then it is put aside.
#[test]
fn an_event_that_fails_is_tried_three_times() {
    let server = at(launch(), "2030-01-01T08:00:00Z");
    let event = json!({"name": "bad", "fails": true});
    let id = send(&server, &event);
    let mut seen = Vec::new();
    for (seconds, count) in [(0, 1), (59, 1), (60, 2), (179, 2), (180, 3), (7200, 3)] {
        advance(&server, seconds);
        seen = server.wait_for_many(count, "attempts", |event| event["event"] == "invocation");
        assert_eq!(records(&server).len(), count, "after {seconds} s");
    }
    let told = |name: &str| seen.iter().map(|record| record[name].clone()).collect::<Vec<_>>();
    assert_eq!(told("summary"), ["event", "event try 2", "event try 3"]);
    assert!(told("id").iter().all(|one| *one == id), "{seen:?}");
    assert_eq!(seen[1]["effects"], json!([]));
    assert_eq!(seen[2]["effects"], json!([format!("poison {POISON}")]));
    assert_eq!(seen[2]["failure"]["message"], "not today");
    let aside = server.messages(POISON);
    assert_eq!(aside.len(), 1);
    assert!(aside[0].to_string().contains("not today"), "{aside:?}");
    assert!(aside[0]["text"].as_str().unwrap().starts_with(&event.to_string()), "{aside:?}");
}

/// T-061: nothing that was taken is lost with the server.
#[test]
fn an_event_outlives_the_server() {
    let launch = launch();
    let mut server = at(launch.clone(), "2030-01-01T08:00:00Z");
    let id = send(&server, &json!({"name": "kept"}));
    server.kill9();
    let server = at(launch, "2030-01-01T08:00:00Z");
    administer(&server, "/v1/settle");
    let record = server.wait_for("the event", |event| event["event"] == "invocation");
    assert_eq!((&record["id"], &record["outcome"]), (&json!(id), &json!("success")));
    server.log("event kept for Ada");
}

#[test]
fn an_event_that_nobody_could_run_for_six_hours_is_put_aside() {
    let launch = launch().may_complain("is more than 6 hours old");
    let mut server = at(launch.clone(), "2030-01-01T08:00:00Z");
    send(&server, &json!({"name": "old"}));
    server.kill9();
    let server = at(launch, "2030-01-01T14:00:01Z");
    administer(&server, "/v1/settle");
    assert_eq!(server.messages(POISON).len(), 1);
    assert!(records(&server).is_empty());
}
