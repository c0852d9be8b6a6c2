//! A returned JSON object with a `body` is a response: `{"statusCode": 201, "headers": {…}, "body": …, "cookies": […]}`.
//!
//! Azure's host reads it so, and programs ported from other languages rely on it. Names are compared without regard to
//! case.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Draft, JSON, ResponseFault, TEXT, cookie, quote, status};

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a response; `None` if the text is no JSON object or has no `body`.
pub(super) fn read(text: &str) -> Option<Result<Draft, ResponseFault>> {
    let fields: Fields<'_> = serde_json::from_str(text).ok()?;
    let body = field(&fields, &["body"])?;
    Some(draft(&fields, body))
}

fn draft(fields: &Fields<'_>, body: &RawValue) -> Result<Draft, ResponseFault> {
    let status = field(fields, &["status", "statusCode"]).map_or(Ok(StatusCode::OK), read_status)?;
    let (body, content_type) = read_body(body);
    let mut draft = Draft::new(status, body);
    if let Some(headers) = field(fields, &["headers"]) {
        read_headers(&mut draft, headers)?;
    }
    if let Some(cookies) = field(fields, &["cookies"]) {
        for cookie in cookie::read(cookies)? {
            draft.header("set-cookie", &cookie)?;
        }
    }
    draft.content_type(content_type);
    Ok(draft)
}

/// The first of the names that is there and not null; `body` alone may be null.
fn field<'a>(fields: &Fields<'a>, names: &[&str]) -> Option<&'a RawValue> {
    names.iter().find_map(|name| {
        let known = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        known.map(|(_, raw)| *raw).filter(|raw| *name == "body" || raw.get() != "null")
    })
}

/// A number, or a text that holds one.
fn read_status(raw: &RawValue) -> Result<StatusCode, ResponseFault> {
    let text = serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
    text.trim().parse().ok().and_then(status).ok_or_else(|| ResponseFault::Status(quote(&text)))
}

/// The body and the content type that it has unless the headers say otherwise.
fn read_body(raw: &RawValue) -> (Bytes, &'static str) {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let unquoted = serde_json::from_str::<String>(text);
            (unquoted.unwrap_or_else(|_| text.to_owned()).into(), TEXT)
        }
        Some(b'{' | b'[') => (Bytes::copy_from_slice(text.as_bytes()), JSON),
        Some(b'n') | None => (Bytes::new(), TEXT),
        Some(_) => (Bytes::copy_from_slice(text.as_bytes()), TEXT),
    }
}

fn read_headers(draft: &mut Draft, raw: &RawValue) -> Result<(), ResponseFault> {
    const FAULT: ResponseFault =
        ResponseFault::Field { field: "headers", expected: "an object of texts, numbers or lists of these" };
    let headers: Map<String, Value> = serde_json::from_str(raw.get()).map_err(|_| FAULT)?;
    for (name, value) in &headers {
        let values =
            if let Value::Array(values) = value { values.as_slice() } else { std::slice::from_ref(value) };
        for value in values {
            match value {
                Value::Null => {}
                Value::String(text) => draft.header(name, text)?,
                Value::Number(_) | Value::Bool(_) => draft.header(name, &value.to_string())?,
                Value::Array(_) | Value::Object(_) => return Err(FAULT),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `status|name: value|…|body`, or the fault, or `none`.
    fn check(text: &str, expected: &str) {
        let shown = match read(text) {
            None => "none".to_owned(),
            Some(Err(fault)) => fault.to_string(),
            Some(Ok(draft)) => {
                let mut lines = vec![draft.response.status().as_u16().to_string()];
                let headers = draft.response.headers().iter();
                lines.extend(headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
                lines.push(String::from_utf8_lossy(draft.response.body()).into_owned());
                lines.join("|")
            }
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn objects_without_a_body_are_no_responses() {
        check("{}", "none");
        check(r#"{"status": 200}"#, "none");
        check(r#"{"body": 1"#, "none");
        check(r#"[{"body": 1}]"#, "none");
    }

    #[test]
    fn bodies() {
        check(r#"{"body": "hi"}"#, "200|content-type: text/plain; charset=utf-8|hi");
        check(r#"{"BODY": null}"#, "200|content-type: text/plain; charset=utf-8|");
        check(r#"{"body": 1.50}"#, "200|content-type: text/plain; charset=utf-8|1.50");
        check(r#"{"body": {"a":  1}}"#, r#"200|content-type: application/json; charset=utf-8|{"a":  1}"#);
    }

    #[test]
    fn statuses() {
        check(r#"{"body": "", "statusCode": 201}"#, "201|content-type: text/plain; charset=utf-8|");
        check(r#"{"body": "", "Status": "404"}"#, "404|content-type: text/plain; charset=utf-8|");
        check(r#"{"body": "", "status": null}"#, "200|content-type: text/plain; charset=utf-8|");
        check(r#"{"body": "", "status": "ok"}"#, r#""ok" is no status code from 200 to 599"#);
        check(r#"{"body": "", "status": 200.5}"#, r#""200.5" is no status code from 200 to 599"#);
        check(r#"{"body": "", "status": 1e999}"#, r#""1e999" is no status code from 200 to 599"#);
    }

    #[test]
    fn headers_and_cookies() {
        check(
            r#"{"body": "x", "headers": {"Content-Type": "text/html", "x-n": 5, "x-l": ["a", "b"], "x-none": null}}"#,
            "200|content-type: text/html|x-n: 5|x-l: a|x-l: b|x",
        );
        check(
            r#"{"body": "x", "cookies": [{"name": "a", "value": "b c"}]}"#,
            "200|set-cookie: a=b%20c|content-type: text/plain; charset=utf-8|x",
        );
        let fault = "`headers` of the returned object is not an object of texts, numbers or lists of these";
        check(r#"{"body": "x", "headers": ["a"]}"#, fault);
        check(r#"{"body": "x", "headers": {"a": {}}}"#, fault);
        check(r#"{"body": "x", "headers": {"a b": ""}}"#, r#""a b" is no name for a header"#);
    }
}
