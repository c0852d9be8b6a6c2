//! Generations: start, compare, swap, drain.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ingle_apps::{Failures, Progress, ReadOptions};
use ingle_connectors::{Accounts, ListenerRooms, listen, timer};
use ingle_dispatch::Dispatcher;
use ingle_store::Store;
use ingle_tasks::{Stopper, TaskKind, Tasks};
use ingle_types::clock::ClockHandle;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Invocation, Invoker, InvokerHandle};
use ingle_types::faults::Faults;
use ingle_types::health::Health;
use ingle_types::ids::InvocationId;
use ingle_types::log::{LogSinkHandle, RecordSinkHandle};
use ingle_types::outcome::{Blame, Failure, Outcome};
use ingle_types::problem::{Problem, Severity};
use ingle_types::spec::{AppSpec, CorsOptions, Isolation};
use ingle_worker::debug::Debugging;
use ingle_worker::{Loaded, Parents, Pool};
use tokio::time::Instant;

use crate::confine::Confined;
use crate::debug::Debugger;
use crate::error::Error;
use crate::load::{Importing, IndexPlace, Prepared, import_as_found, prepare, prepare_debugger};
use crate::log_filter::LogFilter;

mod levels;

/// How often an old generation is asked whether it has finished.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// How long its workers may take to exit when nothing is in work any more.
const EXIT_GRACE: Duration = Duration::from_secs(5);

pub struct Options {
    /// Folder of the app.
    pub folder: PathBuf,
    pub read: ReadOptions,
    /// The environment of the process, for the workers.
    pub variables: BTreeMap<String, String>,
    /// The folder with everything that is kept of the app.
    pub state: PathBuf,
    /// As the command line has it; it wins over the app's own word.
    pub isolation: Option<Isolation>,
    /// Variables of the process that functions see, besides those that the app names.
    pub environment: Vec<String>,
    /// Under which it is reached, with the port.
    pub hostname: String,
    /// Cross-origin rules from the command line; they win over the app's.
    pub cors: Option<CorsOptions>,
    /// Invocations of one function that may wait for a worker.
    pub waiting_max: usize,
    /// How long someone who waits for an answer may wait for a worker.
    pub wait_max: Duration,
    /// Start listeners; off when only single calls are made.
    pub listen: bool,
    /// Looks at a resolved app before it may serve: takes out what a door can't serve and says why.
    pub inspect: Inspect,
    /// The editor's debugger, with which one worker is debugged.
    pub debugger: Option<Debugger>,
    /// The folder in which what the app declares is kept, and whether an app that is known from there is imported only
    /// when there is work for it.
    pub index: Option<(PathBuf, bool)>,
    /// Before the sinks of [`Rooms`].
    pub log_filter: LogFilter,
}

pub type Inspect = Arc<dyn Fn(&mut AppSpec) + Send + Sync>;

/// The rooms that every generation works with.
#[derive(Clone)]
pub struct Rooms {
    pub store: Store,
    pub tasks: Tasks,
    pub clock: ClockHandle,
    pub faults: Faults,
    /// Shared by all apps of a server.
    pub parents: Parents,
    /// Where troubles with accounts are told.
    pub health: Health,
    pub sink: LogSinkHandle,
    pub records: RecordSinkHandle,
}

/// One version of the app at work.
pub struct Generation {
    /// Counted from 1.
    pub number: u32,
    pub prepared: Prepared,
    pub app: AppSpec,
    pub loaded: Loaded,
    pub process_count: usize,
    pub confined: Confined,
    pub pool: Pool,
    debugging: Option<Debugging>,
    dispatcher: Dispatcher,
    accounts: Accounts,
    listeners: Mutex<Vec<Stopper>>,
}

impl Generation {
    /// How many invocations are in work or wait, and how many have ever begun.
    pub(crate) fn activity(&self) -> (usize, u64) {
        self.dispatcher.activity()
    }

    fn stop_listeners(&self) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The accounts that this generation's bindings name.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Runs invocations in this generation.
    pub fn invoker(&self) -> InvokerHandle {
        Arc::new(self.dispatcher.clone())
    }
}

