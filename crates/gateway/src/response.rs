//! What a function returned into the response that is sent, or into an error that names what can't be sent.
//!
//! Rules are those of Azure's host (facts 3.4) with the kinder exceptions that docs/http.md lists. User code can put
//! anything into a header, so every name and value is checked here and nothing here panics (T-046).

mod cookie;
mod object;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use thiserror::Error;

use ingle_types::datum::{Datum, HttpResponse};
use ingle_types::ids::FunctionName;
use ingle_types::outcome::{Blame, Failure};

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

/// How much of a bad name or value a message quotes, in characters.
const QUOTE_MAX: usize = 80;

/// A response that can't be sent: the caller gets 502, the log gets this.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("function `{function}` returned a response that can't be sent")]
pub struct ResponseError {
    pub function: FunctionName,
    #[source]
    pub fault: ResponseFault,
}

/// What is wrong with a returned response. Quoted texts are cut and have their control characters escaped.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ResponseFault {
    #[error("{0} is no status code from 200 to 599")]
    Status(String),
    #[error("{0} is no name for a header")]
    HeaderName(String),
    #[error("the value of header `{name}` holds a line break or another control character: {value}")]
    HeaderValue { name: String, value: String },
    #[error("there are too many headers")]
    TooManyHeaders,
    #[error("`{field}` of the returned object is not {expected}")]
    Field { field: &'static str, expected: &'static str },
    #[error("an HTTP output can't carry a value of kind `{0}`")]
    Kind(&'static str),
}

impl ResponseError {
    /// The same, as the failure of the invocation.
    pub fn failure(&self) -> Failure {
        let message = format!("{self}: {}", self.fault);
        let mut failure = Failure::new(self.blame(), self.code(), "InvalidResponse", message);
        failure.hint = self.hint();
        failure
    }

    pub fn status(&self) -> StatusCode {
        StatusCode::BAD_GATEWAY
    }

    pub fn code(&self) -> &'static str {
        "E0504"
    }

    pub fn blame(&self) -> Blame {
        Blame::App
    }

    pub fn hint(&self) -> Option<String> {
        let hint = match &self.fault {
            ResponseFault::Status(_) => "give func.HttpResponse a number such as status_code=200",
            ResponseFault::HeaderName(_) => "a header name holds letters, digits and `-`, no spaces",
            ResponseFault::HeaderValue { .. } => {
                "remove line breaks from what goes into headers, above all from user input"
            }
            ResponseFault::TooManyHeaders => "send fewer headers",
            ResponseFault::Field { .. } => {
                "a JSON object with a `body` is read as a response; return func.HttpResponse to send it as it is"
            }
            ResponseFault::Kind(_) => "return func.HttpResponse, str or bytes",
        };
        Some(hint.to_owned())
    }
}

/// A response that can be sent.
#[derive(Debug)]
pub struct Reply {
    pub response: Response<Bytes>,
    /// Sentences for the log about what was left out.
    pub notes: Vec<String>,
}

/// Maps the value of a function's HTTP output. `None`: the function has no such output or didn't set it.
///
/// # Errors
/// [`ResponseError`] if the value is no response that HTTP can carry.
pub fn respond(function: &FunctionName, output: Option<Datum>) -> Result<Reply, ResponseError> {
    map(output.unwrap_or(Datum::Nothing)).map_err(|fault| ResponseError { function: function.clone(), fault })
}

/// Status and headers of a response whose body comes later.
///
/// # Errors
/// [`ResponseError`] if HTTP can't carry them.
pub fn stream_head(function: &FunctionName, head: HttpResponse) -> Result<Response<()>, ResponseError> {
    let reply = map_response(head).map_err(|fault| ResponseError { function: function.clone(), fault })?;
    Ok(reply.response.map(|_empty| ()))
}

fn map(datum: Datum) -> Result<Reply, ResponseFault> {
    match datum {
        Datum::Nothing => Draft::new(StatusCode::NO_CONTENT, Bytes::new()).finish(),
        Datum::Text(text) | Datum::Json(text) => map_text(text),
        Datum::Bytes(body) => Draft::new(StatusCode::OK, body).finish(),
        Datum::Int(number) => Draft::text(number.to_string()).finish(),
        Datum::Double(number) => Draft::text(number.to_string()).finish(),
        Datum::Texts(texts) => Draft::text(serde_json::Value::from(texts).to_string()).finish(),
        Datum::Response(response) => map_response(*response),
        Datum::ManyBytes(_) | Datum::Request(_) | Datum::File(_) => Err(ResponseFault::Kind(datum.kind())),
    }
}

/// A text goes out as it is, but a JSON string loses its quotes and a JSON object with a `body` is a response.
fn map_text(text: String) -> Result<Reply, ResponseFault> {
    match text.trim_start().as_bytes().first() {
        Some(b'"') => {
            let unquoted = serde_json::from_str::<String>(&text);
            Draft::text(unquoted.unwrap_or(text)).finish()
        }
        Some(b'{') => match object::read(&text) {
            Some(response) => response?.finish(),
            None => Draft::text(text).finish(),
        },
        _ => Draft::text(text).finish(),
    }
}

