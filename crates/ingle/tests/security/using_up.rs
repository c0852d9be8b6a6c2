//! What functions use up: processes, memory, disks, descriptors, time, and the patience of whoever reads.

use std::fs;

use ingle_testkit::Response;
use serde_json::json;

use crate::gvisor;
use crate::stage::{Class, Stage, User};

pub(crate) fn all(stage: &mut Stage) {
    processes(stage);
    memory_bombs(stage);
    disks(stage);
    descriptors(stage);
    time(stage);
    words(stage);
    stage.row(
        "T-020",
        "register thousands of functions",
        "tested in `scenarios::limits`, and measured in docs/performance.md",
    );
    stage.row(
        "T-022",
        "fill the disk of the host",
        "what the store does then is tested in `crates/store/src/tests/failures.rs`",
    );
}

fn processes(stage: &mut Stage) {
    const FORKS: &str = "fork until that is refused";
    const STORM: &str = "fork in a storm in which nobody counts";
    if stage.class == Class::Gvisor {
        gvisor::ends_alone(stage, ("T-012", FORKS), ("app", "bombs/forks"));
        gvisor::ends_alone(stage, ("T-012", STORM), ("hurried", "bombs/fork_storm"));
        return;
    }
    let before = stage.processes().len();
    let answer = stage.beside_the_neighbour("forks until refused", |stage| {
        let answer = stage.answer("bombs/forks", &json!({}));
        stage.call("app", "survivors/end", &json!({}));
        answer
    });
    // What it forks while it is moved from the group of its box to its own, under the same limit of 128, counts in both. Where
    // there are no groups, the user of the box has that limit.
    let most = if stage.has_limits { 128 + 64 } else { 128 };
    assert!(answer["born"].as_u64().is_some_and(|born| born > 50 && born < most), "{answer}");
    assert_eq!(answer["refused"], "EAGAIN");
    stage.row("T-012", FORKS, "limited");
    let storm = stage.beside_the_neighbour("a storm of forks", |stage| {
        stage.call("hurried", "bombs/fork_storm", &json!({}))
    });
    assert!(storm.status == 504 && storm.text().contains("E0302"), "{}", storm.text());
    stage.row("T-012", STORM, "limited, ends at the time limit");
    stage.works();
    let server = stage.server.process_id();
    stage.server.events().look_until("the end of the bombs", || {
        (crate::stage::descendants(server).len() < before + 10).then_some(())
    });
}

fn memory_bombs(stage: &mut Stage) {
    stage.renew("app");
    let bombs = [
        ("bytes_without_end", "large pieces"),
        ("many_small", "many small pieces"),
        ("shared_mapping", "shared mappings"),
        ("memory_files", "files in memory"),
        ("children", "a child that takes it"),
    ];
    for (bomb, manner) in bombs {
        let what = format!("take memory without end: {manner}");
        let zygote = stage.zygote("app");
        let ended = stage
            .beside_the_neighbour(&what, |stage| stage.call("app", &format!("bombs/{bomb}"), &json!({})));
        memory_told(&ended, bomb);
        stage.works();
        // Where the server looks at the memory itself, what the worker was forked from has not to pay for it.
        assert!(stage.has_limits || stage.zygote("app") == zygote, "{bomb}: the zygote is another one");
        stage.row("T-013", &what, "ends alone: MemoryLimitExceeded, with the peak");
    }
    for (bomb, folder) in [("shared_folder", "/dev/shm"), ("temporary_folder", "/tmp")] {
        let answer = stage.answer(&format!("bombs/{bomb}"), &json!({}));
        let fits = answer["refused"] == "ENOSPC" && answer["written"].as_u64() <= Some(16 << 20);
        assert!(fits, "{bomb}: {answer}");
        stage.row("T-013", &format!("fill {folder}"), "limited");
    }
    shared(stage);
}

pub(crate) fn memory_told(ended: &Response, bomb: &str) {
    let text = ended.text();
    assert!(ended.status >= 500 && text.contains("E0314"), "{bomb}: {} {text}", ended.status);
    assert!(text.contains("MemoryLimitExceeded") && text.contains("MB of its 256 MB"), "{bomb}: {text}");
}

/// Shared memory of System V is there until it is removed, whoever made it.
fn shared(stage: &mut Stage) {
    const PIECE: u64 = 150 << 20;
    stage.renew("app");
    let before = shared_bytes();
    // Under gVisor each takes a second or two: one more than is compared with.
    let rounds = if stage.class == Class::Gvisor { 4 } else { 6 };
    for number in 0..rounds {
        if number == 3 && rounds > 4 {
            stage.renew("app");
        }
        stage.call("app", "bombs/system_v", &json!({"bytes": PIECE}));
        stage.works();
    }
    let fits = || (shared_bytes() < before + 3 * PIECE).then_some(());
    stage.server.events().look_until("the end of shared memory whose workers are gone", fits);
    stage.row("T-013", "leave shared memory behind, worker after worker", "stopped");
}

