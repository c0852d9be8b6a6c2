//! The workers of one revision: who gets which slot, how many processes there are, and what happens after a crash.
//!
//! The least busy ready worker is taken, so that a crash takes down as little as possible. When there is no worker or
//! all are full, callers wait in the order in which they came ([`Pool::acquire`]); how many may wait is the caller's
//! business (`dispatch` admits). How many workers there are is decided in [`crate::scale`] and done in `supervise`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ingle_tasks::{TaskKind, Tasks};
use ingle_types::clock::ClockHandle;
use ingle_types::ids::WorkerId;
use ingle_types::log::LogSinkHandle;
use ingle_types::mask::Secrets;
use ingle_types::outcome::{Blame, Failure};
use ingle_types::spec::{DeclaredFunction, Dialect, WarmWindow};
use tokio::time::Instant;

use crate::birth::Maker;
use crate::bounds::Bounds;
use crate::courtesy::Courtesy;
use crate::debug::Debugging;
use crate::error::Error;
use crate::home::Confinement;
use crate::nursery::{ForkPolicy, Nursery, Parents, Way};
use crate::process::{Phase, Signals, Worker};
use crate::scale::Limits;
use crate::slot::Slot;
use crate::supervise::{Arrivals, Deaths};
use crate::waits::{Starting, Waiting, Waits};
use crate::warming::Warmup;
use crate::wire::message::{Loaded, ToWorker};
use crate::words::Words;

/// A lane beyond this many busy ones is opened only after a short wait: a quick function gives one back before, and
/// fewer threads compete for the interpreter's lock.
const LANES_QUICK: usize = 2;
const SPILL_AFTER: Duration = Duration::from_millis(1);

/// What to run, and how much of it.
#[derive(Clone)]
pub struct Options {
    pub python: PathBuf,
    /// Folder of our Python files, from [`crate::shim::install`].
    pub shim: PathBuf,
    pub app: AppToLoad,
    /// What the interpreter is started with. Apps that agree in this share a template.
    pub environment: BTreeMap<String, String>,
    /// What the app gets on top of it.
    pub settings: BTreeMap<String, String>,
    pub fork: ForkPolicy,
    pub limits: Limits,
    /// When more workers than the least number are kept.
    pub warm: Vec<WarmWindow>,
    /// When a worker is replaced though nothing is wrong with it.
    pub recycle: Recycle,
    /// Invocations of any kind that one worker may have at once; no bound but that of lanes if absent.
    pub concurrency: Option<usize>,
    /// `PYTHON_THREADPOOL_THREAD_COUNT`: `def` functions at once in one process.
    pub lanes_max: usize,
    /// Longest time for importing the app.
    pub import_timeout: Duration,
    pub development: bool,
    /// The folder into which workers write large outputs; `None`: they travel in frames. It has to be there.
    pub spool: Option<PathBuf>,
    /// Whether processes hand over the debug lines of Python's root logger, until [`Pool::log_debug_lines`].
    pub debug_lines: bool,
    /// Set when the processes are to be debugged.
    pub debugging: Option<Debugging>,
    pub bounds: Bounds,
    /// The box in which the app's processes live; none: they have the rights of the server.
    pub confinement: Option<Confinement>,
}

impl Options {
    /// Whether each worker has a machine of its own, whose kernel is a program.
    pub(crate) fn is_under_gvisor(&self) -> bool {
        self.confinement.as_ref().is_some_and(|confinement| confinement.spec.gvisor.is_some())
    }
}

/// When a worker is replaced by a fresh one, as its memory may have grown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recycle {
    pub after_invocations: Option<u64>,
    /// Resident memory in bytes.
    pub above_memory: Option<u64>,
}

/// The app as the worker's `load` names it.
#[derive(Clone, Debug)]
pub struct AppToLoad {
    pub root: PathBuf,
    pub dialect: Dialect,
    pub script_file: String,
    /// v1 only; v2 functions are found by importing.
    pub functions: Vec<DeclaredFunction>,
}

