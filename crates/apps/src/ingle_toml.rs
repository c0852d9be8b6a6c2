//! `ingle.toml`: what an app can say to Ingle and no dialect has a word for. Without it everything has its default.
//!
//! ```toml
//! [workers]
//! plan = "consumption"     # or "premium", "dedicated": presets of what follows
//! min = 0                  # kept without work
//! max = 4
//! spare = 1                # wait beside those in use, while there is work or was some lately
//! prewarmed = 0            # wait beside those in use, always
//! concurrency = 16         # invocations at once in one worker
//! idle_timeout = "5m"      # how long a worker without work is kept; "auto": as long as the gaps between events are
//! init_timeout = "2m"      # longest time for importing the app
//! fork = "after-import"    # or "before-import", "never"
//! recycle_after = 100000   # invocations
//! recycle_memory = "512MB"
//! warm_up = "Prepare"      # runs in each worker that waits for work
//!
//! [[workers.warm]]         # in this part of the day so many workers are kept
//! from = "07:50"
//! to = "09:00"
//! days = "mon-fri"
//! time_zone = "Europe/Berlin"
//! workers = 2
//!
//! [admission]
//! waiting_max = 10000      # invocations of one function that may wait
//! wait_max = "30s"         # how long a request may wait
//!
//! [loops]
//! max_hops = 16            # functions that an event may pass through; 0: any number
//!
//! [http]
//! on_disconnect = "cancel" # or "finish": what becomes of an invocation whose client has gone away
//!
//! [sandbox]
//! isolation = "default"    # or "strict", "gvisor", "off"
//! egress = ["db.example.com:5432"] # what functions may connect to; or "all", "none"; all that is public if absent
//! memory = "512MB"         # of one worker
//! cpu = 0.5                # cores of one worker, or "memory"
//! processes = 1024         # and threads, of one worker
//! open_files = 1024        # of one process
//! temporary = "512MB"      # size of /tmp
//! log = "10MB"             # of one invocation
//! response = "100MB"
//! outputs = "10GB"         # large outputs on disk, of all invocations in work
//! read = ["/srv/models"]   # what functions see of the machine besides the app
//! write = ["/srv/uploads"]
//! environment = ["DATABASE_URL"] # variables of the server's environment that functions see
//!
//! [lambda]                 # of a handler for AWS Lambda
//! handler = "app.handler"  # module.function
//! runtime = "awslambdaric" # or "provided", "provided.al2", "provided.al2023": a program instead of Ingle's worker
//! invoke_mode = "RESPONSE_STREAM" # or "BUFFERED": how its URL answers
//! timeout = "30s"          # longest time of one event
//! log_format = "json"      # or "text": how its log looks
//! log_level = "debug"      # least level of what its logging says: trace, debug, info, warn, error, fatal
//!
//! [function]               # which one serves, of the Functions Framework
//! target = "hello"
//! source = "main.py"
//! signature = "http"       # or "cloudevent", "event", "typed": of a function without a decorator
//!
//! [openwhisk]              # an action
//! file = "__main__.py"
//! main = "main"
//! raw = false              # query and body come as they are
//! exec = false             # the file is a program: JSON on its input, the result on its last line
//!
//! [functions.Report]
//! concurrency = 2          # its invocations at once
//! on_disconnect = "finish"
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use ingle_types::problem::Problem;
use ingle_types::spec::{
    AdmissionOptions, Fork, IdleTimeout, LambdaOptions, OnDisconnect, SandboxOptions, ScalePlan, WarmUp,
    WorkerOptions,
};
use serde::Deserialize;
use toml::Spanned;

use crate::Error;
use sandbox::Sandbox;
pub(crate) use targets::Targets;
pub(crate) use warm::DefaultZone;
use warm::Warm;

mod sandbox;
mod targets;
mod warm;

