//! The running side of a blob trigger.
//!
//! Notifications carry the blob's entity tag. One whose blob has been replaced or deleted meanwhile is dropped: the
//! newer version has a notification of its own. So each function sees each version of a blob once, and the commit of
//! its outputs ends the notification (facts 7.2).

use std::sync::Arc;

use ingle_store::{LeasedMessage, NewMessage, ObjectChange, ObjectHook, ObjectWatch, Operation, Store};
use ingle_tasks::{StopSignal, Stopper, TaskKind};
use ingle_types::account::StorageAccount;
use ingle_types::blob::{BlobPattern, INTERNAL_QUEUE_PREFIX};
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Datum;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Delivery, Event, Trace};
use ingle_types::ids::FunctionName;
use ingle_types::spec::{BlobOptions, BlobTrigger, FunctionSpec, QueueOptions, TriggerSpec};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::remote::{self, scan};
use super::source::{Blob, RemoteSource, Source};
use super::{is_long, metadata};
use crate::error::Error;
use crate::queue::{Form, Listener, ListenerOptions, MessageReader, Reading};
use crate::{Accounts, ListenerRooms};

/// Contents that one function's invocations may hold in memory at once. A larger one comes alone.
const CONTENT_KIB_MAX: u32 = 256 * 1024;
/// Pause after the store refused to answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Messages that one lease may take (facts 7.1).
const BATCH_MAX: u32 = 32;
/// For the names of internal queues; any constant will do.
const NAMESPACE: Uuid = Uuid::from_u128(0x696e_676c_652d_626c_6f62_2d74_7269_6767);

/// Listens to a container for one function, until the stopper is used or dropped.
pub fn start(function: &FunctionName, trigger: &BlobTrigger, rooms: ListenerRooms) -> Stopper {
    let queue = queue_name(function);
    let source = match trigger.account.remote() {
        Some(account) => remote_source(function, trigger, account, &rooms),
        None => embedded_source(function, &queue, trigger, &rooms),
    };
    let reader = BlobReader {
        trigger: trigger.clone(),
        source,
        clock: rooms.clock.clone(),
        memory: Arc::new(Semaphore::new(CONTENT_KIB_MAX as usize)),
    };
    let options = ListenerOptions {
        function: function.clone(),
        queue,
        queues: queue_options(rooms.host.blobs, &rooms.host.queues),
        dead_letters: None,
        form: Form::Each(Arc::new(reader)),
    };
    Listener::new(options, rooms.store, rooms.invoker, rooms.tasks, rooms.clock).start()
}

fn remote_source(
    function: &FunctionName,
    trigger: &BlobTrigger,
    account: &Arc<StorageAccount>,
    rooms: &ListenerRooms,
) -> Source {
    let scan = scan::start(function, trigger, account, rooms);
    let what =
        format!("contents of blobs {} in {}, for function {function}", trigger.container, account.connection);
    let stop = rooms.tasks.stop_signal(TaskKind::Listener);
    Source::Remote(RemoteSource::new(rooms.accounts.clone(), account.clone(), what, stop, scan))
}

fn embedded_source(
    function: &FunctionName,
    queue: &str,
    trigger: &BlobTrigger,
    rooms: &ListenerRooms,
) -> Source {
    let watch = rooms.store.on_object(&trigger.container, hook(function, queue, trigger.pattern.clone()));
    let watch = Arc::new(watch);
    let stop = rooms.tasks.stop_signal(TaskKind::Listener);
    let catching_up = catch_up(rooms.store.clone(), watch.clone(), stop);
    drop(rooms.tasks.spawn(TaskKind::Listener, "blob catch-up", catching_up));
    Source::Embedded { store: rooms.store.clone(), _watch: watch }
}

/// As Azure's host names a function in notifications.
pub(crate) fn function_id(function: &FunctionName) -> String {
    format!("Host.Functions.{function}")
}

/// The internal queue of a function; its name does not depend on the case of the function's.
pub fn queue_name(function: &FunctionName) -> String {
    let name = function.as_str().to_lowercase();
    format!("{INTERNAL_QUEUE_PREFIX}{}", Uuid::new_v5(&NAMESPACE, name.as_bytes()).simple())
}

fn queue_options(blobs: BlobOptions, queues: &QueueOptions) -> QueueOptions {
    let cores =
        || std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
    let parallel = blobs.parallelism_max.unwrap_or_else(|| 8 * cores()).max(1);
    let batch_size = parallel.div_ceil(2).min(BATCH_MAX);
    QueueOptions {
        batch_size,
        new_batch_threshold: parallel - batch_size,
        max_dequeue_count: blobs.poison_threshold,
        ..queues.clone()
    }
}

/// Tells a function of a blob once more, as if it had been put now. Whether there is such a blob.
///
/// # Errors
/// The store's own.
pub async fn prompt(
    store: &Store,
    function: &FunctionName,
    container: &str,
    name: &str,
) -> Result<bool, ingle_store::Error> {
    let Some(object) = store.read_object(container, name).await? else { return Ok(false) };
    send_prompt(store, function, (container, name), &object.info.etag).await?;
    Ok(true)
}

