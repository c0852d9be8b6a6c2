//! Tells listeners that a queue or a container has changed, so that nobody polls.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::model::ContainerName;

#[derive(Clone, Debug, Default)]
pub(crate) struct Watches(Arc<Mutex<HashMap<String, watch::Sender<()>>>>);

impl Watches {
    pub(crate) fn watch(&self, queue: &str) -> QueueWatch {
        let mut senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = senders.entry(queue.to_owned()).or_insert_with(|| watch::channel(()).0);
        QueueWatch(sender.subscribe())
    }

    pub(crate) fn notify(&self, queues: &HashSet<String>) {
        if queues.is_empty() {
            return;
        }
        let senders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in queues.iter().filter_map(|queue| senders.get(queue)) {
            sender.send_replace(());
        }
    }
}

/// The name under which the changes of a container are told; no queue can have it.
pub(crate) fn container_key(name: &ContainerName) -> String {
    format!("documents {name}")
}

/// Waits for changes of one queue, or of one container.
#[derive(Clone, Debug)]
pub struct QueueWatch(watch::Receiver<()>);

impl QueueWatch {
    /// Completes after a commit put messages into the queue, gave some back or changed when the next one is
    /// due; also for delayed ones, so that a listener can set its timer anew. A change between two calls is
    /// not missed. Never completes once the store is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
