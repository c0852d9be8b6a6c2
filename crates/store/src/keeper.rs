//! Moves committed pages from the write-ahead log into the database, on a thread of its own, so that no commit
//! waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::Error;
use crate::ledger::Ledger;

/// Dirtied pages after which the keeper is woken: 4 MiB.
const WAKE_PAGES: usize = 1024;

/// Pages in the log after which the writer lends a hand: 64 MiB. While it writes without a pause the keeper never
/// reaches the end of the log, and only a log that was copied to its end is begun anew.
const HELP_PAGES: i64 = 16 * 1024;

pub(crate) struct Keeper {
    path: PathBuf,
    /// Begun when it is needed first: most stores of a server with many apps never grow so far.
    running: Option<Running>,
    /// Pages in the log when the keeper looked last.
    log_pages: Arc<AtomicI64>,
    dirtied: usize,
}

struct Running {
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, running: None, log_pages: Arc::default(), dirtied: 0 }
    }

    fn start(&self) -> Result<Running, Error> {
        let failed = |source| Error::sqlite(&self.path, "opening the database for checkpoints", source);
        let connection = Connection::open(&self.path).map_err(failed)?;
        connection.busy_timeout(Duration::ZERO).map_err(failed)?;
        connection
            .execute_batch(
                "PRAGMA wal_autocheckpoint = 0; PRAGMA checkpoint_fullfsync = ON; PRAGMA cache_size = -64;",
            )
            .map_err(failed)?;
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("ingle-store-keep".to_owned())
            .spawn({
                let log_pages = self.log_pages.clone();
                move || work(&connection, &woken, &log_pages)
            })
            .map_err(|source| Error::io("starting the store's keeper thread", source))?;
        Ok(Running { wake, thread })
    }

    pub(crate) fn add(&mut self, pages: usize) {
        self.dirtied += pages;
    }

    /// Called by the writer between two transactions.
    pub(crate) fn tend(&mut self, ledger: &Ledger) {
        if self.dirtied < WAKE_PAGES {
            return;
        }
        self.dirtied = 0;
        if self.log_pages.load(Ordering::Relaxed) > HELP_PAGES {
            self.log_pages.store(0, Ordering::Relaxed);
            if let Err(error) = ledger.database.row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(())) {
                tracing::warn!(%error, "a checkpoint failed; the log grows until the next one");
            }
        }
        self.wake();
    }

    fn wake(&mut self) {
        if self.running.is_none() {
            match self.start() {
                Ok(running) => self.running = Some(running),
                Err(error) => {
                    tracing::warn!(%error, "no checkpoint was made; the log grows until the next one")
                }
            }
        }
        if let Some(running) = &self.running {
            // Full means that it is awake already.
            running.wake.try_send(()).ok();
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(Running { wake, thread }) = self.running.take() {
            drop(wake);
            if thread.join().is_err() {
                tracing::error!("the store's keeper thread panicked");
            }
        }
    }
}

fn work(connection: &Connection, woken: &Receiver<()>, log_pages: &AtomicI64) {
    while woken.recv().is_ok() {
        // Only one checkpoint runs at a time: if the writer is at it, this one is busy and not needed.
        match connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| row.get::<_, i64>(1)) {
            Ok(pages) => log_pages.store(pages, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "a checkpoint failed; the log grows until the next one"),
        }
    }
}
