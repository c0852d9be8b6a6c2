//! Binding expressions (facts 5.3): `%SETTING%` is filled in when the app is read, `{name}` when an event
//! arrives.
//!
//! A property is parsed once into a [`Template`]; what can be wrong with its spelling is found then, so that at
//! run time only a missing value can fail.

mod binding_data;
mod date_format;

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use uuid::Uuid;

pub use binding_data::BindingData;

/// What `{datetime}` and `{sys.utcnow}` look like when the expression names no format.
const DEFAULT_DATE_FORMAT: &str = "yyyy-MM-ddTHH-mm-ssK";

/// A property with `{…}` expressions in it, parsed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Literal(String),
    /// Path into the binding data: `{a.b}` is `["a", "b"]`, as written. A format is only present for the
    /// built-in expressions that take one.
    Expression {
        path: Vec<String>,
        format: Option<String>,
    },
}

/// An expression that can't be read, or has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at character {}", .position + 1)]
pub struct ExpressionError {
    /// Characters before the opening brace of the culprit.
    pub position: usize,
    /// One sentence without a full stop.
    pub message: String,
}

/// A `%NAME%` without a value: the name of the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the app setting {0} is not set")]
pub struct MissingSetting(pub String);

/// Where the values of expressions come from.
pub trait Scope {
    /// The text behind `path`, found without regard to case; `None` if there is no such value.
    fn lookup(&self, path: &[String]) -> Option<String>;
    fn now(&self) -> SystemTime;
    fn random(&self) -> Uuid;
    fn function_name(&self) -> &str;
}

/// The expressions that need no binding data.
#[derive(Clone, Copy, PartialEq)]
enum BuiltIn {
    RandomGuid,
    Date,
    MethodName,
}

impl BuiltIn {
    fn find(path: &[String]) -> Option<Self> {
        let is =
            |index: usize, word: &str| path.get(index).is_some_and(|part| part.eq_ignore_ascii_case(word));
        match path.len() {
            1 if is(0, "rand-guid") => Some(Self::RandomGuid),
            1 if is(0, "datetime") => Some(Self::Date),
            2 if is(0, "sys") && is(1, "methodname") => Some(Self::MethodName),
            2 if is(0, "sys") && is(1, "utcnow") => Some(Self::Date),
            2 if is(0, "sys") && is(1, "randguid") => Some(Self::RandomGuid),
            _ => None,
        }
    }

    fn check_format(self, format: Option<&str>) -> Result<(), String> {
        match (self, format) {
            (_, None) => Ok(()),
            (Self::RandomGuid, Some("N" | "D" | "B" | "P" | "n" | "d" | "b" | "p")) => Ok(()),
            (Self::RandomGuid, Some(format)) => {
                Err(format!("`{format}` is no format of a GUID; N, D, B and P are"))
            }
            (Self::Date, Some(format)) => date_format::check(format),
            (Self::MethodName, Some(_)) => Err("sys.methodname takes no format".to_owned()),
        }
    }

    fn resolve(self, format: Option<&str>, scope: &dyn Scope) -> String {
        match self {
            Self::RandomGuid => guid(scope.random(), format.unwrap_or("D")),
            Self::Date => date_format::format(scope.now(), format.unwrap_or(DEFAULT_DATE_FORMAT)),
            Self::MethodName => scope.function_name().to_owned(),
        }
    }
}

/// The spellings of `Guid.ToString` in .NET.
fn guid(value: Uuid, format: &str) -> String {
    match format {
        "N" | "n" => value.simple().to_string(),
        "B" | "b" => value.braced().to_string(),
        "P" | "p" => format!("({})", value.hyphenated()),
        _ => value.hyphenated().to_string(),
    }
}

