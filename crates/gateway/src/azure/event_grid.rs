//! `/runtime/webhooks/eventgrid?functionName=…`: events that Event Grid, or anybody who speaks as it does, delivers.
//!
//! A batch is answered with 202 only when every event of it has been worked on; anything else makes the sender deliver
//! it again, so nothing that was accepted is lost, and an event can come twice.
//!
//! Two handshakes prove to a sender that the receiver wants events. Neither lets a stranger use this server against
//! somebody else (T-044): no address out of a request is ever called, and what is sent back is checked to be a plain
//! code or host name, from a caller with a key, for a function that takes such events.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Response, StatusCode};
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::datum::Datum;
use ingle_types::event::{Delivery, Event, Invocation, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::log::InvocationRecord;
use ingle_types::outcome::Outcome;
use ingle_types::spec::TriggerSpec;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Request, empty, not_found, refusal};
use crate::request;
use crate::service::Rooms;

mod binary;

/// Name of the extension; its key is `eventgrid_extension`.
pub(super) const EXTENSION: &str = "eventgrid";
/// What Event Grid puts into one request at most.
const EVENTS_MAX: usize = 5000;
/// Events of one request in work at once.
const AT_ONCE: usize = 32;

const EVENT_TYPE_HEADER: &str = "aeg-event-type";
const ORIGIN_HEADER: &str = "webhook-request-origin";
const VALIDATION: &str = "Microsoft.EventGrid.SubscriptionValidationEvent";
/// A validation code is a GUID; a little more is let through, but nothing that could be markup or an address.
const CODE_CHARACTERS_MAX: usize = 128;
const ORIGIN_CHARACTERS_MAX: usize = 253;

pub(super) async fn answer(request: &Request<'_>) -> Response<Bytes> {
    let function = match function(request) {
        Ok(function) => function,
        Err(refused) => return refused,
    };
    match request.head.method {
        Method::OPTIONS => handshake(&request.head.headers),
        Method::POST => match read(&request.head.headers, &request.body) {
            Ok(Posted::Validation(code)) => super::json(StatusCode::OK, &json!({"validationResponse": code})),
            Ok(Posted::Nothing) => empty(StatusCode::ACCEPTED),
            Ok(Posted::Events(events)) => {
                let rooms = request.door.rooms.clone();
                let (tasks, name) = (rooms.tasks.clone(), function.clone());
                let trace = trace(&request.head.headers);
                // Goes on to its end also when the sender leaves.
                let work =
                    tasks.spawn(TaskKind::Invocation, "event grid", deliver(rooms, name, events, trace));
                work.await.unwrap_or_else(|_aborted| busy("the server is stopping", "E0309"))
            }
            Err(refused) => refused,
        },
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "E0502", "events are posted"),
    }
}

fn function(request: &Request<'_>) -> Result<FunctionName, Response<Bytes>> {
    let query = request.head.uri.query().unwrap_or_default();
    let pairs = request::query(query);
    let name = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case("functionName")).map(|(_, name)| name);
    let Some(name) = name else {
        let message = "the address has to name a function: ?functionName=…";
        return Err(refusal(StatusCode::BAD_REQUEST, "E0505", message));
    };
    let found = super::find(request, name).filter(|function| !function.disabled);
    match found {
        Some(function) if function.trigger == TriggerSpec::EventGrid => Ok(function.name.clone()),
        _ => Err(not_found("there is no function of this name with an eventGridTrigger")),
    }
}

/// Abuse protection of the CloudEvents webhook specification. The callback that a sender may ask for is not made: it
/// gets its answer at once.
fn handshake(headers: &HeaderMap) -> Response<Bytes> {
    let origin = text(headers, ORIGIN_HEADER);
    let is_name = !origin.is_empty()
        && origin.len() <= ORIGIN_CHARACTERS_MAX
        && origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
    let Some(origin) = HeaderValue::from_str(origin).ok().filter(|_| is_name) else {
        let message = "WebHook-Request-Origin has to name the host that wants to send";
        return refusal(StatusCode::BAD_REQUEST, "E0505", message);
    };
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert("webhook-allowed-origin", origin);
    headers.insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    headers.insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

fn trace(headers: &HeaderMap) -> Trace {
    Trace { parent: text(headers, "traceparent").to_owned(), state: text(headers, "tracestate").to_owned() }
}

/// What was posted.
#[derive(Debug)]
enum Posted {
    Validation(String),
    Events(Vec<Box<RawValue>>),
    /// A subscription has ended.
    Nothing,
}

/// The few members that are looked at. The rest of an event passes through as it was written.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "eventType", default)]
    event_type: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ValidationData {
    #[serde(rename = "validationCode")]
    code: String,
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Posted, Response<Bytes>> {
    let refused = |message: &str| Err(refusal(StatusCode::BAD_REQUEST, "E0505", message));
    let content_type = text(headers, CONTENT_TYPE.as_str()).to_lowercase();
    let is_cloud_events = content_type.starts_with("application/cloudevents");
    match text(headers, EVENT_TYPE_HEADER).to_lowercase().as_str() {
        "subscriptionvalidation" => {}
        "notification" => return events(body).map(Posted::Events),
        "unsubscribe" | "subscriptiondeletion" => return Ok(Posted::Nothing),
        "" if is_cloud_events => return events(body).map(Posted::Events),
        "" if binary::is_binary(headers) => {
            return match binary::event(headers, body) {
                Ok(event) => Ok(Posted::Events(vec![event])),
                Err(message) => refused(&message),
            };
        }
        "" => {
            return refused(
                "the header aeg-event-type is missing: Notification for events of Event Grid; or, for CloudEvents, a \
                 content type application/cloudevents+json or the headers ce-id, ce-source, ce-specversion and ce-type",
            );
        }
        _ => return refused("aeg-event-type can be SubscriptionValidation, Notification or Unsubscribe"),
    }
    let events = events(body)?;
    let [event] = events.as_slice() else { return refused("a validation is one event") };
    let envelope: Result<Envelope<'_>, _> = serde_json::from_str(event.get());
    let data = match envelope {
        Ok(Envelope { event_type: Some(kind), data: Some(data) }) if kind == VALIDATION => data,
        _ => return refused("this is no SubscriptionValidationEvent"),
    };
    let is_code = |code: &str| {
        !code.is_empty()
            && code.len() <= CODE_CHARACTERS_MAX
            && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match serde_json::from_str::<ValidationData>(data.get()) {
        Ok(ValidationData { code }) if is_code(&code) => Ok(Posted::Validation(code)),
        _ => refused("data.validationCode has to be a plain code"),
    }
}

/// The events of a list, or the one event, each as it was written.
fn events(body: &[u8]) -> Result<Vec<Box<RawValue>>, Response<Bytes>> {
    let refused = |message: String| refusal(StatusCode::BAD_REQUEST, "E0505", &message);
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let parsed: Result<Vec<Box<RawValue>>, _> = if is_list {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|event| vec![event])
    };
    let events = parsed.map_err(|error| refused(format!("the events are no JSON: {error}")))?;
    if events.len() > EVENTS_MAX {
        let message = format!("there are {} events, and the limit is {EVENTS_MAX}", events.len());
        return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "E0503", &message));
    }
    match events.iter().position(|event| !event.get().starts_with('{')) {
        Some(index) => Err(refused(format!("event {} is no JSON object", index + 1))),
        None => Ok(events),
    }
}

