//! One invocation whose HTTP bodies go in pieces: between the worker's frames and the caller's connection.
//!
//! Nothing of a body is held but the pieces on their way. The worker asks for each piece of the request; of the response
//! it may send [`WINDOW`] pieces more than the caller has taken, so that one caller who does not read holds up neither
//! the socket that all share nor the server's memory. A lane is no socket that others share: what a worker says there is
//! read when there is room for it.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use ingle_types::event::futures::BoxFuture;
use ingle_types::exchange::{CallerGone, ExchangeHandle, NotSent};
use ingle_types::ids::InvocationId;
use ingle_types::outcome::Failure;
use tokio::sync::mpsc;

use crate::bounds::response_too_large;
use crate::process::{Phase, Worker};
use crate::wire::message::{Done, ToWorker};

/// Pieces that a worker may send before the caller has taken one; `WINDOW` in `python/ingle_worker/streaming.py`.
const WINDOW: usize = 8;
/// What a worker that keeps to the window can have under way: the pieces, a head, a request for a piece, the end.
const TOLD_MAX: usize = WINDOW + 4;

/// What a worker says of a streamed invocation.
pub(crate) enum Told {
    Pull,
    Head(i64, Vec<(String, String)>),
    Chunk(Bytes),
    Done(Box<Done>, Bytes),
}

/// The streamed invocations of one worker.
#[derive(Default)]
pub(crate) struct Streams(HashMap<InvocationId, mpsc::Sender<Told>>);

impl Streams {
    pub(crate) fn has(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id: InvocationId| self.0.contains_key(&id))
    }

    /// Passes on what the worker said. What comes after the end of an invocation is dropped.
    ///
    /// # Errors
    /// The worker sends more than there is room for.
    pub(crate) fn tell(&mut self, id: &str, told: Told) -> Result<(), &'static str> {
        let Some(sender) = id.parse().ok().and_then(|id: InvocationId| self.0.get(&id)) else {
            return Ok(());
        };
        match sender.try_send(told) {
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err("it sends more of a response than there is room for")
            }
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }

    /// The process has ended: nothing more will be said.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Worker {
    /// Passes on the end of a streamed invocation.
    pub(crate) fn hear_end(&self, done: Done, body: Bytes) {
        let id = done.id.clone();
        self.hear_stream(&id, Told::Done(Box::new(done), body));
    }

    /// Passes on what the process says of a streamed invocation.
    pub(crate) fn hear_stream(&self, id: &str, told: Told) {
        // The state is let go before anything is said about it.
        let told = self.state().streams.tell(id, told);
        if let Err(problem) = told {
            self.tell_broken(id.parse().ok(), problem);
            self.kill();
        }
    }
}

/// Why a streamed invocation has no good end.
pub(crate) enum Broken {
    /// The worker's process is ending.
    Ended,
    CallerGone,
    /// HTTP can't carry status or headers.
    Head(Box<Failure>),
}

/// One streamed invocation. Dropping it forgets it.
pub(crate) struct Stream<'a> {
    worker: &'a Worker,
    id: InvocationId,
    /// Whether a function that has not begun to respond is cancelled when its caller leaves.
    interrupts: bool,
    exchange: ExchangeHandle,
    told: mpsc::Receiver<Told>,
    /// Whether the worker waits until it hears that there is room.
    has_window: bool,
}

impl<'a> Stream<'a> {
    /// Registers it, so that what the worker says of it is heard; `None` if the process is gone.
    pub(crate) fn open(
        worker: &'a Worker,
        (id, interrupts): (InvocationId, bool),
        exchange: ExchangeHandle,
    ) -> Option<Self> {
        let (sender, told) = mpsc::channel(TOLD_MAX);
        let mut state = worker.state();
        if state.phase == Phase::Gone {
            return None;
        }
        state.streams.0.insert(id, sender);
        Some(Self { worker, id, interrupts, exchange, told, has_window: true })
    }

    /// That of a call on a lane; whoever reads the lane passes on what comes there.
    pub(crate) fn on_lane(
        worker: &'a Worker,
        (id, interrupts): (InvocationId, bool),
        exchange: ExchangeHandle,
    ) -> (Self, mpsc::Sender<Told>) {
        let (sender, told) = mpsc::channel(TOLD_MAX);
        (Self { worker, id, interrupts, exchange, told, has_window: false }, sender)
    }

