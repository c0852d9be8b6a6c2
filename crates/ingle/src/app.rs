//! One app of a server: its store, keys, versions and doors.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ingle_apps::{Progress, ReadOptions};
use ingle_connectors::blob::{by_hand, listener};
use ingle_connectors::later;
use ingle_control::debug::Debugger;
use ingle_control::log_filter::LogFilter;
use ingle_control::{Control, Event, Generation, Prepared};
use ingle_gateway::admin::{Admin, Blob, LevelChange};
use ingle_gateway::auth::Guard;
use ingle_gateway::limits::HeadLimits;
use ingle_gateway::moved::Moved;
use ingle_gateway::service::{BlobPrompt, Door, Later, Options, Rooms, Service};
use ingle_gateway::site::Site;
use ingle_gateway::topics::Topics;
use ingle_store::Store;
use ingle_store::keys::KeyFile;
use ingle_tasks::Tasks;
use ingle_types::clock::{ClockHandle, SystemClock};
use ingle_types::event::InvokerHandle;
use ingle_types::faults::Faults;
use ingle_types::health::Health;
use ingle_types::ids::FunctionName;
use ingle_types::log::{LogSinkHandle, RecordSinkHandle};
use ingle_types::log_levels::{DEFAULT_CATEGORY, LogLevels};
use ingle_types::metrics::Metrics;
use ingle_types::problem::Problem;
use ingle_types::spans::Spans;
use ingle_types::spec::{AppSpec, CorsOptions, Isolation, TriggerSpec};
use ingle_worker::pool::WorkerStatus;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::exit::{CommandError, MACHINE, chain};
use crate::moved::{MovedServer, MovedTime};
use crate::screen;
use crate::server::Shared;

/// Invocations of one function that may wait for a worker.
const WAITING_MAX: usize = 10_000;
/// How long a request waits for a worker, or for the app to be imported.
const WAIT_MAX: Duration = Duration::from_secs(30);
const ADMIN_SOCKET: &str = "admin.sock";
/// Longest path of a Unix socket.
const SOCKET_PATH_MAX: usize = 107;

/// What to serve, and how.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) folder: PathBuf,
    pub(crate) read: ReadOptions,
    pub(crate) state: PathBuf,
    /// That of its project, which others use, too; its own in `state` if absent.
    pub(crate) store: Option<Store>,
    /// Under which name the app is reached.
    pub(crate) host: String,
    /// The environment of the server, for the app.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) cors: Option<CorsOptions>,
    pub(crate) hide_errors: bool,
    /// Functions ask for keys.
    pub(crate) auth: bool,
    pub(crate) sink: LogSinkHandle,
    pub(crate) records: RecordSinkHandle,
    pub(crate) measured: Measured,
    pub(crate) faults: Faults,
    /// Take messages from queues and follow schedules; off when only one call is to be made.
    pub(crate) listen: bool,
    /// An app whose files are known from an earlier start is imported only when there is work for it.
    pub(crate) is_lazy: bool,
    /// As the command line has it.
    pub(crate) isolation: Option<Isolation>,
    /// Variables of the shell that functions see.
    pub(crate) environment: Vec<String>,
    /// Lets an editor debug the app.
    pub(crate) debugger: Option<Debugger>,
    /// For tests.
    pub(crate) moved: Option<MovedTime>,
}

/// What functions say of themselves in CloudWatch's and X-Ray's formats; those of a project in one place.
#[derive(Clone, Default)]
pub(crate) struct Measured {
    pub(crate) metrics: Metrics,
    pub(crate) spans: Spans,
}

impl Plan {
    fn clock(&self) -> ClockHandle {
        match &self.moved {
            Some(time) => Arc::new(time.clock.clone()),
            None => Arc::new(SystemClock),
        }
    }
}

/// Where requests for an app come in. It is there before the app is, and whatever becomes of the app.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) service: Arc<Service>,
    pub(crate) guard: Guard,
    door: watch::Sender<Option<Arc<Door>>>,
    notice: watch::Sender<Option<String>>,
}

