//! One short-lived program: run it, read what it says, end its whole process group when its time is up.
//!
//! For tools such as pip. A long-lived process with a socket to us is another thing: see `process`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ingle_types::outcome::Blame;

use crate::boxes::BoxError;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command as TokioCommand};
use tokio::time::{Instant, timeout_at};

/// Bytes kept of each of the two outputs: the last ones, as a failing tool says why at the end.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes after which a line is handed over even if it goes on.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// How long output is still read when the program has ended but a child of it holds the pipe.
const LINGER: Duration = Duration::from_millis(500);

/// What to run. Nothing but `env` reaches the program's environment, and it has no input.
#[derive(Clone, Debug)]
pub struct Command {
    /// A path, or a name that is looked up on the `PATH` in `env`.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
    pub timeout: Duration,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: ExitStatus,
    /// The last [`OUTPUT_BYTES_MAX`] bytes; what is not UTF-8 is replaced.
    pub stdout: String,
    pub stderr: String,
}

/// Which output a line came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{program} could not be started")]
    Start { program: String, source: io::Error },
    #[error("{program} did not end within {} seconds and was killed", timeout.as_secs())]
    TimedOut { program: String, timeout: Duration },
    #[error("the outcome of {program} could not be read")]
    Wait { program: String, source: io::Error },
    #[error("{program} could not be run in a box")]
    Box { program: String, source: BoxError },
    #[error("{program} was ended: it wanted more than {} MiB of memory", limit >> 20)]
    Memory { program: String, limit: u64 },
}

impl Error {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Start { .. } => "E0610",
            Self::TimedOut { .. } => "E0611",
            Self::Wait { .. } | Self::Memory { .. } => "E0612",
            Self::Box { source, .. } => source.code(),
        }
    }

    pub fn blame(&self) -> Blame {
        Blame::Platform
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start { program, .. } => Some(format!("check that {program} exists and may be run")),
            Self::Box { source, .. } => source.hint(),
            Self::TimedOut { .. } | Self::Wait { .. } | Self::Memory { .. } => None,
        }
    }
}

/// Runs a program to its end. Dropping the future ends the process group.
///
/// # Errors
/// It could not be started, or its time was up. A status other than 0 is no error here.
pub async fn run(command: Command) -> Result<Output, Error> {
    run_with(command, &mut |_, _| {}).await
}

/// As [`run`]; `on_line` gets each line without its end, while the program runs.
///
/// # Errors
/// As [`run`].
pub async fn run_with(command: Command, on_line: &mut impl FnMut(Stream, &str)) -> Result<Output, Error> {
    let name = command.program.display().to_string();
    let deadline = Instant::now() + command.timeout;
    let (mut child, group) =
        start(&command).map_err(|source| Error::Start { program: name.clone(), source })?;
    let pipes = (child.stdout.take(), child.stderr.take());
    let followed = Box::pin(follow(pipes, child.wait(), on_line));
    let followed = timeout_at(deadline, followed).await;
    match followed {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(source)) => Err(Error::Wait { program: name, source }),
        Err(_) => {
            drop(group);
            // The leader has been killed, so this ends at once; without it a zombie would stay.
            child.wait().await.ok();
            Err(Error::TimedOut { program: name, timeout: command.timeout })
        }
    }
}

/// A program that goes on by itself: it has no output that anybody reads, and outlives us.
#[derive(Clone, Debug)]
pub struct Detached {
    /// As in [`Command`].
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub env: BTreeMap<String, String>,
    pub cwd: PathBuf,
}

/// Starts a program and leaves it alone, e.g. the user's browser. Must be called within a runtime, which reaps it.
///
/// # Errors
/// It could not be started.
pub fn detach(program: Detached) -> Result<(), Error> {
    let name = program.program.display().to_string();
    let child = TokioCommand::new(&program.program)
        .args(&program.args)
        .env_clear()
        .envs(&program.env)
        .current_dir(&program.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in our terminal is not meant for it.
        .process_group(0)
        .kill_on_drop(false)
        .spawn();
    child.map(drop).map_err(|source| Error::Start { program: name, source })
}

/// As [`run`], for callers that are not async. Uses a thread of its own, so it may be called from anywhere, but
/// blocks the caller: only for programs that end in milliseconds.
///
/// # Errors
/// As [`run`].
pub fn run_blocking(command: Command) -> Result<Output, Error> {
    let program = command.program.display().to_string();
    let lost = {
        let program = program.clone();
        move |source: io::Error| Error::Start { program, source }
    };
    let thread = std::thread::Builder::new().name("command".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|source| Error::Start { program, source })?.block_on(run(command))
    });
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(lost(io::Error::other("the thread that ran it panicked"))),
        Err(source) => Err(lost(source)),
    }
}

fn start(command: &Command) -> io::Result<(Child, Group)> {
    let child = TokioCommand::new(&command.program)
        .args(&command.args)
        .env_clear()
        .envs(&command.env)
        .current_dir(&command.cwd)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok((child, Group(id)))
}

/// The processes of the program; ended when this is dropped, so that nothing outlives the call.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It fails only when the group is gone, which is what is wanted.
            kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// Reads both outputs until the program has ended and they are closed, or have lingered for too long.
