//! The event of a request to a function URL or to an HTTP API: payload format 2.0 (facts of Lambda, section 4.1).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::{CONTENT_TYPE, COOKIE, HOST, USER_AGENT};
use http::request::Parts;
use ingle_types::event::Trace;
use ingle_types::ids::InvocationId;
use serde::Serialize;
use serde_json::Value;

use super::rest_event::path;
use super::{ACCOUNT, Pairs, forwarded};
use crate::apis::{DEFAULT, Matched};
use crate::auth::caller_of;
use crate::front::Known;
use crate::request::{decoded, headers, query};

/// Where a request names no host.
pub(super) const LOCALHOST: &str = "localhost";
const TRACE: &str = "x-amzn-trace-id";

/// Members in the order in which AWS writes them; what is absent is not there at all.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UrlEvent<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: Pairs,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    query_string_parameters: Pairs,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    path_parameters: Pairs,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(rename = "isBase64Encoded")]
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'static str,
    api_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<&'a Value>,
    domain_name: &'a str,
    domain_prefix: &'a str,
    http: HttpPart<'a>,
    request_id: String,
    route_key: &'a str,
    stage: &'a str,
    /// As web servers log it, e.g. `12/Jan/2026:15:37:29 +0000`.
    time: String,
    /// Milliseconds since 1970.
    time_epoch: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpPart<'a> {
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    source_ip: String,
    user_agent: String,
}

/// The event as JSON text; `matched` is the route of an HTTP API.
pub(crate) fn text(
    head: &Parts,
    body: &[u8],
    (id, trace): (InvocationId, &Trace),
    matched: Option<&Matched>,
    now: SystemTime,
) -> String {
    let sent = headers(head);
    let of = |name: &str| sent.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let host = of(HOST.as_str()).unwrap_or_else(|| LOCALHOST.to_owned());
    let (domain, _port) = split(&host);
    let prefix = domain.split('.').next().unwrap_or_default();
    let cookies = of(COOKIE.as_str()).unwrap_or_default();
    let cookies = cookies.split(';').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned);
    let source_ip = caller_of(head).to_string();
    let (body, is_base64_encoded) = encoded(&head.headers, body);
    let route = Route::of(matched, head);
    let event = UrlEvent {
        version: "2.0",
        route_key: &route.key,
        raw_path: &route.path,
        raw_query_string: head.uri.query().unwrap_or_default(),
        cookies: cookies.collect(),
        headers: Pairs(with_added(&sent, head, trace)),
        query_string_parameters: Pairs(query(head.uri.query().unwrap_or_default())),
        path_parameters: Pairs(route.parameters),
        request_context: RequestContext {
            account_id: route.account,
            api_id: route.api.unwrap_or(prefix),
            authorizer: Known::of(head),
            domain_name: domain,
            domain_prefix: prefix,
            http: HttpPart {
                method: head.method.as_str(),
                path: &route.path,
                protocol: "HTTP/1.1",
                source_ip,
                user_agent: of(USER_AGENT.as_str()).unwrap_or_default(),
            },
            request_id: id.uuid().to_string(),
            route_key: &route.key,
            stage: route.stage,
            time: DateTime::<Utc>::from(now).format("%d/%b/%Y:%H:%M:%S +0000").to_string(),
            time_epoch: now
                .duration_since(UNIX_EPOCH)
                .map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        },
        body,
        is_base64_encoded,
    };
    // Nothing in it can fail to be written.
    serde_json::to_string(&event).unwrap_or_default()
}

/// What is otherwise behind an HTTP API than at a URL.
struct Route<'a> {
    key: String,
    path: String,
    parameters: Vec<(String, String)>,
    account: &'static str,
    api: Option<&'a str>,
    stage: &'a str,
}

impl<'a> Route<'a> {
    fn of(matched: Option<&'a Matched>, head: &Parts) -> Self {
        let sent = head.uri.path();
        let Some(matched) = matched else {
            return Self {
                key: DEFAULT.to_owned(),
                path: sent.to_owned(),
                parameters: Vec::new(),
                // Nobody is asked who they are.
                account: "anonymous",
                api: None,
                stage: DEFAULT,
            };
        };
        let route = &*matched.route;
        // A URL hands on what was sent, an HTTP API what it means. One with a stage shows it.
        let path = decoded(&path(matched, sent));
        let parameters = matched.parameters.iter().map(|(name, value)| (name.clone(), decoded(value)));
        Self {
            key: route_key(route),
            path: if route.stage == DEFAULT { path } else { format!("/{}{path}", route.stage) },
            parameters: parameters.collect(),
            account: ACCOUNT,
            api: Some(&route.api),
            stage: &route.stage,
        }
    }
}

/// `GET /items/{id}`, `ANY /items` or `$default`.
pub(crate) fn route_key(route: &crate::apis::Route) -> String {
    if route.path == DEFAULT {
        return DEFAULT.to_owned();
    }
    format!("{} {}", route.method.as_deref().unwrap_or("ANY"), route.path)
}

/// A host with its port, which is 80 if it has none. An IPv6 address stands in brackets.
pub(super) fn split(host: &str) -> (&str, &str) {
    let parts = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    parts.unwrap_or((host, "80"))
}