/// Which kind of slot a function needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotKind {
    /// `def`.
    Lane,
    /// `async def`.
    Loop,
}

/// Handle to the workers of one revision. Cheap to clone.
#[derive(Clone)]
pub struct Pool(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) tasks: Tasks,
    words: Arc<Words>,
    next: AtomicU64,
    pub(crate) nursery: Nursery,
    pub(crate) signals: Arc<Signals>,
    pub(crate) courtesy: Courtesy,
    state: Mutex<PoolState>,
    /// Callers that wait for a worker.
    pub(crate) waits: Waits,
    /// For the times of day in [`Options::warm`].
    pub(crate) clock: ClockHandle,
}

pub(crate) struct PoolState {
    pub(crate) workers: Vec<Arc<Worker>>,
    /// Why the last start failed, told to those who wait.
    pub(crate) failed: Option<Failure>,
    pub(crate) stopping: bool,
    pub(crate) warmup: Option<Warmup>,
    /// Of an invocation, or of the start.
    pub(crate) last_work: Option<Instant>,
    pub(crate) arrivals: Arrivals,
    pub(crate) deaths: Deaths,
    /// Whether processes hand over debug lines, if that was ever changed.
    debug_lines: bool,
}

/// A line of `ingle ps`.
#[derive(Debug, Clone)]
pub struct WorkerStatus {
    pub id: WorkerId,
    pub process_id: u32,
    pub phase: Phase,
    pub in_work: usize,
    pub lanes: usize,
    pub completed: u64,
    /// Resident, shared pages counted in full.
    pub memory_bytes: u64,
    /// The share of this process: each page divided by the number of processes that have it. 0 if unknown.
    pub proportional_bytes: u64,
}

/// What a look for a slot came to.
enum Found {
    Slot(Slot),
    /// A lane may be opened in this worker; it is counted already.
    NewLane(Arc<Worker>),
    /// As before, but it is worth waiting a moment for a lane in use.
    Spill,
    /// Every lane is in use.
    Saturated,
    /// No worker is ready.
    NoWorker,
}

impl Pool {
    pub fn new(
        options: Options,
        parents: &Parents,
        tasks: Tasks,
        sink: LogSinkHandle,
        clock: ClockHandle,
    ) -> Self {
        let debug_lines = options.debug_lines;
        let settings = options.environment.iter().chain(&options.settings);
        let secrets = Secrets::of(settings.map(|(name, value)| (name.as_str(), value.as_str())));
        let pool = Self(Arc::new(Inner {
            nursery: Nursery::new(parents, &options),
            options,
            tasks,
            words: Arc::new(Words::new(&sink, secrets)),
            next: AtomicU64::new(1),
            signals: Arc::default(),
            courtesy: Courtesy::default(),
            state: Mutex::new(PoolState {
                workers: Vec::new(),
                failed: None,
                stopping: false,
                warmup: None,
                debug_lines,
                last_work: None,
                arrivals: Arrivals::default(),
                deaths: Deaths::default(),
            }),
            waits: Waits::default(),
            clock,
        }));
        parents.zygotes.add(&pool.0);
        pool
    }

    /// Imports the app and tells what was found in it; from then on there are as many workers as there is work for.
    /// If there is to be a worker without work, the first of them is there when this returns.
    ///
    /// `expects_work`: the start counts as work, so that a spare waits for the first call.
    ///
    /// # Errors
    /// [`Error`] when the app can't be imported at all.
    pub async fn start(&self, expects_work: bool) -> Result<Loaded, Error> {
        let (loaded, first) = self.0.nursery.begin(&self.maker(), self.next_id()).await?;
        self.state().last_work = expects_work.then(Instant::now);
        match first {
            Some(worker) => self.admit(&worker),
            None if self.plan().start > 0 => self.start_worker().await?,
            None => {}
        }
        self.begin_to_supervise();
        Ok(loaded)
    }

