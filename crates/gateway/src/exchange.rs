//! One request whose body is read while the function runs, and whose response is sent while it is made.
//!
//! [`open`] splits a request into the [`Exchange`] that the worker uses, the [`Closer`] with which the end is decided, and
//! the future of the response's head. A response that is not closed as finished breaks off: the caller sees a
//! connection that ends in the middle, never a short body that looks whole.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use ingle_types::caller::CallerHandle;
use ingle_types::datum::HttpResponse;
use ingle_types::event::futures::BoxFuture;
use ingle_types::exchange::{CallerGone, Exchange, ExchangeHandle, NotSent};
use ingle_types::ids::FunctionName;
use ingle_types::outcome::Failure;
use tokio::sync::{mpsc, oneshot};

use crate::caller::Client;
use crate::limits::{BodyMeter, Refusal};
use crate::response;

/// Pieces of a response that may wait for the connection to take them.
const PIECES_MAX: usize = 2;
/// A caller who has taken nothing for so long counts as gone. Azure's host gives up on a connection then, too.
const STALL_MAX: Duration = Duration::from_secs(240);

/// A request in pieces.
pub(crate) struct Streamed {
    shared: Arc<Shared>,
    /// `None`: it was read before.
    body: Option<Arc<tokio::sync::Mutex<RequestBody>>>,
    head: Mutex<Option<oneshot::Sender<Response<Pieces>>>>,
    receiver: Mutex<Option<mpsc::Receiver<Bytes>>>,
    function: FunctionName,
    method: Method,
    caller: Option<CallerHandle>,
}

#[derive(Default)]
struct Shared {
    /// Where pieces go; taken away at the end.
    sender: Mutex<Option<mpsc::Sender<Bytes>>>,
    /// The caller has all that it gets: the stated length, or a head without a body on the wire (`HEAD`, 204, 304). What
    /// the function sends beyond that is dropped.
    complete: AtomicBool,
    finished: AtomicBool,
    status: AtomicU16,
    /// Why the request's body could not be read to its end.
    refusal: Mutex<Option<Refusal>>,
}

impl Shared {
    fn sender(&self) -> Option<mpsc::Sender<Bytes>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct RequestBody {
    /// `None` for a request without one.
    incoming: Option<Incoming>,
    meter: BodyMeter,
}

/// Decides how the response ends.
pub(crate) struct Closer(Arc<Shared>);

impl Closer {
    /// The status that was sent, if one was.
    pub(crate) fn status(&self) -> Option<u16> {
        Some(self.0.status.load(Ordering::Acquire)).filter(|status| *status != 0)
    }

    /// Why the request's body was refused, if it was.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *self.0.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The response has come to its good end.
    pub(crate) fn finish(self) {
        self.0.finished.store(true, Ordering::Release);
    }

    /// The same, with a last piece; a caller who takes nothing misses it.
    pub(crate) async fn finish_with(self, piece: Bytes) {
        if let Some(sender) = self.0.sender() {
            tokio::time::timeout(STALL_MAX, sender.send(piece)).await.ok();
        }
        self.finish();
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Both ends of a response in pieces: what decides how it ends, and its head with the body, which is dropped if none comes.
pub(crate) type Opened = (Closer, oneshot::Receiver<Response<Pieces>>);

/// Splits a request.
///
/// # Errors
/// [`Refusal`] of a body that is stated too large.
pub(crate) fn open(
    function: &FunctionName,
    head: &Parts,
    incoming: Incoming,
    bytes_max: u64,
) -> Result<(ExchangeHandle, Opened), Refusal> {
    let meter = BodyMeter::start(&head.headers, bytes_max)?;
    let (streamed, opened) = split(function, head, Some(RequestBody { incoming: Some(incoming), meter }));
    Ok((ExchangeHandle(Arc::new(streamed)), opened))
}

/// The response alone, to a request that was read before.
pub(crate) fn answer(function: &FunctionName, head: &Parts) -> (ExchangeHandle, Opened) {
    let (streamed, opened) = split(function, head, None);
    (ExchangeHandle(Arc::new(streamed)), opened)
}

fn split(function: &FunctionName, head: &Parts, body: Option<RequestBody>) -> (Streamed, Opened) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let (begin, begun) = oneshot::channel();
    let shared = Arc::new(Shared { sender: Mutex::new(Some(sender)), ..Shared::default() });
    let streamed = Streamed {
        shared: shared.clone(),
        body: body.map(|body| Arc::new(tokio::sync::Mutex::new(body))),
        head: Mutex::new(Some(begin)),
        receiver: Mutex::new(Some(receiver)),
        function: function.clone(),
        method: head.method.clone(),
        caller: head.extensions.get::<Client>().map(|client| client.waits(head.version)),
    };
    (streamed, (Closer(shared), begun))
}

impl Exchange for Streamed {
    fn read(&self) -> BoxFuture<Result<Option<Bytes>, CallerGone>> {
        let (body, shared) = (self.body.clone(), self.shared.clone());
        Box::pin(async move {
            let Some(body) = body else { return Ok(None) };
            body.lock().await.next().await.map_err(|refusal| {
                *shared.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                CallerGone
            })
        })
    }

