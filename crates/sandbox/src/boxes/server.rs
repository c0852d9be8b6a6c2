//! The server's side of boxes: asks the maker for them, and their keepers for processes and cells.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ingle_types::outcome::Blame;
use rustix::net::Shutdown;
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::time::timeout;

use super::maker::ARGUMENT;
use super::mark::{Family, Mark};
use super::spec::{Answer, BoxSpec, Numbered, Program, Request, Shortfall};
use super::sys::number_of;
use super::wire;
use crate::cgroup::Entrance;
use crate::process::{self, Forked, Group, SOCKET_NUMBER};

/// Longer than any step of a box takes on a machine that is not stuck.
const ANSWER_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum BoxError {
    #[error("the maker of boxes can't be reached")]
    Maker { source: io::Error },
    #[error("a box could not be made: can't {step}")]
    Step { step: String, source: io::Error },
    #[error("the keeper of a box has ended")]
    Gone,
    #[error("the keeper of a box does not answer")]
    Late,
}

impl BoxError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Maker { .. } | Self::Gone | Self::Late => "E0621",
            Self::Step { .. } => "E0620",
        }
    }

    pub fn blame(&self) -> Blame {
        Blame::Platform
    }

    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Step { .. } => "ingle doctor --security tells what this machine allows",
            Self::Maker { .. } | Self::Gone | Self::Late => {
                "the log has more, if the machine is short of memory"
            }
        };
        Some(text.to_owned())
    }
}

/// Makes boxes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Boxes(Arc<Makers>);

#[derive(Debug)]
struct Makers {
    program: PathBuf,
    maker: AsyncMutex<Option<Maker>>,
}

#[derive(Debug)]
struct Maker {
    socket: Arc<AsyncFd<OwnedFd>>,
    /// Waited for by the runtime, and killed when this is dropped.
    _process: tokio::process::Child,
}

impl Boxes {
    /// `program`: our own binary, which knows [`ARGUMENT`].
    pub fn new(program: PathBuf) -> Self {
        Self(Arc::new(Makers { program, maker: AsyncMutex::default() }))
    }

    /// Makes a box. The second part has to be run for as long as the box is used: it hears what the keeper says.
    ///
    /// # Errors
    /// A step that could not be done, or the maker can't be started.
    pub async fn make(&self, spec: &BoxSpec) -> Result<(Boxed, Port), BoxError> {
        match self.try_to_make(spec).await {
            // The maker may have been ended from outside; a second one is as good.
            Err(BoxError::Maker { .. } | BoxError::Gone) => {
                self.0.maker.lock().await.take();
                self.try_to_make(spec).await
            }
            other => other,
        }
    }

    async fn try_to_make(&self, spec: &BoxSpec) -> Result<(Boxed, Port), BoxError> {
        let failed = |source| BoxError::Maker { source };
        let (ours, theirs) = wire::pair().map_err(failed)?;
        self.ask(spec, &theirs).await.map_err(failed)?;
        drop(theirs);
        let socket = Arc::new(asynchronous(ours).map_err(failed)?);
        let heard = timeout(ANSWER_MAX, receive(&socket)).await.map_err(|_late| BoxError::Late)?;
        match heard.map_err(failed)? {
            Some((Answer::Ready { shortfalls, mark }, mut attached)) if !attached.is_empty() => {
                let keeper = attached.remove(0);
                let inner = Arc::new(Inner {
                    socket: socket.clone(),
                    keeper,
                    has_namespaces: spec.has_namespaces,
                    shortfalls,
                    resolver: Mutex::new(attached),
                    next_id: AtomicU64::new(0),
                    waiting: Mutex::default(),
                    ends: Mutex::default(),
                });
                Ok((Boxed(inner.clone()), Port { socket, boxed: Arc::downgrade(&inner), mark }))
            }
            Some((Answer::Failed { step, errno, .. }, _)) => Err(step_failed(step, errno)),
            Some(_) | None => Err(BoxError::Gone),
        }
    }

