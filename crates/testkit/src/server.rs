//! The server under test: started, watched, talked to, stopped or killed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Instant;

use bytes::Bytes;
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;

use crate::call::{Call, Done};
use crate::events::Events;
use crate::http::{Client, NoAnswer, Request, Response, raw};
use crate::launch::Launch;
use crate::machine::DEADLINE;
use crate::whoami::whoami_of;

/// A running `ingle start`. Dropping it ends it, its workers and all that they started; then a test fails that left
/// an unexpected ERROR on standard error.
pub struct Server {
    launch: Launch,
    child: Child,
    events: Events,
    /// Our end of its terminal, if it has one.
    keyboard: Option<File>,
    address: String,
    ended: bool,
}

/// What is left of a server.
#[derive(Debug)]
pub struct Ended {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub events: Vec<Value>,
    pub lines: Vec<String>,
    pub stderr: Vec<String>,
}

impl Server {
    #[track_caller]
    pub(crate) fn start(launch: Launch) -> Self {
        Self::begin(launch).wait_until_it_serves()
    }

    #[track_caller]
    pub(crate) fn begin(launch: Launch) -> Self {
        let (child, events, keyboard) = spawn(&launch);
        Self { launch, child, events, keyboard, address: String::new(), ended: false }
    }

    /// For a server that was only begun: waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    #[must_use]
    pub fn wait_until_it_serves(mut self) -> Self {
        self.address = self.wait_for_address();
        self
    }

