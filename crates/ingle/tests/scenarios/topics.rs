//! Topics of a project: what is published there is an event of each function that subscribes to it.

use ingle_testkit::{App, Python, Request, Server, workspace};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 30, MemorySize: 512}
Resources:
  Orders: {Type: AWS::SNS::Topic, Properties: {TopicName: Orders_new}}
  Publish:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.publish
      Environment: {Variables: {TOPIC: !Ref Orders}}
  Kitchen:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.hear
      Events:
        Orders:
          Type: SNS
          Properties:
            Topic: !Ref Orders
            FilterPolicy: {kind: [soup, {prefix: te}]}
  Ledger:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.hear
      Events:
        Orders: {Type: SNS, Properties: {Topic: !GetAtt Orders.TopicName}}
"#;

const CODE: &str = r#"
import json, os
import boto3
from botocore.exceptions import ClientError

def publish(event, context):
    sns = boto3.client("sns")
    topic = os.environ["TOPIC"]
    attributes = {"kind": {"DataType": "String", "StringValue": event["kind"]}}
    sent = sns.publish(TopicArn=topic, Message=event["text"], Subject="order", MessageAttributes=attributes)
    batch = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=[
        {"Id": "a", "Message": "first"}, {"Id": "b", "Message": "second", "MessageAttributes": attributes}])
    assert [one["Id"] for one in batch["Successful"]] == ["a", "b"], batch
    assert [one["TopicArn"] for one in sns.list_topics()["Topics"]] == [topic]
    try:
        sns.publish(TopicArn=topic, Message="")
    except ClientError as error:
        return {"id": sent["MessageId"], "refused": error.response["Error"]["Code"]}

def hear(event, context):
    record, = event["Records"]
    sns = record["Sns"]
    print("heard", json.dumps([context.function_name, sns["Subject"], sns["Message"], sns["MessageAttributes"], sns["MessageId"],
                               sns["TopicArn"]]))
"#;

fn clients() -> Python {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    Python { version: "3", program }
}

fn start() -> Server {
    App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).start(&clients())
}

/// What was heard: the function, the subject and the text, sorted.
fn heard(server: &Server, count: usize) -> Vec<Value> {
    let is_one = |event: &Value| event["message"].as_str().is_some_and(|text| text.starts_with("heard "));
    let lines = server.wait_for_many(count, "what was heard", is_one);
    let mut found: Vec<Value> = lines
        .iter()
        .map(|line| {
            serde_json::from_str(line["message"].as_str().unwrap().trim_start_matches("heard ")).unwrap()
        })
        .collect();
    found.sort_by_key(ToString::to_string);
    found
}

#[test]
fn a_message_comes_to_each_function_that_wants_it() {
    let server = start();
    let call = Request::post(
        "/2015-03-31/functions/Publish/invocations",
        json!({"text": "two soups", "kind": "tea"}).to_string(),
    );
    let told = server.send(call).status(200).json();
    assert_eq!(told["refused"], "InvalidParameter", "{told}");
    let found = heard(&server, 5);
    let short: Vec<Value> = found.iter().map(|one| json!([one[0], one[2]])).collect();
    let expected = json!([
        ["Kitchen", "two soups"],
        ["Kitchen", "second"],
        ["Ledger", "two soups"],
        ["Ledger", "first"],
        ["Ledger", "second"]
    ]);
    let mut expected = expected.as_array().unwrap().clone();
    expected.sort_by_key(ToString::to_string);
    let mut short = short;
    short.sort_by_key(ToString::to_string);
    assert_eq!(short, expected, "{found:?}");
    let first = found.iter().find(|one| one[2] == "two soups").unwrap();
    assert_eq!((&first[1], &first[4]), (&json!("order"), &told["id"]));
    assert_eq!(first[3], json!({"kind": {"Type": "String", "Value": "tea"}}));
    assert_eq!(first[5], "arn:aws:sns:us-east-1:000000000000:Orders_new");
}

#[test]
fn something_is_published_by_hand() {
    let server = start();
    let sent = server.call(&[
        "send",
        "topic",
        "Orders_new",
        "bread",
        "--subject",
        "by hand",
        "--attribute",
        "kind=soup",
        "--json",
    ]);
    let sent = sent.code(0).json();
    assert_eq!((&sent["event"], &sent["events"]), (&json!("published"), &json!(2)));
    let found = heard(&server, 2);
    assert_eq!(
        (&found[0][0], &found[0][1], &found[1][0]),
        (&json!("Kitchen"), &json!("by hand"), &json!("Ledger"))
    );
    let only = server.call(&["send", "topic", "Orders_new", "cake"]).code(0);
    assert_eq!(only.stdout.trim(), "published to topic Orders_new: 1 subscriber hears of it");
    let unknown = server.call(&["send", "topic", "orders", "bread", "--json"]).code(1).json();
    assert_eq!(unknown["code"], "E0126", "{unknown}");
    assert!(unknown["message"].as_str().unwrap().contains("there are Orders_new"), "{unknown}");
}

