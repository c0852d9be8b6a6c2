//! Named, owned tasks with an ordered stop.
//!
//! Every task of the server has a [`TaskKind`], which says what a stop does to it. The binary stops the kinds
//! one after the other ([`Tasks::stop`]), so nothing is cut off that something still running depends on. This
//! is a room of its own because the vocabulary (`types`) must not know a runtime, while five rooms start tasks.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// What a stop of its kind does to a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnStop {
    /// It sees the signal and ends by itself; it is aborted when the grace is over.
    Wait,
    /// It holds nothing that could be lost: aborted at once.
    Abort,
}

/// Everything that runs in the server, in the order in which it is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TaskKind {
    /// Accepts connections.
    Acceptor,
    /// Serves one HTTP connection.
    Connection,
    /// Polls or waits for a source of events.
    Listener,
    /// Runs one invocation to its end.
    Invocation,
    /// Reads the control socket or the output of a worker process, or waits for its end.
    WorkerPort,
    /// Keeps the wished number of workers alive.
    Supervisor,
    /// Prints lines.
    Printer,
}

impl TaskKind {
    pub const ALL: [Self; 7] = [
        Self::Acceptor,
        Self::Connection,
        Self::Listener,
        Self::Invocation,
        Self::WorkerPort,
        Self::Supervisor,
        Self::Printer,
    ];

    pub fn on_stop(self) -> OnStop {
        match self {
            Self::Connection | Self::Listener | Self::Invocation | Self::Printer => OnStop::Wait,
            Self::Acceptor | Self::WorkerPort | Self::Supervisor => OnStop::Abort,
        }
    }
}

/// Owner of all tasks. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    kinds: Arc<HashMap<TaskKind, Kind>>,
}

struct Kind {
    running: Mutex<Running>,
    /// How many run; lets a stop wait for zero.
    count: watch::Sender<usize>,
    stopping: watch::Sender<bool>,
}

#[derive(Default)]
struct Running {
    next: u64,
    tasks: HashMap<u64, (Cow<'static, str>, Option<AbortHandle>)>,
}

impl Kind {
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    pub fn new() -> Self {
        let kind = || Kind {
            running: Mutex::default(),
            count: watch::channel(0).0,
            stopping: watch::channel(false).0,
        };
        Self { kinds: Arc::new(TaskKind::ALL.into_iter().map(|name| (name, kind())).collect()) }
    }

    /// Starts a task. A panic in it is logged with its name and ends only this task.
    #[expect(clippy::disallowed_methods, reason = "the one place where tasks are started")]
    pub fn spawn<F>(
        &self,
        kind: TaskKind,
        name: impl Into<Cow<'static, str>>,
        future: F,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let name = name.into();
        let slot = &self.kinds[&kind];
        let id = {
            let mut running = slot.running();
            running.next += 1;
            let id = running.next;
            running.tasks.insert(id, (name, None));
            slot.count.send_replace(running.tasks.len());
            id
        };
        let leave = Leave { tasks: self.clone(), kind, id };
        let handle = tokio::spawn(async move {
            let leave = leave;
            let output = future.await;
            drop(leave);
            output
        });
        if let Some(entry) = slot.running().tasks.get_mut(&id) {
            entry.1 = Some(handle.abort_handle());
        }
        handle
    }

    /// Becomes true when a stop of this kind has begun. Tasks that wait for outside events select on it.
    pub fn stop_signal(&self, kind: TaskKind) -> StopSignal {
        StopSignal { kind: self.kinds[&kind].stopping.subscribe(), own: None }
    }

    /// A signal that is also set by its [`Stopper`], for a task that can be stopped before the others of its kind.
    pub fn stoppable(&self, kind: TaskKind) -> (Stopper, StopSignal) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), StopSignal { kind: self.kinds[&kind].stopping.subscribe(), own: Some(receiver) })
    }

    /// How many tasks of this kind run.
    pub fn count(&self, kind: TaskKind) -> usize {
        *self.kinds[&kind].count.borrow()
    }

    /// Stops a kind: signals, waits up to `grace` where [`TaskKind::on_stop`] says so, then aborts the rest.
    /// Returns the names of the tasks that had to be aborted although they were given time.
    pub async fn stop(&self, kind: TaskKind, grace: Duration) -> Vec<String> {
        let slot = &self.kinds[&kind];
        slot.stopping.send_replace(true);
        let mut count = slot.count.subscribe();
        let waits = kind.on_stop() == OnStop::Wait;
        let emptied = waits && tokio::time::timeout(grace, count.wait_for(|count| *count == 0)).await.is_ok();
        let mut aborted = Vec::new();
        if !emptied {
            for (name, handle) in slot.running().tasks.values() {
                if let Some(handle) = handle {
                    handle.abort();
                }
                aborted.push(name.to_string());
            }
        }
        if waits { aborted } else { Vec::new() }
    }
}

