//! Room for one invocation in a worker, and what running a call in it can lead to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::exchange::ExchangeHandle;
use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Blame, Failure, Outcome};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::ending::Ending;
use crate::process::{Lane, Phase, Worker};
use crate::spool;
use crate::stream::{Broken, Stream};
use crate::wire::frame;
use crate::wire::message::{Call, Done, FromWorker, PythonError, ToWorker};

/// How long a worker may take to tell where a function hangs, before it is ended.
const STACKS_LIMIT: Duration = Duration::from_millis(300);
/// How long the other invocations of a worker may go on after one of them was over its time.
const BYSTANDER_GRACE: Duration = Duration::from_secs(5);

/// When another worker can take what this one did not.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// How a call went.
#[derive(Debug)]
pub struct Answer {
    pub outcome: Outcome,
    /// Time in the user's code, as the worker measured it.
    pub user: Duration,
    /// Resident memory of the worker afterwards, in bytes; 0 if unknown.
    pub memory_bytes: u64,
}

/// Room for one invocation. Running a call uses it up; dropping it gives the room back.
pub struct Slot {
    worker: Arc<Worker>,
    tasks: Tasks,
    place: Option<Place>,
    /// What runs in it, once it runs.
    running: Option<InvocationId>,
    thread: RunsIn,
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

/// Why no answer came.
enum Silence {
    /// The socket was closed: the process is ending.
    Ended,
    /// The process is ending and has not read the call: no code of the user has run.
    NotRead,
    TimedOut,
    /// Something came that is no answer.
    Nonsense(String),
    /// The function ended after whoever waited for its response had gone away.
    CallerGone,
    /// The head of its response can't be sent.
    Head(Box<Failure>),
}

impl Slot {
    pub(crate) fn on_lane(worker: Arc<Worker>, tasks: Tasks, lane: Lane) -> Self {
        Self {
            worker,
            tasks,
            place: Some(Place::Lane(Box::new(lane))),
            running: None,
            thread: RunsIn::default(),
        }
    }

    pub(crate) fn on_loop(worker: Arc<Worker>, tasks: Tasks) -> Self {
        Self { worker, tasks, place: Some(Place::Loop), running: None, thread: RunsIn::default() }
    }

    pub fn worker(&self) -> ingle_types::ids::WorkerId {
        self.worker.id
    }

