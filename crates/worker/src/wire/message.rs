//! What frames say: headers as types, data to and from body bytes. The tables are in `proto/frames.md`.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ingle_types::datum::Datum;
use ingle_types::exchange::ExchangeHandle;
use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Exit, Failure, Outputs};
use ingle_types::problem::Problem;
use ingle_types::spec::{DeclaredFunction, Dialect};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::datum::{DatumHeader, push_body, read_datum};

/// How much of an exception's message, and of its traceback, the next attempt is told, in bytes.
const PREVIOUS_BYTES_MAX: usize = 32 * 1024;

/// The version that both sides must have.
pub const VERSION: u32 = 1;

// === From the server ===

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker<'a> {
    Load {
        root: &'a Path,
        dialect: Dialect,
        script_file: &'a str,
        functions: &'a [DeclaredFunction],
        development: bool,
        /// Whether debug lines are wanted, until `Settings` says otherwise.
        debug_logging: bool,
        /// For the environment of the process.
        settings: &'a BTreeMap<String, String>,
        /// Where large outputs are to be written.
        #[serde(skip_serializing_if = "Option::is_none")]
        spool: Option<&'a Path>,
        #[serde(skip_serializing_if = "Option::is_none")]
        debugger: Option<crate::debug::DebuggerToLoad>,
        role: Role,
        /// Begins the names of the files that this process writes into `spool`.
        owner: u64,
    },
    /// Make one more process; its control socket, standard output, standard error and life line are attached.
    Fork {
        /// Opened at once by the new process, if it serves; its socket is attached last.
        #[serde(skip_serializing_if = "Option::is_none")]
        lane: Option<u64>,
        /// The new process goes into a cell, whose process numbers and mounts are attached behind the others.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cell: bool,
        /// The new process says one byte on its control socket before anything else.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        announces: bool,
        /// As in `load`.
        owner: u64,
    },
    /// Take the exit status of a process that was forked and has ended.
    Reap {
        pid: i32,
    },
    Lane {
        lane: u64,
    },
    /// The caller has gone away.
    Cancel {
        id: String,
        /// What the function awaits is cancelled, too.
        interrupt: bool,
    },
    /// The body of the frame is the next piece of a request's body; at the `end` it is empty.
    Piece {
        id: String,
        end: bool,
    },
    /// The caller has taken so many pieces of the response.
    Room {
        id: String,
        count: usize,
    },
    Stacks,
    Settings {
        debug_logging: bool,
    },
    /// The time of the invocation in work is over: programs beside the worker are told, and then it exits.
    Expire,
    Stop,
}

/// What a process does once it has imported the app.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs invocations.
    Worker,
    /// Makes workers.
    Zygote,
}

/// What one function is called with.
#[derive(Debug)]
pub struct Call {
    pub id: InvocationId,
    pub function: ingle_types::ids::FunctionName,
    /// By parameter, the trigger's among them.
    pub inputs: Vec<(String, Datum)>,
    pub metadata: Vec<(String, Datum)>,
    pub trace: ingle_types::event::Trace,
    /// Which attempt this is; absent without a retry policy.
    pub retry: Option<Retry>,
    /// Takes the answer in pieces, if the function gives it so and the call is one for a lane.
    pub exchange: Option<ExchangeHandle>,
}

/// Which attempt of an invocation a call is.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Retries before this attempt: 0 for the first one.
    pub count: u32,
    /// Most retries that there can be; -1 for no end.
    pub max: i32,
    /// How the attempt before failed.
    pub previous: Option<Failure>,
}

impl Call {
    /// Through which the trigger's request is read, or the call answered, if that goes in pieces.
    pub fn exchange(&self) -> Option<ExchangeHandle> {
        let of_request = self.inputs.iter().find_map(|(_, datum)| match datum {
            Datum::Request(request) => request.exchange.clone(),
            _ => None,
        });
        of_request.or_else(|| self.exchange.clone())
    }

