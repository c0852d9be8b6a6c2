//! Looking for new and changed blobs in a container of an account.
//!
//! The service tells nobody of a change, so the container is listed again and again. What is new goes as notifications
//! into the function's internal queue in the same commit that remembers it (the *place* below), so each version of a
//! blob is told of once, also when the server is killed in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::http::headers::HeaderName;
use azure_core::time::parse_rfc7231;
use azure_storage_blob::models::BlobContainerClientListBlobsOptions;
use futures_util::StreamExt as _;
use ingle_store::{NewMessage, Operation, Store};
use ingle_tasks::{StopSignal, Stopper, TaskKind};
use ingle_types::account::StorageAccount;
use ingle_types::clock::ClockHandle;
use ingle_types::ids::FunctionName;
use ingle_types::spec::BlobTrigger;
use serde::{Deserialize, Serialize};

use super::quoted;
use crate::ListenerRooms;
use crate::account::fault::Fault;
use crate::account::{Accounts, CALL_TIMEOUT, Client, hinted, limited};
use crate::blob::listener::{function_id, notification_text, queue_name};

/// Pauses between lists: from the first, after something was new, doubling to the last (facts 7.2).
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(10);
/// How much older than the time of a list a blob may be that it did not show yet, in seconds. The service's times have
/// whole seconds, and not all of its machines show the same one.
const OVERLAP_S: i64 = 120;
/// Blobs of one list, and so notifications of one commit.
const PAGE: i32 = 1000;

/// Starts looking, until the stopper is used or dropped.
pub(crate) fn start(
    function: &FunctionName,
    trigger: &BlobTrigger,
    account: &Arc<StorageAccount>,
    rooms: &ListenerRooms,
) -> Stopper {
    let (stopper, stop) = rooms.tasks.stoppable(TaskKind::Listener);
    let scanner = Scanner {
        consumer: format!(
            "blobs/{}/{}/{}",
            function.as_str().to_lowercase(),
            account.blobs.as_deref().unwrap_or_default(),
            trigger.container
        ),
        function: function.clone(),
        trigger: trigger.clone(),
        account: account.clone(),
        store: rooms.store.clone(),
        clock: rooms.clock.clone(),
    };
    let name = format!("blobs {} in {}", trigger.container, account.connection);
    drop(rooms.tasks.spawn(TaskKind::Listener, name, scanner.run(rooms.accounts.clone(), stop)));
    stopper
}

struct Scanner {
    consumer: String,
    function: FunctionName,
    trigger: BlobTrigger,
    account: Arc<StorageAccount>,
    store: Store,
    clock: ClockHandle,
}

/// Why a list came to nothing.
enum Trouble {
    Account(Fault),
    Store(ingle_store::Error),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Account(fault)
    }
}

impl From<ingle_store::Error> for Trouble {
    fn from(error: ingle_store::Error) -> Self {
        Self::Store(error)
    }
}

impl Trouble {
    fn reason(&self, account: &StorageAccount) -> String {
        match self {
            Self::Account(fault) => hinted(fault, account),
            Self::Store(error) => error.to_string(),
        }
    }
}

