//! What a handler returned into a response: the rules of payload format 2.0 (facts of Lambda, section 4.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, SET_COOKIE};
use http::{Response, StatusCode};
use ingle_types::outcome::{Blame, Failure};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::response;

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is in pieces whose runtime says nothing of them.
pub(super) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Why a result is no response.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum Fault {
    #[error("`statusCode` is {0}, which is no status from 200 to 599")]
    Status(String),
    #[error("`{0}` is not {1}")]
    Member(&'static str, &'static str),
    #[error("it is no object with members")]
    NoObject,
    #[error("`{0}` is no member of a response")]
    Unknown(String),
    #[error("it is no JSON: {0}")]
    NoJson(String),
    #[error("a header can't be sent: {0}")]
    Header(String),
    #[error("there are too many headers")]
    TooManyHeaders,
    #[error("it has no end of its prelude, eight zero bytes, in its first {0} bytes")]
    LongPrelude(usize),
    #[error("`body` is no base64, though `isBase64Encoded` says so")]
    Base64,
    #[error("it has {bytes} bytes, more than {max}")]
    TooLong { bytes: usize, max: u64 },
}

impl Fault {
    pub(super) fn failure(&self) -> Failure {
        let message = format!("what the handler returned can't be sent: {self}");
        let mut failure = Failure::new(Blame::App, "E0504", "InvalidResponse", message);
        let hint = "return {\"statusCode\": 200, \"headers\": {…}, \"body\": \"text\"}, or any JSON without `statusCode`";
        failure.hint = Some(hint.to_owned());
        failure
    }
}

/// An object with `statusCode` says what the response is; everything else is the body itself.
pub(super) fn respond(returned: Bytes) -> Result<Response<Bytes>, Fault> {
    match serde_json::from_slice(&returned) {
        Ok(Value::Object(result)) if result.contains_key("statusCode") => described(&result, JSON),
        Ok(Value::String(body)) => Ok(plain(Bytes::from(body))),
        Ok(_) => Ok(plain(returned)),
        // Python writes numbers such as NaN all the same.
        Err(error) => Err(Fault::NoJson(error.to_string())),
    }
}

fn plain(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// The head of a response whose body goes in pieces behind it (facts of Lambda, section 1.5).
pub(super) fn prelude(text: &[u8]) -> Result<Response<Bytes>, Fault> {
    let mut head = match serde_json::from_slice(text) {
        Ok(Value::Object(head)) => head,
        Ok(_) => return Err(Fault::NoObject),
        Err(error) => return Err(Fault::NoJson(error.to_string())),
    };
    head.entry("statusCode").or_insert(Value::from(200));
    head.remove("body");
    described(&head, OCTETS)
}

fn described(result: &Map<String, Value>, usual_type: HeaderValue) -> Result<Response<Bytes>, Fault> {
    let mut response = Response::new(body(result)?);
    *response.status_mut() = status(result.get("statusCode"))?;
    let headers = response.headers_mut();
    match result.get("headers") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                let (name, value) = header(name, &text_of(value))?;
                // A wrong length would let a function end its response early and begin another (T-032).
                if !response::belongs_to_server(&name) {
                    headers.try_insert(name, value).map_err(|_| Fault::TooManyHeaders)?;
                }
            }
        }
        Some(_) => return Err(Fault::Member("headers", "an object")),
    }
    match result.get("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Array(cookies)) => {
            for cookie in cookies {
                let (name, value) = header(SET_COOKIE.as_str(), &text_of(cookie))?;
                headers.try_append(name, value).map_err(|_| Fault::TooManyHeaders)?;
            }
        }
        Some(_) => return Err(Fault::Member("cookies", "a list")),
    }
    if !headers.contains_key(CONTENT_TYPE) {
        headers.try_insert(CONTENT_TYPE, usual_type).map_err(|_| Fault::TooManyHeaders)?;
    }
    Ok(response)
}

pub(super) fn header(name: &str, value: &str) -> Result<(http::HeaderName, HeaderValue), Fault> {
    response::header(name, value).map_err(|fault| Fault::Header(fault.to_string()))
}

/// A number, or a text that is one.
pub(super) fn status(value: Option<&Value>) -> Result<StatusCode, Fault> {
    let number = match value {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let status = number.and_then(|number| u16::try_from(number).ok());
    let status = status.filter(|status| (200..600).contains(status));
    status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| Fault::Status(value.unwrap_or(&Value::Null).to_string()))
}

