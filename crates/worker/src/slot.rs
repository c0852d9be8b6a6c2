//! Room for one invocation in a worker, and what running a call in it can lead to.

mod limit;
mod memory;
mod outcome;
mod silence;
mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingle_tasks::{Detach, TaskKind, Tasks};
use ingle_types::exchange::ExchangeHandle;
use ingle_types::ids::InvocationId;
use ingle_types::log::{CallLog, Refusal};
use ingle_types::outcome::{Blame, Failure, Outcome};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::bounds::answer_too_long;
use crate::departure::Departure;
use crate::process::{Lane, Phase, Worker};
use crate::stream::{Stream, Told};
use crate::wire::frame;
use crate::wire::message::{Call, Done, FromWorker, ToWorker};
use limit::{within, within_from};
use outcome::{OUTPUT_NOT_READ, ended_failure, innermost, not_read};
use silence::Silence;

/// How long a worker may take to tell where a function hangs, before it is ended.
const STACKS_LIMIT: Duration = Duration::from_millis(300);
/// How long of that it gives way to others, if it does: with all processors taken it might never get to tell.
const STACKS_PATIENCE: Duration = Duration::from_millis(150);
/// How long the other invocations of a worker may go on after one of them was over its time.
const BYSTANDER_GRACE: Duration = Duration::from_secs(5);

/// Longer than what is told of its end may take, as the worker has it (`SHUTDOWN_SECONDS` in `relay_extensions.py`).
const PROGRAMS_END_MAX: Duration = Duration::from_secs(3);

/// How a call went.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    /// Time in the user's code, as the worker measured it.
    pub user: Duration,
    /// Resident memory of the worker afterwards, in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// Of a handler for AWS Lambda.
    pub log: Option<Box<CallLog>>,
}

/// Room for one invocation. Running a call uses it up; dropping it gives the room back.
pub struct Slot {
    pub(crate) worker: Arc<Worker>,
    tasks: Tasks,
    place: Option<Place>,
    /// What runs in it, once it runs.
    running: Option<InvocationId>,
    thread: RunsIn,
    /// The worker has said that the time of the call begins.
    begun: Arc<Notify>,
}

/// The worker's thread that runs an invocation.
#[derive(Clone, Copy, Default)]
struct RunsIn {
    /// Its identity, as far as known.
    thread: Option<u64>,
    /// The event loop's: it runs other invocations too.
    shared: bool,
}

enum Place {
    Lane(Box<Lane>),
    Loop,
}

impl Slot {
    pub(crate) fn on_lane(worker: Arc<Worker>, tasks: Tasks, lane: Lane) -> Self {
        Self {
            worker,
            tasks,
            place: Some(Place::Lane(Box::new(lane))),
            running: None,
            thread: RunsIn::default(),
            begun: Arc::default(),
        }
    }

    /// Opens a lane that is counted already. Goes on by itself when whoever waits for it gives up: half a frame would break
    /// the control socket, and the lane is somebody's.
    pub(crate) async fn on_new_lane(worker: Arc<Worker>, tasks: Tasks) -> Result<Self, Failure> {
        let owner = tasks.clone();
        let open = async move {
            match worker.open_lane().await {
                Ok(lane) => Ok(Self::on_lane(worker, tasks, lane)),
                Err(error) => {
                    {
                        let mut state = worker.state();
                        state.lanes = state.lanes.saturating_sub(1);
                        state.in_work = state.in_work.saturating_sub(1);
                    }
                    worker.make_room();
                    let message = format!("can't open a lane in {}: {error}", worker.id);
                    Err(Failure::new(Blame::Platform, "E0303", "WorkerEnded", message).not_started())
                }
            }
        };
        Detach::new(owner, TaskKind::WorkerPort, open).await
    }

    pub(crate) fn on_loop(worker: Arc<Worker>, tasks: Tasks) -> Self {
        Self {
            worker,
            tasks,
            place: Some(Place::Loop),
            running: None,
            thread: RunsIn::default(),
            begun: Arc::default(),
        }
    }

    pub fn worker(&self) -> ingle_types::ids::WorkerId {
        self.worker.id
    }