impl Template {
    /// Reads a property. `{{` and `}}` stand for single braces.
    ///
    /// # Errors
    /// A brace without its partner, an empty or misspelled name, a format that does not exist.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text.chars().enumerate().peekable();
        while let Some((position, character)) = rest.next() {
            let error = |message: &str| ExpressionError { position, message: message.to_owned() };
            match character {
                '{' if rest.next_if(|(_, next)| *next == '{').is_some() => literal.push('{'),
                '}' if rest.next_if(|(_, next)| *next == '}').is_some() => literal.push('}'),
                '}' => return Err(error("`}` without `{`; write `}}` for the character itself")),
                '{' => {
                    let mut inner = String::new();
                    loop {
                        match rest.next() {
                            Some((_, '}')) => break,
                            Some((_, '{')) | None => {
                                return Err(error("`{` without `}`; write `{{` for the character itself"));
                            }
                            Some((_, character)) => inner.push(character),
                        }
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(
                        parse_expression(&inner).map_err(|message| ExpressionError { position, message })?,
                    );
                }
                other => literal.push(other),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }

    /// A template that stands for exactly this text, braces included.
    pub fn literal(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { parts: if text.is_empty() { Vec::new() } else { vec![Part::Literal(text)] } }
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub fn is_literal(&self) -> bool {
        self.as_literal().is_some()
    }

    /// The text, if it holds no expression.
    pub fn as_literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with every expression replaced by its value. Values are inserted as they are: braces in them
    /// mean nothing.
    ///
    /// # Errors
    /// The first expression without a value. `position` counts in the template as [`fmt::Display`] writes it.
    pub fn resolve(&self, scope: &dyn Scope) -> Result<String, ExpressionError> {
        let mut resolved = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            match part.resolve(scope) {
                Some(text) => resolved.push_str(&text),
                None => {
                    let before = Self { parts: self.parts[..index].to_vec() };
                    let position = before.to_string().chars().count();
                    return Err(ExpressionError {
                        position,
                        message: format!("`{part}` has no value for this event"),
                    });
                }
            }
        }
        Ok(resolved)
    }

    /// The literal parts changed, the expressions kept.
    #[must_use]
    pub fn map_literals(self, change: impl Fn(&str) -> String) -> Self {
        let parts = self.parts.into_iter().map(|part| match part {
            Part::Literal(text) => Part::Literal(change(&text)),
            Part::Expression { path, format } => Part::Expression { path, format },
        });
        Self { parts: parts.collect() }
    }
}

impl Part {
    /// The text of this part alone; `None` if it is an expression without a value.
    pub fn resolve(&self, scope: &dyn Scope) -> Option<String> {
        match self {
            Self::Literal(text) => Some(text.clone()),
            Self::Expression { path, format } => match BuiltIn::find(path) {
                Some(built_in) => Some(built_in.resolve(format.as_deref(), scope)),
                None => scope.lookup(path),
            },
        }
    }
}

/// Reads what stands between the braces.
fn parse_expression(inner: &str) -> Result<Part, String> {
    let (name, format) = match inner.split_once(':') {
        Some((name, format)) => (name, Some(format)),
        None => (inner, None),
    };
    if name.is_empty() {
        return Err("an expression needs a name between its braces".to_owned());
    }
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    let is_fine = |part: &String| {
        !part.is_empty()
            && part.chars().all(|character| character.is_alphanumeric() || "_-$".contains(character))
    };
    if !path.iter().all(is_fine) {
        return Err(format!(
            "`{name}` is no name of a value; letters, digits, `_`, `-` and dots between them are allowed"
        ));
    }
    match BuiltIn::find(&path) {
        Some(built_in) => built_in.check_format(format)?,
        None if format.is_some() => return Err(format!("`{name}` takes no format")),
        None => {}
    }
    Ok(Part::Expression { path, format: format.map(str::to_owned) })
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            Self::Expression { path, format } => {
                write!(f, "{{{}", path.join("."))?;
                if let Some(format) = format {
                    write!(f, ":{format}")?;
                }
                f.write_char('}')
            }
        }
    }
}

impl fmt::Display for Template {
    /// As [`Template::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| part.fmt(f))
    }
}

