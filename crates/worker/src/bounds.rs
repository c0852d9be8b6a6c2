//! What an invocation may give back: log lines, a response, files. Beyond it functions would use up what is the server's.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ingle_types::ids::FunctionName;
use ingle_types::outcome::{Blame, Failure};
use tokio::time::Instant;

use crate::process::{Phase, Worker};
use crate::said::Said;

/// Bounds of one invocation, but for `outputs_bytes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Of log lines; what is said beyond is dropped, and that it was is said.
    pub log_bytes: u64,
    /// Of the response, and of all outputs that travel with it. Beyond it the invocation fails (E0316), and its worker ends,
    /// as nothing more can be read of what it says.
    pub response_bytes: u64,
    /// Of a response in pieces, which nobody has to hold; none if absent.
    pub streamed_bytes: Option<u64>,
    /// Of large outputs on disk, of all invocations of the app that are in work.
    pub outputs_bytes: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { log_bytes: 10 << 20, response_bytes: 100 << 20, streamed_bytes: None, outputs_bytes: 10 << 30 }
    }
}

impl Bounds {
    /// The longest body of a frame from a worker: it has to fit into the server's memory.
    pub(crate) fn frame_bytes(&self) -> u32 {
        u32::try_from(self.response_bytes).unwrap_or(u32::MAX)
    }
}

/// Between two looks at the files of workers. A disk takes some hundred megabytes in it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Files that a worker may have written and not handed over. More are no outputs.
const FILES_MAX: usize = 10_000;

/// An invocation in work, for its log lines.
pub(crate) struct Running {
    pub(crate) function: FunctionName,
    pub(crate) since: Instant,
    logged: u64,
    pub(crate) said: Said,
}

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Shown,
    /// The first one that is too much: something is said in its place.
    Last,
    Dropped,
}

impl Running {
    pub(crate) fn new(function: FunctionName) -> Self {
        Self { function, since: Instant::now(), logged: 0, said: Said::default() }
    }

    /// Counts a line.
    pub(crate) fn log(&mut self, length: usize, most: u64) -> Verdict {
        let before = self.logged;
        self.logged = before.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        match (before > most, self.logged > most) {
            (true, _) => Verdict::Dropped,
            (false, true) => Verdict::Last,
            (false, false) => Verdict::Shown,
        }
    }
}

/// T-014: what is said instead of the rest.
pub(crate) fn log_cut(most: u64) -> String {
    format!(
        "… the log of this invocation ends here: it has more than {} KB (`log` of [sandbox] in ingle.toml)",
        most / 1024
    )
}

/// T-019: the failure of an invocation that answers with too much.
pub(crate) fn response_too_large(bytes: u64, most: u64) -> Failure {
    let message = format!("the function gave back {bytes} bytes, more than the {most} that it may");
    let failure = Failure::new(Blame::App, "E0316", "ResponseTooLarge", message);
    failure.hint("answer with less, or in pieces; or raise response of [sandbox] in ingle.toml")
}

/// T-019: the same, of an answer that was not read: its length stands before it.
pub(crate) fn answer_too_long(most: u64) -> Failure {
    answer_refused(format!("the function gave back more than the {most} bytes that it may"))
}

/// The same, of an answer that the worker itself did not take from the function.
pub(crate) fn answer_refused(message: String) -> Failure {
    let failure = Failure::new(Blame::App, "E0316", "ResponseTooLarge", message);
    failure.hint("answer with less, or in pieces; or raise response of [sandbox] in ingle.toml")
}

/// Looks at what a worker has on disk, as long as it lives, and ends it when that is too much.
pub(crate) async fn watch_outputs(worker: Arc<Worker>, most: u64) {
    let Some(folder) = worker.spool.clone() else { return };
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if worker.state().phase == Phase::Gone {
            return;
        }
        let looked = folder.clone();
        let used = tokio::task::spawn_blocking(move || disk_usage(&looked)).await.unwrap_or_default();
        if used.bytes > most || used.files > FILES_MAX {
            let what = format!(
                "was ended, as its outputs took {} MB in {} files on disk, more than they may",
                used.bytes >> 20,
                used.files
            );
            worker.kill_because(what);
            return;
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Usage {
    bytes: u64,
    files: usize,
}

/// Of everything in a folder; stops counting when it is too much anyway. Links are not followed.
fn disk_usage(folder: &Path) -> Usage {
    let mut usage = Usage::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(found) = fs::symlink_metadata(entry.path()) else { continue };
            usage.files += 1;
            usage.bytes += std::os::unix::fs::MetadataExt::blocks(&found) * 512;
            if usage.files > FILES_MAX {
                return usage;
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T-014: one line says that the rest is missing.
    #[test]
    fn t_014_a_log_is_cut_once() {
        let mut running = Running::new(FunctionName::new("flood"));
        let verdicts: Vec<Verdict> = (0..4).map(|_| running.log(40, 100)).collect();
        assert_eq!(verdicts, [Verdict::Shown, Verdict::Shown, Verdict::Last, Verdict::Dropped]);
        assert!(log_cut(10 << 20).contains("10240 KB"));
    }

    /// T-014: files count with what they take on disk, wherever in the folder they are.
    #[test]
    fn t_014_what_is_on_disk_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(disk_usage(folder.path()), Usage::default());
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), vec![1; 100_000]).unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("link")).unwrap();
        let usage = disk_usage(folder.path());
        assert!(usage.files == 3 && (100_000..200_000).contains(&usage.bytes), "{usage:?}");
    }
}
