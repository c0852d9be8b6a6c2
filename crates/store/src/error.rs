//! Everything that can go wrong with durable bytes, grouped by what the caller can do about it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_types::outcome::Blame;
use rusqlite::ErrorCode;

/// The cause behind an error; shared, because one failed commit is told to every caller of its group.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error("the data directory {} is in use by process {owner}", directory.display())]
    InUse {
        directory: PathBuf,
        /// The process id that the owner wrote, or `unknown`.
        owner: String,
    },
    #[error("the lease on message {message_id} of queue {queue} is no longer held")]
    LeaseLost { queue: String, message_id: String },
    #[error("the disk is full: {doing} was not done, and nothing of it was kept")]
    DiskFull { doing: String, source: Source },
    #[error("{} has schema version {found}, and this version of Ingle knows up to {known}", path.display())]
    NewerSchema { path: PathBuf, found: i64, known: i64 },
    #[error("{} is damaged: {detail}", path.display())]
    Corrupt { path: PathBuf, detail: String },
    #[error("{doing} failed")]
    Io { doing: String, source: Source },
    #[error("the store takes no more writes, because {reason}")]
    Broken { reason: String },
    #[error("the store is closed")]
    Closed,
    #[error(
        "the document's `id` is {found}, and it must be a string of 1 to 255 characters without / \\ ? #"
    )]
    DocumentId { found: String },
    #[error("a document must be a JSON object, and this is {found}")]
    NotAnObject { found: &'static str },
    #[error("the document is too large: {what}")]
    DocumentTooLarge { what: String },
    #[error("the query can't be run: at character {position}, {message}")]
    Query {
        /// 1 for the first character.
        position: usize,
        message: String,
    },
    #[error(
        "container {container} has more than one document with id {id:?}: partition keys {first} and {second}"
    )]
    AmbiguousDocument { container: String, id: String, first: String, second: String },
    #[error("the checkpoint of {consumer} is no longer at version {follows}")]
    CheckpointMoved { consumer: String, follows: u64 },
    #[error("table {table} has an entity with PartitionKey {partition_key:?} and RowKey {row_key:?} already")]
    EntityExists { table: String, partition_key: String, row_key: String },
    #[error("the entity can't be stored: {what}")]
    Entity { what: String },
    #[error("the entities asked for of table {table} have more than {mib_max} MiB")]
    TooManyEntities { table: String, mib_max: usize },
    #[error("'{name}' can't name a blob: {problem}")]
    ObjectName {
        /// Container and name.
        name: String,
        problem: &'static str,
    },
    #[error("{name} {}", if *exists { "is another one than the one that was asked for" } else { "does not exist" })]
    ObjectCondition {
        /// Container and name.
        name: String,
        exists: bool,
    },
    #[error("the partition key at {path} must be a string, a number, a boolean or null, and this is {found}")]
    PartitionKey { path: String, found: &'static str },
}

