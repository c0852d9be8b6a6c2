//! Documents in containers: checks, partition keys, system properties, and what each step does to the rows.
//!
//! Documents follow Azure Cosmos DB's API for NoSQL as far as bindings can see it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingle_types::clock::from_unix_ms;
use rusqlite::Row;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::error::Error;
use crate::ledger::Ledger;
use crate::model::{ContainerName, Document};
use crate::watch::container_key;

/// Cosmos DB's limit on one document, as JSON text in UTF-8.
const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Deeper ones could be written but not be read back by our JSON reader, which stops at 128.
const DOCUMENT_DEPTH_MAX: usize = 120;

/// Set on reading and dropped on writing, so that a document that was read can be written back.
const SYSTEM_PROPERTIES: [&str; 5] = ["_rid", "_self", "_etag", "_attachments", "_ts"];

/// What stands for "no partition key" in storage and, in Cosmos DB, on the wire.
const NO_PARTITION_KEY: &str = "{}";

/// A document that has been checked.
#[derive(Debug)]
pub(crate) struct NewDocument {
    pub(crate) container: ContainerName,
    pub(crate) id: String,
    pub(crate) body: Value,
    pub(crate) text: String,
    pub(crate) etag: String,
    /// For a container that is made now.
    pub(crate) partition_key_path: String,
    pub(crate) hop_count: u32,
}

impl NewDocument {
    pub(crate) fn prepare(
        container: ContainerName,
        body: Value,
        path: Option<String>,
    ) -> Result<Self, Error> {
        if !is_at_most(&body, DOCUMENT_DEPTH_MAX) {
            let what = format!("it is nested more than {DOCUMENT_DEPTH_MAX} levels deep");
            return Err(Error::DocumentTooLarge { what });
        }
        let Value::Object(mut object) = body else { return Err(Error::NotAnObject { found: kind(&body) }) };
        for name in SYSTEM_PROPERTIES {
            object.shift_remove(name);
        }
        let id = match object.get("id") {
            None => {
                let id = Uuid::new_v4().to_string();
                object.insert("id".to_owned(), Value::String(id.clone()));
                id
            }
            Some(Value::String(id)) if is_id(id) => id.clone(),
            Some(other) => return Err(Error::DocumentId { found: shortened(other) }),
        };
        let body = Value::Object(object);
        let text = body.to_string();
        if text.len() > DOCUMENT_BYTES_MAX {
            let what = format!("{} bytes as JSON, and the limit is {DOCUMENT_BYTES_MAX}", text.len());
            return Err(Error::DocumentTooLarge { what });
        }
        let path = path.filter(|path| !path.trim_matches('/').is_empty()).unwrap_or_else(|| "/id".to_owned());
        let partition_key_path = if path.starts_with('/') { path } else { format!("/{path}") };
        let etag = Uuid::new_v4().to_string();
        Ok(Self { container, id, body, text, etag, partition_key_path, hop_count: 0 })
    }
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= 255 && !id.contains(['/', '\\', '?', '#'])
}

fn is_at_most(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_at_most(item, depth - 1)),
        Value::Object(members) => depth > 0 && members.values().all(|member| is_at_most(member, depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(60).chain("…".chars()).collect() }
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A partition key as JSON text, equal for equal keys: `1` and `1.0` are one number. The error says what was
/// found instead of a plain value.
pub(crate) fn partition_key_text(value: Option<&Value>) -> Result<String, &'static str> {
    match value {
        None => Ok(NO_PARTITION_KEY.to_owned()),
        Some(Value::Object(members)) if members.is_empty() => Ok(NO_PARTITION_KEY.to_owned()),
        Some(Value::Number(number)) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "the bound keeps it exact")]
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Ok((float as i64).to_string()),
            _ => Ok(number.to_string()),
        },
        Some(plain @ (Value::Null | Value::Bool(_) | Value::String(_))) => Ok(plain.to_string()),
        Some(other @ (Value::Array(_) | Value::Object(_))) => Err(kind(other)),
    }
}

