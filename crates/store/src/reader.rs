//! The thread that reads, on a connection of its own: it sees what is committed and never waits for the writer.

use std::collections::BTreeMap;

use bytes::Bytes;
use ingle_types::clock::from_unix_ms;
use rusqlite::Row;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::blob::{Blobs, Digest};
use crate::database::Database;
use crate::document::{self, Container};
use crate::error::Error;
use crate::model::{
    ContainerName, ContainerSummary, Document, MessageState, PeekedMessage, Poison, QueueSummary,
};
use crate::query::Query;

pub(crate) enum ReadJob {
    Run(Box<dyn FnOnce(&Database) + Send>),
    Stop(oneshot::Sender<()>),
}

/// Reads until it is told to stop or nobody is left who could ask.
pub(crate) fn run(database: Database, mut jobs: mpsc::Receiver<ReadJob>) {
    while let Some(job) = jobs.blocking_recv() {
        match job {
            ReadJob::Run(read) => read(&database),
            ReadJob::Stop(stopped) => {
                drop(jobs);
                drop(database);
                // Nobody waiting for it is fine.
                stopped.send(()).ok();
                return;
            }
        }
    }
}

const QUEUE_ID: &str = "SELECT id FROM queues WHERE name = ?1";

pub(crate) fn next_visible_at_ms(database: &Database, queue: &str) -> Result<Option<i64>, Error> {
    let Some(queue_id) = queue_id(database, queue)? else { return Ok(None) };
    let sql = "SELECT MIN(visible_at_ms) FROM messages WHERE queue_id = ?1 AND state <> 0";
    Ok(database.row(sql, [queue_id], |row| row.get(0))?.flatten())
}

fn queue_id(database: &Database, queue: &str) -> Result<Option<i64>, Error> {
    database.row(QUEUE_ID, [queue], |row| row.get(0))
}

/// Counts from the two small indexes; a message that is due counts as ready although nobody has asked for it yet.
pub(crate) fn queues(database: &Database, now_ms: i64) -> Result<Vec<QueueSummary>, Error> {
    let mut queues: BTreeMap<i64, (QueueSummary, Option<i64>)> = database
        .rows("SELECT id, name FROM queues", (), |row| {
            let summary = QueueSummary { name: row.get(1)?, ready: 0, leased: 0, delayed: 0, oldest: None };
            Ok((row.get(0)?, (summary, None)))
        })?
        .into_iter()
        .collect();
    let counts = "SELECT queue_id, 0, COUNT(*), MIN(sequence) FROM messages WHERE state = 0 GROUP BY queue_id
         UNION ALL
         SELECT queue_id, CASE WHEN visible_at_ms <= ?1 THEN 0 ELSE state END AS shown, COUNT(*), MIN(sequence)
         FROM messages WHERE state <> 0 GROUP BY queue_id, shown";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, u8>(1)?, count(row, 2)?, row.get(3)?));
    for (queue_id, state, messages, first) in database.rows(counts, [now_ms], read)? {
        let first: i64 = first;
        if let Some((summary, oldest)) = queues.get_mut(&queue_id) {
            match state {
                0 => summary.ready += messages,
                1 => summary.delayed += messages,
                _ => summary.leased += messages,
            }
            *oldest = Some(oldest.map_or(first, |oldest: i64| oldest.min(first)));
        }
    }
    let mut summaries = Vec::with_capacity(queues.len());
    for (mut summary, oldest) in queues.into_values() {
        let sql = "SELECT inserted_at_ms FROM messages WHERE sequence = ?1";
        summary.oldest = database.row(sql, [oldest], |row| row.get(0))?.map(from_unix_ms);
        summaries.push(summary);
    }
    summaries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(summaries)
}

