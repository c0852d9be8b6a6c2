//! Who may come in: keys, and what may be done without one.
//!
//! The rules are those of Azure's host (facts 3.5), and every refusal is decided by [`permits`]. When keys are not asked
//! for, functions are open to all, and the doors below `/admin` and `/runtime` to this machine only ([`local`]).
//! Without readable keys nobody has one (T-054).

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use ingle_store::keys::{KeyFile, KeyRing, Stamp, Standing};
use ingle_types::clock::ClockHandle;
use ingle_types::ids::FunctionName;
use ingle_types::spec::AuthLevel;
use tokio::time::Instant;

use crate::request;

mod limiter;
mod local;

use limiter::Limiter;
pub(crate) use local::{caller as caller_of, is_of_this_machine};

const KEY_HEADER: HeaderName = HeaderName::from_static("x-functions-key");
const KEY_QUERY: &str = "code";
/// Tells a developer which page explains an empty answer.
const ERROR_HEADER: HeaderName = HeaderName::from_static("ingle-error");

/// The address that a connection came from; the server puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What a request needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requirement<'a> {
    /// To call a function over its route.
    Function(AuthLevel, &'a FunctionName),
    /// To use a door of administration.
    Admin,
    /// To deliver to an extension's webhook, e.g. `eventgrid`.
    Webhook(&'a str),
}

/// Whether a standing is enough. The whole decision, and nothing else decides.
pub fn permits(requirement: Requirement<'_>, standing: &Standing) -> bool {
    match (requirement, standing) {
        (Requirement::Function(AuthLevel::Anonymous, _), _) | (_, Standing::Admin) => true,
        (Requirement::Function(AuthLevel::Function, _), Standing::Function) => true,
        (Requirement::Webhook(extension), Standing::System(name)) => {
            name.eq_ignore_ascii_case(&format!("{extension}_extension"))
        }
        (Requirement::Function(AuthLevel::Function, _), Standing::Anonymous | Standing::System(_)) => false,
        (
            Requirement::Function(AuthLevel::Admin, _) | Requirement::Admin,
            Standing::Anonymous | Standing::Function | Standing::System(_),
        ) => false,
        (Requirement::Webhook(_), Standing::Anonymous | Standing::Function) => false,
    }
}

/// Stands at the door. Cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    /// Functions ask for keys (`--auth`).
    asks: bool,
    file: KeyFile,
    ring: Mutex<Option<Known>>,
    limiter: Mutex<Limiter>,
    clock: ClockHandle,
}

/// What was read last, and when the file has to be read again.
struct Known {
    stamp: Stamp,
    ring: Option<Arc<KeyRing>>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("asks", &self.0.asks).finish_non_exhaustive()
    }
}

impl Guard {
    /// `asks`: functions ask for the keys that their level says.
    pub fn new(asks: bool, file: KeyFile, clock: ClockHandle) -> Self {
        let (ring, limiter) = (Mutex::new(None), Mutex::new(Limiter::default()));
        Self(Arc::new(Inner { asks, file, ring, limiter, clock }))
    }

    pub fn asks(&self) -> bool {
        self.0.asks
    }

    pub fn file(&self) -> &KeyFile {
        &self.0.file
    }

    pub(crate) fn clock(&self) -> &ClockHandle {
        &self.0.clock
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// The answer to one that may not come in: 401 without a body, or 429 to whoever tries keys out.
    pub fn check(&self, head: &Parts, requirement: Requirement<'_>) -> Result<(), Response<Bytes>> {
        let shown = shown_key(head);
        let is_free = match requirement {
            Requirement::Function(AuthLevel::Anonymous, _) => true,
            Requirement::Function(_, _) => !self.0.asks,
            Requirement::Admin | Requirement::Webhook(_) => {
                !self.0.asks && shown.is_none() && local::is_local(head)
            }
        };
        if is_free {
            return Ok(());
        }
        let Some(shown) = shown else { return Err(unauthorised()) };
        if let Some(wait) = self.wait(head) {
            let mut answer = empty(StatusCode::TOO_MANY_REQUESTS, "E0508");
            mark_guessing(wait, answer.headers_mut());
            return Err(answer);
        }
        let function = match requirement {
            Requirement::Function(_, name) => Some(name.as_str()),
            Requirement::Admin | Requirement::Webhook(_) => None,
        };
        let standing = self
            .ring()
            .map_or(Standing::Anonymous, |ring| ring.identify(&shown, function, self.0.clock.now()));
        if permits(requirement, &standing) {
            return Ok(());
        }
        // A good key for something else is a mistake, not a guess.
        if standing == Standing::Anonymous {
            self.failed(head);
        }
        Err(unauthorised())
    }

    /// How long a caller has to wait before a key of it is looked at; `None`: not at all.
    pub(crate) fn wait(&self, head: &Parts) -> Option<Duration> {
        let limiter = self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.wait(local::caller(head), Instant::now())
    }

    /// Counts a wrong key.
    pub(crate) fn failed(&self, head: &Parts) {
        let mut limiter = self.0.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.failed(local::caller(head), Instant::now());
    }

    /// The name of the key for routes of APIs that a caller shows.
    pub(crate) fn api_key(&self, shown: &str) -> Option<String> {
        self.ring()?.api_key(shown, self.0.clock.now()).map(str::to_owned)
    }

    /// The keys as they are on disk now: a change counts from the next request on.
    fn ring(&self) -> Option<Arc<KeyRing>> {
        let mut known = self.0.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before reading: a change in between is seen at the next look.
        let stamp = self.0.file.stamp();
        if let Some(known) = known.as_ref().filter(|known| known.stamp == stamp) {
            return known.ring.clone();
        }
        let ring = match self.0.file.read() {
            Ok(ring) => ring.map(Arc::new),
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                tracing::error!(code = error.code(), hint, "every key is refused: {}", chain(&error));
                None
            }
        };
        *known = Some(Known { stamp, ring: ring.clone() });
        ring
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

/// The header wins over the query; of several the first counts. An empty one is none.
fn shown_key(head: &Parts) -> Option<String> {
    let header = head.headers.get(KEY_HEADER).filter(|value| !value.is_empty());
    // A value that is no text is a wrong key, and not no key.
    let header = header.map(|value| value.to_str().unwrap_or("?").to_owned());
    let query = || request::first_query_value(head.uri.query().unwrap_or_default(), KEY_QUERY);
    header.or_else(query).filter(|key| !key.is_empty())
}

fn unauthorised() -> Response<Bytes> {
    empty(StatusCode::UNAUTHORIZED, "E0506")
}

/// Says to whoever tries keys out when the next one is looked at.
pub(crate) fn mark_guessing(wait: Duration, answered: &mut HeaderMap) {
    answered.insert(ERROR_HEADER, HeaderValue::from_static("E0508"));
    answered.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
}

fn empty(status: StatusCode, code: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response.headers_mut().insert(ERROR_HEADER, HeaderValue::from_static(code));
    response
}

#[cfg(test)]
mod tests;
