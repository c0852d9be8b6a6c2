//! What the functions of a project have together: one store, and buckets whose changes start them.

use ingle_testkit::{App, Call, Launch, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    changes_of_a_bucket_start_functions,
    functions_of_a_project_have_one_store,
    an_event_of_a_bucket_that_fails_is_kept
);

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Uploads:
    Type: AWS::S3::Bucket
    Properties:
      BucketName: my.uploads
  Thumbs:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.thumbs
      Runtime: python3.12
      Events:
        Photo:
          Type: S3
          Properties:
            Bucket: !Ref Uploads
            Events: [s3:ObjectCreated:*, s3:ObjectRemoved:*]
            Filter:
              S3Key:
                Rules:
                  - {Name: prefix, Value: in/}
                  - {Name: suffix, Value: .jpg}
  Broken:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.broken
      Runtime: python3.12
      Events:
        Note:
          Type: S3
          Properties:
            Bucket: !Ref Uploads
            Events: s3:ObjectCreated:Put
            Filter: {S3Key: {Rules: [{Name: suffix, Value: .txt}]}}
  First:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.first
      Runtime: python3.12
      Timeout: 60
      Events:
        Jobs: {Type: SQS, Properties: {Queue: "arn:aws:sqs:us-east-1:000000000000:jobs", BatchSize: 1}}
  Second:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.second
      Runtime: python3.12
      Events:
        Letters: {Type: SQS, Properties: {Queue: "arn:aws:sqs:us-east-1:000000000000:letters"}}
"#;

const CODE: &str = r#"
import json, os, time

def thumbs(event, context):
    print("changed", json.dumps(event["Records"]))

def broken(event, context):
    raise ValueError("can't read " + event["Records"][0]["s3"]["object"]["key"])

def first(event, context):
    print("begins", event["Records"][0]["body"])
    if not os.path.exists("gate.txt"):
        time.sleep(50)

def second(event, context):
    print("letter", event["Records"][0]["body"])
"#;

fn project(python: &Python) -> Launch {
    App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).launch(python)
}

/// The record that the function printed.
#[track_caller]
fn record(server: &Server, key: &str, event: &str) -> Value {
    let line = server.wait_for(&format!("{event} of {key}"), |line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("changed ") && message.contains(key) && message.contains(event)
    });
    let records: Value =
        serde_json::from_str(&line["message"].as_str().unwrap()["changed ".len()..]).unwrap();
    assert_eq!(records.as_array().unwrap().len(), 1, "{records}");
    records[0].clone()
}

fn changes_of_a_bucket_start_functions(python: &Python) {
    let server = project(python).start();
    // None of these is for the function.
    server.call(&["put", "blob", "my-uploads/other/red.jpg", "red"]).code(0);
    server.call(&["put", "blob", "my-uploads/in/red.png", "red"]).code(0);
    server.call(&["put", "blob", "my-uploads/in/red flower.jpg", "red!"]).code(0);
    let put = record(&server, "in/red+flower.jpg", "ObjectCreated:Put");
    assert_eq!((&put["eventVersion"], &put["eventSource"]), (&json!("2.1"), &json!("aws:s3")));
    assert_eq!(put["s3"]["bucket"]["name"], "my.uploads");
    assert_eq!(put["s3"]["bucket"]["arn"], "arn:aws:s3:::my.uploads");
    assert_eq!(put["s3"]["object"]["size"], 4);
    let remove = Request::new("DELETE", "/v1/blobs?path=my-uploads%2Fin%2Fred%20flower.jpg");
    server.admin_client().send(remove).unwrap().status(200);
    record(&server, "in/red+flower.jpg", "ObjectRemoved:Delete");
    assert_eq!(server.invocations("Thumbs", 2).len(), 2);
    assert_eq!(server.stop().code, Some(0));
}

/// Also after a crash in the middle of the work.
fn functions_of_a_project_have_one_store(python: &Python) {
    let mut server = project(python).start();
    server.call(&["send", "queue", "jobs", "a job"]).code(0);
    server.log("begins a job");
    server.kill9();
    std::fs::write(server.folder().join("gate.txt"), "").unwrap();
    // Without a server the store is the same, and a function's own folder has none.
    server.call(&["send", "queue", "letters", "a letter"]).code(0);
    let own = server.state_folder().join("first");
    let refused =
        Call::new(&["state", "ls", "--json", "--app"]).path(&server.folder()).word("--state").path(&own);
    assert_eq!(refused.run().code(2).json()["code"], "E0125");
    server.restart();
    server.log("letter a letter");
    // A record is written when the messages of its event are gone.
    for function in ["First", "Second"] {
        assert_eq!(server.invocations(function, 1)[0]["outcome"], "success");
    }
    let told = server.call(&["state", "ls", "--json"]).code(0).json();
    let names: Vec<&str> =
        told["queues"].as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["jobs", "letters"], "{told}");
    // Through the socket of a function it is the same one.
    assert_eq!(server.call_of("second", &["state", "ls", "--json"]).code(0).json(), told);
    assert_eq!(server.call(&["ps", "--json"]).code(0).json()["functions"].as_array().unwrap().len(), 4);
    assert_eq!(server.stop().code, Some(0));
}

/// As an event that nobody waits for: it is tried again after a minute, and meanwhile it outlives the server.
fn an_event_of_a_bucket_that_fails_is_kept(python: &Python) {
    let mut server = project(python).start();
    server.call(&["put", "blob", "my-uploads/note.txt", "a note"]).code(0);
    let failed = server.invocations("Broken", 1)[0].clone();
    assert_eq!((&failed["outcome"], &failed["summary"]), (&json!("failed"), &json!("event")));
    assert_eq!(failed["failure"]["message"], "can't read note.txt");
    server.kill9();
    let told = server.call(&["state", "ls", "--all", "--json"]).code(0).json();
    let queue = &told["queues"][0];
    assert!(queue["name"].as_str().unwrap().starts_with("ingle-events-"), "{told}");
    assert_eq!((&queue["delayed"], &queue["ready"]), (&json!(1), &json!(0)), "{told}");
}
