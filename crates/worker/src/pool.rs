//! The workers of one revision: who gets which slot, how many processes there are, and what happens after a crash.
//!
//! The least busy ready worker is taken, so that a crash takes down as little as possible. When every lane is in
//! use, callers wait in the order in which they came ([`Pool::acquire`]); how many may wait is the caller's
//! business (`dispatch` admits). A process that dies is replaced at once, unless processes die one after the
//! other: then the pause before the next doubles, up to ten seconds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ingle_tasks::{TaskKind, Tasks};
use ingle_types::event::futures::BoxFuture;
use ingle_types::ids::WorkerId;
use ingle_types::log::LogSinkHandle;
use ingle_types::outcome::{Blame, Failure};
use ingle_types::spec::{DeclaredFunction, Dialect};
use tokio::time::Instant;

use crate::debug::Debugging;
use crate::error::Error;
use crate::process::{Phase, Signals, Worker};
use crate::slot::Slot;
use crate::wire::message::{Loaded, ToWorker};

const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A process that lived this long was no crash loop.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// Deaths that are mended at once before the pauses begin.
const DEATHS_FREE: u32 = 3;
/// A lane beyond this many busy ones is opened only after a short wait: a quick function gives one back before, and
/// fewer threads compete for the interpreter's lock.
const LANES_QUICK: usize = 2;
const SPILL_AFTER: Duration = Duration::from_millis(1);