fn map_response(response: HttpResponse) -> Result<Reply, ResponseFault> {
    let status = status(response.status).ok_or_else(|| ResponseFault::Status(response.status.to_string()))?;
    let mut draft = Draft::new(status, response.body);
    for (name, value) in &response.headers {
        draft.header(name, value)?;
    }
    draft.finish()
}

/// A status that can end a request. 1xx can't: the caller would wait for the real answer.
pub(crate) fn status(number: i64) -> Option<StatusCode> {
    let number = u16::try_from(number).ok().filter(|number| (200..600).contains(number))?;
    StatusCode::from_u16(number).ok()
}

/// Checks a header of user code or of host.json.
///
/// # Errors
/// [`ResponseFault::HeaderName`] or [`ResponseFault::HeaderValue`].
pub fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ResponseFault> {
    let checked =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| ResponseFault::HeaderName(quote(name)))?;
    // Bytes rather than text: UTF-8 beyond ASCII is fine in a value, and browsers read it.
    let value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| ResponseFault::HeaderValue { name: checked.to_string(), value: quote(value) })?;
    Ok((checked, value))
}

/// Quotes a text of user code for a message, short and without its control characters.
fn quote(text: &str) -> String {
    let cut: String = text.chars().take(QUOTE_MAX).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{more}")
}

/// A response in the making.
#[derive(Debug)]
struct Draft {
    response: Response<Bytes>,
    notes: Vec<String>,
}

impl Draft {
    fn new(status: StatusCode, body: Bytes) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Self { response, notes: Vec::new() }
    }

    fn text(body: String) -> Self {
        let mut draft = Self::new(StatusCode::OK, body.into());
        draft.content_type(TEXT);
        draft
    }

    /// Sets the content type unless there is one.
    fn content_type(&mut self, value: &'static str) {
        self.response.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(value));
    }

    /// Adds a header; repeated ones are kept, except for the content type, of which there is one.
    fn header(&mut self, name: &str, value: &str) -> Result<(), ResponseFault> {
        let (name, value) = header(name, value)?;
        if belongs_to_server(&name) {
            self.notes
                .push(format!("header `{name}` of the function was left out: the server sets it itself"));
            return Ok(());
        }
        let headers = self.response.headers_mut();
        if name == CONTENT_TYPE {
            headers.insert(name, value);
            return Ok(());
        }
        headers.try_append(name, value).map(|_| ()).map_err(|_| ResponseFault::TooManyHeaders)
    }

    fn finish(mut self) -> Result<Reply, ResponseFault> {
        let status = self.response.status();
        let bodiless =
            matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
        if bodiless && !self.response.body().is_empty() {
            self.notes
                .push(format!("the body was left out: a response with status {} has none", status.as_u16()));
            *self.response.body_mut() = Bytes::new();
        }
        Ok(Reply { response: self.response, notes: self.notes })
    }
}

