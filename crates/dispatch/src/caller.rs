//! Whoever waits for the answer of an invocation, and what becomes of it when they go away.

use ingle_types::caller::CallerHandle;
use ingle_types::event::futures::BoxFuture;
use ingle_types::outcome::{Blame, Failure, Outcome};
use ingle_types::spec::OnDisconnect;
use ingle_worker::Departure;

/// The caller of one invocation, all its attempts included.
pub(crate) struct Caller {
    /// `None`: there is nobody who can go away, or it is known that they have.
    leaving: Option<BoxFuture<()>>,
    has_left: bool,
    /// An attempt has reached a worker.
    has_run: bool,
    on_disconnect: OnDisconnect,
}

impl Caller {
    pub(crate) fn new(handle: Option<CallerHandle>, on_disconnect: OnDisconnect) -> Self {
        Self { leaving: handle.map(|handle| handle.0.gone()), has_left: false, has_run: false, on_disconnect }
    }

    /// Ready once the caller has gone away. May be dropped and waited for again.
    async fn gone(&mut self) {
        match &mut self.leaving {
            Some(leaving) => leaving.await,
            None if self.has_left => return,
            None => std::future::pending().await,
        }
        self.leaving = None;
        self.has_left = true;
    }

    /// Ready once the invocation is not wanted any more.
    pub(crate) async fn withdrawn(&mut self) {
        match self.on_disconnect {
            OnDisconnect::Cancel => self.gone().await,
            OnDisconnect::Finish => std::future::pending().await,
        }
    }

    /// Whether it is known that the invocation is not wanted any more.
    pub(crate) fn has_withdrawn(&self) -> bool {
        self.has_left && self.on_disconnect == OnDisconnect::Cancel
    }

    /// Takes a step before the function runs, unless the invocation is withdrawn meanwhile.
    pub(crate) async fn unless_withdrawn<T>(&mut self, step: impl Future<Output = T>) -> Result<T, Outcome> {
        tokio::select! {
            // Who is gone already needs no worker, even if there is one.
            biased;
            () = self.withdrawn() => {}
            done = step => return Ok(done),
        }
        Err(withdrawn(self.has_run))
    }

    /// What a running function is told.
    pub(crate) fn departure(&mut self) -> Departure<impl Future<Output = ()>> {
        self.has_run = true;
        let interrupts = self.on_disconnect == OnDisconnect::Cancel;
        Departure { gone: self.gone(), interrupts }
    }

    /// For the log: the invocation ran to its end though nobody waited for the answer.
    pub(crate) fn effect(&self, outcome: &Outcome) -> Option<String> {
        let ran = !matches!(outcome, Outcome::Cancelled(_) | Outcome::Rejected(_));
        (self.has_left && ran).then(|| "the client had gone".to_owned())
    }
}

fn withdrawn(has_run: bool) -> Outcome {
    let again = if has_run { " again" } else { "" };
    let message = format!("the client went away before it ran{again}");
    let failure = Failure::new(Blame::Caller, "E0313", "CallerGone", message);
    Outcome::Cancelled(Failure { started: has_run, ..failure })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ingle_types::caller;
    use ingle_types::outcome::Outputs;
    use tokio::time::{Instant, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Leaves after some seconds.
    struct Leaves(u32);

    impl caller::Caller for Leaves {
        fn gone(&self) -> BoxFuture<()> {
            Box::pin(sleep(self.0 * SECOND))
        }
    }

    fn leaves(after: u32, on_disconnect: OnDisconnect) -> Caller {
        Caller::new(Some(CallerHandle(Arc::new(Leaves(after)))), on_disconnect)
    }

    /// Waits three seconds for a worker. Gives how long that took, and the end.
    async fn check(mut caller: Caller) -> (u64, &'static str) {
        let began = Instant::now();
        let waited = caller.unless_withdrawn(sleep(3 * SECOND)).await;
        let end = match waited {
            Ok(()) => "runs",
            Err(outcome) => {
                let failure = outcome.failure().unwrap();
                assert_eq!((failure.code, failure.started, failure.blame), ("E0313", false, Blame::Caller));
                outcome.label()
            }
        };
        (began.elapsed().as_secs(), end)
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_while_they_wait_is_not_run() {
        assert_eq!(check(leaves(1, OnDisconnect::Cancel)).await, (1, "cancelled"));
        assert_eq!(check(leaves(9, OnDisconnect::Cancel)).await, (3, "runs"));
        assert_eq!(check(leaves(1, OnDisconnect::Finish)).await, (3, "runs"));
        assert_eq!(check(Caller::new(None, OnDisconnect::Cancel)).await, (3, "runs"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_departure_is_remembered() {
        let mut caller = leaves(2, OnDisconnect::Cancel);
        // Waited for in parts, as the steps do.
        assert!(caller.unless_withdrawn(sleep(SECOND)).await.is_ok());
        assert!(!caller.has_withdrawn());
        let Departure { gone, interrupts } = caller.departure();
        gone.await;
        assert!(interrupts);
        assert!(caller.has_withdrawn());
        // Gone before a step that is ready at once, but not before the first attempt.
        let again = caller.unless_withdrawn(async {}).await.unwrap_err();
        assert!(again.failure().unwrap().started, "{again:?}");
        caller.withdrawn().await;
        let done = Outcome::Success(Outputs::default());
        assert_eq!(caller.effect(&done).as_deref(), Some("the client had gone"));
        assert_eq!(caller.effect(&again), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_to_finish_is_told_and_nothing_else() {
        let mut caller = leaves(1, OnDisconnect::Finish);
        let Departure { gone, interrupts } = caller.departure();
        gone.await;
        assert!(!interrupts);
        assert!(!caller.has_withdrawn());
        assert!(tokio::time::timeout(SECOND, caller.withdrawn()).await.is_err());
    }
}
