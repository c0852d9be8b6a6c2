//! One request: limits, cross-origin rules, route, invocation, answer.

mod invocation;
mod served;
pub(crate) mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use ingle_tasks::{Detach, TaskKind, Tasks};
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Body;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invocation, InvokerHandle};
use ingle_types::health::Health;
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::log::{InvocationRecord, RecordSinkHandle};
use ingle_types::outcome::{Failure, Outcome};
use ingle_types::spec::AuthLevel;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::apis::{self, Matched};
use crate::auth::{Guard, Requirement};
use crate::caller::Client;
use crate::exchange::Pieces;
use crate::limits::{BodyMeter, HeadLimits, Refusal, check_head};
use crate::route::Match;
use crate::route::path::RequestPath;
use crate::site::Site;
use crate::{azure, cors, failure, front, lambda, request, response};

pub(crate) use invocation::{invocation, trace};
pub(crate) use served::{Served, whole};

#[derive(Clone, Debug)]
pub struct Options {
    pub guard: Guard,
    pub limits: HeadLimits,
    /// Errors are answered with their traceback.
    pub development: bool,
    /// How long requests wait for the app while it is still being imported.
    pub start_wait: Duration,
}

/// The rooms behind the door.
#[derive(Clone)]
pub struct Rooms {
    pub invoker: InvokerHandle,
    pub tasks: Tasks,
    pub clock: ClockHandle,
    pub records: RecordSinkHandle,
    pub blobs: BlobPrompt,
    pub later: Later,
    /// What is in trouble, for the doors that tell it.
    pub health: Health,
}

/// Tells a function with a blob trigger of a blob (container, name) once more, as if it had been stored now. Whether
/// there is such a blob; the error says why the function could not be told.
pub type BlobPrompt =
    Arc<dyn Fn(FunctionName, String, String) -> BoxFuture<Result<bool, String>> + Send + Sync>;

/// Takes an invocation of a handler that nobody waits for. What was taken is run, whatever becomes of this server; the error says
/// why it was not taken.
pub type Later = Arc<dyn Fn(Invocation) -> BoxFuture<Result<(), String>> + Send + Sync>;

/// What answers requests. Knows its app as soon as it is there.
pub struct Service {
    pub(crate) options: Options,
    app: watch::Receiver<Option<Arc<Door>>>,
    /// Why the newest version of the app does not serve, if so.
    notice: watch::Receiver<Option<String>>,
    host: azure::Host,
}

/// A site with what is needed to serve it.
pub struct Door {
    pub site: Site,
    pub rooms: Rooms,
    outstanding: AtomicU32,
    concurrent: Option<Arc<Semaphore>>,
}

/// A whole answer, or one that is still being made.
pub type Answer = Either<Full<Bytes>, Pieces>;

impl Door {
    pub fn new(site: Site, rooms: Rooms) -> Self {
        let concurrent = site.http.concurrent_requests_max.map(|max| Arc::new(Semaphore::new(max as usize)));
        Self { site, rooms, outstanding: AtomicU32::new(0), concurrent }
    }

    /// A place among the requests that may be in work at once, where there is such a limit. A client who has left while it
    /// waited for it is known to have.
    pub(crate) async fn concurrent(&self, head: &Parts) -> Option<OwnedSemaphorePermit> {
        let place = self.concurrent.clone()?.acquire_owned();
        noticed(head, place).await.ok()
    }
}

impl Service {
    pub fn new(
        options: Options,
        app: watch::Receiver<Option<Arc<Door>>>,
        notice: watch::Receiver<Option<String>>,
    ) -> Self {
        let host = azure::Host { started: Instant::now(), instance: uuid::Uuid::new_v4() };
        Self { options, app, notice, host }
    }

    /// Answers one request; what goes wrong is an answer too.
    pub(crate) async fn answer(&self, head: Parts, body: Incoming) -> Response<Answer> {
        let Some(door) = noticed(&head, self.door()).await else { return whole(self.not_started()) };
        let origin = door.site.cors.is_some().then(|| head.headers.clone());
        let notice = self.options.development.then(|| self.notice.borrow().clone()).flatten();
        let mut response = match self.serve(&door, head, body).await {
            Ok(Served::Streamed(response)) => response.map(Either::Right),
            Ok(Served::Whole(mut response)) | Err(mut response) => {
                if let Some(notice) = &notice {
                    failure::add_notice(&mut response, notice);
                }
                whole(response)
            }
        };
        for (name, value) in &door.site.http.custom_headers {
            if let Ok((name, value)) = response::header(name, value) {
                response.headers_mut().entry(name).or_insert(value);
            }
        }
        if let (Some(cors), Some(origin)) = (&door.site.cors, origin) {
            cors::decorate(cors, &origin, response.headers_mut());
        }
        response
    }