/// Tells a task that its kind, or itself, is being stopped.
#[derive(Clone)]
pub struct StopSignal {
    kind: watch::Receiver<bool>,
    own: Option<watch::Receiver<bool>>,
}

/// Stops one task; also when it is dropped.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl StopSignal {
    pub fn is_set(&self) -> bool {
        *self.kind.borrow()
            || self.own.as_ref().is_some_and(|own| *own.borrow() || own.has_changed().is_err())
    }

    /// Completes when the stop begins; at once if it has begun.
    pub async fn wait(&mut self) {
        // An owner that is gone could not stop anybody any more: its end is a stop too.
        let own = async {
            match &mut self.own {
                Some(own) => drop(own.wait_for(|set| *set).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.kind.wait_for(|set| *set) => {}
            () = own => {}
        }
    }
}

/// Takes the task off the list however it ends: by returning, by a panic, or aborted.
struct Leave {
    tasks: Tasks,
    kind: TaskKind,
    id: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let slot = &self.tasks.kinds[&self.kind];
        let mut running = slot.running();
        let name = running.tasks.remove(&self.id);
        slot.count.send_replace(running.tasks.len());
        drop(running);
        if std::thread::panicking() {
            let name = name.map(|(name, _)| name).unwrap_or_default();
            tracing::error!(task = %name, kind = ?self.kind, "a task of the server panicked; the others go on");
        }
    }
}

/// A future that is run in place, without the cost of a task, and becomes a task of its own when its caller
/// goes away before it is finished: an accepted invocation outlives the client's connection.
pub struct Detach<F: Future<Output: Send> + Send + 'static> {
    future: Option<Pin<Box<F>>>,
    tasks: Tasks,
    kind: TaskKind,
}

impl<F: Future<Output: Send> + Send + 'static> Detach<F> {
    pub fn new(tasks: Tasks, kind: TaskKind, future: F) -> Self {
        Self { future: Some(Box::pin(future)), tasks, kind }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Detach<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.future.as_mut() else { return Poll::Pending };
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Detach<F> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take()
            && !std::thread::panicking()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            // The handle is not needed: the task is counted and stopped through its kind.
            drop(self.tasks.spawn(self.kind, "detached", future));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_tasks_that_end_by_themselves() {
        let tasks = Tasks::new();
        let mut signal = tasks.stop_signal(TaskKind::Listener);
        let handle = tasks.spawn(TaskKind::Listener, "one", async move {
            signal.wait().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            "ended"
        });
        assert_eq!(tasks.count(TaskKind::Listener), 1);
        assert_eq!(tasks.stop(TaskKind::Listener, Duration::from_secs(5)).await, Vec::<String>::new());
        assert_eq!(handle.await.unwrap(), "ended");
    }

    #[tokio::test]
    async fn a_stopper_stops_its_task_alone_and_also_when_dropped() {
        let tasks = Tasks::new();
        let (stopper, mut signal) = tasks.stoppable(TaskKind::Listener);
        let (other, other_signal) = tasks.stoppable(TaskKind::Listener);
        assert!(!signal.is_set());
        stopper.stop();
        signal.wait().await;
        assert!(signal.is_set() && !other_signal.is_set());
        drop(other);
        assert!(other_signal.is_set());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_aborts_and_names_what_outlives_its_grace() {
        let tasks = Tasks::new();
        let handle = tasks.spawn(TaskKind::Invocation, "stuck", std::future::pending::<()>());
        assert_eq!(tasks.stop(TaskKind::Invocation, Duration::from_secs(5)).await, vec!["stuck".to_owned()]);
        assert!(handle.await.unwrap_err().is_cancelled());
        assert_eq!(tasks.count(TaskKind::Invocation), 0);
    }

    #[tokio::test]
    async fn a_panic_ends_one_task_only() {
        let tasks = Tasks::new();
        let bad = tasks.spawn(TaskKind::Invocation, "bad", async { panic!("planted") });
        assert!(bad.await.unwrap_err().is_panic());
        assert_eq!(tasks.count(TaskKind::Invocation), 0);
        assert_eq!(tasks.spawn(TaskKind::Invocation, "good", async { 7 }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_detached_future_goes_on_when_its_caller_leaves() {
        let tasks = Tasks::new();
        let (go, wait) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let mut future = Detach::new(tasks.clone(), TaskKind::Invocation, async move {
            wait.await.unwrap();
            done.send(()).unwrap();
        });
        let polled =
            std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context).is_pending()));
        assert!(polled.await);
        drop(future);
        go.send(()).unwrap();
        finished.await.unwrap();
    }
}
