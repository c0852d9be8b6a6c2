//! One long-lived process: started from nothing or forked by one of ours, owned, ended with its whole process group.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitId, WaitIdOptions, getrlimit, setrlimit};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStderr, ChildStdout};

/// What to start. Nothing else reaches the process: no variable of ours, no file descriptor but these.
#[derive(Debug)]
pub struct ProcessSpec {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
    /// Becomes file descriptor 3 in the process.
    pub socket: OwnedFd,
}

/// The number under which [`ProcessSpec::socket`] is found in the process.
pub const SOCKET_NUMBER: i32 = 3;

/// A running process. Dropping it ends the process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Group,
}

/// The process group of a process; can be ended from any task, also while another one waits for the process.
#[derive(Clone, Copy, Debug)]
pub struct Group(Option<Pid>);

impl Group {
    /// Process id of the leader, as seen by the server.
    pub fn leader(self) -> u32 {
        self.0.and_then(|leader| u32::try_from(leader.as_raw_nonzero().get()).ok()).unwrap_or(0)
    }

    /// Ends every process of the group at once (SIGKILL).
    pub fn kill(self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Asks the group to end (SIGTERM).
    pub fn terminate(self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Ends the group in a way that lets Python's fault handler print its stacks first (SIGABRT).
    pub fn abort(self) {
        self.signal(rustix::process::Signal::ABORT);
    }

    fn signal(self, signal: rustix::process::Signal) {
        if let Some(leader) = self.0 {
            // It fails only when the group is gone, which is what was wanted; the wait tells when.
            rustix::process::kill_process_group(leader, signal).ok();
        }
    }

    /// Resident memory of the leader in bytes; 0 when it is gone.
    pub fn memory_bytes(self) -> u64 {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{}/statm", self.leader())) else { return 0 };
        let pages = text.split_ascii_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
        pages.unwrap_or(0) * u64::try_from(rustix::param::page_size()).unwrap_or(4096)
    }
}

impl Group {
    /// Whether the leader has ended, also if nobody has taken its status yet.
    pub fn has_ended(self) -> bool {
        let Some(leader) = self.0 else { return true };
        rustix::process::test_kill_process(leader).is_err() || has_ended(leader.as_raw_nonzero().get())
    }

    /// The leader's share of the memory: each page divided by the number of processes that have it; 0 when unknown.
    pub fn proportional_bytes(self) -> u64 {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.leader())) else {
            return 0;
        };
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kibibytes.unwrap_or(0) * 1024
    }
}

impl Process {
    /// Starts the process as leader of a new process group. It is killed when the server dies.
    pub fn start(spec: ProcessSpec) -> io::Result<Self> {
        let mut command = tokio::process::Command::new(&spec.program);
        command
            .args(&spec.arguments)
            .env_clear()
            .envs(&spec.environment)
            .current_dir(&spec.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let socket = spec.socket.as_raw_fd();
        let parent = rustix::process::getpid();
        // SAFETY: the closure runs between fork and exec. It calls only prctl, getppid, dup2, fcntl and prlimit through
        // rustix, which are async-signal-safe, allocate nothing and take no lock.
        #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
        unsafe {
            command.pre_exec(move || prepare_child(socket, parent));
        }
        let child = command.spawn()?;
        let leader =
            child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        let leader = leader.ok_or_else(|| io::Error::other("the process ended before it had a number"))?;
        Ok(Self { child, group: Group(Some(leader)) })
    }

    pub fn group(&self) -> Group {
        self.group
    }

    /// The read ends of its standard output and error; `None` when taken before.
    pub fn take_output(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        Some((self.child.stdout.take()?, self.child.stderr.take()?))
    }

    /// Waits for the end of the leader, then ends what is left of its group.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.group.kill();
        status
    }
}

