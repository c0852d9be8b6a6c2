//! Events that are posted to a webhook, and the handshakes before them.

use ingle_testkit::{App, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    both_handshakes_are_answered,
    events_of_both_forms_are_worked_on,
    what_is_no_event_is_refused,
);

const HOOK: &str = "/runtime/webhooks/eventgrid?functionName=stored";

fn start(python: &Python) -> Server {
    App::folder("examples/event-grid").start(python)
}

fn grid(kind: &str, body: &Value) -> Request {
    Request::post(HOOK, body.to_string())
        .header("aeg-event-type", kind)
        .header("content-type", "application/json")
}

fn event(id: &str, kind: &str, data: &Value) -> Value {
    json!({"id": id, "topic": "/shop", "subject": "pictures/cat.png", "eventType": kind,
        "eventTime": "2026-10-25T08:00:00Z", "dataVersion": "1", "metadataVersion": "1", "data": data})
}

fn both_handshakes_are_answered(python: &Python) {
    let server = start(python);
    let question =
        event("0", "Microsoft.EventGrid.SubscriptionValidationEvent", &json!({"validationCode": "C0DE-1"}));
    let answer = server.send(grid("SubscriptionValidation", &json!([question]))).status(200).json();
    assert_eq!(answer, json!({"validationResponse": "C0DE-1"}));
    let asked = Request::new("OPTIONS", HOOK).header("WebHook-Request-Origin", "eventemitter.example.com");
    let answer = server.send(asked).status(200);
    assert_eq!(answer.header("webhook-allowed-origin"), "eventemitter.example.com");
}

fn events_of_both_forms_are_worked_on(python: &Python) {
    let server = start(python);
    let pictures = json!([
        event("1", "Stored", &json!({"url": "https://example.org/1.png"})),
        event("2", "Stored", &json!({"url": "https://example.org/2.png"}))
    ]);
    server.send(grid("Notification", &pictures)).status(202);
    let cloud = json!({"specversion": "1.0", "id": "3", "source": "/shop", "subject": "pictures/dog.jpg",
        "type": "Stored", "time": "2026-10-25T08:00:01Z", "data": {"url": "https://example.org/3.jpg"}});
    let posted =
        Request::post(HOOK, cloud.to_string()).header("content-type", "application/cloudevents+json");
    server.send(posted).status(202);
    let kept = server.get("/api/pictures").status(200).json();
    let kinds: Vec<(&Value, &Value)> =
        kept.as_array().unwrap().iter().map(|picture| (&picture["id"], &picture["kind"])).collect();
    let expected = [("1", "image/png"), ("2", "image/png"), ("3", "image/jpeg")]
        .map(|(id, kind)| (json!(id), json!(kind)));
    assert_eq!(kinds, expected.iter().map(|(id, kind)| (id, kind)).collect::<Vec<_>>());
}

fn what_is_no_event_is_refused(python: &Python) {
    let server = start(python);
    server.send(grid("Notification", &json!("no event"))).status(400);
    let elsewhere = HOOK.replace("stored", "nobody");
    server.send(Request::post(&elsewhere, "[]").header("aeg-event-type", "Notification")).status(404);
    assert!(server.documents("album/pictures").is_empty());
}
