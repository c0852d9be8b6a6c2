//! Messages: what each step does to the rows, on the writer's connection.

use std::time::Duration;

use bytes::Bytes;
use ingle_types::clock::from_unix_ms;
use rusqlite::Row;
use uuid::Uuid;

use crate::blob::{Digest, Pin};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::model::{LeasedMessage, NewMessage, Once, Reset, ResetReport, Sent};
use crate::step::Fence;

/// The last millisecond of the year 9999, which stands for "never" in Azure's queues.
const NEVER_MS: i64 = 253_402_300_799_999;
/// Ready messages among which the next are looked for one by one.
const FIRST_LOOKED_AT: i64 = 500;

/// A leased message; the body of a large one is still in its file.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) message: LeasedMessage,
    pub(crate) blob: Option<Pin>,
}

/// A row that is about to be leased.
struct Candidate {
    sequence: i64,
    message_id: Uuid,
    lease_number: i64,
    dequeue_count: u32,
    inserted_at_ms: i64,
    expires_at_ms: i64,
    hop_count: u32,
    trace_parent: String,
    digest: Option<Digest>,
    body: Bytes,
    attributes: Option<String>,
    group: Option<String>,
}

impl Candidate {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let body = row.get_ref(9)?.as_blob_or_null()?.map_or_else(Bytes::new, Bytes::copy_from_slice);
        Ok(Self {
            sequence: row.get(0)?,
            message_id: Uuid::from_bytes(row.get(1)?),
            lease_number: row.get(2)?,
            dequeue_count: row.get(3)?,
            inserted_at_ms: row.get(4)?,
            expires_at_ms: row.get(5)?,
            hop_count: row.get(6)?,
            trace_parent: row.get(7)?,
            digest: row.get(8)?,
            body,
            attributes: row.get(10)?,
            group: row.get(11)?,
        })
    }
}

impl Ledger {
    pub(crate) fn after(&self, delay: Duration) -> i64 {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(NEVER_MS);
        self.now_ms.saturating_add(delay_ms).min(NEVER_MS)
    }

    fn next_sequence(&mut self) -> i64 {
        self.counters.message_sequence += 1;
        self.counters.message_sequence
    }

    fn queue_changed(&mut self, queue: &str) {
        if !self.effects.queues.contains(queue) {
            self.effects.queues.insert(queue.to_owned());
        }
    }

