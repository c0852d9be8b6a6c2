//! The server: rooms built in order, handles handed out, and the order in which they stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ingle_apps::{Progress, ReadOptions};
use ingle_connectors::blob::{by_hand, listener};
use ingle_control::debug::Debugger;
use ingle_control::log_filter::LogFilter;
use ingle_control::{Control, Event, Generation, Prepared};
use ingle_gateway::admin::{Admin, Blob, LevelChange};
use ingle_gateway::auth::Guard;
use ingle_gateway::limits::HeadLimits;
use ingle_gateway::moved::Moved;
use ingle_gateway::service::{BlobPrompt, Door, Options, Rooms, Service};
use ingle_gateway::site::Site;
use ingle_store::Store;
use ingle_store::keys::KeyFile;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::clock::{ClockHandle, SystemClock};
use ingle_types::event::InvokerHandle;
use ingle_types::faults::Faults;
use ingle_types::health::Health;
use ingle_types::ids::FunctionName;
use ingle_types::log::{LogSinkHandle, RecordSinkHandle};
use ingle_types::log_levels::{DEFAULT_CATEGORY, LogLevels};
use ingle_types::problem::Problem;
use ingle_types::spec::{AppSpec, CorsOptions, TriggerSpec};
use ingle_worker::Parents;
use ingle_worker::pool::WorkerStatus;
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::exit::{CommandError, MACHINE, chain};
use crate::moved::{MovedServer, MovedTime};
use crate::screen;
use crate::surroundings::Surroundings;

/// Invocations of one function that may wait for a worker.
const WAITING_MAX: usize = 10_000;
/// How long a request waits for a worker, or for the app to be imported.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long work in hand may go on after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// How long workers with nothing in work may take to exit.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// How long after its start a generation has come to rest.
const SETTLED: Duration = Duration::from_secs(5);
const ADMIN_SOCKET: &str = "admin.sock";
/// Longest path of a Unix socket.
const SOCKET_PATH_MAX: usize = 107;

/// What to serve, and where.
pub(crate) struct Plan {
    pub(crate) prepared: Prepared,
    pub(crate) folder: PathBuf,
    pub(crate) read: ReadOptions,
    pub(crate) state: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) cors: Option<CorsOptions>,
    pub(crate) hide_errors: bool,
    /// Functions ask for keys.
    pub(crate) auth: bool,
    pub(crate) sink: LogSinkHandle,
    pub(crate) records: RecordSinkHandle,
    pub(crate) faults: Faults,
    /// Take messages from queues and follow schedules; off when only one call is to be made.
    pub(crate) listen: bool,
    /// Lets an editor debug the app.
    pub(crate) debugger: Option<Debugger>,
    /// For tests.
    pub(crate) moved: Option<MovedTime>,
    /// Templates and zygotes.
    pub(crate) parents: Parents,
}

/// How often processes that nobody waits for are looked for.
const ORPHANS_EVERY: Duration = Duration::from_secs(10);

/// A server at work.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) control: Control,
    /// The generation that was started first.
    pub(crate) first: Arc<Generation>,
    pub(crate) guard: Guard,
    pub(crate) moved: Option<MovedTime>,
    rooms: Rooms,
    door: watch::Sender<Option<Arc<Door>>>,
    notice: watch::Sender<Option<String>>,
    tasks: Tasks,
    store: Store,
    admin_socket: PathBuf,
    parents: Parents,
}

