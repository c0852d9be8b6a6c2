//! What a process says in frames, as lines of the log.

use ingle_types::log::{LogLevel, LogLine, LogSource};

use super::Worker;
use crate::bounds::{Verdict, log_cut};
use crate::wire::message::Log;

impl Worker {
    /// Hands on what it says; comes back when it may say more. Whoever waits does not hold the line.
    pub(crate) fn log(&self, log: Log) -> impl Future<Output = ()> + '_ {
        let bytes = log.message.len() + log.text.as_ref().map_or(0, String::len);
        self.line(log).into_iter().for_each(|line| self.words.sink().line(line));
        self.words.took(bytes, &self.speaker)
    }

    /// A line that is to be shown.
    fn line(&self, log: Log) -> Option<LogLine> {
        let (level, source) = match log.level.as_str() {
            "debug" => (LogLevel::Debug, LogSource::Logging),
            "warning" => (LogLevel::Warning, LogSource::Logging),
            "error" => (LogLevel::Error, LogSource::Logging),
            "critical" => (LogLevel::Critical, LogSource::Logging),
            "stdout" => (LogLevel::Info, LogSource::Stdout),
            "stderr" => (LogLevel::Warning, LogSource::Stderr),
            "segment" => (LogLevel::Debug, LogSource::Segment),
            _ => (LogLevel::Info, LogSource::Logging),
        };
        let invocation = log.id.and_then(|id| id.parse().ok());
        let mut state = self.state();
        let (mut message, mut text) = (log.message, log.text);
        let mut function = None;
        if let Some(running) = invocation.and_then(|id| state.functions.get_mut(&id)) {
            function = Some(running.function.clone());
            let most = self.bounds.log_bytes;
            match running.log(message.len(), most) {
                Verdict::Shown => {}
                Verdict::Last => (message, text) = (log_cut(most), None),
                Verdict::Dropped => return None,
            }
            if self.is_lambda {
                running.said.add(text.as_deref().unwrap_or(&message));
            }
        }
        // What is printed looks as it is printed.
        let text = self.is_lambda.then(|| text.unwrap_or_else(|| message.clone()));
        Some(LogLine {
            worker: self.id,
            invocation,
            function,
            level,
            source,
            logger: log.logger,
            message,
            text,
        })
    }
}
