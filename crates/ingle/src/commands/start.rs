//! `ingle start`: serve the functions of a folder until Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ingle_apps::{Progress, ReadOptions};
use ingle_control::watch::{Watch, Watcher};
use ingle_control::{absolute, prepare, prepare_debugger};
use ingle_gateway::hosts::Hosts;
use ingle_sandbox::means::Means;
use ingle_sandbox::memory;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::faults::Faults;
use ingle_types::log::{LogSinkHandle, RecordSinkHandle};
use ingle_types::spec::CorsOptions;
use ingle_worker::{Parents, Zygotes};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::app::{App, Entrance, Measured, Plan};
use crate::chalice::Importer;
use crate::cli::{StartArguments, memory_size};
use crate::exit::{APP, CommandError, INTERRUPTED, USAGE};
use crate::moved::{self, MovedTime};
use crate::printer::{Printer, Style};
use crate::serve::serve;
use crate::server::Server;
use crate::surroundings::Surroundings;
use crate::{archive, debug, faults, project, screen, several};

pub(crate) const PORT_DEFAULT: u16 = 7071;

pub(crate) async fn run(
    mut arguments: StartArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    archive::unpack(&mut arguments.app, surroundings)?;
    let tasks = Tasks::new();
    let printer = Printer::start(style, &tasks);
    // Before anything is told or read: whoever has seen `ready` may press Ctrl-C, or save a file.
    let mut signals = Signals::listen(arguments.clock.is_some());
    let rooms = (&printer, &tasks);
    let importer = Importer {
        arguments: &arguments.app,
        isolation: arguments.isolation,
        named: &arguments.environment,
        surroundings,
        printer: &printer,
        style,
        tasks: &tasks,
    };
    let find = async { if arguments.names_several() { Ok(None) } else { project::find(importer).await } };
    let project = tokio::select! {
        project = find => Some(project),
        // Nothing was accepted yet, so there is nothing to finish.
        () = signals.next() => None,
    };
    let code = match project {
        None => Ok(INTERRUPTED),
        Some(Err(error)) => Err(error),
        Some(Ok(None)) if !arguments.names_several() => {
            Box::pin(run_one(&arguments, surroundings, style, rooms, signals)).await
        }
        Some(Ok(project)) => several::run(&arguments, surroundings, style, rooms, signals, project).await,
    };
    drop(printer);
    // What was said before an error stands before it.
    tasks.stop(TaskKind::Printer, Duration::from_secs(2)).await;
    code
}

async fn run_one(
    arguments: &StartArguments,
    surroundings: &Surroundings,
    style: Style,
    (printer, tasks): (&Printer, &Tasks),
    mut signals: Signals,
) -> Result<u8, CommandError> {
    let started = tokio::select! {
        started = begin(arguments, surroundings, style, (printer, tasks)) => started?,
        // Nothing was accepted yet, so there is nothing to finish.
        () = signals.next() => return Ok(INTERRUPTED),
    };
    Ok(attend(started, signals, surroundings, (printer, style)).await)
}

/// Serves until the end.
async fn attend(
    (server, app, watched): (Server, Arc<App>, Option<Watch>),
    signals: Signals,
    surroundings: &Surroundings,
    (printer, style): (&Printer, Style),
) -> u8 {
    let has_functions = app.control.current().is_some_and(|current| !current.app.functions.is_empty());
    // Without a function and without anybody who could mend that, nothing could ever happen.
    if !has_functions && (watched.is_none() || !is_terminal()) {
        drop(app);
        drain(server, style, printer).await;
        return APP;
    }
    serve(server, app, watched, signals, surroundings, (printer, style)).await
}

/// Prepares the app, starts its server and says so.
async fn begin(
    arguments: &StartArguments,
    surroundings: &Surroundings,
    style: Style,
    (printer, tasks): (&Printer, &Tasks),
) -> Result<(Server, Arc<App>, Option<Watch>), CommandError> {
    let began = Instant::now();
    let folder = absolute(&arguments.app.folder);
    let watched = if arguments.no_reload { None } else { watch(&folder, printer) };
    let parents = parents(arguments.zygote_memory, surroundings).await?;
    let plan = plan(arguments, folder.clone(), (surroundings, parents.means.clone()), printer)?;
    let read = &plan.read;
    let mut prepared = prepare(&arguments.app.folder, read, &mut progress(style, printer)).await?;
    let debugger = match arguments.debug {
        Some(choice) => {
            prepare_debugger(&mut prepared, read, &mut progress(style, printer)).await?;
            prepared.folder.notes.extend(debug::note(&prepared.folder));
            Some(debug::open(choice, &folder, (printer, style), tasks).await?)
        }
        None => None,
    };
    let port = arguments.port.or(prepared.folder.port).unwrap_or(PORT_DEFAULT);
    let plan =
        Plan { debugger, moved: arguments.clock.map(|choice| MovedTime::new(choice, printer)), ..plan };
    let plan = match &plan.moved {
        Some(time) => Plan { sink: time.journal.clone(), records: time.journal.clone(), ..plan },
        None => plan,
    };
    let address = SocketAddr::new(arguments.address, port);
    let mut server = Server::listen(address, parents, tasks.clone()).await?;
    let entrance = Entrance::new(&plan);
    let app = Arc::new(App::open(plan, entrance.clone(), &server.shared)?);
    let first = app.start(prepared).await?;
    app.serve_admin()?;
    server.apps().add(app.clone());
    server.serve(Hosts::Any(entrance.service));
    let took = began.elapsed().as_millis();
    printer.text(if style.json {
        screen::json(&app, &first, took).to_string()
    } else {
        screen::text(&app, &first, took, style)
    });
    Ok((server, app, watched))
}

