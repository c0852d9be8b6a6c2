//! Tables: entities written and read back, one by one and by filter.

use ingle_testkit::{App, Python, Server, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(an_entity_is_written_and_read_back, a_filter_selects, the_same_entity_twice_is_refused,);
on_the_pythons_between!(an_entity_is_written_and_read_back);

fn start(python: &Python) -> Server {
    App::folder("examples/table-notes").start(python)
}

fn add(server: &Server, owner: &str, text: &str, stars: u32) -> String {
    let body = json!({"text": text, "stars": stars}).to_string();
    let answer = server.post(&format!("/api/notes/{owner}"), body).status(201).json();
    answer["id"].as_str().unwrap().to_owned()
}

fn an_entity_is_written_and_read_back(python: &Python) {
    let mut server = start(python);
    let id = add(&server, "ada", "buy milk", 3);
    server.restart();
    let note = server.get(&format!("/api/notes/ada/{id}")).status(200).json();
    assert_eq!((&note["Text"], &note["Stars"]), (&json!("buy milk"), &json!(3)));
    assert_eq!((&note["PartitionKey"], &note["RowKey"]), (&json!("ada"), &json!(id)));
    server.get(&format!("/api/notes/bob/{id}")).status(404);
}

fn a_filter_selects(python: &Python) {
    let server = start(python);
    for (owner, text, stars) in [("ada", "low", 1), ("ada", "high", 5), ("bob", "other", 5)] {
        add(&server, owner, text, stars);
    }
    let found = server.get("/api/notes/ada?stars=3").status(200).json();
    let texts: Vec<&Value> = found.as_array().unwrap().iter().map(|note| &note["Text"]).collect();
    assert_eq!(texts, [&json!("high")]);
    assert_eq!(server.get("/api/notes/eve?stars=0").status(200).json(), json!([]));
}

fn the_same_entity_twice_is_refused(python: &Python) {
    let app = App::python(
        r#"
@app.route(route="same", methods=["POST"])
@app.table_output(arg_name="out", connection="S", table_name="Notes", partition_key="p", row_key="r")
def same(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set(json.dumps({"Text": req.get_body().decode()}))
    return "written"
"#,
    );
    let server = app.settings(&json!({"S": "embedded"})).start(python);
    server.post("/api/same", "first").status(200);
    assert!(server.post("/api/same", "second").status >= 500);
    let peeked = server.call(&["state", "peek", "table:Notes", "--json"]).code(0).json();
    assert_eq!(peeked["entities"].as_array().map(Vec::len), Some(1));
    assert_eq!(peeked["entities"][0]["Text"], "first");
}
