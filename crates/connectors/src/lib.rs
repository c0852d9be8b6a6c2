//! One module per outside service, each with its listener (trigger), readers (input) and writers (output).
//!
//! A writer changes nothing: it turns a value into [`Operation`]s of the store, which `dispatch` commits together
//! with the acknowledgement of the event. Functions are reached only through [`ingle_types::event::Invoker`], so
//! a listener runs in a test with a scripted one. This room never sees `worker`.
//!
//! | to find | look in |
//! |---|---|
//! | queue trigger, queue output, acknowledging | [`queue`] |
//! | blob trigger, input, output | [`blob`] |
//! | documents (`cosmosDB`) in and out, change feed | [`documents`] |
//! | tables in and out | [`tables`] |
//! | timers | [`timer`] |
//! | acknowledging what is a place in a schedule or a stream | [`checkpoint`] |
//! | accounts in the cloud, writing to them | [`account`], [`foreign`] |
//! | events for handlers whose callers do not wait | [`later`] |
//! | events of buckets of handlers | [`buckets`] |
//! | queues of handlers | [`sources`] |
//! | topics of handlers | [`topics`] |
//! | how one value becomes several | [`collect`] |
//! | waiting for a time | [`wait`] |
//! | whether a trigger has something to do | [`due`] |

pub mod account;
pub mod blob;
pub mod buckets;
pub mod checkpoint;
pub mod collect;
pub mod documents;
pub mod due;
pub mod error;
pub mod foreign;
pub mod later;
pub mod queue;
pub mod sources;
pub mod tables;
pub mod timer;
pub mod topics;
pub mod wait;

use ingle_store::Store;
use ingle_tasks::{Stopper, Tasks};
use ingle_types::account::Account;
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Datum;
use ingle_types::event::{InvokerHandle, Trace};
use ingle_types::expression::Scope;
use ingle_types::spec::{BindingKind, BindingSpec, FunctionSpec, HostConfig, MessageEncoding, TriggerSpec};

pub use account::Accounts;
pub use blob::{Handed, Held};
pub use error::Error;
pub use foreign::{ForeignWrite, Writes};

/// What listeners work with.
#[derive(Clone)]
pub struct ListenerRooms {
    pub store: Store,
    pub invoker: InvokerHandle,
    pub tasks: Tasks,
    pub clock: ClockHandle,
    pub host: HostConfig,
    pub accounts: Accounts,
    /// Functions that an event may pass through; `None`: any number.
    pub hops_max: Option<u32>,
}

/// Starts the listeners of a function's trigger, until their stoppers are used or dropped. None for triggers that other
/// rooms serve, such as HTTP.
pub fn listen(function: &FunctionSpec, rooms: &ListenerRooms) -> Vec<Stopper> {
    match &function.trigger {
        TriggerSpec::Handler(handler) => sources::start(&function.name, handler, rooms),
        _ => listen_one(function, rooms).into_iter().collect(),
    }
}

fn listen_one(function: &FunctionSpec, rooms: &ListenerRooms) -> Option<Stopper> {
    let rooms = rooms.clone();
    match &function.trigger {
        TriggerSpec::Queue(trigger) if trigger.account.remote().is_some() => {
            let account = trigger.account.remote()?.clone();
            let reader = queue::Messages::reader(&trigger.queue, trigger.data_type, rooms.clock.clone());
            let options = queue::remote::RemoteListenerOptions {
                function: function.name.clone(),
                queue: trigger.queue.clone(),
                account,
                queues: rooms.host.queues,
                reader,
                held_for: queue::remote::HELD_FOR,
            };
            let ListenerRooms { accounts, invoker, tasks, .. } = rooms;
            Some(queue::remote::RemoteListener::new(options, accounts, invoker, tasks).start())
        }
        TriggerSpec::Queue(trigger) => {
            let reader = queue::Messages::reader(&trigger.queue, trigger.data_type, rooms.clock.clone());
            let options = queue::ListenerOptions {
                function: function.name.clone(),
                queue: trigger.queue.clone(),
                queues: rooms.host.queues,
                dead_letters: None,
                form: queue::Form::Each(reader),
            };
            let listener =
                queue::Listener::new(options, rooms.store, rooms.invoker, rooms.tasks, rooms.clock);
            Some(listener.start())
        }
        TriggerSpec::Blob(trigger) => Some(blob::listener::start(&function.name, trigger, rooms)),
        TriggerSpec::Documents(trigger) => {
            let ListenerRooms { store, invoker, tasks, clock, hops_max, .. } = rooms;
            let (function, trigger) = (function.name.clone(), trigger.clone());
            Some(documents::feed::Feed { function, trigger, store, invoker, tasks, clock, hops_max }.start())
        }
        _ => None,
    }
}