/// What came of a reload.
pub enum Event {
    /// The new generation serves.
    Reloaded { generation: Arc<Generation>, took: Duration },
    /// The last good generation keeps serving.
    Kept { problems: Vec<Problem>, took: Duration },
}

/// Handle to the app. Cheap to clone.
#[derive(Clone)]
pub struct Control(Arc<Inner>);

struct Inner {
    options: Options,
    rooms: Rooms,
    current: RwLock<Option<Arc<Generation>>>,
    next: AtomicU32,
    /// So that a timer of the new generation does not overlap one of the old.
    timers: timer::Board,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// It was tried once, at least.
    is_prepared: AtomicBool,
}

impl Control {
    pub fn new(options: Options, rooms: Rooms) -> Self {
        Self(Arc::new(Inner {
            options,
            rooms,
            current: RwLock::new(None),
            next: AtomicU32::new(1),
            timers: timer::Board::default(),
            reloading: tokio::sync::Mutex::new(()),
            is_prepared: AtomicBool::new(false),
        }))
    }

    /// Starts the first generation. What is wrong in the app is in its problems; the rest of it serves.
    ///
    /// # Errors
    /// [`Error`]: nothing can serve.
    pub async fn start(&self, prepared: Prepared) -> Result<Arc<Generation>, Error> {
        self.set_log_levels(&prepared.folder);
        let generation = self.build(prepared).await?;
        self.warm_up(&generation).await;
        self.take_over(&generation);
        Ok(generation)
    }

