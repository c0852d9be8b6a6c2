//! Which paths lead where, and the shapes of the answers, with an invoker that only notes what it is asked.

use std::sync::Mutex;
use std::time::Duration;

use ingle_store::keys::{DEFAULT, KeyFile, KeyScope, KeyText, MASTER};
use ingle_tasks::Tasks;
use ingle_types::account::Account;
use ingle_types::blob::BlobPattern;
use ingle_types::clock::SystemClock;
use ingle_types::datum::Datum;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invocation, Invoker, Phases};
use ingle_types::health::Health;
use ingle_types::ids::FunctionName;
use ingle_types::log::{InvocationRecord, RecordSink};
use ingle_types::outcome::{Outcome, Outputs};
use ingle_types::problem::Problem;
use ingle_types::schedule::{Schedule, TimeZone};
use ingle_types::spec::{
    AppSpec, AuthLevel, BindingKind, BindingSpec, BlobTrigger, DataType, Dialect, HostConfig, HttpTrigger,
    QueueTrigger, TimerTrigger, TriggerSpec,
};

use super::*;
use crate::auth::Peer;
use crate::service::Rooms;
use crate::site::Site;

#[derive(Default)]
struct Notes {
    events: Mutex<Vec<(String, Datum, Vec<String>)>>,
    records: Mutex<Vec<String>>,
}

struct Noting(Arc<Notes>);

impl Invoker for Noting {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let Invocation { id, function, event, caller: _, exchange: _ } = invocation;
        let names = event.metadata.into_iter().map(|(name, _)| name).collect();
        self.0.events.lock().unwrap().push((function.to_string(), event.payload, names));
        let outcome = Outcome::Success(Outputs::default());
        Box::pin(async move {
            Completion { id, outcome, phases: Phases::default(), effects: Vec::new(), log: None }
        })
    }
}

impl RecordSink for Noting {
    fn record(&self, record: InvocationRecord) {
        self.0
            .records
            .lock()
            .unwrap()
            .push(format!("{} {} {}", record.function, record.summary, record.outcome));
    }
}

struct World {
    door: Arc<Door>,
    guard: Guard,
    host: Host,
    notes: Arc<Notes>,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

fn function(name: &str, trigger: TriggerSpec) -> FunctionSpec {
    FunctionSpec {
        name: FunctionName::new(name),
        trigger,
        trigger_parameter: "input".to_owned(),
        bindings: Vec::new(),
        disabled: false,
        retry: None,
        is_async: false,
        streams: false,
        location: Some("function_app.py:7".to_owned()),
    }
}

fn functions() -> Vec<FunctionSpec> {
    let http = HttpTrigger {
        route: "orders/{id}".to_owned(),
        methods: vec!["GET".to_owned()],
        auth_level: AuthLevel::Function,
    };
    let queue =
        QueueTrigger { queue: "work".to_owned(), data_type: DataType::String, account: Account::Embedded };
    let timer = TimerTrigger {
        schedule: Schedule::parse("0 0 3 * * *").unwrap(),
        zone: TimeZone::UTC,
        run_on_startup: false,
        use_monitor: true,
    };
    let blob = BlobTrigger {
        container: "in".to_owned(),
        account: Account::Embedded,
        pattern: BlobPattern::parse("{name}").unwrap(),
        data_type: DataType::Undefined,
        as_file: false,
    };
    let mut order = function("Order", TriggerSpec::Http(http));
    order.bindings = vec![BindingSpec {
        name: "$return".to_owned(),
        kind: BindingKind::HttpOutput,
        data_type: DataType::Undefined,
        account: Account::Embedded,
    }];
    let mut off = function("off", TriggerSpec::Warmup);
    off.disabled = true;
    vec![
        off,
        order,
        function("thumb", TriggerSpec::Blob(blob)),
        function("tidy", TriggerSpec::Timer(timer)),
        function("warm", TriggerSpec::Warmup),
        function("work", TriggerSpec::Queue(queue)),
    ]
}

fn world() -> World {
    let app = AppSpec {
        name: "My Shop".to_owned(),
        root: "/app".into(),
        dialect: Dialect::AzureV2,
        host: HostConfig {
            extension_bundle: Some("Bundle [4.*, 5.0.0)".to_owned()),
            ..HostConfig::default()
        },
        functions: functions(),
        problems: vec![Problem::error("E0201", "no module named `stripe`").function("pay")],
    };
    let (folder, notes, tasks) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()), Tasks::new());
    let clock = Arc::new(SystemClock);
    let rooms = Rooms {
        invoker: Arc::new(Noting(notes.clone())),
        tasks: tasks.clone(),
        clock: clock.clone(),
        records: Arc::new(Noting(notes.clone())),
        blobs: Arc::new(|function, container, name| {
            let told = (function.as_str(), container.as_str(), name.as_str()) == ("thumb", "in", "a/b.png");
            Box::pin(async move { Ok(told) })
        }),
        later: Arc::new(|_| Box::pin(async { Ok(()) })),
        health: Health::default(),
    };
    let door = Arc::new(Door::new(Site::new(&app).unwrap().0, rooms));
    let guard = Guard::new(true, KeyFile::in_folder(folder.path()), clock);
    let host = Host { started: Instant::now(), instance: Uuid::new_v4() };
    let world = World { door, guard, host, notes, tasks, _folder: folder };
    let master = KeyText::chosen("testMasterKey").unwrap();
    let now = world.guard.clock().now();
    world.guard.file().edit(|ring| ring.set(&KeyScope::Master, MASTER, &master, now)).unwrap();
    world
}

