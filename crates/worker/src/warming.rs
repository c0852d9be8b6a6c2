//! From a new process to one that takes work: what the app wants to run in it before, and when there is no time for that.
//!
//! A process for which nobody waits is warmed first, and offered then. Whoever has to wait for a worker gets one that is
//! just being warmed at once, and a process that was made for somebody who waits is not warmed at all: its first call
//! does what the warming would have done, and there is nothing to be gained by doing it before.

use std::sync::Arc;

use ingle_tasks::TaskKind;
use ingle_types::event::futures::BoxFuture;
use tokio::time::Instant;

use crate::pool::{Pool, SlotKind};
use crate::process::{Phase, Worker};
use crate::slot::Slot;

/// What runs in each process before it takes work.
#[derive(Clone)]
pub(crate) struct Warmup {
    kind: SlotKind,
    run: WarmupRun,
}

/// Runs a call in a slot to its end. What comes of it is for the logs: the process takes work in any case.
pub type WarmupRun = Arc<dyn Fn(Slot) -> BoxFuture<()> + Send + Sync>;

impl Pool {
    /// Lets work into a new process: at once, or when it is warm. That is not waited for.
    pub(crate) fn admit(&self, worker: &Arc<Worker>) {
        let mut state = self.state();
        if state.stopping {
            drop(state);
            worker.end();
            return;
        }
        let has_time = self.0.waits.count() == 0;
        let warmup = state.warmup.clone().filter(|_| has_time);
        {
            let mut its = worker.state();
            its.offered_at = Instant::now();
            if warmup.is_some() && its.phase == Phase::Ready {
                its.phase = Phase::Warming;
            }
        }
        state.workers.push(worker.clone());
        state.failed = None;
        drop(state);
        let Some(warmup) = warmup else { return };
        let (pool, worker) = (self.clone(), worker.clone());
        let name = format!("{} warms up", worker.id);
        let warm = async move {
            pool.warm(worker.clone(), &warmup).await;
            offer(&worker);
            pool.0.signals.room.notify_waiters();
            pool.0.signals.changed.notify_one();
        };
        drop(self.0.tasks.spawn(TaskKind::WorkerPort, name, warm));
    }

    /// Somebody waits: processes that are being warmed take work from now on.
    pub(crate) fn offer_what_warms(&self) {
        let state = self.state();
        if state.warmup.is_none() || !state.workers.iter().any(offer) {
            return;
        }
        drop(state);
        self.0.signals.room.notify_waiters();
    }

    async fn warm(&self, worker: Arc<Worker>, warmup: &Warmup) {
        let lane = {
            let mut state = worker.state();
            state.in_work += 1;
            let lane = if warmup.kind == SlotKind::Lane { state.idle.pop() } else { None };
            state.lanes += usize::from(warmup.kind == SlotKind::Lane && lane.is_none());
            lane
        };
        let tasks = self.0.tasks.clone();
        let slot = match (warmup.kind, lane) {
            (SlotKind::Loop, _) => Ok(Slot::on_loop(worker, tasks)),
            (SlotKind::Lane, Some(lane)) => Ok(Slot::on_lane(worker, tasks, lane)),
            (SlotKind::Lane, None) => Slot::on_new_lane(worker, tasks).await,
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
}

/// Lets work in, also if it is not warm yet; `false` if it took work already, or takes none any more.
fn offer(worker: &Arc<Worker>) -> bool {
    let mut state = worker.state();
    let is_warming = state.phase == Phase::Warming;
    if is_warming {
        state.phase = Phase::Ready;
        state.offered_at = Instant::now();
    }
    is_warming
}
