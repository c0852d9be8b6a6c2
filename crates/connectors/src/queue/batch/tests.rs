//! Batches: what comes together, and how each message ends.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ingle_store::{NewMessage, Options};
use ingle_tasks::Tasks;
use ingle_types::clock::ManualClock;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invocation, Invoker, Phases};
use ingle_types::faults::Faults;
use ingle_types::ids::FunctionName;
use ingle_types::pattern::{Pattern, Shape};
use ingle_types::spec::QueueOptions;
use serde_json::json;

use super::*;
use crate::queue::{Form, Listener, ListenerOptions};

const MINUTE: Duration = Duration::from_secs(60);

fn batch(counts: &[u32], reports_failures: bool) -> BatchDelivery {
    let message = |(index, count): (usize, &u32)| QueueDelivery {
        queue: "orders".to_owned(),
        message_id: format!("m{index}"),
        pop_receipt: format!("r{index}"),
        dequeue_count: *count,
        max_dequeue_count: 3,
        retry_delay: MINUTE,
        dead_letters: None,
        group: None,
    };
    BatchDelivery { messages: counts.iter().enumerate().map(message).collect(), reports_failures }
}

/// `done`, `again` or `poison` for each message.
fn words(ends: &[Operation]) -> String {
    let word = |end: &Operation| match end {
        Operation::DeleteMessage(_) => "done".to_owned(),
        Operation::ReleaseMessage { visible_after, counts: true, .. } => {
            format!("again after {}", visible_after.as_secs())
        }
        Operation::ReleaseMessage { .. } => "not counted".to_owned(),
        Operation::PoisonMessage { poison_queue, reason, .. } => format!("{poison_queue}: {reason}"),
        other => panic!("{other:?}"),
    };
    ends.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn answer(batch: &BatchDelivery, returned: &str) -> Result<String, Error> {
    let outputs = Outputs(vec![(RETURNED.to_owned(), Datum::Json(returned.to_owned()))]);
    acknowledge(batch, &outputs).map(|ends| words(&ends))
}

/// The rules of facts of Lambda, section 3.9.
#[test]
fn what_a_function_returned_says_which_messages_come_again() {
    let check = |returned: &str, expected: &str| {
        assert_eq!(answer(&batch(&[1, 1], true), returned).unwrap(), expected, "{returned}");
    };
    for nothing_failed in
        ["null", "{}", "[]", "\"ok\"", "7", "{\"batchItemFailures\": []}", "{\"batchItemFailures\": null}"]
    {
        check(nothing_failed, "done, done");
    }
    check("{\"batchItemFailures\": [{\"itemIdentifier\": \"m1\"}]}", "done, again after 60");
    let both = "{\"batchItemFailures\": [{\"itemIdentifier\": \"m1\"}, {\"itemIdentifier\": \"m0\"}, {\"itemIdentifier\": \"m1\"}]}";
    check(both, "again after 60, again after 60");
    // Only who has said so is asked.
    let named = "{\"batchItemFailures\": [{\"itemIdentifier\": \"m1\"}]}";
    assert_eq!(answer(&batch(&[1, 1], false), named).unwrap(), "done, done");
}

#[test]
fn what_is_behind_a_failed_message_in_its_group_comes_again() {
    let groups = [Some("a"), Some("b"), Some("a"), None, Some("a"), Some("b")];
    let mut batch = batch(&[3, 1, 1, 1, 1, 1], true);
    for (message, group) in batch.messages.iter_mut().zip(groups) {
        message.group = group.map(str::to_owned);
    }
    let check = |failed: &[&str], expected: &str| {
        let items: Vec<Value> = failed.iter().map(|id| json!({"itemIdentifier": id})).collect();
        let returned = json!({"batchItemFailures": items}).to_string();
        assert_eq!(answer(&batch, &returned).unwrap(), expected, "{failed:?}");
    };
    check(&[], "done, done, done, done, done, done");
    check(&["m2"], "done, done, again after 60, done, not counted, done");
    check(&["m1", "m3"], "done, again after 60, done, again after 60, done, not counted");
    // Those that the function did not try are named, too.
    check(&["m2", "m4"], "done, done, again after 60, done, not counted, done");
    let reason = "BatchItemFailure: the function named it in batchItemFailures";
    check(&["m0"], &format!("orders-poison: {reason}, done, not counted, done, not counted, done"));
}

#[test]
fn an_answer_that_names_no_message_fails_the_whole_batch() {
    let check = |items: &str, part: &str| {
        let error =
            answer(&batch(&[1, 1], true), &format!("{{\"batchItemFailures\": {items}}}")).unwrap_err();
        assert_eq!((error.code(), error.blame()), ("E0317", Blame::App));
        let message = error.to_string();
        assert!(message.contains(part) && message.contains("'orders'"), "{items}: {message}");
        assert!(error.hint().unwrap().contains("itemIdentifier"));
    };
    check("[{\"itemIdentifier\": \"\"}]", "is empty");
    check("[{\"itemIdentifier\": null}]", "is null");
    check("[{\"itemIdentifier\": 7}]", "is 7");
    check("[{\"itemIdentifier\": \"m7\"}]", "\"m7\"");
    check("[{\"itemIdentifier\": \"m0\"}, {\"id\": \"m1\"}]", "has no `itemIdentifier`");
    check("[\"m0\"]", "has no `itemIdentifier`");
    check("\"m0\"", "no list");
    check(&format!("[{{\"itemIdentifier\": \"{}\"}}]", "ü".repeat(5000)), "ü…");
}

#[test]
fn messages_that_failed_too_often_are_poison_each_for_itself() {
    let named = "{\"batchItemFailures\": [{\"itemIdentifier\": \"m0\"}, {\"itemIdentifier\": \"m1\"}]}";
    let expected =
        "orders-poison: BatchItemFailure: the function named it in batchItemFailures, again after 60, done";
    assert_eq!(answer(&batch(&[3, 2, 3], true), named).unwrap(), expected);

    let failed = |failure| words(&acknowledge_failed(&batch(&[3, 1], true), &Outcome::Failed(failure)));
    let kaput = Failure::new(Blame::App, "E0301", "ValueError", "kaput");
    assert_eq!(failed(kaput), "orders-poison: ValueError: kaput, again after 60");
    let busy = Failure::new(Blame::Platform, "E0308", "NoRoom", "busy").not_started();
    assert_eq!(failed(busy), "not counted, not counted");
}

/// What an invoker has seen: bodies of the messages of each event.
#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Vec<String>>>,
    store: Mutex<Option<Store>>,
}

