//! Messages that a function can't work on: tried again, then put aside with the reason, and nobody waits for them.

use ingle_testkit::{App, Python, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    a_bad_message_is_tried_five_times_and_put_aside,
    a_bad_message_does_not_block_the_others,
    the_poison_queue_has_a_function_of_its_own,
    a_second_try_waits_for_its_time,
);

const WORK: &str = r#"
@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
def work(message: func.QueueMessage) -> None:
    text = message.get_body().decode()
    print("try", message.dequeue_count, "of", text)
    if text.startswith("bad"):
        raise ValueError("I can't read " + text)
"#;

fn app(queues: &Value) -> App {
    App::python(WORK)
        .host(&json!({"version": "2.0", "extensions": {"queues": queues}}))
        .settings(&json!({"S": "embedded"}))
}

fn tries(server: &ingle_testkit::Server, text: &str, count: usize) -> Vec<String> {
    let ending = format!("of {text}");
    let lines = server.wait_for_many(count, &ending, |event| {
        event["event"] == "log" && event["message"].as_str().is_some_and(|message| message.ends_with(&ending))
    });
    lines.iter().map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

fn a_bad_message_is_tried_five_times_and_put_aside(python: &Python) {
    let server = app(&json!({})).start(python);
    server.send_queue("work", "bad");
    let records = server.invocations("work", 5);
    assert_eq!(
        tries(&server, "bad", 5),
        (1..=5).map(|count| format!("try {count} of bad")).collect::<Vec<_>>()
    );
    assert!(records.iter().all(|record| record["failure"]["kind"] == "ValueError"), "{records:#?}");
    assert_eq!(records[0]["summary"], "queue work");
    assert_eq!(records[4]["summary"], "queue work try 5");
    assert_eq!(records[4]["effects"], json!(["poison work-poison"]));
    let put_aside = server.messages("work-poison");
    assert_eq!(put_aside.len(), 1);
    assert_eq!(put_aside[0]["text"], "bad");
    assert_eq!(
        put_aside[0]["poison"],
        json!({"reason": "ValueError: I can't read bad", "queue": "work", "attempts": 5})
    );
    assert_eq!(server.queue_length("work"), 0);
    let ended = server.stop();
    assert_eq!(ended.events.iter().filter(|event| event["event"] == "invocation").count(), 5);
}

/// T-061: one bad message in front of many good ones, one by one.
fn a_bad_message_does_not_block_the_others(python: &Python) {
    let queues = json!({"batchSize": 1, "newBatchThreshold": 0, "visibilityTimeout": "00:00:01"});
    let server = app(&queues).start(python);
    server.send_queue("work", "bad");
    for number in 0..20 {
        server.send_queue("work", &format!("good {number}"));
    }
    for number in 0..20 {
        assert_eq!(tries(&server, &format!("good {number}"), 1), [format!("try 1 of good {number}")]);
    }
    let seen = server.events().all();
    let tries_before =
        seen.iter().filter(|event| event["message"].as_str().is_some_and(|text| text.ends_with("of bad")));
    assert!(tries_before.count() < 5, "the good ones waited for the bad one");
    server.wait_for("the bad one put aside", |event| event["effects"] == json!(["poison work-poison"]));
}

fn the_poison_queue_has_a_function_of_its_own(python: &Python) {
    let app = App::folder("examples/poison-queue");
    let server = app.start(python);
    server.post("/api/payments", r#"{"customer": "Ada", "amount": 12.5}"#).status(202);
    server.post("/api/payments", r#"{"customer": "Bob", "amount": -1}"#).status(202);
    server.post("/api/payments", "no JSON at all").status(202);
    server.invocations("complain", 2);
    // One good try and three bad ones for each of the two bad messages.
    assert_eq!(server.invocations("charge", 7).len(), 7);
    let mut texts: Vec<String> =
        server.documents("bank/complaints").iter().map(|document| document["text"].to_string()).collect();
    texts.sort();
    assert_eq!(texts, [r#""no JSON at all""#, r#""{\"customer\": \"Bob\", \"amount\": -1}""#]);
    assert_eq!(server.queue_length("payments") + server.queue_length("payments-poison"), 0);
}

fn a_second_try_waits_for_its_time(python: &Python) {
    let server = app(&json!({"maxDequeueCount": 2, "visibilityTimeout": "00:00:02"})).start(python);
    server.send_queue("work", "bad");
    let records = server.invocations("work", 2);
    let time = |record: &Value| record["time"].as_u64().unwrap_or_default();
    let pause_ms = time(&records[1]) - time(&records[0]);
    assert!(pause_ms >= 1900, "tried again after {pause_ms} ms");
}
