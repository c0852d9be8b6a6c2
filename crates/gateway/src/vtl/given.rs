//! What API Gateway gives to templates: `$input` and `$util`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::path;
use super::render::{Input, Ready};
use super::value::{self, Value, printed};
use crate::request::decoded;

/// The headers among what `$input.params()` has.
const HEADER: &str = "header";

/// What is found in a body is not copied.
pub(super) fn of_input<'a>(
    input: &'a Input,
    json: &'a Value,
    step: &Ready,
) -> Result<Cow<'a, Value>, String> {
    let (name, arguments) = match step {
        Ready::Property(name) if name == "body" => return Ok(Cow::Owned(input.body.clone().into())),
        Ready::Call(name, arguments) => (name.as_str(), arguments.as_slice()),
        _ => return Ok(Cow::Owned(Value::Null)),
    };
    Ok(match (name, arguments) {
        ("path", [Value::String(path)]) => path::find(json, path)?,
        ("json", [Value::String(path)]) => Cow::Owned(match &*path::find(json, path)? {
            // What is not there is an empty text.
            Value::Null if path.trim() != "$" => "\"\"".into(),
            value => value.to_string().into(),
        }),
        ("params", []) => Cow::Borrowed(&input.params),
        ("params", [Value::String(name)]) => {
            let of = |kind: &str| input.params.get(kind);
            let found = ["path", "querystring"].into_iter().find_map(|kind| of(kind)?.get(name));
            let found = found.or_else(|| value::header(of(HEADER)?, name).map(|(_, value)| value));
            found.map(Cow::Borrowed).unwrap_or_default()
        }
        _ => Cow::Owned(Value::Null),
    })
}

/// Gives the header in `$input.params().header.name` the letters that it has here. How the client has written it is not
/// known any more, and HTTP does not tell them apart.
pub(super) fn name_header(params: &Value, steps: &mut [Ready]) {
    let [Ready::Call(method, arguments), kind, header, ..] = steps else { return };
    if method != "params" || !arguments.is_empty() || kind.key().is_none_or(|kind| kind != HEADER) {
        return;
    }
    if let (Some(name), Some(headers)) = (header.key(), params.get(HEADER))
        && let Some((known, _)) = value::header(headers, name)
    {
        name.clone_from(known);
    }
}

pub(super) fn of_util(step: &Ready) -> Result<Value, String> {
    let Ready::Call(name, arguments) = step else { return Ok(Value::Null) };
    let [argument] = arguments.as_slice() else { return Ok(Value::Null) };
    if argument.is_null() {
        return Ok(Value::Null);
    }
    let text = printed(argument);
    Ok(match name.as_str() {
        "escapeJavaScript" => escaped(&text).into(),
        "parseJson" => serde_json::from_str(&text).map_err(|error| format!("parseJson: {error}"))?,
        "urlEncode" => encoded(&text).into(),
        "urlDecode" => decoded(&text.replace('+', " ")).into(),
        "base64Encode" => STANDARD.encode(text).into(),
        "base64Decode" => {
            let bytes = STANDARD.decode(text.trim()).map_err(|_| "base64Decode: no base64".to_owned())?;
            String::from_utf8_lossy(&bytes).into_owned().into()
        }
        _ => Value::Null,
    })
}

/// As a part of a text of JavaScript.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\'' | '"' | '\\' | '/' => escaped.extend(['\\', letter]),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            letter if letter.is_control() || !letter.is_ascii() => {
                let mut units = [0; 2];
                for unit in letter.encode_utf16(&mut units) {
                    escaped.push_str(&format!("\\u{unit:04X}"));
                }
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// As a form writes it.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte) => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
