//! The program with which a worker gives up namespaces, as the kernel wants it.
//!
//! A file of its own, so that the tests of `seccomp` can hold it against the list that people review.

use core::ffi::c_long;

#[cfg(target_arch = "x86_64")]
pub(crate) const SETNS: c_long = 308;
#[cfg(target_arch = "x86_64")]
pub(crate) const UNSHARE: c_long = 272;
#[cfg(target_arch = "aarch64")]
pub(crate) const SETNS: c_long = 268;
#[cfg(target_arch = "aarch64")]
pub(crate) const UNSHARE: c_long = 97;

/// `struct sock_filter`.
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) when_true: u8,
    pub(crate) when_false: u8,
    pub(crate) value: u32,
}

const EPERM: u32 = 1;

/// The zygote's filter lets `setns` and `unshare` through, so that it can put a worker into its cell; a worker has no use
/// for them. Other architectures are refused by the zygote's filter, which a worker keeps.
pub(crate) const FORBID_NAMESPACES: [Instruction; 5] = {
    const LOAD_NUMBER: u16 = 0x20;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    [
        plain(LOAD_NUMBER, 0),
        is(SETNS, 1, 0),
        is(UNSHARE, 0, 1),
        plain(RETURN, ERRNO | EPERM),
        plain(RETURN, ALLOW),
    ]
};

const fn plain(code: u16, value: u32) -> Instruction {
    Instruction { code, when_true: 0, when_false: 0, value }
}

/// How many instructions are left out when it is this call, and when it is another.
const fn is(number: c_long, when_true: u8, when_false: u8) -> Instruction {
    const JUMP_IF_EQUAL: u16 = 0x15;
    Instruction { code: JUMP_IF_EQUAL, when_true, when_false, value: number as u32 }
}
