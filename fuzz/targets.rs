//! What is done with arbitrary bytes, one function for each parser that reads what others wrote.
//!
//! Two drivers share this file: libFuzzer (`fuzz_targets/`) and a short walk on the stable compiler
//! (`crates/testkit/tests/fuzz_smoke.rs`). A target panics when a promise is broken. It answers whether the parser
//! accepted the bytes, so that a driver can tell a walk that reaches something from one that is always turned away.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ingle_apps::funcignore::FuncIgnore;
use ingle_apps::project::{self, Project, ProjectOptions};
use ingle_apps::{AppFolder, ReadOptions, json_place};
use ingle_gateway::request;
use ingle_gateway::response::{self, respond};
use ingle_gateway::route::path::RequestPath;
use ingle_gateway::route::template::Template as RouteTemplate;
use ingle_gateway::route::{Match, RouteEntry, Router};
use ingle_gateway::site::Site;
use ingle_store::query::Query;
use ingle_types::datum::{Datum, HttpRequest, HttpResponse};
use ingle_types::expression::{BindingData, Template, fill_settings};
use ingle_types::ids::FunctionName;
use ingle_types::problem::{Problem, Severity};
use ingle_types::schedule::{Schedule, TimeZone};
use ingle_worker::wire::frame::{Frame, FrameReader};
use ingle_worker::wire::message::FromWorker;
use serde_json::Value;
use tokio::io::AsyncReadExt;

/// Does something with the bytes; true if they were accepted.
pub(crate) type Target = fn(&[u8]) -> bool;

/// Every target with the name of its corpus and of its libFuzzer program.
pub(crate) const TARGETS: [(&str, Target); 16] = [
    ("route", route),
    ("response", response),
    ("request", request),
    ("expression", expression),
    ("settings_fill", settings_fill),
    ("json_place", json_place),
    ("host_json", host_json),
    ("local_settings", local_settings),
    ("function_json", function_json),
    ("funcignore", funcignore),
    ("frame", frame),
    ("message", message),
    ("query", query),
    ("template", template),
    ("serverless", serverless),
    ("aws_schedule", aws_schedule),
];

/// The text before the first line end, and what follows it.
fn two(data: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(data).into_owned();
    match text.split_once('\n') {
        Some((first, rest)) => (first.to_owned(), rest.to_owned()),
        None => (text, String::new()),
    }
}

/// A route template, and on the next line the path of a request.
pub(crate) fn route(data: &[u8]) -> bool {
    let (template, raw) = two(data);
    let template = RouteTemplate::parse(&template);
    let Ok(path) = RequestPath::parse(&raw) else { return false };
    let is_clean =
        |segment: &str| segment != ".." && !segment.contains(|symbol: char| symbol.is_ascii_control());
    assert!(path.segments().all(is_clean), "{raw:?}");
    let Ok(template) = template else { return false };
    let names: Vec<String> = template.parameter_names().map(str::to_owned).collect();
    let entry = RouteEntry { function: FunctionName::new("f"), template, methods: vec!["GET".to_owned()] };
    let Ok(router) = Router::new("", vec![entry]) else { panic!("an empty prefix goes with every route") };
    match (router.find("GET", &path), router.find("PUT", &path)) {
        (Match::Found { parameters, .. }, Match::WrongMethod { allow }) => {
            assert!(parameters.iter().all(|(name, _)| names.contains(name)), "{parameters:?}");
            assert_eq!(allow, ["GET"]);
            true
        }
        (Match::NotFound, Match::NotFound) => false,
        found => panic!("the method changed whether the path matches: {found:?}"),
    }
}

/// What a function returned. A first line of a number makes it a response with that status, header lines and, after an
/// empty line, a body; everything else is a returned text.
pub(crate) fn response(data: &[u8]) -> bool {
    let (first, rest) = two(data);
    let output = match first.trim().parse() {
        Ok(status) => {
            let (head, body) = rest.split_once("\n\n").unwrap_or((&rest, ""));
            let header = |line: &str| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name.to_owned(), value.to_owned())
            };
            let headers = head.split('\n').filter(|line| !line.is_empty()).map(header).collect();
            Datum::Response(Box::new(HttpResponse { status, headers, body: Bytes::from(body.to_owned()) }))
        }
        Err(_) => Datum::Text(String::from_utf8_lossy(data).into_owned()),
    };
    match respond(&FunctionName::new("f"), Some(output)) {
        Ok(reply) => {
            let status = reply.response.status().as_u16();
            assert!((200..600).contains(&status), "{status}");
            let is_plain = |value: &[u8]| !value.iter().any(|byte| b"\r\n\0".contains(byte));
            assert!(reply.response.headers().values().all(|value| is_plain(value.as_bytes())));
            true
        }
        Err(error) => {
            assert!(!error.fault.to_string().contains(['\r', '\n', '\0']), "{error:?}");
            false
        }
    }
}

