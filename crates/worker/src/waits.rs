//! Who waits for a worker, since when, and what that time went into.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::process::Worker;

/// Those who wait now.
#[derive(Default)]
pub(crate) struct Waits(Mutex<State>);

#[derive(Default)]
struct State {
    next_number: u64,
    /// Since when, oldest first; the number tells two of one instant apart.
    since: BTreeSet<(Instant, u64)>,
}

impl Waits {
    /// Somebody waits, and has since `since`.
    pub(crate) fn begin(&self, since: Instant) -> Waiting<'_> {
        let mut state = self.state();
        state.next_number += 1;
        let place = (since, state.next_number);
        state.since.insert(place);
        drop(state);
        Waiting { waits: self, place }
    }

    pub(crate) fn count(&self) -> usize {
        self.state().since.len()
    }

    /// Since when the one waits who has waited longest.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.state().since.first().map(|(since, _)| *since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One caller more that waits, as long as it lives.
pub struct Waiting<'a> {
    waits: &'a Waits,
    place: (Instant, u64),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waits.state().since.remove(&self.place);
    }
}

/// What of the time that somebody waited went into making the worker that he got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Starting {
    /// Until the process was there, and its parent, if that had to be made.
    pub fork: Duration,
    /// From then until it could take work: an import, if it had to import the app itself.
    pub ready: Duration,
}

impl Starting {
    /// What of the time since `since` went into this worker; nothing if it was there before.
    pub(crate) fn of(worker: &Worker, since: Instant) -> Self {
        let state = worker.state();
        let (asked_at, made_at, offered_at) = (state.asked_at, worker.made_at, state.offered_at);
        drop(state);
        Self {
            fork: made_at.saturating_duration_since(asked_at.max(since)),
            ready: offered_at.saturating_duration_since(made_at.max(since)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_is_known_whoever_goes_first() {
        let waits = Waits::default();
        let began = Instant::now();
        let second = waits.begin(began + Duration::from_secs(1));
        let first = waits.begin(began);
        let together = waits.begin(began);
        assert_eq!((waits.count(), waits.oldest()), (3, Some(began)));
        drop(first);
        assert_eq!((waits.count(), waits.oldest()), (2, Some(began)));
        drop(together);
        assert_eq!(waits.oldest(), Some(second.place.0));
        drop(second);
        assert_eq!((waits.count(), waits.oldest()), (0, None));
    }
}
