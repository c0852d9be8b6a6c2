//! Saying no early, and being fair: how many invocations of a function may wait, and who comes next.
//!
//! An invocation enters the [`Gate`] of its function or is refused. Then it takes one of the function's [`Places`], if
//! their number is bounded, and goes through the [`Door`] to the workers. Workers take whoever stands at a door in the
//! order in which they came, whatever the function is; as few of one function stand there, a flood of one keeps the
//! others waiting for no more than these. Who is next behind them is told in [`crate::line`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ingle_types::outcome::{Blame, Failure};
use ingle_worker::Pool;
use tokio::time::Instant;

use crate::line::{Crowded, Line, Place};

/// Counts who waits. Those in work are bounded by the lanes of the workers.
#[derive(Clone)]
pub struct Gate {
    waiting: Arc<AtomicUsize>,
    waiting_max: usize,
}

/// The right to wait; given back when dropped.
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Gate {
    pub fn new(waiting_max: usize) -> Self {
        Self { waiting: Arc::default(), waiting_max }
    }

    /// A place among those who wait.
    ///
    /// # Errors
    /// A [`Failure`] with the time after which another try makes sense.
    pub fn enter(&self) -> Result<Permit, Failure> {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let permit = Permit(self.waiting.clone());
        if before < self.waiting_max {
            return Ok(permit);
        }
        let message = format!("{} invocations of this function wait for a worker already", self.waiting_max);
        let mut failure = Failure::new(Blame::Platform, "E0308", "TooManyRequests", message).not_started();
        failure.retry_after = Some(Duration::from_secs(1));
        failure.hint = Some("raise max in [workers] or waiting_max in [admission] of ingle.toml".to_owned());
        Err(failure)
    }
}

/// Invocations of one function that ask for a worker at once; further ones queue up behind them. Fewer would be fairer,
/// but opening lanes for a burst would take longer.
const AT_THE_DOOR_MAX: usize = 16;

/// Where the invocations of one function ask for a worker.
pub struct Door(Line);

impl Door {
    pub fn new(crowded: Crowded) -> Self {
        Self(Line::new(AT_THE_DOOR_MAX, crowded))
    }

    /// A place at the door; to be dropped when the worker is there. Who waits, and since when, is known to the pool, which
    /// may make a worker.
    ///
    /// # Errors
    /// The deadline passed.
    pub async fn reach(&self, pool: &Pool, since: Instant, deadline: Instant) -> Result<Place, Failure> {
        if let Some(place) = self.0.try_take() {
            return Ok(place);
        }
        let _counted = pool.expect(since);
        let reached = self.0.take(since, deadline).await;
        reached.ok_or_else(|| no_room("all workers were busy until the deadline"))
    }
}

/// The invocations of a function that may be in work at once.
pub struct Places {
    line: Line,
    count: usize,
}

impl Places {
    pub fn new(count: usize, crowded: Crowded) -> Self {
        Self { line: Line::new(count, crowded), count }
    }

    /// A place, to be held until the invocation is over.
    ///
    /// # Errors
    /// The deadline passed.
    pub async fn take(&self, since: Instant, deadline: Instant) -> Result<Place, Failure> {
        self.line.take(since, deadline).await.ok_or_else(|| {
            no_room(&format!("the {} places of this function were in use until the deadline", self.count))
        })
    }
}

fn no_room(message: &str) -> Failure {
    let mut failure = Failure::new(Blame::Platform, "E0308", "NoRoom", message).not_started();
    failure.retry_after = Some(Duration::from_secs(1));
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_when_it_is_full_is_refused_and_a_place_is_given_back() {
        let gate = Gate::new(2);
        let first = gate.enter().unwrap();
        let _second = gate.enter().unwrap();
        let refused = gate.enter().err().unwrap();
        assert_eq!((refused.code, refused.started), ("E0308", false));
        assert!(refused.retry_after.is_some());
        drop(first);
        assert!(gate.enter().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_until_one_is_given_back_or_the_deadline() {
        let places = Places::new(1, Crowded::OldestNext);
        let now = Instant::now();
        let deadline = now + Duration::from_secs(30);
        let first = places.take(now, deadline).await.unwrap();
        let refused = places.take(now, deadline).await.err().unwrap();
        assert_eq!((refused.code, refused.started, Instant::now()), ("E0308", false, deadline));
        drop(first);
        assert!(places.take(deadline, deadline + Duration::from_secs(1)).await.is_ok());
    }
}
