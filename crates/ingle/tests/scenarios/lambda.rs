//! Handlers for AWS Lambda: what they see, what callers get, and what is wrong with some.

use ingle_testkit::{App, Python, Request, on_each_python, workspace};
use serde_json::{Value, json};

on_each_python!(
    a_handler_is_served_at_its_url,
    a_handler_sees_what_lambda_shows,
    results_become_responses,
    what_a_handler_does_wrong_is_a_502,
    a_handler_is_invoked_by_hand
);

/// Tells what it is given, or does what it is told to.
const HANDLER: &str = r#"
import asyncio, decimal, json, os, sys, time

count = 0

def lambda_handler(event, context):
    global count
    count += 1
    words = json.loads(event["body"]) if isinstance(event, dict) and event.get("body") else event
    return DOES[words["do"]](event, context, words)

def show(event, context, words):
    return {
        "event": event, "count": count, "name": context.function_name, "version": context.function_version,
        "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb, "id": context.aws_request_id,
        "group": context.log_group_name, "stream": context.log_stream_name, "client": context.client_context,
        "identity": context.identity.cognito_identity_id, "remaining": context.get_remaining_time_in_millis(),
        "environment": dict(os.environ), "folder": os.getcwd(), "path": sys.path[0],
    }

def fail(event, context, words):
    raise KeyError("the order is gone")

async def later():
    return "later"

asyncio.run(later())

def sleep(event, context, words):
    time.sleep(60)

DOES = {
    "show": show,
    "fail": fail,
    "sleep": sleep,
    "return": lambda event, context, words: words["value"],
    "loop": lambda event, context, words: asyncio.get_event_loop().run_until_complete(later()),
    "coroutine": lambda event, context, words: later(),
    "leave": lambda event, context, words: os._exit(3),
    "object": lambda event, context, words: {"a": object()},
    "decimal": lambda event, context, words: {"price": decimal.Decimal("1.50"), "name": "é", "tuple": (1, 2)},
}
"#;

fn app() -> App {
    App::default().file("lambda_function.py", HANDLER)
}

fn call(words: &Value) -> Request {
    call_at("/", words)
}

fn call_at(target: &str, words: &Value) -> Request {
    Request::post(target, words.to_string()).header("content-type", "application/json")
}

fn a_handler_is_served_at_its_url(python: &Python) {
    let server = App::folder("examples/lambda-url").start(python);
    let answer = server.get("/some/path?name=Ada").status(200);
    let found = answer.json();
    assert_eq!((&found["message"], &found["function"]), (&json!("Hello Ada"), &json!("app")));
    assert!(found["remaining"].as_u64().is_some_and(|left| (1..=3000).contains(&left)), "{found}");
    assert_eq!(answer.header("set-cookie"), "greeted=1");
    assert_eq!(server.get("/").status(200).header("set-cookie"), "greeted=2");
    server.log("greeting Ada");
}

