//! Learning that a group ran out of memory.
//!
//! v2 counts events in a file that can be polled. v1 has an eventfd for it that speaks when memory has run out and before
//! anybody is ended, and also if then enough is found after all; so in both the counter of ended processes decides.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::fs::{Mode, OFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Version, files};

/// Why processes of a leaf were ended by the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    pub peak_bytes: u64,
    /// The leaf's own limit. A peak well below it, or none, means that memory ran out further up: the machine's.
    pub limit_bytes: Option<u64>,
    pub kills: u64,
}

/// How often the counter is read if the kernel can't tell us of changes.
const PAUSE: Duration = Duration::from_millis(50);

/// How often it is read while the kernel chooses whom to end, which takes it no time as a rule.
const SHORT_PAUSE: Duration = Duration::from_millis(2);

/// Times the counter is read after a word of the kernel, before that is taken for a false alarm.
const LOOKS_MAX: usize = 500;

/// Processes of a group that were ended for want of memory; `None` if the kernel does not count them.
pub(super) fn kills(folder: &Path, version: Version) -> Option<u64> {
    let file = match version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    files::keyed_number(folder, file, "oom_kill")
}

/// Waits until the counter is above 0.
pub(super) async fn killed(folder: &Path, version: Version, watch: Option<&Watch>) {
    let has_killed = || kills(folder, version).is_some_and(|kills| kills > 0);
    while !has_killed() {
        let Some(watch) = watch else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if watch.changed().await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        for _ in 0..LOOKS_MAX {
            if version == Version::V2 || has_killed() {
                break;
            }
            tokio::time::sleep(SHORT_PAUSE).await;
        }
    }
}

/// A descriptor that the kernel makes ready when something happened to the memory of a group.
#[derive(Debug)]
pub(super) struct Watch {
    descriptor: AsyncFd<OwnedFd>,
    interest: Interest,
}

impl Watch {
    pub(super) fn start(folder: &Path, version: Version) -> io::Result<Self> {
        match version {
            Version::V1 => Self::notification(folder),
            Version::V2 => Self::events(&folder.join("memory.events")),
        }
    }

    /// An eventfd that is registered with the group, as v1 wants it.
    fn notification(folder: &Path) -> io::Result<Self> {
        let notified = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let control = open(&folder.join("memory.oom_control"))?;
        let numbers = format!("{} {}", notified.as_raw_fd(), control.as_raw_fd());
        files::write(folder, "cgroup.event_control", &numbers)?;
        Self::over(notified, Interest::READABLE)
    }

    /// A file of which the kernel says when it has changed since it was read last.
    pub(super) fn events(path: &Path) -> io::Result<Self> {
        let watch = Self::over(open(path)?, Interest::PRIORITY)?;
        watch.consume()?;
        Ok(watch)
    }

    fn over(descriptor: OwnedFd, interest: Interest) -> io::Result<Self> {
        // SAFETY: the descriptor is owned by the `AsyncFd`, and an `OwnedFd` is the same open one until it is dropped.
        #[expect(unsafe_code, reason = "tokio can't know that of every type")]
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, interest) }?;
        Ok(Self { descriptor, interest })
    }

    /// Waits for a change since the last call that returned.
    pub(super) async fn changed(&self) -> io::Result<()> {
        self.descriptor.ready(self.interest).await?.clear_ready();
        // Read after clearing: a change from here on makes it ready again.
        self.consume()
    }

    fn consume(&self) -> io::Result<()> {
        let mut bytes = [0; 512];
        let read = if self.interest == Interest::PRIORITY {
            rustix::io::pread(self.descriptor.get_ref(), &mut bytes, 0)
        } else {
            rustix::io::read(self.descriptor.get_ref(), &mut bytes)
        };
        match read {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}
