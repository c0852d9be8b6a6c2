//! The steps of a request whose response goes in pieces, and perhaps its body.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use ingle_tasks::TaskKind;
use ingle_types::datum::{Body, HttpRequest};
use ingle_types::event::{Completion, Invocation};
use ingle_types::ids::FunctionName;
use ingle_types::log::InvocationRecord;
use ingle_types::outcome::{Failure, Outcome};
use tokio::sync::oneshot;

use super::{Door, Outstanding, Served, invocation, refused};
use crate::exchange::{self, Closer, Opened};
use crate::limits::Refusal;
use crate::{failure, request};

/// A request that has found its function and was let in.
pub(crate) struct Request {
    pub(crate) function: FunctionName,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) head: Parts,
    pub(crate) body: Incoming,
}

/// What is said when an invocation is over whose answer may go in pieces.
pub(crate) trait Answering: Send + 'static {
    /// Nothing was sent: the whole answer, and what went wrong. `refusal`: of the request's body.
    fn whole(self, ended: Completion, refusal: Option<Refusal>) -> (Response<Bytes>, Option<Failure>);

    /// The head was sent: how the response ends.
    fn last(self, ended: &Completion) -> Last;
}

/// How a response in pieces ends.
pub(crate) enum Last {
    /// In the middle, so that the caller sees that it is not whole.
    Broken,
    Finished,
    FinishedWith(Bytes),
}

impl Last {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        if outcome.is_success() { Self::Finished } else { Self::Broken }
    }
}

/// Serves a function that takes and gives bodies in pieces.
pub(crate) async fn serve(
    door: &Arc<Door>,
    request: Request,
    outstanding: Outstanding,
    development: bool,
) -> Result<Served, Response<Bytes>> {
    let Request { function, parameters, head, body } = request;
    let opened = exchange::open(&function, &head, body, door.site.http.body_bytes_max);
    let (handle, opened) = opened.map_err(refused)?;
    let concurrent = door.concurrent(&head).await;
    let seen = request::http_request("http", &head, parameters, Body::default());
    let seen = HttpRequest { exchange: Some(handle), ..seen };
    let invocation = invocation(door, function, seen, &head);
    answer(door, invocation, opened, Page { development }, (outstanding, concurrent)).await
}

/// Starts the invocation, and answers as soon as the function gives the head of its response, or has ended without one.
/// The invocation goes on by itself until the response has come to its end; `held` is dropped then.
pub(crate) async fn answer(
    door: &Arc<Door>,
    invocation: Invocation,
    (closer, begun): Opened,
    answering: impl Answering,
    held: impl Send + 'static,
) -> Result<Served, Response<Bytes>> {
    let (tell, failed) = oneshot::channel();
    let run = Run { door: door.clone(), closer, tell, answering };
    let name = format!("{} stream", invocation.id);
    let task = async move {
        let _held = held;
        run.invoke(invocation).await;
    };
    drop(door.rooms.tasks.spawn(TaskKind::Invocation, name, task));
    tokio::select! {
        biased;
        Ok(response) = begun => Ok(Served::Streamed(response)),
        Ok(answer) = failed => Ok(Served::Whole(answer)),
        // The task was aborted by a stop.
        else => Err(Response::default()),
    }
}

/// The answer of a function whose framework makes the responses.
struct Page {
    development: bool,
}

impl Answering for Page {
    fn whole(self, ended: Completion, refusal: Option<Refusal>) -> (Response<Bytes>, Option<Failure>) {
        let failure = ended.outcome.failure().cloned();
        let answer = match (refusal, &failure) {
            // What the function made of a body that broke off is of no interest to whoever sent it.
            (Some(refusal), _) => refused(refusal),
            (None, Some(failure)) => {
                let status = failure::status(&ended.outcome, failure);
                failure::response(status, failure, ended.id, self.development)
            }
            (None, None) => Response::default(),
        };
        (answer, failure)
    }

    fn last(self, ended: &Completion) -> Last {
        Last::of(&ended.outcome)
    }
}

struct Run<Answer> {
    door: Arc<Door>,
    closer: Closer,
    tell: oneshot::Sender<Response<Bytes>>,
    answering: Answer,
}

impl<Answer: Answering> Run<Answer> {
    /// Runs the invocation to its end, and ends the response as it ended.
    async fn invoke(self, invocation: Invocation) {
        let Self { door, closer, tell, answering } = self;
        let (id, function) = (invocation.id, invocation.function.clone());
        let (received_at, summary) = (invocation.event.received_at, invocation.event.summary.clone());
        let mut ended = door.rooms.invoker.invoke(invocation).await;
        let (label, phases) = (ended.outcome.label(), ended.phases);
        let effects = std::mem::take(&mut ended.effects);
        let mut failure = ended.outcome.failure().cloned();
        let mut status = closer.status();
        // One who left before the head was not answered, unless it was by sending a body that breaks off.
        let is_for_nobody = failure::is_for_nobody(&ended.outcome) && closer.refusal().is_none();
        if status.is_some() {
            match answering.last(&ended) {
                Last::Broken => drop(closer),
                Last::Finished => closer.finish(),
                Last::FinishedWith(piece) => closer.finish_with(piece).await,
            }
        } else if !is_for_nobody {
            let (answer, wrong) = answering.whole(ended, closer.refusal());
            status = Some(answer.status().as_u16());
            failure = wrong;
            // Nobody to tell it: the caller is gone.
            tell.send(answer).ok();
        }
        door.rooms.records.record(InvocationRecord {
            id,
            function,
            received_at,
            summary,
            outcome: if failure.is_some() && label == "success" { "failed" } else { label },
            status,
            phases,
            effects,
            failure,
        });
    }
}
