//! What the key `l` leaves of the log on the screen: one function, a least level, or both. Programs get everything.

use std::sync::{Arc, PoisonError, RwLock};

use ingle_types::log::{InvocationRecord, LogLevel, LogLine};
use ingle_types::log_levels::Threshold;

/// Shared by the printer and the keyboard. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct ShowOnly(Arc<RwLock<Wanted>>);

#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Wanted {
    function: Option<String>,
    level: Option<Threshold>,
}

impl Wanted {
    /// `kitchen`, `warning`, `kitchen warning`, or nothing for everything.
    fn read(text: &str, functions: &[String]) -> Result<Self, String> {
        let mut wanted = Self::default();
        for word in text.split_whitespace() {
            let known = functions.iter().find(|known| known.eq_ignore_ascii_case(word));
            match (known, level(word)) {
                (Some(name), _) => wanted.function = Some(name.clone()),
                (None, Some(level)) => wanted.level = Some(level),
                (None, None) => {
                    return Err(format!(
                        "'{word}' is neither a function ({}) nor a level (debug, info, warning, error, critical)",
                        functions.join(", ")
                    ));
                }
            }
        }
        Ok(wanted)
    }

    fn shows(&self, function: Option<&str>, level: LogLevel) -> bool {
        let least = self.level.unwrap_or(Threshold::Trace);
        self.function.as_deref().is_none_or(|wanted| function == Some(wanted)) && least.lets_through(level)
    }
}

fn level(word: &str) -> Option<Threshold> {
    if word.eq_ignore_ascii_case("info") { Some(Threshold::Information) } else { word.parse().ok() }
}

impl ShowOnly {
    /// Takes what was typed; tells what is shown from now on.
    pub(crate) fn set(&self, text: &str, functions: &[String]) -> Result<String, String> {
        let wanted = Wanted::read(text, functions)?;
        let what = match (&wanted.function, wanted.level) {
            (None, None) => "everything".to_owned(),
            (Some(function), None) => function.clone(),
            (None, Some(level)) => format!("{} and worse", level.as_str()),
            (Some(function), Some(level)) => format!("{function}, {} and worse", level.as_str()),
        };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = wanted;
        Ok(format!("the log shows {what}"))
    }

    pub(crate) fn shows_line(&self, line: &LogLine) -> bool {
        self.shows(line.function.as_ref().map(|name| name.as_str()), line.level)
    }

    pub(crate) fn shows_record(&self, record: &InvocationRecord) -> bool {
        let level = if record.failure.is_some() { LogLevel::Error } else { LogLevel::Info };
        self.shows(Some(record.function.as_str()), level)
    }

    fn shows(&self, function: Option<&str>, level: LogLevel) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).shows(function, level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_a_level_or_both_are_left() {
        let functions = ["kitchen".to_owned(), "error".to_owned()];
        let check = |text: &str, function: Option<&str>, level, expected: bool| {
            let wanted = Wanted::read(text, &functions).unwrap();
            assert_eq!(wanted.shows(function, level), expected, "{text} {function:?} {level:?}");
        };
        check("", None, LogLevel::Debug, true);
        check("Kitchen", Some("kitchen"), LogLevel::Debug, true);
        check("kitchen", Some("other"), LogLevel::Critical, false);
        check("kitchen", None, LogLevel::Critical, false);
        check("warning", None, LogLevel::Info, false);
        check("warning", Some("kitchen"), LogLevel::Warning, true);
        check("info kitchen", Some("kitchen"), LogLevel::Debug, false);
        // A function of that name comes first.
        check("error", Some("error"), LogLevel::Info, true);
        assert!(Wanted::read("kitchen loud", &functions).unwrap_err().contains("'loud'"));
    }
}
