//! Who computes for long gives way to who does not (T-021).
//!
//! When processors are scarce the system shares them out fairly, in slices of some milliseconds. Fair is not enough: an answer
//! that takes half a millisecond waits several behind a computation of minutes, which would not notice if it came later. So
//! processes whose invocations take long, or much of the processor each, run only when nobody else wants to. Who comes to
//! nothing that way, as everybody else wants to all the time, is as the others again for a moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use ingle_sandbox::cgroup::{Controller, Leaf};
use ingle_tasks::TaskKind;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::home::JOIN_AFTER;
use crate::pool::Pool;

/// Between two looks at what uses the processor, as long as something is in work.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// From the first work to the first look, with which the later ones are compared. Most calls are over by then.
const FIRST_LOOK: Duration = Duration::from_millis(2);
/// An invocation that has lasted for so long may be one that computes.
const LONG: Duration = Duration::from_millis(20);
/// One that has used the processor for so long does.
const HEAVY: Duration = Duration::from_millis(5);
/// Who has more than this part of a processor gives way, also one of many that share it.
const COMPUTES: f64 = 0.04;
/// Who has less of each processor, though it gives way, starves or waits for something. The system leaves the idle about 0.3 %
/// of one that others want, 1 % if these have small weights.
const RESTS_OF_EACH: f64 = 0.02;

/// Whether somebody looks, and how to call it.
#[derive(Default)]
pub(crate) struct Courtesy {
    is_parked: AtomicBool,
    work: Notify,
}

impl Courtesy {
    /// Something is in work. Called for each invocation, so it does next to nothing.
    pub(crate) fn begin(&self) {
        if self.is_parked.load(Ordering::Acquire) && self.is_parked.swap(false, Ordering::AcqRel) {
            self.work.notify_one();
        }
    }

    /// The pool has stopped.
    pub(crate) fn end(&self) {
        self.work.notify_one();
    }
}

/// What is known of one control group.
#[derive(Default, Debug)]
pub(crate) struct Manner(Mutex<Reading>);

#[derive(Default, Debug)]
struct Reading {
    gives_way: bool,
    /// Nobody will look any more.
    is_left_in_peace: bool,
    last: Option<Look>,
    /// The oldest invocation, and what was seen when it was the oldest first.
    oldest: Option<(Instant, Look)>,
}

/// What was seen at one look.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    /// Processor time until then.
    used: Duration,
    /// Invocations completed until then.
    completed: u64,
}

/// What the workers in a group do.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Work {
    /// When the oldest invocation in work began, if it is long ago.
    oldest: Option<Instant>,
    /// Invocations that they have completed.
    completed: u64,
}

impl Manner {
    /// Looks at a group; whether it gives way now. Without work it does not.
    pub(crate) fn look(&self, leaf: &Leaf, work: Option<Work>) -> bool {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = reading.gives_way;
        let work = work.filter(|_| !reading.is_left_in_peace);
        let seen = work.and_then(|work| {
            let used = leaf.cpu_time()?;
            Some((work.oldest, Look { at: Instant::now(), used, completed: work.completed }))
        });
        let wanted = match seen {
            Some((oldest, look)) => reading.wants(oldest, look, processors()),
            None => reading.forget(),
        };
        // A group that is just ending can't be told anything.
        if before != wanted && leaf.give_way(wanted).is_err() {
            reading.gives_way = before;
        }
        reading.gives_way
    }

    pub(crate) fn leave_in_peace(&self, leaf: &Leaf) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_left_in_peace = true;
        self.look(leaf, None);
    }
}

fn processors() -> f64 {
    static COUNT: LazyLock<f64> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64));
    *COUNT
}

impl Look {
    /// Processor time since another look, and the invocations that were completed since.
    fn since(&self, before: &Self) -> (Duration, u64) {
        (self.used.saturating_sub(before.used), self.completed.saturating_sub(before.completed))
    }
}

/// Whether so many invocations have used much each.
fn is_heavy(used: Duration, invocations: u64) -> bool {
    used >= HEAVY.saturating_mul(u32::try_from(invocations).unwrap_or(u32::MAX))
}

impl Reading {
    fn forget(&mut self) -> bool {
        *self = Self { is_left_in_peace: self.is_left_in_peace, ..Self::default() };
        false
    }

    /// Decides by the processor time that was used since the last look, and since the oldest invocation is that.
    fn wants(&mut self, oldest: Option<Instant>, look: Look, processors: f64) -> bool {
        let Some(last) = self.last.replace(look) else { return self.gives_way };
        self.oldest = match (self.oldest, oldest) {
            (Some((since, first)), Some(now)) if since == now => Some((since, first)),
            (_, now) => now.map(|since| (since, last)),
        };
        let (used, completed) = look.since(&last);
        let is_long = self.oldest.is_some_and(|(_, first)| {
            let (used, completed) = look.since(&first);
            is_heavy(used, completed + 1)
        });
        let span = look.at.saturating_duration_since(last.at).as_secs_f64().max(f64::EPSILON);
        let share = used.as_secs_f64() / span;
        let least = if self.gives_way { RESTS_OF_EACH * processors } else { COMPUTES };
        self.gives_way = (is_long || is_heavy(used, completed.max(1))) && share > least;
        self.gives_way
    }
}

