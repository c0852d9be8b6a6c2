//! The programs in the real kernel: what they refuse, and that Python and its libraries can live with them.

#![cfg(target_os = "linux")]
#![expect(clippy::disallowed_methods, reason = "it tests the room that starts processes")]
#![expect(clippy::print_stderr, reason = "a test says what it left out or has measured")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use ingle_sandbox::seccomp::{self, Program};

/// A pointer to nothing: a call that is let through fails with EFAULT, and so does no harm.
const NOWHERE: libc::c_long = 8;

fn call(number: libc::c_long, arguments: [libc::c_long; 5]) -> io::Result<libc::c_long> {
    let [first, second, third, fourth, fifth] = arguments;
    // SAFETY: the calls of these tests either take numbers only or are given a pointer that the kernel refuses.
    #[expect(unsafe_code, reason = "system calls by number")]
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Runs the closure in a thread that is confined; programs bind the thread that loads them only.
fn confined<T: Send + 'static>(programs: &[Program], inside: impl FnOnce() -> T + Send + 'static) -> T {
    let programs = programs.to_vec();
    let thread = std::thread::spawn(move || {
        for program in &programs {
            program.load().unwrap();
        }
        inside()
    });
    thread.join().unwrap()
}

fn worker_of_a_zygote() -> [Program; 2] {
    [seccomp::zygote().unwrap(), seccomp::worker().unwrap()]
}

/// T-004: each class of calls, with arguments that the kernel would answer otherwise to root.
#[test]
fn the_kernel_refuses_what_leaves_the_box() {
    use libc::*;
    // Without CLONE_VM such a clone fails by itself (EINVAL), so nothing is forked should it be let through.
    let namespace = |kind: i32| [c_long::from(kind | CLONE_SIGHAND), 0, 0, 0, 0];
    let pointers = [NOWHERE; 5];
    let calls = [
        ("unshare", SYS_unshare, [c_long::from(CLONE_NEWUSER), 0, 0, 0, 0], EPERM),
        ("clone user", SYS_clone, namespace(CLONE_NEWUSER), EPERM),
        ("clone net", SYS_clone, namespace(CLONE_NEWNET), EPERM),
        ("clone3", SYS_clone3, pointers, ENOSYS),
        ("setns pid", SYS_setns, [-1, c_long::from(CLONE_NEWPID), 0, 0, 0], EPERM),
        ("setns mount", SYS_setns, [-1, c_long::from(CLONE_NEWNS), 0, 0, 0], EPERM),
        ("mount", SYS_mount, pointers, EPERM),
        ("umount", SYS_umount2, pointers, EPERM),
        ("open_tree", SYS_open_tree, pointers, EPERM),
        ("pivot_root", SYS_pivot_root, pointers, EPERM),
        ("chroot", SYS_chroot, pointers, EPERM),
        ("bpf", SYS_bpf, pointers, EPERM),
        ("perf_event_open", SYS_perf_event_open, pointers, EPERM),
        ("io_uring_setup", SYS_io_uring_setup, pointers, ENOSYS),
        ("userfaultfd", SYS_userfaultfd, [-1; 5], EPERM),
        ("keyctl", SYS_keyctl, [0, -1, 0, 0, 0], EPERM),
        ("add_key", SYS_add_key, pointers, EPERM),
        ("init_module", SYS_init_module, pointers, EPERM),
        ("finit_module", SYS_finit_module, [-1, NOWHERE, 0, 0, 0], EPERM),
        ("ptrace", SYS_ptrace, [-1; 5], EPERM),
        ("process_vm_readv", SYS_process_vm_readv, [1, NOWHERE, 1, NOWHERE, 1], EPERM),
        ("process_vm_writev", SYS_process_vm_writev, [1, NOWHERE, 1, NOWHERE, 1], EPERM),
        ("pidfd_getfd", SYS_pidfd_getfd, [-1; 5], EPERM),
        ("open_by_handle_at", SYS_open_by_handle_at, [-1, NOWHERE, 0, 0, 0], EPERM),
        ("fanotify_init", SYS_fanotify_init, [-1; 5], EPERM),
        ("mknodat", SYS_mknodat, [-1, NOWHERE, c_long::from(S_IFCHR), 0, 0], EPERM),
        ("TIOCSTI", SYS_ioctl, [-1, 0x5412, NOWHERE, 0, 0], EPERM),
        ("a listener", SYS_seccomp, [1, 8, NOWHERE, 0, 0], EPERM),
        ("raw", SYS_socket, [c_long::from(AF_INET), c_long::from(SOCK_RAW), 1, 0, 0], EPERM),
        ("packets", SYS_socket, [c_long::from(AF_PACKET), c_long::from(SOCK_RAW), 0, 0, 0], EAFNOSUPPORT),
        ("vsock", SYS_socket, [c_long::from(AF_VSOCK), c_long::from(SOCK_STREAM), 0, 0, 0], EAFNOSUPPORT),
        ("fast open", SYS_sendto, [-1, NOWHERE, 0, c_long::from(MSG_FASTOPEN), 0], EOPNOTSUPP),
        ("what comes after the lists", 4000, pointers, ENOSYS),
    ];
    let answers = confined(&worker_of_a_zygote(), move || {
        calls.map(|(name, number, arguments, expected)| (name, call(number, arguments), expected))
    });
    for (name, answer, expected) in answers {
        let found = answer.map_err(|error| error.raw_os_error());
        assert_eq!(found, Err(Some(expected)), "{name}");
    }
}

