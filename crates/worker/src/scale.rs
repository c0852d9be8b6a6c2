//! How many workers there should be: one pure function, from what is waiting, what is in work and when there was work.

use std::time::Duration;

/// What the app, or a plan, allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Workers that are kept also without work.
    pub min: usize,
    pub max: usize,
    /// Workers that wait without work while there is or was work lately, so that a further one is there at once.
    pub spare: usize,
    /// Workers that wait beside those in use, always.
    pub prewarmed: usize,
    /// Invocations that one worker should have at once: with more, another worker is made.
    pub target: usize,
    /// How long a worker without work is kept.
    pub idle_timeout: Duration,
    /// Whether that time follows the gaps between events, once enough of them were seen ([`crate::keep_alive`]).
    pub adapts: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            min: 0,
            max: 1,
            spare: 1,
            prewarmed: 0,
            target: 16,
            idle_timeout: Duration::from_secs(300),
            adapts: false,
        }
    }
}

/// What is going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// Invocations that wait for a worker.
    pub waiting: usize,
    /// Invocations in workers that take work.
    pub in_work: usize,
    /// Since the last invocation, or the start.
    pub quiet_for: Duration,
}

/// How many workers there should be now.
///
/// `in_use`: workers that have work, `ready`: those that could take some, the former among them. A worker that is
/// idle, but not for long, is not counted as too many: whoever keeps it is asked about each (`Pool`).
pub fn desired(limits: Limits, demand: Demand, in_use: usize) -> usize {
    let needed = (demand.waiting + demand.in_work).div_ceil(limits.target.max(1));
    let is_recent = demand.waiting + demand.in_work > 0 || demand.quiet_for < limits.idle_timeout;
    let spare = in_use + if is_recent { limits.spare.max(limits.prewarmed) } else { limits.prewarmed };
    needed.max(limits.min).max(spare).min(limits.max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        min: 0,
        max: 8,
        spare: 1,
        prewarmed: 0,
        target: 10,
        idle_timeout: Duration::from_secs(60),
        adapts: false,
    };

    #[track_caller]
    fn check(limits: Limits, (waiting, in_work, quiet): (usize, usize, u64), in_use: usize, expected: usize) {
        let demand = Demand { waiting, in_work, quiet_for: Duration::from_secs(quiet) };
        assert_eq!(desired(limits, demand, in_use), expected);
    }

    #[test]
    fn the_number_follows_the_work() {
        // Nothing for long: nothing is kept. Nothing, but lately: a spare.
        check(LIMITS, (0, 0, 60), 0, 0);
        check(LIMITS, (0, 0, 59), 0, 1);
        // One is in use, and one waits.
        check(LIMITS, (0, 1, 0), 1, 2);
        // A burst of 45 needs five, whatever there is.
        check(LIMITS, (45, 0, 0), 0, 5);
        check(LIMITS, (1000, 0, 0), 0, 8);
        check(LIMITS, (0, 80, 0), 8, 8);
    }

    #[test]
    fn plans_set_the_bounds() {
        let premium = Limits { min: 1, spare: 1, ..LIMITS };
        check(premium, (0, 0, 3600), 0, 1);
        check(Limits { prewarmed: 2, ..premium }, (0, 3, 0), 1, 3);
        check(Limits { prewarmed: 2, ..premium }, (0, 0, 3600), 0, 2);
        let dedicated = Limits { min: 3, max: 3, ..LIMITS };
        check(dedicated, (0, 0, 3600), 0, 3);
        check(dedicated, (500, 30, 0), 3, 3);
        let single = Limits { max: 1, ..LIMITS };
        check(single, (500, 30, 0), 1, 1);
        check(Limits { spare: 0, ..LIMITS }, (0, 0, 1), 0, 0);
    }

    proptest! {
        #[test]
        fn bounds_hold_and_more_work_never_means_fewer(
            waiting in 0..5000_usize, in_work in 0..5000_usize, in_use in 0..20_usize, quiet in 0..200_u64,
            min in 0..4_usize, more in 0..20_usize, spare in 0..3_usize, target in 0..50_usize,
        ) {
            let limits = Limits { min, max: min + more, spare, target, ..LIMITS };
            let demand = Demand { waiting, in_work, quiet_for: Duration::from_secs(quiet) };
            let now = desired(limits, demand, in_use);
            prop_assert!((limits.min..=limits.max).contains(&now));
            let more = Demand { waiting: waiting + 1, ..demand };
            prop_assert!(desired(limits, more, in_use) >= now);
        }
    }
}
