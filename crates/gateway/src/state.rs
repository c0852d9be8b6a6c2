//! What the embedded store holds, as the JSON that `ingle state`, `ingle send` and the admin API show.

use std::time::{Duration, SystemTime};

use base64::Engine;
use bytes::Bytes;
use ingle_store::{
    ContainerName, Entity, EntityQuery, Error, MessageState, NewEntity, NewMessage, Operation, PeekedMessage,
    Reset, Store,
};
use ingle_types::blob::INTERNAL_QUEUE_PREFIX;
use ingle_types::clock::unix_ms;
use ingle_types::event::LATER_QUEUE_PREFIX;
use serde_json::{Map, Value, json};

/// `{"queues": [{"name","ready","leased","delayed","oldest"}], "containers": [{"name","documents","partitionKeyPath"}],
/// "tables": [{"name","entities"}], "blobContainers": [{"name","blobs","bytes"}]}`; times are milliseconds since
/// 1970. Ingle's own queues are only there with `all`.
///
/// # Errors
/// The store's own.
pub async fn list(store: &Store, all: bool) -> Result<Value, Error> {
    let queues: Vec<Value> = store
        .queues()
        .await?
        .into_iter()
        .filter(|queue| all || !is_internal(&queue.name))
        .map(|queue| {
            json!({"name": queue.name, "ready": queue.ready, "leased": queue.leased, "delayed": queue.delayed,
                "oldest": queue.oldest.map(unix_ms)})
        })
        .collect();
    let containers: Vec<Value> = store
        .containers()
        .await?
        .into_iter()
        .map(|container| {
            json!({"name": container.name.to_string(), "documents": container.documents,
                "partitionKeyPath": container.partition_key_path})
        })
        .collect();
    let tables: Vec<Value> = store
        .tables()
        .await?
        .into_iter()
        .map(|table| json!({"name": table.name, "entities": table.entities}))
        .collect();
    let blobs = crate::blobs::containers(store).await?;
    Ok(json!({"queues": queues, "containers": containers, "tables": tables, "blobContainers": blobs}))
}

fn is_internal(queue: &str) -> bool {
    [INTERNAL_QUEUE_PREFIX, LATER_QUEUE_PREFIX].iter().any(|prefix| queue.starts_with(prefix))
}

/// The first entries of a queue (`orders`), of a container (`database/container`) of a table (`table:Notes`) or of a container of
/// blobs (`blob:images`).
///
/// # Errors
/// The store's own.
pub async fn peek(store: &Store, name: &str, count: u32) -> Result<Value, Error> {
    if let Some(container) = blobs(name) {
        let mut listed = crate::blobs::list(store, Some(container), "", "").await?;
        if let Some(found) = listed["blobs"].as_array_mut() {
            found.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        }
        return Ok(listed);
    }
    if let Some(table) = table(name) {
        let query = EntityQuery { take: Some(count), ..EntityQuery::default() };
        let entities: Vec<Value> =
            store.query_entities(table, query).await?.into_iter().map(entity).collect();
        return Ok(json!({"table": table, "entities": entities}));
    }
    if let Some(container) = container(name) {
        let documents = store.documents(&container, count).await?;
        let bodies: Vec<Value> = documents.into_iter().map(|document| document.body).collect();
        return Ok(json!({"container": name, "documents": bodies}));
    }
    let messages = store.peek_messages(name, count).await?;
    let messages: Vec<Value> = messages.into_iter().map(message).collect();
    Ok(json!({"queue": name, "messages": messages}))
}

fn entity(entity: Entity) -> Value {
    let mut shown = json!({"PartitionKey": entity.partition_key, "RowKey": entity.row_key});
    if let Value::Object(members) = &mut shown {
        members.insert("Timestamp".to_owned(), Value::from(entity.timestamp()));
        members.extend(entity.properties);
    }
    shown
}

fn message(message: PeekedMessage) -> Value {
    let state = match message.state {
        MessageState::Ready => "ready",
        MessageState::Delayed => "delayed",
        MessageState::Leased => "leased",
    };
    let time = |time: SystemTime| unix_ms(time);
    let mut shown = json!({"id": message.message_id, "state": state, "dequeueCount": message.dequeue_count,
        "insertedAt": time(message.inserted_at), "visibleAt": time(message.next_visible_at)});
    match std::str::from_utf8(&message.body) {
        Ok(text) => shown["text"] = Value::from(text),
        Err(_) => {
            let body = base64::engine::general_purpose::STANDARD.encode(&message.body);
            shown["bytes"] = json!({"size": message.body.len(), "base64": body});
        }
    }
    if let Some(poison) = message.poison {
        shown["poison"] =
            json!({"reason": poison.reason, "queue": poison.queue, "attempts": poison.attempts});
    }
    shown
}

