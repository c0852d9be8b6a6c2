//! How a process comes to life: started from the interpreter, or forked by one that has done the work already.
//!
//! Template, zygote and worker are the same program in different states (`proto/frames.md`): a *template* has imported
//! nothing of the app, a *zygote* has imported it and runs nothing, a *worker* serves. Whoever has not imported the
//! app gets a `load`; a worker that a zygote forks has it already and is ready as soon as it has a number.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use ingle_sandbox::boxes::{Boxed, Ended, Family, Open, Program, Started};
use ingle_sandbox::cgroup::OutOfMemory;
use ingle_sandbox::gvisor;
use ingle_sandbox::process::{Forked, Process, ProcessSpec, SOCKET_NUMBER};
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::ids::WorkerId;
use ingle_types::log::LogSource;
use tokio::io::AsyncRead;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, pipe};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::bounds;
use crate::control::Control;
use crate::debug::Debugging;
use crate::ending::LastWords;
use crate::error::Error;
use crate::hold::Elapsed;
use crate::home::{self, Confinement, Group, Quarters, Residence};
use crate::machine::Machine;
use crate::output::{Destination, Tail, forward};
use crate::pool::Options;
use crate::process::{FIRST_LANE, Lane, LoadedSender, Phase, Signals, Worker};
use crate::templates::NO_WORKER;
use crate::wire::message::{Loaded, Role, ToWorker};
use crate::words::Words;

/// How long, and how often, a process is asked to fork while there are as many as may be.
const FULL_MAX: Duration = Duration::from_secs(5);
const FULL_AGAIN: Duration = Duration::from_millis(20);

/// Where a forked process lives, and what it gets on the way.
#[derive(Default)]
pub(crate) struct Place {
    /// One that serves at once, because its parent is a zygote, gets its first lane.
    pub(crate) first_lane: bool,
    /// The box of its parent.
    pub(crate) residence: Option<Residence>,
    pub(crate) quarters: Quarters,
}

/// What every process gets from the pool that makes it.
pub(crate) struct Maker<'a> {
    pub(crate) options: &'a Options,
    /// Whether what imports the app hands over debug lines.
    pub(crate) debug_lines: bool,
    pub(crate) tasks: &'a Tasks,
    pub(crate) words: &'a Arc<Words>,
    pub(crate) signals: &'a Arc<Signals>,
}

/// The system's side of a process.
pub(crate) enum Body {
    Started(Process),
    Forked {
        process: Forked,
        parent: Arc<Worker>,
        /// Its number as its parent knows it: in a box numbers are others.
        number: i32,
        /// What the keeper of the box says of its end, when the parent is gone.
        ended: Option<Ended>,
        /// Its box is there for as long as it lives.
        residence: Option<Residence>,
        /// Held open as long as the process may live: the system ends it when this closes.
        _life_line: OwnedFd,
    },
    /// Started in a box by its keeper.
    Boxed {
        process: Forked,
        ended: Option<Ended>,
        _boxed: Boxed,
    },
}

impl Body {
    /// Whether the system has ended processes of its box since there were so many, for want of memory.
    pub(crate) fn shortage_since(&self, kills: u64) -> Option<OutOfMemory> {
        let Self::Forked { residence: Some(residence), .. } = self else { return None };
        residence.memory_shortage().filter(|shortage| shortage.kills > kills)
    }

    /// Waits for the end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            Self::Started(process) => process.wait().await,
            Self::Forked { process, parent, number, ended, .. } => {
                process.ended().await?;
                if let Some(status) = process.status()? {
                    return Ok(status);
                }
                if let Some(status) = parent.reap_child(*number).await {
                    return Ok(ExitStatus::from_raw(status));
                }
                // The parent has gone in the meantime, and the process is ours, or its keeper's.
                match ended.take() {
                    Some(ended) => ended.status().await.ok_or_else(status_lost),
                    None => process.status()?.ok_or_else(status_lost),
                }
            }
            Self::Boxed { process, ended, .. } => {
                process.ended().await?;
                match ended.take() {
                    Some(ended) => ended.status().await.ok_or_else(status_lost),
                    None => Err(status_lost()),
                }
            }
        }
    }
}

fn status_lost() -> io::Error {
    io::Error::other("its status was taken by the app")
}

/// A process that was just made, with the news of its `load` still to come.
pub(crate) struct Newborn {
    pub(crate) worker: Arc<Worker>,
    heard: oneshot::Receiver<Result<Loaded, Error>>,
}

