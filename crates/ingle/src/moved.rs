//! `ingle start --clock moved`: a server for tests, whose clock stands still until it is moved through the admin socket.
//!
//! Python's own clock goes on, and so do time limits of functions: what is moved is the time of everything that the
//! server does.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ingle_control::Control;
use ingle_gateway::moved::Unmoved;
use ingle_types::clock::{Clock, MovedClock, SystemClock, read_date};
use ingle_types::event::futures::BoxFuture;
use ingle_types::log::{InvocationRecord, LogLine, LogSink, RecordSink};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::printer::{self, Printer};

/// Events that are kept until they are asked for; the oldest make room.
const EVENTS_MAX: usize = 100_000;

/// Where a moved clock begins, as it was typed: `moved`, or `moved=2030-01-01T08:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockChoice {
    start: Option<SystemTime>,
}

impl std::str::FromStr for ClockChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "moved" {
            return Ok(Self { start: None });
        }
        let start = text.strip_prefix("moved=").and_then(read_date);
        let start = start.ok_or("it is `moved`, or `moved=` and a time such as 2030-01-01T08:00:00Z")?;
        Ok(Self { start: Some(start) })
    }
}

/// What a server on a moved clock has more than others.
#[derive(Clone)]
pub(crate) struct MovedTime {
    pub(crate) clock: MovedClock,
    pub(crate) journal: Arc<Journal>,
}

impl MovedTime {
    pub(crate) fn new(choice: ClockChoice, printer: &Printer) -> Self {
        let start = choice.start.unwrap_or_else(|| SystemClock.now());
        Self { clock: MovedClock::at(start), journal: Arc::new(Journal::new(printer.clone())) }
    }
}

/// Keeps what is printed for a test to read, in the order in which it happened.
pub(crate) struct Journal {
    printer: Printer,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Value>,
    left_out: u64,
}

impl Journal {
    fn new(printer: Printer) -> Self {
        Self { printer, kept: Mutex::default() }
    }

    fn keep(&self, event: Value) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.events.len() >= EVENTS_MAX {
            kept.events.pop_front();
            kept.left_out += 1;
        }
        kept.events.push_back(event);
    }

    fn take(&self) -> (Vec<Value>, u64) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        (kept.events.into(), kept.left_out)
    }
}

impl LogSink for Journal {
    fn line(&self, line: LogLine) {
        let line = printer::without_keys_in_line(line);
        self.keep(printer::line_json(&line));
        self.printer.line(line);
    }
}

impl RecordSink for Journal {
    fn record(&self, record: InvocationRecord) {
        let record = printer::without_keys_in_record(record);
        self.keep(printer::record_json(&record));
        self.printer.record(record);
    }
}

/// The server, as the admin door moves it.
pub(crate) struct MovedServer {
    pub(crate) time: MovedTime,
    pub(crate) control: Control,
}

impl MovedServer {
    fn with<Work, Running>(&self, work: Work) -> BoxFuture<Result<(), Unmoved>>
    where
        Work: FnOnce(Control, MovedClock) -> Running,
        Running: Future<Output = Result<(), String>> + Send + 'static,
    {
        let running = work(self.control.clone(), self.time.clock.clone());
        Box::pin(async move { running.await.map_err(Unmoved::Busy) })
    }
}

impl ingle_gateway::moved::Moved for MovedServer {
    fn now(&self) -> SystemTime {
        self.time.clock.now()
    }

    fn settle(&self, limit: Duration) -> BoxFuture<Result<(), Unmoved>> {
        self.with(async move |control, clock| control.settle(&clock, limit).await)
    }

    fn advance(&self, to: SystemTime, limit: Duration) -> BoxFuture<Result<(), Unmoved>> {
        if to < self.time.clock.now() {
            let refused = Unmoved::Refused("the clock moves forward only".to_owned());
            return Box::pin(std::future::ready(Err(refused)));
        }
        self.with(async move |control, clock| control.advance(&clock, to, limit).await)
    }

    fn restart(&self, to: SystemTime) -> BoxFuture<Result<(), Unmoved>> {
        self.with(async move |control, clock| control.start_over(&clock, to).await)
    }

    fn journal(&self) -> (Vec<Value>, u64) {
        self.time.journal.take()
    }
}

/// Tells when standard input ends, if it is a pipe: so a server does not outlive the tests that started it, however they
/// end.
pub(crate) fn end_of_input() -> Option<oneshot::Receiver<()>> {
    let input = std::io::stdin();
    let status = rustix::fs::fstat(&input).ok()?;
    if rustix::fs::FileType::from_raw_mode(status.st_mode) != rustix::fs::FileType::Fifo {
        return None;
    }
    let (sender, ended) = oneshot::channel();
    // A read from a pipe can't be given up, so it has a thread of its own, which ends with the program.
    std::thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin().lock().read(&mut byte).is_ok_and(|count| count > 0) {}
        // Nobody listens when the program ends anyway.
        sender.send(()).ok();
    });
    Some(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_clock_begins_now_or_at_a_given_time() {
        let check = |text: &str, expected: Option<Option<i64>>| {
            let read = text.parse::<ClockChoice>().ok();
            let read = read.map(|choice| choice.start.map(ingle_types::clock::unix_ms));
            assert_eq!(read, expected, "{text}");
        };
        check("moved", Some(None));
        check("moved=2030-01-01T00:00:00Z", Some(Some(1_893_456_000_000)));
        check("moved=2030-01-01T01:00:00+01:00", Some(Some(1_893_456_000_000)));
        check("moved=tomorrow", None);
        check("fast", None);
    }
}
