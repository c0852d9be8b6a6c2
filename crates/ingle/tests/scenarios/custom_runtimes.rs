//! Functions for AWS Lambda whose runtime is a program: what it sees of the Runtime API, and what callers get.

use ingle_testkit::{App, Python, Server, on_each_python, workspace};
use serde_json::{Value, json};

on_each_python!(a_custom_runtime_is_served, a_runtime_that_ends_is_told_of);

/// A runtime as users write it, with nothing but sockets: it does what events tell it, and tells what it was answered.
pub(crate) const BOOTSTRAP: &str = r#"
import http.client, json, os, signal, socket, subprocess, sys, time

held = []
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(api)
told = []

def ask(method, path, body=None, headers={}, over=connection, chunked=False):
    over.request(method, path, body, headers, encode_chunked=chunked)
    answer = over.getresponse()
    return answer.status, answer.headers, answer.read().decode()

def remember(*arguments, **named):
    status, headers, text = ask(*arguments, **named)
    told.append([status, headers["Content-Type"], json.loads(text) if text.startswith("{") else text])

BASE = "/2018-06-01/runtime/"
STREAMED = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked",
            "Content-Type": "application/vnd.awslambda.http-integration-response"}

def do(event, id):
    path = BASE + "invocation/%s/response" % id
    what = event["do"]
    if what == "violate":
        remember("GET", BASE + "invocation/next")
        remember("POST", BASE + "invocation/other/response", "1")
        remember("POST", path, "1", {"Lambda-Runtime-Function-Response-Mode": "later"})
        remember("POST", BASE + "init/error", "{}")
        remember("POST", BASE + "nothing", "{}")
        remember("POST", path, json.dumps("fine"))
        remember("POST", path, "2")
    elif what == "fail":
        body = json.dumps({"errorMessage": "no more", "errorType": "Empty", "stackTrace": []})
        remember("POST", BASE + "invocation/%s/error" % id, body, {"Lambda-Runtime-Function-Error-Type": "Runtime.Empty"})
    elif what == "fail without words":
        remember("POST", BASE + "invocation/%s/error" % id, "", {"Lambda-Runtime-Function-Error-Type": "Function.lower"})
    elif what == "large":
        remember("POST", path, b"1" * 6291557)
    elif what == "stream":
        pieces = [b'{"statusCode": 201, "headers": {"x-made": "here"}, "cookies": ["a=1"]}', b"\0" * 8, b"one ", b"two"]
        remember("POST", path, iter(pieces), STREAMED, chunked=True)
    elif what == "break":
        broken = http.client.HTTPConnection(api)
        broken.putrequest("POST", path)
        for name, value in STREAMED.items():
            broken.putheader(name, value)
        broken.putheader("Trailer", "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body")
        broken.endheaders()
        broken.send(b"3\r\nabc\r\n0\r\nLambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n"
                    b"Lambda-Runtime-Function-Error-Body: eyJlcnJvclR5cGUiOiAiQnJva2UiLCAiZXJyb3JNZXNzYWdlIjogIm1pZHdheSJ9\r\n\r\n")
        told.append([broken.getresponse().status])
    elif what == "say":
        print("plain", event["word"], flush=True)
        sys.stderr.write("beside\nwithout end")
        sys.stderr.flush()
        remember("POST", path, "null")
    elif what == "truncate":
        with socket.create_connection(api.split(":")) as broken:
            broken.sendall(("POST %s HTTP/1.1\r\nContent-Length: 10\r\n\r\n123" % path).encode())
            broken.shutdown(socket.SHUT_WR)
            head, _, body = broken.makefile("rb").read().partition(b"\r\n\r\n")
        remember("POST", path, json.dumps([head.split()[1].decode(), json.loads(body)["errorType"]]))
    elif what == "hold":
        held.append(b"x" * (event["megabytes"] << 20))
        remember("POST", path, "null")
    elif what == "leave":
        os._exit(event["status"])
    elif what == "die":
        os.kill(os.getpid(), event["signal"])
    elif what == "leave behind":
        subprocess.Popen(["sleep", event["seconds"]])
        time.sleep(1000)
    elif what == "end behind":
        remember("POST", path, str(os.getpid()))
        os._exit(0)
    else:
        shown = {"event": event, "headers": dict(headers), "environment": dict(os.environ), "folder": os.getcwd(),
                 "told": told, "pid": os.getpid(), "arguments": sys.argv, "now": int(time.time() * 1000)}
        ask("POST", path, json.dumps(shown), {"Expect": "100-continue"} if what == "expect" else {})
        told.clear()

