//! Rules for pages of other origins, as APIs and URLs of functions apply them.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

/// Every origin.
const ANY: &str = "*";
/// Headers of answers that say what pages of other origins may do (Fetch standard, "HTTP responses" of CORS).
pub(super) const OF_CORS: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "access-control-max-age",
];

/// Rules for pages of other origins. An empty list says nothing about its part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cors {
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub exposed_headers: Vec<String>,
    pub credentials: bool,
    pub max_age: Option<Duration>,
}

/// Who answers a browser.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answers {
    Rest,
    Http,
    /// The URL of a function.
    Url,
}

/// The answer to the question of a browser. A REST API gives its headers to everybody.
pub(super) fn preflight(cors: &Cors, answers: Answers, asked: &HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let is_http = answers == Answers::Http;
    *response.status_mut() = if is_http { StatusCode::NO_CONTENT } else { StatusCode::OK };
    let headers = response.headers_mut();
    let Some(origin) = allowed_origin(cors, asked, answers == Answers::Rest) else { return response };
    let mut insert = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    };
    insert("access-control-allow-origin", origin);
    for (name, list) in
        [("access-control-allow-methods", &cors.methods), ("access-control-allow-headers", &cors.headers)]
    {
        if !list.is_empty() {
            insert(name, list.join(","));
        }
    }
    if with_credentials(cors) {
        insert("access-control-allow-credentials", "true".to_owned());
    }
    if let Some(age) = cors.max_age {
        insert("access-control-max-age", age.as_secs().to_string());
    }
    response
}

/// The answer of a function's URL to the question of a browser; `None` if nothing is asked. (Lambda developer guide, "Cross-origin
/// resource sharing": Lambda answers these questions, and the function is not run.)
pub(crate) fn url_preflight(cors: &Cors, head: &Parts) -> Option<Response<Bytes>> {
    let is_asked =
        head.method == Method::OPTIONS && head.headers.contains_key("access-control-request-method");
    is_asked.then(|| preflight(cors, Answers::Url, &head.headers))
}

/// Puts the rules into an answer, instead of what the function says of them. (API Gateway developer guide, "Configure CORS for
/// HTTP APIs": headers of the backend are ignored; the same holds for URLs.)
pub(crate) fn decorate(cors: &Cors, asked: &HeaderMap, answered: &mut HeaderMap) {
    for name in OF_CORS {
        answered.remove(name);
    }
    let Some(origin) = allowed_origin(cors, asked, false) else { return };
    let mut insert = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answered.insert(name, value);
        }
    };
    insert("access-control-allow-origin", &origin);
    if !cors.exposed_headers.is_empty() {
        insert("access-control-expose-headers", &cors.exposed_headers.join(","));
    }
    if with_credentials(cors) {
        insert("access-control-allow-credentials", "true");
    }
}

/// The origin to name: the one that asks, if it is allowed. A REST API names its first one to all others.
pub(super) fn allowed_origin(cors: &Cors, asked: &HeaderMap, is_rest: bool) -> Option<String> {
    let first = || cors.origins.first().filter(|_| is_rest).cloned();
    let Some(origin) = asked.get(http::header::ORIGIN).and_then(|origin| origin.to_str().ok()) else {
        return first();
    };
    if is_for_all(cors) {
        return Some(ANY.to_owned());
    }
    let is_allowed = cors.origins.iter().any(|allowed| fits(allowed, origin));
    if is_allowed { Some(origin.to_owned()) } else { first() }
}

/// Whether an origin is the allowed one, in which a `*` stands for one letter or more.
fn fits(allowed: &str, origin: &str) -> bool {
    let Some((start, end)) = allowed.split_once('*') else { return allowed == origin };
    let rest = origin.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    rest.is_some_and(|rest| !rest.is_empty())
}

fn is_for_all(cors: &Cors) -> bool {
    cors.origins.iter().any(|allowed| allowed == ANY)
}

/// Never for every origin: any page could then read what is the user's. AWS refuses to deploy that (T-043).
fn with_credentials(cors: &Cors) -> bool {
    cors.credentials && !is_for_all(cors)
}
