//! Which lines get through to the log, changed while the server serves (S-045).

use std::sync::{Arc, PoisonError, RwLock};

use ingle_types::log::{
    InvocationRecord, LogLevel, LogLine, LogSink, LogSinkHandle, LogSource, RecordSink, RecordSinkHandle,
};
use ingle_types::log_levels::{LogLevels, WORKER};

/// The rules of the running server. Cheap to clone; all clones are one.
#[derive(Clone, Default, Debug)]
pub struct LogFilter(Arc<RwLock<LogLevels>>);

impl LogFilter {
    /// The rules as they are now.
    pub fn levels(&self) -> LogLevels {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut LogLevels)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn shows(&self, category: &str, level: LogLevel) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).shows(category, level)
    }

    /// A sink in front of another one, which gets what the rules let through.
    pub fn lines(&self, behind: LogSinkHandle) -> LogSinkHandle {
        Arc::new(Lines { filter: self.clone(), behind })
    }

    /// As [`Self::lines`], for invocations.
    pub fn records(&self, behind: RecordSinkHandle) -> RecordSinkHandle {
        Arc::new(Records { filter: self.clone(), behind })
    }
}

struct Lines {
    filter: LogFilter,
    behind: LogSinkHandle,
}

impl LogSink for Lines {
    fn line(&self, line: LogLine) {
        let shows = match &line.function {
            // Whoever sets levels means what functions say.
            _ if matches!(line.source, LogSource::Security(_)) => true,
            Some(function) => self.filter.shows(&format!("Function.{function}.User"), line.level),
            None => self.filter.shows(WORKER, line.level),
        };
        if shows {
            self.behind.line(line);
        }
    }
}

struct Records {
    filter: LogFilter,
    behind: RecordSinkHandle,
}

impl RecordSink for Records {
    fn record(&self, record: InvocationRecord) {
        // Azure's host tells of a failed invocation as an error, of any other as information.
        let level = if record.failure.is_some() { LogLevel::Error } else { LogLevel::Info };
        if self.filter.shows(&format!("Function.{}", record.function), level) {
            self.behind.record(record);
        }
    }
}
