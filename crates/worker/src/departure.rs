//! Telling a function that nobody waits for its answer any more.

use std::future::Pending;
use std::sync::Arc;

use ingle_tasks::{TaskKind, Tasks};
use ingle_types::ids::InvocationId;

use crate::process::Worker;
use crate::wire::message::ToWorker;

/// When whoever waits for a call goes away, and what that means for the function.
pub struct Departure<Gone> {
    /// Ready once the caller has gone away; polled no more after that.
    pub gone: Gone,
    /// Whether what an `async def` function awaits is cancelled; otherwise it may only look.
    pub interrupts: bool,
}

impl Departure<Pending<()>> {
    /// Of a call for which nobody waits.
    pub fn never() -> Self {
        Self { gone: std::future::pending(), interrupts: false }
    }
}

impl<Gone> Departure<Gone> {
    pub(crate) fn teller(&self, worker: Arc<Worker>, tasks: Tasks, id: InvocationId) -> Teller {
        Teller { worker, tasks, id, interrupt: self.interrupts }
    }
}

/// Tells one invocation.
pub(crate) struct Teller {
    worker: Arc<Worker>,
    tasks: Tasks,
    id: InvocationId,
    interrupt: bool,
}

impl Teller {
    /// Runs a call to its end, and tells its function when the caller has gone away meanwhile.
    pub(crate) async fn beside<T>(self, run: impl Future<Output = T>, gone: impl Future<Output = ()>) -> T {
        tokio::pin!(run);
        tokio::select! {
            // The call first, so that it is on the socket before it is cancelled there.
            biased;
            done = &mut run => return done,
            () = gone => self.tell(),
        }
        run.await
    }

    /// In a task of its own: a worker that does not read its socket must not hold up the deadline, and a frame that is cut
    /// off when the answer comes would break the socket for all others.
    fn tell(self) {
        let Self { worker, tasks, id, interrupt } = self;
        let name = format!("{id} cancel");
        let send = async move {
            let message = ToWorker::Cancel { id: id.uuid().to_string(), interrupt };
            // A process that has ended needs not be told.
            worker.control.send(&message).await.ok();
        };
        drop(tasks.spawn(TaskKind::WorkerPort, name, send));
    }
}
