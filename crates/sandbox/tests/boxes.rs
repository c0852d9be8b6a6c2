//! Boxes on the real kernel, with programs of the machine in them.

#![expect(clippy::unwrap_used, reason = "a test may panic, also in the functions that its tests share")]
#![expect(clippy::disallowed_methods, reason = "it tests the room that starts processes")]
#![expect(clippy::print_stderr, reason = "a test says what it left out")]

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use ingle_sandbox::boxes::{
    Access, BoxError, BoxSpec, Boxed, Boxes, Identity, Mount, Network, Open, Program, Role, Scratch, Started,
    View,
};
use ingle_sandbox::cgroup::watchdog::Watchdog;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

fn spec() -> BoxSpec {
    let seen = |path: &str| Mount { path: path.into(), access: Access::ReadOnly, owner: None };
    let mut links = BTreeMap::new();
    let mut mounts = vec![seen("/usr")];
    for name in ["/bin", "/lib", "/lib64", "/sbin"] {
        match std::fs::read_link(name) {
            Ok(target) => drop(links.insert(PathBuf::from(name), target)),
            Err(_) => mounts.push(seen(name)),
        }
    }
    let files = BTreeMap::from([("/etc/passwd".into(), "function:x:1000:1000::/tmp:/bin/sh\n".to_owned())]);
    let user = rustix::process::geteuid().as_raw();
    let identity = if user == 0 {
        Identity::Own { user: 1_700_000_000 }
    } else {
        Identity::Same { user, group: rustix::process::getegid().as_raw() }
    };
    BoxSpec {
        role: Role::Zygote,
        view: View { mounts, files, links },
        identity,
        network: Network::Own { resolver: true },
        scratch: Scratch { bytes: 1 << 20, files: 100 },
        open_files_max: 256,
        file_bytes_max: 1 << 30,
        processes_max: 200,
        has_namespaces: true,
        asks: false,
        gvisor: None,
    }
}

/// A box, with the task that hears its keeper.
struct Running {
    boxed: Boxed,
    port: tokio::task::JoinHandle<()>,
}

async fn made(spec: &BoxSpec) -> Running {
    let boxes = Boxes::new(PathBuf::from(env!("CARGO_BIN_EXE_box-maker")));
    let (boxed, port) = boxes.make(spec).await.unwrap();
    let port = tokio::spawn(async move {
        let _kept = boxes;
        port.run().await;
    });
    Running { boxed, port }
}

impl Running {
    async fn says(&self, script: &str) -> String {
        let (output, theirs) = output();
        let (_ours, control) = std::os::unix::net::UnixStream::pair().unwrap();
        let (control, errors): (OwnedFd, _) = (control.into(), theirs.try_clone().unwrap());
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            directory: "/".into(),
        };
        let open = Open { output: &theirs, errors: &errors, control: Some(&control), into: None };
        let started = self.boxed.start(program, open).await.unwrap();
        drop((theirs, errors, control));
        let mut text = String::new();
        let mut output = output;
        output.read_to_string(&mut text).await.unwrap();
        started.process.ended().await.unwrap();
        let status = started.ended.status().await.unwrap();
        format!("{text}[{}]", status.code().unwrap_or(-1))
    }
}

fn output() -> (pipe::Receiver, OwnedFd) {
    let (sender, receiver) = pipe::pipe().unwrap();
    (receiver, sender.into_blocking_fd().unwrap())
}

