//! `host.json` (facts 6.1): every key of it is known by name, those that have an effect here are checked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ingle_types::problem::{Mend, Problem};
use ingle_types::spec::{CatchUp, HostConfig, MessageEncoding};

use crate::Error;
use crate::folder::{find, read_json};
use crate::json_place::{Kind, Node};
use crate::suggest::{correction, did_you_mean, nearest};

mod known;
mod overrides;
mod value;

use value::Reader;
pub(crate) use value::time_span;

const FILE: &str = "host.json";

/// The name of the setting that bounds request bodies, in bytes.
const BODY_LIMIT: &str = "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT";

pub(crate) struct Host {
    pub(crate) config: HostConfig,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<String>,
}

/// `settings` are app settings and process environment together; `AzureFunctionsJobHost__a__b` among them replaces
/// the value at `a.b`.
///
/// # Errors
/// The file is there, but the system refuses to read it.
pub(crate) fn read(root: &Path, settings: &BTreeMap<String, String>) -> Result<Host, Error> {
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let is_there = root.join(FILE).exists();
    let document = read_json(root, FILE, &mut problems)?;
    let mut tree = match document {
        Some(document) => {
            check_top(&document.root, &mut problems);
            document.root
        }
        None => {
            if !is_there {
                notes.push("there is no host.json: every default applies".to_owned());
            }
            Node { kind: Kind::Object(Vec::new()), line: 0, setting: None }
        }
    };
    report_unknown(&tree, "", &mut problems);
    overrides::apply(&mut tree, settings);
    let mut reader = Reader { root: &tree, problems };
    let mut config = HostConfig::default();
    read_general(&mut reader, &mut config);
    read_http(&mut reader, &mut config);
    read_queues(&mut reader, &mut config);
    read_blobs(&mut reader, &mut config);
    read_timers(&mut reader, &mut config);
    config.retry = reader.retry();
    let mut problems = reader.problems;
    if let Some(text) = find(settings, BODY_LIMIT) {
        match text.trim().parse() {
            Ok(bytes) => config.http.body_bytes_max = bytes,
            Err(_) => problems.push(
                Problem::error("E0110", format!("{BODY_LIMIT} is no number of bytes"))
                    .at(format!("app setting {BODY_LIMIT}"), None)
                    .fix("write a whole number, e.g. 104857600 for 100 MiB"),
            ),
        }
    }
    Ok(Host { config, problems, notes })
}

fn check_top(root: &Node, problems: &mut Vec<Problem>) {
    const FIX: &str = "write \"version\": \"2.0\"";
    if !matches!(root.kind, Kind::Object(_)) {
        let message = format!("host.json holds {} instead of an object", root.describe());
        let fix = "write { \"version\": \"2.0\" }";
        problems.push(Problem::error("E0110", message).at(FILE, Some(root.line)).fix(fix));
        return;
    }
    let Some(version) = root.get("version") else {
        let problem = Problem::error("E0105", "host.json does not say its version");
        let mend = Mend::AddMember { text: "\"version\": \"2.0\"".to_owned() };
        problems.push(problem.at(FILE, Some(root.line)).fix(FIX).mend(mend));
        return;
    };
    match &version.kind {
        Kind::Text(text) | Kind::Number(text) if text == "2.0" => {}
        Kind::Text(text) | Kind::Number(text) => {
            let problem =
                Problem::error("E0105", format!("the version `{text}` of host.json is not known; 2.0 is"));
            problems.push(problem.at(FILE, Some(version.line)).fix(FIX));
        }
        _ => {
            let problem =
                Problem::error("E0105", format!("the version of host.json is {}", version.describe()));
            problems.push(problem.at(FILE, Some(version.line)).fix(FIX));
        }
    }
}

