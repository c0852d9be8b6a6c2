//! What can be said about a handler for AWS Lambda.

use std::path::PathBuf;
use std::time::Duration;

use super::{HandlerQueue, HandlerSchedule};

/// Of a queue in the embedded store, so that its poison queue can have a name, too.
const NAME_CHARACTERS_MAX: usize = 56;
const NAME_CHARACTERS_MIN: usize = 3;

/// The queue or container of the embedded store that stands for a queue of SQS or a bucket of S3, whose names may have more
/// characters: what it can't have becomes a dash, so `Orders_new` is `orders-new` and `jobs.fifo` is `jobs-fifo`. `kind` goes
/// before a name that is too short.
pub fn embedded_name(name: &str, kind: &str) -> String {
    let lowered = name.to_ascii_lowercase();
    let words = lowered.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("-");
    let cut = joined.get(..NAME_CHARACTERS_MAX).unwrap_or(&joined).trim_end_matches('-');
    if cut.len() < NAME_CHARACTERS_MIN {
        format!("{kind}-{cut}").trim_end_matches('-').to_owned()
    } else {
        cut.to_owned()
    }
}

/// What becomes of events that nobody waits for, as the function says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaterOptions {
    /// Attempts after the first one.
    pub retries_max: u32,
    /// What nobody could run for so long is not run any more.
    pub age_max: Duration,
    /// Who is told of an event that was done.
    pub on_success: Option<LaterTarget>,
    /// Who is told of an event that was given up on.
    pub on_failure: Option<LaterTarget>,
    /// The queue of the embedded store that gets such an event itself.
    pub dead_letters: Option<String>,
}

impl Default for LaterOptions {
    fn default() -> Self {
        let age_max = Duration::from_secs(6 * 3600);
        Self { retries_max: 2, age_max, on_success: None, on_failure: None, dead_letters: None }
    }
}

/// Who gets a record of what became of an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LaterTarget {
    /// A queue of the embedded store.
    Queue(String),
    /// A function of the project, by its name.
    Function(String),
}

/// `[lambda]` of `ingle.toml`.
#[derive(Clone, Debug, PartialEq)]
pub struct LambdaOptions {
    /// `module.function`, if the app names one.
    pub handler: Option<String>,
    /// Longest time of one event.
    pub timeout: Option<Duration>,
    /// The region that the function believes to be in.
    pub region: String,
    /// Whether it has a URL of its own.
    pub has_url: bool,
    /// How that answers.
    pub invoke_mode: InvokeMode,
    /// It may take the event alone, or nothing, as functions of Zappa may.
    pub takes_fewer_arguments: bool,
    pub schedules: Vec<HandlerSchedule>,
    pub queues: Vec<HandlerQueue>,
    pub later: LaterOptions,
    /// Folders with what the function finds besides its own packages, below `python`; a later one goes before.
    pub layers: Vec<PathBuf>,
    /// What runs the function.
    pub runtime: LambdaRuntime,
    /// How its log lines look; text if absent.
    pub log_format: Option<LambdaLogFormat>,
    /// Least level of what its `logging` says; that of AWS for the format if absent.
    pub log_level: Option<LambdaLogLevel>,
}

impl Default for LambdaOptions {
    fn default() -> Self {
        Self {
            handler: None,
            timeout: None,
            region: "us-east-1".to_owned(),
            has_url: true,
            invoke_mode: InvokeMode::default(),
            takes_fewer_arguments: false,
            schedules: Vec::new(),
            queues: Vec::new(),
            later: LaterOptions::default(),
            layers: Vec::new(),
            runtime: LambdaRuntime::default(),
            log_format: None,
            log_level: None,
        }
    }
}

/// How a function URL answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum InvokeMode {
    /// When the answer is whole.
    #[default]
    Buffered,
    /// As the answer is written, if the runtime gives it in pieces.
    ResponseStream,
}

/// Its name, as AWS has it.
impl std::str::FromStr for InvokeMode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "BUFFERED" => Ok(Self::Buffered),
            "RESPONSE_STREAM" => Ok(Self::ResponseStream),
            _ => Err(()),
        }
    }
}

/// What runs a handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LambdaRuntime {
    /// Our own worker.
    #[default]
    Worker,
    /// A program `bootstrap` of the function or a layer of it, as the custom runtimes of AWS have it.
    Provided,
    /// AWS's own for Python, from the packages of the app.
    Ric,
}

impl LambdaRuntime {
    /// Whether it is a program of its own, behind the Runtime API.
    #[must_use]
    pub fn is_program(self) -> bool {
        self != Self::Worker
    }
}

/// Its name, as AWS has it; what is no name of a runtime that is a program is none.
impl std::str::FromStr for LambdaRuntime {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "provided" | "provided.al2" | "provided.al2023" => Ok(Self::Provided),
            "awslambdaric" => Ok(Self::Ric),
            _ => Err(()),
        }
    }
}

/// How the log lines of a handler look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LambdaLogFormat {
    /// Level, time, id and message with tabs between them.
    #[default]
    Text,
    /// A JSON object for each line of `logging`.
    Json,
}

impl LambdaLogFormat {
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// As AWS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "Text",
            Self::Json => "JSON",
        }
    }
}

impl std::str::FromStr for LambdaLogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

/// Levels of AWS, least first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LambdaLogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl LambdaLogLevel {
    pub const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// As AWS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }
}

impl std::str::FromStr for LambdaLogLevel {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_sqs_has_one_in_the_store() {
        let check = |name: &str, expected: &str| assert_eq!(embedded_name(name, "queue"), expected, "{name}");
        check("orders", "orders");
        check("Orders_new--2", "orders-new-2");
        check("-jobs.fifo", "jobs-fifo");
        check("q", "queue-q");
        check("__", "queue");
        // With room for `-poison`, and no dash at the end.
        check(&format!("{}-b", "a".repeat(55)), &"a".repeat(55));
    }
}
