//! Events for handlers that their callers do not wait for, as Lambda takes them (facts of Lambda, section 3.7).
//!
//! An event that was taken is a message of an internal queue: it outlives the server, and its listener is that of queues. The
//! message's id is the id of the request, so all attempts have one id. A failed event is tried again after one minute and
//! after two more; then, or when it is six hours old, it goes to a queue where it can be looked at. The function may have other
//! numbers, and destinations that are told what became of an event (`destinations`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingle_store::{LeasedMessage, NewMessage, Operation, Store};
use ingle_tasks::Stopper;
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Datum;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Delivery, Event, Invocation, LATER_QUEUE_PREFIX, QueueDelivery, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::outcome::Outcome;
use ingle_types::spec::{HandlerTrigger, LaterOptions, QueueOptions};
use serde::de::IgnoredAny;
use uuid::Uuid;

mod destinations;

use crate::ListenerRooms;
use crate::queue::{Form, Listener, ListenerOptions, MessageReader, Reading};

/// Where events of all handlers go that were given up on.
pub(crate) const POISON_QUEUE: &str = "lambda-events-poison";
/// For the names of the queues; any constant will do.
const NAMESPACE: Uuid = Uuid::from_u128(0x696e_676c_652d_6c61_7465_722d_6576_656e);
const FIRST_DELAY: Duration = Duration::from_secs(60);
const SECOND_DELAY: Duration = Duration::from_secs(120);
/// Under which an event has what its caller says of itself.
const CLIENT_CONTEXT: &str = "client_context";

/// The internal queue of a function; its name does not depend on the case of the function's.
pub fn queue_name(function: &FunctionName) -> String {
    let name = function.as_str().to_lowercase();
    format!("{LATER_QUEUE_PREFIX}{}", Uuid::new_v5(&NAMESPACE, name.as_bytes()).simple())
}

/// Whether a queue is one of these.
pub(crate) fn is_internal(queue: &str) -> bool {
    queue.starts_with(LATER_QUEUE_PREFIX)
}

/// Takes an invocation of a handler, whose event is JSON. It is on disk when this returns.
///
/// # Errors
/// The store's own: it was not taken.
pub async fn take(store: &Store, invocation: Invocation) -> Result<(), ingle_store::Error> {
    let Invocation { id, function, event, caller: _, exchange: _ } = invocation;
    let mut body = match event.payload {
        Datum::Json(text) | Datum::Text(text) => text,
        _ => "null".to_owned(),
    };
    // Below the event, so that the event stands in the queue as it was sent.
    if let Some((_, Datum::Json(context))) = event.metadata.iter().find(|(name, _)| name == CLIENT_CONTEXT) {
        body.push('\n');
        body.push_str(context);
    }
    let message = NewMessage {
        id: Some(id.uuid()),
        hop_count: event.hop_count,
        trace_parent: event.trace.parent,
        ..NewMessage::new(&queue_name(&function), Bytes::from(body))
    };
    store.commit(vec![Operation::Enqueue(message)]).await
}

/// An event that the server made itself, as JSON text.
pub(crate) fn message(function: &FunctionName, id: InvocationId, event: String) -> NewMessage {
    NewMessage {
        id: Some(id.uuid()),
        trace_parent: format!("00-{}-{:016x}-01", id.uuid().simple(), 1),
        ..NewMessage::new(&queue_name(function), Bytes::from(event))
    }
}

/// Runs the events of one function, until the stopper is used or dropped.
pub fn start(function: &FunctionName, handler: &HandlerTrigger, rooms: ListenerRooms) -> Stopper {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = ListenerOptions {
        function: function.clone(),
        queue: queue_name(function),
        queues: QueueOptions {
            // One event for each worker that there may be: more would only wait at its door.
            batch_size: 1,
            new_batch_threshold: u32::try_from(processors).unwrap_or(1).saturating_sub(1),
            max_dequeue_count: handler.later.retries_max + 1,
            ..rooms.host.queues
        },
        dead_letters: destinations::dead_letters(&handler.later),
        form: Form::Each(Arc::new(Events {
            function: function.clone(),
            options: handler.later.clone(),
            region: handler.region.clone(),
            clock: rooms.clock.clone(),
        })),
    };
    Listener::new(options, rooms.store, rooms.invoker, rooms.tasks, rooms.clock).start()
}

struct Events {
    function: FunctionName,
    options: LaterOptions,
    /// The region that the function believes to be in.
    region: String,
    clock: ClockHandle,
}