/// A query string, and on the next line a body. Nothing is refused here, so a body with properties counts as accepted.
pub(crate) fn request(data: &[u8]) -> bool {
    let (query, body) = two(data);
    let request = HttpRequest {
        query: request::query(&query),
        body: Bytes::from(body).into(),
        ..HttpRequest::default()
    };
    let mut keys: Vec<&String> = request.query.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), request.query.len(), "a key is there twice");
    let data = request::binding_data(&request);
    assert!(data.iter().any(|(name, _)| name == "Query"), "{data:?}");
    data.len() > request::metadata(&request).len()
}

/// A binding expression, and on the next line the payload of an event.
pub(crate) fn expression(data: &[u8]) -> bool {
    let (text, payload) = two(data);
    let template = match Template::parse(&text) {
        Ok(template) => template,
        Err(error) => {
            assert!(error.position < text.chars().count(), "{error:?}");
            return false;
        }
    };
    let written = template.to_string();
    assert_eq!(Template::parse(&written).as_ref(), Ok(&template), "written as {written:?}");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(data.len() as u64 * 86_399);
    let payload = Datum::Text(payload);
    let scope = BindingData::new("f", &[], &payload, now);
    match template.resolve(&scope) {
        Ok(resolved) => {
            assert!(template.as_literal().is_none_or(|literal| literal == resolved), "{resolved:?}");
            true
        }
        Err(error) => {
            assert!(error.position < written.chars().count(), "{error:?}");
            false
        }
    }
}

/// A property with `%NAME%` in it. Names of an odd number of bytes are not set.
pub(crate) fn settings_fill(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let lookup = |name: &str| name.len().is_multiple_of(2).then(|| format!("<{name}>"));
    match fill_settings(&text, lookup) {
        Ok(filled) => {
            assert!(text.contains('%') || filled == text, "{filled:?}");
            true
        }
        Err(missing) => {
            assert!(
                !missing.0.len().is_multiple_of(2) && text.contains(&format!("%{}%", missing.0)),
                "{missing:?}"
            );
            false
        }
    }
}

/// JSON with places: it accepts all that serde accepts, with the same meaning; what it accepts beyond that has a note.
pub(crate) fn json_place(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let theirs = serde_json::from_str::<Value>(&text);
    match json_place::read(&text) {
        Ok(document) => {
            let lines = u32::try_from(text.split('\n').count()).unwrap_or(u32::MAX);
            assert!(document.notes.iter().all(|note| (1..=lines).contains(&note.line)));
            match theirs {
                Ok(theirs) => assert_eq!(document.root.to_value(), theirs),
                // serde stops one level earlier.
                Err(error) => {
                    assert!(!document.notes.is_empty() || error.to_string().contains("recursion"), "{error}")
                }
            }
            true
        }
        Err(error) => {
            assert!(theirs.is_err(), "serde reads it, we do not: {error}");
            assert!(error.line >= 1 && error.column >= 1);
            false
        }
    }
}

/// `host.json`, read from disk as a start does.
pub(crate) fn host_json(data: &[u8]) -> bool {
    let Some(folder) = read_folder(&[("host.json", data)], "host") else { return false };
    let host = &folder.host;
    assert!((1..=32).contains(&host.queues.batch_size) && host.queues.max_dequeue_count >= 1);
    assert!(host.function_timeout.is_none_or(|limit| limit >= Duration::from_secs(1)));
    let prefix = &host.http.route_prefix;
    assert!(Router::new(prefix, Vec::new()).is_ok(), "the prefix {prefix:?} was accepted");
    for (name, value) in &host.http.custom_headers {
        assert!(response::header(name, value).is_ok(), "the header {name:?} was accepted");
    }
    check_places(&folder.problems, "host.json", data);
    !has_error(&folder.problems)
}

/// `local.settings.json`, read from disk as a start does.
pub(crate) fn local_settings(data: &[u8]) -> bool {
    let Some(folder) = read_folder(&[("local.settings.json", data)], "local") else { return false };
    assert!(folder.port != Some(0));
    assert!(folder.host.cors.is_none_or(|cors| !cors.origins.is_empty()));
    check_places(&folder.problems, "local.settings.json", data);
    !folder.settings.is_empty()
}

