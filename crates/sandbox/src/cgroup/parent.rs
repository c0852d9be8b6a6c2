//! The folder of one server in one tree: made at its start, gone at its end.
//!
//! Its name ends with the number of the server's process, and the server holds a lock on it. One of neither a living
//! process nor a locked one is left over and removed by the next server. The lock is what protects the folder of a
//! server in another container, whose numbers are not ours.
//!
//! In the tree that shares out the processor a leaf stands beside the server's folder, not in it: a group that gives way
//! ([`super::Leaf::give_way`]) does so to its siblings alone. There the server is one of them, in v1 with everything else on
//! the machine, in v2 in a group of its own (`delegation`).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::delegation::{self, Delegation};
use super::{Controller, Hierarchies, Place, Report, Version, files};

const NAME_BYTES_MAX: usize = 32;

/// Between the name of a server's folder and that of a leaf beside it. No name of a leaf has it.
const BESIDE: char = '.';

#[derive(Debug)]
pub(super) struct Parent {
    pub(super) folder: PathBuf,
    pub(super) version: Version,
    /// What leaves below it are used for, in the order of [`Controller::ALL`].
    pub(super) controllers: Vec<Controller>,
    /// Held as long as the server lives.
    _lock: OwnedFd,
}

impl Parent {
    /// Where a leaf is, or would be.
    pub(super) fn leaf(&self, name: &str) -> PathBuf {
        let shares_processor = self.controllers.contains(&Controller::Cpu);
        match self.folder.file_name().and_then(|own| own.to_str()) {
            Some(own) if shares_processor => self.folder.with_file_name(format!("{own}{BESIDE}{name}")),
            _ => self.folder.join(name),
        }
    }
}

/// The name of a server's folders without the number of its process. What is not fit for the name of a folder is
/// replaced.
pub(super) fn folder_prefix(server_name: &str) -> String {
    let fit = |symbol: char| if symbol.is_ascii_alphanumeric() || symbol == '_' { symbol } else { '-' };
    let name: String = server_name.chars().take(NAME_BYTES_MAX).map(fit).collect();
    format!("{name}-")
}

/// Makes the folders that are needed, and tells what works in them.
pub(super) fn make_all(hierarchies: &Hierarchies, prefix: &str) -> (Vec<Parent>, Report) {
    let candidates: Vec<(Controller, Result<Vec<Place>, String>)> =
        Controller::ALL.map(|controller| (controller, hierarchies.candidates(controller))).into();
    let mut making = Making { prefix, delegation: delegation_of(&candidates), made: BTreeMap::new() };
    let mut report = Report::new();
    for (controller, places) in candidates {
        let result = places.and_then(|places| making.first_that_works(controller, &places));
        report.push((controller, result));
    }
    let made = making.made.into_values().filter_map(Result::ok);
    // One in which nothing works is removed again by being dropped.
    let mut parents: Vec<Parent> = made.filter(|parent| !parent.controllers.is_empty()).collect();
    parents.sort_by(|left, right| left.controllers.cmp(&right.controllers));
    (parents, report)
}

/// All that we want of v2 is asked for at once, as it may take moving this process.
fn delegation_of(candidates: &[(Controller, Result<Vec<Place>, String>)]) -> Option<Delegation> {
    let mut own = None;
    let mut wanted = Vec::new();
    for (controller, places) in candidates {
        for place in places.iter().flatten().filter(|place| place.version == Version::V2) {
            own = Some(&place.folder);
            if controller.v2_name().is_some() {
                wanted.push(*controller);
            }
        }
    }
    own.map(|own| delegation::delegate(own, &wanted))
}

struct Making<'a> {
    prefix: &'a str,
    delegation: Option<Delegation>,
    /// By the folder above, as several controllers may share a tree.
    made: BTreeMap<PathBuf, Result<Parent, String>>,
}

