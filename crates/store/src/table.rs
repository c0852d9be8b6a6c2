//! Entities in tables: checks, and what each step does to the rows.
//!
//! Entities follow Azure Table Storage as far as bindings can see it.

use ingle_types::clock::from_unix_ms;
use ingle_types::filter::Filter;
use rusqlite::Row;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::database::Database;
use crate::error::Error;
use crate::ledger::Ledger;
use crate::model::{Entity, EntityQuery, NewEntity, TableSummary};

/// Limits of Azure Table Storage ("Understanding the Table service data model").
const ENTITY_BYTES_MAX: usize = 1024 * 1024;
const PROPERTIES_MAX: usize = 252;
const KEY_CHARACTERS_MAX: usize = 512;
const NAME_CHARACTERS_MAX: usize = 255;

/// Rows that are read at once, so that a large table never stands in memory as a whole.
const PAGE: u32 = 100;
/// What one query may hold in memory, as JSON. Azure reads on without end; that many are a mistake more likely than
/// not, and the function would be handed all of them as one text.
const RESULT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An entity that has been checked.
#[derive(Debug)]
pub(crate) struct CheckedEntity {
    pub(crate) table: String,
    partition_key: String,
    row_key: String,
    etag: String,
    pub(crate) text: String,
}

impl CheckedEntity {
    pub(crate) fn prepare(entity: NewEntity) -> Result<Self, Error> {
        let NewEntity { table, partition_key, row_key, properties } = entity;
        check_table_name(&table).map_err(|problem| Error::Entity {
            what: format!("`{table}` can't be the name of a table: {problem}"),
        })?;
        check_key("PartitionKey", &partition_key)?;
        check_key("RowKey", &row_key)?;
        if properties.len() > PROPERTIES_MAX {
            let what = format!("it has {} properties, and the limit is {PROPERTIES_MAX}", properties.len());
            return Err(Error::Entity { what });
        }
        let is_too_long = |name: &&String| name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX;
        if let Some(name) = properties.keys().find(is_too_long) {
            let start: String = name.chars().take(30).collect();
            let what = format!(
                "a property is named `{start}…`, and names have 1 to {NAME_CHARACTERS_MAX} characters"
            );
            return Err(Error::Entity { what });
        }
        if let Some(name) = properties.iter().find(|(_, value)| value.is_array() || value.is_object()) {
            let what = format!("the property `{}` is a list or an object", name.0);
            return Err(Error::Entity { what });
        }
        let text = Value::Object(properties).to_string();
        if text.len() > ENTITY_BYTES_MAX {
            let what = format!("it has {} bytes as JSON, and the limit is {ENTITY_BYTES_MAX}", text.len());
            return Err(Error::Entity { what });
        }
        Ok(Self { table, partition_key, row_key, etag: Uuid::new_v4().to_string(), text })
    }
}

/// Azure's rule for names of tables.
///
/// # Errors
/// The rule that is broken.
pub fn check_table_name(name: &str) -> Result<(), &'static str> {
    if !(3..=63).contains(&name.len()) {
        return Err("it must have 3 to 63 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("only letters and digits are allowed");
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err("it must start with a letter");
    }
    Ok(())
}

fn check_key(which: &str, key: &str) -> Result<(), Error> {
    let shown: String = key.chars().take(40).collect();
    let what = if key.chars().count() > KEY_CHARACTERS_MAX {
        format!("the {which} `{shown}…` has more than {KEY_CHARACTERS_MAX} characters")
    } else if let Some(wrong) = key.chars().find(|character| is_forbidden(*character)) {
        format!("the {which} {shown:?} holds {wrong:?}")
    } else {
        return Ok(());
    };
    Err(Error::Entity { what })
}

fn is_forbidden(character: char) -> bool {
    "/\\#?".contains(character) || character.is_control()
}

impl Ledger {
    /// Inserts; an entity with the same keys is an error.
    pub(crate) fn insert_entity(&mut self, entity: &CheckedEntity) -> Result<(), Error> {
        let table_id = self.make_table(&entity.table)?;
        let inserted = self.database.execute(
            "INSERT INTO entities (table_id, partition_key, row_key, etag, updated_at_ms, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (table_id, partition_key, row_key) DO NOTHING",
            (table_id, &entity.partition_key, &entity.row_key, &entity.etag, self.now_ms, &entity.text),
        )?;
        if inserted == 0 {
            return Err(Error::EntityExists {
                table: entity.table.clone(),
                partition_key: entity.partition_key.clone(),
                row_key: entity.row_key.clone(),
            });
        }
        Ok(())
    }

