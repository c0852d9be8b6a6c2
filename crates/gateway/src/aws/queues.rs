//! What the queues of a project are, by their names.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ingle_types::blob::INTERNAL_QUEUE_PREFIX;
use ingle_types::event::LATER_QUEUE_PREFIX;
use ingle_types::queue::QueueSettings;

/// Those that the project declares, and those that its functions hear of.
#[derive(Clone, Debug, Default)]
pub struct Queues {
    /// By the name of the queue of the store.
    known: BTreeMap<String, QueueSettings>,
}

impl Queues {
    /// `declared` goes before what only its name is known of.
    pub fn new(
        declared: impl IntoIterator<Item = QueueSettings>,
        named: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut known = BTreeMap::new();
        for settings in declared.into_iter().chain(named.into_iter().map(|name| QueueSettings::new(&name))) {
            known.entry(settings.embedded()).or_insert(settings);
        }
        Self { known }
    }

    /// What a queue is, by the name that a request has for it.
    pub(super) fn settings(&self, name: &str) -> Cow<'_, QueueSettings> {
        let settings = QueueSettings::new(name);
        match self.known.get(&settings.embedded()) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(settings),
        }
    }

    /// The names of all queues that clients may see, `stored` being those of the store.
    pub(super) fn names<'a>(&'a self, stored: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let own = stored.filter(|name| !is_internal(name) && !self.known.contains_key(*name));
        own.chain(self.known.values().map(|settings| settings.name.as_str())).collect()
    }
}

/// Whether a queue of the store is the server's own.
pub(super) fn is_internal(embedded: &str) -> bool {
    [INTERNAL_QUEUE_PREFIX, LATER_QUEUE_PREFIX].iter().any(|prefix| embedded.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_the_name_that_the_project_has_for_it() {
        let steps = QueueSettings { deduplicates_by_content: false, ..QueueSettings::new("Steps.fifo") };
        let queues = Queues::new([steps.clone()], ["Steps.fifo".to_owned(), "Orders".to_owned()]);
        assert_eq!(*queues.settings("Steps.fifo"), steps);
        // As `ListQueues` of older versions has told it.
        assert_eq!(*queues.settings("steps-fifo"), steps);
        assert_eq!(*queues.settings("other.fifo"), QueueSettings::new("other.fifo"));
        let hidden = format!("{LATER_QUEUE_PREFIX}x");
        let stored = ["steps-fifo", "more", hidden.as_str()];
        let names: Vec<&str> = queues.names(stored.into_iter()).into_iter().collect();
        assert_eq!(names, ["Orders", "Steps.fifo", "more"]);
    }
}
