//! What starts an invocation.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::caller::CallerHandle;
use crate::datum::Datum;
use crate::exchange::ExchangeHandle;
use crate::ids::{FunctionName, InvocationId};
use crate::log::CallLog;
use crate::outcome::Outcome;

/// Begins the names of queues with events for handlers that their callers do not wait for: they are Ingle's own.
pub const LATER_QUEUE_PREFIX: &str = "ingle-events-";

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

/// Ours among the members of `tracestate`.
const HOPS_MEMBER: &str = "ingle=";
/// More than these are taken for these: the number comes from anybody, and must not overflow when it grows.
const HOPS_READ_MAX: u32 = 1_000_000;

impl Trace {
    /// For a function, which may hand it on with a request of its own: with the hops that an event caused by it has, in
    /// a list member of `tracestate` (W3C Trace Context, section 3.3). Without a trace there is nothing to hand on.
    #[must_use]
    pub fn with_hop_count(&self, hop_count: u32) -> Self {
        if self.parent.is_empty() {
            return self.clone();
        }
        let others = self.members().filter(|member| !member.starts_with(HOPS_MEMBER));
        let state =
            others.fold(format!("{HOPS_MEMBER}{hop_count}"), |state, member| format!("{state},{member}"));
        Self { parent: self.parent.clone(), state }
    }

    /// Hops of an event with this trace; 0 if it tells of none.
    pub fn hop_count(&self) -> u32 {
        let number = self.members().find_map(|member| member.strip_prefix(HOPS_MEMBER));
        number.and_then(|number| number.parse().ok()).unwrap_or(0).min(HOPS_READ_MAX)
    }

    fn members(&self) -> impl Iterator<Item = &str> {
        self.state.split(',').map(str::trim).filter(|member| !member.is_empty())
    }
}

/// Where an event came from, with what is needed to acknowledge it there.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Someone waits for the answer; nothing to acknowledge.
    Direct,
    /// A leased message of a queue in the embedded store.
    Queue(QueueDelivery),
    /// Leased messages of one queue in the embedded store, each of which ends in its own way.
    Batch(BatchDelivery),
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
    /// Where it goes after its last attempt, if not where the rule for its queue says.
    pub dead_letters: Option<String>,
    /// Messages of one group are worked on in their order.
    pub group: Option<String>,
}

/// Messages that make one event.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchDelivery {
    /// At least one, all of one queue.
    pub messages: Vec<QueueDelivery>,
    /// Whether what the function returned may name messages that failed.
    pub reports_failures: bool,
}

impl BatchDelivery {
    /// Empty if there is no message.
    pub fn queue(&self) -> &str {
        self.messages.first().map_or("", |message| &message.queue)
    }
}

/// One request to run one function with one event.
#[derive(Debug)]
pub struct Invocation {
    pub id: InvocationId,
    pub function: FunctionName,
    pub event: Event,
    /// Who waits for the answer, if it can go away; the invocation is withdrawn then.
    pub caller: Option<CallerHandle>,
    /// Takes the answer in pieces, from a handler whose runtime gives it so. That of a request stands in the request.
    pub exchange: Option<ExchangeHandle>,
}

/// How an invocation went.
#[derive(Clone, Debug)]
pub struct Completion {
    pub id: InvocationId,
    pub outcome: Outcome,
    pub phases: Phases,
    /// Outputs written and what became of the source, in a few words each.
    pub effects: Vec<String>,
    /// Of its last attempt, where callers can ask for it.
    pub log: Option<Box<CallLog>>,
}

/// Where the time of an invocation went. Steps of the life of an invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// Waiting for a permit or a worker.
    pub queue: Duration,
    /// Making the process of the worker that it waited for.
    pub fork: Duration,
    /// From then until that worker could take it.
    pub ready: Duration,
    /// From handing it to the worker until its answer.
    pub user: Duration,
    /// Reading inputs, writing outputs and acknowledging.
    pub bind: Duration,
    pub total: Duration,
    /// Resident memory of the worker afterwards, in bytes; 0 if unknown.
    pub memory_bytes: u64,
}

impl Phases {
    /// Making the worker that it waited for; zero if that was there before.
    pub fn start(&self) -> Duration {
        self.fork + self.ready
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(state: &str, hop_count: u32, handed_on: &str) {
        let trace = Trace { parent: "00-a-b-01".to_owned(), state: state.to_owned() };
        assert_eq!(trace.hop_count(), hop_count);
        assert_eq!(trace.with_hop_count(hop_count + 1).state, handed_on);
    }

    #[test]
    fn hops_travel_in_the_trace_state_beside_what_others_say() {
        check("", 0, "ingle=1");
        check("vendor=a, ingle=4,other=b", 4, "ingle=5,vendor=a,other=b");
        check("ingle=many,,", 0, "ingle=1");
        check("ingle=4294967295", 1_000_000, "ingle=1000001");
        assert_eq!(Trace::default().with_hop_count(3), Trace::default());
    }
}