impl Entrance {
    pub(crate) fn new(plan: &Plan) -> Self {
        let guard = Guard::new(plan.auth, KeyFile::in_folder(&plan.state), plan.clock());
        let (door, doors) = watch::channel(None);
        let (notice, notices) = watch::channel(None);
        let options = Options {
            guard: guard.clone(),
            limits: HeadLimits::default(),
            development: !plan.hide_errors,
            start_wait: WAIT_MAX,
        };
        let service = Arc::new(Service::new(options, doors, notices));
        Self { service, guard, door, notice }
    }

    /// Why the newest version of the app does not serve; nothing if it does.
    pub(crate) fn tell(&self, why_not: Option<String>) {
        self.notice.send_replace(why_not);
    }
}

/// An app at work.
pub(crate) struct App {
    pub(crate) control: Control,
    pub(crate) guard: Guard,
    pub(crate) moved: Option<MovedTime>,
    pub(crate) shared: Shared,
    pub(crate) store: Store,
    /// Others use it, too, and somebody else closes it.
    pub(crate) store_is_shared: bool,
    entrance: Entrance,
    rooms: Rooms,
    measured: Measured,
    admin_socket: PathBuf,
}

impl App {
    /// Takes the store and builds the rooms; nothing of the app is read yet.
    pub(crate) fn open(plan: Plan, entrance: Entrance, shared: &Shared) -> Result<Self, CommandError> {
        check_keys(&plan)?;
        let (clock, tasks) = (plan.clock(), shared.tasks.clone());
        let store_is_shared = plan.store.is_some();
        let store = match plan.store {
            Some(store) => make_state(&plan.state).map(|()| store)?,
            None => open_store(&plan.state, clock.clone(), plan.faults.clone())?,
        };
        let log_filter = LogFilter::default();
        let Measured { metrics, spans } = &plan.measured;
        let records = spans.records(log_filter.records(plan.records));
        let options = ingle_control::Options {
            folder: plan.folder,
            read: plan.read,
            variables: plan.variables,
            state: plan.state.clone(),
            isolation: plan.isolation,
            environment: plan.environment,
            hostname: format!("{}:{}", plan.host, shared.address.port()),
            cors: plan.cors,
            waiting_max: WAITING_MAX,
            wait_max: WAIT_MAX,
            listen: plan.listen,
            inspect: Arc::new(inspect),
            debugger: plan.debugger,
            index: plan.is_lazy.then(|| (plan.state.clone(), true)),
            log_filter: log_filter.clone(),
        };
        let health = Health::default();
        let control_rooms = ingle_control::Rooms {
            store: store.clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            faults: plan.faults,
            parents: shared.parents.clone(),
            health: health.clone(),
            sink: spans.lines(metrics.lines(log_filter.lines(plan.sink))),
            records: records.clone(),
        };
        let control = Control::new(options, control_rooms);
        let invoker: InvokerHandle = Arc::new(control.clone());
        let (blobs, later) = (prompts(store.clone(), control.clone()), takes(store.clone()));
        let rooms = Rooms { invoker, tasks, clock, records, blobs, later, health };
        Ok(Self {
            control,
            guard: entrance.guard.clone(),
            moved: plan.moved,
            shared: shared.clone(),
            store,
            store_is_shared,
            entrance,
            rooms,
            measured: plan.measured,
            admin_socket: plan.state.join(ADMIN_SOCKET),
        })
    }

