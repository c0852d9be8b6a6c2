//! The restaurant: an order comes in over HTTP, waits in a queue, is cooked, and lands as a document.

use ingle_testkit::{App, Python, on_each_python, on_the_pythons_between};
use serde_json::{Value, json};

on_each_python!(
    orders_become_documents_in_v2,
    orders_become_documents_in_v1,
    what_is_no_order_is_refused_in_both_models,
    each_step_is_one_record,
);
on_the_pythons_between!(orders_become_documents_in_v2, orders_become_documents_in_v1);

fn orders_become_documents_in_v2(python: &Python) {
    orders_become_documents("examples/restaurant", python);
}

fn orders_become_documents_in_v1(python: &Python) {
    orders_become_documents("examples/restaurant-v1", python);
}

fn orders_become_documents(folder: &str, python: &Python) {
    let server = App::folder(folder).start(python);
    let mut ids = Vec::new();
    for customer in ["Ada", "Bob", "Cleo"] {
        let order = json!({"customer": customer, "dish": "soup", "quantity": 2});
        let taken = server.post("/api/orders", order.to_string()).status(202).json();
        assert_eq!(taken["status"], "accepted");
        ids.push(taken["id"].clone());
    }
    server.invocations("kitchen", 3);
    let listed = server.get("/api/orders").status(200).json();
    let listed_ids: Vec<&Value> = listed.as_array().into_iter().flatten().map(|order| &order["id"]).collect();
    assert_eq!(listed_ids, ids.iter().collect::<Vec<_>>(), "first come, first cooked");
    let target = format!("/api/orders/{}", ids[1].as_str().unwrap_or_default());
    let shown = server.get(&target).status(200);
    assert_eq!(shown.header("content-type"), "application/json");
    let shown = shown.json();
    assert_eq!(
        (&shown["customer"], &shown["status"], &shown["quantity"]),
        (&json!("Bob"), &json!("prepared"), &json!(2))
    );
    assert_eq!(server.documents("restaurant/orders").len(), 3);
    assert_eq!(server.queue_length("orders"), 0);
    assert_eq!(server.stop().code, Some(0));
}

fn what_is_no_order_is_refused_in_both_models(python: &Python) {
    for folder in ["examples/restaurant", "examples/restaurant-v1"] {
        let server = App::folder(folder).start(python);
        let check = |body: &str, part: &str| {
            let error = server.post("/api/orders", body.to_owned()).status(400).json()["error"].to_string();
            assert!(error.contains(part), "{body:?} is answered with {error}");
        };
        check("no JSON", "must be JSON");
        check("[]", "must be a JSON object");
        check(r#"{"customer": "Ada"}"#, "dish must be");
        check(r#"{"customer": "Ada", "dish": "soup", "quantity": 0}"#, "from 1 to 20");
        server.get("/api/orders/nobody-knows").status(404);
        assert_eq!(server.get("/api/orders").status(200).json(), json!([]));
        assert_eq!(server.queue_length("orders"), 0, "a refused order reaches no queue");
    }
}

fn each_step_is_one_record(python: &Python) {
    let server = App::folder("examples/restaurant").start(python);
    server.post("/api/orders", r#"{"customer": "Ada", "dish": "soup"}"#).status(202);
    let taken = server.invocations("take_order", 1).remove(0);
    let cooked = server.invocations("kitchen", 1).remove(0);
    assert_eq!(taken["summary"], "POST /api/orders");
    assert_eq!((&taken["status"], &taken["outcome"]), (&json!(202), &json!("success")));
    assert_eq!(taken["effects"], json!(["queue orders"]));
    assert_eq!((&cooked["summary"], &cooked["status"]), (&json!("queue orders"), &Value::Null));
    assert_eq!(cooked["effects"], json!(["documents restaurant/orders"]));
    for record in [&taken, &cooked] {
        let phase = |name: &str| record["phasesMs"][name].as_f64().unwrap_or(-1.0);
        assert!(["queue", "start", "user", "bind"].iter().all(|name| phase(name) >= 0.0), "{record}");
        assert!(phase("total") >= phase("user") && phase("user") > 0.0, "{record}");
        assert!(record["memoryBytes"].as_u64() > Some(1_000_000), "{record}");
    }
    let records = server.stop().events.into_iter().filter(|event| event["event"] == "invocation").count();
    assert_eq!(records, 2);
}
