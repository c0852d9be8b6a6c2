//! How workers end, and that nothing of them stays.

use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use tokio::time::Instant;

use ingle_testkit::DEADLINE;
use serde_json::json;

use crate::stage::{Class, Stage};

pub(crate) fn all(stage: &mut Stage) {
    survivors(stage);
    endings(stage);
}

/// A name for processes that the host can find them by.
pub(crate) fn mark() -> String {
    format!("atk{:08x}", RandomState::new().hash_one("mark") as u32)
}

/// Processes of this name that are still there after a while.
pub(crate) fn wait_until_gone(mark: &str) -> Vec<String> {
    let until = Instant::now() + DEADLINE / 6;
    loop {
        let left = marked(mark);
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
}

/// Of these processes, those that still run after a while.
pub(crate) fn wait_until_ended(processes: &[u32]) -> Vec<u32> {
    let until = Instant::now() + DEADLINE / 6;
    // One that has ended and for whose status nobody asks does nothing any more.
    let runs = |number: &u32| {
        let text = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    loop {
        let left: Vec<u32> = processes.iter().copied().filter(runs).collect();
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
}

fn marked(mark: &str) -> Vec<String> {
    // A program that may not write its own name has the mark among its words.
    let says = |path: &std::path::Path, file: &str| {
        let text = fs::read(path.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&text).contains(mark)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter(|path| says(path, "comm") || says(path, "cmdline"))
        .map(|path| path.display().to_string())
        .collect()
}

/// T-016: daemons, deaf ones, and programs end with the worker, whatever ends that.
fn survivors(stage: &mut Stage) {
    for (app, end, what) in [
        ("app", "survivors/end", "leave daemons behind when the worker ends itself"),
        ("app", "endings/crash", "leave daemons behind when the worker crashes"),
        ("hurried", "bombs/sleep", "leave daemons behind when the time is up"),
    ] {
        let mark = mark();
        let before = stage.processes();
        // Under gVisor a program can't name itself.
        let named = if stage.class == Class::Gvisor { 4 } else { 5 };
        let arguments = json!({"mark": mark, "named": named});
        let seen = stage.call(app, "survivors/daemons", &arguments).status(200).json();
        assert!(seen["seen"].as_u64() >= Some(named), "all of them came to be: {seen}");
        if stage.class == Class::Gvisor {
            // The host sees no names, but those that came with them.
            let others: Vec<u32> =
                stage.processes().into_iter().filter(|one| !before.contains(one)).collect();
            assert!(others.len() >= 4, "the host sees them, too: {others:?}");
            stage.call(app, end, &json!({}));
            let left = wait_until_ended(&others);
            stage.row(
                "T-016",
                what,
                if left.is_empty() { "stopped".to_owned() } else { format!("REACHED: {left:?}") },
            );
            continue;
        }
        // A shell is seen twice while it forks, so one may have been on its way yet.
        assert!(marked(&mark).len() >= 4, "the host sees them, too");
        stage.call(app, end, &json!({}));
        let left = wait_until_gone(&mark);
        stage.row(
            "T-016",
            what,
            if left.is_empty() { "stopped".to_owned() } else { format!("REACHED: {left:?}") },
        );
    }
    let answer = stage.answer("survivors/thread_behind", &json!({}));
    assert!(answer["threads"].as_u64() > Some(1), "{answer}");
    stage.row("T-016", "let a thread go on after the answer", "possible, for as long as the worker lives");
}

/// T-087: each is told in its own way, and the next call is answered.
fn endings(stage: &mut Stage) {
    for (number, (ending, status, part, what)) in [
        ("exit_at_once", 502, "E0303", "call os._exit"),
        ("exit_python", 500, "SystemExit", "call sys.exit"),
        ("raise_base", 500, "BaseException", "raise BaseException"),
        ("raise_interrupt", 500, "KeyboardInterrupt", "raise KeyboardInterrupt"),
        ("crash", 502, "SIGSEGV", "crash"),
        ("abort", 502, "SIGABRT", "abort"),
        ("close_standard", 200, "3", "close the standard descriptors"),
        ("close_all", 502, "E0303", "close all other descriptors"),
        ("replace_output", 200, "true", "replace standard output by nothing"),
        ("break_output", 200, "true", "replace standard output by something broken"),
        ("change_loop", 200, "true", "change the policy of event loops"),
        ("fork_and_return", 200, "parent", "fork, and return in the child as well"),
    ]
    .into_iter()
    .enumerate()
    {
        if number % 6 == 0 {
            stage.renew("app");
        }
        let answer = stage.call("app", &format!("endings/{ending}"), &json!({}));
        let text = answer.text();
        assert!(answer.status == status && text.contains(part), "{ending}: {} {text}", answer.status);
        stage.works();
        let result = if status == 200 {
            "nothing comes of it".to_owned()
        } else {
            format!("{status}, told as {part}")
        };
        stage.row("T-087", what, result);
    }
    recursion(stage);
    let ended = stage.call("hurried", "endings/deadlock", &json!({}));
    assert!(ended.status == 504 && ended.text().contains("E0302"), "{}", ended.text());
    stage.row("T-087", "wait for itself for ever", "504, told as E0302");
}

/// A crash or no memory, as it is with this version of Python.
fn recursion(stage: &mut Stage) {
    let ended = stage.call("app", "endings/recursion", &json!({}));
    let text = ended.text();
    assert!(
        (text.contains("SIGSEGV") || text.contains("E0314")) && ended.status >= 500,
        "{} {text}",
        ended.status
    );
    stage.works();
    stage.row("T-087", "recurse without a limit", "ends alone");
}
