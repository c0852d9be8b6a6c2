//! Whether a trigger has something to do now: for tests that wait until an app has come to rest.

use ingle_store::{QueueSummary, Store};
use ingle_types::account::Account;
use ingle_types::spec::{FunctionSpec, TriggerSpec};

use crate::{blob, documents, later};

/// What the store holds for the triggers of an app, read once for all of them.
pub struct Due<'a> {
    pub store: &'a Store,
    pub queues: &'a [QueueSummary],
    /// Where the events of work that rests came from, as [`source`] names it.
    pub resting: &'a [String],
}

/// How [`Due::resting`] names a queue.
pub fn source(queue: &str) -> String {
    format!("queue {queue}")
}

impl Due<'_> {
    /// What waits for this function, in words; `None` if nothing does. Timers are known to their board instead.
    ///
    /// # Errors
    /// The store's own.
    pub async fn of(&self, function: &FunctionSpec) -> Result<Option<String>, ingle_store::Error> {
        Ok(match &function.trigger {
            // What an account holds is not known here.
            TriggerSpec::Queue(trigger) if trigger.account.remote().is_some() => None,
            // Nobody knows what an account elsewhere will give next.
            TriggerSpec::Queue(trigger) if trigger.account != Account::Embedded => None,
            TriggerSpec::Queue(trigger) => self.of_queue(&trigger.queue, &trigger.queue),
            TriggerSpec::Blob(trigger) => {
                let queue = blob::listener::queue_name(&function.name);
                self.of_queue(&queue, &format!("of blobs in {}", trigger.container))
            }
            TriggerSpec::Documents(trigger) => {
                let feed = documents::feed::Place::of(&function.name, trigger);
                let rests = self.resting.contains(&feed.consumer);
                if rests || feed.is_reached(self.store).await? {
                    return Ok(None);
                }
                Some(format!("changes of {}", feed.container))
            }
            TriggerSpec::Handler(handler) => {
                let later =
                    self.of_queue(&later::queue_name(&function.name), &format!("for {}", function.name));
                let mut queues = handler.queues.iter();
                later.or_else(|| queues.find_map(|source| self.of_queue(&source.queue, &source.queue)))
            }
            _ => None,
        })
    }

    fn of_queue(&self, queue: &str, name: &str) -> Option<String> {
        let found = self.queues.iter().find(|known| known.name == queue)?;
        let source = source(queue);
        let resting = self.resting.iter().filter(|resting| **resting == source).count();
        let leased = usize::try_from(found.leased).unwrap_or(usize::MAX).saturating_sub(resting);
        let ready = found.ready;
        (ready > 0 || leased > 0).then(|| format!("messages {name}: {ready} ready, {leased} in work"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use ingle_store::{ContainerName, NewMessage, Operation, Options};
    use ingle_types::clock::MovedClock;
    use ingle_types::faults::Faults;
    use ingle_types::ids::FunctionName;
    use ingle_types::spec::{DataType, QueueTrigger};
    use serde_json::json;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn function(trigger: TriggerSpec) -> FunctionSpec {
        FunctionSpec {
            name: FunctionName::new("work"),
            trigger,
            trigger_parameter: "event".to_owned(),
            bindings: Vec::new(),
            disabled: false,
            retry: None,
            is_async: false,
            streams: false,
            location: None,
        }
    }

    async fn of(store: &Store, function: &FunctionSpec, resting: &[String]) -> Option<String> {
        let queues = store.queues().await.unwrap();
        Due { store, queues: &queues, resting }.of(function).await.unwrap()
    }

    fn open() -> (tempfile::TempDir, MovedClock, Store) {
        let folder = tempfile::tempdir().unwrap();
        let clock = MovedClock::at(SystemTime::UNIX_EPOCH + HOUR);
        let store =
            Store::open(Options::new(folder.path()), Arc::new(clock.clone()), Faults::none()).unwrap();
        (folder, clock, store)
    }

    #[tokio::test]
    async fn a_queue_is_due_while_a_message_can_be_seen_or_is_worked_on() {
        let (_folder, clock, store) = open();
        let queue = QueueTrigger {
            queue: "orders".to_owned(),
            data_type: DataType::String,
            account: Account::Embedded,
        };
        let function = function(TriggerSpec::Queue(queue));
        assert_eq!(of(&store, &function, &[]).await, None);
        let message = NewMessage { visible_after: HOUR, ..NewMessage::new("orders", "soup") };
        store.commit(vec![Operation::Enqueue(message)]).await.unwrap();
        assert_eq!(of(&store, &function, &[]).await, None);
        clock.set(SystemTime::UNIX_EPOCH + 2 * HOUR);
        assert!(of(&store, &function, &[]).await.unwrap().contains("1 ready, 0 in work"));
        let leased = store.lease_messages("orders", 1, HOUR).await.unwrap();
        assert!(of(&store, &function, &[]).await.unwrap().contains("0 ready, 1 in work"));
        // It waits for its next attempt.
        assert_eq!(of(&store, &function, &[source("orders")]).await, None);
        store.commit(vec![Operation::DeleteMessage(leased[0].lease.clone())]).await.unwrap();
        assert_eq!(of(&store, &function, &[]).await, None);
    }

    #[tokio::test]
    async fn changes_are_due_until_the_function_has_passed_them() {
        let (_folder, _clock, store) = open();
        let container = ContainerName::new("shop", "orders");
        let trigger = ingle_types::spec::DocumentsTrigger {
            database: "shop".to_owned(),
            container: "orders".to_owned(),
            lease_prefix: String::new(),
            start: ingle_types::spec::FeedStart::Beginning,
            items_max: None,
            poll_delay: Duration::ZERO,
        };
        let place = documents::feed::Place::of(&FunctionName::new("work"), &trigger);
        let function = function(TriggerSpec::Documents(trigger));
        // A function that has not begun to listen would miss what changes now.
        assert!(of(&store, &function, &[]).await.is_some());
        let save = |follows, after| Operation::SaveCheckpoint {
            consumer: place.consumer.clone(),
            follows,
            value: json!({"after": after}).to_string(),
        };
        store.commit(vec![save(0, 0)]).await.unwrap();
        assert_eq!(of(&store, &function, &[]).await, None);
        let body = json!({"id": "1"});
        let upsert = Operation::UpsertDocument { container, body, partition_key_path: None, hop_count: 0 };
        store.commit(vec![upsert]).await.unwrap();
        assert!(of(&store, &function, &[]).await.unwrap().contains("shop/orders"));
        assert_eq!(of(&store, &function, std::slice::from_ref(&place.consumer)).await, None);
        store.commit(vec![save(1, store.last_change().await.unwrap())]).await.unwrap();
        assert_eq!(of(&store, &function, &[]).await, None);
    }
}
