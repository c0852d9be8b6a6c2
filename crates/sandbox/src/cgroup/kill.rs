//! Ending every process of a group, also those that are forked meanwhile.
//!
//! v2 has a file for it. Elsewhere the group is frozen first, so that nothing in it can fork or end while the signals
//! are sent; they arrive when it is thawed.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::{Version, files};

/// Looks at a group that is being frozen. A process in an uninterruptible wait holds it up; then we go on without.
const LOOKS_MAX: usize = 200;

/// How long a group is waited for: the kernel may take a while to free much memory.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Sends SIGKILL to all once. With v2 none escapes; otherwise one can only if the group could not be frozen in time.
pub(super) fn pass(folder: &Path, version: Version) -> io::Result<()> {
    if version == Version::V2 {
        match files::write(folder, "cgroup.kill", "1") {
            // Kernels before 5.14.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    pass_frozen(folder, version)
}

/// As [`pass`], for a kernel that has no file for it.
pub(super) fn pass_frozen(folder: &Path, version: Version) -> io::Result<()> {
    let (file, frozen, thawed) = match version {
        Version::V1 => ("freezer.state", "FROZEN", "THAWED"),
        Version::V2 => ("cgroup.freeze", "1", "0"),
    };
    files::write(folder, file, frozen)?;
    for _ in 0..LOOKS_MAX {
        if is_frozen(folder, version) {
            break;
        }
        std::thread::yield_now();
    }
    for process in files::processes_below(folder) {
        if let Some(process) = Pid::from_raw(process) {
            // It fails only for one that is gone.
            kill_process(process, Signal::KILL).ok();
        }
    }
    files::write(folder, file, thawed)
}

fn is_frozen(folder: &Path, version: Version) -> bool {
    match version {
        Version::V1 => files::read(folder, "freezer.state").is_ok_and(|state| state.trim() == "FROZEN"),
        Version::V2 => files::keyed_number(folder, "cgroup.events", "frozen") == Some(1),
    }
}

/// Kills until the group is empty.
///
/// # Errors
/// It is not after [`PATIENCE`], e.g. as a process waits for a disk that does not answer.
pub(super) async fn until_empty(folder: &Path, version: Version) -> io::Result<()> {
    pass(folder, version)?;
    let ended = until(async |round| {
        if is_empty(folder, version) {
            return Ok(true);
        }
        // One that was forked while the group could not be frozen.
        if round % 4 == 3 {
            pass(folder, version)?;
        }
        Ok(false)
    });
    ended.await
}

fn is_empty(folder: &Path, version: Version) -> bool {
    match version {
        Version::V1 => files::processes_below(folder).is_empty(),
        // A group that is gone has no such file.
        Version::V2 => files::keyed_number(folder, "cgroup.events", "populated").unwrap_or(0) == 0,
    }
}

/// Asks again and again, with growing pauses, until the answer is yes.
///
/// # Errors
/// That of the question, or none within [`PATIENCE`].
pub(super) async fn until(mut done: impl AsyncFnMut(usize) -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = PAUSE_MIN;
    let mut round = 0;
    while !done(round).await? {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "processes of the group do not end"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        round += 1;
    }
    Ok(())
}
