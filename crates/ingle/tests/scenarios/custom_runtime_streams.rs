//! Answers that a runtime gives in pieces: at a function URL, and as messages for boto3.

use std::path::Path;

use ingle_testkit::{App, Python, Server, workspace};
use serde_json::{Value, json};

use crate::custom_runtimes::script;

/// A runtime that streams, with nothing but sockets. In the middle of an answer it waits for a file that the one who has the
/// first piece makes.
const BOOTSTRAP: &str = r#"
import base64, http.client, json, os, select, socket, time

api = os.environ["AWS_LAMBDA_RUNTIME_API"]
connection = http.client.HTTPConnection(api)
BASE = "/2018-06-01/runtime/invocation/"
PRELUDE = "application/vnd.awslambda.http-integration-response"
MEGABYTE = 1 << 20

class Answer:
    def __init__(self, id, kind):
        self.connection = http.client.HTTPConnection(api)
        self.connection.putrequest("POST", BASE + id + "/response")
        headers = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked",
                   "Trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"}
        if kind:
            headers["Content-Type"] = kind
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()

    def piece(self, data):
        self.connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self, trailers=b""):
        self.connection.send(b"0\r\n" + trailers + b"\r\n")
        print("answered with", self.connection.getresponse().status, flush=True)

def wait():
    while not os.path.exists(os.path.join(os.environ["GATES"], "open")):
        time.sleep(0.01)

def hold_on(answer, data):
    """Sends it all, and notes after how many bytes nobody has taken more for a second. What it prints would wait, too."""
    connected = answer.connection.sock
    connected.setblocking(False)
    sent, told = 0, False
    while sent < len(data):
        if not select.select([], [connected], [], 1)[1]:
            if not told:
                told = True
                with open(os.path.join(os.environ["GATES"], "new"), "w") as note:
                    note.write(str(sent))
                os.rename(note.name, os.path.join(os.environ["GATES"], "held"))
            continue
        sent += connected.send(data[sent : sent + MEGABYTE])
    connected.setblocking(True)

def do(what, id):
    if what == "whole":
        connection.request("POST", BASE + id + "/response", json.dumps({"statusCode": 202, "body": "whole"}))
        connection.getresponse().read()
        return
    answer = Answer(id, {"plain": "text/plain", "nameless": ""}.get(what, PRELUDE))
    if what == "bad":
        answer.piece(b'{"statusCode": 99}' + bytes(8) + b"lost")
        return answer.end()
    if what == "head":
        answer.piece(b'{"statusCode": 204}')
        return answer.end()
    if what not in ("plain", "nameless"):
        answer.piece(b'{"statusCode": 201, "headers": {"x-made": "here"}, "cookies": ["a=1", "b=2"]}' + bytes(8))
    answer.piece(b"one ")
    wait()
    if what == "flood":
        answer.connection.send(b"%x\r\n" % (64 * MEGABYTE))
        hold_on(answer, bytes(64 * MEGABYTE))
        answer.connection.send(b"\r\n")
    elif what == "too much":
        for _ in range(201):
            answer.piece(bytes(MEGABYTE))
    elif what == "left":
        for _ in range(64):
            answer.piece(bytes(MEGABYTE))
    elif what == "fail":
        error = base64.b64encode(json.dumps({"errorType": "Broke", "errorMessage": "midway"}).encode())
        return answer.end(b"Lambda-Runtime-Function-Error-Type: Runtime.StreamError\r\n"
                          b"Lambda-Runtime-Function-Error-Body: " + error + b"\r\n")
    elif what == "leave":
        os._exit(3)
    elif what == "cut":
        answer.connection.close()
        return
    answer.piece(b"two")
    answer.end()

while True:
    connection.request("GET", BASE + "next")
    event = connection.getresponse()
    id, asked = event.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(event.read())
    do(asked.get("do") or asked["rawPath"].strip("/").replace("-", " "), id)
"#;

/// Asks a URL; makes the file when the first piece of the body is there, or when nobody is to have more, and prints what came.
const ASK: &str = r#"
import http.client, json, os, sys, time
address, what, gate, mode = sys.argv[1:5]
if os.path.exists(gate):
    os.remove(gate)
connection = http.client.HTTPConnection(address, timeout=60)
connection.request("GET", "/" + what)
answer = connection.getresponse()
first = answer.read(4)
if mode == "leave":
    answer.close()
    connection.close()
open(gate, "w").close()
if mode == "leave":
    sys.exit()
while mode.startswith("/") and not os.path.exists(mode):
    time.sleep(0.01)
