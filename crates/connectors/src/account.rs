//! Accounts of Azure Storage: one client for each, with its transport, its signature and its limits of time.
//!
//! Queues and blobs go through the official clients, tables through a small one of ours on the same pipeline, as there
//! is no current official one. The clients know tokens and signed addresses but no account key, so a policy at the end
//! of the pipeline signs each request with it ([`shared_key`]).
//!
//! Nothing here waits without end: a connection takes [`CONNECT_TIMEOUT`] at most, a whole call [`CALL_TIMEOUT`], and
//! a transfer as long as each of its pieces comes in time.

pub(crate) mod fault;
mod identity;
mod shared_key;
pub(crate) mod trouble;

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure_core::http::policies::Policy;
use azure_core::http::policies::auth::BearerTokenAuthorizationPolicy;
use azure_core::http::{
    ClientOptions, ExponentialRetryOptions, Pipeline, RetryOptions, Transport, Url, UserAgentOptions,
};
use azure_storage_blob::{BlobServiceClient, BlobServiceClientOptions};
use azure_storage_queue::clients::{QueueServiceClient, QueueServiceClientOptions};
use ingle_types::account::{Credential, StorageAccount};
use ingle_types::clock::ClockHandle;
use ingle_types::health::Health;
use tokio::sync::Notify;

use fault::Fault;
use identity::IdentityCredential;
use shared_key::{AppendSignature, Form, SharedKey};
use trouble::Recovery;

/// Longest time for making a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a call that moves little, its repetitions included.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest pause within an answer.
pub(crate) const PIECE_TIMEOUT: Duration = Duration::from_secs(20);
/// Version of the protocol that is asked for: one that all emulators of the last years know.
pub(crate) const VERSION: &str = "2024-08-04";

/// The clients of all accounts that one generation of the app names. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    clock: ClockHandle,
    health: Health,
    clients: Mutex<HashMap<Arc<StorageAccount>, Arc<Client>>>,
    copies: PathBuf,
}

impl Accounts {
    /// `health` is where troubles with accounts are told.
    pub fn new(clock: ClockHandle, health: Health) -> Self {
        Self::copying_to(std::env::temp_dir(), clock, health)
    }

    /// As [`Accounts::new`]; local copies of long contents are made in a folder that functions see.
    pub fn copying_to(copies: PathBuf, clock: ClockHandle, health: Health) -> Self {
        Self(Arc::new(Inner { clock, health, clients: Mutex::default(), copies }))
    }

    /// The client of an account, made when it is first asked for.
    pub(crate) fn client(&self, account: &Arc<StorageAccount>) -> Result<Arc<Client>, Fault> {
        let mut clients = lock(&self.0.clients);
        if let Some(client) = clients.get(account) {
            return Ok(client.clone());
        }
        let client = Arc::new(Client::new(account.clone(), &self.0)?);
        clients.insert(account.clone(), client.clone());
        Ok(client)
    }

    pub(crate) fn recovery(&self, what: String) -> Recovery {
        Recovery::new(what, self.0.clock.clone(), self.0.health.clone())
    }
}

