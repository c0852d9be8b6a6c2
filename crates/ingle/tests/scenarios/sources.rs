//! What starts functions of projects besides requests: queues.

use ingle_testkit::{App, Launch, Python, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    a_function_gets_batches_and_says_what_failed,
    a_batch_that_can_t_be_done_ends_in_the_poison_queue,
    a_batch_outlives_a_server_that_is_killed,
);

const FILE: &str = r#"
service: s
provider:
  name: aws
  timeout: 1
functions:
  partly:
    handler: app.partly
    events:
      - sqs:
          arn: arn:aws:sqs:us-east-1:000000000000:Letters_in
          batchSize: 3
          maximumBatchingWindow: 60
          functionResponseType: ReportBatchItemFailures
  wholly:
    handler: app.wholly
    events:
      - sqs: arn:aws:sqs:us-east-1:000000000000:orders
  killed:
    handler: app.killed
    timeout: 60
    events:
      - sqs: arn:aws:sqs:us-east-1:000000000000:jobs
"#;

const CODE: &str = r#"
import json, os, time

def bodies(event):
    return [record["body"] for record in event["Records"]]

def partly(event, context):
    print("batch", json.dumps(event))
    failed = [record["messageId"] for record in event["Records"] if record["body"] == "bad"]
    if "strange" in bodies(event):
        failed = ["of another event"]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}

def wholly(event, context):
    raise ValueError("no " + " ".join(bodies(event)))

def killed(event, context):
    print("begins", *bodies(event))
    if not os.path.exists("gate.txt"):
        time.sleep(50)
    return "done"
"#;

fn project(python: &Python) -> Launch {
    App::default().file("serverless.yml", FILE).file("app.py", CODE).launch(python)
}

fn send(server: &Server, function: &str, queue: &str, messages: &[&str]) {
    for message in messages {
        server.call_of(function, &["send", "queue", queue, message]).code(0);
    }
}

/// Bodies of the messages of a queue.
fn left(server: &Server, function: &str, queue: &str) -> Vec<Value> {
    let told = server.call_of(function, &["state", "peek", queue, "--json"]).code(0).json();
    told["messages"].as_array().cloned().unwrap_or_default()
}

fn a_function_gets_batches_and_says_what_failed(python: &Python) {
    let server = project(python).start();
    // The window is a minute: what comes sooner comes because there are three.
    send(&server, "s-dev-partly", "letters-in", &["good", "bad", "fine"]);
    let batch = server.log("batch ");
    let event: Value = serde_json::from_str(&batch["message"].as_str().unwrap()["batch ".len()..]).unwrap();
    let records = event["Records"].as_array().unwrap();
    let bodies: Vec<&str> = records.iter().map(|record| record["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["good", "bad", "fine"]);
    let record = &records[1];
    assert_eq!(record["eventSourceARN"], "arn:aws:sqs:us-east-1:000000000000:Letters_in");
    assert_eq!((&record["eventSource"], &record["awsRegion"]), (&json!("aws:sqs"), &json!("us-east-1")));
    assert_eq!(record["md5OfBody"], "bae60998ffe4923b131e3d6e4c19993e");
    assert_eq!(record["attributes"]["ApproximateReceiveCount"], "1");

    let done = server.invocations("s-dev-partly", 1)[0].clone();
    assert_eq!((&done["outcome"], &done["summary"]), (&json!("success"), &json!("queue letters-in ×3")));
    assert_eq!(done["effects"], json!(["1 of 3 again"]));
    let messages = left(&server, "s-dev-partly", "letters-in");
    assert_eq!((messages.len(), &messages[0]["id"]), (1, &record["messageId"]), "{messages:?}");

    // It comes again with two others. Now nobody can tell what failed, so all of them are tried again.
    send(&server, "s-dev-partly", "letters-in", &["strange", "new"]);
    let failed = server.invocations("s-dev-partly", 2)[1].clone();
    assert_eq!(failed["failure"]["code"], "E0317", "{failed}");
    let message = failed["failure"]["message"].as_str().unwrap();
    assert!(message.contains("of another event") && message.contains("letters-in"), "{message}");
    assert_eq!(left(&server, "s-dev-partly", "letters-in").len(), 3);
    assert_eq!(server.stop().code, Some(0));
}

fn a_batch_that_can_t_be_done_ends_in_the_poison_queue(python: &Python) {
    let server = project(python).start();
    send(&server, "s-dev-wholly", "orders", &["soup"]);
    let records = server.invocations("s-dev-wholly", 5);
    assert!(records.iter().all(|record| record["failure"]["code"] == "E0301"), "{records:?}");
    assert_eq!(records[3]["effects"], json!([]));
    assert_eq!(records[4]["effects"], json!(["poison orders-poison"]));
    assert_eq!(left(&server, "s-dev-wholly", "orders"), [Value::Null; 0]);
    let poison = left(&server, "s-dev-wholly", "orders-poison");
    assert_eq!(poison[0]["text"], "soup");
    assert_eq!(
        poison[0]["poison"],
        json!({"reason": "ValueError: no soup", "queue": "orders", "attempts": 5})
    );
    assert_eq!(server.stop().code, Some(0));
}

fn a_batch_outlives_a_server_that_is_killed(python: &Python) {
    let mut server = project(python).start();
    send(&server, "s-dev-killed", "jobs", &["a job"]);
    server.log("begins a job");
    server.kill9();
    std::fs::write(server.folder().join("gate.txt"), "").unwrap();
    server.restart();
    let done = server.invocations("s-dev-killed", 1)[0].clone();
    assert_eq!(done["outcome"], "success", "{done}");
    assert_eq!(left(&server, "s-dev-killed", "jobs"), [Value::Null; 0]);
    assert_eq!(server.stop().code, Some(0));
}
