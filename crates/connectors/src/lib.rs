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
//! | how one value becomes several | [`collect`] |

pub mod blob;
pub mod checkpoint;
pub mod collect;
pub mod documents;
pub mod error;
pub mod queue;
pub mod tables;
pub mod timer;

use ingle_store::{Operation, Store};
use ingle_tasks::{Stopper, Tasks};
use ingle_types::clock::ClockHandle;
use ingle_types::datum::Datum;
use ingle_types::event::{InvokerHandle, Trace};
use ingle_types::expression::Scope;
use ingle_types::spec::{BindingKind, BindingSpec, FunctionSpec, HostConfig, TriggerSpec};

pub use blob::Handed;
pub use error::Error;

/// What listeners work with.
#[derive(Clone)]
pub struct ListenerRooms {
    pub store: Store,
    pub invoker: InvokerHandle,
    pub tasks: Tasks,
    pub clock: ClockHandle,
    pub host: HostConfig,
}

/// Starts the listener of a function's trigger, until the stopper is used or dropped. `None` for triggers that other
/// rooms serve, such as HTTP.
pub fn listen(function: &FunctionSpec, rooms: &ListenerRooms) -> Option<Stopper> {
    let rooms = rooms.clone();
    match &function.trigger {
        TriggerSpec::Queue(trigger) => {
            let options = queue::ListenerOptions {
                function: function.name.clone(),
                queue: trigger.queue.clone(),
                queues: rooms.host.queues,
                reader: queue::Messages::reader(&trigger.queue, trigger.data_type, rooms.clock.clone()),
            };
            let listener =
                queue::Listener::new(options, rooms.store, rooms.invoker, rooms.tasks, rooms.clock);
            Some(listener.start())
        }
        TriggerSpec::Blob(trigger) => Some(blob::listener::start(&function.name, trigger, rooms)),
        TriggerSpec::Documents(trigger) => {
            let ListenerRooms { store, invoker, tasks, clock, .. } = rooms;
            let (function, trigger) = (function.name.clone(), trigger.clone());
            Some(documents::feed::Feed { function, trigger, store, invoker, tasks, clock }.start())
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
}

/// What an input binding asks for, with every expression resolved.
#[derive(Debug)]
pub struct InputRequest {
    pub binding: String,
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
            Ok(Some(InputRequest { binding: binding.name.clone(), what }))
        }
        BindingKind::TableInput(input) => {
            let what = Request::Table(tables::request(&binding.name, input, scope)?);
            Ok(Some(InputRequest { binding: binding.name.clone(), what }))
        }
        BindingKind::BlobInput { path, as_file } => {
            let form = (binding.data_type, *as_file);
            let what = Request::Blob(blob::request(&binding.name, path, form, scope)?);
            Ok(Some(InputRequest { binding: binding.name.clone(), what }))
        }
        // One arm for each input that is served; see `apps`, which names those that are not.
        _ => Ok(None),
    }
}

/// Reads the value of an input binding.
///
/// # Errors
/// [`Error::Input`]: a query outside the subset, or a failing store; [`Error::TooLarge`].
pub async fn read_input(store: &Store, request: InputRequest) -> Result<Handed, Error> {
    match request.what {
        Request::Documents(what) => documents::read(store, &request.binding, what).await.map(Handed::from),
        Request::Table(what) => tables::read(store, &request.binding, what).await.map(Handed::from),
        Request::Blob(what) => blob::read(store, &request.binding, what).await,
    }
}

/// What writing `value` to an output binding does to the store.
///
/// # Errors
/// [`Error`]: an expression without value, or a value that this kind of output can't take.
pub fn write_output(
    binding: &BindingSpec,
    value: Datum,
    context: &OutputContext<'_>,
) -> Result<Vec<Operation>, Error> {
    match &binding.kind {
        BindingKind::QueueOutput { queue } => queue::write(&binding.name, queue, value, context),
        BindingKind::BlobOutput { path } => blob::write(&binding.name, path, value, context),
        BindingKind::DocumentOutput(output) => documents::write(&binding.name, output, value, context),
        BindingKind::TableOutput { table, partition_key, row_key } => {
            let (partition_key, row_key) = (partition_key.as_ref(), row_key.as_ref());
            let output = tables::Output { binding: &binding.name, table, partition_key, row_key };
            tables::write(&output, value, context)
        }
        _ => Ok(Vec::new()),
    }
}