    /// Answers a call of the Lambda API that somebody else has let in.
    pub(crate) async fn invoke_within(
        &self,
        head: Parts,
        asked: &lambda::api::Asked,
        body: &Bytes,
    ) -> Response<Bytes> {
        let Some(door) = self.door().await else { return self.not_started() };
        let called = match self.enter(&door) {
            Ok(outstanding) => lambda::api::invoke_within(&door, head, (asked, body), outstanding).await,
            Err(refused) => Err(refused),
        };
        called.unwrap_or_else(|refused| refused)
    }

    /// The app, waited for while it is being imported; none if it can't be, or not in time.
    pub(crate) async fn door(&self) -> Option<Arc<Door>> {
        if let Some(door) = self.app.borrow().as_ref() {
            return Some(door.clone());
        }
        let (mut app, mut notice) = (self.app.clone(), self.notice.clone());
        let ready = async {
            tokio::select! {
                biased;
                door = app.wait_for(Option::is_some) => door.ok()?.clone(),
                _ = notice.wait_for(Option::is_some) => None,
            }
        };
        tokio::time::timeout(self.options.start_wait, ready).await.ok()?
    }

    /// The answer of an app that has never served.
    fn not_started(&self) -> Response<Bytes> {
        let notice = self.notice.borrow().clone();
        let message = match notice {
            Some(notice) if self.options.development => format!("the app can't be served:\n{notice}\n"),
            Some(_) => "the app can't be served".to_owned(),
            None => "the app is still being imported".to_owned(),
        };
        let mut busy = failure::refusal(StatusCode::SERVICE_UNAVAILABLE, "E0304", &message, None);
        busy.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
        busy
    }

    /// The steps; `Err` is an answer that was given before there was an invocation.
    async fn serve(
        &self,
        door: &Arc<Door>,
        mut head: Parts,
        body: Incoming,
    ) -> Result<Served, Response<Bytes>> {
        check_head(&self.options.limits, &head).map_err(refused)?;
        if let Some(cors) = &door.site.cors
            && let Some(answer) = cors::preflight(cors, &head.method, &head.headers)
        {
            return Ok(Served::Whole(answer));
        }
        let handler = door.site.handlers.iter().next();
        if let Some(matched) = head.extensions.get::<Matched>().cloned()
            && let Some(function) = handler.or(door.site.of_all_paths.as_ref())
        {
            if matched.route.is_guarded {
                self.options.guard.check(&head, Requirement::Function(AuthLevel::Function, function))?;
            }
            front::admit(door, &mut head, &matched).await?;
            if handler.is_some() {
                return self.serve_url(door, function.clone(), &head, body).await;
            }
            // A web app is asked as it is everywhere, and the API adds what it adds to all answers.
            let asked = head.headers.clone();
            let mut served = self.serve_function(door, (function.clone(), Vec::new()), head, body).await?;
            apis::decorate(&matched.route, &asked, served.headers_mut());
            return Ok(served);
        }
        let path = match (read_path(&head), &door.site.of_all_paths) {
            // A function URL hands on what is no path for others, such as `/50%`. So do web apps, which route themselves.
            (_, Some(function)) if !door.site.handlers.contains(function) => {
                return self.serve_function(door, (function.clone(), Vec::new()), head, body).await;
            }
            (Err(_), Some(function)) => return self.serve_url(door, function.clone(), &head, body).await,
            (path, _) => path?,
        };
        if !door.site.handlers.is_empty()
            && let Some(asked) = lambda::api::asked(&path)
        {
            let outstanding = self.enter(door)?;
            return lambda::api::invoke(door, &self.options.guard, head, (&asked, body), outstanding).await;
        }
        if door.site.has_admin_doors && azure::is_reserved(&path) {
            return self.serve_azure(door, &head, &path, body).await.map(Served::Whole);
        }
        let found = find(&door.site, &head, &path)?;
        self.serve_function(door, found, head, body).await
    }

