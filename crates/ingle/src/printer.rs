//! What the program says while it serves: text for people, one JSON object per line for programs.
//!
//! Lines are handed over through a bounded queue to one thread that makes them ready and writes them: that takes time, and a
//! terminal that is held takes as much as it likes, which nobody who serves may have to wait for. If it can't keep up, lines
//! are left out and counted, those of the app that says too much before those of others (T-021), and the count is printed.
//! Nothing is left out in silence.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ingle_tasks::{StopSignal, TaskKind, Tasks};
use ingle_types::log::{InvocationRecord, LogLine, LogSink, RecordSink};
use ingle_types::mask;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::show_only::ShowOnly;

mod text;

pub(crate) use text::{harmless, line_json, of_app, record_json};
use text::{labelled, line_text, record_text};

/// Lines that may wait for the terminal.
const WAITING_MAX: usize = 16 * 1024;
/// What of them may be of one app: lines, and bytes.
const OF_ONE_APP_MAX: usize = WAITING_MAX / 2;
const BYTES_OF_ONE_APP_MAX: usize = 8 << 20;
/// Lines that are taken out of the queue in one go, and bytes that are written in one.
const BATCH: usize = 256;
const TEXT_BYTES: usize = 256 * 1024;
/// How long lines are gathered behind others.
const GATHER: Duration = Duration::from_millis(1);

/// How to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) json: bool,
    pub(crate) color: bool,
}

impl Style {
    pub(crate) fn detect(json: bool, no_color: bool, environment_says_no: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { json, color: !json && terminal && !no_color && !environment_says_no }
    }