impl Scanner {
    async fn run(self, accounts: Accounts, mut stop: StopSignal) {
        let what = format!(
            "blobs {} in {}, for function {}",
            self.trigger.container, self.account.connection, self.function
        );
        let mut recovery = accounts.recovery(what);
        let client = match accounts.client(&self.account) {
            Ok(client) => client,
            Err(fault) => {
                recovery.failed(&fault.to_string());
                return stop.wait().await;
            }
        };
        let wake = client.wake(&wake_name(&self.trigger.container));
        let mut place = None;
        let mut pause = PAUSE_FIRST;
        while !stop.is_set() {
            let scanned = tokio::select! {
                () = stop.wait() => return,
                scanned = self.scan(&client, &mut place) => scanned,
            };
            pause = match scanned {
                Ok(count) => {
                    recovery.well();
                    client.seen();
                    if count > 0 { PAUSE_FIRST } else { (pause * 2).min(PAUSE_LAST) }
                }
                // The listener of another generation was faster: its place is the right one.
                Err(Trouble::Store(ingle_store::Error::CheckpointMoved { .. })) => {
                    place = None;
                    PAUSE_FIRST
                }
                Err(trouble) => {
                    // What was remembered may not be what the store has.
                    place = None;
                    recovery.failed(&trouble.reason(&self.account))
                }
            };
            tokio::select! {
                () = stop.wait() => {}
                () = wake.notified() => pause = PAUSE_FIRST,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Lists the container once and tells of what is new; gives the number.
    async fn scan(&self, client: &Client, place: &mut Option<Saved>) -> Result<usize, Trouble> {
        let saved = match place {
            Some(saved) => saved,
            None => place.insert(self.saved_place().await?),
        };
        let mut count = 0;
        loop {
            let Some(page) = self.page(client, saved.place.marker.clone()).await? else { return Ok(count) };
            saved.place.begin(page.date);
            let news = saved.place.news(&page.blobs, &self.trigger);
            count += news.len();
            saved.place.go_on(page.next);
            if !news.is_empty() {
                self.save(saved, &news).await?;
            }
            if saved.place.marker.is_none() {
                return Ok(count);
            }
        }
    }

    async fn saved_place(&self) -> Result<Saved, Trouble> {
        let checkpoint = self.store.read_checkpoint(&self.consumer).await?;
        let place = checkpoint.as_ref().and_then(|saved| serde_json::from_str(&saved.value).ok());
        let version = checkpoint.map_or(0, |saved| saved.version);
        Ok(Saved { version, place: place.unwrap_or_default() })
    }

    async fn save(&self, saved: &mut Saved, news: &[Listed]) -> Result<(), Trouble> {
        let queue = queue_name(&self.function);
        let function = function_id(&self.function);
        let mut operations: Vec<Operation> = news
            .iter()
            .map(|blob| {
                let body = notification_text(&function, &self.trigger.container, &blob.name, &blob.etag);
                Operation::Enqueue(NewMessage {
                    time_to_live: Some(Duration::MAX),
                    ..NewMessage::new(&queue, body)
                })
            })
            .collect();
        operations.push(Operation::SaveCheckpoint {
            consumer: self.consumer.clone(),
            follows: saved.version,
            value: serde_json::to_string(&saved.place).unwrap_or_default(),
        });
        self.store.commit(operations).await?;
        saved.version += 1;
        Ok(())
    }

    /// One page of the list; `None` if there is no such container.
    async fn page(&self, client: &Client, marker: Option<String>) -> Result<Option<Page>, Fault> {
        let container = client.blobs()?.blob_container_client(&self.trigger.container);
        let options = BlobContainerClientListBlobsOptions {
            marker,
            maxresults: Some(PAGE),
            ..BlobContainerClientListBlobsOptions::default()
        };
        let pager = container.list_blobs(Some(options)).map_err(|error| Fault::of(&error))?;
        let mut pages = pager.into_pages();
        let listed = match limited(CALL_TIMEOUT, async { pages.next().await.transpose() }).await {
            Err(fault) if fault.is_missing() => return Ok(None),
            listed => listed?,
        };
        let Some(response) = listed else { return Ok(None) };
        let date = response.headers().get_optional_str(&HeaderName::from_static("date"));
        let date = date.and_then(|date| parse_rfc7231(date).ok()).map_or(self.clock.now(), SystemTime::from);
        let list = response.into_model().map_err(|error| Fault::of(&error))?;
        let blobs = list.blob_items.into_iter().filter_map(|item| {
            let properties = item.properties?;
            let etag = quoted(properties.etag?.as_ref());
            Some(Listed { name: item.name?, etag, modified_s: properties.last_modified?.unix_timestamp() })
        });
        Ok(Some(Page { date: unix_s(date), blobs: blobs.collect(), next: list.next_marker }))
    }
}

/// Under which name writers of a container wake those who look for blobs in it.
pub(crate) fn wake_name(container: &str) -> String {
    format!("blobs {container}")
}

struct Page {
    /// The service's own time, in seconds since 1970.
    date: i64,
    blobs: Vec<Listed>,
    next: Option<String>,
}

/// A place with the version under which the store has it.
struct Saved {
    version: u64,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    name: String,
    etag: String,
    /// In seconds since 1970.
    modified_s: i64,
}

/// How far the container has been told of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Place {
    /// Everything older has been told of. In seconds since 1970, as all times here.
    since_s: Option<i64>,
    /// What is not older and has been told of: name to tag and time.
    told: BTreeMap<String, (String, i64)>,
    /// Where a list that is not finished goes on.
    marker: Option<String>,
    /// When it began.
    began_s: Option<i64>,
}

impl Place {
    fn begin(&mut self, now_s: i64) {
        self.began_s.get_or_insert(now_s);
    }

    /// The blobs of a page that nobody was told of yet; they count as told from now on.
    fn news(&mut self, page: &[Listed], trigger: &BlobTrigger) -> Vec<Listed> {
        let horizon = self.began_s.unwrap_or_default() - OVERLAP_S;
        let mut news = Vec::new();
        for blob in page {
            let is_old = self.since_s.is_some_and(|since| blob.modified_s < since);
            let is_told = self.told.get(&blob.name).is_some_and(|(etag, _)| *etag == blob.etag);
            if is_old || is_told || !trigger.pattern.is_match(&blob.name) {
                continue;
            }
            // Older ones are behind the place when the list is finished, and behind the marker until then.
            if blob.modified_s >= horizon {
                self.told.insert(blob.name.clone(), (blob.etag.clone(), blob.modified_s));
            }
            news.push(blob.clone());
        }
        news
    }

    /// Ends a page; without another one, the list.
    fn go_on(&mut self, next: Option<String>) {
        self.marker = next.filter(|next| !next.is_empty());
        if self.marker.is_none()
            && let Some(began) = self.began_s.take()
        {
            let since = (began - OVERLAP_S).max(self.since_s.unwrap_or(i64::MIN));
            self.since_s = Some(since);
            self.told.retain(|_, (_, modified_s)| *modified_s >= since);
        }
    }
}

fn unix_s(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
