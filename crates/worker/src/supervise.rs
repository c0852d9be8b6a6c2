//! Makes workers where some are missing, and retires those that nobody needs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ingle_tasks::TaskKind;
use ingle_types::clock::ClockHandle;
use tokio::time::Instant;

use crate::keep_alive::{self, Gaps};
use crate::pool::{Pool, PoolState};
use crate::process::{Phase, Worker};
use crate::scale::{self, Demand, Limits, desired};
use crate::wire::message::ToWorker;

const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);
/// A time this long without a death is no crash loop.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// Deaths that are mended at once before the pauses begin.
const DEATHS_FREE: u32 = 3;
/// How long a worker that is not needed any more may take to exit.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// How soon it is noticed that the clock of the machine was set, or that the machine slept.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// What is to be done now.
#[derive(Default)]
pub(crate) struct Plan {
    /// Workers to make.
    pub(crate) start: usize,
    retire: Vec<Arc<Worker>>,
    /// When to look again if nothing happens.
    next_look: Option<Instant>,
    /// The time of day at which to look again.
    next_edge: Option<SystemTime>,
}

impl Plan {
    fn look_at(&mut self, at: Instant) {
        self.next_look = Some(self.next_look.map_or(at, |other| other.min(at)));
    }
}

/// Deaths in a row, so that a crash loop gets pauses.
#[derive(Default)]
pub(crate) struct Deaths {
    count: u32,
    last: Option<Instant>,
}

impl Deaths {
    fn add(&mut self, now: Instant) {
        let is_new = self.last.is_none_or(|last| now.duration_since(last) > HEALTHY_AFTER);
        self.count = if is_new { 1 } else { self.count + 1 };
        self.last = Some(now);
    }

    /// When the next worker may be made.
    fn pause_until(&self) -> Option<Instant> {
        self.last.map(|last| last + back_off(self.count))
    }
}

/// When invocations came, for a time without work that follows the gaps between them.
#[derive(Default)]
pub(crate) struct Arrivals {
    last: Option<Instant>,
    gaps: Gaps,
}

impl Pool {
    /// An invocation asks for a worker.
    pub(crate) fn note_arrival(&self) {
        if !self.0.options.limits.adapts {
            return;
        }
        let now = Instant::now();
        let mut state = self.state();
        let Some(before) = state.arrivals.last.replace(now) else { return };
        // The quick answer for all but the first of a burst.
        if now.duration_since(before) < keep_alive::IDLE_MIN {
            return;
        }
        // Work may have gone on since the last one came.
        let end = |worker: &Arc<Worker>| {
            let its = worker.state();
            if its.in_work > 0 { now } else { its.idle_since }
        };
        let last_end = state.workers.iter().map(end).max().unwrap_or(before);
        let quiet_since = before.max(last_end).max(state.last_work.unwrap_or(before));
        state.arrivals.gaps.observe(now.duration_since(quiet_since));
    }

    /// What the app allows, with the number and the time without work that are good now.
    fn limits(&self, arrivals: &Arrivals) -> Limits {
        let options = &self.0.options;
        let kept = scale::kept(&options.warm, self.0.clock.now());
        let limits = Limits { min: options.limits.min.max(kept), ..options.limits };
        if !limits.adapts {
            return limits;
        }
        Limits { idle_timeout: arrivals.gaps.idle_timeout(limits.idle_timeout), ..limits }
    }

    /// Keeps the number of workers right, until the pool stops.
    pub(crate) async fn supervise(self) {
        loop {
            let plan = self.plan();
            for worker in plan.retire {
                self.retire(worker);
            }
            if self.state().stopping {
                return;
            }
            if plan.start == 0 {
                if let Err(error) = self.0.nursery.mend(&self.maker()).await {
                    // Whoever needs a worker tries again, and is told.
                    tracing::error!(code = error.code(), "{}", error.failure().message);
                }
                // A change since the look above is remembered by the signal.
                tokio::select! {
                    () = self.0.signals.changed.notified() => {}
                    () = until(plan.next_look) => {}
                    () = until_time(&self.0.clock, plan.next_edge) => {}
                }
                continue;
            }
            let pause = self.state().deaths.pause_until();
            if let Some(until) = pause {
                tokio::time::sleep_until(until).await;
            }
            if let Err(error) = self.start_worker().await {
                let failure = error.failure();
                tracing::error!(code = failure.code, "{}", failure.message);
                let mut state = self.state();
                state.failed = Some(failure);
                state.deaths.add(Instant::now());
                drop(state);
                self.0.signals.room.notify_waiters();
            }
        }
    }

