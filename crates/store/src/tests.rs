//! The store through its handle, on real files and a clock that is moved by hand.

mod checkpoints;
mod crash;
mod documents;
mod failures;
mod model;
mod objects;
mod queues;
mod tables;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingle_types::clock::ManualClock;
use ingle_types::faults::Faults;

use crate::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// When every test begins.
fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A store in a directory of its own.
struct Fixture {
    store: Store,
    clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Faults::none())
    }

    fn with(faults: Faults) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(start()));
        let store = Store::open(Options::new(directory.path()), clock.clone(), faults).unwrap();
        Self { store, clock, directory }
    }

    /// Opens again after an unclean end.
    fn reopen(self) -> Self {
        let Self { store, clock, directory } = self;
        drop(store);
        let store = Store::open(Options::new(directory.path()), clock.clone(), Faults::none()).unwrap();
        Self { store, clock, directory }
    }

    async fn send(&self, queue: &str, bodies: &[&str]) {
        let messages = bodies.iter().map(|body| Operation::Enqueue(NewMessage::new(queue, body.to_string())));
        self.store.commit(messages.collect()).await.unwrap();
    }

    async fn lease(&self, queue: &str, count: u32) -> Vec<LeasedMessage> {
        self.store.lease_messages(queue, count, MINUTE).await.unwrap()
    }

    /// Leases everything; the bodies with their delivery counts, e.g. `a1 b2`.
    async fn deliver(&self, queue: &str) -> String {
        show(&self.lease(queue, 100).await)
    }

    /// Number of files of large bodies. They are removed after the answer, so another one is waited for first.
    async fn blob_count(&self) -> usize {
        self.lease("nothing", 1).await;
        let folders = std::fs::read_dir(self.directory.path().join("blobs")).unwrap();
        folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
    }
}

fn show(messages: &[LeasedMessage]) -> String {
    let words = messages.iter().map(|message| format!("{}{}", text(&message.body), message.dequeue_count));
    words.collect::<Vec<_>>().join(" ")
}

fn text(body: &bytes::Bytes) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

fn delete(message: &LeasedMessage) -> Operation {
    Operation::DeleteMessage(message.lease.clone())
}

fn release(message: &LeasedMessage, visible_after: Duration, counts: bool) -> Operation {
    Operation::ReleaseMessage { lease: message.lease.clone(), visible_after, counts }
}

fn poison(message: &LeasedMessage, reason: &str) -> Operation {
    let poison_queue = format!("{}-poison", message.lease.queue);
    Operation::PoisonMessage { lease: message.lease.clone(), poison_queue, reason: reason.to_owned() }
}
