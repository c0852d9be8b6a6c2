//! Saving a file: the new version serves, a broken one does not, and what runs on the old one is finished.

use std::thread;

use ingle_testkit::{App, Python, Request, Server, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(
    a_saved_file_is_served,
    a_version_with_errors_is_not_served_and_a_mended_one_is,
    a_request_in_work_ends_on_the_version_it_began_on,
    the_new_version_takes_messages_over,
    files_that_host_json_wants_watched_are_watched,
);
on_the_pythons_between!(a_saved_file_is_served);

const ONE: &str = r#"
@app.route(route="version")
def version(req: func.HttpRequest) -> str:
    return "one"

@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    print("begun")
    while not os.path.exists(os.path.join(os.path.dirname(os.path.abspath(__file__)), "gate.txt")):
        time.sleep(0.01)
    return "one"

@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
def work(message: func.QueueMessage) -> None:
    print("one works on", message.get_body().decode())
"#;

fn start(python: &Python) -> Server {
    App::python(ONE).settings(&json!({"S": "embedded"})).start(python)
}

fn two() -> String {
    ONE.replace("\"one\"", "\"two\"").replace("one works", "two works")
}

/// Saves the app and waits for what becomes of it: `reloaded` or `kept`.
fn save(server: &Server, text: &str, expected: &str) -> Value {
    let text = App::python(text).text("function_app.py");
    std::fs::write(server.folder().join("function_app.py"), text).unwrap();
    server.wait_for(expected, |event| event["event"] == expected)
}

fn a_saved_file_is_served(python: &Python) {
    let server = start(python);
    assert_eq!(server.get("/api/version").status(200).text(), "one");
    server.get("/api/added").status(404);
    let added =
        "\n@app.route(route=\"added\")\ndef added(req: func.HttpRequest) -> str:\n    return \"new\"\n";
    let reloaded = save(&server, &(two() + added), "reloaded");
    assert!(reloaded["functions"].as_array().unwrap().contains(&json!("added")), "{reloaded}");
    let answer = server.get("/api/version").status(200);
    assert_eq!((answer.text().as_str(), answer.header("x-ingle-reload-error")), ("two", ""));
    assert_eq!(server.get("/api/added").status(200).text(), "new");
}

fn a_version_with_errors_is_not_served_and_a_mended_one_is(python: &Python) {
    let server = start(python);
    let kept = save(&server, &(two() + "\ndef broken(:\n"), "kept");
    assert!(!kept["problems"].as_array().unwrap().is_empty(), "{kept}");
    let answer = server.get("/api/version").status(200);
    assert_eq!(answer.text(), "one");
    assert!(answer.header("x-ingle-reload-error").contains("function_app.py"), "{answer:?}");
    save(&server, &two(), "reloaded");
    let answer = server.get("/api/version").status(200);
    assert_eq!((answer.text().as_str(), answer.header("x-ingle-reload-error")), ("two", ""));
}

fn a_request_in_work_ends_on_the_version_it_began_on(python: &Python) {
    let server = start(python);
    let mut client = server.client();
    let call = thread::spawn(move || client.send(Request::get("/api/slow")));
    server.log("begun");
    save(&server, &two(), "reloaded");
    assert_eq!(server.get("/api/version").text(), "two");
    std::fs::write(server.folder().join("gate.txt"), "open").unwrap();
    assert_eq!(call.join().unwrap().map(|answer| answer.text()), Ok("one".to_owned()));
}

fn the_new_version_takes_messages_over(python: &Python) {
    let server = start(python);
    server.send_queue("work", "first");
    server.log("one works on first");
    save(&server, &two(), "reloaded");
    for number in 0..20 {
        server.send_queue("work", &format!("message {number}"));
    }
    for number in 0..20 {
        server.log(&format!("two works on message {number}"));
    }
    server.invocations("work", 21);
    assert_eq!(server.queue_length("work"), 0);
}

/// `watchFiles` and `watchDirectories`; both lists can change while the server serves.
fn files_that_host_json_wants_watched_are_watched(python: &Python) {
    const READS: &str = r#"
TEXT = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rules.txt")).read()

@app.route(route="text")
def text(req: func.HttpRequest) -> str:
    return TEXT
"#;
    let host = json!({"version": "2.0", "watchFiles": ["rules.txt"], "watchDirectories": ["pages"]});
    let app =
        App::python(READS).file("rules.txt", "one").file("pages/deep/a.html", "").file("other/a.html", "");
    let server = app.host(&host).start(python);
    assert_eq!(server.get("/api/text").text(), "one");
    let change = |file: &str, text: &str, generation: u32| {
        std::fs::write(server.folder().join(file), text).unwrap();
        server.wait_for("reloaded", |event| event["generation"] == generation)
    };
    assert_eq!(change("rules.txt", "two", 2)["changed"], json!(["rules.txt"]));
    assert_eq!(server.get("/api/text").text(), "two");
    // What is in no list changes nothing, so the next change is told alone.
    std::fs::write(server.folder().join("other/a.html"), "x").unwrap();
    assert_eq!(change("pages/deep/a.html", "x", 3)["changed"], json!(["pages/deep/a.html"]));
    let host = json!({"version": "2.0", "watchDirectories": ["other"]});
    assert_eq!(change("host.json", &host.to_string(), 4)["changed"], json!(["host.json"]));
    std::fs::write(server.folder().join("rules.txt"), "three").unwrap();
    assert_eq!(change("other/a.html", "y", 5)["changed"], json!(["other/a.html"]));
}
