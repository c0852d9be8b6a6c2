//! The log of one invocation as AWS's callers get it with the answer: what the function said, between the lines of the platform
//! (facts of Lambda, sections 1.8 and 1.10).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use ingle_types::event::Completion;
use ingle_types::outcome::Failure;
use ingle_types::spec::{HandlerTrigger, LambdaLogFormat};
use serde::Serialize;

use super::error::{self, EXIT_ERROR, Reason, RuntimeError, TOO_LARGE};

/// How much of it a caller gets, in bytes.
const TAIL_BYTES: usize = 4096;
/// Stands for spaces at the beginning of a line in an exception, and a carriage return for line breaks: so AWS takes it for one event.
const NO_BREAK_SPACE: char = '\u{a0}';

/// When the event came, and when its invocation was over.
#[derive(Clone, Copy)]
pub(super) struct Times {
    pub(super) began: SystemTime,
    pub(super) ended: SystemTime,
}

/// The last kilobytes of the log, in base64.
pub(super) fn tail(ended: &Completion, handler: &HandlerTrigger, times: Times) -> String {
    let log = whole(ended, handler, times);
    let bytes = log.as_bytes();
    STANDARD.encode(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..])
}

fn whole(ended: &Completion, handler: &HandlerTrigger, times: Times) -> String {
    let id = ended.id.uuid().to_string();
    let failure = ended.outcome.failure();
    let said = ended.log.as_ref().map_or("", |log| log.said.as_str());
    let report = Report::of(ended, handler);
    match handler.log_format {
        LambdaLogFormat::Text => {
            let error = failure.map(|failure| error_text(failure, handler, &id, times.ended));
            format!(
                "START RequestId: {id} Version: $LATEST\n{}{}END RequestId: {id}\n{}",
                said,
                error.unwrap_or_default(),
                report.text(&id)
            )
        }
        LambdaLogFormat::Json => {
            let error = failure.map(|failure| error_json(failure, &id, times.ended)).unwrap_or_default();
            let start = Start { request_id: &id, version: "$LATEST" };
            format!(
                "{}{}{error}{}",
                event("platform.start", times.began, &start),
                said,
                event("platform.report", times.ended, &report.json(&id, failure))
            )
        }
    }
}

// === What went wrong ===

fn error_text(failure: &Failure, handler: &HandlerTrigger, id: &str, now: SystemTime) -> String {
    match Reason::of(failure) {
        Reason::TimedOut => format!("{} {id} {}\n\n", time_text(now), error::timed_out(handler.timeout)),
        Reason::Exited(how) => format!("{}\n{EXIT_ERROR}\n", error::exited(id, how)),
        // The platform has refused the result; the runtime knows nothing of it.
        Reason::TooLarge => String::new(),
        // A program that is a runtime has said it in its own log.
        Reason::Raised if failure.body.is_some() => String::new(),
        Reason::Raised => raised_text(&RuntimeError::of(failure, id.to_owned())),
    }
}

fn raised_text(error: &RuntimeError<'_>) -> String {
    let mut text = format!("[ERROR] {}", error.error_type);
    if !error.error_message.is_empty() {
        text.push_str(": ");
        text.push_str(error.error_message);
    }
    text.push_str("\rTraceback (most recent call last):");
    for line in error.stack_trace.iter().flat_map(|frame| frame.lines()) {
        let words = line.trim_start_matches(' ');
        text.push('\r');
        text.extend(std::iter::repeat_n(NO_BREAK_SPACE, line.len() - words.len()));
        text.push_str(words);
    }
    text.push('\n');
    text
}

fn error_json(failure: &Failure, id: &str, now: SystemTime) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        timestamp: String,
        level: &'static str,
        #[serde(flatten)]
        error: RuntimeError<'a>,
    }
    match Reason::of(failure) {
        Reason::Raised if failure.body.is_some() => String::new(),
        Reason::Raised => {
            let timestamp = DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Secs, true);
            json_line(&Line { timestamp, level: "ERROR", error: RuntimeError::of(failure, id.to_owned()) })
        }
        // The report says it.
        Reason::TimedOut | Reason::TooLarge | Reason::Exited(_) => String::new(),
    }
}

// === The platform's own lines ===

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    request_id: &'a str,
    version: &'static str,
}

/// What an invocation has used.
struct Report {
    duration: Duration,
    /// Making the worker, if this was its first invocation.
    init: Option<Duration>,
    memory_size_mib: u64,
    /// What the worker had in memory when the function was over; none if it was gone before anybody looked.
    memory_used_mib: Option<u64>,
    reason: Option<Reason>,
}

impl Report {
    fn of(ended: &Completion, handler: &HandlerTrigger) -> Self {
        let failure = ended.outcome.failure();
        let (reason, is_out_of_memory) =
            (failure.map(Reason::of), failure.is_some_and(|failure| failure.code == "E0314"));
        let duration = match reason {
            // Finding out where it hangs took some more.
            Some(Reason::TimedOut) => ended.phases.user.min(handler.timeout),
            _ => ended.phases.user,
        };
        Self {
            duration,
            init: ended.log.as_ref().and_then(|log| log.init),
            memory_size_mib: handler.memory_mib,
            memory_used_mib: match ended.phases.memory_bytes {
                // It had all that it may have.
                _ if is_out_of_memory => Some(handler.memory_mib),
                0 => None,
                bytes => Some(bytes.div_ceil(1 << 20)),
            },
            reason,
        }
    }