/// T-001: what is not in the view is not there, and what is can't be changed.
#[tokio::test]
async fn t_001_what_is_not_in_the_view_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::write(root.join("own"), "mine").unwrap();
    std::fs::create_dir_all(root.join("state/spool")).unwrap();
    std::fs::write(root.join("state/secret"), "secret").unwrap();
    let mut spec = spec();
    let owner = Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    let mount = |path: PathBuf, access| Mount { path, access, owner };
    spec.view.mounts.push(mount(root.clone(), Access::ReadOnly));
    spec.view.mounts.push(mount(root.join("state"), Access::Hidden));
    spec.view.mounts.push(mount(root.join("state/spool"), Access::ReadWrite));
    let running = made(&spec).await;
    assert_eq!(running.boxed.shortfalls(), []);
    let at = |script: &str| script.replace("ROOT", &root.display().to_string());
    let top = running.says("ls -A /").await;
    for hidden in ["root", "home", "sys", "boot", "var", ".old", "proc_old"] {
        assert!(!top.lines().any(|name| name == hidden), "{top}");
    }
    assert_eq!(running.says(&at("cat ROOT/own; ls ROOT/state")).await, "minespool\n[0]");
    let written = "echo x > ROOT/own || echo x > ROOT/state/x || echo x > /x || echo x > /usr/x";
    assert_eq!(running.says(&at(written)).await.matches("Read-only").count(), 4);
    assert_eq!(
        running
            .says(&at("cat ROOT/state/secret /etc/shadow; ls ROOT/state/.."))
            .await
            .matches("No such")
            .count(),
        2
    );
    // What it writes where it may belongs to the server outside, whoever it is inside.
    assert_eq!(
        running.says(&at("echo out > ROOT/state/spool/file; cat ROOT/state/spool/file")).await,
        "out\n[0]"
    );
    let file = std::fs::metadata(root.join("state/spool/file")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&file), rustix::process::geteuid().as_raw());
}

/// A mount that is removed with this.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).ok();
    }
}

/// T-001: most machines have mounts that are shared (systemd makes them so): what is mounted below one is mounted wherever it is.
#[tokio::test]
async fn t_001_what_a_box_mounts_is_not_seen_outside() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can make a mount that is shared");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir(root.join("state")).unwrap();
    std::fs::write(root.join("state/secret"), "secret").unwrap();
    rustix::mount::mount_bind(&root, &root).unwrap();
    let shared = Mounted(root.clone());
    rustix::mount::mount_change(&root, rustix::mount::MountPropagationFlags::SHARED).unwrap();
    let mut spec = spec();
    let mount = |path: PathBuf, access| Mount { path, access, owner: Some((0, 0)) };
    spec.view.mounts.push(mount(root.clone(), Access::ReadOnly));
    spec.view.mounts.push(mount(root.join("state"), Access::Hidden));
    let running = made(&spec).await;
    let inside = running.says(&format!("ls {}", root.join("state").display())).await;
    let outside = std::fs::read_to_string(root.join("state/secret"));
    drop((running, shared));
    assert_eq!((inside.as_str(), outside.unwrap().as_str()), ("[0]", "secret"));
}

/// T-002, T-003, T-004, T-006: no descriptor, no privilege, no process of others.
#[tokio::test]
async fn t_003_a_program_starts_with_nothing_but_what_it_was_given() {
    let running = made(&spec()).await;
    let descriptors = running.says("ls /proc/self/fd | tr '\\n' ' '").await;
    // Input, output, errors, the control socket, and the one that lists the folder.
    assert_eq!(descriptors, "0 1 2 3 4 [0]");
    let status = running.says("grep -e NoNewPrivs -e '^Seccomp:' /proc/self/status | tr -d '\\t\\n'").await;
    assert_eq!(status, "NoNewPrivs:1Seccomp:2[0]");
    assert_eq!(running.says("env | cut -d= -f1 | sort | tr '\\n' ' '").await, "PATH PWD [0]");
    let others = running.says("ls /proc | grep -c '^[0-9]*$'").await;
    assert!(others.trim_end_matches("[0]").trim().parse::<u32>().unwrap() < 8, "{others}");
    assert!(running.says("cat /proc/1/environ; ls /proc/1/fd").await.matches("ermission").count() == 2);
    assert!(
        running.says("mount -t tmpfs none /tmp; chroot / true; unshare -U true").await.contains("permitted")
    );
    assert_eq!(running.says("su root -c id").await.matches("uid=0").count(), 0);
}

/// T-014: `/tmp` has a size, and a number of files.
#[tokio::test]
async fn t_014_temporary_files_are_limited() {
    let running = made(&spec()).await;
    let filled = running.says("head -c 3000000 /dev/zero > /tmp/big; wc -c < /tmp/big").await;
    assert!(filled.contains("No space left") && filled.contains("1048576"), "{filled}");
    let many = running
        .says("rm /tmp/big; i=0; while echo > /tmp/$i; do i=$((i+1)); done; test $i -lt 100 && echo few")
        .await;
    assert!(many.contains("No space left") && many.contains("few"), "{many}");
}

