//! Memory of processes, read from outside: for machines on which control groups can't be used.
//!
//! It is a poor substitute. It sees memory only when it looks. A process that leaves its parents between two looks is lost
//! to it, unless its worker has a mark (`boxes::mark`): then it is found a few looks later. Lost is also memory that belongs
//! to no process just then: segments of System V that nobody has attached, and files in memory on their way from one process
//! to another.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;

use crate::boxes::mark::Mark;

/// Follows one process and all that it started, also what has left it since it was first seen.
#[derive(Debug)]
pub struct Watchdog {
    leader: i32,
    /// Those seen, with the time at which they started: the number alone may be another's by now.
    known: BTreeMap<i32, u64>,
    /// What those have that have left the tree, where that is known.
    mark: Option<Mark>,
    looks: u32,
}

/// How many looks there are to one at all processes of the machine, which costs more than one at a tree.
const LOOKS_AT_ALL: u32 = 5;

/// More memory than is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Over {
    pub memory_bytes: u64,
    pub limit_bytes: u64,
    /// All that was counted, the leader included.
    pub processes: Vec<i32>,
}

impl Watchdog {
    pub fn new(leader: i32) -> Self {
        Self { leader, known: BTreeMap::new(), mark: None, looks: 0 }
    }

    /// The living processes of the tree, and those that have left it and have the leader's mark.
    pub fn processes(&mut self) -> Vec<i32> {
        self.known.retain(|process, started| start_time(*process) == Some(*started));
        if self.looks.is_multiple_of(LOOKS_AT_ALL) {
            self.mark = self.mark.or_else(|| Mark::of(self.leader));
            let bearers = self.mark.map(Mark::bearers).unwrap_or_default();
            self.known
                .extend(bearers.into_iter().filter_map(|process| Some((process, start_time(process)?))));
        }
        self.looks = self.looks.wrapping_add(1);
        let mut unseen: Vec<i32> = self.known.keys().copied().collect();
        unseen.push(self.leader);
        while let Some(process) = unseen.pop() {
            for child in children(process) {
                if !self.known.contains_key(&child)
                    && let Some(started) = start_time(child)
                {
                    self.known.insert(child, started);
                    unseen.push(child);
                }
            }
        }
        if let Some(started) = start_time(self.leader) {
            self.known.insert(self.leader, started);
        }
        self.known.keys().copied().collect()
    }

    /// Looks at the tree. Costs a few files for each process, and more only when the limit is near. It reads what may be
    /// long, so it is not for a thread that others wait for.
    pub fn over(&mut self, limit_bytes: u64) -> Option<Over> {
        over(self.processes(), limit_bytes)
    }

    /// The same for the leader alone: what it has started is somebody else's business.
    pub fn leader_over(&self, limit_bytes: u64) -> Option<Over> {
        over(vec![self.leader], limit_bytes)
    }
}

fn over(processes: Vec<i32>, limit_bytes: u64) -> Option<Over> {
    // What processes share is counted in each here, so it is at least as much as in truth, and cheap to read.
    let resident: u64 = processes.iter().filter_map(|process| resident_bytes(*process)).sum();
    let files = memory_files(&processes);
    if resident.saturating_add(files) <= limit_bytes {
        return None;
    }
    // Of files in memory, what is mapped is in the memory of whoever maps it.
    let mapped: u64 = processes.iter().filter_map(|process| shared_bytes(*process)).sum();
    let memory_bytes = tree_memory(&processes).saturating_add(files.saturating_sub(mapped));
    (memory_bytes > limit_bytes).then_some(Over { memory_bytes, limit_bytes, processes })
}

/// Descriptors that one look goes through.
const DESCRIPTORS_MAX: usize = 100_000;

/// Bytes of files that are in memory and nowhere else (memfd_create(2)), of all that these processes have open. They belong
/// to no process's memory until somebody maps them.
fn memory_files(processes: &[i32]) -> u64 {
    let open = processes
        .iter()
        .filter_map(|process| std::fs::read_dir(format!("/proc/{process}/fd")).ok())
        .flatten()
        .flatten()
        .take(DESCRIPTORS_MAX);
    let mut seen = BTreeSet::new();
    let mut bytes = 0_u64;
    for descriptor in open.map(|entry| entry.path()) {
        let leads_to = std::fs::read_link(&descriptor);
        if !leads_to.is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(MEMORY_FILE)) {
            continue;
        }
        if let Ok(file) = std::fs::metadata(&descriptor)
            && seen.insert((file.dev(), file.ino()))
        {
            bytes = bytes.saturating_add(file.blocks().saturating_mul(BLOCK_BYTES));
        }
    }
    bytes
}

/// How the names of such files begin (proc_pid_fd(5)).
const MEMORY_FILE: &[u8] = b"/memfd:";
/// Of `st_blocks` (stat(3type)).
const BLOCK_BYTES: u64 = 512;