    /// Runs one call to its end. At the deadline the invocation fails and its worker is ended.
    pub async fn run<Gone>(
        mut self,
        call: Call,
        deadline: Option<Instant>,
        departure: Departure<Gone>,
    ) -> Answer
    where
        Gone: Future<Output = ()>,
    {
        let (header, body) = match call.encode() {
            Ok(frame) => frame,
            Err(error) => {
                let failure = Failure::new(Blame::Platform, "E0306", "InputNotEncoded", error.to_string());
                return self.answer(Outcome::Failed(failure.not_started()), Duration::ZERO);
            }
        };
        self.running = Some(call.id);
        self.worker.begin(call.id, call.function.clone());
        let teller = departure.teller(self.worker.clone(), self.tasks.clone(), call.id);
        let interrupts = departure.interrupts;
        let answered = match self.place.take() {
            Some(Place::Lane(lane)) => match call.exchange() {
                Some(exchange) => {
                    let called = (call.id, interrupts);
                    let run = self.run_streamed_on_lane(*lane, called, (&header, &body), exchange, deadline);
                    Box::pin(run).await
                }
                None => {
                    let run = self.run_on_lane(*lane, call.id, (&header, &body), deadline);
                    teller.beside(run, departure.gone).await
                }
            },
            Some(Place::Loop) | None => match call.exchange() {
                Some(exchange) => {
                    let called = (call.id, interrupts);
                    Box::pin(self.run_streamed(called, (&header, &body), exchange, deadline)).await
                }
                None => {
                    let run = self.run_on_loop(call.id, &header, &body, deadline);
                    teller.beside(run, departure.gone).await
                }
            },
        };
        match answered {
            Ok((done, body)) => {
                let user = Duration::from_micros(done.user_us);
                let outcome = outcome::outcome(done, &body, self.worker.spool.as_deref());
                if let Some(failure) = outcome.failure().filter(|failure| failure.code == OUTPUT_NOT_READ) {
                    let message = format!("{} (E0305)", failure.message);
                    self.worker.tell_security(Refusal::Output, Some(call.id), message);
                }
                self.answer(outcome, user)
            }
            Err(silence) => {
                let outcome = self.explain(call.id, silence, deadline).await;
                self.answer(outcome, Duration::ZERO)
            }
        }
    }

    async fn run_on_lane(
        &mut self,
        mut lane: Lane,
        id: InvocationId,
        (header, body): (&[u8], &[Bytes]),
        deadline: Option<Instant>,
    ) -> Result<(Done, Bytes), Silence> {
        let worker = self.worker.clone();
        let begun = worker.has_programs.then(|| self.begun.clone());
        let run = self.converse(&mut lane, id, (header, body), None);
        // Boxed for the few that wait for programs, as every call has room for it.
        let answered = match &begun {
            Some(begun) => Box::pin(within_from(Some(begun), &worker, deadline, run)).await?,
            None => within(&worker, deadline, run).await?,
        };
        worker.state().keep(lane);
        Ok(answered)
    }

    /// On a lane, with an answer that may go in pieces.
    async fn run_streamed_on_lane(
        &mut self,
        mut lane: Lane,
        (id, interrupts): (InvocationId, bool),
        frame: (&[u8], &[Bytes]),
        exchange: ExchangeHandle,
        deadline: Option<Instant>,
    ) -> Result<(Done, Bytes), Silence> {
        let worker = self.worker.clone();
        let (stream, told) = Stream::on_lane(&worker, (id, interrupts), exchange);
        let begun = worker.has_programs.then(|| self.begun.clone());
        let spoken = &mut lane;
        let read = async move {
            let (done, body) = self.converse(spoken, id, frame, Some(&told)).await?;
            told.send(Told::Done(Box::new(done), body)).await.map_err(|_dropped| Silence::Ended)
        };
        let run = async {
            let ((), answered) = tokio::try_join!(read, async { stream.run().await.map_err(Silence::from) })?;
            Ok(answered)
        };
        let answered = Box::pin(within_from(begun.as_deref(), &worker, deadline, run)).await?;
        worker.state().keep(lane);
        Ok(answered)
    }

