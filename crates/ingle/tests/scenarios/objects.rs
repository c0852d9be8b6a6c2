//! Objects of buckets as clients of S3 put, get and list them, and what is refused because it is not there.

use ingle_testkit::{App, Launch, Python, Request, Server, workspace};
use serde_json::{Value, json};

const MEGABYTE: usize = 1024 * 1024;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 60, MemorySize: 512}
Resources:
  Call:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.call}
  Turns: {Type: AWS::S3::Bucket, Properties: {BucketName: turns}}
  Turn:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.turn
      Events:
        There: {Type: S3, Properties: {Bucket: !Ref Turns, Events: "s3:ObjectCreated:*"}}
        Gone: {Type: S3, Properties: {Bucket: !Ref Turns, Events: "s3:ObjectRemoved:*"}}
  Wait:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.wait, Timeout: 2}
"#;

const CODE: &str = r#"
import gzip, hashlib
from concurrent.futures import ThreadPoolExecutor
import boto3
from botocore.exceptions import ClientError

def call(event, context):
    return globals()[event](boto3.client("s3"))

def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]

def unknown_requests(s3):
    place = {"Bucket": "films", "Key": "a"}
    s3.put_object(**place, Body=b"content", ContentType="text/plain")
    calls = [
        (s3.put_object_retention, {**place, "Retention": {"Mode": "GOVERNANCE"}}),
        (s3.put_object_legal_hold, {**place, "LegalHold": {"Status": "ON"}}),
        (s3.put_object_tagging, {**place, "Tagging": {"TagSet": []}}),
        (s3.put_object_acl, {**place, "ACL": "private"}),
        (s3.get_object, {**place, "VersionId": "1"}),
        (s3.delete_object, {**place, "VersionId": "1"}),
        (s3.delete_objects, {"Bucket": "films", "Delete": {"Objects": [{"Key": "a", "VersionId": "1"}]}}),
        (s3.copy_object, {**place, "CopySource": {**place, "VersionId": "1"}}),
        (s3.list_object_versions, {"Bucket": "films"}),
        (s3.put_bucket_versioning, {"Bucket": "films", "VersioningConfiguration": {"Status": "Enabled"}}),
        (s3.put_bucket_notification_configuration, {"Bucket": "films", "NotificationConfiguration": {}}),
        (s3.put_object, {**place, "Body": b"other", "Tagging": "a=b"}),
    ]
    codes = {refused(call, **arguments) for call, arguments in calls}
    assert codes == {"NotImplemented"}, codes
    got = s3.get_object(**place)
    assert (got["ContentType"], got["Body"].read()) == ("text/plain", b"content"), got

def pages(s3):
    names = ["a b+%s/%04d" % (chr(252), number) for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket="films", Key=name, Body=b""), names))
    found = [one.key for one in boto3.resource("s3").Bucket("films").objects.page_size(50)]
    assert found == names, (len(found), found[-2:])
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="films", Prefix="a b+", PaginationConfig={"PageSize": 50})
    assert [one["Key"] for page in pages for one in page["Contents"]] == names

def far_parts(s3):
    "Each range is read from where it begins, and what is got as a whole is never in the server's memory."
    place, piece = {"Bucket": "films", "Key": "film"}, hashlib.sha256(b"piece").digest() * 32 * 1024
    begun = s3.create_multipart_upload(**place)["UploadId"]
    parts = []
    for number in range(1, 9):
        tag = s3.upload_part(**place, UploadId=begun, PartNumber=number, Body=piece * 32)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    s3.complete_multipart_upload(**place, UploadId=begun, MultipartUpload={"Parts": parts})
    size = 8 * 32 * len(piece)
    got = s3.get_object(**place, Range="bytes=%d-" % (size - 5))
    assert (got["ContentRange"], got["Body"].read()) == ("bytes %d-%d/%d" % (size - 5, size - 1, size), piece[-5:])
    return size

def conditions(s3):
    place, copy = {"Bucket": "films", "Key": "state"}, {"Bucket": "films", "Key": "copy"}
    first = s3.put_object(**place, Body=b"one", IfNoneMatch="*")["ETag"]
    codes = [refused(s3.put_object, **place, Body=b"other", IfNoneMatch="*")]
    second = s3.put_object(**place, Body=b"two", IfMatch=first)["ETag"]
    codes += [
        refused(s3.put_object, **place, Body=b"other", IfMatch=first),
        refused(s3.put_object, **copy, Body=b"other", IfMatch=first),
        refused(s3.get_object, **place, IfMatch=first),
        refused(s3.head_object, **place, IfMatch=first),
        refused(s3.get_object, **place, IfNoneMatch=second),
        refused(s3.copy_object, **copy, CopySource=place, CopySourceIfMatch=first),
        refused(s3.copy_object, **place, CopySource=place, MetadataDirective="REPLACE", IfNoneMatch="*"),
        refused(s3.delete_object, **place, IfMatch=first),
    ]
    got = s3.get_object(**place, IfMatch=second, IfNoneMatch=first)
    assert (got["Body"].read(), got["ETag"]) == (b"two", second), got
    s3.copy_object(**copy, CopySource=place, CopySourceIfMatch=second)
    s3.delete_object(**place, IfMatch=second)
    # Of many who want a lock, one has it.
    def take(number):
        return refused(s3.put_object, Bucket="films", Key="lock", Body=b"%d" % number, IfNoneMatch="*")
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(24)))
    assert sorted(map(str, taken)) == ["None"] + 23 * ["PreconditionFailed"], taken
    assert int(s3.get_object(Bucket="films", Key="lock")["Body"].read()) == taken.index(None)
    return codes

