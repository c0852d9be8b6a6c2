//! Handshakes and deliveries, with an invoker that fails what it is told to fail.

use std::sync::{Arc, Mutex};

use ingle_store::keys::{KeyFile, KeyScope, KeyText};
use ingle_types::clock::SystemClock;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invoker, Phases};
use ingle_types::log::RecordSink;
use ingle_types::outcome::{Blame, Failure, Outputs};
use ingle_types::spec::{AppSpec, Dialect, FunctionSpec, HostConfig};
use proptest::prelude::*;
use serde_json::Value;
use tokio::time::Instant;

use super::super::{Host, admit, is_reserved};
use super::*;
use crate::auth::{Guard, Peer};
use crate::route::path::RequestPath;
use crate::service::Door;
use crate::site::Site;

/// Payload and metadata of an event.
type Seen = (String, Vec<(String, Datum)>);

#[derive(Default)]
struct Function {
    events: Mutex<Vec<Seen>>,
    records: Mutex<Vec<&'static str>>,
}

struct Handle(Arc<Function>);

impl Invoker for Handle {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let Datum::Json(text) = invocation.event.payload else { panic!("not JSON") };
        let failure = Failure::new(Blame::App, "E0301", "ValueError", "kaput");
        let outcome = if text.contains("\"fail\"") {
            Outcome::Failed(failure)
        } else if text.contains("\"full\"") {
            Outcome::Rejected(Failure { code: "E0308", ..failure })
        } else {
            Outcome::Success(Outputs::default())
        };
        self.0.events.lock().unwrap().push((text, invocation.event.metadata));
        let id = invocation.id;
        Box::pin(async move {
            Completion { id, outcome, phases: Phases::default(), effects: Vec::new(), log: None }
        })
    }
}

impl RecordSink for Handle {
    fn record(&self, record: InvocationRecord) {
        self.0.records.lock().unwrap().push(record.outcome);
    }
}

struct World {
    door: Arc<Door>,
    guard: Guard,
    host: Host,
    function: Arc<Function>,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let function = |name: &str, trigger| FunctionSpec {
        name: FunctionName::new(name),
        trigger,
        trigger_parameter: "event".to_owned(),
        bindings: Vec::new(),
        disabled: false,
        retry: None,
        is_async: false,
        streams: false,
        location: None,
    };
    let app = AppSpec {
        name: "shop".to_owned(),
        root: "/app".into(),
        dialect: Dialect::AzureV2,
        host: HostConfig::default(),
        functions: vec![function("Stored", TriggerSpec::EventGrid), function("warm", TriggerSpec::Warmup)],
        problems: Vec::new(),
    };
    let (folder, noted) = (tempfile::tempdir().unwrap(), Arc::new(Function::default()));
    let clock = Arc::new(SystemClock);
    let rooms = Rooms {
        invoker: Arc::new(Handle(noted.clone())),
        tasks: Tasks::new(),
        clock: clock.clone(),
        records: Arc::new(Handle(noted.clone())),
        blobs: Arc::new(|_, _, _| Box::pin(async { Ok(false) })),
        later: Arc::new(|_| Box::pin(async { Ok(()) })),
        health: ingle_types::health::Health::default(),
    };
    let door = Arc::new(Door::new(Site::new(&app).unwrap().0, rooms));
    let guard = Guard::new(true, KeyFile::in_folder(folder.path()), clock);
    let host = Host { started: Instant::now(), instance: uuid::Uuid::new_v4() };
    let key = KeyText::chosen("testSystemKey").unwrap();
    let now = guard.clock().now();
    guard.file().edit(|ring| ring.set(&KeyScope::System, "eventgrid_extension", &key, now)).unwrap();
    World { door, guard, host, function: noted, _folder: folder }
}

const TARGET: &str = "/runtime/webhooks/EventGrid?functionName=stored&code=testSystemKey";

