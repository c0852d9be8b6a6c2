//! The calls of AWS's Lambda API that run a function, and wait for its result or not, as boto3, the AWS CLI and other functions make
//! them (facts of Lambda, sections 3.1 to 3.3, 3.7, 1.5 and 1.11).
//!
//! | `POST` | is |
//! |---|---|
//! | `/2015-03-31/functions/{name}/invocations` | `Invoke` |
//! | `/2021-11-15/functions/{name}/response-streaming-invocations` | `InvokeWithResponseStream`: the result as messages, as it comes |
//! | `/2014-11-13/functions/{name}/invoke-async` | `InvokeAsync`, which is old |
//!
//! It stands on the port of the function URL. Whoever may call the doors below `/admin` of an Azure app may call it; a signature
//! is neither asked for nor looked at.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use ingle_tasks::{Detach, TaskKind};
use ingle_types::datum::Datum;
use ingle_types::event::{Completion, Delivery, Event, Invocation};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::{Failure, Outcome};
use ingle_types::spec::{FunctionSpec, HandlerTrigger, TriggerSpec};
use serde_json::{Value, json};

use super::{PAYLOAD_BYTES_MAX, error, event_stream, log, name_request, pieces, returned};
use crate::auth::{Guard, Requirement};
use crate::caller::Client;
use crate::failure;
use crate::limits::Refusal;
use crate::route::path::RequestPath;
use crate::service::{Door, Outstanding, Served, read_body, run, trace};

pub(super) const LATEST: &str = "$LATEST";
/// Longest `X-Amz-Client-Context`, in bytes as it is sent.
const CLIENT_CONTEXT_MAX: usize = 3583;
/// Longest event that nobody waits for, in bytes.
const LATER_BYTES_MAX: usize = 1024 * 1024;

/// Longest name of an alias, in bytes.
const QUALIFIER_MAX: usize = 128;

/// Which call it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Invoke,
    InvokeWithResponseStream,
    InvokeAsync,
}

/// A function with what it is.
type Named = (FunctionName, HandlerTrigger);

/// What a path of this API asks for.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    operation: Operation,
    /// The function, as it is named there.
    named: String,
}

/// What a path asks for, if it is one of this API.
pub(crate) fn asked(path: &RequestPath<'_>) -> Option<Asked> {
    let [version, functions, name, what] = path.segments.as_slice() else { return None };
    let operation = match (version.as_ref(), what.as_ref()) {
        ("2015-03-31", "invocations") => Operation::Invoke,
        ("2021-11-15", "response-streaming-invocations") => Operation::InvokeWithResponseStream,
        ("2014-11-13", "invoke-async") => Operation::InvokeAsync,
        _ => return None,
    };
    (functions == "functions").then(|| Asked { operation, named: name.to_string() })
}

/// The name of the function that a path of this API names, without account and qualifier.
pub(crate) fn name_in(path: &str) -> Option<String> {
    let asked = asked(&RequestPath::parse(path).ok()?)?;
    Some(split(&asked.named).0.to_owned())
}

/// Answers a call.
///
/// # Errors
/// The answer to one who may not make it.
pub(crate) async fn invoke(
    door: &Arc<Door>,
    guard: &Guard,
    head: Parts,
    (asked, body): (&Asked, Incoming),
    outstanding: Outstanding,
) -> Result<Served, Response<Bytes>> {
    guard.check(&head, Requirement::Admin)?;
    let named = named(door, &head, asked)?;
    let body = read_body(&head, body, door.site.http.body_bytes_max).await.map_err(too_large)?;
    run_call(door, head, (asked.operation, named), &body.joined(), outstanding).await
}

/// Answers a call that was let in already, whose body is read. Its answer is whole, also where others get it in pieces.
///
/// # Errors
/// The answer to a call that can't be run.
pub(crate) async fn invoke_within(
    door: &Arc<Door>,
    head: Parts,
    (asked, body): (&Asked, &Bytes),
    outstanding: Outstanding,
) -> Result<Response<Bytes>, Response<Bytes>> {
    let named = named(door, &head, asked)?;
    let in_messages = asked.operation == Operation::InvokeWithResponseStream;
    let operation = if in_messages { Operation::Invoke } else { asked.operation };
    match run_call(door, head, (operation, named), body, outstanding).await? {
        Served::Whole(answer) if in_messages => Ok(as_messages(answer)),
        Served::Whole(answer) => Ok(answer),
        Served::Streamed(answer) => Ok(answer.map(|_| Bytes::new())),
    }
}