    pub(crate) fn enqueue(
        &mut self,
        message: &NewMessage,
        id: Uuid,
        blob: Option<&Pin>,
    ) -> Result<Sent, Error> {
        let queue_id = self.make_queue(&message.queue)?;
        if let Some(sent) =
            message.once.as_ref().map(|once| self.sent_before(queue_id, once)).transpose()?.flatten()
        {
            // No row refers to its file.
            self.effects.dropped.extend(blob.map(|pin| pin.digest));
            return Ok(sent);
        }
        let sequence = self.next_sequence();
        let expires_at_ms = message.time_to_live.map_or(NEVER_MS, |life| self.after(life));
        let body = if blob.is_some() { None } else { Some(&message.body[..]) };
        self.database.execute(
            "INSERT INTO messages (sequence, queue_id, state, visible_at_ms, expires_at_ms, inserted_at_ms,
                 dequeue_count, lost_count, lease_number, hop_count, message_id, trace_parent, digest, body,
                 attributes, group_name)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            rusqlite::params![
                sequence,
                queue_id,
                u8::from(!message.visible_after.is_zero()),
                self.after(message.visible_after),
                expires_at_ms,
                self.now_ms,
                message.hop_count,
                id.as_bytes(),
                message.trace_parent,
                blob.map(|pin| pin.digest),
                body,
                message.attributes,
                message.group,
            ],
        )?;
        if let Some(once) = &message.once {
            self.database.execute(
                "INSERT INTO sent_once (queue_id, id, until_ms, message_id, sequence) VALUES (?1, ?2, ?3, ?4, ?5)",
                (queue_id, &once.id, self.after(once.within), id.as_bytes(), sequence),
            )?;
        }
        self.queue_changed(&message.queue);
        Ok(sent(id, sequence))
    }

    /// What a message with this id got that was put in not long ago. Forgets all that was put in longer ago.
    fn sent_before(&mut self, queue_id: i64, once: &Once) -> Result<Option<Sent>, Error> {
        self.database.execute("DELETE FROM sent_once WHERE until_ms <= ?1", [self.now_ms])?;
        self.database.row(
            "SELECT message_id, sequence FROM sent_once WHERE queue_id = ?1 AND id = ?2",
            (queue_id, &once.id),
            |row| Ok(sent(Uuid::from_bytes(row.get(0)?), row.get(1)?)),
        )
    }

    /// A lease that has run out still counts while nobody else has taken the message: the work is done, and
    /// refusing it would only do it twice.
    pub(crate) fn delete_message(&mut self, fence: &Fence) -> Result<(), Error> {
        let queue_id = self.queue_id(&fence.queue)?.ok_or_else(|| fence.lost())?;
        let (digest, has_group): (Option<Digest>, bool) = self
            .database
            .row(
                "DELETE FROM messages
                 WHERE sequence = ?1 AND queue_id = ?2 AND lease_number = ?3 AND message_id = ?4
                 RETURNING digest, group_name IS NOT NULL",
                (fence.sequence, queue_id, fence.lease_number, fence.message_id.as_bytes()),
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .ok_or_else(|| fence.lost())?;
        self.effects.dropped.extend(digest);
        if has_group {
            // Others of the group may have waited for its end.
            self.queue_changed(&fence.queue);
        }
        Ok(())
    }

    /// Gives a message back: after the delay, or when its holder has said that it wants it.
    pub(crate) fn release(&mut self, fence: &Fence, delay: Duration, counts: bool) -> Result<(), Error> {
        let queue_id = self.queue_id(&fence.queue)?.ok_or_else(|| fence.lost())?;
        let changed = self.database.execute(
            "UPDATE messages SET state = COALESCE(wanted_at_ms, ?5) > ?6, visible_at_ms = COALESCE(wanted_at_ms, ?5),
                 wanted_at_ms = NULL, lease_number = lease_number + 1, dequeue_count = MAX(0, dequeue_count - ?7)
             WHERE sequence = ?1 AND queue_id = ?2 AND lease_number = ?3 AND message_id = ?4",
            (
                fence.sequence,
                queue_id,
                fence.lease_number,
                fence.message_id.as_bytes(),
                self.after(delay),
                self.now_ms,
                u8::from(!counts),
            ),
        )?;
        self.queue_changed(&fence.queue);
        if changed == 0 { Err(fence.lost()) } else { Ok(()) }
    }

    /// Moves the row to the end of the poison queue, where its attempts start anew and it never expires.
    pub(crate) fn poison(&mut self, fence: &Fence, poison_queue: &str, reason: &str) -> Result<(), Error> {
        let queue_id = self.queue_id(&fence.queue)?.ok_or_else(|| fence.lost())?;
        let poison_id = self.make_queue(poison_queue)?;
        let sequence = self.next_sequence();
        let changed = self.database.execute(
            "UPDATE messages SET sequence = ?5, queue_id = ?6, state = 0, visible_at_ms = ?7, expires_at_ms = ?8,
                 lease_number = lease_number + 1, poison_attempts = dequeue_count, dequeue_count = 0,
                 lost_count = 0, poison_queue = ?9, poison_reason = ?10
             WHERE sequence = ?1 AND queue_id = ?2 AND lease_number = ?3 AND message_id = ?4",
            (
                fence.sequence,
                queue_id,
                fence.lease_number,
                fence.message_id.as_bytes(),
                sequence,
                poison_id,
                self.now_ms,
                NEVER_MS,
                &fence.queue,
                reason,
            ),
        )?;
        self.queue_changed(&fence.queue);
        self.queue_changed(poison_queue);
        if changed == 0 { Err(fence.lost()) } else { Ok(()) }
    }

    /// `is_wanted`: this is also when the message is to come again, if the work on it fails.
    pub(crate) fn extend(
        &mut self,
        fence: &Fence,
        lease_for: Duration,
        is_wanted: bool,
    ) -> Result<(), Error> {
        let queue_id = self.queue_id(&fence.queue)?.ok_or_else(|| fence.lost())?;
        let changed = self.database.execute(
            "UPDATE messages SET state = 2, visible_at_ms = ?5, wanted_at_ms = IIF(?6, ?5, wanted_at_ms)
             WHERE sequence = ?1 AND queue_id = ?2 AND lease_number = ?3 AND message_id = ?4",
            (
                fence.sequence,
                queue_id,
                fence.lease_number,
                fence.message_id.as_bytes(),
                self.after(lease_for),
                is_wanted,
            ),
        )?;
        if changed == 0 { Err(fence.lost()) } else { Ok(()) }
    }

    /// Leases up to `count` messages in the order of insertion, several of one group among them. What is due becomes
    /// ready first, so that taking the next one looks at one index entry however many are delayed or leased.
    pub(crate) fn lease(&mut self, queue: &str, count: u32, lease: Duration) -> Result<Vec<Leased>, Error> {
        let Some(queue_id) = self.queue_id(queue)? else { return Ok(Vec::new()) };
        self.database.execute(
            "UPDATE messages SET state = 0 WHERE queue_id = ?1 AND state <> 0 AND visible_at_ms <= ?2",
            (queue_id, self.now_ms),
        )?;
        let mut leased = Vec::new();
        loop {
            let wanted = usize::try_from(count).unwrap_or(usize::MAX) - leased.len();
            if wanted == 0 {
                return Ok(leased);
            }
            let next = self.next_ready(queue_id, i64::try_from(wanted).unwrap_or(i64::MAX))?;
            if next.is_empty() {
                return Ok(leased);
            }
            for sequence in next {
                let candidate = self.database.row(
                    "SELECT sequence, message_id, lease_number, dequeue_count, inserted_at_ms, expires_at_ms,
                         hop_count, trace_parent, digest, body, attributes, group_name
                     FROM messages WHERE sequence = ?1",
                    [sequence],
                    Candidate::from_row,
                )?;
                if let Some(candidate) = candidate {
                    leased.extend(self.lease_one(queue, candidate, lease)?);
                }
            }
        }
    }

    /// Sequences of the next messages that nothing keeps back, in their order. Looks at the first ones, whose groups may
    /// all have to wait; only then at each group, whose messages behind its first come with a later lease.
    fn next_ready(&mut self, queue_id: i64, count: i64) -> Result<Vec<i64>, Error> {
        let among_the_first = self.database.rows(
            "SELECT sequence FROM (
                 SELECT sequence, group_name FROM messages WHERE queue_id = ?1 AND state = 0 ORDER BY sequence LIMIT ?3
             ) AS ready
             WHERE group_name IS NULL OR NOT EXISTS (
                 SELECT 1 FROM messages AS held
                 WHERE held.queue_id = ?1 AND held.group_name = ready.group_name AND held.state <> 0)
             ORDER BY sequence LIMIT ?2",
            (queue_id, count, FIRST_LOOKED_AT),
            |row| row.get(0),
        )?;
        if !among_the_first.is_empty() {
            return Ok(among_the_first);
        }
        self.database.rows(
            "WITH RECURSIVE named (name) AS (
                 SELECT MIN(group_name) FROM messages
                 WHERE queue_id = ?1 AND state = 0 AND group_name IS NOT NULL
                 UNION ALL
                 SELECT (SELECT MIN(group_name) FROM messages
                         WHERE queue_id = ?1 AND state = 0 AND group_name IS NOT NULL AND group_name > named.name)
                 FROM named WHERE named.name IS NOT NULL
             )
             SELECT sequence FROM (
                 SELECT (SELECT MIN(sequence) FROM messages
                         WHERE queue_id = ?1 AND state = 0 AND group_name = named.name) AS sequence
                 FROM named WHERE named.name IS NOT NULL AND NOT EXISTS (
                     SELECT 1 FROM messages AS held
                     WHERE held.queue_id = ?1 AND held.group_name = named.name AND held.state <> 0)
                 UNION ALL
                 SELECT * FROM (SELECT sequence FROM messages
                                WHERE queue_id = ?1 AND state = 0 AND group_name IS NULL ORDER BY sequence LIMIT ?2)
             ) WHERE sequence IS NOT NULL ORDER BY sequence LIMIT ?2",
            (queue_id, count),
            |row| row.get(0),
        )
    }

    /// Leases the message, or drops it if its time is over.
    fn lease_one(&mut self, queue: &str, row: Candidate, lease: Duration) -> Result<Option<Leased>, Error> {
        if row.expires_at_ms <= self.now_ms {
            self.database.execute("DELETE FROM messages WHERE sequence = ?1", [row.sequence])?;
            self.effects.dropped.extend(row.digest);
            return Ok(None);
        }
        let next_visible_at_ms = self.after(lease);
        self.database.execute(
            "UPDATE messages SET state = 2, visible_at_ms = ?2, wanted_at_ms = NULL,
                 lease_number = lease_number + 1, dequeue_count = dequeue_count + 1
             WHERE sequence = ?1",
            (row.sequence, next_visible_at_ms),
        )?;
        let fence = Fence {
            queue: queue.to_owned(),
            message_id: row.message_id,
            sequence: row.sequence,
            lease_number: row.lease_number + 1,
        };
        let message = LeasedMessage {
            lease: fence.lease(),
            body: row.body,
            dequeue_count: row.dequeue_count.saturating_add(1),
            inserted_at: from_unix_ms(row.inserted_at_ms),
            expires_at: from_unix_ms(row.expires_at_ms),
            next_visible_at: from_unix_ms(next_visible_at_ms),
            hop_count: row.hop_count,
            trace_parent: row.trace_parent,
            attributes: row.attributes,
            group: row.group,
            sequence: u64::try_from(row.sequence).unwrap_or(0),
        };
        Ok(Some(Leased { message, blob: row.digest.map(|digest| self.blobs.pin(digest)) }))
    }

    pub(crate) fn reset(&mut self, what: &Reset) -> Result<ResetReport, Error> {
        let mut report = ResetReport::default();
        match what {
            Reset::All => {
                report.objects = self.reset_objects(None)?;
                report.messages = self.delete_messages("DELETE FROM messages RETURNING digest", ())?;
                report.documents = count(self.database.execute("DELETE FROM documents", ())?);
                let queues: Vec<String> =
                    self.database.rows("DELETE FROM queues RETURNING name", (), |row| row.get(0))?;
                self.effects.queues.extend(queues);
                self.database.execute("DELETE FROM sent_once", ())?;
                self.database.execute("DELETE FROM containers", ())?;
                report.entities = count(self.delete_tables()?);
                self.database.execute("DELETE FROM checkpoints", ())?;
            }
            Reset::Table(table) => report.entities = count(self.delete_table(table)?),
            Reset::Objects(container) => report.objects = self.reset_objects(Some(container))?,
            Reset::Queue(queue) => {
                let Some(queue_id) = self.queue_id(queue)? else { return Ok(report) };
                report.messages = self.delete_messages(
                    "DELETE FROM messages WHERE queue_id = ?1 RETURNING digest",
                    [queue_id],
                )?;
                self.database.execute("DELETE FROM sent_once WHERE queue_id = ?1", [queue_id])?;
                self.database.execute("DELETE FROM queues WHERE id = ?1", [queue_id])?;
                self.queue_changed(queue);
            }
            Reset::Container(name) => {
                let Some(container) = self.container(name)? else { return Ok(report) };
                let deleted =
                    self.database.execute("DELETE FROM documents WHERE container_id = ?1", [container.id])?;
                report.documents = count(deleted);
                self.database.execute("DELETE FROM containers WHERE id = ?1", [container.id])?;
            }
        }
        self.forget();
        Ok(report)
    }

    fn delete_messages(&mut self, sql: &str, parameters: impl rusqlite::Params) -> Result<u64, Error> {
        let digests: Vec<Option<Digest>> = self.database.rows(sql, parameters, |row| row.get(0))?;
        self.effects.dropped.extend(digests.iter().flatten());
        Ok(count(digests.len()))
    }

    /// Removes the files of large bodies whose last reference is gone.
    pub(crate) fn remove_blobs(&self, dropped: &[Digest]) {
        for digest in dropped {
            // In doubt the file stays: the next open sweeps it.
            let is_referenced = || {
                let found = self.database.row(
                    "SELECT 1 FROM messages WHERE digest = ?1
                         UNION ALL SELECT 1 FROM objects WHERE digest = ?1 LIMIT 1",
                    [digest],
                    |_| Ok(()),
                );
                !matches!(found, Ok(None))
            };
            self.blobs.remove_unless(digest, is_referenced);
        }
    }
}

fn sent(message_id: Uuid, sequence: i64) -> Sent {
    Sent { message_id, sequence: u64::try_from(sequence).unwrap_or(0) }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
