//! Functions that start themselves or each other (T-081): put aside after a number of hops, with the reason.

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    a_function_that_feeds_its_own_queue_is_stopped,
    a_circle_of_two_functions_is_stopped,
    a_function_that_writes_into_its_own_container_is_stopped,
    a_function_that_changes_the_documents_it_follows_is_stopped,
    a_function_that_calls_itself_is_stopped,
    a_legal_chain_of_five_is_left_alone,
    another_number_can_be_chosen,
);

const HOPS_MAX: usize = 16;

/// `ring` feeds itself, `ping` and `pong` feed each other, `copy` writes what starts it, `touch` changes what it
/// follows, `step` goes five steps.
const APP: &str = r#"
HERE = dict(connection="S", database_name="shop", container_name="orders")

@app.queue_trigger(arg_name="message", queue_name="ring", connection="S")
@app.queue_output(arg_name="$return", queue_name="ring", connection="S")
def ring(message: func.QueueMessage) -> str:
    left = int(message.get_body()) - 1
    return str(left) if left else None

@app.queue_trigger(arg_name="message", queue_name="ping", connection="S")
@app.queue_output(arg_name="$return", queue_name="pong", connection="S")
def ping(message: func.QueueMessage) -> str:
    return message.get_body().decode()

@app.queue_trigger(arg_name="message", queue_name="pong", connection="S")
@app.queue_output(arg_name="$return", queue_name="ping", connection="S")
def pong(message: func.QueueMessage) -> str:
    return message.get_body().decode()

@app.blob_trigger(arg_name="source", path="inbox/{name}", connection="S")
@app.blob_output(arg_name="target", path="inbox/copy-of-{name}", connection="S")
def copy(source: func.InputStream, target: func.Out[str]) -> None:
    target.set(source.read().decode())

@app.route(route="documents/{id}/{kind}", methods=["PUT"])
@app.cosmos_db_output(arg_name="out", create_if_not_exists=True, partition_key="/id", **HERE)
def put(req: func.HttpRequest, out: func.Out[func.Document]) -> str:
    out.set(func.Document.from_dict(dict(req.route_params)))
    return "put"

@app.cosmos_db_trigger(arg_name="changes", start_from_beginning=True, create_lease_container_if_not_exists=True, **HERE)
@app.cosmos_db_output(arg_name="out", create_if_not_exists=True, partition_key="/id", **HERE)
def touch(changes: func.DocumentList, out: func.Out[func.DocumentList]) -> None:
    again = [change for change in changes if change["kind"] == "loop"]
    if again:
        out.set(func.DocumentList(again))

