//! Attributes of messages: checked, and shown as clients of SQS know them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingle_types::topic::{self, TopicAttribute, TopicAttributes};
use serde_json::{Map, Value, json};

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
    let mut found = TopicAttributes::new();
    for (name, attribute) in given {
        let kind = text(attribute, "DataType").unwrap_or_default().to_owned();
        let mut one = TopicAttribute { kind, value: String::new() };
        let key = if one.is_binary() { "BinaryValue" } else { "StringValue" };
        let Some(value) = text(attribute, key).filter(|_| !one.kind.is_empty()) else {
            return Err(refused(format!(
                "The message attribute '{name}' must contain a {key} and a DataType."
            )));
        };
        if one.is_binary() && STANDARD.decode(value).is_err() {
            return Err(refused(format!("'{name}' is no base64")));
        }
        value.clone_into(&mut one.value);
        found.insert(name.clone(), one);
    }
    Ok(topic::kept(&found))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_out_as_they_went_in() {
        let request = json!({"MessageAttributes": {
            "kind": {"DataType": "String", "StringValue": "order"},
            "blob": {"DataType": "Binary", "BinaryValue": "AAE="}}});
        let kept = kept(&request).unwrap().unwrap();
        let (attributes, md5) = received(&kept.to_string()).unwrap();
        assert_eq!(attributes, request["MessageAttributes"]);
        assert_eq!(md5.as_str().map(str::len), Some(32));
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
