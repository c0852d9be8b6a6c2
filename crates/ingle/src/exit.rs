//! How the program ends: an error for people, and its exit code.

use std::fmt;

use ingle_types::outcome::Blame;
use serde_json::json;

use crate::printer::{Style, write_out};

/// The app has errors, or the invocation failed.
pub(crate) const APP: u8 = 1;
/// Bad arguments.
pub(crate) const USAGE: u8 = 2;
/// The machine or the server stands in the way.
pub(crate) const MACHINE: u8 = 3;
/// A second Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code for an error that is this one's fault.
pub(crate) fn exit_of(blame: Blame) -> u8 {
    match blame {
        Blame::Caller => USAGE,
        Blame::App => APP,
        Blame::Platform => MACHINE,
    }
}

/// An error that ends a command.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) exit: u8,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl CommandError {
    pub(crate) fn new(exit: u8, code: &'static str, message: impl Into<String>) -> Self {
        Self { exit, code, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code after printing, to standard error as text, or to standard output as JSON.
    pub(crate) fn report(&self, style: Style) -> u8 {
        if style.json {
            let error =
                json!({"event": "error", "code": self.code, "message": self.message, "hint": self.hint});
            write_out(&format!("{error}\n"));
        } else {
            warn(&self.to_string());
        }
        self.exit
    }
}

/// Writes to standard error.
pub(crate) fn warn(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.code, self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// The message of an error with those of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

impl From<ingle_store::keys::KeyError> for CommandError {
    fn from(error: ingle_store::keys::KeyError) -> Self {
        let exit = exit_of(error.blame());
        Self { exit, code: error.code(), message: chain(&error), hint: error.hint() }
    }
}

impl From<ingle_store::Error> for CommandError {
    fn from(error: ingle_store::Error) -> Self {
        let hint = error.hint();
        Self { exit: MACHINE, code: error.code(), message: chain(&error), hint }
    }
}

impl From<ingle_control::Error> for CommandError {
    fn from(error: ingle_control::Error) -> Self {
        let exit = exit_of(error.blame());
        let detail = error.detail().map(|detail| format!("\n{detail}")).unwrap_or_default();
        Self { exit, code: error.code(), message: chain(&error) + &detail, hint: error.hint() }
    }
}
