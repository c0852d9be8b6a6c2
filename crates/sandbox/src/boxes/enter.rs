//! From a fork of the keeper to a program in the box: what it may no longer do, step by step.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
};

use super::keeper::Order;
use super::mark::Mark;
use super::spec::{BoxSpec, Program, Role};
use super::sys::{At as _, Done, Failed};
use super::{plain, sys, wire};
use crate::cgroup::Entrance;
use crate::process::SOCKET_NUMBER;
use crate::{gvisor, landlock};

/// What a zygote needs to put its workers into cells, and its workers give up as they enter. Outside of the box's own
/// namespaces these rights are worth nothing, and of the calls that they allow, the filter lets two through.
const ZYGOTE_RIGHTS: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::SYS_CHROOT);

/// Signals and timers, which the system counts for each user.
const SIGNALS_WAITING: u64 = 4096;

/// Of what comes with a program, that behind the first three are ways into its control group.
const PIPES: usize = 3;

/// Starts the program, or tells the keeper why that failed. `attached`: standard output, standard error, and the control
/// socket if there is one, behind which are ways into a control group. `keeper` is told of the listener of the filter that
/// asks, and closes with the exec.
pub(crate) fn start(order: &Order<'_>, program: &Program, attached: &[OwnedFd], keeper: &OwnedFd) -> ! {
    let tell =
        |keeper: &OwnedFd, failed: Failed| wire::send(keeper, &Some((failed.step, failed.errno)), &[]).ok();
    match arrange(order.spec, attached, keeper) {
        Err(failed) => drop(tell(keeper, failed)),
        // Under its former number there is nothing any more.
        Ok(keeper) => {
            let begun = match &order.spec.gvisor {
                Some(gvisor) => gvisor.become_machine(order, program, &keeper),
                None => become_program(order, program, &keeper),
            };
            match begun {
                Err(failed) => drop(tell(&keeper, failed)),
                Ok(never) => match never {},
            }
        }
    }
    sys::leave(127)
}

fn arrange(spec: &BoxSpec, attached: &[OwnedFd], keeper: &OwnedFd) -> Done<OwnedFd> {
    // A group of its own, so that the server can end it with all that it starts; and a session of its own, as who is in
    // that of the server may read what is typed on its terminal, and write there (T-056).
    rustix::process::setsid().at("make a session")?;
    sys::unblock_signals();
    // First of all: what it starts can't be found one by one.
    Entrance::enter_by(attached.get(PIPES..).unwrap_or_default()).at("enter the control group")?;
    let socket_number = if spec.gvisor.is_some() { gvisor::SOCKET_NUMBER } else { SOCKET_NUMBER };
    keep_only(attached, keeper, socket_number)
}

fn become_program(order: &Order<'_>, program: &Program, keeper: &OwnedFd) -> Done<Infallible> {
    let spec = order.spec;
    rustix::process::chdir(&program.directory).at_path("enter", &program.directory)?;
    limit(spec)?;
    order.mark.map(Mark::wear).transpose()?;
    // Before rights are given up, as giving up is one of them.
    drop_rights(rights(spec)?)?;
    // Without this neither of the two that follow is allowed to those without rights; and no program that belongs to
    // root and may act as root does so from here on.
    rustix::thread::set_no_new_privs(true).at("give up new privileges")?;
    landlock::restrict(spec).at("restrict paths")?;
    // Before the other filter, which lets nobody ask.
    if spec.asks {
        let listener = order.filters.asks.load_with_listener().at("have connections asked for")?;
        let nothing: Option<(String, i32)> = None;
        wire::send(keeper, &nothing, &[listener.as_fd()]).at("hand over the listener")?;
    }
    // Last: it forbids much of the above.
    order.filters.calls(spec.role).load().at("restrict system calls")?;
    let arguments = program.arguments.iter().map(OsStr::new);
    #[expect(clippy::disallowed_methods, reason = "this is the room that starts processes")]
    let failed = Command::new(&program.path).args(arguments).env_clear().envs(&program.environment).exec();
    Err(failed).at_path("start", &program.path)
}

/// Puts the descriptors where the program looks for them, the control socket at `socket_number`, and closes all others
/// (T-003). Returns the keeper's, which an exec closes.
fn keep_only(attached: &[OwnedFd], keeper: &OwnedFd, socket_number: i32) -> Done<OwnedFd> {
    let step = "arrange the descriptors";
    let [output, errors, control @ ..] = attached else {
        return Err(Failed { step: step.to_owned(), errno: libc::EBADF });
    };
    // Above all that is about to be overwritten.
    let above = |descriptor: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(descriptor, 10).at(step);
    let (output, errors, keeper) = (above(output)?, above(errors)?, above(keeper)?);
    let control = control.first().map(above).transpose()?;
    let nothing = fs::File::open("/dev/null").at(step)?;
    sys::place(&nothing, 0).at(step)?;
    sys::place(&output, 1).at(step)?;
    sys::place(&errors, 2).at(step)?;
    // A program without a control socket finds nothing there: the exec closes what is.
    match &control {
        Some(control) => sys::place(control, socket_number).at(step)?,
        None => drop_ownership(sys::take_number(&keeper, SOCKET_NUMBER).at(step)?),
    }
    let kept = sys::take_number(&keeper, SOCKET_NUMBER + 1).at(step)?;
    sys::close_from(SOCKET_NUMBER + 2);
    // What these owned is closed by now; closing it again could hit others.
    [output, errors, keeper, nothing.into()].into_iter().chain(control).for_each(drop_ownership);
    Ok(kept)
}

fn drop_ownership(descriptor: OwnedFd) {
    std::mem::forget(descriptor);
}

fn limit(spec: &BoxSpec) -> Done {
    let set = |resource, wanted: u64| {
        // Those of the server may be lower, and only few may have more than they were given.
        let most = getrlimit(resource).maximum.map_or(wanted, |most| most.min(wanted));
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

fn rights(spec: &BoxSpec) -> Done<CapabilitySet> {
    match (spec.has_namespaces, spec.role) {
        (true, Role::Zygote) => Ok(ZYGOTE_RIGHTS),
        (true, Role::Program) => Ok(CapabilitySet::empty()),
        (false, Role::Zygote | Role::Program) => plain::rights(),
    }
}

fn drop_rights(kept: CapabilitySet) -> Done {
    let step = "give up rights";
    for right in CapabilitySet::all().iter() {
        if !kept.contains(right) {
            // Those that this system does not know are not there to be given up.
            rustix::thread::remove_capability_from_bounding_set(right).ok();
        }
    }
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    rustix::thread::set_capabilities(None, sets).at(step)?;
    clear_ambient_capability_set().at(step)?;
    for right in kept.iter() {
        // What is not in this set would be lost with the exec.
        configure_capability_in_ambient_set(right, true).at(step)?;
    }
    Ok(())
}