impl Invoker for Seen {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let Delivery::Batch(batch) = &invocation.event.delivery else { panic!("no batch") };
        let Datum::Json(text) = &invocation.event.payload else { panic!("no JSON") };
        let event: Value = serde_json::from_str(text).unwrap();
        assert!(text.len() <= EVENT_BYTES_MAX);
        let records = event["Records"].as_array().unwrap();
        let bodies = records.iter().map(|record| record["body"].as_str().unwrap().to_owned()).collect();
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(bodies);
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap();
        let ends = acknowledge(batch, &Outputs::default()).unwrap();
        let id = invocation.id;
        Box::pin(async move {
            commit(&store, ends).await.unwrap();
            let outcome = Outcome::Success(Outputs::default());
            Completion { id, outcome, phases: Phases::default(), effects: Vec::new(), log: None }
        })
    }
}

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    seen: Arc<Seen>,
    tasks: Tasks,
    clock: ClockHandle,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: ClockHandle = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH + MINUTE));
        let store = Store::open(Options::new(folder.path()), clock.clone(), Faults::none()).unwrap();
        let seen = Arc::new(Seen::default());
        *seen.store.lock().unwrap() = Some(store.clone());
        Self { _folder: folder, store, seen, tasks: Tasks::new(), clock }
    }

    async fn send(&self, message: NewMessage) {
        self.store.commit(vec![Operation::Enqueue(message)]).await.unwrap();
    }

    fn listen(&self, batch_size: u32, window: Duration) -> ingle_tasks::Stopper {
        self.listen_for(batch_size, window, Vec::new())
    }

    fn listen_for(&self, batch_size: u32, window: Duration, filters: Vec<Pattern>) -> ingle_tasks::Stopper {
        let source = HandlerQueue {
            name: "Orders".to_owned(),
            queue: "orders".to_owned(),
            batch_size,
            window,
            reports_failures: true,
            parallel_max: Some(1),
            visibility: None,
            redrive: None,
            filters,
        };
        let batches = Batches {
            source,
            region: "eu-west-1".to_owned(),
            max_dequeue_count: 3,
            retry_delay: MINUTE,
            hops_max: Some(16),
            clock: self.clock.clone(),
        };
        let options = ListenerOptions {
            dead_letters: None,
            function: FunctionName::new("work"),
            queue: "orders".to_owned(),
            queues: QueueOptions { new_batch_threshold: 0, ..QueueOptions::default() },
            form: Form::Batch(Arc::new(batches)),
        };
        let (store, tasks) = (self.store.clone(), self.tasks.clone());
        Listener::new(options, store, self.seen.clone(), tasks, self.clock.clone()).start()
    }

    /// Bodies of each event, when there are as many messages as this.
    async fn events(&self, messages: usize) -> Vec<Vec<String>> {
        loop {
            let events = self.seen.events.lock().unwrap().clone();
            if events.iter().map(Vec::len).sum::<usize>() >= messages {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn messages_come_in_batches_of_at_most_their_size() {
    let fixture = Fixture::new();
    for number in 0..90 {
        fixture.send(NewMessage::new("orders", number.to_string())).await;
    }
    let _stopper = fixture.listen(40, Duration::ZERO);
    let events = fixture.events(90).await;
    assert_eq!(events.iter().map(Vec::len).collect::<Vec<_>>(), [40, 40, 10]);
    let expected: Vec<String> = (0..90).map(|number| number.to_string()).collect();
    assert_eq!(events.concat(), expected);
}

/// What does not fit into an event is in the next, and what fits into none is put aside.
#[tokio::test]
async fn an_event_has_no_more_bytes_than_one_may_have() {
    let fixture = Fixture::new();
    let long = |letter: &str, bytes: usize| letter.repeat(bytes);
    for body in [long("a", 3 << 20), long("b", 3 << 20), long("c", 1 << 20), long("d", 7 << 20)] {
        fixture.send(NewMessage::new("orders", body)).await;
    }
    fixture.send(NewMessage::new("orders", Bytes::from_static(b"\xff"))).await;
    let _stopper = fixture.listen(10, Duration::ZERO);
    let events = fixture.events(3).await;
    let letters = |event: &Vec<String>| event.iter().map(|body| body[..1].to_owned()).collect::<String>();
    assert_eq!(events.iter().map(letters).collect::<Vec<_>>(), ["a", "bc"]);
    let poison = loop {
        let poison = fixture.store.peek_messages("orders-poison", 9).await.unwrap();
        if poison.len() == 2 {
            break poison;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(poison.iter().map(|message| message.body.len()).collect::<Vec<_>>(), [7 << 20, 1]);
}

#[tokio::test]
async fn an_event_waits_for_more_messages_as_long_as_its_window() {
    let fixture = Fixture::new();
    // One that never ends: only a full batch is an event.
    let stopper = fixture.listen(3, Duration::from_secs(300));
    for number in 0..3 {
        fixture.send(NewMessage::new("orders", number.to_string())).await;
    }
    assert_eq!(fixture.events(3).await, [["0", "1", "2"]]);
    // A stop gives back what was gathered, as if nobody had had it.
    fixture.send(NewMessage::new("orders", "3")).await;
    let state =
        async || fixture.store.peek_messages("orders", 1).await.unwrap().pop().map(|message| message.state);
    while state().await != Some(ingle_store::MessageState::Leased) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stopper.stop();
    while state().await == Some(ingle_store::MessageState::Leased) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let leased = fixture.store.lease_messages("orders", 1, MINUTE).await.unwrap();
    assert_eq!((leased.len(), leased[0].dequeue_count), (1, 1));
}

#[tokio::test]
async fn a_window_ends() {
    let fixture = Fixture::new();
    let _stopper = fixture.listen(3, Duration::from_millis(50));
    fixture.send(NewMessage::new("orders", "alone")).await;
    assert_eq!(fixture.events(1).await, [["alone"]]);
}

/// Facts of Lambda, section 3.9: a message that no filter wants is deleted.
#[tokio::test]
async fn what_no_filter_wants_is_deleted_and_in_no_event() {
    let fixture = Fixture::new();
    for body in
        ["{\"kind\": \"tea\"}", "{\"kind\": \"soup\", \"n\": 1}", "soup", "{\"kind\": \"soup\", \"n\": 2}"]
    {
        fixture.send(NewMessage::new("orders", body)).await;
    }
    let filter = Pattern::new(&json!({"body": {"kind": ["soup"]}}), Shape::Nested).unwrap();
    let _stopper = fixture.listen_for(2, Duration::ZERO, vec![filter]);
    let events = fixture.events(2).await;
    let expected = ["{\"kind\": \"soup\", \"n\": 1}", "{\"kind\": \"soup\", \"n\": 2}"];
    assert_eq!(events.concat(), expected);
    while !fixture.store.peek_messages("orders", 9).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fixture.store.peek_messages("orders-poison", 9).await.unwrap().len(), 0);
}

/// T-081: the loop breaker puts a whole event aside.
#[tokio::test]
async fn what_has_gone_round_in_a_loop_comes_alone() {
    let fixture = Fixture::new();
    for (body, hop_count) in [("a", 1), ("b", 16), ("c", 1), ("d", 2)] {
        fixture.send(NewMessage { hop_count, ..NewMessage::new("orders", body) }).await;
    }
    let _stopper = fixture.listen(10, Duration::ZERO);
    assert_eq!(fixture.events(4).await, [vec!["a"], vec!["b"], vec!["c", "d"]]);
}

#[tokio::test]
async fn a_message_that_was_taken_away_is_no_reason_to_do_the_others_twice() {
    let fixture = Fixture::new();
    for body in ["a", "b", "c"] {
        fixture.send(NewMessage::new("orders", body)).await;
    }
    let leased = fixture.store.lease_messages("orders", 3, MINUTE).await.unwrap();
    let ends: Vec<Operation> =
        leased.iter().map(|message| Operation::DeleteMessage(message.lease.clone())).collect();
    fixture.store.commit(vec![ends[1].clone()]).await.unwrap();
    commit(&fixture.store, ends).await.unwrap();
    assert_eq!(fixture.store.peek_messages("orders", 9).await.unwrap().len(), 0);
}

#[test]
fn a_record_is_what_sqs_makes_of_a_message() {
    let message = LeasedMessage {
        lease: MessageLease {
            queue: "orders".to_owned(),
            message_id: "m".to_owned(),
            pop_receipt: "r".to_owned(),
        },
        body: Bytes::from_static(b"{\"order\": 7}"),
        dequeue_count: 1,
        inserted_at: SystemTime::UNIX_EPOCH + MINUTE,
        expires_at: SystemTime::UNIX_EPOCH + MINUTE,
        next_visible_at: SystemTime::UNIX_EPOCH + MINUTE,
        hop_count: 0,
        trace_parent: String::new(),
        attributes: None,
        group: None,
        sequence: 0,
    };
    let place = Place { queue: "Orders", region: "eu-west-1" };
    let now = SystemTime::UNIX_EPOCH + 2 * MINUTE;
    let read = |message: &LeasedMessage| -> Value { record(message, place, now).unwrap() };
    let expected = json!({
        "messageId": "m", "receiptHandle": "m/r", "body": "{\"order\": 7}",
        "attributes": {
            "ApproximateReceiveCount": "1", "SentTimestamp": "60000", "SenderId": "000000000000",
            "ApproximateFirstReceiveTimestamp": "120000",
        },
        "messageAttributes": {}, "md5OfMessageAttributes": null,
        "md5OfBody": "7fa20081ee1217af020c02f44b6a3f91", "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:Orders", "awsRegion": "eu-west-1",
    });
    assert_eq!(read(&message), expected);
    let again = read(&LeasedMessage { dequeue_count: 2, ..message.clone() });
    assert_eq!(again["attributes"]["ApproximateReceiveCount"], "2");
    assert_eq!(again["attributes"]["ApproximateFirstReceiveTimestamp"], "60000");
    let attributes = Some(json!({"record": {}, "md5": null, "deduplicationId": "d"}).to_string());
    let of_group = read(&LeasedMessage { group: Some("g".to_owned()), sequence: 42, attributes, ..message });
    let attributes = &of_group["attributes"];
    assert_eq!(
        (&attributes["MessageGroupId"], &attributes["MessageDeduplicationId"]),
        (&json!("g"), &json!("d"))
    );
    assert_eq!(attributes["SequenceNumber"], "00000000000000000042");
    assert_eq!(of_group["md5OfMessageAttributes"], Value::Null);
}