try:
    rest, is_whole = answer.read(), True
except http.client.IncompleteRead as broken:
    rest, is_whole = broken.partial, False
print(json.dumps({"status": answer.status, "headers": [pair for pair in answer.getheaders() if pair[0] not in ("date", "x-amzn-requestid")],
                  "named": "x-amzn-requestid" in answer.headers, "first": first.decode(), "size": len(first + rest), "end": rest[-3:].decode(),
                  "whole": is_whole}))
"#;

fn launch(python: &Python, gates: &Path, settings: &str) -> ingle_testkit::Launch {
    let toml = format!(
        "[lambda]\ntimeout = \"300s\"\n{settings}\n[sandbox]\nwrite = [{:?}]\n",
        gates.display().to_string()
    );
    let app = App::default().file("bootstrap", &script(python, BOOTSTRAP)).file("ingle.toml", &toml);
    app.settings(&json!({"GATES": gates.display().to_string()})).launch(python)
}

const STREAMS: &str = "invoke_mode = \"RESPONSE_STREAM\"";

/// A server, and who asks it.
struct Stage {
    python: Python,
    gates: tempfile::TempDir,
    server: Server,
}

impl Stage {
    fn new(settings: &str) -> Self {
        let (python, gates) = (Python::any(), tempfile::tempdir().unwrap());
        let server = launch(&python, gates.path(), settings).may_complain("").start();
        Self { python, gates, server }
    }

    fn gate(&self) -> String {
        self.gates.path().join("open").display().to_string()
    }

    fn ask_as(&self, what: &str, mode: &str) -> String {
        self.python.run(ASK, &[self.server.address(), what, &self.gate(), mode])
    }

    fn ask(&self, what: &str) -> Value {
        serde_json::from_str(&self.ask_as(what, "read")).unwrap()
    }

    /// The record of the event for a path.
    fn record(&self, what: &str) -> Value {
        let summary = format!("GET /{what}");
        self.server
            .wait_for(what, |event| event["event"] == "invocation" && event["summary"] == summary.as_str())
    }
}

/// The first piece is there before the last was written; a failure in the middle shows.
#[test]
fn a_url_answers_as_the_runtime_writes() {
    let stage = Stage::new(STREAMS);
    let check = |what: &str, status: u16, kind: &str| {
        let told = stage.ask(what);
        let shown =
            json!([told["status"], told["first"], told["end"], told["size"], told["whole"], told["named"]]);
        assert_eq!(shown, json!([status, "one ", "two", 7, true, true]), "{what}: {told}");
        assert!(
            told["headers"].as_array().unwrap().contains(&json!(["content-type", kind])),
            "{what}: {told}"
        );
        let record = stage.record(what);
        assert_eq!((&record["outcome"], &record["status"]), (&json!("success"), &json!(status)), "{record}");
        told
    };
    let told = check("prelude", 201, "application/octet-stream");
    for header in [["x-made", "here"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]] {
        assert!(told["headers"].as_array().unwrap().contains(&json!(header)), "{told}");
    }
    check("plain", 200, "text/plain");
    check("nameless", 200, "application/octet-stream");
    let whole = stage.server.get("/whole").status(202);
    assert_eq!(whole.text(), "whole");
    stage.server.get("/head").status(204);
    // What can't be sent is the function's fault.
    stage.server.get("/bad").status(502);
    let record = stage.record("bad");
    assert_eq!(
        (&record["outcome"], &record["failure"]["code"]),
        (&json!("failed"), &json!("E0504")),
        "{record}"
    );
    let broken = |what: &str, code: &str, kind: &str| {
        let told = stage.ask(what);
        assert_eq!(
            (&told["status"], &told["first"], &told["whole"]),
            (&json!(201), &json!("one "), &json!(false)),
            "{told}"
        );
        let record = stage.record(what);
        let failure = &record["failure"];
        let shown = (&record["outcome"], &record["status"], &failure["code"], &failure["kind"]);
        assert_eq!(shown, (&json!("failed"), &json!(201), &json!(code), &json!(kind)), "{record}");
    };
    broken("fail", "E0301", "Broke");
    broken("cut", "E0301", "Runtime.TruncatedResponse");
    broken("leave", "E0303", "Runtime.ExitError");
    // The next event finds another process of it.
    check("prelude", 201, "application/octet-stream");
}