remember("POST", BASE + "invocation/none/response", "1")
remember("GET", "/2018-06-01/ping")
while True:
    status, headers, event = ask("GET", BASE + "invocation/next")
    assert status == 200 and headers["Content-Type"] == "application/json", (status, headers)
    do(json.loads(event), headers["Lambda-Runtime-Aws-Request-Id"])
"#;

/// Calls the function and prints what AWS's clients see: status, kind of error, result, log.
const INVOKE: &str = r#"
import base64, json, re, sys, urllib.request
request = urllib.request.Request(sys.argv[1] + "/2015-03-31/functions/%s/invocations" % sys.argv[2], sys.argv[3].encode(),
                                 {"X-Amz-Log-Type": "Tail", "X-Amz-Client-Context": base64.b64encode(b'{\n"custom": {"a": "b"}}').decode()})
with urllib.request.urlopen(request) as answer:
    hide = lambda text: re.sub("[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
    log = hide(base64.b64decode(answer.headers["X-Amz-Log-Result"]).decode())
    log = re.sub(r"[0-9.]+ (ms|MB)", r"N \1", log)
    log = log.replace("\tInit Duration: N ms", "")
    print(json.dumps([answer.headers["X-Amz-Function-Error"], json.loads(hide(answer.read().decode())), log]))
"#;

pub(crate) fn script(python: &Python, text: &str) -> String {
    // By the path that the box has it at.
    let folder = python.program.parent().unwrap().canonicalize().unwrap();
    format!("#!{}/python\n{text}", folder.display())
}

fn app(python: &Python) -> App {
    App::default().file("bootstrap", &script(python, BOOTSTRAP))
}

/// Kind of error, result and log of an event.
fn invoke(python: &Python, server: &Server, event: &Value) -> (Value, Value, String) {
    invoke_named(python, server, "app", event)
}

pub(crate) fn invoke_named(
    python: &Python,
    server: &Server,
    name: &str,
    event: &Value,
) -> (Value, Value, String) {
    let endpoint = format!("http://{}", server.address());
    let told: Value =
        serde_json::from_str(&python.run(INVOKE, &[&endpoint, name, &event.to_string()])).unwrap();
    (told[0].clone(), told[1].clone(), told[2].as_str().unwrap().to_owned())
}

const REPORT: &str = "END RequestId: ID\nREPORT RequestId: ID\tDuration: N ms\tBilled Duration: N ms\tMemory Size: N MB\tMax Memory Used: N MB\t";

fn a_custom_runtime_is_served(python: &Python) {
    let server = app(python)
        .file("ingle.toml", "[lambda]\nhandler = \"shop.take\"\ntimeout = \"20s\"\n")
        .launch(python)
        .may_complain("")
        .start();
    let call = |event: Value| invoke(python, &server, &event);
    let refused = |status: u16, kind: &str, message: &str| json!([status, "application/json", {"errorMessage": message, "errorType": kind}]);
    let not_allowed = |from: &str, to: &str| {
        let message = format!(
            "State transition from {from} to {to} failed for runtime. Error: State transition is not allowed"
        );
        refused(403, "InvalidStateTransition", &message)
    };
    let (error, shown, log) = call(json!({"do": "show"}));
    assert_eq!((&error, log), (&Value::Null, format!("START RequestId: ID Version: $LATEST\n{REPORT}\n")));
    let pong = json!([200, "text/plain; charset=utf-8", "pong"]);
    assert_eq!(shown["told"], json!([not_allowed("Started", "InvocationResponse"), pong]));
    sees_what_lambda_shows(&shown);
    let pid = &shown["pid"];
    // What is against the rules is refused in AWS's words, and does no harm.
    let (error, result, _) = call(json!({"do": "violate"}));
    assert_eq!((error, result), (Value::Null, json!("fine")));
    let told = call(json!({"do": "expect"})).1["told"].clone();
    let wrong_id = refused(400, "InvalidRequestID", "Invalid request ID");
    let expected = json!([
        not_allowed("Running", "Ready"),
        wrong_id,
        refused(400, "InvalidFunctionResponseMode", "Invalid response mode: later"),
        not_allowed("Running", "InitError"),
        [404, "text/plain", "404 page not found\n"],
        [202, "application/json", {"status": "OK"}],
        wrong_id,
    ]);
    assert_eq!(told, expected);
    let (error, result, _) = call(json!({"do": "fail"}));
    let own = json!({"errorMessage": "no more", "errorType": "Empty", "stackTrace": []});
    assert_eq!((error, result), (json!("Unhandled"), own));
    let (_, result, _) = call(json!({"do": "fail without words"}));
    assert_eq!(result, json!({"errorType": "Function.Unknown", "errorMessage": ""}));
    let (error, result, _) = call(json!({"do": "large"}));
    let message = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
    assert_eq!(
        (error, result),
        (json!("Unhandled"), json!({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": message}))
    );
    let (_, result, _) = call(json!({"do": "stream"}));
    let made =
        json!({"statusCode": 201, "headers": {"x-made": "here"}, "cookies": ["a=1"], "body": "one two"});
    assert_eq!(result, made);
    let (error, result, _) = call(json!({"do": "break"}));
    assert_eq!(
        (error, result),
        (json!("Unhandled"), json!({"errorType": "Broke", "errorMessage": "midway"}))
    );
    let (_, result, _) = call(json!({"do": "truncate"}));
    assert_eq!(result, json!(["400", "TruncatedHTTPRequest"]));
    let (_, _, log) = call(json!({"do": "say", "word": "words"}));
    assert_eq!(
        log,
        format!("START RequestId: ID Version: $LATEST\nplain words\nbeside\nwithout end\n{REPORT}\n")
    );
    let last = call(json!({"do": "show"})).1;
    let statuses: Vec<&Value> = last["told"].as_array().unwrap().iter().map(|told| &told[0]).collect();
    assert_eq!(statuses, [202, 202, 413, 202, 202, 202, 202]);
    assert_eq!(last["told"][2][2]["errorType"], "RequestEntityTooLarge");
    assert_eq!(&last["pid"], pid, "one process all the time");
}

fn sees_what_lambda_shows(shown: &Value) {
    let (headers, environment) = (&shown["headers"], &shown["environment"]);
    assert_eq!(headers["Lambda-Runtime-Aws-Request-Id"], "ID");
    assert_eq!(
        headers["Lambda-Runtime-Invoked-Function-Arn"],
        "arn:aws:lambda:us-east-1:000000000000:function:app"
    );
    assert_eq!(headers["Lambda-Runtime-Client-Context"], "{ \"custom\": {\"a\": \"b\"}}");
    assert!(headers["Lambda-Runtime-Trace-Id"].as_str().is_some_and(|trace| trace.starts_with("Root=1-")));
    let deadline: u64 = headers["Lambda-Runtime-Deadline-Ms"].as_str().unwrap().parse().unwrap();
    let now = shown["now"].as_u64().unwrap();
    assert!((now..now + 20_001).contains(&deadline), "{deadline} at {now}");
    let expected = [
        ("_HANDLER", "shop.take"),
        ("AWS_LAMBDA_FUNCTION_NAME", "app"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1536"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/app"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_REGION", "us-east-1"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        ("TZ", ":UTC"),
    ];
    for (name, value) in expected {
        assert_eq!(environment[name], value, "{name}");
    }
    assert_eq!(environment["LAMBDA_TASK_ROOT"], shown["folder"]);
    assert!(environment["AWS_LAMBDA_RUNTIME_API"].as_str().unwrap().starts_with("127.0.0.1:"));
    // Of a custom runtime AWS gives no name, and of an event nothing is in the environment.
    for name in ["AWS_EXECUTION_ENV", "_X_AMZN_TRACE_ID", "INGLE_WORKER_FD"] {
        assert!(environment.get(name).is_none(), "{name}");
    }
}

/// Facts of Lambda, section 1.11.
fn a_runtime_that_ends_is_told_of(python: &Python) {
    let toml = "[lambda]\ntimeout = \"4s\"\n";
    let server = app(python).file("ingle.toml", toml).launch(python).may_complain("").start();
    let check = |event: Value, kind: &str, message: &str, end: &str| {
        let (error, result, log) = invoke(python, &server, &event);
        assert_eq!((&error, &result["errorType"]), (&json!("Unhandled"), &json!(kind)), "{event}: {result}");
        assert_eq!(result["errorMessage"], format!("RequestId: ID Error: {message}"), "{event}");
        assert!(log.ends_with(&format!("{end}\n")), "{event}: {log}");
    };
    let exited = "Status: error\tError Type: Runtime.ExitError";
    let nothing = "Runtime exited without providing a reason";
    check(json!({"do": "leave", "status": 0}), "Runtime.ExitError", nothing, exited);
    let status = "Runtime exited with error: exit status 7";
    check(json!({"do": "leave", "status": 7}), "Runtime.ExitError", status, exited);
    let killed = "Runtime exited with error: signal: killed";
    check(json!({"do": "die", "signal": 9}), "Runtime.ExitError", killed, exited);
    // With all that it has started.
    let seconds = format!("{}.25", std::process::id() + 100_000);
    let late = "Task timed out after 4.00 seconds";
    check(json!({"do": "leave behind", "seconds": seconds}), "Sandbox.Timedout", late, "Status: timeout");
    server.events().look_until("no process is left", || (!runs(&seconds)).then_some(()));
    // What ends behind its answer has done its work; the next event finds another.
    let before = invoke(python, &server, &json!({"do": "end behind"}));
    assert_eq!(before.0, Value::Null);
    let after = invoke(python, &server, &json!({"do": "show"})).1;
    assert_ne!(after["pid"], before.1);
    assert_eq!(after["told"].as_array().unwrap().len(), 2, "{}", after["told"]);
}

/// The time of an event begins when it is dealt: what a program does before that has a time of its own. Which Python it is
/// does not matter.
#[test]
fn a_program_may_take_its_time_to_start() {
    let python = Python::any();
    let slow = BOOTSTRAP.replacen("held = []", "held = []\ntime.sleep(3)", 1);
    let app = App::default().file("bootstrap", &script(&python, &slow));
    let server = app.file("ingle.toml", "[lambda]\ntimeout = \"2s\"\n").start(&python);
    let (error, shown, _) = invoke(&python, &server, &json!({"do": "show"}));
    assert_eq!(error, Value::Null, "{shown}");
    let deadline = shown["headers"]["Lambda-Runtime-Deadline-Ms"].as_str().unwrap();
    assert!(deadline.parse::<u64>().unwrap() > shown["now"].as_u64().unwrap(), "{shown}");
}

/// What a program has in memory is its function's. Which Python it is does not matter.
#[test]
fn the_memory_of_a_program_counts() {
    let python = Python::any();
    let app = app(&python).file("ingle.toml", "[lambda]\ntimeout = \"20s\"\n");
    let server = app.start(&python);
    invoke(&python, &server, &json!({"do": "hold", "megabytes": 150}));
    // It is measured from time to time.
    server.events().look_until("150 MB", || {
        invoke(&python, &server, &json!({"do": "show"}));
        let records = server.events().all();
        let bytes = |record: &Value| record["memoryBytes"].as_u64().unwrap_or_default();
        records.iter().any(|record| bytes(record) > 150 << 20).then_some(())
    });
}

/// Whether any process of the machine has this among its arguments.
pub(crate) fn runs(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines =
        processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.any(|line| line.split('\0').any(|word| word == argument))
}

/// What is wrong with a program is said with its place, at the start or with the first event. Which Python it is does not matter.
#[test]
fn a_program_that_is_no_runtime_is_named() {
    let python = Python::any();
    let settings = "[lambda]\nruntime = \"provided.al2023\"\ntimeout = \"10s\"\n";
    let at_start = |app: App, code: &str, part: &str| {
        let started = app.launch(&python).may_complain(code).begin();
        let told = started.wait_for(code, |event| event.to_string().contains(code));
        assert!(told.to_string().contains(part), "{part}: {told}");
    };
    at_start(App::default().file("ingle.toml", settings), "E0245", "bootstrap");
    let not_executable = App::default().file("bootstrap", "echo\n").file("ingle.toml", settings);
    at_start(not_executable, "E0246", "chmod +x");
    let with_event = |text: &str, code: &str, kind: &str, message: &str| {
        let app = App::default().file("bootstrap", text);
        let server = app.launch(&python).may_complain("").start();
        let (error, result, _) = invoke(&python, &server, &json!({}));
        assert_eq!((&error, &result["errorType"]), (&json!("Unhandled"), &json!(kind)), "{result}");
        assert!(result["errorMessage"].as_str().unwrap().ends_with(message), "{message}: {result}");
        let record = server.wait_for(code, |event| event["event"] == "invocation");
        assert_eq!(record["failure"]["code"], code, "{record}");
    };
    let missing = "bootstrap: no such file or directory";
    with_event("#!/nowhere/python\n", "E0318", "Runtime.InvalidEntrypoint", missing);
    let early = "Runtime exited with error: exit status 3";
    with_event("#!/bin/sh\nexit 3\n", "E0319", "Runtime.ExitError", early);
    let init_error = r#"
import http.client, os, time
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("POST", "/2018-06-01/runtime/init/error", '{"errorType": "Runtime.NoTable", "errorMessage": "no table"}')
assert connection.getresponse().status == 202
raise SystemExit(1)
"#;
    with_event(&script(&python, init_error), "E0319", "Runtime.NoTable", "no table");
}

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Timeout: 20
    MemorySize: 1769
    Runtime: provided.al2023
Resources:
  Program:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: layer/
  OwnFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: own/
      Handler: Shop::Take
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: /opt/wrapper
      Layers: [!Ref Program]
      Events:
        Take:
          Type: HttpApi
          Properties:
            Path: /take
            Method: get
  LayerFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: other/
      Handler: anything
      Layers: [!Ref Program]
"#;

/// The program of a layer runs functions that have none, and a wrapper is given the program. Which Python it is does not matter.
#[test]
fn functions_of_a_project_have_custom_runtimes() {
    let python = Python::any();
    let wrapper = "#!/bin/sh\nexport WRAPPED=\"$1\"\nexec \"$@\"\n";
    let app = App::default()
        .file("template.yaml", TEMPLATE)
        .file("own/bootstrap", &script(&python, BOOTSTRAP))
        .file("other/data.txt", "x")
        .file("layer/bootstrap", &script(&python, BOOTSTRAP))
        .file("layer/wrapper", wrapper);
    let server = app.start(&python);
    let shown = |name: &str| invoke_named(&python, &server, name, &json!({"do": "show"})).1;
    let (own, other) = (shown("OwnFunction"), shown("LayerFunction"));
    assert_eq!(own["environment"]["_HANDLER"], "Shop::Take");
    let program = |shown: &Value| shown["arguments"][0].as_str().unwrap().to_owned();
    assert!(program(&own).ends_with("/own/bootstrap"), "{own}");
    assert_eq!(own["environment"]["WRAPPED"], program(&own));
    assert!(program(&other).ends_with("/layer/bootstrap"), "{other}");
    assert_eq!(other["environment"].get("WRAPPED"), None);
}

/// AWS's own runtime for Python, unmodified: the calls that Ingle's worker is compared with.
fn compared(environment: &str, log_format: &str) -> Server {
    let program = workspace().join(format!("target/venvs/{environment}/bin/python"));
    assert!(program.exists(), "no boto3 and awslambdaric: run `cargo xtask setup`");
    let clients = Python { version: "3", program };
    let settings = "[lambda]\nruntime = \"awslambdaric\"\ntimeout = \"20s\"\n";
    // A program that starts takes its time on a busy machine.
    let app =
        App::folder("tests/lambda").file("ingle.toml", settings).settings(&json!({"LONGEST_MS": "20000"}));
    let launch = app.launch(&clients).variable("AWS_LAMBDA_LOG_FORMAT", log_format).may_complain("");
    let server = launch.start();
    let (endpoint, folder) = (format!("http://{}", server.address()), server.folder().display().to_string());
    let compare = std::fs::read_to_string(server.folder().join("compare.py")).unwrap();
    let found = clients.run(&compare, &[&endpoint, "app", &folder, log_format]);
    assert_eq!(found, "{\"compared\": 27}", "{environment}, {log_format}");
    server
}

#[test]
fn aws_s_own_runtime_behaves_as_it_does_elsewhere() {
    drop(compared("lambda", "JSON"));
    let server = compared("lambda", "Text");
    // What is wrong with a handler is AWS's to say.
    let clients = Python { version: "3", program: workspace().join("target/venvs/lambda/bin/python") };
    let (error, result, log) = invoke(&clients, &server, &json!({"do": "leave"}));
    let message = "RequestId: ID Error: Runtime exited with error: exit status 7";
    assert_eq!((&error, &result["errorMessage"]), (&json!("Unhandled"), &json!(message)), "{log}");
}

#[test]
fn older_lines_of_aws_s_own_runtime_behave_as_they_do_elsewhere() {
    drop(compared("lambda-2.0", "Text"));
    drop(compared("lambda-2.2", "Text"));
    drop(compared("lambda-3.1", "Text"));
}

/// The newest line of it that there is for the oldest Python.
#[test]
fn aws_s_own_runtime_behaves_on_an_old_python_as_it_does_elsewhere() {
    Python::tell("3.9", |_python| {
        drop(compared("lambda-on-3.9", "Text"));
        drop(compared("lambda-on-3.9", "JSON"));
    });
}

/// Versions before 2.1 tell of a handler that can't be imported with each event, later ones when they start.
#[test]
fn aws_s_own_runtime_says_what_is_wrong_with_a_handler() {
    let check = |environment: &str, code: &str| {
        let program = workspace().join(format!("target/venvs/{environment}/bin/python"));
        let clients = Python { version: "3", program };
        let settings = "[lambda]\nhandler = \"app.handler\"\nruntime = \"awslambdaric\"\ntimeout = \"20s\"\n";
        let app = App::default().file("app.py", "import nowhere\n").file("ingle.toml", settings);
        let server = app.launch(&clients).may_complain("").start();
        for _ in 0..2 {
            let (error, result, _) = invoke(&clients, &server, &json!({}));
            let message = "Unable to import module 'app': No module named 'nowhere'";
            assert_eq!((&error, &result["errorMessage"]), (&json!("Unhandled"), &json!(message)), "{result}");
            assert_eq!(result["errorType"], "Runtime.ImportModuleError");
        }
        let record = server.wait_for(code, |event| event["event"] == "invocation");
        assert_eq!(record["failure"]["code"], code, "{record}");
    };
    check("lambda-2.0", "E0301");
    check("lambda-2.2", "E0319");
    check("lambda-3.1", "E0319");
    check("lambda", "E0319");
    // Without the package there is no such runtime.
    let app = App::default()
        .file("app.py", "")
        .file("ingle.toml", "[lambda]\nhandler = \"app.handler\"\nruntime = \"awslambdaric\"\n");
    let started = app.launch(&Python::any()).may_complain("E0247").begin();
    started.wait_for("E0247", |event| event.to_string().contains("E0247"));
}
