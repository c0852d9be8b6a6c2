//! How long a call may take.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Silence;
use crate::process::Worker;

/// As long as Lambda gives a runtime and its extensions to start, before they do it in the time of an event.
const PROGRAMS_START_MAX: Duration = Duration::from_secs(10);

/// As [`within`]; where there are programs, the time runs from when the worker says that it has `begun`. They may start before.
pub(super) async fn within_from<T>(
    begun: Option<&Notify>,
    worker: &Worker,
    deadline: Option<Instant>,
    run: impl Future<Output = Result<T, Silence>>,
) -> Result<T, Silence> {
    let (Some(begun), Some(deadline)) = (begun, deadline) else { return within(worker, deadline, run).await };
    let limit = deadline.saturating_duration_since(Instant::now());
    let mut run = std::pin::pin!(run);
    let start = async {
        tokio::select! {
            biased;
            done = run.as_mut() => Some(done),
            () = begun.notified() => None,
        }
    };
    match worker.within(deadline + PROGRAMS_START_MAX, start).await {
        Ok(Some(done)) => done,
        Ok(None) => within(worker, Some(Instant::now() + limit), run).await,
        Err(_elapsed) => Err(Silence::TimedOut),
    }
}

/// Waits for what a call leads to until its deadline, if it has one.
pub(super) async fn within<T>(
    worker: &Worker,
    deadline: Option<Instant>,
    run: impl Future<Output = Result<T, Silence>>,
) -> Result<T, Silence> {
    match deadline {
        Some(deadline) => worker.within(deadline, run).await.unwrap_or(Err(Silence::TimedOut)),
        None => run.await,
    }
}