    /// Passes pieces on until the function has ended and the caller has everything.
    pub(crate) async fn run(mut self) -> Result<(Done, Bytes), Broken> {
        let mut reading: Option<BoxFuture<Result<Option<Bytes>, CallerGone>>> = None;
        let mut response = Response::default();
        let mut gone = self.exchange.gone();
        let most = self.worker.bounds.streamed_bytes.unwrap_or(u64::MAX);
        loop {
            tokio::select! {
                // In this order, so that what the caller has taken is known before it is found to have left.
                biased;
                told = self.told.recv(), if response.done.is_none() && self.has_room(&response) => match told {
                    None => return Err(Broken::Ended),
                    Some(Told::Pull) => reading = Some(self.exchange.read()),
                    Some(Told::Head(status, headers)) => {
                        response.has_begun = true;
                        if let Err(failure) = self.exchange.begin(status, headers) {
                            self.refuse(&mut response, failure).await;
                        }
                    }
                    Some(Told::Chunk(piece)) => {
                        if let Some(too_large) = response.take(piece, most) {
                            self.refuse(&mut response, Box::new(too_large)).await;
                        }
                    }
                    Some(Told::Done(done, body)) => response.done = Some((*done, body)),
                },
                found = poll_some(&mut reading) => {
                    reading = None;
                    match found {
                        Ok(piece) => self.send_piece(piece).await,
                        Err(CallerGone) => self.leave(&mut response, false).await,
                    }
                }
                written = poll_some(&mut response.writing) => {
                    response.writing = None;
                    match written {
                        Ok(()) => self.tell_room().await,
                        Err(NotSent::Refused(failure)) => self.refuse(&mut response, failure).await,
                        Err(NotSent::CallerGone) => self.leave(&mut response, false).await,
                    }
                }
                () = &mut gone, if !response.caller_left => self.leave(&mut response, self.interrupts).await,
            }
            if let Some((done, body)) = response.go_on(&self.exchange) {
                return response.end(done, body);
            }
        }
    }

    /// Nothing more of the response reaches the caller.
    async fn leave(&self, response: &mut Response, interrupt: bool) {
        if !std::mem::replace(&mut response.caller_left, true) {
            self.cancel(interrupt).await;
        }
    }

    /// The response can't be sent.
    async fn refuse(&self, response: &mut Response, failure: Box<Failure>) {
        response.refused.get_or_insert(failure);
        self.cancel(false).await;
    }

    fn has_room(&self, response: &Response) -> bool {
        self.has_window || response.waiting.len() < WINDOW
    }

    async fn tell_room(&self) {
        if self.has_window {
            self.send(&ToWorker::Room { id: self.text(), count: 1 }, &[]).await;
        }
    }

    async fn send_piece(&self, piece: Option<Bytes>) {
        let (end, piece) = match piece {
            Some(piece) => (false, vec![piece]),
            None => (true, Vec::new()),
        };
        self.send(&ToWorker::Piece { id: self.text(), end }, &piece).await;
    }

    /// Ends the response. A function that is still at work and not interrupted finds out when it reads or writes.
    async fn cancel(&self, interrupt: bool) {
        self.send(&ToWorker::Cancel { id: self.text(), interrupt }, &[]).await;
    }

    /// That the socket is closed is heard from its other direction.
    async fn send(&self, message: &ToWorker<'_>, body: &[Bytes]) {
        match serde_json::to_vec(message) {
            Ok(header) => drop(self.worker.control.send_frame(&header, body).await),
            Err(error) => tracing::error!("a frame can't be written: {error}"),
        }
    }

    fn text(&self) -> String {
        self.id.uuid().to_string()
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.worker.state().streams.0.remove(&self.id);
    }
}

/// What is left to do of a response.
#[derive(Default)]
struct Response {
    waiting: VecDeque<Bytes>,
    /// All that came.
    bytes: u64,
    has_begun: bool,
    caller_left: bool,
    /// Why it can't be sent.
    refused: Option<Box<Failure>>,
    writing: Option<BoxFuture<Result<(), NotSent>>>,
    done: Option<(Done, Bytes)>,
}

impl Response {
    /// Sends the next piece if the one before is sent. Gives the end when nothing is left to send.
    fn go_on(&mut self, exchange: &ExchangeHandle) -> Option<(Done, Bytes)> {
        if self.caller_left || self.refused.is_some() {
            self.waiting.clear();
            self.writing = None;
        }
        if self.writing.is_some() {
            return None;
        }
        match self.waiting.pop_front() {
            Some(piece) => {
                self.writing = Some(exchange.write(piece));
                None
            }
            None => self.done.take(),
        }
    }

    fn end(self, done: Done, body: Bytes) -> Result<(Done, Bytes), Broken> {
        // An answer that came with the end of the function was not broken off by anybody.
        let is_whole = done.ok && !self.has_begun;
        match self.refused {
            Some(failure) => Err(Broken::Head(failure)),
            // An error of the function tells more than that its caller has left as well.
            None if self.caller_left && !is_whole && !is_own_failure(&done) => Err(Broken::CallerGone),
            None => Ok((done, body)),
        }
    }

    /// Takes a piece; a failure when it is the one that is too much.
    fn take(&mut self, piece: Bytes, most: u64) -> Option<Failure> {
        let before = self.bytes;
        self.bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.waiting.push_back(piece);
        (before <= most && self.bytes > most).then(|| response_too_large(self.bytes, most))
    }
}

/// Whether the function failed by something else than that its caller had gone.
fn is_own_failure(done: &Done) -> bool {
    let gone = ["CallerGone", "ClientDisconnect", "CancelledError"];
    !done.ok && done.error.as_ref().is_some_and(|error| !gone.contains(&error.kind.as_str()))
}

/// Waits for a future that may not be there; for ever if it is not.
async fn poll_some<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