impl Error {
    /// Stable code with a page in `docs/errors`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "E0401",
            Self::LeaseLost { .. } => "E0402",
            Self::DiskFull { .. } => "E0403",
            Self::NewerSchema { .. } => "E0404",
            Self::Corrupt { .. } => "E0405",
            Self::Io { .. } => "E0406",
            Self::Broken { .. } => "E0407",
            Self::Closed => "E0408",
            Self::DocumentId { .. } => "E0410",
            Self::NotAnObject { .. } => "E0411",
            Self::DocumentTooLarge { .. } => "E0412",
            Self::Query { .. } => "E0413",
            Self::AmbiguousDocument { .. } => "E0414",
            Self::PartitionKey { .. } => "E0415",
            Self::ObjectName { .. } => "E0420",
            Self::ObjectCondition { .. } => "E0425",
            Self::EntityExists { .. } => "E0418",
            Self::Entity { .. } => "E0419",
            Self::TooManyEntities { .. } => "E0424",
            Self::CheckpointMoved { .. } => "E0416",
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::DocumentId { .. }
            | Self::NotAnObject { .. }
            | Self::DocumentTooLarge { .. }
            | Self::Query { .. }
            | Self::AmbiguousDocument { .. }
            | Self::EntityExists { .. }
            | Self::Entity { .. }
            | Self::TooManyEntities { .. }
            | Self::ObjectName { .. }
            | Self::ObjectCondition { .. }
            | Self::PartitionKey { .. } => Blame::App,
            Self::InUse { .. }
            | Self::LeaseLost { .. }
            | Self::CheckpointMoved { .. }
            | Self::DiskFull { .. }
            | Self::NewerSchema { .. }
            | Self::Corrupt { .. }
            | Self::Io { .. }
            | Self::Broken { .. }
            | Self::Closed => Blame::Platform,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::InUse { owner, .. } => {
                return Some(format!(
                    "stop process {owner} first, or give this server another data directory"
                ));
            }
            Self::LeaseLost { .. } => {
                "the lease ran out or was withdrawn; whoever holds the message now will finish it"
            }
            Self::CheckpointMoved { .. } => {
                "somebody else has got further, or the state was reset meanwhile; the work goes on from what is stored"
            }
            Self::DiskFull { .. } => "free some space; the store goes on by itself",
            Self::NewerSchema { .. } => {
                "start the newer version of Ingle that wrote it, or use another data directory; nothing was changed"
            }
            Self::Corrupt { .. } => {
                "nothing was changed or deleted: copy the data directory away before anything else, then put a \
                 backup in its place or start with an empty one; large message bodies in `blobs` are intact files"
            }
            Self::Io { .. } => "look at the disk and at the rights on the data directory",
            Self::Broken { .. } => {
                "mend the disk and restart; everything that was acknowledged before is read back from disk then"
            }
            Self::Closed => "the server is stopping; send it again when it is back",
            Self::DocumentId { .. } => {
                "set `id` to a string, e.g. str(order_id), or leave it out to get a new one"
            }
            Self::NotAnObject { .. } => "return a dict, or one document per element of a list",
            Self::DocumentTooLarge { .. } => {
                "keep large data in a file or a blob and its name in the document"
            }
            Self::Query { .. } => crate::query::SUPPORTED,
            Self::AmbiguousDocument { .. } => "give the partition key too",
            Self::EntityExists { .. } => {
                "a table output only inserts; give each entity a RowKey of its own, e.g. str(uuid.uuid4())"
            }
            Self::Entity { .. } => {
                "keys are texts of at most 512 characters without / \\ # ? and control characters; docs/tables.md has the other limits"
            }
            Self::TooManyEntities { .. } => {
                "set `take`, a `filter` or a `partitionKey` in the binding to ask for fewer"
            }
            Self::ObjectName { .. } => {
                "write container/name: 3 to 63 lower-case letters, digits and single dashes, a slash, and a text of at most 1024 characters"
            }
            Self::ObjectCondition { .. } => "read it again, and try again with what it is now",
            Self::PartitionKey { .. } => "choose another partition key path or store a plain value there",
        };
        Some(hint.to_owned())
    }

    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        let doing = doing.into();
        if source.kind() == std::io::ErrorKind::StorageFull {
            return Self::DiskFull { doing, source: Arc::new(source) };
        }
        Self::Io { doing, source: Arc::new(source) }
    }

    pub(crate) fn sqlite(path: &Path, doing: &str, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull { doing: doing.to_owned(), source: Arc::new(source) },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path: path.to_owned(), detail: source.to_string() }
            }
            _ => Self::Io { doing: doing.to_owned(), source: Arc::new(source) },
        }
    }

    /// The machine failed at a fault point.
    pub(crate) fn injected(point: &'static str) -> Self {
        Self::io(point, std::io::Error::other("injected fault"))
    }
}
