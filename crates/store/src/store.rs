//! The handle that everybody else holds.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use ingle_types::clock::{ClockHandle, unix_ms};
use ingle_types::faults::Faults;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::blob::Blobs;
use crate::checkpoint;
use crate::database::Database;
use crate::error::Error;
use crate::keeper::Keeper;
use crate::lock::DirectoryLock;
use crate::model::{
    Checkpoint, ContainerName, ContainerSummary, Document, NamedCheckpoint, Options, Reset, ResetReport,
};
use crate::model::{Entity, EntityQuery, TableSummary};
use crate::object::Hooks;
use crate::query::Query;
use crate::reader::{self, ReadJob};
use crate::schema;
use crate::step::partition_key_text;
use crate::table;
use crate::watch::{QueueWatch, Watches, container_key};
use crate::writer::{Done, Job, Request, Writer};

mod messages;

/// Jobs that may wait for the writer; then callers wait before they are let in.
const JOBS_MAX: usize = 4096;
const READS_MAX: usize = 1024;

/// A cheap handle to the store. When the last one is dropped the threads end; [`Store::close`] ends them in order
/// and makes the next open quicker.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    // Dropped in this order: the channels first, so that the threads end, then the threads are waited for.
    jobs: mpsc::Sender<Job>,
    reads: mpsc::Sender<ReadJob>,
    watches: Watches,
    blobs: Blobs,
    hooks: Hooks,
    /// Local copies of objects that are handed out.
    handed: PathBuf,
    /// Where others write files that become objects.
    spool: PathBuf,
    clock: ClockHandle,
    faults: Faults,
    _threads: Threads,
}

