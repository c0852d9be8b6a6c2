//! What can be asked of the store, and what it answers. Plain values.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::Value;

#[derive(Clone, Debug)]
pub struct Options {
    /// Made if it does not exist. Everything durable is below it.
    pub directory: PathBuf,
    /// Jobs that may share one transaction and so one fsync.
    pub group_max: usize,
}

impl Options {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), group_max: 512 }
    }
}

/// One step of a commit.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    Enqueue(NewMessage),
    /// The message is done. Fails with [`crate::Error::LeaseLost`] if the lease is not the current one.
    DeleteMessage(MessageLease),
    /// Gives a leased message back; with no delay it is the first of its queue again.
    ReleaseMessage {
        lease: MessageLease,
        visible_after: Duration,
        /// False: this delivery does not count as an attempt.
        counts: bool,
    },
    /// Moves a leased message as a whole to another queue, with the reason, its first queue and its attempts.
    /// There it stays until somebody deletes it: a dead letter does not expire.
    PoisonMessage {
        lease: MessageLease,
        poison_queue: String,
        reason: String,
    },
    UpsertDocument {
        container: ContainerName,
        /// An object. Without `id` it gets a new one.
        body: Value,
        /// For a container that does not exist yet, e.g. `/customer`; `/id` if absent.
        partition_key_path: Option<String>,
    },
    /// Deleting what does not exist succeeds.
    DeleteDocument {
        container: ContainerName,
        id: String,
        partition_key: Option<Value>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    pub queue: String,
    pub body: Bytes,
    pub visible_after: Duration,
    /// `None`: for ever. Azure's queues drop a message after seven days; here nothing is lost in silence.
    pub time_to_live: Option<Duration>,
    pub hop_count: u32,
    pub trace_parent: String,
}

impl NewMessage {
    pub fn new(queue: &str, body: impl Into<Bytes>) -> Self {
        Self {
            queue: queue.to_owned(),
            body: body.into(),
            visible_after: Duration::ZERO,
            time_to_live: None,
            hop_count: 0,
            trace_parent: String::new(),
        }
    }
}

/// Proof of the right to finish a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageLease {
    pub queue: String,
    /// A hyphenated UUID.
    pub message_id: String,
    /// A fencing token: the next lease, release or restart of the store makes it worthless.
    pub pop_receipt: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LeasedMessage {
    pub lease: MessageLease,
    pub body: Bytes,
    /// Deliveries so far that count as attempts, this one included.
    pub dequeue_count: u32,
    pub inserted_at: SystemTime,
    pub expires_at: SystemTime,
    /// When the lease ends.
    pub next_visible_at: SystemTime,
    pub hop_count: u32,
    pub trace_parent: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    Ready,
    Delayed,
    Leased,
}

/// A message looked at without leasing it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeekedMessage {
    pub message_id: String,
    pub state: MessageState,
    pub body: Bytes,
    pub dequeue_count: u32,
    pub inserted_at: SystemTime,
    pub expires_at: SystemTime,
    pub next_visible_at: SystemTime,
    pub hop_count: u32,
    pub trace_parent: String,
    /// Only for a message that was given up on.
    pub poison: Option<Poison>,
}

/// Why a message was given up on.
#[derive(Clone, Debug, PartialEq)]
pub struct Poison {
    pub reason: String,
    /// The queue in which it failed.
    pub queue: String,
    /// Attempts made there.
    pub attempts: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueueSummary {
    pub name: String,
    pub ready: u64,
    pub leased: u64,
    pub delayed: u64,
    /// When the oldest message was inserted.
    pub oldest: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName {
    pub database: String,
    pub container: String,
}

impl ContainerName {
    pub fn new(database: &str, container: &str) -> Self {
        Self { database: database.to_owned(), container: container.to_owned() }
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.database, self.container)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSummary {
    pub name: ContainerName,
    pub partition_key_path: String,
    pub documents: u64,
    /// The latest change of any document that is still there.
    pub updated_at: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// With the system properties `_rid`, `_self`, `_etag`, `_attachments` and `_ts` (seconds).
    pub body: Value,
    /// `{}` if the document has none.
    pub partition_key: Value,
    pub etag: String,
    pub updated_at: SystemTime,
    /// Number of the change that made it so; grows with each change of any document.
    pub change_number: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reset {
    All,
    Queue(String),
    Container(ContainerName),
}

/// What a reset removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetReport {
    pub messages: u64,
    pub documents: u64,
}
