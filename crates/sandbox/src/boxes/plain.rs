//! A box without namespaces, as in most containers: the app's own user is all that it has of its own, if the server is root.
//!
//! What is not to be seen is kept from it by Landlock, and what is not to be called by seccomp (`enter`). As files can't be
//! lent to that user here, it needs one right of root's to use what only root may: the folders through which large inputs and
//! outputs go are such, so workers have it. Landlock says nothing of times and attributes of files and of sockets in the file
//! system, so these are open to who has it (docs/security.md).

use rustix::fs::{Access as Mode, AtFlags, CWD};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::keeper::become_user;
use super::spec::{Access, BoxSpec, Mount};
use super::sys::{At as _, Done};
use crate::landlock;

/// To pass over the permissions of files. It is in what containers have as well.
const PASS_OVER: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// From here on this process is the app's own user. Of the rights of root it keeps [`PASS_OVER`] if there is something in
/// the view that this user can't use as it should. That is an error where Landlock can't keep it from all other files.
pub(crate) fn become_own_user(spec: &BoxSpec, user: u32) -> Done {
    become_user(user, user, true)?;
    // Becoming another user takes the rights that are in effect; they are still permitted.
    let kept = match spec.view.mounts.iter().find(|mount| !is_usable(mount)) {
        None => CapabilitySet::empty(),
        Some(_) if landlock::guards_all_files() && permitted()?.contains(PASS_OVER) => PASS_OVER,
        Some(mount) => return Err(Errno::ACCESS).at_path("let the user of the app use", &mount.path),
    };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).at("give up rights")
}

/// What a program in such a box keeps: what its keeper has kept, and never anything else.
pub(crate) fn rights() -> Done<CapabilitySet> {
    Ok(permitted()? & PASS_OVER)
}

fn permitted() -> Done<CapabilitySet> {
    capabilities(None).map(|sets| sets.permitted).at("look at the rights")
}

/// Whether this user can do there what it should, without any right.
fn is_usable(mount: &Mount) -> bool {
    let mode = match mount.access {
        Access::ReadOnly | Access::Discarded => Mode::READ_OK,
        Access::ReadWrite => Mode::READ_OK | Mode::WRITE_OK,
        Access::Hidden => return true,
    };
    let mode = if mount.path.is_dir() { mode | Mode::EXEC_OK } else { mode };
    match rustix::fs::accessat(CWD, &mount.path, mode, AtFlags::EACCESS) {
        Ok(()) | Err(Errno::NOENT) => true,
        Err(_) => false,
    }
}