/// Headers about the connection and the framing of the body. A wrong one would let a function end its response early
/// and begin another (T-032).
pub(crate) fn belongs_to_server(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, TE, TRAILER, UPGRADE].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn function() -> FunctionName {
        FunctionName::new("f")
    }

    fn response(status: i64, headers: &[(&str, &str)], body: &'static str) -> Datum {
        let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Datum::Response(Box::new(HttpResponse { status, headers, body: Bytes::from(body) }))
    }

    fn text(text: &str) -> Datum {
        Datum::Text(text.to_owned())
    }

    /// The response as `status|name: value|…|body`.
    fn check(output: Datum, expected: &str) {
        let shown = format!("{output:?}");
        let response = respond(&function(), Some(output)).unwrap().response;
        let mut lines = vec![response.status().as_u16().to_string()];
        lines.extend(
            response
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))),
        );
        lines.push(String::from_utf8_lossy(response.body()).into_owned());
        assert_eq!(lines.join("|"), expected, "{shown}");
    }

    fn check_fault(output: Datum, expected: &str) {
        let error = respond(&function(), Some(output)).unwrap_err();
        assert_eq!(error.fault.to_string(), expected);
        assert_eq!((error.code(), error.blame(), error.status().as_u16()), ("E0504", Blame::App, 502));
        assert_eq!(error.to_string(), "function `f` returned a response that can't be sent");
    }

    #[test]
    fn responses_go_out_as_given() {
        check(response(200, &[], ""), "200|");
        check(
            response(599, &[("Content-Type", "image/png"), ("X-A", "é\t1")], "b"),
            "599|content-type: image/png|x-a: é\t1|b",
        );
        check(
            response(302, &[("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("link", "x"), ("link", "y")], ""),
            "302|set-cookie: a=1|set-cookie: b=2|link: x|link: y|",
        );
        check(
            response(200, &[("content-type", "a/b"), ("content-type", "c/d")], ""),
            "200|content-type: c/d|",
        );
    }

    #[test]
    fn nothing_is_204() {
        check(Datum::Nothing, "204|");
        assert_eq!(respond(&function(), None).unwrap().response.status(), StatusCode::NO_CONTENT);
    }

    #[test]
    fn plain_values() {
        check(text("hello"), "200|content-type: text/plain; charset=utf-8|hello");
        check(text(""), "200|content-type: text/plain; charset=utf-8|");
        check(text("true"), "200|content-type: text/plain; charset=utf-8|true");
        check(text("null"), "200|content-type: text/plain; charset=utf-8|null");
        check(text(r#"{"a": [1, 2]}"#), r#"200|content-type: text/plain; charset=utf-8|{"a": [1, 2]}"#);
        check(text(r#"[{"body": 1}]"#), r#"200|content-type: text/plain; charset=utf-8|[{"body": 1}]"#);
        check(text(r#""quoted \u00e9""#), "200|content-type: text/plain; charset=utf-8|quoted é");
        check(text(r#""quoted" twice"#), r#"200|content-type: text/plain; charset=utf-8|"quoted" twice"#);
        check(text("{body}"), "200|content-type: text/plain; charset=utf-8|{body}");
        check(Datum::Json("[1]".to_owned()), "200|content-type: text/plain; charset=utf-8|[1]");
        check(Datum::Bytes(Bytes::from_static(b"raw")), "200|raw");
        check(Datum::Int(-5), "200|content-type: text/plain; charset=utf-8|-5");
        check(Datum::Texts(vec!["a".to_owned()]), r#"200|content-type: text/plain; charset=utf-8|["a"]"#);
        check_fault(
            Datum::ManyBytes(Vec::new()),
            "an HTTP output can't carry a value of kind `collection_bytes`",
        );
    }

    #[test]
    fn impossible_statuses_are_the_apps_fault() {
        for status in [0, -1, 99, 100, 101, 199, 600, 999, 65_736, i64::MAX, i64::MIN] {
            check_fault(response(status, &[], ""), &format!("{status} is no status code from 200 to 599"));
        }
    }

    #[test]
    fn header_injection_is_refused_t_046() {
        let quoted = |value: &str| {
            format!("the value of header `x-a` holds a line break or another control character: {value}")
        };
        check_fault(
            response(200, &[("X-A", "1\r\nSet-Cookie: a=1")], ""),
            &quoted(r#""1\r\nSet-Cookie: a=1""#),
        );
        check_fault(response(200, &[("X-A", "\n")], ""), &quoted(r#""\n""#));
        check_fault(response(200, &[("X-A", "a\0")], ""), &quoted(r#""a\0""#));
        let long = format!("\u{1b}{}", "é".repeat(500));
        check_fault(
            response(200, &[("X-A", &long)], ""),
            &quoted(&format!("\"\\u{{1b}}{}\"…", "é".repeat(79))),
        );
        for name in ["", "a b", "a\r\nb", "a:", "ä", "a\0"] {
            check_fault(response(200, &[(name, "1")], ""), &format!("{name:?} is no name for a header"));
        }
    }

    #[test]
    fn framing_belongs_to_the_server_t_032() {
        let given = response(
            200,
            &[
                ("Content-Length", "1"),
                ("transfer-encoding", "chunked"),
                ("Connection", "close"),
                ("Keep-Alive", "x"),
            ],
            "body",
        );
        let reply = respond(&function(), Some(given)).unwrap();
        assert!(reply.response.headers().is_empty());
        assert_eq!(reply.response.body(), "body");
        assert_eq!(reply.notes.len(), 4);
        assert!(reply.notes[0].contains("`content-length`"));
    }

    #[test]
    fn statuses_without_a_body_have_none() {
        for status in [204, 205, 304] {
            let reply = respond(&function(), Some(response(status, &[("etag", "1")], "body"))).unwrap();
            assert!(reply.response.body().is_empty());
            assert_eq!((reply.response.headers().len(), reply.notes.len()), (1, 1));
        }
    }

    #[test]
    fn more_headers_than_a_map_can_hold_are_refused_t_046() {
        let headers = (0..40_000).map(|number| (format!("x-{number}"), String::new())).collect();
        let many = Datum::Response(Box::new(HttpResponse { status: 200, headers, body: Bytes::new() }));
        check_fault(many, "there are too many headers");
    }

    proptest! {
        #[test]
        fn any_header_is_sent_unchanged_or_refused_t_046(name in "(?s).{0,6}", value in "(?s).{0,12}", status in any::<i64>()) {
            let given = HttpResponse { status, headers: vec![(name, value.clone())], body: Bytes::new() };
            if let Ok(reply) = respond(&function(), Some(Datum::Response(Box::new(given)))) {
                for sent in reply.response.headers().values() {
                    prop_assert_eq!(sent.as_bytes(), value.as_bytes());
                    prop_assert!(!sent.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)));
                }
            }
        }
    }
}
