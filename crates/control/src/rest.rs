//! Whether an app has come to rest, and moving its clock: for tests of apps, on a [`MovedClock`].
//!
//! Nothing here goes on by itself. Rest is found by looking: no invocation is in work but those that wait for their next
//! attempt, and no trigger has anything that is due at the present time. That is asked of the store and of the timers'
//! board, so it holds whatever a listener is doing just then; and it counts only if no invocation began while it was asked.

use std::time::{Duration, SystemTime};

use ingle_connectors::due::Due;
use ingle_store::Reset;
use ingle_tasks::TaskKind;
use ingle_types::clock::{Clock, MovedClock, iso_text};
use tokio::time::Instant;

use crate::control::Control;

/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How long listeners may take to end.
const LISTENERS_END: Duration = Duration::from_secs(5);

impl Control {
    /// Lets the app work and waits until it has come to rest.
    ///
    /// # Errors
    /// After `limit` of real time: what is still in work or due, in words.
    pub async fn settle(&self, clock: &MovedClock, limit: Duration) -> Result<(), String> {
        let _letting = clock.let_work();
        self.settle_until(clock, Instant::now() + limit).await
    }

    /// Moves the clock forward to `to`, from one awaited time to the next, and lets the app come to rest before each step
    /// and after the last one.
    ///
    /// # Errors
    /// After `limit` of real time: what is still in work or due; the clock stands where that began.
    pub async fn advance(&self, clock: &MovedClock, to: SystemTime, limit: Duration) -> Result<(), String> {
        let (until, _letting) = (Instant::now() + limit, clock.let_work());
        loop {
            let rest = match self.settle_until(clock, until).await {
                Ok(()) if Instant::now() >= until && clock.now() < to => {
                    Err("there is more to do".to_owned())
                }
                rest => rest,
            };
            rest.map_err(|busy| format!("the clock stands at {}: {busy}", iso_text(clock.now())))?;
            match clock.next_awaited().filter(|next| *next <= to) {
                Some(next) => clock.set(next),
                None if clock.now() < to => clock.set(to),
                None => return Ok(()),
            }
        }
    }

    /// Empties the store and starts the listeners anew at `to`, as if the app had just been started. The worker processes
    /// stay, with what the app keeps in its modules.
    ///
    /// # Errors
    /// Something is in work, or the store's own.
    pub async fn start_over(&self, clock: &MovedClock, to: SystemTime) -> Result<(), String> {
        if self.current().is_some_and(|generation| generation.activity().0 > 0) {
            return Err("an invocation is in work or waits for its next attempt".to_owned());
        }
        self.stop_listeners();
        let until = Instant::now() + LISTENERS_END;
        while self.rooms().tasks.count(TaskKind::Listener) > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let emptied = self.rooms().store.reset(Reset::All).await;
        clock.set(to);
        self.start_listeners();
        emptied.map(drop).map_err(|error| error.to_string())
    }

    async fn settle_until(&self, clock: &MovedClock, until: Instant) -> Result<(), String> {
        loop {
            let busy = self.busy(clock).await?;
            if busy.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(busy.join("; "));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What is in work or due, in words.
    async fn busy(&self, clock: &MovedClock) -> Result<Vec<String>, String> {
        let Some(generation) = self.current() else {
            return Ok(vec!["the app is being imported".to_owned()]);
        };
        let (in_work, begun) = generation.activity();
        let resting = clock.resting();
        let mut busy = Vec::new();
        if in_work > resting.len() {
            busy.push(format!("{} invocations in work", in_work - resting.len()));
        }
        let failed = |error: ingle_store::Error| error.to_string();
        let queues = self.rooms().store.queues().await.map_err(failed)?;
        let due = Due { store: &self.rooms().store, queues: &queues, resting: &resting };
        for function in generation.app.functions.iter().filter(|function| !function.disabled) {
            busy.extend(due.of(function).await.map_err(failed)?);
        }
        let timers = self.timers().busy(clock.now());
        let resting_timers = resting.iter().filter(|source| source.starts_with("timer/")).count();
        if timers > resting_timers {
            busy.push(format!("{} timers due or in work", timers - resting_timers));
        }
        if generation.activity().1 != begun {
            busy.push("an invocation has just begun".to_owned());
        }
        Ok(busy)
    }
}
