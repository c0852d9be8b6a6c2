//! What callers ask to be done: checked as a whole, its large bodies put on disk, and handed to the writer.

use ingle_types::faults::Fault;

use crate::blob::Pin;
use crate::error::Error;
use crate::model::{NewMessage, Operation, Sent};
use crate::object::ObjectContent;
use crate::step::Step;
use crate::store::{Store, aside};
use crate::writer::{Done, Made, Request};

impl Store {
    /// Does all operations or none, in one transaction, which is on disk when this returns. If the caller stops
    /// waiting, it may still be done.
    ///
    /// # Errors
    /// What is wrong with an operation, [`Error::LeaseLost`] among it: nothing was done then. [`Error::DiskFull`]:
    /// nothing was done, try again later. [`Error::Io`]: the disk failed, and only the next open can tell whether
    /// it was done; until then [`Error::Broken`].
    pub async fn commit(&self, operations: Vec<Operation>) -> Result<(), Error> {
        self.commit_steps(operations).await.map(drop)
    }

    /// Puts messages into queues, all of them in one commit. Says what each of them got, in their order.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn send(&self, messages: Vec<NewMessage>) -> Result<Vec<Sent>, Error> {
        let made = self.commit_steps(messages.into_iter().map(Operation::Enqueue).collect()).await?;
        Ok(made.messages)
    }

    /// As [`Store::commit`]. Says which entity tag each object got that was put, in their order: what is read
    /// afterwards may be the tag of a later put already.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn put_objects(&self, operations: Vec<Operation>) -> Result<Vec<String>, Error> {
        Ok(self.commit_steps(operations).await?.tags)
    }

    async fn commit_steps(&self, operations: Vec<Operation>) -> Result<Made, Error> {
        if operations.is_empty() {
            return Ok(Made::default());
        }
        // All of them before anything is written: what can't be done needs no space.
        let mut steps = operations.into_iter().map(Step::prepare).collect::<Result<Vec<_>, _>>()?;
        if let Err(error) = self.write_bodies(&mut steps).await {
            drop(steps);
            // What was written before the one that failed has no row, and the disk may have no room for it. What went
            // wrong then is more than what goes wrong now.
            drop(self.request(Request::Sweep).await);
            return Err(error);
        }
        match self.request(Request::Commit(steps)).await? {
            Done::Committed(made) => Ok(made),
            Done::Nothing | Done::Leased(_) | Done::Reset(_) | Done::CaughtUp(_) => Ok(Made::default()),
        }
    }

    async fn write_bodies(&self, steps: &mut [Step]) -> Result<(), Error> {
        for step in steps {
            if let Some(content) = step.large_body() {
                step.refer(self.write_body(content).await?);
            }
        }
        Ok(())
    }

    async fn write_body(&self, content: ObjectContent) -> Result<Pin, Error> {
        let blobs = self.blobs().clone();
        let pin = match content {
            ObjectContent::Bytes(body) => aside(move || blobs.write(&body)).await??,
            ObjectContent::Staged(staged) => aside(move || blobs.adopt(&staged.0)).await??,
            ObjectContent::File(file) => aside(move || blobs.take_over(&file)).await??,
        };
        match self.faults().at("store.blob.written") {
            Fault::None => Ok(pin),
            Fault::Fail => Err(Error::injected("store.blob.written")),
        }
    }
}