    async fn ask(&self, spec: &BoxSpec, socket: &OwnedFd) -> io::Result<()> {
        let maker = {
            let mut kept = self.0.maker.lock().await;
            if let Some(maker) = &*kept {
                maker.socket.clone()
            } else {
                let maker = self.start()?;
                let socket = maker.socket.clone();
                *kept = Some(maker);
                socket
            }
        };
        send(&maker, spec, &[socket]).await
    }

    /// It gets nothing of ours but a socket: no variable, no descriptor, no terminal.
    fn start(&self) -> io::Result<Maker> {
        let (ours, theirs) = wire::pair()?;
        let mut command = tokio::process::Command::new(&self.0.program);
        command
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        // SAFETY: the closure runs between fork and exec and only calls dup2 and fcntl, which allocate nothing and take
        // no lock.
        #[expect(unsafe_code, reason = "pre_exec is unsafe by signature")]
        unsafe {
            command.pre_exec(move || super::sys::place(&theirs, SOCKET_NUMBER));
        }
        let process = command.spawn()?;
        Ok(Maker { socket: Arc::new(asynchronous(ours)?), _process: process })
    }
}

fn step_failed(step: String, errno: i32) -> BoxError {
    BoxError::Step { step, source: io::Error::from_raw_os_error(errno) }
}

fn asynchronous(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(&socket)?;
    rustix::fs::fcntl_setfl(&socket, flags | rustix::fs::OFlags::NONBLOCK)?;
    // SAFETY: the descriptor is owned by the `AsyncFd`, and an `OwnedFd` is the same open one until it is dropped.
    #[expect(unsafe_code, reason = "tokio can't know that of every type")]
    unsafe {
        Ok(AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::WRITABLE)?)
    }
}

async fn send(
    socket: &AsyncFd<OwnedFd>,
    message: &impl serde::Serialize,
    attached: &[&OwnedFd],
) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        let borrowed: Vec<_> = attached.iter().map(|descriptor| descriptor.as_fd()).collect();
        if let Ok(sent) = ready.try_io(|socket| wire::send(socket.get_ref(), message, &borrowed)) {
            return sent;
        }
    }
}

async fn receive(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(Answer, Vec<OwnedFd>)>> {
    loop {
        let mut ready = socket.readable().await?;
        if let Ok(received) = ready.try_io(|socket| wire::receive(socket.get_ref())) {
            return received;
        }
    }
}

/// A box. Cheap to clone; when the last one is dropped, everything in it is ended.
#[derive(Clone, Debug)]
pub struct Boxed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    socket: Arc<AsyncFd<OwnedFd>>,
    keeper: OwnedFd,
    has_namespaces: bool,
    shortfalls: Vec<Shortfall>,
    resolver: Mutex<Vec<OwnedFd>>,
    next_id: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Heard>>>,
    /// Who wants to know how a process ended, by its number in the box.
    ends: Mutex<HashMap<i32, oneshot::Sender<i32>>>,
}

/// With the end of what was started, if it is about that.
type Heard = (Answer, Vec<OwnedFd>, Option<Ended>);

/// Hears what the keeper of a box says.
#[derive(Debug)]
pub struct Port {
    socket: Arc<AsyncFd<OwnedFd>>,
    boxed: std::sync::Weak<Inner>,
    mark: Option<Mark>,
}

/// What a program has open when it is started.
#[derive(Clone, Copy, Debug)]
pub struct Open<'a> {
    pub output: &'a OwnedFd,
    pub errors: &'a OwnedFd,
    /// Found under [`SOCKET_NUMBER`].
    pub control: Option<&'a OwnedFd>,
    /// The control group that it enters before it does anything; only for one with a control socket.
    pub into: Option<&'a Entrance>,
}

/// A process that was started in a box.
#[derive(Debug)]
pub struct Started {
    pub process: Forked,
    /// Its number in the box.
    pub number: i32,
    /// Asks before the process, or one that it forks, connects anywhere.
    pub listener: Option<OwnedFd>,
    pub ended: Ended,
}

/// How a process ended, once the keeper has taken its status.
#[derive(Debug)]
pub struct Ended(oneshot::Receiver<i32>);

/// Longest wait for the status of a process that has ended.
const STATUS_MAX: Duration = Duration::from_secs(2);

