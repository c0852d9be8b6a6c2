//! Whether a trigger has something to do now: for tests that wait until an app has come to rest.

use ingle_store::{QueueSummary, Store};
use ingle_types::spec::{FunctionSpec, TriggerSpec};

use crate::{blob, documents};

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