/// Nobody holds what a caller does not take; one who leaves is noticed, and does the runtime no harm.
#[test]
fn a_runtime_writes_as_its_caller_reads() {
    let stage = Stage::new(STREAMS);
    let goes_on = stage.gates.path().join("read");
    let told = std::thread::scope(|scope| {
        let asking = scope.spawn(|| stage.ask_as("flood", &goes_on.display().to_string()));
        let held = stage.gates.path().join("held");
        let look = || std::fs::read_to_string(&held).ok();
        let bytes: usize = stage.server.events().look_until("the runtime waits", look).parse().unwrap();
        assert!(bytes < 32 << 20, "{bytes}");
        std::fs::write(&goes_on, "").unwrap();
        asking.join().unwrap()
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["size"], &told["end"], &told["whole"]),
        (&json!((64 << 20) + 7), &json!("two"), &json!(true))
    );
    assert_eq!(stage.record("flood")["outcome"], "success");
    stage.ask_as("left", "leave");
    let record = stage.record("left");
    assert_eq!(
        (&record["outcome"], &record["failure"]["code"]),
        (&json!("cancelled"), &json!("E0313")),
        "{record}"
    );
    let told = stage.ask("too-much");
    assert_eq!((&told["status"], &told["whole"]), (&json!(201), &json!(false)));
    let record = stage.record("too-much");
    let failure = &record["failure"];
    assert_eq!((&record["outcome"], &failure["code"]), (&json!("failed"), &json!("E0316")), "{record}");
    assert!(failure["message"].as_str().unwrap().contains("209715200"), "{record}");
    stage.server.log("answered with 413");
    assert_eq!(stage.ask("prelude")["size"], 7);
}

/// A URL that is not said to stream, and a plain call, have the answer whole.
#[test]
fn a_url_of_the_usual_mode_has_the_answer_whole() {
    let stage = Stage::new("");
    std::fs::write(stage.gate(), "").unwrap();
    let answer = stage.server.get("/prelude").status(201);
    assert_eq!((answer.text().as_str(), answer.header("x-made")), ("one two", "here"));
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    stage.server.get("/fail").status(502);
}

/// The messages that boto3 makes of an answer, in order. The file is made when the first one is there.
const CALLS: &str = r#"
import base64, boto3, json, os, sys
from botocore.config import Config
client = boto3.client("lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="test",
                      aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}))
for what in sys.argv[3:]:
    if os.path.exists(sys.argv[2]):
        os.remove(sys.argv[2])
    answer = client.invoke_with_response_stream(FunctionName="app", Payload=json.dumps({"do": what}), LogType="Tail")
    pieces, end = [], None
    for message in answer["EventStream"]:
        open(sys.argv[2], "w").close()
        if "PayloadChunk" in message:
            pieces.append(message["PayloadChunk"]["Payload"].decode())
        else:
            end = message["InvokeComplete"]
            log = base64.b64decode(end.pop("LogResult")).decode()
    print(json.dumps({"status": answer["StatusCode"], "first": pieces[0], "all": "".join(pieces), "end": end,
                      "log": log.startswith("START") and "REPORT" in log}))
"#;

#[test]
fn a_caller_of_the_api_has_the_pieces_as_they_come() {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    let clients = Python { version: "3", program };
    let stage = Stage::new("");
    let endpoint = format!("http://{}", stage.server.address());
    let told = clients.run(CALLS, &[&endpoint, &stage.gate(), "plain", "prelude", "fail", "leave", "whole"]);
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(told.iter().all(|told| told["status"] == 200 && told["log"] == true), "{told:?}");
    let check = |of: &Value, first: &str, all: &str, code: Value| {
        assert_eq!((&of["first"], &of["all"]), (&json!(first), &json!(all)));
        assert_eq!(of["end"].get("ErrorCode").unwrap_or(&Value::Null), &code, "{of}");
    };
    check(&told[0], "one ", "one two", Value::Null);
    // What the bytes mean is not this API's business.
    let prelude = "{\"statusCode\": 201, \"headers\": {\"x-made\": \"here\"}, \"cookies\": [\"a=1\", \"b=2\"]}\0\0\0\0\0\0\0\0";
    assert_eq!(told[1]["all"], format!("{prelude}one two"));
    assert_eq!(told[2]["all"], format!("{prelude}one "));
    assert_eq!(told[2]["end"]["ErrorCode"], "Broke");
    let details: Value = serde_json::from_str(told[2]["end"]["ErrorDetails"].as_str().unwrap()).unwrap();
    assert_eq!(details["errorMessage"], "midway");
    assert_eq!(told[3]["end"]["ErrorCode"], "Runtime.ExitError", "{}", told[3]);
    let whole = "{\"statusCode\": 202, \"body\": \"whole\"}";
    check(&told[4], whole, whole, Value::Null);
}
