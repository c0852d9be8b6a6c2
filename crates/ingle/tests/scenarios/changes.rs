//! Following the changes of documents: each once, across restarts too.

use ingle_testkit::{App, Python, Server, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(documents_start_a_function_once, a_restart_goes_on_where_it_was,);
on_the_pythons_between!(documents_start_a_function_once);

const APP: &str = r#"
HERE = dict(connection="S", database_name="shop", container_name="orders")

@app.route(route="orders/{id}", methods=["PUT"])
@app.cosmos_db_output(arg_name="out", create_if_not_exists=True, partition_key="/id", **HERE)
def put(req: func.HttpRequest, out: func.Out[func.Document]) -> str:
    out.set(func.Document.from_dict({"id": req.route_params["id"]}))
    return "put"

@app.cosmos_db_trigger(arg_name="changes", start_from_beginning=True, **HERE)
@app.queue_output(arg_name="out", queue_name="seen", connection="S")
def follow(changes: func.DocumentList, out: func.Out[str]) -> None:
    out.set(json.dumps([change["id"] for change in changes]))
    print("saw", [change["id"] for change in changes])
"#;

fn app() -> App {
    App::python(APP).settings(&json!({"S": "embedded"}))
}

fn put(server: &Server, id: &str) {
    server.send(ingle_testkit::Request::new("PUT", &format!("/api/orders/{id}"))).status(200);
}

/// Waits until every one of these was seen, and fails if one was seen twice or another order.
fn assert_seen(server: &Server, expected: &[String]) {
    let look = || {
        let texts: Vec<Value> =
            server.messages("seen").iter().map(|message| message["text"].clone()).collect();
        let ids: Vec<String> = texts
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            // A JSON list becomes a message for each of its elements.
            .map(|text| text.trim_matches('"').to_owned())
            .collect();
        (ids.len() >= expected.len()).then_some(ids)
    };
    assert_eq!(server.events().look_until("the changes", look), expected);
}

fn documents_start_a_function_once(python: &Python) {
    let server = app().start(python);
    let ids: Vec<String> = (0..10).map(|number| format!("order-{number}")).collect();
    for id in &ids {
        put(&server, id);
    }
    assert_seen(&server, &ids);
}

fn a_restart_goes_on_where_it_was(python: &Python) {
    let mut server = app().start(python);
    put(&server, "first");
    assert_seen(&server, &["first".to_owned()]);
    server.kill9();
    server.restart();
    put(&server, "second");
    assert_seen(&server, &["first".to_owned(), "second".to_owned()]);
    server.log("saw ['second']");
}
