//! How an invocation ends, and whose fault it was if it did not end well.

use std::time::Duration;

use crate::datum::Datum;

/// Whose fault a failure is. Decides status code (4xx, 5xx by the app, 5xx by us), log level and meter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Blame {
    /// The caller sent something that can't be served.
    Caller,
    /// The user's code or settings.
    App,
    /// Ingle or the machine it runs on.
    Platform,
}

impl Blame {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::App => "app",
            Self::Platform => "platform",
        }
    }
}

/// The end of one attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The function returned; its outputs by binding name (`$return` for the returned value).
    Success(Outputs),
    Failed(Failure),
    /// The deadline passed and the worker was ended.
    TimedOut(Failure),
    /// The caller or a shutdown withdrew it before it ran, or while it ran and it let itself be stopped.
    Cancelled(Failure),
    /// It was never started: no room, or nothing that could run it.
    Rejected(Failure),
}

impl Outcome {
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Success(_))
    }

    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Success(_) => None,
            Self::Failed(failure)
            | Self::TimedOut(failure)
            | Self::Cancelled(failure)
            | Self::Rejected(failure) => Some(failure),
        }
    }

    pub fn failure_mut(&mut self) -> Option<&mut Failure> {
        match self {
            Self::Success(_) => None,
            Self::Failed(failure)
            | Self::TimedOut(failure)
            | Self::Cancelled(failure)
            | Self::Rejected(failure) => Some(failure),
        }
    }

    /// One word for lines, spans and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Success(_) => "success",
            Self::Failed(_) => "failed",
            Self::TimedOut(_) => "timed_out",
            Self::Cancelled(_) => "cancelled",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// What a function handed over, in the order in which it was set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs(pub Vec<(String, Datum)>);

impl Outputs {
    pub fn get(&self, binding: &str) -> Option<&Datum> {
        self.0.iter().find(|(name, _)| name == binding).map(|(_, datum)| datum)
    }
}

/// A failed attempt, said so that a person can act on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub blame: Blame,
    /// Stable code with a page in `docs/errors`, e.g. `E0301`.
    pub code: &'static str,
    /// Python's exception class (`ValueError`) or a short name of ours (`WorkerDied`).
    pub kind: String,
    pub message: String,
    /// Python traceback with the frames of the platform folded; empty if there is none.
    pub traceback: String,
    /// `file:line` of the innermost frame in the user's code.
    pub location: Option<String>,
    pub hint: Option<String>,
    /// How long the caller should wait before it tries again, where trying again makes sense.
    pub retry_after: Option<Duration>,
    /// User code may have run. False means that a repetition is certainly safe.
    pub started: bool,
    /// Not this invocation's doing: another invocation ended the worker that both shared.
    pub bystander: bool,
    /// It may have been another invocation's doing: several were in work when the worker died, and nothing tells which
    /// of them it was.
    pub suspect: bool,
    /// It will never go better: the event is put aside at once, whatever attempts it has left.
    pub is_final: bool,
    /// How the worker's process ended, if that is what went wrong.
    pub exit: Option<Exit>,
    /// What a runtime that is a program said of it, as it said it: a JSON object as a rule.
    pub body: Option<String>,
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    Status(i32),
    Signal(i32),
}

impl Failure {
    /// The frames of the exception itself, which stands last; each with the first line of its source and without marks below
    /// that.
    pub fn frames(&self) -> Vec<String> {
        let own = self.traceback.rsplit("Traceback (most recent call last):\n").next().unwrap_or_default();
        let mut frames: Vec<String> = Vec::new();
        let mut has_source = false;
        for line in own.lines() {
            let is_frame = line.starts_with("  File \"") && line.contains(", in ");
            if is_frame || line.starts_with("  [Previous line repeated ") {
                frames.push(format!("{line}\n"));
                has_source = false;
            } else if let Some(source) = line.strip_prefix("    ") {
                let is_mark = !source.trim().is_empty()
                    && source.chars().all(|letter| matches!(letter, ' ' | '~' | '^'));
                if let Some(frame) = frames.last_mut().filter(|_| !has_source && !is_mark) {
                    frame.push_str(&format!("{line}\n"));
                    has_source = true;
                }
            } else {
                // The exception, or the place of a syntax error.
                break;
            }
        }
        frames
    }

    pub fn new(blame: Blame, code: &'static str, kind: &str, message: impl Into<String>) -> Self {
        Self {
            blame,
            code,
            kind: kind.to_owned(),
            message: message.into(),
            traceback: String::new(),
            location: None,
            hint: None,
            retry_after: None,
            started: true,
            bystander: false,
            suspect: false,
            is_final: false,
            exit: None,
            body: None,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks that user code certainly did not run.
    #[must_use]
    pub fn not_started(mut self) -> Self {
        self.started = false;
        self
    }
}
