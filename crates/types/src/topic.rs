//! Messages of topics, and what subscribers want to hear: filter policies of SNS ("Subscription filter policies" in Amazon's developer guide of
//! SNS).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use uuid::Uuid;

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
    policy: Map<String, Value>,
    /// It is about the message, which is JSON then, and not about its attributes.
    is_of_body: bool,
}

const OR: &str = "$or";
/// Deeper than policies may be.
const DEPTH_MAX: usize = 16;

impl FilterPolicy {
    /// Reads a policy: `{"store": ["books", {"prefix": "mu"}], "price": [{"numeric": [">", 0, "<=", 10]}]}`.
    ///
    /// # Errors
    /// What of it is not known, in words.
    pub fn new(policy: &Value, is_of_body: bool) -> Result<Self, String> {
        let policy = policy.as_object().ok_or("a filter policy is a JSON object")?;
        check(policy, is_of_body, 0)?;
        Ok(Self { policy: policy.clone(), is_of_body })
    }

    /// Whether a message is for its subscriber. One without the JSON that a policy is about is not.
    pub fn accepts(&self, attributes: &TopicAttributes, message: &str) -> bool {
        if self.is_of_body {
            let Ok(Value::Object(body)) = serde_json::from_str(message) else { return false };
            return object(&self.policy, &body);
        }
        let values: Map<String, Value> =
            attributes.iter().map(|(name, attribute)| (name.clone(), value(attribute))).collect();
        object(&self.policy, &values)
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

fn check(policy: &Map<String, Value>, is_of_body: bool, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("a filter policy is at most {DEPTH_MAX} deep"));
    }
    for (key, wanted) in policy {
        match wanted {
            Value::Array(policies) if key == OR => {
                for policy in policies {
                    let policy = policy.as_object().ok_or("`$or` has a list of policies")?;
                    check(policy, is_of_body, depth + 1)?;
                }
            }
            Value::Array(conditions) => conditions.iter().try_for_each(|one| check_condition(key, one))?,
            Value::Object(inner) if is_of_body => check(inner, is_of_body, depth + 1)?,
            _ => return Err(format!("`{key}` of a filter policy is no list of conditions")),
        }
    }
    Ok(())
}

fn check_condition(key: &str, condition: &Value) -> Result<(), String> {
    let Value::Object(operators) = condition else { return Ok(()) };
    let wrong = |what: &str| Err(format!("`{key}` of a filter policy: {what}"));
    for (operator, operand) in operators {
        let is_fine = match operator.as_str() {
            "prefix" | "suffix" | "equals-ignore-case" => operand.is_string(),
            "exists" => operand.is_boolean(),
            "numeric" => comparisons(operand).is_some(),
            "anything-but" => match operand {
                Value::Object(inner) => inner.keys().all(|key| matches!(key.as_str(), "prefix" | "suffix")),
                other => !other.is_null(),
            },
            other => return wrong(&format!("the operator `{other}` is not known")),
        };
        if !is_fine {
            return wrong(&format!("what `{operator}` compares with is not known"));
        }
    }
    Ok(())
}

/// `[">", 0, "<=", 10]` as pairs.
fn comparisons(operand: &Value) -> Option<Vec<(&str, f64)>> {
    let parts = operand.as_array()?;
    let pairs = parts.chunks(2).map(|pair| match pair {
        [operator, number] => {
            let operator = operator.as_str().filter(|one| matches!(*one, "=" | "<" | "<=" | ">" | ">="))?;
            Some((operator, number.as_f64()?))
        }
        _ => None,
    });
    pairs.collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
}

/// All members of a policy have to be met.
fn object(policy: &Map<String, Value>, data: &Map<String, Value>) -> bool {
    policy.iter().all(|(key, wanted)| match wanted {
        Value::Array(policies) if key == OR => {
            policies.iter().filter_map(Value::as_object).any(|policy| object(policy, data))
        }
        Value::Array(conditions) => conditions.iter().any(|one| meets(one, data.get(key))),
        Value::Object(inner) => match data.get(key) {
            Some(Value::Object(found)) => object(inner, found),
            Some(Value::Array(found)) => {
                found.iter().filter_map(Value::as_object).any(|found| object(inner, found))
            }
            _ => false,
        },
        _ => false,
    })
}