impl Pool {
    /// Looks as long as there is work. Without control groups for the processor there is nothing to see or to say.
    pub(crate) fn begin_courtesy(&self) {
        let confinement = self.0.options.confinement.as_ref();
        let groups = confinement.and_then(|confinement| confinement.means.groups.as_ref());
        let can = |controller| groups.is_some_and(|groups| groups.is_usable(controller));
        if !can(Controller::Cpu) || !can(Controller::CpuTime) {
            return;
        }
        let pool = self.clone();
        let looking = async move {
            while !pool.state().stopping {
                if pool.look_at_manners().await {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                pool.0.courtesy.is_parked.store(true, Ordering::Release);
                // What began before that has told nobody.
                if !pool.has_work() && !pool.state().stopping {
                    pool.0.courtesy.work.notified().await;
                }
                pool.0.courtesy.is_parked.store(false, Ordering::Release);
                tokio::time::sleep(FIRST_LOOK).await;
            }
        };
        drop(self.0.tasks.spawn(TaskKind::Supervisor, "courtesy", looking));
    }

    fn has_work(&self) -> bool {
        self.state().workers.iter().any(|worker| worker.state().in_work > 0)
    }

    /// Whether there is a reason to look again.
    async fn look_at_manners(&self) -> bool {
        let workers = self.state().workers.clone();
        let now = Instant::now();
        let (mut again, mut young) = (false, None::<Work>);
        for worker in &workers {
            let (in_work, work) = {
                let state = worker.state();
                let oldest = state.functions.values().map(|running| running.since).min();
                let oldest = oldest.filter(|since| now.saturating_duration_since(*since) >= LONG);
                (state.in_work, Work { oldest, completed: state.completed })
            };
            // Until it is in its own group it computes in that of its box; some stay there.
            let has_joined = now.saturating_duration_since(worker.made_at) >= JOIN_AFTER + LONG;
            if !has_joined || worker.quarters.stays_at_home() {
                let young = young.get_or_insert_default();
                young.oldest = young.oldest.into_iter().chain(work.oldest).min();
                young.completed += work.completed;
            }
            let gives_way = worker.quarters.group.as_ref().is_some_and(|group| group.look(Some(work)));
            again |= in_work > 0 || gives_way;
        }
        if let Some(residence) = self.0.nursery.residence().await {
            again |= residence.look(young);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is decided after each look on two processors, of a group that has used so many milliseconds of each twenty, and
    /// completed so many invocations. `is_old`: there is one that is in work all the time.
    fn decided(is_old: bool, looks: &[(u64, u64)]) -> Vec<bool> {
        let (begin, mut reading) = (Instant::now(), Reading::default());
        let mut look = Look { at: begin, used: Duration::ZERO, completed: 0 };
        let decide = |(ms, completed): &(u64, u64)| {
            look.at += LOOK_AGAIN;
            look.used += Duration::from_millis(*ms);
            look.completed += completed;
            reading.wants(is_old.then_some(begin), look, 2.0)
        };
        looks.iter().map(decide).collect()
    }

    #[test]
    fn t_021_who_computes_gives_way_after_one_look_more() {
        assert_eq!(decided(true, &[(20, 0), (20, 0), (20, 0)]), [false, true, true]);
        // Calls of ten milliseconds each, one after the other.
        assert_eq!(decided(false, &[(20, 2), (20, 2), (20, 2)]), [false, true, true]);
        // One of ten that share a processor shows in a while.
        assert_eq!(decided(true, &[(2, 0); 6]), [false, false, false, true, true, true]);
    }

    #[test]
    fn who_waits_or_answers_quickly_does_not() {
        assert_eq!(decided(true, &[(0, 0), (0, 0), (0, 0)]), [false; 3]);
        assert_eq!(decided(false, &[(20, 400), (20, 400), (20, 5)]), [false; 3]);
        assert_eq!(decided(false, &[(2, 1), (2, 0), (4, 1)]), [false; 3]);
        // Quick calls beside a stream that is open for hours.
        assert_eq!(decided(true, &[(4, 4); 50]), [false; 50]);
    }

    #[test]
    fn who_starves_does_no_longer() {
        // What the system leaves to one of two processors that others want.
        let looks = [(20, 0), (20, 0), (0, 0), (10, 0), (0, 0)];
        assert_eq!(decided(true, &looks), [false, true, false, true, false]);
    }

    #[test]
    fn who_is_left_in_peace_stays_so() {
        let mut reading = Reading { gives_way: true, is_left_in_peace: true, ..Reading::default() };
        assert!(!reading.forget() && reading.is_left_in_peace);
    }
}
