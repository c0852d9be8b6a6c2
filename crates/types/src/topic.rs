//! Messages of topics, and what subscribers want to hear: filter policies of SNS ("Subscription filter policies" in Amazon's developer guide of
//! SNS), whose language is that of [`crate::pattern`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};
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

/// The attributes of a message, by name.
pub type TopicAttributes = BTreeMap<String, TopicAttribute>;

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
    use serde_json::json;

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
