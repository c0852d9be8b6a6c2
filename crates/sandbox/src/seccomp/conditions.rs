//! System calls whose arguments matter, and those that are refused with another error than EPERM.

use super::allowed::{ALLOWED, LEGACY};
use super::rules::{
    Answer, Condition, Entry, Section, always, call, calls, has_bits, if_any, is, is_not, is_null,
};

/// The newest call that the lists know. Whatever comes after it answers "no such call" (ENOSYS), so that a C library
/// newer than the lists falls back to an older call instead of failing.
pub(super) const NEWEST: libc::c_long = libc::SYS_mseal;

/// Each kind of namespace that clone can make. CLONE_NEWTIME shares its bit with the signal, so clone can't make one.
const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

/// SECCOMP_FILTER_FLAG_NEW_LISTENER, as the `int` that it is for the kernel.
const NEW_LISTENER: i32 = 1 << 3;

/// The part of a socket's type that is no flag.
const TYPE_BITS: i32 = 0xf;

// Numbers of <asm-generic/ioctls.h>. libc has them in types that differ between C libraries.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const TIOCSETD: u32 = 0x5423;

// Options of prctl that libc lacks on some targets.
const PR_SET_MDWE: i32 = 65;
const PR_GET_MDWE: i32 = 66;
const PR_SET_VMA: i32 = 0x5356_4d41;
const PR_GET_AUXV: i32 = 0x4155_5856;
const PR_SVE_GET_VL: i32 = 51;
const PR_GET_SPECULATION_CTRL: i32 = 52;
const PR_SME_GET_VL: i32 = 64;

/// A socket of this family, type and protocol.
const fn kind(family: i32, kind: i32, protocol: i32) -> [Condition; 3] {
    [is(0, family), has_bits(1, TYPE_BITS, kind), is(2, protocol)]
}

/// Refused before anything is allowed, with the error that callers take as a hint to do without.
const FAST_OPEN: Section = Section {
    answer: Answer::Refuse(libc::EOPNOTSUPP as u16),
    entries: &[&[
        if_any(
            calls![SYS_sendto SYS_sendmmsg],
            &[&[has_bits(3, libc::MSG_FASTOPEN, libc::MSG_FASTOPEN)]],
            "connects without connect, so that whoever watches egress would not see it",
        ),
        if_any(
            calls![SYS_sendmsg],
            &[&[has_bits(2, libc::MSG_FASTOPEN, libc::MSG_FASTOPEN)]],
            "as sendto; its flags are another argument",
        ),
    ]],
};

