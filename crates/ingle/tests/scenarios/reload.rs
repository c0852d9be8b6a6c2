//! Saving a file: the new version serves, a broken one does not, and what runs on the old one is finished.

use std::thread;

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    a_saved_file_is_served,
    a_version_with_errors_is_not_served_and_a_mended_one_is,
    a_request_in_work_ends_on_the_version_it_began_on,
    the_new_version_takes_messages_over,
);

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

/// Saves the app and waits for what becomes of it: `reloaded` or `kept`. Saves once more when nothing happens for long,
/// as people do, because a server may say that it serves a moment before it watches its files.
fn save(server: &Server, text: &str, expected: &str) -> Value {
    const LOOKS_BETWEEN_SAVES: usize = 100;
    let file = server.folder().join("function_app.py");
    let text = App::python(text).text("function_app.py");
    let mut looks = 0;
    server.events().look_until(expected, || {
        if looks % LOOKS_BETWEEN_SAVES == 0 {
            std::fs::write(&file, &text).unwrap();
        }
        looks += 1;
        server.events().all().into_iter().find(|event| event["event"] == expected)
    })
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
