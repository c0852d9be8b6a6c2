//! What a runtime that is a program, or its relay in the worker, tells of a call that failed.

use ingle_types::outcome::{Blame, Failure};

use crate::wire::message::{ErrorReason, PythonError};

/// The failure of a call that a runtime has not answered.
pub(super) fn failed(error: PythonError) -> Failure {
    let (code, hint) = match error.reason {
        ErrorReason::Raised => ("E0301", None),
        ErrorReason::TooLarge => return crate::bounds::answer_refused(error.message),
        ErrorReason::Exited => {
            ("E0303", Some("its last lines are above; a runtime has to stay and ask for the next event"))
        }
        ErrorReason::Unstartable => (
            "E0318",
            Some("check that it is built for this machine, or that what its first line names exists"),
        ),
        ErrorReason::Init => ("E0319", Some("what it said while it started is in the log above")),
        ErrorReason::Extension => ("E0320", Some("what the extension said is in the log above")),
    };
    let mut failure = Failure::new(Blame::App, code, &error.kind, error.message);
    failure.hint = hint.map(str::to_owned);
    failure.traceback = error.traceback;
    failure.location = error.location;
    failure.exit = error.exit.map(Into::into);
    failure.body = error.body;
    failure
}

#[cfg(test)]
mod tests {
    use ingle_types::outcome::Exit;

    use super::*;

    #[track_caller]
    fn check(error: &str, code: &str, exit: Option<Exit>, body: Option<&str>) {
        let error: PythonError = serde_json::from_str(error).unwrap();
        let failure = failed(error);
        assert_eq!((failure.code, failure.exit, failure.body.as_deref()), (code, exit, body));
    }

    #[test]
    fn each_reason_has_its_code() {
        let raised = r#"{"kind":"ValueError","message":"boo","reason":"raised","body":"{\"errorType\":\"ValueError\"}"}"#;
        check(raised, "E0301", None, Some("{\"errorType\":\"ValueError\"}"));
        check(r#"{"kind":"x","message":"","reason":"too_large"}"#, "E0316", None, None);
        let exited = r#"{"kind":"x","message":"","reason":"exited","exit":{"status":3}}"#;
        check(exited, "E0303", Some(Exit::Status(3)), None);
        let killed = r#"{"kind":"x","message":"","reason":"init","exit":{"signal":9}}"#;
        check(killed, "E0319", Some(Exit::Signal(9)), None);
        check(r#"{"kind":"x","message":"","reason":"unstartable","body":"{}"}"#, "E0318", None, Some("{}"));
        check(r#"{"kind":"x","message":"","reason":"extension"}"#, "E0320", None, None);
    }
}
