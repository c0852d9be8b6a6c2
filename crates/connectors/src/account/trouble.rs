//! Coming back after a failure: pauses that grow and are spread at random, and one line for the beginning and the end of
//! a trouble (T-073).

use std::time::Duration;

use ingle_types::clock::ClockHandle;
use ingle_types::health::Health;
use uuid::Uuid;

/// The first pause is at most this long; each further one at most twice as long as the one before.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// However the dice fall, this long.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// How one listener, or the calls to one account, fare.
pub(crate) struct Recovery {
    what: String,
    clock: ClockHandle,
    health: Health,
    /// Failures since the last success.
    failures: u32,
}

impl Recovery {
    pub(crate) fn new(what: String, clock: ClockHandle, health: Health) -> Self {
        Self { what, clock, health, failures: 0 }
    }

    /// Notes a failure and says how long to wait before the next try.
    pub(crate) fn failed(&mut self, reason: &str) -> Duration {
        if self.failures == 0 {
            tracing::warn!(code = "E0430", "{} is in trouble and is tried again: {reason}", self.what);
        }
        self.health.degraded(&self.what, reason, self.clock.now());
        self.failures = self.failures.saturating_add(1);
        pause_after(self.failures)
    }

    /// Notes a success.
    pub(crate) fn well(&mut self) {
        if self.failures > 0 {
            tracing::warn!("{} is well again after {} failed tries", self.what, self.failures);
            self.health.well(&self.what);
            self.failures = 0;
        }
    }
}

/// What nobody tries any more is in no trouble.
impl Drop for Recovery {
    fn drop(&mut self) {
        if self.failures > 0 {
            self.health.well(&self.what);
        }
    }
}

/// The pause after so many failures.
pub(crate) fn pause_after(failures: u32) -> Duration {
    pause(failures, fraction())
}

/// Full jitter: anything between nothing and a limit that doubles ("Exponential Backoff And Jitter", AWS Architecture
/// Blog, 2015), so that many who lost the same server do not come back at once.
fn pause(failures: u32, fraction: f64) -> Duration {
    let doubled = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(PAUSE_MAX).mul_f64(fraction).max(PAUSE_MIN)
}

/// At random from 0 to 1.
pub(crate) fn fraction() -> f64 {
    let bits = Uuid::new_v4().as_u128() & u128::from(u32::MAX);
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use ingle_types::clock::ManualClock;

    use super::*;

    #[test]
    fn t_073_pauses_double_up_to_a_minute() {
        let check = |failures, expected_s: u64| {
            assert_eq!(pause(failures, 1.0), Duration::from_secs(expected_s), "{failures}");
            assert_eq!(pause(failures, 0.5), Duration::from_secs(expected_s) / 2, "{failures}");
            assert_eq!(pause(failures, 0.0), PAUSE_MIN);
        };
        for (failures, expected_s) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (100, 60), (u32::MAX, 60)] {
            check(failures, expected_s);
        }
    }

    #[test]
    fn dice_reach_from_end_to_end() {
        let thrown: Vec<f64> = (0..200).map(|_| fraction()).collect();
        assert!(thrown.iter().all(|fraction| (0.0..=1.0).contains(fraction)));
        assert!(
            thrown.iter().any(|fraction| *fraction < 0.3) && thrown.iter().any(|fraction| *fraction > 0.7)
        );
    }

    #[test]
    fn t_073_a_trouble_is_on_the_board_until_it_is_over() {
        let health = Health::default();
        let clock = Arc::new(ManualClock::at(UNIX_EPOCH));
        let mut recovery = Recovery::new("queue a".to_owned(), clock.clone(), health.clone());
        recovery.failed("down");
        recovery.failed("slow");
        assert_eq!(health.troubles()[0].reason, "slow");
        recovery.well();
        assert!(health.troubles().is_empty());
        recovery.failed("down");
        drop(recovery);
        assert!(health.troubles().is_empty());
    }
}
