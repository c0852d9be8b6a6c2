//! The examples that no other story tells of, as a user starts them.

use std::collections::BTreeSet;

use ingle_testkit::{App, Python, Request};
use serde_json::{Value, json};

/// Ingle chooses the Python and installs numpy into an environment that it keeps.
#[test]
fn an_app_with_numpy_gets_its_environment_and_answers() {
    let launch = App::folder("examples/numpy-stats").launch(&Python::any()).own_choice_of_python();
    let server = launch.start();
    let stats = server.post("/api/stats", r#"{"values": [1, 2, 3, 4]}"#).status(200).json();
    assert_eq!((&stats["count"], &stats["mean"], &stats["median"]), (&json!(4), &json!(2.5), &json!(2.5)));
    server.post("/api/stats", r#"{"values": []}"#).status(400);
}

#[test]
fn plain_and_async_functions_stand_side_by_side() {
    let server = App::folder("examples/async-mix").start(&Python::any());
    assert_eq!(server.get("/api/wait?seconds=0.01").status(200).json()["how"], "async def");
    assert_eq!(server.get("/api/block?seconds=0.01").status(200).json()["how"], "def");
    let digest = server.post("/api/digest", vec![0_u8, 255, 1]).status(200).text();
    assert_eq!(digest, "47ffa3ea45a70b8a41c2c0825df323c00a8b7a01c1ea06083cc41dddcc001123");
}

#[test]
fn bytes_go_through_a_queue_as_they_are() {
    let server = App::folder("examples/binary-queue").start(&Python::any());
    server.post("/api/readings", r#"{"sensor": 7, "celsius": 21.5}"#).status(202);
    server.invocations("store", 1);
    assert_eq!(server.get("/api/readings/7").status(200).json(), json!({"celsius": 21.5}));
    server.get("/api/readings/8").status(404);
}

#[test]
fn generic_bindings_are_those_of_their_type() {
    let server = App::folder("examples/generic-bindings").start(&Python::any());
    server.post("/api/words", "hearth").status(202);
    server.invocations("keep", 1);
    let found = server.get("/api/words/hearth").status(200).json();
    assert_eq!(found, json!({"PartitionKey": "words", "RowKey": "hearth", "Length": 6}));
}

#[test]
fn each_level_wants_its_key() {
    let server = App::folder("examples/keys").launch(&Python::any()).argument("--auth").start();
    let made = |words: &[&str]| {
        let words = [&["keys", "create", "--json"], words].concat();
        server.call(&words).code(0).json()["value"].as_str().unwrap().to_owned()
    };
    let (order, master) = (made(&["--function", "order"]), made(&["--master"]));
    let post = |path: &str, key: &str| server.send(Request::post(path, "").header("x-functions-key", key));
    assert_eq!(server.get("/api/menu").status(200).text(), "soup");
    server.post("/api/orders", "").status(401);
    assert_eq!(post("/api/orders", &order).status(200).text(), "ordered");
    post("/api/closing", &order).status(401);
    assert_eq!(post("/api/closing", &master).status(200).text(), "closed");
}

#[test]
fn cloud_events_come_in_both_forms() {
    let server = App::folder("examples/cloud-events").start(&Python::any());
    let hook = "/runtime/webhooks/eventgrid?functionName=pushed";
    let binary = Request::post(hook, r#"{"branch": "main"}"#)
        .header("content-type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/git")
        .header("ce-type", "push");
    server.send(binary).status(202);
    let event = json!({"specversion": "1.0", "id": "2", "source": "/git", "type": "push", "data": {"branch": "mend"}});
    let structured =
        Request::post(hook, event.to_string()).header("content-type", "application/cloudevents+json");
    server.send(structured).status(202);
    let builds: Vec<Value> = server
        .messages("builds")
        .iter()
        .map(|message| serde_json::from_str(message["text"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(builds, [json!({"id": "1", "branch": "main"}), json!({"id": "2", "branch": "mend"})]);
}

#[test]
fn several_outputs_are_written_together_or_not_at_all() {
    let server = App::folder("examples/several-outputs").start(&Python::any());
    let put = |id: &str, body: &str| {
        server.send(Request::new("PUT", &format!("/api/orders/{id}")).body(body.to_owned()))
    };
    put("7", r#"{"dishes": ["soup", "bread"]}"#).status(204);
    put("8", r#"{"dishes": ["soup", "mud"]}"#).status(500);
    let texts: Vec<Value> = server.messages("tasks").iter().map(|task| task["text"].clone()).collect();
    assert_eq!(texts, ["cook soup", "cook bread"]);
    assert_eq!(server.call(&["get", "blob", "receipts/7.txt"]).code(0).stdout, "soup\nbread");
    assert_ne!(server.call(&["get", "blob", "receipts/8.txt"]).code, Some(0));
    let ids: Vec<Value> = server.documents("shop/orders").iter().map(|order| order["id"].clone()).collect();
    assert_eq!(ids, ["7"]);
    let peeked = server.call(&["state", "peek", "table:Journal", "--json"]).code(0).stdout;
    assert!(peeked.contains("\"7\"") && !peeked.contains("\"8\""), "{peeked}");
}

/// Each example has a line in the list, and each line an example.
#[test]
fn the_list_of_examples_is_whole() {
    let folder = ingle_testkit::workspace().join("examples");
    let list = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let listed: BTreeSet<String> = list
        .split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("/README.md)")?.0.to_owned()))
        .collect();
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let apps = entries.filter(|entry| entry.path().join("README.md").is_file());
    let apps: BTreeSet<String> = apps.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(listed, apps);
}
