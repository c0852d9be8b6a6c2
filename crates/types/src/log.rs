//! What is shown of an app at work: the lines of user code, and one record for each invocation.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::event::Phases;
use crate::ids::{FunctionName, InvocationId, WorkerId};
use crate::outcome::Failure;

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
    /// What the server says of something that an app may not do and that was refused to it, or for which its worker was
    /// ended (T-001). No level of the log keeps it back.
    Security(Refusal),
    /// The port of X-Ray's daemon: a datagram for [`crate::spans`], which nobody is shown as a line.
    Segment,
}

/// What was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// A connection to where functions may not connect to.
    Network,
    /// Something sent to the server that no worker sends.
    Protocol,
    /// An output that names what is none of the worker's own files, or is none at all.
    Output,
    /// A system call for which the system ends a process, instead of only refusing it.
    SystemCall,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Protocol => "protocol",
            Self::Output => "output",
            Self::SystemCall => "system call",
        }
    }
}

/// One message of user code; may span several lines.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    pub worker: WorkerId,
    /// `None` for lines that belong to no invocation: they are shown too, never dropped.
    pub invocation: Option<InvocationId>,
    /// The function of that invocation, while it is in work.
    pub function: Option<FunctionName>,
    pub level: LogLevel,
    pub source: LogSource,
    /// Name of the Python logger; empty for standard output and error.
    pub logger: String,
    pub message: String,
    /// The same as the platform shows it that the app was written for, where that has a form of its own: AWS Lambda. People are
    /// shown this.
    pub text: Option<String>,
}

/// What callers of a handler for AWS Lambda are told of one call besides its result.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CallLog {
    /// The last kilobytes of what the function said, as AWS shows it.
    pub said: String,
    /// Making the worker, whoever waited for that, if this was its first call.
    pub init: Option<Duration>,
}

/// Takes the lines; must not block.
pub trait LogSink: Send + Sync + 'static {
    fn line(&self, line: LogLine);
}

pub type LogSinkHandle = Arc<dyn LogSink>;

/// One invocation as it is shown in the one-line log: every step of its life, and what it led to.
#[derive(Clone, Debug)]
pub struct InvocationRecord {
    pub id: InvocationId,
    pub function: FunctionName,
    pub received_at: SystemTime,
    /// `POST /api/orders`, `queue orders`.
    pub summary: String,
    /// `success`, `failed`, `timed_out`, `cancelled`, `rejected`.
    pub outcome: &'static str,
    /// What the HTTP caller was answered.
    pub status: Option<u16>,
    pub phases: Phases,
    /// Outputs written and what became of the source: `queue kitchen ×2`, `poison orders-poison`.
    pub effects: Vec<String>,
    pub failure: Option<Failure>,
}

/// Takes the records; must not block.
pub trait RecordSink: Send + Sync + 'static {
    fn record(&self, record: InvocationRecord);
}

pub type RecordSinkHandle = Arc<dyn RecordSink>;
