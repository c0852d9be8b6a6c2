//! The running side of a queue trigger.
//!
//! Messages are leased in the order in which they were put in. With `batchSize` 1 and `newBatchThreshold` 0 one is
//! worked on after the other, so a function sees them strictly in order; with larger numbers they are started in
//! order and run side by side (facts 7.1). A full pool does not pile messages up here: no more than `batchSize +
//! newBatchThreshold` are leased at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ingle_store::{LeasedMessage, MessageLease, Operation, QueueWatch, Store};
use ingle_tasks::{StopSignal, Stopper, TaskKind, Tasks};
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Datum;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Delivery, Event, Invocation, InvokerHandle, QueueDelivery, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::Outcome;
use ingle_types::spec::{DataType, QueueOptions};
use tokio::sync::Notify;

use super::batch::{self, Batches};
use super::poison_queue;
use crate::wait;

/// How long a lease lasts; it is renewed at half time for as long as the function runs (facts 7.1).
pub(super) const LEASE: Duration = Duration::from_secs(600);
/// Pause after the store refused to answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Longest time without a look into the queue, unless host.json says another.
const POLLING_INTERVAL_MAX: Duration = Duration::from_secs(60);

pub struct ListenerOptions {
    pub function: FunctionName,
    pub queue: String,
    pub queues: QueueOptions,
    /// Where messages go that failed too often; to the poison queue if absent.
    pub dead_letters: Option<String>,
    pub form: Form,
}

/// What an event is made of.
#[derive(Clone)]
pub enum Form {
    /// One message each.
    Each(Arc<dyn MessageReader>),
    /// As many as there are.
    Batch(Arc<Batches>),
}

/// Makes events of leased messages. What a message stands for may lie elsewhere.
pub trait MessageReader: Send + Sync + 'static {
    fn read(self: Arc<Self>, message: LeasedMessage) -> BoxFuture<Reading>;

    /// How long a message waits after it has failed for this many times, if not as long as the queue says.
    fn retry_delay(&self, _attempts: u32) -> Option<Duration> {
        None
    }

    /// Whether [`Self::settle`] ends deliveries, and not whoever runs the function.
    fn settles(&self) -> bool {
        false
    }

    /// What ends the delivery of a message after an attempt.
    fn settle(
        &self,
        _message: &LeasedMessage,
        delivery: &QueueDelivery,
        outcome: &Outcome,
    ) -> Vec<Operation> {
        vec![super::acknowledge(delivery, outcome)]
    }

    /// What ends the delivery of a message that was delivered too often, if somebody else than the poison queue gets it.
    fn given_up(&self, _message: &LeasedMessage, _reason: &str) -> Option<Vec<Operation>> {
        None
    }
}

/// What became of a message that was read.
pub enum Reading {
    Event {
        /// Of the invocation, if it has been promised to somebody.
        id: Option<InvocationId>,
        /// The listener fills in the delivery.
        event: Box<Event>,
        /// Dropped when the invocation is over.
        held: Box<dyn Send>,
    },
    /// What it tells of is over; it is finished.
    Outdated,
    /// Not readable now: it comes again, and this does not count as an attempt.
    Later(ingle_store::Error),
    /// Not readable now, which has been told already: it comes again after the pause, and this does not count.
    Wait(Duration),
    /// Not readable, ever: it goes to the poison queue with this reason.
    Hopeless(String),
    /// It is given up on, for this reason, and this ends it.
    GivenUp(String, Vec<Operation>),
}

/// Turns the messages of one queue into invocations of one function.
pub struct Listener {
    pub(super) options: ListenerOptions,
    pub(super) store: Store,
    pub(super) invoker: InvokerHandle,
    pub(super) tasks: Tasks,
    pub(super) clock: ClockHandle,
    pub(super) in_work: Arc<InWork>,
}

/// Invocations that have not ended.
#[derive(Default)]
pub(super) struct InWork {
    pub(super) count: AtomicU32,
    finished: Notify,
}

impl Listener {
    pub fn new(
        options: ListenerOptions,
        store: Store,
        invoker: InvokerHandle,
        tasks: Tasks,
        clock: ClockHandle,
    ) -> Self {
        Self { options, store, invoker, tasks, clock, in_work: Arc::default() }
    }

    /// Starts listening; ends when its stopper or all listeners are stopped.
    pub fn start(self) -> Stopper {
        let (stopper, stop) = self.tasks.stoppable(TaskKind::Listener);
        let name = format!("queue {}", self.options.queue);
        let tasks = self.tasks.clone();
        drop(tasks.spawn(TaskKind::Listener, name, self.run(stop)));
        stopper
    }

    async fn run(self, mut stop: StopSignal) {
        let mut watch = self.store.watch_queue(&self.options.queue);
        while !stop.is_set() {
            let wait = if self.in_work.count.load(Ordering::Acquire) > self.options.queues.new_batch_threshold
            {
                Wait::ForRoom
            } else {
                match self.fetch(&mut watch, &mut stop).await {
                    Ok(0) => Wait::ForMessages(self.next_look().await),
                    Ok(_) => Wait::No,
                    Err(error) => {
                        tracing::error!(queue = %self.options.queue, code = error.code(), "can't fetch messages: {error}");
                        Wait::Pause
                    }
                }
            };
            tokio::select! {
                () = stop.wait() => {}
                () = self.wait(wait, &mut watch) => {}
            }
        }
    }