    /// Header and body pieces of the `invoke` frame.
    ///
    /// # Errors
    /// Never for real data; `serde_json`'s error if a value can't be written as JSON.
    pub fn encode(&self) -> Result<(Vec<u8>, Vec<Bytes>), serde_json::Error> {
        let mut body = Vec::with_capacity(self.inputs.len());
        for (_, datum) in &self.inputs {
            push_body(datum, &mut body);
        }
        let header = InvokeHeader {
            kind: "invoke",
            id: self.id.uuid().to_string(),
            function: self.function.as_str(),
            inputs: Inputs(&self.inputs),
            metadata: Metadata(&self.metadata),
            trace: [&self.trace.parent, &self.trace.state],
            retry: self.retry.as_ref().map(RetryHeader),
            pieces: self.exchange.is_some(),
        };
        let mut bytes = Vec::with_capacity(1024);
        serde_json::to_writer(&mut bytes, &header)?;
        Ok((bytes, body))
    }
}

#[derive(Serialize)]
struct InvokeHeader<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: String,
    function: &'a str,
    inputs: Inputs<'a>,
    metadata: Metadata<'a>,
    trace: [&'a str; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryHeader<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pieces: bool,
}

/// `[count, max]`, and behind the first attempt `{"kind","message","traceback"}` of the one before.
struct RetryHeader<'a>(&'a Retry);

impl Serialize for RetryHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        list.serialize_element(&self.0.count)?;
        list.serialize_element(&self.0.max)?;
        if let Some(failure) = &self.0.previous {
            list.serialize_element(&PreviousHeader {
                kind: &failure.kind,
                message: start_of(&failure.message),
                traceback: start_of(&failure.traceback),
            })?;
        }
        list.end()
    }
}

#[derive(Serialize)]
struct PreviousHeader<'a> {
    kind: &'a str,
    message: &'a str,
    traceback: &'a str,
}

/// As much of a text as has a place in a header.
fn start_of(text: &str) -> &str {
    &text[..text.floor_char_boundary(PREVIOUS_BYTES_MAX)]
}

struct Inputs<'a>(&'a [(String, Datum)]);

impl Serialize for Inputs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, datum) in self.0 {
            map.serialize_entry(name, &DatumHeader(datum))?;
        }
        map.end()
    }
}

/// Metadata stands in the header as `[kind, text]`: it is small, and the SDK decodes it lazily.
struct Metadata<'a>(&'a [(String, Datum)]);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, datum) in self.0 {
            match datum {
                Datum::Text(text) => map.serialize_entry(name, &["string", text])?,
                Datum::Json(text) => map.serialize_entry(name, &["json", text])?,
                // Numbers travel as JSON, as Azure's host sends them (facts 0.7).
                Datum::Int(number) => map.serialize_entry(name, &["json", &number.to_string()])?,
                Datum::Double(number) => map.serialize_entry(name, &["json", &number.to_string()])?,
                Datum::Nothing
                | Datum::Bytes(_)
                | Datum::Texts(_)
                | Datum::ManyBytes(_)
                | Datum::File(_)
                | Datum::Request(_)
                | Datum::Response(_) => {}
            }
        }
        map.end()
    }
}

// === From the worker ===

/// Any header from the worker. Unknown fields are ignored, unknown types are an error.
#[derive(Deserialize, Debug)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromWorker {
    Hello {
        version: u32,
        pid: u32,
        python: String,
        executable: String,
        /// Identity of the main thread, which runs the event loop.
        thread: u64,
    },
    /// The first frame of a lane.
    Lane {
        thread: u64,
    },
    Loaded(Box<Loaded>),
    Log(Log),
    Done(Done),
    /// Asks for the next piece of a request's body.
    /// An event is dealt to the programs beside the worker: its time begins.
    Begun {
        id: String,
    },
    Pull {
        id: String,
    },
    /// Status and headers of a response in pieces.
    Head {
        id: String,
        status: i64,
        headers: Vec<(String, String)>,
    },
    /// A piece of a response, in the frame's body.
    Chunk {
        id: String,
    },
    Stacks {
        stacks: BTreeMap<String, String>,
    },
    Exiting {
        id: Option<String>,
        status: i64,
    },
    /// The answer to `fork`: the number of the new process, or why there is none.
    Forked {
        pid: Option<i32>,
        problem: Option<String>,
        /// There are as many processes as may be; some may be about to end.
        #[serde(default)]
        full: bool,
    },
    /// The answer to `reap`: the status as `wait(2)` packs it; none if code of the app took it first.
    Reaped {
        pid: i32,
        status: Option<i32>,
    },
    /// A debugger listens in the process, on this port of the loopback address.
    Debugger {
        port: u16,
    },
}

