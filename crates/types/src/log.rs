//! Lines that user code writes: `logging`, `print`, standard error, warnings.

use std::sync::Arc;

use crate::ids::{InvocationId, WorkerId};

#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Which door a line came through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogSource {
    /// Python's `logging`.
    Logging,
    /// `print`, or whatever else reached standard output.
    Stdout,
    Stderr,
}

/// One message of user code; may span several lines.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    pub worker: WorkerId,
    /// `None` for lines that belong to no invocation: they are shown too, never dropped.
    pub invocation: Option<InvocationId>,
    pub level: LogLevel,
    pub source: LogSource,
    /// Name of the Python logger; empty for standard output and error.
    pub logger: String,
    pub message: String,
}

/// Takes the lines; must not block.
pub trait LogSink: Send + Sync + 'static {
    fn line(&self, line: LogLine);
}

pub type LogSinkHandle = Arc<dyn LogSink>;
