//! What can be said about a handler for AWS Lambda.

use std::path::PathBuf;
use std::time::Duration;

use super::{HandlerQueue, HandlerSchedule};

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
    /// It may take the event alone, or nothing, as functions of Zappa may.
    pub takes_fewer_arguments: bool,
    pub schedules: Vec<HandlerSchedule>,
    pub queues: Vec<HandlerQueue>,
    /// Folders with what the function finds besides its own packages, below `python`; a later one goes before.
    pub layers: Vec<PathBuf>,
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
            takes_fewer_arguments: false,
            schedules: Vec::new(),
            queues: Vec::new(),
            layers: Vec::new(),
            log_format: None,
            log_level: None,
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
