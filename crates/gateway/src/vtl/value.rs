//! Values of templates, and how they are printed.

use serde_json::{Map, Number, Value as Json};

/// What JSON knows, with maps in their order.
pub(crate) type Value = Json;

/// As Java prints it: `{a=b}` for maps, JSON for lists (both as recorded from AWS).
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let members = map.iter().map(|(name, value)| format!("{name}={}", printed(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// All but nothing and `false` is true.
pub(super) fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// Numbers by what they are, everything else as it is printed.
pub(super) fn are_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ if std::mem::discriminant(one) == std::mem::discriminant(other) => one == other,
        _ => printed(one) == printed(other),
    }
}

/// What one value takes besides its text, in bytes.
const VALUE_BYTES: usize = 32;

/// What it takes, in bytes, about.
pub(super) fn size(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum::<usize>(),
        Value::Object(map) => map.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>(),
        _ => 0,
    };
    VALUE_BYTES + inner
}

pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

pub(super) fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A place in a list, from its end if it is negative.
pub(super) fn place(index: &Value, length: usize) -> Option<usize> {
    let index = index.as_i64()?;
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { length.checked_add(index)? } else { index };
    usize::try_from(index).ok().filter(|_| index < length)
}

/// A header by its name, in any case of letters, with the name that it has here.
pub(super) fn header<'a>(headers: &'a Value, name: &str) -> Option<(&'a String, &'a Value)> {
    headers.as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// A member of a map, or of a pair of `entrySet()`.
pub(super) fn property<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object().and_then(|map: &Map<String, Value>| map.get(name))
}
