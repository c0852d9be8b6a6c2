//! Extensions of functions for AWS Lambda: programs in layers, beside a runtime or Ingle's own worker.

use ingle_testkit::{App, Python, Server};
use serde_json::{Value, json};

use crate::custom_runtimes::{BOOTSTRAP, invoke_named, runs, script};

/// An extension as users write it: it notes what it is told, and what of the log it gets.
const EXTENSION: &str = r#"
import http.client, http.server, json, os, socket, sys, threading, time

notes = open(os.path.join(os.environ["LAMBDA_TASK_ROOT"], "notes"), "a", buffering=1)
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(api)

def note(*words):
    notes.write(json.dumps(words) + "\n")

def ask(method, path, body=None, headers={}):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    return answer.status, answer.headers, json.loads(text) if text else None

def refused(method, path, body, headers):
    status, _, told = ask(method, path, body, headers)
    note("refused", status, told["errorType"])

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for record in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            note("http", record["type"], record["record"])
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass

def lines(listener):
    for line in listener.accept()[0].makefile():
        record = json.loads(line)
        note("tcp", record["type"], record["record"])

EXTENSION = "/2020-01-01/extension/"
name = os.path.basename(sys.argv[0])
print("watching as", name, flush=True)
NAME = {"Lambda-Extension-Name": name}
refused("POST", EXTENSION + "register", "{}", {})
refused("POST", EXTENSION + "register", "[", NAME)
refused("POST", EXTENSION + "register", '{"events": ["LATER"]}', NAME)
refused("GET", EXTENSION + "event/next", None, {})
refused("GET", EXTENSION + "event/next", None, {"Lambda-Extension-Identifier": "x"})
refused("GET", EXTENSION + "event/next", None, {"Lambda-Extension-Identifier": "00000000-0000-4000-8000-000000000000"})
status, headers, told = ask("POST", EXTENSION + "register", '{"events": ["INVOKE", "SHUTDOWN"]}',
                            dict(NAME, **{"Lambda-Extension-Accept-Feature": "accountId"}))
note("registered", status, told)
ID = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
refused("POST", EXTENSION + "register", "{}", NAME)
server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lines, args=(listener,), daemon=True).start()
place = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:%d" % server.server_port}
if name == "by-tcp":
    place = {"protocol": "TCP", "port": listener.getsockname()[1]}
body = {"schemaVersion": "2022-12-13", "types": ["platform", "function"], "buffering": {"timeoutMs": 25}, "destination": place}
refused("PUT", "/2022-07-01/telemetry", json.dumps(dict(body, destination={"protocol": "HTTP", "URI": "http://example.com:80"})), ID)
note("subscribed", *ask("PUT", "/2022-07-01/telemetry", json.dumps(body), ID)[::2])
if os.environ.get("EXTENSION_FAILS"):
    note(*ask("POST", EXTENSION + "init/error", "{}", dict(ID, **{"Lambda-Extension-Function-Error-Type": "Extension.NoKey"}))[::2])
    sys.exit(1)
note("environment", [key for key in ("_HANDLER", "AWS_XRAY_CONTEXT_MISSING", "AWS_LAMBDA_FUNCTION_NAME") if key in os.environ])
while True:
    status, headers, event = ask("GET", EXTENSION + "event/next", None, ID)
    assert headers["Lambda-Extension-Event-Identifier"]
    event.pop("deadlineMs")
    note("event", event["eventType"], event.get("shutdownReason"), event.get("requestId"))
    if event["eventType"] == "INVOKE":
        time.sleep(float(os.environ.get("EXTENSION_SECONDS", 0)))
        refused("PUT", "/2022-07-01/telemetry", json.dumps(body), ID)
        refused("POST", EXTENSION + "register", "{}", {"Lambda-Extension-Name": "late"})
    else:
        sys.exit(0)
"#;

const WITH_EXTENSION: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Timeout: 20
    MemorySize: 1769
Resources:
  Watcher:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: layer/
  Program:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: program/
      Runtime: provided.al2023
      Handler: any
      Layers: [!Ref Watcher]
  Handler:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: handler/
      Handler: app.handler
      Layers: [!Ref Watcher]
"#;

