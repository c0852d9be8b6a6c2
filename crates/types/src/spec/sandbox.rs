//! How an app is confined: the table `[sandbox]` of `ingle.toml`, resolved.

use std::path::PathBuf;

/// How strongly the functions of an app are kept from everything that is not theirs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Isolation {
    /// Not at all: functions have the rights of the server.
    Off,
    /// The strongest that this machine allows; what is missing is named.
    Default,
    /// The full box, or none of the app's code runs.
    Strict,
    /// A kernel of its own, in user space.
    Gvisor,
}

impl Isolation {
    pub const ALL: [(&'static str, Self); 4] =
        [("default", Self::Default), ("strict", Self::Strict), ("gvisor", Self::Gvisor), ("off", Self::Off)];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, isolation)| *isolation == self).map_or("default", |(name, _)| name)
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, isolation)| *isolation)
    }
}

/// What functions may reach over the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Egress {
    All,
    None,
    /// Only these: `host:port`.
    Only(Vec<String>),
}

/// How much processor time a worker may use, also when nobody else wants any.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum CpuQuota {
    /// So many cores.
    Cores(f64),
    /// In proportion to the memory that it may have, as on AWS Lambda.
    OfMemory,
}

/// What is said about the box of an app; what is not said is the caller's to choose.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SandboxOptions {
    pub isolation: Option<Isolation>,
    pub egress: Option<Egress>,
    /// Memory of one worker, in bytes.
    pub memory: Option<u64>,
    /// Processor time of one worker at most.
    pub cpu: Option<CpuQuota>,
    /// Processes and threads of one worker.
    pub processes: Option<u64>,
    /// Descriptors of one process.
    pub open_files: Option<u64>,
    /// Size of `/tmp`, in bytes.
    pub temporary: Option<u64>,
    /// Bytes that one invocation may log.
    pub log_bytes: Option<u64>,
    /// Bytes of one response.
    pub response_bytes: Option<u64>,
    /// Bytes of large outputs on disk, of all invocations in work.
    pub outputs_bytes: Option<u64>,
    /// Folders and files outside the app that functions may read.
    pub read: Vec<PathBuf>,
    /// As `read`, that they may also change.
    pub write: Vec<PathBuf>,
    /// A door of the server's own that functions reach whatever `egress` says: `127.0.0.1:port`.
    pub door: Option<String>,
    /// Variables of the server's environment that functions see.
    pub environment: Vec<String>,
}