impl Making<'_> {
    fn first_that_works(&mut self, controller: Controller, places: &[Place]) -> Result<Version, String> {
        let mut reasons = Vec::new();
        for place in places {
            match self.try_in(controller, place) {
                Ok(()) => return Ok(place.version),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }

    fn try_in(&mut self, controller: Controller, place: &Place) -> Result<(), String> {
        let base = match (&self.delegation, place.version) {
            (Some(delegation), Version::V2) => {
                let result = delegation.results.iter().find(|(known, _)| *known == controller);
                result.map_or(Ok(()), |(_, result)| result.clone())?;
                delegation.base.clone()
            }
            _ => place.folder.clone(),
        };
        let prefix = self.prefix;
        let made = self.made.entry(base).or_insert_with_key(|base| make(base, prefix, place.version));
        let parent = made.as_mut().map_err(|reason| reason.clone())?;
        let signs = controller.signs(place.version);
        if !signs.iter().any(|sign| parent.folder.join(sign).exists()) {
            return Err(format!(
                "the kernel has no `{}` in {}",
                signs.join("` or `"),
                parent.folder.display()
            ));
        }
        if place.version == Version::V2 {
            delegation::hand_on(&parent.folder, controller)?;
        }
        parent.controllers.push(controller);
        Ok(())
    }
}

fn make(base: &Path, prefix: &str, version: Version) -> Result<Parent, String> {
    sweep_left_over(base, prefix);
    let folder = base.join(format!("{prefix}{}", rustix::process::getpid().as_raw_nonzero()));
    // There may be one of a process that had our number, in a container where the first process always has the same.
    if matches!(lock(&folder), Ok(_) | Err(rustix::io::Errno::NOENT)) {
        files::remove_tree(&folder).ok();
        let is_beside = |other: &&PathBuf| {
            **other != folder && owned_by(other).map(|own| base.join(own)).as_ref() == Some(&folder)
        };
        files::folders_in(base).iter().filter(is_beside).for_each(|beside| drop(files::remove_tree(beside)));
    }
    std::fs::create_dir(&folder)
        .map_err(|error| format!("no group could be made in {}: {error}", base.display()))?;
    let lock = lock(&folder).map_err(|error| format!("{} could not be locked: {error}", folder.display()));
    let lock = lock.inspect_err(|_| drop(std::fs::remove_dir(&folder)))?;
    let parent = Parent { folder, version, controllers: Vec::new(), _lock: lock };
    // So it is below a group of v2 that has been made one of threads.
    if files::read(&parent.folder, "cgroup.type").is_ok_and(|kind| kind.trim() != "domain") {
        return Err(format!(
            "groups below {} can't have processes, as it is one for threads",
            base.display()
        ));
    }
    Ok(parent)
}

/// The lock of a folder, if nobody has it.
fn lock(folder: &Path) -> rustix::io::Result<OwnedFd> {
    let opened =
        rustix::fs::open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::flock(&opened, FlockOperation::NonBlockingLockExclusive)?;
    Ok(opened)
}

/// Removes folders of servers that live no more, as far as they hold no processes.
pub(super) fn sweep_left_over(base: &Path, prefix: &str) {
    let is_left_over = |folder: &Path| {
        let owner = owned_by(folder).and_then(|own| owner(own, prefix));
        owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists())
    };
    for folder in files::folders_in(base).iter().filter(|folder| is_left_over(folder)) {
        let may_go = || match owned_by(folder).map(|own| lock(&base.join(own))) {
            Some(Ok(lock)) => Some(lock.into()),
            // A leaf whose server's folder is gone already.
            Some(Err(rustix::io::Errno::NOENT)) => Some(None),
            _ => None,
        };
        if let Some::<Option<OwnedFd>>(_lock) = may_go()
            && files::processes_below(folder).is_empty()
        {
            // The next server tries again.
            files::remove_tree(folder).ok();
        }
    }
}

/// The name of the server's folder that a folder is, or stands beside.
fn owned_by(folder: &Path) -> Option<&str> {
    let name = folder.file_name()?.to_str()?;
    Some(name.split_once(BESIDE).map_or(name, |(own, _)| own))
}

/// The process of the server whose folder has this name.
fn owner(name: &str, prefix: &str) -> Option<u32> {
    let number = name.strip_prefix(prefix)?;
    number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Drop for Parent {
    fn drop(&mut self) {
        // What is left now is removed by the next server.
        files::remove_tree(&self.folder).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers_become_names_of_folders() {
        for (name, expected) in [
            ("ingle", "ingle-"),
            ("../a b/ü", "---a-b---"),
            ("", "-"),
            (&"x".repeat(99), &format!("{}-", "x".repeat(32))),
        ] {
            assert_eq!(folder_prefix(name), expected);
        }
    }

    #[test]
    fn the_owner_of_a_folder_is_in_its_name() {
        for (name, expected) in [
            ("ingle-17", Some(17)),
            ("ingle-", None),
            ("ingle-+17", None),
            ("ingle-server", None),
            ("ingle-17-2", None),
            ("other-17", None),
            ("ingle-99999999999999999999", None),
        ] {
            assert_eq!(owner(name, "ingle-"), expected, "{name}");
        }
    }
}
