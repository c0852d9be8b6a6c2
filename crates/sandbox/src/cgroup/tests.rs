//! Against the kernel of this machine. What it can't do, or not for this user, is skipped with the reason.
//!
//! Each runs once with all that is found and once without v2, so that a machine that has both shows both.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::*;

const MEBIBYTE: u64 = 1024 * 1024;
const LONG: Duration = Duration::from_secs(60);

/// What moves this process, if anything does, happens before the first test starts another.
fn hierarchies() -> Hierarchies {
    static MOVED: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    MOVED.get_or_init(|| drop(Cgroups::open("test-first")));
    Hierarchies::find()
}

/// Control groups for a test, once for each way in which this machine can give all that is needed.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn each_way(name: &str, needed: &[Controller]) -> Vec<Cgroups> {
    let all = hierarchies();
    let ways = [("all", all.clone()), ("v1", all.without_v2())];
    let open = |(way, hierarchies): &(&str, Hierarchies)| {
        let opened = Cgroups::open_in(hierarchies, &format!("test-{name}-{way}"));
        let opened = opened.map_err(|missing| missing.to_string()).and_then(|cgroups| {
            let lacking = needed.iter().find(|controller| !cgroups.is_usable(**controller));
            match lacking {
                None => Ok(cgroups),
                Some(lacking) => Err(format!("no {lacking}: {}", reasons(&cgroups.report))),
            }
        });
        opened.inspect_err(|reason| eprintln!("skipped: {name} with {way}: {reason}")).ok()
    };
    ways.iter().filter_map(open).collect()
}

/// A shell that is in the leaf before it runs.
fn shell(leaf: &Leaf, script: &str) -> Child {
    let entrance = leaf.entrance();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // SAFETY: it only writes to descriptors that are open, which is async-signal-safe.
    #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
    unsafe {
        command.pre_exec(move || entrance.enter());
    }
    command.spawn().unwrap()
}

/// Waits for a condition that the kernel or a child brings about.
async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::task::yield_now().await;
    }
}

fn processes(leaf: &Leaf) -> Vec<i32> {
    files::processes_below(&leaf.group(Controller::Kill).unwrap().folder)
}

#[expect(clippy::print_stderr, reason = "the answer differs from machine to machine")]
#[tokio::test]
async fn the_report_has_a_word_for_each() {
    let (Ok(report) | Err(Missing { report })) =
        Cgroups::open_in(&hierarchies(), "test-report").map(|cgroups| cgroups.report());
    let controllers: Vec<Controller> = report.iter().map(|(controller, _)| *controller).collect();
    assert_eq!(controllers, Controller::ALL);
    for (controller, result) in report {
        eprintln!("{controller}: {result:?}");
        assert!(result.is_ok() || result.is_err_and(|reason| reason.len() > 10));
    }
}

/// T-013: who takes too much memory is ended, and it can be said why.
#[tokio::test]
async fn a_memory_bomb_is_ended_and_named() {
    for cgroups in each_way("memory", &[Controller::Memory, Controller::Kill]) {
        let limits = Limits { memory: Some(64 * MEBIBYTE), ..Limits::default() };
        let leaf = cgroups.leaf("bomb", &limits).unwrap();
        assert_eq!(leaf.out_of_memory(), None);
        // Dropped and called again, as a `select!` does it.
        assert!(timeout(Duration::ZERO, leaf.oom_happened()).await.is_err());
        // A line without an end is kept in memory by `tail`.
        let mut bomb = shell(&leaf, "sleep 600 & head -c 256M /dev/zero | tail; wait");
        timeout(LONG, leaf.oom_happened()).await.unwrap();
        timeout(LONG, leaf.oom_happened()).await.unwrap();
        leaf.kill().await.unwrap();
        assert!(!bomb.wait().await.unwrap().success());
        let out = leaf.out_of_memory().unwrap();
        assert_eq!(out.limit_bytes, Some(64 * MEBIBYTE));
        assert!(
            out.kills >= 1 && out.peak_bytes <= 64 * MEBIBYTE && out.peak_bytes > 60 * MEBIBYTE,
            "{out:?}"
        );
        assert!(processes(&leaf).is_empty());
        leaf.remove().await.unwrap();
    }
}

/// T-012: processes are counted, and no more are made than there may be.
#[tokio::test]
async fn a_fork_bomb_comes_no_further_than_the_limit() {
    for cgroups in each_way("forks", &[Controller::Pids, Controller::Kill]) {
        let leaf = cgroups.leaf("bomb", &Limits { pids: Some(32), ..Limits::default() }).unwrap();
        // The shell gives up when it can't fork; its children stay.
        let mut bomb = shell(&leaf, "while :; do sleep 600 & done");
        let mut most = 0;
        wait_for("the shell can't fork", || {
            most = most.max(leaf.usage().pids.unwrap());
            bomb.try_wait().unwrap().is_some()
        })
        .await;
        assert!(most <= 32, "{most}");
        assert_eq!(leaf.usage().pids, Some(31));
        leaf.kill().await.unwrap();
        // The counter may still have them, as it does until somebody has taken their exit status.
        assert!(processes(&leaf).is_empty());
        leaf.remove().await.unwrap();
    }
}