/// What to run, and how much of it.
#[derive(Clone, Debug)]
pub struct Options {
    pub python: PathBuf,
    /// Folder of our Python files, from [`crate::shim::install`].
    pub shim: PathBuf,
    pub app: AppToLoad,
    /// The whole environment of the process.
    pub environment: BTreeMap<String, String>,
    /// `FUNCTIONS_WORKER_PROCESS_COUNT`.
    pub process_count: usize,
    /// `PYTHON_THREADPOOL_THREAD_COUNT`: `def` functions at once in one process.
    pub lanes_max: usize,
    /// Longest time for importing the app.
    pub import_timeout: Duration,
    pub development: bool,
    /// Set when the processes are to be debugged.
    pub debugging: Option<Debugging>,
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
pub struct Pool(Arc<Inner>);

struct Inner {
    options: Options,
    tasks: Tasks,
    sink: LogSinkHandle,
    next: AtomicU64,
    signals: Arc<Signals>,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    workers: Vec<Arc<Worker>>,
    /// Why the last start failed, told to those who wait.
    failed: Option<Failure>,
    stopping: bool,
    warmup: Option<Warmup>,
    /// Whether processes hand over debug lines, if that was ever changed.
    debug_lines: Option<bool>,
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
    pub memory_bytes: u64,
}

/// What runs in each process before it takes work.
#[derive(Clone)]
struct Warmup {
    kind: SlotKind,
    run: WarmupRun,
}

/// Runs a call in a slot to its end. What comes of it is for the logs: the process takes work in any case.
pub type WarmupRun = Arc<dyn Fn(Slot) -> BoxFuture<()> + Send + Sync>;

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
    pub fn new(options: Options, tasks: Tasks, sink: LogSinkHandle) -> Self {
        Self(Arc::new(Inner {
            options,
            tasks,
            sink,
            next: AtomicU64::new(1),
            signals: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// Starts the first worker and tells what it found in the app; then keeps the wished number alive.
    ///
    /// # Errors
    /// [`Error`] when the first process does not come to life.
    pub async fn start(&self) -> Result<Loaded, Error> {
        let (worker, loaded) = self.start_worker().await?;
        let pool = self.clone();
        let supervise = async move { pool.supervise(worker).await };
        drop(self.0.tasks.spawn(TaskKind::Supervisor, "pool", supervise));
        Ok(loaded)
    }

    async fn start_worker(&self) -> Result<(Arc<Worker>, Loaded), Error> {
        let id = WorkerId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let inner = &self.0;
        let started = Worker::start(id, &inner.options, &inner.tasks, &inner.sink, &inner.signals).await;
        let (worker, loaded) = started?;
        let debug_lines = self.state().debug_lines;
        if let Some(debug_logging) = debug_lines {
            // If the process has ended already, whoever uses it finds out.
            worker.control.send(&ToWorker::Settings { debug_logging }).await.ok();
        }
        self.admit(&worker).await;
        inner.signals.room.notify_waiters();
        Ok((worker, loaded))
    }

    /// Lets work into a new process, after it was warmed if there is something to warm it with.
    async fn admit(&self, worker: &Arc<Worker>) {
        let mut is_warm = false;
        loop {
            let warmup = {
                let mut state = self.state();
                match state.warmup.clone().filter(|_| !is_warm) {
                    Some(warmup) => warmup,
                    None => {
                        state.workers.push(worker.clone());
                        state.failed = None;
                        return;
                    }
                }
            };
            self.warm(worker.clone(), &warmup).await;
            is_warm = true;
        }
    }

    async fn warm(&self, worker: Arc<Worker>, warmup: &Warmup) {
        worker.state().in_work += 1;
        let slot = match warmup.kind {
            SlotKind::Loop => Ok(Slot::on_loop(worker, self.0.tasks.clone())),
            SlotKind::Lane => {
                worker.state().lanes += 1;
                self.open_lane(worker).await
            }
        };
        match slot {
            Ok(slot) => (warmup.run)(slot).await,
            Err(failure) => {
                tracing::warn!(code = failure.code, "a worker was not warmed: {}", failure.message)
            }
        }
    }

    /// From now on each process is warmed before it takes work; those that run already are warmed now, which this
    /// waits for. So it is called before any work is let in.
    pub async fn warm_with(&self, kind: SlotKind, run: WarmupRun) {
        let warmup = Warmup { kind, run };
        let workers = {
            let mut state = self.state();
            state.warmup = Some(warmup.clone());
            state.workers.clone()
        };
        for worker in workers {
            self.warm(worker, &warmup).await;
        }
    }

    /// From now on processes hand over the debug lines of Python's root logger, or keep them to themselves. What is in
    /// work goes on.
    pub async fn log_debug_lines(&self, debug_logging: bool) {
        let workers = {
            let mut state = self.state();
            state.debug_lines = Some(debug_logging);
            state.workers.clone()
        };
        for worker in workers {
            worker.control.send(&ToWorker::Settings { debug_logging }).await.ok();
        }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `process_count` processes that take work.
    async fn supervise(self, first: Arc<Worker>) {
        let mut deaths = 0;
        let mut newest = (first, Instant::now());
        loop {
            if self.sweep() == 0 {
                // A change since the look above is remembered by the signal.
                self.0.signals.changed.notified().await;
                continue;
            }
            let first_time = self.0.next.load(Ordering::Relaxed) <= self.0.options.process_count as u64;
            if !first_time {
                deaths = if newest.1.elapsed() > HEALTHY_AFTER { 1 } else { deaths + 1 };
                tokio::time::sleep(back_off(deaths)).await;
            }
            match self.start_worker().await {
                Ok((worker, _)) => newest = (worker, Instant::now()),
                Err(error) => {
                    tracing::error!(code = error.code(), "{error}");
                    self.state().failed = Some(error.failure());
                    self.0.signals.room.notify_waiters();
                    newest.1 = Instant::now();
                }
            }
        }
    }

    /// Forgets workers that are gone and counts how many are missing.
    fn sweep(&self) -> usize {
        let mut state = self.state();
        state.workers.retain(|worker| worker.state().phase != Phase::Gone);
        if state.stopping {
            return 0;
        }
        let serving = state.workers.iter().filter(|worker| worker.state().phase == Phase::Ready).count();
        self.0.options.process_count.saturating_sub(serving)
    }

    /// Waits for room in a worker, at the latest until `deadline`; tells how long no worker was there at all.
    ///
    /// # Errors
    /// A [`Failure`] that says why there is none: no worker comes to life, or all lanes stayed in use.
    pub async fn acquire(&self, kind: SlotKind, deadline: Instant) -> Result<(Slot, Duration), Failure> {
        let mut may_spill = false;
        let mut starting = Duration::ZERO;
        loop {
            let room = self.0.signals.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.find(kind, may_spill) {
                Found::Slot(slot) => return Ok((slot, starting)),
                Found::NewLane(worker) => return Ok((self.open_lane(worker).await?, starting)),
                Found::Spill => {
                    may_spill = tokio::time::timeout(SPILL_AFTER, room).await.is_err();
                    continue;
                }
                Found::NoWorker => {
                    if let Some(failure) = self.why_none() {
                        return Err(failure);
                    }
                    let began = Instant::now();
                    let waited = tokio::time::timeout_at(deadline, room).await;
                    starting += began.elapsed();
                    if waited.is_err() {
                        return Err(waited_too_long(&self.state()));
                    }
                    continue;
                }
                Found::Saturated => {}
            }
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(waited_too_long(&self.state()));
            }
        }
    }

    fn find(&self, kind: SlotKind, may_spill: bool) -> Found {
        let state = self.state();
        let ready = state.workers.iter().filter(|worker| worker.state().phase == Phase::Ready);
        let Some(worker) = ready.min_by_key(|worker| worker.state().in_work).cloned() else {
            return Found::NoWorker;
        };
        drop(state);
        let mut state = worker.state();
        if kind == SlotKind::Loop {
            state.in_work += 1;
            drop(state);
            return Found::Slot(Slot::on_loop(worker, self.0.tasks.clone()));
        }
        let busy = state.lanes.saturating_sub(state.idle.len());
        if busy >= LANES_QUICK && !may_spill {
            return Found::Spill;
        }
        if let Some(lane) = state.idle.pop() {
            state.in_work += 1;
            drop(state);
            return Found::Slot(Slot::on_lane(worker, self.0.tasks.clone(), lane));
        }
        if state.lanes >= self.0.options.lanes_max {
            return Found::Saturated;
        }
        state.lanes += 1;
        state.in_work += 1;
        drop(state);
        Found::NewLane(worker)
    }

    async fn open_lane(&self, worker: Arc<Worker>) -> Result<Slot, Failure> {
        match worker.open_lane().await {
            Ok(lane) => Ok(Slot::on_lane(worker, self.0.tasks.clone(), lane)),
            Err(error) => {
                let mut state = worker.state();
                state.lanes = state.lanes.saturating_sub(1);
                state.in_work = state.in_work.saturating_sub(1);
                drop(state);
                worker.make_room();
                let message = format!("can't open a lane in {}: {error}", worker.id);
                Err(Failure::new(Blame::Platform, "E0303", "WorkerEnded", message).not_started())
            }
        }
    }

    fn why_none(&self) -> Option<Failure> {
        let state = self.state();
        if state.stopping {
            return Some(Error::Stopping.failure());
        }
        state.failed.clone()
    }

    pub fn workers(&self) -> Vec<WorkerStatus> {
        let workers = self.state().workers.clone();
        let status = |worker: &Arc<Worker>| {
            let state = worker.state();
            WorkerStatus {
                id: worker.id,
                process_id: worker.group.leader(),
                phase: state.phase,
                in_work: state.in_work,
                lanes: state.lanes,
                completed: state.completed,
                memory_bytes: worker.group.memory_bytes(),
            }
        };
        workers.iter().map(status).collect()
    }

    /// Lets the workers finish what they have, up to `grace`, then ends them.
    pub async fn stop(&self, grace: Duration) {
        let workers = {
            let mut state = self.state();
            state.stopping = true;
            std::mem::take(&mut state.workers)
        };
        self.0.signals.room.notify_waiters();
        let until = Instant::now() + grace;
        for worker in &workers {
            worker.drain();
            worker.control.send(&ToWorker::Stop).await.ok();
        }
        for worker in workers {
            if tokio::time::timeout_at(until, worker.ended()).await.is_err() {
                worker.state().stopped = true;
                worker.group.kill();
                worker.ended().await;
            }
        }
    }
}

fn back_off(deaths: u32) -> Duration {
    if deaths <= DEATHS_FREE {
        return Duration::ZERO;
    }
    let doublings = (deaths - DEATHS_FREE - 1).min(16);
    BACK_OFF_FIRST.saturating_mul(1 << doublings).min(BACK_OFF_MAX)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_begin_after_three_deaths_and_double_up_to_ten_seconds() {
        let pauses: Vec<u64> =
            (1..=12).map(|deaths| u64::try_from(back_off(deaths).as_millis()).unwrap()).collect();
        assert_eq!(pauses, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }
}
