//! Attributes of messages: checked, digested as clients check it, and kept in the form of records.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

use super::{Fault, text};

/// As SQS has it.
const COUNT_MAX: usize = 10;

/// What is kept with a message: `{"record": …, "md5": …}`, where `record` is as events of functions have it; `None` without
/// attributes.
///
/// # Errors
/// 400 as SQS has them.
pub(super) fn kept(request: &Value) -> Result<Option<Value>, Fault> {
    let Some(Value::Object(given)) = request.get("MessageAttributes") else { return Ok(None) };
    if given.is_empty() {
        return Ok(None);
    }
    let refused = |message: String| Fault::bad("InvalidParameterValue", message);
    if given.len() > COUNT_MAX {
        return Err(refused(format!("a message has at most {COUNT_MAX} attributes")));
    }
    let mut names: Vec<&String> = given.keys().collect();
    names.sort();
    let (mut digest, mut record) = (Md5::new(), Map::new());
    for name in names {
        let attribute = &given[name.as_str()];
        let kind = text(attribute, "DataType").unwrap_or_default();
        let is_binary = kind.split('.').next() == Some("Binary");
        let key = if is_binary { "BinaryValue" } else { "StringValue" };
        let Some(value) = text(attribute, key).filter(|_| !kind.is_empty()) else {
            return Err(refused(format!(
                "The message attribute '{name}' must contain a {key} and a DataType."
            )));
        };
        add(&mut digest, name.as_bytes());
        add(&mut digest, kind.as_bytes());
        if is_binary {
            let bytes = STANDARD.decode(value).map_err(|_| refused(format!("'{name}' is no base64")))?;
            digest.update([2]);
            add(&mut digest, &bytes);
        } else {
            digest.update([1]);
            add(&mut digest, value.as_bytes());
        }
        let key = if is_binary { "binaryValue" } else { "stringValue" };
        let shown = json!({key: value, "stringListValues": [], "binaryListValues": [], "dataType": kind});
        record.insert(name.clone(), shown);
    }
    Ok(Some(json!({"record": record, "md5": hex(&digest.finalize())})))
}

/// The attributes of a kept text as `ReceiveMessage` has them, with their digest.
pub(super) fn received(kept: &str) -> Option<(Value, Value)> {
    let kept: Value = serde_json::from_str(kept).ok()?;
    let shown = |attribute: &Value| {
        let mut shown = json!({"DataType": attribute["dataType"]});
        for (key, name) in [("stringValue", "StringValue"), ("binaryValue", "BinaryValue")] {
            if let Some(value) = attribute.get(key) {
                shown[name] = value.clone();
            }
        }
        shown
    };
    let record = kept["record"].as_object()?;
    let attributes: Map<String, Value> =
        record.iter().map(|(name, attribute)| (name.clone(), shown(attribute))).collect();
    Some((Value::Object(attributes), kept["md5"].clone()))
}

fn add(digest: &mut Md5, bytes: &[u8]) {
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

pub(super) fn md5(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in bytes {
        // Writing to a text can't fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_digested_and_kept_as_records_have_them() {
        let request = json!({"MessageAttributes": {
            "kind": {"DataType": "String", "StringValue": "order"},
            "blob": {"DataType": "Binary", "BinaryValue": "AAE="}}});
        let kept = kept(&request).unwrap().unwrap();
        let expected = json!({"stringValue": "order", "stringListValues": [], "binaryListValues": [], "dataType": "String"});
        assert_eq!(kept["record"]["kind"], expected);
        let (attributes, md5) = received(&kept.to_string()).unwrap();
        assert_eq!(attributes, request["MessageAttributes"]);
        // Put together by hand after SQS's rule: blob before kind, each with its lengths.
        let mut bytes = Vec::new();
        for part in [&b"blob"[..], b"Binary"] {
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part);
        }
        bytes.extend([2, 0, 0, 0, 2, 0, 1]);
        bytes.extend(b"\0\0\0\x04kind\0\0\0\x06String\x01\0\0\0\x05order");
        assert_eq!(md5, super::md5(&bytes));
    }

    #[test]
    fn what_has_no_type_or_value_is_refused() {
        let check = |attribute: Value| {
            let request = json!({"MessageAttributes": {"kind": attribute}});
            assert_eq!(kept(&request).unwrap_err().code, "InvalidParameterValue", "{request}");
        };
        check(json!({"StringValue": "x"}));
        check(json!({"DataType": "String"}));
        check(json!({"DataType": "Binary", "BinaryValue": "!"}));
    }
}
