//! Why a worker could not be had.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ingle_sandbox::boxes::BoxError;
use ingle_types::outcome::{Blame, Failure};

/// A worker process did not come to life.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("can't lay out the worker's files in '{folder}'", folder = folder.display())]
    Shim { folder: PathBuf, source: io::Error },
    #[error("can't start '{python}'", python = python.display())]
    Start { python: PathBuf, source: io::Error },
    #[error("can't fork a worker")]
    Fork { source: io::Error },
    #[error("the box of the app can't be used")]
    Box { source: BoxError },
    #[error("the network of a box can't be supervised")]
    Network { source: io::Error },
    #[error("the worker process {ending} before it had loaded the app{output}")]
    Ended { ending: String, output: String },
    #[error("the app was not imported after {} s{stack}", limit.as_secs())]
    ImportTimeout { limit: Duration, stack: String },
    #[error("the app can't be imported any more as it was: '{function}' is missing{problems}")]
    Changed { function: String, problems: String },
    #[error("the worker speaks version {theirs} of the frames, this server {ours}")]
    Version { theirs: u32, ours: u32 },
    #[error("the worker sent something that is no answer: {problem}")]
    Protocol { problem: String },
    #[error("the server is stopping")]
    Stopping,
}

impl Error {
    /// Code with a page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Stopping => "E0309",
            Self::Box { source } => source.code(),
            Self::Network { .. } => "E0621",
            _ => "E0304",
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::Ended { .. } | Self::ImportTimeout { .. } | Self::Changed { .. } => Blame::App,
            Self::Shim { .. }
            | Self::Start { .. }
            | Self::Fork { .. }
            | Self::Box { .. }
            | Self::Network { .. }
            | Self::Version { .. }
            | Self::Protocol { .. }
            | Self::Stopping => Blame::Platform,
        }
    }

    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Shim { .. } => "make the cache folder writable, or name another with --cache",
            Self::Start { .. } => "check the interpreter with `ingle doctor`",
            Self::Fork { .. } => "the machine may be out of memory or processes; look at `ingle doctor`",
            Self::Box { .. } | Self::Network { .. } => {
                "ingle doctor --security tells what this machine allows"
            }
            Self::Ended { .. } => {
                "code at the top level of a module ended the process; move it into a function"
            }
            Self::ImportTimeout { .. } => "move slow work out of the top level of your modules",
            Self::Changed { .. } => {
                "its files have changed since the start; mend them, or start the server anew"
            }
            Self::Version { .. } | Self::Protocol { .. } => "this is a defect of Ingle; please report it",
            Self::Stopping => return None,
        })
    }

    /// The same, as the failure of an invocation that waited for the worker.
    pub fn failure(&self) -> Failure {
        let mut message = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        let mut failure = Failure::new(self.blame(), self.code(), "WorkerNotStarted", message).not_started();
        failure.hint = self.hint().map(str::to_owned);
        failure.retry_after = Some(Duration::from_secs(1));
        failure
    }
}
