//! Queues as their project declares them, to boto3 in functions: also to the function that works on a message.

use ingle_testkit::{App, Launch, Python, Request, Server, workspace};
use serde_json::{Value, json};

/// A message that failed comes again after ten minutes, unless its function says otherwise.
const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 30, MemorySize: 512}
Resources:
  Work: {Type: AWS::SQS::Queue, Properties: {QueueName: My_Work, VisibilityTimeout: 600}}
  Steps: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
  Polled:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 7
      DelaySeconds: 1
      ReceiveMessageWaitTimeSeconds: 20
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2}
  Dead: {Type: AWS::SQS::Queue}
  Worker:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.work
      Environment: {Variables: {QUEUE: !Ref Work}}
      Events:
        Work: {Type: SQS, Properties: {Queue: !GetAtt Work.Arn, BatchSize: 1}}
  Clients:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.clients, Environment: {Variables: {POLLED: !Ref Polled, DEAD: !Ref Dead, STEPS: !Ref Steps, WORK: !Ref Work}}}
"#;

const CODE: &str = r#"
import os
import boto3
from botocore.exceptions import ClientError

def work(event, context):
    [record] = event["Records"]
    sqs, of_record = boto3.client("sqs"), {"QueueUrl": os.environ["QUEUE"], "ReceiptHandle": record["receiptHandle"]}
    count = record["attributes"]["ApproximateReceiveCount"]
    print("works on", record["body"], count)
    if record["body"] == "deleted":
        sqs.delete_message(**of_record)
        raise ValueError("it was deleted before")
    if record["body"] == "done":
        sqs.delete_message(**of_record)
    if record["body"] == "soon" and count == "1":
        sqs.change_message_visibility(VisibilityTimeout=1, **of_record)
        raise ValueError("again, and soon")

def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]

def clients(event, context):
    sqs = boto3.client("sqs")
    polled, dead, steps, work = (os.environ[name] for name in ("POLLED", "DEAD", "STEPS", "WORK"))
    if event:
        for body in event:
            sqs.send_message(QueueUrl=work, MessageBody=body)
        return None
    sqs.send_message(QueueUrl=polled, MessageBody="bad")
    received = lambda url, **more: [one["Body"] for one in take(url, **more)]
    def take(url, **more):
        return sqs.receive_message(QueueUrl=url, **more).get("Messages", [])
    assert received(polled, WaitTimeSeconds=0) == [], "it is delayed"
    for _ in range(2):
        # The queue's own time to wait.
        [message] = take(polled)
        sqs.change_message_visibility(QueueUrl=polled, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert received(polled, WaitTimeSeconds=0) == []
    assert received(dead) == ["bad"]
    attributes = sqs.get_queue_attributes(QueueUrl=polled, AttributeNames=["All"])["Attributes"]
    names = ["VisibilityTimeout", "DelaySeconds", "ReceiveMessageWaitTimeSeconds", "RedrivePolicy"]
    hidden = polled.replace("Polled", "ingle-events-0")
    refusals = [refused(sqs.send_message, QueueUrl=steps, MessageBody="x", MessageGroupId="g"),
                refused(sqs.send_message, QueueUrl=hidden, MessageBody="x"),
                refused(sqs.purge_queue, QueueUrl=hidden)]
    assert sqs.send_message(QueueUrl=steps, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1", DelaySeconds=0)
    urls = sqs.list_queues()["QueueUrls"]
    assert sqs.list_queues(QueueNamePrefix="My_")["QueueUrls"] == [url for url in urls if url.endswith("/My_Work")]
    return {"attributes": {name: attributes.get(name) for name in names}, "refusals": refusals,
            "names": [url.rsplit("/", 1)[1] for url in urls]}
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

#[test]
fn a_function_ends_its_messages_itself() {
    let server = project().start();
    call(&server, "Clients", &json!(["deleted", "done", "soon"]));
    let message = |text: &'static str| {
        move |event: &Value| event["message"].as_str().is_some_and(|message| message.trim_end() == text)
    };
    // Without what the function has said it would come ten minutes later.
    server.wait_for("the second attempt", message("works on soon 2"));
    server.wait_for("the deleted one", message("works on deleted 1"));
    server.wait_for("the one that is done", message("works on done 1"));
    let is_end = |event: &Value| event["event"] == "invocation" && event["function"] == "Worker";
    let ends = server.wait_for_many(4, "the ends", is_end);
    let failed = ends.iter().filter(|end| end["outcome"] != "success").count();
    assert_eq!(failed, 2, "what a function has deleted is no failure of its own: {ends:#?}");
    let counts = server.call(&["state", "ls", "--json"]).code(0);
    assert!(!counts.stdout.contains("poison"), "{}", counts.stdout);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn clients_find_queues_as_they_are_declared() {
    let server = project().start();
    let told = call(&server, "Clients", &json!(null));
    let attributes = &told["attributes"];
    let numbers = ["VisibilityTimeout", "DelaySeconds", "ReceiveMessageWaitTimeSeconds"];
    assert_eq!(numbers.map(|name| attributes[name].as_str()), [Some("7"), Some("1"), Some("20")], "{told:#}");
    let redrive: Value = serde_json::from_str(attributes["RedrivePolicy"].as_str().unwrap()).unwrap();
    let arn = "arn:aws:sqs:us-east-1:000000000000:Dead";
    assert_eq!(redrive, json!({"deadLetterTargetArn": arn, "maxReceiveCount": 2}));
    assert_eq!(told["refusals"], json!(["InvalidParameterValue", "AccessDenied", "AccessDenied"]));
    assert_eq!(told["names"], json!(["Dead", "My_Work", "Polled", "Steps.fifo"]));
    assert_eq!(server.stop().code, Some(0));
}
