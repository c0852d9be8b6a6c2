//! Whoever waits for an answer, as far as it matters to those who make the answer: whether it is still there.

use std::fmt;
use std::sync::Arc;

use crate::event::futures::BoxFuture;

/// Someone who waits for the answer of an invocation. The gateway implements it.
pub trait Caller: Send + Sync + 'static {
    /// Ready once the caller has certainly gone away. One who can't be seen leaving is there for ever.
    fn gone(&self) -> BoxFuture<()>;
}

/// A cheap handle to a [`Caller`].
#[derive(Clone)]
pub struct CallerHandle(pub Arc<dyn Caller>);

impl fmt::Debug for CallerHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("CallerHandle")
    }
}