/// The user and group as whom this process acts.
pub fn user() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Makes this process one that may start others; called once, before the first.
///
/// What it inherited itself, such as descriptors of a shell, does not reach them. Orphans below it become its
/// children, so that the end of a worker can be waited for when the process that forked it is gone. And it may have as
/// many descriptors open as the system lets it, while those that it starts may have what was usual before.
///
/// # Errors
/// Those of the system; whoever goes on all the same loses only what is said above.
pub fn prepare() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|number| *number > 2) {
            close_at_exec(number);
        }
    }
    let usual = getrlimit(Resource::Nofile);
    let most = Rlimit { current: usual.maximum, maximum: usual.maximum };
    // Without it there is room for fewer apps.
    if USUAL_DESCRIPTORS.set(usual.current).is_ok() {
        setrlimit(Resource::Nofile, most).ok();
    }
    // It holds keys, and everything that apps have: nobody who has its user by chance may look into it (T-002).
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// The limit of descriptors that this process was started with. Programs that close all that they could have, or wait
/// with `select`, can't do with the one that we have.
static USUAL_DESCRIPTORS: OnceLock<Option<u64>> = OnceLock::new();

/// For a child between fork and exec: gives it the usual limit back.
fn limit_descriptors() -> rustix::io::Result<()> {
    let Some(usual) = USUAL_DESCRIPTORS.get() else { return Ok(()) };
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: *usual, maximum: now.maximum })
}

fn close_at_exec(number: i32) {
    // SAFETY: the number was open a moment ago and is only borrowed. Should it be closed by now, or be another one,
    // the flag is set on nothing, or on what Rust has given it already.
    #[expect(unsafe_code, reason = "an inherited descriptor is known by number only")]
    let inherited = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    // It fails for the one that lists the folder, which is closed by now.
    rustix::io::fcntl_setfd(inherited, rustix::io::FdFlags::CLOEXEC).ok();
}

/// Takes the exit status of processes that became ours as orphans and have ended, which else nobody would.
#[derive(Default, Debug)]
pub struct Orphans {
    /// Those that had ended at the last look: what is still there at the next one is waited for by nobody.
    ended: HashSet<i32>,
}

impl Orphans {
    pub fn reap(&mut self) {
        let mut ended = HashSet::new();
        for child in children() {
            if !has_ended(child) {
                continue;
            }
            if !self.ended.contains(&child) {
                ended.insert(child);
            } else if let Some(child) = Pid::from_raw(child) {
                // It fails only if somebody waited for it after all.
                rustix::process::waitpid(Some(child), rustix::process::WaitOptions::NOHANG).ok();
            }
        }
        self.ended = ended;
    }
}

fn children() -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

fn has_ended(process: i32) -> bool {
    // The state stands behind the name, which may hold anything but ends with the last parenthesis (proc_pid_stat(5)).
    let Ok(text) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// A number that was told by somebody who may be wrong.
fn number(told: i32) -> io::Result<Pid> {
    Pid::from_raw(told.max(0)).ok_or_else(|| io::Error::other("not a process number"))
}

/// The users whom a process knows: its namespace of them.
pub(crate) fn namespace_of_users(process: Pid) -> io::Result<u64> {
    std::fs::metadata(format!("/proc/{}/ns/user", process.as_raw_nonzero())).map(|found| found.ino())
}

/// The user of a process. Who may not look into it may know that (proc_pid_status(5)).
pub(crate) fn user_of(process: Pid) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"));
    let user = line.and_then(|line| line.split_ascii_whitespace().next()).and_then(|user| user.parse().ok());
    user.ok_or_else(|| io::Error::other("the system does not tell the user of a process"))
}

/// A process that one of ours forked. Dropping it ends its process group.
///
/// Nobody but its parent can take its exit status; when the parent is gone it is ours ([`prepare`]).
#[derive(Debug)]
pub struct Forked {
    process: AsyncFd<OwnedFd>,
    group: Group,
}

impl Forked {
    /// Watches a process by its number. The parent must not have waited for it yet: else the number may be another's.
    pub fn watch(process_id: i32) -> io::Result<Self> {
        let leader = number(process_id)?;
        Self::open(rustix::process::pidfd_open(leader, PidfdFlags::NONBLOCK)?, Some(leader))
    }

