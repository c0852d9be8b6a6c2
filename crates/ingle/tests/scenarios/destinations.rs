//! What becomes of events that nobody waits for, and of messages that fail: destinations, dead letters, redrive.

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(destinations_are_told_what_became_of_an_event, a_queue_gives_a_message_up_as_it_says);

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.12}
Resources:
  Failed: {Type: AWS::SQS::Queue}
  Dead: {Type: AWS::SQS::Queue}
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: Orders
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}
  Work:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.work
      DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt Dead.Arn}
      EventInvokeConfig:
        MaximumRetryAttempts: 0
        DestinationConfig:
          OnSuccess: {Type: Lambda, Destination: !GetAtt Next.Arn}
          OnFailure: {Type: SQS, Destination: !GetAtt Failed.Arn}
  Next:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.next_one}
  Hear:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.hear
      Events:
        Failed: {Type: SQS, Properties: {Queue: !GetAtt Failed.Arn}}
  Take:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.work
      Timeout: 1
      Events:
        Orders: {Type: SQS, Properties: {Queue: !GetAtt Orders.Arn}}
"#;

const CODE: &str = r#"
import json

def work(event, context):
    if event.get("order") != 7:
        raise ValueError("not today")
    return {"done": event["order"]}

def hear(event, context):
    print("heard", event["Records"][0]["body"])

def next_one(event, context):
    print("told", json.dumps(event))
"#;

fn project(python: &Python) -> Server {
    App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).launch(python).start()
}

/// Hands an event over that nobody waits for; its id.
#[track_caller]
fn send(server: &Server, event: &Value) -> String {
    let request = Request::post("/2015-03-31/functions/Work/invocations", event.to_string());
    let answer = server.send(request.header("x-amz-invocation-type", "Event")).status(202);
    answer.header("x-amzn-requestid").to_owned()
}

fn destinations_are_told_what_became_of_an_event(python: &Python) {
    let server = project(python);
    let id = send(&server, &json!({"order": 7}));
    let line = server.log("told ");
    let told: Value = serde_json::from_str(&line["message"].as_str().unwrap()["told ".len()..]).unwrap();
    let context = &told["requestContext"];
    assert_eq!((&context["requestId"], &context["condition"]), (&json!(id), &json!("Success")));
    assert_eq!(context["functionArn"], "arn:aws:lambda:us-east-1:000000000000:function:Work:$LATEST");
    assert_eq!(
        (&told["requestPayload"], &told["responsePayload"]),
        (&json!({"order": 7}), &json!({"done": 7}))
    );

    // There is no other attempt.
    let id = send(&server, &json!({"order": 8}));
    let failed = server.invocations("Work", 2)[1].clone();
    assert_eq!(failed["effects"], json!(["poison dead"]), "{failed}");
    let line = server.log("heard ");
    let record: Value = serde_json::from_str(&line["message"].as_str().unwrap()["heard ".len()..]).unwrap();
    let context = &record["requestContext"];
    assert_eq!((&context["requestId"], &context["condition"]), (&json!(id), &json!("RetriesExhausted")));
    assert_eq!(record["responsePayload"]["errorMessage"], "not today");
    assert_eq!(record["responseContext"]["functionError"], "Unhandled");
    assert_eq!(server.messages("dead")[0]["text"], "{\"order\":8}");
    assert_eq!(server.queue_length("lambda-events-poison"), 0);
    assert_eq!(server.stop().code, Some(0));
}

fn a_queue_gives_a_message_up_as_it_says(python: &Python) {
    let server = project(python);
    server.send_queue("orders", "soup");
    let records = server.invocations("Take", 2);
    assert_eq!((&records[0]["effects"], &records[1]["effects"]), (&json!([]), &json!(["poison dead"])));
    let dead = server.messages("dead");
    assert_eq!(
        (&dead[0]["text"], &dead[0]["poison"]["queue"]),
        (&json!("soup"), &json!("orders")),
        "{dead:?}"
    );
    assert_eq!(server.queue_length("orders"), 0);
    assert_eq!(server.stop().code, Some(0));
}
