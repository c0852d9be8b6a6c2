//! Messages and their queues, of the [`Store`].

use std::time::{Duration, SystemTime};

use ingle_types::clock::{from_unix_ms, unix_ms};

use super::{Store, aside};
use crate::error::Error;
use crate::model::{LeasedMessage, MessageLease, PeekedMessage, QueueSummary};
use crate::queue::Leased;
use crate::reader;
use crate::step::Fence;
use crate::watch::QueueWatch;
use crate::writer::{Done, Request};

impl Store {
    /// Leases up to `count` messages in the order in which they were inserted. Nobody else gets them until the
    /// lease ends, by time, by finishing or releasing the message, or with this process. A queue that does not
    /// exist has no messages.
    ///
    /// A listener compares `dequeue_count` with its limit *before* it runs a message: one that ends the whole
    /// server comes back with a higher count, and nobody else will notice.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`], [`Error::Broken`] or [`Error::Closed`].
    pub async fn lease_messages(
        &self,
        queue: &str,
        count: u32,
        lease: Duration,
    ) -> Result<Vec<LeasedMessage>, Error> {
        let request = Request::Lease { queue: queue.to_owned(), count, lease };
        let Done::Leased(leased) = self.request(request).await? else { return Ok(Vec::new()) };
        let mut messages = Vec::with_capacity(leased.len());
        for Leased { mut message, blob } in leased {
            if let Some(pin) = blob {
                let blobs = self.0.blobs.clone();
                match aside(move || blobs.read(&pin.digest)).await? {
                    Ok(body) => message.body = body.into(),
                    Err(error) => {
                        // It stays leased and comes again later; the others must not wait for it.
                        let id = &message.lease.message_id;
                        tracing::error!(%queue, %id, %error, "the body of a message can't be read");
                        continue;
                    }
                }
            }
            messages.push(message);
        }
        Ok(messages)
    }

    /// Lets the lease end `lease_for` from now instead. Its receipt stays the same.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if somebody else has had the message since.
    pub async fn extend_lease(&self, lease: &MessageLease, lease_for: Duration) -> Result<(), Error> {
        self.request(Request::Extend { fence: Fence::read(lease)?, lease_for, is_wanted: false })
            .await
            .map(drop)
    }

    /// As [`Store::extend_lease`]; and one that is given back comes again only then, whatever delay that has.
    ///
    /// # Errors
    /// As [`Store::extend_lease`].
    pub async fn choose_visibility(&self, lease: &MessageLease, lease_for: Duration) -> Result<(), Error> {
        self.request(Request::Extend { fence: Fence::read(lease)?, lease_for, is_wanted: true })
            .await
            .map(drop)
    }

    /// Tells when the queue changes. It may not exist yet.
    pub fn watch_queue(&self, queue: &str) -> QueueWatch {
        self.0.watches.watch(queue)
    }

    /// When the next message that is delayed or leased becomes visible; in the past for one that is due.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn next_visible_at(&self, queue: &str) -> Result<Option<SystemTime>, Error> {
        let queue = queue.to_owned();
        let time_ms = self.read(move |database| reader::next_visible_at_ms(database, &queue)).await?;
        Ok(time_ms.map(from_unix_ms))
    }

    /// All queues by name, empty ones too.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn queues(&self) -> Result<Vec<QueueSummary>, Error> {
        let now_ms = unix_ms(self.0.clock.now());
        self.read(move |database| reader::queues(database, now_ms)).await
    }

    /// The next messages in the order of delivery, without leasing them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn peek_messages(&self, queue: &str, count: u32) -> Result<Vec<PeekedMessage>, Error> {
        let (queue, blobs, now_ms) = (queue.to_owned(), self.0.blobs.clone(), unix_ms(self.0.clock.now()));
        self.read(move |database| reader::peek(database, &blobs, &queue, count, now_ms)).await
    }
}
