//! A request off the wire into the request that a function sees, and into what binding expressions can name.
//!
//! Shapes are those of Azure's host (facts 3.2 and 3.3), with two differences: a query key without a value is kept as
//! empty text, and a chunked body arrives like any other.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{COOKIE, HOST, HeaderName, HeaderValue};
use http::request::Parts;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use ingle_types::datum::{Body, Datum, HttpRequest};

use crate::route::path::escape;

/// Key of the query that carries a function key; it is no data for bindings.
const KEY_PARAMETER: &str = "code";

/// Builds what the function sees.
///
/// `scheme` is `http` or `https`, as the caller reached the server. `route_parameters` come from
/// [`crate::route::Match::Found`].
pub fn http_request(
    scheme: &str,
    head: &Parts,
    route_parameters: Vec<(String, String)>,
    body: Body,
) -> HttpRequest {
    HttpRequest {
        method: head.method.as_str().to_owned(),
        url: url(scheme, head),
        headers: headers(head),
        query: query(head.uri.query().unwrap_or_default()),
        route_parameters,
        body,
        exchange: None,
    }
}

/// Scheme, host, path and query as they were sent. An absolute request target has its own host, which wins over the
/// header (RFC 9112, section 3.2.2).
fn url(scheme: &str, head: &Parts) -> String {
    let header = || head.headers.get(HOST).map(text_of);
    let host = head.uri.authority().map(|authority| authority.as_str().to_owned()).or_else(header);
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    format!("{scheme}://{}{target}", host.as_deref().unwrap_or("localhost"))
}

/// Each name once, in lower case. Repeated headers are joined with `,`; cookies with `; `, which is what separates
/// cookies (RFC 6265, section 4.2.1).
pub(crate) fn headers(head: &Parts) -> Vec<(String, String)> {
    let joined = head.headers.keys().map(|name| (name.as_str().to_owned(), joined_values(head, name)));
    joined.collect()
}

fn joined_values(head: &Parts, name: &HeaderName) -> String {
    let mut values = head.headers.get_all(name).iter().map(text_of);
    let mut text = values.next().unwrap_or_default();
    for value in values {
        text.push_str(if name == COOKIE { "; " } else { "," });
        text.push_str(&value);
    }
    text
}

/// UTF-8 where it is that, Latin-1 otherwise: both are in use and no byte gets lost.
fn text_of(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

/// Reads a query string as HTML forms write it. Repeated keys are joined with `,` at the place of the first.
pub fn query(raw: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for item in raw.split('&').filter(|item| !item.is_empty()) {
        let (key, value) = item.split_once('=').unwrap_or((item, ""));
        let (key, value) = (decode_form(key), decode_form(value));
        if let Some(place) = places.get(&key) {
            let known = &mut pairs[*place].1;
            known.push(',');
            known.push_str(&value);
        } else {
            places.insert(key.clone(), pairs.len());
            pairs.push((key, value));
        }
    }
    pairs
}

/// The first value of a key, found without regard to case.
pub(crate) fn first_query_value(raw: &str, key: &str) -> Option<String> {
    let pairs = raw.split('&').map(|item| item.split_once('=').unwrap_or((item, "")));
    let mut fitting = pairs.filter(|(name, _)| decode_form(name).eq_ignore_ascii_case(key));
    fitting.next().map(|(_, value)| decode_form(value))
}

/// Keys and values of a query string as HTML forms write it, in their order.
pub(crate) fn pairs(raw: &str) -> Vec<(String, String)> {
    let items = raw.split('&').filter(|item| !item.is_empty());
    items
        .map(|item| item.split_once('=').unwrap_or((item, "")))
        .map(|(key, value)| (decode_form(key), decode_form(value)))
        .collect()
}

/// A part of a path: `%41` is a byte, `+` is itself. What is no escape stays; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn decoded(text: &str) -> String {
    decode(text, false)
}

/// `+` is a space, `%41` a byte. A `%` that begins no escape stays; bytes that are not UTF-8 become U+FFFD.
fn decode_form(text: &str) -> String {
    decode(text, true)
}

