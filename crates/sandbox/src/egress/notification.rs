//! The kernel's protocol: a call in the box waits, we are told of it, and answer for the kernel.
//!
//! See seccomp_unotify(2). A notification has an id that is never used again, and is *valid* as long as its thread
//! waits in the call. What was learnt of that thread by its number counts only if the id is valid afterwards.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// The descriptor that the filter's installation gave.
#[derive(Debug)]
pub(super) struct Listener(OwnedFd);

/// A call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notification {
    pub(super) id: u64,
    /// The thread that called, as numbered in the server's namespace; 0 if it can't be seen from there.
    pub(super) thread: i32,
    pub(super) call: Call,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    Connect {
        number: RawFd,
        address: u64,
        length: i32,
    },
    Listen {
        number: RawFd,
        backlog: i32,
    },
    /// A call that the filter should not have handed over.
    Other,
}

pub(super) enum Received {
    Call(Notification),
    /// There was a call, but nobody waits for it any more.
    Lost,
    Nothing,
    /// No process with the filter is left.
    HungUp,
}

/// The architecture of the server, as the kernel names it (linux/audit.h). A process of another one numbers its calls
/// differently.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

impl Listener {
    pub(super) fn new(listener: OwnedFd) -> Self {
        Self(listener)
    }

    /// Takes the next call, if there is one. Does not wait.
    pub(super) fn receive(&self) -> io::Result<Received> {
        let mut events = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::event::poll(&mut events, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        let events = events[0].revents();
        if !events.contains(PollFlags::IN) {
            let ended = events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
            return Ok(if ended { Received::HungUp } else { Received::Nothing });
        }
        let mut notification = empty();
        match self.control(libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notification) {
            Ok(()) => Ok(Received::Call(decode(&notification))),
            // The thread was killed or interrupted since.
            Err(Errno::NOENT | Errno::INTR) => Ok(Received::Lost),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the thread still waits for the answer.
    pub(super) fn is_valid(&self, id: u64) -> bool {
        let mut id = id;
        self.control(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw mut id).is_ok()
    }

    /// Lets the call return. It fails only if nobody waits for it any more, which is as good.
    pub(super) fn answer(&self, id: u64, result: Result<(), Errno>) {
        let error = result.err().map_or(0, |error| -error.raw_os_error());
        let mut response = libc::seccomp_notif_resp { id, val: 0, error, flags: 0 };
        self.control(libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut response).ok();
    }

    /// Puts a descriptor into the process that waits, in place of what it has under the number. Waits until that
    /// process has run for a moment, so it is nothing for an asynchronous task.
    pub(super) fn put(
        &self,
        id: u64,
        source: BorrowedFd<'_>,
        number: RawFd,
        close_on_exec: bool,
    ) -> Result<(), Errno> {
        let flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
        let unsigned = |number: RawFd| u32::try_from(number).map_err(|_| Errno::BADF);
        let mut addition = libc::seccomp_notif_addfd {
            id,
            flags: u32::try_from(libc::SECCOMP_ADDFD_FLAG_SETFD).unwrap_or(1),
            srcfd: unsigned(source.as_raw_fd())?,
            newfd: unsigned(number)?,
            newfd_flags: unsigned(flags)?,
        };
        loop {
            match self.control(libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw mut addition) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// `argument` leads to what the request reads and writes; each caller passes the one that belongs to it.
    fn control<T>(&self, request: libc::Ioctl, argument: *mut T) -> Result<(), Errno> {
        // SAFETY: the size of the argument is part of the request's number, and each of the four callers passes a
        // pointer to a living value of that type.
        #[expect(unsafe_code, reason = "there is no safe door to these requests")]
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), request, argument) };
        if result < 0 { Err(last_error()) } else { Ok(()) }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The error of the C call that just failed.
pub(super) fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// The kernel wants nothing but zeros in what it fills.
fn empty() -> libc::seccomp_notif {
    let data = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
    libc::seccomp_notif { id: 0, pid: 0, flags: 0, data }
}

fn decode(notification: &libc::seccomp_notif) -> Notification {
    let data = &notification.data;
    let number = libc::c_long::from(data.nr);
    let call = match number {
        _ if data.arch != ARCHITECTURE => Call::Other,
        libc::SYS_connect => {
            Call::Connect { number: int(data.args[0]), address: data.args[1], length: int(data.args[2]) }
        }
        libc::SYS_listen => Call::Listen { number: int(data.args[0]), backlog: int(data.args[1]) },
        _ => Call::Other,
    };
    Notification { id: notification.id, thread: i32::try_from(notification.pid).unwrap_or(0), call }
}

/// An argument as the kernel reads it where it takes an `int`: the lower half.
#[expect(clippy::cast_possible_truncation, reason = "the upper half of a register is not part of an int")]
fn int(argument: u64) -> i32 {
    argument as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: libc::c_long, architecture: u32, expected: Call) {
        let mut notification = empty();
        notification.data.nr = i32::try_from(number).unwrap();
        notification.data.arch = architecture;
        notification.data.args = [0xffff_ffff_0000_0007, 0x7fff_0000_1000, 16, 0, 0, 0];
        assert_eq!(decode(&notification).call, expected);
    }

    #[test]
    fn only_two_calls_of_this_architecture_are_known() {
        let connect = Call::Connect { number: 7, address: 0x7fff_0000_1000, length: 16 };
        check(libc::SYS_connect, ARCHITECTURE, connect);
        check(libc::SYS_listen, ARCHITECTURE, Call::Listen { number: 7, backlog: 0x1000 });
        check(libc::SYS_bind, ARCHITECTURE, Call::Other);
        // i386, and x32, whose numbers have a bit of their own.
        check(libc::SYS_connect, 0x4000_0003, Call::Other);
        check(libc::SYS_connect | 0x4000_0000, ARCHITECTURE, Call::Other);
    }
}
