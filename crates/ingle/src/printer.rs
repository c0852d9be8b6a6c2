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
use std::time::{Duration, SystemTime};

use ingle_tasks::{StopSignal, TaskKind, Tasks};
use ingle_types::clock::unix_ms;
use ingle_types::log::{InvocationRecord, LogLine, LogSink, LogSource, RecordSink};
use ingle_types::mask;
use ingle_types::outcome::Blame;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::show_only::ShowOnly;

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
            Self::Line(line) => line.message.len(),
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
        // Should there be no thread, what is printed is counted as left out, and serving goes on.
        std::thread::Builder::new().name("printer".to_owned()).spawn(printing).ok();
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

/// Each line says whose it is; one below that is indented belongs to the one above it.
fn labelled(label: &str, text: &str) -> String {
    let mut lines = text.split('\n');
    let mut labelled = format!("{label} {}", lines.next().unwrap_or_default());
    for line in lines {
        labelled.push('\n');
        if !line.is_empty() && !line.starts_with(' ') {
            labelled.push_str(label);
            labelled.push(' ');
        }
        labelled.push_str(line);
    }
    labelled
}

/// An event, which says whose it is if there are several apps.
pub(crate) fn of_app(mut event: Value, app: Option<&str>) -> Value {
    if let Some(app) = app {
        event["app"] = app.into();
    }
    event
}

/// Writes to standard output. If nobody reads it any more, serving goes on.
pub(crate) fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

/// `12:03:11` in local time.
fn clock_text(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Local>::from(time).format("%H:%M:%S").to_string()
}

fn milliseconds(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms >= 10.0 { format!("{ms:.0}") } else { format!("{ms:.1}") }
}

/// User code can print anything; control characters would let it forge lines or drive the terminal (T-056).
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let bidirectional = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if bidirectional || (character.is_control() && !matches!(character, '\n' | '\t')) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn line_text(line: &LogLine, style: Style) -> String {
    let owner = match (&line.function, line.invocation) {
        (Some(function), _) => function.to_string(),
        (None, Some(id)) => id.to_string().chars().take(12).collect(),
        (None, None) => "(no invocation)".to_owned(),
    };
    let mark = match line.source {
        LogSource::Stdout => "out",
        LogSource::Stderr => "err",
        LogSource::Logging => line.level.as_str(),
    };
    let color = match mark {
        "error" | "critical" => Color::Red,
        "warning" | "err" => Color::Yellow,
        _ => Color::Dim,
    };
    let message = harmless(&line.message);
    let logger = if matches!(line.logger.as_str(), "" | "root") {
        String::new()
    } else {
        format!("{}: ", harmless(&line.logger))
    };
    let mut lines = message.lines();
    let head = format!(
        "         {} {} {logger}{}",
        style.paint(Color::Dim, &owner),
        style.paint(color, mark),
        lines.next().unwrap_or_default()
    );
    lines.fold(head, |text, next| format!("{text}\n           {next}"))
}

/// `{"event":"log", …}`; docs/cli.md has the shape.
pub(crate) fn line_json(line: &LogLine) -> Value {
    let source = match line.source {
        LogSource::Logging => "logging",
        LogSource::Stdout => "stdout",
        LogSource::Stderr => "stderr",
    };
    json!({"event": "log", "worker": line.worker.to_string(), "source": source,
        "invocation": line.invocation.map(|id| id.to_string()),
        "function": line.function.as_ref().map(ToString::to_string),
        "level": line.level.as_str(), "logger": line.logger, "message": line.message})
}

fn record_text(record: &InvocationRecord, style: Style) -> String {
    let phases = &record.phases;
    let result = match record.status {
        Some(status) => status.to_string(),
        None => record.outcome.to_owned(),
    };
    let bad = record.failure.is_some() || record.status.is_some_and(|status| status >= 500);
    let start = match phases.start() {
        Duration::ZERO => "start 0.0".to_owned(),
        // It waited for a new worker.
        _ => format!("fork {} · ready {}", milliseconds(phases.fork), milliseconds(phases.ready)),
    };
    let mut text = format!(
        "{} {} {} {} {}ms {}",
        style.paint(Color::Dim, &clock_text(record.received_at)),
        style.paint(Color::Bold, record.function.as_str()),
        harmless(&record.summary),
        style.paint(if bad { Color::Red } else { Color::Green }, &result),
        milliseconds(phases.total),
        style.paint(
            Color::Dim,
            &format!(
                "(queue {} · {start} · user {} · bind {})",
                milliseconds(phases.queue),
                milliseconds(phases.user),
                milliseconds(phases.bind)
            )
        ),
    );
    if phases.memory_bytes > 0 {
        text.push_str(&format!(" {}MB", phases.memory_bytes / 1_000_000));
    }
    for effect in &record.effects {
        text.push_str(&format!(" → {effect}"));
    }
    let Some(failure) = &record.failure else { return text };
    let place = failure.location.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    let head = harmless(&format!("{}: {}{place}", failure.kind, failure.message));
    text.push_str(&format!("\n         {}", style.paint(Color::Red, &head)));
    // A caller's mistake needs no traceback of ours.
    if failure.blame != Blame::Caller {
        for line in harmless(&failure.traceback).lines() {
            text.push_str(&format!("\n         {line}"));
        }
    }
    let hint = failure.hint.as_ref().map(|hint| format!("hint: {hint} · ")).unwrap_or_default();
    text.push_str(&format!(
        "\n         {}",
        style.paint(Color::Dim, &format!("{hint}{} · {}", failure.code, record.id))
    ));
    text
}

