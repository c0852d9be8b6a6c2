//! Whose a process is, where it has no process numbers and no control group of its own that would tell: a mark that it
//! can't lose.
//!
//! What leaves its worker's process group and session, and has another parent since that ended (a daemon), looks like
//! any other process of the user. But it has its limits of resources from whoever forked it, an exec leaves them as they
//! are, and what lacks `CAP_SYS_RESOURCE` can't raise them. One of them, that of file locks, has meant nothing to the system
//! since Linux 2.4.25 (getrlimit(2)). So it is a place for a number, and the filter of system calls lets nobody in a box
//! lower it (`seccomp::conditions`).
//!
//! ```text
//! bit 62   bits 61 to 24    bits 23 to 0
//!    1     the box          the worker's process number; all ones: not of a worker
//! ```
//!
//! The keeper writes that of a worker, which has that of its box until then. What code of the app leaves behind while the
//! worker is being forked (hooks of C libraries) so counts as left by the import, and ends with the box.
//!
//! It does not find what another program of the machine has started on behalf of a function: that has never had the mark.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, pidfd_open, setrlimit};
use serde::{Deserialize, Serialize};

use super::sys::{self, At as _, Done};

/// The mark of a box, or of one worker in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Mark(u64);

/// Set in each mark, so that none is a number that anybody would choose for a limit.
const KIND: u64 = 1 << 62;
/// More than the system has numbers for processes (`PID_MAX_LIMIT`, 22 bits).
const WORKERS: u64 = (1 << 24) - 1;

/// Looks that find nothing in a row: a process that forks and ends may be forked behind the place where one look is.
const QUIET_LOOKS: usize = 3;
/// Then what is left can't be ended, such as what waits for a disk that does not answer. It ends with that wait.
const LOOKS_MAX: usize = 100;
/// Between two looks, for what was ended to be gone.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// How far around the newest number, and how often in a look, the system is asked for processes that a list can't have.
const NEAR_NEWEST: i32 = 16;
const NEWEST_LOOKS: usize = 16;

impl Mark {
    /// One that no other box has, by all odds: 38 bits are drawn. `None` if this process may not give it to others, as its
    /// own limit is lower already.
    pub(crate) fn of_box() -> Option<Self> {
        use std::hash::{BuildHasher as _, RandomState};
        let drawn = RandomState::new().hash_one("box") & (KIND - 1);
        let mark = Self(KIND | drawn | WORKERS);
        let can_be_given = getrlimit(Resource::Locks).maximum.is_none_or(|most| most >= mark.0);
        can_be_given.then_some(mark)
    }

    fn of_worker(self, process: Pid) -> Self {
        Self((self.0 & !WORKERS) | u64::from(process.as_raw_nonzero().get().unsigned_abs()))
    }

    /// Whether what has the other mark is part of what has this one.
    fn covers(self, other: Self) -> bool {
        self == other || (self.is_of_box() && other.0 | WORKERS == self.0)
    }

    fn is_of_box(self) -> bool {
        self.0 & WORKERS == WORKERS
    }

    /// For a process that is about to become a program of the box.
    pub(crate) fn wear(self) -> Done {
        let limit = Rlimit { current: Some(self.0), maximum: Some(self.0) };
        setrlimit(Resource::Locks, limit).at("mark a process as one of the box")
    }

    /// Makes a process of this box, and all that it forks from now on, a worker with a mark of its own. `None` if it is
    /// none of the box.
    pub(crate) fn make_worker(self, process: i32) -> Option<Self> {
        let process = Pid::from_raw(process.max(0))?;
        // Open while it is looked at, so that the number stays its own.
        let _open = pidfd_open(process, PidfdFlags::empty()).ok()?;
        if sys::locks_limit(process)? != self.0 {
            return None;
        }
        let mark = self.of_worker(process);
        sys::set_locks_limit(process, mark.0).ok().map(|()| mark)
    }

    /// The mark of a worker, if this process has one.
    pub(crate) fn of(worker: i32) -> Option<Self> {
        let mark = Self(sys::locks_limit(Pid::from_raw(worker.max(0))?)?);
        (mark.0 & KIND != 0 && mark.0 < u64::MAX && !mark.is_of_box()).then_some(mark)
    }

