//! Accounts of Azure Storage, told with Azurite: queues, blobs and tables of an app are in it, and Azure's own Python
//! clients put things in and read them back.

use ingle_testkit::azurite::Azurite;
use ingle_testkit::{App, Launch, Python, Server};
use serde_json::{Value, json};

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