    /// Runs one call to its end. At the deadline the invocation fails and its worker is ended.
    pub async fn run(mut self, call: Call, deadline: Option<Instant>) -> Answer {
        let (header, body) = match call.encode() {
            Ok(frame) => frame,
            Err(error) => {
                let failure = Failure::new(Blame::Platform, "E0306", "InputNotEncoded", error.to_string());
                return self.answer(Outcome::Failed(failure.not_started()), Duration::ZERO);
            }
        };
        self.running = Some(call.id);
        self.worker.state().functions.insert(call.id, call.function.clone());
        let answered = match self.place.take() {
            Some(Place::Lane(lane)) => self.run_on_lane(*lane, &header, &body, deadline).await,
            Some(Place::Loop) | None => match call.exchange() {
                Some(exchange) => self.run_streamed(call.id, (&header, &body), exchange, deadline).await,
                None => self.run_on_loop(call.id, &header, &body, deadline).await,
            },
        };
        match answered {
            Ok((done, body)) => {
                let user = Duration::from_micros(done.user_us);
                let outcome = outcome(done, &body, self.worker.spool.as_deref());
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
        header: &[u8],
        body: &[Bytes],
        deadline: Option<Instant>,
    ) -> Result<(Done, Bytes), Silence> {
        self.thread.thread = lane.thread;
        let run = async {
            // A call that could not be written whole was not read whole.
            frame::write(&mut lane.stream, header, body).await.map_err(|_closed| Silence::NotRead)?;
            loop {
                let frame = match lane.reader.read(&mut lane.stream).await {
                    // Linux resets a Unix socket whose other end was closed before everything in it was read
                    // (unix(7)), and nothing but this call is in it.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                        return Err(Silence::NotRead);
                    }
                    Ok(Some(frame)) => frame,
                    Ok(None) => return Err(Silence::Ended),
                    Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                        return Err(Silence::Nonsense(error.to_string()));
                    }
                    Err(_closed) => return Err(Silence::Ended),
                };
                match serde_json::from_slice(&frame.header) {
                    Ok(FromWorker::Done(done)) => return Ok((done, frame.body)),
                    Ok(FromWorker::Log(log)) => self.worker.log(log),
                    Ok(FromWorker::Lane { thread }) => {
                        lane.thread = Some(thread);
                        self.thread.thread = Some(thread);
                    }
                    Ok(other) => return Err(Silence::Nonsense(format!("unexpected on a lane: {other:?}"))),
                    Err(error) => return Err(Silence::Nonsense(error.to_string())),
                }
            }
        };
        let answered = within(&self.worker, deadline, run).await?;
        let mut state = self.worker.state();
        if state.phase == Phase::Ready {
            state.idle.push(lane);
        }
        Ok(answered)
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
        id: InvocationId,
        (header, body): (&[u8], &[Bytes]),
        exchange: ExchangeHandle,
        deadline: Option<Instant>,
    ) -> Result<(Done, Bytes), Silence> {
        self.thread = RunsIn { thread: self.worker.state().main_thread, shared: true };
        let stream = Stream::open(&self.worker, id, exchange).ok_or(Silence::NotRead)?;
        let run = async {
            self.worker.control.send_frame(header, body).await.map_err(|_closed| Silence::NotRead)?;
            match stream.run().await {
                Ok(done) => Ok(done),
                Err(Broken::Ended) => Err(Silence::Ended),
                Err(Broken::CallerGone) => Err(Silence::CallerGone),
                Err(Broken::Head(failure)) => Err(Silence::Head(failure)),
            }
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
                self.worker.group.kill();
                let ending = self.worker.ended().await;
                let failure = ended_failure(id, self.thread, &ending);
                if matches!(silence, Silence::NotRead) { not_read(failure) } else { failure }
            }
            Silence::CallerGone => {
                let message = "the caller went away before it had the whole response";
                Outcome::Cancelled(Failure::new(Blame::Caller, "E0313", "CallerGone", message))
            }
            Silence::Head(failure) => Outcome::Failed(*failure),
            Silence::Nonsense(problem) => {
                tracing::error!(worker = %self.worker.id, problem, "the worker broke the protocol; it is ended");
                self.worker.drain();
                self.worker.group.kill();
                let message = format!("the worker's answer can't be read: {problem}");
                let hint = "code of the app wrote to a file descriptor that is not its own, or the answer is over 1 GiB";
                Outcome::Failed(Failure::new(Blame::App, "E0303", "WorkerAnswer", message).hint(hint))
            }
        }
    }