/// What was sent, without cookies, which have a place of their own, and with what a gateway adds.
fn with_added(sent: &[(String, String)], head: &Parts, trace: &Trace) -> Vec<(String, String)> {
    let added = forwarded::headers(head);
    let is_kept = |name: &str| name != COOKIE.as_str() && added.iter().all(|(known, _)| *known != name);
    let mut all: Vec<(String, String)> = sent.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
    if !all.iter().any(|(known, _)| known == TRACE) {
        all.push((TRACE.to_owned(), root_of(trace)));
    }
    all.extend(added.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// The trace as X-Ray writes it: the id of W3C's `traceparent` in two parts.
pub(super) fn root_of(trace: &Trace) -> String {
    let id = trace.parent.split('-').nth(1).unwrap_or_default();
    let (first, rest) = id.split_at_checked(8).unwrap_or((id, ""));
    format!("Root=1-{first}-{rest}")
}

/// Text as it is; everything else as base64. Forms are not text there.
pub(super) fn encoded(headers: &HeaderMap, body: &[u8]) -> (Option<String>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match std::str::from_utf8(body) {
        Ok(text) if kind.is_none_or(is_text) => (Some(text.to_owned()), false),
        _ => (Some(STANDARD.encode(body)), true),
    }
}

fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let Some((group, name)) = kind.split_once('/') else { return false };
    group == "text"
        || group == "application"
            && (matches!(name, "json" | "javascript" | "xml")
                || name.ends_with("+json")
                || name.ends_with("+xml"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn event(request: http::request::Builder, body: &[u8]) -> Value {
        event_of(request, body, InvocationId::random())
    }

    fn event_of(request: http::request::Builder, body: &[u8], id: InvocationId) -> Value {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let now = UNIX_EPOCH + Duration::from_millis(1_768_232_249_123);
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        let trace = Trace { parent, state: String::new() };
        serde_json::from_str(&text(&head, body, (id, &trace), None, now)).unwrap()
    }

    /// The members, and their shapes, of facts 4.1.
    #[test]
    fn a_request_is_an_event_of_format_2() {
        let request = http::Request::post("/pa2%Fth/1?a=1&b=x%20y&a=2")
            .header("Host", "f.localhost:7071")
            .header("X-Many", "1")
            .header("x-many", "2")
            .header("Cookie", "k=v; l=w")
            .header("User-Agent", "test")
            .header("Content-Type", "application/json; charset=utf-8");
        let id = InvocationId::random();
        let expected = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": "/pa2%Fth/1", "rawQueryString": "a=1&b=x%20y&a=2",
            "cookies": ["k=v", "l=w"],
            "headers": {
                "host": "f.localhost:7071", "x-many": "1,2", "user-agent": "test",
                "content-type": "application/json; charset=utf-8", "x-forwarded-for": "0.0.0.0",
                "x-forwarded-port": "7071", "x-forwarded-proto": "http",
                "x-amzn-trace-id": "Root=1-0af76519-16cd43dd8448eb211c80319c",
            },
            "queryStringParameters": {"a": "1,2", "b": "x y"},
            "requestContext": {
                "accountId": "anonymous", "apiId": "f", "domainName": "f.localhost", "domainPrefix": "f",
                "http": {
                    "method": "POST", "path": "/pa2%Fth/1", "protocol": "HTTP/1.1", "sourceIp": "0.0.0.0",
                    "userAgent": "test",
                },
                "requestId": id.uuid().to_string(), "routeKey": "$default", "stage": "$default",
                "time": "12/Jan/2026:15:37:29 +0000", "timeEpoch": 1_768_232_249_123_i64,
            },
            "body": "{\"x\": 1}", "isBase64Encoded": false,
        });
        assert_eq!(event_of(request, b"{\"x\": 1}", id), expected);
    }

    #[test]
    fn a_host_has_a_port_or_the_usual_one() {
        assert_eq!(split("f.localhost:7071"), ("f.localhost", "7071"));
        assert_eq!(split("localhost"), ("localhost", "80"));
        assert_eq!(split("[::1]"), ("[::1]", "80"));
        assert_eq!(split("[::1]:7071"), ("[::1]", "7071"));
    }

    #[test]
    fn what_is_not_there_has_no_member() {
        let found = event(http::Request::get("/"), b"");
        for name in ["cookies", "queryStringParameters", "body"] {
            assert!(found.get(name).is_none(), "{name}");
        }
        assert_eq!((&found["rawQueryString"], &found["isBase64Encoded"]), (&json!(""), &json!(false)));
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let check = |kind: Option<&str>, body: &[u8], expected: &str, is_encoded: bool| {
            let mut request = http::Request::post("/");
            if let Some(kind) = kind {
                request = request.header("content-type", kind);
            }
            let found = event(request, body);
            let expected = (&json!(expected), &json!(is_encoded));
            assert_eq!((&found["body"], &found["isBase64Encoded"]), expected, "{kind:?}");
        };
        for kind in ["text/plain", "application/json", "application/problem+json", "image/svg+xml; x=y"] {
            check(
                Some(kind),
                b"abc",
                if kind.starts_with("image") { "YWJj" } else { "abc" },
                kind.starts_with("image"),
            );
        }
        check(Some("application/x-www-form-urlencoded"), b"a=1", "YT0x", true);
        check(Some("multipart/form-data; boundary=x"), b"a", "YQ==", true);
        check(Some("application/json"), b"\xff", "/w==", true);
        check(None, b"abc", "abc", false);
    }
}