/// `{"event":"invocation", …}`; docs/cli.md has the shape.
pub(crate) fn record_json(record: &InvocationRecord) -> Value {
    let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let phases = &record.phases;
    let mut shown = json!({"event": "invocation", "id": record.id.to_string(), "function": record.function.as_str(),
        "time": unix_ms(record.received_at), "summary": record.summary, "outcome": record.outcome,
        "status": record.status, "effects": record.effects, "memoryBytes": phases.memory_bytes,
        "phasesMs": {"queue": ms(phases.queue), "start": ms(phases.start()), "user": ms(phases.user),
            "bind": ms(phases.bind), "total": ms(phases.total)}});
    if !phases.start().is_zero() {
        shown["phasesMs"]["fork"] = json!(ms(phases.fork));
        shown["phasesMs"]["ready"] = json!(ms(phases.ready));
    }
    if let Some(failure) = &record.failure {
        shown["failure"] = json!({"blame": failure.blame.as_str(), "code": failure.code, "kind": failure.kind,
            "message": failure.message, "traceback": failure.traceback, "location": failure.location,
            "hint": failure.hint});
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::event::Phases;
    use ingle_types::ids::{FunctionName, InvocationId, WorkerId};
    use ingle_types::log::LogLevel;
    use ingle_types::outcome::Failure;

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

    fn record(failure: Option<Failure>) -> InvocationRecord {
        InvocationRecord {
            id: InvocationId::random(),
            function: FunctionName::new("order"),
            received_at: SystemTime::UNIX_EPOCH,
            summary: "POST /api/orders".to_owned(),
            outcome: "success",
            status: Some(202),
            phases: Phases {
                user: Duration::from_micros(12_300),
                bind: Duration::from_millis(2),
                total: Duration::from_millis(14),
                memory_bytes: 41_000_000,
                ..Phases::default()
            },
            effects: vec!["queue orders".to_owned()],
            failure,
        }
    }

    #[test]
    fn a_good_invocation_is_one_line() {
        let text = record_text(&record(None), PLAIN);
        let text = text.split_once(' ').unwrap().1;
        assert_eq!(
            text,
            "order POST /api/orders 202 14ms (queue 0.0 · start 0.0 · user 12 · bind 2.0) 41MB → queue orders"
        );
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

    /// S-105: what an invocation that waited for a new worker tells of it, and others do not.
    #[test]
    fn the_parts_of_a_start_are_told() {
        let mut record = record(None);
        assert_eq!(record_json(&record)["phasesMs"].get("fork"), None);
        record.phases.fork = Duration::from_micros(1230);
        record.phases.ready = Duration::from_micros(80);
        let text = record_text(&record, PLAIN);
        assert!(text.contains("(queue 0.0 · fork 1.2 · ready 0.1 · user 12 · bind 2.0)"), "{text}");
        let shown = record_json(&record)["phasesMs"].clone();
        assert_eq!([&shown["fork"], &shown["ready"], &shown["start"]], [1.23, 0.08, 1.31], "{shown}");
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
        });
        while let Ok(waiting) = receiver.try_recv() {
            let text = item_text(None, waiting.item, PLAIN).unwrap();
            assert!(text.contains("***") && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_failure_tells_what_where_and_what_to_do() {
        let mut failure = Failure::new(Blame::App, "E0301", "ValueError", "kaput").hint("mend it");
        failure.location = Some("function_app.py:3".to_owned());
        failure.traceback = "  File \"function_app.py\", line 3".to_owned();
        let text = record_text(&record(Some(failure)), PLAIN);
        for part in
            ["ValueError: kaput (function_app.py:3)", "File \"function_app.py\"", "hint: mend it", "E0301"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