impl World {
    async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response<Bytes> {
        let mut request = http::Request::builder().method(method).uri(target).header("host", "shop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Peer("192.0.2.7:9".parse().unwrap())).body(()).unwrap();
        let head = request.into_parts().0;
        let path = RequestPath::parse(head.uri.path()).unwrap();
        assert!(is_reserved(&path));
        if let Err(refused) = admit(&self.guard, &head, &path) {
            return refused;
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = Request { door: &self.door, guard: &self.guard, host: &self.host, head: &head, body };
        super::super::answer(request, &path).await
    }

    /// Posts with a type of Event Grid; the status.
    async fn post(&self, kind: &str, body: &str) -> u16 {
        self.send("POST", TARGET, &[("aeg-event-type", kind)], body).await.status().as_u16()
    }

    fn payloads(&self) -> Vec<String> {
        let mut events: Vec<String> =
            self.function.events.lock().unwrap().iter().map(|(text, _)| text.clone()).collect();
        events.sort();
        events
    }
}

fn validation(data: &Value) -> String {
    json!([{"id": "1", "eventType": VALIDATION, "data": data}]).to_string()
}

#[tokio::test]
async fn each_event_of_a_batch_is_one_invocation_and_202_is_the_answer() {
    let world = world();
    let batch = r#"[ {"id":"1","eventType":"Made","data":{"n": 1.50}}, {"id":"2"} ]"#;
    assert_eq!(world.post("Notification", batch).await, 202);
    assert_eq!(world.payloads(), [r#"{"id":"1","eventType":"Made","data":{"n": 1.50}}"#, r#"{"id":"2"}"#]);
    let first = world
        .function
        .events
        .lock()
        .unwrap()
        .iter()
        .find(|(text, _)| text.contains("Made"))
        .unwrap()
        .1
        .clone();
    assert_eq!(first, [("data".to_owned(), Datum::Json("{\"n\": 1.50}".to_owned()))]);
    assert_eq!(*world.function.records.lock().unwrap(), ["success", "success"]);
    assert_eq!(world.post("Unsubscribe", "").await, 202);
    assert_eq!(world.post("Notification", "[]").await, 202);
}

#[tokio::test]
async fn cloud_events_come_alone_or_in_batches() {
    let world = world();
    let single = [("content-type", "application/cloudevents+json; charset=utf-8")];
    let event = r#"{"specversion":"1.0","id":"1","type":"made","source":"/a"}"#;
    assert_eq!(world.send("POST", TARGET, &single, event).await.status(), 202);
    let batch = [("content-type", "application/cloudevents-batch+json")];
    assert_eq!(world.send("POST", TARGET, &batch, &format!("[{event},{event}]")).await.status(), 202);
    assert_eq!(world.payloads(), [event; 3]);
    let plain = world.send("POST", TARGET, &[("content-type", "application/json")], event).await;
    assert_eq!(plain.status(), 400, "a page of another site could send this");
}

#[tokio::test]
async fn cloud_events_in_binary_mode_look_like_the_others() {
    let world = world();
    let mut headers = vec![
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-source", "/a"),
        ("ce-type", "T"),
        ("ce-own", "x"),
    ];
    assert_eq!(world.send("POST", TARGET, &headers, r#"{"n": 5}"#).await.status(), 202);
    let seen: Value = serde_json::from_str(&world.payloads()[0]).unwrap();
    let expected = serde_json::json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "T", "own": "x",
        "data": {"n": 5}});
    assert_eq!(seen, expected);
    headers.truncate(2);
    assert_eq!(world.send("POST", TARGET, &headers, r#"{"n": 5}"#).await.status(), 400);
}

#[tokio::test]
async fn a_batch_that_is_not_done_as_a_whole_has_to_come_again() {
    let world = world();
    let body = r#"[{"id":"1"},{"id":"fail"},{"id":"2"}]"#;
    let response = world.send("POST", TARGET, &[("aeg-event-type", "Notification")], body).await;
    let text = String::from_utf8(response.body().to_vec()).unwrap();
    assert_eq!(response.status(), 500);
    assert!(text.contains("1 of 3 events failed (E0301)"), "{text}");
    let full = world.send("POST", TARGET, &[("aeg-event-type", "Notification")], r#"{"id":"full"}"#).await;
    assert_eq!((full.status().as_u16(), full.headers().contains_key(RETRY_AFTER)), (503, true));
    assert_eq!(*world.function.records.lock().unwrap(), ["success", "failed", "success", "rejected"]);
}

#[tokio::test]
async fn a_thousand_events_are_all_worked_on() {
    let world = world();
    let batch: Vec<Value> = (0..1000).map(|id| json!({"id": id})).collect();
    assert_eq!(world.post("Notification", &Value::from(batch).to_string()).await, 202);
    assert_eq!(world.payloads().len(), 1000);
}

/// T-044: the handshakes give back a plain code or host name and nothing else, and call nobody.
#[tokio::test]
async fn handshakes_can_not_be_used_as_a_mirror() {
    let world = world();
    let code = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6";
    let body = validation(&json!({"validationCode": code, "validationUrl": "http://169.254.169.254/"}));
    let response = world.send("POST", TARGET, &[("aeg-event-type", "SubscriptionValidation")], &body).await;
    assert_eq!(response.body(), format!("{{\"validationResponse\":\"{code}\"}}").as_bytes());
    let bad =
        [json!("<script>"), json!("a b"), json!(""), json!(5), json!("x".repeat(200)), json!("http://evil")];
    for code in bad {
        let body = validation(&json!({"validationCode": code}));
        assert_eq!(world.post("SubscriptionValidation", &body).await, 400, "{body}");
    }
    for body in ["", "{}", "[]", "[1]", r#"[{"eventType": "Other", "data": {"validationCode": "a"}}]"#] {
        assert_eq!(world.post("SubscriptionValidation", body).await, 400, "{body}");
    }
    let options = async |origin: &str| {
        let headers =
            [("webhook-request-origin", origin), ("webhook-request-callback", "http://169.254.169.254/")];
        world.send("OPTIONS", TARGET, &headers, "").await
    };
    let allowed = options("eventgrid.azure.net").await;
    assert_eq!(
        (allowed.status().as_u16(), &allowed.headers()["webhook-allowed-origin"]),
        (200, &HeaderValue::from_static("eventgrid.azure.net"))
    );
    for origin in ["", "a b", "http://x/y", "<x>", &"x".repeat(300)] {
        let refused = options(origin).await;
        assert_eq!(refused.status(), 400, "{origin}");
        assert!(!refused.headers().contains_key("webhook-allowed-origin"));
    }
    assert_eq!(world.payloads(), [""; 0]);
}

#[tokio::test]
async fn only_functions_with_this_trigger_and_callers_with_this_key_take_part() {
    let world = world();
    let notification = [("aeg-event-type", "Notification")];
    for (target, expected) in [
        ("/runtime/webhooks/eventgrid?functionName=stored", 401),
        ("/runtime/webhooks/eventgrid?functionName=stored&code=wrongSystemKey", 401),
        ("/runtime/webhooks/eventgrid?code=testSystemKey", 400),
        ("/runtime/webhooks/eventgrid?functionName=warm&code=testSystemKey", 404),
        ("/runtime/webhooks/eventgrid?functionName=nobody&code=testSystemKey", 404),
        ("/runtime/webhooks/eventgrid?functionname=STORED&code=testSystemKey", 202),
    ] {
        let found = world.send("POST", target, &notification, "{}").await;
        assert_eq!(found.status().as_u16(), expected, "{target}");
    }
    assert_eq!(world.send("GET", TARGET, &notification, "").await.status(), 405);
    for (kind, body) in [
        ("Other", "{}"),
        ("", "{}"),
        ("Notification", "{"),
        ("Notification", "[1]"),
        ("Notification", "\"x\""),
    ] {
        assert_eq!(world.post(kind, body).await, 400, "{kind} {body}");
    }
    let many = format!("[{}{{}}]", "{},".repeat(EVENTS_MAX));
    assert_eq!(world.post("Notification", &many).await, 413);
}

proptest! {
    #[test]
    fn no_body_panics(kind in "(SubscriptionValidation|Notification|x)", body in "([\\[\\]{}:,\" a1]|eventType|data|validationCode){0,40}") {
        let mut headers = HeaderMap::new();
        headers.insert(EVENT_TYPE_HEADER, kind.parse().unwrap());
        if let Ok(Posted::Validation(code)) = read(&headers, body.as_bytes()) {
            prop_assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        }
    }
}