    async fn wait(&self, wait: Wait, watch: &mut QueueWatch) {
        match wait {
            Wait::No => {}
            Wait::ForRoom => self.in_work.finished.notified().await,
            Wait::Pause => tokio::time::sleep(STORE_PAUSE).await,
            Wait::ForMessages(due) => {
                let longest = self.options.queues.max_polling_interval.unwrap_or(POLLING_INTERVAL_MAX);
                // The longest interval is a second pair of eyes.
                tokio::select! {
                    () = watch.changed() => {}
                    () = wait::until(&self.clock, due, longest) => {}
                }
            }
        }
    }

    /// When a delayed message comes due, if there is one.
    pub(super) async fn next_look(&self) -> Option<SystemTime> {
        match self.store.next_visible_at(&self.options.queue).await {
            Ok(at) => at,
            Err(_) => Some(self.clock.now() + STORE_PAUSE),
        }
    }

    /// Leases messages and starts their invocations. Gives how many it has seen.
    async fn fetch(
        &self,
        watch: &mut QueueWatch,
        stop: &mut StopSignal,
    ) -> Result<usize, ingle_store::Error> {
        let reader = match &self.options.form {
            Form::Each(reader) => reader,
            Form::Batch(batches) => return self.fetch_batch(batches, watch, stop).await,
        };
        let (messages, count) = self.lease(self.options.queues.batch_size, LEASE).await?;
        for message in messages {
            self.in_work.count.fetch_add(1, Ordering::AcqRel);
            drop(self.tasks.spawn(
                TaskKind::Invocation,
                "queue message",
                self.handle(reader.clone(), message),
            ));
        }
        Ok(count)
    }

    /// Messages that may be worked on, and how many were there.
    pub(super) async fn lease(
        &self,
        count: u32,
        lease: Duration,
    ) -> Result<(Vec<LeasedMessage>, usize), ingle_store::Error> {
        let leased = self.store.lease_messages(&self.options.queue, count, lease).await?;
        let count = leased.len();
        let mut messages = Vec::with_capacity(count);
        for message in leased {
            if message.dequeue_count > self.options.queues.max_dequeue_count {
                self.give_up(message).await?;
            } else {
                messages.push(message);
            }
        }
        Ok((messages, count))
    }

    /// A message that was delivered more often than allowed is not handed to the function again.
    async fn give_up(&self, message: LeasedMessage) -> Result<(), ingle_store::Error> {
        let reason = format!("delivered {} times", message.dequeue_count);
        if let Form::Each(reader) = &self.options.form
            && let Some(operations) = reader.given_up(&message, &reason)
        {
            return self.store.commit(operations).await;
        }
        let named = self.options.dead_letters.clone();
        let Some(poison_queue) = named.or_else(|| poison_queue(&self.options.queue)) else { return Ok(()) };
        self.store.commit(vec![Operation::PoisonMessage { lease: message.lease, poison_queue, reason }]).await
    }

    fn handle(
        &self,
        reader: Arc<dyn MessageReader>,
        message: LeasedMessage,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (invoker, store, in_work) = (self.invoker.clone(), self.store.clone(), self.in_work.clone());
        let (function, clock) = (self.options.function.clone(), self.clock.clone());
        let delivery = self.delivery(&message, reader.retry_delay(message.dequeue_count));
        let lease = message.lease.clone();
        let settled = reader.settles().then(|| (reader.clone(), message.clone()));
        async move {
            // Also counted down when the task is aborted or panics.
            let _leave = Leave(in_work);
            let (id, event, _held) = match reader.read(message).await {
                Reading::Event { id, event, held } => (id, event, held),
                other => return put_aside(&store, lease, other).await,
            };
            let told = match &settled {
                Some(_) => Delivery::Remote(delivery.clone()),
                None => Delivery::Queue(delivery.clone()),
            };
            let event = Event { delivery: told, ..*event };
            let id = id.unwrap_or_else(InvocationId::random);
            let running = invoker.invoke(Invocation { id, function, event, caller: None, exchange: None });
            let completion = attend(running, &[lease], &store, &clock).await;
            if let Some((reader, message)) = settled {
                let operations = reader.settle(&message, &delivery, &completion.outcome);
                if let Err(error) = store.commit(operations).await {
                    // The lease runs out by itself, or is void after a restart: the message is not lost.
                    tracing::error!(queue = %delivery.queue, code = error.code(), "can't end the delivery of a message: {error}");
                }
            }
        }
    }