    /// Begins with what an import has found before; the app is imported when there is work for it.
    pub fn resume(&self, loaded: &Loaded) {
        self.0.nursery.resume(loaded);
        self.0.nursery.expect_import(&self.maker());
        self.begin_to_supervise();
    }

    fn begin_to_supervise(&self) {
        self.begin_courtesy();
        let pool = self.clone();
        let supervise = async move { pool.supervise().await };
        drop(self.0.tasks.spawn(TaskKind::Supervisor, "pool", supervise));
    }

    /// How its workers are made; `None` before the start.
    pub fn way(&self) -> Option<Way> {
        self.0.nursery.way()
    }

    pub(crate) fn maker(&self) -> Maker<'_> {
        let inner = &*self.0;
        Maker {
            options: &inner.options,
            debug_lines: self.state().debug_lines,
            tasks: &inner.tasks,
            words: &inner.words,
            signals: &inner.signals,
        }
    }

    fn next_id(&self) -> WorkerId {
        WorkerId(self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn start_worker(&self) -> Result<(), Error> {
        let asked_at = Instant::now();
        let maker = self.maker();
        let worker = self.0.nursery.make(&maker, self.next_id()).await?;
        {
            let mut state = worker.state();
            state.asked_at = asked_at;
            state.worn_at = self.0.options.recycle.after_invocations;
        }
        self.admit(&worker);
        let debug_logging = self.state().debug_lines;
        if debug_logging != maker.debug_lines {
            // It was changed while the process was made. If that has ended already, whoever uses it finds out.
            worker.control.send(&ToWorker::Settings { debug_logging }).await.ok();
        }
        self.0.signals.room.notify_waiters();
        Ok(())
    }

    /// From now on processes hand over the debug lines of Python's root logger, or keep them to themselves. What is in
    /// work goes on.
    pub async fn log_debug_lines(&self, debug_logging: bool) {
        let workers = {
            let mut state = self.state();
            state.debug_lines = debug_logging;
            state.workers.clone()
        };
        // What is forked from the zygote has it from the beginning: a first call waits for no other socket.
        for worker in workers.into_iter().chain(self.0.nursery.zygote()) {
            worker.control.send(&ToWorker::Settings { debug_logging }).await.ok();
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, PoolState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells that somebody will ask for a worker, and has waited since `since`, so that one is made if that makes sense.
    pub fn expect(&self, since: Instant) -> Waiting<'_> {
        let waiting = self.0.waits.begin(since);
        self.0.signals.changed.notify_one();
        waiting
    }

    /// Waits for room in a worker, at the latest until `deadline`; tells how much of the time since `since` went into
    /// making that worker.
    ///
    /// # Errors
    /// A [`Failure`] that says why there is none: no worker comes to life, or all lanes stayed in use.
    pub async fn acquire(
        &self,
        kind: SlotKind,
        since: Instant,
        deadline: Instant,
    ) -> Result<(Slot, Starting), Failure> {
        self.note_arrival();
        let mut may_spill = false;
        let mut waiting = None;
        loop {
            let room = self.0.signals.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            let slot = match self.find(kind, may_spill) {
                Found::Slot(slot) => Some(slot),
                Found::NewLane(worker) => Some(Slot::on_new_lane(worker, self.0.tasks.clone()).await?),
                Found::Spill => {
                    may_spill = tokio::time::timeout(SPILL_AFTER, room).await.is_err();
                    continue;
                }
                Found::NoWorker => {
                    if let Some(failure) = self.why_none() {
                        return Err(failure);
                    }
                    None
                }
                Found::Saturated => None,
            };
            if let Some(slot) = slot {
                // Who need not wait got a worker that was there.
                let starting = waiting.map(|_| Starting::of(&slot.worker, since)).unwrap_or_default();
                return Ok((slot, starting));
            }
            if waiting.is_none() {
                waiting = Some(self.0.waits.begin(since));
                self.offer_what_warms();
                // The supervisor sees that somebody waits, and may make a worker.
                self.0.signals.changed.notify_one();
            }
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(waited_too_long(&self.state()));
            }
        }
    }

    fn find(&self, kind: SlotKind, may_spill: bool) -> Found {
        let options = &self.0.options;
        let cap = options.concurrency.unwrap_or(usize::MAX);
        loop {
            let (least_busy, may_grow) = {
                let state = self.state();
                let ready = state.workers.iter().filter(|worker| worker.state().phase == Phase::Ready);
                let least_busy = ready.min_by_key(|worker| worker.state().in_work).cloned();
                (least_busy, state.workers.len() < options.limits.max)
            };
            let Some(worker) = least_busy else { return Found::NoWorker };
            let mut state = worker.state();
            // It may have begun to drain since the look above (T-080).
            if state.phase != Phase::Ready {
                continue;
            }
            if state.in_work >= cap {
                return Found::Saturated;
            }
            let busy = state.lanes.saturating_sub(state.idle.len());
            let lane = match kind {
                SlotKind::Loop => None,
                SlotKind::Lane if busy >= LANES_QUICK && !may_spill => return Found::Spill,
                SlotKind::Lane => state.idle.pop(),
            };
            if kind == SlotKind::Lane && lane.is_none() {
                if state.lanes >= options.lanes_max {
                    return Found::Saturated;
                }
                state.lanes += 1;
            }
            state.in_work += 1;
            let in_work = state.in_work;
            drop(state);
            self.0.courtesy.begin();
            if may_grow && (in_work == 1 || in_work > options.limits.target) {
                self.0.signals.changed.notify_one();
            }
            let tasks = self.0.tasks.clone();
            return match (kind, lane) {
                (SlotKind::Loop, _) => Found::Slot(Slot::on_loop(worker, tasks)),
                (SlotKind::Lane, Some(lane)) => Found::Slot(Slot::on_lane(worker, tasks, lane)),
                (SlotKind::Lane, None) => Found::NewLane(worker),
            };
        }
    }

    fn why_none(&self) -> Option<Failure> {
        let state = self.state();
        if state.stopping {
            return Some(Error::Stopping.failure());
        }
        state.failed.clone()
    }

    /// The workers, least first.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        let workers = self.state().workers.clone();
        workers.iter().map(status).collect()
    }

    /// The process that the workers are forked from, if the app is imported before the fork.
    pub fn zygote(&self) -> Option<WorkerStatus> {
        self.0.nursery.zygote().as_ref().map(status)
    }

    /// Lets the workers finish what they have, up to `grace`, then ends them.
    pub async fn stop(&self, grace: Duration) {
        let workers = {
            let mut state = self.state();
            state.stopping = true;
            std::mem::take(&mut state.workers)
        };
        self.0.signals.room.notify_waiters();
        self.0.signals.changed.notify_one();
        self.0.courtesy.end();
        let until = Instant::now() + grace;
        for worker in &workers {
            worker.drain();
            worker.control.send(&ToWorker::Stop).await.ok();
        }
        for worker in workers {
            worker.end_by(until).await;
        }
        self.0.nursery.stop().await;
    }
}

fn status(worker: &Arc<Worker>) -> WorkerStatus {
    let state = worker.state();
    WorkerStatus {
        id: worker.id,
        process_id: worker.group.leader(),
        phase: state.phase,
        in_work: state.in_work,
        lanes: state.lanes,
        completed: state.completed,
        memory_bytes: worker.resident_bytes(),
        proportional_bytes: worker.proportional_bytes(),
    }
}

fn waited_too_long(state: &PoolState) -> Failure {
    let message = if state.workers.is_empty() {
        "no worker came to life in time".to_owned()
    } else {
        "all workers were busy until the deadline".to_owned()
    };
    let mut failure = Failure::new(Blame::Platform, "E0308", "NoRoom", message).not_started();
    failure.retry_after = Some(Duration::from_secs(1));
    failure
}
