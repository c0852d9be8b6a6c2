//! The parts of a request that say who the caller is.
//!
//! They are read from the event that functions get of the request: what is remembered of a caller must not depend on
//! anything else than what the function that decides has seen.

use std::time::SystemTime;

use http::header::COOKIE;
use http::request::Parts;
use ingle_types::event::Trace;
use ingle_types::front::IdentitySource;
use ingle_types::ids::InvocationId;
use serde_json::Value;

use crate::apis::{Matched, Route};
use crate::lambda::{rest_event, url_event};
use crate::request::pairs;

/// Variables of `$context` (AWS's "Logging variables" of HTTP APIs) that format 2.0 has in other places.
const V2_PLACES: [(&str, &str); 8] = [
    ("extendedRequestId", "requestId"),
    ("httpMethod", "http.method"),
    ("identity.sourceIp", "http.sourceIp"),
    ("identity.userAgent", "http.userAgent"),
    ("path", "http.path"),
    ("protocol", "http.protocol"),
    ("requestTime", "time"),
    ("requestTimeEpoch", "timeEpoch"),
];
/// The one that format 1.0 does not have.
const ROUTE_KEY: &str = "routeKey";

/// A request as functions are told of it, without its body.
pub(super) struct Seen<'a> {
    query: &'a str,
    route: &'a Route,
    is_v2: bool,
    pub(super) event: Value,
}

/// Who a caller is, source by source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    /// As the event has it: of several values the last in format 1.0, all of them with commas in 2.0.
    pub(super) told: Vec<String>,
    /// All values, as a function may look at each. Decisions are remembered by these.
    pub(super) values: Vec<Vec<String>>,
}

impl<'a> Seen<'a> {
    /// `is_v2`: as format 2.0 has it.
    pub(super) fn of(
        head: &'a Parts,
        matched: &'a Matched,
        (id, trace): (InvocationId, &Trace),
        now: SystemTime,
        is_v2: bool,
    ) -> Self {
        let text = if is_v2 {
            url_event::text(head, b"", (id, trace), Some(matched), now)
        } else {
            rest_event::text(head, b"", (id, trace), matched, now)
        };
        let event = serde_json::from_str(&text).unwrap_or_default();
        Self { query: head.uri.query().unwrap_or_default(), route: &matched.route, is_v2, event }
    }

    /// `None` if one of the sources is absent or empty.
    pub(super) fn identity(&self, sources: &[IdentitySource]) -> Option<Identity> {
        let mut identity = Identity { told: Vec::new(), values: Vec::new() };
        for source in sources {
            let values = match source {
                IdentitySource::Header(name) => self.header(name),
                IdentitySource::Query(name) => {
                    let pairs = pairs(self.query).into_iter();
                    pairs.filter(|(known, _)| known == name).map(|(_, value)| value).collect()
                }
                IdentitySource::Context(path) => self.context(path).into_iter().collect(),
                // Stages have no variables here.
                IdentitySource::StageVariable(_) => Vec::new(),
            };
            let told = if self.is_v2 { values.join(",") } else { values.last().cloned().unwrap_or_default() };
            if told.is_empty() {
                return None;
            }
            identity.told.push(told);
            identity.values.push(values);
        }
        Some(identity)
    }

    fn header(&self, name: &str) -> Vec<String> {
        if self.is_v2 && name.eq_ignore_ascii_case(COOKIE.as_str()) {
            // Format 2.0 has them in a place of their own.
            let cookies = texts(&self.event["cookies"]);
            return if cookies.is_empty() { cookies } else { vec![cookies.join("; ")] };
        }
        let headers = &self.event[if self.is_v2 { "headers" } else { "multiValueHeaders" }];
        let mut headers = headers.as_object().into_iter().flatten();
        headers
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or_else(Vec::new, |(_, one)| texts(one))
    }