    /// Forgets workers that are gone, and compares what there is with what there should be.
    pub(crate) fn plan(&self) -> Plan {
        let options = &self.0.options;
        let now = Instant::now();
        let (waiting, oldest) = (self.0.waits.count(), self.0.waits.oldest());
        let mut state = self.state();
        state.forget_gone(now);
        if state.stopping {
            return Plan::default();
        }
        let next_edge = scale::next_edge(&options.warm, self.0.clock.now());
        let mut plan = Plan { next_edge, ..Plan::default() };
        let (mut in_work, mut in_use) = (0, 0);
        let mut idle = Vec::new();
        let mut ready = 0;
        for worker in &state.workers {
            let its = worker.state();
            match its.phase {
                Phase::Ready => {}
                // Soon there; nobody waits for it, or it would be ready.
                Phase::Warming => {
                    ready += 1;
                    continue;
                }
                Phase::Loading | Phase::Parent | Phase::Draining | Phase::Gone => continue,
            }
            let is_worn = options.recycle.after_invocations.is_some_and(|most| its.completed >= most);
            let idle_since = its.idle_since;
            in_work += its.in_work;
            in_use += usize::from(its.in_work > 0);
            let is_idle = its.in_work == 0;
            drop(its);
            if is_worn || options.recycle.above_memory.is_some_and(|most| worker.memory_bytes() > most) {
                plan.retire.push(worker.clone());
                continue;
            }
            ready += 1;
            if is_idle {
                idle.push((idle_since, worker.clone()));
            }
        }
        let latest = idle.iter().map(|(since, _)| *since).max();
        state.last_work = if in_work > 0 { Some(now) } else { latest.max(state.last_work) };
        let limits = self.limits(&state.arrivals);
        let quiet_for = state.last_work.map_or(Duration::MAX, |at| now.duration_since(at));
        let oldest_for = oldest.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let demand = Demand { waiting, in_work, oldest: oldest_for, quiet_for };
        let mut wanted = desired(limits, demand, in_use);
        if state.failed.is_some() {
            // Those who ask are told of the failure, so nobody waits; it is tried again all the same.
            wanted = wanted.max(1);
        }
        drop(state);
        plan.start = wanted.saturating_sub(ready);
        if in_use > 0 {
            // Nobody tells when they have finished; before this time none of them is idle for too long.
            plan.look_at(now + limits.idle_timeout);
        }
        if let Some(since) = oldest.filter(|_| ready < limits.max) {
            plan.look_at(since + scale::next_overdue(oldest_for));
        }
        idle.sort_by_key(|(since, _)| *since);
        for (since, worker) in idle {
            let at = since + limits.idle_timeout;
            if at > now {
                plan.look_at(at);
            } else if ready > wanted {
                ready -= 1;
                plan.retire.push(worker);
            } else if waiting > 0 {
                // Whoever waits is about to take it, and nobody tells of that: it took longer to start than it may be
                // without work.
                plan.look_at(now + limits.idle_timeout);
            }
        }
        plan
    }

    /// Lets a worker finish what it has, then ends it. It gets no more work from now on.
    fn retire(&self, worker: Arc<Worker>) {
        worker.drain();
        self.state().workers.retain(|other| other.id != worker.id);
        let name = format!("{} retires", worker.id);
        let end = async move {
            worker.idle().await;
            worker.control.send(&ToWorker::Stop).await.ok();
            worker.end_by(Instant::now() + EXIT_GRACE).await;
        };
        drop(self.0.tasks.spawn(TaskKind::WorkerPort, name, end));
    }
}

impl PoolState {
    fn forget_gone(&mut self, now: Instant) {
        let before = self.workers.len();
        self.workers.retain(|worker| worker.state().phase != Phase::Gone);
        for _ in self.workers.len()..before {
            self.deaths.add(now);
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for a time of day. A clock that goes by itself may be set, so it is looked at again after a while.
async fn until_time(clock: &ClockHandle, time: Option<SystemTime>) {
    let Some(time) = time else { return std::future::pending().await };
    match clock.moved() {
        Some(moved) => moved.until(time).await,
        None => {
            let left = time.duration_since(clock.now()).unwrap_or_default();
            tokio::time::sleep(left.min(LOOK_AT_CLOCK)).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::clock::ManualClock;

    #[test]
    fn pauses_begin_after_three_deaths_and_double_up_to_ten_seconds() {
        let pauses: Vec<u64> =
            (1..=12).map(|deaths| u64::try_from(back_off(deaths).as_millis()).unwrap()).collect();
        assert_eq!(pauses, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn deaths_are_forgotten_after_a_quiet_time() {
        let mut deaths = Deaths::default();
        for _ in 0..5 {
            deaths.add(Instant::now());
        }
        assert_eq!(deaths.pause_until(), Some(Instant::now() + Duration::from_millis(200)));
        tokio::time::advance(HEALTHY_AFTER * 2).await;
        deaths.add(Instant::now());
        assert_eq!(deaths.pause_until(), Some(Instant::now()));
    }

    /// A machine may sleep, and its clock may be set: then the edge of a part of the day comes earlier than was thought.
    #[tokio::test(start_paused = true)]
    async fn a_time_of_day_is_waited_for_with_looks_at_the_clock_in_between() {
        let clock: ClockHandle = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH));
        let wait = async |ahead: u64| {
            let began = Instant::now();
            until_time(&clock, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(ahead))).await;
            began.elapsed()
        };
        assert_eq!(wait(10).await, Duration::from_secs(10));
        assert_eq!(wait(3600).await, LOOK_AT_CLOCK);
        assert_eq!(wait(0).await, Duration::ZERO);
        let never = tokio::time::timeout(Duration::from_secs(86_400), until_time(&clock, None)).await;
        assert!(never.is_err());
    }
}
