//! One command of the command line, run to its end.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use crate::launch::bare_command;
use crate::machine::DEADLINE;

/// Arguments, environment and input of a call of `ingle`.
#[derive(Clone, Debug, Default)]
pub struct Call {
    words: Vec<std::ffi::OsString>,
    variables: Vec<(String, String)>,
    folder: Option<std::path::PathBuf>,
    input: Vec<u8>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Done {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Call {
    pub fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(Into::into).collect(), ..Self::default() }
    }

    #[must_use]
    pub fn word(mut self, word: &str) -> Self {
        self.words.push(word.into());
        self
    }

    #[must_use]
    pub fn path(mut self, path: &Path) -> Self {
        self.words.push(path.into());
        self
    }

    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Where it is called.
    #[must_use]
    pub fn inside(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// What its standard input gives.
    #[must_use]
    pub fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it can't be started, or does not end in time.
    pub fn run(&self) -> Done {
        let mut command = bare_command();
        command.args(&self.words).envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("can't start ingle: {error}"));
        if let Some(mut input) = child.stdin.take() {
            // A command that does not read its input closes it; that is no failure.
            input.write_all(&self.input).ok();
        }
        self.finish(child)
    }

    fn finish(&self, child: Child) -> Done {
        let id = child.id();
        let (sender, ended) = mpsc::sync_channel(1);
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(DEADLINE) else {
            crate::server::kill_group(id);
            panic!("`ingle {:?}` did not end within {DEADLINE:?}", self.words);
        };
        let output = output.unwrap_or_else(|error| panic!("no output of ingle: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Done {
    /// Fails unless the command ended with this code.
    ///
    /// # Panics
    /// If the code is another one.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "the exit code is another one: {self:#?}");
        self
    }

    /// The JSON objects that it printed, one a line.
    ///
    /// # Panics
    /// If a line is something else.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The one JSON object that it printed last.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.json_lines().pop().unwrap_or_else(|| panic!("nothing was printed: {self:#?}"))
    }
}
