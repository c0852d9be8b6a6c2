//! Objects: reading what is committed.

use std::collections::BTreeMap;

use bytes::Bytes;
use ingle_types::clock::from_unix_ms;
use rusqlite::Row;

use super::{ObjectContainerSummary, ObjectInfo, etag};
use crate::blob::Digest;
use crate::database::Database;
use crate::error::Error;

const COLUMNS: &str = "object_containers.name, objects.name, change_number, size, content_type, metadata, headers, part_count, updated_at_ms";

/// A row with its content, which is here or in a file.
pub(super) struct Found {
    pub(super) info: ObjectInfo,
    pub(super) digest: Option<Digest>,
    pub(super) body: Bytes,
}

pub(super) fn object(database: &Database, container: &str, name: &str) -> Result<Option<Found>, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, digest, body FROM objects JOIN object_containers ON object_containers.id = container_id
         WHERE object_containers.name = ?1 AND objects.name = ?2"
    );
    database.row(&sql, (container, name), |row| {
        let body = row.get_ref(10)?.as_blob_or_null()?.map_or_else(Bytes::new, Bytes::copy_from_slice);
        Ok(Found { info: info(row)?, digest: row.get(9)?, body })
    })
}

/// Objects in the order of their names (by their UTF-8 bytes), behind `after`.
pub(super) fn list(
    database: &Database,
    container: &str,
    prefix: &str,
    after: &str,
    count: u32,
) -> Result<Vec<ObjectInfo>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM objects JOIN object_containers ON object_containers.id = container_id
         WHERE object_containers.name = ?1 AND objects.name >= ?2 AND objects.name < ?2 || char(1114111)
             AND objects.name > ?3
         ORDER BY objects.name LIMIT ?4"
    );
    database.rows(&sql, (container, prefix, after, count), info)
}

pub(super) fn containers(database: &Database) -> Result<Vec<ObjectContainerSummary>, Error> {
    let number =
        |row: &Row<'_>, column: usize| row.get(column).map(|sum: i64| u64::try_from(sum).unwrap_or(0));
    database.rows(
        "SELECT object_containers.name, COUNT(number), COALESCE(SUM(size), 0)
         FROM object_containers LEFT JOIN objects ON container_id = object_containers.id
         GROUP BY object_containers.id ORDER BY object_containers.name",
        (),
        |row| {
            Ok(ObjectContainerSummary { name: row.get(0)?, objects: number(row, 1)?, bytes: number(row, 2)? })
        },
    )
}

fn info(row: &Row<'_>) -> rusqlite::Result<ObjectInfo> {
    // We wrote it; if it is damaged all the same, the content is worth more than its metadata.
    let texts = |column: usize| -> rusqlite::Result<BTreeMap<String, String>> {
        Ok(serde_json::from_str(row.get_ref(column)?.as_str()?).unwrap_or_default())
    };
    Ok(ObjectInfo {
        container: row.get(0)?,
        name: row.get(1)?,
        etag: etag(row.get(2)?, row.get(7)?),
        size: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
        content_type: row.get(4)?,
        metadata: texts(5)?,
        headers: texts(6)?,
        updated_at: from_unix_ms(row.get(8)?),
    })
}