impl Events {
    fn reading(&self, message: LeasedMessage) -> Reading {
        let id = &message.lease.message_id;
        let now = self.clock.now();
        if now.duration_since(message.inserted_at).is_ok_and(|age| age > self.options.age_max) {
            let seconds = self.options.age_max.as_secs();
            let most = if seconds.is_multiple_of(3600) {
                format!("{} hours", seconds / 3600)
            } else {
                format!("{seconds} seconds")
            };
            let reason = format!("event {id} for {} is more than {most} old", self.function);
            return match self.given_up_on(&message, "EventAgeExceeded", &reason) {
                Some(operations) => Reading::GivenUp(reason, operations),
                None => Reading::Hopeless(reason),
            };
        }
        let (Ok(uuid), Ok(body)) = (Uuid::parse_str(id), std::str::from_utf8(&message.body)) else {
            return Reading::Hopeless(format!("event {id} for {} can't be read", self.function));
        };
        let (event, context) = split(body);
        let attempt = message.dequeue_count;
        let attempt = if attempt > 1 { format!(" try {attempt}") } else { String::new() };
        // That of an object that somebody put by hand has none, and a function hands its own on.
        let parent = match message.trace_parent.as_str() {
            "" => format!("00-{}-{:016x}-01", uuid.simple(), 1),
            parent => parent.to_owned(),
        };
        let event = Event {
            payload: Datum::Json(event.to_owned()),
            metadata: context
                .map(|context| (CLIENT_CONTEXT.to_owned(), Datum::Json(context.to_owned())))
                .into_iter()
                .collect(),
            delivery: Delivery::Direct,
            received_at: now,
            trace: Trace { parent, state: String::new() },
            hop_count: message.hop_count,
            summary: format!("event{attempt}"),
        };
        Reading::Event { id: Some(InvocationId::of(uuid)), event: Box::new(event), held: Box::new(()) }
    }
}

impl MessageReader for Events {
    fn read(self: Arc<Self>, message: LeasedMessage) -> BoxFuture<Reading> {
        Box::pin(std::future::ready(self.reading(message)))
    }

    fn retry_delay(&self, attempts: u32) -> Option<Duration> {
        Some(if attempts < 2 { FIRST_DELAY } else { SECOND_DELAY })
    }

    fn settles(&self) -> bool {
        self.options.on_success.is_some() || destinations::dead_letters(&self.options).is_some()
    }

    fn settle(&self, message: &LeasedMessage, delivery: &QueueDelivery, outcome: &Outcome) -> Vec<Operation> {
        self.ended(message, delivery, outcome)
    }

    fn given_up(&self, message: &LeasedMessage, reason: &str) -> Option<Vec<Operation>> {
        self.given_up_on(message, "RetriesExhausted", reason)
    }
}

/// The event, and what stands below it.
fn split(body: &str) -> (&str, Option<&str>) {
    let mut values = serde_json::Deserializer::from_str(body).into_iter::<IgnoredAny>();
    values.next();
    let (event, context) = body.split_at_checked(values.byte_offset()).unwrap_or((body, ""));
    (event, Some(context.trim()).filter(|context| !context.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use ingle_store::Options;
    use ingle_types::clock::MovedClock;
    use ingle_types::faults::Faults;

    use super::*;

    #[test]
    fn what_stands_below_an_event_is_not_part_of_it() {
        let check = |body: &str, event: &str, context: Option<&str>| {
            assert_eq!(split(body), (event, context), "{body}");
        };
        check("{\"a\": [1,\n2]}", "{\"a\": [1,\n2]}", None);
        check(" \"x\"\n{\"custom\":{}}", " \"x\"", Some("{\"custom\":{}}"));
        check("null\n{}", "null", Some("{}"));
        check("7", "7", None);
    }

    /// What is taken and what comes out of the queue again, after this time.
    async fn after(time: Duration) -> (InvocationId, Reading) {
        let folder = tempfile::tempdir().unwrap();
        let clock = MovedClock::at(SystemTime::UNIX_EPOCH);
        let store =
            Store::open(Options::new(folder.path()), Arc::new(clock.clone()), Faults::none()).unwrap();
        let function = FunctionName::new("work");
        let event = Event {
            payload: Datum::Json("{\"order\": 7}".to_owned()),
            metadata: vec![(CLIENT_CONTEXT.to_owned(), Datum::Json("{}".to_owned()))],
            delivery: Delivery::Direct,
            received_at: SystemTime::UNIX_EPOCH,
            trace: Trace { parent: "00-a-b-01".to_owned(), state: String::new() },
            hop_count: 3,
            summary: String::new(),
        };
        let id = InvocationId::random();
        take(&store, Invocation { id, function: function.clone(), event, caller: None, exchange: None })
            .await
            .unwrap();
        clock.set(SystemTime::UNIX_EPOCH + time);
        let leased = store.lease_messages(&queue_name(&FunctionName::new("WORK")), 1, time).await.unwrap();
        let (options, region) = (LaterOptions::default(), "eu-west-1".to_owned());
        let events = Events { function, options, region, clock: Arc::new(clock) };
        (id, events.reading(leased.into_iter().next().unwrap()))
    }

    const AGE_MAX: Duration = Duration::from_secs(6 * 3600);

    #[tokio::test]
    async fn an_event_comes_out_as_it_was_taken_until_it_is_too_old() {
        let (id, Reading::Event { id: read, event, .. }) = after(AGE_MAX).await else { panic!("no event") };
        assert_eq!(read, Some(id));
        assert_eq!(event.payload, Datum::Json("{\"order\": 7}".to_owned()));
        assert_eq!(event.metadata, [(CLIENT_CONTEXT.to_owned(), Datum::Json("{}".to_owned()))]);
        assert_eq!((event.hop_count, event.trace.parent.as_str()), (3, "00-a-b-01"));
        let (id, Reading::Hopeless(reason)) = after(AGE_MAX + Duration::from_secs(1)).await else {
            panic!("not given up on")
        };
        assert!(reason.contains(&id.uuid().to_string()) && reason.contains("6 hours"), "{reason}");
    }
}
