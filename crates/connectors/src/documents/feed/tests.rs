//! The feed against a real store and a scripted function that settles as `dispatch` does.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use ingle_types::clock::{ManualClock, SystemClock, from_unix_ms};
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invoker, Phases};
use ingle_types::faults::Faults;
use ingle_types::outcome::{Blame, Failure, Outcome, Outputs};
use tokio::sync::mpsc;

use super::*;

/// Tells the ids of each batch, and fails those that hold an id that it was told to fail.
struct Function {
    store: Store,
    batches: mpsc::Sender<Vec<String>>,
    fails: HashSet<String>,
    /// That many invocations find no worker.
    refusals: Mutex<u32>,
}

impl Invoker for Function {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let Datum::Json(text) = &invocation.event.payload else { panic!("{:?}", invocation.event.payload) };
        let documents: Vec<Value> = serde_json::from_str(text).unwrap();
        let ids: Vec<String> =
            documents.iter().map(|document| document["id"].as_str().unwrap().to_owned()).collect();
        let failed = ids.iter().any(|id| self.fails.contains(id));
        let refused = {
            let mut refusals = self.refusals.lock().unwrap();
            let refused = *refusals > 0;
            *refusals = refusals.saturating_sub(1);
            refused
        };
        let Delivery::Checkpoint(delivery) = invocation.event.delivery else { panic!("no checkpoint") };
        let (store, batches) = (self.store.clone(), self.batches.clone());
        Box::pin(async move {
            let failure = Failure::new(Blame::App, "E0301", "ValueError", "kaput");
            let outcome = match (refused, failed) {
                (true, _) => Outcome::Rejected(failure.not_started()),
                (false, true) => Outcome::Failed(failure),
                (false, false) => Outcome::Success(Outputs::default()),
            };
            if !refused {
                let CheckpointDelivery { consumer, follows, value } = delivery;
                store.commit(vec![Operation::SaveCheckpoint { consumer, follows, value }]).await.unwrap();
            }
            batches.send(ids).await.ok();
            Completion {
                id: invocation.id,
                outcome,
                phases: Phases::default(),
                effects: Vec::new(),
                log: None,
            }
        })
    }
}

struct Fixture {
    store: Store,
    tasks: Tasks,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    fn with_clock(clock: ClockHandle) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory, clock);
        Self { store, tasks: Tasks::new(), directory }
    }

    async fn write(&self, ids: impl IntoIterator<Item = u32>) {
        self.write_after(ids, 0).await;
    }

    async fn write_after(&self, ids: impl IntoIterator<Item = u32>, hop_count: u32) {
        let container = ContainerName::new("shop", "orders");
        let upsert = |id: u32| Operation::UpsertDocument {
            container: container.clone(),
            body: json!({"id": id.to_string()}),
            partition_key_path: None,
            hop_count,
        };
        self.store.commit(ids.into_iter().map(upsert).collect()).await.unwrap();
    }

    /// Listens; the batches come out of the receiver.
    fn listen(
        &self,
        prefix: &str,
        set: impl FnOnce(&mut DocumentsTrigger, &mut Function),
    ) -> (Stopper, mpsc::Receiver<Vec<String>>) {
        let (batches, receiver) = mpsc::channel(1000);
        let mut trigger = DocumentsTrigger {
            database: "shop".to_owned(),
            container: "orders".to_owned(),
            lease_prefix: prefix.to_owned(),
            start: FeedStart::Beginning,
            items_max: None,
            poll_delay: Duration::from_secs(5),
        };
        let mut function =
            Function { store: self.store.clone(), batches, fails: HashSet::new(), refusals: Mutex::new(0) };
        set(&mut trigger, &mut function);
        let feed = Feed {
            function: FunctionName::new("Audit"),
            trigger,
            store: self.store.clone(),
            invoker: Arc::new(function),
            tasks: self.tasks.clone(),
            clock: Arc::new(SystemClock),
            hops_max: Some(3),
        };
        (feed.start(), receiver)
    }

    /// Ends the server's part and opens the store again.
    async fn restart(self) -> Self {
        self.tasks.stop(TaskKind::Listener, Duration::from_secs(10)).await;
        self.store.close().await;
        let Self { directory, store, .. } = self;
        drop(store);
        let store = open(&directory, Arc::new(SystemClock));
        Self { store, tasks: Tasks::new(), directory }
    }
}

fn open(directory: &tempfile::TempDir, clock: ClockHandle) -> Store {
    let options = ingle_store::Options::new(directory.path());
    Store::open(options, clock, Faults::none()).unwrap()
}

fn texts(ids: impl IntoIterator<Item = u32>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

/// Batches until that many changes have come.
async fn gather(receiver: &mut mpsc::Receiver<Vec<String>>, count: usize) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    while batches.iter().map(Vec::len).sum::<usize>() < count {
        batches.push(receiver.recv().await.unwrap());
    }
    batches
}

