//! Functions of a project that hand work to each other with clients of AWS, as they are: no endpoint in their code.

use ingle_testkit::{App, Launch, Python, Server, workspace};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 60, MemorySize: 512}
Resources:
  Jobs: {Type: AWS::SQS::Queue, Properties: {QueueName: Jobs_todo}}
  Photos: {Type: AWS::S3::Bucket, Properties: {BucketName: my.photos}}
  Take:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.take
      Environment: {Variables: {QUEUE: !Ref Jobs}}
  Work:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.work
      Events:
        Jobs: {Type: SQS, Properties: {Queue: !GetAtt Jobs.Arn, BatchSize: 1}}
  Seen:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.seen
      Events:
        Photos:
          Type: S3
          Properties:
            Bucket: !Ref Photos
            Events: s3:ObjectCreated:*
            Filter: {S3Key: {Rules: [{Name: suffix, Value: .jpg}]}}
  Round:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.round
      Events:
        Rounds: {Type: SQS, Properties: {Queue: "arn:aws:sqs:us-east-1:000000000000:rounds", BatchSize: 1}}
  All:
    Type: AWS::Serverless::Function
    Properties: {Handler: every.call}
"#;

const CODE: &str = r#"
import json, os, time
import boto3

def take(event, context):
    sent = boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=event["photo"], MessageAttributes={
        "kind": {"DataType": "String", "StringValue": "photo"}})
    return sent["MessageId"]

def work(event, context):
    record = event["Records"][0]
    print("works on", record["body"])
    while not os.path.exists("gate.txt"):
        time.sleep(0.05)
    boto3.client("s3").put_object(Bucket="my.photos", Key="in/" + record["body"], Body=b"a photo",
                                  Metadata={"kind": record["messageAttributes"]["kind"]["stringValue"]})

def seen(event, context):
    found = event["Records"][0]["s3"]
    photo = boto3.client("s3").get_object(Bucket=found["bucket"]["name"], Key=found["object"]["key"])
    print("seen", found["object"]["key"], photo["Body"].read().decode(), photo["Metadata"]["kind"])

def round(event, context):
    boto3.client("sqs").send_message(QueueUrl="https://sqs.us-east-1.amazonaws.com/000000000000/rounds", MessageBody="again")
"#;

/// Every call of the door.
const EVERY: &str = r#"
import io
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return [error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]]

