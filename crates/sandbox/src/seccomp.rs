//! Which system calls code in a box may make: lists with reasons, and the programs that the kernel runs them as.
//!
//! | to see or change | look at |
//! |---|---|
//! | calls that are allowed whatever their arguments are | `allowed` |
//! | conditions on arguments, other errors than EPERM, the sections of each program | `conditions` |
//! | how a list becomes a program | `assemble` |
//! | what is allowed, all in all | `inventory.x86_64.txt` and `inventory.aarch64.txt`, compared by a test |
//!
//! Programs stack, and the strictest answer counts: a process that has loaded one can't get rid of it, nor can what
//! it forks or executes. The order is: [`egress`] first, as [`base`] refuses to make listeners; then [`zygote`] or
//! [`builder`], then the interpreter is executed; a zygote's worker loads [`worker`] after its fork.
//!
//! What this does not do: it sees numbers, not what pointers point to. So which files are opened and which addresses
//! are connected to is bounded elsewhere: by the box's view of files and network, and by whoever holds the listener.
//! In particular a datagram is sent without connect, so the network of the box has to bound it.

mod allowed;
mod assemble;
mod conditions;
mod rules;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use assemble::{Rest, assemble};
use conditions::{BASE, EGRESS, GVISOR, WORKER, ZYGOTE};

/// Instructions for the kernel's filter, ready to be loaded, here or by code that gets the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program(Vec<u8>);

/// Bytes of an instruction: `struct sock_filter` of the kernel.
pub const INSTRUCTION_BYTES: usize = 8;

/// Why there is no program. The lists are fixed, so on an architecture where the tests pass there is one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the list of system calls can't be translated for this machine")]
    Translate(#[from] seccompiler::BackendError),
    #[error("a program of {count} instructions is longer than the kernel takes")]
    TooLong { count: usize },
}

/// What code in a box may do. All else fails with EPERM, or with ENOSYS where libraries then take another way.
///
/// # Errors
/// The architecture is none that seccompiler knows.
pub fn base() -> Result<Program, Error> {
    assemble(BASE, Rest::Refuse)
}

/// [`base`] and entering namespaces for processes and mounts: a zygote does so before it forks a worker.
///
/// # Errors
/// As [`base`].
pub fn zygote() -> Result<Program, Error> {
    let sections: Vec<_> = BASE.iter().copied().chain([ZYGOTE]).collect();
    assemble(&sections, Rest::Refuse)
}

/// Takes back what [`zygote`] has more than [`base`]. A few instructions, as it is loaded at each fork: by the native part of
/// the worker, whose own few (`entry/filter.rs`) a test holds against these.
///
/// # Errors
/// As [`base`].
pub fn worker() -> Result<Program, Error> {
    assemble(&[WORKER], Rest::Allow)
}

/// Makes connect and listen wait for the answer of whoever holds the listener: see [`Program::load_with_listener`].
///
/// # Errors
/// As [`base`].
pub fn egress() -> Result<Program, Error> {
    assemble(&[EGRESS], Rest::Allow)
}

/// For gVisor, which brings a filter of its own and needs calls that [`base`] has not: what it would do for the functions in
/// it and leave behind outside of it, it may not.
///
/// # Errors
/// As [`base`].
pub fn gvisor() -> Result<Program, Error> {
    assemble(GVISOR, Rest::Allow)
}

/// For pip, and what it runs of packages (setup.py, compilers): it needs nothing but [`base`].
///
/// # Errors
/// As [`base`].
pub fn builder() -> Result<Program, Error> {
    base()
}

impl Program {
    fn new(instructions: &[seccompiler::sock_filter]) -> Self {
        let mut bytes = Vec::with_capacity(instructions.len() * INSTRUCTION_BYTES);
        for instruction in instructions {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        Self(bytes)
    }

    /// The instructions, each of [`INSTRUCTION_BYTES`], in this machine's byte order: what `struct sock_fprog` points to.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many instructions there are: the other field of `struct sock_fprog`.
    pub fn count(&self) -> u16 {
        // `assemble` has refused what is longer than 4096.
        u16::try_from(self.0.len() / INSTRUCTION_BYTES).unwrap_or(u16::MAX)
    }

    /// Confines the calling thread, and what it forks, executes or starts from now on. Threads that run already stay
    /// as they are, so a process that means all of itself calls this while it has one. May be called between fork and
    /// exec: it allocates nothing.
    ///
    /// # Errors
    /// The kernel refuses; nothing may run then that was to be confined.
    pub fn load(&self) -> io::Result<()> {
        self.load_with(0).map(drop)
    }

    /// As [`Program::load`]. Whoever reads the descriptor answers the calls that the program wants to be asked about.
    /// When nobody has it any more, such calls fail with ENOSYS. It is closed at exec, so it has to be handed over
    /// before.
    ///
    /// # Errors
    /// As [`Program::load`]. EBUSY: a listener is there already, perhaps one that is not ours.
    pub fn load_with_listener(&self) -> io::Result<OwnedFd> {
        // A call that waits for its answer is ended by a fatal signal only; else one that was answered could be made
        // again. Before Linux 5.19 there is no such flag, and then it may be.
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let listener = match self.load_with(flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.load_with(flags)?,
            other => other?,
        };
        let listener = i32::try_from(listener).map_err(io::Error::other)?;
        // SAFETY: with this flag the kernel returns a new descriptor, which nobody else knows.
        #[expect(unsafe_code, reason = "the descriptor comes as a number")]
        Ok(unsafe { OwnedFd::from_raw_fd(listener) })
    }

    /// What the kernel returned: 0, or the listener.
    fn load_with(&self, flags: libc::c_ulong) -> io::Result<libc::c_long> {
        let program = libc::sock_fprog { len: self.count(), filter: self.0.as_ptr().cast_mut().cast() };
        // SAFETY: prctl takes numbers only. The kernel reads `len` instructions of 8 bytes behind `filter`, which is as
        // many as the vector holds, byte by byte, so that their place in memory does not matter; it writes nothing.
        #[expect(unsafe_code, reason = "there is no safe door to seccomp")]
        let result = unsafe {
            // Without it only root may load a program, as a set-user-id program could be tricked by one.
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
                return Err(io::Error::last_os_error());
            }
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }
}