def headers(s3):
    place, copy = {"Bucket": "films", "Key": "page"}, {"Bucket": "films", "Key": "copy"}
    told = {"ContentType": "text/html", "ContentEncoding": "gzip", "CacheControl": "max-age=60", "ContentLanguage": "de",
            "ContentDisposition": 'attachment; filename="a.html"'}
    s3.put_object(**place, Body=gzip.compress(b"content"), **told)
    s3.copy_object(**copy, CopySource=place)
    begun = s3.create_multipart_upload(Bucket="films", Key="parts", **told)["UploadId"]
    part = s3.upload_part(Bucket="films", Key="parts", UploadId=begun, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    s3.complete_multipart_upload(Bucket="films", Key="parts", UploadId=begun, MultipartUpload=parts)
    for key in ["page", "copy", "parts"]:
        head = s3.head_object(Bucket="films", Key=key)
        assert {name: head.get(name) for name in told} == told, (key, head)
    s3.copy_object(**copy, CopySource=place, MetadataDirective="REPLACE", ContentType="text/plain")
    head = s3.head_object(**copy)
    assert head["ContentType"] == "text/plain" and not any(name in head for name in list(told)[1:]), head

def turn(event, context):
    record, = event["Records"]
    s3, place = boto3.client("s3"), {"Bucket": "turns", "Key": record["s3"]["object"]["key"]}
    if record["eventName"].startswith("ObjectCreated"):
        s3.delete_object(**place)
    else:
        s3.put_object(**place, Body=b"again")

def wait(event, context):
    boto3.client("sqs").receive_message(QueueUrl="/letters", WaitTimeSeconds=20, VisibilityTimeout=3600)

def letter(s3):
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl="/letters", MessageBody="a letter")
    return [one["Body"] for one in sqs.receive_message(QueueUrl="/letters", WaitTimeSeconds=10).get("Messages", [])]

def whole(s3):
    length, expected = 0, hashlib.sha256(b"piece").digest()
    for piece in s3.get_object(Bucket="films", Key="film")["Body"].iter_chunks(1024 * 1024):
        assert piece == expected * (len(piece) // 32), length
        length += len(piece)
    return length
"#;

fn launch() -> Launch {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    let python = Python { version: "3", program };
    App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).launch(&python)
}

fn start() -> Server {
    launch().start()
}

/// Runs a function of the code above with a client of S3.
fn call(server: &Server, name: &str) -> Value {
    let request = Request::post("/2015-03-31/functions/Call/invocations", json!(name).to_string());
    let reply = server.send(request).status(200).json();
    assert!(reply.get("errorMessage").is_none(), "{reply:#}");
    reply
}

#[test]
fn what_is_not_there_is_refused_and_changes_nothing() {
    let server = start();
    call(&server, "unknown_requests");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn lists_go_on_where_they_ended_whatever_the_names() {
    let server = start();
    call(&server, "pages");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn conditions_hold_in_the_moment_of_the_write() {
    let server = start();
    let expected = [
        "PreconditionFailed",
        "PreconditionFailed",
        "NoSuchKey",
        "PreconditionFailed",
        "412",
        "304",
        "PreconditionFailed",
        "PreconditionFailed",
        "PreconditionFailed",
    ];
    assert_eq!(call(&server, "conditions"), json!(expected));
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn what_is_told_of_a_content_stays_with_it() {
    let server = start();
    call(&server, "headers");
    assert_eq!(server.stop().code, Some(0));
}

/// Who deletes what came, and puts what has gone, starts itself for ever.
#[test]
fn a_circle_of_puts_and_removals_is_broken() {
    let server = launch().may_complain("E0310").start();
    server.call(&["put", "blob", "turns/a", "first"]).code(0);
    let is_end = |event: &Value| event["event"] == "invocation" && event["failure"]["code"] == "E0310";
    server.wait_for_many(1, "the end of the turns", is_end);
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn who_was_ended_while_it_waited_for_a_message_gets_none() {
    let server = launch().start();
    let reply = server.send(Request::post("/2015-03-31/functions/Wait/invocations", "{}"));
    assert!(reply.text().contains("timed out"), "{}", reply.text());
    assert_eq!(call(&server, "letter"), json!(["a letter"]));
    assert_eq!(server.stop().code, Some(0));
}

/// The most memory that a process has had, in bytes (`VmHWM`, proc(5)).
fn memory_peak(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn an_object_larger_than_memory_is_got_as_a_whole() {
    let server = start();
    let size = call(&server, "far_parts");
    let before = memory_peak(server.process_id());
    assert_eq!(call(&server, "whole"), size);
    let after = memory_peak(server.process_id());
    assert!(after < before + 30 * MEGABYTE, "memory grew from {before} to {after} bytes");
    assert_eq!(server.stop().code, Some(0));
}
