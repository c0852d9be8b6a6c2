//! One invocation from event to outcome.
//!
//! ```text
//! Event -> route -> admit -> bind inputs -> acquire worker -> run -> bind outputs + ack (one commit) -> meter -> log
//! ```
//!
//! This room alone knows the order of the steps. Each is one function of the same name in [`life`], and the names
//! are those of the spans. Listeners and the gateway see only [`ingle_types::event::Invoker`], which
//! [`Dispatcher`] implements.
//!
//! | to find | look in |
//! |---|---|
//! | the steps | [`life`] |
//! | how many may run or wait | [`admission`] |
//! | who is next | [`line`] |
//! | callers who go away | `caller` |
//! | events that go round and round | `hops` |
//! | more attempts after a failure | `retry` |
//! | warming a worker before it takes work | `warmup` |

pub mod admission;
mod caller;
mod hops;
pub mod life;
pub mod line;
mod retry;
mod warmup;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ingle_connectors::Accounts;
use ingle_store::Store;
use ingle_tasks::{Detach, StopSignal, Stopper, TaskKind, Tasks};
use ingle_types::clock::ClockHandle;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Delivery, Event, Invocation, Invoker};
use ingle_types::faults::Faults;
use ingle_types::ids::FunctionName;
use ingle_types::log::RecordSinkHandle;
use ingle_types::spec::{AppSpec, Departures, FunctionSpec, MessageEncoding, OnDisconnect};
use ingle_worker::Pool;
use tokio::sync::{Mutex, MutexGuard};

use crate::admission::{Door, Gate, Places};
use crate::line::Crowded;

/// How a dispatcher is set up.
pub struct Options {
    /// Longest run of a function; `None`: no limit.
    pub function_timeout: Option<Duration>,
    /// Invocations of one function that may wait for a worker; more are refused at once.
    pub waiting_max: usize,
    /// How long someone who waits for an answer may wait for a worker.
    pub wait_max: Duration,
    /// Functions that an event may pass through before it is put aside; `None`: any number.
    pub hops_max: Option<u32>,
    /// Invocations of a function at once, by its name in lower case; no bound of its own for others.
    pub concurrency: BTreeMap<String, usize>,
    /// What becomes of invocations whose caller has gone away.
    pub departures: Departures,
    /// How messages for queues of accounts are written.
    pub message_encoding: MessageEncoding,
    /// The function that prepares a worker by running in it, without regard to case; one with a warmup trigger if absent.
    pub warm_up: Option<String>,
}

/// The rooms that an invocation passes through.
pub struct Rooms {
    pub store: Store,
    pub accounts: Accounts,
    pub pool: Pool,
    pub tasks: Tasks,
    pub clock: ClockHandle,
    pub faults: Faults,
    pub records: RecordSinkHandle,
}

/// Runs invocations. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) rooms: Rooms,
    pub(crate) functions: HashMap<FunctionName, Arc<Function>>,
    in_work: AtomicUsize,
    begun: AtomicU64,
    /// Held by the attempt that runs, where one follows the other.
    turn: Mutex<()>,
    retire: Stopper,
    /// Set when no more attempts are to be made here of events that can be given back.
    pub(crate) retiring: StopSignal,
}

/// A function with what admits its invocations.
pub(crate) struct Function {
    pub(crate) spec: FunctionSpec,
    pub(crate) gate: Gate,
    /// What waits for a worker.
    pub(crate) door: Door,
    /// Of those at once, if they are bounded.
    pub(crate) places: Option<Places>,
    pub(crate) on_disconnect: OnDisconnect,
}

impl Dispatcher {
    pub fn new(app: &AppSpec, options: Options, rooms: Rooms) -> Self {
        let function = |spec: &FunctionSpec| {
            let crowded = match spec.trigger.http() {
                Some(_) => Crowded::of_callers(options.wait_max),
                None => Crowded::OldestNext,
            };
            let bound = options.concurrency.get(&spec.name.as_str().to_lowercase());
            let function = Function {
                spec: spec.clone(),
                gate: Gate::new(options.waiting_max),
                door: Door::new(crowded),
                places: bound.map(|count| Places::new(*count, crowded)),
                on_disconnect: options.departures.of(&spec.name),
            };
            (spec.name.clone(), Arc::new(function))
        };
        let functions = app.functions.iter().map(function).collect();
        let (retire, retiring) = rooms.tasks.stoppable(TaskKind::Listener);
        Self(Arc::new(Inner {
            options,
            rooms,
            functions,
            in_work: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            turn: Mutex::new(()),
            retire,
            retiring,
        }))
    }
}

impl Dispatcher {
    /// Another dispatcher takes over: what waits for its next attempt is given back to where it came from.
    pub fn retire(&self) {
        self.0.retire.stop();
    }

    /// Whether no invocation is in work or waits. A dispatcher that is handed no more events stays idle then.
    pub fn is_idle(&self) -> bool {
        self.0.in_work.load(Ordering::Acquire) == 0
    }

    /// How many invocations are in work or wait, and how many have ever begun.
    pub fn activity(&self) -> (usize, u64) {
        let begun = self.0.begun.load(Ordering::Acquire);
        (self.0.in_work.load(Ordering::Acquire), begun)
    }
}

impl Inner {
    /// On a clock that is moved by hand, events that listeners make run one after the other, in the order in which they
    /// came, and only while the clock lets them: so the same story is told each time. Requests do not queue up here, as a
    /// function may make one.
    pub(crate) async fn turn(&self, event: &Event) -> Option<MutexGuard<'_, ()>> {
        let moved = self.rooms.clock.moved().filter(|_| event.delivery != Delivery::Direct)?;
        let turn = self.turn.lock().await;
        moved.may_work().await;
        Some(turn)
    }
}

/// Counts an invocation for as long as it lives, also when its future is dropped.
struct Counted(Arc<Inner>);

impl Counted {
    fn new(inner: &Arc<Inner>) -> Self {
        inner.in_work.fetch_add(1, Ordering::AcqRel);
        inner.begun.fetch_add(1, Ordering::AcqRel);
        Self(inner.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.in_work.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Invoker for Dispatcher {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let counted = Counted::new(&self.0);
        let inner = self.0.clone();
        let life = async move {
            let _counted = counted;
            life::live(inner, invocation).await
        };
        // What was accepted runs to its end, also when whoever asked for it goes away.
        Box::pin(Detach::new(self.0.rooms.tasks.clone(), TaskKind::Invocation, life))
    }
}