    /// Sends a call, and hears what comes of it. `told` gets the pieces of an answer that goes in pieces.
    async fn converse(
        &mut self,
        lane: &mut Lane,
        id: InvocationId,
        (header, body): (&[u8], &[Bytes]),
        told: Option<&mpsc::Sender<Told>>,
    ) -> Result<(Done, Bytes), Silence> {
        self.thread.thread = lane.thread;
        // A call that could not be written whole was not read whole.
        frame::write(&mut lane.stream, header, body).await.map_err(|_closed| Silence::NotRead)?;
        loop {
            let frame = match lane.reader.read(&mut lane.stream).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(Silence::Ended),
                Err(error) => return Err(Silence::of_lane(&error)),
            };
            match FromWorker::read(&frame.header) {
                // Code of the app that writes to the socket, too, would have each caller get the answer of the one before.
                Ok(FromWorker::Done(done)) if done.id.parse() != Ok(id) => {
                    return Err(Silence::Nonsense(format!("an answer to another call: {}", done.id)));
                }
                Ok(FromWorker::Done(done)) => return Ok((done, frame.body)),
                Ok(FromWorker::Log(log)) => self.worker.log(log).await,
                Ok(FromWorker::Begun { id: of }) if of.parse() == Ok(id) => self.begun.notify_one(),
                Ok(FromWorker::Lane { thread }) => {
                    lane.thread = Some(thread);
                    self.thread.thread = Some(thread);
                }
                Ok(other) => {
                    let piece = piece_of(other, frame.body, id, told.is_some())?;
                    if let Some(told) = told {
                        // Read on when there is room for it.
                        told.send(piece).await.map_err(|_dropped| Silence::Ended)?;
                    }
                }
                Err(error) => return Err(Silence::Nonsense(error.to_string())),
            }
        }
    }

    async fn run_on_loop(
        &mut self,
        id: InvocationId,
        header: &[u8],
        body: &[Bytes],
        deadline: Option<Instant>,
    ) -> Result<(Done, Bytes), Silence> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.worker.state();
            if state.phase == Phase::Gone {
                return Err(Silence::NotRead);
            }
            self.thread = RunsIn { thread: state.main_thread, shared: true };
            state.waiting.insert(id, sender);
        }
        let run = async {
            self.worker.control.send_frame(header, body).await.map_err(|_closed| Silence::NotRead)?;
            receiver.await.map_err(|_dropped| Silence::Ended)
        };
        let answered = within(&self.worker, deadline, run).await;
        if answered.is_err() {
            self.worker.state().waiting.remove(&id);
        }
        answered
    }

    /// On the event loop, with HTTP bodies in pieces.
    async fn run_streamed(
        &mut self,
        (id, interrupts): (InvocationId, bool),
        (header, body): (&[u8], &[Bytes]),
        exchange: ExchangeHandle,
        deadline: Option<Instant>,
    ) -> Result<(Done, Bytes), Silence> {
        self.thread = RunsIn { thread: self.worker.state().main_thread, shared: true };
        let stream = Stream::open(&self.worker, (id, interrupts), exchange).ok_or(Silence::NotRead)?;
        let run = async {
            self.worker.control.send_frame(header, body).await.map_err(|_closed| Silence::NotRead)?;
            stream.run().await.map_err(Silence::from)
        };
        within(&self.worker, deadline, run).await
    }

    /// Turns the missing answer into an outcome, and sees to it that a stuck or broken worker is ended.
    async fn explain(&self, id: InvocationId, silence: Silence, deadline: Option<Instant>) -> Outcome {
        match silence {
            Silence::TimedOut => self.time_out(id, deadline).await,
            Silence::Ended | Silence::NotRead => {
                // A worker whose sockets are closed can't be used any more, even if it should still run.
                self.worker.drain();
                self.worker.end_lost().await;
                let ending = self.worker.ended().await;
                let failure = ended_failure(id, self.thread, &ending);
                if matches!(silence, Silence::NotRead) { not_read(failure) } else { failure }
            }
            Silence::CallerGone => {
                let message = "the caller went away before it had the whole response";
                Outcome::Cancelled(Failure::new(Blame::Caller, "E0313", "CallerGone", message))
            }
            Silence::Head(failure) => Outcome::Failed(*failure),
            Silence::TooLong => {
                self.worker.drain();
                self.worker.kill();
                Outcome::Failed(answer_too_long(self.worker.bounds.response_bytes))
            }
            Silence::Nonsense(problem) => {
                self.worker.tell_broken(Some(id), &problem);
                self.worker.drain();
                self.worker.kill();
                let message = format!("the worker's answer can't be read: {problem}");
                let hint = "code of the app wrote to a file descriptor that is not its own, or the answer is longer than `response` in [sandbox] of ingle.toml";
                Outcome::Failed(Failure::new(Blame::App, "E0303", "WorkerAnswer", message).hint(hint))
            }
        }
    }

    /// Where its functions are.
    async fn stacks(&self) -> HashMap<String, String> {
        let told = self.worker.stacks(STACKS_LIMIT);
        tokio::pin!(told);
        tokio::select! {
            stacks = &mut told => return stacks,
            () = tokio::time::sleep(STACKS_PATIENCE) => self.worker.be_left_in_peace(),
        }
        told.await
    }

    async fn time_out(&self, id: InvocationId, deadline: Option<Instant>) -> Outcome {
        // Who computes for ever goes on doing so until it is ended, and to give way is still right.
        self.worker.take_no_more();
        let stacks = self.stacks().await;
        let stack = stacks.get(&id.uuid().to_string()).cloned().unwrap_or_default();
        self.worker.state().timed_out = Some(id);
        // As long as there is something to read; it is known for a moment.
        self.worker.memory_bytes();
        let worker = self.worker.clone();
        // The others in this process are not to blame: they may finish, while a new worker takes what comes.
        let end = async move {
            let until = Instant::now() + BYSTANDER_GRACE;
            // Whoever is over its time has given its slot back by then, or does so while this waits.
            while worker.state().in_work > 0 && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if worker.has_programs {
                worker.control.send(&ToWorker::Expire).await.ok();
                tokio::time::timeout(PROGRAMS_END_MAX, worker.ended()).await.ok();
            }
            worker.kill();
        };
        if self.worker.state().in_work > 1 || self.worker.has_programs {
            self.worker.be_left_in_peace();
            drop(self.tasks.spawn(TaskKind::WorkerPort, format!("{} end", self.worker.id), end));
        } else {
            self.worker.kill();
        }
        let late =
            deadline.map_or(Duration::ZERO, |deadline| Instant::now().saturating_duration_since(deadline));
        tracing::debug!(worker = %self.worker.id, invocation = %id, ?late, "over its time");
        let mut failure = Failure::new(
            Blame::App,
            "E0302",
            "FunctionTimeout",
            "the function did not finish within its time limit",
        );
        failure.location = innermost(&stack, &self.worker.root);
        failure.traceback = stack;
        failure.hint = Some("raise functionTimeout in host.json (of a handler: timeout in [lambda] of ingle.toml), or find out what it waits for".to_owned());
        Outcome::TimedOut(failure)
    }

    fn answer(&self, mut outcome: Outcome, user: Duration) -> Answer {
        let secrets = self.worker.words.secrets();
        outcome.failure_mut().into_iter().for_each(|failure| secrets.hide_in_failure(failure));
        let memory_bytes = self.worker.memory_bytes();
        let log = self.worker.is_lambda.then(|| Box::new(self.log()));
        Answer { outcome, user, memory_bytes, log }
    }

    fn log(&self) -> CallLog {
        let mut state = self.worker.state();
        let init = (state.completed == 0).then(|| state.offered_at.saturating_duration_since(state.asked_at));
        let running = self.running.and_then(|id| state.functions.get_mut(&id));
        let said = running.map(|running| running.said.take()).unwrap_or_default();
        CallLog { said: self.worker.words.secrets().hide(&said).into_owned(), init }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (is_draining, is_worn) = {
            let mut state = self.worker.state();
            state.in_work = state.in_work.saturating_sub(1);
            if state.in_work == 0 {
                state.idle_since = Instant::now();
            }
            if let Some(id) = self.running {
                state.functions.remove(&id);
                state.completed += 1;
            }
            if let Some(Place::Lane(lane)) = self.place.take() {
                // Never used: it can serve the next one.
                state.keep(*lane);
            }
            (state.phase == Phase::Draining, state.worn_at.is_some_and(|most| state.completed >= most))
        };
        if is_draining {
            self.worker.tell_less();
        }
        if is_worn {
            self.worker.tell_changed();
        }
        self.worker.make_room();
    }
}

/// What a worker says on a lane of an answer in pieces, which only a call has that takes it so.
fn piece_of(said: FromWorker, body: Bytes, id: InvocationId, takes_pieces: bool) -> Result<Told, Silence> {
    match said {
        FromWorker::Head { id: of, status, headers } if takes_pieces && of.parse() == Ok(id) => {
            Ok(Told::Head(status, headers))
        }
        FromWorker::Chunk { id: of } if takes_pieces && of.parse() == Ok(id) => Ok(Told::Chunk(body)),
        other => Err(Silence::Nonsense(format!("unexpected on a lane: {other:?}"))),
    }
}