    fn delivery(&self, message: &LeasedMessage, delay: Option<Duration>) -> QueueDelivery {
        QueueDelivery {
            queue: message.lease.queue.clone(),
            message_id: message.lease.message_id.clone(),
            pop_receipt: message.lease.pop_receipt.clone(),
            dequeue_count: message.dequeue_count,
            max_dequeue_count: self.options.queues.max_dequeue_count,
            retry_delay: delay.unwrap_or(self.options.queues.visibility_timeout),
            dead_letters: self.options.dead_letters.clone(),
            group: message.group.clone(),
        }
    }
}

/// Renews leases until the invocation is over; what became of it.
pub(super) async fn attend(
    mut running: BoxFuture<Completion>,
    leases: &[MessageLease],
    store: &Store,
    clock: &ClockHandle,
) -> Completion {
    loop {
        // Leases end by the wall clock.
        let half = wait::until(clock, Some(clock.now() + LEASE / 2), LEASE / 2);
        tokio::select! {
            completion = &mut running => return completion,
            () = half => {
                for lease in leases {
                    if let Err(error) = store.extend_lease(lease, LEASE).await {
                        tracing::warn!(queue = %lease.queue, message = %lease.message_id, "can't renew the lease: {error}");
                    }
                }
            }
        }
    }
}

/// Ends the delivery of a message that made no event.
async fn put_aside(store: &Store, lease: MessageLease, reading: Reading) {
    let queue = lease.queue.clone();
    let operation = match reading {
        Reading::GivenUp(reason, operations) => {
            tracing::error!(%queue, %reason, "gave a message up");
            if let Err(error) = store.commit(operations).await {
                tracing::error!(%queue, code = error.code(), "can't put a message aside: {error}");
            }
            return;
        }
        Reading::Event { .. } | Reading::Outdated => Operation::DeleteMessage(lease),
        Reading::Later(error) => {
            tracing::error!(%queue, code = error.code(), "can't read what a message stands for: {error}");
            Operation::ReleaseMessage { lease, visible_after: STORE_PAUSE, counts: false }
        }
        Reading::Wait(visible_after) => Operation::ReleaseMessage { lease, visible_after, counts: false },
        Reading::Hopeless(reason) => {
            tracing::error!(%queue, %reason, "gave a message up");
            batch::hopeless(lease, reason)
        }
    };
    if let Err(error) = store.commit(vec![operation]).await {
        // The lease runs out by itself, or is void after a restart: the message is not lost.
        tracing::error!(%queue, code = error.code(), "can't put a message aside: {error}");
    }
}

/// Reads messages whose bodies are the payload.
pub struct Messages {
    queue: String,
    data_type: DataType,
    clock: ClockHandle,
}

impl Messages {
    pub fn reader(queue: &str, data_type: DataType, clock: ClockHandle) -> Arc<Self> {
        Arc::new(Self { queue: queue.to_owned(), data_type, clock })
    }

    pub(crate) fn event(&self, message: LeasedMessage) -> Event {
        let payload = payload(message.body.clone(), self.data_type);
        let whole = match &payload {
            Datum::Text(text) => text.clone(),
            _ => String::from_utf8_lossy(&message.body).into_owned(),
        };
        let date = |time: SystemTime| Datum::Json(format!("\"{}\"", date_text(time)));
        // The spellings are those that the SDK looks up (facts 4.1).
        let metadata = vec![
            ("QueueTrigger".to_owned(), Datum::Text(whole)),
            ("DequeueCount".to_owned(), Datum::Int(i64::from(message.dequeue_count))),
            ("ExpirationTime".to_owned(), date(message.expires_at)),
            ("Id".to_owned(), Datum::Text(message.lease.message_id)),
            ("InsertionTime".to_owned(), date(message.inserted_at)),
            ("NextVisibleTime".to_owned(), date(message.next_visible_at)),
            ("PopReceipt".to_owned(), Datum::Text(message.lease.pop_receipt)),
        ];
        let attempt =
            if message.dequeue_count > 1 { format!(" try {}", message.dequeue_count) } else { String::new() };
        Event {
            payload,
            metadata,
            summary: format!("queue {}{attempt}", self.queue),
            received_at: self.clock.now(),
            trace: Trace { parent: message.trace_parent, state: String::new() },
            hop_count: message.hop_count,
            delivery: Delivery::Direct,
        }
    }
}

impl MessageReader for Messages {
    fn read(self: Arc<Self>, message: LeasedMessage) -> BoxFuture<Reading> {
        let event = Box::new(self.event(message));
        Box::pin(std::future::ready(Reading::Event { id: None, event, held: Box::new(()) }))
    }
}

enum Wait {
    No,
    ForRoom,
    ForMessages(Option<SystemTime>),
    Pause,
}

pub(super) struct Leave(pub(super) Arc<InWork>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.finished.notify_one();
    }
}

/// Text where it is text, unless the trigger asks for bytes.
fn payload(body: Bytes, data_type: DataType) -> Datum {
    if data_type == DataType::Binary {
        return Datum::Bytes(body);
    }
    match String::from_utf8(body.to_vec()) {
        Ok(text) => Datum::Text(text),
        Err(_) => Datum::Bytes(body),
    }
}

/// `2026-10-25T00:10:00+00:00`, the form that the SDK parses.
fn date_text(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}
