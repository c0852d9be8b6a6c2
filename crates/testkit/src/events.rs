//! What a server prints, collected while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::DEADLINE;

/// Longest pause between two looks at something that sends no event when it changes.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The output of one server so far. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    events: Vec<Value>,
    stderr: Vec<String>,
    open: usize,
}

impl Events {
    /// Reads both streams to their ends, in threads of their own.
    pub(crate) fn collect(stdout: impl Read + Send + 'static, stderr: impl Read + Send + 'static) -> Self {
        let events = Self::default();
        events.state().open = 2;
        events.clone().read(stdout, |state, line| {
            state.events.extend(serde_json::from_str::<Value>(&line).ok());
            state.lines.push(line);
        });
        events.clone().read(stderr, |state, line| state.stderr.push(line));
        events
    }

    fn read(self, stream: impl Read + Send + 'static, keep: fn(&mut State, String)) {
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
                keep(&mut self.state(), text);
                self.0.changed.notify_all();
                line.clear();
            }
            self.state().open -= 1;
            self.0.changed.notify_all();
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Value> {
        self.state().events.clone()
    }

    /// Lines of standard output so far.
    pub fn lines(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// Lines of standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.state().stderr.clone()
    }

    /// Waits until `look` finds something in the events so far.
    ///
    /// # Panics
    /// If it finds nothing in time, or nothing more can come.
    #[track_caller]
    pub fn wait_until<T>(&self, what: &str, look: impl Fn(&[Value]) -> Option<T>) -> T {
        self.wait(what, |state| look(&state.events))
    }

    /// Waits for a line of text on standard output.
    ///
    /// # Panics
    /// As [`Self::wait_until`].
    #[track_caller]
    pub fn wait_for_line(&self, part: &str) -> String {
        self.wait(part, |state| state.lines.iter().find(|line| line.contains(part)).cloned())
    }

    /// The event with which a server says that it serves. One that installs packages takes as long as registries and this machine
    /// have time for it.
    #[track_caller]
    pub(crate) fn wait_for_ready(&self, installs: bool) -> Value {
        let limit = if installs { 3 * DEADLINE } else { DEADLINE };
        let is_ready = |event: &&Value| event["event"] == "ready";
        self.wait_for(limit, "ready", |state| state.events.iter().find(is_ready).cloned())
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        self.wait_for(DEADLINE, what, look)
    }

    #[track_caller]
    fn wait_for<T>(&self, limit: Duration, what: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let until = Instant::now() + limit;
        let mut state = self.state();
        loop {
            if let Some(found) = look(&state) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open == 0 {
                let why = if left.is_zero() { "in time" } else { "before the server ended" };
                drop(state);
                panic!("{what}: not seen {why}\n{}", self.report());
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until `look` finds something that no event announces, looking again with each event and each moment.
    ///
    /// # Panics
    /// If it finds nothing in time.
    #[track_caller]
    pub fn look_until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < until, "{what}: not seen in time\n{}", self.report());
            let state = self.state();
            drop(self.0.changed.wait_timeout(state, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Waits until both streams are closed.
    pub(crate) fn wait_for_end(&self) {
        let until = Instant::now() + DEADLINE;
        let mut state = self.state();
        while state.open > 0 && Instant::now() < until {
            state = self.0.changed.wait_timeout(state, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The end of what was printed, for whoever reads a failed test.
    pub(crate) fn report(&self) -> String {
        const SHOWN: usize = 40;
        let state = self.state();
        let tail = |lines: &[String]| lines[lines.len().saturating_sub(SHOWN)..].join("\n");
        format!(
            "--- standard output ({} lines)\n{}\n--- standard error\n{}",
            state.lines.len(),
            tail(&state.lines),
            tail(&state.stderr)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_and_json_becomes_events() {
        let events =
            Events::collect(&b"{\"event\":\"ready\"}\nplain\n{\"event\":\"log\"}\n"[..], &b"oh\n"[..]);
        events.wait_for_end();
        let names: Vec<Value> = events.all().into_iter().map(|event| event["event"].clone()).collect();
        assert_eq!(names, ["ready", "log"]);
        assert_eq!(events.lines().len(), 3);
        assert_eq!(events.stderr(), ["oh"]);
        assert_eq!(events.wait_for_line("pla"), "plain");
    }

    #[test]
    #[should_panic(expected = "a wonder: not seen before the server ended")]
    fn what_can_no_longer_come_is_not_waited_for() {
        let events = Events::collect(&b""[..], &b""[..]);
        events.wait_until("a wonder", |_| None::<()>);
    }
}
