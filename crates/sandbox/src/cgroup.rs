//! Limits for one worker, set with the control groups of the kernel, of whichever version the machine has.
//!
//! A server has one folder in each tree that it uses, its *parent*; a worker has one *leaf* below each. What a machine
//! lacks is not an error here but a sentence in [`Cgroups::report`], as a server without one limit is better than none;
//! where nothing is left, [`watchdog`] looks at memory from outside.
//!
//! | to see | look at |
//! |---|---|
//! | where in the trees we are | `place` |
//! | how v2 hands controllers down, and why we may have to move | `delegation` |
//! | the server's folder, and those of servers that died | `parent` |
//! | which file gets which value | `settings` |
//! | what a worker's box can do | `leaf`, `kill`, `oom` |

mod delegation;
mod files;
mod kill;
mod leaf;
mod oom;
mod parent;
mod place;
mod settings;
#[cfg(test)]
mod tests;
pub mod watchdog;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

pub use leaf::{Entrance, Leaf, Usage};
pub use oom::OutOfMemory;
pub use place::{Hierarchies, Place};
pub use settings::Limits;

use parent::Parent;

/// What is wanted of control groups. The order is that in which a process joins: what ends it comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Controller {
    /// Ending every process of a group, also those that fork meanwhile.
    Kill,
    Pids,
    Memory,
    Cpu,
    /// The processor time that was used. In v1 a tree of its own.
    CpuTime,
}

impl Controller {
    pub const ALL: [Self; 5] = [Self::Kill, Self::Pids, Self::Memory, Self::Cpu, Self::CpuTime];

    /// The tree of v1 that does it.
    fn v1_name(self) -> &'static str {
        match self {
            Self::Kill => "freezer",
            Self::Pids => "pids",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::CpuTime => "cpuacct",
        }
    }

    /// The controller of v2 that has to be handed down for it; `None` for what each group of v2 can do.
    fn v2_name(self) -> Option<&'static str> {
        match self {
            Self::Pids => Some("pids"),
            Self::Memory => Some("memory"),
            Self::Cpu => Some("cpu"),
            Self::Kill | Self::CpuTime => None,
        }
    }

    /// Files of which a group has at least one if this works in it.
    fn signs(self, version: Version) -> &'static [&'static str] {
        match (self, version) {
            (Self::Kill, Version::V1) => &["freezer.state"],
            (Self::Kill, Version::V2) => &["cgroup.kill", "cgroup.freeze"],
            (Self::Pids, _) => &["pids.max"],
            (Self::Memory, Version::V1) => &["memory.limit_in_bytes"],
            (Self::Memory, Version::V2) => &["memory.max"],
            (Self::Cpu, Version::V1) => &["cpu.shares"],
            (Self::Cpu, Version::V2) => &["cpu.weight"],
            (Self::CpuTime, Version::V1) => &["cpuacct.usage"],
            (Self::CpuTime, Version::V2) => &["cpu.stat"],
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Kill => "kill",
            Self::Pids => "processes",
            Self::Memory => "memory",
            Self::Cpu => "processor",
            Self::CpuTime => "processor time",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Version {
    V1,
    V2,
}

/// For each controller the version that does it, or a sentence that says why none does.
pub type Report = Vec<(Controller, Result<Version, String>)>;

/// No controller is usable on this machine, or not by this user.
#[derive(Clone, Debug, thiserror::Error)]
#[error("control groups can't be used: {}", reasons(.report))]
pub struct Missing {
    pub report: Report,
}

/// Each reason once, with what it is for.
fn reasons(report: &Report) -> String {
    let mut lines: Vec<(String, &str)> = Vec::new();
    for (controller, result) in report {
        let Err(reason) = result else { continue };
        match lines.iter_mut().find(|(_, known)| known == reason) {
            Some((names, _)) => *names = format!("{names}, {controller}"),
            None => lines.push((controller.to_string(), reason)),
        }
    }
    let lines: Vec<String> = lines.iter().map(|(names, reason)| format!("{names}: {reason}")).collect();
    lines.join("; ")
}

/// The control groups of one server process. Its folders are removed with the last leaf and this.
#[derive(Debug)]
pub struct Cgroups {
    shared: Arc<Shared>,
    report: Report,
}

/// What leaves need to outlive their [`Cgroups`].
#[derive(Debug)]
struct Shared {
    parents: Vec<Parent>,
    /// Names of leaves that could not be removed when they were dropped, as processes in them were still dying.
    abandoned: Mutex<Vec<String>>,
}

impl Cgroups {
    /// Makes the folders of this server, named after it and its process, and removes those of servers that died.
    ///
    /// Call it before starting any process: it may move this one into a group of its own (see `delegation`), and
    /// only what it starts afterwards is sure to be there too.
    ///
    /// # Errors
    /// No controller is usable. If some are, it is none: see [`Self::report`].
    pub fn open(server_name: &str) -> Result<Self, Missing> {
        Self::open_in(&Hierarchies::find(), server_name)
    }

    fn open_in(hierarchies: &Hierarchies, server_name: &str) -> Result<Self, Missing> {
        let (parents, report) = parent::make_all(hierarchies, &parent::folder_prefix(server_name));
        if parents.is_empty() {
            return Err(Missing { report });
        }
        Ok(Self { shared: Arc::new(Shared { parents, abandoned: Mutex::default() }), report })
    }

    /// What is usable, and why the rest is not.
    pub fn report(&self) -> Report {
        self.report.clone()
    }

    pub fn is_usable(&self, controller: Controller) -> bool {
        self.report.iter().any(|(known, result)| *known == controller && result.is_ok())
    }

    /// Makes a group for one worker. Limits whose controller is not usable are not set.
    ///
    /// # Errors
    /// The name is not made of ASCII letters, digits, `-` and `_`, or is taken; a limit is out of range; or the kernel
    /// refuses. Nothing is left behind then.
    pub fn leaf(&self, name: &str, limits: &Limits) -> io::Result<Leaf> {
        Leaf::make(Arc::clone(&self.shared), name, limits)
    }

    /// Tries again to remove the leaves that could not be removed when they were dropped; returns how many are left.
    pub fn sweep(&self) -> usize {
        self.shared.sweep()
    }
}

impl Shared {
    fn abandon(&self, name: String) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }

    fn sweep(&self) -> usize {
        let mut names = std::mem::take(&mut *self.abandoned.lock().unwrap_or_else(PoisonError::into_inner));
        names.retain(|name| !self.sweep_one(name));
        let count = names.len();
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).append(&mut names);
        count
    }

    /// Frees a name if it is that of an abandoned leaf.
    fn reclaim(&self, name: &str) {
        let is_abandoned = {
            let names = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner);
            names.iter().any(|abandoned| abandoned == name)
        };
        if is_abandoned {
            self.sweep();
        }
    }

    /// Whether nothing of the leaf is left.
    fn sweep_one(&self, name: &str) -> bool {
        let folders = || self.parents.iter().map(|parent| (parent, parent.leaf(name)));
        for (parent, folder) in folders() {
            if parent.controllers.contains(&Controller::Kill) && folder.exists() {
                // What can't be killed now is tried at the next sweep, as its folder can't be removed either.
                kill::pass(&folder, parent.version).ok();
            }
        }
        folders().fold(true, |gone, (_, folder)| files::remove_tree(&folder).is_ok() && gone)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sweep();
    }
}
