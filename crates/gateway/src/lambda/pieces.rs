//! Answers that handlers give in pieces: to requests to a function URL, and as messages of `InvokeWithResponseStream` (facts of
//! Lambda, section 1.5).
//!
//! The worker tells the content type of what the runtime writes, and passes the bytes on as they are. What they mean is decided
//! here: at a URL a prelude says what the response is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invocation};
use ingle_types::exchange::{CallerGone, Exchange, ExchangeHandle, NotSent};
use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Failure, Outcome};
use ingle_types::spec::HandlerTrigger;

use super::reply::{self, Fault};
use super::{Source, api, error, event_stream, log};
use crate::exchange;
use crate::limits::Refusal;
use crate::service::stream::{Answering, Last, answer};
use crate::service::{Door, Served};

/// The type of an answer that begins with a prelude.
const WITH_PRELUDE: &str = "application/vnd.awslambda.http-integration-response";
/// What is between a prelude and the body.
const END_OF_PRELUDE: [u8; 8] = [0; 8];
/// Longest prelude, in bytes. Clients take no such headers.
const PRELUDE_BYTES_MAX: usize = 256 * 1024;

/// Answers a request to a function URL. `held` is dropped at the end of the response.
///
/// # Errors
/// The server stops.
pub(crate) async fn serve_url(
    door: &Arc<Door>,
    invocation: Invocation,
    head: &Parts,
    held: impl Send + 'static,
) -> Result<Served, Response<Bytes>> {
    let (response, opened) = exchange::answer(&invocation.function, head);
    let prelude = Arc::new(Mutex::new(Prelude::default()));
    let of_url = OfUrl { response, id: invocation.id, prelude: prelude.clone() };
    let exchange = Some(ExchangeHandle(Arc::new(of_url)));
    let invocation = Invocation { exchange, ..invocation };
    answer(door, invocation, opened, UrlAnswer { prelude }, held).await
}

/// Answers a call of `InvokeWithResponseStream`. `held` is dropped at the end of the messages.
///
/// # Errors
/// The server stops.
pub(super) async fn serve_call(
    door: &Arc<Door>,
    invocation: Invocation,
    (head, handler): (&Parts, HandlerTrigger),
    wants_log: bool,
    held: impl Send + 'static,
) -> Result<Served, Response<Bytes>> {
    let (response, opened) = exchange::answer(&invocation.function, head);
    let began = invocation.event.received_at;
    let exchange = Some(ExchangeHandle(Arc::new(OfCall { response, id: invocation.id })));
    let invocation = Invocation { exchange, ..invocation };
    let answering = CallAnswer { door: door.clone(), handler, wants_log, began };
    answer(door, invocation, opened, answering, held).await
}

// === At a URL ===

/// What is known of an answer of which bytes have come.
#[derive(Default)]
enum Prelude {
    /// There is none, or it is over.
    #[default]
    None,
    Awaited(BytesMut),
}

/// What a piece is.
#[derive(Debug)]
enum Part {
    /// Of a prelude that goes on.
    Prelude,
    /// The end of the prelude, with the first bytes of the body.
    Head(Response<Bytes>, Bytes),
    Body(Bytes),
}

impl Prelude {
    fn take(&mut self, piece: Bytes) -> Result<Part, Fault> {
        let Self::Awaited(gathered) = self else { return Ok(Part::Body(piece)) };
        // The end may lie in two pieces.
        let searched = gathered.len().saturating_sub(END_OF_PRELUDE.len() - 1);
        gathered.extend_from_slice(&piece);
        let tail = gathered.get(searched..).unwrap_or_default();
        let end = tail.windows(END_OF_PRELUDE.len()).position(|window| window == END_OF_PRELUDE);
        let Some(end) = end else {
            let is_long = gathered.len() > PRELUDE_BYTES_MAX;
            return if is_long { Err(Fault::LongPrelude(PRELUDE_BYTES_MAX)) } else { Ok(Part::Prelude) };
        };
        let mut gathered = std::mem::take(gathered);
        *self = Self::None;
        let prelude = gathered.split_to(searched + end);
        let body = gathered.split_off(END_OF_PRELUDE.len());
        Ok(Part::Head(reply::prelude(&prelude)?, body.freeze()))
    }
}

struct OfUrl {
    response: ExchangeHandle,
    id: InvocationId,
    prelude: Arc<Mutex<Prelude>>,
}

impl Exchange for OfUrl {
    fn read(&self) -> BoxFuture<Result<Option<Bytes>, CallerGone>> {
        self.response.read()
    }

    fn begin(&self, status: i64, mut headers: Vec<(String, String)>) -> Result<(), Box<Failure>> {
        let kind = headers.iter().find(|(name, _)| name == CONTENT_TYPE.as_str());
        if kind.is_some_and(|(_, kind)| kind.to_ascii_lowercase().starts_with(WITH_PRELUDE)) {
            let mut prelude = self.prelude.lock().unwrap_or_else(PoisonError::into_inner);
            *prelude = Prelude::Awaited(BytesMut::new());
            return Ok(());
        }
        if kind.is_none() {
            headers.push(text(&(CONTENT_TYPE, reply::OCTETS)));
        }
        headers.push(named(self.id));
        self.response.begin(status, headers)
    }

