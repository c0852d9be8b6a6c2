//! Landlock: paths that a process may use, and its separation from others, which need no privileges.
//!
//! In a box with a file system of its own it is the second lock on the same door; where namespaces are forbidden it is
//! the only one. The system ignores what its version does not know, and says so.

use std::io;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, Scope,
};

use crate::boxes::{Access, BoxSpec};

/// The newest version that we know.
const VERSION: ABI = ABI::V6;
/// What everybody needs of the machine where the view of a box is not its own.
const SHARED_READ: [&str; 3] = ["/proc", "/dev", "/sys/devices/system/cpu"];
const SHARED_WRITE: [&str; 3] = ["/dev/null", "/dev/shm", "/dev/tty"];

/// Restricts this process and all that it will start.
pub(crate) fn restrict(spec: &BoxSpec) -> io::Result<RestrictionStatus> {
    let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
    let handled = if spec.has_namespaces { devices } else { AccessFs::from_all(VERSION) };
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(handled)
        .and_then(|ruleset| ruleset.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    let ruleset = if spec.has_namespaces { ruleset } else { allow(ruleset, spec)? };
    ruleset.restrict_self().map_err(io::Error::other)
}

fn allow(mut ruleset: landlock::RulesetCreated, spec: &BoxSpec) -> io::Result<landlock::RulesetCreated> {
    let read = AccessFs::from_read(VERSION);
    let all = AccessFs::from_all(VERSION);
    let shared_read = SHARED_READ.iter().map(|path| (std::path::Path::new(path), read));
    let shared_write = SHARED_WRITE.iter().map(|path| (std::path::Path::new(path), all));
    // Of which a view would have others; the machine's are no secret either, and names are not found without them.
    let settings = spec.view.files.keys().chain(spec.view.links.keys()).map(|path| (path.as_path(), read));
    let seen = spec.view.mounts.iter().filter_map(|mount| match mount.access {
        Access::ReadOnly | Access::Discarded => Some((mount.path.as_path(), read)),
        Access::ReadWrite => Some((mount.path.as_path(), all)),
        Access::Hidden => None,
    });
    for (path, access) in shared_read.chain(shared_write).chain(settings).chain(seen) {
        // What is not there need not be allowed.
        let Ok(opened) = PathFd::new(path) else { continue };
        let access: BitFlags<AccessFs> =
            if path.is_dir() { access } else { access & AccessFs::from_file(VERSION) };
        ruleset = ruleset.add_rule(PathBeneath::new(opened, access)).map_err(io::Error::other)?;
    }
    Ok(ruleset)
}

/// Whether this system has Landlock at all.
pub fn is_there() -> bool {
    let made = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::MakeChar)
        .and_then(Ruleset::create);
    made.is_ok()
}