#[tokio::test]
async fn changes_come_in_order_in_batches_and_at_once() {
    let fixture = Fixture::new();
    fixture.write(1..=250).await;
    let (_stopper, mut batches) = fixture.listen("", |_, _| {});
    let found = gather(&mut batches, 250).await;
    assert_eq!(found, [texts(1..=100), texts(101..=200), texts(201..=250)]);
    fixture.write([3]).await;
    assert_eq!(batches.recv().await.unwrap(), texts([3]));
}

/// T-081: what is put aside takes nothing else with it.
#[tokio::test]
async fn t_081_changes_that_went_too_far_are_in_batches_of_their_own() {
    let fixture = Fixture::new();
    fixture.write([1, 2]).await;
    fixture.write_after([3], 3).await;
    fixture.write_after([4], 7).await;
    fixture.write_after([5], 2).await;
    let (_stopper, mut batches) = fixture.listen("", |_, _| {});
    let found = gather(&mut batches, 5).await;
    assert_eq!(found, [texts([1, 2]), texts([3, 4]), texts([5])]);
}

#[tokio::test]
async fn ten_thousand_changes_come_each_once_and_in_order() {
    let fixture = Fixture::new();
    fixture.write(0..5000).await;
    let (_stopper, mut batches) = fixture.listen("", |_, _| {});
    for start in (5000..10_000).step_by(500) {
        fixture.write(start..start + 500).await;
    }
    let found = gather(&mut batches, 10_000).await;
    assert_eq!(found.concat(), texts(0..10_000));
    assert!(found.iter().all(|batch| batch.len() <= 100));
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stood_and_misses_nothing_in_between() {
    let fixture = Fixture::new();
    fixture.write([1]).await;
    let (_stopper, mut batches) = fixture.listen("", |_, _| {});
    assert_eq!(batches.recv().await.unwrap(), texts([1]));
    let fixture = fixture.restart().await;
    fixture.write([2]).await;
    let (_stopper, mut batches) = fixture.listen("", |trigger, _| trigger.start = FeedStart::Now);
    assert_eq!(batches.recv().await.unwrap(), texts([2]));
}

#[tokio::test]
async fn without_start_from_beginning_only_later_changes_come() {
    let fixture = Fixture::new();
    fixture.write([1, 2]).await;
    let (_stopper, mut batches) = fixture.listen("", |trigger, _| trigger.start = FeedStart::Now);
    let consumer = "documents/shop/orders//Audit";
    while fixture.store.read_checkpoint(consumer).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    fixture.write([3]).await;
    assert_eq!(batches.recv().await.unwrap(), texts([3]));
}

/// Azure's `startFromTime`: what was written before it does not come, what was written later does.
#[tokio::test]
async fn with_a_time_to_start_from_earlier_changes_do_not_come() {
    let clock = Arc::new(ManualClock::at(from_unix_ms(1_800_000_000_000)));
    let fixture = Fixture::with_clock(clock.clone());
    fixture.write([1, 2]).await;
    clock.advance(Duration::from_secs(60));
    fixture.write([2, 3]).await;
    let listen = |prefix, seconds| {
        let time = from_unix_ms(1_800_000_000_000) + Duration::from_secs(seconds);
        fixture.listen(prefix, |trigger, _| trigger.start = FeedStart::Time(time))
    };
    let (_first, mut from_before) = listen("before", 0);
    assert_eq!(from_before.recv().await.unwrap(), texts([1, 2, 3]));
    let (_second, mut from_between) = listen("between", 30);
    assert_eq!(from_between.recv().await.unwrap(), texts([2, 3]));
    let (_third, mut from_after) = listen("after", 61);
    let consumer = "documents/shop/orders/after/Audit";
    while fixture.store.read_checkpoint(consumer).await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    fixture.write([4]).await;
    assert_eq!(from_after.recv().await.unwrap(), texts([4]));
}

#[tokio::test]
async fn readers_with_different_prefixes_each_see_every_change() {
    let fixture = Fixture::new();
    let (_first, mut one) = fixture.listen("one", |trigger, _| trigger.items_max = Some(1));
    let (_second, mut two) = fixture.listen("two", |_, _| {});
    fixture.write([1, 2]).await;
    assert_eq!(gather(&mut one, 2).await, [texts([1]), texts([2])]);
    assert_eq!(gather(&mut two, 2).await.concat(), texts([1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_passed_and_one_that_never_ran_comes_again() {
    let fixture = Fixture::new();
    fixture.write([1]).await;
    let (_stopper, mut batches) = fixture.listen("", |trigger, function| {
        trigger.items_max = Some(1);
        function.fails.insert("1".to_owned());
        *function.refusals.lock().unwrap() = 2;
    });
    fixture.write([2]).await;
    assert_eq!(gather(&mut batches, 4).await.concat(), texts([1, 1, 1, 2]));
}