    pub(crate) fn paint(self, color: Color, text: &str) -> String {
        if !self.color {
            return text.to_owned();
        }
        let code = match color {
            Color::Red => "31",
            Color::Green => "32",
            Color::Yellow => "33",
            Color::Dim => "2",
            Color::Bold => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Color {
    Red,
    Green,
    Yellow,
    Dim,
    Bold,
}

/// Takes lines and records; cheap to clone.
#[derive(Clone)]
pub(crate) struct Printer {
    sender: mpsc::Sender<Waiting>,
    app: Arc<App>,
    left_out: Arc<AtomicU64>,
    show_only: ShowOnly,
}

/// Whose lines these are, and how many of them wait.
#[derive(Default)]
struct App {
    /// In front of each line, where there are several apps.
    label: Option<String>,
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

impl App {
    /// Whether there is room for a line of so many bytes; it is taken then.
    fn admit(&self, bytes: usize) -> bool {
        let waits =
            (self.lines.fetch_add(1, Ordering::Relaxed), self.bytes.fetch_add(bytes, Ordering::Relaxed));
        let fits = waits.0 < OF_ONE_APP_MAX && waits.1 < BYTES_OF_ONE_APP_MAX;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    fn release(&self, bytes: usize) {
        self.lines.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A line on its way to the terminal.
struct Waiting {
    app: Arc<App>,
    bytes: usize,
    item: Item,
}

enum Item {
    Line(LogLine),
    Record(Box<InvocationRecord>),
    Text(String),
    /// What came before it is written; nothing comes behind it.
    End,
}

impl Item {
    /// About as much memory as it holds.
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.message.len() + line.text.as_ref().map_or(0, String::len),
            Self::Record(record) => {
                record.failure.as_ref().map_or(0, |failure| failure.message.len() + failure.traceback.len())
            }
            Self::Text(text) => text.len(),
            Self::End => 0,
        }
    }
}

impl Printer {
    pub(crate) fn start(style: Style, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let left_out = Arc::new(AtomicU64::new(0));
        let (ended, end) = oneshot::channel::<()>();
        let counted = left_out.clone();
        let printing = move || {
            print(receiver, style, &counted);
            drop(ended);
        };
        if let Err(error) = std::thread::Builder::new().name("printer".to_owned()).spawn(printing) {
            // Serving goes on.
            tracing::error!(%error, "there is no thread that could print: nothing of the log is shown");
        }
        let stop = tasks.stop_signal(TaskKind::Printer);
        drop(tasks.spawn(TaskKind::Printer, "printer", end_with(stop, sender.clone(), end)));
        Self { sender, app: Arc::default(), left_out, show_only: ShowOnly::default() }
    }

    /// The same printer, which says of every line that it is this app's.
    pub(crate) fn of_app(&self, name: &str) -> Self {
        Self { app: Arc::new(App { label: Some(name.to_owned()), ..App::default() }), ..self.clone() }
    }

    /// Whose lines these are, where there are several apps.
    pub(crate) fn app(&self) -> Option<&str> {
        self.app.label.as_deref()
    }

    /// What of the log is shown, for the keyboard to change.
    pub(crate) fn show_only(&self) -> &ShowOnly {
        &self.show_only
    }

    /// Text that was made ready to print.
    pub(crate) fn text(&self, text: String) {
        self.put(Item::Text(text));
    }

    fn put(&self, item: Item) {
        let bytes = item.bytes();
        if self.app.admit(bytes) {
            let waiting = Waiting { app: self.app.clone(), bytes, item };
            let Err(refused) = self.sender.try_send(waiting) else { return };
            self.app.release(refused.into_inner().bytes);
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }
}

impl LogSink for Printer {
    fn line(&self, line: LogLine) {
        if self.show_only.shows_line(&line) {
            self.put(Item::Line(line));
        }
    }
}

impl RecordSink for Printer {
    fn record(&self, record: InvocationRecord) {
        if self.show_only.shows_record(&record) {
            self.put(Item::Record(Box::new(record)));
        }
    }
}

pub(crate) fn without_keys_in_line(mut line: LogLine) -> LogLine {
    hide_keys(&mut line.message);
    line.text.iter_mut().for_each(hide_keys);
    line
}

pub(crate) fn without_keys_in_record(mut record: InvocationRecord) -> InvocationRecord {
    hide_keys(&mut record.summary);
    if let Some(failure) = &mut record.failure {
        hide_keys(&mut failure.message);
        hide_keys(&mut failure.traceback);
    }
    record
}

/// No key of a caller gets into the log, whoever put it there (T-041).
fn hide_keys(text: &mut String) {
    if let Cow::Owned(masked) = mask::keys(text) {
        *text = masked;
    }
}

/// Lets the thread write what there is, and ends it.
async fn end_with(mut stop: StopSignal, sender: mpsc::Sender<Waiting>, end: oneshot::Receiver<()>) {
    stop.wait().await;
    sender.send(Waiting { app: Arc::default(), bytes: 0, item: Item::End }).await.ok();
    end.await.ok();
}

fn print(mut items: mpsc::Receiver<Waiting>, style: Style, left_out: &AtomicU64) {
    let mut batch = Vec::new();
    let mut ends = false;
    while !ends && items.blocking_recv_many(&mut batch, BATCH) > 0 {
        let is_quiet = batch.len() < BATCH;
        let mut text = String::new();
        for Waiting { app, bytes, item } in batch.drain(..) {
            ends |= matches!(item, Item::End);
            if let Some(shown) = item_text(app.label.as_deref(), item, style) {
                text.push_str(&shown);
                text.push('\n');
            }
            app.release(bytes);
            if text.len() > TEXT_BYTES {
                write_out(&text);
                text.clear();
            }
        }
        match left_out.swap(0, Ordering::Relaxed) {
            0 => {}
            count if style.json => {
                text.push_str(&format!("{}\n", json!({"event": "left_out", "lines": count})))
            }
            count => text.push_str(&format!("… {count} lines were left out: the terminal was too slow\n")),
        }
        write_out(&text);
        if is_quiet && !ends {
            // Being woken costs more than a line, for whoever wakes, too: what comes now comes together.
            std::thread::sleep(GATHER);
        }
    }
}

fn item_text(app: Option<&str>, item: Item, style: Style) -> Option<String> {
    let text = match item {
        Item::End => return None,
        Item::Text(ready) if style.json => return Some(ready),
        Item::Text(ready) => ready,
        Item::Line(line) => {
            let line = without_keys_in_line(line);
            if style.json { of_app(line_json(&line), app).to_string() } else { line_text(&line, style) }
        }
        Item::Record(record) => {
            let record = without_keys_in_record(*record);
            if style.json {
                of_app(record_json(&record), app).to_string()
            } else {
                record_text(&record, style)
            }
        }
    };
    match app {
        Some(app) if !style.json => Some(labelled(&style.paint(Color::Bold, app), &text)),
        _ => Some(text),
    }
}

/// Rows as lines of text: the first column to the left, the others to the right.
pub(crate) fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(column)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Writes to standard output. If nobody reads it any more, serving goes on.
pub(crate) fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

#[cfg(test)]
mod tests {
    use super::text::tests::record;
    use super::*;
    use ingle_types::ids::WorkerId;
    use ingle_types::log::{LogLevel, LogSource};
    use ingle_types::outcome::{Blame, Failure};

    const PLAIN: Style = Style { json: false, color: false };

    fn of_nobody(sender: mpsc::Sender<Waiting>) -> Printer {
        Printer { sender, app: Arc::default(), left_out: Arc::default(), show_only: ShowOnly::default() }
    }

    /// T-018, T-021: what one app says too much neither fills the memory nor takes the place of what others say.
    #[test]
    fn t_021_an_app_that_says_too_much_leaves_room_for_others() {
        let (sender, mut receiver) = mpsc::channel(WAITING_MAX);
        let (loud, quiet) = (of_nobody(sender.clone()).of_app("loud"), of_nobody(sender).of_app("quiet"));
        for piece in ["", &"x".repeat(1 << 20)] {
            (0..2 * WAITING_MAX).for_each(|_| loud.text(piece.to_owned()));
            quiet.text("heard".to_owned());
            let (mut lines, mut bytes, mut heard) = (0, 0, false);
            while let Ok(waiting) = receiver.try_recv() {
                lines += 1;
                bytes += waiting.bytes;
                heard |= waiting.app.label.as_deref() == Some("quiet");
                waiting.app.release(waiting.bytes);
            }
            assert!(heard && lines <= OF_ONE_APP_MAX + 1, "{lines}");
            assert!(bytes <= BYTES_OF_ONE_APP_MAX + (1 << 20), "{bytes}");
        }
        assert!(loud.left_out.load(Ordering::Relaxed) > 0);
        assert_eq!(quiet.left_out.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn of_several_apps_each_line_says_whose_it_is() {
        let text = || {
            Item::Text(
                "can't be served\nerror[E0203] function_app.py:1\n    import x\n  fix: add x".to_owned(),
            )
        };
        assert_eq!(
            item_text(Some("shop"), text(), PLAIN).unwrap(),
            "shop can't be served\nshop error[E0203] function_app.py:1\n    import x\n  fix: add x"
        );
        assert!(item_text(None, text(), PLAIN).unwrap().starts_with("can't be served\nerror"));
    }

    /// T-056: what user code prints can't forge lines or drive the terminal.
    #[test]
    fn control_characters_are_shown_not_obeyed() {
        let line = LogLine {
            worker: WorkerId(1),
            invocation: None,
            function: None,
            level: LogLevel::Info,
            source: LogSource::Stdout,
            logger: String::new(),
            message: "a\u{1b}[31mb\r12:00:00 forged\nnext\u{202e}".to_owned(),
            text: None,
        };
        let text = line_text(&line, PLAIN);
        assert_eq!(
            text,
            "         (no invocation) out a\\u{1b}[31mb\\r12:00:00 forged\n           next\\u{202e}"
        );
        let json = item_text(Some("shop"), Item::Line(line), Style { json: true, color: false }).unwrap();
        assert_eq!(json.lines().count(), 1);
        assert!(json.contains("\"app\":\"shop\""), "{json}");
    }

    /// T-041: printed by user code or part of an exception, a key does not get through.
    #[test]
    fn keys_are_hidden_before_anything_is_printed() {
        let (sender, mut receiver) = mpsc::channel(2);
        let printer = of_nobody(sender);
        let mut failure = Failure::new(Blame::App, "E0301", "HTTPError", "401 for http://h/?code=secret");
        failure.traceback = "x-functions-key: secret".to_owned();
        printer.record(record(Some(failure)));
        printer.line(LogLine {
            worker: WorkerId(1),
            invocation: None,
            function: None,
            level: LogLevel::Info,
            source: LogSource::Logging,
            logger: String::new(),
            message: "calling /api/a?code=secret".to_owned(),
            text: None,
        });
        while let Ok(waiting) = receiver.try_recv() {
            let text = item_text(None, waiting.item, PLAIN).unwrap();
            assert!(text.contains("***") && !text.contains("secret"), "{text}");
        }
    }
}
