//! One Python process of ours: its sockets, what it says, its end. Template, zygote or worker; `birth` makes them.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ingle_sandbox::boxes::Family;
use ingle_sandbox::process::Group;
use ingle_types::ids::WorkerId;
use ingle_types::log::Refusal;
use ingle_types::outcome::Exit;
use ingle_types::spec::Dialect;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::birth::{Body, Maker};
use crate::bounds::Bounds;
use crate::control::Control;
use crate::debug::Debugging;
use crate::ending::{Ending, LastWords, Ran, crashed_thread, describe, exit_of};
use crate::error::Error;
use crate::hold::Elapsed;
use crate::home::{self, Quarters};
use crate::machine;
use crate::stream::Told;
use crate::wire::frame::FrameReader;
use crate::wire::message::{FromWorker, Loaded, ToWorker, VERSION};
use crate::words::{Speaker, Words};

mod lines;
mod state;

pub use state::Phase;
pub(crate) use state::{Lane, State};

/// SIGKILL, which is how the system takes memory back.
const KILLED: i32 = 9;
/// SIGSYS, which is how a filter of system calls ends a process.
const BAD_CALL: i32 = 31;
/// Numbers of lanes count from here.
pub(crate) const FIRST_LANE: u64 = 1;
/// Reading a process's memory costs more than a call, so it is not read for each.
const MEMORY_AGE_MAX: Duration = Duration::from_millis(200);
/// How long the last words of a dead process may take to come through its pipes.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running worker process.
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) group: Group,
    /// What it has for itself in its box.
    pub(crate) quarters: Quarters,
    /// Begins the names of the files that it writes.
    pub(crate) owner: u64,
    /// When the process was there.
    pub(crate) made_at: Instant,
    pub(crate) control: Control,
    state: Mutex<State>,
    ending: watch::Sender<Option<Arc<Ending>>>,
    pub(crate) words: Arc<Words>,
    pub(crate) speaker: Arc<Speaker>,
    /// The app's folder.
    pub(crate) root: PathBuf,
    pub(crate) spool: Option<PathBuf>,
    pub(crate) bounds: Bounds,
    /// Its lines have a form of their own.
    pub(crate) is_lambda: bool,
    /// Programs run beside it: a runtime of its own, or extensions.
    pub(crate) has_programs: bool,
    pub(crate) debugging: Option<Debugging>,
    memory: Mutex<Option<(Instant, u64)>>,
    signals: Arc<Signals>,
}

/// What a worker tells the pool.
#[derive(Default)]
pub(crate) struct Signals {
    /// Room for work appeared: whoever waits for a slot may look again.
    pub(crate) room: Notify,
    /// A worker takes no more work: the supervisor may have to start another.
    pub(crate) changed: Notify,
    /// A draining worker has less in work.
    pub(crate) less: Notify,
}

impl Worker {
    pub(crate) fn new(id: WorkerId, group: Group, control: Control, maker: &Maker<'_>) -> Arc<Self> {
        Self::made(id, group, control, Quarters::default(), Self::next_owner(), maker)
    }