fn with_extension(python: &Python, name: &str) -> App {
    App::default()
        .file("template.yaml", WITH_EXTENSION)
        .file("program/bootstrap", &script(python, BOOTSTRAP))
        .file("handler/app.py", "def handler(event, context):\n    print('said', event['word'])\n    return context.aws_request_id\n")
        .file(&format!("layer/extensions/{name}"), &script(python, EXTENSION))
        .file("ingle.toml", "[workers]\nspare = 0\nmax = 1\n")
}

/// What an extension has noted of a function, as soon as `last` is there.
fn notes(server: &Server, folder: &str, last: &str) -> Vec<Value> {
    let path = server.folder().join(folder).join("notes");
    server.events().look_until(last, || {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let notes = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        text.contains(last).then_some(notes)
    })
}

/// Programs of layers run beside a custom runtime, and beside Ingle's own worker. Which Python it is does not matter.
#[test]
fn extensions_are_told_of_events_and_of_the_end() {
    let python = Python::any();
    let server = with_extension(&python, "watcher").start(&python);
    let refused = |status: u16, kind: &str| json!(["refused", status, kind]);
    for (function, folder) in [("Program", "program"), ("Handler", "handler")] {
        let (error, result, _) =
            invoke_named(&python, &server, function, &json!({"do": "say", "word": "one"}));
        assert_eq!(error, Value::Null, "{result}");
        let seen = notes(&server, folder, "RegistrationClosed");
        let handler = if function == "Program" { "any" } else { "app.handler" };
        let told = json!({"functionName": function, "functionVersion": "$LATEST", "handler": handler, "accountId": "000000000000"});
        let expected = [
            refused(403, "Extension.InvalidExtensionName"),
            refused(403, "InvalidRequestFormat"),
            refused(403, "Extension.InvalidEventType"),
            refused(403, "Extension.MissingExtensionIdentifier"),
            refused(403, "Extension.InvalidExtensionIdentifier"),
            refused(403, "Extension.UnknownExtensionIdentifier"),
            json!(["registered", 200, told]),
            refused(403, "Extension.InvalidExtensionState"),
            refused(400, "ValidationError"),
            json!(["subscribed", 200, "OK"]),
            json!(["environment", ["AWS_LAMBDA_FUNCTION_NAME"]]),
        ];
        let of_api = |note: &&Value| note[0] != "http";
        let start: Vec<Value> = seen.iter().filter(of_api).take(expected.len()).cloned().collect();
        assert_eq!(start, expected, "{function}");
        assert!(seen.contains(&refused(403, "Telemetry.SubscriptionClosed")), "{seen:?}");
        assert!(seen.contains(&refused(403, "Extension.RegistrationClosed")), "{seen:?}");
    }
    // The log of the function, and what the platform says.
    for (folder, line) in [("program", "plain one"), ("handler", "said one")] {
        let seen = notes(&server, folder, line);
        assert!(seen.contains(&json!(["http", "function", line])), "{seen:?}");
        let seen = notes(&server, folder, "platform.report");
        let first = |kind: &str| seen.iter().find(|note| note[1] == kind).unwrap().clone();
        let event = seen.iter().find(|note| note[0] == "event").unwrap();
        for kind in ["platform.start", "platform.runtimeDone", "platform.report"] {
            assert_eq!((&event[1], &event[3]), (&json!("INVOKE"), &first(kind)[2]["requestId"]), "{kind}");
        }
        assert_eq!(first("platform.runtimeDone")[2]["status"], "success");
        assert!(first("platform.report")[2]["metrics"]["billedDurationMs"].as_u64() >= Some(1));
        assert!(seen.iter().all(|note| note[2] != "watching as watcher"), "it is no line of the function");
    }
    server.log("watching as watcher");
    // The end of the environment, at the end of its worker.
    stops_and_tells(server);
}

/// What extensions are told when the server stops; their notes go with its folder, so they are read before that.
fn stops_and_tells(server: Server) {
    server.interrupt();
    for folder in ["program", "handler"] {
        let seen = notes(&server, folder, "SHUTDOWN");
        assert!(seen.contains(&json!(["event", "SHUTDOWN", "spindown", null])), "{folder}: {seen:?}");
    }
    server.wait();
}