fn decode(text: &str, is_form: bool) -> String {
    if !text.contains(['%', '+']) {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, remaining) = match first {
            b'+' if is_form => (b' ', after),
            b'%' => escape(after).unwrap_or((b'%', after)),
            _ => (*first, after),
        };
        bytes.push(byte);
        rest = remaining;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Trigger metadata without what would need the body: query, route parameters, and `Query` and `Headers` as JSON.
///
/// Names are unique without regard to case; a route parameter wins over a query key. The key parameter `code` is only
/// in `Query`.
pub fn metadata(request: &HttpRequest) -> Vec<(String, Datum)> {
    let mut known = Names::default();
    add_request(&mut known, request);
    known.0
}

/// All that binding expressions can name (`{id}`, `{Query.name}`): [`metadata`] over the properties of a JSON object in
/// the body. Reads the whole body, so call it only for functions that have such expressions.
pub fn binding_data(request: &HttpRequest) -> Vec<(String, Datum)> {
    let mut known = Names::default();
    for (name, raw) in body_properties(&request.body.joined()) {
        if let Some(datum) = property(raw) {
            known.set(name, datum);
        }
    }
    add_request(&mut known, request);
    known.0
}

fn add_request(known: &mut Names, request: &HttpRequest) {
    for (key, value) in request.query.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(KEY_PARAMETER)) {
        known.set(key.clone(), Datum::Text(value.clone()));
    }
    for (name, value) in &request.route_parameters {
        known.set(name.clone(), Datum::Text(value.clone()));
    }
    known.set("Query".to_owned(), json_object(&request.query));
    known.set("Headers".to_owned(), json_object(&request.headers));
}

/// Values by name without regard to case; the last one set wins.
#[derive(Default)]
struct Names(Vec<(String, Datum)>, BTreeMap<String, usize>);

impl Names {
    fn set(&mut self, name: String, datum: Datum) {
        let folded = name.to_lowercase();
        match self.1.get(&folded) {
            Some(place) => self.0[*place] = (name, datum),
            None => {
                self.1.insert(folded, self.0.len());
                self.0.push((name, datum));
            }
        }
    }
}

fn json_object(pairs: &[(String, String)]) -> Datum {
    let object: Map<String, Value> =
        pairs.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
    Datum::Json(Value::Object(object).to_string())
}

/// The properties of a body that is a JSON object; none for any other. Nested values are not built.
fn body_properties(body: &Bytes) -> BTreeMap<String, &RawValue> {
    if !body.trim_ascii_start().starts_with(b"{") {
        return BTreeMap::new();
    }
    serde_json::from_slice(body).unwrap_or_default()
}