fn at_path<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').filter(|name| !name.is_empty()).try_fold(body, |value, name| value.get(name))
}

/// A container's row.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) id: i64,
    pub(crate) partition_key_path: Arc<str>,
}

impl Container {
    pub(crate) const FIND: &str =
        "SELECT id, partition_key_path FROM containers WHERE database = ?1 AND name = ?2";

    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { id: row.get(0)?, partition_key_path: row.get::<_, String>(1)?.into() })
    }
}

/// Columns of [`from_row`].
pub(crate) const COLUMNS: &str =
    "number, container_id, partition_key, etag, updated_at_ms, change_number, body, hop_count";

/// Reads a row of [`COLUMNS`] and adds the system properties. The outer error is SQLite's, the inner one says
/// that the stored text is no JSON.
pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Result<Document, serde_json::Error>> {
    let (number, container_id): (i64, i64) = (row.get(0)?, row.get(1)?);
    let etag: String = row.get(3)?;
    let updated_at_ms: i64 = row.get(4)?;
    let key = serde_json::from_str(row.get_ref(2)?.as_str()?);
    let body = serde_json::from_str(row.get_ref(6)?.as_str()?);
    let parsed = key.and_then(|key| body.map(|body| (key, body)));
    let change_number = u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0);
    let hop_count = row.get(7)?;
    Ok(parsed.map(|(partition_key, mut body): (Value, Value)| {
        if let Value::Object(members) = &mut body {
            add_system_properties(members, (number, container_id), &etag, updated_at_ms);
        }
        let updated_at = from_unix_ms(updated_at_ms);
        Document { body, partition_key, etag, updated_at, change_number, hop_count }
    }))
}

/// Resource ids have the shape of Cosmos DB's: Base64 of 4 bytes for the database, 4 for the container and 8 for
/// the document. They stay the same as long as the document is not deleted.
fn add_system_properties(members: &mut Map<String, Value>, row: (i64, i64), etag: &str, updated_at_ms: i64) {
    let (number, container_id) = row;
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&1_u32.to_le_bytes());
    bytes[4..8].copy_from_slice(&u32::try_from(container_id).unwrap_or(u32::MAX).to_le_bytes());
    bytes[8..].copy_from_slice(&number.to_le_bytes());
    let database = STANDARD.encode(&bytes[..4]);
    let container = STANDARD.encode(&bytes[..8]);
    let document = STANDARD.encode(bytes);
    members.insert("_self".to_owned(), json!(format!("dbs/{database}/colls/{container}/docs/{document}/")));
    members.insert("_rid".to_owned(), Value::String(document));
    members.insert("_etag".to_owned(), json!(format!("\"{etag}\"")));
    members.insert("_attachments".to_owned(), json!("attachments/"));
    members.insert("_ts".to_owned(), json!(updated_at_ms / 1000));
}

impl Ledger {
    /// Inserts or replaces as a whole. An existing container keeps its partition key path.
    pub(crate) fn upsert(&mut self, document: &NewDocument) -> Result<(), Error> {
        let container = self.make_container(&document.container, &document.partition_key_path)?;
        let path = &container.partition_key_path;
        let partition_key = partition_key_text(at_path(&document.body, path))
            .map_err(|found| Error::PartitionKey { path: path.to_string(), found })?;
        self.counters.change_number += 1;
        self.effects.queues.insert(container_key(&document.container));
        self.database.execute(
            "INSERT INTO documents (container_id, id, partition_key, etag, updated_at_ms, change_number, body, hop_count)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT (container_id, id, partition_key) DO UPDATE SET etag = excluded.etag,
                 updated_at_ms = excluded.updated_at_ms, change_number = excluded.change_number,
                 body = excluded.body, hop_count = excluded.hop_count",
            (
                container.id,
                &document.id,
                partition_key,
                &document.etag,
                self.now_ms,
                self.counters.change_number,
                &document.text,
                document.hop_count,
            ),
        )
        .map(drop)
    }