    /// As [`Forked::watch`], of a process that says itself that it was forked in a box. It is believed only if it is of the
    /// same users as `parent`, which is in that box: its number may be another's by now, and whatever is watched is ended
    /// with its group.
    pub(crate) fn watch_beside(
        process_id: i32,
        parent: Group,
        users: fn(Pid) -> io::Result<u64>,
    ) -> io::Result<Self> {
        let leader = number(process_id)?;
        let process = rustix::process::pidfd_open(leader, PidfdFlags::NONBLOCK)?;
        // It was opened before, so if it has changed since, it has ended, and is never signalled.
        let parent = parent.0.ok_or_else(|| io::Error::other("its parent has ended"))?;
        if users(leader)? != users(parent)? {
            return Err(io::Error::other("the process is none of the box"));
        }
        Self::open(process, Some(leader))
    }

    fn open(process: OwnedFd, leader: Option<Pid>) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the `AsyncFd`, and an `OwnedFd` is the same open one until it is dropped.
        #[expect(unsafe_code, reason = "tokio can't know that of every type")]
        let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) }?;
        Ok(Self { process, group: Group(leader) })
    }

    /// As [`Forked::watch`], of a process that is open already. It may have ended: then it has no group any more.
    pub(crate) fn watch_open(process: OwnedFd) -> io::Result<Self> {
        let leader = crate::boxes::number_of(&process)?;
        Self::open(process, leader)
    }

    pub fn group(&self) -> Group {
        self.group
    }

    /// Waits until the process has ended, then ends what is left of its group.
    pub async fn ended(&self) -> io::Result<()> {
        self.process.readable().await?.retain_ready();
        self.group.kill();
        Ok(())
    }

    /// The status of a process that has ended, if it is our child by now; `None` if it is another's.
    pub fn status(&self) -> io::Result<Option<ExitStatus>> {
        let id = WaitId::PidFd(std::os::fd::AsFd::as_fd(self.process.get_ref()));
        match rustix::process::waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(status)) => Ok(Some(raw_status(status.exit_status(), status.terminating_signal()))),
            Ok(None) => Err(io::Error::other("the process still runs")),
            Err(rustix::io::Errno::CHILD) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        self.group.kill();
    }
}

/// A status as `wait(2)` packs it.
fn raw_status(code: Option<i32>, signal: Option<i32>) -> ExitStatus {
    ExitStatus::from_raw(signal.unwrap_or(0) | (code.unwrap_or(0) << 8))
}

impl Drop for Process {
    fn drop(&mut self) {
        self.group.kill();
    }
}

fn prepare_child(socket: i32, parent: rustix::process::Pid) -> io::Result<()> {
    limit_descriptors()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The server may have died between fork and here; then the death signal never comes.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
    }
    // SAFETY: `socket` is open: the parent owns it until spawn returns; it is only borrowed here.
    #[expect(unsafe_code, reason = "an inherited descriptor is known by number only")]
    let source = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket) };
    if socket == SOCKET_NUMBER {
        rustix::io::fcntl_setfd(source, rustix::io::FdFlags::empty())?;
    } else {
        // SAFETY: number 3 is ours to overwrite in the child; ManuallyDrop-like `into_raw` keeps it open.
        #[expect(unsafe_code, reason = "dup2 onto a chosen number")]
        let mut target = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(SOCKET_NUMBER) };
        let result = rustix::io::dup2(source, &mut target);
        std::mem::forget(target);
        result?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Many apps need many descriptors, but programs that close all that they could have would take for ever.
    #[tokio::test]
    async fn the_limit_of_descriptors_is_raised_for_us_and_not_for_what_we_start() {
        let before = getrlimit(Resource::Nofile);
        let usual = Rlimit { current: Some(512), maximum: before.maximum };
        setrlimit(Resource::Nofile, usual).unwrap();
        prepare().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut process = Process::start(ProcessSpec {
            program: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), "ulimit -n".into()],
            environment: BTreeMap::new(),
            directory: PathBuf::from("/"),
            socket: theirs.into(),
        })
        .unwrap();
        let (mut output, _errors) = process.take_output().unwrap();
        let mut said = String::new();
        output.read_to_string(&mut said).await.unwrap();
        assert_eq!(said.trim(), "512");
        assert!(process.wait().await.unwrap().success());
    }
}