    fn context(&self, path: &str) -> Option<String> {
        if path == ROUTE_KEY {
            return Some(url_event::route_key(self.route));
        }
        let place = V2_PLACES.iter().find(|(documented, _)| self.is_v2 && *documented == path);
        let path = place.map_or(path, |(_, place)| place);
        let found = path.split('.').try_fold(&self.event["requestContext"], |value, key| value.get(key))?;
        match found {
            Value::String(text) => Some(text.clone()),
            Value::Number(_) | Value::Bool(_) => Some(found.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// A text, or a list of them.
fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;

    use super::*;
    use crate::apis::Format;

    const SOURCES: [&str; 2] = ["$request.header.authorization", "$request.querystring.tenant"];

    fn identity(format: &Format, request: http::request::Builder, sources: &[&str]) -> Option<Identity> {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let route = Route {
            format: format.clone(),
            method: Some("GET".to_owned()),
            path: "/{id}".to_owned(),
            stage: "dev".to_owned(),
            api: "shop".to_owned(),
            cors: None,
            is_guarded: false,
        };
        let route = Arc::new(route);
        let matched = Matched { route, parameters: Vec::new(), has_stage: false, front: Arc::default() };
        let sources: Vec<_> = sources.iter().map(|text| IdentitySource::parse(text).unwrap()).collect();
        let (id, trace) = (InvocationId::random(), Trace { parent: String::new(), state: String::new() });
        let now = SystemTime::UNIX_EPOCH;
        let is_v2 = *format == Format::Http2;
        Seen::of(&head, &matched, (id, &trace), now, is_v2).identity(&sources)
    }

    const REST: Format = Format::Rest { binary_types: Vec::new() };

    #[test]
    fn every_part_has_to_be_there() {
        let check = |sources: &[&str], expected: Option<&[&str]>| {
            for format in [REST, Format::Http1, Format::Http2] {
                let request = Request::get("/a?q=1&empty=").header("X-Token", "abc").header("x-none", "");
                let request = request.header("Cookie", "k=v; l=w").header("User-Agent", "test");
                let told = identity(&format, request, sources).map(|found| found.told);
                let expected = expected.map(|list| list.iter().map(|&one| one.to_owned()).collect());
                assert_eq!(told, expected, "{sources:?} {format:?}");
            }
        };
        check(&[], Some(&[]));
        check(&["$request.header.x-token", "$request.querystring.q"], Some(&["abc", "1"]));
        check(&["$request.header.Cookie"], Some(&["k=v; l=w"]));
        check(&["$request.header.x-token", "$request.header.other"], None);
        check(&["$request.header.x-none"], None);
        check(&["$request.querystring.empty"], None);
        check(&["$stageVariables.a"], None);
        check(&["$context.identity"], None);
        check(&["$context.identity.user"], None);
    }

    /// Whatever the format that the function takes.
    #[test]
    fn variables_of_the_context_have_the_names_that_are_documented() {
        for format in [REST, Format::Http1, Format::Http2] {
            let check = |name: &str, expected: &str| {
                let request = Request::get("/a").header("User-Agent", "test");
                let found = identity(&format, request, &[&format!("$context.{name}")]);
                assert_eq!(
                    found.map(|found| found.told),
                    Some(vec![expected.to_owned()]),
                    "{name} {format:?}"
                );
            };
            check("httpMethod", "GET");
            check("path", "/dev/a");
            check("protocol", "HTTP/1.1");
            check("stage", "dev");
            check("routeKey", "GET /{id}");
            check("identity.sourceIp", "0.0.0.0");
            check("identity.userAgent", "test");
            check("requestTime", "01/Jan/1970:00:00:00 +0000");
            check("requestTimeEpoch", "0");
        }
    }

    /// What a function may have looked at is in what its decision is remembered by.
    #[test]
    fn another_name_or_value_is_another_caller() {
        let asked = |format: &Format, query: &str| {
            let request = Request::get(format!("/a?{query}")).header("Authorization", "token");
            identity(format, request, &SOURCES)
        };
        for format in [REST, Format::Http1, Format::Http2] {
            let victim = asked(&format, "tenant=victim").unwrap();
            assert_eq!(victim.told, ["token", "victim"]);
            for query in
                ["Tenant=victim&tenant=mine", "tenant=mine&tenant=victim", "tenant=victim&tenant=mine"]
            {
                assert_ne!(asked(&format, query).unwrap().values, victim.values, "{query} {format:?}");
            }
            assert_eq!(asked(&format, "Tenant=victim"), None, "names are compared to the letter");
        }
        let told = |format: &Format| asked(format, "tenant=a&Tenant=b&tenant=c").unwrap().told;
        assert_eq!(
            (told(&REST), told(&Format::Http2)),
            (vec!["token".into(), "c".into()], vec!["token".into(), "a,c".into()])
        );
    }

    #[test]
    fn several_headers_are_another_caller() {
        for format in [REST, Format::Http2] {
            let request = || Request::get("/a?tenant=a").header("Authorization", "mine");
            let one = identity(&format, request(), &SOURCES).unwrap();
            let two = identity(&format, request().header("Authorization", "other"), &SOURCES).unwrap();
            let turned =
                Request::get("/a?tenant=a").header("Authorization", "other").header("Authorization", "mine");
            let turned = identity(&format, turned, &SOURCES).unwrap();
            assert!(one.values != two.values && one.values != turned.values && two.values != turned.values);
            let expected = if format == Format::Http2 { "other,mine" } else { "mine" };
            assert_eq!(turned.told[0], expected);
        }
    }
}
