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
    /// Of the worker: the least that was seen since this invocation began.
    memory_bytes: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Shown,
    /// The first one that is too much: something is said in its place.
    Last,
    Dropped,
}

/// What a process says past the log of any invocation: through its standard output and error, as programs that it starts and
/// C libraries do. Whose that is, nothing tells; so all of it together may be as much, each time an invocation begins, as the
/// log of one.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    said: u64,
    left_out: LeftOut,
}

/// What nobody is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LeftOut {
    lines: u64,
    bytes: u64,
}

impl Unclaimed {
    /// Counts a line.
    pub(crate) fn line(&mut self, length: usize, most: u64) -> Verdict {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let verdict = verdict(&mut self.said, length, most);
        if verdict != Verdict::Shown {
            self.left_out.lines += 1;
            self.left_out.bytes = self.left_out.bytes.saturating_add(length);
        }
        verdict
    }

    /// From now on as much may be said as at the beginning. What was left out until now, if anything was.
    pub(crate) fn begin(&mut self) -> Option<LeftOut> {
        let left_out = std::mem::take(self).left_out;
        (left_out.lines > 0).then_some(left_out)
    }
}

/// T-014: what is said in place of the rest.
pub(crate) fn output_cut(most: u64) -> String {
    format!(
        "… the output of programs and C libraries in this worker ends here until its next invocation begins: it has more \
         than {} KB (`log` of [sandbox] in ingle.toml)",
        most / 1024
    )
}

impl LeftOut {
    /// T-014: how much that was.
    pub(crate) fn told(self) -> String {
        format!("… {} lines with {} KB of such output were left out", self.lines, self.bytes.div_ceil(1024))
    }
}

/// Adds to what was said.
fn verdict(said: &mut u64, length: u64, most: u64) -> Verdict {
    let before = *said;
    *said = before.saturating_add(length);
    match (before > most, *said > most) {
        (true, _) => Verdict::Dropped,
        (false, true) => Verdict::Last,
        (false, false) => Verdict::Shown,
    }
}

impl Running {
    /// `memory_bytes`: what its worker holds now.
    pub(crate) fn new(function: FunctionName, memory_bytes: u64) -> Self {
        Self { function, since: Instant::now(), logged: 0, said: Said::default(), memory_bytes }
    }

    /// A look at the memory of its worker.
    pub(crate) fn saw_memory(&mut self, bytes: u64) {
        self.memory_bytes = self.memory_bytes.min(bytes);
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Counts a line.
    pub(crate) fn log(&mut self, length: usize, most: u64) -> Verdict {
        verdict(&mut self.logged, u64::try_from(length).unwrap_or(u64::MAX), most)
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
        let mut running = Running::new(FunctionName::new("flood"), 0);
        let verdicts: Vec<Verdict> = (0..4).map(|_| running.log(40, 100)).collect();
        assert_eq!(verdicts, [Verdict::Shown, Verdict::Shown, Verdict::Last, Verdict::Dropped]);
        assert!(log_cut(10 << 20).contains("10240 KB"));
    }

    /// T-014: what programs say is cut as well, may go on with the next invocation, and how much is missing is told.
    #[test]
    fn t_014_what_programs_say_is_cut_until_an_invocation_begins() {
        let mut unclaimed = Unclaimed::default();
        assert_eq!(unclaimed.begin(), None);
        for _ in 0..2 {
            let verdicts: Vec<Verdict> = (0..4).map(|_| unclaimed.line(1024, 2500)).collect();
            assert_eq!(verdicts, [Verdict::Shown, Verdict::Shown, Verdict::Last, Verdict::Dropped]);
            let left_out = unclaimed.begin().unwrap();
            assert_eq!(left_out, LeftOut { lines: 2, bytes: 2048 });
            assert!(left_out.told().contains("2 lines with 2 KB"));
        }
        assert!(output_cut(10 << 20).contains("10240 KB"));
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