/// T-016: the end of a box ends everything in it, whatever it does with signals, sessions and groups.
#[tokio::test]
async fn t_016_nothing_outlives_a_box() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let mut spec = spec();
    let owner = Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()));
    spec.view.mounts.push(Mount { path: root.clone(), access: Access::ReadWrite, owner });
    let running = made(&spec).await;
    let script = "trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; while :; do date +%N > ROOT/alive; sleep 0.01; done' \
        </dev/null >/dev/null 2>&1 & while ! test -s ROOT/alive; do :; done";
    running.says(&script.replace("ROOT", &root.display().to_string())).await;
    drop(running.boxed);
    running.port.await.unwrap();
    // The keeper's socket has closed, and with the keeper the system ends the rest, which takes a moment.
    let path = root.display().to_string();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while lives(&path) {
        assert!(tokio::time::Instant::now() < deadline, "something of the box still lives");
        tokio::task::yield_now().await;
    }
}

/// Where namespaces are forbidden.
fn plain() -> BoxSpec {
    let mut spec = spec();
    spec.has_namespaces = false;
    spec.network = Network::Host;
    spec
}

/// A text that only processes of one test have in their command lines.
fn mark() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    format!("mark{:016x}", RandomState::new().hash_one("mark"))
}

async fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::task::yield_now().await;
    }
}

/// A program in the box that goes on, with what it says and hears.
struct Shell {
    started: Started,
    said: pipe::Receiver,
    control: std::os::unix::net::UnixStream,
}

impl Running {
    /// `script`: gets the mark for `MARK`; what it reads under number 3 is what this end of the control socket says.
    async fn begins(&self, script: &str, mark: &str) -> Shell {
        let (said, theirs) = output();
        let (ours, control) = std::os::unix::net::UnixStream::pair().unwrap();
        let (control, errors): (OwnedFd, _) = (control.into(), theirs.try_clone().unwrap());
        let program = Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".to_owned(), script.replace("MARK", mark)],
            environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            directory: "/".into(),
        };
        let open = Open { output: &theirs, errors: &errors, control: Some(&control), into: None };
        let started = self.boxed.start(program, open).await.unwrap();
        Shell { started, said, control: ours }
    }
}

/// Daemons in each manner: another session, another parent, deaf, another program; and the box's own limit of file locks,
/// which nobody can lower.
const DAEMONS: &str = "trap '' TERM HUP INT; read go <&3; \
    for one in 1 2 3; do setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 0.05; done; : MARK' </dev/null >/dev/null 2>&1 & done; \
    (setsid sh -c 'prlimit --locks=1 2>/dev/null; exec sh -c \"while :; do sleep 0.05; done; : MARK\"' </dev/null >/dev/null 2>&1 &); \
    echo ready; read never <&3";

/// T-016: where there are no process numbers, what leaves its worker ends with it all the same, and nothing else does.
#[tokio::test]
async fn t_016_daemons_end_with_their_worker_without_namespaces() {
    let running = made(&plain()).await;
    let (one, other) = (mark(), mark());
    let mut shells = Vec::new();
    for mark in [&one, &other] {
        let mut shell = running.begins(DAEMONS, mark).await;
        let family = running.boxed.family(shell.started.process.group()).await.unwrap().expect("a mark");
        std::io::Write::write_all(&mut shell.control, b"go\n").unwrap();
        let mut ready = [0; 6];
        shell.said.read_exact(&mut ready).await.unwrap();
        until(|| count(mark) >= 5, "the shell and four daemons").await;
        shells.push((shell, family));
    }
    let (first, family) = shells.remove(0);
    // Its leader is gone before: there is no parent to follow any more.
    first.started.process.group().kill();
    first.started.process.ended().await.unwrap();
    assert!(lives(&one), "its group is not all");
    drop(family);
    until(|| !lives(&one), "something of the first worker still lives").await;
    // Those that have made daemons and end may still be there.
    until(|| count(&other) == 5, "the other worker has all of its own").await;
    // The keeper is alive, and the rest ends with the box.
    assert_eq!(running.says("echo here").await, "here\n[0]");
    running.boxed.clone().kill();
    until(|| !lives(&other), "something of the box still lives").await;
    running.port.await.unwrap();
}