    fn make_table(&mut self, table: &str) -> Result<i64, Error> {
        if let Some(id) = table_id(&self.database, table)? {
            return Ok(id);
        }
        self.database.execute("INSERT INTO tables (name) VALUES (?1)", [table])?;
        Ok(self.database.connection.last_insert_rowid())
    }

    /// How many entities it held.
    pub(crate) fn delete_table(&mut self, table: &str) -> Result<usize, Error> {
        let Some(id) = table_id(&self.database, table)? else { return Ok(0) };
        let deleted = self.database.execute("DELETE FROM entities WHERE table_id = ?1", [id])?;
        self.database.execute("DELETE FROM tables WHERE id = ?1", [id])?;
        Ok(deleted)
    }

    pub(crate) fn delete_tables(&mut self) -> Result<usize, Error> {
        let deleted = self.database.execute("DELETE FROM entities", ())?;
        self.database.execute("DELETE FROM tables", ())?;
        Ok(deleted)
    }
}

fn table_id(database: &Database, table: &str) -> Result<Option<i64>, Error> {
    database.row("SELECT id FROM tables WHERE name = ?1", [table], |row| row.get(0))
}

pub(crate) fn tables(database: &Database) -> Result<Vec<TableSummary>, Error> {
    let sql =
        "SELECT name, (SELECT COUNT(*) FROM entities WHERE table_id = tables.id) FROM tables ORDER BY name";
    database.rows(sql, (), |row| {
        Ok(TableSummary { name: row.get(0)?, entities: u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0) })
    })
}

/// The selected entities by partition and row key. A table that does not exist has none.
pub(crate) fn query(database: &Database, table: &str, query: &EntityQuery) -> Result<Vec<Entity>, Error> {
    let Some(table_id) = table_id(database, table)? else { return Ok(Vec::new()) };
    let key = |given: &Option<String>, name: &str| {
        let required =
            || query.filter.as_ref().and_then(|filter| filter.required_text(name)).map(str::to_owned);
        given.clone().or_else(required)
    };
    let (partition_key, row_key) = (key(&query.partition_key, "PartitionKey"), key(&query.row_key, "RowKey"));
    let wanted = query.take.map_or(usize::MAX, |take| usize::try_from(take).unwrap_or(usize::MAX));
    // Two statements, so that a partition is found through the index.
    let partition = if partition_key.is_some() { "partition_key = ?2" } else { "?2 IS NULL" };
    let sql = format!(
        "SELECT partition_key, row_key, etag, updated_at_ms, body FROM entities
         WHERE table_id = ?1 AND {partition} AND (?3 IS NULL OR row_key = ?3)
             AND (partition_key, row_key) > (?4, ?5)
         ORDER BY partition_key, row_key LIMIT {PAGE}"
    );
    let first_sql = sql.replace("(partition_key, row_key) > (?4, ?5)", "?4 IS NULL AND ?5 IS NULL");
    let mut found: Vec<Entity> = Vec::new();
    let mut last: Option<(String, String)> = None;
    let mut bytes = 0;
    while found.len() < wanted {
        let (after_partition, after_row) = last.take().unzip();
        let sql = if after_row.is_some() { &sql } else { &first_sql };
        let parameters = (table_id, &partition_key, &row_key, &after_partition, &after_row);
        let page = database.rows(sql, parameters, from_row)?;
        let is_last = page.len() < PAGE as usize;
        last = page.last().map(|(entity, _)| (entity.partition_key.clone(), entity.row_key.clone()));
        for (mut entity, body) in page {
            entity.properties = serde_json::from_str(&body)
                .map_err(|source| database.corrupt(format!("a stored entity is no JSON: {source}")))?;
            if found.len() < wanted && query.filter.as_ref().is_none_or(|filter| selects(filter, &entity)) {
                bytes += body.len();
                found.push(entity);
            }
            if bytes > RESULT_BYTES_MAX {
                let mib_max = RESULT_BYTES_MAX / (1024 * 1024);
                return Err(Error::TooManyEntities { table: table.to_owned(), mib_max });
            }
        }
        if is_last {
            break;
        }
    }
    Ok(found)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(Entity, String)> {
    let entity = Entity {
        partition_key: row.get(0)?,
        row_key: row.get(1)?,
        properties: Map::new(),
        etag: row.get(2)?,
        updated_at: from_unix_ms(row.get(3)?),
    };
    Ok((entity, row.get(4)?))
}

fn selects(filter: &Filter, entity: &Entity) -> bool {
    let partition_key = Value::from(entity.partition_key.as_str());
    let row_key = Value::from(entity.row_key.as_str());
    let timestamp = Value::from(entity.timestamp());
    filter.matches(&|name| match name {
        "PartitionKey" => Some(&partition_key),
        "RowKey" => Some(&row_key),
        "Timestamp" => Some(&timestamp),
        other => entity.properties.get(other),
    })
}
