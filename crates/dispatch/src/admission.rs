//! Saying no early: how many invocations of a function may wait for a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ingle_types::outcome::{Blame, Failure};

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
        failure.hint =
            Some("raise FUNCTIONS_WORKER_PROCESS_COUNT or PYTHON_THREADPOOL_THREAD_COUNT".to_owned());
        Err(failure)
    }
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
}
