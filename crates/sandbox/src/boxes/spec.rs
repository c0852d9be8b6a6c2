//! What a box is, as values that go over the wire to the process that makes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::mark::Mark;
use crate::gvisor::Gvisor;

/// A box: what can be seen in it, as whom, and with which limits. The same for all processes of one app.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoxSpec {
    pub role: Role,
    pub view: View,
    pub identity: Identity,
    pub network: Network,
    /// Of `/tmp`, and once more of `/dev/shm`; each worker has its own.
    pub scratch: Scratch,
    pub open_files_max: u64,
    /// Largest file that a process may write, in bytes.
    pub file_bytes_max: u64,
    /// Processes and threads of the box as a whole; a limit for each worker is that of its control group.
    pub processes_max: u64,
    /// Namespaces and a view of its own. Without them what is left is Landlock, seccomp and limits.
    pub has_namespaces: bool,
    /// Whether the server is asked before a process connects or listens.
    pub asks: bool,
    /// What plays the kernel for the processes of the box; none: that of the machine is their kernel.
    pub gvisor: Option<Gvisor>,
}

impl BoxSpec {
    /// User and group for whom the processes of the box take themselves.
    pub(crate) fn users_inside(&self) -> (u32, u32) {
        match self.identity {
            // It does its work as root of the box's namespace, and can do it as nobody else.
            _ if self.gvisor.is_some() => (0, 0),
            Identity::Same { user, group } => (user, group),
            Identity::Own { .. } => (USER_INSIDE, USER_INSIDE),
        }
    }

    /// Of what of `/tmp` the keeper and what it starts directly see.
    pub(crate) fn outer_scratch(&self) -> Scratch {
        if self.gvisor.is_some() { crate::gvisor::STATE } else { self.scratch }
    }
}

/// What its processes do, which decides the rights and the system calls that they need.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Role {
    /// They fork workers and put them into cells.
    Zygote,
    /// They are programs like any other, and have no right at all.
    Program,
}

/// What of the file system is there. Everything else is not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct View {
    pub mounts: Vec<Mount>,
    /// Files of the box alone, by path: `/etc/passwd`, `/etc/resolv.conf`, ….
    pub files: BTreeMap<PathBuf, String>,
    /// Symbolic links, by path.
    pub links: BTreeMap<PathBuf, PathBuf>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// A folder or file of the host, found in the box under the same path.
    pub path: PathBuf,
    pub access: Access,
    /// Owner of the folder on the host, if what belongs to them belongs to the box's user in the box.
    pub owner: Option<(u32, u32)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Access {
    ReadOnly,
    ReadWrite,
    /// Can be written to in the box, but nothing of that reaches the host: it goes with the box. Without namespaces, or
    /// where the system can't do it, it is read-only.
    Discarded,
    /// Nothing of it can be seen: there is an empty folder, or a file without content, in its place.
    Hidden,
}

/// As whom the processes run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Identity {
    /// The user of the server, who is nobody else in the box either.
    Same { user: u32, group: u32 },
    /// A user of this app alone, whom nobody else is. Only root can give that.
    Own { user: u32 },
}

/// What a process of an [`Identity::Own`] takes itself for.
pub const USER_INSIDE: u32 = 1000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Network {
    /// The host's: everything can be reached.
    Host,
    /// A loopback of its own and nothing else. `resolver`: sockets for a resolver are made in it, and handed over.
    Own { resolver: bool },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scratch {
    pub bytes: u64,
    pub files: u64,
}

/// What is started in a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Program {
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    pub directory: PathBuf,
}

/// A part of what keeps functions from everything that is not theirs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Protection {
    UserNamespace,
    OwnUser,
    FileView,
    ProcessNumbers,
    OwnNetwork,
    SystemCalls,
    Landlock,
    MemoryLimit,
    ProcessorLimit,
    ProcessLimit,
}

impl Protection {
    pub const ALL: [Self; 10] = [
        Self::UserNamespace,
        Self::OwnUser,
        Self::FileView,
        Self::ProcessNumbers,
        Self::OwnNetwork,
        Self::SystemCalls,
        Self::Landlock,
        Self::MemoryLimit,
        Self::ProcessorLimit,
        Self::ProcessLimit,
    ];

    /// As it is called on the screen and in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "user namespace",
            Self::OwnUser => "own user",
            Self::FileView => "file view",
            Self::ProcessNumbers => "own processes",
            Self::OwnNetwork => "own network",
            Self::SystemCalls => "system calls",
            Self::Landlock => "landlock",
            Self::MemoryLimit => "memory limit",
            Self::ProcessorLimit => "processor limit",
            Self::ProcessLimit => "process limit",
        }
    }

    /// What it does, for those who have to decide whether they can do without it.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::UserNamespace => "no right that a function gets is worth anything outside its box",
            Self::OwnUser => "each app is another user of the machine",
            Self::FileView => {
                "functions see interpreter, packages and app, read-only, and a /tmp of their own"
            }
            Self::ProcessNumbers => "functions see no process but their own, and end with them",
            Self::OwnNetwork => "each connection is checked; what functions serve is theirs alone",
            Self::SystemCalls => "a list of system calls that functions need, and no other",
            Self::Landlock => "workers of an app are kept from each other",
            Self::MemoryLimit => "a function that wants too much memory ends alone",
            Self::ProcessorLimit => "a busy function leaves the processors to others",
            Self::ProcessLimit => "a function that forks without end stops by itself",
        }
    }
}

/// A protection that is not there, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shortfall {
    pub protection: Protection,
    pub reason: String,
}

/// What is asked of a keeper. Each request has a number, which the answer repeats.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// With descriptors: standard output, standard error, and the control socket of those that have one, with the ways into
    /// its control group behind it.
    Start(Box<Program>),
    /// A cell for one worker.
    Cell,
    /// A mark of its own for a process of a box without process numbers, which has become a worker.
    Mark { process: i32 },
    /// SIGABRT for the program of a machine, known by the process that was started for it. There is no answer.
    Abort { process: i32 },
}

/// What a keeper says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The box is there. With descriptors: the keeper; if asked for, the resolver's sockets for datagrams and streams.
    /// `mark`: of its processes, if it has no process numbers of its own.
    Ready { shortfalls: Vec<Shortfall>, mark: Option<Mark> },
    /// With descriptors: the process; with `asks` the listener that is asked.
    Started { id: u64, process: i32 },
    /// With descriptors: the process that keeps the cell, its process numbers, its mounts.
    Cell { id: u64 },
    /// The process has a mark of its own. With descriptors: what ends all that has it when it is closed. Without: the
    /// process has ended, or the box has no mark.
    Marked { id: u64 },
    /// A process of the box that has become the keeper's ended; its number in the box and its status.
    Ended { process: i32, status: i32 },
    /// A step could not be done. `id` is absent when the box itself could not be made.
    Failed { id: Option<u64>, step: String, errno: i32 },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Numbered {
    pub(crate) id: u64,
    pub(crate) request: Request,
}