def queues():
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="Letters")["QueueUrl"]
    assert sqs.get_queue_url(QueueName="Letters")["QueueUrl"] == url
    entries = [{"Id": str(n), "MessageBody": "m%d" % n} for n in range(3)]
    sent = sqs.send_message_batch(QueueUrl=url, Entries=entries + [{"Id": "bad", "MessageBody": "x", "DelaySeconds": 901}])
    assert [one["Id"] for one in sent["Successful"]] == ["0", "1", "2"] and sent["Failed"][0]["Id"] == "bad", sent
    attributes = {"n": {"DataType": "Number", "StringValue": "7"}, "b": {"DataType": "Binary", "BinaryValue": b"\0\1"}}
    sqs.send_message(QueueUrl=url, MessageBody="ü", MessageAttributes=attributes)
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == "4" and counts["QueueArn"].endswith(":000000000000:Letters"), counts
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=5, AttributeNames=["All"],
                              MessageAttributeNames=["All"])["Messages"]
    assert [one["Body"] for one in got] == ["m0", "m1", "m2", "ü"], got
    assert got[3]["MessageAttributes"] == attributes and got[0]["Attributes"]["ApproximateReceiveCount"] == "1", got
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=got[0]["ReceiptHandle"], VisibilityTimeout=0)
    again = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"][0]
    assert (again["Body"], again["Attributes"]) == ("m0", {"ApproximateReceiveCount": "2"}), again
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    ended = sqs.delete_message_batch(QueueUrl=url, Entries=[
        {"Id": "a", "ReceiptHandle": got[1]["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "nonsense"}])
    assert ended["Successful"] == [{"Id": "a"}] and ended["Failed"][0]["Code"] == "ReceiptHandleIsInvalid", ended
    assert url.lower() in [one.lower() for one in sqs.list_queues()["QueueUrls"]]
    sqs.purge_queue(QueueUrl=url)
    return [refused(sqs.send_message, QueueUrl=url, MessageBody=""), refused(sqs.tag_queue, QueueUrl=url, Tags={"a": "b"})]

def buckets():
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="things")
    s3.put_object(Bucket="things", Key="a/red flower+ü.txt", Body="0123456789", ContentType="text/plain", Metadata={"who": "Ada"})
    s3.upload_fileobj(io.BytesIO(b"x" * 100_000), "things", "b/large")
    got = s3.get_object(Bucket="things", Key="a/red flower+ü.txt", Range="bytes=2-4")
    assert (got["Body"].read(), got["ContentRange"], got["Metadata"]) == (b"234", "bytes 2-4/10", {"who": "Ada"}), got
    head = s3.head_object(Bucket="things", Key="b/large")
    assert head["ContentLength"] == 100_000, head
    s3.copy_object(Bucket="things", Key="a/copy", CopySource={"Bucket": "things", "Key": "a/red flower+ü.txt"})
    assert s3.get_object(Bucket="things", Key="a/copy")["Body"].read() == b"0123456789"
    listed = s3.list_objects_v2(Bucket="things", Prefix="a/")
    assert [one["Key"] for one in listed["Contents"]] == ["a/copy", "a/red flower+ü.txt"], listed
    groups = s3.list_objects_v2(Bucket="things", Delimiter="/")
    assert [one["Prefix"] for one in groups["CommonPrefixes"]] == ["a/", "b/"] and groups["KeyCount"] == 2, groups
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="things", PaginationConfig={"PageSize": 1})
    assert [one["Key"] for page in pages for one in page["Contents"]] == ["a/copy", "a/red flower+ü.txt", "b/large"]
    s3.delete_object(Bucket="things", Key="b/large")
    deleted = s3.delete_objects(Bucket="things", Delete={"Objects": [{"Key": "a/copy"}, {"Key": "a/red flower+ü.txt"}]})
    assert [one["Key"] for one in deleted["Deleted"]] == ["a/copy", "a/red flower+ü.txt"], deleted
    assert "Contents" not in s3.list_objects_v2(Bucket="things")
    assert "things" in [one["Name"] for one in s3.list_buckets()["Buckets"]]
    return [refused(s3.get_object, Bucket="things", Key="none"), refused(s3.head_object, Bucket="things", Key="none")]

def strangers():
    once = Config(retries={"max_attempts": 0})
    other = boto3.client("sqs", aws_access_key_id="AKIAOTHER", aws_secret_access_key="other", config=once)
    wrong = boto3.client("s3", aws_secret_access_key="wrong", aws_access_key_id=boto3.Session().get_credentials().access_key)
    unserved = boto3.client("dynamodb", config=once)
    return [refused(other.list_queues), refused(wrong.list_buckets), refused(unserved.list_tables)]

def call(event, context):
    return {"queues": queues(), "buckets": buckets(), "strangers": strangers()}
"#;

/// A Python with boto3. Which version it is does not matter.
fn clients() -> Python {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    Python { version: "3", program }
}

fn project() -> Launch {
    let app = App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).file("every.py", EVERY);
    app.launch(&clients())
}

fn invoke(server: &Server, function: &str, event: &Value) -> Value {
    let called = server.call(&["invoke", function, "--data", &event.to_string(), "--json"]);
    let answer = called.json();
    assert_eq!(answer["outcome"], "success", "{answer}");
    answer["outputs"]["$return"].clone()
}

/// S-070, S-071: function, queue, function, bucket, function; with a crash in the middle.
#[test]
fn s_070_a_chain_of_functions_goes_on_after_a_crash() {
    let mut server = project().start();
    let id = invoke(&server, "Take", &json!({"photo": "cat.jpg"}));
    assert_eq!(id.as_str().map(str::len), Some(36), "{id}");
    server.log("works on cat.jpg");
    server.kill9();
    std::fs::write(server.folder().join("gate.txt"), "").unwrap();
    server.restart();
    server.log("seen in/cat.jpg a photo photo");
    assert_eq!(server.invocations("Seen", 1)[0]["outcome"], "success");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn clients_of_aws_use_queues_and_buckets_of_the_project() {
    let server = project().start();
    let told = invoke(&server, "All", &json!({}));
    assert_eq!(told["queues"], json!([[400, "InvalidParameterValue"], [501, "UnsupportedOperation"]]));
    assert_eq!(told["buckets"], json!([[404, "NoSuchKey"], [404, "404"]]));
    assert_eq!(
        told["strangers"],
        json!([[403, "InvalidAccessKeyId"], [403, "SignatureDoesNotMatch"], [501, "NotImplemented"]])
    );
    assert_eq!(server.stop().code, Some(0));
}

/// A chain that leads back to its beginning ends, as at AWS.
#[test]
fn a_chain_without_end_is_broken() {
    let server = project().may_complain("E0310").start();
    server.call(&["send", "queue", "rounds", "first"]).code(0);
    let records = server.wait_for_many(1, "the end of the rounds", |event| {
        event["event"] == "invocation" && event["failure"]["code"] == "E0310"
    });
    assert_eq!(records[0]["effects"], json!(["poison rounds-poison"]), "{records:?}");
    assert_eq!(server.stop().code, Some(0));
}
