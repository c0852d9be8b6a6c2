//! Objects that functions put in parts, as boto3 does with files of more than 8 MB.

use ingle_testkit::{App, Python, Request, workspace};
use serde_json::json;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 60, MemorySize: 512}
Resources:
  Films: {Type: AWS::S3::Bucket, Properties: {BucketName: films}}
  Send:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.send}
  Seen:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.seen
      Events:
        Whole: {Type: S3, Properties: {Bucket: !Ref Films, Events: "s3:ObjectCreated:CompleteMultipartUpload", Filter: {S3Key: {Rules: [{Name: prefix, Value: a/}]}}}}
"#;

const CODE: &str = r#"
import hashlib, os
from concurrent.futures import ThreadPoolExecutor
import boto3
from botocore.exceptions import ClientError

MEGABYTE = 1024 * 1024

def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]

def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()

def files(s3):
    with open("/tmp/film", "wb") as file:
        for number in range(20):
            file.write(bytes([number]) * MEGABYTE)
    s3.upload_file("/tmp/film", "films", "a/film", ExtraArgs={"ContentType": "video/mp4", "Metadata": {"who": "Ada"}})
    head = s3.head_object(Bucket="films", Key="a/film")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (20 * MEGABYTE, "video/mp4", {"who": "Ada"}), head
    assert head["ETag"].endswith('-3"'), head
    s3.download_file("films", "a/film", "/tmp/back")
    assert digest("/tmp/back") == digest("/tmp/film")
    listed, = s3.list_objects_v2(Bucket="films")["Contents"]
    assert listed["ETag"] == head["ETag"], listed
    s3.copy({"Bucket": "films", "Key": "a/film"}, "films", "b/film")
    s3.download_file("films", "b/film", "/tmp/back")
    assert digest("/tmp/back") == digest("/tmp/film")
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == ["films"]

def parts(s3):
    place = {"Bucket": "films", "Key": "c"}
    begun = s3.create_multipart_upload(**place)["UploadId"]
    def put(number, body):
        return {"PartNumber": number, "ETag": s3.upload_part(**place, UploadId=begun, PartNumber=number, Body=body)["ETag"]}
    first, small, last = put(1, b"a" * 5 * MEGABYTE), put(2, b"b"), put(10, b"last")
    assert first["ETag"] == '"%s"' % hashlib.md5(b"a" * 5 * MEGABYTE).hexdigest(), first
    listed = s3.list_parts(**place, UploadId=begun)["Parts"]
    assert [(one["PartNumber"], one["Size"]) for one in listed] == [(1, 5 * MEGABYTE), (2, 1), (10, 4)], listed
    def complete(*chosen):
        return s3.complete_multipart_upload(**place, UploadId=begun, MultipartUpload={"Parts": list(chosen)})
    codes = [refused(lambda: complete(last, first)), refused(lambda: complete({**first, "ETag": "other"})),
             refused(lambda: complete(first, small, last)),
             refused(s3.upload_part, Bucket="films", Key="other", UploadId=begun, PartNumber=1, Body=b"x"),
             refused(s3.head_object, **place)]
    # A part of that number replaces the one before, and those that are not named are left out.
    last = put(10, b"end")
    done = complete(first, last)
    # Whose answer was lost asks again.
    assert complete(first, last)["ETag"] == done["ETag"]
    assert done["ETag"].endswith('-2"') and s3.head_object(**place)["ETag"] == done["ETag"], done
    got = s3.get_object(**place, Range="bytes=%d-" % (5 * MEGABYTE - 2))["Body"].read()
    assert got == b"aaend", got
    begun = s3.create_multipart_upload(**place)["UploadId"]
    put(1, b"x")
    s3.abort_multipart_upload(**place, UploadId=begun)
    codes += [refused(s3.list_parts, **place, UploadId=begun),
              refused(s3.upload_part, **place, UploadId=begun, PartNumber=1, Body=b"x"),
              refused(s3.create_multipart_upload, Bucket="films", Key="a\tb")]
    return codes

def lists(s3):
    begun = [s3.create_multipart_upload(Bucket="films", Key=key)["UploadId"] for key in ("l/b", "l/a", "m", "l/c")]
    s3.create_multipart_upload(Bucket="other", Key="l/d")
    def keys(**arguments):
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket="films", **arguments)
        return [one["Key"] for page in pages for one in page.get("Uploads", [])]
    assert keys() == ["l/a", "l/b", "l/c", "m"], keys()
    assert keys(Prefix="l/", PaginationConfig={"PageSize": 2}) == ["l/a", "l/b", "l/c"]
    s3.abort_multipart_upload(Bucket="films", Key="l/b", UploadId=begun[0])
    assert keys(Prefix="l/") == ["l/a", "l/c"]
    place = {"Bucket": "films", "Key": "l/a", "UploadId": begun[1]}
    for number in (3, 1, 2):
        s3.upload_part(**place, PartNumber=number, Body=b"x")
    pages = s3.get_paginator("list_parts").paginate(**place, PaginationConfig={"PageSize": 2})
    assert [[one["PartNumber"] for one in page["Parts"]] for page in pages] == [[1, 2], [3]]

def at_once(s3):
    "Several complete one upload: it becomes one object, and all of them are told of that one."
    place = {"Bucket": "films", "Key": "a/once"}
    begun = s3.create_multipart_upload(**place)["UploadId"]
    part = s3.upload_part(**place, UploadId=begun, PartNumber=1, Body=b"x" * 8 * MEGABYTE)["ETag"]
    def complete(_):
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        return s3.complete_multipart_upload(**place, UploadId=begun, MultipartUpload=parts)["ETag"]
    with ThreadPoolExecutor(4) as pool:
        tags = set(pool.map(complete, range(4)))
    assert tags == {s3.head_object(**place)["ETag"]}, tags

def send(event, context):
    s3 = boto3.client("s3")
    files(s3)
    lists(s3)
    at_once(s3)
    return parts(s3)

def seen(event, context):
    record, = event["Records"]
    print("seen", record["eventName"], record["s3"]["object"]["key"], record["s3"]["object"]["size"], record["s3"]["object"]["eTag"][-2:])
"#;

#[test]
fn files_of_any_size_go_up_in_parts() {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    let python = Python { version: "3", program };
    let server = App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).launch(&python).start();
    let told = server.send(Request::post("/2015-03-31/functions/Send/invocations", "{}")).status(200).json();
    let expected = [
        "InvalidPartOrder",
        "InvalidPart",
        "EntityTooSmall",
        "NoSuchUpload",
        "404",
        "NoSuchUpload",
        "NoSuchUpload",
        "InvalidArgument",
    ];
    assert_eq!(told, json!(expected));
    server.log("seen ObjectCreated:CompleteMultipartUpload a/film 20971520 -3");
    assert_eq!(server.stop().code, Some(0));
}
