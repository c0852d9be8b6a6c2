//! Functions of a project that invoke each other with boto3, as at AWS.

use ingle_testkit::{App, Launch, Python, Request, Server, workspace};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.11, Timeout: 30, MemorySize: 512}
Resources:
  Front:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.front
      Environment: {Variables: {BACK: !Ref Back, ARN: !GetAtt Back.Arn}}
  Back:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.back, FunctionName: Shop_back}
  Round:
    Type: AWS::Serverless::Function
    Properties: {Handler: app.round}
"#;

const CODE: &str = r#"
import base64, json, os
import boto3
from botocore.exceptions import ClientError

def told(answer):
    return [answer["StatusCode"], answer.get("FunctionError"), json.loads(answer["Payload"].read() or "null")]

def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["Error"]["Message"]]

def front(event, context):
    functions = boto3.client("lambda")
    back, arn = os.environ["BACK"], os.environ["ARN"]
    context_of = base64.b64encode(json.dumps({"custom": {"who": "front"}}).encode()).decode()
    by_name = functions.invoke(FunctionName=back, Payload=json.dumps({"n": 1}), ClientContext=context_of, LogType="Tail")
    log = base64.b64decode(by_name["LogResult"]).decode()
    return {
        "name": told(by_name), "log": "back has 1" in log,
        "arn": told(functions.invoke(FunctionName=arn, Payload=b'{"n": 2}')),
        "failed": told(functions.invoke(FunctionName=back, Payload=b'{"n": "x"}')),
        "later": told(functions.invoke(FunctionName=back, InvocationType="Event", Payload=b'{"n": 3}')),
        "dry": functions.invoke(FunctionName=back, InvocationType="DryRun")["StatusCode"],
        "stream": [list(part) for part in functions.invoke_with_response_stream(FunctionName=back, Payload=b'{"n": 4}')["EventStream"]],
        "unknown": refused(functions.invoke, FunctionName="nobody"),
        "list": refused(functions.list_functions),
        "sts": refused(boto3.client("sts").get_caller_identity),
        "secret": refused(boto3.client("secretsmanager").get_secret_value, SecretId="x"),
    }

def back(event, context):
    print("back has", event["n"])
    custom = context.client_context.custom if context.client_context else None
    return {"sum": event["n"] + 1, "custom": custom}

def round(event, context):
    print("round", event["n"])
    boto3.client("lambda").invoke(FunctionName=context.function_name, InvocationType="Event", Payload=json.dumps({"n": event["n"] + 1}))
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
fn a_function_invokes_another_one() {
    let server = project().start();
    let told = call(&server, "Front", &json!({}));
    assert_eq!(told["name"], json!([200, null, {"sum": 2, "custom": {"who": "front"}}]), "{told:#}");
    assert_eq!(told["log"], true, "{told:#}");
    assert_eq!(told["arn"], json!([200, null, {"sum": 3, "custom": null}]), "{told:#}");
    let failed = &told["failed"];
    assert_eq!((&failed[0], &failed[1]), (&json!(200), &json!("Unhandled")), "{told:#}");
    assert_eq!(failed[2]["errorType"], "TypeError", "{told:#}");
    assert_eq!((&told["later"], &told["dry"]), (&json!([202, null, null]), &json!(204)), "{told:#}");
    assert_eq!(told["stream"], json!([["PayloadChunk"], ["InvokeComplete"]]), "{told:#}");
    assert_eq!(told["unknown"][0], "ResourceNotFoundException", "{told:#}");
    // What is not there is refused in the words of each service's protocol.
    for name in ["list", "sts", "secret"] {
        assert_eq!(told[name][0], "NotImplemented", "{told:#}");
    }
    assert!(told["secret"][1].as_str().unwrap().ends_with("AWS_ENDPOINT_URL_SECRETS_MANAGER"), "{told:#}");
    server.wait_for("the event", |event| {
        event["message"].as_str().is_some_and(|text| text.trim_end() == "back has 3")
    });
    assert_eq!(server.stop().code, Some(0));
}

/// How many functions an event has passed through travels with the client's trace.
#[test]
fn functions_that_call_each_other_for_ever_are_stopped() {
    let server = project().may_complain("E0310").start();
    call(&server, "Round", &json!({"n": 0}));
    let is_end = |event: &Value| event["event"] == "invocation" && event["failure"]["code"] == "E0310";
    server.wait_for("the end of the chain", is_end);
    assert_eq!(server.stop().code, Some(0));
}
