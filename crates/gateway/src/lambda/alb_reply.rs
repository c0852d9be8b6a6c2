//! What a handler returned into a response of an Application Load Balancer: the rules of facts of Lambda, section 4.2. And the
//! pages with which it answers by itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use hyper::ext::ReasonPhrase;
use serde_json::{Map, Value};

use super::reply::{Fault, header, status, text_of};
use crate::response;

/// Longest body of a request, and longest result, in bytes.
pub(super) const BYTES_MAX: u64 = 1 << 20;
/// What browsers take for a file, which is why functions name a type.
const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `multi_value`: whether headers are lists of values.
pub(super) fn respond(multi_value: bool, returned: &[u8]) -> Result<Response<Bytes>, Fault> {
    if returned.len() as u64 > BYTES_MAX {
        return Err(Fault::TooLong { bytes: returned.len(), max: BYTES_MAX });
    }
    let result = match serde_json::from_slice(returned) {
        Ok(Value::Object(result)) if !result.is_empty() => result,
        Ok(_) => return Err(Fault::NoObject),
        // Python writes numbers such as NaN all the same.
        Err(error) => return Err(Fault::NoJson(error.to_string())),
    };
    let code = match result.get("statusCode") {
        // It alone takes no text here.
        Some(value) if !value.is_u64() => return Err(Fault::Status(value.to_string())),
        value => status(value)?,
    };
    let mut response = Response::new(body(&result)?);
    *response.status_mut() = code;
    if let Some(phrase) = phrase(&result)? {
        response.extensions_mut().insert(phrase);
    }
    take_headers(&result, multi_value, response.headers_mut())?;
    if !response.headers().contains_key(CONTENT_TYPE) {
        response.headers_mut().try_insert(CONTENT_TYPE, UNKNOWN).map_err(|_| Fault::TooManyHeaders)?;
    }
    Ok(response)
}

fn body(result: &Map<String, Value>) -> Result<Bytes, Fault> {
    let text = match result.get("body") {
        None | Some(Value::Null) => return Ok(Bytes::new()),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Fault::Member("body", "text")),
    };
    match result.get("isBase64Encoded") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(Bytes::copy_from_slice(text.as_bytes())),
        Some(Value::Bool(true)) => STANDARD.decode(text).map(Bytes::from).map_err(|_| Fault::Base64),
        Some(_) => Err(Fault::Member("isBase64Encoded", "true or false")),
    }
}

/// `Not found` of the description `404 Not found`.
fn phrase(result: &Map<String, Value>) -> Result<Option<ReasonPhrase>, Fault> {
    let text = match result.get("statusDescription") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Fault::Member("statusDescription", "text")),
    };
    let Some((_code, words)) = text.split_once(' ') else { return Ok(None) };
    let phrase = ReasonPhrase::try_from(words.as_bytes());
    phrase.map(Some).map_err(|_| Fault::Member("statusDescription", "text without line breaks"))
}

/// Of the two members only that of the target group's kind counts.
fn take_headers(
    result: &Map<String, Value>,
    multi_value: bool,
    headers: &mut HeaderMap,
) -> Result<(), Fault> {
    let mut append = |name: &str, value: &Value| {
        let (name, value) = header(name, &text_of(value))?;
        // A wrong length would let a function end its response early and begin another (T-032).
        if !response::belongs_to_server(&name) {
            headers.try_append(name, value).map_err(|_| Fault::TooManyHeaders)?;
        }
        Ok(())
    };
    let (member, other) =
        if multi_value { ("multiValueHeaders", "headers") } else { ("headers", "multiValueHeaders") };
    match (result.get(member), multi_value) {
        (None, _) if result.get(other).is_some_and(|value| !value.is_null()) => {
            tracing::warn!(
                "headers of a result are left out: its target group takes `{member}`, not `{other}`"
            );
            Ok(())
        }
        (None | Some(Value::Null), _) => Ok(()),
        (Some(Value::Object(given)), false) => given.iter().try_for_each(|(name, value)| append(name, value)),
        (Some(Value::Object(given)), true) => given.iter().try_for_each(|(name, values)| {
            let values = values.as_array().ok_or(Fault::Member(member, "an object of lists"))?;
            values.iter().try_for_each(|value| append(name, value))
        }),
        (Some(_), false) => Err(Fault::Member(member, "an object")),
        (Some(_), true) => Err(Fault::Member(member, "an object of lists")),
    }
}

/// The page of a load balancer that has no answer of a function.
pub(crate) fn page(status: StatusCode) -> Response<Bytes> {
    let title = match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    };
    let text = format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(result: &Value, multi_value: bool) -> Result<Response<Bytes>, Fault> {
        respond(multi_value, result.to_string().as_bytes())
    }

    #[test]
    fn a_result_is_a_response() {
        let result = json!({"statusCode": 404, "statusDescription": "404 Nothing here", "isBase64Encoded": false,
            "headers": {"Content-Type": "text/plain", "x-number": 7, "Content-Length": "1"}, "body": "none"});
        let response = answer(&result, false).unwrap();
        assert_eq!((response.status().as_u16(), &**response.body()), (404, b"none".as_slice()));
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(response.headers()["x-number"], "7");
        assert!(!response.headers().contains_key("content-length"), "the server says how long it is");
        assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Nothing here");

        let response =
            answer(&json!({"statusCode": 200, "body": "AAE=", "isBase64Encoded": true}), false).unwrap();
        assert_eq!(response.body().as_ref(), [0, 1]);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/octet-stream");
    }

    #[test]
    fn headers_are_those_of_the_target_group() {
        let result = json!({"statusCode": 200, "headers": {"x-one": "a"}, "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]}});
        let names = |multi_value: bool| {
            let response = answer(&result, multi_value).unwrap();
            let pairs = response.headers().iter().filter(|(name, _)| *name != CONTENT_TYPE);
            pairs.map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["x-one=a"]);
        assert_eq!(names(true), ["set-cookie=a=1", "set-cookie=b=2"]);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for wrong in [
            json!({}),
            json!("text"),
            json!([1]),
            json!({"body": "no status"}),
            json!({"statusCode": "200"}),
            json!({"statusCode": 200.5}),
            json!({"statusCode": 99}),
            json!({"statusCode": 200, "body": {"a": 1}}),
            json!({"statusCode": 200, "headers": ["a"]}),
            json!({"statusCode": 200, "body": "*", "isBase64Encoded": true}),
            json!({"statusCode": 200, "isBase64Encoded": "true", "body": "a"}),
            json!({"statusCode": 200, "statusDescription": 200}),
            json!({"statusCode": 200, "statusDescription": "200 OK\r\nx: y"}),
        ] {
            assert_eq!(answer(&wrong, false).unwrap_err().failure().code, "E0504", "{wrong}");
        }
        assert!(answer(&json!({"statusCode": 200, "multiValueHeaders": {"x": "y"}}), true).is_err());
        let long = json!({"statusCode": 200, "body": "a".repeat(1 << 20)});
        assert!(matches!(answer(&long, false), Err(Fault::TooLong { .. })));
        assert!(respond(false, b"NaN").is_err());
    }
}
