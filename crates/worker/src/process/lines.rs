//! What a process says in frames, as lines of the log.

use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::log::{LogLevel, LogLine, LogSource, Refusal};

use super::Worker;
use crate::bounds::{Running, Verdict, log_cut};
use crate::output::tell_left_out;
use crate::wire::message::Log;

impl Worker {
    /// An invocation is about to run: from here on there is something to be said of it.
    pub(crate) fn begin(&self, id: InvocationId, function: FunctionName) {
        let memory_bytes = self.memory_bytes();
        {
            let mut state = self.state();
            state.functions.values_mut().for_each(|running| running.saw_memory(memory_bytes));
            state.functions.insert(id, Running::new(function, memory_bytes));
        }
        let left_out = self.speaker.unclaimed().begin();
        left_out.into_iter().for_each(|left_out| tell_left_out(self.id, left_out, &self.words));
    }

    /// Says of something that was refused to the app, or that this process is ended for (T-001). `id`: the invocation that
    /// did it; if that is not known and only one is in work, it is taken for its.
    pub(crate) fn tell_security(&self, refusal: Refusal, id: Option<InvocationId>, message: String) {
        let (invocation, function) = {
            let state = self.state();
            let only = state.functions.keys().next().filter(|_| state.functions.len() == 1);
            let invocation = id.or(only.copied());
            let running = invocation.and_then(|id| state.functions.get(&id));
            (invocation, running.map(|running| running.function.clone()))
        };
        self.words.sink().line(LogLine {
            worker: self.id,
            invocation,
            function,
            level: LogLevel::Warning,
            source: LogSource::Security(refusal),
            logger: String::new(),
            message,
            text: None,
        });
    }

    /// It has sent what no worker sends. Whoever hears that ends it.
    pub(crate) fn tell_broken(&self, id: Option<InvocationId>, problem: &str) {
        let problem = self.words.secrets().hide(problem);
        tracing::error!(worker = %self.id, %problem, "the worker broke the protocol; it is ended");
        let message = format!("the worker sent what no worker sends, and was ended: {problem} (E0303)");
        self.tell_security(Refusal::Protocol, id, message);
    }

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