impl Newborn {
    /// Starts a process from the interpreter, for this app alone. It has not imported anything of the app.
    pub(crate) fn start(id: WorkerId, maker: &Maker<'_>) -> Result<Self, Error> {
        let options = maker.options;
        let mut environment = options.environment.clone();
        environment.extend(options.settings.clone());
        Self::start_with(environment, &options.app.root, id, maker)
    }

    /// Starts a process from the interpreter in a folder; it knows nothing of the app.
    pub(crate) fn start_in(directory: &Path, id: WorkerId, maker: &Maker<'_>) -> Result<Self, Error> {
        Self::start_with(maker.options.environment.clone(), directory, id, maker)
    }

    fn start_with(
        mut environment: BTreeMap<String, String>,
        directory: &Path,
        id: WorkerId,
        maker: &Maker<'_>,
    ) -> Result<Self, Error> {
        let options = maker.options;
        let failed = |source| Error::Start { python: options.python.clone(), source };
        let (control, read, theirs) = Control::pair().map_err(failed)?;
        environment.insert("INGLE_WORKER_FD".to_owned(), SOCKET_NUMBER.to_string());
        let mut process = Process::start(ProcessSpec {
            program: options.python.clone(),
            arguments: vec![options.shim.clone().into_os_string()],
            environment,
            directory: directory.to_owned(),
            socket: theirs,
        })
        .map_err(failed)?;
        let worker = Worker::new(id, process.group(), control, maker);
        let output = process.take_output();
        Ok(Self::watch(worker, Body::Started(process), read, output, maker))
    }

    /// Starts a process from the interpreter in a box. It has not imported anything of the app.
    pub(crate) async fn start_in_box(
        boxed: &Boxed,
        id: WorkerId,
        group: Option<Group>,
        maker: &Maker<'_>,
    ) -> Result<Self, Error> {
        let options = maker.options;
        let failed = |source| Error::Start { python: options.python.clone(), source };
        let (control, read, theirs) = Control::pair().map_err(failed)?;
        let (output, their_output) = output_pipe().map_err(failed)?;
        let (errors, their_errors) = output_pipe().map_err(failed)?;
        let mut environment = options.environment.clone();
        let under_gvisor = options.is_under_gvisor();
        let number = if under_gvisor { gvisor::SOCKET_NUMBER } else { SOCKET_NUMBER };
        environment.insert("INGLE_WORKER_FD".to_owned(), number.to_string());
        let program = Program {
            path: options.python.clone(),
            arguments: vec![options.shim.display().to_string()],
            environment,
            directory: options.app.root.clone(),
        };
        let entrance = group.as_ref().map(Group::entrance);
        let open = Open {
            output: &their_output,
            errors: &their_errors,
            control: Some(&theirs),
            into: entrance.as_ref(),
        };
        let started = boxed.start(program, open).await;
        let Started { process, number, ended, listener } = started.map_err(|source| Error::Box { source })?;
        listener.map(|listener| home::supervise(listener, maker)).transpose()?;
        let machine = under_gvisor.then(|| Machine { boxed: boxed.clone(), number });
        let mut quarters = Quarters::of_machine(group, machine);
        quarters.family = family(boxed, &process, id).await?;
        let worker = Worker::made(id, process.group(), control, quarters, Worker::next_owner(), maker);
        let body = Body::Boxed { process, ended: Some(ended), _boxed: boxed.clone() };
        Ok(Self::watch(worker, body, read, Some((output, errors)), maker))
    }