pub(crate) async fn follow<O: AsyncRead + Unpin, E: AsyncRead + Unpin>(
    (mut out_pipe, mut err_pipe): (Option<O>, Option<E>),
    end: impl Future<Output = io::Result<ExitStatus>>,
    on_line: &mut impl FnMut(Stream, &str),
) -> io::Result<Output> {
    let (mut stdout, mut stderr) = (Reader::new(Stream::Stdout), Reader::new(Stream::Stderr));
    let mut out_chunk = vec![0; 16 * 1024];
    let mut err_chunk = vec![0; 16 * 1024];
    let mut end = pin!(end);
    let mut ended = None;
    let mut linger = None;
    let status = loop {
        if let Some(status) = ended
            && out_pipe.is_none()
            && err_pipe.is_none()
        {
            break status;
        }
        tokio::select! {
            count = read(&mut out_pipe, &mut out_chunk) => match count {
                0 => out_pipe = None,
                count => stdout.take(&out_chunk[..count], on_line),
            },
            count = read(&mut err_pipe, &mut err_chunk) => match count {
                0 => err_pipe = None,
                count => stderr.take(&err_chunk[..count], on_line),
            },
            status = &mut end, if ended.is_none() => {
                ended = Some(status?);
                linger = Some(Instant::now() + LINGER);
            }
            () = wait_until(linger) => (out_pipe, err_pipe) = (None, None),
        }
    };
    stdout.finish(on_line);
    stderr.finish(on_line);
    Ok(Output { status, stdout: stdout.into_text(), stderr: stderr.into_text() })
}

/// Bytes read; 0 at the end or when reading fails, which for a pipe is the same. A closed pipe never answers.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, chunk: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(chunk).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// One output: keeps its tail and cuts it into lines.
struct Reader {
    stream: Stream,
    kept: Vec<u8>,
    line: Vec<u8>,
}

impl Reader {
    fn new(stream: Stream) -> Self {
        Self { stream, kept: Vec::new(), line: Vec::new() }
    }

    fn take(&mut self, chunk: &[u8], on_line: &mut impl FnMut(Stream, &str)) {
        self.kept.extend_from_slice(chunk);
        // Cut rarely and much, so that a talkative program does not cost a copy per chunk.
        if self.kept.len() > 2 * OUTPUT_BYTES_MAX {
            self.cut();
        }
        for byte in chunk {
            if *byte == b'\n' {
                self.finish_line(on_line);
            } else {
                self.line.push(*byte);
                if self.line.len() >= LINE_BYTES_MAX {
                    self.finish_line(on_line);
                }
            }
        }
    }

    fn finish(&mut self, on_line: &mut impl FnMut(Stream, &str)) {
        if !self.line.is_empty() {
            self.finish_line(on_line);
        }
    }

    fn finish_line(&mut self, on_line: &mut impl FnMut(Stream, &str)) {
        on_line(self.stream, String::from_utf8_lossy(&self.line).trim_end_matches('\r'));
        self.line.clear();
    }

    fn cut(&mut self) {
        let surplus = self.kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        self.kept.drain(..surplus);
    }

    fn into_text(mut self) -> String {
        self.cut();
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Command {
        Command {
            program: PathBuf::from("/bin/sh"),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            cwd: PathBuf::from("/"),
            timeout,
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn both_outputs_and_the_status_come_back() {
        let mut lines = Vec::new();
        let command = shell("echo one; echo two >&2; printf 'no end'; exit 3", LONG);
        let output =
            run_with(command, &mut |stream, line| lines.push((stream, line.to_owned()))).await.unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one\nno end", "two\n"));
        lines.sort_by(|left, right| left.1.cmp(&right.1));
        let expected = [(Stream::Stdout, "no end"), (Stream::Stdout, "one"), (Stream::Stderr, "two")];
        assert_eq!(lines, expected.map(|(stream, line)| (stream, line.to_owned())));
    }

    #[tokio::test]
    async fn only_the_given_environment_arrives() {
        let output = run(shell("env | cut -d= -f1 | grep -v -e PWD -e SHLVL -e '^_$'", LONG)).await.unwrap();
        assert_eq!(output.stdout, "PATH\n");
    }

    /// T-016: children that ignore signals end too.
    #[tokio::test]
    async fn the_whole_group_ends_when_the_time_is_up() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("pid");
        let script = format!(
            "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {0}; mv {0} {0}.done; while :; do sleep 60; done' & wait",
            pid_file.display()
        );
        let started = pid_file.with_extension("done");
        let waits = async {
            while !started.exists() {
                tokio::task::yield_now().await;
            }
        };
        // The file proves that the grandchild runs; only then is the command dropped, which is what a time-out does.
        let program = run(shell(&script, LONG));
        tokio::select! {
            _ = program => panic!("it waits for its child"),
            () = waits => {}
        }
        let pid: i32 = std::fs::read_to_string(&started).unwrap().trim().parse().unwrap();
        assert!(ends(pid).await, "process {pid} still runs");
    }

    /// Whether the process becomes a zombie or vanishes; a killed process does one of the two.
    async fn ends(pid: i32) -> bool {
        let deadline = Instant::now() + LONG;
        while Instant::now() < deadline {
            let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
            if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed() {
        let error = run(shell("while :; do sleep 60; done", Duration::from_millis(50))).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert_eq!(error.code(), "E0611");
    }

    #[tokio::test]
    async fn a_child_that_holds_the_pipe_does_not_hold_the_answer() {
        let output = run(shell("sleep 600 & echo done", LONG)).await.unwrap();
        assert_eq!(output.stdout, "done\n");
    }

    #[tokio::test]
    async fn a_flood_is_cut_at_its_start() {
        let output = run(shell("yes 0123456789 | head -c 3000000; echo last", LONG)).await.unwrap();
        assert_eq!(output.stdout.len(), OUTPUT_BYTES_MAX);
        assert!(output.stdout.ends_with("last\n"));
    }

    #[test]
    fn a_missing_program_is_an_error_also_without_a_runtime() {
        let mut command = shell("", LONG);
        command.program = PathBuf::from("/does/not/exist");
        let error = run_blocking(command).unwrap_err();
        assert_eq!(error.to_string(), "/does/not/exist could not be started");
    }
}
