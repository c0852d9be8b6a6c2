//! Queues whose messages have groups: order within a group, no message twice, and what a failure holds back.

use ingle_testkit::{App, Launch, Python, Request, Server, workspace};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 30, MemorySize: 512}
Resources:
  Steps: {Type: AWS::SQS::Queue, Properties: {QueueName: Steps.fifo, FifoQueue: true, ContentBasedDeduplication: true}}
  Doors: {Type: AWS::SQS::Queue, Properties: {QueueName: Doors.fifo, FifoQueue: true, ContentBasedDeduplication: true}}
  Send:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.send, Environment: {Variables: {QUEUE: !Ref Steps}}}
  Clients:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.clients, Environment: {Variables: {QUEUE: !Ref Doors}}}
  Walk:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.walk
      Timeout: 1
      Events:
        Steps:
          Type: SQS
          Properties: {Queue: !GetAtt Steps.Arn, BatchSize: 3, FunctionResponseTypes: [ReportBatchItemFailures]}
"#;

const CODE: &str = r#"
import json, os
import boto3
from botocore.exceptions import ClientError

def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]

def send(event, context):
    sqs = boto3.client("sqs")
    entries = [{"Id": str(n), "MessageBody": body, "MessageGroupId": group} for n, (group, body) in enumerate(event)]
    sent = sqs.send_message_batch(QueueUrl=os.environ["QUEUE"], Entries=entries)["Successful"]
    return [one["SequenceNumber"] for one in sent]

def walk(event, context):
    records = event["Records"]
    print("walks", json.dumps([[one["body"], one["attributes"]] for one in records]))
    # The first one fails at its first attempt.
    failed = [one["messageId"] for one in records
              if one["body"] == "a0" and one["attributes"]["ApproximateReceiveCount"] == "1"]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}

def clients(event, context):
    sqs, url = boto3.client("sqs"), os.environ["QUEUE"]
    def put(body, group, **more):
        return sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, **more)
    def take(count=10):
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, AttributeNames=["All"])
        return got.get("Messages", [])
    first = put("one", "a")
    assert put("one", "a")["MessageId"] == first["MessageId"], "the same content is the same message"
    other = put("one", "a", MessageDeduplicationId="other")
    assert other["MessageId"] != first["MessageId"] and other["SequenceNumber"] > first["SequenceNumber"]
    put("two", "a")
    put("three", "b")
    got = take(2)
    assert [one["Body"] for one in got] == ["one", "one"], got
    attributes = got[1]["Attributes"]
    assert attributes["MessageGroupId"] == "a" and attributes["MessageDeduplicationId"] == "other", attributes
    assert attributes["SequenceNumber"] == other["SequenceNumber"], attributes
    # The group waits, and the other one does not.
    assert [one["Body"] for one in take()] == ["three"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"])
    assert take() == []
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got[1]["ReceiptHandle"], VisibilityTimeout=0)
    assert [one["Body"] for one in take()] == ["one", "two"]
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["FifoQueue"])["Attributes"] == {"FifoQueue": "true"}
    plain = url.replace("Doors.fifo", "plain")
    return [refused(sqs.send_message, QueueUrl=url, MessageBody="x"),
            refused(put, body="x", group="a", DelaySeconds=1),
            refused(sqs.send_message, QueueUrl=plain, MessageBody="x", MessageDeduplicationId="x")]
"#;

fn project() -> Launch {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    let python = Python { version: "3", program };
    App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).launch(&python)
}

fn call(server: &Server, function: &str, event: &Value) -> Value {
    let request = Request::post(&format!("/2015-03-31/functions/{function}/invocations"), event.to_string());
    server.send(request).status(200).json()
}

/// The failed message and those behind it in its group come again in their order, and the other group is not held up.
#[test]
fn a_failed_message_holds_back_its_group_alone() {
    let server = project().start();
    let steps = [["a", "a0"], ["a", "a1"], ["b", "b0"], ["a", "a2"], ["b", "b1"]];
    let numbers = call(&server, "Send", &json!(steps));
    let is_event = |event: &Value| event["message"].as_str().is_some_and(|text| text.starts_with("walks "));
    let events: Vec<Vec<(String, Value)>> = server
        .wait_for_many(3, "the events", is_event)
        .iter()
        .map(|line| {
            serde_json::from_str(line["message"].as_str().unwrap().trim_start_matches("walks ")).unwrap()
        })
        .collect();
    let bodies =
        |event: &Vec<(String, Value)>| event.iter().map(|(body, _)| body.clone()).collect::<Vec<_>>();
    let bodies: Vec<Vec<String>> = events.iter().map(bodies).collect();
    // Both groups wait while their first messages are in work; what is behind the failed one is not done before it.
    assert_eq!(bodies, [vec!["a0", "a1", "b0"], vec!["b1"], vec!["a0", "a1", "a2"]]);
    let counts: Vec<&Value> =
        events[2].iter().map(|(_, attributes)| &attributes["ApproximateReceiveCount"]).collect();
    assert_eq!(counts, [&json!("2"), &json!("1"), &json!("1")], "only the failed one has had an attempt");
    let (_, attributes) = &events[1][0];
    assert_eq!((&attributes["MessageGroupId"], &attributes["SequenceNumber"]), (&json!("b"), &numbers[4]));
    assert_eq!(attributes["MessageDeduplicationId"].as_str().map(str::len), Some(64));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn clients_see_groups_and_send_nothing_twice() {
    let server = project().start();
    let told = call(&server, "Clients", &json!({}));
    assert_eq!(told, json!(["MissingParameter", "InvalidParameterValue", "InvalidParameterValue"]));
    assert_eq!(server.stop().code, Some(0));
}
