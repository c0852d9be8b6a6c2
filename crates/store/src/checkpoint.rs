//! Checkpoints: how far each listener has safely got. Saved with compare-and-set, so that of two owners who both
//! believe in their right only one goes on (a fencing token, as with leases).

use ingle_types::clock::from_unix_ms;
use rusqlite::Row;

use crate::database::Database;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::model::{Checkpoint, NamedCheckpoint};

/// A checkpoint to be written.
#[derive(Debug)]
pub(crate) struct NewCheckpoint {
    pub(crate) consumer: String,
    pub(crate) follows: u64,
    pub(crate) value: String,
}

impl Ledger {
    pub(crate) fn save_checkpoint(&mut self, new: &NewCheckpoint) -> Result<(), Error> {
        let moved = || Error::CheckpointMoved { consumer: new.consumer.clone(), follows: new.follows };
        // A number that no row can have follows nothing.
        let follows = i64::try_from(new.follows).map_err(|_too_large| moved())?;
        let changed = if follows == 0 {
            self.database.execute(
                "INSERT INTO checkpoints (consumer, version, updated_at_ms, value) VALUES (?1, 1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
                (&new.consumer, self.now_ms, &new.value),
            )?
        } else {
            self.database.execute(
                "UPDATE checkpoints SET version = version + 1, updated_at_ms = ?3, value = ?4
                 WHERE consumer = ?1 AND version = ?2",
                (&new.consumer, follows, self.now_ms, &new.value),
            )?
        };
        if changed == 0 { Err(moved()) } else { Ok(()) }
    }
}

pub(crate) fn read(database: &Database, consumer: &str) -> Result<Option<Checkpoint>, Error> {
    let sql = "SELECT version, updated_at_ms, value FROM checkpoints WHERE consumer = ?1";
    database.row(sql, [consumer], |row| from_row(row, 0))
}

/// By consumer.
pub(crate) fn list(database: &Database, prefix: &str) -> Result<Vec<NamedCheckpoint>, Error> {
    database.rows(
        "SELECT consumer, version, updated_at_ms, value FROM checkpoints
         WHERE substr(consumer, 1, length(?1)) = ?1 ORDER BY consumer",
        [prefix],
        |row| Ok(NamedCheckpoint { consumer: row.get(0)?, checkpoint: from_row(row, 1)? }),
    )
}

fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Checkpoint> {
    Ok(Checkpoint {
        version: u64::try_from(row.get::<_, i64>(first)?).unwrap_or(0),
        updated_at: from_unix_ms(row.get(first + 1)?),
        value: row.get(first + 2)?,
    })
}