const CONDITIONAL: Section = Section {
    answer: Answer::Allow,
    entries: &[
        &[
            // Hot and looked at already, so they are found early.
            always(calls![SYS_sendto SYS_sendmsg SYS_sendmmsg], "socket, ssl, grpc, glibc's resolver"),
            if_any(
                calls![SYS_clone],
                &[&[has_bits(0, NEW_NAMESPACES, 0)]],
                "threading, os.fork, subprocess, multiprocessing; a namespace of one's own would open the kernel wide",
            ),
            if_any(
                calls![SYS_socket],
                &[
                    &[is(0, libc::AF_UNIX)],
                    &kind(libc::AF_INET, libc::SOCK_STREAM, 0),
                    &kind(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP),
                    &kind(libc::AF_INET, libc::SOCK_DGRAM, 0),
                    &kind(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
                    &kind(libc::AF_INET6, libc::SOCK_STREAM, 0),
                    &kind(libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_TCP),
                    &kind(libc::AF_INET6, libc::SOCK_DGRAM, 0),
                    &kind(libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
                    &[is(0, libc::AF_NETLINK), is(2, libc::NETLINK_ROUTE)],
                ],
                "socket, asyncio, multiprocessing; getaddrinfo and psutil ask NETLINK_ROUTE for addresses. Protocols are \
             named, as SCTP connects through setsockopt, where nobody watches",
            ),
            if_any(
                calls![SYS_socketpair],
                &[&[is(0, libc::AF_UNIX)]],
                "socket.socketpair, asyncio (its wake-up), multiprocessing.Pipe",
            ),
            if_any(
                calls![SYS_ioctl],
                &[&[is_not(1, TIOCSTI), is_not(1, TIOCLINUX), is_not(1, TIOCSETD)]],
                "isatty, terminal sizes, FIOCLEX, FIONREAD, addresses of interfaces. Not: typing into a terminal, which is \
             how one leaves a box by the shell that started it, and loading line disciplines",
            ),
            if_any(
                calls![SYS_prctl],
                PROCESS_OPTIONS,
                "threading (names), subprocess helpers (death signal), glibc and allocators (names of mappings), ray \
             (subreaper); what remains changes how the kernel sees a process",
            ),
            if_any(
                calls![SYS_personality],
                &[&[is(0, -1)], &[is(0, 0)]],
                "programs that ask, or set what is set; others switch protections such as random addresses off",
            ),
            if_any(
                calls![SYS_mknodat],
                NO_DEVICE_AT,
                "os.mkfifo, tarfile; a device node is a door to the machine",
            ),
            if_any(
                calls![SYS_prlimit64],
                &[&[is_not(1, LOCKS)], &[is_null(2)]],
                "resource, psutil: limits can only be lowered. That of file locks can be read only: it tells to whom a \
             process belongs (`boxes::mark`)",
            ),
            if_any(
                calls![SYS_seccomp],
                &[&[has_bits(1, NEW_LISTENER, 0)]],
                "programs that confine themselves further. A listener of their own could let through what ours refuses, \
             should a kernel take more than one",
            ),
        ],
        LEGACY_CONDITIONAL,
    ],
};

/// The limit that nobody in a box may change, which libc has in types that differ between C libraries.
const LOCKS: u32 = 10;

/// As the first argument of `setrlimit`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) const NOT_OF_LOCKS: &[&[Condition]] = &[&[is_not(0, LOCKS)]];

const PROCESS_OPTIONS: &[&[Condition]] = &[
    &[is(0, libc::PR_SET_PDEATHSIG)],
    &[is(0, libc::PR_GET_PDEATHSIG)],
    &[is(0, libc::PR_SET_DUMPABLE)],
    &[is(0, libc::PR_GET_DUMPABLE)],
    &[is(0, libc::PR_GET_KEEPCAPS)],
    &[is(0, libc::PR_SET_NAME)],
    &[is(0, libc::PR_GET_NAME)],
    &[is(0, libc::PR_SET_SECCOMP)],
    &[is(0, libc::PR_GET_SECCOMP)],
    &[is(0, libc::PR_CAPBSET_READ)],
    &[is(0, libc::PR_GET_SECUREBITS)],
    &[is(0, libc::PR_SET_TIMERSLACK)],
    &[is(0, libc::PR_GET_TIMERSLACK)],
    &[is(0, libc::PR_SET_CHILD_SUBREAPER)],
    &[is(0, libc::PR_GET_CHILD_SUBREAPER)],
    &[is(0, libc::PR_SET_NO_NEW_PRIVS)],
    &[is(0, libc::PR_GET_NO_NEW_PRIVS)],
    &[is(0, libc::PR_GET_TID_ADDRESS)],
    &[is(0, libc::PR_SET_THP_DISABLE)],
    &[is(0, libc::PR_GET_THP_DISABLE)],
    &[is(0, PR_GET_SPECULATION_CTRL)],
    &[is(0, PR_SVE_GET_VL)],
    &[is(0, PR_SME_GET_VL)],
    &[is(0, PR_SET_MDWE)],
    &[is(0, PR_GET_MDWE)],
    &[is(0, PR_SET_VMA)],
    &[is(0, PR_GET_AUXV)],
];

/// What kind of file, and whether it acts as its owner or group when it is run.
const FORMAT_BITS: i32 = (libc::S_IFMT | libc::S_ISUID | libc::S_ISGID) as i32;

/// No format means a regular file.
const NO_DEVICE_AT: &[&[Condition]] = &[
    &[has_bits(2, FORMAT_BITS, 0)],
    &[has_bits(2, FORMAT_BITS, libc::S_IFREG as i32)],
    &[has_bits(2, FORMAT_BITS, libc::S_IFIFO as i32)],
];

/// An argument that is the mode of a file and has the bit for its owner, or that for its group.
const fn acts_as_owner(argument: u8) -> Condition {
    has_bits(argument, libc::S_ISUID as i32, libc::S_ISUID as i32)
}

const fn acts_as_group(argument: u8) -> Condition {
    has_bits(argument, libc::S_ISGID as i32, libc::S_ISGID as i32)
}

/// Without one of these the mode means nothing.
const fn makes(argument: u8) -> [Condition; 2] {
    [has_bits(argument, libc::O_CREAT, libc::O_CREAT), has_bits(argument, UNNAMED, UNNAMED)]
}

/// O_TMPFILE without the bit that it shares with O_DIRECTORY.
const UNNAMED: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;

/// T-006: on the host what a function writes may belong to root, who owns the folder. A program that acts as its owner
/// would there make root of whoever runs it, although the box itself takes no notice of the bit.
const ACTING_FILES: Section = Section {
    answer: Answer::Refuse(libc::EPERM as u16),
    entries: &[
        &[
            if_any(
                calls![SYS_fchmod],
                &[&[acts_as_owner(1)], &[acts_as_group(1)]],
                "os.fchmod: a file that acts as its owner or group when it is run",
            ),
            if_any(calls![SYS_fchmodat], &[&[acts_as_owner(2)], &[acts_as_group(2)]], "as fchmod"),
            if_any(&[call("SYS_fchmodat2", 452)], &[&[acts_as_owner(2)], &[acts_as_group(2)]], "as fchmod"),
            if_any(
                calls![SYS_openat],
                &[
                    &[makes(2)[0], acts_as_owner(3)],
                    &[makes(2)[0], acts_as_group(3)],
                    &[makes(2)[1], acts_as_owner(3)],
                    &[makes(2)[1], acts_as_group(3)],
                ],
                "as fchmod, with the mode at once",
            ),
        ],
        LEGACY_ACTING_FILES,
    ],
};

#[cfg(target_arch = "x86_64")]
pub(super) const LEGACY_ACTING_FILES: &[Entry] = &[
    if_any(calls![SYS_chmod SYS_creat], &[&[acts_as_owner(1)], &[acts_as_group(1)]], "as fchmod"),
    if_any(
        calls![SYS_open],
        &[
            &[makes(1)[0], acts_as_owner(2)],
            &[makes(1)[0], acts_as_group(2)],
            &[makes(1)[1], acts_as_owner(2)],
            &[makes(1)[1], acts_as_group(2)],
        ],
        "as openat",
    ),
];

#[cfg(not(target_arch = "x86_64"))]
pub(super) const LEGACY_ACTING_FILES: &[Entry] = &[];

#[cfg(target_arch = "x86_64")]
pub(super) const LEGACY_CONDITIONAL: &[Entry] = &[
    if_any(
        calls![SYS_mknod],
        &[
            &[has_bits(1, FORMAT_BITS, 0)],
            &[has_bits(1, FORMAT_BITS, libc::S_IFREG as i32)],
            &[has_bits(1, FORMAT_BITS, libc::S_IFIFO as i32)],
        ],
        "as mknodat",
    ),
    if_any(calls![SYS_setrlimit], NOT_OF_LOCKS, "as prlimit64"),
];

#[cfg(not(target_arch = "x86_64"))]
pub(super) const LEGACY_CONDITIONAL: &[Entry] = &[];

/// Calls for which libraries have a second way when the kernel does not know them, but none when it says no.
const UNKNOWN: Section = Section {
    answer: Answer::Refuse(libc::ENOSYS as u16),
    entries: &[&[
        always(
            calls![SYS_clone3],
            "its flags are in memory, which can't be looked at here; glibc falls back to clone",
        ),
        always(
            calls![SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register],
            "makes calls that no filter sees; libuv and others fall back to epoll",
        ),
        always(
            calls![SYS_openat2],
            "modes of files are in memory, which can't be looked at here; Go, Rust and systemd's libraries fall back to \
             openat",
        ),
        always(
            &[
                call("SYS_cachestat", 451),
                call("SYS_statmount", 457),
                call("SYS_listmount", 458),
                call("SYS_lsm_get_self_attr", 459),
                call("SYS_lsm_set_self_attr", 460),
                call("SYS_lsm_list_modules", 461),
            ],
            "newer than most kernels that libraries meet, so they look elsewhere; nobody needs them",
        ),
    ]],
};

const RAW_SOCKETS: Section = Section {
    answer: Answer::Refuse(libc::EPERM as u16),
    entries: &[&[if_any(
        calls![SYS_socket],
        &[
            &[is(0, libc::AF_INET), has_bits(1, TYPE_BITS, libc::SOCK_RAW)],
            &[is(0, libc::AF_INET6), has_bits(1, TYPE_BITS, libc::SOCK_RAW)],
            &[is(0, libc::AF_INET), has_bits(1, TYPE_BITS, SOCK_PACKET)],
        ],
        "what the kernel says to those without the right to it",
    )]],
};

/// libc calls it deprecated, and that is what it is here for.
const SOCK_PACKET: i32 = 10;

const OTHER_PROTOCOLS: Section = Section {
    answer: Answer::Refuse(libc::EPROTONOSUPPORT as u16),
    entries: &[&[if_any(
        calls![SYS_socket],
        &[&[is(0, libc::AF_INET)], &[is(0, libc::AF_INET6)]],
        "SCTP, DCCP, MPTCP and what the kernel would load a module for; callers fall back to TCP",
    )]],
};

const OTHER_FAMILIES: Section = Section {
    answer: Answer::Refuse(libc::EAFNOSUPPORT as u16),
    entries: &[&[always(
        calls![SYS_socket SYS_socketpair],
        "packets, vsock (the host of a virtual machine), kernel crypto, Bluetooth …: callers know a kernel without them",
    )]],
};

const PLAIN: Section = Section { answer: Answer::Allow, entries: &[ALLOWED, LEGACY] };

/// The list for code in a box. What it does not name is refused with EPERM.
pub(super) const BASE: &[Section] =
    &[FAST_OPEN, CONDITIONAL, UNKNOWN, RAW_SOCKETS, OTHER_PROTOCOLS, OTHER_FAMILIES, ACTING_FILES, PLAIN];

/// What gVisor may not do, whoever asks it to.
pub(super) const GVISOR: &[Section] = &[FAST_OPEN, ACTING_FILES, ACTING_NODES];

/// The lists of a box say which nodes may be made; here those are left that nobody may make.
const ACTING_NODES: Section = Section {
    answer: Answer::Refuse(libc::EPERM as u16),
    entries: &[&[if_any(
        calls![SYS_mknodat],
        &[&[acts_as_owner(2)], &[acts_as_group(2)]],
        "as fchmod, of a file that is made as a node",
    )]],
};

/// What a zygote may do besides.
pub(super) const ZYGOTE: Section = Section {
    answer: Answer::Allow,
    entries: &[&[
        if_any(
            calls![SYS_setns],
            &[&[is(1, libc::CLONE_NEWPID)], &[is(1, libc::CLONE_NEWNS)]],
            "puts the worker that it forks next into namespaces that were made for it",
        ),
        if_any(
            calls![SYS_unshare],
            &[&[is(0, libc::CLONE_NEWIPC)]],
            "gives the worker shared memory of its own, which goes with it",
        ),
    ]],
};

/// What a worker may no longer do.
pub(super) const WORKER: Section = Section {
    answer: Answer::Refuse(libc::EPERM as u16),
    entries: &[&[always(
        calls![SYS_setns SYS_unshare],
        "a worker stays in the namespaces that its zygote has put it into",
    )]],
};

/// What somebody decides about who holds the listener.
pub(super) const EGRESS: Section = Section {
    answer: Answer::Notify,
    entries: &[&[always(
        calls![SYS_connect SYS_listen],
        "where the app connects to, and what it listens on, is for its settings to say",
    )]],
};