/// Replaces each `%NAME%` by the setting of that name; `%%` stands for one `%`.
///
/// A `%` that does not open a name (letters, digits, `_`, `.`, `:`, `-` up to the next `%`) stays as it is, so that
/// `LIKE '%a b%'` in a query means what it says. Values are not looked through again.
///
/// # Errors
/// The first name that `lookup` does not know.
pub fn fill_settings(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, MissingSetting> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('%') {
        filled.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let end = after.find('%');
        match end.map(|end| (end, &after[..end])) {
            Some((_, "")) => {
                filled.push('%');
                rest = &after[1..];
            }
            Some((end, name)) if name.chars().all(is_setting_character) => {
                filled.push_str(&lookup(name).ok_or_else(|| MissingSetting(name.to_owned()))?);
                rest = &after[end + 1..];
            }
            Some(_) | None => {
                filled.push('%');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_setting_character(character: char) -> bool {
    character.is_alphanumeric() || "_.:-".contains(character)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Knows `name`, `a.b` and nothing else.
    struct Fixed;

    impl Scope for Fixed {
        fn lookup(&self, path: &[String]) -> Option<String> {
            match path.join(".").to_lowercase().as_str() {
                "name" => Some("ada".to_owned()),
                "a.b" => Some("{nested}".to_owned()),
                _ => None,
            }
        }
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_millis(1_785_335_405_123)
        }
        fn random(&self) -> Uuid {
            Uuid::from_u128(0x1234_5678_9abc_4def_8012_3456_789a_bcde)
        }
        fn function_name(&self) -> &'static str {
            "Orders"
        }
    }

    fn check(text: &str, expected: &str) {
        let got = Template::parse(text).and_then(|template| template.resolve(&Fixed));
        assert_eq!(got.unwrap_or_else(|error| format!("error: {error}")), expected, "{text}");
    }

    #[test]
    fn expressions_take_values_from_the_scope() {
        check("plain", "plain");
        check("", "");
        check("x-{name}-{NAME}", "x-ada-ada");
        check("{a.b}", "{nested}");
        check("{{{name}}}", "{ada}");
        check("{missing}", "error: `{missing}` has no value for this event, at character 1");
        check("ab{name}{c.d}", "error: `{c.d}` has no value for this event, at character 9");
    }

    #[test]
    fn built_in_expressions_need_no_data() {
        check("{rand-guid}", "12345678-9abc-4def-8012-3456789abcde");
        check("{rand-guid:N}", "123456789abc4def80123456789abcde");
        check("{Rand-Guid:B}", "{12345678-9abc-4def-8012-3456789abcde}");
        check("{rand-guid:P}", "(12345678-9abc-4def-8012-3456789abcde)");
        check("{sys.randguid}", "12345678-9abc-4def-8012-3456789abcde");
        check("{sys.MethodName}", "Orders");
        check("{datetime}", "2026-07-29T14-30-05Z");
        check("{sys.utcnow}", "2026-07-29T14-30-05Z");
        check("{DateTime:yyyy/MM/dd HH:mm:ss.fff}", "2026/07/29 14:30:05.123");
    }

    #[test]
    fn what_is_misspelled_is_found_when_it_is_parsed() {
        check("a}b", "error: `}` without `{`; write `}}` for the character itself, at character 2");
        check("ä{b", "error: `{` without `}`; write `{{` for the character itself, at character 2");
        check("{a{b}}", "error: `{` without `}`; write `{{` for the character itself, at character 1");
        check("{}", "error: an expression needs a name between its braces, at character 1");
        check("{rand-guid:Q}", "error: `Q` is no format of a GUID; N, D, B and P are, at character 1");
        check("{name:x}", "error: `name` takes no format, at character 1");
        check("{sys.methodname:x}", "error: sys.methodname takes no format, at character 1");
        check(
            "{a b}",
            "error: `a b` is no name of a value; letters, digits, `_`, `-` and dots between them are allowed, at character 1",
        );
    }

    fn fills(text: &str, expected: Result<&str, &str>) {
        let lookup = |name: &str| (name == "QUEUE").then(|| "orders%X%".to_owned());
        let got = fill_settings(text, lookup);
        assert_eq!(
            got,
            expected.map(str::to_owned).map_err(|name| MissingSetting(name.to_owned())),
            "{text}"
        );
    }

    #[test]
    fn settings_are_filled_in() {
        fills("a-%QUEUE%-b", Ok("a-orders%X%-b"));
        fills("%OTHER%", Err("OTHER"));
        fills("100%", Ok("100%"));
        fills("100%% %QUEUE%", Ok("100% orders%X%"));
        fills("LIKE '%a b%'", Ok("LIKE '%a b%'"));
    }

    proptest! {
        #[test]
        fn any_literal_round_trips(text in any::<String>()) {
            let written = Template::literal(text.clone()).to_string();
            let template = Template::parse(&written).unwrap();
            prop_assert_eq!(template.as_literal(), Some(text.as_str()));
        }

        #[test]
        fn parsing_never_panics_and_what_parses_reads_back(text in "[ -~ä{}:.%]{0,24}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(Template::parse(&template.to_string()).unwrap(), template);
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in any::<String>()) {
            Template::parse(&text).ok();
        }

        #[test]
        fn what_is_resolved_holds_no_expression(words in proptest::collection::vec("[a-z]{0,5}", 0..6)) {
            let text = words.join("{name}");
            let resolved = Template::parse(&text).unwrap().resolve(&Fixed).unwrap();
            prop_assert_eq!(resolved, words.join("ada"));
        }

        #[test]
        fn text_without_percent_signs_needs_no_setting(text in "[^%]*") {
            prop_assert_eq!(fill_settings(&text, |_| None), Ok(text));
        }
    }
}
