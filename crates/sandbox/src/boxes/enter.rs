//! From a fork of the keeper to a program in the box: what it may no longer do, step by step.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
};

use super::keeper::Order;
use super::spec::{BoxSpec, Program};
use super::sys::{At as _, Done, Failed};
use super::{sys, wire};
use crate::landlock;
use crate::process::SOCKET_NUMBER;

/// What a zygote needs to put its workers into cells, and its workers give up as they enter. Outside of the box's own
/// namespaces these rights are worth nothing, and of the calls that they allow, the filter lets two through.
const ZYGOTE_RIGHTS: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_CHROOT);

/// Signals and timers, which the system counts for each user.
const SIGNALS_WAITING: u64 = 4096;

/// Processes of functions go first when the machine has no memory left (proc_pid_oom_score_adj(5)).
pub(crate) const FIRST_TO_GO: &str = "500";

/// Starts the program; returns only when that failed. `attached`: control socket, standard output, standard error.
/// `keeper` is told of the listener of the filter that asks, and closes with the exec.
pub(crate) fn start(
    order: &Order<'_>,
    program: &Program,
    attached: &[OwnedFd],
    keeper: &OwnedFd,
) -> Done<Infallible> {
    let spec = order.spec;
    // A group of its own, so that the server can end it with all that it starts; and a session of its own, as who is in
    // that of the server may read what is typed on its terminal, and write there (T-056).
    rustix::process::setsid().at("make a session")?;
    sys::unblock_signals();
    // Only while the file can be written: /proc belongs to the user of the box.
    fs::write("/proc/self/oom_score_adj", FIRST_TO_GO).ok();
    let keeper = keep_only(attached, keeper, SOCKET_NUMBER)?;
    rustix::process::chdir(&program.directory).at_path("enter", &program.directory)?;
    limit(spec)?;
    // Before rights are given up, as giving up is one of them.
    if spec.has_namespaces {
        drop_rights()?;
    }
    // Without this neither of the two that follow is allowed to those without rights; and no program that belongs to
    // root and may act as root does so from here on.
    rustix::thread::set_no_new_privs(true).at("give up new privileges")?;
    landlock::restrict(spec).at("restrict paths")?;
    // Before the other filter, which lets nobody ask.
    if spec.asks {
        let listener = order.filters.asks.load_with_listener().at("have connections asked for")?;
        let nothing: Option<(String, i32)> = None;
        wire::send(&keeper, &nothing, &[listener.as_fd()]).at("hand over the listener")?;
    }
    // Last: it forbids much of the above.
    order.filters.calls.load().at("restrict system calls")?;
    let arguments = program.arguments.iter().map(OsStr::new);
    let failed = Command::new(&program.path).args(arguments).env_clear().envs(&program.environment).exec();
    Err(failed).at_path("start", &program.path)
}

/// Puts the descriptors where the program looks for them, the control socket at `socket_number`, and closes all others
/// (T-003). Returns the keeper's, which an exec closes.
pub(crate) fn keep_only(attached: &[OwnedFd], keeper: &OwnedFd, socket_number: i32) -> Done<OwnedFd> {
    let step = "arrange the descriptors";
    let [control, output, errors, ..] = attached else {
        return Err(Failed { step: step.to_owned(), errno: libc::EBADF });
    };
    // Above all that is about to be overwritten.
    let above = |descriptor: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(descriptor, 10).at(step);
    let (control, output, errors) = (above(control)?, above(output)?, above(errors)?);
    let keeper = above(keeper)?;
    let nothing = fs::File::open("/dev/null").at(step)?;
    sys::place(&nothing, 0).at(step)?;
    sys::place(&output, 1).at(step)?;
    sys::place(&errors, 2).at(step)?;
    sys::place(&control, socket_number).at(step)?;
    let kept = sys::take_number(&keeper, SOCKET_NUMBER + 1).at(step)?;
    sys::close_from(SOCKET_NUMBER + 2);
    // What these owned is closed by now; closing it again could hit others.
    for closed in [control, output, errors, keeper, nothing.into()] {
        std::mem::forget(closed);
    }
    Ok(kept)
}

fn limit(spec: &BoxSpec) -> Done {
    let set = |resource, most: u64| {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }).at("set the limits")
    };
    set(Resource::Core, 0)?;
    set(Resource::Nofile, spec.open_files_max)?;
    set(Resource::Fsize, spec.file_bytes_max)?;
    set(Resource::Nproc, spec.processes_max)?;
    set(Resource::Memlock, 64 * 1024)?;
    set(Resource::Msgqueue, 0)?;
    set(Resource::Sigpending, SIGNALS_WAITING)?;
    Ok(())
}

fn drop_rights() -> Done {
    let step = "give up rights";
    for right in CapabilitySet::all().iter() {
        if !ZYGOTE_RIGHTS.contains(right) {
            // Those that this system does not know are not there to be given up.
            rustix::thread::remove_capability_from_bounding_set(right).ok();
        }
    }
    let sets =
        CapabilitySets { effective: ZYGOTE_RIGHTS, permitted: ZYGOTE_RIGHTS, inheritable: ZYGOTE_RIGHTS };
    rustix::thread::set_capabilities(None, sets).at(step)?;
    clear_ambient_capability_set().at(step)?;
    for right in ZYGOTE_RIGHTS.iter() {
        // What is not in this set would be lost with the exec.
        configure_capability_in_ambient_set(right, true).at(step)?;
    }
    Ok(())
}
