//! What is different about a worker that has a machine of its own, under gVisor.
//!
//! The process that the server knows is `runsc`, which waits for the worker and then exits as that did: its memory, its
//! signals and its end are not the worker's.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use ingle_sandbox::boxes::Boxed;
use ingle_sandbox::cgroup::watchdog::{Watchdog, tree_memory};
use ingle_types::spec::DeclaredFunction;

use crate::process::Worker;

/// How long a machine may take, when its worker has gone, to say how that ended.
const LAST_STATUS: Duration = Duration::from_secs(1);
/// What a shell adds to the number of the signal that ended a program, and so does `runsc`.
const BY_SIGNAL: i32 = 128;
const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

/// Where a worker's machine is.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) boxed: Boxed,
    /// The number of its `runsc` in the box.
    pub(crate) number: i32,
}

/// The status of the worker, from that of its machine.
pub(crate) fn status_inside(status: ExitStatus) -> ExitStatus {
    let signal = status.code().map(|code| code - BY_SIGNAL).filter(|signal| SIGNALS.contains(signal));
    signal.map_or(status, ExitStatus::from_raw)
}

impl Worker {
    pub(crate) fn has_machine(&self) -> bool {
        self.quarters.machine.is_some()
    }

    /// Ends a process whose sockets are closed, so that nobody can reach it. If it has ended by itself, its machine gets
    /// the time to tell how.
    pub(crate) async fn end_lost(&self) {
        if self.has_machine() {
            tokio::time::timeout(LAST_STATUS, self.ended()).await.ok();
        }
        self.kill();
    }

    /// Ends a process so that Python's fault handler prints the stacks of all threads first.
    pub(crate) async fn abort(&self) {
        let Some(machine) = &self.quarters.machine else { return self.group.abort() };
        machine.boxed.abort(machine.number).await;
        self.end_lost().await;
    }

    /// Resident memory in bytes; with a machine or programs beside it of all that belongs to it.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let of_tree = || {
            let leader = i32::try_from(self.group.leader()).unwrap_or_default();
            tree_memory(&Watchdog::new(leader).processes())
        };
        if self.has_machine() {
            let counted = self.quarters.group.as_ref().and_then(crate::home::Group::memory_bytes);
            counted.unwrap_or_else(of_tree)
        } else if self.has_programs {
            of_tree()
        } else {
            self.group.memory_bytes()
        }
    }

    /// Its share of the memory; a machine shares none.
    pub(crate) fn proportional_bytes(&self) -> u64 {
        if self.has_machine() { self.resident_bytes() } else { self.group.proportional_bytes() }
    }
}

/// Whether a function is run by a program, or has programs beside it (`lambda::runtime` of the room `apps`).
pub(crate) fn has_programs(function: &DeclaredFunction) -> bool {
    let settings = function.bindings.first();
    settings.is_some_and(|settings| ["runtime", "extensions"].iter().any(|name| settings.contains_key(*name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_in_a_machine_is_told_as_one() {
        let inside = |code: i32| status_inside(ExitStatus::from_raw(code << 8));
        assert_eq!(inside(139).signal(), Some(11));
        assert_eq!(
            (inside(3).code(), inside(128).code(), inside(255).code()),
            (Some(3), Some(128), Some(255))
        );
        assert_eq!(status_inside(ExitStatus::from_raw(9)).signal(), Some(9));
    }
}