    pub fn current(&self) -> Option<Arc<Generation>> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts the next generation beside the current one, if there is one, and swaps if it is not worse.
    pub async fn reload(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Event {
        let _one_at_a_time = self.0.reloading.lock().await;
        let began = Instant::now();
        let built = match self.prepare(progress).await {
            Ok(prepared) => self.build(prepared).await,
            Err(error) => Err(error),
        };
        let kept = |problems| {
            if let Some(current) = self.current() {
                // It could not be imported anew from what is in the folder now.
                current.pool.pin_zygote();
            }
            Event::Kept { problems, took: began.elapsed() }
        };
        let generation = match built {
            Ok(generation) => generation,
            Err(error) => return kept(vec![as_problem(&error)]),
        };
        let before = self.current();
        // What serves nothing is no worse with whatever is found.
        let worse = before.as_ref().map(|old| worse(&old.app, &generation.app)).unwrap_or_default();
        if !worse.is_empty() {
            generation.pool.stop(EXIT_GRACE).await;
            return kept(worse);
        }
        self.debug(&generation).await;
        self.set_log_levels(&generation.prepared.folder);
        self.tell_workers(&generation).await;
        self.warm_up(&generation).await;
        self.take_over(&generation);
        if let Some(old) = before {
            let drain = drain(old, self.0.rooms.clone());
            drop(self.0.rooms.tasks.spawn(TaskKind::Supervisor, "old generation", drain));
        }
        Event::Reloaded { generation, took: began.elapsed() }
    }

    async fn prepare(&self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Prepared, Error> {
        let options = &self.0.options;
        let mut read = options.read.clone();
        if self.0.is_prepared.swap(true, Ordering::Relaxed) {
            // Whoever asks again may have mended what others failed by.
            read.failures = Failures::default();
        }
        let mut prepared = prepare(&options.folder, &read, progress).await?;
        if options.debugger.is_some() {
            prepare_debugger(&mut prepared, &read, progress).await?;
        }
        Ok(prepared)
    }

    /// Leads the editor to the worker of a generation that is about to take over.
    async fn debug(&self, generation: &Generation) {
        let (Some(debugger), Some(debugging)) = (&self.0.options.debugger, &generation.debugging) else {
            return;
        };
        let mut ports = debugging.ports();
        let port = *ports.borrow_and_update();
        if let Some(port) = port {
            debugger.lead_to(port).await;
        }
        debugger.follow(ports);
    }

    fn importing(&self, prepared: &Prepared, debugging: Option<Debugging>) -> Importing<'_> {
        let (options, rooms) = (&self.0.options, &self.0.rooms);
        let mut levels = self.log_levels();
        levels.set_app(&prepared.folder.host.log_levels, prepared.folder.logs_debug_lines());
        // Functions of a project share a store, but see nothing of each other.
        let folders = options.read.member.is_none().then_some(&rooms.store);
        Importing {
            cache: &options.read.cache,
            variables: &options.variables,
            hostname: &options.hostname,
            tasks: &rooms.tasks,
            clock: rooms.clock.clone(),
            sink: rooms.sink.clone(),
            parents: &rooms.parents,
            spool: folders.map(|store| store.spool_folder().to_owned()),
            handed: folders.map(|store| store.handed_folder().to_owned()),
            state: Some(options.state.clone()),
            isolation: options.isolation,
            named: &options.environment,
            debug_lines: levels.wants_debug_lines(),
            debugging,
            index: options.index.as_ref().map(|(state, is_lazy)| IndexPlace { state, is_lazy: *is_lazy }),
        }
    }

    async fn build(&self, mut prepared: Prepared) -> Result<Arc<Generation>, Error> {
        let (options, rooms) = (&self.0.options, &self.0.rooms);
        let debugging =
            options.debugger.as_ref().map(|debugger| debugger.debugging(prepared.debugger.clone()));
        if let (None, Some(debugger), Some(debugging)) = (self.current(), &options.debugger, &debugging) {
            // The first process may wait for the editor before it imports the app.
            debugger.follow(debugging.ports());
        }
        let importing = |prepared: &Prepared| self.importing(prepared, debugging.clone());
        let imported = import_as_found(&mut prepared, importing).await?;
        let mut app = imported.app;
        if options.cors.is_some() {
            app.host.cors.clone_from(&options.cors);
        }
        (options.inspect)(&mut app);
        let admission = &prepared.folder.admission;
        let dispatch = ingle_dispatch::Options {
            function_timeout: app.host.function_timeout,
            waiting_max: admission.waiting_max.unwrap_or(options.waiting_max),
            wait_max: admission.wait_max.unwrap_or(options.wait_max),
            hops_max: admission.hops_max(),
            concurrency: admission.concurrency.clone(),
            departures: admission.departures.clone(),
            message_encoding: app.host.queues.message_encoding,
            warm_up: prepared.folder.workers.warm_up.as_ref().map(|warm_up| warm_up.function.clone()),
        };
        let accounts = Accounts::copying_to(
            rooms.store.handed_folder().to_owned(),
            rooms.clock.clone(),
            rooms.health.clone(),
        );
        let dispatcher = Dispatcher::new(
            &app,
            dispatch,
            ingle_dispatch::Rooms {
                store: rooms.store.clone(),
                accounts: accounts.clone(),
                pool: imported.pool.clone(),
                tasks: rooms.tasks.clone(),
                clock: rooms.clock.clone(),
                faults: rooms.faults.clone(),
                records: rooms.records.clone(),
            },
        );
        Ok(Arc::new(Generation {
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
            prepared,
            app,
            loaded: imported.loaded,
            process_count: imported.process_count,
            confined: imported.confined,
            pool: imported.pool,
            debugging,
            dispatcher,
            accounts,
            listeners: Mutex::default(),
        }))
    }

    /// Runs the app's warmup function in each worker before any work comes.
    async fn warm_up(&self, generation: &Generation) {
        if self.0.options.listen {
            generation.dispatcher.warm_up().await;
        }
    }

    /// Makes a generation the current one: the old listeners stop to fetch before the new ones begin.
    fn take_over(&self, generation: &Arc<Generation>) {
        let old = {
            let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
            current.replace(generation.clone())
        };
        if let Some(old) = old {
            old.stop_listeners();
        }
        self.listen(generation);
    }

    fn listen(&self, generation: &Generation) {
        if !self.0.options.listen {
            return;
        }
        let rooms = ListenerRooms {
            store: self.0.rooms.store.clone(),
            invoker: generation.invoker(),
            tasks: self.0.rooms.tasks.clone(),
            clock: self.0.rooms.clock.clone(),
            host: generation.app.host.clone(),
            accounts: generation.accounts.clone(),
            hops_max: generation.prepared.folder.admission.hops_max(),
        };
        let active = generation.app.functions.iter().filter(|function| !function.disabled);
        let mut started: Vec<Stopper> = active.flat_map(|function| listen(function, &rooms)).collect();
        started.extend(timer::listen_all(&generation.app.functions, &rooms, &self.0.timers));
        *generation.listeners.lock().unwrap_or_else(PoisonError::into_inner) = started;
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    pub(crate) fn timers(&self) -> &timer::Board {
        &self.0.timers
    }

    /// Listeners see it and end; nothing that is in work is.
    pub(crate) fn stop_listeners(&self) {
        if let Some(generation) = self.current() {
            generation.stop_listeners();
        }
    }

    pub(crate) fn start_listeners(&self) {
        if let Some(generation) = self.current() {
            self.listen(&generation);
        }
    }

    /// Whether timers are to start nothing from now on. Lasts over new generations.
    pub fn pause_timers(&self, is_paused: bool) {
        self.0.timers.pause(is_paused);
    }

    pub fn timers_are_paused(&self) -> bool {
        self.0.timers.is_paused()
    }

    /// Lets whatever stands at a breakpoint go on.
    pub async fn stop_debugging(&self) {
        if let Some(debugger) = &self.0.options.debugger {
            debugger.let_go().await;
        }
    }

    /// Ends the workers of the current generation. Old ones are ended with the tasks that drain them, the templates by
    /// whoever has made them.
    pub async fn stop(&self, grace: Duration) {
        if let Some(generation) = self.current() {
            generation.pool.stop(grace).await;
        }
    }
}

impl Invoker for Control {
    /// Runs the invocation in whichever generation is current now.
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        match self.current() {
            Some(generation) => generation.dispatcher.invoke(invocation),
            None => Box::pin(std::future::ready(not_started(invocation.id))),
        }
    }
}

fn not_started(id: InvocationId) -> Completion {
    let failure =
        Failure::new(Blame::Platform, "E0304", "WorkerNotStarted", "the app is still being imported");
    Completion {
        id,
        outcome: Outcome::Rejected(failure.not_started()),
        phases: ingle_types::event::Phases::default(),
        effects: Vec::new(),
        log: None,
    }
}

/// Waits until nothing is in work, then ends the workers.
async fn drain(old: Arc<Generation>, rooms: Rooms) {
    old.dispatcher.retire();
    let limit = old.app.host.function_timeout.map(|timeout| Instant::now() + timeout);
    while !old.dispatcher.is_idle() && limit.is_none_or(|limit| Instant::now() < limit) {
        tokio::time::sleep(DRAIN_STEP).await;
    }
    old.pool.stop(EXIT_GRACE).await;
    drop(rooms);
}

/// The errors that the next version has and the current one has not. Any is a reason to keep the current one.
fn worse(current: &AppSpec, next: &AppSpec) -> Vec<Problem> {
    let is_error = |problem: &&Problem| problem.severity == Severity::Error;
    let known = |problem: &Problem| {
        current.problems.iter().any(|old| {
            (old.severity, &old.code, &old.function, &old.file)
                == (problem.severity, &problem.code, &problem.function, &problem.file)
        })
    };
    next.problems.iter().filter(is_error).filter(|problem| !known(problem)).cloned().collect()
}

fn as_problem(error: &Error) -> Problem {
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    let mut problem = Problem::error(error.code(), message);
    problem.fix = error.hint();
    problem.detail = error.detail();
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::spec::{Dialect, HostConfig};

    fn app(problems: Vec<Problem>) -> AppSpec {
        AppSpec {
            name: "a".to_owned(),
            root: PathBuf::new(),
            dialect: Dialect::AzureV2,
            host: HostConfig::default(),
            functions: Vec::new(),
            problems,
        }
    }

    #[test]
    fn only_new_errors_make_a_version_worse() {
        let error = |line| Problem::error("E0202", "syntax").at("function_app.py", Some(line));
        let check = |old: Vec<Problem>, new: Vec<Problem>| worse(&app(old), &app(new)).len();
        assert_eq!(check(vec![], vec![error(3)]), 1);
        // The same error, moved by an edit elsewhere, is no reason to hold back that edit.
        assert_eq!(check(vec![error(3)], vec![error(5)]), 0);
        assert_eq!(check(vec![error(3)], vec![]), 0);
        assert_eq!(check(vec![], vec![Problem::warning("E0111", "key")]), 0);
    }
}
