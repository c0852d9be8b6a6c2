//! What a caller is told of a function that failed: the JSON that Lambda's runtime and its platform make of it (facts of Lambda,
//! sections 1.3 and 1.11).

use std::time::Duration;

use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Exit, Failure};
use serde::Serialize;

use super::PAYLOAD_BYTES_MAX;

/// What the runtime says, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuntimeError<'a> {
    pub(super) error_message: &'a str,
    pub(super) error_type: &'a str,
    request_id: String,
    pub(super) stack_trace: Vec<String>,
}

/// What the platform says when the runtime can't.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlatformError<'a> {
    error_type: &'a str,
    error_message: String,
}

/// What went wrong, as Lambda sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    TimedOut,
    TooLarge,
    /// The runtime's process ended.
    Exited(Exit),
    /// The function raised, or gave back what is no result.
    Raised,
}

pub(super) const EXIT_ERROR: &str = "Runtime.ExitError";
pub(super) const TOO_LARGE: &str = "Function.ResponseSizeTooLarge";

impl Reason {
    pub(super) fn of(failure: &Failure) -> Self {
        match (failure.code, failure.exit) {
            ("E0302", _) => Self::TimedOut,
            ("E0316", _) => Self::TooLarge,
            ("E0314", _) => Self::Exited(Exit::Signal(KILLED)),
            ("E0303" | "E0319" | "E0320", Some(how)) => Self::Exited(how),
            // Lambda's worker ends with its function; ours goes on, but the caller is told the same.
            _ if failure.kind == "SystemExit" => Self::Exited(Exit::Status(exit_status(&failure.message))),
            _ => Self::Raised,
        }
    }
}

/// The error as JSON text. `timeout`: longest time of an invocation of this function.
pub(super) fn text(failure: &Failure, timeout: Duration, id: InvocationId) -> String {
    let id = id.uuid().to_string();
    match Reason::of(failure) {
        Reason::TimedOut => {
            let message = format!("RequestId: {id} Error: {}", timed_out(timeout));
            platform("Sandbox.Timedout", message)
        }
        Reason::TooLarge => {
            let message = format!(
                "Response payload size exceeded maximum allowed payload size ({PAYLOAD_BYTES_MAX} bytes)."
            );
            platform(TOO_LARGE, message)
        }
        Reason::Exited(how) => platform(EXIT_ERROR, exited(&id, how)),
        // A runtime that is a program has its own words.
        Reason::Raised => failure.body.clone().unwrap_or_else(|| json_text(&RuntimeError::of(failure, id))),
    }
}

pub(super) fn timed_out(timeout: Duration) -> String {
    format!("Task timed out after {:.2} seconds", timeout.as_secs_f64())
}

pub(super) fn exited(id: &str, how: Exit) -> String {
    format!("RequestId: {id} Error: {}", ended(how))
}

const KILLED: i32 = 9;

fn ended(exit: Exit) -> String {
    match exit {
        Exit::Status(0) => "Runtime exited without providing a reason".to_owned(),
        Exit::Status(status) => format!("Runtime exited with error: exit status {status}"),
        Exit::Signal(KILLED) => "Runtime exited with error: signal: killed".to_owned(),
        Exit::Signal(11) => "Runtime exited with error: signal: segmentation fault".to_owned(),
        Exit::Signal(6) => "Runtime exited with error: signal: aborted".to_owned(),
        Exit::Signal(15) => "Runtime exited with error: signal: terminated".to_owned(),
        Exit::Signal(number) => format!("Runtime exited with error: signal: {number}"),
    }
}

/// Of `sys.exit(argument)`, as the worker tells it: nothing is 0, and what is no number 1.
fn exit_status(message: &str) -> i32 {
    let argument = message.split_once("sys.exit(").and_then(|(_, rest)| rest.split_once(");"));
    match argument.map(|(argument, _)| argument) {
        Some("None" | "") => 0,
        argument => argument.and_then(|argument| argument.parse().ok()).unwrap_or(1),
    }
}

fn platform(kind: &str, message: String) -> String {
    json_text(&PlatformError { error_type: kind, error_message: message })
}

