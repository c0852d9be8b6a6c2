//! Messages that make one event, and how each of them ends.
//!
//! A batch of which nothing failed is deleted. If the function fails, all come again; if what it returned names messages
//! in `batchItemFailures`, only these do, and what is behind them in their group (facts of Lambda, section 3.9). What has failed too often goes to the poison
//! queue, as a message that came alone does.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use ingle_store::{LeasedMessage, MessageLease, Operation, Store};
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Datum;
use ingle_types::event::{BatchDelivery, Delivery, Event, QueueDelivery, Trace};
use ingle_types::outcome::{Blame, Failure, Outcome, Outputs};
use ingle_types::spec::HandlerQueue;
use serde_json::Value;
use uuid::Uuid;

use super::poison_queue;
use super::record::{Place, is_wanted, record};
use crate::error::Error;

/// Longest event in bytes, as Lambda has it.
const EVENT_BYTES_MAX: usize = 6_291_556;
const HEAD: &str = "{\"Records\":[";
const TAIL: &str = "]}";
/// The output under which a worker gives back what the function returned.
const RETURNED: &str = "$return";
const FAILURES: &str = "batchItemFailures";
const IDENTIFIER: &str = "itemIdentifier";

/// How messages of a queue become events.
pub struct Batches {
    pub source: HandlerQueue,
    /// The region that the function believes to be in.
    pub region: String,
    pub max_dequeue_count: u32,
    /// How long a failed message stays invisible.
    pub retry_delay: Duration,
    /// Functions that an event may pass through; `None`: any number.
    pub hops_max: Option<u32>,
    pub clock: ClockHandle,
}

impl Batches {
    /// How long is waited for more messages. On a clock that is moved by hand nobody would end the wait.
    pub(super) fn window(&self) -> Duration {
        if self.clock.moved().is_some() { Duration::ZERO } else { self.source.window }
    }

    /// The one event of these messages; `None` without any.
    pub(super) fn event(&self, gathered: Gathered) -> Option<(Vec<MessageLease>, Event)> {
        let first = gathered.messages.first()?;
        // A function hands its trace on, and with it how long the chain is already, so there has to be one.
        let parent = match first.trace_parent.as_str() {
            "" => format!("00-{}-{:016x}-01", Uuid::new_v4().simple(), 1),
            parent => parent.to_owned(),
        };
        let trace = Trace { parent, state: String::new() };
        let hop_count = gathered.messages.iter().map(|message| message.hop_count).max().unwrap_or(0);
        let leases: Vec<MessageLease> =
            gathered.messages.iter().map(|message| message.lease.clone()).collect();
        let messages = gathered.messages.iter().map(|message| QueueDelivery {
            queue: message.lease.queue.clone(),
            message_id: message.lease.message_id.clone(),
            pop_receipt: message.lease.pop_receipt.clone(),
            dequeue_count: message.dequeue_count,
            max_dequeue_count: self.max_dequeue_count,
            retry_delay: self.retry_delay,
            dead_letters: self.source.redrive.as_ref().map(|redrive| redrive.queue.clone()),
            group: message.group.clone(),
        });
        let delivery =
            BatchDelivery { messages: messages.collect(), reports_failures: self.source.reports_failures };
        let event = Event {
            payload: Datum::Json(format!("{HEAD}{}{TAIL}", gathered.records.join(","))),
            metadata: Vec::new(),
            summary: format!("queue {} ×{}", self.source.queue, leases.len()),
            received_at: self.clock.now(),
            trace,
            hop_count,
            delivery: Delivery::Batch(delivery),
        };
        Some((leases, event))
    }

    /// The loop breaker puts a whole event aside, so that what it may mean comes alone.
    fn is_alone(&self, message: &LeasedMessage) -> bool {
        self.hops_max.is_some_and(|max| message.hop_count >= max)
    }
}

/// What has been leased for the next event.
#[derive(Default)]
pub(super) struct Gathered {
    messages: Vec<LeasedMessage>,
    records: Vec<String>,
    bytes: usize,
    is_full: bool,
}

/// What became of a message that was to be added.
pub(super) enum Added {
    Taken,
    /// It belongs to the next event.
    Full(MessageLease),
    /// The function wants to hear of others only.
    Unwanted(MessageLease),
    /// It can't be in any event.
    Hopeless(MessageLease, String),
}