    fn make_container(&mut self, name: &ContainerName, partition_key_path: &str) -> Result<Container, Error> {
        if let Some(container) = self.container(name)? {
            return Ok(container);
        }
        self.database.execute(
            "INSERT INTO containers (database, name, partition_key_path) VALUES (?1, ?2, ?3)",
            (&name.database, &name.container, partition_key_path),
        )?;
        Ok(Container {
            id: self.database.connection.last_insert_rowid(),
            partition_key_path: partition_key_path.into(),
        })
    }

    pub(crate) fn delete_document(
        &mut self,
        name: &ContainerName,
        id: &str,
        partition_key: Option<&str>,
    ) -> Result<(), Error> {
        let Some(container) = self.container(name)? else { return Ok(()) };
        let keys: Vec<String> = self.database.rows(
            "SELECT partition_key FROM documents
             WHERE container_id = ?1 AND id = ?2 AND (?3 IS NULL OR partition_key = ?3) LIMIT 2",
            (container.id, id, partition_key),
            |row| row.get(0),
        )?;
        if let [first, second] = &keys[..] {
            return Err(ambiguous(name, id, first, second));
        }
        for key in keys {
            self.database.execute(
                "DELETE FROM documents WHERE container_id = ?1 AND id = ?2 AND partition_key = ?3",
                (container.id, id, key),
            )?;
        }
        Ok(())
    }
}

pub(crate) fn ambiguous(name: &ContainerName, id: &str, first: &str, second: &str) -> Error {
    Error::AmbiguousDocument {
        container: name.to_string(),
        id: id.to_owned(),
        first: first.to_owned(),
        second: second.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &Value, expect: Result<&str, &str>) {
        let name = ContainerName::new("shop", "orders");
        let found = NewDocument::prepare(name, body.clone(), None);
        let found = found.as_ref().map(|document| document.text.as_str()).map_err(Error::code);
        assert_eq!(found, expect, "{}", shortened(body));
    }

    #[test]
    fn a_document_is_checked_before_it_is_stored() {
        check(&json!({"id": "1", "a": [1, {"b": null}]}), Ok(r#"{"id":"1","a":[1,{"b":null}]}"#));
        check(
            &json!({"_ts": 1, "id": "1", "_etag": "x", "_rid": 1, "_own": 2}),
            Ok(r#"{"id":"1","_own":2}"#),
        );
        check(&json!({"id": 7}), Err("E0410"));
        check(&json!({"id": null}), Err("E0410"));
        check(&json!({"id": ""}), Err("E0410"));
        check(&json!({"id": "a/b"}), Err("E0410"));
        check(&json!({"id": "x".repeat(256)}), Err("E0410"));
        check(&json!([1]), Err("E0411"));
        check(&json!("text"), Err("E0411"));
        check(&json!({"id": "1", "text": "x".repeat(DOCUMENT_BYTES_MAX)}), Err("E0412"));
        let deep = (0..130).fold(json!(1), |inner, _| json!([inner]));
        check(&json!({"id": "1", "deep": deep}), Err("E0412"));
    }

    #[test]
    fn a_missing_id_is_made_up() {
        let document = NewDocument::prepare(ContainerName::new("a", "b"), json!({"n": 1}), None).unwrap();
        assert!(Uuid::parse_str(&document.id).is_ok(), "{}", document.id);
        assert_eq!(document.body, json!({"n": 1, "id": document.id}));
    }

    #[test]
    fn equal_partition_keys_have_equal_texts() {
        let text = |value: Value| partition_key_text(Some(&value));
        assert_eq!(text(json!(1)), text(json!(1.0)));
        assert_eq!(text(json!(-2.5)), Ok("-2.5".to_owned()));
        assert_ne!(text(json!("1")), text(json!(1)));
        assert_eq!(text(json!({})), partition_key_text(None));
        assert_eq!(text(json!([1])), Err("a list"));
        assert_eq!(text(json!({"a": 1})), Err("an object"));
    }
}
