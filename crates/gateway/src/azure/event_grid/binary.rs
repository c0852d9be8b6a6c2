//! CloudEvents in binary mode: the attributes of one event in `ce-…` headers, its data as the body (CloudEvents 1.0.2,
//! HTTP protocol binding, section 3.1). Made into the structured form, so that a function sees one shape.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

const PREFIX: &str = "ce-";
/// What every event has (CloudEvents 1.0.2, "Required attributes").
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];
/// Names of members that are not attributes.
const DATA: [&str; 2] = ["data", "data_base64"];

/// Whether a request says that it is an event in this mode.
pub(super) fn is_binary(headers: &HeaderMap) -> bool {
    headers.contains_key("ce-specversion") || headers.contains_key("ce-id")
}

/// The event in the structured form.
///
/// # Errors
/// What is wrong with it, for the sender.
pub(super) fn event(headers: &HeaderMap, body: &[u8]) -> Result<Box<RawValue>, String> {
    let mut event = Map::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix(PREFIX) else { continue };
        let is_name = !attribute.is_empty() && attribute.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_name || DATA.contains(&attribute) {
            return Err(format!("`{name}` can't be an attribute of an event"));
        }
        let text = decoded(value.as_bytes()).ok_or_else(|| format!("the header {name} is no UTF-8"))?;
        if event.insert(attribute.to_owned(), Value::String(text)).is_some() {
            return Err(format!("the header {name} stands there twice"));
        }
    }
    let is_missing = |name: &&&str| event.get(**name).and_then(Value::as_str).is_none_or(str::is_empty);
    if let Some(missing) = REQUIRED.iter().find(is_missing) {
        return Err(format!("the header ce-{missing} is missing"));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(content_type) = content_type {
        event.insert("datacontenttype".to_owned(), Value::from(content_type));
    }
    let (member, data) = data(content_type, body)?;
    let text = Value::Object(event).to_string();
    let text = match data {
        Some(data) => format!("{},\"{member}\":{data}}}", &text[..text.len() - 1]),
        None => text,
    };
    RawValue::from_string(text).map_err(|error| format!("the event can't be written as JSON: {error}"))
}

/// The member for the data and its JSON text: JSON as it was written, other text as a string, everything else in
/// Base64. Without a content type it is JSON.
fn data(content_type: Option<&str>, body: &[u8]) -> Result<(&'static str, Option<String>), String> {
    if body.is_empty() {
        return Ok(("data", None));
    }
    let kind = content_type.unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_lowercase();
    if kind.ends_with("/json") || kind.ends_with("+json") {
        let json: &RawValue =
            serde_json::from_slice(body).map_err(|error| format!("the data are no JSON: {error}"))?;
        return Ok(("data", Some(json.get().to_owned())));
    }
    match std::str::from_utf8(body) {
        Ok(text) if kind.starts_with("text/") => Ok(("data", Some(Value::from(text).to_string()))),
        _ => Ok(("data_base64", Some(Value::from(STANDARD.encode(body)).to_string()))),
    }
}

/// A header's value: its quotes are taken off, and `%…` is decoded once (section 3.1.3.2).
fn decoded(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = quoted.unwrap_or(value);
    while let [first, tail @ ..] = rest {
        let (byte, next) = match (first, tail) {
            (b'\\', [escaped, tail @ ..]) if quoted.is_some() => (*escaped, tail),
            (b'%', [high, low, tail @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, tail),
                _ => (b'%', &rest[1..]),
            },
            _ => (*first, tail),
        };
        bytes.push(byte);
        rest = next;
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    const LEAST: [(&str, &str); 4] =
        [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/shop"), ("ce-type", "Stored")];

    fn headers(more: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in LEAST.iter().chain(more) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[track_caller]
    fn check(more: &[(&str, &str)], body: &[u8], expected: Result<&str, &str>) {
        let found = event(&headers(more), body);
        let least = r#""id":"7","source":"/shop","specversion":"1.0","type":"Stored""#;
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let found: Value = serde_json::from_str(found.get()).unwrap();
                let expected: Value = serde_json::from_str(&format!("{{{least}{expected}}}")).unwrap();
                assert_eq!(found, expected);
            }
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn headers_and_body_become_one_event() {
        let json = ("content-type", "application/json");
        check(&[json], b" {\"a\": 1}", Ok(r#","datacontenttype":"application/json","data":{"a":1}"#));
        check(&[("ce-subject", "caf%C3%A9")], b"[1]", Ok(r#","subject":"café","data":[1]"#));
        check(&[("ce-subject", "\"a \\\"b\\\"\"")], b"", Ok(r#","subject":"a \"b\"""#));
        check(&[("ce-subject", "100%")], b"", Ok(r#","subject":"100%""#));
        check(&[("content-type", "text/plain")], b"hi", Ok(r#","datacontenttype":"text/plain","data":"hi""#));
        check(
            &[("content-type", "image/png")],
            b"\x89P",
            Ok(r#","datacontenttype":"image/png","data_base64":"iVA=""#),
        );
    }

    #[test]
    fn what_is_no_event_is_named() {
        check(&[("content-type", "application/json")], b"{", Err("the data are no JSON"));
        check(&[("ce-data", "x")], b"", Err("`ce-data` can't be an attribute"));
        check(&[("ce-a_b", "x")], b"", Err("`ce-a_b` can't be an attribute"));
        check(&[("ce-id", "8")], b"", Err("the header ce-id stands there twice"));
        check(&[("ce-subject", "%FF")], b"", Err("the header ce-subject is no UTF-8"));
        let mut least = headers(&[]);
        least.remove("ce-source");
        assert_eq!(event(&least, b"").unwrap_err(), "the header ce-source is missing");
    }

    proptest! {
        /// Whatever stands in a header is one string of the event, and can't become another member of it.
        #[test]
        fn a_value_stays_a_value(value in "[ -~]{0,40}", body in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut map = headers(&[("content-type", "application/octet-stream")]);
            map.insert("ce-subject", HeaderValue::from_str(&value).unwrap());
            if let Ok(event) = event(&map, &body) {
                let event: Value = serde_json::from_str(event.get()).unwrap();
                prop_assert_eq!(event.as_object().unwrap().len(), if body.is_empty() { 6 } else { 7 });
                prop_assert!(event["subject"].is_string());
            }
        }
    }
}