/// The function that a call is for.
fn named(door: &Door, head: &Parts, asked: &Asked) -> Result<Named, Response<Bytes>> {
    if head.method != Method::POST {
        return Err(refused(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowedException", "use POST"));
    }
    let qualifier = head.uri.query().and_then(|query| crate::request::first_query_value(query, "Qualifier"));
    find(door, &asked.named, qualifier.as_deref())
}

async fn run_call(
    door: &Arc<Door>,
    head: Parts,
    (operation, (function, handler)): (Operation, Named),
    body: &[u8],
    outstanding: Outstanding,
) -> Result<Served, Response<Bytes>> {
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let client_context = client_context(text("x-amz-client-context"))?;
    let event = event(body)?;
    let is_later = match (operation, text("x-amz-invocation-type")) {
        (Operation::InvokeAsync, _) | (Operation::Invoke, "Event") => true,
        (_, "" | "RequestResponse") => false,
        (_, "DryRun") => return Ok(Served::Whole(with_status(StatusCode::NO_CONTENT, String::new()))),
        (Operation::Invoke, other) => {
            return Err(not_one_of("invocationType", other, "Event, RequestResponse, DryRun"));
        }
        (_, other) => return Err(not_one_of("invocationType", other, "RequestResponse, DryRun")),
    };
    let wants_log = match text("x-amz-log-type") {
        "" | "None" => false,
        "Tail" => true,
        other => return Err(not_one_of("logType", other, "None, Tail")),
    };
    if is_later && event.len() > LATER_BYTES_MAX {
        return Err(too_long(LATER_BYTES_MAX));
    }
    let (id, now) = (InvocationId::random(), door.rooms.clock.now());
    let trace = trace(&head, id);
    let event = Event {
        summary: "invoke".to_owned(),
        payload: Datum::Json(event),
        metadata: client_context
            .map(|context| ("client_context".to_owned(), Datum::Json(context)))
            .into_iter()
            .collect(),
        delivery: Delivery::Direct,
        received_at: now,
        hop_count: trace.hop_count(),
        trace,
    };
    let caller = head.extensions.get::<Client>().map(|client| client.waits(head.version));
    let tasks = door.rooms.tasks.clone();
    if is_later {
        let invocation = Invocation { id, function, event, caller: None, exchange: None };
        let mut taken = Detach::new(tasks, TaskKind::Invocation, take(door.clone(), invocation)).await;
        if operation == Operation::InvokeAsync && taken.status() == StatusCode::ACCEPTED {
            *taken.body_mut() = Bytes::from_static(b"{\"Status\":202}");
        }
        return Ok(Served::Whole(taken));
    }
    let invocation = Invocation { id, function, event, caller, exchange: None };
    if operation == Operation::InvokeWithResponseStream {
        return pieces::serve_call(door, invocation, (&head, handler), wants_log, outstanding).await;
    }
    let call = call(door.clone(), handler, invocation, wants_log);
    Ok(Served::Whole(Detach::new(tasks, TaskKind::Invocation, call).await))
}

/// An answer of `Invoke` as one of `InvokeWithResponseStream`: what went wrong, and the log, are told at the end.
pub(super) fn as_messages(answered: Response<Bytes>) -> Response<Bytes> {
    if answered.status() != StatusCode::OK {
        return answered;
    }
    let (mut head, body) = answered.into_parts();
    let log = head.headers.remove("x-amz-log-result");
    let log = log.as_ref().and_then(|log| log.to_str().ok());
    let error = head
        .headers
        .remove("x-amz-function-error")
        .map(|_| serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))));
    let body = event_stream::body(error.as_ref().map_or(Ok(&body), Err), log);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(event_stream::CONTENT_TYPE));
    Response::from_parts(head, body)
}

async fn call(
    door: Arc<Door>,
    handler: HandlerTrigger,
    invocation: Invocation,
    wants_log: bool,
) -> Response<Bytes> {
    let began = invocation.event.received_at;
    let told = |ended: Completion| {
        let times = log::Times { began, ended: door.rooms.clock.now() };
        let log = wants_log.then(|| log::tail(&ended, &handler, times));
        told(&ended, &handler, log)
    };
    run(&door, invocation, told).await
}

/// The answer to a call that is over, with the `log` of its invocation if that was asked for; and what went wrong.
pub(super) fn told(
    ended: &Completion,
    handler: &HandlerTrigger,
    log: Option<String>,
) -> (Response<Bytes>, Option<Failure>) {
    let failure = ended.outcome.failure().cloned();
    let mut response = answer(&ended.outcome, handler, ended.id);
    // What did not run has said nothing.
    let log = log.filter(|_| failure.as_ref().is_none_or(|failure| failure.started));
    if let Some(Ok(value)) = log.map(|log| HeaderValue::from_str(&log)) {
        response.headers_mut().insert("x-amz-log-result", value);
    }
    (response, failure)
}

