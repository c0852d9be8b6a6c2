//! The one thread that writes, with group commit: jobs that wait share a transaction and its fsync.
//!
//! Each job runs in a savepoint, so one that fails takes only itself back. Nobody gets an answer before the
//! transaction is on disk. If that fails, nobody is told yes, and after anything but a full disk the store takes
//! no more writes: after a failed fsync nobody knows what the disk holds (T-071).

use std::path::PathBuf;
use std::time::Duration;

use ingle_types::clock::{ClockHandle, unix_ms};
use ingle_types::faults::{Fault, Faults};
use tokio::sync::{mpsc, oneshot};

use crate::blob::{Blobs, Digest};
use crate::database::Database;
use crate::error::Error;
use crate::keeper::Keeper;
use crate::ledger::Ledger;
use crate::lock::DirectoryLock;
use crate::model::{Reset, ResetReport, Sent};
use crate::object::{Enqueued, ObjectHook};
use crate::queue::Leased;
use crate::schema;
use crate::step::{Fence, Step};
use crate::watch::Watches;

/// Something to do in a transaction, and where to say how it went.
pub(crate) struct Job {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Result<Done, Error>>,
}

#[derive(Debug)]
pub(crate) enum Request {
    Commit(Vec<Step>),
    Lease {
        queue: String,
        count: u32,
        lease: Duration,
    },
    Extend {
        fence: Fence,
        lease_for: Duration,
        is_wanted: bool,
    },
    CatchUp {
        container: String,
        hook: ObjectHook,
        after: i64,
        count: u32,
    },
    Reset(Reset),
    /// Nothing but what follows each group: files that nobody refers to go.
    Sweep,
    Close,
}

impl Request {
    /// Leases end with the process, so the page cache keeps them long enough: they do not wait for the disk.
    fn is_durable(&self) -> bool {
        match self {
            Self::Commit(_) | Self::CatchUp { .. } | Self::Reset(_) => true,
            Self::Lease { .. } | Self::Extend { .. } | Self::Sweep | Self::Close => false,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Commit(steps) => steps.iter().map(Step::weight).sum(),
            Self::Lease { count, .. } => usize::try_from(*count).unwrap_or(1).min(64),
            Self::CatchUp { count, .. } => usize::try_from(*count).unwrap_or(1),
            Self::Extend { .. } | Self::Sweep | Self::Close => 1,
            Self::Reset(_) => 1024,
        }
    }
}

/// What a request gave.
#[derive(Debug)]
pub(crate) enum Done {
    Nothing,
    Committed(Made),
    Leased(Vec<Leased>),
    Reset(ResetReport),
    CaughtUp(Enqueued),
}

/// What a commit made, in the order of its operations.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) messages: Vec<Sent>,
    /// Entity tags of objects.
    pub(crate) tags: Vec<String>,
}

pub(crate) struct Writer {
    pub(crate) ledger: Ledger,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) group_max: usize,
    pub(crate) clock: ClockHandle,
    pub(crate) faults: Faults,
    pub(crate) watches: Watches,
    pub(crate) keeper: Keeper,
    /// Held until the connection is closed.
    pub(crate) lock: DirectoryLock,
    /// Why no more writes are taken, if so.
    pub(crate) broken: Option<String>,
    /// Whether commits of the current setting wait for the disk.
    pub(crate) is_synchronous: bool,
}

impl Writer {
    /// Opens the database and makes it ours. `path` is the database file.
    pub(crate) fn open_ledger(path: PathBuf, blobs: Blobs, pages_max: Option<u32>) -> Result<Ledger, Error> {
        let connection = schema::open(&path)?;
        if let Some(pages_max) = pages_max {
            let limit = connection.pragma_update(None, "max_page_count", pages_max);
            limit.map_err(|source| Error::sqlite(&path, "limiting the database", source))?;
        }
        schema::take_over(&connection, &path, &blobs)?;
        Ledger::new(Database::new(connection, path, "writing to the store"), blobs)
    }