/// T-021: who gives way has the processor only when nobody else wants it, and gets back what it had.
#[tokio::test]
async fn a_leaf_gives_way_to_others_and_no_longer() {
    for cgroups in each_way("way", &[Controller::Cpu, Controller::CpuTime]) {
        let limits = Limits { cpu_weight: Some(200), ..Limits::default() };
        let leaf = cgroups.leaf("busy", &limits).unwrap();
        let other = cgroups.leaf("other", &Limits::default()).unwrap();
        let group = leaf.group(Controller::Cpu).unwrap();
        let (file, own) =
            if group.version == Version::V1 { ("cpu.shares", 2048) } else { ("cpu.weight", 200) };
        let weight = || files::number(&group.folder, file).unwrap();
        assert_eq!(weight(), own);
        leaf.give_way(true).unwrap();
        assert!(weight() < own / 50, "{}", weight());
        // Both on one processor, so that they are in each other's way.
        let spin = "taskset -cp 0 $$ && while :; do :; done";
        let mut spinning = [shell(&leaf, spin), shell(&other, spin)];
        wait_for("the other has had the processor", || other.cpu_time() > Some(Duration::from_millis(500)))
            .await;
        let (least, most) = (leaf.cpu_time().unwrap(), other.cpu_time().unwrap());
        assert!(least < most / 4, "{least:?} of {most:?}");
        leaf.give_way(false).unwrap();
        assert_eq!(weight(), own);
        for shell in &mut spinning {
            shell.kill().await.unwrap();
        }
    }
}

/// T-016: nothing escapes, neither by a session of its own, nor by ignoring signals, nor by forking all the time.
#[tokio::test]
async fn kill_ends_daemons_and_what_keeps_forking() {
    let stubborn = "trap '' TERM HUP INT; (setsid sh -c 'while :; do sleep 600; done' &) & exit 0";
    let forking = "loop() { while :; do sh -c 'sh -c : & sh -c : &'; done; }; loop & loop & loop & loop";
    for cgroups in each_way("kill", &[Controller::Kill, Controller::Pids]) {
        let limits = Limits { pids: Some(64), ..Limits::default() };
        let leaf = cgroups.leaf("daemons", &limits).unwrap();
        assert!(shell(&leaf, stubborn).wait().await.unwrap().success());
        // Each of the loops has left its parent by now, or will.
        let mut busy = shell(&leaf, forking);
        wait_for("all run", || processes(&leaf).len() > 8).await;
        leaf.kill().await.unwrap();
        assert!(processes(&leaf).is_empty());
        assert!(!busy.wait().await.unwrap().success());
        // Killing nobody is fine.
        leaf.kill().await.unwrap();
        leaf.remove().await.unwrap();
    }
}

