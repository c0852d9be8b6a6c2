//! The program that the native part of the worker brings along, against the one that people review.

use super::*;

/// The part of it that needs neither Python nor a process of its own.
#[path = "../../../entry/filter.rs"]
mod filter;

fn brought_along() -> Program {
    let instructions = filter::FORBID_NAMESPACES.map(|one| seccompiler::sock_filter {
        code: one.code,
        jt: one.when_true,
        jf: one.when_false,
        k: one.value,
    });
    Program::new(&instructions)
}

/// What the kernel makes of two programs: the strictest answer counts, and of equal ones that of the last (seccomp(2)).
fn stacked(first: &Program, last: &Program, data: &Data) -> u32 {
    let [first, last] = [first, last].map(|program| run(program, data).0);
    let strictness = |answer: u32| (answer & libc::SECCOMP_RET_ACTION_FULL).cast_signed();
    if strictness(first) < strictness(last) { first } else { last }
}

/// T-004: what a worker gives up is what the list says, for each call and with arguments that its zygote may use.
#[test]
fn t_004_a_worker_gives_up_what_the_list_says() {
    let (zygote, listed, loaded) = (zygote().unwrap(), worker().unwrap(), brought_along());
    let enters = [libc::CLONE_NEWIPC, libc::CLONE_NEWPID, 0, 0, 0, 0].map(|value| value as u64);
    let mounts = [3, libc::CLONE_NEWNS, 0, 0, 0, 0].map(|value| value as u64);
    let numbers = (0..1024).chain(0x4000_0000..0x4000_0400).chain([4000, u32::MAX]);
    for number in numbers {
        for arguments in [[0; 6], [u64::MAX; 6], enters, mounts] {
            let data = Data { number, architecture: ARCHITECTURE, arguments };
            assert_eq!(
                stacked(&zygote, &loaded, &data),
                stacked(&zygote, &listed, &data),
                "call {number:#x} with {arguments:x?}"
            );
        }
    }
    for call in calls![SYS_setns SYS_unshare] {
        assert_eq!(answer(&loaded, call.number, &enters), refuse(libc::EPERM), "{}", call.name);
        assert_eq!(answer(&zygote, call.number, &enters), ALLOW, "{} is what a zygote needs", call.name);
    }
}
