//! What is wrong with an app, said so that a person can mend it: never silence (P-17, O-04).

use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is off, but everything that was declared runs.
    Warning,
    /// A function, or the whole app, can't run.
    Error,
}

/// A change to a file of the app that mends a finding and can't be anything else; `ingle check --fix` makes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Mend {
    /// The key of a JSON object, at the finding's place.
    RenameKey { from: String, to: String },
    /// A member for the top object of the finding's JSON file, as text: `"version": "2.0"`.
    AddMember { text: String },
    /// An app setting that is needed, without a value.
    AddSetting { name: String },
}

/// A finding about a user's file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    pub severity: Severity,
    /// Stable code with a page in `docs/errors`.
    pub code: String,
    /// The function that can't run because of it; `None` if it is about the app.
    pub function: Option<String>,
    /// Path relative to the app's folder.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u32>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub fix: Option<String>,
    /// More lines, e.g. a traceback or a source excerpt.
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<Mend>,
}

impl Problem {
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: code.to_owned(),
            function: None,
            file: None,
            line: None,
            message: message.into(),
            fix: None,
            detail: None,
            mend: None,
        }
    }

    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: Option<u32>) -> Self {
        self.file = Some(file.into());
        self.line = line;
        self
    }

    #[must_use]
    pub fn function(mut self, name: impl Into<String>) -> Self {
        self.function = Some(name.into());
        self
    }

    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn mend(mut self, mend: Mend) -> Self {
        self.mend = Some(mend);
        self
    }

    /// `file:line`, as far as known.
    pub fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(self.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}")))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{word}[{}]", self.code)?;
        if let Some(place) = self.place() {
            write!(f, " {place}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(detail) = &self.detail {
            for line in detail.lines() {
                write!(f, "\n    {line}")?;
            }
        }
        if let Some(fix) = &self.fix {
            write!(f, "\n  fix: {fix}")?;
        }
        Ok(())
    }
}
