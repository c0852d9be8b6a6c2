//! Where the blobs of a trigger are: in the embedded store or in an account.

use std::sync::{Arc, Mutex, PoisonError};

use ingle_store::{Object, ObjectInfo, ObjectWatch, Store};
use ingle_tasks::{StopSignal, Stopper};
use ingle_types::account::StorageAccount;
use ingle_types::spec::DataType;
use tokio::time::Instant;

use super::remote::{self, Found};
use super::{Handed, hand_over, uri};
use crate::account::fault::Fault;
use crate::account::trouble::Recovery;
use crate::account::{Accounts, hinted};
use crate::queue::Reading;

pub(super) enum Source {
    Embedded {
        store: Store,
        /// The hook is asked for as long as somebody listens.
        _watch: Arc<ObjectWatch>,
    },
    Remote(RemoteSource),
}

/// A blob that a notification tells of, with its content still to be read.
pub(super) struct Blob<'a> {
    pub(super) info: ObjectInfo,
    pub(super) uri: String,
    content: Content<'a>,
}

enum Content<'a> {
    Embedded(&'a Store, Object),
    Remote(&'a RemoteSource, Found),
}

impl Source {
    /// Looks for a blob in the version that is asked for; else what its notification comes to.
    pub(super) async fn look(&self, container: &str, name: &str, etag: &str) -> Result<Blob<'_>, Reading> {
        match self {
            Self::Embedded { store, .. } => match store.read_object(container, name).await {
                Ok(Some(object)) if object.info.etag == etag => {
                    let (info, uri) = (object.info.clone(), uri(container, name));
                    Ok(Blob { info, uri, content: Content::Embedded(store, object) })
                }
                Ok(_) => Err(Reading::Outdated),
                Err(error) => Err(Reading::Later(error)),
            },
            Self::Remote(source) => {
                let found = source.open(container, name, etag).await?;
                let (info, uri) = (found.info.clone(), found.uri.clone());
                Ok(Blob { info, uri, content: Content::Remote(source, found) })
            }
        }
    }
}

impl Blob<'_> {
    pub(super) async fn hand_over(self, data_type: DataType, as_file: bool) -> Result<Handed, Reading> {
        match self.content {
            Content::Embedded(store, object) => {
                hand_over(store, object, data_type, as_file).await.map_err(Reading::Later)
            }
            Content::Remote(source, found) => {
                let handed = found.hand_over(data_type, as_file).await;
                handed.map_err(|fault| source.failed(&fault))
            }
        }
    }
}

/// Blobs of an account. When it is in trouble all readers wait, so that many notifications do not ask all the time.
pub(super) struct RemoteSource {
    accounts: Accounts,
    account: Arc<StorageAccount>,
    stop: StopSignal,
    recovery: Mutex<Recovery>,
    /// Nobody asks before.
    not_before: Mutex<Option<Instant>>,
    /// Looks for new blobs for as long as somebody listens.
    _scan: Stopper,
}

impl RemoteSource {
    pub(super) fn new(
        accounts: Accounts,
        account: Arc<StorageAccount>,
        what: String,
        stop: StopSignal,
        scan: Stopper,
    ) -> Self {
        let recovery = Mutex::new(accounts.recovery(what));
        Self { accounts, account, stop, recovery, not_before: Mutex::default(), _scan: scan }
    }

    async fn open(&self, container: &str, name: &str, etag: &str) -> Result<Found, Reading> {
        let not_before = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(time) = not_before {
            let mut stop = self.stop.clone();
            tokio::select! {
                () = stop.wait() => return Err(Reading::Wait(std::time::Duration::ZERO)),
                () = tokio::time::sleep_until(time) => {}
            }
        }
        let opened = match self.accounts.client(&self.account) {
            Ok(client) => remote::open(&client, container, name).await,
            Err(fault) => Err(fault),
        };
        match opened {
            Ok(Some(found)) if found.info.etag == etag => {
                self.well();
                Ok(found)
            }
            Ok(_) => {
                self.well();
                Err(Reading::Outdated)
            }
            Err(fault) => Err(self.failed(&fault)),
        }
    }

    fn well(&self) {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner).well();
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn failed(&self, fault: &Fault) -> Reading {
        // Changed while it was read: the newer version is told of by itself.
        if fault.is_conflict() || fault.is_missing() {
            return Reading::Outdated;
        }
        let pause = self
            .recovery
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .failed(&hinted(fault, &self.account));
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
        Reading::Wait(pause)
    }
}