    #[track_caller]
    fn wait_for_address(&self) -> String {
        if self.launch.json {
            let ready = self.events.wait_for_ready(self.launch.python.is_none());
            let address = ready["address"].as_str().unwrap_or_default();
            return address.trim_start_matches("http://").to_owned();
        }
        self.events.wait_for_line("Ctrl-C stops");
        let lines = self.events.lines();
        let place = lines.iter().find_map(|line| line.split_once("http://127.0.0.1:"));
        let port: String = place
            .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect())
            .unwrap_or_default();
        format!("127.0.0.1:{port}")
    }

    /// `127.0.0.1:41234`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The server's own copy of the app.
    pub fn folder(&self) -> PathBuf {
        self.launch.home.app()
    }

    /// Where it keeps queues and documents.
    pub fn state_folder(&self) -> PathBuf {
        self.launch.home.state()
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The event with which it said that it serves.
    ///
    /// # Panics
    /// In text mode there is none.
    pub fn ready(&self) -> Value {
        self.wait_for("ready", |event| event["event"] == "ready")
    }

    /// Types on its terminal.
    ///
    /// # Panics
    /// If it has none.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        let Some(keyboard) = &mut self.keyboard else { panic!("this server has no terminal") };
        keyboard.write_all(keys.as_bytes()).unwrap_or_else(|error| panic!("nobody reads keys: {error}"));
    }

    // --- HTTP

    /// A connection of its own, kept open.
    ///
    /// # Panics
    /// If the server does not listen.
    #[track_caller]
    pub fn client(&self) -> Client {
        self.try_client().unwrap_or_else(|error| panic!("{}\n{}", error.0, self.events.report()))
    }

    /// As [`Self::client`], for a server that may be gone.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn try_client(&self) -> Result<Client, NoAnswer> {
        Client::connect(&self.address)
    }

    /// One request on a connection of its own.
    ///
    /// # Panics
    /// If no whole answer comes.
    #[track_caller]
    pub fn send(&self, request: Request) -> Response {
        match self.client().send(request) {
            Ok(response) => response,
            Err(error) => panic!("{}\n{}", error.0, self.events.report()),
        }
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.send(Request::get(target))
    }

    #[track_caller]
    pub fn post(&self, target: &str, body: impl Into<Bytes>) -> Response {
        self.send(Request::post(target, body))
    }

    /// Bytes as they are; see [`raw`].
    #[track_caller]
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        raw(&self.address, bytes.as_ref())
    }

    // --- what it says

    /// Waits for an event, also one that has come already.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        self.events.wait_until(what, |events| events.iter().find(|event| is_it(event)).cloned())
    }

    /// Waits until there are `count` such events.
    #[track_caller]
    pub fn wait_for_many(&self, count: usize, what: &str, is_one: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.events.wait_until(&format!("{count} × {what}"), |events| {
            let found: Vec<&Value> = events.iter().filter(|event| is_one(event)).collect();
            (found.len() >= count).then(|| found.into_iter().cloned().collect())
        })
    }

    /// Waits for the records of `count` invocations of a function, in the order in which they ended.
    #[track_caller]
    pub fn invocations(&self, function: &str, count: usize) -> Vec<Value> {
        self.wait_for_many(count, &format!("invocations of {function}"), |event| {
            event["event"] == "invocation" && event["function"] == function
        })
    }

    /// Waits for a log line whose message contains `part`.
    #[track_caller]
    pub fn log(&self, part: &str) -> Value {
        self.wait_for(&format!("a log line with {part:?}"), |event| {
            event["event"] == "log" && event["message"].as_str().is_some_and(|message| message.contains(part))
        })
    }

    // --- its state

    /// A command of the command line about this server's app.
    pub fn call(&self, words: &[&str]) -> Done {
        let state = self.state_folder();
        Call::new(words).word("--app").path(&self.folder()).word("--state").path(&state).run()
    }

    /// Puts a message into a queue.
    ///
    /// # Panics
    /// If it was not taken.
    #[track_caller]
    pub fn send_queue(&self, queue: &str, message: &str) {
        let target = format!("/v1/queues/messages?name={queue}");
        drop(self.admin(Request::post(&target, message.to_owned())));
    }

    /// Queues and containers with their sizes.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.admin(Request::get("/v1/state"))
    }

    /// Number of messages in a queue, whatever state they are in.
    #[track_caller]
    pub fn queue_length(&self, queue: &str) -> u64 {
        let state = self.state();
        let found = state["queues"].as_array().into_iter().flatten().find(|known| known["name"] == queue);
        let count = |known: &Value, name: &str| known[name].as_u64().unwrap_or(0);
        found.map_or(0, |known| count(known, "ready") + count(known, "leased") + count(known, "delayed"))
    }

    /// Messages of a queue.
    #[track_caller]
    pub fn messages(&self, queue: &str) -> Vec<Value> {
        self.entries(queue, "messages")
    }

    /// Documents of a container, `database/container`.
    #[track_caller]
    pub fn documents(&self, container: &str) -> Vec<Value> {
        self.entries(container, "documents")
    }

    fn entries(&self, name: &str, kind: &str) -> Vec<Value> {
        let target = format!("/v1/state/entries?count=100000&name={}", name.replace('/', "%2F"));
        self.admin(Request::get(&target))[kind].as_array().cloned().unwrap_or_default()
    }

    /// Runs a function through `ingle invoke`.
    #[track_caller]
    pub fn invoke(&self, function: &str, data: &str) -> Value {
        self.call(&["invoke", function, "--data", data, "--json"]).json()
    }

    /// Process ids of the workers that take work.
    #[track_caller]
    pub fn workers(&self) -> Vec<u32> {
        let status = self.admin(Request::get("/v1/status"));
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        let ready = workers.iter().filter(|worker| worker["phase"] == "Ready");
        ready.filter_map(|worker| u32::try_from(worker["processId"].as_u64()?).ok()).collect()
    }

    /// The worker or zygote that calls itself by this number.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn process_of(&self, number: u64) -> u32 {
        let all = self.workers().into_iter().chain([self.zygote()]);
        all.into_iter().find(|process| whoami_of(*process) == number).expect("a process of that number")
    }

    /// The process that workers are forked from; 0 if there is none just now.
    pub fn zygote(&self) -> u32 {
        let status = self.admin(Request::get("/v1/status"));
        status["zygote"]["processId"].as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    }

    /// Process ids of those that it has started itself, templates among them.
    pub fn children(&self) -> Vec<u32> {
        children(self.child.id())
    }

    /// A connection to the admin door, kept open.
    ///
    /// # Panics
    /// If nobody answers there.
    #[track_caller]
    pub fn admin_client(&self) -> Client {
        let socket = self.state_folder().join("admin.sock");
        Client::connect_socket(&socket)
            .unwrap_or_else(|error| panic!("the admin socket: {}\n{}", error.0, self.events.report()))
    }

    #[track_caller]
    fn admin(&self, request: Request) -> Value {
        let socket = self.state_folder().join("admin.sock");
        let answer = Client::connect_socket(&socket).and_then(|mut client| client.send(request));
        match answer {
            Ok(response) => response.status(200).json(),
            Err(error) => panic!("the admin socket: {}\n{}", error.0, self.events.report()),
        }
    }

    // --- its end

    /// Ctrl-C.
    pub fn interrupt(&self) {
        signal(self.child.id(), Signal::INT);
    }

    /// Kills the server as a power cut would.
    ///
    /// # Panics
    /// If it does not end.
    pub fn kill9(&mut self) {
        signal(self.child.id(), Signal::KILL);
        self.wait_for_end();
    }

    /// Waits until the server has ended by itself.
    ///
    /// # Panics
    /// If it does not, or complained.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let status = self.wait_for_end();
        self.ended = true;
        self.check_complaints();
        Ended {
            code: status.code(),
            signal: status.signal(),
            events: self.events.all(),
            lines: self.events.lines(),
            stderr: self.events.stderr(),
        }
    }

    /// Ctrl-C, and the end.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.interrupt();
        self.wait()
    }

    /// The same app on the same state once more, after the end of the server or in place of it.
    #[track_caller]
    pub fn restart(&mut self) {
        self.restart_as(self.launch.clone());
    }

    /// As [`Self::restart`], with another fault plan; an empty one for none.
    #[track_caller]
    pub fn restart_with_fault(&mut self, plan: &str) {
        self.restart_as(self.launch.clone().fault(plan));
    }

    #[track_caller]
    fn restart_as(&mut self, launch: Launch) {
        if self.try_wait().is_none() {
            self.kill9();
        }
        self.check_complaints();
        self.launch = launch;
        (self.child, self.events, self.keyboard) = spawn(&self.launch);
        self.address = self.wait_for_address();
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end and for all that was printed before it.
    ///
    /// # Panics
    /// If it does not end in time.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let until = Instant::now() + DEADLINE;
        let pause = std::time::Duration::from_millis(5);
        loop {
            if let Some(status) = self.try_wait() {
                self.events.wait_for_end();
                return status;
            }
            assert!(Instant::now() < until, "the server did not end\n{}", self.events.report());
            std::thread::park_timeout(pause);
        }
    }

    #[track_caller]
    fn check_complaints(&self) {
        let is_expected = |line: &str| self.launch.expected.iter().any(|part| line.contains(part));
        let bad =
            |line: &&String| (line.contains(" ERROR ") || line.contains("panicked at")) && !is_expected(line);
        let stderr = self.events.stderr();
        let complaints: Vec<&String> = stderr.iter().filter(bad).collect();
        assert!(complaints.is_empty(), "the server complained: {complaints:#?}");
        if self.launch.json {
            let lines = self.events.lines();
            // The last line may be cut when the server was killed.
            let whole = lines.split_last().map_or(&lines[..], |(_, whole)| whole);
            let plain = whole.iter().find(|line| !line.starts_with('{'));
            assert!(plain.is_none(), "with --json a line is no object: {plain:?}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended && self.try_wait().is_none() {
            let workers = children(self.child.id());
            kill_group(self.child.id());
            workers.into_iter().for_each(kill_group);
            // It was killed, so this does not wait long; how it ended does not matter any more.
            self.child.wait().ok();
            self.events.wait_for_end();
        }
        if std::thread::panicking() {
            report(&self.events);
        } else if !self.ended {
            self.check_complaints();
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failed test shows what the server said last")]
fn report(events: &Events) {
    eprintln!("{}", events.report());
}

#[track_caller]
fn spawn(launch: &Launch) -> (Child, Events, Option<File>) {
    if launch.terminal {
        return spawn_on_terminal(launch).unwrap_or_else(|error| panic!("can't start ingle: {error}"));
    }
    let mut child = launch.command().spawn().unwrap_or_else(|error| panic!("can't start ingle: {error}"));
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        panic!("the server has no pipes");
    };
    (child, Events::collect(stdout, stderr), None)
}

/// Its input and output are a pseudo terminal; standard error stays a pipe.
fn spawn_on_terminal(launch: &Launch) -> std::io::Result<(Child, Events, Option<File>)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let theirs =
        File::options().read(true).write(true).open(Path::new(OsStr::from_bytes(name.to_bytes())))?;
    let ours = File::from(ours);
    let mut command = launch.command();
    command.stdin(theirs.try_clone()?).stdout(theirs);
    let mut child = command.spawn()?;
    // The command holds their end; the stream ends only when nobody does.
    drop(command);
    let stderr = child.stderr.take().ok_or_else(|| std::io::Error::other("no pipe"))?;
    let events = Events::collect(ours.try_clone()?, stderr);
    Ok((child, events, Some(ours)))
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// Sends a signal to one process; that it is gone already is fine.
pub(crate) fn signal(id: u32, signal: Signal) {
    if let Some(pid) = pid(id) {
        rustix::process::kill_process(pid, signal).ok();
    }
}

pub(crate) fn kill_group(id: u32) {
    if let Some(pid) = pid(id) {
        rustix::process::kill_process_group(pid, Signal::KILL).ok();
    }
}

/// Processes that a process has started, from the kernel's own list.
fn children(id: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>())
        .collect()
}