/// A list meets a condition if one of its values does.
fn meets(condition: &Value, found: Option<&Value>) -> bool {
    match (condition.get("exists").and_then(Value::as_bool), found) {
        (Some(exists), found) => exists == found.is_some(),
        (None, None) => false,
        (None, Some(Value::Array(values))) => values.iter().any(|value| one_meets(condition, value)),
        (None, Some(value)) => one_meets(condition, value),
    }
}

fn one_meets(condition: &Value, value: &Value) -> bool {
    let Value::Object(operators) = condition else { return equal(condition, value) };
    operators.iter().all(|(operator, operand)| {
        let texts = || Some((value.as_str()?, operand.as_str()?));
        match operator.as_str() {
            "prefix" => texts().is_some_and(|(text, part)| text.starts_with(part)),
            "suffix" => texts().is_some_and(|(text, part)| text.ends_with(part)),
            "equals-ignore-case" => {
                texts().is_some_and(|(text, other)| text.to_lowercase() == other.to_lowercase())
            }
            "numeric" => value.as_f64().zip(comparisons(operand)).is_some_and(|(number, pairs)| {
                pairs.into_iter().all(|(operator, other)| compare(number, operator, other))
            }),
            "anything-but" => match operand {
                Value::Array(others) => !others.iter().any(|other| equal(other, value)),
                Value::Object(_) => !one_meets(operand, value),
                other => !equal(other, value),
            },
            _ => false,
        }
    })
}

/// Numbers are equal in whichever way they are written.
fn equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => compare(one, "=", other),
        _ => one == other,
    }
}

fn compare(number: f64, operator: &str, other: f64) -> bool {
    let ordering = number.partial_cmp(&other);
    ordering.is_some_and(|ordering| match operator {
        "=" => ordering.is_eq(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        _ => ordering.is_ge(),
    })
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
    fn attributes_are_compared() {
        check(json!({}), true);
        check(json!({"store": ["books", "music"]}), true);
        check(json!({"store": ["books"]}), false);
        check(json!({"store": ["music"], "price": [8]}), false);
        check(json!({"price": [7.5]}), true);
        check(json!({"price": [{"numeric": [">", 0, "<=", 7.5]}]}), true);
        check(json!({"price": [{"numeric": ["<", 7.5]}]}), false);
        check(json!({"store": [{"prefix": "mu"}]}), true);
        check(json!({"store": [{"suffix": "mu"}]}), false);
        check(json!({"store": [{"equals-ignore-case": "MUSIC"}]}), true);
        check(json!({"store": [{"anything-but": ["books", "music"]}]}), false);
        check(json!({"store": [{"anything-but": "books"}]}), true);
        check(json!({"store": [{"anything-but": {"prefix": "mu"}}]}), false);
        check(json!({"kinds": ["jazz"]}), true);
        check(json!({"kinds": ["pop"]}), false);
        check(json!({"other": [{"exists": false}], "store": [{"exists": true}]}), true);
        check(json!({"other": [{"anything-but": "x"}]}), false);
        check(json!({"$or": [{"store": ["books"]}, {"price": [{"numeric": ["=", 7.5]}]}]}), true);
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
            assert!(error.contains(part), "{error}");
        };
        check(json!([]), "JSON object");
        check(json!({"store": "music"}), "no list");
        check(json!({"store": {"name": ["music"]}}), "no list");
        check(json!({"store": [{"regex": "m.*"}]}), "`regex` is not known");
        check(json!({"price": [{"numeric": [">"]}]}), "`numeric`");
        check(json!({"price": [{"numeric": ["!", 1]}]}), "`numeric`");
        check(json!({"store": [{"prefix": 1}]}), "`prefix`");
        check(json!({"$or": ["a"]}), "list of policies");
        let deep = (0..20).fold(json!({"a": ["b"]}), |inner, _| json!({"$or": [inner]}));
        check(deep, "deep");
    }
}
