//! The server: rooms built in order, handles handed out, and the order in which they stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ingle_connectors::{ListenerRooms, listen};
use ingle_dispatch::Dispatcher;
use ingle_gateway::admin::Admin;
use ingle_gateway::limits::HeadLimits;
use ingle_gateway::service::{Door, Options, Rooms, Service};
use ingle_store::Store;
use ingle_tasks::{Stopper, TaskKind, Tasks};
use ingle_types::clock::{ClockHandle, SystemClock};
use ingle_types::event::InvokerHandle;
use ingle_types::faults::Faults;
use ingle_types::log::{LogSinkHandle, RecordSinkHandle};
use ingle_types::spec::AppSpec;
use ingle_worker::Pool;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::app::{self, Prepared, Running};
use crate::exit::{CommandError, MACHINE};
use crate::surroundings::Surroundings;

/// Invocations of one function that may wait for a worker.
const WAITING_MAX: usize = 10_000;
/// How long a request waits for a worker, or for the app to be imported.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long work in hand may go on after a stop was asked for.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
const ADMIN_SOCKET: &str = "admin.sock";
/// Longest path of a Unix socket.
const SOCKET_PATH_MAX: usize = 107;

/// What to serve, and where.
pub(crate) struct Plan {
    pub(crate) prepared: Prepared,
    pub(crate) state: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) hide_errors: bool,
    pub(crate) sink: LogSinkHandle,
    pub(crate) records: RecordSinkHandle,
    pub(crate) faults: Faults,
    /// Take messages from queues; off when only one call is to be made.
    pub(crate) listen: bool,
}

/// A server at work.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) running: Summary,
    pub(crate) invoker: InvokerHandle,
    tasks: Tasks,
    pool: Pool,
    store: Store,
    admin_socket: PathBuf,
    listeners: Vec<Stopper>,
}

/// What the start screen tells.
pub(crate) struct Summary {
    pub(crate) prepared: Prepared,
    pub(crate) app: AppSpec,
    pub(crate) sdk: Option<String>,
    pub(crate) import_ms: f64,
    pub(crate) slowest: Vec<(String, f64)>,
    pub(crate) process_count: usize,
}

impl Server {
    /// Builds the rooms from the bottom up. The port is taken first, so that a second server fails at once.
    pub(crate) async fn start(
        plan: Plan,
        surroundings: &Surroundings,
        tasks: Tasks,
    ) -> Result<Self, CommandError> {
        let clock: ClockHandle = Arc::new(SystemClock);
        let listener = take_port(plan.address).await?;
        let address = listener.local_addr().map_err(|error| cannot_listen(plan.address, &error))?;
        let store = open_store(&plan.state, clock.clone(), plan.faults.clone())?;
        let running = app::run(plan.prepared, surroundings, address.port(), &tasks, plan.sink).await?;
        let Running { prepared, pool, loaded, app, site, process_count } = running;
        let rooms = ingle_dispatch::Rooms {
            store: store.clone(),
            pool: pool.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            faults: plan.faults,
            records: plan.records.clone(),
        };
        let options = ingle_dispatch::Options {
            function_timeout: app.host.function_timeout,
            waiting_max: WAITING_MAX,
            wait_max: WAIT_MAX,
        };
        let invoker: InvokerHandle = Arc::new(Dispatcher::new(&app, options, rooms));
        let rooms = Rooms {
            invoker: invoker.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            records: plan.records,
        };
        let options =
            Options { limits: HeadLimits::default(), development: !plan.hide_errors, start_wait: WAIT_MAX };
        let (_door, receiver) = watch::channel(Some(Arc::new(Door::new(site, rooms.clone()))));
        let service = Service::new(options, tasks.clone(), receiver);
        ingle_gateway::server::serve(Arc::new(service), listener);
        let mut server = Self {
            address,
            admin_socket: plan.state.join(ADMIN_SOCKET),
            listeners: Vec::new(),
            running: Summary {
                prepared,
                sdk: loaded.sdk,
                import_ms: loaded.import_ms,
                slowest: loaded.modules_max,
                process_count,
                app,
            },
            invoker,
            tasks,
            pool,
            store,
        };
        server.serve_admin(rooms)?;
        if plan.listen {
            server.listen(clock);
        }
        Ok(server)
    }