    fn begin(&self, status: i64, headers: Vec<(String, String)>) -> Result<(), Box<Failure>> {
        let length = content_length(&headers);
        let head = HttpResponse { status, headers, body: Bytes::new() };
        let head = response::stream_head(&self.function, head).map_err(|error| Box::new(error.failure()))?;
        self.shared.status.store(head.status().as_u16(), Ordering::Release);
        let bodiless = self.method == Method::HEAD
            || matches!(
                head.status(),
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
            );
        let length = length.filter(|_| self.method == Method::HEAD || !bodiless);
        self.shared.complete.store(bodiless, Ordering::Release);
        let taken = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let begin = self.head.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(receiver), Some(begin)) = (taken, begin) {
            let receiver = (!bodiless).then_some(receiver);
            let pieces = Pieces {
                receiver,
                shared: self.shared.clone(),
                left: length,
                is_breaking: false,
                held: None,
            };
            // A connection that has ended meanwhile drops it, and is found to be gone.
            begin.send(head.map(|()| pieces)).ok();
        }
        Ok(())
    }

    fn write(&self, piece: Bytes) -> BoxFuture<Result<(), NotSent>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            if shared.complete.load(Ordering::Acquire) {
                return Ok(());
            }
            let sender = shared.sender().ok_or(NotSent::CallerGone)?;
            match tokio::time::timeout(STALL_MAX, sender.send(piece)).await {
                Ok(sent) => sent.map_err(|_closed| NotSent::CallerGone),
                Err(_elapsed) => Err(NotSent::CallerGone),
            }
        })
    }

    fn gone(&self) -> BoxFuture<()> {
        let shared = self.shared.clone();
        let caller = self.caller.clone();
        Box::pin(async move {
            let left = async {
                match &caller {
                    Some(caller) => caller.0.gone().await,
                    None => std::future::pending().await,
                }
            };
            if let Some(sender) = shared.sender() {
                tokio::select! {
                    // The connection has dropped the response.
                    () = sender.closed() => {}
                    () = left => {}
                }
            }
            if shared.complete.load(Ordering::Acquire) {
                std::future::pending::<()>().await;
            }
        })
    }
}

impl RequestBody {
    /// The next piece with bytes in it.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        while let Some(incoming) = &mut self.incoming {
            let Some(frame) = incoming.frame().await else { break };
            let frame = frame.map_err(|_broken| Refusal::LengthMismatch)?;
            let Ok(piece) = frame.into_data() else { continue };
            self.meter.add(piece.len())?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        self.meter.finish()?;
        Ok(None)
    }
}

/// The length that the function states: then the caller is told it, and the body has to keep it.
fn content_length(headers: &[(String, String)]) -> Option<u64> {
    let value = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str()));
    value.and_then(|(_, value)| value.parse().ok())
}

/// The response is not whole.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off before its end")]
pub struct BrokenOff;

/// The body of a response in pieces.
pub struct Pieces {
    /// `None`: there is no body on the wire.
    receiver: Option<mpsc::Receiver<Bytes>>,
    shared: Arc<Shared>,
    /// Bytes that are still to come, where the length is stated.
    left: Option<u64>,
    is_breaking: bool,
    /// What is held until the caller has the response, e.g. its place among those that are in work.
    held: Option<Box<dyn Send + Sync>>,
}

impl Pieces {
    /// Keeps `held` until the last piece is sent or the caller gone.
    pub(crate) fn hold(&mut self, held: impl Send + Sync + 'static) {
        self.held = Some(Box::new(held));
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        // The connection takes no more than the stated length, so this is no caller who leaves.
        if self.left == Some(0) {
            self.shared.complete.store(true, Ordering::Release);
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(receiver) = &mut self.receiver else { return Poll::Ready(None) };
        let piece = std::task::ready!(receiver.poll_recv(context));
        match piece {
            Some(piece) => {
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            None if self.shared.finished.load(Ordering::Acquire) && self.left.unwrap_or(0) == 0 => {
                self.held = None;
                Poll::Ready(None)
            }
            // What was sent before goes out first: the connection drops what it still has when a body fails.
            None if !self.is_breaking => {
                self.is_breaking = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(Some(Err(BrokenOff))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.receiver.is_none() && self.left.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.receiver, self.left) {
            // The length of what `GET` would get, if it is known.
            (_, Some(left)) => SizeHint::with_exact(left),
            (None, None) => SizeHint::with_exact(0),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
