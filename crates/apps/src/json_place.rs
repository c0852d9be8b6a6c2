//! JSON with places: every key and value knows its line, so that a finding can point at it.
//!
//! A small reader of our own (grammar: RFC 8259), because serde's knows lines for syntax errors only. It is lenient
//! where people are (comments, a comma too many, a byte order mark: noted, not refused) and strict about the rest.

use serde_json::{Map, Value};

mod scan;

/// Objects and lists within each other; deeper ones are refused, as the reader recurses.
pub const DEPTH_MAX: usize = 128;

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub kind: Kind,
    /// Counted from 1; 0 for a value that does not stand in the file.
    pub line: u32,
    /// The app setting that put this value here instead of the file.
    pub setting: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Null,
    Bool(bool),
    /// As written; a valid JSON number.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    pub key: String,
    /// Line of the key.
    pub line: u32,
    pub value: Node,
}

/// A file that was read, with what was forgiven in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub root: Node,
    pub notes: Vec<Note>,
}

/// Something that strict readers of JSON would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub line: u32,
    pub message: String,
}

/// Text that is no JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at column {column}")]
pub struct SyntaxError {
    pub line: u32,
    /// In characters, counted from 1.
    pub column: u32,
    pub message: String,
}

/// Reads one JSON value.
///
/// # Errors
/// The first place that can't be read.
pub fn read(text: &str) -> Result<Document, SyntaxError> {
    scan::Scanner::new(text).document()
}

impl Node {
    /// A value that an app setting provides.
    pub fn from_setting(setting: &str, text: &str) -> Self {
        Self { kind: Kind::Text(text.to_owned()), line: 0, setting: Some(setting.to_owned()) }
    }

    /// The members of an object; empty for any other value.
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    /// A member by name, without regard to case; of doubles the last one counts, as in every other reader.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.members()
            .iter()
            .rev()
            .find(|member| member.key.eq_ignore_ascii_case(key))
            .map(|member| &member.value)
    }

    /// Walks down by keys, without regard to case.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What kind of value this is, for messages; never the value, which may be a secret.
    pub fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }

    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Kind::Object(_) => Value::Object(self.to_map()),
        }
    }

    /// The members of an object as serde knows them.
    pub fn to_map(&self) -> Map<String, Value> {
        self.members().iter().map(|member| (member.key.clone(), member.value.to_value())).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `line:note` for each note, or the error, beside the value.
    fn check(text: &str, expected: &str) {
        let got = match read(text) {
            Ok(document) => {
                let notes: String =
                    document.notes.iter().map(|note| format!(" | {}: {}", note.line, note.message)).collect();
                format!("{}{notes}", document.root.to_value())
            }
            Err(error) => format!("error {}: {error}", error.line),
        };
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn plain_json_reads_without_notes() {
        check(
            r#"{"a":[1,-2.5e3,true,null,"x\n\u00e4\ud83d\ude00"],"b":{}}"#,
            r#"{"a":[1,-2500.0,true,null,"x\nä😀"],"b":{}}"#,
        );
        check(" [ ] ", "[]");
    }

    #[test]
    fn what_people_write_is_forgiven_and_noted() {
        check("\u{feff}{}", "{} | 1: the file starts with a byte order mark");
        check(
            "// c\n{\"a\":1 /* x\n */,}",
            "{\"a\":1} | 1: comments are not part of JSON | 3: a comma before the closing bracket",
        );
        check("[1,\n]", "[1] | 1: a comma before the closing bracket");
        check(
            "{\"a\":1,\n\"A\":2,\n\"a\":3}",
            "{\"a\":3,\"A\":2} | 2: the key `A` is here twice | 3: the key `a` is here twice",
        );
    }

    #[test]
    fn errors_name_line_and_column() {
        check("", "error 1: the file is empty, at column 1");
        check("{\n  \"a\" 1}", "error 2: a colon is missing after the key, at column 7");
        check("{\"a\": 1 \"b\": 2}", "error 1: a comma or `}` is missing, at column 9");
        check("[1 2]", "error 1: a comma or `]` is missing, at column 4");
        check("{a: 1}", "error 1: a key in double quotes is missing, at column 2");
        check("{'a': 1}", "error 1: a key in double quotes is missing, at column 2");
        check("[True]", "error 1: this is no JSON value, at column 2");
        check("[01]", "error 1: this is no number in JSON, at column 2");
        check("\"a\nb\"", "error 1: the text is not closed on its line, at column 1");
        check("\"\\q\"", "error 1: this escape does not exist in JSON, at column 2");
        check("{} {}", "error 1: something follows after the end, at column 4");
        check("/* x", "error 1: the comment is not closed, at column 1");
        check("[\n", "error 2: the file ends too early, at column 1");
        check(&"[".repeat(200), "error 1: more than 128 levels, at column 129");
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let document = read("{\n  \"a\": {\n    \"B\":\n      7\n  }\n}").unwrap();
        assert_eq!(document.root.at(&["A", "b"]).unwrap().line, 4);
        assert_eq!(document.root.get("a").unwrap().members()[0].line, 3);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                proptest::collection::vec((".*", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_reads_back(value in any_value()) {
            prop_assert_eq!(read(&value.to_string()).unwrap().root.to_value(), value.clone());
            prop_assert_eq!(read(&serde_json::to_string_pretty(&value).unwrap()).unwrap().root.to_value(), value);
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>(), near in "[\\[\\]{},:\"\\\\a1e.+/* \n-]{0,24}") {
            read(&text).ok();
            let serde: Result<Value, _> = serde_json::from_str(&near);
            let ours = read(&near);
            // Whatever serde takes, we take as well; more only with a note.
            if let Ok(value) = serde {
                prop_assert_eq!(ours.unwrap().root.to_value(), value);
            } else if let Ok(document) = ours {
                prop_assert!(!document.notes.is_empty(), "{}", near);
            }
        }
    }
}