    fn serve_admin(&self, rooms: Rooms) -> Result<(), CommandError> {
        if self.admin_socket.as_os_str().len() > SOCKET_PATH_MAX {
            tracing::warn!(
                "the path of the state folder is too long for a socket: `ingle send`, `state` and `invoke` can't reach this server"
            );
            return Ok(());
        }
        // The store's lock is ours, so a socket that is still there belongs to a server that was killed.
        std::fs::remove_file(&self.admin_socket).ok();
        let listener = UnixListener::bind(&self.admin_socket).map_err(|error| {
            let message = format!("can't listen on '{}': {error}", self.admin_socket.display());
            CommandError::new(MACHINE, "E0701", message)
        })?;
        restrict(&self.admin_socket);
        let (pool, name, address) = (self.pool.clone(), self.running.app.name.clone(), self.address);
        let admin = Admin {
            store: self.store.clone(),
            rooms,
            functions: self.running.app.functions.clone(),
            status: Box::new(move || status(&pool, &name, address)),
        };
        ingle_gateway::server::serve_admin(Arc::new(admin), &self.tasks, listener);
        Ok(())
    }

    fn listen(&mut self, clock: ClockHandle) {
        let rooms = ListenerRooms {
            store: self.store.clone(),
            invoker: self.invoker.clone(),
            tasks: self.tasks.clone(),
            clock,
            host: self.running.app.host.clone(),
        };
        let active = self.running.app.functions.iter().filter(|function| !function.disabled);
        self.listeners = active.filter_map(|function| listen(function, &rooms)).collect();
    }

    /// Stops in order: no new requests, no new messages, work in hand finished, workers ended, store closed.
    pub(crate) async fn stop(self) -> Vec<String> {
        let mut unfinished = Vec::new();
        let tasks = &self.tasks;
        unfinished.extend(tasks.stop(TaskKind::Acceptor, GRACE).await);
        std::fs::remove_file(&self.admin_socket).ok();
        unfinished.extend(tasks.stop(TaskKind::Listener, GRACE).await);
        unfinished.extend(tasks.stop(TaskKind::Connection, GRACE).await);
        // Also those that go on although their client has left.
        unfinished.extend(tasks.stop(TaskKind::Invocation, GRACE).await);
        tasks.stop(TaskKind::Supervisor, GRACE).await;
        self.pool.stop(GRACE).await;
        self.store.close().await;
        unfinished
    }
}

async fn take_port(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> CommandError {
    let message = format!("can't listen on {address}: {error}");
    CommandError::new(MACHINE, "E0701", message).hint("choose another port with --port, or 0 for a free one")
}

/// Opens the store; the folder keeps itself out of version control.
pub(crate) fn open_store(state: &Path, clock: ClockHandle, faults: Faults) -> Result<Store, CommandError> {
    let made = std::fs::create_dir_all(state).and_then(|()| {
        let ignore = state.join(".gitignore");
        if ignore.exists() { Ok(()) } else { std::fs::write(ignore, "*\n") }
    });
    made.map_err(|error| {
        let message = format!("can't make the state folder '{}': {error}", state.display());
        CommandError::new(MACHINE, "E0403", message).hint("choose another with --state")
    })?;
    Ok(Store::open(ingle_store::Options::new(state.join("store")), clock, faults)?)
}

/// Only the owner may open the admin socket.
fn restrict(socket: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if let Err(error) = std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)) {
        tracing::warn!("can't restrict the admin socket: {error}");
    }
}

fn status(pool: &Pool, name: &str, address: SocketAddr) -> Value {
    let workers: Vec<Value> = pool
        .workers()
        .into_iter()
        .map(|worker| {
            json!({"id": worker.id.to_string(), "processId": worker.process_id, "phase": format!("{:?}", worker.phase),
                "inWork": worker.in_work, "lanes": worker.lanes, "completed": worker.completed,
                "memoryBytes": worker.memory_bytes})
        })
        .collect();
    json!({"app": name, "address": format!("http://{address}"), "processId": std::process::id(), "workers": workers})
}

/// The socket of the server that uses this state folder.
pub(crate) fn admin_socket(state: &Path) -> PathBuf {
    state.join(ADMIN_SOCKET)
}