/// What kernels without a file for it need, in both versions.
#[tokio::test]
async fn a_group_is_killed_while_it_is_frozen() {
    for cgroups in each_way("frozen", &[Controller::Kill]) {
        let leaf = cgroups.leaf("one", &Limits::default()).unwrap();
        let mut child = shell(&leaf, "trap '' TERM; sleep 600 & while :; do sh -c :; done");
        wait_for("all run", || processes(&leaf).len() > 1).await;
        let group = leaf.group(Controller::Kill).unwrap();
        wait_for("none is left", || {
            kill::pass_frozen(&group.folder, group.version).unwrap();
            processes(&leaf).is_empty()
        })
        .await;
        assert!(!child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_running_process_is_attached_and_accounted() {
    for cgroups in each_way("attach", &Controller::ALL) {
        let limits =
            Limits { memory: Some(64 * MEBIBYTE), cpu_weight: Some(50), cpu_quota: Some(0.5), pids: Some(8) };
        let outside = cgroups.leaf("outside", &Limits::default()).unwrap();
        let leaf = cgroups.leaf("inside", &limits).unwrap();
        let mut child = shell(&outside, "while :; do :; done");
        let process = child.id().unwrap();
        leaf.attach(process).unwrap();
        assert_eq!(processes(&leaf), [i32::try_from(process).unwrap()]);
        assert!(processes(&outside).is_empty());
        wait_for("it works", || leaf.usage().cpu_time.unwrap() > Duration::from_millis(20)).await;
        let usage = leaf.usage();
        assert_eq!(usage.pids, Some(1));
        assert!(usage.memory_bytes.is_some() && usage.peak_bytes >= usage.memory_bytes, "{usage:?}");
        leaf.kill().await.unwrap();
        child.wait().await.unwrap();
        assert!(leaf.attach(process).is_err());
        assert_eq!(leaf.attach(0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn what_is_dropped_while_it_runs_is_ended_and_swept() {
    for cgroups in each_way("drop", &[Controller::Kill]) {
        let folders: Vec<_> = cgroups.shared.parents.iter().map(|parent| parent.folder.clone()).collect();
        let leaf = cgroups.leaf("one", &Limits::default()).unwrap();
        assert_eq!(cgroups.leaf("one", &Limits::default()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let mut child = shell(&leaf, "trap '' TERM; while :; do sleep 600; done");
        drop(leaf);
        assert!(!child.wait().await.unwrap().success());
        wait_for("all is swept", || cgroups.sweep() == 0).await;
        // The name is free again, and so it is without a sweep.
        let leaf = cgroups.leaf("one", &Limits::default()).unwrap();
        drop(cgroups);
        // The last leaf keeps the folder.
        assert!(folders.iter().all(|folder| folder.exists()));
        leaf.remove().await.unwrap();
        assert!(!folders.iter().any(|folder| folder.exists()));
    }
}

#[tokio::test]
async fn groups_made_inside_of_a_leaf_go_with_it() {
    for cgroups in each_way("inner", &[Controller::Kill]) {
        let leaf = cgroups.leaf("one", &Limits::default()).unwrap();
        let inner = leaf.group(Controller::Kill).unwrap().folder.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        let mut child = shell(&leaf, "while :; do sleep 600; done");
        files::write(&inner, "cgroup.procs", &child.id().unwrap().to_string()).unwrap();
        leaf.kill().await.unwrap();
        assert!(!child.wait().await.unwrap().success());
        leaf.remove().await.unwrap();
        assert!(!inner.exists());
    }
}

#[tokio::test]
async fn bad_names_and_limits_leave_nothing_behind() {
    for cgroups in each_way("bad", &[Controller::Memory]) {
        for name in ["", ".", "..", "a/b", "cgroup.procs", "ü", &"x".repeat(65)] {
            let error = cgroups.leaf(name, &Limits::default()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
        // Passes our check, but no kernel has such a file for it: the largest number is refused.
        let limits = Limits { pids: Some(u64::MAX), ..Limits::default() };
        assert!(cgroups.leaf("one", &limits).is_err());
        for parent in &cgroups.shared.parents {
            assert_eq!(files::folders_in(&parent.folder), Vec::<std::path::PathBuf>::new());
            assert!(!parent.leaf("one").exists());
        }
    }
}

#[tokio::test]
async fn folders_of_dead_servers_are_swept_and_those_of_living_ones_stay() {
    for (number, cgroups) in each_way("base", &[Controller::Kill]).into_iter().enumerate() {
        let parent = cgroups.shared.parents.first().unwrap();
        let base = parent.folder.parent().unwrap();
        let name = format!("test-left-over-{number}");
        let folder = |process: u32| base.join(format!("{name}-{process}"));
        let mut ended = Command::new("/bin/true").spawn().unwrap();
        let dead = folder(ended.id().unwrap());
        ended.wait().await.unwrap();
        // Its number is not given again soon; if it is, the folder stays, and the test says so.
        std::fs::create_dir_all(dead.join("leaf")).unwrap();
        // In the tree of the processor leaves are beside it.
        let beside = |folder: &Path| folder.with_extension("worker-1");
        std::fs::create_dir(beside(&dead)).unwrap();
        let living = folder(1);
        std::fs::create_dir(&living).unwrap();
        let unrelated = base.join(format!("{name}-not-a-number"));
        std::fs::create_dir(&unrelated).unwrap();

        let hierarchies = if number == 0 { hierarchies() } else { hierarchies().without_v2() };
        let opened = Cgroups::open_in(&hierarchies, &name).unwrap();
        let left = [dead.exists() || beside(&dead).exists(), living.exists(), unrelated.exists()];
        // A server that has no process with this number in our namespace may live in another.
        let locked = folder(u32::MAX);
        std::fs::create_dir(&locked).unwrap();
        std::fs::create_dir(beside(&locked)).unwrap();
        let lock = std::fs::File::open(&locked).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        parent::sweep_left_over(base, &parent::folder_prefix(&name));
        let stays = locked.exists() && beside(&locked).exists();
        drop(lock);
        parent::sweep_left_over(base, &parent::folder_prefix(&name));
        let goes = !locked.exists() && !beside(&locked).exists();
        drop(opened);
        for folder in [&dead, &living, &unrelated, &locked, &beside(&dead), &beside(&locked)] {
            files::remove_tree(folder).unwrap();
        }
        assert_eq!((left, stays, goes), ([false, true, true], true, true));
    }
}

#[tokio::test]
async fn two_of_the_same_name_do_not_take_each_others_folders() {
    for cgroups in each_way("same", &[Controller::Memory]).into_iter().take(1) {
        let (Ok(report) | Err(Missing { report })) =
            Cgroups::open("test-same-all").map(|second| second.report());
        let memory = report.iter().find(|(controller, _)| *controller == Controller::Memory);
        let reason = memory.unwrap().1.clone().unwrap_err();
        assert!(reason.contains("File exists"), "{reason}");
        assert!(cgroups.shared.parents.iter().all(|parent| parent.folder.exists()));
    }
}

/// The file that v2 has for memory can be polled as this one, which a machine with both versions has too.
#[tokio::test]
async fn a_change_of_a_file_of_events_is_noticed() {
    for cgroups in each_way("events", &[Controller::Kill]) {
        let leaf = cgroups.leaf("one", &Limits::default()).unwrap();
        let group = leaf.group(Controller::Kill).unwrap();
        if group.version == Version::V1 {
            continue;
        }
        let watch = oom::Watch::events(&group.folder.join("cgroup.events")).unwrap();
        assert!(timeout(Duration::ZERO, watch.changed()).await.is_err());
        let mut child = shell(&leaf, "while :; do sleep 600; done");
        timeout(LONG, watch.changed()).await.unwrap().unwrap();
        assert!(timeout(Duration::ZERO, watch.changed()).await.is_err());
        leaf.kill().await.unwrap();
        timeout(LONG, watch.changed()).await.unwrap().unwrap();
        child.wait().await.unwrap();
    }
}

#[tokio::test]
async fn the_watchdog_sees_what_has_left_its_parent() {
    hierarchies();
    let mut command = Command::new("/bin/sh");
    let script = "sh -c 'sh -c \"head -c 64M /dev/zero | tail; sleep 600\" & sleep 600' & wait";
    command.args(["-c", script]).stdout(Stdio::null()).kill_on_drop(true).process_group(0);
    let mut child = command.spawn().unwrap();
    let leader = i32::try_from(child.id().unwrap()).unwrap();
    let mut watchdog = watchdog::Watchdog::new(leader);
    let mut found = None;
    wait_for("it is over the limit", || {
        found = watchdog.over(32 * MEBIBYTE);
        found.is_some()
    })
    .await;
    let found = found.unwrap();
    assert!(found.processes.len() > 2 && found.memory_bytes > 32 * MEBIBYTE, "{found:?}");
    // Only the leader ends; the others become orphans, and are known.
    child.kill().await.unwrap();
    assert!(watchdog.processes().len() > 1);
    assert!(!watchdog.processes().contains(&leader));
    let group = rustix::process::Pid::from_raw(leader).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    wait_for("all have ended", || watchdog.processes().is_empty()).await;
    assert!(!Path::new("/proc").join(leader.to_string()).exists());
}

/// Run by hand: `cargo test -p ingle-sandbox --release figures -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn figures() {
    for cgroups in each_way("figures", &[Controller::Memory, Controller::Kill]) {
        measure(&cgroups, 200, Duration::ZERO).await;
        // The kernel makes attaching cheaper for a while after each, so alone it costs more.
        measure(&cgroups, 50, Duration::from_millis(100)).await;
    }
}

#[expect(clippy::print_stderr, reason = "figures are for reading")]
async fn measure(cgroups: &Cgroups, rounds: usize, pause: Duration) {
    let limits =
        Limits { memory: Some(64 * MEBIBYTE), cpu_weight: Some(100), cpu_quota: Some(1.0), pids: Some(64) };
    let mut spans: [Vec<Duration>; 5] = Default::default();
    for round in 0..rounds {
        tokio::time::sleep(pause).await;
        let mut child = Command::new("/bin/sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let mut last = Instant::now();
        let mut lap = |step: usize| {
            let now = Instant::now();
            spans[step].push(now - last);
            last = now;
        };
        let leaf = cgroups.leaf(&format!("leaf-{round}"), &limits).unwrap();
        lap(0);
        leaf.attach(child.id().unwrap()).unwrap();
        lap(1);
        std::hint::black_box(leaf.usage());
        lap(2);
        leaf.kill().await.unwrap();
        lap(3);
        leaf.remove().await.unwrap();
        lap(4);
        child.wait().await.unwrap();
    }
    eprintln!("{} trees, {pause:?} between:", cgroups.shared.parents.len());
    for (what, mut span) in ["make", "attach", "usage", "kill", "remove"].into_iter().zip(spans) {
        span.sort();
        eprintln!("  {what}: median {:?}, 99 of 100 {:?}", span[rounds / 2], span[rounds * 99 / 100]);
    }
}
