//! How one value of a function becomes the messages or documents of an output (facts 4.11).
//!
//! Azure's host re-formats JSON objects with line breaks and spaces; here the text of an object goes out as the
//! function wrote it, and what has to be written anew is compact.

use bytes::Bytes;
use ingle_types::datum::Datum;
use serde_json::Value;

/// One element of an output.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    Text(String),
    Bytes(Bytes),
}

/// The elements of a value: a list, or text that is a JSON array, has one for each element; everything else is one.
/// `None` and `null` make no element.
pub fn elements(value: Datum) -> Vec<Element> {
    match value {
        // Only outputs to blobs come as files.
        Datum::Nothing | Datum::Request(_) | Datum::File(_) => Vec::new(),
        Datum::Text(text) => from_text(text),
        Datum::Json(text) => match serde_json::from_str(&text) {
            Ok(value) => from_json(value, text),
            Err(_) => vec![Element::Text(text)],
        },
        Datum::Bytes(bytes) => vec![Element::Bytes(bytes)],
        Datum::Int(number) => vec![Element::Text(number.to_string())],
        Datum::Double(number) => vec![Element::Text(number.to_string())],
        Datum::Texts(texts) => texts.into_iter().map(Element::Text).collect(),
        Datum::ManyBytes(pieces) => pieces.into_iter().map(Element::Bytes).collect(),
        Datum::Response(response) => vec![Element::Bytes(response.body)],
    }
}

fn from_text(text: String) -> Vec<Element> {
    let trimmed = text.trim();
    if !(trimmed.starts_with('[') && trimmed.ends_with(']')) {
        return vec![Element::Text(text)];
    }
    match serde_json::from_str(trimmed) {
        Ok(value @ Value::Array(_)) => from_json(value, text),
        Ok(_) | Err(_) => vec![Element::Text(text)],
    }
}

fn from_json(value: Value, text: String) -> Vec<Element> {
    match value {
        Value::Null => Vec::new(),
        Value::String(inner) => vec![Element::Text(inner)],
        Value::Array(items) => items.into_iter().filter_map(element).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => vec![Element::Text(text)],
    }
}

fn element(value: Value) -> Option<Element> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Element::Text(text)),
        other => Some(Element::Text(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(value: Datum, expected: &[&str]) {
        let texts: Vec<String> = elements(value)
            .into_iter()
            .map(|element| match element {
                Element::Text(text) => text,
                Element::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            })
            .collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn values_become_elements_as_documented() {
        let text = |text: &str| Datum::Text(text.to_owned());
        check(text("hello"), &["hello"]);
        check(text(""), &[""]);
        check(text(r#" {"a": 1} "#), &[r#" {"a": 1} "#]);
        check(text(r#"["a", {"b": [1, 2]}, 3, null]"#), &["a", r#"{"b":[1,2]}"#, "3"]);
        check(text("[not json]"), &["[not json]"]);
        check(Datum::Json(r#"{"id": 1}"#.to_owned()), &[r#"{"id": 1}"#]);
        check(Datum::Json(r#""x""#.to_owned()), &["x"]);
        check(Datum::Json("null".to_owned()), &[]);
        check(Datum::Nothing, &[]);
        check(Datum::Int(5), &["5"]);
        check(Datum::Bytes(Bytes::from_static(b"[1]")), &["[1]"]);
        check(Datum::Texts(vec!["[1]".to_owned(), String::new()]), &["[1]", ""]);
    }

    proptest! {
        #[test]
        fn a_list_of_texts_gives_each_text_back(texts in prop::collection::vec("\\PC{0,20}", 0..8)) {
            let json = serde_json::to_string(&texts).unwrap();
            let expected: Vec<&str> = texts.iter().map(String::as_str).collect();
            check(Datum::Json(json.clone()), &expected);
            check(Datum::Text(json), &expected);
        }

        #[test]
        fn no_text_is_lost_or_panics(text in "\\PC{0,60}") {
            let found = elements(Datum::Text(text.clone()));
            if !text.trim().starts_with('[') {
                prop_assert_eq!(found, vec![Element::Text(text)]);
            }
        }
    }
}