impl World {
    async fn raw(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
        let mut request = http::Request::builder().method(method).uri(target).header("host", "shop:7071");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(Peer("192.0.2.7:9".parse().unwrap())).body(()).unwrap();
        let head = request.into_parts().0;
        let path = RequestPath::parse(head.uri.path()).unwrap();
        assert!(is_reserved(&path), "{target}");
        if let Err(refused) = admit(&self.guard, &head, &path) {
            return refused;
        }
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = Request { door: &self.door, guard: &self.guard, host: &self.host, head: &head, body };
        answer(request, &path).await
    }

    /// `METHOD target`, with the master key; status and JSON (or null).
    async fn call(&self, request: &str, body: &str) -> (u16, Value) {
        let (method, target) = request.split_once(' ').unwrap();
        let headers = [("x-functions-key", "testMasterKey"), ("content-type", "application/json")];
        let response = self.raw(method, target, &headers, body).await;
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or(Value::Null))
    }
}

/// T-038, T-039: every spelling of a reserved path is reserved, and nothing else is.
#[test]
fn reserved_paths() {
    let check = |raw: &str, expected: bool| {
        assert_eq!(is_reserved(&RequestPath::parse(raw).unwrap()), expected, "{raw}");
    };
    for reserved in [
        "/admin",
        "/ADMIN/host/status",
        "/%61dmin/x",
        "/api/../admin",
        "/./admin",
        "/runtime/webhooks/eventgrid",
    ] {
        check(reserved, true);
    }
    for free in ["/", "/api/admin", "/administrator", "/admin%2Fhost", "//admin"] {
        check(free, false);
    }
}

#[tokio::test]
async fn all_but_the_ping_want_the_master_key() {
    let world = world();
    for (request, expected) in [
        ("GET /admin/host/ping", 200),
        ("POST /admin/host/ping", 200),
        ("GET /admin/host/status", 401),
        ("GET /admin/functions", 401),
        ("POST /admin/functions/work", 401),
        ("GET /admin/functions/nobody", 401),
        ("GET /admin/host/keys", 401),
        ("GET /admin/warmup", 401),
        ("GET /admin/nothing", 401),
        ("POST /runtime/webhooks/eventgrid", 401),
    ] {
        let (method, target) = request.split_once(' ').unwrap();
        let found = world.raw(method, target, &[], "").await;
        assert_eq!((found.status().as_u16(), found.body().is_empty()), (expected, true), "{request}");
    }
    for (request, expected) in [
        ("GET /Admin/Host/Status/", 200),
        ("DELETE /admin/host/status", 405),
        ("GET /admin/nothing", 404),
        ("GET /admin/functions/nobody", 404),
        ("GET /admin/functions/nobody/status", 404),
        ("GET /runtime/webhooks/other", 404),
    ] {
        assert_eq!(world.call(request, "").await.0, expected, "{request}");
    }
}

#[tokio::test]
async fn status_has_the_shape_that_tools_wait_for() {
    let world = world();
    let (status, shown) = world.call("GET /admin/host/status", "").await;
    assert_eq!(
        (status, &shown["state"], &shown["id"]),
        (200, &Value::from("Running"), &Value::from("my-shop"))
    );
    assert_eq!(shown["extensionBundle"]["version"], "[4.*, 5.0.0)");
    assert!(shown["processUptime"].is_u64() && shown["version"].as_str().unwrap().starts_with("4."));
    assert!(shown["errors"][0].as_str().unwrap().contains("stripe"));
    assert_eq!(shown["degraded"], Value::Null);
    let (_, broken) = world.call("GET /admin/functions/PAY/status", "").await;
    assert_eq!(broken["errors"].as_array().map(Vec::len), Some(1));
    let (_, good) = world.call("GET /admin/functions/order/status", "").await;
    assert_eq!(good, serde_json::json!({"errors": null}));
}

#[tokio::test]
async fn functions_are_listed_with_their_bindings() {
    let world = world();
    let (_, list) = world.call("GET /admin/functions", "").await;
    let names: Vec<&str> = list.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, ["off", "Order", "thumb", "tidy", "warm", "work"]);
    let (_, order) = world.call("GET /admin/functions/ORDER", "").await;
    assert_eq!(order["invoke_url_template"], "http://shop:7071/api/orders/{id}");
    assert_eq!(order["href"], "http://shop:7071/admin/functions/Order");
    assert_eq!(order["config"]["scriptFile"], "function_app.py");
    let expected = serde_json::json!([
        {"type": "httpTrigger", "authLevel": "function", "route": "orders/{id}", "methods": ["get"],
            "name": "input", "direction": "in"},
        {"type": "http", "name": "$return", "direction": "out"}]);
    assert_eq!(order["config"]["bindings"], expected);
    assert_eq!((&list[0]["isDisabled"], &list[5]["invoke_url_template"]), (&Value::from(true), &Value::Null));
    assert_eq!(list[5]["config"]["bindings"][0]["dataType"], "string");
}