/// Longest wait for the end of a box that was killed; a process that is stuck in the system may take for ever.
const END_MAX: Duration = Duration::from_secs(10);

impl Ended {
    /// The status; `None` if the keeper can't tell. To be asked when the process has ended.
    pub async fn status(self) -> Option<ExitStatus> {
        timeout(STATUS_MAX, self.wait()).await.ok()?
    }

    /// Waits for the end itself; `None` if the box is gone.
    pub(crate) async fn wait(self) -> Option<ExitStatus> {
        self.0.await.ok().map(ExitStatus::from_raw)
    }
}

/// A cell. When it is dropped, everything in it is ended.
#[derive(Debug)]
pub struct Cell {
    keeper: OwnedFd,
    pub numbers: OwnedFd,
    pub mounts: OwnedFd,
}

impl Cell {
    /// Ends every process in it, whatever they do.
    pub fn kill(&self) {
        rustix::process::pidfd_send_signal(&self.keeper, Signal::KILL).ok();
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Inner {
    /// With process 1 of a box the system ends all others; without namespaces the keeper has to do it before it goes.
    fn kill(&self) {
        if self.has_namespaces {
            rustix::process::pidfd_send_signal(&self.keeper, Signal::KILL).ok();
        } else {
            rustix::net::shutdown(self.socket.get_ref(), Shutdown::Write).ok();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.kill();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Boxed {
    pub fn shortfalls(&self) -> &[Shortfall] {
        &self.0.shortfalls
    }

    /// The sockets at which programs in the box look for a resolver: for datagrams, for streams. Once.
    pub fn take_resolver(&self) -> Option<(OwnedFd, OwnedFd)> {
        let mut sockets = locked(&self.0.resolver).drain(..).collect::<Vec<_>>().into_iter();
        sockets.next().zip(sockets.next())
    }

    /// Watches a process that says itself, by its number on the host, that `parent` in this box has forked it.
    ///
    /// # Errors
    /// It is none of the box, or has ended.
    pub fn watch(&self, process_id: i32, parent: Group) -> io::Result<Forked> {
        let users = if self.0.has_namespaces { process::namespace_of_users } else { process::user_of };
        Forked::watch_beside(process_id, parent, users)
    }

    /// Ends every process in it.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Ends every process in it, and waits until none is left.
    pub(crate) async fn end(self) {
        self.kill();
        // The keeper ends last: the system waits for all others of its process numbers, or the keeper itself does.
        if let Ok(keeper) = self.0.keeper.try_clone().and_then(asynchronous) {
            drop(timeout(END_MAX, keeper.readable()).await);
        }
    }

    /// Whether the server may send signals to what runs in it.
    pub(crate) fn can_be_ended(&self) -> io::Result<()> {
        let keeper = number_of(&self.0.keeper)?.ok_or_else(|| io::Error::other("it has ended"))?;
        Ok(rustix::process::test_kill_process(keeper)?)
    }

    /// The keeper, as the server sees it.
    pub(crate) fn keeper_number(&self) -> io::Result<u32> {
        let keeper = number_of(&self.0.keeper)?.ok_or_else(|| io::Error::other("it has ended"))?;
        u32::try_from(keeper.as_raw_nonzero().get()).map_err(io::Error::other)
    }

    /// Starts a program with what it has open.
    ///
    /// # Errors
    /// A step that could not be done, or the box is gone.
    pub async fn start(&self, program: Program, open: Open<'_>) -> Result<Started, BoxError> {
        let into = open.into.into_iter().flat_map(Entrance::descriptors);
        let attached: Vec<_> =
            [open.output, open.errors].into_iter().chain(open.control).chain(into).collect();
        let heard = self.request(Request::Start(Box::new(program)), &attached).await?;
        let (Answer::Started { process: number, .. }, descriptors, Some(ended)) = heard else {
            return Err(BoxError::Gone);
        };
        let mut descriptors = descriptors.into_iter();
        let process = Forked::watch_open(descriptors.next().ok_or(BoxError::Gone)?);
        let process = process.map_err(|source| BoxError::Step {
            step: "watch the program that was started in it".to_owned(),
            source,
        })?;
        Ok(Started { process, number, listener: descriptors.next(), ended })
    }

    /// Makes a cell.
    ///
    /// # Errors
    /// A step that could not be done, or the box is gone.
    pub async fn cell(&self) -> Result<Cell, BoxError> {
        let (_, descriptors, _) = self.request(Request::Cell, &[]).await?;
        match <[OwnedFd; 3]>::try_from(descriptors) {
            Ok([keeper, numbers, mounts]) => Ok(Cell { keeper, numbers, mounts }),
            Err(_) => Err(BoxError::Gone),
        }
    }

    /// What ends a worker with all that it will start; to be asked for before it runs anything of the app. `None`: it has
    /// ended, the box has process numbers, which do the same, or it has no marks, which its [`Self::shortfalls`] say.
    ///
    /// # Errors
    /// The box is gone.
    pub async fn family(&self, worker: Group) -> Result<Option<Family>, BoxError> {
        let Ok(process) = i32::try_from(worker.leader()) else { return Ok(None) };
        if self.0.has_namespaces {
            return Ok(None);
        }
        let (_, descriptors, _) = self.request(Request::Mark { process }, &[]).await?;
        Ok(descriptors.into_iter().next().map(Family::new))
    }

    /// Ends the program of a machine in a way that lets it print its stacks first, if it can still be reached.
    pub async fn abort(&self, process: i32) {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        send(&self.0.socket, &Numbered { id, request: Request::Abort { process } }, &[]).await.ok();
    }

    /// To be asked for as soon as the number is known: statuses that nobody has asked for are not kept.
    pub fn ended(&self, number: i32) -> Ended {
        self.0.expect_end(number)
    }

    async fn request(&self, request: Request, attached: &[&OwnedFd]) -> Result<Heard, BoxError> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        locked(&self.0.waiting).insert(id, sender);
        let answered = async {
            send(&self.0.socket, &Numbered { id, request }, attached)
                .await
                .map_err(|_closed| BoxError::Gone)?;
            receiver.await.map_err(|_closed| BoxError::Gone)
        };
        let heard = timeout(ANSWER_MAX, answered).await;
        locked(&self.0.waiting).remove(&id);
        match heard.map_err(|_late| BoxError::Late)?? {
            (Answer::Failed { step, errno, .. }, ..) => Err(step_failed(step, errno)),
            heard => Ok(heard),
        }
    }
}

impl Port {
    /// Runs until the box is gone.
    pub async fn run(self) {
        while let Ok(Some((answer, attached))) = receive(&self.socket).await {
            let Some(boxed) = self.boxed.upgrade() else { break };
            boxed.hear(answer, attached);
        }
        if let Some(boxed) = self.boxed.upgrade() {
            // Whoever waits finds the sender gone.
            locked(&boxed.waiting).clear();
            locked(&boxed.ends).clear();
        }
        // A keeper that was ended by force has left them; mostly there are none any more.
        if let Some(mark) = self.mark {
            tokio::task::spawn_blocking(move || mark.end());
        }
    }
}

impl Inner {
    fn expect_end(&self, number: i32) -> Ended {
        let (sender, receiver) = oneshot::channel();
        let mut ends = locked(&self.ends);
        ends.retain(|_, waiting| !waiting.is_closed());
        ends.insert(number, sender);
        Ended(receiver)
    }

    fn hear(&self, answer: Answer, attached: Vec<OwnedFd>) {
        let id = match &answer {
            Answer::Started { id, .. } | Answer::Cell { id } | Answer::Marked { id } => Some(*id),
            Answer::Failed { id, .. } => *id,
            Answer::Ended { process, status } => {
                let waiting = locked(&self.ends).remove(process);
                waiting.map(|waiting| waiting.send(*status));
                None
            }
            Answer::Ready { .. } => None,
        };
        let waiting = id.and_then(|id| locked(&self.waiting).remove(&id));
        // Now, as the news of its end may be the next that is heard, before whoever asked can do anything.
        let ended = match &answer {
            Answer::Started { process, .. } => Some(self.expect_end(*process)),
            _ => None,
        };
        // Whoever asked may have given up; what was made for them ends with its descriptors.
        waiting.map(|waiting| waiting.send((answer, attached, ended)));
    }
}