    /// A number that no other process of this server has had.
    pub(crate) fn next_owner() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn made(
        id: WorkerId,
        group: Group,
        control: Control,
        quarters: Quarters,
        owner: u64,
        maker: &Maker<'_>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            group,
            quarters,
            owner,
            made_at: Instant::now(),
            control,
            state: Mutex::new(State::new()),
            ending: watch::channel(None).0,
            words: maker.words.clone(),
            speaker: Arc::default(),
            root: maker.options.app.root.clone(),
            spool: maker.options.spool.clone(),
            bounds: maker.options.bounds,
            is_lambda: maker.options.app.dialect == Dialect::Lambda,
            has_programs: maker.options.app.functions.iter().any(machine::has_programs),
            debugging: maker.options.debugging.clone(),
            memory: Mutex::default(),
            signals: maker.signals.clone(),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a deadline that does not come while a debugger holds the process.
    pub(crate) async fn within<T>(
        &self,
        deadline: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        match &self.debugging {
            Some(debugging) => debugging.hold.timeout_at(deadline, future).await,
            None => tokio::time::timeout_at(deadline, future).await.map_err(|_elapsed| Elapsed),
        }
    }

    /// Waits for the end of the process and tells how it ended.
    pub(crate) async fn ended(&self) -> Arc<Ending> {
        let mut ending = self.ending.subscribe();
        match ending.wait_for(Option::is_some).await.map(|ending| ending.clone()) {
            Ok(Some(ending)) => ending,
            // The sender lives in `self`, so this is unreachable; say something true all the same.
            Ok(None) | Err(_) => Arc::new(Ending {
                what: "ended".to_owned(),
                exit: None,
                tail: String::new(),
                culprit: None,
                timed_out: None,
                stopped: false,
                in_work: 0,
                crashed: None,
                shortage: None,
                ran: Vec::new(),
            }),
        }
    }

    pub(crate) async fn reap(self: Arc<Self>, mut body: Body, last_words: LastWords) {
        let status = tokio::select! {
            status = body.wait() => status,
            () = self.out_of_memory() => {
                // The system has ended one of its processes, which need not be the one that we wait for.
                self.kill();
                body.wait().await
            }
        };
        self.speaker.end();
        let status = if self.has_machine() { status.map(machine::status_inside) } else { status };
        if status.as_ref().is_ok_and(|status| status.signal() == Some(BAD_CALL)) {
            let message = "the worker was ended by SIGSYS, with which the system answers calls that come by the door of \
                           another architecture";
            self.tell_security(Refusal::SystemCall, None, message.to_owned());
        }
        // A process that left the group may hold the pipe open; what it says later is not waited for.
        tokio::time::timeout(LAST_WORDS, last_words.all_read).await.ok();
        let ending = {
            let mut state = self.state();
            state.phase = Phase::Gone;
            state.idle.clear();
            state.waiting.clear();
            state.births.clear();
            state.reaping.clear();
            state.streams.clear();
            let exiting = state.exiting.take();
            let was_killed = status.as_ref().is_ok_and(|status| status.signal() == Some(KILLED));
            let tail = self.words.secrets().hide(&last_words.tail.text()).into_owned();
            let shortage = state
                .shortage
                .take()
                .or_else(|| self.quarters.group.as_ref().and_then(home::Group::memory_shortage))
                // Another young worker of the box may have been ended so, and this one in another way.
                .or_else(|| body.shortage_since(state.kills_before).filter(|_| was_killed));
            let ran = shortage.as_ref().map(|_| Ran::all(&state.functions, Instant::now()));
            Ending {
                exit: match (&exiting, &status) {
                    (Some((_, status)), _) => {
                        // What a status is cut to by the system (_exit(2)).
                        Some(Exit::Status(i32::try_from(*status & 0xff).unwrap_or_default()))
                    }
                    (None, Ok(status)) => Some(exit_of(*status)),
                    (None, Err(_)) => None,
                },
                what: match (&exiting, status) {
                    _ if state.killed_because.is_some() => state.killed_because.take().unwrap_or_default(),
                    (Some((_, status)), _) => format!("ended itself with os._exit({status})"),
                    (None, Ok(status)) => describe(status),
                    (None, Err(error)) => format!("was lost ({error})"),
                },
                crashed: crashed_thread(&tail),
                tail,
                culprit: exiting.and_then(|(id, _)| id),
                timed_out: state.timed_out,
                stopped: state.stopped,
                in_work: state.in_work,
                shortage,
                ran: ran.unwrap_or_default(),
            }
        };
        // Whatever it has left running ends with it.
        self.kill();
        crate::spool::clean_after(self.owner, self.spool.as_deref());
        self.ending.send_replace(Some(Arc::new(ending)));
        self.signals.room.notify_waiters();
        self.signals.less.notify_waiters();
        self.signals.changed.notify_one();
    }

    pub(crate) async fn read_control(self: Arc<Self>, mut stream: OwnedReadHalf, loaded: LoadedSender) {
        let mut reader = FrameReader::new(self.bounds.frame_bytes());
        let mut loaded = Some(loaded);
        loop {
            let frame = match reader.read(&mut stream).await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::FileTooLarge) => {
                    self.broken(&error.to_string(), &mut loaded);
                    break;
                }
                // A process that dies before it has read everything resets the connection: that is an end, too.
                Err(_closed) => break,
            };
            match FromWorker::read(&frame.header) {
                Ok(FromWorker::Log(log)) => self.log(log).await,
                Ok(message) => self.hear(message, frame.body, &mut loaded),
                Err(error) => {
                    self.broken(&error.to_string(), &mut loaded);
                    break;
                }
            }
        }
        // Nobody can reach the process any more, so it must not go on.
        self.end_lost().await;
    }

    async fn out_of_memory(&self) {
        match &self.quarters.group {
            Some(group) => group.out_of_memory().await,
            None => std::future::pending().await,
        }
    }

    /// As [`Worker::kill`]; `what` follows "the worker process" in what invocations in work are told.
    pub(crate) fn kill_because(&self, what: String) {
        self.state().killed_because = Some(what);
        self.kill();
    }

    /// Ends it at once, with all that it has started.
    pub(crate) fn kill(&self) {
        match &self.quarters.cell {
            // A cell ends all that is in it. The number of a process that has ended may be that of another by now.
            Some(cell) => cell.kill(),
            None => self.group.kill(),
        }
        self.quarters.family.iter().for_each(Family::kill);
        self.quarters.group.iter().for_each(home::Group::kill);
    }

    fn hear(&self, message: FromWorker, body: Bytes, loaded: &mut Option<LoadedSender>) {
        let tell = |answer, loaded: &mut Option<LoadedSender>| {
            if let Some(sender) = loaded.take() {
                // Nobody waits when the import was over its time; the process is ended then.
                sender.send(answer).ok();
            }
        };
        match message {
            FromWorker::Hello { version, .. } if version != VERSION => {
                tell(Err(Error::Version { theirs: version, ours: VERSION }), loaded);
            }
            FromWorker::Hello { thread, .. } => self.state().main_thread = Some(thread),
            FromWorker::Forked { pid, problem, full } => {
                let waiting = self.state().births.pop_front();
                let kind = if full { ErrorKind::WouldBlock } else { ErrorKind::Other };
                let why = problem.unwrap_or_else(|| "no process number".to_owned());
                let born = pid.ok_or_else(|| std::io::Error::new(kind, why));
                // Whoever asked may have given up; the process then finds its sockets closed and ends.
                waiting.map(|waiting| waiting.send(born));
            }
            FromWorker::Reaped { pid, status } => {
                let waiting = self.state().reaping.remove(&pid);
                waiting.map(|waiting| waiting.send(status));
            }
            // Lanes tell this on their own sockets.
            FromWorker::Lane { .. } | FromWorker::Begun { .. } => {}
            FromWorker::Loaded(mut found) => {
                found.problems.iter_mut().for_each(|problem| self.words.secrets().hide_in_problem(problem));
                tell(Ok(*found), loaded);
            }
            // Whoever reads waits for its turn.
            FromWorker::Log(_) => {}
            FromWorker::Debugger { port } => {
                self.debugging.iter().for_each(|debugging| debugging.listens(port));
            }
            FromWorker::Done(done) if self.state().streams.has(&done.id) => self.hear_end(done, body),
            FromWorker::Pull { id } => self.hear_stream(&id, Told::Pull),
            FromWorker::Head { id, status, headers } => self.hear_stream(&id, Told::Head(status, headers)),
            FromWorker::Chunk { id } => self.hear_stream(&id, Told::Chunk(body)),
            FromWorker::Done(done) => {
                let waiting = done.id.parse().ok().and_then(|id| self.state().waiting.remove(&id));
                if let Some(waiting) = waiting {
                    // The slot may have given up on it; then the answer is worth nothing.
                    waiting.send((done, body)).ok();
                }
            }
            FromWorker::Stacks { stacks } => {
                for waiting in std::mem::take(&mut self.state().stacks) {
                    waiting.send(stacks.clone().into_iter().collect()).ok();
                }
            }
            FromWorker::Exiting { id, status } => {
                self.state().exiting = Some((id.and_then(|id| id.parse().ok()), status));
            }
        }
    }

    fn broken(&self, problem: &str, loaded: &mut Option<LoadedSender>) {
        self.tell_broken(None, problem);
        if let Some(sender) = loaded.take() {
            sender.send(Err(Error::Protocol { problem: problem.to_owned() })).ok();
        }
        self.kill();
    }

    /// One more lane. The caller has counted it in [`State::lanes`] already.
    pub(crate) async fn open_lane(&self) -> std::io::Result<Lane> {
        let (lane, theirs) = Lane::pair(self.bounds.frame_bytes())?;
        let number = {
            let mut state = self.state();
            state.next_lane += 1;
            state.next_lane
        };
        let message = ToWorker::Lane { lane: number };
        self.control.send_with_descriptors(&message, &[std::os::fd::AsFd::as_fd(&theirs)], || ()).await?;
        Ok(lane)
    }

    /// Python's stacks of the invocations in work, if the worker's main thread still answers in time.
    pub(crate) async fn stacks(&self, limit: Duration) -> HashMap<String, String> {
        let (sender, receiver) = oneshot::channel();
        self.state().stacks.push(sender);
        let ask = async {
            self.control.send(&ToWorker::Stacks).await.ok()?;
            receiver.await.ok()
        };
        tokio::time::timeout(limit, ask).await.ok().flatten().unwrap_or_default()
    }

    pub(crate) fn become_phase(&self, phase: Phase) {
        let mut state = self.state();
        if state.phase == Phase::Loading {
            state.phase = phase;
        }
    }

    /// Waits until nothing is in work. Whoever calls this has seen to it that nothing comes.
    pub(crate) async fn idle(&self) {
        loop {
            let less = self.signals.less.notified();
            tokio::pin!(less);
            less.as_mut().enable();
            {
                let state = self.state();
                if state.in_work == 0 || state.phase == Phase::Gone {
                    return;
                }
            }
            less.await;
        }
    }

    /// Waits for the end, and ends the process if it still runs then.
    pub(crate) async fn end_by(&self, until: Instant) {
        if tokio::time::timeout_at(until, self.ended()).await.is_err() {
            self.end();
            self.ended().await;
        }
    }

    /// Ends a process in which nothing runs, or nothing that still counts.
    pub(crate) fn end(&self) {
        self.state().stopped = true;
        self.kill();
    }

    /// Takes the exit status of a process that this one forked and that has ended; `None` when it can't tell.
    pub(crate) async fn reap_child(&self, number: i32) -> Option<i32> {
        let (sender, status) = oneshot::channel();
        {
            let mut state = self.state();
            if state.phase == Phase::Gone {
                return None;
            }
            state.reaping.insert(number, sender);
        }
        self.control.send(&ToWorker::Reap { pid: number }).await.ok()?;
        status.await.ok().flatten()
    }

    /// Takes no new work from now on, and what it has in work is to be done.
    pub(crate) fn drain(&self) {
        self.take_no_more();
        self.be_left_in_peace();
    }

    /// Takes no new work from now on.
    pub(crate) fn take_no_more(&self) {
        let mut state = self.state();
        if state.phase != Phase::Gone {
            state.phase = Phase::Draining;
        }
        // Closing our end of an idle lane ends its thread.
        state.idle.clear();
        drop(state);
        self.signals.changed.notify_one();
    }

    /// The pool looks no more at how it behaves.
    pub(crate) fn be_left_in_peace(&self) {
        self.quarters.group.iter().for_each(home::Group::leave_in_peace);
    }

    /// Resident memory in bytes, read from the system at most every [`MEMORY_AGE_MAX`].
    pub(crate) fn memory_bytes(&self) -> u64 {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match *memory {
            Some((at, bytes)) if at.elapsed() < MEMORY_AGE_MAX => bytes,
            _ => {
                let bytes = self.resident_bytes();
                *memory = Some((Instant::now(), bytes));
                bytes
            }
        }
    }

    /// Whoever waits for a slot may look again.
    pub(crate) fn make_room(&self) {
        self.signals.room.notify_one();
    }

    /// A draining worker has finished something.
    pub(crate) fn tell_less(&self) {
        self.signals.less.notify_waiters();
    }

    /// The supervisor should look at this worker.
    pub(crate) fn tell_changed(&self) {
        self.signals.changed.notify_one();
    }
}

pub(crate) type LoadedSender = oneshot::Sender<Result<Loaded, Error>>;
