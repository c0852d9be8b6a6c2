//! Opening the database: settings, schema versions, and the check after an unclean end.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::blob::{Blobs, Digest};
use crate::error::Error;

/// One entry per schema version; `user_version` counts how many have run. Never edit one, add one.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO facts VALUES ('closed_cleanly', 1), ('message_sequence', 0), ('change_number', 0);

    CREATE TABLE queues (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

    -- state: 0 ready, 1 delayed, 2 leased. The body comes last, so that the rest is read without it.
    CREATE TABLE messages (
        sequence       INTEGER PRIMARY KEY,
        queue_id       INTEGER NOT NULL,
        state          INTEGER NOT NULL,
        visible_at_ms  INTEGER NOT NULL,
        expires_at_ms  INTEGER NOT NULL,
        inserted_at_ms INTEGER NOT NULL,
        dequeue_count  INTEGER NOT NULL,
        lost_count     INTEGER NOT NULL,
        lease_number   INTEGER NOT NULL,
        hop_count      INTEGER NOT NULL,
        message_id     BLOB NOT NULL,
        trace_parent   TEXT NOT NULL,
        poison_reason  TEXT,
        poison_queue   TEXT,
        poison_attempts INTEGER,
        digest         BLOB,
        body           BLOB
    ) STRICT;
    CREATE INDEX messages_ready ON messages (queue_id, sequence) WHERE state = 0;
    CREATE INDEX messages_waiting ON messages (queue_id, visible_at_ms, state) WHERE state <> 0;
    CREATE INDEX messages_digest ON messages (digest) WHERE digest IS NOT NULL;

    CREATE TABLE containers (
        id                 INTEGER PRIMARY KEY,
        database           TEXT NOT NULL,
        name               TEXT NOT NULL,
        partition_key_path TEXT NOT NULL,
        UNIQUE (database, name)
    ) STRICT;

    -- partition_key: JSON text, {} for none. change_number: for a feed of changes.
    CREATE TABLE documents (
        number        INTEGER PRIMARY KEY,
        container_id  INTEGER NOT NULL,
        id            TEXT NOT NULL,
        partition_key TEXT NOT NULL,
        etag          TEXT NOT NULL,
        updated_at_ms INTEGER NOT NULL,
        change_number INTEGER NOT NULL,
        body          TEXT NOT NULL,
        UNIQUE (container_id, id, partition_key)
    ) STRICT;
    CREATE INDEX documents_changed ON documents (container_id, change_number);
",
    "
    CREATE TABLE checkpoints (
        consumer      TEXT PRIMARY KEY,
        version       INTEGER NOT NULL,
        updated_at_ms INTEGER NOT NULL,
        value         TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Names of tables are one name in any case. body: JSON text without the keys.
    CREATE TABLE tables (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE) STRICT;

    CREATE TABLE entities (
        number        INTEGER PRIMARY KEY,
        table_id      INTEGER NOT NULL,
        partition_key TEXT NOT NULL,
        row_key       TEXT NOT NULL,
        etag          TEXT NOT NULL,
        updated_at_ms INTEGER NOT NULL,
        body          TEXT NOT NULL,
        UNIQUE (table_id, partition_key, row_key)
    ) STRICT;
",
    "
    CREATE TABLE object_containers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

    -- metadata: a JSON object of texts. Either digest or body, which comes last.
    CREATE TABLE objects (
        number        INTEGER PRIMARY KEY,
        container_id  INTEGER NOT NULL,
        name          TEXT NOT NULL,
        change_number INTEGER NOT NULL,
        size          INTEGER NOT NULL,
        content_type  TEXT NOT NULL,
        metadata      TEXT NOT NULL,
        updated_at_ms INTEGER NOT NULL,
        digest        BLOB,
        body          BLOB,
        UNIQUE (container_id, name)
    ) STRICT;
    CREATE INDEX objects_digest ON objects (digest) WHERE digest IS NOT NULL;
    CREATE INDEX objects_of_container ON objects (container_id, number);

    -- Which change of an object a reader has been told of.
    CREATE TABLE object_receipts (
        object_number INTEGER NOT NULL,
        reader        TEXT NOT NULL,
        change_number INTEGER NOT NULL,
        PRIMARY KEY (object_number, reader)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- Functions whose work led to this version.
    ALTER TABLE documents ADD COLUMN hop_count INTEGER NOT NULL DEFAULT 0;
",
    "
    -- What a message has besides its body: JSON text of whoever put it in.
    ALTER TABLE messages ADD COLUMN attributes TEXT;
",
    "
    -- Messages of one group come one after the other; the index has those for which the others of their group wait.
    ALTER TABLE messages ADD COLUMN group_name TEXT;
    CREATE INDEX messages_held ON messages (queue_id, group_name) WHERE group_name IS NOT NULL AND state <> 0;

    -- Ids of messages that are not put in again before this time, and what was told of them.
    CREATE TABLE sent_once (
        queue_id   INTEGER NOT NULL,
        id         TEXT NOT NULL,
        until_ms   INTEGER NOT NULL,
        message_id BLOB NOT NULL,
        sequence   INTEGER NOT NULL,
        PRIMARY KEY (queue_id, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sent_once_until ON sent_once (until_ms);
",
    "
    -- When whoever works on a message wants it to come again if that fails.
    ALTER TABLE messages ADD COLUMN wanted_at_ms INTEGER;
    -- Messages whose group has to wait are passed over without a look at their rows, and many of them by their groups.
    DROP INDEX messages_ready;
    CREATE INDEX messages_ready ON messages (queue_id, sequence, group_name) WHERE state = 0;
    CREATE INDEX messages_grouped ON messages (queue_id, group_name, sequence)
        WHERE state = 0 AND group_name IS NOT NULL;
",
    "
    -- headers: a JSON object of texts. part_count: of an object that came in parts. The table is made anew, as what stands
    -- behind a body can't be read without it.
    CREATE TABLE objects_with_headers (
        number        INTEGER PRIMARY KEY,
        container_id  INTEGER NOT NULL,
        name          TEXT NOT NULL,
        change_number INTEGER NOT NULL,
        size          INTEGER NOT NULL,
        content_type  TEXT NOT NULL,
        metadata      TEXT NOT NULL,
        headers       TEXT NOT NULL,
        part_count    INTEGER,
        updated_at_ms INTEGER NOT NULL,
        digest        BLOB,
        body          BLOB,
        UNIQUE (container_id, name)
    ) STRICT;
    INSERT INTO objects_with_headers
        SELECT number, container_id, name, change_number, size, content_type, metadata, '{}', NULL,
            updated_at_ms, digest, body
        FROM objects;
    DROP TABLE objects;
    ALTER TABLE objects_with_headers RENAME TO objects;
    CREATE INDEX objects_digest ON objects (digest) WHERE digest IS NOT NULL;
    CREATE INDEX objects_of_container ON objects (container_id, number);
",
];

/// How many times a delivery that was lost with the whole server is not counted as an attempt.
///
/// A restart is nobody's fault, so a message that was in work at that time keeps its attempts. But a message
/// that ends the server each time it is worked on must run out of attempts some day, or it does so for ever.
const LOST_DELIVERIES_FORGIVEN: u32 = 10;

/// Opens the database for the writer, brings it to the current schema, and checks it if the last owner did not
/// close it. Nothing is written before the version is known to be ours.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let failed = |source| Error::sqlite(path, "opening the database", source);
    let mut connection = Connection::open(path).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found: i64 = connection.query_row("PRAGMA user_version", (), |row| row.get(0)).map_err(failed)?;
    if found > known {
        return Err(Error::NewerSchema { path: path.to_owned(), found, known });
    }
    settings(&connection).map_err(failed)?;
    migrate(&mut connection, found).map_err(failed)?;
    if !closed_cleanly(&connection).map_err(failed)? {
        check(&connection, path)?;
    }
    Ok(connection)
}

/// A second connection that sees only what is committed and can't write.
pub(crate) fn open_for_reading(path: &Path) -> Result<Connection, Error> {
    let failed = |source| Error::sqlite(path, "opening the database for reading", source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
    // Checkpoints belong to the keeper thread; macOS needs fullfsync for a commit to be on disk.
    connection.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA fullfsync = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192;",
    )
}

fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    for (version, migration) in (1_i64..).zip(MIGRATIONS) {
        if version > found {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

fn closed_cleanly(connection: &Connection) -> rusqlite::Result<bool> {
    let value: Option<i64> = connection
        .query_row("SELECT value FROM facts WHERE name = 'closed_cleanly'", (), |row| row.get(0))
        .optional()?;
    Ok(value == Some(1))
}

/// Reads every page after an unclean end (T-072).
fn check(connection: &Connection, path: &Path) -> Result<(), Error> {
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", (), |row| row.get(0))
        .map_err(|source| Error::sqlite(path, "checking the database", source))?;
    if answer == "ok" { Ok(()) } else { Err(Error::Corrupt { path: path.to_owned(), detail: answer }) }
}

/// Starts the new owner's time: all leases are void, and only files of large bodies that somebody refers to stay.
///
/// Leases belong to the process that owns the store, so none can be held now.
pub(crate) fn take_over(connection: &Connection, path: &Path, blobs: &Blobs) -> Result<(), Error> {
    let failed = |source| Error::sqlite(path, "taking over the database", source);
    connection
        .execute(
            "UPDATE messages SET state = 0, lease_number = lease_number + 1, lost_count = lost_count + 1,
                 dequeue_count = dequeue_count - (lost_count < ?1)
             WHERE sequence IN (SELECT sequence FROM messages INDEXED BY messages_waiting WHERE state <> 0 AND state = 2)",
            [LOST_DELIVERIES_FORGIVEN],
        )
        .map_err(failed)?;
    connection.execute("UPDATE facts SET value = 0 WHERE name = 'closed_cleanly'", ()).map_err(failed)?;
    blobs.sweep(&referenced(connection).map_err(failed)?)
}

/// Gives back what is still leased, so that the next open does not count it as lost, and notes the clean end.
pub(crate) fn hand_over(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "BEGIN IMMEDIATE;
         UPDATE messages SET state = 0, lease_number = lease_number + 1, dequeue_count = dequeue_count - 1
             WHERE sequence IN
                 (SELECT sequence FROM messages INDEXED BY messages_waiting WHERE state <> 0 AND state = 2);
         UPDATE facts SET value = 1 WHERE name = 'closed_cleanly';
         COMMIT;",
    )?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
}

fn referenced(connection: &Connection) -> rusqlite::Result<HashSet<Digest>> {
    let mut statement = connection.prepare(
        "SELECT digest FROM messages WHERE digest IS NOT NULL
         UNION SELECT digest FROM objects WHERE digest IS NOT NULL",
    )?;
    let rows = statement.query_map((), |row| row.get::<_, Digest>(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_an_older_store_stay() {
        let mut connection = Connection::open_in_memory().unwrap();
        let of_headers = MIGRATIONS.iter().position(|sql| sql.contains("objects_with_headers")).unwrap();
        for migration in &MIGRATIONS[..of_headers] {
            connection.execute_batch(migration).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO objects VALUES (7, 1, 'a', 3, 5, 'text/plain', '{\"by\":\"Ann\"}', 9, NULL, x'6869')",
            )
            .unwrap();
        migrate(&mut connection, i64::try_from(of_headers).unwrap()).unwrap();
        let found: (i64, String, String, Vec<u8>, Option<u32>) = connection
            .query_row(
                "SELECT number, metadata, headers, body, part_count FROM objects INDEXED BY objects_of_container
                 WHERE container_id = 1",
                (),
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
            )
            .unwrap();
        assert_eq!(found, (7, "{\"by\":\"Ann\"}".to_owned(), "{}".to_owned(), b"hi".to_vec(), None));
    }
}