fn body(result: &Map<String, Value>) -> Result<Bytes, Fault> {
    let text = match result.get("body") {
        None | Some(Value::Null) => return Ok(Bytes::new()),
        Some(value) => text_of(value),
    };
    match result.get("isBase64Encoded") {
        None | Some(Value::Null | Value::Bool(false)) => Ok(Bytes::from(text)),
        Some(Value::Bool(true)) => STANDARD.decode(text).map(Bytes::from).map_err(|_| Fault::Base64),
        Some(_) => Err(Fault::Member("isBase64Encoded", "true or false")),
    }
}

/// A text as it is, everything else as JSON.
pub(super) fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(returned: &str, status: u16, content_type: &str, body: &[u8]) -> Response<Bytes> {
        let response = respond(Bytes::copy_from_slice(returned.as_bytes())).unwrap();
        assert_eq!(response.status(), status, "{returned}");
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{returned}");
        assert_eq!(response.body().as_ref(), body, "{returned}");
        response
    }

    #[test]
    fn a_result_with_a_status_code_is_a_response() {
        check(r#"{"statusCode": 200}"#, 200, "application/json", b"");
        check(r#"{"statusCode": "201", "body": "made"}"#, 201, "application/json", b"made");
        let page = r#"{"statusCode": 404, "headers": {"Content-Type": "text/html", "x-number": 7, "x-yes": true},
            "cookies": ["a=1", "b=2; Secure"], "body": "<p>"}"#;
        let response = check(page, 404, "text/html", b"<p>");
        let cookies: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1", "b=2; Secure"]);
        assert_eq!(
            (&response.headers()["x-number"], &response.headers()["x-yes"]),
            (&HeaderValue::from_static("7"), &HeaderValue::from_static("true"))
        );
        check(
            r#"{"statusCode": 200, "body": "/w==", "isBase64Encoded": true}"#,
            200,
            "application/json",
            b"\xff",
        );
        check(
            r#"{"statusCode": 200, "headers": null, "cookies": null, "body": null}"#,
            200,
            "application/json",
            b"",
        );
    }

    /// T-032: what is about the connection is for the server to say.
    #[test]
    fn t_032_a_handler_does_not_frame_its_response() {
        let returned = r#"{"statusCode": 200, "body": "hello", "headers":
            {"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "close", "x-own": "1"}}"#;
        let response = check(returned, 200, "application/json", b"hello");
        let names: Vec<&str> = response.headers().keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["x-own", "content-type"]);
    }

    #[test]
    fn every_other_result_is_the_body() {
        check(r#"{"message": "hello"}"#, 200, "application/json", br#"{"message": "hello"}"#);
        check(r#""hello""#, 200, "application/json", b"hello");
        check("[1, 2]", 200, "application/json", b"[1, 2]");
        check("null", 200, "application/json", b"null");
    }

    /// T-046: no result ends anything but its own invocation.
    #[test]
    fn t_046_what_can_not_be_sent_is_named() {
        let check = |returned: &str, part: &str| {
            let fault = respond(Bytes::copy_from_slice(returned.as_bytes())).unwrap_err();
            assert!(fault.to_string().contains(part), "{fault}");
            assert_eq!(fault.failure().code, "E0504");
        };
        check(r#"{"statusCode": "test"}"#, "statusCode");
        check(r#"{"statusCode": 99}"#, "99");
        check(r#"{"statusCode": 100}"#, "100");
        check(r#"{"statusCode": null}"#, "null");
        check("NaN", "no JSON");
        check(r#"{"statusCode": 500, "x": NaN}"#, "no JSON");
        let many: Vec<String> = (0..40_000).map(|number| format!("\"h{number}\": 1")).collect();
        check(&format!("{{\"statusCode\": 200, \"headers\": {{{}}}}}", many.join(",")), "too many");
        check(r#"{"statusCode": 200, "headers": ["x"]}"#, "headers");
        check(r#"{"statusCode": 200, "headers": {"a b": "c"}}"#, "a b");
        check(r#"{"statusCode": 200, "headers": {"a": "c\r\nd: e"}}"#, "line break");
        check(r#"{"statusCode": 200, "cookies": "a=b"}"#, "cookies");
        check(r#"{"statusCode": 200, "body": "***", "isBase64Encoded": true}"#, "base64");
        check(r#"{"statusCode": 200, "body": "x", "isBase64Encoded": "yes"}"#, "isBase64Encoded");
    }
}