    /// Starts the first generation and lets requests into it.
    pub(crate) async fn start(&self, prepared: Prepared) -> Result<Arc<Generation>, CommandError> {
        let first = self.control.start(prepared).await?;
        self.open_door(&first);
        Ok(first)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.shared.address
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    pub(crate) fn state_folder(&self) -> PathBuf {
        self.admin_socket.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// The time by the clock of the app.
    pub(crate) fn now(&self) -> SystemTime {
        self.rooms.clock.now()
    }

    /// Lets requests into a generation; if it is broken as a whole, callers are told why instead.
    fn open_door(&self, generation: &Generation) {
        let found = &generation.app;
        let is_broken = found.functions.is_empty() && screen::errors(&found.problems) > 0;
        // What can't be served was taken out by `inspect`, so there is a site.
        if let (false, Ok((site, _))) = (is_broken, Site::new(found)) {
            let rooms = Rooms { invoker: generation.invoker(), ..self.rooms.clone() };
            let folder = &generation.prepared.folder;
            let site = site.home_page(!folder.setting("AzureWebJobsDisableHomepage").is_some_and(is_on));
            self.entrance.tell(None);
            self.entrance.door.send_replace(Some(Arc::new(Door::new(site, rooms))));
        } else {
            self.entrance.door.send_replace(None);
            self.entrance.tell(Some(texts(&found.problems)));
        }
        self.shared.started.notify_one();
    }

    /// Starts the next generation and lets requests into it, or tells callers why there is none.
    pub(crate) async fn reload(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Event {
        let event = self.control.reload(progress).await;
        match &event {
            Event::Reloaded { generation, .. } => self.open_door(generation),
            Event::Kept { problems, .. } => self.entrance.tell(Some(texts(problems))),
        }
        event
    }

    /// Opens the admin door.
    pub(crate) fn serve_admin(&self) -> Result<(), CommandError> {
        let Some(listener) = listen_admin(&self.admin_socket)? else { return Ok(()) };
        let (control, address) = (self.control.clone(), self.shared.address);
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
            topics: Topics::none(),
            metrics: self.measured.metrics.clone(),
            spans: self.measured.spans.clone(),
            moved: moved.map(|server| Box::new(server) as Box<dyn Moved>),
        };
        ingle_gateway::server::serve_admin(Arc::new(admin), &self.shared.tasks, listener);
        Ok(())
    }

    /// What `GET /v1/status` shows.
    pub(crate) fn status(&self) -> Value {
        status(&self.control, self.shared.address, &self.rooms.health)
    }

    /// No more commands come in.
    pub(crate) fn close_admin(&self) {
        std::fs::remove_file(&self.admin_socket).ok();
    }
}

fn texts(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Keys that are there but can't be used end the start, rather than to shut or open every door in silence (T-054).
fn check_keys(plan: &Plan) -> Result<(), CommandError> {
    if plan.auth {
        KeyFile::in_folder(&plan.state).read()?;
    }
    Ok(())
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

/// Opens the socket of an admin door, for the owner alone; none if its path is too long for one, which is told.
pub(crate) fn listen_admin(socket: &Path) -> Result<Option<UnixListener>, CommandError> {
    if socket.as_os_str().len() > SOCKET_PATH_MAX {
        tracing::warn!(
            "the path of the state folder is too long for a socket: `ingle send`, `state` and `invoke` can't reach this server"
        );
        return Ok(None);
    }
    // The store's lock is ours, so a socket that is still there belongs to a server that was killed.
    std::fs::remove_file(socket).ok();
    let listener = UnixListener::bind(socket).map_err(|error| {
        let message = format!("can't listen on '{}': {error}", socket.display());
        CommandError::new(MACHINE, "E0701", message)
    })?;
    restrict(socket);
    Ok(Some(listener))
}

/// How the HTTP door hands over events for handlers that nobody waits for.
pub(crate) fn takes(store: Store) -> Later {
    Arc::new(move |invocation| {
        let store = store.clone();
        Box::pin(async move { later::take(&store, invocation).await.map_err(|error| chain(&error)) })
    })
}

/// As .NET reads a switch.
fn is_on(value: &str) -> bool {
    value.trim() == "1" || value.trim().eq_ignore_ascii_case("true")
}

/// Makes a state folder, which keeps itself out of version control.
fn make_state(state: &Path) -> Result<(), CommandError> {
    let made = std::fs::create_dir_all(state).and_then(|()| {
        let ignore = state.join(".gitignore");
        if ignore.exists() { Ok(()) } else { std::fs::write(ignore, "*\n") }
    });
    made.map_err(|error| {
        let message = format!("can't make the state folder '{}': {error}", state.display());
        CommandError::new(MACHINE, "E0403", message).hint("choose another with --state")
    })
}

/// Opens the store in a state folder.
pub(crate) fn open_store(state: &Path, clock: ClockHandle, faults: Faults) -> Result<Store, CommandError> {
    make_state(state)?;
    let store = Store::open(ingle_store::Options::new(state.join("store")), clock, faults)?;
    // What workers of a server that died have left: it may have any form.
    if let Err(error) = ingle_sandbox::remove::tree(store.spool_folder())
        .and_then(|()| std::fs::create_dir(store.spool_folder()))
    {
        tracing::warn!(%error, "files that workers have left are still there");
    }
    Ok(store)
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

pub(crate) async fn log_levels(control: Control, change: Option<LevelChange>) -> Value {
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