/// One `function.json`, from the file to the table of routes.
pub(crate) fn function_json(data: &[u8]) -> bool {
    let files: [(&str, &[u8]); 3] =
        [("host.json", br#"{"version": "2.0"}"#), ("f/__init__.py", b""), ("f/function.json", data)];
    let Some(folder) = read_folder(&files, "function") else { return false };
    let app = ingle_apps::resolve(&folder, folder.declared.clone(), Vec::new());
    check_places(&app.problems, "f/function.json", data);
    // Nothing may be wrong without a word about it.
    assert!(app.functions.len() == 1 || has_error(&app.problems), "{:?}", app.problems);
    let Ok((_, problems)) = Site::new(&app) else { panic!("the usual prefix goes with every route") };
    app.functions.len() == 1 && problems.is_empty()
}

/// Patterns of `.funcignore`; the last line is a path.
pub(crate) fn funcignore(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let (patterns, path) = text.rsplit_once('\n').unwrap_or(("", &text));
    let ignored = FuncIgnore::parse(patterns).matches(path);
    assert_eq!(
        FuncIgnore::parse(patterns).matches(&format!("/{path}")),
        ignored,
        "a slash in front changed it"
    );
    let spaced = format!("# a comment\n\n{patterns}\n");
    assert_eq!(FuncIgnore::parse(&spaced).matches(path), ignored, "a comment changed it");
    ignored
}

/// Frames: the first byte says where the stream is cut in two, which must make no difference.
pub(crate) fn frame(data: &[u8]) -> bool {
    let Some((cut, stream)) = data.split_first() else { return false };
    let cut = usize::from(*cut).min(stream.len());
    let (whole, ended_well) = frames(stream, stream.len());
    assert_eq!(frames(stream, cut), (whole.clone(), ended_well), "cut at {cut}");
    let read: usize = whole.iter().map(|frame| 8 + frame.header.len() + frame.body.len()).sum();
    assert!(read <= stream.len() && (!ended_well || read == stream.len()), "{read} of {}", stream.len());
    !whole.is_empty()
}

/// The frames of a stream, and whether it ended between two of them.
fn frames(stream: &[u8], cut: usize) -> (Vec<Frame>, bool) {
    let (first, second) = stream.split_at(cut);
    let mut stream = first.chain(second);
    let mut reader = FrameReader::new(64 * 1024);
    let mut found = Vec::new();
    loop {
        match at_once(reader.read(&mut stream)) {
            Ok(Some(frame)) => found.push(frame),
            Ok(None) => return (found, true),
            Err(_) => return (found, false),
        }
    }
}

/// The output of a future that has nothing to wait for.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("reading from memory waited"),
    }
}

