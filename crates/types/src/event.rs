//! What starts an invocation.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::datum::Datum;
use crate::ids::{FunctionName, InvocationId};
use crate::outcome::Outcome;

/// What a listener or the gateway hands over: payload, trigger metadata, source and time.
#[derive(Clone, Debug)]
pub struct Event {
    /// The trigger's value, e.g. the request or the text of a message.
    pub payload: Datum,
    /// Trigger metadata under the exact spellings that the SDK looks up (`DequeueCount`, `Id`, …).
    pub metadata: Vec<(String, Datum)>,
    pub delivery: Delivery,
    pub received_at: SystemTime,
    /// W3C `traceparent` and `tracestate` of whoever caused this.
    pub trace: Trace,
    /// How many functions this event has passed through already; a loop breaker looks at it.
    pub hop_count: u32,
    /// A few words for the one-line log: `POST /api/orders`, `queue orders #2`.
    pub summary: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    pub parent: String,
    pub state: String,
}

/// Where an event came from, with what is needed to acknowledge it there.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Someone waits for the answer; nothing to acknowledge.
    Direct,
    /// A leased message of a queue in the embedded store.
    Queue(QueueDelivery),
    /// A message of a queue in an account, which its listener holds and acknowledges when the invocation is over.
    Remote(QueueDelivery),
    /// A place in a stream or a schedule: finishing means to remember that it was passed.
    Checkpoint(CheckpointDelivery),
}

/// What a listener has passed when the invocation is over, whichever way it ended: a timer's occurrence, a change of
/// a container.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckpointDelivery {
    /// Whose place it is, e.g. `timer/cleanup`.
    pub consumer: String,
    /// Version of the stored checkpoint that this one follows (a fencing token); 0 if there is none.
    pub follows: u64,
    /// The new place, as JSON text.
    pub value: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueueDelivery {
    pub queue: String,
    pub message_id: String,
    /// Proof of the lease (a fencing token): a later lease makes it worthless.
    pub pop_receipt: String,
    /// Deliveries so far that count as attempts, this one included.
    pub dequeue_count: u32,
    pub max_dequeue_count: u32,
    /// How long a failed message stays invisible.
    pub retry_delay: Duration,
}

/// One request to run one function with one event.
#[derive(Debug)]
pub struct Invocation {
    pub id: InvocationId,
    pub function: FunctionName,
    pub event: Event,
}

/// How an invocation went.
#[derive(Clone, Debug)]
pub struct Completion {
    pub id: InvocationId,
    pub outcome: Outcome,
    pub phases: Phases,
    /// Outputs written and what became of the source, in a few words each.
    pub effects: Vec<String>,
}

/// Where the time of an invocation went. Steps of the life of an invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// Waiting for a permit or a worker.
    pub queue: Duration,
    /// Starting a worker for it.
    pub start: Duration,
    /// From handing it to the worker until its answer.
    pub user: Duration,
    /// Reading inputs, writing outputs and acknowledging.
    pub bind: Duration,
    pub total: Duration,
    /// Resident memory of the worker afterwards, in bytes; 0 if unknown.
    pub memory_bytes: u64,
}

/// The only way to a function. Implemented by the room `dispatch`; listeners and the gateway hold one.
pub trait Invoker: Send + Sync + 'static {
    /// Runs the invocation to its end: outputs are written and the source is acknowledged when this returns.
    /// Dropping the future does not stop an invocation that has been accepted.
    fn invoke(&self, invocation: Invocation) -> futures::BoxFuture<Completion>;
}

/// A cheap handle to an [`Invoker`].
pub type InvokerHandle = Arc<dyn Invoker>;

/// The few future types that a port needs, without a dependency.
pub mod futures {
    use std::future::Future;
    use std::pin::Pin;

    pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;
}
