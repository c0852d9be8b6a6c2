//! One program, run to its end in a box of its own: for tools such as pip, which run what others have written.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout_at};

use super::server::{BoxError, Boxed, Boxes, Open, Port, Started};
use super::spec::{BoxSpec, Identity, Program, Protection};
use crate::cgroup::Leaf;
use crate::command::{Command, Error, Output, Stream, follow};
use crate::egress::{Refused, Relay, Rules, Supervisor, resolver};
use crate::process;

/// What the program may connect to, where its box has a network of its own.
#[derive(Clone)]
pub struct Egress {
    pub rules: Arc<Rules>,
    /// Where its names come from.
    pub resolver: resolver::Configuration,
    /// Told of what could not be reached; must not wait.
    pub on_refused: Arc<dyn Fn(Refused) + Send + Sync>,
}

impl fmt::Debug for Egress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Egress").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Runs a program as [`crate::command::run_with`] does, in a box that is made for it. When this returns or is dropped,
/// all that the program has started ends with the box, whatever it did to get away. `group`: with its limits.
///
/// # Errors
/// As [`crate::command::run_with`]; or the box could not be made.
pub async fn run(
    boxes: &Boxes,
    spec: &BoxSpec,
    (egress, group): (Option<&Egress>, Option<Leaf>),
    command: Command,
    on_line: &mut impl FnMut(Stream, &str),
) -> Result<Output, Error> {
    let name = command.program.display().to_string();
    let time_is_up = Error::TimedOut { program: name.clone(), timeout: command.timeout };
    let failed = |source| Error::Box { program: name.clone(), source };
    let lost = |source| failed(BoxError::Maker { source });
    let deadline = Instant::now() + command.timeout;
    let (boxed, port) = make(boxes, spec).await.map_err(failed)?;
    let relay = relay(&boxed, egress).map_err(lost)?;
    if let Some(group) = &group {
        admit(&boxed, group).await.map_err(lost)?;
    }
    let attended = Box::pin(attend(&boxed, command, egress, on_line));
    let ended = tokio::select! {
        // What has come to its end has done so, even if the box is gone by now.
        biased;
        ended = timeout_at(deadline, attended) => ended.unwrap_or(Err(time_is_up)),
        () = port.run() => Err(failed(BoxError::Gone)),
        error = answer_names(relay) => Err(lost(error)),
    };
    let shortage = group.as_ref().and_then(Leaf::out_of_memory);
    boxed.end().await;
    // Ends what is left of it where there are no namespaces.
    drop(group);
    match (ended, shortage) {
        (Ok(output), _) if output.status.success() => Ok(output),
        (_, Some(shortage)) => Err(Error::Memory { program: name, limit: shortage.limit_bytes.unwrap_or(0) }),
        (ended, None) => ended,
    }
}

/// A box whose files can be written by those who are to write them.
async fn make(boxes: &Boxes, spec: &BoxSpec) -> Result<(Boxed, Port), BoxError> {
    let (boxed, port) = boxes.make(spec).await?;
    let keeps_owners = |boxed: &Boxed| {
        boxed.shortfalls().iter().any(|shortfall| shortfall.protection == Protection::OwnUser)
    };
    if !keeps_owners(&boxed) {
        return Ok((boxed, port));
    }
    // A file system that can't lend its files to another user. The server's own user can write them, and in the box it
    // has none of the server's rights.
    let (user, group) = process::user();
    let spec = BoxSpec { identity: Identity::Same { user, group }, ..spec.clone() };
    boxes.make(&spec).await
}

fn relay(boxed: &Boxed, egress: Option<&Egress>) -> io::Result<Option<Relay>> {
    let Some((egress, (packets, connections))) = egress.zip(boxed.take_resolver()) else { return Ok(None) };
    Relay::new(packets, connections, egress.resolver.clone(), egress.rules.clone()).map(Some)
}

/// Returns only if names can't be answered any more.
async fn answer_names(relay: Option<Relay>) -> io::Error {
    let Some(relay) = relay else { return std::future::pending().await };
    match relay.run().await {
        Err(error) => error,
        Ok(()) => io::Error::other("names are not answered any more"),
    }
}

/// All that the keeper starts is in its group.
async fn admit(boxed: &Boxed, group: &Leaf) -> io::Result<()> {
    let (entrance, keeper) = (group.entrance(), boxed.keeper_number()?);
    tokio::task::spawn_blocking(move || entrance.admit(keeper)).await.map_err(io::Error::other)?
}

/// From the start of the program to its end.
async fn attend(
    boxed: &Boxed,
    command: Command,
    egress: Option<&Egress>,
    on_line: &mut impl FnMut(Stream, &str),
) -> Result<Output, Error> {
    let name = command.program.display().to_string();
    let lost = |source| Error::Wait { program: name.clone(), source };
    let (output, their_output) = output_pipe().map_err(lost)?;
    let (errors, their_errors) = output_pipe().map_err(lost)?;
    let open = Open { output: &their_output, errors: &their_errors, control: None, into: None };
    let program = program(command).map_err(|source| Error::Start { program: name.clone(), source })?;
    let started = boxed.start(program, open).await;
    let started = started.map_err(|source| Error::Box { program: name.clone(), source })?;
    drop((their_output, their_errors));
    // Ends the group of the program when this is dropped, which is what is left where there are no namespaces.
    let Started { process: _group, ended, listener, .. } = started;
    let supervised = async {
        if let Some((listener, egress)) = listener.zip(egress) {
            let on_refused = egress.on_refused.clone();
            let supervisor =
                Supervisor::new(listener, egress.rules.clone(), move |refused| on_refused(refused))?;
            supervisor.run().await?;
        }
        // It may have closed its filter's door by ending; then its end is what counts.
        std::future::pending::<io::Result<()>>().await
    };
    let end = async {
        ended.wait().await.ok_or_else(|| io::Error::other("the keeper of its box does not tell how it ended"))
    };
    let followed = tokio::select! {
        biased;
        followed = follow((Some(output), Some(errors)), end, on_line) => followed,
        Err(error) = supervised => Err(error),
    };
    followed.map_err(lost)
}

fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (sender, receiver) = pipe::pipe()?;
    Ok((receiver, sender.into_blocking_fd()?))
}

/// The same in the words of a box, which knows no search for programs and passes on text only.
fn program(command: Command) -> io::Result<Program> {
    let arguments = command.args.into_iter().map(std::ffi::OsString::into_string).collect::<Result<_, _>>();
    let arguments = arguments.map_err(|_bytes| io::Error::other("an argument is not UTF-8"))?;
    Ok(Program { path: command.program, arguments, environment: command.env, directory: command.cwd })
}