const QUEUES: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 30, MemorySize: 512}
Resources:
  Orders:
    Type: AWS::SNS::Topic
    Properties:
      Subscription: [{Protocol: sqs, Endpoint: !GetAtt Everything.Arn}, {Protocol: email, Endpoint: a@example.com}]
  Everything: {Type: AWS::SQS::Queue}
  Soups: {Type: AWS::SQS::Queue}
  Wish:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref Orders
      Protocol: sqs
      Endpoint: !GetAtt Soups.Arn
      RawMessageDelivery: true
      FilterPolicy: {kind: [soup]}
  Direct:
    Type: AWS::SNS::Subscription
    Properties: {TopicArn: !Ref Orders, Protocol: lambda, Endpoint: !GetAtt Listen.Arn}
  Publish:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.publish
      Environment: {Variables: {TOPIC: !Ref Orders, EVERYTHING: !Ref Everything}}
  Cook:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.cook
      Events: {Soups: {Type: SQS, Properties: {Queue: !GetAtt Soups.Arn, BatchSize: 1}}}
  Listen:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.listen}
"#;

const QUEUES_CODE: &str = r#"
import json, os
import boto3

def publish(event, context):
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = os.environ["TOPIC"]
    attributes = {"kind": {"DataType": "String", "StringValue": "soup"}, "raw": {"DataType": "Binary", "BinaryValue": b"\0\1"}}
    ids = [sns.publish(TopicArn=topic, Message="tea")["MessageId"],
           sns.publish(TopicArn=topic, Message="tomato", Subject="order", MessageAttributes=attributes)["MessageId"]]
    got = sqs.receive_message(QueueUrl=os.environ["EVERYTHING"], MaxNumberOfMessages=10)["Messages"]
    return {"ids": ids, "got": [json.loads(one["Body"]) for one in got]}

def cook(event, context):
    record, = event["Records"]
    print("cooks", json.dumps([record["body"], record["messageAttributes"], record["md5OfMessageAttributes"]]))

def listen(event, context):
    print("hears", event["Records"][0]["Sns"]["Message"])
"#;

#[test]
fn a_message_comes_to_queues() {
    let server =
        App::default().file("template.yaml", QUEUES).file("app.py", QUEUES_CODE).launch(&clients()).start();
    let call = Request::post("/2015-03-31/functions/Publish/invocations", "{}");
    let told = server.send(call).status(200).json();
    let (first, second) = (&told["got"][0], &told["got"][1]);
    assert_eq!((&first["Message"], &first["MessageId"]), (&json!("tea"), &told["ids"][0]), "{told}");
    assert!(first.get("Subject").is_none() && first.get("MessageAttributes").is_none(), "{told}");
    assert_eq!((&second["Type"], &second["Subject"]), (&json!("Notification"), &json!("order")));
    assert_eq!(second["TopicArn"], "arn:aws:sns:us-east-1:000000000000:Orders");
    assert_eq!(second["MessageAttributes"]["kind"], json!({"Type": "String", "Value": "soup"}));
    assert_eq!(second["MessageAttributes"]["raw"], json!({"Type": "Binary", "Value": "AAE="}));

    let line = server.log("cooks ");
    let cooked: Value =
        serde_json::from_str(line["message"].as_str().unwrap().trim_start_matches("cooks ")).unwrap();
    assert_eq!((&cooked[0], &cooked[1]["kind"]["stringValue"]), (&json!("tomato"), &json!("soup")));
    assert_eq!(
        (&cooked[1]["raw"]["binaryValue"], cooked[2].as_str().map(str::len)),
        (&json!("AAE="), Some(32))
    );
    server.log("hears tea");
    let sent = server.call(&["send", "topic", "Orders", "bread"]).code(0);
    assert_eq!(sent.stdout.trim(), "published to topic Orders: 2 subscribers hear of it");
    assert_eq!(server.invocations("Cook", 1).len(), 1);
    assert_eq!(server.stop().code, Some(0));
}
