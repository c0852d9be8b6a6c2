//! What a caller is told when a function fails: everything in development, only the id otherwise.

use ingle_testkit::{App, Python, on_each_python};
use serde_json::json;

on_each_python!(
    an_exception_is_shown_with_its_place,
    hidden_errors_show_only_the_id,
    a_failed_function_leaves_nothing_behind
);

fn app() -> App {
    App::python(
        r#"
def kaput():
    secret = "swordfish"
    raise LookupError("there is no " + secret)

@app.route(route="fail")
def fail(req: func.HttpRequest) -> str:
    kaput()

@app.route(route="fail-async")
async def fail_async(req: func.HttpRequest) -> str:
    kaput()

@app.route(route="no-json", methods=["POST"])
def no_json(req: func.HttpRequest) -> str:
    return str(req.get_json())

@app.route(route="half")
@app.queue_output(arg_name="out", queue_name="half", connection="S")
def half(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set("must not be sent")
    raise RuntimeError("after the output was set")

@app.route(route="good")
def good(req: func.HttpRequest) -> str:
    return "fine"
"#,
    )
    .settings(&json!({"S": "embedded"}))
}

fn an_exception_is_shown_with_its_place(python: &Python) {
    let server = app().start(python);
    for (path, function, line) in [("/api/fail", "fail", 9), ("/api/fail-async", "fail_async", 13)] {
        let text = server.get(path).status(500).text();
        let place = format!("function_app.py\", line {line}, in {function}");
        for part in ["LookupError: there is no swordfish", "function_app.py:5", &place, "line 5, in kaput"] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
        assert!(!text.contains("ingle_worker/"), "frames of the worker are not folded:\n{text}");
        let record = server.invocations(function, 1).remove(0);
        assert_eq!((&record["status"], &record["outcome"]), (&json!(500), &json!("failed")));
        assert_eq!(record["failure"]["location"], "function_app.py:5");
        assert!(text.contains(record["id"].as_str().unwrap_or("?")), "the id is not in:\n{text}");
    }
    let text = server.post("/api/no-json", "nonsense").status(500).text();
    assert!(
        text.contains("azure.functions") && !text.contains("site-packages"),
        "frames of the SDK are not folded:\n{text}"
    );
    assert_eq!(server.get("/api/good").status(200).text(), "fine");
}

fn hidden_errors_show_only_the_id(python: &Python) {
    let server = app().launch(python).argument("--hide-errors").start();
    let text = server.get("/api/fail").status(500).text();
    let record = server.invocations("fail", 1).remove(0);
    let id = record["id"].as_str().unwrap_or("?");
    assert!(text.contains(id), "the id {id} is not in {text}");
    for secret in ["swordfish", "LookupError", "function_app", "Traceback"] {
        assert!(!text.contains(secret), "{secret} is shown: {text}");
    }
    assert_eq!(record["failure"]["message"], "there is no swordfish", "the log still says what happened");
}

/// T-064: outputs of a function that failed are not published.
fn a_failed_function_leaves_nothing_behind(python: &Python) {
    let server = app().start(python);
    server.get("/api/half").status(500);
    let record = server.invocations("half", 1).remove(0);
    assert_eq!(record["effects"], json!([]));
    assert_eq!(server.queue_length("half"), 0);
}