/// Takes an event for later. Whoever is told so can rely on it.
async fn take(door: Arc<Door>, invocation: Invocation) -> Response<Bytes> {
    let id = invocation.id;
    let mut response = match (door.rooms.later)(invocation).await {
        Ok(()) => with_status(StatusCode::ACCEPTED, String::new()),
        Err(message) => {
            let body = json!({"Type": "Service", "Message": format!("the event was not taken: {message}")});
            error_of(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", &body)
        }
    };
    name_request(&mut response, id);
    response
}

/// A function that fails is no error of the call: its status is 200, and a header tells.
fn answer(outcome: &Outcome, handler: &HandlerTrigger, id: InvocationId) -> Response<Bytes> {
    let mut response = match (outcome, outcome.failure()) {
        (Outcome::Success(outputs), _) => with_status(StatusCode::OK, returned(outputs)),
        (_, None) => with_status(StatusCode::OK, String::new()),
        (_, Some(failure)) if failure.started => {
            let mut response = with_status(StatusCode::OK, error::text(failure, handler.timeout, id));
            response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
            response
        }
        (outcome, Some(failure)) => not_run(outcome, failure),
    };
    name_request(&mut response, id);
    response.headers_mut().insert("x-amz-executed-version", HeaderValue::from_static(LATEST));
    response
}

fn not_run(outcome: &Outcome, failure: &Failure) -> Response<Bytes> {
    if failure::status(outcome, failure) == StatusCode::TOO_MANY_REQUESTS {
        let body = json!({"Type": "User", "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."});
        return error_of(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", &body);
    }
    let message = format!("{} ({})", failure.message, failure.code);
    let body = json!({"Type": "Service", "Message": message});
    error_of(StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", &body)
}

fn find(door: &Door, named: &str, qualifier: Option<&str>) -> Result<Named, Response<Bytes>> {
    let (name, own) = split(named);
    if let (Some(own), Some(other)) = (own, qualifier)
        && own != other
    {
        let message = "The derived qualifier from the function name does not match the specified qualifier.";
        return Err(refused(StatusCode::BAD_REQUEST, "InvalidParameterValueException", message));
    }
    let qualifier = own.or(qualifier);
    let is_named = |function: &&FunctionSpec| function.name.as_str() == name && !function.disabled;
    let found = door.site.functions.iter().find(is_named).and_then(|function| match &function.trigger {
        TriggerSpec::Handler(handler) => Some((function.name.clone(), handler.clone())),
        _ => None,
    });
    match found {
        Some(found) if qualifier.is_none_or(is_qualifier) => Ok(found),
        _ => {
            let qualifier = qualifier.map(|qualifier| format!(":{qualifier}")).unwrap_or_default();
            let arn = format!("arn:aws:lambda:{}:000000000000:function:{name}{qualifier}", door.site.region);
            let body = json!({"Type": "User", "Message": format!("Function not found: {arn}")});
            Err(error_of(StatusCode::NOT_FOUND, "ResourceNotFoundException", &body))
        }
    }
}

/// Whether it can be an alias or a version. There is one version of a function here, and all of them lead to it.
fn is_qualifier(text: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_');
    text == LATEST || (1..=QUALIFIER_MAX).contains(&text.len()) && text.bytes().all(is_letter)
}

/// `name`, `account:name`, `account:function:name` or a whole ARN, each with a qualifier or without.
fn split(named: &str) -> (&str, Option<&str>) {
    let parts: Vec<&str> = named.split(':').collect();
    let is_account = |part: &str| part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_digit());
    match parts.as_slice() {
        ["arn", _, "lambda", _, _, "function", name, rest @ ..] => (name, rest.first().copied()),
        [account, "function", name, rest @ ..] if is_account(account) => (name, rest.first().copied()),
        [account, name, rest @ ..] if is_account(account) => (name, rest.first().copied()),
        [name, rest @ ..] => (name, rest.first().copied()),
        [] => (named, None),
    }
}

/// No payload is an empty event.
fn event(body: &[u8]) -> Result<String, Response<Bytes>> {
    if body.is_empty() {
        return Ok("{}".to_owned());
    }
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|error| error.to_string());
    let text = parsed.and_then(|_| String::from_utf8(body.to_vec()).map_err(|error| error.to_string()));
    text.map_err(|error| {
        let message =
            format!("Could not parse request body into json: Could not parse payload into json: {error}");
        refused(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &message)
    })
}

fn client_context(sent: &str) -> Result<Option<String>, Response<Bytes>> {
    if sent.is_empty() {
        return Ok(None);
    }
    let decoded = (sent.len() <= CLIENT_CONTEXT_MAX).then(|| STANDARD.decode(sent).ok()).flatten();
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let is_object = |text: &String| matches!(serde_json::from_str(text), Ok(Value::Object(_)));
    text.filter(is_object).map(Some).ok_or_else(|| {
        let message = "Client context must be a valid Base64-encoded JSON object of at most 3583 bytes.";
        refused(StatusCode::BAD_REQUEST, "InvalidRequestContentException", message)
    })
}

fn too_long(most: impl std::fmt::Display) -> Response<Bytes> {
    let message = format!("Request must be smaller than {most} bytes for the InvokeFunction operation");
    refused(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &message)
}

fn not_one_of(member: &str, value: &str, allowed: &str) -> Response<Bytes> {
    let message = format!("Value '{value}' at '{member}' is none of {allowed}");
    refused(StatusCode::BAD_REQUEST, "ValidationException", &message)
}

fn too_large(refusal: Refusal) -> Response<Bytes> {
    match refusal.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_long(PAYLOAD_BYTES_MAX),
        status => refused(status, "InvalidRequestContentException", &refusal.to_string()),
    }
}

