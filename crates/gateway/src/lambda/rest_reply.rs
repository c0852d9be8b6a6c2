//! What a handler returned into a response of an API with payload format 1.0: the rules of facts of Lambda, section 4.2.
//!
//! They are strict: what is no object with these members is a wrong answer, and its caller is told that something failed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::reply::{Fault, JSON, header, status, text_of};
use super::rest_event::is_binary;
use crate::apis::Format;
use crate::response;

const MEMBERS: [&str; 5] = ["statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"];

/// `asked` are the headers of the request.
pub(super) fn respond(format: &Format, asked: &HeaderMap, returned: &[u8]) -> Result<Response<Bytes>, Fault> {
    let result = match serde_json::from_slice(returned) {
        Ok(Value::Object(result)) if !result.is_empty() => result,
        Ok(_) => return Err(Fault::NoObject),
        // Python writes numbers such as NaN all the same.
        Err(error) => return Err(Fault::NoJson(error.to_string())),
    };
    let is_rest = matches!(format, Format::Rest { .. });
    if let Some(unknown) = result.keys().find(|key| !MEMBERS.contains(&key.as_str())).filter(|_| is_rest) {
        return Err(Fault::Unknown(unknown.clone()));
    }
    let mut response = Response::new(body(&result, format, asked)?);
    *response.status_mut() = match result.get("statusCode") {
        None | Some(Value::Null) => StatusCode::OK,
        value => status(value)?,
    };
    take_headers(&result, response.headers_mut())?;
    if !response.headers().contains_key(CONTENT_TYPE) {
        response.headers_mut().try_insert(CONTENT_TYPE, JSON).map_err(|_| Fault::TooManyHeaders)?;
    }
    Ok(response)
}

/// What has several values goes first.
fn take_headers(result: &Map<String, Value>, headers: &mut HeaderMap) -> Result<(), Fault> {
    let mut append = |name: &str, value: &Value| {
        let (name, value) = header(name, &text_of(value))?;
        // A wrong length would let a function end its response early and begin another (T-032).
        if !response::belongs_to_server(&name) {
            headers.try_append(name, value).map_err(|_| Fault::TooManyHeaders)?;
        }
        Ok(())
    };
    match result.get("multiValueHeaders") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, values) in given {
                let values =
                    values.as_array().ok_or(Fault::Member("multiValueHeaders", "an object of lists"))?;
                values.iter().try_for_each(|value| append(name, value))?;
            }
        }
        Some(_) => return Err(Fault::Member("multiValueHeaders", "an object of lists")),
    }
    match result.get("headers") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(given)) => given.iter().try_for_each(|(name, value)| append(name, value)),
        Some(_) => Err(Fault::Member("headers", "an object")),
    }
}

/// A REST API makes bytes of base64 only for who asks for one of the media types that it was told of.
fn body(result: &Map<String, Value>, format: &Format, asked: &HeaderMap) -> Result<Bytes, Fault> {
    let text = match result.get("body") {
        None | Some(Value::Null) => return Ok(Bytes::new()),
        Some(Value::String(text)) => text,
        Some(_) => return Err(Fault::Member("body", "text")),
    };
    let is_encoded = match result.get("isBase64Encoded") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true)) => true,
        Some(_) => return Err(Fault::Member("isBase64Encoded", "true or false")),
    };
    let accepted = || {
        let accept = asked.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match format {
            Format::Rest { binary_types } => is_binary(binary_types, accept),
            Format::Http1 | Format::Http2 | Format::Alb { .. } => true,
        }
    };
    if is_encoded && accepted() {
        return STANDARD.decode(text).map(Bytes::from).map_err(|_| Fault::Base64);
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rest(binary_types: &[&str]) -> Format {
        Format::Rest { binary_types: binary_types.iter().map(|&kind| kind.to_owned()).collect() }
    }

    fn answer(result: &Value) -> Result<Response<Bytes>, Fault> {
        respond(&rest(&[]), &HeaderMap::new(), result.to_string().as_bytes())
    }

    /// Each row of the table of facts 4.2.
    #[test]
    fn the_rules_of_a_rest_api() {
        let ok = |result: Value, status: u16, body: &str| {
            let response = answer(&result).unwrap();
            assert_eq!(
                (response.status().as_u16(), &**response.body()),
                (status, body.as_bytes()),
                "{result}"
            );
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json", "{result}");
        };
        ok(json!({"statusCode": 200}), 200, "");
        ok(json!({"headers": {"x": "y"}}), 200, "");
        ok(json!({"statusCode": "201"}), 201, "");
        ok(json!({"statusCode": 200, "headers": null, "body": "a"}), 200, "a");
        for wrong in [
            json!({"statusCode": "test"}),
            json!({"statusCode": 200, "wrongValue": 1}),
            json!({}),
            json!("text"),
            json!([1]),
            json!({"statusCode": 200, "multiValueHeaders": {"x": "y"}}),
            json!({"statusCode": 200, "body": {"a": 1}}),
        ] {
            assert!(answer(&wrong).is_err(), "{wrong}");
        }
        assert_eq!(respond(&rest(&[]), &HeaderMap::new(), b"NaN").unwrap_err().failure().code, "E0504");
    }

    #[test]
    fn several_values_go_first() {
        let result = json!({"statusCode": 200, "headers": {"test-multi": "value-solo", "flag": true},
            "multiValueHeaders": {"Test-Multi": ["value-multi"], "set-cookie": ["a=1", "b=2"]}});
        let response = answer(&result).unwrap();
        let all = |name: &str| -> Vec<String> {
            let values = response.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(all("test-multi"), ["value-multi", "value-solo"]);
        assert_eq!(
            (all("set-cookie"), all("flag")),
            (vec!["a=1".to_owned(), "b=2".to_owned()], vec!["true".to_owned()])
        );
    }

    #[test]
    fn base64_becomes_bytes_for_who_asks_for_a_known_type() {
        let result = json!({"statusCode": 200, "body": "AAE=", "isBase64Encoded": true}).to_string();
        let body = |format: &Format, accept: &'static str| {
            let asked = HeaderMap::from_iter([(ACCEPT, http::HeaderValue::from_static(accept))]);
            respond(format, &asked, result.as_bytes()).unwrap().into_body()
        };
        assert_eq!(body(&rest(&["image/png"]), "image/png, */*"), [0, 1].as_slice());
        assert_eq!(body(&rest(&["image/png"]), "*/*"), b"AAE=".as_slice());
        assert_eq!(body(&rest(&["*/*"]), "text/html"), [0, 1].as_slice());
        assert_eq!(body(&rest(&[]), "image/png"), b"AAE=".as_slice());
        assert_eq!(body(&Format::Http1, "text/html"), [0, 1].as_slice());
    }
}
