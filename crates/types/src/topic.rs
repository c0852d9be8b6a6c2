//! Messages of topics and queues, and what subscribers want to hear: filter policies of SNS ("Subscription filter policies" in Amazon's developer guide of
//! SNS), whose language is that of [`crate::pattern`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::pattern::{Pattern, Shape};

/// An attribute of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicAttribute {
    /// `String`, `Number`, `String.Array` or `Binary`.
    pub kind: String,
    /// Of `Binary` in base64.
    pub value: String,
}

impl TopicAttribute {
    /// Whether its value is base64: of `Binary` and of what an app calls `Binary.something`.
    pub fn is_binary(&self) -> bool {
        self.kind.split('.').next() == Some("Binary")
    }
}

/// The attributes of a message, by name.
pub type TopicAttributes = BTreeMap<String, TopicAttribute>;

/// What a message of a queue keeps of its attributes, `None` without any: `{"record": …, "md5": …}`. `record` is as records of SQS have
/// it, and `md5` the digest that clients of SQS check ("Calculating the MD5 message digest for message attributes" in Amazon's
/// developer guide of SQS): of name, type and value by the order of the names, each with its length in front.
pub fn kept(attributes: &TopicAttributes) -> Option<Value> {
    let (mut digest, mut record) = (Md5::new(), Map::new());
    for (name, attribute) in attributes {
        let TopicAttribute { kind, value } = attribute;
        add(&mut digest, name.as_bytes());
        add(&mut digest, kind.as_bytes());
        let key = if attribute.is_binary() {
            digest.update([2]);
            // What is no base64 was refused where it came in.
            add(&mut digest, &STANDARD.decode(value).unwrap_or_default());
            "binaryValue"
        } else {
            digest.update([1]);
            add(&mut digest, value.as_bytes());
            "stringValue"
        };
        let shown = json!({key: value, "stringListValues": [], "binaryListValues": [], "dataType": kind});
        record.insert(name.clone(), shown);
    }
    (!record.is_empty()).then(|| json!({"record": record, "md5": hex(&digest.finalize())}))
}

fn add(digest: &mut Md5, bytes: &[u8]) {
    digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(bytes);
}

/// The number of a message in its group, as SQS has it: larger ones are larger texts.
pub fn sequence_number(sequence: u64) -> String {
    format!("{sequence:020}")
}

/// The digest of a body, in hexadecimal, as SQS has it.
pub fn md5(bytes: &[u8]) -> String {
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

/// Longest message, in bytes, as SNS has it.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// What is published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    pub id: Uuid,
    pub topic: String,
    pub subject: Option<String>,
    pub message: String,
    pub attributes: TopicAttributes,
    /// Functions that what causes it has passed through.
    pub hop_count: u32,
    pub trace_parent: String,
}

/// Which messages a subscriber gets.
#[derive(Clone, PartialEq, Debug)]
pub struct FilterPolicy {
    pattern: Pattern,
    /// It is about the message, which is JSON then, and not about its attributes.
    is_of_body: bool,
}

impl FilterPolicy {
    /// Reads a policy: `{"store": ["books", {"prefix": "mu"}], "price": [{"numeric": [">", 0, "<=", 10]}]}`.
    ///
    /// # Errors
    /// What of it is not known, in words.
    pub fn new(policy: &Value, is_of_body: bool) -> Result<Self, String> {
        let shape = if is_of_body { Shape::Nested } else { Shape::Flat };
        let pattern = Pattern::new(policy, shape).map_err(|what| format!("the filter policy: {what}"))?;
        Ok(Self { pattern, is_of_body })
    }

    /// Whether a message is for its subscriber. One without the JSON that a policy is about is not.
    pub fn accepts(&self, attributes: &TopicAttributes, message: &str) -> bool {
        if self.is_of_body {
            let Ok(Value::Object(body)) = serde_json::from_str(message) else { return false };
            return self.pattern.matches(&body);
        }
        let values: Map<String, Value> =
            attributes.iter().map(|(name, attribute)| (name.clone(), value(attribute))).collect();
        self.pattern.matches(&values)
    }
}