    /// A request to a function whose route was found.
    async fn serve_function(
        &self,
        door: &Arc<Door>,
        (function, parameters): Found,
        head: Parts,
        body: Incoming,
    ) -> Result<Served, Response<Bytes>> {
        // One that is not in the table can't be called at all.
        let level = door.site.levels.get(&function).copied().unwrap_or(AuthLevel::Admin);
        self.options.guard.check(&head, Requirement::Function(level, &function))?;
        if door.site.handlers.contains(&function) {
            return self.serve_url(door, function, &head, body).await;
        }
        let outstanding = self.enter(door)?;
        if door.site.streaming.contains(&function) {
            let request = stream::Request { function, parameters, head, body };
            return stream::serve(door, request, outstanding, self.options.development).await;
        }
        let _outstanding = outstanding;
        let body = read_body(&head, body, door.site.http.body_bytes_max).await.map_err(refused)?;
        let _concurrent = door.concurrent(&head).await;
        let request = request::http_request("http", &head, parameters, body);
        let (door, development) = (door.clone(), self.options.development);
        let tasks = door.rooms.tasks.clone();
        // Finished also when the caller goes away: its record is written then as well.
        let invocation = invocation(&door, function, request, &head);
        let answered = invoke(door, invocation, development);
        Ok(Served::Whole(Detach::new(tasks, TaskKind::Invocation, answered).await))
    }

    /// A request to a function URL.
    async fn serve_url(
        &self,
        door: &Arc<Door>,
        function: FunctionName,
        head: &Parts,
        body: Incoming,
    ) -> Result<Served, Response<Bytes>> {
        let outstanding = self.enter(door)?;
        let source = lambda::Source::of(head);
        let bytes_max = source.body_bytes_max(door.site.http.body_bytes_max);
        let body = read_body(head, body, bytes_max).await.map_err(|refusal| source.body_refused(refusal))?;
        front::check_body(head, &body)?;
        let concurrent = door.concurrent(head).await;
        if door.site.answering_in_pieces.contains(&function) && head.extensions.get::<Matched>().is_none() {
            let invocation = lambda::invocation(door, function, head, &body)?;
            return lambda::pieces::serve_url(door, invocation, head, (outstanding, concurrent)).await;
        }
        let _held = (outstanding, concurrent);
        let answered = lambda::answered(door, function, head, &body)?;
        let answered = Detach::new(door.rooms.tasks.clone(), TaskKind::Invocation, answered);
        let Some(patience) = source.patience() else { return Ok(Served::Whole(answered.await)) };
        // The function goes on; only nobody waits for it any more.
        let answered = tokio::time::timeout(patience, answered).await;
        Ok(Served::Whole(answered.unwrap_or_else(|_elapsed| source.too_late())))
    }

    /// A door for Azure's tools; the caller is asked for a key before the body is read.
    async fn serve_azure(
        &self,
        door: &Arc<Door>,
        head: &Parts,
        path: &RequestPath<'_>,
        body: Incoming,
    ) -> Result<Response<Bytes>, Response<Bytes>> {
        let guard = &self.options.guard;
        azure::admit(guard, head, path)?;
        let body = read_body(head, body, door.site.http.body_bytes_max).await.map_err(refused)?;
        let request = azure::Request { door, guard, host: &self.host, head, body: body.joined() };
        Ok(azure::answer(request, path).await)
    }

    fn enter(&self, door: &Arc<Door>) -> Result<Outstanding, Response<Bytes>> {
        let before = door.outstanding.fetch_add(1, Ordering::AcqRel);
        let place = Outstanding(door.clone());
        match door.site.http.outstanding_requests_max {
            Some(max) if before >= max => {
                let message = format!("{max} requests are in work or wait already");
                let hint = Some("extensions.http.maxOutstandingRequests in host.json sets this limit");
                let mut busy = failure::refusal(StatusCode::TOO_MANY_REQUESTS, "E0308", &message, hint);
                busy.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
                Err(busy)
            }
            _ => Ok(place),
        }
    }
}

/// Takes a step before there is an invocation. Of a client who leaves meanwhile the invocation then knows at once.
async fn noticed<T>(head: &Parts, step: impl Future<Output = T>) -> T {
    match head.extensions.get::<Client>() {
        Some(client) => client.noticed(head.version, step).await,
        None => step.await,
    }
}

pub(crate) struct Outstanding(Arc<Door>);

impl Drop for Outstanding {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) fn refused(refusal: Refusal) -> Response<Bytes> {
    let hint = refusal.hint();
    let mut response =
        failure::refusal(refusal.status(), refusal.code(), &refusal.to_string(), hint.as_deref());
    if refusal.closes_connection() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

type Found = (FunctionName, Vec<(String, String)>);

fn read_path(head: &Parts) -> Result<RequestPath<'_>, Response<Bytes>> {
    RequestPath::parse(head.uri.path()).map_err(|error| {
        let hint = error.hint();
        failure::refusal(StatusCode::BAD_REQUEST, error.code(), &error.to_string(), hint.as_deref())
    })
}