/// What an output needs to know of the invocation that makes it.
pub struct OutputContext<'a> {
    pub scope: &'a dyn Scope,
    pub trace: &'a Trace,
    /// Hops of the event that is being worked on.
    pub hop_count: u32,
    /// How messages for queues of accounts are written.
    pub encoding: MessageEncoding,
}

/// What an input binding asks for, with every expression resolved.
#[derive(Debug)]
pub struct InputRequest {
    pub binding: String,
    account: Account,
    what: Request,
}

#[derive(Debug)]
enum Request {
    Documents(documents::Request),
    Table(tables::Request),
    Blob(blob::Request),
}

/// Resolves the expressions of an input binding; `None` if the binding is an output.
///
/// # Errors
/// [`Error::Expression`].
pub fn prepare_input(binding: &BindingSpec, scope: &dyn Scope) -> Result<Option<InputRequest>, Error> {
    match &binding.kind {
        BindingKind::DocumentInput(input) => {
            let what = Request::Documents(documents::request(&binding.name, input, scope)?);
            Ok(Some(InputRequest { binding: binding.name.clone(), account: binding.account.clone(), what }))
        }
        BindingKind::TableInput(input) => {
            let what = Request::Table(tables::request(&binding.name, input, scope)?);
            Ok(Some(InputRequest { binding: binding.name.clone(), account: binding.account.clone(), what }))
        }
        BindingKind::BlobInput { path, as_file } => {
            let form = (binding.data_type, *as_file);
            let what = Request::Blob(blob::request(&binding.name, path, form, scope)?);
            Ok(Some(InputRequest { binding: binding.name.clone(), account: binding.account.clone(), what }))
        }
        // One arm for each input that is served; see `apps`, which names those that are not.
        _ => Ok(None),
    }
}

/// Reads the value of an input binding.
///
/// # Errors
/// [`Error::Input`]: a query outside the subset, or a failing store.
pub async fn read_input(store: &Store, accounts: &Accounts, request: InputRequest) -> Result<Handed, Error> {
    let place = (accounts, &request.account);
    match request.what {
        Request::Documents(what) => documents::read(store, &request.binding, what).await.map(Handed::from),
        Request::Table(what) => tables::read(store, place, &request.binding, what).await.map(Handed::from),
        Request::Blob(what) => blob::read(store, place, &request.binding, what).await,
    }
}

/// What writing `value` to an output binding comes to, in the store and in accounts.
///
/// # Errors
/// [`Error`]: an expression without value, or a value that this kind of output can't take.
pub fn write_output(
    binding: &BindingSpec,
    value: Datum,
    context: &OutputContext<'_>,
) -> Result<Writes, Error> {
    let place = (binding.name.as_str(), &binding.account);
    match &binding.kind {
        BindingKind::QueueOutput { queue } => queue::write(place, queue, value, context),
        BindingKind::BlobOutput { path } => blob::write(place, path, value, context),
        BindingKind::DocumentOutput(output) => {
            documents::write(&binding.name, output, value, context).map(Writes::from)
        }
        BindingKind::TableOutput { table, partition_key, row_key } => {
            let (partition_key, row_key) = (partition_key.as_ref(), row_key.as_ref());
            let output = tables::Output {
                binding: &binding.name,
                account: &binding.account,
                table,
                partition_key,
                row_key,
            };
            tables::write(&output, value, context)
        }
        _ => Ok(Writes::default()),
    }
}