/// T-013: where the system counts no memory, what has left its worker is counted all the same.
#[tokio::test]
async fn t_013_daemons_count_for_their_worker_without_namespaces() {
    let running = made(&plain()).await;
    let mark = mark();
    let mut shell = running.begins(DAEMONS, &mark).await;
    let group = shell.started.process.group();
    let _family = running.boxed.family(group).await.unwrap().expect("a mark");
    std::io::Write::write_all(&mut shell.control, b"go\n").unwrap();
    shell.said.read_exact(&mut [0; 6]).await.unwrap();
    until(|| count(&mark) >= 5, "the shell and four daemons").await;
    let leader = i32::try_from(group.leader()).unwrap();
    let before = numbers(&mark);
    let counted = Watchdog::new(leader).processes();
    let daemons: Vec<i32> = numbers(&mark).into_iter().filter(|one| before.contains(one)).collect();
    assert!(daemons.iter().all(|daemon| counted.contains(daemon)), "{daemons:?} {counted:?}");
    let keeper = parent(leader);
    let is_orphan = |daemon: &&i32| parent(**daemon) == keeper && **daemon != leader;
    assert!(daemons.iter().filter(is_orphan).count() >= 1, "none has left the tree");
    assert!(!counted.contains(&keeper.as_raw_nonzero().get()));
}

/// T-016: one that forks and ends over and over is found all the same.
#[tokio::test]
async fn t_016_what_runs_away_ends_with_its_worker_without_namespaces() {
    let running = made(&plain()).await;
    let script = "read go <&3; run() { run & }; (setsid sh -c 'run() { run & }; run; : MARK' </dev/null 2>/dev/null &); \
        echo ready; read never <&3";
    let mut shell = running.begins(script, "runner").await;
    let family = running.boxed.family(shell.started.process.group()).await.unwrap().expect("a mark");
    std::io::Write::write_all(&mut shell.control, b"go\n").unwrap();
    shell.said.read_exact(&mut [0; 6]).await.unwrap();
    let began = processes_begun();
    until(|| processes_begun() > began + 200, "it does not run").await;
    drop(family);
    // Whatever of it lives has this open; looking for its number would come too late each time.
    let mut rest = Vec::new();
    let closed = shell.said.read_to_end(&mut rest);
    tokio::time::timeout(std::time::Duration::from_secs(60), closed).await.expect("it still runs").unwrap();
}

/// T-016: a keeper that is ended by force leaves nothing behind, either.
#[tokio::test]
async fn t_016_a_box_without_namespaces_ends_with_its_keeper() {
    let running = made(&plain()).await;
    let mark = mark();
    let mut shell = running.begins(DAEMONS, &mark).await;
    std::io::Write::write_all(&mut shell.control, b"go\n").unwrap();
    shell.said.read_exact(&mut [0; 6]).await.unwrap();
    let shell_number = rustix::process::Pid::from_raw(shell.started.number).unwrap();
    let keeper = parent(shell_number.as_raw_nonzero().get());
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    running.port.await.unwrap();
    until(|| !lives(&mark), "something of the box still lives").await;
}

fn parent(process: i32) -> rustix::process::Pid {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let parent = text.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap();
    rustix::process::Pid::from_raw(parent.parse().unwrap()).unwrap()
}

/// How many processes the machine has begun (proc_stat(5)).
fn processes_begun() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap();
    text.lines().find_map(|line| line.strip_prefix("processes ")).unwrap().parse().unwrap()
}

/// Whether there is a process that has the text in its command line.
fn lives(text: &str) -> bool {
    count(text) > 0
}

fn count(text: &str) -> usize {
    numbers(text).len()
}

fn numbers(text: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let says = |number: &i32| {
        let command = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(text)
    };
    numbers.filter(says).collect()
}

