//! What became of a call, said as an outcome: from the worker's answer, or from how its process ended.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Blame, Failure, Outcome};

use super::{RunsIn, memory, told};
use crate::ending::Ending;
use crate::spool;
use crate::wire::message::{Done, ErrorReason, PythonError};

/// When another worker can take what this one did not.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// The code of an answer whose outputs are not what a worker hands over.
pub(super) const OUTPUT_NOT_READ: &str = "E0305";

pub(super) fn outcome(mut done: Done, body: &Bytes, spool: Option<&Path>) -> Outcome {
    if !done.ok {
        let error = done.error.unwrap_or_default();
        if done.cancelled {
            return Outcome::Cancelled(caller_gone(error.location));
        }
        // The worker was told to stop just before the call reached it, and did not run it.
        if error.kind == "WorkerStopping" && error.traceback.is_empty() {
            let failure = Failure::new(Blame::Platform, "E0309", &error.kind, error.message);
            return Outcome::Cancelled(Failure { retry_after: Some(RETRY_SOON), ..failure.not_started() });
        }
        if error.reason != ErrorReason::Raised || error.body.is_some() {
            return Outcome::Failed(told::failed(error));
        }
        return Outcome::Failed(raised(error));
    }
    let taken =
        |mut outputs| spool::take_over(&mut outputs, spool.unwrap_or(Path::new(""))).map(|()| outputs);
    match done.outputs(body).and_then(taken) {
        Ok(outputs) => Outcome::Success(outputs),
        Err(problem) => {
            Outcome::Failed(Failure::new(Blame::Platform, OUTPUT_NOT_READ, "OutputNotRead", problem))
        }
    }
}

fn caller_gone(location: Option<String>) -> Failure {
    let message = "the client went away while the function ran";
    let mut failure = Failure::new(Blame::Caller, "E0313", "CallerGone", message);
    failure.location = location;
    failure
}

fn raised(error: PythonError) -> Failure {
    let mut failure = Failure::new(Blame::App, "E0301", &error.kind, error.message);
    failure.hint = hint_of_box(&failure, &error.traceback).map(str::to_owned);
    failure.traceback = error.traceback;
    failure.location = error.location;
    failure
}

/// What to do about errors that code meets in a box and did not meet outside.
fn hint_of_box(failure: &Failure, traceback: &str) -> Option<&'static str> {
    // EROFS, as Python writes it.
    if failure.message.contains("[Errno 30]") {
        return Some(
            "functions see files read-only: write into /tmp, or name the folder in `write` of [sandbox] in ingle.toml",
        );
    }
    // `os.environ["NAME"]`.
    if failure.kind == "KeyError" && traceback.contains("environ[") {
        return Some(
            "functions see no variable of the shell: make it a setting, or name it in `environment` of [sandbox] in ingle.toml",
        );
    }
    None
}

/// Where the function stands: the innermost `file:line` of a stack that is in the app, relative to it; if there is
/// none, the innermost of all.
pub(super) fn innermost(stack: &str, root: &Path) -> Option<String> {
    let place = |line: &str| {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((file.to_owned(), number))
    };
    let places: Vec<(String, String)> = stack.lines().filter_map(place).collect();
    let in_app = places.iter().rev().find_map(|(file, number)| {
        let path = Path::new(file);
        let relative = if path.is_absolute() { path.strip_prefix(root).ok()? } else { path };
        let is_library = relative.components().any(|part| part.as_os_str() == "site-packages");
        (!is_library).then(|| format!("{}:{number}", relative.display()))
    });
    in_app.or_else(|| places.last().map(|(file, number)| format!("{file}:{number}")))
}