    /// All processes that have it, as far as the system lists them.
    pub(crate) fn bearers(self) -> Vec<i32> {
        let bears = |number: &i32| {
            Pid::from_raw(*number).and_then(sys::locks_limit).is_some_and(|limit| self.covers(Self(limit)))
        };
        listed().into_iter().filter(bears).collect()
    }

    /// Ends all processes that have the mark, also those that are forked meanwhile, and waits until they are gone.
    pub(crate) fn end(self) {
        let mut quiet = 0;
        for _ in 0..LOOKS_MAX {
            let newest = std::iter::repeat_with(near_newest).take(NEWEST_LOOKS).flatten();
            let numbers = listed().into_iter().chain(newest);
            let dying: Vec<OwnedFd> = numbers.filter_map(|number| self.end_one(number)).collect();
            quiet = if dying.is_empty() { quiet + 1 } else { 0 };
            if quiet == QUIET_LOOKS {
                return;
            }
            for process in &dying {
                poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&PAUSE)).ok();
            }
        }
    }

    /// Ends a process if it has the mark and has not ended yet.
    fn end_one(self, number: i32) -> Option<OwnedFd> {
        let number = Pid::from_raw(number)?;
        let is_marked = || sys::locks_limit(number).is_some_and(|limit| self.covers(Self(limit)));
        // Most are not; that costs one call.
        if !is_marked() {
            return None;
        }
        // The number may have become another's since. What is open is the one that has the mark, or is gone by the time
        // of the signal.
        let process = pidfd_open(number, PidfdFlags::empty()).ok()?;
        let has_ended =
            poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&Timespec::default())) != Ok(0);
        if has_ended || !is_marked() {
            return None;
        }
        rustix::process::pidfd_send_signal(&process, Signal::KILL).ok()?;
        Some(process)
    }
}

/// The numbers of all processes, as far as the system lists them.
fn listed() -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut numbers: BTreeSet<i32> =
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok())).collect();
    // Where `/proc` hides the processes of others (`hidepid`), also one of the own user can hide; but not a child.
    numbers.extend(children());
    numbers
}

/// Children of this process, which has one thread.
pub(crate) fn children() -> Vec<i32> {
    let own = rustix::process::getpid().as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Numbers around the newest one: there is what does nothing but fork and end, and is gone before a list has been read.
fn near_newest() -> std::ops::Range<i32> {
    // It is the last word of this file (proc_loadavg(5)).
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let newest = load.split_ascii_whitespace().next_back().and_then(|word| word.parse::<i32>().ok());
    newest
        .map_or(0..0, |newest| newest.saturating_sub(NEAR_NEWEST).max(1)..newest.saturating_add(NEAR_NEWEST))
}

/// A worker in a box without process numbers, and all that it has started, however they try to leave it. When it is
/// dropped, they are ended.
#[derive(Debug)]
pub struct Family(OwnedFd);

impl Family {
    /// What the keeper waits for the end of.
    pub(super) fn new(held: OwnedFd) -> Self {
        Self(held)
    }

    /// Ends them; the keeper sees to it.
    pub fn kill(&self) {
        rustix::net::shutdown(&self.0, Shutdown::Both).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_part_of_its_box_and_of_no_other() {
        let (one, other) = (Mark::of_box().unwrap(), Mark::of_box().unwrap());
        let worker = |number| one.of_worker(Pid::from_raw(number).unwrap());
        assert!(one.covers(one) && one.covers(worker(1)) && one.covers(worker(4_194_303)));
        assert!(!one.covers(other) && !other.covers(worker(1)));
        assert!(worker(7).covers(worker(7)) && !worker(7).covers(worker(8)) && !worker(7).covers(one));
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!((Mark::of(own), Mark::of(-1)), (None, None), "no worker");
        assert_eq!(worker(7).bearers(), [0; 0]);
        // Nobody has such a limit by chance, and the system takes it: it is less than what stands for none.
        assert!(one.0 >= KIND && one.0 < i64::MAX.cast_unsigned());
        assert!(!one.covers(Mark(u64::MAX)) && !one.covers(Mark(WORKERS)));
    }

    #[test]
    fn who_has_no_mark_of_the_box_becomes_no_worker_of_it() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert_eq!(Mark::of_box().unwrap().make_worker(own), None);
        assert_eq!(Mark::of_box().unwrap().make_worker(-1), None);
    }
}
