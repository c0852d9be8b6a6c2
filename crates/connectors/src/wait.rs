//! Waiting for a time of the wall clock.

use std::time::{Duration, SystemTime};

use ingle_types::clock::ClockHandle;

/// Waits until the wall clock shows `time`; for ever if there is none.
///
/// On a clock that goes by itself it ends after `longest` at the latest, and the caller looks again: the clock may have been
/// set meanwhile. A clock that is moved by hand wakes whoever waits, so there it ends at its time only.
pub async fn until(clock: &ClockHandle, time: Option<SystemTime>, longest: Duration) {
    match (clock.moved(), time) {
        (Some(moved), Some(time)) => moved.until(time).await,
        (Some(_), None) => std::future::pending().await,
        (None, time) => {
            let left = time.map(|time| time.duration_since(clock.now()).unwrap_or_default());
            tokio::time::sleep(left.map_or(longest, |left| left.min(longest))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ingle_types::clock::{Clock, ManualClock, MovedClock};
    use tokio::time::Instant;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_goes_by_itself_is_looked_at_again() {
        let check = async |ahead: Option<Duration>, expected: Duration| {
            let clock: ClockHandle = Arc::new(ManualClock::at(SystemTime::UNIX_EPOCH + HOUR));
            let began = Instant::now();
            until(&clock, ahead.map(|ahead| clock.now() + ahead), HOUR).await;
            let took = began.elapsed();
            assert!(took >= expected && took < expected + Duration::from_millis(10), "{took:?}");
        };
        check(Some(HOUR / 2), HOUR / 2).await;
        check(Some(2 * HOUR), HOUR).await;
        check(None, HOUR).await;
        check(Some(Duration::ZERO), Duration::ZERO).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_moved_clock_lets_nobody_go_early() {
        let moved = MovedClock::at(SystemTime::UNIX_EPOCH);
        let clock: ClockHandle = Arc::new(moved.clone());
        let later = moved.now() + 2 * HOUR;
        let long = 1000 * HOUR;
        let mut waiting = std::pin::pin!(until(&clock, Some(later), HOUR));
        assert!(tokio::time::timeout(long, waiting.as_mut()).await.is_err());
        assert!(tokio::time::timeout(long, until(&clock, None, HOUR)).await.is_err());
        moved.set(later);
        waiting.await;
    }
}
