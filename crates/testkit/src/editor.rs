//! An editor's side of the debug adapter protocol: a request with its answer, and events, over one connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::machine::DEADLINE;

/// An editor that is connected to a debugger.
pub struct Editor {
    stream: BufReader<TcpStream>,
    seq: i64,
    /// What came while something else was waited for.
    heard: Vec<Value>,
}

impl Editor {
    /// Connects and says hello, as editors do.
    ///
    /// # Panics
    /// If nobody listens.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address);
        let stream = stream.unwrap_or_else(|error| panic!("no debugger at {address}: {error}"));
        stream.set_read_timeout(Some(DEADLINE)).unwrap_or_else(|error| panic!("no time limit: {error}"));
        let mut editor = Self { stream: BufReader::new(stream), seq: 0, heard: Vec::new() };
        editor.ask(
            "initialize",
            json!({"clientID": "story", "adapterID": "python", "pathFormat": "path",
            "linesStartAt1": true, "columnsStartAt1": true}),
        );
        editor
    }

    /// Attaches with breakpoints on lines of one file, the way of the written launch configuration.
    #[track_caller]
    pub fn attach(&mut self, folder: &str, file: &str, lines: &[u32]) {
        let attach = self.tell(
            "attach",
            json!({"justMyCode": true, "subProcess": false,
            "pathMappings": [{"localRoot": folder, "remoteRoot": folder}]}),
        );
        self.event("initialized");
        self.breakpoints(file, lines);
        self.ask("configurationDone", json!({}));
        self.answer(attach);
    }

    /// Sets the breakpoints of a file.
    #[track_caller]
    pub fn breakpoints(&mut self, file: &str, lines: &[u32]) {
        let lines: Vec<Value> = lines.iter().map(|line| json!({"line": line})).collect();
        let set = self.ask("setBreakpoints", json!({"source": {"path": file}, "breakpoints": lines}));
        let set = set["breakpoints"].as_array().cloned().unwrap_or_default();
        assert!(set.iter().all(|one| one["verified"] == true), "{set:?}");
    }

    /// Sends a request; its number.
    #[track_caller]
    pub fn tell(&mut self, command: &str, arguments: Value) -> i64 {
        self.seq += 1;
        let body = json!({"seq": self.seq, "type": "request", "command": command, "arguments": arguments})
            .to_string();
        let sent = write!(self.stream.get_mut(), "Content-Length: {}\r\n\r\n{body}", body.len());
        sent.unwrap_or_else(|error| panic!("{command}: {error}"));
        self.seq
    }

    /// A request and the body of its answer.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let seq = self.tell(command, arguments);
        self.answer(seq)
    }

    #[track_caller]
    fn answer(&mut self, seq: i64) -> Value {
        let answer = self.wait(&format!("the answer to request {seq}"), |message| {
            message["type"] == "response" && message["request_seq"] == seq
        });
        assert_eq!(answer["success"], true, "{answer}");
        answer["body"].clone()
    }

    /// Waits for an event; its body.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        let event = self.wait(name, |message| message["type"] == "event" && message["event"] == name);
        event["body"].clone()
    }

    /// Waits until a thread stops; its id, and file and line of its innermost frame.
    #[track_caller]
    pub fn stopped(&mut self) -> (Value, String, u64) {
        let thread = self.event("stopped")["threadId"].clone();
        let frame = self.frame(&thread);
        let file = frame["source"]["path"].as_str().unwrap_or_default().to_owned();
        (thread, file, frame["line"].as_u64().unwrap_or_default())
    }

    #[track_caller]
    fn frame(&mut self, thread: &Value) -> Value {
        self.ask("stackTrace", json!({"threadId": thread}))["stackFrames"][0].clone()
    }

    /// The value of a local variable in the innermost frame of a stopped thread.
    #[track_caller]
    pub fn variable(&mut self, thread: &Value, name: &str) -> String {
        let frame = self.frame(thread)["id"].clone();
        let scopes = self.ask("scopes", json!({"frameId": frame}));
        let locals = scopes["scopes"][0]["variablesReference"].clone();
        let found = self.ask("variables", json!({"variablesReference": locals}));
        let variables = found["variables"].as_array().cloned().unwrap_or_default();
        let variable = variables.iter().find(|variable| variable["name"] == name);
        variable.and_then(|variable| variable["value"].as_str()).unwrap_or_default().to_owned()
    }

    /// Lets a thread go on.
    #[track_caller]
    pub fn go_on(&mut self, thread: &Value) {
        self.ask("continue", json!({"threadId": thread}));
    }

    #[track_caller]
    fn wait(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.heard.iter().position(&is_it) {
            return self.heard.remove(place);
        }
        loop {
            let message =
                self.read().unwrap_or_else(|error| panic!("{what}: {error}; heard {:#?}", self.heard));
            if is_it(&message) {
                return message;
            }
            self.heard.push(message);
        }
    }

    fn read(&mut self) -> std::io::Result<Value> {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(serde_json::from_slice(&body)?)
    }
}
