//! How a process ended, and what can be known of it afterwards.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use ingle_sandbox::cgroup::OutOfMemory;
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::Exit;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::bounds::Running;
use crate::output::Tail;

/// How a process ended.
#[derive(Debug, Clone)]
pub(crate) struct Ending {
    /// `exited with status 3`, `was ended by signal 11 (SIGSEGV)`.
    pub(crate) what: String,
    /// The same as a number, if it is known.
    pub(crate) exit: Option<Exit>,
    /// The last lines of standard error.
    pub(crate) tail: String,
    /// The invocation that called `os._exit`, when that is how it ended.
    pub(crate) culprit: Option<InvocationId>,
    /// Ended by the server because this invocation was over its time.
    pub(crate) timed_out: Option<InvocationId>,
    /// Ended by the server because it stops itself.
    pub(crate) stopped: bool,
    /// Invocations in work when it ended.
    pub(crate) in_work: usize,
    /// It wanted more memory than it may have.
    pub(crate) shortage: Option<OutOfMemory>,
    /// What ran in it then, in the order in which it began; only for one that wanted too much memory.
    pub(crate) ran: Vec<Ran>,
    /// The thread in which the fault handler saw a crash.
    pub(crate) crashed: Option<u64>,
}

/// An invocation that ran when its worker ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    pub(crate) id: InvocationId,
    pub(crate) function: FunctionName,
    /// For how long it had run.
    pub(crate) lasted: Duration,
    /// The least memory that its worker was seen with since it began.
    pub(crate) memory_bytes: u64,
}

impl Ran {
    /// Those that run now.
    pub(crate) fn all(running: &HashMap<InvocationId, Running>, now: Instant) -> Vec<Self> {
        let ran = |(id, running): (&InvocationId, &Running)| Self {
            id: *id,
            function: running.function.clone(),
            lasted: now.saturating_duration_since(running.since),
            memory_bytes: running.memory_bytes(),
        };
        let mut all: Vec<Self> = running.iter().map(ran).collect();
        all.sort_by_key(|ran| std::cmp::Reverse(ran.lasted));
        all
    }
}

/// What is left of a process when it has ended.
pub(crate) struct LastWords {
    pub(crate) tail: Tail,
    pub(crate) all_read: oneshot::Receiver<()>,
}

/// The thread that the fault handler names as current: `Current thread 0x00007f8a (most recent call first):`.
pub(crate) fn crashed_thread(tail: &str) -> Option<u64> {
    let line = tail.lines().rev().find_map(|line| line.trim_start().strip_prefix("Current thread 0x"))?;
    let digits: String = line.chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).ok()
}

pub(crate) fn exit_of(status: ExitStatus) -> Exit {
    status.signal().map_or_else(|| Exit::Status(status.code().unwrap_or(0)), Exit::Signal)
}

/// `exited with status 3`, `was ended by signal 11 (SIGSEGV)`.
pub(crate) fn describe(status: ExitStatus) -> String {
    if let Some(signal) = status.signal() {
        let name = match signal {
            4 => " (SIGILL)",
            6 => " (SIGABRT)",
            7 => " (SIGBUS)",
            8 => " (SIGFPE)",
            9 => " (SIGKILL)",
            11 => " (SIGSEGV)",
            15 => " (SIGTERM)",
            31 => " (SIGSYS)",
            _ => "",
        };
        return format!("was ended by signal {signal}{name}");
    }
    format!("exited with status {}", status.code().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crashed_thread_is_read_from_the_dump() {
        let dump = "noise\nFatal Python error: Segmentation fault\n\nThread 0x00007fd7 (most recent call first):\n  File x\n\nCurrent thread 0x00007fd7f7dd9e40 [lane-1] (most recent call first):\n  File y\n";
        assert_eq!(crashed_thread(dump), Some(0x7fd7_f7dd_9e40));
        assert_eq!(crashed_thread("Thread 0x00007fd7 (most recent call first):"), None);
    }
}