fn a_handler_sees_what_lambda_shows(python: &Python) {
    let server = app().launch(python).variable("AWS_REGION", "eu-west-3").start();
    let request = call(&json!({"do": "show"})).header("cookie", "a=b").header("x-test", "1");
    let found = server.send(request).status(200).json();
    let context = json!({
        "name": "app", "version": "$LATEST", "arn": "arn:aws:lambda:eu-west-3:000000000000:function:app",
        "memory": "1536", "group": "/aws/lambda/app", "client": null, "identity": null, "count": 1,
    });
    for (name, value) in context.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name}");
    }
    let stream = found["stream"].as_str().unwrap();
    let (date, id) = stream.split_once("/[$LATEST]").unwrap();
    assert_eq!((date.len(), id.len()), (10, 32), "{stream}");
    assert_eq!(found["folder"], json!(server.folder()));
    assert_eq!(found["path"], found["folder"]);
    let event = &found["event"];
    assert_eq!((&event["version"], &event["routeKey"]), (&json!("2.0"), &json!("$default")));
    assert_eq!((&event["cookies"], &event["headers"]["x-test"]), (&json!(["a=b"]), &json!("1")));
    assert_eq!(event["requestContext"]["requestId"], found["id"]);
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "127.0.0.1");
    let expected = [
        ("AWS_LAMBDA_FUNCTION_NAME", "app"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1536"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/app"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", stream),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_REGION", "eu-west-3"),
        ("AWS_DEFAULT_REGION", "eu-west-3"),
        ("_HANDLER", "lambda_function.lambda_handler"),
        ("TZ", ":UTC"),
    ];
    for (name, value) in expected {
        assert_eq!(found["environment"][name], value, "{name}");
    }
    assert_eq!(found["environment"]["LAMBDA_TASK_ROOT"], found["folder"]);
    let (major, minor) = python.version.split_once('.').unwrap();
    assert_eq!(found["environment"]["AWS_EXECUTION_ENV"], format!("AWS_Lambda_python{major}.{minor}"));
    // Nothing of Azure's host.
    for name in ["FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsScriptRoot", "WEBSITE_HOSTNAME"] {
        assert!(found["environment"].get(name).is_none(), "{name}");
    }
    assert!(found["environment"]["_X_AMZN_TRACE_ID"].as_str().is_some_and(|trace| {
        let root = event["headers"]["x-amzn-trace-id"].as_str().unwrap();
        root.starts_with("Root=1-") && trace.starts_with(root)
    }));
    // So is what is no path for others.
    let odd = call_at("/50%/a%00/../b", &json!({"do": "show"}));
    assert_eq!(server.send(odd).status(200).json()["event"]["rawPath"], "/50%/a%00/../b");
    // Paths of Azure's host are like any other.
    let admin = call_at("/admin/host/status", &json!({"do": "return", "value": "mine"}));
    assert_eq!(server.send(admin).status(200).text(), "mine");
}

fn results_become_responses(python: &Python) {
    let server = app().start(python);
    let returned = |value: Value| server.send(call(&json!({"do": "return", "value": value})));
    assert_eq!(returned(json!({"a": [1, null]})).status(200).json(), json!({"a": [1, null]}));
    assert_eq!(returned(json!("plain")).status(200).text(), "plain");
    assert_eq!(returned(Value::Null).status(200).text(), "null");
    let page = returned(json!({
        "statusCode": 404, "headers": {"content-type": "text/html"}, "cookies": ["a=1"], "body": "<p>no</p>",
    }));
    let page = page.status(404);
    assert_eq!((page.header("content-type"), page.header("set-cookie")), ("text/html", "a=1"));
    assert_eq!(page.text(), "<p>no</p>");
    let binary = returned(json!({"statusCode": 200, "body": "/wA=", "isBase64Encoded": true})).status(200);
    assert_eq!(binary.body.as_ref(), [0xff, 0]);
    // What is about the connection is left out (T-032).
    let framed =
        returned(json!({"statusCode": 200, "headers": {"Content-Length": "1"}, "body": "h\u{e9}llo"}));
    assert_eq!(framed.status(200).text(), "h\u{e9}llo");
    // As awslambdaric writes it, whose text is escaped before Python 3.12.
    let written = server.send(call(&json!({"do": "decimal"}))).status(200);
    let name = if matches!(python.version, "3.12" | "3.13") { "é" } else { "\\u00e9" };
    assert_eq!(written.text(), format!("{{\"price\": 1.50, \"name\": \"{name}\", \"tuple\": [1, 2]}}"));
}

