//! Ingle: runs Azure Functions for Python. Parse, read the surroundings, run one command, exit.

mod app;
mod archive;
mod chalice;
mod cli;
mod client;
mod commands;
mod debug;
mod exit;
mod faults;
mod files;
mod hot_keys;
mod keys;
mod mend;
mod moved;
mod printer;
mod project;
mod screen;
mod serve;
mod server;
mod several;
mod show_only;
mod surroundings;
mod templates;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use ingle_sandbox::boxes;

use crate::cli::{Cli, Command, HostCommand};
use crate::exit::{CommandError, MACHINE};
use crate::printer::Style;
use crate::surroundings::Surroundings;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == boxes::ARGUMENT) {
        boxes::serve();
    }
    let cli = Cli::parse();
    let surroundings = Surroundings::read(&cli.global);
    let no_color = surroundings.get("NO_COLOR").is_some_and(|value| !value.is_empty());
    let style = Style::detect(cli.global.json, cli.global.no_color, no_color);
    trace(&surroundings);
    let code = match run(cli, &surroundings, style) {
        Ok(code) => code,
        Err(error) => error.report(style),
    };
    ExitCode::from(code)
}

fn run(cli: Cli, surroundings: &Surroundings, style: Style) -> Result<u8, CommandError> {
    let mut builder = match &cli.command {
        // What happens at the same moved time happens in the same order each time only on one thread.
        Command::Start(arguments) if arguments.clock.is_some() => {
            tokio::runtime::Builder::new_current_thread()
        }
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build().map_err(|error| {
        CommandError::new(MACHINE, "E0304", format!("can't start the threads of the server: {error}"))
    })?;
    if let Err(error) = ingle_sandbox::process::prepare() {
        tracing::warn!("can't set up the start of other processes: {error}");
    }
    let code = runtime.block_on(command(cli.command, surroundings, style));
    // Threads of the runtime may hang in a system call; nothing of theirs is needed any more.
    runtime.shutdown_background();
    code
}

async fn command(command: Command, surroundings: &Surroundings, style: Style) -> Result<u8, CommandError> {
    match command {
        Command::Start(arguments) | Command::Host { command: HostCommand::Start(arguments) } => {
            Box::pin(commands::start::run(arguments, surroundings, style)).await
        }
        Command::Import(arguments) => Box::pin(commands::import::run(arguments, surroundings, style)).await,
        Command::Init(arguments) => commands::init::run(&arguments, style),
        Command::New(arguments) => commands::new::run(&arguments, surroundings, style),
        Command::Check(arguments) => Box::pin(commands::check::run(arguments, surroundings, style)).await,
        Command::Invoke(arguments) => Box::pin(commands::invoke::run(arguments, surroundings, style)).await,
        Command::Event(command) => commands::event::run(command, surroundings, style),
        Command::Send(command) => commands::state::send(command, style).await,
        Command::Put(command) => commands::blob::put(command, style).await,
        Command::Get(command) => commands::blob::get(command, style).await,
        Command::Ls(command) => commands::blob::list(command, style).await,
        Command::State(command) => commands::state::run(command, style).await,
        Command::Keys(command) => commands::keys::run(command, style),
        Command::Ps(place) => commands::processes::run(&place, style).await,
        Command::Metrics(arguments) => commands::metrics::run(&arguments, style).await,
        Command::Traces(arguments) => commands::traces::run(&arguments, style).await,
        Command::LogLevel(arguments) => commands::log_level::run(arguments, style).await,
        Command::Doctor(arguments) => commands::doctor::run(&arguments, surroundings, style).await,
        Command::Explain { code } => commands::explain::run(code.as_deref(), style),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "ingle", &mut std::io::stdout());
            Ok(0)
        }
    }
}

/// Traces go to standard error; `INGLE_LOG=debug` shows more.
fn trace(surroundings: &Surroundings) {
    let filter = tracing_subscriber::EnvFilter::new(surroundings.get("INGLE_LOG").unwrap_or("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
