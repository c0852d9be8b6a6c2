//! What can go wrong in a call to an account, in the few kinds that matter to whoever made it.
//!
//! Nothing of an address's query and no header comes into the text: there are secrets in them.

use std::error::Error as _;

use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// No connection, no answer in time, or an answer that asks to come back later.
    Unreachable,
    /// The queue, container, blob or table is not there.
    Missing,
    /// It is there already, or has changed meanwhile.
    Conflict,
    Refused,
}

/// A call that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    kind: Kind,
    reason: String,
}

impl Fault {
    pub(crate) fn unreachable(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, reason: reason.into() }
    }

    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self { kind: Kind::Refused, reason: reason.into() }
    }

    pub(crate) fn of(error: &azure_core::Error) -> Self {
        match error.kind() {
            ErrorKind::HttpResponse { status, error_code, raw_response } => {
                let fault = Self::of_status(*status, error_code.as_deref());
                let explained = raw_response.as_ref().and_then(|raw| explanation(raw.body()));
                match (u16::from(*status), explained) {
                    // What the service says of a signature is the signature's owner's business.
                    (401 | 403, _) | (_, None) => fault,
                    (_, Some(text)) => Self { reason: format!("{}: {text}", fault.reason), ..fault },
                }
            }
            ErrorKind::Connection => Self::unreachable(format!("no connection: {}", cause(error))),
            ErrorKind::Io => Self::unreachable(format!("the connection broke: {}", cause(error))),
            // What is wrong is said by ourselves; an identity may not be there yet.
            ErrorKind::Credential => Self::unreachable(error.to_string()),
            _ => Self::refused(format!("the answer can't be read: {}", cause(error))),
        }
    }

    fn of_status(status: StatusCode, code: Option<&str>) -> Self {
        let number = u16::from(status);
        let reason = match code {
            Some(code) => format!("it answers {number} {code}"),
            None => format!("it answers {number}"),
        };
        let kind = match number {
            404 => Kind::Missing,
            409 | 412 => Kind::Conflict,
            408 | 429 | 500.. => Kind::Unreachable,
            _ => Kind::Refused,
        };
        Self { kind, reason }
    }

    pub(crate) fn is_unreachable(&self) -> bool {
        self.kind == Kind::Unreachable
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.kind == Kind::Missing
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.kind == Kind::Conflict
    }
}

/// The first line of what the service says about its refusal, in XML or JSON.
fn explanation(body: &[u8]) -> Option<String> {
    const LENGTH_MAX: usize = 200;
    let text = std::str::from_utf8(body).ok()?;
    let xml = || text.split("<Message>").nth(1)?.split("</Message>").next();
    let json = || text.split("\"value\":\"").nth(1)?.split('"').next();
    let said = xml().or_else(json)?;
    let line = said.split(['\n', '\r']).next()?.split("\\n").next()?.trim();
    (!line.is_empty()).then(|| line.chars().take(LENGTH_MAX).collect())
}

/// The innermost cause. What is around it may name the whole address.
fn cause(error: &azure_core::Error) -> String {
    let mut source = error.source();
    let mut innermost = None;
    while let Some(inner) = source {
        if !inner.is::<reqwest::Error>() && !inner.is::<azure_core::Error>() {
            innermost = Some(inner.to_string());
        }
        source = inner.source();
    }
    innermost.unwrap_or_else(|| "the reason is not known".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_a_kind() {
        let check = |status: u16, expected: Kind| {
            let fault = Fault::of_status(StatusCode::from(status), Some("Code"));
            assert_eq!((fault.kind, fault.to_string()), (expected, format!("it answers {status} Code")));
        };
        check(404, Kind::Missing);
        check(409, Kind::Conflict);
        check(412, Kind::Conflict);
        check(429, Kind::Unreachable);
        check(500, Kind::Unreachable);
        check(503, Kind::Unreachable);
        check(400, Kind::Refused);
        check(403, Kind::Refused);
        check(413, Kind::Refused);
    }

    #[test]
    fn what_the_service_says_is_told_in_one_line() {
        let check = |body: &str, expected: Option<&str>| {
            assert_eq!(explanation(body.as_bytes()).as_deref(), expected);
        };
        let xml =
            "<?xml version=\"1.0\"?><Error><Code>C</Code><Message>Too large.\nRequestId:1</Message></Error>";
        check(xml, Some("Too large."));
        let json =
            r#"{"odata.error":{"code":"C","message":{"lang":"en-US","value":"A key is bad.\nRequestId:1"}}}"#;
        check(json, Some("A key is bad."));
        check("", None);
        check("<Message></Message>", None);
        check(&format!("<Message>{}</Message>", "x".repeat(1000)), Some(&"x".repeat(200)));
    }

    /// T-041: the signature is in the address, which the transport's error names.
    #[tokio::test]
    async fn t_041_no_address_is_shown() {
        let client = reqwest::Client::builder();
        rustls::crypto::ring::default_provider().install_default().ok();
        let error = client.build().unwrap().get("http://127.0.0.1:1/a?sig=secret").send().await.unwrap_err();
        assert!(error.to_string().contains("secret"), "else nothing is shown here: {error}");
        let error = azure_core::Error::with_error(ErrorKind::Connection, error, "failed");
        let shown = Fault::of(&error).to_string();
        assert!(shown.starts_with("no connection: ") && !shown.contains("secret"), "{shown}");
        assert!(shown.contains("refused"), "{shown}");
    }
}
