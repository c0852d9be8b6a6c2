//! The doors that Azure's host has beside the functions, for the tools that know them (facts 8.1).
//!
//! | path | module |
//! |---|---|
//! | `/admin/host/status`, `/admin/host/ping`, `/admin/warmup` | [`host`] |
//! | `GET /admin/functions…` | [`functions`] |
//! | `POST /admin/functions/{name}` | [`manual`] |
//! | `…/keys…` | [`keys`] |
//! | `/runtime/webhooks/eventgrid` | [`event_grid`] |
//! | `/` | [`home`] |
//!
//! Everything below `/admin` and `/runtime` is decided here, before any function's route: no function can take such a
//! path, and no other spelling of it reaches one (T-038, T-039). What is found is found by [`RequestPath`] only, as for
//! functions. All but the ping wants the master key, or a direct request of this machine when keys are not asked for.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use ingle_types::spec::FunctionSpec;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::{Guard, Requirement};
use crate::failure;
use crate::route::path::RequestPath;
use crate::service::Door;

mod bindings;
mod event_grid;
mod functions;
pub(crate) mod home;
mod host;
mod keys;
mod manual;

const NO_FUNCTION: &str = "there is no function of this name";
/// First segments that belong to the server itself.
const RESERVED: [&str; 2] = ["admin", "runtime"];

/// Facts of this server that its doors tell.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) started: Instant,
    /// Another one at each start.
    pub(crate) instance: Uuid,
}

/// A request for one of the doors.
pub(crate) struct Request<'a> {
    pub(crate) door: &'a Arc<Door>,
    pub(crate) guard: &'a Guard,
    pub(crate) host: &'a Host,
    pub(crate) head: &'a Parts,
    pub(crate) body: Bytes,
}

/// What a path below a reserved segment leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Ping,
    Status,
    Warmup,
    Functions,
    Function(String),
    FunctionStatus(String),
    Keys(keys::Shelf, Option<String>),
    EventGrid,
    Unknown,
}

/// Whether a path belongs to the server.
pub(crate) fn is_reserved(path: &RequestPath<'_>) -> bool {
    let first = path.segments.first();
    first.is_some_and(|first| RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(first)))
}

/// Whether the caller may come in; asked before the body is read.
///
/// # Errors
/// The answer to one who may not.
pub(crate) fn admit(guard: &Guard, head: &Parts, path: &RequestPath<'_>) -> Result<(), Response<Bytes>> {
    match place(path) {
        Place::Ping => Ok(()),
        Place::EventGrid => guard.check(head, Requirement::Webhook(event_grid::EXTENSION)),
        _ => guard.check(head, Requirement::Admin),
    }
}

/// Answers a request that was admitted.
pub(crate) async fn answer(request: Request<'_>, path: &RequestPath<'_>) -> Response<Bytes> {
    let method = &request.head.method;
    let (get, post) = (matches!(*method, Method::GET | Method::HEAD), method == Method::POST);
    match place(path) {
        Place::Ping if get || post => host::ping(),
        Place::Status if get => host::status(&request),
        Place::Warmup if get => host::warmup(&request).await,
        Place::Functions if get => functions::list(&request),
        Place::Function(name) if get => match find(&request, &name) {
            Some(function) => functions::one(&request, function),
            None => not_found(NO_FUNCTION),
        },
        Place::Function(name) if post => match find(&request, &name) {
            Some(function) => manual::trigger(&request, function).await,
            None => not_found(NO_FUNCTION),
        },
        Place::FunctionStatus(name) if get => functions::status(&request, &name),
        Place::EventGrid => event_grid::answer(&request).await,
        Place::Keys(shelf, name) => keys::answer(&request, shelf, name).await,
        Place::Unknown => not_found("there is nothing here"),
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "E0502", "this path does not know this method"),
    }
}

/// Segments compare without case, as routes do.
fn place(path: &RequestPath<'_>) -> Place {
    let segments: Vec<String> = path.segments.iter().map(|segment| segment.to_lowercase()).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let own = |text: &str| text.to_owned();
    match segments.as_slice() {
        ["admin", "host", "ping"] => Place::Ping,
        ["admin", "host", "status"] => Place::Status,
        ["admin", "warmup"] => Place::Warmup,
        ["admin", "functions"] => Place::Functions,
        ["admin", "functions", name] => Place::Function(own(name)),
        ["admin", "functions", name, "status"] => Place::FunctionStatus(own(name)),
        ["admin", "functions", name, "keys", key @ ..] if key.len() < 2 => {
            Place::Keys(keys::Shelf::Function(own(name)), key.first().map(|key| own(key)))
        }
        ["admin", "host", "keys" | "functionkeys", key @ ..] if key.len() < 2 => {
            Place::Keys(keys::Shelf::Host, key.first().map(|key| own(key)))
        }
        ["admin", "host", "systemkeys", key @ ..] if key.len() < 2 => {
            Place::Keys(keys::Shelf::System, key.first().map(|key| own(key)))
        }
        ["runtime", "webhooks", event_grid::EXTENSION] => Place::EventGrid,
        _ => Place::Unknown,
    }
}

fn find<'a>(request: &Request<'a>, name: &str) -> Option<&'a FunctionSpec> {
    let functions = &request.door.site.functions;
    functions.iter().find(|function| function.name.as_str().eq_ignore_ascii_case(name))
}

fn not_found(message: &str) -> Response<Bytes> {
    refusal(StatusCode::NOT_FOUND, "E0501", message)
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Bytes> {
    failure::refusal(status, code, message, None)
}

fn json(status: StatusCode, value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `http://host` as the caller wrote it, for links.
fn base(head: &Parts) -> String {
    let header = head.headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    format!("http://{}", header.unwrap_or("localhost"))
}

#[cfg(test)]
mod tests;
