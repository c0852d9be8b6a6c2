//! The admin door: a Unix socket in the app's state folder, for the commands of the same user.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | what runs, from the binary |
//! | `GET /v1/state` | queues and containers |
//! | `GET /v1/state/entries?name=&count=` | messages or documents |
//! | `GET /v1/blobs?path=` | the content of one |
//! | `PUT /v1/blobs?path=&type=` | makes the body a blob |
//! | `GET /v1/blobs/list?container=&prefix=&after=` | blobs of a container, or all containers |
//! | `DELETE /v1/blobs?path=` | deletes it |
//! | `POST /v1/queues/messages?name=&delay=` | puts the body into a queue |
//! | `POST /v1/topics/messages?name=&subject=&a.NAME=VALUE` | publishes the body |
//! | `POST /v1/documents?container=` | makes or replaces a document, or those of a list |
//! | `POST /v1/entities?table=` | adds an entity to a table, or those of a list |
//! | `POST /v1/state/reset?name=` | empties one or all |
//! | `GET /v1/metrics` | what the app has measured: [`Metrics::to_json`] |
//! | `GET /v1/spans?trace=` | what it has traced: [`Spans::to_json`] |
//! | `GET /v1/log-levels` | rules of what is logged |
//! | `POST /v1/log-levels?category=&level=` | puts a rule over the app's; without `level` takes it away, without `category` all |
//! | `POST /v1/invoke?function=&method=&p.NAME=VALUE` | runs a function with the body as payload |
//!
//! A server on a moved clock answers the requests of [`crate::moved`] too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use ingle_store::{DeleteObject, Operation, Store};
use ingle_types::datum::{Datum, HttpRequest};
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Delivery, Event, Invocation, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::log::InvocationRecord;
use ingle_types::log_levels::Threshold;
use ingle_types::metrics::Metrics;
use ingle_types::outcome::Outcome;
use ingle_types::spans::Spans;
use ingle_types::spec::{DataType, FunctionSpec, TriggerSpec};
use ingle_types::topic::{MESSAGE_BYTES_MAX, Publication};
use serde_json::{Value, json};

use crate::blobs::{self, BlobBody, Target, UploadError};
use crate::moved::{Moved, Unmoved};
use crate::service::Rooms;
use crate::state::PutError;
use crate::topics::{Topics, by_hand};
use crate::{moved, request, state};

const BODY_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Answers administrative requests.
pub struct Admin {
    pub store: Store,
    pub rooms: Rooms,
    /// The functions that are served now.
    pub functions: Box<dyn Fn() -> Vec<FunctionSpec> + Send + Sync>,
    /// What `GET /v1/status` shows.
    pub status: Box<dyn Fn() -> Value + Send + Sync>,
    /// Reads a blob for a function (its name, `container/name`); `None` if that is no path of its trigger's, or there is
    /// none.
    pub blob: ReadBlob,
    /// Of a project.
    pub topics: Topics,
    pub metrics: Metrics,
    pub spans: Spans,
    /// Shows the rules of what is logged, after a change if there is one.
    pub log_levels: Box<dyn Fn(Option<LevelChange>) -> BoxFuture<Value> + Send + Sync>,
    /// Of a server for tests.
    pub moved: Option<Box<dyn Moved>>,
}

type ReadBlob = Box<dyn Fn(FunctionName, String) -> BoxFuture<Result<Option<Blob>, String>> + Send + Sync>;

/// What a function gets of a blob.
pub struct Blob {
    pub payload: Datum,
    pub metadata: Vec<(String, Datum)>,
    /// A local file in it is there for as long as this lives.
    pub held: Option<Box<dyn Send + Sync>>,
}

/// A rule that is put over those of the app, or taken away.
pub struct LevelChange {
    /// `None`: all.
    pub category: Option<String>,
    /// `None`: the app's own rules count again.
    pub level: Option<Threshold>,
}

/// An answer that is not 200.
struct Refused(StatusCode, String, &'static str);

/// A request that is none for a blob, or one that is refused.
enum Unserved {
    Other(Box<Request<Incoming>>),
    Refused(Refused),
}

impl From<Refused> for Unserved {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<Unmoved> for Refused {
    fn from(error: Unmoved) -> Self {
        let status = match error {
            Unmoved::Busy(_) => StatusCode::CONFLICT,
            Unmoved::Refused(_) => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string(), error.code())
    }
}

impl From<PutError> for Refused {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Store(error) => error.into(),
            other => Self(StatusCode::BAD_REQUEST, other.to_string(), "E0505"),
        }
    }
}