fn what_a_handler_does_wrong_is_a_502(python: &Python) {
    let app = app().file("ingle.toml", "[lambda]\ntimeout = \"1s\"\n");
    let server = app.launch(python).may_complain("").start();
    let check = |words: Value, code: Value, part: &str| {
        let answer = server.send(call(&words)).status(502);
        assert_eq!(answer.text(), "Internal Server Error", "{words}");
        let id = format!("inv_{}", answer.header("x-amzn-requestid").replace('-', ""));
        let record = server.wait_for(part, |event| event["event"] == "invocation" && event["id"] == *id);
        assert_eq!(record["failure"]["code"], code, "{record}");
        assert!(record.to_string().contains(part), "{part}: {record}");
    };
    check(json!({"do": "fail"}), json!("E0301"), "the order is gone");
    check(json!({"do": "object"}), json!("E0301"), "Runtime.MarshalError");
    check(json!({"do": "coroutine"}), json!("E0301"), "Object of type coroutine is not JSON serializable");
    check(json!({"do": "sleep"}), json!("E0302"), "sleep");
    check(json!({"do": "leave"}), json!("E0303"), "os._exit(3)");
    check(json!({"do": "return", "value": {"statusCode": "test"}}), json!("E0504"), "statusCode");
    // It goes on, with a loop of its own as on AWS.
    assert_eq!(server.send(call(&json!({"do": "loop"}))).status(200).text(), "later");
    assert_eq!(server.send(call(&json!({"do": "return", "value": 1}))).status(200).text(), "1");
}

/// Events that end the worker, and what Lambda's platform says then (facts of Lambda, section 1.11).
const ENDINGS: &str = r#"
import base64, boto3, json, re, sys
from botocore.config import Config
client = boto3.client("lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="test",
                      aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}))
for name in ("sleep", "leave", "exit", "large"):
    answer = client.invoke(FunctionName="arn:aws:lambda:us-east-1:000000000000:function:app:$LATEST", Payload=json.dumps({"do": name}), LogType="Tail")
    log = re.sub("[0-9a-f-]{36}", "ID", base64.b64decode(answer["LogResult"]).decode())
    print(json.dumps([name, answer["FunctionError"], json.loads(answer["Payload"].read()), log]))
for more in ({"FunctionName": "nobody"}, {"Qualifier": "a b"}, {"FunctionName": "app:one", "Qualifier": "two"}, {"Payload": "{"},
             {"Qualifier": "live", "InvocationType": "DryRun"}, {"FunctionName": "app:7", "InvocationType": "DryRun"}, {"InvocationType": "Event"},
             {"Payload": "1" * 6_291_557}, {"InvocationType": "DryRun"}, {"InvocationType": "Later"}, {"LogType": "Head"},
             {"InvocationType": "Event", "Payload": "1" * 1_048_577}, {"InvocationType": "Event", "LogType": "Tail"}, {}):
    try:
        answer = client.invoke(**dict({"FunctionName": "app"}, **more))
        assert "LogResult" not in answer, answer
        print(json.dumps(answer["StatusCode"]))
    except client.exceptions.ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        print(json.dumps([status, error.response["Error"]["Code"], error.response["Error"]["Message"][:60]]))
"#;

/// How the log of such an event ends.
const TIMED_OUT: &str = " MB\tStatus: timeout\n";
const EXIT_ERROR: &str = "Status: error\tError Type: Runtime.ExitError\n";
const TOO_LARGE: &str = "Status: error\tError Type: Function.ResponseSizeTooLarge\n";