impl Server {
    /// Builds the rooms from the bottom up. The port is taken first, so that a second server fails at once.
    pub(crate) async fn start(
        plan: Plan,
        surroundings: &Surroundings,
        tasks: Tasks,
    ) -> Result<Self, CommandError> {
        let clock: ClockHandle = match &plan.moved {
            Some(time) => Arc::new(time.clock.clone()),
            None => Arc::new(SystemClock),
        };
        let guard = guard(&plan, clock.clone())?;
        let listener = take_port(plan.address).await?;
        let address = listener.local_addr().map_err(|error| cannot_listen(plan.address, &error))?;
        let store = open_store(&plan.state, clock.clone(), plan.faults.clone())?;
        let log_filter = LogFilter::default();
        let records = log_filter.records(plan.records);
        let options = ingle_control::Options {
            folder: plan.folder,
            read: plan.read,
            variables: surroundings.variables.clone(),
            port: address.port(),
            cors: plan.cors,
            waiting_max: WAITING_MAX,
            wait_max: WAIT_MAX,
            listen: plan.listen,
            inspect: Arc::new(inspect),
            debugger: plan.debugger,
            log_filter: log_filter.clone(),
        };
        let health = Health::default();
        let control_rooms = ingle_control::Rooms {
            store: store.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            faults: plan.faults,
            parents: plan.parents.clone(),
            health: health.clone(),
            sink: log_filter.lines(plan.sink),
            records: records.clone(),
        };
        let control = Control::new(options, control_rooms);
        let first = control.start(plan.prepared).await?;
        let invoker: InvokerHandle = Arc::new(control.clone());
        let blobs = prompts(store.clone(), control.clone());
        let rooms = Rooms { invoker, tasks: tasks.clone(), clock, records, blobs, health };
        let (door, doors) = watch::channel(None);
        let (notice, notices) = watch::channel(None);
        let options = Options {
            guard: guard.clone(),
            limits: HeadLimits::default(),
            development: !plan.hide_errors,
            start_wait: WAIT_MAX,
        };
        let service = Service::new(options, tasks.clone(), doors, notices);
        let admin_socket = plan.state.join(ADMIN_SOCKET);
        let server = Self {
            address,
            control,
            first,
            guard,
            moved: plan.moved,
            rooms,
            door,
            notice,
            tasks,
            store,
            admin_socket,
            parents: plan.parents,
        };
        server.open_door(&server.first);
        server.take_care_of_processes();
        ingle_gateway::server::serve(Arc::new(service), listener);
        server.serve_admin()?;
        Ok(server)
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn state_folder(&self) -> PathBuf {
        self.admin_socket.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// The time by the clock of the server.
    pub(crate) fn now(&self) -> SystemTime {
        self.rooms.clock.now()
    }

    /// Lets requests into a generation.
    fn open_door(&self, generation: &Generation) {
        // What can't be served was taken out by `inspect`, so there is a site.
        if let Ok((site, _)) = Site::new(&generation.app) {
            let rooms = Rooms { invoker: generation.invoker(), ..self.rooms.clone() };
            let folder = &generation.prepared.folder;
            let site = site.home_page(!folder.setting("AzureWebJobsDisableHomepage").is_some_and(is_on));
            self.door.send_replace(Some(Arc::new(Door::new(site, rooms))));
        }
        // Reading an app and starting its listeners takes several times the memory that it then needs.
        drop(self.tasks.spawn(TaskKind::Supervisor, "memory", async {
            tokio::time::sleep(SETTLED).await;
            ingle_sandbox::memory::return_freed();
        }));
    }

    /// Zygotes keep to their budget. What functions leave running is ours when its parent is gone, and somebody has to
    /// wait for its end.
    fn take_care_of_processes(&self) {
        let keep_budget = self.parents.zygotes.clone().supervise();
        drop(self.tasks.spawn(TaskKind::Supervisor, "zygotes", keep_budget));
        drop(self.tasks.spawn(TaskKind::Supervisor, "orphans", async {
            let mut orphans = ingle_sandbox::process::Orphans::default();
            loop {
                tokio::time::sleep(ORPHANS_EVERY).await;
                orphans.reap();
            }
        }));
    }

    /// Starts the next generation and lets requests into it, or tells callers why there is none.
    pub(crate) async fn reload(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Event {
        let event = self.control.reload(progress).await;
        match &event {
            Event::Reloaded { generation, .. } => {
                self.open_door(generation);
                self.notice.send_replace(None);
            }
            Event::Kept { problems, .. } => {
                let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
                self.notice.send_replace(Some(text.join("\n")));
            }
        }
        event
    }

    fn serve_admin(&self) -> Result<(), CommandError> {
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
        let (control, address) = (self.control.clone(), self.address);
        let functions = self.control.clone();
        let levels = self.control.clone();
        let (reader, readers) = (self.store.clone(), self.control.clone());
        let health = self.rooms.health.clone();
        let moved = self.moved.clone().map(|time| MovedServer { time, control: self.control.clone() });
        let admin = Admin {
            store: self.store.clone(),
            rooms: self.rooms.clone(),
            functions: Box::new(move || {
                functions.current().map(|generation| generation.app.functions.clone()).unwrap_or_default()
            }),
            status: Box::new(move || status(&control, address, &health)),
            blob: Box::new(move |function, path| {
                Box::pin(blob(reader.clone(), readers.clone(), function, path))
            }),
            log_levels: Box::new(move |change| Box::pin(log_levels(levels.clone(), change))),
            moved: moved.map(|server| Box::new(server) as Box<dyn Moved>),
        };
        ingle_gateway::server::serve_admin(Arc::new(admin), &self.tasks, listener);
        Ok(())
    }

    /// Stops in order: no new requests, no new messages, work in hand finished, workers ended, store closed.
    pub(crate) async fn stop(self) -> Vec<String> {
        let until = Instant::now() + GRACE;
        let left = || until.saturating_duration_since(Instant::now());
        let mut unfinished = Vec::new();
        // What stands at a breakpoint could not finish.
        self.control.stop_debugging().await;
        let tasks = &self.tasks;
        unfinished.extend(tasks.stop(TaskKind::Acceptor, left()).await);
        std::fs::remove_file(&self.admin_socket).ok();
        unfinished.extend(tasks.stop(TaskKind::Listener, left()).await);
        unfinished.extend(tasks.stop(TaskKind::Connection, left()).await);
        // Also those that go on although their client has left.
        unfinished.extend(tasks.stop(TaskKind::Invocation, left()).await);
        tasks.stop(TaskKind::Supervisor, left()).await;
        self.control.stop(left().max(EXIT_GRACE)).await;
        self.parents.templates.stop();
        self.store.close().await;
        unfinished
    }
}

/// Keys that are there but can't be used end the start, rather than to shut or open every door in silence (T-054).
fn guard(plan: &Plan, clock: ClockHandle) -> Result<Guard, CommandError> {
    let file = KeyFile::in_folder(&plan.state);
    if plan.auth {
        file.read()?;
    }
    Ok(Guard::new(plan.auth, file, clock))
}

/// How the HTTP door tells the listener of a blob trigger of a blob.
fn prompts(store: Store, control: Control) -> BlobPrompt {
    Arc::new(move |function, container, name| {
        let (store, current) = (store.clone(), control.current());
        Box::pin(async move {
            let Some(generation) = current else { return Ok(false) };
            let found = generation.app.functions.iter().find(|known| known.name == function);
            let Some(function) = found else { return Ok(false) };
            let path = (container.as_str(), name.as_str());
            let told = listener::prompt_anywhere(&store, generation.accounts(), function, path).await;
            told.map_err(|error| chain(&error))
        })
    })
}

/// As .NET reads a switch.
fn is_on(value: &str) -> bool {
    value.trim() == "1" || value.trim().eq_ignore_ascii_case("true")
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

/// Takes out what HTTP can't serve, and says why.
pub(crate) fn inspect(app: &mut AppSpec) {
    let found = match Site::new(app) {
        Ok((_, problems)) => problems,
        Err(error) => {
            // No route can work with this prefix.
            app.functions.retain(|function| !matches!(function.trigger, TriggerSpec::Http(_)));
            app.host.http.route_prefix.clear();
            let mut problem = Problem::error(error.code(), chain(&error)).at("host.json", None);
            problem.fix = error.hint();
            vec![problem]
        }
    };
    let broken: Vec<String> = found.iter().filter_map(|problem| problem.function.clone()).collect();
    app.functions.retain(|function| !broken.iter().any(|name| name == function.name.as_str()));
    app.problems.extend(found);
}

/// Reads a blob for a call by hand.
async fn blob(
    store: Store,
    control: Control,
    function: FunctionName,
    path: String,
) -> Result<Option<Blob>, String> {
    let Some(generation) = control.current() else { return Ok(None) };
    let Some(function) = generation.app.functions.iter().find(|known| known.name == function) else {
        return Ok(None);
    };
    let read = by_hand::read(&store, generation.accounts(), function, &path).await;
    let blob = |found: by_hand::ByHand| Blob {
        payload: found.handed.value,
        metadata: found.metadata,
        held: found.handed.file,
    };
    read.map(|found| found.map(blob)).map_err(|error| chain(&error))
}

async fn log_levels(control: Control, change: Option<LevelChange>) -> Value {
    if let Some(LevelChange { category, level }) = change {
        let change = |levels: &mut LogLevels| match (category, level) {
            (None, None) => levels.forget_over(),
            (category, level) => {
                levels.set_over(category.as_deref().unwrap_or(DEFAULT_CATEGORY), level);
            }
        };
        control.change_log_levels(change).await;
    }
    screen::log_levels_json(&control.log_levels())
}

fn status(control: &Control, address: SocketAddr, health: &Health) -> Value {
    let Some(generation) = control.current() else { return Value::Null };
    let workers: Vec<Value> = generation.pool.workers().iter().map(process).collect();
    let zygote = generation.pool.zygote().as_ref().map(process);
    json!({"app": generation.app.name, "generation": generation.number, "address": format!("http://{address}"),
        "processId": std::process::id(), "workers": workers, "zygote": zygote, "degraded": health.to_json()})
}

fn process(status: &WorkerStatus) -> Value {
    json!({"id": status.id.to_string(), "processId": status.process_id, "phase": format!("{:?}", status.phase),
        "inWork": status.in_work, "lanes": status.lanes, "completed": status.completed,
        "memoryBytes": status.memory_bytes, "proportionalBytes": status.proportional_bytes})
}

/// The socket of the server that uses this state folder.
pub(crate) fn admin_socket(state: &Path) -> PathBuf {
    state.join(ADMIN_SOCKET)
}