/// Waits for its threads when it is dropped, so that the directory is free afterwards.
struct Threads(Mutex<Vec<JoinHandle<()>>>);

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    /// Takes the directory and opens or makes the store in it. Blocks for the time of a few file operations, and
    /// after an unclean end for the time it takes to read the database once.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NewerSchema`], [`Error::Corrupt`], [`Error::DiskFull`] or [`Error::Io`].
    pub fn open(options: Options, clock: ClockHandle, faults: Faults) -> Result<Self, Error> {
        Self::open_limited(options, clock, faults, None)
    }

    /// Like `open`, with an end to how large the database may grow, as if the disk were full then.
    pub(crate) fn open_limited(
        options: Options,
        clock: ClockHandle,
        faults: Faults,
        pages_max: Option<u32>,
    ) -> Result<Self, Error> {
        let directory = options.directory;
        make_private(&directory).map_err(|source| {
            Error::io(format!("making the data directory {}", directory.display()), source)
        })?;
        let lock = DirectoryLock::take(&directory)?;
        let path = directory.join("ingle.db");
        let blobs = Blobs::open(directory.join("blobs"))?;
        let ledger = Writer::open_ledger(path.clone(), blobs.clone(), pages_max)?;
        let hooks = ledger.hooks.clone();
        let handed = directory.join("handed");
        let spool = directory.join("spool");
        // Nobody can hold one of a server that is gone.
        std::fs::remove_dir_all(&handed).ok();
        // Whoever takes over what was written into `spool` moves it there first.
        std::fs::remove_dir_all(directory.join("taken")).ok();
        std::fs::create_dir_all(&handed)
            .and_then(|()| std::fs::create_dir_all(&spool))
            .map_err(|source| Error::io("making the folder for large outputs", source))?;
        let view = Database::new(schema::open_for_reading(&path)?, path.clone(), "reading the store");
        let (jobs, job_queue) = mpsc::channel(JOBS_MAX);
        let (reads, read_queue) = mpsc::channel(READS_MAX);
        let watches = Watches::default();
        let writer = Writer {
            ledger,
            jobs: job_queue,
            group_max: options.group_max.max(1),
            clock: clock.clone(),
            faults: faults.clone(),
            watches: watches.clone(),
            keeper: Keeper::new(path),
            lock,
            broken: None,
            is_synchronous: true,
        };
        let threads = vec![
            spawn("ingle-store-write", move || writer.run())?,
            spawn("ingle-store-read", move || reader::run(view, read_queue))?,
        ];
        let inner = Inner {
            jobs,
            reads,
            watches,
            blobs,
            hooks,
            handed,
            spool,
            clock,
            faults,
            _threads: Threads(Mutex::new(threads)),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// One document by its id. Without a partition key the id must be unique in the container.
    ///
    /// # Errors
    /// [`Error::AmbiguousDocument`] if it is not; [`Error::PartitionKey`] for a key that is no plain value.
    pub async fn read_document(
        &self,
        container: &ContainerName,
        id: &str,
        partition_key: Option<&Value>,
    ) -> Result<Option<Document>, Error> {
        let (container, id) = (container.clone(), id.to_owned());
        let partition_key = partition_key.map(partition_key_text).transpose()?;
        self.read(move |database| reader::document(database, &container, &id, partition_key.as_deref())).await
    }

    /// Runs a query of the documented subset of Cosmos DB's SQL. Names of parameters may start with `@` or not.
    ///
    /// # Errors
    /// [`Error::Query`] with the position of what is wrong or not supported.
    pub async fn query_documents(
        &self,
        container: &ContainerName,
        sql: &str,
        parameters: &[(String, Value)],
    ) -> Result<Vec<Value>, Error> {
        let query = Query::parse(sql)?;
        let (container, parameters) = (container.clone(), parameters.to_vec());
        self.read(move |database| reader::query(database, &container, &query, &parameters)).await
    }

    /// The documents of a container that were changed after the change with this number, in the order of their
    /// changes: each in its latest version, deleted ones not at all. At most `count`, and fewer when they are large
    /// together, but at least one.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn changes(
        &self,
        container: &ContainerName,
        after: u64,
        count: u32,
    ) -> Result<Vec<Document>, Error> {
        let container = container.clone();
        self.read(move |database| reader::changes(database, &container, after, count)).await
    }

    /// Number of the last change of any document; 0 before the first one.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn last_change(&self) -> Result<u64, Error> {
        self.read(reader::last_change).await
    }

    /// The place from which the changes of a container can be followed that were made at `time` or later. With the
    /// resolution that times of documents have: a millisecond.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn last_change_before(
        &self,
        container: &ContainerName,
        time: SystemTime,
    ) -> Result<u64, Error> {
        let (container, time_ms) = (container.clone(), unix_ms(time));
        self.read(move |database| reader::last_change_before(database, &container, time_ms)).await
    }

    /// Tells when documents of the container are written. It may not exist yet.
    pub fn watch_container(&self, container: &ContainerName) -> QueueWatch {
        self.0.watches.watch(&container_key(container))
    }

    /// All containers by database and name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn containers(&self) -> Result<Vec<ContainerSummary>, Error> {
        self.read(reader::containers).await
    }

    /// The documents that were changed last, the latest first.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn documents(&self, container: &ContainerName, count: u32) -> Result<Vec<Document>, Error> {
        let container = container.clone();
        self.read(move |database| reader::documents(database, &container, count)).await
    }

    /// How far a listener has got; `None` if it has saved nothing yet.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn read_checkpoint(&self, consumer: &str) -> Result<Option<Checkpoint>, Error> {
        let consumer = consumer.to_owned();
        self.read(move |database| checkpoint::read(database, &consumer)).await
    }

    /// The checkpoints of all consumers whose names start with `prefix`, by name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn checkpoints(&self, prefix: &str) -> Result<Vec<NamedCheckpoint>, Error> {
        let prefix = prefix.to_owned();
        self.read(move |database| checkpoint::list(database, &prefix)).await
    }

    /// The entities that are asked for, by partition and row key. A table that does not exist has none.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn query_entities(&self, table: &str, query: EntityQuery) -> Result<Vec<Entity>, Error> {
        let table = table.to_owned();
        self.read(move |database| table::query(database, &table, &query)).await
    }

    /// All tables by name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`] or [`Error::Closed`].
    pub async fn tables(&self) -> Result<Vec<TableSummary>, Error> {
        self.read(table::tables).await
    }

    /// Removes everything that `what` names, leased messages too: whoever works on them loses the lease.
    ///
    /// # Errors
    /// [`Error::DiskFull`], [`Error::Io`], [`Error::Broken`] or [`Error::Closed`].
    pub async fn reset(&self, what: Reset) -> Result<ResetReport, Error> {
        match self.request(Request::Reset(what)).await? {
            Done::Reset(report) => Ok(report),
            Done::Nothing | Done::Committed(_) | Done::Leased(_) | Done::CaughtUp(_) => {
                Ok(ResetReport::default())
            }
        }
    }

    /// Finishes what was asked before, gives leases back, and lets go of the directory. Later calls get
    /// [`Error::Closed`].
    pub async fn close(&self) {
        let (stopped, wait) = oneshot::channel();
        if self.0.reads.send(ReadJob::Stop(stopped)).await.is_ok() {
            // An error means that it has stopped already.
            drop(wait.await);
        }
        match self.request(Request::Close).await {
            Ok(_) | Err(Error::Closed) => {}
            Err(error) => {
                tracing::warn!(%error, "the store did not close in order; the next start checks it")
            }
        }
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    pub(crate) fn faults(&self) -> &Faults {
        &self.0.faults
    }

    pub(crate) fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    /// A folder on the store's own file system, for files that are to become objects
    /// ([`ObjectContent::File`]). Whoever lets others write there empties it before.
    pub fn spool_folder(&self) -> &Path {
        &self.0.spool
    }

    /// Where copies of objects are, for functions that read them as files.
    pub fn handed_folder(&self) -> &Path {
        &self.0.handed
    }

    pub(crate) async fn request(&self, request: Request) -> Result<Done, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.jobs.send(Job { request, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        // A caller that stopped waiting needs no answer.
        let run = move |database: &Database| drop(reply.send(read(database)));
        self.0.reads.send(ReadJob::Run(Box::new(run))).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// Runs file operations where they block nobody.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|source| Error::io("a file operation", std::io::Error::other(source)))
}

/// Makes the folder if it is not there; what apps have given to the server is nobody else's to read.
fn make_private(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    // A folder of somebody else's that we may use stays as it is.
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).ok();
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(4 * 1024 * 1024)
        .spawn(work)
        .map_err(|source| Error::io("starting a thread of the store", source))
}
