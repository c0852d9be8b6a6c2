//! Functions that take an event and answer with JSON, as handlers of AWS Lambda do, behind HTTP.
//!
//! [`url_event`] makes the event of a request to a function URL or an HTTP API, [`reply`] the response of what the handler returned,
//! [`rest_event`] and [`rest_reply`] the same for a REST API, [`alb_event`] and [`alb_reply`] for a load balancer, [`forwarded`] what all of these tell of where a request comes from, [`pieces`] the answers that go in pieces; [`api`] has the calls of AWS's API that run a function (one of them answers as an [`event_stream`]), [`error`] what
//! its caller is told of a failure, and [`log`] the end of its log. Shapes and rules are those that real ones were seen with (facts
//! of Lambda, sections 3.8, 4.1 and 4.2).

mod alb_event;
pub(crate) mod alb_reply;
pub(crate) mod api;
mod error;
mod event_stream;
mod forwarded;
mod log;
pub(crate) mod pieces;
mod reply;
pub(crate) mod rest_event;
mod rest_reply;
pub(crate) mod url_event;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use ingle_tasks::{Detach, TaskKind};
use ingle_types::datum::{Body, Datum};
use ingle_types::event::{Completion, Delivery, Event, Invocation, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::{Failure, Outcome, Outputs};
use ingle_types::spec::TriggerSpec;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use self::reply::Fault;
use crate::apis::{self, Format, Matched, Route};
use crate::caller::Client;
use crate::limits::Refusal;
use crate::service::{Door, run, trace};
use crate::{failure, front};

/// Longest event and result, in bytes.
const PAYLOAD_BYTES_MAX: u64 = 6_291_556;
/// The output under which a worker gives back what the handler returned.
const RETURNED: &str = "$return";

/// Stands for an account where there is none.
pub(crate) const ACCOUNT: &str = "000000000000";
/// How long a REST API waits for a function; an HTTP API waits a second more.
const REST_PATIENCE: Duration = Duration::from_secs(29);

/// An object with its members in this order; no name is there twice.
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// An event that was made here.
struct Made {
    id: InvocationId,
    trace: Trace,
    /// JSON.
    text: String,
    summary: String,
}

impl Made {
    /// The invocation with it, now. `head`: of the request of a caller who waits, if there is one.
    fn invocation(self, door: &Door, function: FunctionName, head: Option<&Parts>) -> Invocation {
        let Self { id, trace, text, summary } = self;
        let event = Event {
            summary,
            payload: Datum::Json(text),
            metadata: Vec::new(),
            delivery: Delivery::Direct,
            received_at: door.rooms.clock.now(),
            hop_count: trace.hop_count(),
            trace,
        };
        let client = |head: &Parts| head.extensions.get::<Client>().map(|client| client.waits(head.version));
        Invocation { id, function, event, caller: head.and_then(client), exchange: None }
    }
}

/// What the log says of a request.
fn summary(head: &Parts) -> String {
    format!("{} {}", head.method, head.uri.path())
}

/// The invocation for a request to a function URL, or to what has matched it.
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
    let text = event_text(head, &body.joined(), (id, &trace), head.extensions.get(), now);
    // What is no text has grown by a third.
    if text.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(Source::of(head).refused(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(Made { id, trace, text, summary: summary(head) }.invocation(door, function, Some(head)))
}

/// The event of a request as JSON text, in the format of what has matched it, or of a function URL.
pub(crate) fn event_text(
    head: &Parts,
    body: &[u8],
    made: (InvocationId, &Trace),
    matched: Option<&Matched>,
    now: SystemTime,
) -> String {
    let Some(matched) = matched else { return url_event::text(head, body, made, None, now) };
    match &matched.route.format {
        Format::Rest { .. } | Format::Http1 => rest_event::text(head, body, made, matched, now),
        Format::Http2 => url_event::text(head, body, made, Some(matched), now),
        Format::Alb { target_group, multi_value } => {
            alb_event::text(head, body, made.1, (target_group, *multi_value))
        }
    }
}

/// Says which invocation it was.
fn name_request(response: &mut Response<Bytes>, id: InvocationId) {
    if let Ok(value) = http::HeaderValue::from_str(&id.uuid().to_string()) {
        response.headers_mut().insert("x-amzn-requestid", value);
    }
}

/// Runs it to its end, answers and leaves a record.
async fn invoke(door: Arc<Door>, invocation: Invocation, source: Source) -> Response<Bytes> {
    let id = invocation.id;
    let mut response = run(&door, invocation, |ended| source.answer(ended.outcome)).await;
    name_request(&mut response, id);
    response
}

/// Runs the handler behind a door with an event that was made here, and leaves a record; its result, as JSON text.
///
/// # Errors
/// It failed, or there is none to run.
pub(crate) async fn ask(
    door: &Arc<Door>,
    (id, trace): (InvocationId, Trace),
    event: String,
    summary: String,
) -> Result<Bytes, Option<Failure>> {
    let function = door.site.handlers.iter().next().cloned().ok_or(None)?;
    let invocation = Made { id, trace, text: event, summary }.invocation(door, function, None);
    let (tasks, door) = (door.rooms.tasks.clone(), door.clone());
    let asked = async move {
        let mut said = Err(None);
        let told = |ended: Completion| {
            let failure = ended.outcome.failure().cloned();
            said = match &ended.outcome {
                Outcome::Success(outputs) => Ok(returned(outputs)),
                _ => Err(failure.clone()),
            };
            (Response::default(), failure)
        };
        drop(run(&door, invocation, told).await);
        said
    };
    // Its record is written also when who wanted to know is gone.
    Detach::new(tasks, TaskKind::Invocation, asked).await
}

/// The whole of a request to a handler: its invocation, which begins when the answer is waited for.
///
/// # Errors
/// The answer to a request of which no event could be made.
pub(crate) fn answered(
    door: &Arc<Door>,
    function: FunctionName,
    head: &Parts,
    body: &Body,
) -> Result<impl Future<Output = Response<Bytes>> + use<>, Response<Bytes>> {
    let (door, source) = (door.clone(), Source::of(head));
    let planned = match behind_templates(&door, &function, head, body)? {
        Some(planned) => planned,
        None => Planned::Run(invocation(&door, function, head, body)?),
    };
    Ok(async move {
        match planned {
            Planned::Run(invocation) => invoke(door, invocation, source).await,
            Planned::Mapped(invocation, mapped) => invoke_behind_templates(door, invocation, *mapped).await,
            Planned::Answered(answer) => answer,
        }
    })
}

/// What is done with a request.
enum Planned {
    Run(Invocation),
    Mapped(Invocation, Box<front::Mapped>),
    /// There is no function behind the route.
    Answered(Response<Bytes>),
}

/// What mapping templates make of a request; `None` for a route without.
///
/// # Errors
/// The answer to a request of which no event could be made.
fn behind_templates(
    door: &Door,
    function: &FunctionName,
    head: &Parts,
    body: &Body,
) -> Result<Option<Planned>, Response<Bytes>> {
    let (id, now) = (InvocationId::random(), door.rooms.clock.now());
    let trace = trace(head, id);
    let request = |matched: &Matched| {
        let text = rest_event::text(head, b"", (id, &trace), matched, now);
        serde_json::from_str(&text).unwrap_or_default()
    };
    let Some(mut mapped) = front::mapped(head, body, request)? else { return Ok(None) };
    if let Some(answer) = mapped.without_function() {
        return Ok(Some(Planned::Answered(answer)));
    }
    let made = Made { id, trace, text: std::mem::take(&mut mapped.event), summary: summary(head) };
    Ok(Some(Planned::Mapped(made.invocation(door, function.clone(), Some(head)), Box::new(mapped))))
}

/// Runs it to its end, answers by the templates and leaves a record.
async fn invoke_behind_templates(
    door: Arc<Door>,
    invocation: Invocation,
    mapped: front::Mapped,
) -> Response<Bytes> {
    let id = invocation.id;
    let spec = door.site.functions.iter().find(|spec| spec.name == invocation.function);
    let timeout = spec.and_then(|spec| match &spec.trigger {
        TriggerSpec::Handler(handler) => Some(handler.timeout),
        _ => None,
    });
    let told = |ended: Completion| {
        let failure = ended.outcome.failure().cloned();
        let response = match (&ended.outcome, &failure) {
            (Outcome::Success(outputs), _) => {
                mapped.answer(&String::from_utf8_lossy(&returned(outputs)), None)
            }
            (_, Some(failure)) if failure.started => {
                let text = error::text(failure, timeout.unwrap_or_default(), id);
                let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                mapped.answer(&text, Some(said["errorMessage"].as_str().unwrap_or_default()))
            }
            _ => apis::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error"),
        };
        (response, failure)
    };
    let mut response = run(&door, invocation, told).await;
    name_request(&mut response, id);
    response
}

/// Where a request came from, which decides what its answer looks like.
pub(crate) enum Source {
    Url,
    /// The route of an API, with the headers of the request.
    Api(Arc<Route>, HeaderMap),
}

impl Source {
    pub(crate) fn of(head: &Parts) -> Self {
        match head.extensions.get::<Matched>() {
            Some(matched) => Self::Api(matched.route.clone(), head.headers.clone()),
            None => Self::Url,
        }
    }

    /// Longest body, where the app takes bodies of up to `of_app` bytes.
    pub(crate) fn body_bytes_max(&self, of_app: u64) -> u64 {
        match self {
            Self::Api(route, _) if matches!(route.format, Format::Alb { .. }) => {
                of_app.min(alb_reply::BYTES_MAX)
            }
            Self::Api(..) | Self::Url => of_app,
        }
    }

    /// The answer to a body that was not taken.
    pub(crate) fn body_refused(&self, refusal: Refusal) -> Response<Bytes> {
        let mut response = self.refused(refusal.status());
        if refusal.closes_connection() {
            let close = http::HeaderValue::from_static("close");
            response.headers_mut().insert(http::header::CONNECTION, close);
        }
        response
    }

    /// The answer to a request of which no event could be made.
    fn refused(&self, status: StatusCode) -> Response<Bytes> {
        match self {
            Self::Api(route, _) if matches!(route.format, Format::Alb { .. }) => alb_reply::page(status),
            Self::Api(..) | Self::Url => refused(status),
        }
    }

    /// How long its callers wait; as long as the function runs without it.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let Self::Api(route, _) = self else { return None };
        match route.format {
            Format::Rest { .. } => Some(REST_PATIENCE),
            Format::Http1 | Format::Http2 => Some(REST_PATIENCE + Duration::from_secs(1)),
            Format::Alb { .. } => None,
        }
    }

    /// The answer to who has waited for so long.
    pub(crate) fn too_late(&self) -> Response<Bytes> {
        match self {
            Self::Api(route, _) if route.format == Format::Http2 || route.format == Format::Http1 => {
                apis::message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
            }
            _ => apis::message(StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out"),
        }
    }

    fn answer(self, outcome: Outcome) -> (Response<Bytes>, Option<Failure>) {
        let failed = match outcome {
            Outcome::Success(outputs) => return self.sent(self.respond(returned(&outputs))),
            failed => failed,
        };
        let Some(failure) = failed.failure() else { return (Response::default(), None) };
        // Whatever the code did wrong is the gateway's 502; what never ran has the status that says so.
        let status = match failure::status(&failed, failure) {
            StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT => StatusCode::BAD_GATEWAY,
            other => other,
        };
        (self.failed(status), Some(failure.clone()))
    }

    /// What was returned, if it is a response.
    fn sent(&self, response: Result<Response<Bytes>, Fault>) -> (Response<Bytes>, Option<Failure>) {
        match response {
            Ok(response) => (response, None),
            Err(fault) => (self.failed(StatusCode::BAD_GATEWAY), Some(fault.failure())),
        }
    }

    fn respond(&self, returned: Bytes) -> Result<Response<Bytes>, Fault> {
        let Self::Api(route, asked) = self else { return reply::respond(returned) };
        let mut response = match &route.format {
            Format::Rest { .. } | Format::Http1 => rest_reply::respond(&route.format, asked, &returned)?,
            Format::Http2 => reply::respond(returned)?,
            Format::Alb { multi_value, .. } => alb_reply::respond(*multi_value, &returned)?,
        };
        apis::decorate(route, asked, response.headers_mut());
        Ok(response)
    }

    /// Facts of Lambda, section 4.2: all of them say the same in their own ways.
    fn failed(&self, status: StatusCode) -> Response<Bytes> {
        let Self::Api(route, asked) = self else { return refused(status) };
        let mut response = match (&route.format, status) {
            (Format::Alb { .. }, status) => alb_reply::page(status),
            (Format::Rest { .. }, StatusCode::BAD_GATEWAY) => apis::message(status, "Internal server error"),
            (Format::Http1 | Format::Http2, StatusCode::BAD_GATEWAY) => {
                apis::message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
            (_, other) => apis::message(other, other.canonical_reason().unwrap_or("Error")),
        };
        apis::decorate(route, asked, response.headers_mut());
        response
    }
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
