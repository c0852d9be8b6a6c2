//! A box without namespaces, as in most containers: the app's own user is all that it has of its own, if the server is root.
//!
//! What is not to be seen is kept from it by Landlock, and what is not to be called by seccomp (`enter`). As files can't be
//! lent to that user here, it may need one right of root's to use what it is meant to see.

use rustix::fs::{Access as Mode, AtFlags, CWD};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::keeper::become_user;
use super::spec::{Access, BoxSpec, Mount};
use super::sys::{At as _, Done};
use crate::landlock;

/// To pass over the permissions of files. It is in what containers have as well.
const PASS_OVER: CapabilitySet = CapabilitySet::DAC_OVERRIDE;

/// From here on this process is the app's own user. Of the rights of root it keeps [`PASS_OVER`] if there is something in
/// the view that this user can't use as it should, and Landlock can keep it from all else.
pub(crate) fn become_own_user(spec: &BoxSpec, user: u32) -> Done {
    become_user(user, user, true)?;
    // Becoming another user takes the rights that are in effect; they are still permitted.
    let kept = if landlock::is_there() && !spec.view.mounts.iter().all(is_usable) {
        permitted()? & PASS_OVER
    } else {
        CapabilitySet::empty()
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
        Ok(()) | Err(rustix::io::Errno::NOENT) => true,
        Err(_) => false,
    }
}
