//! `ingle start`: serve the functions of a folder until Ctrl-C.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingle_apps::Progress;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::faults::Faults;
use ingle_types::spec::CorsOptions;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::app::{absolute, error_count, prepare};
use crate::cli::StartArguments;
use crate::exit::{APP, CommandError, INTERRUPTED, USAGE, warn};
use crate::printer::{Printer, Style};
use crate::server::{Plan, Server};
use crate::surroundings::Surroundings;
use crate::{faults, screen};

const PORT_DEFAULT: u16 = 7071;

pub(crate) async fn run(
    arguments: StartArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    let began = Instant::now();
    let tasks = Tasks::new();
    let printer = Printer::start(style, &tasks);
    let mut prepared = prepare(&arguments.app, surroundings, &mut progress(style, &printer)).await?;
    if !arguments.cors.is_empty() {
        prepared.folder.host.cors = Some(CorsOptions { origins: arguments.cors.clone(), credentials: false });
    }
    let port = arguments.port.or(prepared.folder.port).unwrap_or(PORT_DEFAULT);
    let folder = absolute(&arguments.app.folder);
    let plan = Plan {
        prepared,
        state: Surroundings::state(&folder, arguments.app.state.as_ref()),
        address: SocketAddr::new(arguments.address, port),
        hide_errors: arguments.hide_errors,
        sink: Arc::new(printer.clone()),
        records: Arc::new(printer.clone()),
        faults: planned_faults(surroundings)?,
        listen: true,
    };
    let server = Server::start(plan, surroundings, tasks.clone()).await?;
    let took = began.elapsed().as_millis();
    let ready =
        if style.json { screen::json(&server, took).to_string() } else { screen::text(&server, took, style) };
    printer.text(ready);
    let functions = server.running.app.functions.len();
    let code = if functions == 0 {
        // Nothing could ever happen: that is an error that the screen has explained, not a server.
        drain(server, style, &printer).await;
        APP
    } else {
        serve(server, style, &printer).await
    };
    drop(printer);
    tasks.stop(TaskKind::Printer, Duration::from_secs(2)).await;
    Ok(code)
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

/// Waits for a signal, then drains; a second signal ends the program at once.
async fn serve(server: Server, style: Style, printer: &Printer) -> u8 {
    wait_for_signal().await;
    if error_count(&server.running.app.problems) > 0 {
        tracing::debug!("served although the app has errors");
    }
    if !style.json {
        printer.text("stopping: work in hand is finished; Ctrl-C again stops at once".to_owned());
    }
    tokio::select! {
        code = drain(server, style, printer) => code,
        () = wait_for_signal() => {
            warn("stopped at once");
            INTERRUPTED
        }
    }
}

async fn drain(server: Server, style: Style, printer: &Printer) -> u8 {
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

async fn wait_for_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