/// Puts a message into a queue.
///
/// # Errors
/// The store's own.
pub async fn send(store: &Store, queue: &str, body: Bytes, delay: Duration) -> Result<Value, Error> {
    let bytes = body.len();
    let message = NewMessage { visible_after: delay, ..NewMessage::new(queue, body) };
    store.commit(vec![Operation::Enqueue(message)]).await?;
    Ok(json!({"queue": queue, "bytes": bytes, "delaySeconds": delay.as_secs()}))
}

/// Makes or replaces a document of a container (`database/container`), or each of a list of them: `{"documents"}`.
///
/// # Errors
/// A body that is no object and no list of objects, a name that is none, and the store's own.
pub async fn put_documents(store: &Store, name: &str, body: &[u8]) -> Result<Value, PutError> {
    let container = container(name).ok_or(PutError::Container)?;
    let upsert = |body| {
        let container = container.clone();
        Operation::UpsertDocument { container, body, partition_key_path: None, hop_count: 0 }
    };
    let operations: Vec<Operation> =
        objects(body)?.into_iter().map(|object| upsert(Value::Object(object))).collect();
    let count = operations.len();
    store.commit(operations).await?;
    Ok(json!({"documents": count}))
}

/// Adds an entity to a table, or each of a list of them: `{"entities"}`.
///
/// # Errors
/// A body that is no object and no list of objects, keys that are no texts, and the store's own.
pub async fn add_entities(store: &Store, table: &str, body: &[u8]) -> Result<Value, PutError> {
    let insert = |mut properties: Map<String, Value>| {
        let mut key = |name| match properties.remove(name) {
            Some(Value::String(key)) => Ok(key),
            _ => Err(PutError::Key(name)),
        };
        let (partition_key, row_key) = (key("PartitionKey")?, key("RowKey")?);
        let table = table.to_owned();
        Ok(Operation::InsertEntity(NewEntity { table, partition_key, row_key, properties }))
    };
    let operations: Vec<Operation> =
        objects(body)?.into_iter().map(insert).collect::<Result<_, PutError>>()?;
    let count = operations.len();
    store.commit(operations).await?;
    Ok(json!({"entities": count}))
}

/// Why documents or entities were not stored.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    #[error("a container is named `database/container`")]
    Container,
    #[error("the body is no JSON object, and no list of objects")]
    Body,
    #[error("`{0}` is missing or no text")]
    Key(&'static str),
    #[error(transparent)]
    Store(#[from] Error),
}

fn objects(body: &[u8]) -> Result<Vec<Map<String, Value>>, PutError> {
    let object = |value| match value {
        Value::Object(object) => Ok(object),
        _ => Err(PutError::Body),
    };
    match serde_json::from_slice(body).map_err(|_| PutError::Body)? {
        Value::Array(values) => values.into_iter().map(object).collect(),
        value => Ok(vec![object(value)?]),
    }
}

/// Empties a queue, a container of documents or blobs, a table, or everything (`None`).
///
/// # Errors
/// The store's own.
pub async fn reset(store: &Store, name: Option<&str>) -> Result<Value, Error> {
    let what = match name {
        None => Reset::All,
        Some(name) if blobs(name).is_some() => Reset::Objects(blobs(name).unwrap_or_default().to_owned()),
        Some(name) => match (table(name), container(name)) {
            (Some(table), _) => Reset::Table(table.to_owned()),
            (None, Some(container)) => Reset::Container(container),
            (None, None) => Reset::Queue(name.to_owned()),
        },
    };
    let report = store.reset(what).await?;
    Ok(json!({"messages": report.messages, "documents": report.documents, "entities": report.entities,
        "blobs": report.objects}))
}

/// `blob:images`: names of queues and containers of blobs look alike.
fn blobs(name: &str) -> Option<&str> {
    name.strip_prefix("blob:")
}

/// `table:Notes`: names of queues and tables look alike.
fn table(name: &str) -> Option<&str> {
    name.strip_prefix("table:")
}

fn container(name: &str) -> Option<ContainerName> {
    let (database, container) = name.split_once('/')?;
    Some(ContainerName::new(database, container))
}