/// The next messages in the order of delivery: those that are ready, then the others as they become visible.
pub(crate) fn peek(
    database: &Database,
    blobs: &Blobs,
    queue: &str,
    count: u32,
    now_ms: i64,
) -> Result<Vec<PeekedMessage>, Error> {
    let Some(queue_id) = queue_id(database, queue)? else { return Ok(Vec::new()) };
    let columns = "message_id, state, visible_at_ms, dequeue_count, inserted_at_ms, expires_at_ms, hop_count,
         trace_parent, poison_reason, poison_queue, poison_attempts, digest, body";
    let ready = format!(
        "SELECT {columns} FROM messages WHERE queue_id = ?1 AND state = 0 ORDER BY sequence LIMIT ?2"
    );
    let waiting = format!(
        "SELECT {columns} FROM messages WHERE queue_id = ?1 AND state <> 0 ORDER BY visible_at_ms LIMIT ?2"
    );
    let mut messages = Vec::new();
    for sql in [ready, waiting] {
        let left = count.saturating_sub(u32::try_from(messages.len()).unwrap_or(u32::MAX));
        for (mut message, digest) in database.rows(&sql, (queue_id, left), |row| peeked(row, now_ms))? {
            if let Some(digest) = digest {
                // The file goes after the row: a message that was finished just now is not shown.
                let Ok(body) = blobs.read(&digest) else { continue };
                message.body = body.into();
            }
            messages.push(message);
        }
    }
    Ok(messages)
}

fn peeked(row: &Row<'_>, now_ms: i64) -> rusqlite::Result<(PeekedMessage, Option<Digest>)> {
    let visible_at_ms: i64 = row.get(2)?;
    let state = match row.get::<_, u8>(1)? {
        1 if visible_at_ms > now_ms => MessageState::Delayed,
        2 if visible_at_ms > now_ms => MessageState::Leased,
        _ => MessageState::Ready,
    };
    let poison = match row.get::<_, Option<String>>(8)? {
        Some(reason) => Some(Poison { reason, queue: row.get(9)?, attempts: row.get(10)? }),
        None => None,
    };
    let message = PeekedMessage {
        message_id: Uuid::from_bytes(row.get(0)?).to_string(),
        state,
        body: row.get_ref(12)?.as_blob_or_null()?.map_or_else(Bytes::new, Bytes::copy_from_slice),
        dequeue_count: row.get(3)?,
        inserted_at: from_unix_ms(row.get(4)?),
        expires_at: from_unix_ms(row.get(5)?),
        next_visible_at: from_unix_ms(visible_at_ms),
        hop_count: row.get(6)?,
        trace_parent: row.get(7)?,
        poison,
    };
    Ok((message, row.get(11)?))
}

pub(crate) fn containers(database: &Database) -> Result<Vec<ContainerSummary>, Error> {
    database.rows(
        "SELECT database, name, partition_key_path, COUNT(documents.number), MAX(updated_at_ms)
         FROM containers LEFT JOIN documents ON documents.container_id = containers.id
         GROUP BY containers.id ORDER BY database, name",
        (),
        |row| {
            Ok(ContainerSummary {
                name: ContainerName { database: row.get(0)?, container: row.get(1)? },
                partition_key_path: row.get(2)?,
                documents: count(row, 3)?,
                updated_at: row.get::<_, Option<i64>>(4)?.map(from_unix_ms),
            })
        },
    )
}

/// The documents that were changed last, the latest first.
pub(crate) fn documents(
    database: &Database,
    name: &ContainerName,
    count: u32,
) -> Result<Vec<Document>, Error> {
    let Some(container) = container(database, name)? else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT {} FROM documents WHERE container_id = ?1 ORDER BY change_number DESC LIMIT ?2",
        document::COLUMNS
    );
    let rows = database.rows(&sql, (container.id, count), document::from_row)?;
    rows.into_iter().map(|row| readable(database, row)).collect()
}