fn json_text(error: &impl Serialize) -> String {
    serde_json::to_string(error).unwrap_or_default()
}

impl<'a> RuntimeError<'a> {
    pub(super) fn of(failure: &'a Failure, request_id: String) -> Self {
        let stack_trace = if failure.kind.starts_with("Runtime.") { Vec::new() } else { failure.frames() };
        Self { error_message: &failure.message, error_type: &failure.kind, request_id, stack_trace }
    }
}

#[cfg(test)]
mod tests {
    use ingle_types::outcome::Blame;
    use serde_json::{Value, json};

    use super::*;

    fn failure(code: &'static str, kind: &str, message: &str) -> Failure {
        Failure::new(Blame::App, code, kind, message)
    }

    #[track_caller]
    fn check(failure: &Failure, kind: &str, message: &str) {
        let id = InvocationId::random();
        let found: Value = serde_json::from_str(&text(failure, Duration::from_secs(1), id)).unwrap();
        let message = message.replace("ID", &id.uuid().to_string());
        assert_eq!((&found["errorType"], &found["errorMessage"]), (&json!(kind), &json!(message)));
    }

    #[test]
    fn what_the_platform_ends_it_tells_in_its_words() {
        let timed_out = "RequestId: ID Error: Task timed out after 1.00 seconds";
        check(&failure("E0302", "FunctionTimeout", "…"), "Sandbox.Timedout", timed_out);
        let large = "Response payload size exceeded maximum allowed payload size (6291556 bytes).";
        check(&failure("E0316", "ResponseTooLarge", "…"), "Function.ResponseSizeTooLarge", large);
        let killed = "RequestId: ID Error: Runtime exited with error: signal: killed";
        check(&failure("E0314", "MemoryLimitExceeded", "…"), "Runtime.ExitError", killed);
        let ended = |exit| Failure { exit: Some(exit), ..failure("E0303", "WorkerEnded", "…") };
        check(&ended(Exit::Signal(9)), "Runtime.ExitError", killed);
        let status = "RequestId: ID Error: Runtime exited with error: exit status 127";
        check(&ended(Exit::Status(127)), "Runtime.ExitError", status);
        let nothing = "RequestId: ID Error: Runtime exited without providing a reason";
        check(&ended(Exit::Status(0)), "Runtime.ExitError", nothing);
        let told =
            |argument: &str| format!("the function called sys.exit({argument}); return or raise instead");
        check(&failure("E0301", "SystemExit", &told("None")), "Runtime.ExitError", nothing);
        check(&failure("E0301", "SystemExit", &told("127")), "Runtime.ExitError", status);
        let one = "RequestId: ID Error: Runtime exited with error: exit status 1";
        check(&failure("E0301", "SystemExit", &told("'why'")), "Runtime.ExitError", one);
    }

    #[test]
    fn an_exception_is_told_with_its_own_frames() {
        let traceback = "Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in inner\n    one()\nKeyError: 1\n\n\
            During handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  \
            File \"/app/a.py\", line 8, in handler\n    raise ValueError(\n        \"boo\")\n    ~~~~~^^^^\n  File \"<string>\", line 2, in x\n  [Previous line repeated 2 more times]\nValueError: boo\n    more\n";
        let raised = Failure { traceback: traceback.to_owned(), ..failure("E0301", "ValueError", "boo") };
        let id = InvocationId::random();
        let expected = format!(
            "{{\"errorMessage\":\"boo\",\"errorType\":\"ValueError\",\"requestId\":\"{}\",\"stackTrace\":[{},{},{}]}}",
            id.uuid(),
            json!("  File \"/app/a.py\", line 8, in handler\n    raise ValueError(\n"),
            json!("  File \"<string>\", line 2, in x\n"),
            json!("  [Previous line repeated 2 more times]\n"),
        );
        assert_eq!(text(&raised, Duration::ZERO, id), expected);
        let marshal =
            Failure { traceback: traceback.to_owned(), ..failure("E0301", "Runtime.MarshalError", "no") };
        assert!(text(&marshal, Duration::ZERO, id).ends_with("\"stackTrace\":[]}"));
    }
}