/// What the arguments say of an app.
pub(crate) fn plan(
    arguments: &StartArguments,
    folder: PathBuf,
    (surroundings, means): (&Surroundings, Option<Means>),
    printer: &Printer,
) -> Result<Plan, CommandError> {
    let (sink, records): (LogSinkHandle, RecordSinkHandle) =
        (Arc::new(printer.clone()), Arc::new(printer.clone()));
    Ok(Plan {
        state: Surroundings::state(&folder, arguments.app.state.as_ref()),
        folder,
        store: None,
        read: ReadOptions {
            isolation: arguments.isolation,
            ..surroundings.read_options(&arguments.app, means)
        },
        host: "localhost".to_owned(),
        variables: surroundings.variables.clone(),
        cors: (!arguments.cors.is_empty())
            .then(|| CorsOptions { origins: arguments.cors.clone(), credentials: false }),
        hide_errors: arguments.hide_errors,
        auth: arguments.auth,
        sink,
        records,
        measured: Measured::default(),
        faults: planned_faults(surroundings)?,
        listen: true,
        is_lazy: arguments.lazy || arguments.names_several(),
        isolation: arguments.isolation,
        environment: arguments.environment.clone(),
        debugger: None,
        moved: None,
    })
}

/// Templates and zygotes, with the memory that these may hold.
pub(crate) async fn parents(
    chosen: Option<u64>,
    surroundings: &Surroundings,
) -> Result<Parents, CommandError> {
    let said = surroundings.get("INGLE_ZYGOTE_MEMORY").filter(|text| !text.is_empty());
    let budget = match (chosen, said) {
        (Some(bytes), _) => bytes,
        (None, Some(text)) => memory_size(text).map_err(|wanted| {
            CommandError::new(USAGE, "E0703", format!("INGLE_ZYGOTE_MEMORY is {text:?}; {wanted}"))
        })?,
        (None, None) => memory::of_the_machine() / 4,
    };
    Ok(Parents { zygotes: Zygotes::within(budget), means: surroundings.means().await, ..Parents::default() })
}

pub(crate) fn planned_faults(surroundings: &Surroundings) -> Result<Faults, CommandError> {
    let Some(text) = surroundings.get("INGLE_FAULTS") else { return Ok(Faults::none()) };
    faults::parse(text).map_err(|part| {
        CommandError::new(USAGE, "E0703", format!("INGLE_FAULTS: `{part}` is no fault point"))
    })
}

/// Tells what preparing the environment does, while it does it.
pub(crate) fn progress(style: Style, printer: &Printer) -> impl FnMut(Progress) + Send + use<> {
    let printer = printer.clone();
    move |progress| {
        let text = match progress {
            Progress::Waiting => "another start is building the same environment; waiting for it".to_owned(),
            Progress::Creating { environment } => {
                format!("making a Python environment in {}", environment.display())
            }
            Progress::Installing { what, with } => {
                format!("installing {what} with {with} (once; kept for later starts)")
            }
            Progress::Line(line) => format!("  {line}"),
            Progress::Compiling => "compiling bytecode".to_owned(),
        };
        let line = if style.json { json!({"event": "progress", "message": text}).to_string() } else { text };
        printer.text(line);
    }
}

fn is_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stdout().is_terminal()
}

/// Begins to watch the app's files; if that can't be done, says so and serves without. A folder that is not there is
/// told of when it is read.
fn watch(folder: &Path, printer: &Printer) -> Option<Watch> {
    if !folder.is_dir() {
        return None;
    }
    match Watcher::start().and_then(|watcher| Watch::start(&watcher, folder)) {
        Ok(watch) => Some(watch),
        Err(error) => {
            printer.text(format!("changes of files are not noticed: {error}"));
            None
        }
    }
}

pub(crate) async fn drain(server: Server, style: Style, printer: &Printer) -> u8 {
    let unfinished = server.stop().await;
    if !unfinished.is_empty() {
        let count = unfinished.len();
        let text = if style.json {
            json!({"event": "unfinished", "tasks": unfinished}).to_string()
        } else {
            format!(
                "{count} invocations did not finish in time and were ended; their messages are delivered again"
            )
        };
        printer.text(text);
    }
    if style.json {
        printer.text(json!({"event": "stopped"}).to_string());
    }
    0
}

/// Ctrl-C and SIGTERM. Registered once, so that none is missed between two waits.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    /// The end of those who started a server for their tests.
    orphaned: Option<oneshot::Receiver<()>>,
}

impl Signals {
    fn listen(for_tests: bool) -> Self {
        end_in_any_case();
        Self {
            orphaned: if for_tests { moved::end_of_input() } else { None },
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => {}
            () = received(&mut self.terminate) => {}
            () = ended(&mut self.orphaned) => {}
        }
    }
}

/// How long the program has after a second signal to end by itself.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Ends the program some time after a second signal, whatever its other threads hang in. Without this thread, which the system
/// may not give us, they have to do it themselves.
#[expect(clippy::exit, reason = "nothing else ends a program whose threads hang")]
fn end_in_any_case() {
    let wait = || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (interrupt, terminate) =
                (&mut signal(SignalKind::interrupt()).ok(), &mut signal(SignalKind::terminate()).ok());
            for _ in 0..2 {
                tokio::select! {
                    () = received(interrupt) => {}
                    () = received(terminate) => {}
                }
            }
            tokio::time::sleep(AT_ONCE).await;
        });
        std::process::exit(INTERRUPTED.into());
    };
    std::thread::Builder::new().name("second signal".to_owned()).spawn(wait).ok();
}

async fn ended(input: &mut Option<oneshot::Receiver<()>>) {
    match input {
        Some(end) => {
            drop(end.await);
            // Told once; a second one would end the program without the stop in order.
            *input = None;
        }
        None => std::future::pending().await,
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
