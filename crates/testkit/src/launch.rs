//! How a server is to be started.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::app::App;
use crate::call::{Call, Done};
use crate::machine::{binary, cache};
use crate::python::Python;
use crate::server::Server;

/// The folders of a story; gone when the last server in them is.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn app(&self) -> std::path::PathBuf {
        self.0.path().join("app")
    }

    pub(crate) fn state(&self) -> std::path::PathBuf {
        self.0.path().join("state")
    }
}

/// A server that is not started yet.
#[derive(Clone)]
pub struct Launch {
    pub(crate) home: Arc<Home>,
    pub(crate) python: Option<Python>,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) json: bool,
    pub(crate) terminal: bool,
    pub(crate) expected: Vec<String>,
    /// Each app in its home is served, and not one by its name.
    pub(crate) by_parent: bool,
    /// As whom the server runs, if not as the test.
    pub(crate) user: Option<u32>,
    /// A program that starts the server in its own way.
    pub(crate) starter: Vec<String>,
    /// What in the app's folder is served, if not all of it.
    pub(crate) part: Option<String>,
}

impl Launch {
    pub(crate) fn new(app: &App, python: &Python) -> Self {
        let home = tempfile::Builder::new().prefix("ingle-").tempdir();
        let home = Home(home.unwrap_or_else(|error| panic!("no folder for the story: {error}")));
        app.write(&home.app());
        Self {
            home: Arc::new(home),
            python: Some(python.clone()),
            arguments: Vec::new(),
            variables: Vec::new(),
            json: true,
            terminal: false,
            expected: Vec::new(),
            by_parent: false,
            user: None,
            starter: Vec::new(),
            part: None,
        }
    }

    /// A file or folder in the app's folder that is served, and not all of it.
    #[must_use]
    pub fn part(mut self, path: &str) -> Self {
        self.part = Some(path.to_owned());
        self
    }

    /// One more argument of `ingle start`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable in the environment of the server.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Ends the server at a fault point, as `kill -9` would: `store.commit.before@3=abort`.
    #[must_use]
    pub fn fault(self, plan: &str) -> Self {
        self.variable("INGLE_FAULTS", plan)
    }

    /// Starts the server as this user, who gets all folders of the story. Only root can do that.
    #[must_use]
    pub fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        let cache = self.home.0.path().join("cache").display().to_string();
        self.variable("INGLE_CACHE", &cache)
    }

    /// Lets a program start the server: its words, before those of the server.
    #[must_use]
    pub fn started_by(mut self, words: &[&str]) -> Self {
        self.starter = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Without `--python`: Ingle chooses, and prepares an environment.
    #[must_use]
    pub fn own_choice_of_python(mut self) -> Self {
        self.python = None;
        self
    }

    /// Text for people instead of JSON.
    #[must_use]
    pub fn text(mut self) -> Self {
        self.json = false;
        self
    }

    /// Text on a terminal, with a keyboard: see [`Server::press`].
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self.text().variable("NO_COLOR", "1")
    }

    /// A part of an ERROR line that the server may write to its standard error in this story.
    #[must_use]
    pub fn may_complain(mut self, part: &str) -> Self {
        self.expected.push(part.to_owned());
        self
    }

    /// The app's folder.
    pub fn folder(&self) -> std::path::PathBuf {
        self.home.app()
    }

    /// Where queues and documents will be.
    pub fn state_folder(&self) -> std::path::PathBuf {
        self.home.state()
    }

    /// A command of the command line about this app, which no server serves yet.
    pub fn call(&self, words: &[&str]) -> Call {
        Call::new(words).word("--app").path(&self.folder()).word("--state").path(&self.state_folder())
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// If it ends instead.
    pub fn start(self) -> Server {
        Server::start(self)
    }

    /// Starts it without waiting for anything: see [`Server::wait_until_it_serves`].
    pub fn begin(self) -> Server {
        Server::begin(self)
    }

    /// Starts it, and expects it to end by itself.
    pub fn run(&self) -> Done {
        let arguments = self.words();
        let call = Call::new(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        self.variables.iter().fold(call, |call, (name, value)| call.variable(name, value)).run()
    }

    /// `ingle check --json` on the same app.
    pub fn check(&self) -> Done {
        let mut call = Call::new(&["check", "--json"]).path(&self.home.app());
        if let Some(python) = &self.python {
            call = call.word("--python").path(&python.program);
        }
        call.run()
    }

    fn words(&self) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut words = match self.home.app().parent().filter(|_| self.by_parent) {
            Some(parent) => vec!["start".to_owned(), "--apps".to_owned(), text(parent)],
            None => {
                let app = self.home.app();
                vec!["start".to_owned(), text(&self.part.as_ref().map_or(app.clone(), |part| app.join(part)))]
            }
        };
        words.extend(["--port".to_owned(), "0".to_owned(), "--state".to_owned(), text(&self.home.state())]);
        if self.json {
            words.push("--json".to_owned());
        }
        if let Some(python) = &self.python {
            words.extend(["--python".to_owned(), text(&python.program)]);
        }
        words.extend(self.arguments.clone());
        words
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = match self.user {
            Some(user) => self.command_of_user(user),
            None => self.command_of(&binary()),
        };
        command.args(self.words()).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn command_of(&self, program: &Path) -> Command {
        let Some((starter, words)) = self.starter.split_first() else { return bare_command_of(program) };
        let mut command = bare_command_of(Path::new(starter));
        command.args(words).arg(program);
        command
    }

    /// The user may not be able to read the folder in which the program was built, nor those of the story.
    fn command_of_user(&self, user: u32) -> Command {
        use std::os::unix::process::CommandExt;
        let program = self.home.0.path().join("program");
        let ready = if program.exists() { Ok(0) } else { std::fs::copy(binary(), &program) };
        let ready = ready.and_then(|_bytes| give(self.home.0.path(), user));
        ready.unwrap_or_else(|error| panic!("the folders can't be given to user {user}: {error}"));
        let mut command = self.command_of(&program);
        command.uid(user).gid(user).current_dir(self.home.app());
        command
    }
}

/// Gives a folder to a user, with all that is in it.
fn give(path: &Path, user: u32) -> std::io::Result<()> {
    std::os::unix::fs::lchown(path, Some(user), Some(user))?;
    if !path.symlink_metadata()?.is_dir() {
        return Ok(());
    }
    std::fs::read_dir(path)?.try_for_each(|entry| give(&entry?.path(), user))
}

/// The binary with an environment in which nothing of the developer's own set-up changes the story.
pub(crate) fn bare_command() -> Command {
    bare_command_of(&binary())
}

fn bare_command_of(program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let ours = name_text.starts_with("INGLE_")
            || name_text.starts_with("NEXTEST")
            || name_text.starts_with("CARGO");
        if ours || matches!(&*name_text, "VIRTUAL_ENV" | "PYTHONPATH" | "PYTHONHOME" | "NO_COLOR") {
            command.env_remove(&name);
        }
    }
    command.env("INGLE_CACHE", cache()).process_group(0);
    command
}
