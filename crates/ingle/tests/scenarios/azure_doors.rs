//! What tools for Azure Functions ask the host.

use ingle_testkit::{App, Python, Request, on_each_python};
use serde_json::{Value, json};

on_each_python!(the_status_and_the_functions_are_told, a_function_is_run_by_hand,);

const APP: &str = r#"
@app.route(route="hello")
def hello(req: func.HttpRequest) -> str:
    return "hello"

@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
def work(message: str) -> None:
    print("worked on", message)
"#;

fn app() -> App {
    App::python(APP).settings(&json!({"S": "embedded"}))
}

fn the_status_and_the_functions_are_told(python: &Python) {
    let server = app().start(python);
    server.get("/admin/host/ping").status(200);
    let status = server.get("/admin/host/status").status(200).json();
    assert_eq!(status["state"], "Running", "{status}");
    let listed = server.get("/admin/functions").status(200).json();
    let mut names: Vec<&Value> =
        listed.as_array().unwrap().iter().map(|function| &function["name"]).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, [&json!("hello"), &json!("work")]);
    let one = server.get("/admin/functions/hello").status(200).json();
    assert!(one["invoke_url_template"].as_str().is_some_and(|url| url.ends_with("/api/hello")), "{one}");
    server.get("/admin/functions/nobody").status(404);
}

fn a_function_is_run_by_hand(python: &Python) {
    let server = app().start(python);
    let run = Request::post("/admin/functions/work", "{\"input\": \"soup\"}");
    server.send(run.header("content-type", "application/json")).status(202);
    server.log("worked on soup");
    let foreign = Request::post("/admin/functions/work", "{}").header("origin", "https://example.org");
    let refused = server.send(foreign).status;
    assert!(matches!(refused, 401 | 403), "a page of another site came in: {refused}");
}
