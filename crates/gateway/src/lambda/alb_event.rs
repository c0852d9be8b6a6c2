//! The event of a request to an Application Load Balancer (facts of Lambda, section 4.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use ingle_types::event::Trace;
use serde::Serialize;

use super::rest_event::{Lists, last};
use super::url_event::root_of;
use super::{Pairs, forwarded};

/// Members of the one or the other kind of target group: those for one value of a name, or for several.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlbEvent<'a> {
    request_context: RequestContext<'a>,
    http_method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<Pairs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<Lists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Pairs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<Lists>,
    body: String,
    #[serde(rename = "isBase64Encoded")]
    is_base64_encoded: bool,
}

#[derive(Serialize)]
struct RequestContext<'a> {
    elb: Elb<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Elb<'a> {
    target_group_arn: &'a str,
}

/// The event as JSON text. `multi_value`: whether names have lists of values, or only the last one.
pub(super) fn text(
    head: &Parts,
    body: &[u8],
    trace: &Trace,
    (target_group, multi_value): (&str, bool),
) -> String {
    let (headers, query) = (sent(head, trace), query(head.uri.query().unwrap_or_default()));
    let (body, is_base64_encoded) = encoded(&head.headers, body);
    let one = |lists: &Lists| (!multi_value).then(|| last(lists));
    let event = AlbEvent {
        request_context: RequestContext { elb: Elb { target_group_arn: target_group } },
        http_method: head.method.as_str(),
        path: head.uri.path(),
        query_string_parameters: one(&query),
        multi_value_query_string_parameters: multi_value.then_some(query),
        headers: one(&headers),
        multi_value_headers: multi_value.then_some(headers),
        body,
        is_base64_encoded,
    };
    // Nothing in it can fail to be written.
    serde_json::to_string(&event).unwrap_or_default()
}

/// Keys and values as they were sent: a load balancer decodes neither.
fn query(raw: &str) -> Lists {
    let mut lists = Lists::new();
    for item in raw.split('&').filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        lists.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    lists
}

/// What was sent, names in small letters, with what a load balancer adds.
fn sent(head: &Parts, trace: &Trace) -> Lists {
    let mut sent = Lists::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        sent.entry(name.as_str().to_owned()).or_default().push(value);
    }
    for (name, value) in forwarded::headers(head) {
        sent.insert(name.to_owned(), vec![value]);
    }
    sent.entry("x-amzn-trace-id".to_owned()).or_insert_with(|| vec![root_of(trace)]);
    sent
}

/// Text as it is, everything else as base64; so is what the client has compressed.
fn encoded(headers: &HeaderMap, body: &[u8]) -> (String, bool) {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
    let is_plain = !headers.contains_key(CONTENT_ENCODING) && kind.is_none_or(is_text);
    match std::str::from_utf8(body) {
        Ok(text) if is_plain || text.is_empty() => (text.to_owned(), false),
        _ => (STANDARD.encode(body), true),
    }
}

/// A shorter list than that of APIs.
fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || matches!(kind.as_str(), "application/json" | "application/javascript" | "application/xml")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::Peer;

    const GROUP: &str =
        "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/shop/0123456789abcdef";

    fn event(request: http::request::Builder, body: &[u8], multi_value: bool) -> Value {
        let request = request.extension(Peer("192.0.2.7:9".parse().unwrap()));
        let (head, ()) = request.body(()).unwrap().into_parts();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        let trace = Trace { parent, state: String::new() };
        serde_json::from_str(&text(&head, body, &trace, (GROUP, multi_value))).unwrap()
    }

    fn request() -> http::request::Builder {
        http::Request::post("/a%20b/c?x=1&x=%32+3&y&z=")
            .header("Host", "shop.localhost:7071")
            .header("X-Many", "1")
            .header("x-many", "2")
            .header("X-Forwarded-For", "198.51.100.1")
            .header("Content-Type", "application/json; charset=utf-8")
    }

    /// The members, and their shapes, of facts 4.1.
    #[test]
    fn a_name_has_its_last_value() {
        let expected = json!({
            "requestContext": {"elb": {"targetGroupArn": GROUP}},
            "httpMethod": "POST", "path": "/a%20b/c",
            "queryStringParameters": {"x": "%32+3", "y": "", "z": ""},
            "headers": {
                "host": "shop.localhost:7071", "x-many": "2", "content-type": "application/json; charset=utf-8",
                "x-amzn-trace-id": "Root=1-0af76519-16cd43dd8448eb211c80319c",
                "x-forwarded-for": "198.51.100.1, 192.0.2.7", "x-forwarded-port": "7071", "x-forwarded-proto": "http",
            },
            "body": "{}", "isBase64Encoded": false,
        });
        assert_eq!(event(request(), b"{}", false), expected);
    }

    #[test]
    fn a_target_group_may_want_all_values() {
        let found = event(request(), b"{}", true);
        assert_eq!(
            found["multiValueQueryStringParameters"],
            json!({"x": ["1", "%32+3"], "y": [""], "z": [""]})
        );
        assert_eq!(found["multiValueHeaders"]["x-many"], json!(["1", "2"]));
        assert_eq!(found["multiValueHeaders"]["x-forwarded-for"], json!(["198.51.100.1, 192.0.2.7"]));
        assert_eq!((found.get("headers"), found.get("queryStringParameters")), (None, None));
    }

    #[test]
    fn what_is_absent_is_empty() {
        let found = event(http::Request::get("/"), b"", false);
        assert_eq!((&found["body"], &found["isBase64Encoded"]), (&json!(""), &json!(false)));
        assert_eq!(found["queryStringParameters"], json!({}));
        assert_eq!(found["headers"]["x-forwarded-for"], "192.0.2.7");
        assert_eq!(event(http::Request::get("/"), b"", true)["multiValueQueryStringParameters"], json!({}));
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let check = |headers: &[(&str, &str)], body: &[u8], expected: (&str, bool)| {
            let request = headers
                .iter()
                .fold(http::Request::post("/"), |request, (name, value)| request.header(*name, *value));
            let found = event(request, body, false);
            let found = (found["body"].as_str().unwrap(), found["isBase64Encoded"].as_bool().unwrap());
            assert_eq!(found, expected, "{headers:?}");
        };
        for kind in
            ["text/html", "application/json", "application/javascript", "Application/XML; charset=utf-8"]
        {
            check(&[("content-type", kind)], b"abc", ("abc", false));
        }
        for kind in ["application/x-www-form-urlencoded", "application/problem+json", "image/png"] {
            check(&[("content-type", kind)], b"abc", ("YWJj", true));
        }
        check(&[("content-type", "text/plain"), ("content-encoding", "gzip")], b"abc", ("YWJj", true));
        check(&[("content-type", "text/plain")], b"\xff", ("/w==", true));
        check(&[("content-type", "image/png")], b"", ("", false));
        check(&[], b"abc", ("abc", false));
    }
}
