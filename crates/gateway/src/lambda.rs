//! Functions that take an event and answer with JSON, as handlers of AWS Lambda do, behind HTTP.
//!
//! [`url_event`] makes the event of a request to a function URL, [`reply`] the response of what the handler returned; [`api`] is the
//! call of AWS's API that runs a function, [`error`] what its caller is told of a failure, and [`log`] the end of its log. Shapes and rules are those that real ones were seen with (facts of Lambda, sections 3.8, 4.1 and 4.2).

pub(crate) mod api;
mod error;
mod log;
mod reply;
mod url_event;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use ingle_types::datum::{Body, Datum};
use ingle_types::event::{Delivery, Event, Invocation};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::{Failure, Outcome, Outputs};

use crate::caller::Client;
use crate::failure;
use crate::limits::Refusal;
use crate::service::{Door, run, trace};

/// Longest event and result, in bytes.
const PAYLOAD_BYTES_MAX: u64 = 6_291_556;
/// The output under which a worker gives back what the handler returned.
const RETURNED: &str = "$return";

/// The invocation for a request to a function URL.
///
/// # Errors
/// The answer to a request whose event would be too long.
pub(crate) fn invocation(
    door: &Door,
    function: FunctionName,
    head: &Parts,
    body: &Body,
) -> Result<Invocation, Response<Bytes>> {
    let (id, now) = (InvocationId::random(), door.rooms.clock.now());
    let trace = trace(head, id);
    let text = url_event::text(head, &body.joined(), (id, &trace), now);
    // What is no text has grown by a third.
    if text.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE));
    }
    let event = Event {
        summary: format!("{} {}", head.method, head.uri.path()),
        payload: Datum::Json(text),
        metadata: Vec::new(),
        delivery: Delivery::Direct,
        received_at: now,
        hop_count: trace.hop_count(),
        trace,
    };
    let caller = head.extensions.get::<Client>().map(|client| client.waits(head.version));
    Ok(Invocation { id, function, event, caller })
}

/// A body that was not taken.
pub(crate) fn body_refused(refusal: Refusal) -> Response<Bytes> {
    let mut response = refused(refusal.status());
    if refusal.closes_connection() {
        let close = http::HeaderValue::from_static("close");
        response.headers_mut().insert(http::header::CONNECTION, close);
    }
    response
}

/// Runs it to its end, answers and leaves a record.
pub(crate) async fn invoke(door: Arc<Door>, invocation: Invocation) -> Response<Bytes> {
    let id = invocation.id;
    let mut response = run(&door, invocation, |ended| answer(ended.outcome)).await;
    if let Ok(value) = http::HeaderValue::from_str(&id.uuid().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
    response
}

fn answer(outcome: Outcome) -> (Response<Bytes>, Option<Failure>) {
    let failed = match outcome {
        Outcome::Success(outputs) => match reply::respond(returned(&outputs)) {
            Ok(response) => return (response, None),
            Err(fault) => return (refused(StatusCode::BAD_GATEWAY), Some(fault.failure())),
        },
        failed => failed,
    };
    let Some(failure) = failed.failure() else { return (Response::default(), None) };
    // Whatever the code did wrong is the gateway's 502; what never ran has the status that says so.
    let status = match failure::status(&failed, failure) {
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT => StatusCode::BAD_GATEWAY,
        other => other,
    };
    (refused(status), Some(failure.clone()))
}

/// JSON text, or bytes as they are; a handler that returns nothing returns `null`.
fn returned(outputs: &Outputs) -> Bytes {
    match outputs.get(RETURNED) {
        Some(Datum::Json(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Datum::Bytes(bytes)) => bytes.clone(),
        _ => Bytes::from_static(b"null"),
    }
}

/// Tells nothing of what went wrong, which the log does.
fn refused(status: StatusCode) -> Response<Bytes> {
    let message = match status {
        StatusCode::BAD_GATEWAY => "Internal Server Error",
        status => status.canonical_reason().unwrap_or("Error"),
    };
    let body = match status {
        StatusCode::BAD_GATEWAY => message.to_owned(),
        _ => format!("{{\"Message\":\"{message}\"}}"),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