/// A header from a worker, a NUL, and the frame's body.
pub(crate) fn message(data: &[u8]) -> bool {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let header = parts.next().unwrap_or_default();
    let body = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    match serde_json::from_slice(header) {
        Ok(FromWorker::Done(mut done)) => {
            let Ok(outputs) = done.outputs(&body) else { return false };
            let size = |datum: &Datum| match datum {
                Datum::Text(text) | Datum::Json(text) => text.len(),
                Datum::Bytes(bytes) => bytes.len(),
                Datum::Texts(texts) => texts.iter().map(String::len).sum(),
                Datum::ManyBytes(pieces) => pieces.iter().map(Bytes::len).sum(),
                Datum::Response(response) => response.body.len(),
                Datum::Nothing | Datum::Int(_) | Datum::Double(_) | Datum::Request(_) | Datum::File(_) => 0,
            };
            let taken: usize = outputs.0.iter().map(|(_, datum)| size(datum)).sum();
            assert!(taken <= body.len(), "{taken} bytes out of {}", body.len());
            true
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// A query, run over a few documents.
pub(crate) fn query(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let query = match Query::parse(&text) {
        Ok(query) => query,
        Err(ingle_store::Error::Query { position, .. }) => {
            assert!((1..=text.chars().count() + 1).contains(&position), "{position}");
            return false;
        }
        Err(error) => panic!("{error}"),
    };
    let parameters = ["a", "b"].map(|name| (name.to_owned(), Value::from(2)));
    let Ok(mut run) = query.start(&parameters) else { return false };
    let documents = documents();
    documents.iter().for_each(|document| run.visit(document));
    let rows = run.finish();
    // One row beyond the documents: an aggregate answers over nothing, too.
    assert!(rows.len() <= documents.len() + 1, "{} rows", rows.len());
    true
}

/// A `template.yaml`, read from disk.
pub(crate) fn template(data: &[u8]) -> bool {
    project("template.yaml", data).is_some_and(|project| !project.functions.is_empty())
}

/// A `serverless.yml`, read from disk, with a file that it may include.
pub(crate) fn serverless(data: &[u8]) -> bool {
    project("serverless.yml", data).is_some_and(|project| !project.functions.is_empty())
}

/// The project of a folder with this file, if it has one.
fn project(name: &str, data: &[u8]) -> Option<Project> {
    let root = scratch().join(name);
    let files: [(&str, &[u8]); 3] =
        [(name, data), ("more.yml", b"a: ${self:service}\nb: {c: 1}\n"), ("src/app.py", b"")];
    write_files(&root, &files);
    let lines =
        u32::try_from(data.iter().filter(|byte| b"\r\n".contains(byte)).count() + 2).unwrap_or(u32::MAX);
    let project = match project::read(&root, &ProjectOptions::default()) {
        Ok(project) => project?,
        Err(ingle_apps::Error::Project { line, what, .. }) => {
            assert!((1..=lines).contains(&line) && !what.is_empty(), "{line}: {what}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    for function in &project.functions {
        assert!((1..=lines).contains(&function.line), "{function:?}");
        assert!(function.code.is_relative() && !function.handler.contains(".."), "{function:?}");
    }
    assert!(
        project.ignored.iter().all(|ignored| (1..=lines).contains(&ignored.line)),
        "{:?}",
        project.ignored
    );
    for problem in &project.problems {
        assert!(
            problem.line.is_some_and(|line| (1..=lines).contains(&line)) && problem.fix.is_some(),
            "{problem:?}"
        );
    }
    Some(project)
}

/// A schedule expression of AWS: each occurrence is later than the one before, and what was read is written as it was.
pub(crate) fn aws_schedule(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let schedule = match Schedule::parse_aws(&text) {
        Ok(schedule) => schedule,
        Err(error) => {
            assert!(
                (1..=text.chars().count() + 1).contains(&error.position) && !error.fix.is_empty(),
                "{error:?}"
            );
            return false;
        }
    };
    assert_eq!(Schedule::parse_aws(&schedule.to_string()).as_ref(), Ok(&schedule));
    let mut time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    for _ in 0..3 {
        let Some(next) = schedule.next_after(time, TimeZone::UTC) else { break };
        assert!(next > time, "{schedule}");
        time = next;
    }
    true
}

fn documents() -> &'static [Value] {
    static DOCUMENTS: OnceLock<Vec<Value>> = OnceLock::new();
    DOCUMENTS.get_or_init(|| {
        let texts = [
            r#"{"id": "1", "a": 1, "b": {"c": [1, 2, {"d": "é"}]}, "n": null}"#,
            r#"{"id": "2", "a": "1", "b": [], "t": true}"#,
            r#"{"id": "3", "a": -1.5e300, "b": {"c": "x"}}"#,
            r#"{"id": "4", "a": 9007199254740993}"#,
        ];
        texts.iter().filter_map(|text| serde_json::from_str(text).ok()).collect()
    })
}

/// Writes an app of these files, and reads it.
fn read_folder(files: &[(&str, &[u8])], kind: &str) -> Option<AppFolder> {
    let root = scratch().join(kind);
    let is_v1 = files.iter().any(|(name, _)| name.ends_with("function.json"));
    let script: &[(&str, &[u8])] = if is_v1 { &[] } else { &[("function_app.py", b"")] };
    write_files(&root, files);
    write_files(&root, script);
    ingle_apps::read(&root, &ReadOptions::default()).ok()
}

fn write_files(root: &Path, files: &[(&str, &[u8])]) {
    for (name, content) in files {
        let path = root.join(name);
        let written = path
            .parent()
            .map(std::fs::create_dir_all)
            .transpose()
            .and_then(|_| std::fs::write(path, content));
        assert!(written.is_ok(), "the scratch folder can't be written: {written:?}");
    }
}

/// A folder for each thread, in memory where the system has such a place, as each input is a file.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let thread = format!("{:?}", std::thread::current().id());
    let number: String = thread.chars().filter(char::is_ascii_digit).collect();
    parent.join(format!("ingle-fuzz-{}-{number}", std::process::id()))
}

/// Removes what the targets wrote in this thread. Called by drivers that come to an end.
pub(crate) fn clean() {
    std::fs::remove_dir_all(scratch()).ok();
}

fn has_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}

/// A problem that names a line of the file names one that is there.
fn check_places(problems: &[Problem], file: &str, data: &[u8]) {
    let lines = u32::try_from(data.split(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX);
    for problem in problems.iter().filter(|problem| problem.file.as_deref() == Some(file)) {
        assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem:?}");
        assert!(!problem.message.is_empty() && problem.code.len() == 5, "{problem:?}");
    }
}
