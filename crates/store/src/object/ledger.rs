//! Objects: what each step does to the rows, on the writer's connection.

use std::collections::HashSet;

use bytes::Bytes;
use ingle_types::blob::{check_container, check_name};
use ingle_types::clock::from_unix_ms;
use uuid::Uuid;

use super::{
    DeleteObject, ObjectChange, ObjectChangeKind, ObjectCondition, ObjectContent, ObjectHook, ObjectOrigin,
    PutObject, etag,
};
use crate::blob::{Digest, Pin};
use crate::error::Error;
use crate::ledger::Ledger;

/// An object made ready for the writer thread.
#[derive(Debug)]
pub(crate) struct NewObject {
    container: String,
    name: String,
    size: i64,
    content_type: String,
    /// A JSON object.
    metadata: String,
    /// A JSON object.
    headers: String,
    pub(crate) content: ObjectContent,
    /// The file of a large content.
    pub(crate) blob: Option<Pin>,
    origin: ObjectOrigin,
    hop_count: u32,
    trace_parent: String,
}

impl NewObject {
    pub(crate) fn prepare(object: PutObject) -> Result<Self, Error> {
        check_object_name(&object.container, &object.name)?;
        let size = i64::try_from(object.content.size()).unwrap_or(i64::MAX);
        Ok(Self {
            metadata: serde_json::json!(object.metadata).to_string(),
            headers: serde_json::json!(object.headers).to_string(),
            container: object.container,
            name: object.name,
            size,
            content_type: object.content_type,
            content: object.content,
            blob: None,
            origin: object.origin,
            hop_count: object.hop_count,
            trace_parent: object.trace_parent,
        })
    }

