//! Accounts of Azure Storage, told with Azurite: queues, blobs and tables of an app are in it, and Azure's own Python
//! clients put things in and read them back.

mod access;
mod trouble;

use ingle_testkit::azurite::Azurite;
use ingle_testkit::{App, Launch, Python, Request, Server};
use serde_json::{Value, json};
use tokio::time::Instant;

fn python() -> Python {
    Python::any()
}

fn launch(app: &App, connection: &str) -> Launch {
    let values = json!({"AzureWebJobsStorage": "", "Cloud": connection});
    app.clone().settings(&values).launch(&python())
}

fn start(app: &App, azurite: &Azurite) -> Server {
    launch(app, &azurite.connection()).start()
}

const PUT_TEXT: &str = "
from azure.core.exceptions import ResourceExistsError
def client(name, **policies):
    queue = queues.get_queue_client(name, **policies)
    try: queue.create_queue()
    except ResourceExistsError: pass
    return queue
";

const CHAIN: &str = r#"
@app.route(route="order", methods=["POST"])
@app.queue_output(arg_name="out", queue_name="orders", connection="Cloud")
def take(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set(req.get_body().decode())
    return "taken"

@app.queue_trigger(arg_name="message", queue_name="orders", connection="Cloud")
@app.blob_output(arg_name="receipt", path="receipts/{id}.json", connection="Cloud")
def cook(message: func.QueueMessage, receipt: func.Out[str]) -> None:
    receipt.set(message.get_body().decode())

@app.blob_trigger(arg_name="receipt", path="receipts/{name}.json", connection="Cloud")
@app.table_output(arg_name="row", table_name="Receipts", partition_key="all", connection="Cloud")
def book(receipt: func.InputStream, row: func.Out[str]) -> None:
    order = json.loads(receipt.read())
    row.set(json.dumps({"RowKey": order["name"], "Total": order["total"], "Blob": receipt.name}))

@app.route(route="total/{name}")
@app.table_input(arg_name="row", table_name="Receipts", partition_key="all", row_key="{name}", connection="Cloud")
@app.queue_output(arg_name="out", queue_name="asked", connection="Cloud")
def total(req: func.HttpRequest, row: str, out: func.Out[bytes]) -> str:
    out.set(b"\xff\x00")
    return row or "nothing"
"#;

#[test]
fn an_order_goes_through_queue_blob_and_table_of_an_account() {
    let azurite = Azurite::start();
    let server = start(&App::python(CHAIN), &azurite);
    assert_eq!(server.get("/api/total/Ada").status(200).text(), "nothing");
    server.post("/api/order", r#"{"name": "Ada", "total": 5000000000}"#).status(200);
    let record = &server.invocations("cook", 1)[0];
    assert_eq!(record["outcome"], "success", "{record}");
    let record = &server.invocations("book", 1)[0];
    assert_eq!(record["effects"], json!(["table Receipts in Cloud"]), "{record}");
    let row: Value = server.get("/api/total/Ada").status(200).json();
    assert_eq!(row["Total"], 5_000_000_000_u64, "{row}");
    let row = azurite.python(
        "row = tables.get_table_client('Receipts').get_entity('all', 'Ada')\nprint(type(row['Total']).__name__, row['Total'].value, row['Blob'][:9])",
        &[],
    );
    assert_eq!(row, "EntityProperty 5000000000 receipts/");
    let asked = "for message in queues.get_queue_client('asked').receive_messages(): print(message.content)";
    assert_eq!(azurite.python(asked, &[]).lines().next(), Some("/wA="));
    let left = "print(queues.get_queue_client('orders').get_queue_properties().approximate_message_count)";
    assert_eq!(azurite.wait_for(left, &[]), "0");
}

const ECHO: &str = r#"
@app.queue_trigger(arg_name="message", queue_name="work", connection="Cloud")
@app.queue_output(arg_name="out", queue_name="worked", connection="Cloud")
def work(message: func.QueueMessage, out: func.Out[str]) -> None:
    body = message.get_body()
    print("try", message.dequeue_count, "of", body)
    if body.startswith(b"bad"):
        raise ValueError("I can't read it")
    out.set(repr(body))

@app.route(route="large/{size:int}")
@app.queue_output(arg_name="out", queue_name="worked", connection="Cloud")
def large(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set("x" * int(req.route_params["size"]))
    return "sent"

@app.route(route="alive")
def alive(req: func.HttpRequest) -> str:
    return "alive"
"#;

const RECEIVE: &str = "
for message in queues.get_queue_client('worked').receive_messages():
    print(base64.b64decode(message.content).decode())
    queues.get_queue_client('worked').delete_message(message)
";

#[test]
fn messages_of_other_clients_are_read_and_answered() {
    let azurite = Azurite::start();
    let server = start(&App::python(ECHO), &azurite);
    let put = format!(
        "{PUT_TEXT}
client('work', message_encode_policy=TextBase64EncodePolicy()).send_message('grüße')
client('work', message_encode_policy=BinaryBase64EncodePolicy()).send_message(bytes([0, 255]))
"
    );
    azurite.python(&put, &[]);
    server.invocations("work", 2);
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 2 {
        seen.extend(azurite.wait_for(RECEIVE, &[]).lines().map(str::to_owned));
    }
    seen.sort();
    assert_eq!(seen, [r"b'\x00\xff'", r"b'gr\xc3\xbc\xc3\x9fe'"]);
}

/// host.json says how texts are encoded. What is not so goes to the poison queue, and no function sees it.
#[test]
fn the_encoding_of_messages_can_be_chosen() {
    let azurite = Azurite::start();
    let server = start(&App::python(ECHO), &azurite);
    azurite.python(&format!("{PUT_TEXT}\nclient('work').send_message('no Base64!')"), &[]);
    let aside = "
try:
    for message in queues.get_queue_client('work-poison').receive_messages(): print(message.content)
except Exception: pass
";
    assert_eq!(azurite.wait_for(aside, &[]), "no Base64!");
    let ended = server.stop();
    assert!(!ended.events.iter().any(|event| event["function"] == "work"));
    assert!(ended.stderr.iter().any(|line| line.contains("no Base64")), "{:#?}", ended.stderr);

    let plain = json!({"version": "2.0", "extensions": {"queues": {"messageEncoding": "none"}}});
    let server = start(&App::python(ECHO).host(&plain), &azurite);
    azurite.python(&format!("{PUT_TEXT}\nclient('work').send_message('<grüße>')"), &[]);
    assert_eq!(server.invocations("work", 1)[0]["outcome"], "success");
    let read = "for message in queues.get_queue_client('worked').receive_messages(): print(message.content)";
    assert_eq!(azurite.wait_for(read, &[]), r"b'<gr\xc3\xbc\xc3\x9fe>'");
}

#[test]
fn a_bad_message_is_tried_five_times_and_put_aside_in_the_account() {
    let azurite = Azurite::start();
    let server = start(&App::python(ECHO), &azurite);
    azurite
        .python(&format!("{PUT_TEXT}\nclient('work').send_message(base64.b64encode(b'bad').decode())"), &[]);
    let records = server.invocations("work", 5);
    assert_eq!(records[4]["effects"], json!(["poison work-poison"]), "{records:#?}");
    assert_eq!(records[4]["summary"], "queue work try 5");
    let aside = "
try:
    for message in queues.get_queue_client('work-poison').receive_messages(): print(message.content, message.expires_on.year)
except Exception: pass
";
    assert_eq!(azurite.wait_for(aside, &[]), "YmFk 9999");
    let ended = server.stop();
    let tries = ended.events.iter().filter(|event| event["event"] == "invocation").count();
    assert_eq!(tries, 5);
}

/// The service takes 64 KiB: more is refused before it is sent, with what to do instead.
#[test]
fn a_message_that_is_too_large_is_refused_with_the_reason() {
    let azurite = Azurite::start();
    let server = start(&App::python(ECHO), &azurite);
    server.get("/api/large/1048576").status(500);
    let record = &server.invocations("large", 1)[0];
    let message = record["failure"]["message"].as_str().unwrap();
    assert_eq!(record["failure"]["code"], "E0305", "{record}");
    assert!(message.contains("1048576 bytes") && message.contains("49152"), "{message}");
    server.get("/api/large/49152").status(200);
    let length =
        "for message in queues.get_queue_client('worked').receive_messages(): print(len(message.content))";
    assert_eq!(azurite.python(length, &[]), "65536");
}

/// What `/admin/host/status` says of accounts in trouble.
fn degraded(server: &Server) -> Vec<String> {
    let status: Value = server.get("/admin/host/status").status(200).json();
    let list = status["degraded"].as_array().cloned().unwrap_or_default();
    list.iter()
        .map(|one| format!("{}: {}", one["what"].as_str().unwrap(), one["reason"].as_str().unwrap()))
        .collect()
}

#[track_caller]
fn wait_until_degraded(server: &Server, is_it: impl Fn(&[String]) -> bool) -> Vec<String> {
    let until = Instant::now() + ingle_testkit::DEADLINE;
    loop {
        let found = degraded(server);
        if is_it(&found) {
            return found;
        }
        assert!(Instant::now() < until, "still {found:?}");
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

const ROWS: &str = r#"
@app.route(route="put", methods=["POST"])
@app.table_output(arg_name="rows", table_name="Rows", partition_key="p", connection="Cloud")
def put(req: func.HttpRequest, rows: func.Out[str]) -> str:
    rows.set(req.get_body().decode())
    return "put"

@app.route(route="find/{least:int}")
@app.table_input(arg_name="rows", table_name="Rows", partition_key="p", filter="Size ge {least}", take=2,
    connection="Cloud")
def find(req: func.HttpRequest, rows: str) -> str:
    return rows
"#;

#[test]
fn entities_of_an_account_keep_their_types_and_are_found_by_filter() {
    let azurite = Azurite::start();
    let server = start(&App::python(ROWS), &azurite);
    assert_eq!(server.get("/api/find/0").status(200).json(), json!([]));
    let rows = json!([
        {"RowKey": "a", "Size": 1, "Half": 0.5, "Yes": true, "Tags": ["x"]},
        {"RowKey": "b 'c'", "Size": 5, "When": "2026-10-25T08:00:00Z", "When@odata.type": "Edm.DateTime"},
        {"RowKey": "d", "Size": 7, "Big": 5_000_000_000_u64},
        {"RowKey": "e", "Size": 9}
    ]);
    server.post("/api/put", rows.to_string()).status(200);
    let found: Value = server.get("/api/find/5").status(200).json();
    let keys: Vec<&str> = found.as_array().unwrap().iter().filter_map(|row| row["RowKey"].as_str()).collect();
    assert_eq!(keys, ["b 'c'", "d"], "{found}");
    assert_eq!(found[1], json!({"PartitionKey": "p", "RowKey": "d", "Size": 7, "Big": 5_000_000_000_u64}));
    let types = "
rows = tables.get_table_client('Rows')
row = rows.get_entity('p', 'a')
print(type(row['Size']).__name__, type(row['Half']).__name__, row['Yes'], row['Tags'])
print(rows.get_entity('p', \"b 'c'\")['When'].year, rows.get_entity('p', 'd')['Big'].edm_type.value)";
    assert_eq!(azurite.python(types, &[]), "int float True [\"x\"]\n2026 Edm.Int64");
    // The service does not take every character in a key, and says so.
    server.post("/api/put", r#"{"RowKey": "a/b"}"#).status(500);
    let refused = &server.invocations("put", 2)[1];
    let message = refused["failure"]["message"].as_str().unwrap();
    assert!(refused["failure"]["code"] == "E0431" && message.contains("400 InvalidInput: "), "{message}");
    server.post("/api/put", r#"{"RowKey": "e", "Size": 10}"#).status(500);
    let refused = &server.invocations("put", 3)[2];
    assert_eq!(refused["failure"]["code"], "E0418", "{refused}");
}

const BLOBS: &str = r#"
@app.blob_trigger(arg_name="blob", path="inbox/{name}.txt", connection="Cloud")
@app.blob_output(arg_name="out", path="outbox/{name}.txt", connection="Cloud")
def shout(blob: func.InputStream, out: func.Out[bytes]) -> None:
    text = blob.read()
    if text == b"bad":
        raise ValueError("I can't read it")
    print("seen", blob.name, blob.length, blob.metadata, blob.uri)
    out.set(text.upper())

@app.route(route="make/{megabytes:int}")
@app.blob_output(arg_name="out", path="made/large", connection="Cloud")
def make(req: func.HttpRequest, out: func.Out[bytes]) -> str:
    out.set(b"x" * (int(req.route_params["megabytes"]) << 20))
    return "made"

@app.route(route="size/{name}")
@app.blob_input(arg_name="path", path="inbox/{name}", connection="Cloud", mode="file")
def size(req: func.HttpRequest, path: str) -> str:
    return str(os.path.getsize(path))
"#;

const PUT_BLOB: &str = "
from azure.core.exceptions import ResourceExistsError
try: blobs.create_container('inbox')
except ResourceExistsError: pass
blobs.get_blob_client('inbox', arguments[0]).upload_blob(arguments[1], overwrite=True, metadata={'from': 'ada'})
";

#[test]
fn each_version_of_a_blob_in_an_account_comes_once_also_after_a_crash() {
    let azurite = Azurite::start();
    let mut server = start(&App::python(BLOBS), &azurite);
    azurite.python(PUT_BLOB, &["a/b ü.txt", "one"]);
    azurite.python(PUT_BLOB, &["other.png", "one"]);
    let record = &server.invocations("shout", 1)[0];
    assert_eq!((&record["outcome"], &record["summary"]), (&json!("success"), &json!("blob inbox/a/b ü.txt")));
    let seen = server.log("seen inbox/a/b ü.txt 3");
    let message = seen["message"].as_str().unwrap();
    assert!(message.contains("'from': 'ada'") && message.contains("http://127.0.0.1:"), "{message}");
    let read = "print(blobs.get_blob_client('outbox', arguments[0]).download_blob().readall().decode())";
    assert_eq!(azurite.python(read, &["a/b ü.txt"]), "ONE");
    azurite.python(PUT_BLOB, &["a/b ü.txt", "two"]);
    server.invocations("shout", 2);
    assert_eq!(azurite.python(read, &["a/b ü.txt"]), "TWO");
    server.kill9();
    azurite.python(PUT_BLOB, &["late.txt", "late"]);
    server.restart();
    server.invocations("shout", 1);
    assert_eq!(azurite.python(read, &["late.txt"]), "LATE");
    azurite.python(PUT_BLOB, &["bad.txt", "bad"]);
    let records = server.invocations("shout", 6);
    assert_eq!(records[5]["effects"], json!(["poison webjobs-blobtrigger-poison"]), "{records:#?}");
    assert_eq!(server.messages("webjobs-blobtrigger-poison").len(), 1);
}

/// What a function hands over is longer than one request may be, so it goes in blocks.
#[test]
fn a_large_output_goes_in_blocks() {
    let azurite = Azurite::start();
    let server = start(&App::python(BLOBS), &azurite);
    assert_eq!(server.get("/api/make/50").status(200).text(), "made");
    let made = "
made = blobs.get_blob_client('made', 'large')
content = made.download_blob().readall()
print(len(content), set(content), len(made.get_block_list()[0]))";
    assert_eq!(azurite.python(made, &[]), format!("{} {{120}} 13", 50 << 20));
}

/// As Azure's tools run a function by hand: the path of a blob, not its content.
#[test]
fn a_blob_of_an_account_is_run_by_hand() {
    let azurite = Azurite::start();
    let server = start(&App::python(BLOBS), &azurite);
    azurite.python(PUT_BLOB, &["a.txt", "one"]);
    server.invocations("shout", 1);
    let prompt = |path: &str| {
        let body = json!({"input": path}).to_string();
        server
            .send(Request::post("/admin/functions/shout", body).header("content-type", "application/json"))
            .status
    };
    assert_eq!((prompt("inbox/a.txt"), prompt("inbox/b.txt")), (202, 404));
    assert_eq!(server.invocations("shout", 2)[1]["outcome"], "success");
}

/// A new version of the app takes over: no message is lost, none waits for the old one's ten minutes.
#[test]
fn a_reload_loses_no_message() {
    let azurite = Azurite::start();
    let server = start(&App::python(ECHO), &azurite);
    for round in 1..=3 {
        let put = format!(
            "{PUT_TEXT}\nfor number in range(10): client('work').send_message(base64.b64encode(b'm').decode())"
        );
        azurite.python(&put, &[]);
        let app = format!("{}\n# version {round}\n", App::python(ECHO).text("function_app.py"));
        std::fs::write(server.folder().join("function_app.py"), app).unwrap();
        server.wait_for_many(round, "reloads", |event| event["event"] == "reloaded");
        server.invocations("work", 10 * round);
    }
}

/// 200 MB pass through the server, which never holds more than a few pieces of it.
#[test]
fn a_large_blob_becomes_a_file_in_constant_memory() {
    const SIZE: u64 = 200 * 1024 * 1024;
    let azurite = Azurite::start();
    let server = start(&App::python(BLOBS), &azurite);
    let put = "
blobs.create_container('inbox')
blobs.get_blob_client('inbox', 'large').upload_blob(bytes(200 * 1024 * 1024), max_concurrency=2)
";
    azurite.python(put, &[]);
    assert_eq!(server.get("/api/size/large").status(200).text(), SIZE.to_string());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 120 * 1024, "the server used {peak_kib} KiB at its peak");
}
