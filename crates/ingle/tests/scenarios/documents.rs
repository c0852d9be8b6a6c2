//! Documents as input: by id, by query, and what happens when there is none.

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    a_document_is_found_by_its_id,
    a_query_takes_its_parameters_from_the_route,
    a_value_stays_a_value,
    several_documents_are_written_at_once,
    a_query_that_can_not_be_read_says_where,
    what_is_no_document_is_refused,
);

const APP: &str = r#"
HERE = dict(connection="S", database_name="shop", container_name="guests")

def answer(found):
    return func.HttpResponse(json.dumps([document.to_dict() for document in found or []]), mimetype="application/json")

@app.route(route="guests", methods=["POST"])
@app.cosmos_db_output(arg_name="out", create_if_not_exists=True, partition_key="/id", **HERE)
def add(req: func.HttpRequest, out: func.Out[func.DocumentList]) -> str:
    value = req.get_json()
    out.set(func.DocumentList([func.Document.from_dict(guest) for guest in (value if isinstance(value, list) else [value])]))
    return "added"

@app.route(route="text", methods=["POST"])
@app.cosmos_db_output(arg_name="out", create_if_not_exists=True, partition_key="/id", **HERE)
def add_text(req: func.HttpRequest, out: func.Out[str]) -> str:
    out.set(req.get_body().decode())
    return "added"

@app.route(route="guests/{id}", methods=["GET"])
@app.cosmos_db_input(arg_name="found", id="{id}", partition_key="{id}", **HERE)
def by_id(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    return answer(found)

@app.route(route="named/{name}", methods=["GET"])
@app.cosmos_db_input(arg_name="found", sql_query="SELECT * FROM c WHERE c.name = {name} ORDER BY c.id", **HERE)
def by_name(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    return answer(found)

@app.route(route="raw/{id}", methods=["GET"])
@app.cosmos_db_input(arg_name="found", id="{id}", partition_key="{id}", **HERE)
def raw(req: func.HttpRequest, found) -> str:
    return "None" if found is None or not len(found) else "some"

@app.route(route="grouped", methods=["GET"])
@app.cosmos_db_input(arg_name="found", sql_query="SELECT * FROM c GROUP BY c.name", **HERE)
def grouped(req: func.HttpRequest, found: func.DocumentList) -> func.HttpResponse:
    return answer(found)
"#;

fn start(python: &Python) -> Server {
    App::python(APP).settings(&json!({"S": "embedded"})).start(python)
}

fn add(server: &Server, guests: &Value) {
    server.post("/api/guests", guests.to_string()).status(200);
}

fn ids(answer: &Value) -> Vec<&str> {
    answer.as_array().into_iter().flatten().filter_map(|document| document["id"].as_str()).collect()
}

fn a_document_is_found_by_its_id(python: &Python) {
    let server = start(python);
    add(&server, &json!({"id": "1", "name": "Ada", "tags": ["α", null, 1.5]}));
    let found = server.get("/api/guests/1").status(200).json();
    assert_eq!(ids(&found), ["1"]);
    assert_eq!(found[0]["tags"], json!(["α", null, 1.5]));
    assert!(found[0]["_ts"].is_number() && found[0]["_etag"].is_string(), "{found}");
    assert_eq!(server.get("/api/guests/2").status(200).json(), json!([]));
    assert_eq!(server.get("/api/raw/2").status(200).text(), "None");
    assert_eq!(server.get("/api/raw/1").status(200).text(), "some");
    add(&server, &json!({"id": "1", "name": "Ada II"}));
    let replaced = server.get("/api/guests/1").status(200).json();
    assert_eq!((&replaced[0]["name"], &replaced[0]["tags"]), (&json!("Ada II"), &Value::Null));
}

fn a_query_takes_its_parameters_from_the_route(python: &Python) {
    let server = start(python);
    add(
        &server,
        &json!([{"id": "1", "name": "Ada"}, {"id": "2", "name": "Bob"}, {"id": "3", "name": "Ada"}]),
    );
    assert_eq!(ids(&server.get("/api/named/Ada").status(200).json()), ["1", "3"]);
    assert_eq!(ids(&server.get("/api/named/Cleo").status(200).json()), [] as [&str; 0]);
}

/// A value from the outside never becomes part of the query.
fn a_value_stays_a_value(python: &Python) {
    let server = start(python);
    let nasty = "x' OR 1=1 --";
    add(&server, &json!([{"id": "1", "name": "Ada"}, {"id": "2", "name": nasty}]));
    assert_eq!(ids(&server.get("/api/named/x'%20OR%201=1%20--").status(200).json()), ["2"]);
    assert_eq!(ids(&server.get("/api/named/%22%20OR%20true%20OR%20%22").status(200).json()), [] as [&str; 0]);
    assert_eq!(ids(&server.get("/api/named/@ingle0").status(200).json()), [] as [&str; 0]);
}

fn several_documents_are_written_at_once(python: &Python) {
    let server = start(python);
    let guests: Vec<Value> = (0..50).map(|number| json!({"id": number.to_string(), "name": "Ada"})).collect();
    add(&server, &Value::Array(guests));
    let record = server.invocations("add", 1).remove(0);
    assert_eq!(record["effects"], json!(["documents shop/guests ×50"]));
    assert_eq!(server.documents("shop/guests").len(), 50);
}

fn a_query_that_can_not_be_read_says_where(python: &Python) {
    let server = start(python);
    add(&server, &json!({"id": "1", "name": "Ada"}));
    let text = server.get("/api/grouped").status(500).text();
    for part in ["E0413", "GROUP"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert_eq!(ids(&server.get("/api/guests/1").status(200).json()), ["1"]);
}

fn what_is_no_document_is_refused(python: &Python) {
    let server = start(python);
    for body in ["no JSON", "5", "[1]", r#"{"id": 5}"#, r#"{"id": "a/b"}"#] {
        let answer = server.send(Request::post("/api/text", body)).status(500);
        assert!(answer.text().contains("E04") || answer.text().contains("E03"), "{body}: {}", answer.text());
    }
    assert_eq!(server.documents("shop/guests").len(), 0);
}