/// Old clients look for one of the two spellings, new ones for the header.
fn refused(status: StatusCode, kind: &'static str, message: &str) -> Response<Bytes> {
    error_of(status, kind, &json!({"Type": "User", "Message": message, "message": message}))
}

fn error_of(status: StatusCode, kind: &'static str, body: &Value) -> Response<Bytes> {
    let mut response = with_status(status, body.to_string());
    response.headers_mut().insert("x-amzn-errortype", HeaderValue::from_static(kind));
    response
}

fn with_status(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_named_in_many_ways() {
        let check = |named: &str, name: &str, qualifier: Option<&str>| {
            assert_eq!(split(named), (name, qualifier), "{named}");
        };
        check("f", "f", None);
        check("f:prod", "f", Some("prod"));
        check("123456789012:f", "f", None);
        check("123456789012:function:f:$LATEST", "f", Some("$LATEST"));
        check("arn:aws:lambda:us-east-1:123456789012:function:f", "f", None);
        check("arn:aws-cn:lambda:cn-north-1:123456789012:function:f:7", "f", Some("7"));
        check("", "", None);
    }

    #[test]
    fn every_alias_and_version_leads_to_the_function() {
        for good in ["$LATEST", "7", "live", "blue-green_2"] {
            assert!(is_qualifier(good), "{good}");
        }
        for bad in ["", "$latest", "a b", "a:b", "../x", &"x".repeat(129)] {
            assert!(!is_qualifier(bad), "{bad}");
        }
    }

    #[test]
    fn calls_are_told_by_version_and_path() {
        let check = |path: &str, expected: Option<Operation>| {
            let asked = asked(&RequestPath::parse(path).unwrap());
            let expected = expected.map(|operation| Asked { operation, named: "f:1".to_owned() });
            assert_eq!(asked, expected, "{path}");
        };
        check("/2015-03-31/functions/f:1/invocations", Some(Operation::Invoke));
        check("/2014-11-13/functions/f%3A1/invoke-async", Some(Operation::InvokeAsync));
        let streaming = Some(Operation::InvokeWithResponseStream);
        check("/2021-11-15/functions/f:1/response-streaming-invocations", streaming);
        check("/2015-03-31/functions/f:1/response-streaming-invocations", None);
        check("/2015-03-31/layers/f:1/invocations", None);
        check("/2015-03-31/functions/f:1", None);
    }

    #[test]
    fn an_event_is_any_json() {
        for (sent, expected) in [("", "{}"), ("null", "null"), ("[1]", "[1]"), (" \"x\" ", " \"x\" ")] {
            assert_eq!(event(sent.as_bytes()).unwrap(), expected);
        }
        for bad in [&b"{"[..], b"nothing", b"\"\xff\"", b"{} {}"] {
            let refused = event(bad).unwrap_err();
            assert_eq!(refused.status(), 400);
            assert_eq!(refused.headers()["x-amzn-errortype"], "InvalidRequestContentException");
        }
    }

    #[test]
    fn a_client_context_is_an_object_in_base64() {
        assert_eq!(client_context("").unwrap(), None);
        assert_eq!(client_context(&STANDARD.encode("{\"custom\":{}}")).unwrap().unwrap(), "{\"custom\":{}}");
        for bad in
            ["***", &STANDARD.encode("7"), &STANDARD.encode(format!("{{\"a\":\"{}\"}}", "x".repeat(3000)))]
        {
            assert_eq!(client_context(bad).unwrap_err().status(), 400, "{bad}");
        }
    }
}