/// A cell has what the box left in `/tmp`, and what is written there later stays its own.
#[tokio::test]
async fn a_cell_begins_with_the_temporary_files_of_its_box() {
    let running = made(&spec()).await;
    running
        .says("mkdir /tmp/kept; echo content > /tmp/kept/file; ln -s file /tmp/kept/link; mkfifo /tmp/pipe")
        .await;
    let cell = running.boxed.cell().await.unwrap();
    // The cell's process 1 has left nothing open, so its mounts are looked at through their own descriptor.
    let entered = std::process::Command::new("nsenter")
        .arg(format!("--mount=/proc/self/fd/{}", inherited(&cell.mounts)))
        .args([
            "sh",
            "-c",
            "cat /tmp/kept/file; readlink /tmp/kept/link; ls /tmp; ls /proc | grep -c '^[0-9]'",
        ])
        .output();
    if rustix::process::geteuid().as_raw() != 0 {
        eprintln!("skipped: only root can look into a cell from outside");
        return;
    }
    let said = String::from_utf8(entered.unwrap().stdout).unwrap();
    assert!(said.starts_with("content\nfile\nkept\n"), "{said}");
    cell.kill();
}

fn inherited(descriptor: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd as _;
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty()).unwrap();
    descriptor.as_raw_fd()
}

/// A step that fails names itself.
#[tokio::test]
async fn what_can_not_be_started_is_named() {
    let running = made(&spec()).await;
    let (_output, theirs) = output();
    let (_ours, control) = std::os::unix::net::UnixStream::pair().unwrap();
    let (control, errors): (OwnedFd, _) = (control.into(), theirs.try_clone().unwrap());
    let program = Program {
        path: "/nowhere/python".into(),
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        directory: "/".into(),
    };
    let open = Open { output: &theirs, errors: &errors, control: Some(&control), into: None };
    let error = running.boxed.start(program, open).await.unwrap_err();
    assert_eq!(error.to_string(), "a box could not be made: can't start /nowhere/python");
    assert_eq!(error.code(), "E0620");
    running.boxed.kill();
    running.port.await.unwrap();
    assert!(matches!(made_again(&running.boxed).await, BoxError::Gone));
}

async fn made_again(boxed: &Boxed) -> BoxError {
    boxed.cell().await.unwrap_err()
}

/// T-016: when the machine has no memory left functions go first, and can't change that.
#[tokio::test]
async fn t_016_functions_go_first() {
    let rights = rustix::thread::capabilities(None).unwrap().effective;
    if !rights.contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        eprintln!("skipped: without CAP_SYS_RESOURCE what is written can be lowered");
        return;
    }
    let said =
        made(&spec()).await.says("echo 0 2>&1 >/proc/self/oom_score_adj; cat /proc/self/oom_score_adj").await;
    assert!(said.ends_with("500\n[0]"), "{said}");
}

/// The end of the maker is noticed although a box of its making lives on, and both are of use.
#[tokio::test]
async fn a_maker_that_is_gone_is_replaced() {
    let boxes = Boxes::new(PathBuf::from(env!("CARGO_BIN_EXE_box-maker")));
    let (first, port) = boxes.make(&spec()).await.unwrap();
    let first = Running { boxed: first, port: tokio::spawn(port.run()) };
    let maker = rustix::process::Pid::from_raw(maker_of_this_process()).unwrap();
    rustix::process::kill_process(maker, rustix::process::Signal::KILL).unwrap();
    let again = tokio::time::timeout(std::time::Duration::from_secs(20), boxes.make(&spec())).await;
    let (second, port) = again.expect("the former maker is waited for").unwrap();
    let second = Running { boxed: second, port: tokio::spawn(port.run()) };
    assert_eq!(second.says("echo second").await, "second\n[0]");
    assert_eq!(first.says("echo first").await, "first\n[0]");
}

fn maker_of_this_process() -> i32 {
    let own = std::process::id().to_string();
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_maker = |number: &i32| {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{number}/{name}")).unwrap_or_default();
        let parent =
            read("stat").rsplit(')').next().and_then(|rest| Some(rest.split_whitespace().nth(1)?.to_owned()));
        parent.is_some_and(|parent| parent == own) && read("cmdline").contains(ingle_sandbox::boxes::ARGUMENT)
    };
    numbers.find(is_maker).unwrap()
}