#[test]
fn a_zygote_may_still_enter_namespaces() {
    let [enters, other] = [libc::CLONE_NEWPID, libc::CLONE_NEWUSER].map(|kind| {
        confined(&[seccomp::zygote().unwrap()], move || call(libc::SYS_setns, [-1, kind.into(), 0, 0, 0]))
    });
    assert_eq!(
        enters.unwrap_err().raw_os_error(),
        Some(libc::EBADF),
        "the kernel has looked for the descriptor"
    );
    assert_eq!(other.unwrap_err().raw_os_error(), Some(libc::EPERM));
}

/// `int 0x80` enters the kernel as i386, where 20 is getpid. Without a program it would answer.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_door_of_i386_ends_the_process() {
    use std::os::unix::process::ExitStatusExt as _;

    for program in
        [seccomp::base(), seccomp::zygote(), seccomp::worker(), seccomp::egress()].map(Result::unwrap)
    {
        let mut command = Command::new("/bin/true");
        // SAFETY: between fork and exec it only loads a program, which allocates nothing, and makes a system call.
        #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
        unsafe {
            command.pre_exec(move || {
                program.load()?;
                std::arch::asm!("int 0x80", inout("eax") 20 => _, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
                Ok(())
            });
        }
        let status = command.status().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
    }
}

fn python() -> String {
    std::env::var("INGLE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn run_confined(programs: Vec<Program>, program: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path());
    // SAFETY: as above.
    #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
    unsafe {
        command.pre_exec(move || programs.iter().try_for_each(Program::load));
    }
    command.output().unwrap()
}

fn check_success(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{errors}", output.status);
    for line in out.lines().filter(|line| line.starts_with("left out")) {
        eprintln!("{line}");
    }
}

#[test]
fn python_and_its_libraries_live_with_it() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/smoke.py");
    check_success(&run_confined(worker_of_a_zygote().to_vec(), &python(), &[script]));
}

/// An environment with pip in it, which `ensurepip` installs from what comes with Python.
#[test]
fn pip_lives_with_it() {
    let python = python();
    if !Command::new(&python).args(["-c", "import ensurepip, venv"]).output().unwrap().status.success() {
        eprintln!("left out: this Python has no ensurepip");
        return;
    }
    let programs = vec![seccomp::builder().unwrap()];
    check_success(&run_confined(programs, &python, &["-m", "venv", "environment"]));
}

