//! Outputs that go to accounts in the cloud.
//!
//! They can't be part of a commit of the store. So they are written after the function's success and before its event is
//! acknowledged: an event whose acknowledgement is lost comes again, and what it wrote is written again (at least once).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingle_store::{NewEntity, ObjectContent, Operation};
use ingle_types::account::StorageAccount;
use ingle_types::local_file::LocalFile;

use crate::account::fault::Fault;
use crate::account::{Accounts, Client};
use crate::error::Error;
use crate::queue::remote::RemoteQueue;
use crate::{blob, tables};

/// What writing a value to an output comes to.
#[derive(Debug, Default)]
pub struct Writes {
    /// For the commit of the store.
    pub operations: Vec<Operation>,
    /// For accounts; to be written first, in this order.
    pub foreign: Vec<ForeignWrite>,
}

impl From<Vec<Operation>> for Writes {
    fn from(operations: Vec<Operation>) -> Self {
        Self { operations, foreign: Vec::new() }
    }
}

impl From<Vec<ForeignWrite>> for Writes {
    fn from(foreign: Vec<ForeignWrite>) -> Self {
        Self { operations: Vec::new(), foreign }
    }
}

/// One write to an account.
#[derive(Debug)]
pub struct ForeignWrite {
    pub(crate) binding: String,
    pub(crate) account: Arc<StorageAccount>,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// The text is encoded already.
    Message {
        queue: String,
        text: String,
    },
    Blob {
        container: String,
        name: String,
        content: Content,
    },
    Entity(NewEntity),
}

/// The content of a blob.
#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Bytes),
    File(LocalFile),
}

impl From<Content> for ObjectContent {
    fn from(content: Content) -> Self {
        match content {
            Content::Bytes(bytes) => bytes.into(),
            Content::File(file) => Self::File(file),
        }
    }
}

impl ForeignWrite {
    /// `queue orders in AzureWebJobsStorage`, for the log line.
    pub fn target(&self) -> String {
        let what = match &self.what {
            What::Message { queue, .. } => format!("queue {queue}"),
            What::Blob { container, name, .. } => format!("blob {container}/{name}"),
            What::Entity(entity) => format!("table {}", entity.table),
        };
        format!("{what} in {}", self.account.connection)
    }

    /// Writes it. Queue, container or table are made if they are not there.
    ///
    /// # Errors
    /// [`Error::Account`], or [`Error::EntityExists`].
    pub async fn write(self, accounts: &Accounts) -> Result<(), Error> {
        let target = self.target();
        let Self { binding, account, what } = self;
        let keys = match &what {
            What::Entity(entity) => Some((entity.partition_key.clone(), entity.row_key.clone())),
            What::Message { .. } | What::Blob { .. } => None,
        };
        match written(accounts, &account, what).await {
            Err(fault) if fault.is_conflict() => match keys {
                Some((partition_key, row_key)) => {
                    Err(Error::EntityExists { binding, target, partition_key, row_key })
                }
                None => Err(Error::Account { binding, action: format!("{target} can't be written"), fault }),
            },
            Err(fault) => {
                Err(Error::Account { binding, action: format!("{target} can't be written"), fault })
            }
            Ok(()) => Ok(()),
        }
    }
}

async fn written(accounts: &Accounts, account: &Arc<StorageAccount>, what: What) -> Result<(), Fault> {
    let client = accounts.client(account)?;
    let result = put(&client, what).await;
    client.note(result)
}

async fn put(client: &Arc<Client>, what: What) -> Result<(), Fault> {
    match what {
        What::Message { queue, text } => RemoteQueue::new(client.clone(), &queue).put(&text, false).await,
        What::Blob { container, name, content } => {
            blob::remote::put(client, &container, &name, &content).await
        }
        What::Entity(entity) => tables::remote::insert(client, entity).await,
    }
}

/// How long to wait before a function is run again whose account could not be reached.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(10);
