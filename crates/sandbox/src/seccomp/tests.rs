//! The programs, run by a small machine for the kernel's instructions: what they answer to each call. Whether the
//! kernel agrees, and whether programs can live with it, is tested in `tests/seccomp.rs`.

mod entry;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod inventory;

use std::collections::BTreeSet;

use super::rules::{Call, calls};
use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

fn refuse(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.cast_unsigned()
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// What the kernel shows a program of a call: `struct seccomp_data`.
struct Data {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16.. => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("no program asks for the word at {offset}"),
        }
    }
}

/// Runs the program; the answer and how many instructions it took.
fn run(program: &Program, data: &Data) -> (u32, usize) {
    let instructions: Vec<&[u8]> = program.as_bytes().chunks(INSTRUCTION_BYTES).collect();
    let (mut index, mut accumulator) = (0, 0_u32);
    for steps in 1..=instructions.len() {
        let [code, code_high, if_true, if_false, rest @ ..] = instructions[index] else {
            panic!("half an instruction")
        };
        let operand = u32::from_ne_bytes(rest.try_into().unwrap());
        let mut branch = |holds: bool| index += usize::from(if holds { *if_true } else { *if_false });
        match u16::from_ne_bytes([*code, *code_high]) {
            0x20 => accumulator = data.word(operand),
            0x05 => index += operand as usize,
            0x15 => branch(accumulator == operand),
            0x25 => branch(accumulator > operand),
            0x35 => branch(accumulator >= operand),
            0x54 => accumulator &= operand,
            0x06 => return (operand, steps),
            other => panic!("instruction {other:#x} at {index}"),
        }
        index += 1;
    }
    panic!("it does not end")
}

fn answer(program: &Program, number: libc::c_long, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let number = u32::try_from(number).unwrap();
    run(program, &Data { number, architecture: ARCHITECTURE, arguments: all }).0
}

fn check(program: &Program, cases: &[(libc::c_long, &[i32], u32)]) {
    for (number, arguments, expected) in cases {
        let low: Vec<u64> = arguments.iter().map(|value| u64::from(value.cast_unsigned())).collect();
        let found = answer(program, *number, &low);
        assert_eq!(found, *expected, "call {number} with {arguments:x?}: {found:#x}, not {expected:#x}");
        // What the kernel does not look at must not change the answer.
        let high: Vec<u64> = low.iter().map(|value| value | 0x5a5a_5a5a_0000_0000).collect();
        assert_eq!(
            answer(program, *number, &high),
            *expected,
            "call {number} with {arguments:x?} and more above"
        );
    }
}

/// Calls with which a box is left or the machine changed.
const NEVER: &[Call] = calls![
    SYS_mount SYS_umount2 SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick SYS_move_mount SYS_open_tree
    SYS_mount_setattr SYS_pivot_root SYS_chroot SYS_unshare SYS_setns SYS_bpf SYS_perf_event_open SYS_userfaultfd
    SYS_keyctl SYS_add_key SYS_request_key SYS_ptrace SYS_process_vm_readv SYS_process_vm_writev SYS_pidfd_getfd
    SYS_kcmp SYS_process_madvise SYS_process_mrelease SYS_init_module SYS_finit_module SYS_delete_module
    SYS_kexec_load SYS_reboot SYS_swapon SYS_swapoff SYS_acct SYS_quotactl SYS_quotactl_fd SYS_sethostname
    SYS_setdomainname SYS_settimeofday SYS_adjtimex SYS_clock_adjtime SYS_clock_settime SYS_name_to_handle_at
    SYS_open_by_handle_at SYS_vhangup SYS_syslog SYS_fanotify_init SYS_fanotify_mark SYS_nfsservctl
    SYS_move_pages SYS_migrate_pages SYS_mbind SYS_set_mempolicy SYS_vmsplice SYS_remap_file_pages SYS_msgget
    SYS_msgsnd SYS_mq_open SYS_io_setup SYS_memfd_secret
];

