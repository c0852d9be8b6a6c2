//! Operations made ready for the writer thread: checked, encoded and numbered where the caller waits, so that
//! the one writer only moves bytes.

use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

use crate::blob::{self, Pin};
use crate::checkpoint::NewCheckpoint;
use crate::document::{self, NewDocument};
use crate::error::Error;
use crate::model::{ContainerName, MessageLease, NewMessage, Operation};
use crate::object::{DeleteObject, NewObject, ObjectCondition, ObjectContent};
use crate::table::CheckedEntity;

#[derive(Debug)]
pub(crate) enum Step {
    Enqueue { message: NewMessage, message_id: Uuid, blob: Option<Pin> },
    Delete(Fence),
    Release { fence: Fence, visible_after: Duration, counts: bool },
    Poison { fence: Fence, poison_queue: String, reason: String },
    Upsert(Box<NewDocument>),
    InsertEntity(Box<CheckedEntity>),
    DeleteDocument { container: ContainerName, id: String, partition_key: Option<String> },
    Checkpoint(NewCheckpoint),
    PutObject(Box<NewObject>),
    DeleteObject(DeleteObject),
    DeleteObjects { container: String, prefix: String },
    RequireObject { container: String, name: String, is: ObjectCondition },
}

/// A lease, read back from its receipt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fence {
    pub(crate) queue: String,
    pub(crate) message_id: Uuid,
    pub(crate) sequence: i64,
    pub(crate) lease_number: i64,
}

impl Fence {
    /// A receipt that is not ours is treated like one that is out of date.
    pub(crate) fn read(lease: &MessageLease) -> Result<Self, Error> {
        Self::parse(lease).ok_or_else(|| Error::LeaseLost {
            queue: lease.queue.clone(),
            message_id: lease.message_id.clone(),
        })
    }

    fn parse(lease: &MessageLease) -> Option<Self> {
        let (sequence, lease_number) = lease.pop_receipt.split_once('-')?;
        Some(Self {
            queue: lease.queue.clone(),
            message_id: Uuid::parse_str(&lease.message_id).ok()?,
            sequence: i64::from_str_radix(sequence, 16).ok()?,
            lease_number: i64::from_str_radix(lease_number, 16).ok()?,
        })
    }

    pub(crate) fn lease(&self) -> MessageLease {
        MessageLease {
            queue: self.queue.clone(),
            message_id: self.message_id.to_string(),
            pop_receipt: format!("{:x}-{:x}", self.sequence, self.lease_number),
        }
    }

    pub(crate) fn lost(&self) -> Error {
        Error::LeaseLost { queue: self.queue.clone(), message_id: self.message_id.to_string() }
    }
}

impl Step {
    /// Everything but large bodies ([`Self::large_body`]), whose files the caller writes.
    pub(crate) fn prepare(operation: Operation) -> Result<Self, Error> {
        Ok(match operation {
            Operation::Enqueue(message) => {
                let message_id = message.id.unwrap_or_else(Uuid::new_v4);
                Self::Enqueue { message, message_id, blob: None }
            }
            Operation::DeleteMessage(lease) => Self::Delete(Fence::read(&lease)?),
            Operation::ReleaseMessage { lease, visible_after, counts } => {
                Self::Release { fence: Fence::read(&lease)?, visible_after, counts }
            }
            Operation::PoisonMessage { lease, poison_queue, reason } => {
                Self::Poison { fence: Fence::read(&lease)?, poison_queue, reason }
            }
            Operation::UpsertDocument { container, body, partition_key_path, hop_count } => {
                let document = NewDocument::prepare(container, body, partition_key_path)?;
                Self::Upsert(Box::new(NewDocument { hop_count, ..document }))
            }
            Operation::InsertEntity(entity) => Self::InsertEntity(Box::new(CheckedEntity::prepare(entity)?)),
            Operation::DeleteDocument { container, id, partition_key } => {
                let partition_key = partition_key.as_ref().map(partition_key_text).transpose()?;
                Self::DeleteDocument { container, id, partition_key }
            }
            Operation::PutObject(object) => Self::PutObject(Box::new(NewObject::prepare(object)?)),
            Operation::DeleteObject(object) => Self::DeleteObject(object),
            Operation::DeleteObjects { container, prefix } => Self::DeleteObjects { container, prefix },
            Operation::RequireObject { container, name, is } => Self::RequireObject { container, name, is },
            Operation::SaveCheckpoint { consumer, follows, value } => {
                Self::Checkpoint(NewCheckpoint { consumer, follows, value })
            }
        })
    }

    /// A body that is too large for a row.
    pub(crate) fn large_body(&self) -> Option<ObjectContent> {
        let content = match self {
            Self::Enqueue { message, .. } => ObjectContent::Bytes(message.body.clone()),
            Self::PutObject(object) => object.content.clone(),
            _ => return None,
        };
        let is_small = matches!(&content, ObjectContent::Bytes(body) if body.len() <= blob::INLINE_MAX);
        (!is_small).then_some(content)
    }

    /// Its body is in the file of this pin.
    pub(crate) fn refer(&mut self, pin: Pin) {
        match self {
            Self::Enqueue { blob, .. } => *blob = Some(pin),
            Self::PutObject(object) => object.blob = Some(pin),
            _ => {}
        }
    }

    /// Pages of the database that this will dirty, roughly.
    pub(crate) fn weight(&self) -> usize {
        let bytes = match self {
            Self::Enqueue { message, blob: None, .. } => message.body.len(),
            Self::Upsert(document) => document.text.len(),
            Self::InsertEntity(entity) => entity.text.len(),
            Self::PutObject(object) => object.body().map_or(0, bytes::Bytes::len),
            Self::Checkpoint(checkpoint) => checkpoint.value.len(),
            Self::Enqueue { .. }
            | Self::Delete(_)
            | Self::Release { .. }
            | Self::Poison { .. }
            | Self::DeleteObject(_)
            | Self::DeleteObjects { .. }
            | Self::RequireObject { .. }
            | Self::DeleteDocument { .. } => 0,
        };
        1 + bytes / 4096
    }
}

/// A partition key that a caller gave, as it is stored.
pub(crate) fn partition_key_text(value: &Value) -> Result<String, Error> {
    document::partition_key_text(Some(value))
        .map_err(|found| Error::PartitionKey { path: "request".to_owned(), found })
}

#[cfg(test)]
mod tests {
    use ingle_types::outcome::Blame;

    use super::*;

    #[test]
    fn a_receipt_reads_back_and_a_foreign_one_is_a_lost_lease() {
        let fence =
            Fence { queue: "orders".into(), message_id: Uuid::new_v4(), sequence: 300, lease_number: 17 };
        let lease = fence.lease();
        assert_eq!(Fence::read(&lease).unwrap(), fence);
        for receipt in ["", "12c", "-", "12c-", "12c-11-1", "AgAAAAMAAAA", "12c-ffffffffffffffffff"] {
            let error =
                Fence::read(&MessageLease { pop_receipt: receipt.into(), ..lease.clone() }).unwrap_err();
            assert_eq!((error.code(), error.blame()), ("E0402", Blame::Platform), "{receipt}");
        }
    }
}