impl From<ingle_store::Error> for Refused {
    fn from(error: ingle_store::Error) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        if let Some(hint) = error.hint() {
            text = format!("{text}\nhint: {hint}");
        }
        Self(StatusCode::INTERNAL_SERVER_ERROR, text, error.code())
    }
}

impl Admin {
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<BlobBody>, Infallible> {
        let routed = match self.blob(request).await {
            Ok(response) => return Ok(response),
            Err(Unserved::Refused(refused)) => Err(refused),
            Err(Unserved::Other(request)) => self.route(*request).await,
        };
        let (status, body) = match routed {
            Ok(value) => (StatusCode::OK, value),
            Err(Refused(status, message, code)) => {
                (status, json!({"error": {"code": code, "message": message}}))
            }
        };
        let mut response = blobs::whole(body.to_string())?;
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// Blobs come and go as streams, so they are served apart.
    async fn blob(&self, request: Request<Incoming>) -> Result<Response<BlobBody>, Unserved> {
        if request.uri().path() != "/v1/blobs" {
            return Err(Unserved::Other(Box::new(request)));
        }
        let (head, body) = request.into_parts();
        let query = request::query(head.uri.query().unwrap_or_default());
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let path = value("path").unwrap_or_default();
        let (container, name) = blobs::path(path).map_err(Refused::from)?;
        match head.method {
            Method::PUT => {
                let target = Target { container, name, content_type: value("type") };
                let done = blobs::upload(&self.store, body, target).await.map_err(|error| match error {
                    UploadError::Store(error) => Refused::from(error),
                    UploadError::Client(error) => {
                        Refused(StatusCode::BAD_REQUEST, format!("the body ended early: {error}"), "E0505")
                    }
                })?;
                blobs::whole(done.to_string()).map_err(|never| match never {})
            }
            Method::GET => match self.store.read_object(container, name).await.map_err(Refused::from)? {
                Some(object) => Ok(blobs::download(object, &self.rooms.tasks)),
                None => {
                    Err(Refused(StatusCode::NOT_FOUND, format!("there is no blob {path}"), "E0421").into())
                }
            },
            Method::DELETE => {
                let delete = Operation::DeleteObject(DeleteObject::new(container, name));
                self.store.commit(vec![delete]).await.map_err(Refused::from)?;
                blobs::whole(json!({"blob": path}).to_string()).map_err(|never| match never {})
            }
            _ => {
                let message = "a blob takes GET, PUT and DELETE".to_owned();
                Err(Refused(StatusCode::METHOD_NOT_ALLOWED, message, "E0502").into())
            }
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Value, Refused> {
        let (head, body) = request.into_parts();
        let query = request::query(head.uri.query().unwrap_or_default());
        let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let needed = |name: &'static str| {
            value(name)
                .ok_or_else(|| Refused(StatusCode::BAD_REQUEST, format!("`{name}` is missing"), "E0505"))
        };
        let body = whole(body);
        if let Some(moved) = &self.moved {
            let place = (head.method.as_str(), head.uri.path());
            if let Some(answer) = moved::answer(&**moved, place, &query).await {
                return Ok(answer?);
            }
        }
        let number =
            |name: &str, default: u64| value(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        match (&head.method, head.uri.path()) {
            (&Method::GET, "/v1/status") => Ok((self.status)()),
            (&Method::GET, "/v1/state") => Ok(state::list(&self.store, value("all").is_some()).await?),
            (&Method::GET, "/v1/blobs/list") => {
                let [prefix, after] = ["prefix", "after"].map(|name| value(name).unwrap_or_default());
                Ok(blobs::list(&self.store, value("container"), prefix, after).await?)
            }
            (&Method::GET, "/v1/state/entries") => {
                let count = u32::try_from(number("count", 10)).unwrap_or(u32::MAX);
                Ok(state::peek(&self.store, needed("name")?, count).await?)
            }
            (&Method::POST, "/v1/queues/messages") => {
                let delay = Duration::from_secs(number("delay", 0));
                Ok(state::send(&self.store, needed("name")?, body.await?, delay).await?)
            }
            (&Method::POST, "/v1/topics/messages") => {
                let publication = by_hand(needed("name")?, &query, &body.await?);
                self.publish(publication).await
            }
            (&Method::POST, "/v1/documents") => {
                Ok(state::put_documents(&self.store, needed("container")?, &body.await?).await?)
            }
            (&Method::POST, "/v1/entities") => {
                Ok(state::add_entities(&self.store, needed("table")?, &body.await?).await?)
            }
            (&Method::POST, "/v1/state/reset") => Ok(state::reset(&self.store, value("name")).await?),
            (&Method::GET, "/v1/metrics") => Ok(self.metrics.to_json()),
            (&Method::GET, "/v1/spans") => Ok(self.spans.to_json(value("trace"))),
            (&Method::GET, "/v1/log-levels") => Ok((self.log_levels)(None).await),
            (&Method::POST, "/v1/log-levels") => {
                let level =
                    value("level").map(|text| text.parse().map_err(|()| no_level(text))).transpose()?;
                let category = value("category").map(str::to_owned);
                Ok((self.log_levels)(Some(LevelChange { category, level })).await)
            }
            (&Method::POST, "/v1/invoke") => {
                let name = needed("function")?;
                let parameters: Vec<(String, String)> = query
                    .iter()
                    .filter_map(|(key, value)| Some((key.strip_prefix("p.")?.to_owned(), value.clone())))
                    .collect();
                self.invoke(name, value("method"), parameters, body.await?).await
            }
            (_, path) => Err(Refused(StatusCode::NOT_FOUND, format!("there is nothing at {path}"), "E0501")),
        }
    }

    /// `{"event": "published", "topic", "id", "events"}`, where `events` says how many functions and queues get one.
    async fn publish(&self, publication: Publication) -> Result<Value, Refused> {
        let (topic, id) = (publication.topic.clone(), publication.id);
        if !self.topics.names.contains(&topic) {
            let known = self.topics.names.join(", ");
            let known =
                if known.is_empty() { "there are none".to_owned() } else { format!("there are {known}") };
            let message = format!("nobody subscribes to a topic '{topic}'; {known}");
            return Err(Refused(StatusCode::NOT_FOUND, message, "E0126"));
        }
        if publication.message.is_empty() || publication.message.len() > MESSAGE_BYTES_MAX {
            let message = format!("a message of a topic has 1 to {MESSAGE_BYTES_MAX} bytes");
            return Err(Refused(StatusCode::BAD_REQUEST, message, "E0505"));
        }
        let published = (self.topics.publish)(vec![publication]).await;
        let refused = |message| Refused(StatusCode::INTERNAL_SERVER_ERROR, message, "E0403");
        let events = published.map_err(refused)?;
        Ok(json!({"event": "published", "topic": topic, "id": id.to_string(), "events": events}))
    }

    /// `{"id","outcome","status"?,"headers"?,"body"?,"outputs","effects","failure"?,"durationMs"}`.
    async fn invoke(
        &self,
        name: &str,
        method: Option<&str>,
        parameters: Vec<(String, String)>,
        body: Bytes,
    ) -> Result<Value, Refused> {
        let functions = (self.functions)();
        let function = functions.iter().find(|function| function.name.as_str().eq_ignore_ascii_case(name));
        let function = function.ok_or_else(|| {
            let known: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
            let message = format!("there is no function '{name}'; there are: {}", known.join(", "));
            Refused(StatusCode::NOT_FOUND, message, "E0231")
        })?;
        let id = InvocationId::random();
        let received_at = self.rooms.clock.now();
        let mut held = None;
        let (payload, metadata) = match &function.trigger {
            TriggerSpec::Timer(trigger) if body.is_empty() => trigger.run_by_hand(received_at),
            TriggerSpec::Timer(_) => (Datum::Json(String::from_utf8_lossy(&body).into_owned()), Vec::new()),
            TriggerSpec::Blob(_) => match self.stored(&function.name, &body).await? {
                Some(blob) => {
                    held = blob.held;
                    (blob.payload, blob.metadata)
                }
                None => (payload(function, method, parameters, body), Vec::new()),
            },
            _ => (payload(function, method, parameters, body), Vec::new()),
        };
        let event = Event {
            payload,
            metadata,
            delivery: Delivery::Direct,
            received_at,
            trace: Trace { parent: format!("00-{}-{:016x}-01", id.uuid().simple(), 1), state: String::new() },
            hop_count: 0,
            summary: "ingle invoke".to_owned(),
        };
        let invocation =
            Invocation { id, function: function.name.clone(), event, caller: None, exchange: None };
        let completion = self.rooms.invoker.invoke(invocation).await;
        drop(held);
        let shown = shown(&completion.outcome);
        self.rooms.records.record(InvocationRecord {
            id,
            function: function.name.clone(),
            received_at,
            summary: "ingle invoke".to_owned(),
            outcome: completion.outcome.label(),
            status: None,
            phases: completion.phases,
            effects: completion.effects.clone(),
            failure: completion.outcome.failure().cloned(),
        });
        let mut answer = json!({"id": id.to_string(), "outcome": completion.outcome.label(),
            "effects": completion.effects, "durationMs": completion.phases.total.as_secs_f64() * 1000.0});
        if let (Value::Object(answer), Value::Object(shown)) = (&mut answer, shown) {
            answer.extend(shown);
        }
        Ok(answer)
    }

    /// The blob whose path the data is, if there is one.
    async fn stored(&self, function: &FunctionName, data: &[u8]) -> Result<Option<Blob>, Refused> {
        const PATH_BYTES_MAX: usize = 1024 + 64;
        let Some(path) = std::str::from_utf8(data).ok().filter(|path| path.len() <= PATH_BYTES_MAX) else {
            return Ok(None);
        };
        let read = (self.blob)(function.clone(), path.trim().to_owned()).await;
        read.map_err(|message| Refused(StatusCode::SERVICE_UNAVAILABLE, message, "E0406"))
    }
}

/// A body, as far as it is not too long.
async fn whole(body: Incoming) -> Result<Bytes, Refused> {
    let collected = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| {
        let mib_max = BODY_BYTES_MAX / (1024 * 1024);
        if error.is::<http_body_util::LengthLimitError>() {
            let message = format!("this has more than {mib_max} MiB, and that is the limit here");
            return Refused(StatusCode::PAYLOAD_TOO_LARGE, message, "E0503");
        }
        Refused(StatusCode::BAD_REQUEST, format!("the body ended early: {error}"), "E0505")
    };
    collected.map(http_body_util::Collected::to_bytes).map_err(refused)
}

fn no_level(text: &str) -> Refused {
    let known = Threshold::ALL.map(Threshold::as_str).join(", ");
    Refused(StatusCode::BAD_REQUEST, format!("`{text}` is no level; there are {known}"), "E0505")
}

pub(crate) fn payload(
    function: &FunctionSpec,
    method: Option<&str>,
    parameters: Vec<(String, String)>,
    body: Bytes,
) -> Datum {
    if let TriggerSpec::Handler(_) = &function.trigger {
        // What is no JSON the handler's worker refuses, as Lambda's does.
        let event = if body.is_empty() { "{}".into() } else { String::from_utf8_lossy(&body) };
        return Datum::Json(event.into_owned());
    }
    let TriggerSpec::Http(trigger) = &function.trigger else {
        let wants_bytes =
            matches!(&function.trigger, TriggerSpec::Queue(queue) if queue.data_type == DataType::Binary);
        return match String::from_utf8(body.to_vec()) {
            Ok(text) if !wants_bytes => Datum::Text(text),
            _ => Datum::Bytes(body),
        };
    };
    let default = if body.is_empty() { "GET" } else { "POST" };
    let method = method.map(str::to_uppercase).unwrap_or_else(|| match trigger.methods.as_slice() {
        [] => default.to_owned(),
        methods if methods.iter().any(|allowed| allowed == default) => default.to_owned(),
        [first, ..] => first.clone(),
    });
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
    let content_type = if is_json { "application/json" } else { "text/plain; charset=utf-8" };
    Datum::Request(Box::new(HttpRequest {
        method,
        url: format!("http://localhost/{}", trigger.route),
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        query: parameters.clone(),
        route_parameters: parameters,
        body: body.into(),
        exchange: None,
    }))
}

fn shown(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Success(outputs) => {
            let mut shown = json!({});
            for (name, value) in &outputs.0 {
                shown["outputs"][name] = datum(value);
            }
            shown
        }
        failed => {
            let Some(failure) = failed.failure() else { return json!({}) };
            json!({"failure": {"code": failure.code, "kind": failure.kind, "message": failure.message,
                "traceback": failure.traceback, "location": failure.location, "hint": failure.hint,
                "blame": failure.blame.as_str()}})
        }
    }
}

fn datum(value: &Datum) -> Value {
    let text = |bytes: &Bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({"bytes": bytes.len()}),
    };
    match value {
        Datum::Nothing => Value::Null,
        Datum::Text(text) => Value::from(text.as_str()),
        Datum::Json(json) => serde_json::from_str(json).unwrap_or(Value::Null),
        Datum::Bytes(bytes) => text(bytes),
        Datum::Int(number) => Value::from(*number),
        Datum::Double(number) => Value::from(*number),
        Datum::Texts(texts) => Value::from(texts.clone()),
        Datum::ManyBytes(pieces) => pieces.iter().map(text).collect(),
        Datum::Request(_) => Value::Null,
        Datum::File(file) => json!({"bytes": file.size}),
        Datum::Response(response) => {
            json!({"status": response.status, "headers": response.headers, "body": text(&response.body)})
        }
    }
}