    /// Lets `parent` fork. What the new process knows is what its parent knows.
    pub(crate) async fn fork(
        id: WorkerId,
        parent: &Arc<Worker>,
        place: Place,
        maker: &Maker<'_>,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Fork { source };
        let (ours, theirs) = Control::sockets().map_err(failed)?;
        if place.residence.is_some() {
            Control::expect_announcement(&ours).map_err(failed)?;
        }
        let (output, their_output) = output_pipe().map_err(failed)?;
        let (errors, their_errors) = output_pipe().map_err(failed)?;
        let (life_line, their_line) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        let lane = if place.first_lane {
            Some(Lane::pair(maker.options.bounds.frame_bytes()).map_err(failed)?)
        } else {
            None
        };
        let owner = Worker::next_owner();
        let mut attached =
            vec![theirs.as_fd(), their_output.as_fd(), their_errors.as_fd(), their_line.as_fd()];
        attached.extend(lane.as_ref().map(|(_, theirs)| theirs.as_fd()));
        if let Some(cell) = &place.quarters.cell {
            attached.extend([cell.numbers.as_fd(), cell.mounts.as_fd()]);
        }
        let request = ToWorker::Fork {
            lane: lane.as_ref().map(|_| FIRST_LANE),
            cell: place.quarters.cell.is_some(),
            announces: place.residence.is_some(),
            owner,
        };
        let until = Instant::now() + FULL_MAX;
        let number = loop {
            match ask_to_fork(parent, &request, &attached).await {
                // What an invocation has left in the box ends with its worker, which takes a moment (T-012).
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                    tokio::time::sleep(FULL_AGAIN).await;
                }
                asked => break asked.map_err(failed)?,
            }
        };
        let announces = place.residence.as_ref().map(|residence| (&residence.boxed, &ours));
        let process = find(parent, number, announces).await.map_err(failed)?;
        let ended = place.residence.as_ref().map(|residence| residence.boxed.ended(number));
        let mut quarters = place.quarters;
        if let Some(residence) = &place.residence {
            quarters.family = family(&residence.boxed, &process, id).await?;
        }
        let (control, read) = Control::of(ours);
        let worker = Worker::made(id, process.group(), control, quarters, owner, maker);
        // Its main thread is the one that forked.
        let main_thread = parent.state().main_thread;
        {
            let mut state = worker.state();
            state.main_thread = main_thread;
            if let Some((ours, _)) = lane {
                state.add_first_lane(ours);
            }
        }
        let body = Body::Forked {
            process,
            parent: parent.clone(),
            number,
            ended,
            residence: place.residence,
            _life_line: life_line.into(),
        };
        Ok(Self::watch(worker, body, read, Some((output, errors)), maker))
    }

    /// Starts the tasks that read the process's sockets and pipes and wait for its end.
    fn watch(
        worker: Arc<Worker>,
        body: Body,
        control: OwnedReadHalf,
        output: Option<(impl AsyncRead + Unpin + Send + 'static, impl AsyncRead + Unpin + Send + 'static)>,
        maker: &Maker<'_>,
    ) -> Self {
        let tasks = maker.tasks;
        let memory_to_watch = maker.options.confinement.as_ref().and_then(Confinement::memory_to_watch);
        let (loaded, heard): (LoadedSender, _) = oneshot::channel();
        let name = |what: &str| format!("{} {what}", worker.id);
        drop(tasks.spawn(
            TaskKind::WorkerPort,
            name("control"),
            worker.clone().read_control(control, loaded),
        ));
        let tail = Tail::default();
        let (closed, all_read) = oneshot::channel::<()>();
        if let Some((stdout, stderr)) = output {
            let destination = |source, tail| Destination {
                worker: worker.id,
                source,
                words: worker.words.clone(),
                speaker: worker.speaker.clone(),
                tail,
                most: worker.bounds.log_bytes,
            };
            let out = forward(stdout, destination(LogSource::Stdout, Tail::default()));
            // Both streams, as what one says last may be in either.
            let closed = Arc::new(closed);
            let still_open = closed.clone();
            let out = async move {
                out.await;
                drop(still_open);
            };
            drop(tasks.spawn(TaskKind::WorkerPort, name("stdout"), out));
            let err = forward(stderr, destination(LogSource::Stderr, tail.clone()));
            let err = async move {
                err.await;
                drop(closed);
            };
            drop(tasks.spawn(TaskKind::WorkerPort, name("stderr"), err));
        }
        if worker.spool.is_some() {
            let watching = bounds::watch_outputs(worker.clone(), worker.bounds.outputs_bytes);
            drop(tasks.spawn(TaskKind::WorkerPort, name("outputs"), watching));
        }
        // One that was started is in its group from the beginning.
        if let (Some(group), Body::Forked { residence, .. }) = (&worker.quarters.group, &body) {
            group.take(worker.clone(), residence.clone(), tasks);
        }
        if let Some(limit) = memory_to_watch {
            let watching = home::watch_memory(worker.clone(), limit);
            drop(tasks.spawn(TaskKind::WorkerPort, name("memory"), watching));
        }
        if let Body::Forked { residence: Some(residence), .. } = &body {
            let (worker, residence) = (worker.clone(), residence.clone());
            // What was ended before it came is not its doing. Nobody waits for the answer.
            let counting = async move {
                let kills = residence.kills();
                worker.state().kills_before = kills;
            };
            drop(tasks.spawn(TaskKind::WorkerPort, name("kills"), counting));
        }
        let reap = worker.clone().reap(body, LastWords { tail, all_read });
        drop(tasks.spawn(TaskKind::WorkerPort, name("wait"), reap));
        Self { worker, heard }
    }

    /// Lets it import the app; it serves afterwards, or forks. A process that fails at it is ended.
    pub(crate) async fn load(self, role: Role, maker: &Maker<'_>) -> Result<(Arc<Worker>, Loaded), Error> {
        let (worker, options) = (self.worker, maker.options);
        let load = ToWorker::Load {
            root: &options.app.root,
            dialect: options.app.dialect,
            script_file: &options.app.script_file,
            functions: &options.app.functions,
            development: options.development,
            debug_logging: maker.debug_lines,
            settings: &options.settings,
            spool: options.spool.as_deref(),
            role,
            owner: worker.owner,
            debugger: worker.debugging.as_ref().map(Debugging::to_load),
        };
        // If the process is gone already, the wait below tells how it ended.
        worker.control.send(&load).await.ok();
        let limit = Instant::now() + options.import_timeout;
        let loaded = match worker.within(limit, self.heard).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_closed)) => {
                let ending = worker.ended().await;
                let (ending, output) = (ending.what.clone(), indented(&ending.tail));
                // The worker says hello before it does anything of the app's.
                let never_came = worker.has_machine() && worker.state().main_thread.is_none();
                Err(if never_came {
                    Error::Machine { ending, output }
                } else {
                    Error::Ended { ending, output }
                })
            }
            Err(Elapsed) => {
                worker.abort().await;
                let ending = worker.ended().await;
                Err(Error::ImportTimeout { limit: options.import_timeout, stack: indented(&ending.tail) })
            }
        };
        if loaded.is_err() {
            worker.kill();
        }
        let loaded = loaded?;
        worker.become_phase(if role == Role::Zygote { Phase::Parent } else { Phase::Ready });
        Ok((worker, loaded))
    }

    /// It has nothing to import: it serves or forks at once.
    pub(crate) fn into_worker(self, phase: Phase) -> Arc<Worker> {
        self.worker.become_phase(phase);
        self.worker
    }
}