/// Text as it is, numbers and booleans as their text, objects as JSON; arrays and null can't stand in an expression.
fn property(raw: &RawValue) -> Option<Datum> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok().map(Datum::Text),
        b'{' => Some(Datum::Json(raw.get().to_owned())),
        b'[' | b'n' => None,
        _ => Some(Datum::Text(raw.get().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn head(uri: &str, headers: &[(&str, &[u8])]) -> Parts {
        let mut builder = Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, HeaderValue::from_bytes(value).unwrap());
        }
        builder.body(()).unwrap().into_parts().0
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn check_query(raw: &str, expected: &[(&str, &str)]) {
        assert_eq!(query(raw), owned(expected), "{raw}");
    }

    #[test]
    fn queries() {
        check_query("", &[]);
        check_query("a=1&b=2", &[("a", "1"), ("b", "2")]);
        check_query("a=1&b=2&a=3", &[("a", "1,3"), ("b", "2")]);
        check_query("a=&b&=c", &[("a", ""), ("b", ""), ("", "c")]);
        check_query("q=caf%C3%A9+au%20lait%2B", &[("q", "café au lait+")]);
        check_query("Name=x=y&&", &[("Name", "x=y")]);
        check_query("p=50%&q=%zz&r=%ff", &[("p", "50%"), ("q", "%zz"), ("r", "\u{fffd}")]);
        check_query("a%3D=%26", &[("a=", "&")]);
    }

    #[test]
    fn a_request_as_the_function_sees_it() {
        let head = head(
            "/api/a%20b?x=1&code=secret",
            &[
                ("Host", b"localhost:7071"),
                ("X-A", b"1"),
                ("x-a", b""),
                ("X-L", b"\xe9"),
                ("X-U", "é".as_bytes()),
            ],
        );
        let request = http_request("http", &head, owned(&[("id", "7")]), Bytes::from_static(b"body").into());
        let expected = HttpRequest {
            method: "POST".to_owned(),
            url: "http://localhost:7071/api/a%20b?x=1&code=secret".to_owned(),
            headers: owned(&[("host", "localhost:7071"), ("x-a", "1,"), ("x-l", "é"), ("x-u", "é")]),
            query: owned(&[("x", "1"), ("code", "secret")]),
            route_parameters: owned(&[("id", "7")]),
            body: Bytes::from_static(b"body").into(),
            exchange: None,
        };
        assert_eq!(request, expected);
    }

    fn check_url(uri: &str, host: &str, expected: &str) {
        let headers: &[(&str, &[u8])] = if host.is_empty() { &[] } else { &[("host", host.as_bytes())] };
        assert_eq!(url("https", &head(uri, headers)), expected);
    }

    #[test]
    fn urls_have_a_host() {
        check_url("/a", "h:1", "https://h:1/a");
        check_url("/a", "", "https://localhost/a");
        check_url("http://other/a?b", "h", "https://other/a?b");
        check_url("http://other", "h", "https://other/");
    }

    #[test]
    fn cookies_are_joined_as_cookies() {
        let head = head("/", &[("cookie", b"a=1"), ("cookie", b"b=2")]);
        assert_eq!(headers(&head), owned(&[("cookie", "a=1; b=2")]));
    }

    fn text(name: &str, value: &str) -> (String, Datum) {
        (name.to_owned(), Datum::Text(value.to_owned()))
    }

    fn json(name: &str, value: &str) -> (String, Datum) {
        (name.to_owned(), Datum::Json(value.to_owned()))
    }

    #[test]
    fn later_sources_win_in_binding_data() {
        let request = HttpRequest {
            query: owned(&[("Id", "query"), ("page", "2"), ("code", "secret")]),
            headers: owned(&[("x-a", "1")]),
            route_parameters: owned(&[("ID", "route")]),
            body: Bytes::from_static(
                br#" {"id":"body","name":"\u00e9","n":1.50,"yes":true,"o":{"p":[1]},"list":[1],"none":null}"#,
            )
            .into(),
            ..HttpRequest::default()
        };
        let of_request = [
            text("ID", "route"),
            text("page", "2"),
            json("Query", r#"{"Id":"query","page":"2","code":"secret"}"#),
            json("Headers", r#"{"x-a":"1"}"#),
        ];
        assert_eq!(metadata(&request), of_request);
        let mut all = binding_data(&request);
        let mut expected = of_request.to_vec();
        expected.extend([
            text("name", "é"),
            text("n", "1.50"),
            text("yes", "true"),
            json("o", r#"{"p":[1]}"#),
        ]);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(all, expected);
    }

    #[test]
    fn bodies_that_are_no_object_have_no_properties() {
        for body in ["", "[1]", "text", "{", "{\"a\":1} x", "\"{}\""] {
            let request = HttpRequest { body: Bytes::from(body).into(), ..HttpRequest::default() };
            assert_eq!(binding_data(&request), metadata(&request), "{body}");
        }
    }

    proptest! {
        #[test]
        fn form_texts_survive(pairs in prop::collection::btree_map("[a-z é&=+%]{1,5}", ".{0,8}", 0..5)) {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let raw: Vec<String> = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
            prop_assert_eq!(query(&raw.join("&")), pairs.into_iter().collect::<Vec<_>>());
        }
    }
}
