//! How v2 hands controllers down to groups below ours.
//!
//! A group of v2 has either processes or groups with controllers below it, never both (only the root may). So if ours
//! holds us, we have to move into a group below it first. That is done only if it holds nobody but us and what we
//! started: whoever else is there, such as a shell, is not ours to move.

use std::io;
use std::path::{Path, PathBuf};

use super::{Controller, files};

/// The group that this process moves to, below the one that it was started in.
const SERVER_FOLDER: &str = "ingle-server";

/// Generations of processes that are followed up to find whether we started one.
const ANCESTORS_MAX: usize = 64;

/// Rounds of moving processes: each may find some that were started during the last.
const ROUNDS_MAX: usize = 8;

/// What became of the wish for controllers.
pub(super) struct Delegation {
    /// The group below which the others go. Not our own if we were moved.
    pub(super) base: PathBuf,
    pub(super) results: Vec<(Controller, Result<(), String>)>,
}

/// Has the controllers handed down to groups below our own. Without any wanted, it only finds where those go.
pub(super) fn delegate(own: &Path, wanted: &[Controller]) -> Delegation {
    let base = base_of(own);
    let available = files::read(&base, "cgroup.controllers").unwrap_or_default();
    let mut moved = None;
    let mut results: Vec<(Controller, Result<(), String>)> = Vec::new();
    for controller in wanted {
        let result = check_available(*controller, &base, &available).and_then(|()| {
            // Some controllers can be handed down while we are still in it, but then nothing could join the groups
            // below. So even a try has to wait for the move.
            moved.get_or_insert_with(|| move_out(&base)).as_ref().map_err(String::clone)?;
            hand_on(&base, *controller)
        });
        results.push((*controller, result));
    }
    if let Some(Ok(Some(server))) = moved
        && results.iter().all(|(_, result)| result.is_err())
    {
        move_back(&base, &server);
    }
    Delegation { base, results }
}

/// Our group, or the one above if we are in the group for servers already: by an earlier call, or as the child of
/// another server.
fn base_of(own: &Path) -> PathBuf {
    match own.parent() {
        Some(above) if own.ends_with(SERVER_FOLDER) && above.join("cgroup.subtree_control").exists() => {
            above.to_owned()
        }
        _ => own.to_owned(),
    }
}

fn check_available(controller: Controller, base: &Path, available: &str) -> Result<(), String> {
    let Some(name) = controller.v2_name() else { return Ok(()) };
    let words: Vec<&str> = available.split_ascii_whitespace().collect();
    if words.contains(&name) {
        return Ok(());
    }
    let list = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
    Err(format!("`{name}` is not handed down to {} (it has: {list})", base.display()))
}

/// Hands a controller on to the groups below one. Once more is no error.
///
/// # Errors
/// A sentence that says why that is not possible.
pub(super) fn hand_on(folder: &Path, controller: Controller) -> Result<(), String> {
    let Some(name) = controller.v2_name() else { return Ok(()) };
    files::write(folder, "cgroup.subtree_control", &format!("+{name}")).map_err(|error| error.to_string())
}

/// Moves this process and all that it started into a group below, which is returned; `None` if there is no need.
fn move_out(base: &Path) -> Result<Option<PathBuf>, String> {
    let told = |error: io::Error| {
        format!("this process could not move to a group below {}: {error}", base.display())
    };
    let processes = files::processes(base).map_err(told)?;
    // Only the root has no type. It may have both.
    if processes.is_empty() || !base.join("cgroup.type").exists() {
        return Ok(None);
    }
    let us = rustix::process::getpid().as_raw_nonzero().get();
    if let Some(stranger) = strangers(&processes, us, parent_of).first() {
        return Err(format!(
            "{} holds other processes too, such as {stranger}, so limits below it are not possible; start the server \
             in a group of its own, e.g. with `systemd-run --user --scope -p Delegate=yes`",
            base.display()
        ));
    }
    let server = base.join(SERVER_FOLDER);
    match std::fs::create_dir(&server) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(told(error)),
        _ => {}
    }
    match move_all(base, &server) {
        Ok(()) => Ok(Some(server)),
        Err(error) => {
            move_back(base, &server);
            Err(told(error))
        }
    }
}

/// Those that this process neither is nor started.
fn strangers(processes: &[i32], us: i32, parent_of: impl Fn(i32) -> Option<i32>) -> Vec<i32> {
    let is_ours = |process: i32| {
        std::iter::successors(Some(process), |process| parent_of(*process))
            .take(ANCESTORS_MAX)
            .any(|ancestor| ancestor == us)
    };
    processes.iter().copied().filter(|process| !is_ours(*process)).collect()
}

fn parent_of(process: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    for _ in 0..ROUNDS_MAX {
        let processes = files::processes(from)?;
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes {
            match files::write(to, "cgroup.procs", &process.to_string()) {
                // It has ended meanwhile.
                Err(_) if parent_of(process).is_none() => {}
                result => result?,
            }
        }
    }
    Err(io::Error::other("new processes keep appearing in it"))
}

/// Best effort: a server in a group further down works as well.
fn move_back(base: &Path, server: &Path) {
    if move_all(server, base).is_ok() {
        std::fs::remove_dir(server).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_started_is_ours_and_nothing_else() {
        // 1 ── 10 (shell) ── 20 (us) ── 30 ── 31;  1 ── 40
        let parent = |process| match process {
            10 | 40 => Some(1),
            20 => Some(10),
            30 => Some(20),
            31 => Some(30),
            // A table that is read while it changes may show circles.
            50 => Some(51),
            51 => Some(50),
            _ => None,
        };
        let check = |processes: &[i32], expected: &[i32]| {
            assert_eq!(strangers(processes, 20, parent), expected);
        };
        check(&[20], &[]);
        check(&[20, 30, 31], &[]);
        check(&[10, 20, 31, 40], &[10, 40]);
        // One of another process namespace has no number here.
        check(&[0, 20, 50], &[0, 50]);
    }

    #[test]
    fn a_controller_that_is_not_there_is_named() {
        let check = |controller, available, expected: Result<(), &str>| {
            let found = check_available(controller, Path::new("/g"), available);
            assert_eq!(found, expected.map_err(str::to_owned));
        };
        check(Controller::Memory, "cpu memory pids\n", Ok(()));
        check(Controller::Kill, "\n", Ok(()));
        let without = "`cpu` is not handed down to /g (it has: cpuset, memory, pids)";
        check(Controller::Cpu, "cpuset memory pids\n", Err(without));
        check(Controller::Pids, "\n", Err("`pids` is not handed down to /g (it has: none)"));
    }

    #[test]
    fn a_server_that_was_moved_starts_from_the_group_above() {
        let folder = tempfile::tempdir().unwrap();
        let server = folder.path().join(SERVER_FOLDER);
        assert_eq!(base_of(&server), server);
        std::fs::write(folder.path().join("cgroup.subtree_control"), "").unwrap();
        assert_eq!(base_of(&server), folder.path());
        assert_eq!(base_of(folder.path()), folder.path());
    }
}