impl FromWorker {
    /// What a header says. Most say how a call went: that is read without the copy of all members that the choice by `type` takes.
    ///
    /// # Errors
    /// It is no JSON, or not of this shape.
    pub fn read(header: &[u8]) -> Result<Self, serde_json::Error> {
        if header.starts_with(br#"{"type":"done","#) {
            return serde_json::from_slice(header).map(Self::Done);
        }
        serde_json::from_slice(header)
    }
}

/// What the worker found when it imported the app.
#[derive(Serialize, Deserialize, Debug, Clone, Default)]
pub struct Loaded {
    pub functions: Vec<DeclaredFunction>,
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Version of `azure-functions` in the app's environment.
    #[serde(default)]
    pub sdk: Option<String>,
    #[serde(default)]
    pub import_ms: f64,
    /// The slowest imports: module and milliseconds.
    #[serde(default)]
    pub modules_max: Vec<(String, f64)>,
    /// Why a zygote must not be forked, in words for a person; empty when it may.
    #[serde(default)]
    pub unsafe_to_fork: Vec<String>,
}

#[derive(Deserialize, Debug)]
pub struct Log {
    pub id: Option<String>,
    pub level: String,
    #[serde(default)]
    pub logger: String,
    pub message: String,
    /// The same in the form of the platform that the app was written for, if that has one.
    #[serde(default)]
    pub text: Option<String>,
}

#[derive(Deserialize, Debug)]
pub struct Done {
    pub id: String,
    pub ok: bool,
    #[serde(default)]
    outputs: serde_json::Map<String, Value>,
    #[serde(default)]
    pub error: Option<PythonError>,
    #[serde(default)]
    pub user_us: u64,
    #[serde(default)]
    pub cpu_us: u64,
    /// The function let itself be ended by the `cancel` that it was sent.
    #[serde(default)]
    pub cancelled: bool,
}

/// An exception of the user's code.
#[derive(Deserialize, Debug, Default)]
pub struct PythonError {
    pub kind: String,
    pub message: String,
    #[serde(default)]
    pub traceback: String,
    #[serde(default)]
    pub location: Option<String>,
    /// Of a runtime that is a program: why there is no answer.
    #[serde(default)]
    pub reason: ErrorReason,
    /// Of such a runtime: what it said, as it said it.
    #[serde(default)]
    pub body: Option<String>,
    /// Of such a runtime: how it ended.
    #[serde(default)]
    pub exit: Option<ExitHeader>,
}

/// Why a call was not answered.
#[derive(Deserialize, Debug, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ErrorReason {
    /// The code says so.
    #[default]
    Raised,
    TooLarge,
    /// The program has ended.
    Exited,
    /// The program can't be started.
    Unstartable,
    /// It has ended, or has said that it can't go on, before it was ready.
    Init,
    /// An extension has.
    Extension,
}

/// How a program ended: `{"status": 3}`, `{"signal": 9}`.
#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum ExitHeader {
    Status(i32),
    Signal(i32),
}

impl From<ExitHeader> for Exit {
    fn from(header: ExitHeader) -> Self {
        match header {
            ExitHeader::Status(status) => Self::Status(status),
            ExitHeader::Signal(signal) => Self::Signal(signal),
        }
    }
}

impl Done {
    /// The outputs, cut out of the frame's body without copying it. The path of a file is a name that is still to be
    /// checked.
    ///
    /// # Errors
    /// A sentence that says what does not fit: the worker's answer can't be trusted to be well-formed, because
    /// user code runs in the same process.
    pub fn outputs(&mut self, body: &Bytes) -> Result<Outputs, String> {
        let mut rest = body.clone();
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (name, value) in std::mem::take(&mut self.outputs) {
            let datum =
                read_datum(value, &mut rest).map_err(|problem| format!("output '{name}': {problem}"))?;
            outputs.push((name, datum));
        }
        Ok(Outputs(outputs))
    }
}

#[cfg(test)]
mod tests {
    use ingle_types::datum::{HttpRequest, HttpResponse};

