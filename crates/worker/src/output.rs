//! What reaches a worker's standard output and error past Python: C libraries, crash reports, other processes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use ingle_types::ids::WorkerId;
use ingle_types::log::{LogLevel, LogLine, LogSource};
use tokio::io::{AsyncRead, AsyncReadExt};

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
}

impl Destination {
    async fn line(&self, bytes: &[u8]) {
        let level = if self.source == LogSource::Stderr { LogLevel::Warning } else { LogLevel::Info };
        let line = LogLine {
            worker: self.worker,
            invocation: None,
            function: None,
            level,
            source: self.source,
            logger: String::new(),
            message: String::from_utf8_lossy(bytes).trim_end_matches(['\n', '\r']).to_owned(),
            text: None,
        };
        self.words.say(line, &self.speaker).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::log::LogSink;

    struct Keep(Mutex<Vec<String>>);
    impl LogSink for Keep {
        fn line(&self, line: LogLine) {
            self.0.lock().unwrap().push(line.message);
        }
    }

    async fn lines(input: &[u8]) -> (Vec<String>, String) {
        let keep = Arc::new(Keep(Mutex::default()));
        let tail = Tail::default();
        let destination = Destination {
            worker: WorkerId(1),
            source: LogSource::Stderr,
            words: Arc::new(Words::new(keep.clone())),
            speaker: Arc::default(),
            tail: tail.clone(),
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
