//! One port for the editor's debugger, whichever process it is led to.
//!
//! Each worker has a debugger of its own, which ends with it. The editor is connected to the server instead, which
//! passes the messages on. When the next generation takes over, the server repeats to it what the editor has asked for so
//! far, lets the old one go on without breakpoints, and tells the editor of the threads that have gone: it stays attached
//! (P-04). The server knows no more of the protocol than that, so whatever an editor and a debugger agree on goes
//! through. Why not otherwise is in `docs/adr`.
//!
//! | to find | look in |
//! |---|---|
//! | messages on a connection | `frame` |
//! | what is repeated, and what the editor is told of a move | `session` |
//! | the task between both connections | `proxy` |

mod frame;
mod proxy;
mod session;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ingle_tasks::{TaskKind, Tasks};
pub use ingle_worker::debug::Begin;
use ingle_worker::debug::Debugging;
use ingle_worker::hold::Hold;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use self::proxy::{Command, Proxy};

/// Moves that may wait.
const COMMANDS_MAX: usize = 16;

/// Handle to the debugger's door. Cheap to clone.
#[derive(Clone)]
pub struct Debugger(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    begin: Begin,
    hold: Hold,
    commands: mpsc::Sender<Command>,
    tasks: Tasks,
    has_begun: AtomicBool,
    /// Which of those who follow the ports of a pool is the newest.
    newest: AtomicU64,
}

impl Debugger {
    /// Opens the port for the editor.
    ///
    /// # Errors
    /// It is in use.
    pub async fn listen(address: SocketAddr, begin: Begin, tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let hold = Hold::default();
        // Waiting for somebody is not the app's time.
        hold.set(begin != Begin::Run);
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let proxy = Proxy::new(listener, hold.clone(), begin != Begin::Run);
        drop(tasks.spawn(TaskKind::Supervisor, "debugger", proxy.run(receiver)));
        Ok(Self(Arc::new(Inner {
            address,
            begin,
            hold,
            commands,
            tasks: tasks.clone(),
            has_begun: AtomicBool::new(false),
            newest: AtomicU64::new(0),
        })))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    pub fn begin(&self) -> Begin {
        self.0.begin
    }

    /// For the processes of the next generation. `site`: the folder that has `debugpy`.
    pub(crate) fn debugging(&self, site: Option<PathBuf>) -> Debugging {
        let is_first = !self.0.has_begun.swap(true, Ordering::Relaxed);
        let begin = if is_first { self.0.begin } else { Begin::Run };
        Debugging::new(site, begin, self.0.hold.clone())
    }

    /// From now on leads the editor to each process that starts to listen, until somebody else is followed.
    pub(crate) fn follow(&self, mut ports: watch::Receiver<Option<u16>>) {
        let own = self.0.newest.fetch_add(1, Ordering::AcqRel) + 1;
        let debugger = self.clone();
        let follow = async move {
            while ports.changed().await.is_ok() {
                let port = *ports.borrow_and_update();
                if debugger.0.newest.load(Ordering::Acquire) != own {
                    return;
                }
                if let Some(port) = port {
                    debugger.lead_to(port).await;
                }
            }
        };
        drop(self.0.tasks.spawn(TaskKind::Supervisor, "debugged processes", follow));
    }

    /// Leads the editor to another process; returns when its breakpoints are set there.
    pub(crate) async fn lead_to(&self, port: u16) {
        self.command(|done| Command::LeadTo { port, done }).await;
    }

    /// Lets whatever stands at a breakpoint go on, for the end of the server.
    pub async fn let_go(&self) {
        self.command(|done| Command::LetGo { done }).await;
    }

    async fn command(&self, make: impl FnOnce(oneshot::Sender<()>) -> Command) {
        let (done, wait) = oneshot::channel();
        // The proxy is gone only when the server stops.
        if self.0.commands.send(make(done)).await.is_ok() {
            wait.await.ok();
        }
    }
}
