//! What reaches a worker's standard output and error past Python: C libraries, crash reports, other processes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ingle_types::ids::WorkerId;
use ingle_types::log::{LogLevel, LogLine, LogSource};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::bounds::{LeftOut, Verdict, output_cut};
use crate::words::{Speaker, Words};

/// A longer line is cut into pieces: no worker makes the server's memory grow (T-018).
const LINE_BYTES_MAX: usize = 64 * 1024;
/// How much of the end of standard error is kept to explain a crash.
const TAIL_BYTES_MAX: usize = 16 * 1024;

/// The last bytes of a stream.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn push(&self, bytes: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(bytes);
        let excess = tail.len().saturating_sub(TAIL_BYTES_MAX);
        tail.drain(..excess);
    }

    pub(crate) fn text(&self) -> String {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(tail.make_contiguous()).into_owned()
    }
}

/// Where the lines of one stream go.
pub(crate) struct Destination {
    pub(crate) worker: WorkerId,
    pub(crate) source: LogSource,
    pub(crate) words: Arc<Words>,
    pub(crate) speaker: Arc<Speaker>,
    pub(crate) tail: Tail,
    /// What may be said until an invocation begins.
    pub(crate) most: u64,
}

/// Reads a stream to its end, line by line.
pub(crate) async fn forward(mut stream: impl AsyncRead + Unpin, destination: Destination) {
    let mut line = Vec::new();
    let mut chunk = vec![0; 8 * 1024];
    // An error of a pipe's read end means what its end means: nothing more comes.
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        let bytes = chunk.get(..count).unwrap_or_default();
        destination.tail.push(bytes);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.last() == Some(&b'\n') || line.len() >= LINE_BYTES_MAX {
                destination.line(&line).await;
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        destination.line(&line).await;
    }
    let left_out = destination.speaker.unclaimed().begin();
    left_out.into_iter().for_each(|left_out| tell_left_out(destination.worker, left_out, &destination.words));
}

/// That lines are missing from what a worker has said.
pub(crate) fn tell_left_out(worker: WorkerId, left_out: LeftOut, words: &Words) {
    words.sink().line(line_of(worker, LogSource::Stderr, left_out.told()));
}

fn line_of(worker: WorkerId, source: LogSource, message: String) -> LogLine {
    LogLine {
        worker,
        invocation: None,
        function: None,
        level: if source == LogSource::Stderr { LogLevel::Warning } else { LogLevel::Info },
        source,
        logger: String::new(),
        message,
        text: None,
    }
}

impl Destination {
    async fn line(&self, bytes: &[u8]) {
        let verdict = self.speaker.unclaimed().line(bytes.len(), self.most);
        match verdict {
            Verdict::Shown => {
                let message = String::from_utf8_lossy(bytes).trim_end_matches(['\n', '\r']).to_owned();
                self.words.say(line_of(self.worker, self.source, message), &self.speaker).await;
            }
            Verdict::Last => {
                let cut = line_of(self.worker, LogSource::Stderr, output_cut(self.most));
                self.words.say(cut, &self.speaker).await;
            }
            // It is read all the same, no faster than what is shown: whoever says it waits as it would otherwise.
            Verdict::Dropped => self.words.took(bytes.len(), &self.speaker).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::log::{LogSink, LogSinkHandle};
    use ingle_types::mask::Secrets;

    struct Keep(Mutex<Vec<String>>);
    impl LogSink for Keep {
        fn line(&self, line: LogLine) {
            self.0.lock().unwrap().push(line.message);
        }
    }

    async fn lines(input: &[u8]) -> (Vec<String>, String) {
        lines_of(input, u64::MAX).await
    }

    async fn lines_of(input: &[u8], most: u64) -> (Vec<String>, String) {
        let keep = Arc::new(Keep(Mutex::default()));
        let tail = Tail::default();
        let sink: LogSinkHandle = keep.clone();
        let destination = Destination {
            worker: WorkerId(1),
            source: LogSource::Stderr,
            words: Arc::new(Words::new(&sink, Secrets::of([("API_KEY", "canary-key")]))),
            speaker: Arc::default(),
            tail: tail.clone(),
            most,
        };
        forward(input, destination).await;
        let lines = keep.0.lock().unwrap().clone();
        (lines, tail.text())
    }

    #[tokio::test]
    async fn lines_are_forwarded_and_the_tail_is_kept() {
        let (got, tail) = lines(b"one\r\ntwo\nthree").await;
        assert_eq!(got, ["one", "two", "three"]);
        assert_eq!(tail, "one\r\ntwo\nthree");
    }

    /// T-050: also what goes past Python has no secret of the app's settings.
    #[tokio::test]
    async fn t_050_secrets_are_hidden_in_what_programs_say() {
        assert_eq!(lines(b"key=canary-key\n").await.0, ["key=***"]);
    }

    /// T-014: what a program says beyond the log of an invocation is left out, and that is said.
    #[tokio::test]
    async fn t_014_what_is_too_much_is_left_out_and_that_is_said() {
        let input = "x".repeat(1023) + "\n";
        let (got, tail) = lines_of(input.repeat(100).as_bytes(), 10 << 10).await;
        assert_eq!(got.len(), 12, "ten lines, the cut, and what was left out");
        assert!(got[9].starts_with("xxx") && got[10].contains("more than 10 KB"), "{got:?}");
        assert!(got[11].contains("90 lines with 90 KB"), "{}", got[11]);
        assert_eq!(tail.len(), TAIL_BYTES_MAX, "what explains a crash is kept");
    }

    /// T-018: a flood without a line break, and bytes that are no text.
    #[tokio::test]
    async fn a_flood_is_cut_and_garbage_is_shown() {
        let mut input = vec![b'x'; 3 * LINE_BYTES_MAX];
        input.extend([0xff, b'\n']);
        let (got, tail) = lines(&input).await;
        assert!(got.len() >= 3, "{} lines", got.len());
        assert!(got.iter().all(|line| line.len() < LINE_BYTES_MAX + 8 * 1024));
        assert!(got.last().unwrap().ends_with('\u{fffd}'));
        assert!(tail.len() <= TAIL_BYTES_MAX + 4);
    }
}