    use super::*;
    use ingle_types::event::Trace;
    use ingle_types::ids::FunctionName;
    use proptest::prelude::*;

    fn call(inputs: Vec<(String, Datum)>) -> Call {
        Call {
            id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            function: FunctionName::new("hello"),
            inputs,
            metadata: vec![
                ("Id".to_owned(), Datum::Text("m1".to_owned())),
                ("DequeueCount".to_owned(), Datum::Int(2)),
            ],
            trace: Trace::default(),
            retry: None,
            exchange: None,
        }
    }

    #[test]
    fn an_invoke_header_reads_like_the_specification() {
        let request = HttpRequest {
            method: "POST".to_owned(),
            url: "http://h/api/x?a=1".to_owned(),
            headers: vec![("host".to_owned(), "h".to_owned())],
            query: vec![("a".to_owned(), "1".to_owned())],
            route_parameters: vec![],
            body: Bytes::from_static(b"12345").into(),
            exchange: None,
        };
        let inputs = vec![
            ("req".to_owned(), Datum::Request(Box::new(request))),
            ("text".to_owned(), Datum::Text("ü".to_owned())),
        ];
        let (header, body) = call(inputs).encode().unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(
            header,
            serde_json::json!({
                "type": "invoke", "id": "00000000-0000-4000-8000-000000000001", "function": "hello",
                "inputs": {
                    "req": ["http", {"method": "POST", "url": "http://h/api/x?a=1", "headers": {"host": "h"},
                                     "query": {"a": "1"}, "params": {}}, 5],
                    "text": ["string", null, 2],
                },
                "metadata": {"Id": ["string", "m1"], "DequeueCount": ["json", "2"]},
                "trace": ["", ""],
            })
        );
        assert_eq!(body.concat(), "12345ü".as_bytes());
    }

    #[test]
    fn a_retry_tells_of_the_attempt_before() {
        let header = |previous| {
            let mut call = call(Vec::new());
            call.retry = Some(Retry { count: 1, max: -1, previous });
            let (header, _) = call.encode().unwrap();
            serde_json::from_slice::<Value>(&header).unwrap()["retry"].clone()
        };
        assert_eq!(header(None), serde_json::json!([1, -1]));
        let mut failure =
            Failure::new(ingle_types::outcome::Blame::App, "E0301", "ValueError", "ü".repeat(20_000));
        failure.traceback = "File".to_owned();
        let told = header(Some(failure));
        assert_eq!(
            (&told[2]["kind"], &told[2]["traceback"]),
            (&Value::from("ValueError"), &Value::from("File"))
        );
        assert_eq!(told[2]["message"].as_str().map(str::len), Some(32 * 1024));
    }

    fn read(header: &str, body: &'static [u8]) -> Result<Outputs, String> {
        let FromWorker::Done(mut done) = serde_json::from_str(header).map_err(|error| error.to_string())?
        else {
            return Err("not done".to_owned());
        };
        done.outputs(&Bytes::from_static(body))
    }

    #[test]
    fn outputs_are_cut_from_the_body_in_order() {
        let outputs = read(
            r#"{"type":"done","id":"x","ok":true,"outputs":{"b":["collection_string",[1,2],3],"a":["http",{"status":201,"headers":[["x","y"]]},2]}}"#,
            b"1223x",
        );
        let response = HttpResponse {
            status: 201,
            headers: vec![("x".to_owned(), "y".to_owned())],
            body: Bytes::from_static(b"3x"),
        };
        assert_eq!(
            outputs.unwrap().0,
            vec![
                ("b".to_owned(), Datum::Texts(vec!["1".to_owned(), "22".to_owned()])),
                ("a".to_owned(), Datum::Response(Box::new(response))),
            ]
        );
    }

    proptest! {
        #[test]
        fn no_answer_of_a_worker_makes_the_server_panic(kind in "[a-z_]{0,20}", value in "\\PC{0,40}", size in any::<u32>()) {
            let value: Value = serde_json::from_str(&value).unwrap_or(Value::Null);
            let header = serde_json::json!({"type":"done","id":"x","ok":true,"outputs":{"a":[kind, value, size]}});
            let _outcome = read(&header.to_string(), b"abc");
        }
    }
}