    /// Whole milliseconds, begun ones too. Since August 2025 AWS counts the start with them.
    fn billed_ms(&self) -> u128 {
        (self.duration + self.init.unwrap_or_default()).as_nanos().div_ceil(1_000_000)
    }

    fn text(&self, id: &str) -> String {
        let ms = |duration: Duration| format!("{:.2} ms", milliseconds(duration));
        let used = self.memory_used_mib.map(|used| format!("Max Memory Used: {used} MB\t"));
        let init = self.init.map(|init| format!("Init Duration: {}\t", ms(init))).unwrap_or_default();
        let status = match self.reason {
            Some(Reason::TimedOut) => "Status: timeout".to_owned(),
            Some(Reason::Exited(_)) => format!("Status: error\tError Type: {EXIT_ERROR}"),
            Some(Reason::TooLarge) => format!("Status: error\tError Type: {TOO_LARGE}"),
            Some(Reason::Raised) | None => String::new(),
        };
        format!(
            "REPORT RequestId: {id}\tDuration: {}\tBilled Duration: {} ms\tMemory Size: {} MB\t{}{init}{status}\n",
            ms(self.duration),
            self.billed_ms(),
            self.memory_size_mib,
            used.unwrap_or_default(),
        )
    }

    fn json<'a>(&self, id: &'a str, failure: Option<&'a Failure>) -> ReportRecord<'a> {
        let (status, error_type) = match self.reason {
            None => ("success", None),
            Some(Reason::TimedOut) => ("timeout", None),
            Some(Reason::Exited(_)) => ("failure", Some(EXIT_ERROR)),
            Some(Reason::TooLarge) => ("error", Some(TOO_LARGE)),
            Some(Reason::Raised) => ("error", failure.map(|failure| failure.kind.as_str())),
        };
        let metrics = Metrics {
            duration_ms: milliseconds(self.duration),
            billed_duration_ms: self.billed_ms(),
            memory_size: self.memory_size_mib,
            max_memory_used: self.memory_used_mib,
            init_duration_ms: self.init.map(milliseconds),
        };
        ReportRecord { request_id: id, status, error_type, metrics }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportRecord<'a> {
    request_id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<&'a str>,
    metrics: Metrics,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    duration_ms: f64,
    billed_duration_ms: u128,
    #[serde(rename = "memorySizeMB")]
    memory_size: u64,
    #[serde(rename = "maxMemoryUsedMB", skip_serializing_if = "Option::is_none")]
    max_memory_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init_duration_ms: Option<f64>,
}

fn event(kind: &str, time: SystemTime, record: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Event<'a, Record> {
        time: String,
        r#type: &'a str,
        record: &'a Record,
    }
    json_line(&Event { time: time_text(time), r#type: kind, record })
}

fn json_line(value: &impl Serialize) -> String {
    // Numbers and texts can always be written.
    serde_json::to_string(value).map(|text| text + "\n").unwrap_or_default()
}

/// With two digits behind the point, as AWS writes them.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 1e2
}

fn time_text(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use ingle_types::event::Phases;
    use ingle_types::ids::InvocationId;
    use ingle_types::log::CallLog;
    use ingle_types::outcome::{Blame, Exit, Outcome, Outputs};
    use serde_json::{Value, json};

    use super::*;

    const TIMES: Times = Times { began: SystemTime::UNIX_EPOCH, ended: SystemTime::UNIX_EPOCH };

    fn handler(log_format: LambdaLogFormat) -> HandlerTrigger {
        let region = "us-east-1".to_owned();
        HandlerTrigger {
            url: None,
            invoke_mode: ingle_types::spec::InvokeMode::default(),
            schedules: Vec::new(),
            queues: Vec::new(),
            later: ingle_types::spec::LaterOptions::default(),
            timeout: Duration::from_secs(1),
            region,
            memory_mib: 128,
            log_format,
        }
    }

    fn ended(outcome: Outcome, init: Option<Duration>, said: &str) -> Completion {
        let log = Box::new(CallLog { said: said.to_owned(), init });
        let phases =
            Phases { user: Duration::from_micros(2_901), memory_bytes: (35 << 20) + 1, ..Phases::default() };
        Completion { id: InvocationId::random(), outcome, phases, effects: Vec::new(), log: Some(log) }
    }

    fn good() -> Outcome {
        Outcome::Success(Outputs::default())
    }

    fn failed(code: &'static str, kind: &str, message: &str) -> Failure {
        Failure::new(Blame::App, code, kind, message)
    }

    /// The whole text, with `ID` for the id of the request.
    fn text(ended: &Completion) -> String {
        whole(ended, &handler(LambdaLogFormat::Text), TIMES).replace(&ended.id.uuid().to_string(), "ID")
    }

    #[test]
    fn a_good_invocation_has_three_lines_of_the_platform() {
        let start = "START RequestId: ID Version: $LATEST\n";
        let warm = "END RequestId: ID\nREPORT RequestId: ID\tDuration: 2.90 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\t\
            Max Memory Used: 36 MB\t\n";
        assert_eq!(text(&ended(good(), None, "hello\n")), format!("{start}hello\n{warm}"));
        let cold = text(&ended(good(), Some(Duration::from_micros(110_099)), ""));
        let expected = "Billed Duration: 113 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n";
        assert!(cold.starts_with(&format!("{start}END")) && cold.ends_with(expected), "{cold}");
    }

    #[test]
    fn a_failure_says_what_it_was() {
        let check = |failure: Failure, line: &str, end: &str| {
            let found = text(&ended(Outcome::Failed(failure), None, ""));
            let (_, rest) = found.split_once("$LATEST\n").unwrap();
            let (error, report) = rest.split_once("END RequestId: ID\n").unwrap();
            assert_eq!((error, report.rsplit_once("36 MB\t").unwrap().1), (line, end));
        };
        let mut raised = failed("E0301", "ValueError", "the order\nis gone");
        raised.traceback = "Traceback (most recent call last):\n  File \"/app/a.py\", line 8, in handler\n    raise ValueError()\nValueError: boo\n".to_owned();
        let expected = "[ERROR] ValueError: the order\nis gone\rTraceback (most recent call last):\r\u{a0}\u{a0}File \"/app/a.py\", line 8, in handler\r\u{a0}\u{a0}\u{a0}\u{a0}raise ValueError()\n";
        check(raised, expected, "\n");
        check(
            failed("E0301", "OrderError", ""),
            "[ERROR] OrderError\rTraceback (most recent call last):\n",
            "\n",
        );
        let late = "1970-01-01T00:00:00.000Z ID Task timed out after 1.00 seconds\n\n";
        check(failed("E0302", "FunctionTimeout", "…"), late, "Status: timeout\n");
        let exit = Failure { exit: Some(Exit::Status(7)), ..failed("E0303", "WorkerEnded", "…") };
        let line = "RequestId: ID Error: Runtime exited with error: exit status 7\nRuntime.ExitError\n";
        check(exit, line, "Status: error\tError Type: Runtime.ExitError\n");
        let large = "Status: error\tError Type: Function.ResponseSizeTooLarge\n";
        check(failed("E0316", "ResponseTooLarge", "…"), "", large);
    }

    #[test]
    fn memory_is_what_was_seen_of_it() {
        let check = |failure: Failure, expected: &str| {
            let mut ended = ended(Outcome::Failed(failure), None, "");
            ended.phases.memory_bytes = 0;
            assert!(text(&ended).contains(&format!("Memory Size: 128 MB\t{expected}Status: error")));
        };
        check(Failure { exit: Some(Exit::Status(1)), ..failed("E0303", "WorkerEnded", "…") }, "");
        check(failed("E0314", "MemoryLimitExceeded", "…"), "Max Memory Used: 128 MB\t");
    }

    #[test]
    fn a_log_of_json_has_events_of_the_platform() {
        let lines = |outcome: Outcome| -> Vec<Value> {
            let ended = ended(outcome, None, "{\"message\":\"hello\"}\n");
            let text = whole(&ended, &handler(LambdaLogFormat::Json), TIMES);
            let text = text.replace(&ended.id.uuid().to_string(), "ID");
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let metrics =
            json!({"durationMs": 2.9, "billedDurationMs": 3, "memorySizeMB": 128, "maxMemoryUsedMB": 36});
        let time = "1970-01-01T00:00:00.000Z";
        let expected = [
            json!({"time": time, "type": "platform.start", "record": {"requestId": "ID", "version": "$LATEST"}}),
            json!({"message": "hello"}),
            json!({"time": time, "type": "platform.report",
                "record": {"requestId": "ID", "status": "success", "metrics": metrics}}),
        ];
        assert_eq!(lines(good()), expected);
        let failed = lines(Outcome::Failed(failed("E0301", "ValueError", "boo")));
        let error = json!({"timestamp": "1970-01-01T00:00:00Z", "level": "ERROR", "errorMessage": "boo",
            "errorType": "ValueError", "requestId": "ID", "stackTrace": []});
        assert_eq!(failed[2], error);
        assert_eq!(failed[3]["record"]["status"], "error");
        assert_eq!(failed[3]["record"]["errorType"], "ValueError");
    }

    #[test]
    fn of_a_long_log_the_end_is_told() {
        let long = ended(good(), None, &"ü\n".repeat(4000));
        let tail = STANDARD.decode(tail(&long, &handler(LambdaLogFormat::Text), TIMES)).unwrap();
        assert_eq!(tail.len(), TAIL_BYTES);
        assert!(tail.ends_with(b"Max Memory Used: 36 MB\t\n"));
    }
}
