//! Methods of values, as Java has them.

use regex::Regex;
use serde_json::{Map, Value as Json};

use super::value::{self, Value, are_equal, printed};

/// Longest regular expression that is taken, in its compiled form.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What a method gives that changes nothing; `None` if the value has no such method.
///
/// # Errors
/// Its arguments are of no use, in words.
pub(super) fn read(value: &Value, method: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
    let found = match (method, arguments) {
        ("toString", []) => Some(printed(value).into()),
        ("equals", [other]) => Some(are_equal(value, other).into()),
        _ => match value {
            Value::String(text) => of_text(text, method, arguments)?,
            Value::Array(items) => of_list(items, method, arguments),
            Value::Object(map) => of_map(map, method, arguments),
            _ => None,
        },
    };
    Ok(found)
}

fn of_text(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
    let texts: Vec<String> = arguments.iter().map(printed).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let place = |byte: Option<usize>| -> Value {
        byte.map_or(-1, |byte| {
            i64::try_from(text.get(..byte).unwrap_or_default().chars().count()).unwrap_or(-1)
        })
        .into()
    };
    Ok(Some(match (method, texts.as_slice()) {
        ("length", []) => text.chars().count().into(),
        ("isEmpty", []) => text.is_empty().into(),
        ("toLowerCase", []) => text.to_lowercase().into(),
        ("toUpperCase", []) => text.to_uppercase().into(),
        ("trim", []) => text.trim().into(),
        ("contains", [part]) => text.contains(part).into(),
        ("startsWith", [part]) => text.starts_with(part).into(),
        ("endsWith", [part]) => text.ends_with(part).into(),
        ("equalsIgnoreCase", [other]) => (text.to_lowercase() == other.to_lowercase()).into(),
        ("indexOf", [part]) => place(text.find(part)),
        ("lastIndexOf", [part]) => place(text.rfind(part)),
        ("concat", [other]) => format!("{text}{other}").into(),
        ("replace", [from, to]) => text.replace(from, to).into(),
        ("substring", _) => return substring(text, arguments).map(Some),
        ("matches", [pattern]) => regex(&format!("^(?:{pattern})$"))?.is_match(text).into(),
        ("replaceAll", [pattern, to]) => {
            regex(pattern)?.replace_all(text, replacement(to).as_str()).into_owned().into()
        }
        ("replaceFirst", [pattern, to]) => {
            regex(pattern)?.replace(text, replacement(to).as_str()).into_owned().into()
        }
        ("split", [pattern]) => {
            let mut parts: Vec<&str> = regex(pattern)?.split(text).collect();
            // As in Java, nothing at the end is no part.
            while parts.len() > 1 && parts.last() == Some(&"") {
                parts.pop();
            }
            parts.into()
        }
        _ => return Ok(None),
    }))
}

fn regex(pattern: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|_error| format!("`{pattern}` is no regular expression that is served"))
}

/// Java's `$1` and `\\$` as this engine writes them.
fn replacement(text: &str) -> String {
    let mut written = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('$') => written.push_str("$$"),
                Some(other) => written.push(other),
                None => written.push('\\'),
            },
            '$' if letters.peek().is_some_and(char::is_ascii_digit) => {
                let digit = letters.next().unwrap_or('0');
                written.push_str(&format!("${{{digit}}}"));
            }
            '$' => written.push_str("$$"),
            other => written.push(other),
        }
    }
    written
}

fn substring(text: &str, arguments: &[Value]) -> Result<Value, String> {
    let length = text.chars().count();
    let numbers: Option<Vec<usize>> =
        arguments.iter().map(|one| one.as_i64().and_then(|number| usize::try_from(number).ok())).collect();
    let (from, to) = match numbers.as_deref() {
        Some([from]) => (*from, length),
        Some([from, to]) => (*from, *to),
        _ => return Err("substring takes one or two whole numbers".to_owned()),
    };
    if from > to || to > length {
        return Err(format!("substring({from}, {to}) is outside of a text of {length}"));
    }
    Ok(text.chars().skip(from).take(to - from).collect::<String>().into())
}

fn of_list(items: &[Value], method: &str, arguments: &[Value]) -> Option<Value> {
    Some(match (method, arguments) {
        ("size" | "length", []) => items.len().into(),
        ("isEmpty", []) => items.is_empty().into(),
        ("get", [index]) => items.get(value::place(index, items.len())?).cloned()?,
        ("contains", [other]) => items.iter().any(|item| are_equal(item, other)).into(),
        ("indexOf", [other]) => {
            let found = items.iter().position(|item| are_equal(item, other));
            found.and_then(|place| i64::try_from(place).ok()).unwrap_or(-1).into()
        }
        _ => return None,
    })
}

fn of_map(map: &Map<String, Json>, method: &str, arguments: &[Value]) -> Option<Value> {
    let pair = |(key, value): (&String, &Value)| serde_json::json!({"key": key, "value": value});
    Some(match (method, arguments) {
        ("size", []) => map.len().into(),
        ("isEmpty", []) => map.is_empty().into(),
        ("get", [key]) => map.get(&printed(key)).cloned()?,
        ("getOrDefault", [key, other]) => map.get(&printed(key)).unwrap_or(other).clone(),
        ("containsKey", [key]) => map.contains_key(&printed(key)).into(),
        ("containsValue", [other]) => map.values().any(|value| are_equal(value, other)).into(),
        ("keySet", []) => map.keys().cloned().collect::<Vec<_>>().into(),
        ("values", []) => map.values().cloned().collect::<Vec<_>>().into(),
        ("entrySet", []) => map.iter().map(pair).collect::<Vec<_>>().into(),
        ("getKey", []) => map.get("key").cloned()?,
        ("getValue", []) => map.get("value").cloned()?,
        _ => return None,
    })
}

/// What a method gives that changes a value; `None` if the value has no such method.
pub(super) fn change(value: &mut Value, method: &str, arguments: &[Value]) -> Option<Value> {
    match (value, method, arguments) {
        (Value::Object(map), "put", [key, new]) => {
            Some(map.insert(printed(key), new.clone()).unwrap_or(Value::Null))
        }
        (Value::Object(map), "putAll", [Value::Object(others)]) => {
            map.extend(others.clone());
            Some(Value::Null)
        }
        (Value::Object(map), "remove", [key]) => Some(map.shift_remove(&printed(key)).unwrap_or(Value::Null)),
        (Value::Array(items), "add", [new]) => {
            items.push(new.clone());
            Some(true.into())
        }
        (Value::Array(items), "addAll", [Value::Array(others)]) => {
            items.extend(others.iter().cloned());
            Some((!others.is_empty()).into())
        }
        (Value::Array(items), "set", [index, new]) => {
            let place = value::place(index, items.len())?;
            Some(std::mem::replace(items.get_mut(place)?, new.clone()))
        }
        (Value::Array(items), "remove", [index]) => {
            let place = value::place(index, items.len())?;
            Some(items.remove(place))
        }
        _ => None,
    }
}

/// Whether a method may change its value.
pub(super) fn may_change(method: &str) -> bool {
    matches!(method, "put" | "putAll" | "remove" | "add" | "addAll" | "set")
}