pub(super) fn ended_failure(id: InvocationId, runs_in: RunsIn, ending: &Ending) -> Outcome {
    let message = format!("the worker process {}", ending.what);
    let other = ending.culprit.or(ending.timed_out).filter(|culprit| *culprit != id);
    let elsewhere = matches!((ending.crashed, runs_in.thread), (Some(crashed), Some(own)) if crashed != own);
    if ending.stopped {
        let message = "the server stopped before the function had finished";
        let mut failure = Failure::new(Blame::Platform, "E0309", "ServerStopping", message);
        failure.bystander = true;
        return Outcome::Cancelled(failure);
    }
    if let Some(shortage) = &ending.shortage {
        return Outcome::Failed(memory::exceeded(id, shortage, ending));
    }
    let mut failure = Failure::new(Blame::App, "E0303", "WorkerEnded", message);
    failure.exit = ending.exit;
    if other.is_some() || elsewhere {
        let other = other.map(|other| format!(" ({other})")).unwrap_or_default();
        failure.message = format!("{} because of another invocation{other}", failure.message);
        failure.bystander = true;
        failure.retry_after = Some(Duration::from_secs(1));
        failure.hint = Some("it may have run in part; send it again only if that does no harm".to_owned());
    } else {
        failure.traceback.clone_from(&ending.tail);
        // A crash in the thread of a lane was that lane's doing; the event loop's thread runs many.
        let own_crash = ending.crashed.is_some() && ending.crashed == runs_in.thread;
        let is_certain = ending.culprit.is_some() || (own_crash && !runs_in.shared);
        failure.suspect = !is_certain && ending.in_work > 1;
        failure.hint = Some(match ending.culprit {
            Some(_) => "return or raise instead of calling os._exit".to_owned(),
            None => "the last lines of standard error are above; a native library may be at fault".to_owned(),
        });
    }
    Outcome::Failed(failure)
}