/// As [`prompt`], for a blob wherever the function's trigger looks for blobs.
///
/// # Errors
/// [`Error::Input`] or [`Error::Account`].
pub async fn prompt_anywhere(
    store: &Store,
    accounts: &Accounts,
    function: &FunctionSpec,
    (container, name): (&str, &str),
) -> Result<bool, Error> {
    let binding = || function.trigger_parameter.clone();
    let failed = |source| Error::Input { binding: binding(), source };
    let TriggerSpec::Blob(trigger) = &function.trigger else { return Ok(false) };
    let Some(account) = trigger.account.remote() else {
        return prompt(store, &function.name, container, name).await.map_err(failed);
    };
    let found = match accounts.client(account) {
        Ok(client) => remote::open(&client, container, name).await,
        Err(fault) => Err(fault),
    };
    let found = found.map_err(|fault| {
        let action = format!("blob {container}/{name} in {} can't be read", account.connection);
        Error::Account { binding: binding(), action, fault }
    })?;
    let Some(found) = found else { return Ok(false) };
    send_prompt(store, &function.name, (container, name), &found.info.etag).await.map_err(failed)?;
    Ok(true)
}

async fn send_prompt(
    store: &Store,
    function: &FunctionName,
    (container, name): (&str, &str),
    etag: &str,
) -> Result<(), ingle_store::Error> {
    let body = notification_text(&function_id(function), container, name, etag);
    let message =
        NewMessage { time_to_live: Some(Duration::MAX), ..NewMessage::new(&queue_name(function), body) };
    store.commit(vec![Operation::Enqueue(message)]).await
}

/// Notifications are what Azure's host writes, as they can be read in the poison queue.
pub(crate) fn notification_text(function: &str, container: &str, name: &str, etag: &str) -> String {
    json!({"Type": "BlobTrigger", "FunctionId": function, "BlobType": "BlockBlob",
        "ContainerName": container, "BlobName": name, "ETag": etag})
    .to_string()
}

fn hook(function: &FunctionName, queue: &str, pattern: BlobPattern) -> ObjectHook {
    let (function, queue) = (function_id(function), queue.to_owned());
    ObjectHook::new(move |change: &ObjectChange<'_>| {
        if !pattern.is_match(change.name) {
            return None;
        }
        let body = notification_text(&function, change.container, change.name, change.etag);
        Some(NewMessage {
            time_to_live: Some(Duration::MAX),
            hop_count: change.hop_count,
            trace_parent: change.trace_parent.to_owned(),
            ..NewMessage::new(&queue, body)
        })
    })
}

/// Sends notifications of what was put while this function did not listen.
async fn catch_up(store: Store, watch: Arc<ObjectWatch>, mut stop: StopSignal) {
    let work = async {
        while let Err(error) = store.catch_up_objects(&watch).await {
            tracing::error!(code = error.code(), "can't look for blobs that were put before: {error}");
            tokio::time::sleep(STORE_PAUSE).await;
        }
    };
    tokio::select! {
        () = stop.wait() => {}
        () = work => {}
    }
}

/// Makes events of notifications.
struct BlobReader {
    trigger: BlobTrigger,
    source: Source,
    clock: ClockHandle,
    /// In KiB.
    memory: Arc<Semaphore>,
}

impl MessageReader for BlobReader {
    fn read(self: Arc<Self>, message: LeasedMessage) -> BoxFuture<Reading> {
        Box::pin(async move { self.read_blob(message).await })
    }
}

impl BlobReader {
    async fn read_blob(&self, message: LeasedMessage) -> Reading {
        let Some((container, name, etag)) = notification(&message.body) else {
            return Reading::Hopeless("this is no notification of a blob".to_owned());
        };
        let blob = match self.source.look(&container, &name, &etag).await {
            Ok(blob) => blob,
            Err(other) => return other,
        };
        // The app may have changed while the notification waited.
        let Some(parts) =
            self.trigger.pattern.captures(&name).filter(|_| container == self.trigger.container)
        else {
            return Reading::Outdated;
        };
        let mut known = metadata(&blob.info, &blob.uri);
        for (part, value) in parts {
            if known.iter().all(|(taken, _)| taken != part) {
                known.push((part.to_owned(), Datum::Text(value.to_owned())));
            }
        }
        self.event(message, blob, known).await
    }

    async fn event(&self, message: LeasedMessage, blob: Blob<'_>, metadata: Vec<(String, Datum)>) -> Reading {
        let summary = format!("blob {}/{}", blob.info.container, blob.info.name);
        let permit = if self.trigger.as_file || is_long(blob.info.size) {
            None
        } else {
            let wanted = u32::try_from(blob.info.size / 1024 + 1).unwrap_or(u32::MAX).min(CONTENT_KIB_MAX);
            // Never closed, so this only waits.
            self.memory.clone().acquire_many_owned(wanted).await.ok()
        };
        let handed = match blob.hand_over(self.trigger.data_type, self.trigger.as_file).await {
            Ok(handed) => handed,
            Err(other) => return other,
        };
        let attempt =
            if message.dequeue_count > 1 { format!(" try {}", message.dequeue_count) } else { String::new() };
        let event = Event {
            payload: handed.value,
            metadata,
            delivery: Delivery::Direct,
            received_at: self.clock.now(),
            trace: Trace { parent: message.trace_parent, state: String::new() },
            hop_count: message.hop_count,
            summary: format!("{summary}{attempt}"),
        };
        Reading::Event { id: None, event: Box::new(event), held: Box::new((permit, handed.file)) }
    }
}

/// Container, name and entity tag.
fn notification(body: &[u8]) -> Option<(String, String, String)> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
    Some((text("ContainerName")?, text("BlobName")?, text("ETag")?))
}

#[cfg(test)]
mod tests;