fn report_unknown(node: &Node, path: &str, problems: &mut Vec<Problem>) {
    for member in node.members() {
        let full = if path.is_empty() { member.key.clone() } else { format!("{path}.{}", member.key) };
        match known::look_up(&full) {
            known::Found::Leaf => {}
            known::Found::Group => report_unknown(&member.value, &full, problems),
            known::Found::Nothing => {
                let near = nearest(&member.key, known::names_below(path));
                let message = format!("`{full}` is not known and has no effect{}", did_you_mean(near));
                let mut problem = Problem::warning("E0111", message).at(FILE, Some(member.line));
                // Only if that key is not there as well.
                problem.mend =
                    near.filter(|name| node.get(name).is_none()).map(|name| rename(&member.key, name));
                problems.push(problem.fix(correction(near)));
            }
        }
    }
}

pub(crate) fn rename(from: &str, to: &str) -> Mend {
    Mend::RenameKey { from: from.to_owned(), to: to.to_owned() }
}

fn read_general(reader: &mut Reader<'_>, config: &mut HostConfig) {
    if let Some(timeout) = reader.timeout(&["functionTimeout"]) {
        config.function_timeout = timeout;
    }
    if let Some(names) = reader.texts(&["functions"]) {
        config.functions = names;
    }
    config.watch_files = reader.texts(&["watchFiles"]).unwrap_or_default();
    config.watch_directories = reader.texts(&["watchDirectories"]).unwrap_or_default();
    config.log_levels = reader.log_levels(&["logging", "logLevel"]);
    let bundle = |key| reader.root.at(&["extensionBundle", key]).and_then(Node::as_text);
    config.extension_bundle = bundle("id").map(|id| match bundle("version") {
        Some(version) => format!("{id} {version}"),
        None => id.to_owned(),
    });
}

fn read_http(reader: &mut Reader<'_>, config: &mut HostConfig) {
    let http = |key| ["extensions", "http", key];
    if let Some(prefix) = reader.route_prefix(&http("routePrefix")) {
        config.http.route_prefix = prefix;
    }
    if let Some(count) = reader.count_or_unlimited(&http("maxOutstandingRequests")) {
        config.http.outstanding_requests_max = count;
    }
    if let Some(count) = reader.count_or_unlimited(&http("maxConcurrentRequests")) {
        config.http.concurrent_requests_max = count;
    }
    config.http.custom_headers = reader.headers(&http("customHeaders"));
}

/// A key of ours; Azure's host passes over it.
fn read_timers(reader: &mut Reader<'_>, config: &mut HostConfig) {
    if let Some(name) = reader.one_of(&["extensions", "timers", "catchUp"], &["none", "one", "all"]) {
        config.catch_up = match name {
            "none" => CatchUp::None,
            "all" => CatchUp::All,
            _ => CatchUp::One,
        };
    }
}

fn read_blobs(reader: &mut Reader<'_>, config: &mut HostConfig) {
    let key = |key| ["extensions", "blobs", key];
    if let Some(count) = reader.count(&key("poisonBlobThreshold"), 1, 1_000_000) {
        config.blobs.poison_threshold = count;
    }
    config.blobs.parallelism_max = reader.count(&key("maxDegreeOfParallelism"), 1, 1_000);
}

fn read_queues(reader: &mut Reader<'_>, config: &mut HostConfig) {
    let key = |key| ["extensions", "queues", key];
    let queues = &mut config.queues;
    if let Some(count) = reader.count(&key("batchSize"), 1, 32) {
        queues.batch_size = count;
        queues.new_batch_threshold = count / 2;
    }
    if let Some(count) = reader.count(&key("newBatchThreshold"), 0, 10_000) {
        queues.new_batch_threshold = count;
    }
    if let Some(count) = reader.count(&key("maxDequeueCount"), 1, 1_000_000) {
        queues.max_dequeue_count = count;
    }
    if let Some(duration) = reader.duration(&key("visibilityTimeout"), Duration::ZERO) {
        queues.visibility_timeout = duration;
    }
    if let Some(duration) = reader.duration(&key("maxPollingInterval"), Duration::from_millis(100)) {
        queues.max_polling_interval = Some(duration);
    }
    if let Some(name) = reader.one_of(&key("messageEncoding"), &["base64", "none"]) {
        queues.message_encoding =
            if name == "none" { MessageEncoding::None } else { MessageEncoding::Base64 };
    }
}