/// The call never reached the process, so it can be given to another one.
pub(super) fn not_read(outcome: Outcome) -> Outcome {
    let message = outcome.failure().map(|failure| failure.message.clone()).unwrap_or_default();
    let mut failure = Failure::new(Blame::Platform, "E0303", "WorkerEnded", message).not_started();
    failure.retry_after = Some(RETRY_SOON);
    Outcome::Rejected(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::FromWorker;

    fn ending(culprit: Option<InvocationId>) -> Ending {
        Ending {
            what: "was ended by signal 11 (SIGSEGV)".to_owned(),
            exit: Some(ingle_types::outcome::Exit::Signal(11)),
            tail: "dump".to_owned(),
            culprit,
            timed_out: None,
            stopped: false,
            in_work: 2,
            crashed: None,
            shortage: None,
            ran: Vec::new(),
        }
    }

    fn lane(thread: u64) -> RunsIn {
        RunsIn { thread: Some(thread), shared: false }
    }

    /// T-087: who is told what when a worker dies under several invocations.
    #[test]
    fn the_culprit_is_told_the_cause_and_a_bystander_that_it_is_one() {
        let (mine, other) = (InvocationId::random(), InvocationId::random());
        let Outcome::Failed(failure) = ended_failure(mine, lane(7), &ending(None)) else {
            panic!("not failed")
        };
        assert!(!failure.bystander && failure.suspect);
        assert_eq!(failure.traceback, "dump");
        let Outcome::Failed(alone) = ended_failure(mine, lane(7), &Ending { in_work: 1, ..ending(None) })
        else {
            panic!("not failed")
        };
        assert!(!alone.suspect);
        // The fault handler tells in which thread it was.
        let crashed = |crashed| Ending { crashed: Some(crashed), ..ending(None) };
        let Outcome::Failed(culprit) = ended_failure(mine, lane(7), &crashed(7)) else {
            panic!("not failed")
        };
        let Outcome::Failed(beside) = ended_failure(mine, lane(8), &crashed(7)) else { panic!("not failed") };
        assert!(!culprit.suspect && !culprit.bystander && beside.bystander);
        let on_loop = RunsIn { shared: true, ..lane(7) };
        let Outcome::Failed(shared) = ended_failure(mine, on_loop, &crashed(7)) else { panic!("not failed") };
        assert!(shared.suspect && !shared.bystander);
        let Outcome::Rejected(unread) = not_read(Outcome::Failed(alone)) else { panic!("not rejected") };
        assert!(!unread.started);
        let Outcome::Failed(failure) = ended_failure(mine, lane(7), &ending(Some(other))) else {
            panic!("not failed")
        };
        assert!(failure.bystander);
        assert!(failure.message.contains(&other.to_string()), "{}", failure.message);
    }

    #[test]
    fn who_was_cut_off_by_a_stop_is_not_to_blame() {
        let stopped = Ending { stopped: true, ..ending(None) };
        let Outcome::Cancelled(failure) = ended_failure(InvocationId::random(), lane(7), &stopped) else {
            panic!("not cancelled")
        };
        assert!(failure.bystander && failure.blame == Blame::Platform);
    }

    #[test]
    fn a_call_that_a_stopping_worker_refused_has_not_started() {
        let answer =
            r#"{"type":"done","id":"x","ok":false,"error":{"kind":"WorkerStopping","message":"stopping"}}"#;
        let FromWorker::Done(done) = serde_json::from_str(answer).unwrap() else { panic!("not done") };
        let Outcome::Cancelled(failure) = outcome(done, &Bytes::new(), None) else { panic!("not cancelled") };
        assert!(!failure.started);
    }

    #[test]
    fn what_ended_by_being_cancelled_is_told_from_what_failed() {
        let check = |cancelled: &str, expected: &str| {
            let answer = format!(
                r#"{{"type":"done","id":"x","ok":false,"error":{{"kind":"CancelledError","message":"","traceback":"t","location":"function_app.py:7"}}{cancelled}}}"#
            );
            let FromWorker::Done(done) = serde_json::from_str(&answer).unwrap() else { panic!("not done") };
            let outcome = outcome(done, &Bytes::new(), None);
            let failure = outcome.failure().unwrap();
            assert_eq!(format!("{} {} {}", outcome.label(), failure.code, failure.started), expected);
            assert_eq!(failure.location.as_deref(), Some("function_app.py:7"));
        };
        check(r#","cancelled":true"#, "cancelled E0313 true");
        check(r#","cancelled":false"#, "failed E0301 true");
        check("", "failed E0301 true");
    }

    /// Who meets the walls of a box is told where the door is.
    #[test]
    fn errors_that_a_box_makes_come_with_what_to_do() {
        let check = |kind: &str, message: &str, traceback: &str, part: &str| {
            let (message, traceback) = (message.to_owned(), traceback.to_owned());
            let failure =
                raised(PythonError { kind: kind.to_owned(), message, traceback, ..PythonError::default() });
            let hint = failure.hint.unwrap_or_default();
            assert!(if part.is_empty() { hint.is_empty() } else { hint.contains(part) }, "{kind}: {hint}");
        };
        check("OSError", "[Errno 30] Read-only file system: 'data.db'", "", "`write`");
        check("KeyError", "'DATABASE_URL'", "    url = os.environ[\"DATABASE_URL\"]\n", "`environment`");
        check("KeyError", "'name'", "    return body[\"name\"]\n", "");
        check("ValueError", "30", "", "");
    }

    #[test]
    fn the_innermost_frame_is_the_place() {
        let stack = "  File \"function_app.py\", line 3, in hello\n    work()\n  File \"lib/a.py\", line 12, in work\n    time.sleep(9)\n";
        let check = |stack: &str| innermost(stack, Path::new("/app"));
        assert_eq!(check(stack).as_deref(), Some("lib/a.py:12"));
        assert_eq!(check("nothing"), None);
        let deeper = "  File \"/app/lib/b.py\", line 7, in work\n  File \"/usr/lib/python3.11/asyncio/tasks.py\", line 649, in sleep\n";
        assert_eq!(check(deeper).as_deref(), Some("lib/b.py:7"));
        let library = "  File \"/app/.venv/lib/python3.11/site-packages/x.py\", line 1, in y\n";
        assert_eq!(check(library).as_deref(), Some("/app/.venv/lib/python3.11/site-packages/x.py:1"));
    }
}
