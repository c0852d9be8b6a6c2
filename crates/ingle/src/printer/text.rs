//! One line or record as people read it, and as programs do.

use std::time::{Duration, SystemTime};

use ingle_types::clock::unix_ms;
use ingle_types::log::{InvocationRecord, LogLine, LogSource};
use ingle_types::outcome::Blame;
use serde_json::{Value, json};

use super::{Color, Style};

/// Each line says whose it is; one below that is indented belongs to the one above it.
pub(super) fn labelled(label: &str, text: &str) -> String {
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

/// The same for what is part of a line, and none of its own.
fn harmless_word(text: &str) -> String {
    harmless(&text.replace('\n', "\\n").replace('\t', "\\t"))
}

pub(super) fn line_text(line: &LogLine, style: Style) -> String {
    if let Some(text) = &line.text {
        return lambda_text(text);
    }
    let owner = match (&line.function, line.invocation) {
        (Some(function), _) => function.to_string(),
        (None, Some(id)) => id.to_string().chars().take(12).collect(),
        (None, None) => "(no invocation)".to_owned(),
    };
    let mark = match line.source {
        LogSource::Stdout => "out",
        LogSource::Stderr => "err",
        LogSource::Logging => line.level.as_str(),
        LogSource::Security(_) => "security",
        LogSource::Segment => "segment",
    };
    let color = match mark {
        "error" | "critical" | "security" => Color::Red,
        "warning" | "err" => Color::Yellow,
        _ => Color::Dim,
    };
    let message = harmless(&line.message);
    let logger = if matches!(line.logger.as_str(), "" | "root") {
        String::new()
    } else {
        format!("{}: ", harmless_word(&line.logger))
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

/// What a handler of AWS Lambda says looks as it does there, but that it is set in, as nothing that a function says may look like a
/// line of ours. AWS's START, END and REPORT are not shown: our own line about the invocation has what they say.
fn lambda_text(text: &str) -> String {
    // AWS puts these between the lines of one message, so that it stays one.
    let text = harmless(&text.replace('\r', "\n"));
    let lines: Vec<String> =
        text.trim_end_matches('\n').split('\n').map(|line| format!("         {line}")).collect();
    lines.join("\n")
}

/// `{"event":"log", …}` or `{"event":"security", …}`; docs/cli.md has the shapes.
pub(crate) fn line_json(line: &LogLine) -> Value {
    let source = match line.source {
        LogSource::Logging => "logging",
        LogSource::Stdout => "stdout",
        LogSource::Stderr => "stderr",
        LogSource::Segment => "segment",
        LogSource::Security(refusal) => {
            return json!({"event": "security", "refused": refusal.as_str(), "worker": line.worker.to_string(),
                "invocation": line.invocation.map(|id| id.to_string()),
                "function": line.function.as_ref().map(ToString::to_string), "message": line.message});
        }
    };
    let mut shown = json!({"event": "log", "worker": line.worker.to_string(), "source": source,
        "invocation": line.invocation.map(|id| id.to_string()),
        "function": line.function.as_ref().map(ToString::to_string),
        "level": line.level.as_str(), "logger": line.logger, "message": line.message});
    if let Some(text) = line.text.as_ref().filter(|text| **text != line.message) {
        shown["text"] = json!(text);
    }
    shown
}

pub(super) fn record_text(record: &InvocationRecord, style: Style) -> String {
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
pub(super) mod tests {
    use super::*;
    use ingle_types::event::Phases;
    use ingle_types::ids::{FunctionName, InvocationId};
    use ingle_types::outcome::Failure;

    const PLAIN: Style = Style { json: false, color: false };

    pub(in super::super) fn record(failure: Option<Failure>) -> InvocationRecord {
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

    /// T-056: the name of a logger, which functions choose, makes no line that looks like one of the server.
    #[test]
    fn t_056_a_name_of_a_logger_stays_in_its_line() {
        let line = LogLine {
            worker: ingle_types::ids::WorkerId(1),
            invocation: None,
            function: Some(FunctionName::new("order")),
            level: ingle_types::log::LogLevel::Info,
            source: LogSource::Logging,
            logger: "a\r\n12:00:00 order GET /\tb".to_owned(),
            message: "said".to_owned(),
            text: None,
        };
        let expected = r"         order info a\r\n12:00:00 order GET /\tb: said";
        assert_eq!(line_text(&line, PLAIN), expected);
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

    /// Of a handler for AWS Lambda people see what they see there, set in; programs get both forms (T-056).
    #[test]
    fn t_056_a_line_of_a_handler_looks_as_on_aws_and_forges_nothing() {
        let line = LogLine {
            worker: ingle_types::ids::WorkerId(1),
            invocation: None,
            function: Some(FunctionName::new("order")),
            level: ingle_types::log::LogLevel::Info,
            source: LogSource::Logging,
            logger: "shop".to_owned(),
            message: "one\ntwo".to_owned(),
            text: Some("[INFO]\tTIME\tID\tone\r12:00:00 forged\n\u{1b}[31m\n".to_owned()),
        };
        let expected = "         [INFO]\tTIME\tID\tone\n         12:00:00 forged\n         \\u{1b}[31m";
        assert_eq!(line_text(&line, PLAIN), expected);
        let shown = line_json(&line);
        assert_eq!((&shown["message"], &shown["level"]), (&json!("one\ntwo"), &json!("info")));
        assert!(shown["text"].as_str().unwrap().starts_with("[INFO]\tTIME"));
        let printed = LogLine { text: Some("hello".to_owned()), message: "hello".to_owned(), ..line };
        assert_eq!(line_json(&printed).get("text"), None);
    }

    /// T-001: programs find what was refused by its kind, and people see that no function says it.
    #[test]
    fn t_001_what_was_refused_is_an_event_of_its_own() {
        let line = LogLine {
            worker: ingle_types::ids::WorkerId(1),
            invocation: None,
            function: Some(FunctionName::new("order")),
            level: ingle_types::log::LogLevel::Warning,
            source: LogSource::Security(ingle_types::log::Refusal::SystemCall),
            logger: String::new(),
            message: "ended\u{1b}".to_owned(),
            text: None,
        };
        assert_eq!(line_text(&line, PLAIN), "         order security ended\\u{1b}");
        let expected = json!({"event": "security", "refused": "system call", "worker": "wrk_1", "invocation": null,
            "function": "order", "message": "ended\u{1b}"});
        assert_eq!(line_json(&line), expected);
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