/// What conditions compare with.
fn value(attribute: &TopicAttribute) -> Value {
    let parsed = match attribute.kind.split('.').next() {
        Some("Number") => serde_json::from_str(&attribute.value).ok().filter(Value::is_number),
        _ if attribute.kind == "String.Array" => {
            serde_json::from_str(&attribute.value).ok().filter(Value::is_array)
        }
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::from(attribute.value.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(list: &[(&str, &str, &str)]) -> TopicAttributes {
        let one = |(name, kind, value): &(&str, &str, &str)| {
            ((*name).to_owned(), TopicAttribute { kind: (*kind).to_owned(), value: (*value).to_owned() })
        };
        list.iter().map(one).collect()
    }

    #[track_caller]
    fn check(policy: Value, expected: bool) {
        let given = attributes(&[
            ("store", "String", "music"),
            ("price", "Number", "7.50"),
            ("kinds", "String.Array", "[\"rock\", \"jazz\"]"),
        ]);
        let policy = FilterPolicy::new(&policy, false).unwrap();
        assert_eq!(policy.accepts(&given, "no JSON"), expected, "{policy:?}");
    }

    #[test]
    fn attributes_are_compared_by_their_types() {
        check(json!({}), true);
        check(json!({"store": ["music"], "price": [8]}), false);
        check(json!({"price": [7.5]}), true);
        check(json!({"price": [{"numeric": [">", 0, "<=", 7.5]}]}), true);
        check(json!({"kinds": ["jazz"]}), true);
        check(json!({"kinds": ["pop"]}), false);
        check(json!({"other": [{"exists": false}], "store": [{"exists": true}]}), true);
    }

    #[test]
    fn attributes_are_digested_and_kept_as_records_have_them() {
        let kept = kept(&attributes(&[("kind", "String", "order"), ("blob", "Binary", "AAE=")])).unwrap();
        let expected = json!({"stringValue": "order", "stringListValues": [], "binaryListValues": [], "dataType": "String"});
        assert_eq!(kept["record"]["kind"], expected);
        assert_eq!(kept["record"]["blob"]["binaryValue"], "AAE=");
        // Put together by hand after SQS's rule: blob before kind, each with its lengths.
        let mut bytes = Vec::new();
        for part in [&b"blob"[..], b"Binary"] {
            bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
            bytes.extend(part);
        }
        bytes.extend([2, 0, 0, 0, 2, 0, 1]);
        bytes.extend(b"\0\0\0\x04kind\0\0\0\x06String\x01\0\0\0\x05order");
        assert_eq!(kept["md5"], md5(&bytes));
        assert_eq!(super::kept(&TopicAttributes::new()), None);
    }

    #[test]
    fn a_policy_may_be_about_the_message() {
        let policy = json!({"order": {"dish": [{"prefix": "s"}]}, "tags": ["new"]});
        let policy = FilterPolicy::new(&policy, true).unwrap();
        let check = |message: &str, expected: bool| {
            assert_eq!(policy.accepts(&TopicAttributes::new(), message), expected, "{message}");
        };
        check(r#"{"order": {"dish": "soup"}, "tags": ["old", "new"]}"#, true);
        check(r#"{"order": [{"dish": "tea"}, {"dish": "soup"}], "tags": "new"}"#, true);
        check(r#"{"order": {"dish": "tea"}, "tags": ["new"]}"#, false);
        check(r#"{"order": "soup", "tags": ["new"]}"#, false);
        check("soup", false);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let check = |policy: Value, part: &str| {
            let error = FilterPolicy::new(&policy, false).unwrap_err();
            assert!(error.starts_with("the filter policy: ") && error.contains(part), "{error}");
        };
        check(json!([]), "JSON object");
        // Attributes have no members.
        check(json!({"store": {"name": ["music"]}}), "no list");
        check(json!({"store": [{"regex": "m.*"}]}), "`regex` is not known");
    }
}