/// Both ends of `egress`: the thread that connects waits until the listener has answered, and gets its answer.
#[test]
fn connecting_is_asked_about_and_sending_is_not() {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<OwnedFd>(1);
    let caller = std::thread::spawn(move || {
        sender.send(seccomp::egress().unwrap().load_with_listener().unwrap()).unwrap();
        seccomp::base().unwrap().load().unwrap();
        let second = seccomp::egress().unwrap().load_with_listener();
        let sent = call(libc::SYS_sendto, [-1, NOWHERE, 0, 0, 0]);
        let connected = call(libc::SYS_connect, [-1, NOWHERE, 0, 0, 0]);
        [second.map(|_| 0), sent, connected].map(|result| result.map_err(|error| error.raw_os_error()))
    });
    let listener = receiver.recv().unwrap();
    // SAFETY: both structures are plain numbers, for which zero is a value.
    #[expect(unsafe_code, reason = "the kernel's structures have no constructor")]
    let (mut asked, mut reply): (libc::seccomp_notif, libc::seccomp_notif_resp) =
        unsafe { std::mem::zeroed() };
    // SAFETY: each request goes with the structure that the kernel fills or reads for it.
    #[expect(unsafe_code, reason = "there is no safe door to the listener")]
    unsafe {
        assert_eq!(
            libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked),
            0,
            "{}",
            io::Error::last_os_error()
        );
        reply.id = asked.id;
        reply.error = -libc::EHOSTUNREACH;
        assert_eq!(
            libc::ioctl(listener.as_raw_fd(), SEND, &raw mut reply),
            0,
            "{}",
            io::Error::last_os_error()
        );
    }
    assert_eq!(libc::c_long::from(asked.data.nr), libc::SYS_connect);
    let refused = |number| Err(Some(number));
    let expected = [refused(libc::EPERM), refused(libc::EBADF), refused(libc::EHOSTUNREACH)];
    assert_eq!(caller.join().unwrap(), expected);
}

// SECCOMP_IOCTL_NOTIF_RECV and _SEND of <linux/seccomp.h>.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;

/// `cargo test --release -p ingle-sandbox --test seccomp -- --ignored --nocapture` tells what the programs cost.
#[test]
#[ignore = "it measures"]
fn what_it_costs() {
    type Make = fn() -> Result<Program, seccomp::Error>;
    let makers: [(&str, Make); 3] =
        [("base", seccomp::base), ("worker", seccomp::worker), ("egress", seccomp::egress)];
    for (name, make) in makers {
        let started = Instant::now();
        let program = make().unwrap();
        let made = started.elapsed();
        let mut loads: Vec<Duration> = (0..51).map(|_| time_to_load(program.clone())).collect();
        loads.sort();
        let (least, median) = (loads[0], loads[25]);
        eprintln!(
            "{name}: {} instructions, made in {made:?}, loaded in {least:?} to {median:?}",
            program.count()
        );
    }
    let [base, egress] = [seccomp::base().unwrap(), seccomp::egress().unwrap()];
    let all = [&[egress.clone()][..], &worker_of_a_zygote()].concat();
    let stacks = [
        ("nothing", vec![]),
        ("base", vec![base]),
        ("egress", vec![egress]),
        ("egress, zygote, worker", all),
    ];
    let mut least = [[f64::INFINITY; 3]; 4];
    // All stacks in each round, so that a noisy moment of the machine does not meet one of them only.
    for _ in 0..60 {
        for (least, (_, programs)) in least.iter_mut().zip(&stacks) {
            for (least, found) in least.iter_mut().zip(confined(programs, costs)) {
                *least = least.min(found);
            }
        }
    }
    for ([plain, send, option], (name, _)) in least.iter().zip(&stacks) {
        eprintln!("{name}: getppid {plain:.0} ns, sendto (EBADF) {send:.0} ns, prctl {option:.0} ns");
    }
}

fn time_to_load(program: Program) -> Duration {
    confined(&[], move || {
        let started = Instant::now();
        program.load().unwrap();
        started.elapsed()
    })
}

/// Nanoseconds of calls that are allowed always, looked at early, and looked at late.
fn costs() -> [f64; 3] {
    const CALLS: u32 = 20_000;
    let calls = [
        (libc::SYS_getppid, [0; 5]),
        (libc::SYS_sendto, [-1, NOWHERE, 0, 0, 0]),
        (libc::SYS_prctl, [libc::PR_GET_DUMPABLE.into(), 0, 0, 0, 0]),
    ];
    calls.map(|(number, arguments)| {
        let started = Instant::now();
        for _ in 0..CALLS {
            call(number, arguments).ok();
        }
        started.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    })
}