/// What ends a worker that has no cell with all that it starts. It runs nothing of the app yet. What forks workers has
/// none: they are to outlive it.
async fn family(boxed: &Boxed, process: &Forked, id: WorkerId) -> Result<Option<Family>, Error> {
    if id == NO_WORKER {
        return Ok(None);
    }
    boxed.family(process.group()).await.map_err(|source| Error::Box { source })
}

/// Lets a process fork; the number of the new one as its parent knows it.
async fn ask_to_fork(
    parent: &Worker,
    request: &ToWorker<'_>,
    attached: &[BorrowedFd<'_>],
) -> io::Result<i32> {
    let (sender, number) = oneshot::channel();
    let asked = || {
        let mut state = parent.state();
        // Nobody would take it out again; dropped, it tells us below.
        if state.phase != Phase::Gone {
            state.births.push_back(sender);
        }
    };
    let sent = parent.control.send_with_descriptors(request, attached, asked).await;
    let answer = if sent.is_ok() { number.await.ok() } else { None };
    if let Some(answer) = answer {
        return answer;
    }
    // Its sockets are closed, so it is ending; whoever asks next must not find it alive.
    parent.end();
    parent.ended().await;
    Err(io::Error::other("the process that was to fork has ended"))
}

/// The process that `parent` forked as `number`; in a box it says itself on its control socket who it is.
async fn find(parent: &Worker, number: i32, announces: Option<(&Boxed, &UnixStream)>) -> io::Result<Forked> {
    let found = match announces {
        Some((boxed, control)) => {
            Control::announced(control).await.and_then(|number| boxed.watch(number, parent.group))
        }
        None => Forked::watch(number),
    };
    if found.is_err() && parent.group.has_ended() {
        // As above.
        parent.end();
        parent.ended().await;
    }
    found
}

/// The end that we read, and the end that becomes standard output or error of a process.
fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (sender, receiver) = pipe::pipe()?;
    // Python's own writes would fail on a pipe that does not wait.
    Ok((receiver, sender.into_blocking_fd()?))
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("\n    {line}")).collect()
}
