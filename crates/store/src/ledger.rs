//! The writer's view of the database: its connection, what it remembers between transactions, and what has to
//! happen once the current transaction is committed. The steps themselves are in `queue` and `document`.

use std::collections::{HashMap, HashSet};

use crate::blob::{Blobs, Digest};
use crate::database::Database;
use crate::document::Container;
use crate::error::Error;
use crate::model::ContainerName;
use crate::object::Hooks;

pub(crate) struct Ledger {
    pub(crate) database: Database,
    pub(crate) blobs: Blobs,
    /// Wall time of the current group, in milliseconds since 1970.
    pub(crate) now_ms: i64,
    pub(crate) effects: Effects,
    pub(crate) counters: Counters,
    /// Who wants to hear of objects.
    pub(crate) hooks: Hooks,
    committed: Counters,
    queue_ids: HashMap<String, i64>,
    containers: HashMap<ContainerName, Container>,
}

/// What follows from a transaction once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Queues whose listeners should look again.
    pub(crate) queues: HashSet<String>,
    /// Large bodies that have lost a reference.
    pub(crate) dropped: Vec<Digest>,
}

/// Numbers that only grow, also when the row with the highest one is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) message_sequence: i64,
    pub(crate) change_number: i64,
}

impl Ledger {
    pub(crate) fn new(database: Database, blobs: Blobs) -> Result<Self, Error> {
        let mut ledger = Self {
            database,
            blobs,
            now_ms: 0,
            effects: Effects::default(),
            counters: Counters::default(),
            hooks: Hooks::default(),
            committed: Counters::default(),
            queue_ids: HashMap::new(),
            containers: HashMap::new(),
        };
        let number =
            |name| ledger.database.row("SELECT value FROM facts WHERE name = ?1", [name], |row| row.get(0));
        ledger.committed = Counters {
            message_sequence: number("message_sequence")?.unwrap_or(0),
            change_number: number("change_number")?.unwrap_or(0),
        };
        ledger.counters = ledger.committed;
        Ok(ledger)
    }

    /// Writes the counters into the transaction, once per group.
    pub(crate) fn save_counters(&mut self) -> Result<(), Error> {
        if self.counters != self.committed {
            let set = "UPDATE facts SET value = ?2 WHERE name = ?1";
            self.database.execute(set, ("message_sequence", self.counters.message_sequence))?;
            self.database.execute(set, ("change_number", self.counters.change_number))?;
        }
        Ok(())
    }

    /// The transaction is on disk: takes what follows from it.
    pub(crate) fn committed(&mut self) -> Effects {
        self.committed = self.counters;
        std::mem::take(&mut self.effects)
    }

    /// Something was rolled back. Rows that are remembered may not exist; numbers may stay unused.
    pub(crate) fn forget(&mut self) {
        self.queue_ids.clear();
        self.containers.clear();
    }

    pub(crate) fn queue_id(&mut self, queue: &str) -> Result<Option<i64>, Error> {
        if let Some(id) = self.queue_ids.get(queue) {
            return Ok(Some(*id));
        }
        let id = self.database.row("SELECT id FROM queues WHERE name = ?1", [queue], |row| row.get(0))?;
        if let Some(id) = id {
            self.queue_ids.insert(queue.to_owned(), id);
        }
        Ok(id)
    }

    /// The id of the queue, which is made if it does not exist.
    pub(crate) fn make_queue(&mut self, queue: &str) -> Result<i64, Error> {
        if let Some(id) = self.queue_id(queue)? {
            return Ok(id);
        }
        self.database.execute("INSERT INTO queues (name) VALUES (?1)", [queue])?;
        let id = self.database.connection.last_insert_rowid();
        self.queue_ids.insert(queue.to_owned(), id);
        Ok(id)
    }

    pub(crate) fn container(&mut self, name: &ContainerName) -> Result<Option<Container>, Error> {
        if let Some(container) = self.containers.get(name) {
            return Ok(Some(container.clone()));
        }
        let container =
            self.database.row(Container::FIND, (&name.database, &name.container), Container::from_row)?;
        if let Some(container) = &container {
            self.containers.insert(name.clone(), container.clone());
        }
        Ok(container)
    }
}
