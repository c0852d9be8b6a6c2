//! How many workers there should be: one pure function, from what is waiting and for how long, what is in work and when
//! there was work.
//!
//! The number follows a target: each worker should have `target` invocations, those that wait included. What waits for
//! longer than [`OVERDUE_AFTER`] shows that this was too few, as with functions that take long or use the whole
//! processor: then it is one more, and another one each time the wait has doubled. With `target = 10`, `max = 8` and no
//! spare:
//!
//! | in work | waiting | the oldest waits for | workers |
//! |---|---|---|---|
//! | 0 | 1 | 0 s | 1 |
//! | 8 | 2 | 0 s | 1 |
//! | 8 | 3 | 0 s | 2 |
//! | 8 | 2 | 0.9 s | 1 |
//! | 8 | 2 | 1 s | 2 |
//! | 8 | 2 | 2 s | 3 |
//! | 8 | 2 | 4 s | 4 |
//! | 20 | 5 | 0 s | 3 |
//! | 20 | 5 | 30 s | 8 (3 and 5 more) |
//! | 20 | 500 | 0 s | 8 (53 were wanted) |
//! | 20 | 0 | – | 2 |

use std::time::{Duration, SystemTime};

use ingle_types::spec::WarmWindow;

/// How long something may wait before it asks for one more worker than the target does.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(1);

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
    /// How long the oldest of them has waited; zero if none does.
    pub oldest: Duration,
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
    let needed = (demand.waiting + demand.in_work).div_ceil(limits.target.max(1)) + overdue(demand);
    let is_recent = demand.waiting + demand.in_work > 0 || demand.quiet_for < limits.idle_timeout;
    let spare = in_use + if is_recent { limits.spare.max(limits.prewarmed) } else { limits.prewarmed };
    needed.max(limits.min).max(spare).min(limits.max)
}

/// One when the oldest has waited for [`OVERDUE_AFTER`], and one more each time that has doubled.
fn overdue(demand: Demand) -> usize {
    let periods = demand.oldest.as_millis() / OVERDUE_AFTER.as_millis();
    if demand.waiting == 0 {
        0
    } else {
        periods.checked_ilog2().map_or(0, |doublings| doublings as usize + 1)
    }
}

/// After which wait of the oldest the number grows next.
pub fn next_overdue(oldest: Duration) -> Duration {
    let mut bound = OVERDUE_AFTER;
    while bound <= oldest {
        bound = bound.saturating_mul(2);
    }
    bound
}

/// How many workers are to be kept at this time of day, because of the windows in which it lies.
pub fn kept(windows: &[WarmWindow], now: SystemTime) -> usize {
    let open = windows.iter().filter(|warm| warm.window.is_open(now));
    open.map(|warm| warm.workers).max().unwrap_or(0)
}

/// When [`kept`] may change next.
pub fn next_edge(windows: &[WarmWindow], now: SystemTime) -> Option<SystemTime> {
    windows.iter().filter_map(|warm| warm.window.next_edge_after(now)).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::clock::read_date;
    use ingle_types::schedule::{TimeZone, Weekdays, Window};
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
        let quiet_for = Duration::from_secs(quiet);
        let demand = Demand { waiting, in_work, quiet_for, ..Demand::default() };
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

    /// The table of the module's documentation.
    #[test]
    fn what_waits_for_long_asks_for_more() {
        let limits = Limits { spare: 0, ..LIMITS };
        for (in_work, waiting, oldest_ms, expected) in [
            (0, 1, 0, 1),
            (8, 2, 0, 1),
            (8, 3, 0, 2),
            (8, 2, 900, 1),
            (8, 2, 1000, 2),
            (8, 2, 2000, 3),
            (8, 2, 4000, 4),
            (20, 5, 0, 3),
            (20, 5, 30_000, 8),
            (20, 500, 0, 8),
            (20, 0, 0, 2),
        ] {
            let oldest = Duration::from_millis(oldest_ms);
            let demand = Demand { waiting, in_work, oldest, quiet_for: Duration::ZERO };
            assert_eq!(desired(limits, demand, 0), expected, "{demand:?}");
            // Nothing grows before the next look.
            let before =
                Demand { oldest: next_overdue(oldest).saturating_sub(Duration::from_millis(1)), ..demand };
            assert_eq!(desired(limits, before, 0), expected, "{before:?}");
        }
    }

    #[test]
    fn of_windows_that_overlap_the_largest_number_counts() {
        let window = |from: u16, to: u16, workers| {
            let window = Window::new(Weekdays::DAILY, from * 60, to * 60, TimeZone::UTC).unwrap();
            WarmWindow { window, workers, line: 1 }
        };
        let windows = [window(8, 12, 2), window(10, 11, 5), window(11, 14, 1)];
        let at = |hour: u64| read_date("2026-08-07").unwrap() + Duration::from_secs(3600 * hour);
        let mut time = at(0);
        let mut seen = vec![(0, kept(&windows, time))];
        for _ in 0..5 {
            time = next_edge(&windows, time).unwrap();
            let hour = time.duration_since(at(0)).unwrap().as_secs() / 3600;
            seen.push((hour, kept(&windows, time)));
        }
        assert_eq!(seen, [(0, 0), (8, 2), (10, 5), (11, 2), (12, 1), (14, 0)]);
        assert_eq!((kept(&[], time), next_edge(&[], time)), (0, None));
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
            oldest in 0..100_000_u64, min in 0..4_usize, more in 0..20_usize, spare in 0..3_usize, target in 0..50_usize,
        ) {
            let limits = Limits { min, max: min + more, spare, target, ..LIMITS };
            let (oldest, quiet_for) = (Duration::from_millis(oldest), Duration::from_secs(quiet));
            let demand = Demand { waiting, in_work, oldest, quiet_for };
            let now = desired(limits, demand, in_use);
            prop_assert!((limits.min..=limits.max).contains(&now));
            let more = Demand { waiting: waiting + 1, ..demand };
            prop_assert!(desired(limits, more, in_use) >= now);
            let older = Demand { oldest: oldest * 2, ..demand };
            prop_assert!(desired(limits, older, in_use) >= now);
        }
    }
}
