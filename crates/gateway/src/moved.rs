//! What the admin door can do with a server whose clock is moved by hand. Such a server is there for tests.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/clock` | `{"now"}` |
//! | `POST /v1/clock?to=&limit=` | moves it forward, from one awaited time to the next: `{"now"}` |
//! | `POST /v1/settle?limit=` | once nothing is in work and nothing is due: `{"now"}` |
//! | `POST /v1/clock/restart?to=` | empties the store and sets the clock, also back: `{"now"}` |
//! | `GET /v1/journal` | what was logged since it was asked for last: `{"events", "leftOut"}` |
//!
//! Times are milliseconds since 1970, limits milliseconds of real time. The events are those that `ingle start --json`
//! prints.

use std::time::{Duration, SystemTime};

use ingle_types::clock::{from_unix_ms, unix_ms};
use ingle_types::event::futures::BoxFuture;
use serde_json::{Value, json};

/// How long something may take, unless the request says otherwise.
const LIMIT: Duration = Duration::from_secs(30);

/// A server on a moved clock, as the admin door sees it.
pub trait Moved: Send + Sync + 'static {
    fn now(&self) -> SystemTime;

    /// Waits until nothing is in work and nothing is due at the present time.
    fn settle(&self, limit: Duration) -> BoxFuture<Result<(), Unmoved>>;

    /// Moves the clock to `to`; work that falls due on the way is done at its time.
    fn advance(&self, to: SystemTime, limit: Duration) -> BoxFuture<Result<(), Unmoved>>;

    /// Empties the store and begins anew at `to`.
    fn restart(&self, to: SystemTime) -> BoxFuture<Result<(), Unmoved>>;

    /// What was logged since the last call, and how many events were too many to be kept.
    fn journal(&self) -> (Vec<Value>, u64);
}

/// Why the clock was not moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmoved {
    #[error("the app did not come to rest: {0}")]
    Busy(String),
    #[error("{0}")]
    Refused(String),
}

impl Unmoved {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Busy(_) => "E0510",
            Self::Refused(_) => "E0505",
        }
    }
}

/// Answers a request of the table above; `None` if it is none of them.
pub(crate) async fn answer(
    moved: &dyn Moved,
    (method, path): (&str, &str),
    query: &[(String, String)],
) -> Option<Result<Value, Unmoved>> {
    let number = |name: &str| {
        let text = query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        text.map(|text| text.parse::<i64>().map_err(|_| Unmoved::Refused(format!("`{name}` is no number"))))
            .transpose()
    };
    let limit = || -> Result<Duration, Unmoved> {
        let given = number("limit")?.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        Ok(given.unwrap_or(LIMIT))
    };
    let time =
        || number("to")?.map(from_unix_ms).ok_or_else(|| Unmoved::Refused("`to` is missing".to_owned()));
    let done = match (method, path) {
        ("GET", "/v1/clock") => Ok(()),
        ("POST", "/v1/clock") => match (time(), limit()) {
            (Ok(to), Ok(limit)) => moved.advance(to, limit).await,
            (Err(error), _) | (_, Err(error)) => Err(error),
        },
        ("POST", "/v1/settle") => match limit() {
            Ok(limit) => moved.settle(limit).await,
            Err(error) => Err(error),
        },
        ("POST", "/v1/clock/restart") => match time() {
            Ok(to) => moved.restart(to).await,
            Err(error) => Err(error),
        },
        ("GET", "/v1/journal") => {
            let (events, left_out) = moved.journal();
            return Some(Ok(json!({"events": events, "leftOut": left_out})));
        }
        _ => return None,
    };
    Some(done.map(|()| json!({"now": unix_ms(moved.now())})))
}