    async fn time_out(&self, id: InvocationId, deadline: Option<Instant>) -> Outcome {
        self.worker.drain();
        let stacks = self.worker.stacks(STACKS_LIMIT).await;
        let stack = stacks.get(&id.uuid().to_string()).cloned().unwrap_or_default();
        self.worker.state().timed_out = Some(id);
        let worker = self.worker.clone();
        // The others in this process are not to blame: they may finish, while a new worker takes what comes.
        let end = async move {
            let until = Instant::now() + BYSTANDER_GRACE;
            while worker.state().in_work > 1 && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            worker.group.kill();
        };
        if self.worker.state().in_work > 1 {
            drop(self.tasks.spawn(TaskKind::WorkerPort, format!("{} end", self.worker.id), end));
        } else {
            self.worker.group.kill();
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
        failure.hint = Some("raise functionTimeout in host.json, or find out what it waits for".to_owned());
        Outcome::TimedOut(failure)
    }

    fn answer(&self, outcome: Outcome, user: Duration) -> Answer {
        Answer { outcome, user, memory_bytes: self.worker.memory_bytes() }
    }

    /// Tells the function that nobody waits for this invocation any more.
    pub async fn cancel(&self, id: InvocationId) {
        self.worker.control.send(&ToWorker::Cancel { id: id.uuid().to_string() }).await.ok();
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
                if state.phase == Phase::Ready {
                    state.idle.push(*lane);
                }
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

async fn within<T>(
    worker: &Worker,
    deadline: Option<Instant>,
    run: impl Future<Output = Result<T, Silence>>,
) -> Result<T, Silence> {
    match deadline {
        Some(deadline) => worker.within(deadline, run).await.unwrap_or(Err(Silence::TimedOut)),
        None => run.await,
    }
}

fn outcome(mut done: Done, body: &Bytes, spool: Option<&Path>) -> Outcome {
    if !done.ok {
        let error = done.error.unwrap_or_default();
        // The worker was told to stop just before the call reached it, and did not run it.
        if error.kind == "WorkerStopping" && error.traceback.is_empty() {
            let failure = Failure::new(Blame::Platform, "E0309", &error.kind, error.message);
            return Outcome::Cancelled(Failure { retry_after: Some(RETRY_SOON), ..failure.not_started() });
        }
        return Outcome::Failed(raised(error));
    }
    let taken =
        |mut outputs| spool::take_over(&mut outputs, spool.unwrap_or(Path::new(""))).map(|()| outputs);
    match done.outputs(body).and_then(taken) {
        Ok(outputs) => Outcome::Success(outputs),
        Err(problem) => Outcome::Failed(Failure::new(Blame::Platform, "E0305", "OutputNotRead", problem)),
    }
}

fn raised(error: PythonError) -> Failure {
    let mut failure = Failure::new(Blame::App, "E0301", &error.kind, error.message);
    failure.traceback = error.traceback;
    failure.location = error.location;
    failure
}

/// Where the function stands: the innermost `file:line` of a stack that is in the app, relative to it; if there is
/// none, the innermost of all.
fn innermost(stack: &str, root: &Path) -> Option<String> {
    let place = |line: &str| {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((file.to_owned(), number))
    };
    let places: Vec<(String, String)> = stack.lines().filter_map(place).collect();
    let in_app = places.iter().rev().find_map(|(file, number)| {
        let path = Path::new(file);
        let relative = if path.is_absolute() { path.strip_prefix(root).ok()? } else { path };
        let is_library = relative.components().any(|part| part.as_os_str() == "site-packages");
        (!is_library).then(|| format!("{}:{number}", relative.display()))
    });
    in_app.or_else(|| places.last().map(|(file, number)| format!("{file}:{number}")))
}

fn ended_failure(id: InvocationId, runs_in: RunsIn, ending: &Ending) -> Outcome {
    let message = format!("the worker process {}", ending.what);
    let other = ending.culprit.or(ending.timed_out).filter(|culprit| *culprit != id);
    let elsewhere = matches!((ending.crashed, runs_in.thread), (Some(crashed), Some(own)) if crashed != own);
    if ending.stopped {
        let message = "the server stopped before the function had finished";
        let mut failure = Failure::new(Blame::Platform, "E0309", "ServerStopping", message);
        failure.bystander = true;
        return Outcome::Cancelled(failure);
    }
    let mut failure = Failure::new(Blame::App, "E0303", "WorkerEnded", message);
    if other.is_some() || elsewhere {
        let other = other.map(|other| format!(" ({other})")).unwrap_or_default();
        failure.message = format!("{} because of another invocation{other}", failure.message);
        failure.bystander = true;
        failure.retry_after = Some(Duration::from_secs(1));
        failure.hint = Some("it may have run in part; send it again only if that does no harm".to_owned());
    } else {
        failure.traceback.clone_from(&ending.tail);
        // A crash in the thread of a lane was that lane's doing; the event loop's thread runs many.
        let own_crash = ending.crashed.is_some() && ending.crashed == runs_in.thread;
        let is_certain = ending.culprit.is_some() || (own_crash && !runs_in.shared);
        failure.suspect = !is_certain && ending.in_work > 1;
        failure.hint = Some(match ending.culprit {
            Some(_) => "return or raise instead of calling os._exit".to_owned(),
            None => "the last lines of standard error are above; a native library may be at fault".to_owned(),
        });
    }
    Outcome::Failed(failure)
}

/// The call never reached the process, so it can be given to another one.
fn not_read(outcome: Outcome) -> Outcome {
    let message = outcome.failure().map(|failure| failure.message.clone()).unwrap_or_default();
    let mut failure = Failure::new(Blame::Platform, "E0303", "WorkerEnded", message).not_started();
    failure.retry_after = Some(RETRY_SOON);
    Outcome::Rejected(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(culprit: Option<InvocationId>) -> Ending {
        Ending {
            what: "was ended by signal 11 (SIGSEGV)".to_owned(),
            tail: "dump".to_owned(),
            culprit,
            timed_out: None,
            stopped: false,
            in_work: 2,
            crashed: None,
        }
    }

    fn lane(thread: u64) -> RunsIn {
        RunsIn { thread: Some(thread), shared: false }
    }

    /// T-087: who is told what when a worker dies under several invocations.
    #[test]
    fn the_culprit_is_told_the_cause_and_a_bystander_that_it_is_one() {
        let (mine, other) = (InvocationId::random(), InvocationId::random());
        let Outcome::Failed(failure) = ended_failure(mine, lane(7), &ending(None)) else {
            panic!("not failed")
        };
        assert!(!failure.bystander && failure.suspect);
        assert_eq!(failure.traceback, "dump");
        let Outcome::Failed(alone) = ended_failure(mine, lane(7), &Ending { in_work: 1, ..ending(None) })
        else {
            panic!("not failed")
        };
        assert!(!alone.suspect);
        // The fault handler tells in which thread it was.
        let crashed = |crashed| Ending { crashed: Some(crashed), ..ending(None) };
        let Outcome::Failed(culprit) = ended_failure(mine, lane(7), &crashed(7)) else {
            panic!("not failed")
        };
        let Outcome::Failed(beside) = ended_failure(mine, lane(8), &crashed(7)) else { panic!("not failed") };
        assert!(!culprit.suspect && !culprit.bystander && beside.bystander);
        let on_loop = RunsIn { shared: true, ..lane(7) };
        let Outcome::Failed(shared) = ended_failure(mine, on_loop, &crashed(7)) else { panic!("not failed") };
        assert!(shared.suspect && !shared.bystander);
        let Outcome::Rejected(unread) = not_read(Outcome::Failed(alone)) else { panic!("not rejected") };
        assert!(!unread.started);
        let Outcome::Failed(failure) = ended_failure(mine, lane(7), &ending(Some(other))) else {
            panic!("not failed")
        };
        assert!(failure.bystander);
        assert!(failure.message.contains(&other.to_string()), "{}", failure.message);
    }

    #[test]
    fn who_was_cut_off_by_a_stop_is_not_to_blame() {
        let stopped = Ending { stopped: true, ..ending(None) };
        let Outcome::Cancelled(failure) = ended_failure(InvocationId::random(), lane(7), &stopped) else {
            panic!("not cancelled")
        };
        assert!(failure.bystander && failure.blame == Blame::Platform);
    }

    #[test]
    fn a_call_that_a_stopping_worker_refused_has_not_started() {
        let answer =
            r#"{"type":"done","id":"x","ok":false,"error":{"kind":"WorkerStopping","message":"stopping"}}"#;
        let FromWorker::Done(done) = serde_json::from_str(answer).unwrap() else { panic!("not done") };
        let Outcome::Cancelled(failure) = outcome(done, &Bytes::new(), None) else { panic!("not cancelled") };
        assert!(!failure.started);
    }

    #[test]
    fn the_innermost_frame_is_the_place() {
        let stack = "  File \"function_app.py\", line 3, in hello\n    work()\n  File \"lib/a.py\", line 12, in work\n    time.sleep(9)\n";
        let check = |stack: &str| innermost(stack, Path::new("/app"));
        assert_eq!(check(stack).as_deref(), Some("lib/a.py:12"));
        assert_eq!(check("nothing"), None);
        let deeper = "  File \"/app/lib/b.py\", line 7, in work\n  File \"/usr/lib/python3.11/asyncio/tasks.py\", line 649, in sleep\n";
        assert_eq!(check(deeper).as_deref(), Some("lib/b.py:7"));
        let library = "  File \"/app/.venv/lib/python3.11/site-packages/x.py\", line 1, in y\n";
        assert_eq!(check(library).as_deref(), Some("/app/.venv/lib/python3.11/site-packages/x.py:1"));
    }
}
