//! Objects of buckets as clients of S3 put, get and list them, and what is refused because it is not there.

use ingle_testkit::{App, Python, Request, Server, workspace};
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
"#;

const CODE: &str = r#"
import hashlib
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
    names = ["a b+%s/%04d" % (chr(252), number) for number in range(1003)]
    for name in names:
        s3.put_object(Bucket="films", Key=name, Body=b"")
    found = [one.key for one in boto3.resource("s3").Bucket("films").objects.all()]
    assert found == names, (len(found), found[-2:])
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="films", Prefix="a b+", PaginationConfig={"PageSize": 400})
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

def whole(s3):
    length, expected = 0, hashlib.sha256(b"piece").digest()
    for piece in s3.get_object(Bucket="films", Key="film")["Body"].iter_chunks(1024 * 1024):
        assert piece == expected * (len(piece) // 32), length
        length += len(piece)
    return length
"#;

fn start() -> Server {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    let python = Python { version: "3", program };
    App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).launch(&python).start()
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
