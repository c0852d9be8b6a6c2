//! T-065, T-071: a process that is killed at any instant loses nothing that it acknowledged.
//!
//! The test runs itself as a child that commits numbered messages and writes each number to standard output once
//! it is acknowledged. The child is killed from outside, or aborts at a fault point; the parent opens what is
//! left.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use ingle_types::clock::SystemClock;
use ingle_types::faults::Fault;

use super::*;

const DIRECTORY: &str = "INGLE_STORE_CRASH_DIRECTORY";
const POINT: &str = "INGLE_STORE_CRASH_POINT";
const NAME: &str = "tests::crash::t_065_a_killed_process_loses_nothing_that_it_acknowledged";

#[test]
#[expect(clippy::disallowed_methods, reason = "how the child of this test learns its task")]
fn t_065_a_killed_process_loses_nothing_that_it_acknowledged() {
    if let (Ok(directory), Ok(point)) = (std::env::var(DIRECTORY), std::env::var(POINT)) {
        commit_until_killed(&directory, &point);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for (round, point) in
        ["", "store.commit.before", "", "store.commit.after", "store.blob.written", "store.lease.after", ""]
            .into_iter()
            .enumerate()
    {
        let lines = run_child(directory.path(), point, 17 * (round + 1));
        assert!(!lines.is_empty(), "{point}: the child did nothing");
        acknowledged.extend(lines.into_iter().map(|line| format!("{round} {line}")));
        check_round(directory.path(), round, &acknowledged);
    }
}

/// Every acknowledged commit of this round is there as a whole: document and message, or its message finished.
fn check_round(directory: &Path, round: usize, acknowledged: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(Options::new(directory), Arc::new(SystemClock), Faults::none()).unwrap();
        let container = ContainerName::new("crash", "round");
        let waiting = store.lease_messages("numbers", 100_000, MINUTE).await.unwrap();
        let waiting: Vec<String> = waiting.iter().map(|message| text(&message.body)).collect();
        for line in acknowledged.iter().filter_map(|line| line.strip_prefix(&format!("{round} "))) {
            let (word, number) = line.split_once(' ').unwrap();
            let is_waiting = waiting.iter().any(|body| body.trim_end_matches('x') == number);
            let document = store.read_document(&container, number, None).await.unwrap();
            match word {
                "sent" => {
                    assert!(is_waiting || document.is_some(), "round {round}: message {number} is lost")
                }
                _ => assert!(
                    document.is_some() && !is_waiting,
                    "round {round}: {number} was done, then undone"
                ),
            }
        }
        // What was finished is never also waiting, acknowledged or not.
        for body in &waiting {
            let number = body.trim_end_matches('x');
            let document = store.read_document(&container, number, None).await.unwrap();
            assert_eq!(document, None, "round {round}: {number} is both done and waiting");
        }
        assert!(waiting.is_sorted_by_key(|body| body.trim_end_matches('x').parse::<u64>().unwrap()));
        store.reset(Reset::All).await.unwrap();
        store.close().await;
    });
}

#[expect(clippy::disallowed_methods, reason = "the child of this test")]
fn run_child(directory: &Path, point: &str, lines_max: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(POINT, point)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // A line counts from its end of line on; what the test harness prints is of no interest.
        lines.extend(line.strip_prefix("ack ").and_then(|line| line.strip_suffix('.')).map(str::to_owned));
        if point.is_empty() && lines.len() == lines_max {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success(), "{point}: the child was not killed");
    lines
}

/// Sends numbered messages and finishes every second one with a document, several at once.
fn commit_until_killed(directory: &str, point: &str) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let hits = AtomicUsize::new(0);
    let point = point.to_owned();
    let faults = Faults::hook(move |here| {
        if here == point && hits.fetch_add(1, Ordering::Relaxed) == 12 {
            std::process::abort();
        }
        Fault::None
    });
    let store = Store::open(Options::new(directory), Arc::new(SystemClock), faults).unwrap();
    runtime.block_on(async {
        for number in 0..u64::MAX {
            let large = if number % 4 == 0 { "x".repeat(70_000) } else { String::new() };
            let send = Operation::Enqueue(NewMessage::new("numbers", format!("{number}{large}")));
            store.commit(vec![send]).await.unwrap();
            acknowledge("sent", number);
            if number % 2 == 1 {
                let leased = store.lease_messages("numbers", 1, MINUTE).await.unwrap().remove(0);
                let body = text(&leased.body).trim_end_matches('x').to_owned();
                let document = Operation::UpsertDocument {
                    container: ContainerName::new("crash", "round"),
                    body: serde_json::json!({"id": body}),
                    partition_key_path: None,
                    hop_count: 0,
                };
                store.commit(vec![document, delete(&leased)]).await.unwrap();
                acknowledge("done", body.parse().unwrap());
            }
        }
    });
    unreachable!("the numbers do not end")
}

fn acknowledge(word: &str, number: u64) {
    let mut output = std::io::stdout().lock();
    // One write, so that the parent never sees a number cut short.
    output.write_all(format!("ack {word} {number}.\n").as_bytes()).unwrap();
    output.flush().unwrap();
}