/// Bytes that these processes hold together: what some of them share is counted once, and what others have too in
/// part. A process that is gone holds nothing; of one that we may not look into, all that is resident is counted.
pub fn tree_memory(processes: &[i32]) -> u64 {
    let bytes =
        |process: &i32| proportional_bytes(*process).or_else(|| resident_bytes(*process)).unwrap_or(0);
    processes.iter().map(bytes).sum()
}

fn proportional_bytes(process: i32) -> Option<u64> {
    parse_rollup(&read(process, "smaps_rollup")?)
}

/// Of its proportional bytes those of files in memory, and of what processes share.
fn shared_bytes(process: i32) -> Option<u64> {
    kibibytes(&read(process, "smaps_rollup")?, "Pss_Shmem:")?.checked_mul(1024)
}

fn resident_bytes(process: i32) -> Option<u64> {
    let page_bytes = u64::try_from(rustix::param::page_size()).ok()?;
    Some(parse_statm(&read(process, "statm")?)?.saturating_mul(page_bytes))
}

fn start_time(process: i32) -> Option<u64> {
    parse_start_time(&read(process, "stat")?)
}

/// The children of all threads of a process; none if the kernel does not list them.
fn children(process: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| parse_children(&list)).collect()
}

fn read(process: i32, file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{process}/{file}")).ok()
}

/// Memory by shares, and what of it was swapped out.
fn parse_rollup(text: &str) -> Option<u64> {
    let total = kibibytes(text, "Pss:")?.checked_add(kibibytes(text, "SwapPss:").unwrap_or(0))?;
    total.checked_mul(1024)
}

fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
}

/// Resident pages.
fn parse_statm(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The 22nd field, counted behind the name, which may hold anything but ends with the last parenthesis; `None` for a
/// process that has ended and only waits to be reaped.
fn parse_start_time(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn parse_children(text: &str) -> Vec<i32> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_proc_are_read() {
        let rollup = "55d4-7ffd ---p 0 00:00 0 [rollup]\nRss:  5000 kB\nPss:   1234 kB\nPss_Dirty: 9 kB\nSwapPss: 6 kB\n";
        assert_eq!(parse_rollup(rollup), Some(1240 * 1024));
        assert_eq!(parse_rollup("Pss: 1 kB\n"), Some(1024));
        assert_eq!(parse_statm("2000 345 100 1 0 200 0\n"), Some(345));
        let stat = "42 (a) Z (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 1000 200 18446744073709551615";
        assert_eq!(parse_start_time(stat), Some(98765));
        assert_eq!(parse_start_time(&stat.replace(") S", ") Z")), None);
        assert_eq!(parse_children("10 11 \n"), [10, 11]);
    }

    #[test]
    fn other_text_is_nothing() {
        for text in [
            "",
            "Pss:",
            "Pss: x kB",
            "Pss: 99999999999999999999 kB",
            "Pss: 18446744073709551615 kB",
            ") S 1",
            "1",
        ] {
            assert_eq!(parse_rollup(text), None, "{text}");
            assert_eq!(parse_statm(text).filter(|_| text == "1"), None, "{text}");
            assert_eq!(parse_start_time(text), None, "{text}");
        }
    }

    #[test]
    fn our_own_memory_is_more_than_nothing_and_less_than_a_terabyte() {
        let us = rustix::process::getpid().as_raw_nonzero().get();
        let mut watchdog = Watchdog::new(us);
        assert!(watchdog.over(1 << 40).is_none());
        let over = watchdog.over(4096).unwrap();
        assert!(over.memory_bytes > 4096 && over.processes.contains(&us), "{over:?}");
        assert_eq!(tree_memory(&[]), 0);
        assert_eq!(tree_memory(&[-1, i32::MAX]), 0);
    }

    /// T-013: what nobody has mapped is in no process's memory, and fills the machine's all the same.
    #[test]
    fn t_013_files_in_memory_count_once() {
        use std::io::Write as _;

        const BYTES: u64 = 64 << 20;
        let us = rustix::process::getpid().as_raw_nonzero().get();
        let before = memory_files(&[us]);
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let mut file = std::fs::File::from(rustix::fs::memfd_create("counted", flags).unwrap());
        file.write_all(&vec![1; BYTES as usize]).unwrap();
        let again = file.try_clone().unwrap();
        let found = memory_files(&[us, us]) - before;
        assert!((BYTES..BYTES + (1 << 20)).contains(&found), "{found}");
        // Without it we would be under this limit.
        let rest = tree_memory(&[us]) + before;
        assert!(Watchdog::new(us).leader_over(rest + BYTES / 2).is_some());
        drop((file, again));
        assert!(memory_files(&[us]) < before + BYTES / 2);
    }
}