/// Of the whole machine, so other programs may change it, though hardly by so much.
fn shared_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Shmem:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn disks(stage: &mut Stage) {
    const FILES: &str = "make files without end in /tmp";
    stage.renew("app");
    if stage.class == Class::Gvisor {
        let ended = stage.call("hurried", "bombs/files", &json!({}));
        assert!(ended.status == 504 && ended.text().contains("E0302"), "{}", ended.text());
        const WHY: &str = "gVisor bounds the bytes in a folder in memory; what it needs for a file counts as its worker's memory";
        stage.differs("T-014", FILES, "ends at the time limit", WHY);
    } else {
        let answer = stage.answer("bombs/files", &json!({}));
        assert_eq!(answer["refused"], "ENOSPC", "{answer}");
        stage.row("T-014", FILES, "limited");
    }
    stage.call("app", "survivors/end", &json!({}));
    const MOST: u64 = 64 << 20;
    let answer = stage.answer("bombs/spool_folder", &json!({"most": MOST}));
    let result = if answer["refused"].is_null() { "possible: up to the size of the disk" } else { "limited" };
    stage.row("T-014", "fill the folder for large outputs, which is on the disk of the host", result);
}

fn descriptors(stage: &mut Stage) {
    const THREADS: &str = "start threads without end";
    // Those of gVisor are bounded as descriptors only, and none of them is one of the machine's.
    let watches = if stage.class == Class::Gvisor { 256 } else { 64 };
    for (bomb, most, what) in [
        ("descriptors", 256, "open descriptors without end"),
        ("sockets", 256, "open sockets without end"),
        ("watches", watches, "watch files without end"),
    ] {
        let answer = stage.answer(&format!("bombs/{bomb}"), &json!({}));
        let made = answer["made"].as_u64();
        assert!(answer["refused"] == "EMFILE" && made > Some(0) && made <= Some(most), "{bomb}: {answer}");
        stage.row("T-017", what, "limited");
    }
    // What one uses up must not be what the others of the machine have.
    let watch = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC);
    assert!(watch.is_ok(), "the functions have used up the watches of the machine");
    if stage.class == Class::Gvisor {
        gvisor::ends_alone(stage, ("T-017", THREADS), ("hurried", "bombs/threads"));
        return;
    }
    let answer = stage
        .beside_the_neighbour("threads until refused", |stage| stage.answer("bombs/threads", &json!({})));
    assert!(answer["refused"].is_string() && answer["started"].as_u64() < Some(128), "{answer}");
    stage.row("T-017", THREADS, "limited");
}

fn time(stage: &mut Stage) {
    for (bomb, what) in [
        ("bombs/spin", "never end"),
        ("bombs/spin_in_c", "never end in one call of C that holds the interpreter"),
        ("bombs/sleep", "sleep for ever"),
        ("bombs/deaf", "take no signal"),
        ("survivors/stop_all", "stop itself and all that it can signal"),
    ] {
        let ended = stage.beside_the_neighbour(what, |stage| stage.call("hurried", bomb, &json!({})));
        assert!(
            ended.status == 504 && ended.text().contains("E0302"),
            "{bomb}: {} {}",
            ended.status,
            ended.text()
        );
        stage.row("T-015", what, "ends at the time limit");
    }
    let next = stage.server.get_of("hurried", "/api/pid");
    assert_eq!(next.status, 200, "{}", next.text());
    stage.row("T-021", "keep a neighbour waiting", "it answers each call; times are printed");
}

fn words(stage: &mut Stage) {
    // Once is enough for as much as that.
    let megabytes = if (stage.class, stage.user) == (Class::Default, User::Root) { 100 } else { 20 };
    let line = format!("write a line of {megabytes} MB");
    for (flood, arguments, what) in [
        ("lines", json!({"lines": 5000}), "print and log thousands of lines"),
        ("garbage", json!({}), "write what is no text"),
        ("one_line", json!({"megabytes": megabytes}), line.as_str()),
        ("one_message", json!({"bytes": 8 << 20}), "print a message of megabytes"),
    ] {
        let before = resident(stage.server.process_id());
        let answer = stage
            .beside_the_neighbour(what, |stage| stage.call("app", &format!("floods/{flood}"), &arguments));
        assert_eq!(answer.status, 200, "{flood}: {}", answer.text());
        let grown = resident(stage.server.process_id()).saturating_sub(before);
        let result = if grown < 100 << 20 { "the server's memory stays" } else { "REACHED: memory grows" };
        stage.row("T-018", what, result);
    }
}

fn resident(process: u32) -> u64 {
    memory(process, "VmRSS:")
}

/// The most that a process has ever had.
pub(crate) fn memory_peak(process: u32) -> u64 {
    memory(process, "VmHWM:")
}

fn memory(process: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