#[cfg(target_arch = "x86_64")]
const NEVER_LEGACY: &[Call] = calls![
    SYS_iopl SYS_ioperm SYS_modify_ldt SYS_lookup_dcookie SYS_kexec_file_load SYS_uselib SYS__sysctl
    SYS_sysfs SYS_ustat
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_LEGACY: &[Call] = &[];

#[test]
fn what_leaves_the_box_is_refused_whatever_the_arguments_are() {
    let arguments = [[0; 6], [u64::MAX; 6], [1; 6], [u64::from(libc::CLONE_NEWUSER.cast_unsigned()); 6]];
    for call in NEVER.iter().chain(NEVER_LEGACY) {
        for arguments in &arguments {
            for program in [base().unwrap(), builder().unwrap()] {
                assert_eq!(answer(&program, call.number, arguments), refuse(libc::EPERM), "{}", call.name);
            }
        }
    }
}

#[test]
fn what_libraries_do_without_is_unknown() {
    let unknown = calls![SYS_clone3 SYS_openat2 SYS_io_uring_setup SYS_io_uring_enter SYS_io_uring_register];
    let program = base().unwrap();
    for call in unknown {
        check(&program, &[(call.number, &[], refuse(libc::ENOSYS))]);
    }
    let newest = conditions::NEWEST;
    check(
        &program,
        &[(newest, &[], ALLOW), (newest + 1, &[], refuse(libc::ENOSYS)), (4000, &[], refuse(libc::ENOSYS))],
    );
}

#[test]
fn arguments_decide() {
    use libc::*;
    let threads =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;
    let device = (S_IFCHR | 0o600) as i32;
    let (pipe, file) = ((S_IFIFO | 0o600) as i32, (S_IFREG | 0o600) as i32);
    let block = (S_IFBLK | 0o600) as i32;
    let no = refuse(EPERM);
    check(
        &base().unwrap(),
        &[
            (SYS_clone, &[SIGCHLD], ALLOW),
            (SYS_clone, &[threads], ALLOW),
            (SYS_clone, &[SIGCHLD | CLONE_NEWUSER], no),
            (SYS_clone, &[threads | CLONE_NEWNS], no),
            (SYS_clone, &[CLONE_NEWPID], no),
            (SYS_clone, &[CLONE_NEWNET], no),
            (SYS_clone, &[CLONE_NEWIPC], no),
            (SYS_clone, &[CLONE_NEWUTS], no),
            (SYS_clone, &[CLONE_NEWCGROUP], no),
            (SYS_mknodat, &[AT_FDCWD, 0, device], no),
            (SYS_mknodat, &[AT_FDCWD, 0, block], no),
            (SYS_mknodat, &[AT_FDCWD, 0, pipe], ALLOW),
            (SYS_mknodat, &[AT_FDCWD, 0, file], ALLOW),
            (SYS_mknodat, &[AT_FDCWD, 0, 0o600], ALLOW),
            (SYS_mknodat, &[AT_FDCWD, 0, 0o4600], no),
            (SYS_personality, &[-1], ALLOW),
            (SYS_personality, &[0], ALLOW),
            (SYS_personality, &[0x0040_0000], no),
            (SYS_ioctl, &[0, 0x5413], ALLOW),
            (SYS_ioctl, &[0, 0x5412], no),
            (SYS_ioctl, &[0, 0x541c], no),
            (SYS_ioctl, &[0, 0x5423], no),
            (SYS_prctl, &[PR_SET_NAME], ALLOW),
            (SYS_prctl, &[PR_SET_PDEATHSIG], ALLOW),
            (SYS_prctl, &[PR_CAPBSET_DROP], no),
            (SYS_prctl, &[PR_SET_MM], no),
            (SYS_prctl, &[PR_SET_PTRACER], no),
            (SYS_prctl, &[PR_SET_SECUREBITS], no),
            (SYS_seccomp, &[1, 0], ALLOW),
            (SYS_seccomp, &[1, 1], ALLOW),
            (SYS_seccomp, &[1, 8], no),
            (SYS_seccomp, &[1, 9], no),
        ],
    );
}

/// T-016: the limit that marks whose a process is can be read and not changed, also not with an address whose lower half
/// is that of none.
#[test]
fn t_016_a_mark_is_kept() {
    let program = base().unwrap();
    let (locks, files) = (10, u64::from(libc::RLIMIT_NOFILE));
    for (resource, new, expected) in [
        (locks, 0, ALLOW),
        (locks, 0x7fff_0000_1000, refuse(libc::EPERM)),
        (locks, 0x1_0000_0000, refuse(libc::EPERM)),
        (locks | 1 << 32, 0x7fff_0000_1000, refuse(libc::EPERM)),
        (files, 0x7fff_0000_1000, ALLOW),
    ] {
        let found = answer(&program, libc::SYS_prlimit64, &[0, resource, new, 0]);
        assert_eq!(found, expected, "{resource:#x} {new:#x}");
    }
    #[cfg(target_arch = "x86_64")]
    for (resource, expected) in [(locks, refuse(libc::EPERM)), (files, ALLOW)] {
        assert_eq!(answer(&program, libc::SYS_setrlimit, &[resource, 0x1000]), expected);
    }
    assert_eq!(answer(&program, libc::SYS_getrlimit, &[locks, 0x1000]), ALLOW);
}

/// T-006: nothing that functions write acts as its owner, who may be root.
#[test]
fn t_006_no_file_acts_as_its_owner_or_group() {
    use libc::*;
    let no = refuse(EPERM);
    let program = base().unwrap();
    let gvisor = gvisor().unwrap();
    for (mode, expected) in [(0o600, ALLOW), (0o1777, ALLOW), (0o4755, no), (0o2755, no), (0o6777, no)] {
        check(
            &gvisor,
            &[
                (SYS_fchmod, &[3, mode], expected),
                (SYS_openat, &[3, 0, O_CREAT | O_EXCL, mode], expected),
                (SYS_mknodat, &[3, 0, S_IFREG as i32 | mode], expected),
                (SYS_mount, &[], ALLOW),
            ],
        );
        check(
            &program,
            &[
                (SYS_fchmod, &[3, mode], expected),
                (SYS_fchmodat, &[AT_FDCWD, 0, mode], expected),
                (452, &[AT_FDCWD, 0, mode], expected),
                (SYS_openat, &[AT_FDCWD, 0, O_CREAT | O_WRONLY, mode], expected),
                (SYS_openat, &[AT_FDCWD, 0, O_TMPFILE | O_RDWR, mode], expected),
                // Without a file to make, what stands in the place of the mode was left there by chance.
                (SYS_openat, &[AT_FDCWD, 0, O_RDONLY | O_DIRECTORY, mode], ALLOW),
            ],
        );
        #[cfg(target_arch = "x86_64")]
        check(
            &program,
            &[
                (SYS_chmod, &[0, mode], expected),
                (SYS_creat, &[0, mode], expected),
                (SYS_open, &[0, O_CREAT, mode], expected),
                (SYS_open, &[0, O_RDONLY, mode], ALLOW),
                (SYS_mknod, &[0, mode], expected),
            ],
        );
    }
}

#[test]
fn sockets_are_local_or_of_the_internet() {
    use libc::*;
    let (no, no_family, no_protocol) = (refuse(EPERM), refuse(EAFNOSUPPORT), refuse(EPROTONOSUPPORT));
    let flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    check(
        &base().unwrap(),
        &[
            (SYS_socket, &[AF_UNIX, SOCK_STREAM | flags], ALLOW),
            (SYS_socket, &[AF_UNIX, SOCK_SEQPACKET], ALLOW),
            (SYS_socket, &[AF_INET, SOCK_STREAM | flags], ALLOW),
            (SYS_socket, &[AF_INET6, SOCK_STREAM, IPPROTO_TCP], ALLOW),
            (SYS_socket, &[AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_UDP], ALLOW),
            (SYS_socket, &[AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE], ALLOW),
            (SYS_socket, &[AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE], ALLOW),
            (SYS_socket, &[AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER], no_family),
            (SYS_socket, &[AF_INET, SOCK_RAW, IPPROTO_ICMP], no),
            (SYS_socket, &[AF_INET6, SOCK_RAW | flags, IPPROTO_RAW], no),
            (SYS_socket, &[AF_INET, 10, 0], no),
            (SYS_socket, &[AF_INET, SOCK_STREAM, IPPROTO_SCTP], no_protocol),
            (SYS_socket, &[AF_INET, SOCK_STREAM, IPPROTO_MPTCP], no_protocol),
            (SYS_socket, &[AF_INET, SOCK_DGRAM, IPPROTO_ICMP], no_protocol),
            (SYS_socket, &[AF_INET, SOCK_DCCP, 0], no_protocol),
            (SYS_socket, &[AF_PACKET, SOCK_RAW, 0], no_family),
            (SYS_socket, &[AF_VSOCK, SOCK_STREAM, 0], no_family),
            (SYS_socket, &[AF_ALG, SOCK_SEQPACKET, 0], no_family),
            (SYS_socketpair, &[AF_UNIX, SOCK_STREAM], ALLOW),
            (SYS_socketpair, &[AF_TIPC, SOCK_STREAM], no_family),
        ],
    );
}

#[test]
fn nothing_connects_by_sending() {
    use libc::*;
    let no = refuse(EOPNOTSUPP);
    check(
        &base().unwrap(),
        &[
            (SYS_sendto, &[3, 0, 0, MSG_NOSIGNAL], ALLOW),
            (SYS_sendto, &[3, 0, 0, MSG_FASTOPEN | MSG_NOSIGNAL], no),
            (SYS_sendmsg, &[3, 0, MSG_NOSIGNAL], ALLOW),
            (SYS_sendmsg, &[3, 0, MSG_FASTOPEN], no),
            (SYS_sendmmsg, &[3, 0, 1, 0], ALLOW),
            (SYS_sendmmsg, &[3, 0, 1, MSG_FASTOPEN], no),
        ],
    );
}

#[test]
fn a_zygote_enters_two_kinds_of_namespaces_and_its_worker_none() {
    use libc::*;
    let no = refuse(EPERM);
    check(
        &zygote().unwrap(),
        &[
            (SYS_setns, &[3, CLONE_NEWPID], ALLOW),
            (SYS_setns, &[3, CLONE_NEWNS], ALLOW),
            (SYS_setns, &[3, 0], no),
            (SYS_setns, &[3, CLONE_NEWPID | CLONE_NEWNS], no),
            (SYS_setns, &[3, CLONE_NEWUSER], no),
            (SYS_setns, &[3, CLONE_NEWNET], no),
            (SYS_unshare, &[CLONE_NEWPID], no),
            (SYS_unshare, &[CLONE_NEWIPC], ALLOW),
            (SYS_unshare, &[CLONE_NEWIPC | CLONE_NEWNS], no),
        ],
    );
    let worker = worker().unwrap();
    check(
        &worker,
        &[
            (SYS_setns, &[3, CLONE_NEWPID], no),
            (SYS_unshare, &[CLONE_NEWIPC], no),
            (SYS_read, &[], ALLOW),
            (SYS_mount, &[], ALLOW),
        ],
    );
}

#[test]
fn egress_asks_about_connecting_and_listening() {
    use libc::*;
    let program = egress().unwrap();
    check(
        &program,
        &[(SYS_connect, &[], NOTIFY), (SYS_listen, &[], NOTIFY), (SYS_bind, &[], ALLOW), (4000, &[], ALLOW)],
    );
}

#[test]
fn other_doors_into_the_kernel_end_the_process() {
    const I386: u32 = 0x4000_0003;
    for program in [base(), zygote(), worker(), egress(), builder()].map(Result::unwrap) {
        let data = Data { number: 20, architecture: I386, arguments: [0; 6] };
        assert_eq!(run(&program, &data).0, KILL);
        if cfg!(target_arch = "x86_64") {
            for number in [0, 20, 521, 0x3fff_fffe] {
                let data =
                    Data { number: 0x4000_0000 | number, architecture: ARCHITECTURE, arguments: [0; 6] };
                assert_eq!(run(&program, &data).0, KILL, "x32's {number}");
            }
        }
        let void = Data { number: u32::MAX, architecture: ARCHITECTURE, arguments: [0; 6] };
        assert_ne!(run(&program, &void).0, KILL, "a call that a debugger has made void");
    }
}

/// No answer means "tell the tracer": it would be a mark that was forgotten.
#[test]
fn no_mark_is_left() {
    for program in [base(), zygote(), worker(), egress(), gvisor()].map(Result::unwrap) {
        for number in 0..600 {
            let found = answer(&program, number, &[]);
            assert_ne!(found & libc::SECCOMP_RET_ACTION_FULL, libc::SECCOMP_RET_TRACE, "call {number}");
        }
        assert_eq!(usize::from(program.count()) * INSTRUCTION_BYTES, program.as_bytes().len());
    }
}

/// What sends and receives is asked about often, and the kernel can't remember answers that depend on arguments.
#[test]
fn a_send_is_decided_within_a_few_instructions() {
    let number = u32::try_from(libc::SYS_sendto).unwrap();
    let (answer, steps) =
        run(&zygote().unwrap(), &Data { number, architecture: ARCHITECTURE, arguments: [0; 6] });
    assert_eq!(answer, ALLOW);
    assert!(steps < 50, "{steps} instructions");
}

#[test]
fn each_entry_has_a_reason_and_no_call_is_in_a_section_twice() {
    for section in BASE.iter().chain([&ZYGOTE, &WORKER, &EGRESS]) {
        let mut seen = BTreeSet::new();
        for entry in section.entries() {
            assert!(entry.why.len() > 10 || entry.why.starts_with("as "), "{:?}", entry.calls);
            assert!(!entry.calls.is_empty());
            for call in entry.calls {
                assert!(
                    seen.insert(call.number),
                    "{} is there twice, and the last entry would win",
                    call.name
                );
            }
        }
    }
}