fn find(site: &Site, head: &Parts, path: &RequestPath<'_>) -> Result<Found, Response<Bytes>> {
    match site.router.find(head.method.as_str(), path) {
        Match::Found { function, parameters } => Ok((function, parameters)),
        Match::WrongMethod { allow } => {
            let message = format!("{} is not allowed here; allowed: {}", head.method, allow.join(", "));
            let mut response = failure::refusal(StatusCode::METHOD_NOT_ALLOWED, "E0502", &message, None);
            if let Ok(allow) = HeaderValue::from_str(&allow.join(", ")) {
                response.headers_mut().insert(ALLOW, allow);
            }
            Err(response)
        }
        // Nothing of Azure's is at a function of Lambda.
        Match::NotFound
            if site.has_admin_doors
                && path.segments.is_empty()
                && matches!(head.method, Method::GET | Method::HEAD) =>
        {
            Err(azure::home::page(site.home_page))
        }
        Match::NotFound => {
            let hint = "`ingle start` lists the routes when it starts";
            Err(failure::refusal(StatusCode::NOT_FOUND, "E0501", "no function has this route", Some(hint)))
        }
    }
}

/// The body in the pieces in which it comes; nothing is reserved for what is only announced.
pub(crate) async fn read_body(head: &Parts, mut body: Incoming, max: u64) -> Result<Body, Refusal> {
    let mut meter = BodyMeter::start(&head.headers, max)?;
    let mut whole = Body::default();
    while let Some(frame) = body.frame().await {
        // A connection that breaks in the middle of a body has no complete request to serve.
        let frame = frame.map_err(|_broken| Refusal::LengthMismatch)?;
        let Ok(piece) = frame.into_data() else { continue };
        meter.add(piece.len())?;
        whole.push(piece);
    }
    meter.finish()?;
    Ok(whole)
}

async fn invoke(door: Arc<Door>, invocation: Invocation, development: bool) -> Response<Bytes> {
    let (function, answering) = (invocation.function.clone(), door.clone());
    let told =
        move |ended: Completion| reply(&answering.site, &function, ended.id, ended.outcome, development);
    run(&door, invocation, told).await
}

/// Runs an invocation to its end, answers and leaves a record. `reply` makes the response of what came of it, and says what is
/// wrong, also with a result that can't be sent.
pub(crate) async fn run(
    door: &Door,
    invocation: Invocation,
    reply: impl FnOnce(Completion) -> (Response<Bytes>, Option<Failure>),
) -> Response<Bytes> {
    let function = invocation.function.clone();
    let (id, received_at) = (invocation.id, invocation.event.received_at);
    let summary = invocation.event.summary.clone();
    let mut completion = door.rooms.invoker.invoke(invocation).await;
    let (label, phases) = (completion.outcome.label(), completion.phases);
    let has_left = failure::is_for_nobody(&completion.outcome);
    let effects = std::mem::take(&mut completion.effects);
    let (response, failure) = reply(completion);
    door.rooms.records.record(InvocationRecord {
        id,
        function,
        received_at,
        summary,
        outcome: if failure.is_some() && label == "success" { "failed" } else { label },
        // Who has gone away was not answered.
        status: Some(response.status().as_u16()).filter(|_| !has_left),
        phases,
        effects,
        failure,
    });
    response
}

fn reply(
    site: &Site,
    function: &FunctionName,
    id: InvocationId,
    outcome: Outcome,
    development: bool,
) -> (Response<Bytes>, Option<Failure>) {
    let outputs = match outcome {
        Outcome::Success(outputs) => outputs,
        failed => {
            let Some(failure) = failed.failure() else { return (Response::default(), None) };
            let status = failure::status(&failed, failure);
            return (failure::response(status, failure, id, development), Some(failure.clone()));
        }
    };
    let binding = site.response_bindings.get(function).cloned().flatten();
    let value = binding.and_then(|name| outputs.0.into_iter().find(|(output, _)| *output == name));
    match response::respond(function, value.map(|(_, value)| value)) {
        Ok(reply) => {
            for note in reply.notes {
                tracing::debug!(%function, invocation = %id, "{note}");
            }
            (reply.response, None)
        }
        Err(error) => {
            let failure = error.failure();
            (failure::response(error.status(), &failure, id, development), Some(failure))
        }
    }
}
