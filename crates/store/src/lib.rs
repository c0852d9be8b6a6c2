//! All durable bytes: queues and documents in an embedded SQLite database, large message bodies in files beside
//! it. What was acknowledged is on disk.
//!
//! One thread writes, with group commit: whoever commits at the same time shares one fsync. One thread reads what
//! is committed, and one moves committed pages from the log into the database. Outside this room nobody sees SQL
//! or files. It knows nothing of functions and bindings: when a message is given up on, or how a payload is
//! encoded, is decided elsewhere.
//!
//! | to find | look in |
//! |---|---|
//! | what can be asked, and the answers | [`Store`], [`Operation`], `model` |
//! | what is checked and written before a commit | `commit`, `step` |
//! | how a group is committed, and what follows when the disk fails | `writer` |
//! | what a step does to the rows | `queue`, `document`, `table`, `checkpoint` |
//! | tables, versions, the check after an unclean end | `schema` |
//! | large bodies | `blob` |
//! | the keys that callers show, hashed | [`keys`] |
//! | objects: put, read, list, tell readers | `object` |
//! | the subset of Cosmos DB's SQL | [`query`] |

mod blob;
mod checkpoint;
mod commit;
mod database;
mod document;
mod error;
mod keeper;
pub mod keys;
mod ledger;
mod lock;
mod model;
mod object;
pub mod query;
mod queue;
mod reader;
mod schema;
mod step;
mod store;
mod table;
mod watch;
mod writer;

pub use error::{Error, Source};
pub use model::{
    Checkpoint, ContainerName, ContainerSummary, Document, LeasedMessage, MessageLease, MessageState,
    NamedCheckpoint, NewMessage, Once, Operation, Options, PeekedMessage, Poison, QueueSummary, Reset,
    ResetReport, Sent,
};
pub use model::{Entity, EntityQuery, NewEntity, TableSummary};
pub use object::{
    CONTENT_TYPE_DEFAULT, DeleteObject, Object, ObjectChange, ObjectChangeKind, ObjectCondition,
    ObjectContainerSummary, ObjectContent, ObjectFile, ObjectHook, ObjectInfo, ObjectOrigin, ObjectReader,
    ObjectWatch, ObjectWriter, PutObject, StagedObject, check_object_name,
};
pub use store::Store;
pub use table::check_table_name;
pub use watch::QueueWatch;

#[cfg(test)]
mod tests;