@app.route(route="self")
def call_itself(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    import urllib.error, urllib.request
    trace = context.trace_context
    url = "http://%s/api/self" % os.environ["WEBSITE_HOSTNAME"]
    headers = {"traceparent": trace.Traceparent, "tracestate": trace.Tracestate}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return func.HttpResponse("%d" % (int(answer.read()) + 1))
    except urllib.error.HTTPError as error:
        assert error.code == 508 and b"E0310" in error.read(), error.code
        return func.HttpResponse("1")
"#;

fn app() -> App {
    App::python(APP).settings(&json!({"S": "embedded"}))
}

/// Records of the invocations of these functions that were refused, once there is one.
fn refused(server: &Server, functions: &[&str]) -> Value {
    server.wait_for("an event that went round in a loop", |event| {
        functions.iter().any(|function| event["function"] == *function) && event["failure"]["code"] == "E0310"
    })
}

/// How often these functions ran to their end.
fn runs(server: &Server, functions: &[&str]) -> usize {
    let ran = |event: &Value| {
        event["outcome"] == "success" && functions.iter().any(|function| event["function"] == *function)
    };
    server.events().all().iter().filter(|event| ran(event)).count()
}

/// The one line says which function, what it was about, and what to do.
#[track_caller]
fn check_refusal(record: &Value, source: &str, effect: &Value) {
    assert_eq!(record["outcome"], "failed", "{record:#}");
    assert_eq!(&record["effects"], effect, "{record:#}");
    let message = record["failure"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(source) && message.contains("passed through"), "{record:#}");
    assert!(record["failure"]["hint"].to_string().contains("max_hops"), "{record:#}");
}

fn a_function_that_feeds_its_own_queue_is_stopped(python: &Python) {
    let server = app().start(python);
    server.send_queue("ring", "1000000");
    let record = refused(&server, &["ring"]);
    check_refusal(&record, "queue ring", &json!(["poison ring-poison"]));
    assert_eq!(runs(&server, &["ring"]), HOPS_MAX);
    let put_aside = server.messages("ring-poison");
    assert_eq!(put_aside.len(), 1, "{put_aside:#?}");
    assert!(put_aside[0]["poison"]["reason"].to_string().contains("EventLoop"), "{put_aside:#?}");
    assert_eq!(server.queue_length("ring"), 0);
    // What somebody sends begins at the beginning.
    server.send_queue("ring", "1");
    server.invocations("ring", HOPS_MAX + 2);
    assert_eq!(runs(&server, &["ring"]), HOPS_MAX + 1);
}

fn a_circle_of_two_functions_is_stopped(python: &Python) {
    let server = app().start(python);
    server.send_queue("ping", "x");
    let record = refused(&server, &["ping", "pong"]);
    check_refusal(&record, "queue ping", &json!(["poison ping-poison"]));
    assert_eq!(runs(&server, &["ping", "pong"]), HOPS_MAX);
    assert_eq!((server.queue_length("ping"), server.queue_length("pong")), (0, 0));
}

fn a_function_that_writes_into_its_own_container_is_stopped(python: &Python) {
    let server = app().start(python);
    server.call(&["put", "blob", "inbox/a", "hello"]).code(0);
    let record = refused(&server, &["copy"]);
    check_refusal(&record, "blob inbox/copy-of-", &json!(["poison webjobs-blobtrigger-poison"]));
    assert_eq!(runs(&server, &["copy"]), HOPS_MAX);
    assert_eq!(server.queue_length("webjobs-blobtrigger-poison"), 1);
}

fn a_function_that_changes_the_documents_it_follows_is_stopped(python: &Python) {
    let server = app().start(python);
    server.send(Request::new("PUT", "/api/documents/1/loop")).status(200);
    let record = refused(&server, &["touch"]);
    check_refusal(&record, "1 change of shop/orders", &json!([]));
    // The first hop was that of the function behind the request.
    assert_eq!(runs(&server, &["touch"]), HOPS_MAX - 1);
    // It has been passed, so the next change is seen.
    server.send(Request::new("PUT", "/api/documents/2/plain")).status(200);
    server.events().look_until("one run more", || (runs(&server, &["touch"]) == HOPS_MAX).then_some(()));
}

/// The hops of requests travel in `tracestate`, if the function hands on its trace.
fn a_function_that_calls_itself_is_stopped(python: &Python) {
    // Its own door is on this machine's loopback, which functions reach only if they may.
    let server =
        app().file("ingle.toml", "[sandbox]\negress = [\"localhost:*\"]\nwrite = [\".\"]\n").start(python);
    assert_eq!(server.get("/api/self").status(200).text(), HOPS_MAX.to_string());
    let request = Request::get("/api/self").header("traceparent", "00-1-2-01");
    assert_eq!(server.send(request.header("tracestate", "ingle=14")).status(200).text(), "2");
}

fn a_legal_chain_of_five_is_left_alone(python: &Python) {
    let server = app().start(python);
    server.send_queue("ring", "5");
    let records = server.invocations("ring", 5);
    assert!(records.iter().all(|record| record["outcome"] == "success"), "{records:#?}");
    server.events().look_until("an empty queue", || (server.queue_length("ring") == 0).then_some(()));
    assert_eq!((runs(&server, &["ring"]), server.queue_length("ring-poison")), (5, 0));
}

fn another_number_can_be_chosen(python: &Python) {
    let server = app().file("ingle.toml", "[loops]\nmax_hops = 3\n").start(python);
    server.send_queue("ring", "1000000");
    refused(&server, &["ring"]);
    assert_eq!(runs(&server, &["ring"]), 3);
    drop(server);
    let server = app().file("ingle.toml", "[loops]\nmax_hops = 0\n").start(python);
    server.send_queue("ring", "40");
    server.invocations("ring", 40);
    assert_eq!((runs(&server, &["ring"]), server.queue_length("ring-poison")), (40, 0));
}