/// Bytes of JSON text after which a batch of changes is full.
const CHANGES_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// Those that were changed after that change, the earliest first.
pub(crate) fn changes(
    database: &Database,
    name: &ContainerName,
    after: u64,
    count: u32,
) -> Result<Vec<Document>, Error> {
    let Some(container) = container(database, name)? else { return Ok(Vec::new()) };
    // The sum over those before needs only the lengths, not the texts.
    let sql = format!(
        "SELECT {0} FROM (
             SELECT {0}, SUM(octet_length(body)) OVER (ORDER BY change_number) - octet_length(body) AS before
             FROM (SELECT {0} FROM documents WHERE container_id = ?1 AND change_number > ?2
                 ORDER BY change_number LIMIT ?3))
         WHERE before < ?4 ORDER BY change_number",
        document::COLUMNS
    );
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = database.rows(&sql, (container.id, after, count, CHANGES_BYTES_MAX), document::from_row)?;
    rows.into_iter().map(|row| readable(database, row)).collect()
}

pub(crate) fn last_change(database: &Database) -> Result<u64, Error> {
    let sql = "SELECT value FROM facts WHERE name = 'change_number'";
    let number: Option<i64> = database.row(sql, (), |row| row.get(0))?;
    Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0))
}

/// The number before the first change of the container that was made at `time_ms` (since 1970) or later; without such
/// a change, that of the last one. By the first one later and not the last one earlier: after the clock was set back,
/// a change may come that is too old, but none is missed.
pub(crate) fn last_change_before(
    database: &Database,
    name: &ContainerName,
    time_ms: i64,
) -> Result<u64, Error> {
    let last = last_change(database)?;
    let Some(container) = container(database, name)? else { return Ok(last) };
    let sql = "SELECT MIN(change_number) FROM documents WHERE container_id = ?1 AND updated_at_ms >= ?2";
    let first: Option<Option<i64>> = database.row(sql, (container.id, time_ms), |row| row.get(0))?;
    let first = first.flatten().and_then(|number| u64::try_from(number).ok());
    Ok(first.map_or(last, |number| number.saturating_sub(1)))
}

pub(crate) fn document(
    database: &Database,
    name: &ContainerName,
    id: &str,
    partition_key: Option<&str>,
) -> Result<Option<Document>, Error> {
    let Some(container) = container(database, name)? else { return Ok(None) };
    let sql = format!(
        "SELECT {} FROM documents
         WHERE container_id = ?1 AND id = ?2 AND (?3 IS NULL OR partition_key = ?3) LIMIT 2",
        document::COLUMNS
    );
    let mut rows = database.rows(&sql, (container.id, id, partition_key), document::from_row)?;
    let second = if rows.len() > 1 { rows.pop() } else { None };
    let first = rows.pop().map(|row| readable(database, row)).transpose()?;
    if let (Some(first), Some(second)) = (&first, second) {
        let second = readable(database, second)?.partition_key.to_string();
        return Err(document::ambiguous(name, id, &first.partition_key.to_string(), &second));
    }
    Ok(first)
}

/// Runs the query over every document of the container. One that does not exist has none.
pub(crate) fn query(
    database: &Database,
    name: &ContainerName,
    query: &Query,
    parameters: &[(String, Value)],
) -> Result<Vec<Value>, Error> {
    let mut run = query.start(parameters)?;
    if let Some(container) = container(database, name)? {
        // In the order of creation, as Cosmos DB answers without ORDER BY. The inner query sorts only numbers,
        // so no document has to pass through a sorter.
        let sql = format!(
            "SELECT {} FROM documents
             WHERE number IN (SELECT number FROM documents WHERE container_id = ?1) ORDER BY number",
            document::COLUMNS
        );
        database.each(&sql, [container.id], |row| {
            let row = document::from_row(row).map_err(|source| database.failed(source))?;
            run.visit(&readable(database, row)?.body);
            Ok(())
        })?;
    }
    Ok(run.finish())
}

/// The result of `COUNT`.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

fn container(database: &Database, name: &ContainerName) -> Result<Option<Container>, Error> {
    database.row(Container::FIND, (&name.database, &name.container), Container::from_row)
}

fn readable(database: &Database, row: Result<Document, serde_json::Error>) -> Result<Document, Error> {
    row.map_err(|source| database.corrupt(format!("a stored document is no JSON: {source}")))
}