impl Gathered {
    /// How many more messages it can take.
    pub(super) fn room(&self, batches: &Batches) -> u32 {
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        if self.is_full { 0 } else { batches.source.batch_size.max(1).saturating_sub(count) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn leases(self) -> Vec<MessageLease> {
        self.messages.into_iter().map(|message| message.lease).collect()
    }

    pub(super) fn add(&mut self, message: LeasedMessage, batches: &Batches, now: SystemTime) -> Added {
        if self.room(batches) == 0 {
            return Added::Full(message.lease);
        }
        let place = Place { queue: &batches.source.name, region: &batches.region };
        let Some(record) = record(&message, place, now) else {
            let reason = "its body is no text in UTF-8, which records of SQS have".to_owned();
            return Added::Hopeless(message.lease, reason);
        };
        if !is_wanted(&record, &batches.source.filters) {
            return Added::Unwanted(message.lease);
        }
        let record = record.to_string();
        let bytes = record.len() + 1;
        let most = EVENT_BYTES_MAX - HEAD.len() - TAIL.len();
        if bytes > most {
            let reason = format!("it would make an event of more than {EVENT_BYTES_MAX} bytes");
            return Added::Hopeless(message.lease, reason);
        }
        let is_alone = batches.is_alone(&message);
        if self.bytes + bytes > most || is_alone && !self.is_empty() {
            self.is_full = true;
            return Added::Full(message.lease);
        }
        self.bytes += bytes;
        self.is_full = is_alone;
        self.records.push(record);
        self.messages.push(message);
        Added::Taken
    }
}

/// What becomes of the messages of an event whose invocation did not succeed.
pub fn acknowledge_failed(batch: &BatchDelivery, outcome: &Outcome) -> Vec<Operation> {
    batch.messages.iter().map(|message| super::acknowledge(message, outcome)).collect()
}

/// What becomes of the messages of an event that the function has answered.
///
/// # Errors
/// [`Error::BatchAnswer`]: it says that messages failed, but not which.
pub fn acknowledge(batch: &BatchDelivery, outputs: &Outputs) -> Result<Vec<Operation>, Error> {
    let failed = if batch.reports_failures { failed(batch, outputs)? } else { HashSet::new() };
    let done = Outcome::Success(Outputs::default());
    let message = format!("the function named it in {FAILURES}");
    let again = Outcome::Failed(Failure::new(Blame::App, "E0317", "BatchItemFailure", message));
    let mut stopped: HashSet<&str> = HashSet::new();
    let mut ends = Vec::with_capacity(batch.messages.len());
    for message in &batch.messages {
        let group = message.group.as_deref();
        ends.push(if group.is_some_and(|group| stopped.contains(group)) {
            // It comes again after the one that failed, whatever became of it, and that is none of its attempts.
            let lease = super::lease(message);
            Operation::ReleaseMessage { lease, visible_after: Duration::ZERO, counts: false }
        } else if failed.contains(&message.message_id) {
            stopped.extend(group);
            super::acknowledge(message, &again)
        } else {
            super::acknowledge(message, &done)
        });
    }
    Ok(ends)
}

/// Ids of the messages that the function says have failed.
fn failed(batch: &BatchDelivery, outputs: &Outputs) -> Result<HashSet<String>, Error> {
    let returned: Value = match outputs.get(RETURNED) {
        Some(Datum::Json(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        _ => Value::Null,
    };
    let refused = |problem: String| Error::BatchAnswer { queue: batch.queue().to_owned(), problem };
    let items = match returned.get(FAILURES) {
        None | Some(Value::Null) => return Ok(HashSet::new()),
        Some(Value::Array(items)) => items,
        Some(other) => return Err(refused(format!("`{FAILURES}` is {}, and no list", shortened(other)))),
    };
    let known: HashSet<&str> = batch.messages.iter().map(|message| message.message_id.as_str()).collect();
    let id = |item: &Value| match item.get(IDENTIFIER) {
        Some(Value::String(id)) if known.contains(id.as_str()) => Ok(id.clone()),
        Some(Value::String(id)) if id.is_empty() => Err(refused(format!("an `{IDENTIFIER}` is empty"))),
        Some(Value::String(id)) => {
            let id = shortened(&Value::String(id.clone()));
            Err(refused(format!("`{IDENTIFIER}` {id} is the messageId of no record of the event")))
        }
        Some(other) => Err(refused(format!("an `{IDENTIFIER}` is {}, and no text", shortened(other)))),
        None => Err(refused(format!("{} in `{FAILURES}` has no `{IDENTIFIER}`", shortened(item)))),
    };
    items.iter().map(id).collect()
}

/// The function may have returned anything, of any length.
fn shortened(value: &Value) -> String {
    const CHARACTERS_MAX: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// For the log line: how many of an answered batch come again.
pub fn effect(ends: &[Operation]) -> Option<String> {
    let again = ends.iter().filter(|end| matches!(end, Operation::ReleaseMessage { .. })).count();
    (again > 0).then(|| format!("{again} of {} again", ends.len()))
}

/// Writes what ends the delivery of an event, with its outputs, in one commit.
///
/// # Errors
/// The store's own. Of a batch, that single messages are held no longer is none.
pub async fn conclude(
    store: &Store,
    delivery: &Delivery,
    operations: Vec<Operation>,
) -> Result<(), ingle_store::Error> {
    match delivery {
        Delivery::Batch(_) => commit(store, operations).await,
        _ => store.commit(operations).await,
    }
}

/// Ends the delivery of messages. One that somebody else has had meanwhile, or that the function itself has deleted, is left
/// alone, and is no reason to do the others twice.
///
/// # Errors
/// The store's own.
pub(super) async fn commit(store: &Store, operations: Vec<Operation>) -> Result<(), ingle_store::Error> {
    match store.commit(operations.clone()).await {
        Err(ingle_store::Error::LeaseLost { .. }) => {}
        other => return other,
    }
    for operation in operations {
        match store.commit(vec![operation]).await {
            Err(error @ ingle_store::Error::LeaseLost { .. }) => {
                tracing::warn!(
                    code = error.code(),
                    "a message of a batch is gone, or somebody else has it: {error}"
                );
            }
            other => other?,
        }
    }
    Ok(())
}

/// A message that no event can have ends here, and is not lost.
pub(super) fn hopeless(lease: MessageLease, reason: String) -> Operation {
    match poison_queue(&lease.queue) {
        Some(poison_queue) => Operation::PoisonMessage { lease, poison_queue, reason },
        None => {
            Operation::ReleaseMessage { lease, visible_after: super::NO_POISON_QUEUE_DELAY, counts: true }
        }
    }
}

#[cfg(test)]
mod tests;
