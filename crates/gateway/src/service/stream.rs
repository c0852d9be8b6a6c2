//! The steps of a request whose body and response go in pieces.

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
use tokio::sync::oneshot;

use super::{Door, Outstanding, Served, invocation, refused};
use crate::exchange::{self, Closer};
use crate::{failure, request};

/// A request that has found its function and was let in.
pub(crate) struct Request {
    pub(crate) function: FunctionName,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) head: Parts,
    pub(crate) body: Incoming,
}

/// Starts the invocation, and answers as soon as the function gives the head of its response, or has ended without one.
/// The invocation goes on by itself until the response has come to its end.
pub(crate) async fn serve(
    door: &Arc<Door>,
    request: Request,
    outstanding: Outstanding,
    development: bool,
) -> Result<Served, Response<Bytes>> {
    let Request { function, parameters, head, body } = request;
    let opened = exchange::open(&function, &head, body, door.site.http.body_bytes_max);
    let (handle, closer, begun) = opened.map_err(refused)?;
    let concurrent = door.concurrent(&head).await;
    let seen = request::http_request("http", &head, parameters, Body::default());
    let seen = HttpRequest { exchange: Some(handle), ..seen };
    let invocation = invocation(door, function, seen, &head);
    let (tell, failed) = oneshot::channel();
    let run = Run { door: door.clone(), closer, tell, development };
    let name = format!("{} stream", invocation.id);
    let task = async move {
        let _held = (outstanding, concurrent);
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

struct Run {
    door: Arc<Door>,
    closer: Closer,
    tell: oneshot::Sender<Response<Bytes>>,
    development: bool,
}

impl Run {
    /// Runs the invocation to its end, and ends the response as it ended.
    async fn invoke(self, invocation: Invocation) {
        let Self { door, closer, tell, development } = self;
        let (id, function) = (invocation.id, invocation.function.clone());
        let (received_at, summary) = (invocation.event.received_at, invocation.event.summary.clone());
        let completion = door.rooms.invoker.invoke(invocation).await;
        let Completion { outcome, phases, effects, .. } = completion;
        let failure = outcome.failure().cloned();
        let mut status = closer.status();
        // One who left before the head was not answered, unless it was by sending a body that breaks off.
        let is_for_nobody = failure::is_for_nobody(&outcome) && closer.refusal().is_none();
        if status.is_none() && !is_for_nobody {
            let answer = match (closer.refusal(), &failure) {
                // What the function made of a body that broke off is of no interest to whoever sent it.
                (Some(refusal), _) => refused(refusal),
                (None, Some(failure)) => {
                    failure::response(failure::status(&outcome, failure), failure, id, development)
                }
                (None, None) => Response::default(),
            };
            status = Some(answer.status().as_u16());
            // Nobody to tell it: the caller is gone.
            tell.send(answer).ok();
        }
        let label = outcome.label();
        if outcome.is_success() {
            closer.finish();
        } else {
            drop(closer);
        }
        let record = InvocationRecord {
            id,
            function,
            received_at,
            summary,
            outcome: label,
            status,
            phases,
            effects,
            failure,
        };
        door.rooms.records.record(record);
    }
}