/// Invocations through AWS's own client are what AWS's own runtime makes of them. Which Python it is does not matter.
#[test]
fn callers_get_what_lambda_gives_them() {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3 and awslambdaric: run `cargo xtask setup`");
    let clients = Python { version: "3", program };
    let compared = |log_format: &str| {
        let launch = App::folder("tests/lambda").launch(&clients).may_complain("");
        let server = launch.variable("AWS_LAMBDA_LOG_FORMAT", log_format).start();
        let (endpoint, folder) =
            (format!("http://{}", server.address()), server.folder().display().to_string());
        let compare = std::fs::read_to_string(server.folder().join("compare.py")).unwrap();
        let found = clients.run(&compare, &[&endpoint, "app", &folder, log_format]);
        assert_eq!(found, "{\"compared\": 27}", "{log_format}");
        (server, endpoint)
    };
    compared("JSON");
    let (_server, endpoint) = compared("Text");
    let told = clients.run(ENDINGS, &[&endpoint]);
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = [
        ("sleep", "Sandbox.Timedout", "Error: Task timed out after 3.00 seconds", TIMED_OUT),
        ("leave", "Runtime.ExitError", "Error: Runtime exited with error: exit status 7", EXIT_ERROR),
        ("exit", "Runtime.ExitError", "Error: Runtime exited without providing a reason", EXIT_ERROR),
        ("large", "Function.ResponseSizeTooLarge", "payload size (6291556 bytes).", TOO_LARGE),
    ];
    for ((name, kind, message, end), told) in expected.into_iter().zip(&told) {
        assert_eq!(
            (&told[0], &told[1], &told[2]["errorType"]),
            (&json!(name), &json!("Unhandled"), &json!(kind))
        );
        assert!(told[2]["errorMessage"].as_str().unwrap().ends_with(message), "{told}");
        let log = told[3].as_str().unwrap();
        assert!(log.starts_with("START RequestId: ID Version: $LATEST\n") && log.ends_with(end), "{log}");
        assert!(!log.contains("Used: 0 MB"), "{log}");
    }
    let unknown = "Function not found: arn:aws:lambda:us-east-1:000000000000:fu";
    let unknown = json!([404, "ResourceNotFoundException", unknown]);
    let refused = [
        unknown.clone(),
        unknown,
        json!([
            400,
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match "
        ]),
        json!([
            400,
            "InvalidRequestContentException",
            "Could not parse request body into json: Could not parse payl"
        ]),
        json!(204),
        json!(204),
        json!(202),
        json!([
            413,
            "RequestTooLargeException",
            "Request must be smaller than 6291556 bytes for the InvokeFun"
        ]),
        json!(204),
        json!([400, "ValidationException", "Value 'Later' at 'invocationType' is none of Event, RequestR"]),
        json!([400, "ValidationException", "Value 'Head' at 'logType' is none of None, Tail"]),
        json!([
            413,
            "RequestTooLargeException",
            "Request must be smaller than 1048576 bytes for the InvokeFun"
        ]),
        json!(202),
        json!(200),
    ];
    assert_eq!(told[4..], refused);
}

/// What is wrong with a handler is said with its place. Which Python it is does not matter.
#[test]
fn a_handler_that_can_not_be_one_is_named() {
    let check = |files: &[(&str, &str)], handler: &str, code: &str, part: &str| {
        let app = files.iter().fold(App::default(), |app, (path, text)| app.file(path, text));
        let launch = app.launch(&Python::any()).argument("--handler").argument(handler).may_complain(code);
        let started = launch.begin();
        let told = started.wait_for(code, |event| event.to_string().contains(code));
        assert!(told.to_string().contains(part), "{part}: {told}");
    };
    let app = ("app.py", "x = 1\nhandler = 7\nasync def later(event, context):\n    return 1\n");
    check(&[app], "app.nothing", "E0212", "app.py has no function 'nothing'");
    check(&[app], "app.handler", "E0212", "that can't be called");
    check(&[app], "app.later", "E0214", "coroutine");
    check(&[app], "other.handler", "E0213", "other.py");
    check(&[app], "app", "E0215", "module.function");
    check(&[("app.py", "import nothing_of_this_name\n")], "app.handler", "E0203", "nothing_of_this_name");
    check(&[("app.py", "def handler(:\n")], "app.handler", "E0202", "app.py");
}

fn a_handler_is_invoked_by_hand(python: &Python) {
    let launch = app().launch(python).argument("--handler").argument("lambda_function.lambda_handler");
    let server = launch.start();
    let answer = server.invoke("app", r#"{"do": "return", "value": {"statusCode": 200}}"#);
    assert_eq!(answer["outputs"]["$return"], json!({"statusCode": 200}));
}