/// Runs the function once for each event. A batch is told to be done only if all of it is.
async fn deliver(
    rooms: Rooms,
    function: FunctionName,
    events: Vec<Box<RawValue>>,
    trace: Trace,
) -> Response<Bytes> {
    let count = events.len();
    let mut failed = 0;
    let mut codes: Vec<&'static str> = Vec::new();
    let mut events = events.into_iter().peekable();
    while events.peek().is_some() {
        let together = events.by_ref().take(AT_ONCE);
        let outcomes = run_together(&rooms, &function, together, &trace).await;
        for outcome in &outcomes {
            let Some(failure) = outcome.failure() else { continue };
            failed += 1;
            if !codes.contains(&failure.code) {
                codes.push(failure.code);
            }
        }
        if let Some(code) = outcomes.iter().find_map(rejection) {
            return busy("not every event could be worked on now; send the batch again", code);
        }
    }
    if failed == 0 {
        return empty(StatusCode::ACCEPTED);
    }
    let message = format!("{failed} of {count} events failed ({}); send the batch again", codes.join(", "));
    refusal(StatusCode::INTERNAL_SERVER_ERROR, codes[0], &message)
}

fn rejection(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Rejected(failure) | Outcome::Cancelled(failure) => Some(failure.code),
        Outcome::Success(_) | Outcome::Failed(_) | Outcome::TimedOut(_) => None,
    }
}

async fn run_together(
    rooms: &Rooms,
    function: &FunctionName,
    events: impl Iterator<Item = Box<RawValue>>,
    trace: &Trace,
) -> Vec<Outcome> {
    let tasks: Tasks = rooms.tasks.clone();
    let started: Vec<_> = events
        .map(|event| {
            let work = run(rooms.clone(), function.clone(), event, trace.clone());
            tasks.spawn(TaskKind::Invocation, "event grid", work)
        })
        .collect();
    let mut outcomes = Vec::with_capacity(started.len());
    for task in started {
        // A panic is logged where it happens; the event counts as not done.
        outcomes.push(task.await.unwrap_or_else(|_panicked| Outcome::Rejected(lost())));
    }
    outcomes
}

fn lost() -> ingle_types::outcome::Failure {
    let blame = ingle_types::outcome::Blame::Platform;
    ingle_types::outcome::Failure::new(blame, "E0309", "Stopping", "the server is stopping")
}

async fn run(rooms: Rooms, function: FunctionName, event: Box<RawValue>, mut trace: Trace) -> Outcome {
    let id = InvocationId::random();
    if trace.parent.is_empty() {
        let span = &InvocationId::random().uuid().simple().to_string()[..16];
        trace.parent = format!("00-{}-{span}-01", id.uuid().simple());
    }
    let envelope: Option<Envelope<'_>> = serde_json::from_str(event.get()).ok();
    let data = envelope.and_then(|envelope| envelope.data).map(|data| data.get().to_owned());
    let metadata = data.map(|data| ("data".to_owned(), Datum::Json(data))).into_iter().collect();
    let (received_at, summary) = (rooms.clock.now(), "event grid".to_owned());
    let event = Event {
        payload: Datum::Json(event.get().to_owned()),
        metadata,
        delivery: Delivery::Direct,
        received_at,
        hop_count: trace.hop_count(),
        trace,
        summary: summary.clone(),
    };
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
    completion.outcome
}

fn busy(message: &str, code: &str) -> Response<Bytes> {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, code, message);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests;
