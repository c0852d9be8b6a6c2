//! Landlock: paths that a process may use, and its separation from others, which need no privileges.
//!
//! In a box with a file system of its own it is the second lock on the same door; where namespaces are forbidden it is
//! the only one. The system ignores what its version does not know, and says so.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, Scope,
};

use crate::boxes::{Access, BoxSpec, DEVICES};

/// The newest version that we know.
const VERSION: ABI = ABI::V6;
/// What everybody needs of the machine where the view of a box is not its own. Of the devices only those of a box: who is
/// root, or may pass over permissions, could read disks there.
const SHARED_READ: [&str; 2] = ["/proc", "/sys/devices/system/cpu"];
const SHARED_WRITE: [&str; 1] = ["/dev/shm"];

/// Restricts this process and all that it will start.
pub(crate) fn restrict(spec: &BoxSpec) -> io::Result<RestrictionStatus> {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let ruleset = match (spec.has_namespaces, lets_files_move()) {
        (false, _) => ruleset.handle_access(AccessFs::from_all(VERSION)),
        (true, true) => ruleset.handle_access(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::Refer),
        // Where it can't be allowed, whoever is restricted in any way can't move a file to another folder, which builds of
        // packages do. That devices can't be made is seen to by the mounts too, and by the lack of rights.
        (true, false) => Ok(ruleset),
    };
    let ruleset = ruleset
        .and_then(|ruleset| ruleset.scope(Scope::from_all(VERSION)))
        .and_then(Ruleset::create)
        .map_err(io::Error::other)?;
    let ruleset = match spec.has_namespaces {
        // It takes a rule even where nothing else is ruled over.
        true => add(ruleset, Path::new("/"), AccessFs::Refer.into())?,
        false => allow(ruleset, spec)?,
    };
    ruleset.restrict_self().map_err(io::Error::other)
}

fn allow(mut ruleset: RulesetCreated, spec: &BoxSpec) -> io::Result<RulesetCreated> {
    let read = AccessFs::from_read(VERSION);
    let all = AccessFs::from_all(VERSION);
    for path in SHARED_READ.map(Path::new) {
        ruleset = add(ruleset, path, read)?;
    }
    let devices = DEVICES.map(|name| Path::new("/dev").join(name));
    for path in SHARED_WRITE.iter().map(PathBuf::from).chain(devices) {
        ruleset = add(ruleset, &path, all)?;
    }
    // Of which a view would have others; the machine's are no secret either, and names are not found without them. Links
    // need no rule: everybody may follow them to what there is a rule for.
    for path in spec.view.files.keys() {
        ruleset = add(ruleset, path, read)?;
    }
    let hidden: Vec<&Path> = paths_with(spec, Access::Hidden).collect();
    let kept: Vec<&Path> = paths_with(spec, Access::ReadOnly).collect();
    for mount in &spec.view.mounts {
        ruleset = match mount.access {
            Access::ReadOnly | Access::Discarded => add_but(ruleset, &mount.path, read, (&hidden, &kept))?,
            Access::ReadWrite => add_but(ruleset, &mount.path, all, (&hidden, &kept))?,
            Access::Hidden => ruleset,
        };
    }
    Ok(ruleset)
}

fn paths_with(spec: &BoxSpec, access: Access) -> impl Iterator<Item = &Path> {
    spec.view.mounts.iter().filter(move |mount| mount.access == access).map(|mount| mount.path.as_path())
}

/// What is not there need not be allowed.
fn add(ruleset: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> io::Result<RulesetCreated> {
    let Ok(opened) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(VERSION) };
    ruleset.add_rule(PathBeneath::new(opened, access)).map_err(io::Error::other)
}

/// A rule holds for all that is below, and none takes anything away from it. So a folder with something hidden below gets
/// rules for what is in it, one by one: its entries of now. Names can be listed everywhere below, also those of what is hidden,
/// and in the folder itself nothing new can be made.
fn add_but(
    mut ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
    (hidden, kept): (&[&Path], &[&Path]),
) -> io::Result<RulesetCreated> {
    if hidden.contains(&path) {
        return Ok(ruleset);
    }
    let access = if kept.contains(&path) { access & AccessFs::from_read(VERSION) } else { access };
    if !hidden.iter().any(|hidden| hidden.starts_with(path)) {
        return add(ruleset, path, access);
    }
    ruleset = add(ruleset, path, AccessFs::ReadDir.into())?;
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        // A link is no entry of its own: where it leads to there is a rule, or there is none.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            ruleset = add_but(ruleset, &entry.path(), access, (hidden, kept))?;
        }
    }
    Ok(ruleset)
}

/// Whether it keeps a process from changing any file that there is no rule for: its first versions let files be cut off
/// (`truncate`, version 3).
pub fn guards_all_files() -> bool {
    knows(AccessFs::Truncate)
}

/// Whether this system has Landlock at all.
pub fn is_there() -> bool {
    knows(AccessFs::MakeChar)
}

/// Whether those whom it restricts may be allowed to move and link files from one folder to another: its first version
/// forbids that to all (`refer`, version 2).
fn lets_files_move() -> bool {
    knows(AccessFs::Refer)
}

fn knows(access: AccessFs) -> bool {
    let made = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(access)
        .and_then(Ruleset::create);
    made.is_ok()
}
