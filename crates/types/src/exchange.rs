//! HTTP in pieces: the port through which a worker takes a request's body and gives a response while the caller is
//! still connected. The gateway implements it; a function whose framework streams gets one with its request.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::futures::BoxFuture;
use crate::outcome::Failure;

/// The caller has gone away, or has sent a body that can't be taken: nothing more comes from it, and nothing more reaches
/// it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallerGone;

/// Why a piece of a response was not sent.
#[derive(Clone, PartialEq, Debug)]
pub enum NotSent {
    CallerGone,
    /// It makes the response one that can't be sent: the failure of the invocation.
    Refused(Box<Failure>),
}

/// One request and its response, in pieces. Every method is for one caller at a time.
pub trait Exchange: Send + Sync + 'static {
    /// The next piece of the request's body; `None` at its end. Bytes are read from the network only when this asks.
    fn read(&self) -> BoxFuture<Result<Option<Bytes>, CallerGone>>;

    /// Sends status and headers of the response.
    ///
    /// # Errors
    /// The failure of the invocation, if HTTP can't carry them.
    fn begin(&self, status: i64, headers: Vec<(String, String)>) -> Result<(), Box<Failure>>;

    /// Sends a piece of the response's body; ready when there is room for the next one.
    fn write(&self, piece: Bytes) -> BoxFuture<Result<(), NotSent>>;

    /// Ready once the caller has gone away.
    fn gone(&self) -> BoxFuture<()>;
}

/// A cheap handle to an [`Exchange`]. Two are equal if they are the same one.
#[derive(Clone)]
pub struct ExchangeHandle(pub Arc<dyn Exchange>);

impl Deref for ExchangeHandle {
    type Target = dyn Exchange;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for ExchangeHandle {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for ExchangeHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ExchangeHandle")
    }
}
