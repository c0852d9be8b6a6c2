//! Failures as HTTP answers: whose fault decides the status, and what may be said to the caller.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Failure, Outcome};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Set while the newest version of the app has errors and an older one answers.
const RELOAD_ERROR: HeaderName = HeaderName::from_static("x-ingle-reload-error");

/// The status for a failed invocation.
pub fn status(outcome: &Outcome, failure: &Failure) -> StatusCode {
    match (outcome, failure.code) {
        (_, "E0231") => StatusCode::NOT_FOUND,
        (_, "E0310") => StatusCode::LOOP_DETECTED,
        (_, "E0304" | "E0309") => StatusCode::SERVICE_UNAVAILABLE,
        (_, "E0308") if failure.kind == "TooManyRequests" => StatusCode::TOO_MANY_REQUESTS,
        (_, "E0308") => StatusCode::SERVICE_UNAVAILABLE,
        (Outcome::TimedOut(_), _) => StatusCode::GATEWAY_TIMEOUT,
        (_, "E0303") if failure.bystander => StatusCode::SERVICE_UNAVAILABLE,
        (_, "E0303" | "E0504") => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Whether the invocation was given up because whoever waited for the answer has gone away.
pub(crate) fn is_for_nobody(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Cancelled(failure) if failure.code == "E0313")
}

/// The answer: everything in development, and only the invocation's id otherwise.
pub fn response(
    status: StatusCode,
    failure: &Failure,
    id: InvocationId,
    development: bool,
) -> Response<Bytes> {
    let body =
        if development { details(failure, id) } else { format!("The request failed. Invocation: {id}\n") };
    let mut response = plain(status, body);
    if let Some(after) = failure.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    response
}

fn details(failure: &Failure, id: InvocationId) -> String {
    let mut text = format!("{}: {}\n", failure.kind, failure.message);
    if let Some(location) = &failure.location {
        text.push_str(&format!("at {location}\n"));
    }
    if !failure.traceback.is_empty() {
        text.push_str(&format!("\n{}\n", failure.traceback.trim_end()));
    }
    if let Some(hint) = &failure.hint {
        text.push_str(&format!("\nhint: {hint}\n"));
    }
    text.push_str(&format!("\n{} · invocation {id} · `ingle explain {}`\n", failure.code, failure.code));
    text
}

/// A refusal that never became an invocation.
pub fn refusal(status: StatusCode, code: &str, message: &str, hint: Option<&str>) -> Response<Bytes> {
    let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    plain(status, format!("{message} ({code})\n{hint}"))
}

/// Tells a developer that an older version of the app answered: in a header, and in the body of an error.
pub(crate) fn add_notice(response: &mut Response<Bytes>, notice: &str) {
    let first = notice.lines().next().unwrap_or_default();
    let first: String =
        first.chars().filter(|character| character.is_ascii_graphic() || *character == ' ').collect();
    if let Ok(value) = HeaderValue::from_str(&first) {
        response.headers_mut().insert(RELOAD_ERROR, value);
    }
    let is_text = response.headers().get(CONTENT_TYPE).is_some_and(|kind| *kind == TEXT);
    if is_text && (response.status().is_client_error() || response.status().is_server_error()) {
        let body = String::from_utf8_lossy(response.body()).into_owned();
        let body = format!(
            "{body}\nThe last version that could be imported answered. The newest one has errors:\n{notice}\n"
        );
        *response.body_mut() = Bytes::from(body);
    }
}

pub(crate) fn plain(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::outcome::Blame;
    use std::time::Duration;

    fn failure(code: &'static str) -> Failure {
        Failure::new(Blame::App, code, "ValueError", "kaput")
    }

    #[test]
    fn whose_fault_decides_the_status() {
        let check = |outcome: Outcome, expected: u16| {
            let failure = outcome.failure().unwrap().clone();
            assert_eq!(status(&outcome, &failure).as_u16(), expected, "{failure:?}");
        };
        check(Outcome::Failed(failure("E0301")), 500);
        check(Outcome::TimedOut(failure("E0302")), 504);
        check(Outcome::Failed(failure("E0303")), 502);
        check(Outcome::Failed(Failure { bystander: true, ..failure("E0303") }), 503);
        check(Outcome::Rejected(failure("E0304")), 503);
        check(Outcome::Rejected(Failure { kind: "TooManyRequests".to_owned(), ..failure("E0308") }), 429);
        check(Outcome::Failed(failure("E0504")), 502);
    }

    #[test]
    fn a_notice_is_a_header_and_explains_errors() {
        let mut response = plain(StatusCode::NOT_FOUND, "no function has this route (E0501)\n".to_owned());
        add_notice(&mut response, "error[E0202] function_app.py:3: this is not Python\n    x = (");
        assert_eq!(response.headers()[RELOAD_ERROR], "error[E0202] function_app.py:3: this is not Python");
        assert!(String::from_utf8_lossy(response.body()).contains("x = ("));
        let mut good = plain(StatusCode::OK, "fine".to_owned());
        add_notice(&mut good, "error");
        assert_eq!(&good.body()[..], b"fine");
    }

    #[test]
    fn only_development_shows_the_traceback() {
        let failure = Failure {
            traceback: "  File \"function_app.py\", line 3".to_owned(),
            retry_after: Some(Duration::from_millis(10)),
            ..failure("E0301")
        };
        let id = InvocationId::random();
        let text = |development| {
            let response = response(StatusCode::INTERNAL_SERVER_ERROR, &failure, id, development);
            assert_eq!(response.headers()[RETRY_AFTER], "1");
            String::from_utf8(response.into_body().to_vec()).unwrap()
        };
        assert!(text(true).contains("function_app.py"));
        assert!(!text(false).contains("function_app.py") && !text(false).contains("kaput"));
        assert!(text(true).contains(&id.to_string()) && text(false).contains(&id.to_string()));
    }
}