const FILE: &str = "ingle.toml";
const LAMBDA_LEVELS: &str = "\"trace\", \"debug\", \"info\", \"warn\", \"error\" or \"fatal\"";
const LAMBDA_RUNTIMES: &str =
    "\"awslambdaric\", \"provided\", \"provided.al2\" or \"provided.al2023\", or leave it out";
const WORKERS_MAX: usize = 1000;
const WAITING_MAX: usize = 1_000_000;

/// What was read, and what is wrong with it; a wrong value leaves its default.
#[derive(Debug, Default)]
pub(crate) struct IngleToml {
    pub(crate) workers: WorkerOptions,
    pub(crate) admission: AdmissionOptions,
    pub(crate) sandbox: SandboxOptions,
    pub(crate) lambda: LambdaOptions,
    pub(crate) targets: Targets,
    pub(crate) problems: Vec<Problem>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    workers: Workers,
    #[serde(default)]
    admission: Admission,
    #[serde(default)]
    loops: Loops,
    #[serde(default)]
    http: Http,
    #[serde(default)]
    sandbox: Sandbox,
    #[serde(default)]
    lambda: Lambda,
    function: Option<targets::Function>,
    openwhisk: Option<targets::Action>,
    #[serde(default)]
    functions: BTreeMap<String, OneFunction>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Lambda {
    handler: Option<Spanned<String>>,
    runtime: Option<Spanned<String>>,
    invoke_mode: Option<Spanned<String>>,
    timeout: Option<Spanned<String>>,
    log_format: Option<Spanned<String>>,
    log_level: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Workers {
    plan: Option<Spanned<String>>,
    min: Option<Spanned<i64>>,
    max: Option<Spanned<i64>>,
    spare: Option<Spanned<i64>>,
    prewarmed: Option<Spanned<i64>>,
    concurrency: Option<Spanned<i64>>,
    idle_timeout: Option<Spanned<String>>,
    init_timeout: Option<Spanned<String>>,
    fork: Option<Spanned<String>>,
    recycle_after: Option<Spanned<i64>>,
    recycle_memory: Option<Spanned<String>>,
    warm_up: Option<Spanned<String>>,
    #[serde(default)]
    warm: Vec<Spanned<Warm>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Admission {
    waiting_max: Option<Spanned<i64>>,
    wait_max: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Loops {
    max_hops: Option<Spanned<i64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Http {
    on_disconnect: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct OneFunction {
    concurrency: Option<Spanned<i64>>,
    on_disconnect: Option<Spanned<String>>,
}

/// Reads the file of a folder, if there is one. `default_zone`: of times that name none.
///
/// # Errors
/// It can't be read from the disk.
pub(crate) fn read(root: &Path, default_zone: &DefaultZone) -> Result<IngleToml, Error> {
    let Some(bytes) = crate::folder::read_bytes(&root.join(FILE))? else { return Ok(IngleToml::default()) };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(parse(&text, default_zone)),
        Err(_) => {
            let problem = Problem::error("E0114", "ingle.toml is not UTF-8").at(FILE, None);
            Ok(IngleToml { problems: vec![problem.fix("save the file as UTF-8")], ..IngleToml::default() })
        }
    }
}

/// The page about the table in which a line is.
fn page_of(text: &str, line: Option<u32>) -> &'static str {
    let until = line.map_or(usize::MAX, |line| line as usize);
    let tables = text.lines().take(until).filter_map(|line| line.trim().strip_prefix('['));
    match tables.last().map(|table| table.trim_start_matches('[').split([']', '.']).next()) {
        Some(Some("sandbox")) => "docs/security.md",
        Some(Some("lambda")) => "docs/lambda.md",
        Some(Some("function" | "openwhisk")) => "docs/dialects.md",
        _ => "docs/scaling.md",
    }
}

/// Reads the text of the file.
pub(crate) fn parse(text: &str, default_zone: &DefaultZone) -> IngleToml {
    let document: Document = match toml::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            let line = error.span().map(|span| line_of(text, span.start));
            let problem = Problem::error("E0114", format!("ingle.toml can't be read: {}", error.message()));
            let fix = format!("see {} for what ingle.toml may hold", page_of(text, line));
            return IngleToml { problems: vec![problem.at(FILE, line).fix(fix)], ..IngleToml::default() };
        }
    };
    let Document { workers, admission, loops, http, sandbox, lambda, function, openwhisk, functions } =
        document;
    let mut reader = Reader { text, table: "workers".to_owned(), problems: Vec::new() };
    let workers = reader.workers(workers, default_zone);
    let mut admission = reader.admission(admission, loops);
    reader.requests(http, &mut admission);
    reader.functions(functions, &mut admission);
    let sandbox = reader.sandbox(sandbox);
    let lambda = reader.lambda(lambda);
    let targets = reader.targets(function, openwhisk);
    IngleToml { workers, admission, sandbox, lambda, targets, problems: reader.problems }
}

struct Reader<'a> {
    text: &'a str,
    /// The one that is being read.
    table: String,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn workers(&mut self, workers: Workers, default_zone: &DefaultZone) -> WorkerOptions {
        let plans = [
            ("consumption", ScalePlan::Consumption),
            ("premium", ScalePlan::Premium),
            ("dedicated", ScalePlan::Dedicated),
        ];
        let forks = [
            ("after-import", Fork::AfterImport),
            ("before-import", Fork::BeforeImport),
            ("never", Fork::Never),
        ];
        let max_place = workers.max.as_ref().map(|max| max.span().start);
        let mut options = WorkerOptions {
            plan: self.one_of("plan", workers.plan, &plans),
            min: self.count("min", workers.min, 0),
            max: self.count("max", workers.max, 1),
            spare: self.count("spare", workers.spare, 0),
            prewarmed: self.count("prewarmed", workers.prewarmed, 0),
            concurrency: self.count("concurrency", workers.concurrency, 1),
            init_timeout: self.converted(
                "init_timeout",
                workers.init_timeout,
                duration,
                "\"30s\", \"5m\" or \"1h\"",
            ),
            idle_timeout: self.converted(
                "idle_timeout",
                workers.idle_timeout,
                idle_timeout,
                "\"30s\", \"5m\", \"1h\" or \"auto\"",
            ),
            fork: self.one_of("fork", workers.fork, &forks).unwrap_or_default(),
            recycle_after: self
                .count("recycle_after", workers.recycle_after, 1)
                .and_then(|count| u64::try_from(count).ok()),
            recycle_memory: self.converted(
                "recycle_memory",
                workers.recycle_memory,
                memory_size,
                "\"512MB\" or \"1GB\"",
            ),
            warm_up: workers.warm_up.map(|function| WarmUp {
                line: line_of(self.text, function.span().start),
                function: function.into_inner(),
            }),
            warm: self.warm(workers.warm, default_zone),
        };
        if let (Some(min), Some(max)) = (options.min, options.max)
            && min > max
        {
            self.wrong(
                "max",
                max_place.unwrap_or(0),
                &format!("{max}, less than min = {min}"),
                "a number not below min",
            );
            options.max = None;
        }
        options
    }

    fn admission(&mut self, admission: Admission, loops: Loops) -> AdmissionOptions {
        "admission".clone_into(&mut self.table);
        let mut options = AdmissionOptions {
            waiting_max: self.count("waiting_max", admission.waiting_max, 0),
            wait_max: self.converted("wait_max", admission.wait_max, duration, "\"5s\", \"30s\" or \"1m\""),
            ..AdmissionOptions::default()
        };
        "loops".clone_into(&mut self.table);
        options.hops_max =
            self.count("max_hops", loops.max_hops, 0).and_then(|count| u32::try_from(count).ok());
        options
    }

    fn requests(&mut self, http: Http, options: &mut AdmissionOptions) {
        "http".clone_into(&mut self.table);
        options.departures.of_any = self.on_disconnect(http.on_disconnect).unwrap_or_default();
    }

    fn lambda(&mut self, lambda: Lambda) -> LambdaOptions {
        "lambda".clone_into(&mut self.table);
        LambdaOptions {
            handler: lambda.handler.map(Spanned::into_inner),
            runtime: self.converted("runtime", lambda.runtime, parsed, LAMBDA_RUNTIMES).unwrap_or_default(),
            invoke_mode: self
                .converted("invoke_mode", lambda.invoke_mode, parsed, "\"BUFFERED\" or \"RESPONSE_STREAM\"")
                .unwrap_or_default(),
            timeout: self.converted("timeout", lambda.timeout, duration, "\"3s\", \"30s\" or \"15m\""),
            log_format: self.converted("log_format", lambda.log_format, parsed, "\"text\" or \"json\""),
            log_level: self.converted("log_level", lambda.log_level, parsed, LAMBDA_LEVELS),
            ..LambdaOptions::default()
        }
    }

    fn functions(&mut self, functions: BTreeMap<String, OneFunction>, options: &mut AdmissionOptions) {
        for (name, function) in functions {
            self.table = format!("functions.{name}");
            let name = name.to_lowercase();
            let concurrency = self.count("concurrency", function.concurrency, 1);
            options.concurrency.extend(concurrency.map(|count| (name.clone(), count)));
            let on_disconnect = self.on_disconnect(function.on_disconnect);
            options.departures.of_function.extend(on_disconnect.map(|chosen| (name, chosen)));
        }
    }

    fn on_disconnect(&mut self, value: Option<Spanned<String>>) -> Option<OnDisconnect> {
        let known = [("cancel", OnDisconnect::Cancel), ("finish", OnDisconnect::Finish)];
        self.one_of("on_disconnect", value, &known)
    }

    fn count(&mut self, key: &str, value: Option<Spanned<i64>>, least: usize) -> Option<usize> {
        let value = value?;
        let most = match key {
            "recycle_after" => usize::MAX,
            "waiting_max" => WAITING_MAX,
            _ => WORKERS_MAX,
        };
        let number = usize::try_from(*value.get_ref()).ok().filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let found = value.get_ref().to_string();
            self.wrong(key, value.span().start, &found, &format!("a whole number from {least} to {most}"));
        }
        number
    }