/// What speaks to one account.
pub(crate) struct Client {
    account: Arc<StorageAccount>,
    /// Where local copies are made.
    pub(crate) copies: PathBuf,
    queues: Option<QueueServiceClient>,
    blobs: Option<BlobServiceClient>,
    pub(crate) tables: Option<(Url, Pipeline)>,
    /// Calls for invocations; each listener has a recovery of its own.
    recovery: Mutex<Recovery>,
    wakes: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Client {
    fn new(account: Arc<StorageAccount>, inner: &Inner) -> Result<Self, Fault> {
        let (clock, health, copies) = (inner.clock.clone(), inner.health.clone(), inner.copies.clone());
        let addresses = [&account.queues, &account.blobs, &account.tables];
        let transport = transport(addresses.into_iter().flatten().all(|address| is_local(address)))?;
        let url = |address: &Option<String>| {
            let parsed = address.as_deref().map(Url::parse).transpose();
            parsed.map_err(|_| Fault::refused("one of its addresses can't be read"))
        };
        let options = |form| client_options(&account.credential, form, &clock, transport.clone());
        let (full, table) = (options(Form::Full)?, options(Form::Table)?);
        let queues = url(&account.queues)?.map(|url| {
            let client_options = full.clone();
            QueueServiceClient::new(
                url,
                None,
                Some(QueueServiceClientOptions { client_options, version: VERSION.to_owned() }),
            )
        });
        let blobs = url(&account.blobs)?.map(|url| {
            let client_options = full;
            BlobServiceClient::new(
                url,
                None,
                Some(BlobServiceClientOptions { client_options, version: VERSION.to_owned() }),
            )
        });
        let pipeline = |options| Pipeline::new(None, None, options, Vec::new(), Vec::new(), None);
        let tables = url(&account.tables)?.map(|url| (url, pipeline(table)));
        let refused = |_| Fault::refused("one of its addresses can't be used");
        let what = format!("account {}", account.connection);
        Ok(Self {
            copies,
            queues: queues.transpose().map_err(refused)?,
            blobs: blobs.transpose().map_err(refused)?,
            tables,
            recovery: Mutex::new(Recovery::new(what, clock, health)),
            account,
            wakes: Mutex::default(),
        })
    }

    /// The client of queues.
    pub(crate) fn queues(&self) -> Result<&QueueServiceClient, Fault> {
        self.queues.as_ref().ok_or_else(|| Fault::refused("it has no address for queues"))
    }

    /// The client of blobs.
    pub(crate) fn blobs(&self) -> Result<&BlobServiceClient, Fault> {
        self.blobs.as_ref().ok_or_else(|| Fault::refused("it has no address for blobs"))
    }

    /// Notified when this process has put a message into a queue, so that its listener looks at once (facts 7.1).
    pub(crate) fn wake(&self, queue: &str) -> Arc<Notify> {
        lock(&self.wakes).entry(queue.to_owned()).or_default().clone()
    }

    /// Notes that the account answers, whoever asked.
    pub(crate) fn seen(&self) {
        lock(&self.recovery).well();
    }

    /// Notes how a call for an invocation went: troubles are told once, and their end.
    pub(crate) fn note<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        match result.as_ref().map_err(|fault| (fault.is_unreachable(), fault)) {
            Err((true, fault)) => {
                lock(&self.recovery).failed(&hinted(fault, &self.account));
            }
            // A refusal is an answer too.
            Ok(_) | Err((false, _)) => lock(&self.recovery).well(),
        }
        result
    }
}

/// One call with a limit of time.
pub(crate) async fn limited<T>(
    limit: Duration,
    work: impl Future<Output = azure_core::Result<T>>,
) -> Result<T, Fault> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(|error| Fault::of(&error)),
        Err(_) => Err(Fault::unreachable(format!("no answer within {} s", limit.as_secs()))),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an address is on this machine.
pub(crate) fn is_local(address: &str) -> bool {
    let host = Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
    matches!(host.as_deref(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

/// What a developer most likely forgot.
pub(crate) fn hinted(fault: &Fault, account: &StorageAccount) -> String {
    let is_emulator = account.queues.as_deref().is_some_and(is_local);
    if fault.is_unreachable() && is_emulator {
        let setting = &account.connection;
        return format!("{fault}; start Azurite, or leave {setting} empty for the embedded store");
    }
    fault.to_string()
}

fn transport(is_local: bool) -> Result<Transport, Fault> {
    // Whichever room installed one first did the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(PIECE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none());
    // A proxy of the environment is for the world outside.
    let builder = if is_local { builder.no_proxy() } else { builder };
    let client =
        builder.build().map_err(|_| Fault::refused("the certificates of this machine can't be read"))?;
    Ok(Transport::new(Arc::new(client)))
}

fn client_options(
    credential: &Credential,
    form: Form,
    clock: &ClockHandle,
    transport: Transport,
) -> Result<ClientOptions, Fault> {
    let mut options = ClientOptions {
        transport: Some(transport),
        // Listeners have pauses of their own; this only bridges a lost packet.
        retry: RetryOptions::exponential(ExponentialRetryOptions {
            max_retries: 2,
            ..ExponentialRetryOptions::default()
        }),
        user_agent: UserAgentOptions { application_id: Some("ingle".to_owned()) },
        ..ClientOptions::default()
    };
    match credential {
        Credential::SharedKey { account, key } => {
            let policy = SharedKey::new(account.clone(), key, form, clock.clone());
            options.per_try_policies = vec![Arc::new(policy) as Arc<dyn Policy>];
        }
        Credential::Signature(signature) => {
            options.per_call_policies =
                vec![Arc::new(AppendSignature::new(signature.clone())) as Arc<dyn Policy>];
        }
        Credential::Identity(identity) => {
            let unusable = |_| Fault::refused("the identity of this machine can't be asked");
            let credential = Arc::new(IdentityCredential::new(identity.clone()).map_err(unusable)?);
            let policy = BearerTokenAuthorizationPolicy::new(credential, [identity::SCOPE]);
            options.per_try_policies = vec![Arc::new(policy) as Arc<dyn Policy>];
        }
    }
    Ok(options)
}
