//! What a queue is to clients of SQS, as its project declares it.

use std::time::Duration;

use crate::spec::{Redrive, embedded_name};

/// How the names of queues with groups end.
const FIFO: &str = ".fifo";
/// How long SQS hides messages of queues that say nothing.
pub const VISIBILITY: Duration = Duration::from_secs(30);

/// A queue, and what is so of its messages unless a request says otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueSettings {
    /// As AWS names it: `Orders.fifo`.
    pub name: String,
    /// How long a message that somebody has received is hidden from others; [`VISIBILITY`] if the queue does not say.
    pub visibility: Option<Duration>,
    /// How long a message is hidden after it was sent.
    pub delay: Duration,
    /// How long a receiver waits for the first message.
    pub wait: Duration,
    /// In a queue with groups, messages of the same content are the same message.
    pub deduplicates_by_content: bool,
    /// Where messages go that were received too often.
    pub redrive: Option<Redrive>,
}

impl QueueSettings {
    /// Of a queue that says nothing about itself. With groups it knows contents again, as nothing says that it must not.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            visibility: None,
            delay: Duration::ZERO,
            wait: Duration::ZERO,
            deduplicates_by_content: name.ends_with(FIFO),
            redrive: None,
        }
    }

    /// Whether its messages have groups, which have an order.
    pub fn is_fifo(&self) -> bool {
        self.name.ends_with(FIFO)
    }

    /// The queue of the embedded store that stands for it.
    pub fn embedded(&self) -> String {
        embedded_name(&self.name, "queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whether_there_are_groups() {
        let (orders, jobs) = (QueueSettings::new("Orders"), QueueSettings::new("jobs.fifo"));
        assert_eq!((orders.is_fifo(), orders.deduplicates_by_content), (false, false));
        assert_eq!((jobs.is_fifo(), jobs.deduplicates_by_content), (true, true));
        assert_eq!((orders.embedded().as_str(), jobs.embedded().as_str()), ("orders", "jobs-fifo"));
    }
}