    /// Works until it is told to close or nobody is left who could ask.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.jobs.blocking_recv() {
            let (group, close) = self.gather(first);
            if !group.is_empty() {
                self.commit_group(group);
            }
            if let Some(reply) = close {
                self.close(reply);
                return;
            }
        }
        self.keeper.stop();
    }

    /// The first job and those that wait behind it, up to a request to close.
    fn gather(&mut self, first: Job) -> (Vec<Job>, Option<oneshot::Sender<Result<Done, Error>>>) {
        let mut group = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            if matches!(job.request, Request::Close) {
                return (group, Some(job.reply));
            }
            group.push(job);
            next = if group.len() < self.group_max { self.jobs.try_recv().ok() } else { None };
        }
        (group, None)
    }

    fn commit_group(&mut self, group: Vec<Job>) {
        if let Some(reason) = &self.broken {
            let error = Error::Broken { reason: reason.clone() };
            answer_all(group, &error);
            return;
        }
        match self.transact(&group) {
            Ok(answers) => {
                let effects = self.ledger.committed();
                self.watches.notify(&effects.queues);
                for (job, answer) in group.into_iter().zip(answers) {
                    // A caller that stopped waiting does not undo what is done.
                    drop(job.reply.send(answer));
                }
                self.remove_unreferenced(effects.dropped);
            }
            Err(error) => {
                self.roll_back(&error);
                answer_all(group, &error);
                // If it is not known what is on disk, nobody knows what refers to what either.
                if self.broken.is_none() {
                    self.remove_unreferenced(Vec::new());
                }
            }
        }
        self.keeper.tend(&self.ledger);
    }

    /// Removes the files of bodies that have lost a reference, or never got one.
    fn remove_unreferenced(&self, mut dropped: Vec<Digest>) {
        dropped.extend(self.ledger.blobs.unpinned());
        self.ledger.remove_blobs(&dropped);
    }

    /// One transaction. The outer error is that of the whole group; nothing of it was acknowledged then.
    fn transact(&mut self, group: &[Job]) -> Result<Vec<Result<Done, Error>>, Error> {
        let is_durable = group.iter().any(|job| job.request.is_durable());
        self.set_synchronous(is_durable)?;
        self.ledger.now_ms = unix_ms(self.clock.now());
        self.ledger.database.run("BEGIN IMMEDIATE")?;
        let mut answers = Vec::with_capacity(group.len());
        for job in group {
            self.keeper.add(job.request.weight());
            answers.push(self.run_alone(&job.request)?);
        }
        self.ledger.save_counters()?;
        if is_durable {
            self.fail_at("store.commit.before")?;
        }
        self.ledger.database.run("COMMIT").inspect_err(|error| self.mark_broken("a commit failed", error))?;
        if is_durable && let Err(error) = self.fail_at("store.commit.after") {
            self.mark_broken("it is not known whether a commit is on disk", &error);
            return Err(error);
        }
        for (job, answer) in group.iter().zip(&mut answers) {
            // A look into an empty queue leases nothing.
            let leased = matches!(answer, Ok(Done::Leased(messages)) if !messages.is_empty());
            if matches!(job.request, Request::Lease { .. })
                && leased
                && let Err(error) = self.fail_at("store.lease.after")
            {
                *answer = Err(error);
            }
        }
        Ok(answers)
    }

    /// Runs one request in a savepoint. The outer error ends the whole transaction, the inner one only this.
    fn run_alone(&mut self, request: &Request) -> Result<Result<Done, Error>, Error> {
        self.ledger.database.run("SAVEPOINT job")?;
        let dropped = self.ledger.effects.dropped.len();
        match self.run_request(request) {
            Ok(done) => {
                self.ledger.database.run("RELEASE job")?;
                Ok(Ok(done))
            }
            Err(error) => {
                // SQLite ends the transaction by itself after some errors.
                if ends_group(&error) || !self.ledger.database.is_in_transaction() {
                    return Err(error);
                }
                self.ledger.database.run("ROLLBACK TO job")?;
                self.ledger.database.run("RELEASE job")?;
                self.ledger.effects.dropped.truncate(dropped);
                self.ledger.forget();
                Ok(Err(error))
            }
        }
    }

    fn run_request(&mut self, request: &Request) -> Result<Done, Error> {
        match request {
            Request::Commit(steps) => {
                let mut made = Made::default();
                for step in steps {
                    self.run_step(step, &mut made)?;
                }
                Ok(Done::Committed(made))
            }
            Request::Lease { queue, count, lease } => {
                self.fail_at("store.lease.before")?;
                self.ledger.lease(queue, *count, *lease).map(Done::Leased)
            }
            Request::Extend { fence, lease_for, is_wanted } => {
                self.ledger.extend(fence, *lease_for, *is_wanted).map(|()| Done::Nothing)
            }
            Request::CatchUp { container, hook, after, count } => {
                self.ledger.catch_up(container, hook, *after, *count).map(Done::CaughtUp)
            }
            Request::Reset(what) => self.ledger.reset(what).map(Done::Reset),
            // The latter is taken out by `gather`.
            Request::Sweep | Request::Close => Ok(Done::Nothing),
        }
    }

    fn run_step(&mut self, step: &Step, made: &mut Made) -> Result<(), Error> {
        match step {
            Step::Enqueue { message, message_id, blob } => {
                made.messages.push(self.ledger.enqueue(message, *message_id, blob.as_ref())?);
                Ok(())
            }
            Step::Delete(fence) => self.ledger.delete_message(fence),
            Step::Release { fence, visible_after, counts } => {
                self.ledger.release(fence, *visible_after, *counts)
            }
            Step::Poison { fence, poison_queue, reason } => self.ledger.poison(fence, poison_queue, reason),
            Step::Upsert(document) => self.ledger.upsert(document),
            Step::InsertEntity(entity) => self.ledger.insert_entity(entity),
            Step::DeleteDocument { container, id, partition_key } => {
                self.ledger.delete_document(container, id, partition_key.as_deref())
            }
            Step::PutObject(object) => {
                made.tags.push(self.ledger.put_object(object)?);
                Ok(())
            }
            Step::DeleteObject(object) => self.ledger.delete_object(object),
            Step::DeleteObjects { container, prefix } => self.ledger.delete_objects(container, prefix),
            Step::RequireObject { container, name, is } => self.ledger.require_object(container, name, is),
            Step::Checkpoint(checkpoint) => self.ledger.save_checkpoint(checkpoint),
        }
    }

    fn set_synchronous(&mut self, is_synchronous: bool) -> Result<(), Error> {
        if self.is_synchronous != is_synchronous {
            let word = if is_synchronous { "FULL" } else { "NORMAL" };
            self.ledger.database.pragma(&format!("PRAGMA synchronous = {word}"))?;
            self.is_synchronous = is_synchronous;
        }
        Ok(())
    }

    fn roll_back(&mut self, error: &Error) {
        if self.ledger.database.is_in_transaction()
            && let Err(error) = self.ledger.database.run("ROLLBACK")
        {
            self.mark_broken("a transaction could not be taken back", &error);
        }
        self.ledger.forget();
        drop(self.ledger.committed());
        if matches!(error, Error::Corrupt { .. }) || is_machine_failure(error) {
            self.mark_broken("the disk failed", error);
        }
    }

    fn fail_at(&self, point: &'static str) -> Result<(), Error> {
        match self.faults.at(point) {
            Fault::None => Ok(()),
            Fault::Fail => Err(Error::injected(point)),
        }
    }

    /// Says so once; the callers that come later are told the reason.
    fn mark_broken(&mut self, what: &str, error: &Error) {
        if self.broken.is_some() || matches!(error, Error::DiskFull { .. }) {
            return;
        }
        let cause = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
        let reason = format!("{what} ({error}{cause})");
        tracing::error!(code = error.code(), %reason, "the store takes no more writes");
        self.broken = Some(reason);
    }

    fn close(mut self, reply: oneshot::Sender<Result<Done, Error>>) {
        self.keeper.stop();
        let answer = if self.broken.is_none() {
            // The database is whole without this; the next open only checks more.
            schema::hand_over(&self.ledger.database.connection)
                .map_err(|source| self.ledger.database.failed(source))
        } else {
            Ok(())
        };
        let Self { ledger, lock, jobs, .. } = self;
        drop(jobs);
        drop(ledger);
        drop(lock);
        drop(reply.send(answer.map(|()| Done::Nothing)));
    }
}

/// Whether nothing else in the same transaction can be trusted.
fn ends_group(error: &Error) -> bool {
    matches!(error, Error::DiskFull { .. } | Error::Corrupt { .. }) || is_machine_failure(error)
}

fn is_machine_failure(error: &Error) -> bool {
    let Error::Io { source, .. } = error else { return false };
    let code = source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(rusqlite::ErrorCode::SystemIoFailure | rusqlite::ErrorCode::ReadOnly))
}

fn answer_all(group: Vec<Job>, error: &Error) {
    for job in group {
        drop(job.reply.send(Err(error.clone())));
    }
}