/// Whoever waits has the answer, and extensions have their two seconds; nothing of the environment is left then.
fn extensions_are_told_of_the_time_limit(python: &Python) {
    let late = "def handler(event, context):\n    if 'late' in event:\n        while True:\n            pass\n    return 'here'\n";
    let template = WITH_EXTENSION.replace("    Timeout: 20\n", "    Timeout: 5\n");
    let app = with_extension(python, "watcher").file("template.yaml", &template).file("handler/app.py", late);
    let server = app.launch(python).may_complain("").start();
    let seconds = format!("{}.5", std::process::id() + 100_000);
    let events = [
        ("Program", "program", json!({"do": "leave behind", "seconds": seconds}), json!({"do": "show"})),
        ("Handler", "handler", json!({"late": true}), json!({})),
    ];
    for (function, folder, late, next) in events {
        let (_, result, _) = invoke_named(python, &server, function, &late);
        assert_eq!(result["errorType"], "Sandbox.Timedout", "{result}");
        let seen = notes(&server, folder, "SHUTDOWN");
        assert!(seen.contains(&json!(["event", "SHUTDOWN", "timeout", null])), "{function}: {seen:?}");
        let (error, result, _) = invoke_named(python, &server, function, &next);
        assert_eq!(error, Value::Null, "{function}: {result}");
    }
    server.events().look_until("no process is left", || (!runs(&seconds)).then_some(()));
}

/// An extension that fails takes its environment with it; a runtime that fails is told to extensions.
#[test]
fn what_fails_of_an_environment_ends_it() {
    let python = Python::any();
    let server = with_extension(&python, "by-tcp").launch(&python).may_complain("").start();
    let program = |event: Value| invoke_named(&python, &server, "Program", &event);
    assert_eq!(program(json!({"do": "say", "word": "two"})).0, Value::Null);
    assert!(notes(&server, "program", "plain two").contains(&json!(["tcp", "function", "plain two"])));
    let (_, result, _) = program(json!({"do": "leave", "status": 3}));
    assert_eq!(result["errorMessage"], "RequestId: ID Error: Runtime exited with error: exit status 3");
    let seen = notes(&server, "program", "SHUTDOWN");
    assert!(seen.contains(&json!(["event", "SHUTDOWN", "failure", null])), "{seen:?}");
    // Another environment, with another extension.
    assert_eq!(program(json!({"do": "say", "word": "three"})).0, Value::Null);
    let registered = |seen: &[Value]| seen.iter().filter(|note| note[0] == "registered").count();
    assert_eq!(registered(&notes(&server, "program", "plain three")), 2);
    drop(server);
    extensions_are_told_of_the_time_limit(&python);
    let template = WITH_EXTENSION.replace(
        "    Timeout: 20\n",
        "    Timeout: 20\n    Environment: {Variables: {EXTENSION_FAILS: 1}}\n",
    );
    let app = with_extension(&python, "watcher").file("template.yaml", &template);
    let server = app.launch(&python).may_complain("").start();
    for function in ["Program", "Handler"] {
        let (error, result, _) = invoke_named(&python, &server, function, &json!({}));
        assert_eq!(
            (&error, &result["errorType"]),
            (&json!("Unhandled"), &json!("Extension.NoKey")),
            "{result}"
        );
    }
    server.wait_for("E0320", |event| event["failure"]["code"] == "E0320");
}

/// The time of an event begins when it is dealt: what extensions still do for the one before is not counted.
#[test]
fn the_time_of_an_event_begins_when_all_are_ready() {
    let python = Python::any();
    let variables = "    Timeout: 4\n    Environment: {Variables: {EXTENSION_SECONDS: 5}}\n";
    let template = WITH_EXTENSION.replace("    Timeout: 20\n", variables);
    let server = with_extension(&python, "watcher").file("template.yaml", &template).start(&python);
    for (function, event) in [("Program", json!({"do": "show"})), ("Handler", json!({"word": "one"}))] {
        for _ in 0..2 {
            let (error, result, _) = invoke_named(&python, &server, function, &event);
            assert_eq!(error, Value::Null, "{function}: {result}");
        }
    }
}
