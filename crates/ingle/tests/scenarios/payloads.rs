//! Binary messages and lists of values, in both programming models.

use ingle_testkit::{App, Python, on_each_python};
use serde_json::{Value, json};

on_each_python!(lists_become_one_message_or_document_each, binary_messages_arrive_as_they_were,);

const LISTS: &str = r#"
from typing import List

LISTS = {"texts": ["one", "two"], "bytes": [b"\xff\x00", b"plain"], "mappings": [{"a": 1}, {"b": 2}], "none": []}

@app.route(route="send/{which}")
@app.queue_output(arg_name="out", queue_name="values", connection="AzureWebJobsStorage")
def send(req: func.HttpRequest, out: func.Out[List[str]]) -> str:
    out.set(LISTS[req.route_params["which"]])
    return "sent"

@app.generic_trigger(arg_name="msg", type="queueTrigger", queueName="values", connection="AzureWebJobsStorage", data_type="binary")
def take(msg: bytes) -> None:
    print("took", msg)

@app.route(route="keep")
@app.cosmos_db_output(arg_name="out", database_name="d", container_name="kept", connection="C", create_if_not_exists=True)
def keep(req: func.HttpRequest, out: func.Out[List[func.Document]]) -> str:
    out.set([func.Document.from_dict({"id": "1"}), {"id": "2"}])
    return "kept"
"#;

fn lists_become_one_message_or_document_each(python: &Python) {
    let server = App::python(LISTS).start(python);
    for (which, expected) in [
        ("texts", ["took b'one'", "took b'two'"]),
        ("bytes", ["took b'\\xff\\x00'", "took b'plain'"]),
        ("mappings", ["took b'{\"a\":1}'", "took b'{\"b\":2}'"]),
    ] {
        server.get(&format!("/api/send/{which}")).status(200);
        expected.iter().for_each(|line| drop(server.log(line)));
    }
    server.get("/api/send/none").status(200);
    server.invocations("send", 4);
    assert_eq!(server.invocations("take", 6).len(), 6);
    server.get("/api/keep").status(200);
    let mut kept: Vec<Value> =
        server.documents("d/kept").into_iter().map(|found| found["id"].clone()).collect();
    kept.sort_by_key(Value::to_string);
    assert_eq!(kept, [json!("1"), json!("2")]);
}

const SCRIPT: &str = r#"
import azure.functions as func

def put(req: func.HttpRequest, out: func.Out[bytes]) -> str:
    out.set(bytes(range(256)))
    return "put"

def take(msg: func.QueueMessage) -> None:
    print("whole" if msg.get_body() == bytes(range(256)) else "damaged")

def read(found: bytes, other: str) -> None:
    print("blob", found, other)

def write(req: func.HttpRequest, out: func.Out[bytes]) -> str:
    out.set(b"\xc3\xa4")
    return "written"
"#;

/// `dataType` in function.json; the generic words are those of Azure.
fn binary_messages_arrive_as_they_were(python: &Python) {
    let http = |route: &str| json!({"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous", "route": route});
    let answer = json!({"type": "http", "direction": "out", "name": "$return"});
    let function = |entry: &str, bindings: Value| {
        json!({"scriptFile": "../script.py", "entryPoint": entry, "bindings": bindings}).to_string()
    };
    let blob = |kind: &str, direction: &str, name: &str, data_type: &str| {
        json!({"type": kind, "direction": direction, "name": name, "path": "files/x", "dataType": data_type,
            "connection": "AzureWebJobsStorage"})
    };
    let queue = |kind: &str, direction: &str, name: &str| {
        json!({"type": kind, "direction": direction, "name": name, "queueName": "raw", "dataType": "binary",
            "connection": "AzureWebJobsStorage"})
    };
    let app = App::files(&[
        ("script.py", SCRIPT),
        ("put/function.json", &function("put", json!([http("put"), answer, queue("queue", "out", "out")]))),
        ("take/function.json", &function("take", json!([queue("queueTrigger", "in", "msg")]))),
        (
            "write/function.json",
            &function("write", json!([http("write"), answer, blob("blob", "out", "out", "stream")])),
        ),
        (
            "read/function.json",
            &function(
                "read",
                json!([blob("blobTrigger", "in", "found", "stream"), blob("blob", "in", "other", "string")]),
            ),
        ),
    ]);
    let server = app.start(python);
    server.get("/api/put").status(200);
    assert_eq!(server.log("whole")["function"], "take");
    server.get("/api/write").status(200);
    server.log("blob b'\\xc3\\xa4' ä");
}
