//! What the embedded store holds, as the JSON that `ingle state`, `ingle send` and the admin API show.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ingle_store::{
    ContainerName, Entity, EntityQuery, Error, MessageState, NewMessage, Operation, PeekedMessage, Reset,
    Store,
};
use ingle_types::blob::INTERNAL_QUEUE_PREFIX;
use ingle_types::clock::unix_ms;
use serde_json::{Value, json};

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
        .filter(|queue| all || !queue.name.starts_with(INTERNAL_QUEUE_PREFIX))
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
        Err(_) => shown["bytes"] = json!({"size": message.body.len()}),
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
