//! What can be asked of the store, and what it answers. Plain values.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ingle_types::filter::Filter;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::object::{DeleteObject, ObjectCondition, PutObject};

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
        /// Functions whose work led to it; handed on with the change.
        hop_count: u32,
    },
    /// Fails with [`crate::Error::EntityExists`] if there is one with these keys.
    InsertEntity(NewEntity),
    /// Makes or replaces an object, and its container if need be, and tells those who asked with
    /// [`crate::Store::on_object`].
    PutObject(PutObject),
    /// Deleting what does not exist succeeds.
    DeleteObject(DeleteObject),
    /// All objects whose names begin so, also those that were put while this was asked for.
    DeleteObjects {
        container: String,
        prefix: String,
    },
    /// Does nothing. Fails with [`crate::Error::ObjectCondition`], and with it the commit, unless the object is so at
    /// this point of the commit.
    RequireObject {
        container: String,
        name: String,
        is: ObjectCondition,
    },
    /// Deleting what does not exist succeeds.
    DeleteDocument {
        container: ContainerName,
        id: String,
        partition_key: Option<Value>,
    },
    /// Remembers how far a listener has got. Fails with [`crate::Error::CheckpointMoved`] unless the version that
    /// is stored is `follows`; then it becomes `follows + 1`.
    SaveCheckpoint {
        consumer: String,
        /// 0 if there is none yet.
        follows: u64,
        /// JSON text, by convention.
        value: String,
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
    /// Its id, if whoever puts it in has promised one; a random one if absent.
    pub id: Option<Uuid>,
    /// What it has besides its body, as JSON text. The store does not look into it.
    pub attributes: Option<String>,
    /// Messages of one group come in their order: while some of them are leased or delayed, the others wait.
    pub group: Option<String>,
    pub once: Option<Once>,
}

/// A message that is not put in if one with this id was put into the queue within this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once {
    pub id: String,
    pub within: Duration,
}

/// What a message got when it was put in. One that was not put in has what that of the same id got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub message_id: Uuid,
    /// Grows with each message of any queue.
    pub sequence: u64,
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
            id: None,
            attributes: None,
            group: None,
            once: None,
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

impl MessageLease {
    /// As clients of SQS hold it.
    pub fn receipt_handle(&self) -> String {
        format!("{}/{}", self.message_id, self.pop_receipt)
    }

    /// The lease of such a handle; `None` if it is none.
    pub fn of_handle(queue: String, handle: &str) -> Option<Self> {
        let (message_id, pop_receipt) = handle.split_once('/')?;
        Uuid::parse_str(message_id).ok()?;
        Some(Self { queue, message_id: message_id.to_owned(), pop_receipt: pop_receipt.to_owned() })
    }
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
    /// See [`NewMessage::attributes`].
    pub attributes: Option<String>,
    /// See [`NewMessage::group`].
    pub group: Option<String>,
    /// See [`Sent::sequence`].
    pub sequence: u64,
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
    /// Functions whose work led to this version.
    pub hop_count: u32,
}

/// How far a listener has got.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Grows by one with each save; the first one is 1.
    pub version: u64,
    pub updated_at: SystemTime,
    pub value: String,
}

/// A checkpoint with whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedCheckpoint {
    pub consumer: String,
    pub checkpoint: Checkpoint,
}

/// A row of a table that is to be made, and with it the table.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntity {
    pub table: String,
    pub partition_key: String,
    pub row_key: String,
    /// Besides the keys: plain values only.
    pub properties: Map<String, Value>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    pub partition_key: String,
    pub row_key: String,
    /// Besides the keys.
    pub properties: Map<String, Value>,
    pub etag: String,
    pub updated_at: SystemTime,
}

impl Entity {
    /// `updated_at` in ISO 8601, in UTC.
    pub fn timestamp(&self) -> String {
        ingle_types::clock::iso_text(self.updated_at)
    }
}

/// Which entities of a table are wanted. Everything that is given must fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntityQuery {
    pub partition_key: Option<String>,
    pub row_key: Option<String>,
    pub filter: Option<Filter>,
    /// At most that many, the first ones by partition and row key.
    pub take: Option<u32>,
}

impl EntityQuery {
    /// The one entity with these keys.
    pub fn one(partition_key: &str, row_key: &str) -> Self {
        Self {
            partition_key: Some(partition_key.to_owned()),
            row_key: Some(row_key.to_owned()),
            ..Self::default()
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct TableSummary {
    pub name: String,
    pub entities: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reset {
    All,
    Table(String),
    Queue(String),
    Container(ContainerName),
    /// A container of objects.
    Objects(String),
}

/// What a reset removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResetReport {
    pub messages: u64,
    pub documents: u64,
    pub entities: u64,
    pub objects: u64,
}
