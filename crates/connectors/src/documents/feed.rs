//! The running side of a `cosmosDBTrigger`: hands over what changed in a container, in order.
//!
//! One batch is worked on after the other. How far a function has got is a checkpoint of its own, named by its lease
//! prefix and its name, so every function sees every change (in Azure, functions that share a lease container and
//! have no prefix take changes from each other). `dispatch` saves the checkpoint when an invocation is over: with the
//! outputs when it succeeded, alone when it failed for good (facts 7.4).

use std::time::Duration;

use ingle_store::{Checkpoint, ContainerName, Document, Operation, Store};
use ingle_tasks::{StopSignal, Stopper, TaskKind, Tasks};
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Datum;
use ingle_types::event::{CheckpointDelivery, Delivery, Event, Invocation, InvokerHandle, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::spec::{DocumentsTrigger, FeedStart};
use serde_json::{Value, json};

const ITEMS_DEFAULT: u32 = 100;
/// Pauses after the store refused, or after an invocation that could not even begin.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Turns the changes of one container into invocations of one function.
pub struct Feed {
    pub function: FunctionName,
    pub trigger: DocumentsTrigger,
    pub store: Store,
    pub invoker: InvokerHandle,
    pub tasks: Tasks,
    pub clock: ClockHandle,
    /// Changes that have passed through so many functions make batches of their own, as those are not run.
    pub hops_max: Option<u32>,
}

/// How far a function has got in a container, and where that is kept.
pub(crate) struct Place {
    pub(crate) container: ContainerName,
    pub(crate) consumer: String,
}

impl Place {
    pub(crate) fn of(function: &FunctionName, trigger: &DocumentsTrigger) -> Self {
        let container = ContainerName::new(&trigger.database, &trigger.container);
        let consumer = format!("documents/{container}/{}/{function}", trigger.lease_prefix);
        Self { container, consumer }
    }

    /// Whether the function has begun to listen and has passed all changes.
    pub(crate) async fn is_reached(&self, store: &Store) -> Result<bool, ingle_store::Error> {
        let Some(checkpoint) = store.read_checkpoint(&self.consumer).await? else { return Ok(false) };
        Ok(store.changes(&self.container, place(&checkpoint), 1).await?.is_empty())
    }
}

/// What a look at the feed came to.
enum Step {
    /// A batch is done; there may be more.
    Passed,
    /// Nothing new.
    Idle,
    /// The batch has to come again.
    Again,
}

impl Feed {
    /// Starts listening; ends when its stopper or all listeners are stopped.
    pub fn start(self) -> Stopper {
        let (stopper, stop) = self.tasks.stoppable(TaskKind::Listener);
        let name = format!("documents {}", self.container());
        let tasks = self.tasks.clone();
        drop(tasks.spawn(TaskKind::Listener, name, self.run(stop)));
        stopper
    }

    fn container(&self) -> ContainerName {
        Place::of(&self.function, &self.trigger).container
    }

    fn consumer(&self) -> String {
        Place::of(&self.function, &self.trigger).consumer
    }

    async fn run(self, mut stop: StopSignal) {
        let mut watch = self.store.watch_container(&self.container());
        let mut pause = PAUSE_FIRST;
        while !stop.is_set() {
            let step = self.step().await.unwrap_or_else(|error| {
                let container = self.container();
                tracing::error!(%container, code = error.code(), "can't follow the changes: {error}");
                Step::Again
            });
            let wait = async {
                match step {
                    Step::Passed => pause = PAUSE_FIRST,
                    Step::Idle => watch.changed().await,
                    Step::Again => {
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                }
            };
            tokio::select! {
                () = stop.wait() => {}
                () = wait => {}
            }
        }
    }

    /// Hands over one batch and waits until it is done. A stop waits for it too, as it is an invocation in work.
    async fn step(&self) -> Result<Step, ingle_store::Error> {
        let Some(checkpoint) = self.store.read_checkpoint(&self.consumer()).await? else {
            self.begin().await?;
            return Ok(Step::Passed);
        };
        let count = self.trigger.items_max.unwrap_or(ITEMS_DEFAULT);
        let mut changes = self.store.changes(&self.container(), place(&checkpoint), count).await?;
        self.part_what_went_far(&mut changes);
        let Some(last) = changes.last().map(|change| change.change_number) else { return Ok(Step::Idle) };
        let event = self.event(changes, checkpoint.version, last);
        let invocation = Invocation {
            id: InvocationId::random(),
            function: self.function.clone(),
            event,
            caller: None,
            exchange: None,
        };
        self.invoker.invoke(invocation).await;
        let now = self.store.read_checkpoint(&self.consumer()).await?;
        // Unchanged if the function never ran, or if the place could not be saved.
        let passed = now.is_none_or(|now| now.version != checkpoint.version);
        Ok(if passed { Step::Passed } else { Step::Again })
    }

    /// Cuts a batch before a change that is to be put aside follows one that is not, or the other way round.
    fn part_what_went_far(&self, changes: &mut Vec<Document>) {
        let is_far = |change: &Document| self.hops_max.is_some_and(|most| change.hop_count >= most);
        if let Some(first) = changes.first().map(is_far)
            && let Some(end) = changes.iter().position(|change| is_far(change) != first)
        {
            changes.truncate(end);
        }
    }

    /// The first place of a function that has none. It is kept at once: what changes while the server is down from
    /// now on is not missed.
    async fn begin(&self) -> Result<(), ingle_store::Error> {
        let after = match self.trigger.start {
            FeedStart::Beginning => 0,
            FeedStart::Now => self.store.last_change().await?,
            FeedStart::Time(time) => self.store.last_change_before(&self.container(), time).await?,
        };
        let (consumer, value) = (self.consumer(), value(after));
        self.store.commit(vec![Operation::SaveCheckpoint { consumer, follows: 0, value }]).await
    }

    fn event(&self, changes: Vec<Document>, follows: u64, last: u64) -> Event {
        let count = changes.len();
        let hop_count = changes.iter().map(|change| change.hop_count).max().unwrap_or(0);
        let documents = changes.into_iter().map(|change| change.body).collect();
        let noun = if count == 1 { "change" } else { "changes" };
        Event {
            payload: Datum::Json(Value::Array(documents).to_string()),
            metadata: Vec::new(),
            delivery: Delivery::Checkpoint(CheckpointDelivery {
                consumer: self.consumer(),
                follows,
                value: value(last),
            }),
            received_at: self.clock.now(),
            trace: Trace::default(),
            hop_count,
            summary: format!("{count} {noun} of {}", self.container()),
        }
    }
}

/// `{"after": 17}`: the number of the last change that was handed over.
fn value(after: u64) -> String {
    json!({"after": after}).to_string()
}

/// What can't be read was not written by us; the feed starts anew rather than to lose changes.
fn place(checkpoint: &Checkpoint) -> u64 {
    let value: Value = serde_json::from_str(&checkpoint.value).unwrap_or_default();
    value["after"].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests;
