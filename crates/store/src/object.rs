//! Objects (blobs): named contents in containers, with a type, metadata and an entity tag.
//!
//! Names are only ever keys in the database: a content is a row, or a file that is named by its digest, so no name
//! can lead anywhere (T-026). A large content is *staged* first: written and synced under a name of its own, in
//! constant memory and outside any transaction. The commit then only links it in, so a reader sees the old content
//! or the new one, never half of either.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ingle_types::local_file::LocalFile;

use crate::model::NewMessage;

mod api;
mod file;
mod hooks;
mod ledger;
mod reader;
mod stage;

pub use api::{Object, ObjectReader};
pub use file::ObjectFile;
pub use hooks::ObjectWatch;
pub use ledger::check_object_name;
pub use stage::ObjectWriter;

pub(crate) use hooks::Hooks;
pub(crate) use ledger::{Enqueued, NewObject};
pub(crate) use stage::{Staged, Staging, take_over};

/// What an object has if nobody says otherwise, as in Azure.
pub const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";

/// An object to be put; one of that name is replaced as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct PutObject {
    pub container: String,
    pub name: String,
    pub content: ObjectContent,
    pub content_type: String,
    pub metadata: BTreeMap<String, String>,
    /// What else is told of its content to those who get it, by the names of HTTP in small letters: `cache-control`.
    pub headers: BTreeMap<String, String>,
    /// How it comes here, for those who are told of it.
    pub origin: ObjectOrigin,
    /// Hops of the event whose work made it; 0 if none did.
    pub hop_count: u32,
    pub trace_parent: String,
}

impl PutObject {
    pub fn new(container: &str, name: &str, content: impl Into<ObjectContent>) -> Self {
        Self {
            container: container.to_owned(),
            name: name.to_owned(),
            content: content.into(),
            content_type: CONTENT_TYPE_DEFAULT.to_owned(),
            metadata: BTreeMap::new(),
            headers: BTreeMap::new(),
            origin: ObjectOrigin::Put,
            hop_count: 0,
            trace_parent: String::new(),
        }
    }
}

/// How an object came into its container.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ObjectOrigin {
    #[default]
    Put,
    /// From another object.
    Copy,
    /// In parts, which its tag says.
    Upload { part_count: u32 },
}

/// An object to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteObject {
    pub container: String,
    pub name: String,
    /// Hops of the event whose work deletes it; 0 if none does.
    pub hop_count: u32,
    pub trace_parent: String,
}

impl DeleteObject {
    pub fn new(container: &str, name: &str) -> Self {
        Self {
            container: container.to_owned(),
            name: name.to_owned(),
            hop_count: 0,
            trace_parent: String::new(),
        }
    }
}

/// What an object has to be for a commit to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectCondition {
    Absent,
    Present,
    /// There, and with this entity tag.
    Tagged(String),
}

#[derive(Clone, Debug, PartialEq)]
pub enum ObjectContent {
    Bytes(Bytes),
    Staged(StagedObject),
    /// A file that is taken over: it is gone from where it was when it has been committed.
    File(LocalFile),
}

impl ObjectContent {
    /// In bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::Staged(staged) => staged.0.size,
            Self::File(file) => file.size,
        }
    }
}

impl From<Bytes> for ObjectContent {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

/// A content that is safely on disk and belongs to nobody yet. It goes when the last copy of this handle is dropped
/// without a commit, or at the next open.
#[derive(Clone, Debug)]
pub struct StagedObject(pub(crate) Arc<stage::Staged>);

impl PartialEq for StagedObject {
    fn eq(&self, other: &Self) -> bool {
        self.0.digest == other.0.digest
    }
}

/// All about an object but its content.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectInfo {
    pub container: String,
    pub name: String,
    /// In quotes, as in HTTP. Each put gives a new one, also of the same content. Of an object that came in parts it ends
    /// with how many there were, as clients of S3 know it: `"0x000000000000002A-3"`.
    pub etag: String,
    /// In bytes.
    pub size: u64,
    pub content_type: String,
    pub metadata: BTreeMap<String, String>,
    /// See [`PutObject::headers`].
    pub headers: BTreeMap<String, String>,
    pub updated_at: SystemTime,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ObjectContainerSummary {
    pub name: String,
    pub objects: u64,
    /// The sum of the contents.
    pub bytes: u64,
}

/// What a hook is told of an object that was put, or removed.
#[derive(Clone, Copy, Debug)]
pub struct ObjectChange<'a> {
    pub container: &'a str,
    pub name: &'a str,
    pub kind: ObjectChangeKind,
    /// Empty if it was removed.
    pub etag: &'a str,
    /// In bytes; 0 if it was removed.
    pub size: u64,
    /// Number of the change; a later change has a larger one.
    pub number: u64,
    pub at: SystemTime,
    pub hop_count: u32,
    pub trace_parent: &'a str,
}

/// What became of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectChangeKind {
    Put(ObjectOrigin),
    Removed,
}

/// Decides whether somebody wants to hear of an object, and says so with a message. Called by the thread that
/// writes, inside the transaction, so it must be quick and touch nothing.
///
/// The message's queue also names the reader: whoever has got a message about an object is not sent another one
/// until the object is put again.
#[derive(Clone)]
pub struct ObjectHook {
    pub(crate) decide: Arc<Decide>,
    pub(crate) sees_removals: bool,
}

type Decide = dyn Fn(&ObjectChange<'_>) -> Option<NewMessage> + Send + Sync;

impl ObjectHook {
    pub fn new(decide: impl Fn(&ObjectChange<'_>) -> Option<NewMessage> + Send + Sync + 'static) -> Self {
        Self { decide: Arc::new(decide), sees_removals: false }
    }

    /// Also asked about objects that are deleted.
    #[must_use]
    pub fn with_removals(self) -> Self {
        Self { sees_removals: true, ..self }
    }
}

impl fmt::Debug for ObjectHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectHook")
    }
}

/// The tag of the change with this number, in the shape of Azure's.
pub(crate) fn etag(change_number: i64, part_count: Option<u32>) -> String {
    let parts = part_count.map(|count| format!("-{count}")).unwrap_or_default();
    format!("\"0x{change_number:016X}{parts}\"")
}
