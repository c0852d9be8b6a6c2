//! Blobs: put by hand, worked on at once, written by functions, put aside when they can't be read.

use ingle_testkit::{App, Python, Server, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(
    a_blob_that_is_put_becomes_another_one,
    a_blob_that_was_put_before_the_start_is_not_forgotten,
    a_bad_blob_is_tried_five_times_and_put_aside,
    a_blob_that_is_not_there_is_none,
    a_function_is_tried_with_a_stored_blob_or_with_a_content,
);
on_the_pythons_between!(a_blob_that_is_put_becomes_another_one);

const APP: &str = r#"
@app.blob_trigger(arg_name="source", path="inbox/{name}.txt", connection="S")
@app.blob_output(arg_name="target", path="outbox/{name}-loud.txt", connection="S")
def shout(source: func.InputStream, target: func.Out[str]) -> None:
    text = source.read().decode()
    if text == "bad":
        raise ValueError("I can't read it")
    target.set(text.upper())

@app.route(route="look/{name}")
@app.blob_input(arg_name="found", path="outbox/{name}", connection="S")
def look(req: func.HttpRequest, found: str) -> str:
    return "None" if found is None else "found " + found
"#;

fn app() -> App {
    App::python(APP).settings(&json!({"S": "embedded"}))
}

fn get(server: &Server, path: &str) -> String {
    server.call(&["get", "blob", path]).code(0).stdout
}

fn a_blob_that_is_put_becomes_another_one(python: &Python) {
    let server = app().start(python);
    server.call(&["put", "blob", "inbox/a.txt", "hello"]).code(0);
    let record = &server.invocations("shout", 1)[0];
    assert_eq!(record["outcome"], "success", "{record}");
    assert_eq!(get(&server, "outbox/a-loud.txt"), "HELLO");
    server.call(&["put", "blob", "inbox/a.txt", "again"]).code(0);
    server.invocations("shout", 2);
    assert_eq!(get(&server, "outbox/a-loud.txt"), "AGAIN");
    assert_eq!(server.get("/api/look/a-loud.txt").status(200).text(), "found AGAIN");
}

fn a_blob_that_was_put_before_the_start_is_not_forgotten(python: &Python) {
    let launch = app().launch(python);
    launch.call(&["put", "blob", "inbox/early.txt", "early"]).run().code(0);
    let mut server = launch.start();
    server.invocations("shout", 1);
    assert_eq!(get(&server, "outbox/early-loud.txt"), "EARLY");
    server.restart();
    server.call(&["put", "blob", "inbox/late.txt", "late"]).code(0);
    server.invocations("shout", 1);
    assert_eq!(get(&server, "outbox/late-loud.txt"), "LATE");
    let again = server.events().all().iter().filter(|event| event["function"] == "shout").count();
    assert_eq!(again, 1, "the first blob came once more");
}

fn a_bad_blob_is_tried_five_times_and_put_aside(python: &Python) {
    let server = app().start(python);
    server.call(&["put", "blob", "inbox/b.txt", "bad"]).code(0);
    let records = server.invocations("shout", 5);
    assert!(records.iter().all(|record| record["failure"]["kind"] == "ValueError"), "{records:#?}");
    let aside = server.messages("webjobs-blobtrigger-poison");
    assert_eq!(aside.len(), 1, "{aside:#?}");
    let told: Value = serde_json::from_str(aside[0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&told["ContainerName"], &told["BlobName"]), (&json!("inbox"), &json!("b.txt")));
}

fn a_blob_that_is_not_there_is_none(python: &Python) {
    let server = app().start(python);
    assert_eq!(server.get("/api/look/nothing.txt").status(200).text(), "None");
}

fn a_function_is_tried_with_a_stored_blob_or_with_a_content(python: &Python) {
    let server = app().start(python);
    server.call(&["put", "blob", "inbox/kept.txt", "stored"]).code(0);
    server.invocations("shout", 1);
    server.call(&["put", "blob", "outbox/kept-loud.txt", "changed"]).code(0);
    let answer = server.invoke("shout", "inbox/kept.txt");
    assert_eq!(answer["outcome"], "success", "{answer}");
    assert_eq!(get(&server, "outbox/kept-loud.txt"), "STORED", "its name and its content");
    // No blob is there: the data is the content, and there is no name for the output's path.
    let answer = server.invoke("shout", "inbox/missing.txt");
    assert_eq!(answer["failure"]["code"], "E0307", "{answer}");
}
