//! One long-lived process: started from nothing, owned, ended with its whole process group.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

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
pub struct Group(rustix::process::Pid);

impl Group {
    /// Process id of the leader, as seen by the server.
    pub fn leader(self) -> u32 {
        u32::try_from(self.0.as_raw_nonzero().get()).unwrap_or(0)
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
        // It fails only when the group is gone, which is what was wanted; the wait tells when.
        rustix::process::kill_process_group(self.0, signal).ok();
    }

    /// Resident memory of the leader in bytes; 0 when it is gone.
    pub fn memory_bytes(self) -> u64 {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{}/statm", self.leader())) else { return 0 };
        let pages = text.split_ascii_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
        pages.unwrap_or(0) * u64::try_from(rustix::param::page_size()).unwrap_or(4096)
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
        // SAFETY: the closure runs between fork and exec. It calls only prctl, getppid, dup2 and fcntl through
        // rustix, which are async-signal-safe, allocate nothing and take no lock.
        #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
        unsafe {
            command.pre_exec(move || prepare_child(socket, parent));
        }
        let child = command.spawn()?;
        let leader =
            child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        let leader = leader.ok_or_else(|| io::Error::other("the process ended before it had a number"))?;
        Ok(Self { child, group: Group(leader) })
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

impl Drop for Process {
    fn drop(&mut self) {
        self.group.kill();
    }
}

fn prepare_child(socket: i32, parent: rustix::process::Pid) -> io::Result<()> {
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
