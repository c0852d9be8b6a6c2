//! Time limits that stand still: while a debugger holds a thread at a breakpoint, nothing is over its time (D-11).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Stops the clock of time limits. Cheap to clone; all clones are one clock.
#[derive(Clone, Debug)]
pub struct Hold(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Since when the clock stands, if it does.
    since: Option<Instant>,
    /// How long it has stood before.
    stood: Duration,
}

impl State {
    fn stood_until(self, now: Instant) -> Duration {
        self.stood + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// The time was up.
#[derive(Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Default for Hold {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Hold {
    /// Stops the clock, or lets it go on.
    pub fn set(&self, is_held: bool) {
        let now = Instant::now();
        self.0.send_if_modified(|state| {
            if state.since.is_some() == is_held {
                return false;
            }
            *state = State { since: is_held.then_some(now), stood: state.stood_until(now) };
            true
        });
    }

    pub fn is_set(&self) -> bool {
        self.0.borrow().since.is_some()
    }

    /// Runs a future until it is done or the deadline has passed; the deadline moves by as long as the clock stands
    /// from now on.
    ///
    /// # Errors
    /// [`Elapsed`]: the future was not done in time, and was dropped.
    pub async fn timeout_at<T>(
        &self,
        deadline: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut changes = self.0.subscribe();
        let before = self.0.borrow().stood_until(Instant::now());
        tokio::pin!(future);
        loop {
            let state = *changes.borrow_and_update();
            let until = deadline + state.stood.saturating_sub(before);
            tokio::select! {
                biased;
                done = &mut future => return Ok(done),
                () = tokio::time::sleep_until(until), if state.since.is_none() => return Err(Elapsed),
                // The sender lives in `self`.
                _ = changes.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long a limit of three seconds lasts, if the clock stands from second `from` to second `to`.
    async fn check(from: u32, to: u32, expected: u64) {
        let hold = Hold::default();
        let began = Instant::now();
        let waiting = hold.timeout_at(began + 3 * SECOND, std::future::pending::<()>());
        let stands = async {
            tokio::time::sleep(from * SECOND).await;
            hold.set(true);
            hold.set(true);
            tokio::time::sleep((to - from) * SECOND).await;
            hold.set(false);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = waiting => assert_eq!(outcome, Err(Elapsed)),
            () = stands => {}
        }
        assert_eq!(began.elapsed().as_secs(), expected, "from {from} to {to}");
    }

    /// D-11: a limit is longer by as long as somebody looked at the variables.
    #[tokio::test(start_paused = true)]
    async fn d_11_a_limit_moves_by_the_time_that_the_clock_stood() {
        check(1, 2, 4).await;
        check(1, 100, 102).await;
        // Too late: it was over before.
        check(3, 100, 3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_stood_before_a_limit_began_does_not_lengthen_it() {
        let hold = Hold::default();
        hold.set(true);
        tokio::time::sleep(10 * SECOND).await;
        hold.set(false);
        let began = Instant::now();
        let outcome = hold.timeout_at(began + 3 * SECOND, std::future::pending::<()>()).await;
        assert_eq!((outcome, began.elapsed()), (Err(Elapsed), 3 * SECOND));
        assert!(!hold.is_set());
    }

    /// A limit that begins while the clock stands begins to run when the clock does.
    #[tokio::test(start_paused = true)]
    async fn a_limit_that_begins_in_the_middle_waits_for_the_end() {
        let hold = Hold::default();
        hold.set(true);
        let began = Instant::now();
        let release = async {
            tokio::time::sleep(10 * SECOND).await;
            hold.set(false);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            outcome = hold.timeout_at(began + 3 * SECOND, std::future::pending::<()>()) => assert_eq!(outcome, Err(Elapsed)),
            () = release => {}
        }
        assert_eq!(began.elapsed(), 13 * SECOND);
    }
}