    fn write(&self, piece: Bytes) -> BoxFuture<Result<(), NotSent>> {
        let part = self.prelude.lock().unwrap_or_else(PoisonError::into_inner).take(piece);
        let body = match part {
            Ok(Part::Prelude) => Ok(None),
            Ok(Part::Body(body)) => Ok(Some(body)),
            Ok(Part::Head(head, body)) => {
                let mut headers: Vec<_> = head.headers().iter().map(|header| text(&header)).collect();
                headers.push(named(self.id));
                let begun = self.response.begin(i64::from(head.status().as_u16()), headers);
                begun.map(|()| (!body.is_empty()).then_some(body))
            }
            Err(fault) => Err(Box::new(fault.failure())),
        };
        match body {
            Ok(Some(body)) => self.response.write(body),
            Ok(None) => Box::pin(std::future::ready(Ok(()))),
            Err(failure) => Box::pin(std::future::ready(Err(NotSent::Refused(failure)))),
        }
    }

    fn gone(&self) -> BoxFuture<()> {
        self.response.gone()
    }
}

/// A header's name and value as functions give them.
fn text<Name: AsRef<str>>(header: &(Name, impl AsRef<[u8]>)) -> (String, String) {
    (header.0.as_ref().to_owned(), String::from_utf8_lossy(header.1.as_ref()).into_owned())
}

fn named(id: InvocationId) -> (String, String) {
    ("x-amzn-requestid".to_owned(), id.uuid().to_string())
}

struct UrlAnswer {
    prelude: Arc<Mutex<Prelude>>,
}

impl Answering for UrlAnswer {
    fn whole(self, ended: Completion, _refusal: Option<Refusal>) -> (Response<Bytes>, Option<Failure>) {
        let prelude = std::mem::take(&mut *self.prelude.lock().unwrap_or_else(PoisonError::into_inner));
        let (id, source) = (ended.id, Source::Url);
        let (mut response, failure) = match (prelude, ended.outcome) {
            // All that the runtime has written is a prelude, without its end.
            (Prelude::Awaited(gathered), Outcome::Success(_)) => source.sent(reply::prelude(&gathered)),
            (_, outcome) => source.answer(outcome),
        };
        super::name_request(&mut response, id);
        (response, failure)
    }

    fn last(self, ended: &Completion) -> Last {
        Last::of(&ended.outcome)
    }
}

// === As messages ===

struct OfCall {
    response: ExchangeHandle,
    id: InvocationId,
}

impl Exchange for OfCall {
    fn read(&self) -> BoxFuture<Result<Option<Bytes>, CallerGone>> {
        self.response.read()
    }

    fn begin(&self, status: i64, _headers: Vec<(String, String)>) -> Result<(), Box<Failure>> {
        let kind = (CONTENT_TYPE.as_str().to_owned(), event_stream::CONTENT_TYPE.to_owned());
        let version = ("x-amz-executed-version".to_owned(), api::LATEST.to_owned());
        self.response.begin(status, vec![kind, version, named(self.id)])
    }

    fn write(&self, piece: Bytes) -> BoxFuture<Result<(), NotSent>> {
        self.response.write(event_stream::chunks(&piece))
    }

    fn gone(&self) -> BoxFuture<()> {
        self.response.gone()
    }
}

struct CallAnswer {
    door: Arc<Door>,
    handler: HandlerTrigger,
    wants_log: bool,
    began: SystemTime,
}

impl CallAnswer {
    fn log(&self, ended: &Completion) -> Option<String> {
        let times = log::Times { began: self.began, ended: self.door.rooms.clock.now() };
        self.wants_log.then(|| log::tail(ended, &self.handler, times))
    }
}

impl Answering for CallAnswer {
    fn whole(self, ended: Completion, _refusal: Option<Refusal>) -> (Response<Bytes>, Option<Failure>) {
        let (response, failure) = api::told(&ended, &self.handler, self.log(&ended));
        (api::as_messages(response), failure)
    }

    /// What went wrong is told, so the messages come to a good end all the same.
    fn last(self, ended: &Completion) -> Last {
        let error = ended.outcome.failure().map(|failure| {
            let text = error::text(failure, self.handler.timeout, ended.id);
            serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
        });
        Last::FinishedWith(event_stream::end(error.as_ref(), self.log(ended).as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of the pieces of an answer with a prelude: `status type|body`, a fault, or that it is awaited still.
    fn check(pieces: &[&[u8]], expected: &str) {
        let mut prelude = Prelude::Awaited(BytesMut::new());
        let mut found = String::new();
        for piece in pieces {
            match prelude.take(Bytes::copy_from_slice(piece)) {
                Ok(Part::Prelude) => {}
                Ok(Part::Head(head, body)) => {
                    let kind = head.headers()[CONTENT_TYPE].to_str().unwrap();
                    found = format!("{} {kind}|{}", head.status().as_u16(), String::from_utf8_lossy(&body));
                }
                Ok(Part::Body(body)) => found.push_str(&String::from_utf8_lossy(&body)),
                Err(fault) => found = fault.to_string(),
            }
        }
        assert_eq!(found, expected, "{pieces:?}");
    }

    #[test]
    fn a_prelude_ends_wherever_its_pieces_do() {
        let whole: &[u8] =
            b"{\"statusCode\": 201, \"headers\": {\"content-type\": \"a/b\"}}\0\0\0\0\0\0\0\0one two";
        for middle in 0..=whole.len() {
            let (first, second) = whole.split_at(middle);
            check(&[first, second], "201 a/b|one two");
        }
        check(&[b"{}", &[0; 8], b"x", b"\0y"], "200 application/octet-stream|x\0y");
        check(&[b"{}", &[0; 7]], "");
        check(&[b"[]", &[0; 8]], "it is no object with members");
        check(&[b"{\"statusCode\": 99}", &[0; 8]], "`statusCode` is 99, which is no status from 200 to 599");
        let long = vec![b' '; PRELUDE_BYTES_MAX + 1];
        check(&[&long], "it has no end of its prelude, eight zero bytes, in its first 262144 bytes");
    }
}
