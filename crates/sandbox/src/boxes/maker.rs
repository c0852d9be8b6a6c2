//! The maker of boxes: our own binary, started once by the server, that forks a keeper for each box.
//!
//! It has one thread and holds nothing of the server: no store, no key, no environment. A fork of it is small and may do
//! whatever it needs to. While it makes a box it waits for the keeper's user namespace, whose users only a process
//! outside can give.

use std::io::{Read as _, Write as _};
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, WaitOptions};

use super::mark::Mark;
use super::spec::{Answer, BoxSpec, Identity, Role};
use super::sys::{At as _, Done, Failed, Side};
use super::{keeper, sys, wire};
use crate::process::SOCKET_NUMBER;
use crate::seccomp::{self, Program};

/// The first argument by which our binary knows that it is to be a maker.
pub const ARGUMENT: &str = "__make-boxes";

/// The life of a maker: it ends with the server.
pub fn serve() -> ! {
    // SAFETY: the server has put a socket there, and nobody else in this process knows of it.
    #[expect(unsafe_code, reason = "an inherited descriptor is known by number only")]
    let server = unsafe { OwnedFd::from_raw_fd(SOCKET_NUMBER) };
    rustix::io::fcntl_setfd(&server, rustix::io::FdFlags::CLOEXEC).ok();
    // Once for all boxes, which get a copy with the fork.
    let filters = Filters::new();
    while let Ok(Some((spec, mut attached))) = wire::receive::<BoxSpec>(&server) {
        let Some(socket) = attached.pop() else { continue };
        if let Err(failed) = make(&spec, filters.as_ref(), &socket) {
            let answer = Answer::Failed { id: None, step: failed.step, errno: failed.errno };
            // Without its reader the box is of no use to anybody.
            wire::send(&socket, &answer, &[]).ok();
        }
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
    }
    sys::leave(0)
}

/// The programs that the system runs before each call of a process in a box.
pub(crate) struct Filters {
    /// What may be called by those who make workers.
    zygote: Program,
    /// The same for all others.
    program: Program,
    /// What is asked for.
    pub(crate) asks: Program,
    /// What gVisor may not do.
    pub(crate) gvisor: Program,
}

impl Filters {
    fn new() -> Result<Self, seccomp::Error> {
        Ok(Self {
            zygote: seccomp::zygote()?,
            program: seccomp::builder()?,
            asks: seccomp::egress()?,
            gvisor: seccomp::gvisor()?,
        })
    }

    pub(crate) fn calls(&self, role: Role) -> &Program {
        match role {
            Role::Zygote => &self.zygote,
            Role::Program => &self.program,
        }
    }
}

/// Forks what becomes the keeper, and gives it its users when it has a namespace for them.
fn make(spec: &BoxSpec, filters: Result<&Filters, &seccomp::Error>, socket: &OwnedFd) -> Done {
    let filters = filters
        .map_err(|error| Failed { step: format!("translate the filters: {error}"), errno: libc::ENOSYS })?;
    let (mut ours, theirs) = UnixStream::pair().at("make a pair of sockets")?;
    match sys::fork().at("fork the keeper of the box")? {
        Side::Child => {
            drop(ours);
            // Else the end of the maker would not be seen as long as there is a box.
            sys::close(SOCKET_NUMBER);
            let mark = if spec.has_namespaces { None } else { Mark::of_box() };
            keeper::begin(&keeper::Order { spec, filters, socket, mark }, theirs)
        }
        Side::Parent(child) => {
            drop(theirs);
            let mut byte = [0];
            // It asks once for each namespace of users that it makes, and closes the socket when it needs no more.
            while ours.read_exact(&mut byte).is_ok() {
                let answer = match give_users(child, byte[0], spec) {
                    Ok(()) => 0,
                    Err(failed) => u8::try_from(failed.errno).unwrap_or(u8::MAX),
                };
                ours.write_all(&[answer]).ok();
            }
            if let Some(child) = Pid::from_raw(child) {
                // What it has forked lives on; itself it ends as soon as it has closed the socket.
                rustix::process::waitpid(Some(child), WaitOptions::empty()).ok();
            }
            Ok(())
        }
    }
}

/// The child asks for the users of its box.
pub(crate) const BOX_USERS: u8 = 1;

fn give_users(child: i32, kind: u8, spec: &BoxSpec) -> Done {
    if kind != BOX_USERS {
        return Err(Failed { step: "know what is asked".to_owned(), errno: libc::EINVAL });
    }
    let outside = match spec.identity {
        Identity::Same { user, group } => (user, group),
        Identity::Own { user } => (user, user),
    };
    write_maps(child, spec.users_inside(), outside, matches!(spec.identity, Identity::Same { .. }))
}

/// Writes what user and group of a new namespace are outside (user_namespaces(7)).
pub(crate) fn write_maps(process: i32, inside: (u32, u32), outside: (u32, u32), keeps_groups: bool) -> Done {
    let write = |name: &str, text: &str| {
        std::fs::write(format!("/proc/{process}/{name}"), text).at(&format!("write its {name}"))
    };
    if keeps_groups {
        // Without privileges a group may be given only to those who can't give up the others they are in.
        write("setgroups", "deny")?;
    }
    write("uid_map", &format!("{} {} 1", inside.0, outside.0))?;
    write("gid_map", &format!("{} {} 1", inside.1, outside.1))
}

/// Asks the maker, from the child's side.
pub(crate) fn ask(maker: &mut UnixStream, kind: u8) -> Done {
    let mut answer = [0];
    maker.write_all(&[kind]).at("ask for users")?;
    maker.read_exact(&mut answer).at("be given users")?;
    match answer[0] {
        0 => Ok(()),
        errno => Err(Failed { step: "map users into the box".to_owned(), errno: i32::from(errno) }),
    }
}

/// A namespace of users in which those of `owner` are those of the box: for mounts whose files are theirs.
pub(crate) fn users_of(owner: (u32, u32), user: u32) -> Done<OwnedFd> {
    let (mut ours, mut theirs) = UnixStream::pair().at("make a pair of sockets")?;
    match sys::fork().at("fork")? {
        Side::Child => {
            drop(ours);
            let made = keeper::unshare(rustix::thread::UnshareFlags::NEWUSER).is_ok();
            theirs.write_all(&[u8::from(made)]).ok();
            let mut byte = [0];
            theirs.read_exact(&mut byte).ok();
            sys::leave(0)
        }
        Side::Parent(child) => {
            drop(theirs);
            let mut made = [0];
            ours.read_exact(&mut made).at("wait for a namespace of users")?;
            let users = if made[0] == 1 {
                write_maps(child, owner, (user, user), false).and_then(|()| {
                    let path = format!("/proc/{child}/ns/user");
                    std::fs::File::open(path).at("open a namespace of users").map(OwnedFd::from)
                })
            } else {
                Err(Failed { step: "make a namespace of users".to_owned(), errno: libc::EPERM })
            };
            drop(ours);
            if let Some(child) = Pid::from_raw(child) {
                rustix::process::waitpid(Some(child), WaitOptions::empty()).ok();
            }
            users
        }
    }
}