    fn one_of<Value: Copy>(
        &mut self,
        key: &str,
        value: Option<Spanned<String>>,
        known: &[(&str, Value)],
    ) -> Option<Value> {
        let find = |text: &str| known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        let names: Vec<String> = known.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        self.converted(key, value, find, &format!("one of {}", names.join(", ")))
    }

    fn converted<Value>(
        &mut self,
        key: &str,
        value: Option<Spanned<String>>,
        convert: impl Fn(&str) -> Option<Value>,
        allowed: &str,
    ) -> Option<Value> {
        let value = value?;
        let converted = convert(value.get_ref());
        if converted.is_none() {
            self.wrong(key, value.span().start, &format!("{:?}", value.get_ref()), allowed);
        }
        converted
    }

    fn wrong(&mut self, key: &str, offset: usize, found: &str, allowed: &str) {
        let problem = Problem::error("E0114", format!("{}.{key} is {found}", self.table));
        self.problems
            .push(problem.at(FILE, Some(line_of(self.text, offset))).fix(format!("write {allowed}")));
    }
}

fn parsed<Value: FromStr>(text: &str) -> Option<Value> {
    text.parse().ok()
}

fn idle_timeout(text: &str) -> Option<IdleTimeout> {
    if text == "auto" { Some(IdleTimeout::Auto) } else { duration(text).map(IdleTimeout::After) }
}

/// `30s`, `5m`, `1h`, `250ms`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

/// `512MB`, `1GB`, `64KB`; a kilobyte has 1024 bytes.
pub fn memory_size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.to_ascii_uppercase().as_str() {
        "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.get(..offset).unwrap_or(text);
    u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
