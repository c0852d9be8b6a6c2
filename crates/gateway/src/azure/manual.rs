//! `POST /admin/functions/{name}`: runs any function now, with an input of the caller's.
//!
//! The answer is 202 as soon as the invocation is on its way, as in Azure; what became of it stands in the record that
//! every invocation leaves.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use ingle_tasks::TaskKind;
use ingle_types::datum::Datum;
use ingle_types::event::{Delivery, Event, Invocation, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::log::InvocationRecord;
use ingle_types::spec::{BlobTrigger, FunctionSpec, TriggerSpec};
use serde_json::Value;

use super::{Request, empty, refusal};
use crate::admin;
use crate::service::Rooms;

/// How long a queue keeps a message; only told to the function.
const MESSAGE_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) async fn trigger(request: &Request<'_>, function: &FunctionSpec) -> Response<Bytes> {
    let input = match input(request) {
        Ok(input) => input,
        Err(refused) => return refused,
    };
    if let TriggerSpec::Blob(trigger) = &function.trigger
        && !function.disabled
    {
        return prompt(request, function, trigger, &input).await;
    }
    match event(request, function, input) {
        Ok(event) => {
            let rooms = request.door.rooms.clone();
            let run = run(rooms.clone(), function.name.clone(), event);
            drop(rooms.tasks.spawn(TaskKind::Invocation, "manual", run));
            empty(StatusCode::ACCEPTED)
        }
        Err(refused) => refused,
    }
}

/// `container/name` of a blob that is there and fits the trigger. Its listener is told once more, so that the blob is
/// read, tried again and given up on as always.
async fn prompt(
    request: &Request<'_>,
    function: &FunctionSpec,
    trigger: &BlobTrigger,
    input: &str,
) -> Response<Bytes> {
    let (container, name) = input.trim_start_matches('/').split_once('/').unwrap_or((input, ""));
    if container != trigger.container || name.is_empty() || !trigger.pattern.is_match(name) {
        let message = format!("the input has to be the path of a blob such as {}", function.trigger.source());
        return refusal(StatusCode::BAD_REQUEST, "E0505", &message);
    }
    let (container, name) = (container.to_owned(), name.to_owned());
    match (request.door.rooms.blobs)(function.name.clone(), container, name).await {
        Ok(true) => empty(StatusCode::ACCEPTED),
        Ok(false) => super::not_found("there is no blob of this name"),
        Err(message) => refusal(StatusCode::SERVICE_UNAVAILABLE, "E0407", &message),
    }
}

/// `{"input": "text"}`. The content type has to be JSON, which a page of another site can't send without asking.
fn input(request: &Request<'_>) -> Result<String, Response<Bytes>> {
    let kind =
        request.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = "the content type has to be application/json";
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "E0505", message));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(members)) => Ok(match members.get("input") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }),
        _ => {
            let message = "the body has to be a JSON object such as {\"input\": \"text\"}";
            Err(refusal(StatusCode::BAD_REQUEST, "E0505", message))
        }
    }
}

/// The event that the function's own source would have made of this input.
pub(super) fn event(
    request: &Request<'_>,
    function: &FunctionSpec,
    input: String,
) -> Result<Event, Response<Bytes>> {
    let now = request.guard.clock().now();
    let (payload, metadata) = match &function.trigger {
        TriggerSpec::Http(_) => (admin::payload(function, None, Vec::new(), Bytes::from(input)), Vec::new()),
        TriggerSpec::Queue(_) => (Datum::Text(input.clone()), queue_metadata(input, now)),
        // The input has no meaning here: it is as if the schedule had come due now.
        TriggerSpec::Timer(trigger) => trigger.run_by_hand(now),
        TriggerSpec::Documents(_)
        | TriggerSpec::Handler(_)
        | TriggerSpec::EventGrid
        | TriggerSpec::Warmup => (Datum::Json(checked(input)?), Vec::new()),
        TriggerSpec::Blob(_) => {
            let message =
                "this function is disabled, so nobody waits for its blobs; enable it to run it by hand";
            return Err(refusal(StatusCode::BAD_REQUEST, "E0505", message));
        }
    };
    Ok(Event {
        payload,
        metadata,
        delivery: Delivery::Direct,
        received_at: now,
        trace: Trace::default(),
        hop_count: 0,
        summary: format!("manual {}", function.trigger.kind()),
    })
}

fn checked(input: String) -> Result<String, Response<Bytes>> {
    match serde_json::from_str::<serde::de::IgnoredAny>(&input) {
        Ok(_) => Ok(input),
        Err(error) => {
            let message = format!("this function's input has to be JSON: {error}");
            Err(refusal(StatusCode::BAD_REQUEST, "E0505", &message))
        }
    }
}

/// What a message brings along (facts 4.1), for one that never was in a queue.
fn queue_metadata(text: String, now: SystemTime) -> Vec<(String, Datum)> {
    let quoted = |time| Datum::Json(format!("\"{}\"", date(time)));
    let id = InvocationId::random().uuid().to_string();
    vec![
        ("QueueTrigger".to_owned(), Datum::Text(text)),
        ("DequeueCount".to_owned(), Datum::Int(1)),
        ("ExpirationTime".to_owned(), quoted(now + MESSAGE_LIFE)),
        ("Id".to_owned(), Datum::Text(id)),
        ("InsertionTime".to_owned(), quoted(now)),
        ("NextVisibleTime".to_owned(), quoted(now)),
        ("PopReceipt".to_owned(), Datum::Text(String::new())),
    ]
}

fn date(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// Runs to the end and leaves a record.
pub(super) async fn run(rooms: Rooms, function: FunctionName, mut event: Event) {
    let id = InvocationId::random();
    let span = &InvocationId::random().uuid().simple().to_string()[..16];
    event.trace.parent = format!("00-{}-{span}-01", id.uuid().simple());
    let (received_at, summary) = (event.received_at, event.summary.clone());
    let completion = rooms
        .invoker
        .invoke(Invocation { id, function: function.clone(), event, caller: None, exchange: None })
        .await;
    rooms.records.record(InvocationRecord {
        id,
        function,
        received_at,
        summary,
        outcome: completion.outcome.label(),
        status: None,
        phases: completion.phases,
        effects: completion.effects,
        failure: completion.outcome.failure().cloned(),
    });
}
