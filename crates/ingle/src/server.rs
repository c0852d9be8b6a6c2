//! The server: one port, the apps behind it, and the order in which everything stops.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ingle_gateway::hosts::Hosts;
use ingle_tasks::{TaskKind, Tasks};
use ingle_worker::Parents;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::app::App;
use crate::exit::{CommandError, MACHINE};
use crate::project::common::Common;

/// How long work in hand may go on after a stop was asked for.
const GRACE: Duration = Duration::from_secs(10);
/// How long workers with nothing in work may take to exit.
const EXIT_GRACE: Duration = Duration::from_secs(1);
/// How long after its start a generation has come to rest.
const SETTLED: Duration = Duration::from_secs(5);
/// How often processes that nobody waits for are looked for.
const ORPHANS_EVERY: Duration = Duration::from_secs(10);

/// What the apps of a server share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    pub(crate) tasks: Tasks,
    /// Templates and zygotes.
    pub(crate) parents: Parents,
    /// A generation has just been started.
    pub(crate) started: Arc<Notify>,
}

/// A server at work.
pub(crate) struct Server {
    pub(crate) shared: Shared,
    listener: Option<TcpListener>,
    apps: Arc<Mutex<Vec<Arc<App>>>>,
    /// What its apps have together, if they are the functions of a project.
    pub(crate) common: Option<Common>,
}

impl Server {
    /// Takes the port, before anything else, so that a second server fails at once.
    pub(crate) async fn listen(
        address: SocketAddr,
        parents: Parents,
        tasks: Tasks,
    ) -> Result<Self, CommandError> {
        let listener = take_port(address).await?;
        let address = listener.local_addr().map_err(|error| cannot_listen(address, &error))?;
        let shared = Shared { address, tasks, parents, started: Arc::default() };
        let server = Self { shared, listener: Some(listener), apps: Arc::default(), common: None };
        server.take_care_of_processes();
        server.take_care_of_memory();
        Ok(server)
    }

    /// Takes requests, and those of functions for each other.
    pub(crate) fn serve(&mut self, hosts: Hosts) {
        if let (Some(common), Hosts::Project { services, .. }) = (&self.common, &hosts) {
            common.functions.set(services.clone());
        }
        if let Some(listener) = self.listener.take() {
            ingle_gateway::server::serve(Arc::new(hosts), &self.shared.tasks, listener);
        }
    }

    /// Those that are to be stopped with the server.
    pub(crate) fn apps(&self) -> Apps {
        Apps(self.apps.clone())
    }

    /// Reading an app and starting its listeners takes several times the memory that it then needs.
    fn take_care_of_memory(&self) {
        let started = self.shared.started.clone();
        drop(self.shared.tasks.spawn(TaskKind::Supervisor, "memory", async move {
            loop {
                started.notified().await;
                tokio::time::sleep(SETTLED).await;
                ingle_sandbox::memory::return_freed();
            }
        }));
    }

    /// Zygotes keep to their budget. What functions leave running is ours when its parent is gone, and somebody has to
    /// wait for its end.
    fn take_care_of_processes(&self) {
        let tasks = &self.shared.tasks;
        let keep_budget = self.shared.parents.zygotes.clone().supervise();
        drop(tasks.spawn(TaskKind::Supervisor, "zygotes", keep_budget));
        drop(tasks.spawn(TaskKind::Supervisor, "orphans", async {
            let mut orphans = ingle_sandbox::process::Orphans::default();
            loop {
                tokio::time::sleep(ORPHANS_EVERY).await;
                orphans.reap();
            }
        }));
    }

    /// Stops in order: no new requests, no new messages, work in hand finished, workers ended, stores closed.
    pub(crate) async fn stop(self) -> Vec<String> {
        let until = Instant::now() + GRACE;
        let left = || until.saturating_duration_since(Instant::now());
        let tasks = &self.shared.tasks;
        let apps = self.apps();
        for app in apps.all() {
            // What stands at a breakpoint could not finish.
            app.control.stop_debugging().await;
        }
        let mut unfinished = tasks.stop(TaskKind::Acceptor, left()).await;
        apps.all().iter().for_each(|app| app.close_admin());
        self.common.iter().for_each(Common::close_admin);
        unfinished.extend(tasks.stop(TaskKind::Listener, left()).await);
        unfinished.extend(tasks.stop(TaskKind::Connection, left()).await);
        // Also those that go on although their client has left.
        unfinished.extend(tasks.stop(TaskKind::Invocation, left()).await);
        tasks.stop(TaskKind::Supervisor, left()).await;
        let ending: Vec<_> =
            apps.all().into_iter().map(|app| self.end(app, left().max(EXIT_GRACE))).collect();
        for ended in ending {
            // It fails only if it panicked, which was told.
            ended.await.ok();
        }
        if let Some(common) = &self.common {
            common.store.close().await;
        }
        self.shared.parents.templates.stop();
        unfinished
    }

    /// Ends the workers of an app, then closes its store.
    fn end(&self, app: Arc<App>, grace: Duration) -> tokio::task::JoinHandle<()> {
        self.shared.tasks.spawn(TaskKind::Invocation, "end of an app", async move {
            app.control.stop(grace).await;
            if !app.store_is_shared {
                app.store.close().await;
            }
        })
    }
}

/// The apps of a server that are at work. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Apps(Arc<Mutex<Vec<Arc<App>>>>);

impl Apps {
    pub(crate) fn add(&self, app: Arc<App>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(app);
    }

    pub(crate) fn all(&self) -> Vec<Arc<App>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn take_port(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> CommandError {
    let message = format!("can't listen on {address}: {error}");
    CommandError::new(MACHINE, "E0701", message).hint("choose another port with --port, or 0 for a free one")
}