    /// What goes into the row itself.
    pub(crate) fn body(&self) -> Option<&Bytes> {
        match (&self.blob, &self.content) {
            (None, ObjectContent::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    fn part_count(&self) -> Option<u32> {
        match self.origin {
            ObjectOrigin::Upload { part_count } => Some(part_count),
            ObjectOrigin::Put | ObjectOrigin::Copy => None,
        }
    }
}

/// Whether an object may be named so.
///
/// # Errors
/// [`Error::ObjectName`].
pub fn check_object_name(container: &str, name: &str) -> Result<(), Error> {
    let refused = |problem| Error::ObjectName { name: format!("{container}/{name}"), problem };
    check_container(container).map_err(refused)?;
    check_name(name).map_err(refused)
}

/// How far a catch-up got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Enqueued {
    pub(crate) messages: u64,
    /// The object that was looked at last; `None` at the end.
    pub(crate) last: Option<i64>,
}

impl Ledger {
    fn object_container_id(&self, name: &str) -> Result<Option<i64>, Error> {
        self.database.row("SELECT id FROM object_containers WHERE name = ?1", [name], |row| row.get(0))
    }

    fn make_object_container(&self, name: &str) -> Result<i64, Error> {
        if let Some(id) = self.object_container_id(name)? {
            return Ok(id);
        }
        self.database.execute("INSERT INTO object_containers (name) VALUES (?1)", [name])?;
        Ok(self.database.connection.last_insert_rowid())
    }

    /// Answers its entity tag.
    pub(crate) fn put_object(&mut self, object: &NewObject) -> Result<String, Error> {
        let container_id = self.make_object_container(&object.container)?;
        let replaced: Option<Option<Digest>> = self.database.row(
            "SELECT digest FROM objects WHERE container_id = ?1 AND name = ?2",
            (container_id, &object.name),
            |row| row.get(0),
        )?;
        self.effects.dropped.extend(replaced.flatten());
        self.counters.change_number += 1;
        let change_number = self.counters.change_number;
        let number: i64 = self
            .database
            .row(
                "INSERT INTO objects (container_id, name, change_number, size, content_type, metadata,
                     headers, part_count, updated_at_ms, digest, body)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (container_id, name) DO UPDATE SET change_number = excluded.change_number,
                     size = excluded.size, content_type = excluded.content_type, metadata = excluded.metadata,
                     headers = excluded.headers, part_count = excluded.part_count,
                     updated_at_ms = excluded.updated_at_ms, digest = excluded.digest, body = excluded.body
                 RETURNING number",
                rusqlite::params![
                    container_id,
                    object.name,
                    change_number,
                    object.size,
                    object.content_type,
                    object.metadata,
                    object.headers,
                    object.part_count(),
                    self.now_ms,
                    object.blob.as_ref().map(|pin| pin.digest),
                    object.body().map(AsRef::<[u8]>::as_ref),
                ],
                |row| row.get(0),
            )?
            .unwrap_or_default();
        let etag = etag(change_number, object.part_count());
        let change = ObjectChange {
            container: &object.container,
            name: &object.name,
            kind: ObjectChangeKind::Put(object.origin),
            etag: &etag,
            size: u64::try_from(object.size).unwrap_or(0),
            number: u64::try_from(change_number).unwrap_or(0),
            at: from_unix_ms(self.now_ms),
            hop_count: object.hop_count,
            trace_parent: &object.trace_parent,
        };
        for hook in self.hooks.of(&object.container) {
            self.tell(&hook, &change, (number, change_number))?;
        }
        Ok(etag)
    }

    /// # Errors
    /// [`Error::ObjectCondition`] if the object is not so.
    pub(crate) fn require_object(
        &self,
        container: &str,
        name: &str,
        is: &ObjectCondition,
    ) -> Result<(), Error> {
        let found: Option<String> = self.database.row(
            "SELECT change_number, part_count FROM objects
             WHERE container_id = (SELECT id FROM object_containers WHERE name = ?1) AND name = ?2",
            (container, name),
            |row| Ok(etag(row.get(0)?, row.get(1)?)),
        )?;
        let is_so = match (is, &found) {
            (ObjectCondition::Absent, found) => found.is_none(),
            (ObjectCondition::Present, found) => found.is_some(),
            (ObjectCondition::Tagged(tag), found) => found.as_ref() == Some(tag),
        };
        let name = format!("{container}/{name}");
        if is_so { Ok(()) } else { Err(Error::ObjectCondition { name, exists: found.is_some() }) }
    }

    /// Sends the hook's message, if it wants one and its reader has not heard of this change, and notes that it has.
    fn tell(&mut self, hook: &ObjectHook, change: &ObjectChange<'_>, at: (i64, i64)) -> Result<bool, Error> {
        let Some(message) = (hook.decide)(change) else { return Ok(false) };
        let (number, change_number) = at;
        let known: Option<i64> = self.database.row(
            "SELECT change_number FROM object_receipts WHERE object_number = ?1 AND reader = ?2",
            (number, &message.queue),
            |row| row.get(0),
        )?;
        // Also when two hooks serve one reader for a moment, as while an app is replaced by its next version.
        if known == Some(change_number) {
            return Ok(false);
        }
        self.database.execute(
            "INSERT INTO object_receipts (object_number, reader, change_number) VALUES (?1, ?2, ?3)
             ON CONFLICT (object_number, reader) DO UPDATE SET change_number = excluded.change_number",
            (number, &message.queue, change_number),
        )?;
        self.enqueue(&message, Uuid::new_v4(), None)?;
        Ok(true)
    }

    /// Sends messages about up to `count` objects behind the one numbered `after` that the hook wants to hear of and
    /// whose reader has no receipt for.
    pub(crate) fn catch_up(
        &mut self,
        container: &str,
        hook: &ObjectHook,
        after: i64,
        count: u32,
    ) -> Result<Enqueued, Error> {
        let Some(container_id) = self.object_container_id(container)? else { return Ok(Enqueued::default()) };
        let objects = self.database.rows(
            "SELECT number, name, change_number, size, updated_at_ms, part_count FROM objects
             WHERE container_id = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
            (container_id, after, count),
            |row| {
                let (size, updated_at_ms): (i64, i64) = (row.get(3)?, row.get(4)?);
                let key: (i64, String, i64, String) =
                    (row.get(0)?, row.get(1)?, row.get(2)?, etag(row.get(2)?, row.get(5)?));
                Ok((key, size, updated_at_ms))
            },
        )?;
        let mut enqueued = Enqueued { messages: 0, last: objects.last().map(|((number, ..), ..)| *number) };
        for ((number, name, change_number, etag), size, updated_at_ms) in objects {
            let change = ObjectChange {
                container,
                name: &name,
                kind: ObjectChangeKind::Put(ObjectOrigin::Put),
                etag: &etag,
                size: u64::try_from(size).unwrap_or(0),
                number: u64::try_from(change_number).unwrap_or(0),
                at: from_unix_ms(updated_at_ms),
                hop_count: 0,
                trace_parent: "",
            };
            if self.tell(hook, &change, (number, change_number))? {
                enqueued.messages += 1;
            }
        }
        Ok(enqueued)
    }

    /// Deleting what does not exist succeeds.
    pub(crate) fn delete_object(&mut self, object: &DeleteObject) -> Result<(), Error> {
        let DeleteObject { container, name, .. } = object;
        let Some(container_id) = self.object_container_id(container)? else { return Ok(()) };
        let deleted: Option<(i64, Option<Digest>)> = self.database.row(
            "DELETE FROM objects WHERE container_id = ?1 AND name = ?2 RETURNING number, digest",
            (container_id, name),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let Some((number, digest)) = deleted else { return Ok(()) };
        self.database.execute("DELETE FROM object_receipts WHERE object_number = ?1", [number])?;
        self.effects.dropped.extend(digest);
        self.tell_of_removal(object)
    }

    pub(crate) fn delete_objects(&mut self, container: &str, prefix: &str) -> Result<(), Error> {
        let Some(container_id) = self.object_container_id(container)? else { return Ok(()) };
        let names: Vec<String> = self.database.rows(
            "SELECT name FROM objects WHERE container_id = ?1 AND name >= ?2 AND name < ?2 || char(1114111)",
            (container_id, prefix),
            |row| row.get(0),
        )?;
        names.iter().try_for_each(|name| self.delete_object(&DeleteObject::new(container, name)))
    }

    /// A removal is told once to each reader that wants to hear of it, so it needs no receipts.
    fn tell_of_removal(&mut self, object: &DeleteObject) -> Result<(), Error> {
        let hooks = self.hooks.of(&object.container);
        let hooks: Vec<ObjectHook> = hooks.into_iter().filter(|hook| hook.sees_removals).collect();
        if hooks.is_empty() {
            return Ok(());
        }
        self.counters.change_number += 1;
        let change = ObjectChange {
            container: &object.container,
            name: &object.name,
            kind: ObjectChangeKind::Removed,
            etag: "",
            size: 0,
            number: u64::try_from(self.counters.change_number).unwrap_or(0),
            at: from_unix_ms(self.now_ms),
            hop_count: object.hop_count,
            trace_parent: &object.trace_parent,
        };
        let mut told = HashSet::new();
        for message in hooks.iter().filter_map(|hook| (hook.decide)(&change)) {
            if told.insert(message.queue.clone()) {
                self.enqueue(&message, Uuid::new_v4(), None)?;
            }
        }
        Ok(())
    }

    /// Removes the objects of one container, or of all; answers how many.
    pub(crate) fn reset_objects(&mut self, container: Option<&str>) -> Result<u64, Error> {
        let container_id = match container {
            Some(container) => match self.object_container_id(container)? {
                Some(id) => Some(id),
                None => return Ok(0),
            },
            None => None,
        };
        self.database.execute(
            "DELETE FROM object_receipts WHERE object_number IN
                 (SELECT number FROM objects WHERE ?1 IS NULL OR container_id = ?1)",
            [container_id],
        )?;
        let digests: Vec<Option<Digest>> = self.database.rows(
            "DELETE FROM objects WHERE ?1 IS NULL OR container_id = ?1 RETURNING digest",
            [container_id],
            |row| row.get(0),
        )?;
        self.database.execute("DELETE FROM object_containers WHERE ?1 IS NULL OR id = ?1", [container_id])?;
        self.effects.dropped.extend(digests.iter().flatten());
        Ok(u64::try_from(digests.len()).unwrap_or(u64::MAX))
    }
}