#[tokio::test]
async fn a_function_is_run_by_hand() {
    let world = world();
    for (request, body, expected) in [
        ("POST /admin/functions/WORK", r#"{"input": "soup"}"#, 202),
        ("POST /admin/functions/tidy", "{}", 202),
        ("POST /admin/functions/order", r#"{"input": {"dish": "soup"}}"#, 202),
        ("POST /admin/functions/thumb", r#"{"input": "in/a/b.png"}"#, 202),
        ("POST /admin/functions/thumb", r#"{"input": "in/other.png"}"#, 404),
        ("POST /admin/functions/thumb", r#"{"input": "out/a/b.png"}"#, 400),
        ("POST /admin/functions/thumb", r#"{"input": "in"}"#, 400),
        ("POST /admin/functions/work", "", 400),
        ("POST /admin/functions/work", "null", 400),
        ("POST /admin/functions/warm", r#"{"input": "no json"}"#, 400),
        // Azure runs a disabled function for whoever holds the master key.
        ("POST /admin/functions/off", r#"{"input": "{}"}"#, 202),
        ("POST /admin/functions/nobody", "{}", 404),
    ] {
        assert_eq!(world.call(request, body).await.0, expected, "{request} {body}");
    }
    let headers = [("x-functions-key", "testMasterKey"), ("content-type", "text/plain")];
    let plain = world.raw("POST", "/admin/functions/work", &headers, "{}").await;
    assert_eq!(plain.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    world.tasks.stop(ingle_tasks::TaskKind::Invocation, Duration::from_secs(5)).await;
    let events = world.notes.events.lock().unwrap();
    let find = |name: &str| events.iter().find(|(function, _, _)| function == name).unwrap();
    assert_eq!(find("work").1, Datum::Text("soup".to_owned()));
    assert!(find("work").2.iter().any(|name| name == "DequeueCount"));
    assert!(matches!(&find("tidy").1, Datum::Json(text) if text.contains("IsPastDue")));
    assert!(
        matches!(&find("Order").1, Datum::Request(request) if request.body.joined() == r#"{"dish":"soup"}"#)
    );
    assert_eq!(find("off").1, Datum::Json("{}".to_owned()));
    assert_eq!(events.len(), 4);
    assert!(world.notes.records.lock().unwrap().contains(&"work manual queue success".to_owned()));
}

#[tokio::test]
async fn warming_up_runs_the_function_for_it() {
    let world = world();
    assert_eq!(world.call("GET /admin/warmup", "").await.0, 200);
    let events = world.notes.events.lock().unwrap();
    assert_eq!(events.iter().map(|(name, _, _)| name.as_str()).collect::<Vec<_>>(), ["warm"]);
}

#[tokio::test]
async fn keys_are_made_listed_and_deleted() {
    let world = world();
    let (status, made) = world.call("POST /admin/functions/order/keys/default", "").await;
    assert_eq!((status, made["value"].as_str().map(str::len)), (201, Some(56)));
    assert_eq!(world.call("POST /admin/functions/order/keys/default", "").await.0, 200);
    let put = r#"{"name": "partner", "value": "a-key-of-theirs"}"#;
    assert_eq!(world.call("PUT /admin/host/keys/partner", put).await.0, 201);
    assert_eq!(world.call("PUT /admin/host/functionkeys/partner", put).await.0, 200);
    assert_eq!(world.call("PUT /admin/host/keys/short", r#"{"value": "short"}"#).await.0, 400);
    assert_eq!(world.call("POST /admin/host/systemkeys/eventgrid_extension", "").await.0, 201);
    let (_, list) = world.call("GET /admin/host/keys", "").await;
    assert_eq!(list["keys"], serde_json::json!([{"name": "partner", "value": null}]));
    assert_eq!(world.call("GET /admin/host/keys/partner", "").await.1["value"], Value::Null);
    assert_eq!(world.call("GET /admin/functions/nobody/keys", "").await.0, 404);
    assert_eq!(world.call("DELETE /admin/host/keys/partner", "").await.0, 204);
    assert_eq!(world.call("DELETE /admin/host/keys/partner", "").await.0, 404);
    assert_eq!(world.call("DELETE /admin/host/systemkeys/_master", "").await.0, 400);
    // A host key named like the master key is an ordinary one.
    assert_eq!(world.call(&format!("POST /admin/host/keys/{MASTER}"), "").await.0, 201);
    let (_, renewed) = world.call("POST /admin/host/systemkeys/_master", "").await;
    assert_eq!(world.call("GET /admin/host/status", "").await.0, 401);
    let headers = [("x-functions-key", renewed["value"].as_str().unwrap())];
    assert_eq!(world.raw("GET", "/admin/host/status", &headers, "").await.status(), StatusCode::OK);
    let ring = world.guard.file().read().unwrap().unwrap();
    assert!(ring.has(&KeyScope::function("order"), DEFAULT));
}
