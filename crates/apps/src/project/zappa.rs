//! Projects of Zappa: `zappa_settings.json` (or `.toml`, `.yml`) names stages, each with a web app and functions for events.
//!
//! The web app takes every request, as an app of its own; each function that events start is another. Names and defaults are as
//! Zappa's own deployment makes them (facts of Lambda, section 3.12; Zappa's README, "Advanced Settings").

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_types::spec::LaterOptions;

use super::findings::{Findings, shortened};
use super::node::{Fault, Kind, Member, Node};
use super::resources::name_in_arn;
use super::sources::{self, QueueWords};
use super::{
    BucketSource, Entry, EventSource, Project, ProjectFunction, ProjectKind, ProjectOptions, ScheduleSource,
    TopicSource, function, stored,
};
use crate::Error;
use crate::lambda::script_of;

mod applied;
mod tasks;

use applied::{APPLIED, APPLIED_OF_EVENT, is_missing, why_not_applied};

/// As Zappa has them for a stage that says nothing.
const TIMEOUT_SECONDS: u64 = 30;
const MEMORY_MB: u64 = 512;
const PROJECT_CHARACTERS_MAX: usize = 15;
/// Stages that extend each other.
const EXTENDS_MAX: usize = 32;
const EVENTS_MAX: usize = 500;

const QUEUE_WORDS: QueueWords = QueueWords {
    batch_size: "batch_size",
    window: "batch_window",
    response: "function_response_types",
    enabled: "enabled",
    concurrency: "maximum_concurrency",
    filters: None,
};

/// Reads the settings of a stage: that of the options, or the only one.
///
/// # Errors
/// They can't be read at all (E0115), or it is not known which stage is meant (E0248).
pub(super) fn read(root: &Path, file: &str, tree: &Node, options: &ProjectOptions) -> Result<Project, Error> {
    let fault = |Fault { line, what }| Error::Project { file: file.to_owned(), line, what };
    if !matches!(tree.kind, Kind::Map(_)) {
        let what = format!("the settings are {}, and no map of stages", tree.describe());
        return Err(fault(Fault::new(tree.line, what)));
    }
    let stage = chosen(file, tree, options)?;
    let settings = extended(tree, stage).map_err(fault)?;
    let mut findings = Findings::new(file);
    for other in tree.members().iter().filter(|other| other.key != stage.key) {
        let why = format!("the stage that runs is {}", shortened(&stage.key));
        findings.ignore(other.line, format!("the stage {}", shortened(&other.key)), why);
    }
    let region = settings.get("aws_region").and_then(Node::scalar).filter(|region| *region != "null");
    let region = super::region(options, region.map(str::to_owned));
    let mut reader = Reader {
        root,
        stage,
        settings: &settings,
        names: Names::new(root, stage, &settings),
        region: region.clone(),
        findings,
    };
    let functions = reader.functions();
    reader.note_ignored();
    tasks::note(root, &mut reader.findings);
    let functions = function::distinct(&mut reader.findings, functions);
    let functions = stored::Names::default().distinct(&mut reader.findings, functions, &mut Vec::new());
    let (problems, ignored) = reader.findings.finish();
    Ok(Project { functions, ignored, problems, ..Project::new(ProjectKind::Zappa, file, &region) })
}

/// The stage that runs.
fn chosen<'a>(file: &str, tree: &'a Node, options: &ProjectOptions) -> Result<&'a Member, Error> {
    let wanted = options.stage.as_deref();
    let found = match (wanted, tree.members()) {
        (Some(wanted), _) => tree.member(wanted),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.ok_or_else(|| Error::Stage {
        file: file.to_owned(),
        line: tree.line,
        wanted: wanted.map(str::to_owned),
        stages: tree.members().iter().map(|stage| shortened(&stage.key)).collect(),
    })
}

/// A stage over those that it extends.
fn extended(tree: &Node, stage: &Member) -> Result<Node, Fault> {
    let mut chain = vec![stage];
    while let Some(node) = chain.last().and_then(|last| last.value.get("extends")) {
        let name = node.scalar().unwrap_or_default();
        let Some(base) = tree.member(name) else {
            return Err(Fault::new(node.line, format!("there is no stage `{}` to extend", shortened(name))));
        };
        if chain.len() > EXTENDS_MAX || chain.iter().any(|known| known.key == base.key) {
            return Err(Fault::new(node.line, "stages extend each other in a circle".to_owned()));
        }
        chain.push(base);
    }
    let mut members: Vec<Member> = Vec::new();
    for one in chain {
        if !matches!(one.value.kind, Kind::Map(_)) {
            let what = format!("the stage {} is {}, and no map", shortened(&one.key), one.value.describe());
            return Err(Fault::new(one.line, what));
        }
        for member in one.value.members() {
            if !members.iter().any(|known| known.key == member.key) {
                members.push(member.clone());
            }
        }
    }
    Node::map(members, stage.line)
}

/// As Zappa makes them.
struct Names {
    project: String,
    /// Of the function at AWS: `shop-dev`.
    function: String,
}

impl Names {
    fn new(root: &Path, stage: &Member, settings: &Node) -> Self {
        let folder = root.file_name().map_or_else(|| "app".into(), |name| name.to_string_lossy());
        let of_folder = || slug(&folder).chars().take(PROJECT_CHARACTERS_MAX).collect();
        let named = settings.get("project_name").and_then(Node::scalar).map(slug);
        let project: String = named.filter(|name| !name.is_empty()).unwrap_or_else(of_folder);
        let function = slug(&format!("{project}-{}", stage.key));
        Self { project, function }
    }
}

/// Small letters and digits with single hyphens between them.
fn slug(text: &str) -> String {
    let lowered = text.to_lowercase();
    let words = lowered.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

struct Reader<'a> {
    root: &'a Path,
    stage: &'a Member,
    settings: &'a Node,
    names: Names,
    region: String,
    findings: Findings,
}

/// What is named by a function, to become one.
struct Named {
    id: String,
    name: String,
    handler: String,
    entry: Entry,
    line: u32,
}

impl Reader<'_> {
    fn functions(&mut self) -> Vec<ProjectFunction> {
        let (timeout, memory_mb) = self.limits();
        let variables = self.variables();
        let runtime = self.runtime();
        let mut functions: Vec<ProjectFunction> = Vec::new();
        let made = |named: Named| ProjectFunction {
            id: named.id,
            name: named.name,
            handler: named.handler,
            entry: named.entry,
            runtime: runtime.clone(),
            code: PathBuf::new(),
            timeout,
            memory_mb,
            variables: variables.clone(),
            layers: Vec::new(),
            sources: Vec::new(),
            file: None,
            line: named.line,
            later: LaterOptions::default(),
        };
        functions.extend(self.web_app().map(made));
        // Clients of AWS ask for them; functions for events have them as every handler.
        for app in &mut functions {
            for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
                app.variables.insert(name.to_owned(), self.region.clone());
            }
        }
        let events = self.settings.get("events").cloned();
        let events = events.as_ref().map(|events| self.findings.items(events, "events")).unwrap_or_default();
        if events.len() > EVENTS_MAX {
            let what = format!("there are more than {EVENTS_MAX} events");
            self.findings.wrong("E0116", self.stage.line, what, "divide the project");
            return functions;
        }
        for event in events {
            let Some((named, sources)) = self.event(event) else { continue };
            match functions.iter_mut().find(|known| known.name == named.name) {
                Some(known) => known.sources.extend(sources),
                None => functions.push(ProjectFunction { sources, ..made(named) }),
            }
        }
        functions
    }

    /// What takes the requests.
    fn web_app(&mut self) -> Option<Named> {
        let named = [("app_function", Entry::WebApp), ("django_settings", Entry::DjangoSettings)];
        // Zappa takes the app where both are named; the settings are then for Django alone.
        let (key, entry) = named.into_iter().find(|(key, _)| self.settings.get(key).is_some())?;
        let node = self.settings.get(key)?.clone();
        let handler = self.findings.text(&node, key)?;
        let whole =
            if entry == Entry::DjangoSettings { format!("{handler}.settings") } else { handler.clone() };
        if script_of(self.root, &whole).is_none() {
            let what =
                format!("{key} is `{}`, which is no name in a module of this folder", shortened(&handler));
            let fix = match entry {
                Entry::DjangoSettings => "write the settings' module, e.g. shop.settings",
                Entry::Handler | Entry::WebApp => "write module.name, e.g. app.app for app in app.py",
            };
            self.findings.wrong("E0215", node.line, what, fix);
            return None;
        }
        let name = function::name(&mut self.findings, &self.names.function, self.stage.line)?;
        Some(Named { id: self.stage.key.clone(), name, handler, entry, line: node.line })
    }

    fn limits(&mut self) -> (Duration, u64) {
        let settings = self.settings;
        let mut number = |key: &str, range, default| {
            settings.get(key).and_then(|node| self.findings.number(node, key, range)).unwrap_or(default)
        };
        let timeout = number("timeout_seconds", function::TIMEOUT_RANGE, TIMEOUT_SECONDS);
        (Duration::from_secs(timeout), number("memory_size", function::MEMORY_RANGE, MEMORY_MB))
    }

    fn runtime(&mut self) -> Option<String> {
        let node = self.settings.get("runtime")?;
        let runtime = self.findings.text(node, "runtime")?;
        if function::is_served(&runtime) {
            return Some(runtime);
        }
        let why = "python3.8 to python3.13 are served; the Python that is found is taken";
        self.findings.ignore(node.line, format!("the runtime {}", shortened(&runtime)), why);
        None
    }

    /// Those of the function at AWS, those that Zappa's handler sets by itself, those of the stage: each over the ones before.
    fn variables(&mut self) -> BTreeMap<String, String> {
        let own = |reader: &mut Self, key: &str| {
            let node = reader.settings.get(key);
            node.map(|node| function::variables(&mut reader.findings, node)).unwrap_or_default()
        };
        let mut variables = own(self, "aws_environment_variables");
        variables.extend(
            [
                ("SERVERTYPE", "AWS Lambda"),
                ("FRAMEWORK", "Zappa"),
                ("PROJECT", self.names.project.as_str()),
                ("STAGE", self.stage.key.as_str()),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        variables.extend(own(self, "environment_variables"));
        let django = self.settings.get("django_settings").and_then(Node::scalar);
        let module = django.map(|module| ("DJANGO_SETTINGS_MODULE".to_owned(), module.to_owned()));
        variables.extend(module);
        variables
    }

    /// A function with what starts it; `None` if something about it is wrong, or nothing here starts it.
    fn event(&mut self, event: &Node) -> Option<(Named, Vec<EventSource>)> {
        let errors = self.findings.errors();
        for member in self.findings.members(event, "an event") {
            if !APPLIED_OF_EVENT.contains(&member.key.as_str()) {
                self.findings.ignore_of(member.line, &member.key, "an event", "it is not applied here");
            }
        }
        let Some(node) = event.get("function") else {
            let fix = "write function: module.function";
            self.findings.wrong("E0116", event.line, "an event has no function", fix);
            return None;
        };
        let handler = function::handler(&mut self.findings, Some(self.root), node)?;
        self.findings.function = Some(handler.clone());
        let sources = self.sources(event, &handler);
        let name = format!("{}-{}", self.names.function, slug(&handler));
        let name = function::name(&mut self.findings, &name, node.line);
        self.findings.function = None;
        let named =
            Named { id: handler.clone(), name: name?, handler, entry: Entry::Handler, line: node.line };
        (self.findings.errors() == errors && !sources.is_empty()).then_some((named, sources))
    }

    fn sources(&mut self, event: &Node, handler: &str) -> Vec<EventSource> {
        let mut sources = Vec::new();
        let single = event.get("expression");
        let listed = event.get("expressions").map(Node::items).unwrap_or_default();
        let name = event.get("name").and_then(Node::scalar).unwrap_or(handler);
        for (index, node) in single.into_iter().chain(listed).enumerate() {
            let Some(expression) = sources::expression(&mut self.findings, node) else { continue };
            let number = if index == 0 { String::new() } else { format!("{index}-") };
            sources.push(EventSource::Schedule(ScheduleSource {
                name: format!("{}-{number}{name}", self.names.function),
                expression,
                zone: None,
                is_scheduler: false,
                enabled: event.get("enabled").and_then(Node::flag).unwrap_or(true),
                input: input(event),
                line: node.line,
            }));
        }
        if let Some(source) = event.get("event_source") {
            sources.extend(self.event_source(source, handler));
        }
        if let Some(pattern) = event.get("event_pattern") {
            let what = format!("the event pattern of {handler}");
            self.findings.missing(pattern.line, what, "Ingle does not send such events yet");
        }
        sources
    }

    /// A queue, a topic or a bucket; of everything else it is said that it does not come.
    fn event_source(&mut self, source: &Node, handler: &str) -> Option<EventSource> {
        let Some(node) = source.get("arn") else {
            let fix = "write arn: and the ARN of what sends the events";
            self.findings.wrong("E0116", source.line, "an event source has no arn", fix);
            return None;
        };
        let arn = self.findings.text(node, "the arn")?;
        if let Some(queue) = name_in_arn(&arn, "sqs") {
            let queue = sources::queue(&mut self.findings, queue.to_owned(), source, &QUEUE_WORDS, node.line);
            return Some(EventSource::Queue(queue));
        }
        if let Some(topic) = name_in_arn(&arn, "sns") {
            let (policy, scope) = (source.get("filters"), None);
            let filter = sources::filter_policy(&mut self.findings, policy, scope).ok()?;
            let topic = topic.to_owned();
            return Some(EventSource::Topic(TopicSource { topic, filter, line: node.line }));
        }
        if let Some(bucket) = name_in_arn(&arn, "s3") {
            let names = source.get("events").map(|node| self.findings.texts(node, "events"));
            let names = names.unwrap_or_default();
            let events = sources::bucket_events(&mut self.findings, names, handler, node.line);
            let (bucket, line) = (bucket.to_owned(), node.line);
            return Some(EventSource::Bucket(BucketSource {
                bucket,
                events,
                prefix: None,
                suffix: None,
                line,
            }));
        }
        let what = format!("the event source {} of {handler}", shortened(&arn));
        self.findings.missing(node.line, what, "Ingle does not send such events yet");
        None
    }

    fn note_ignored(&mut self) {
        for member in self.settings.members() {
            let key = member.key.as_str();
            if !APPLIED.contains(&key) {
                let (what, why) = (shortened(key), why_not_applied(key));
                if is_missing(key) {
                    self.findings.missing(member.line, what, why);
                } else {
                    self.findings.ignore(member.line, what, why);
                }
            }
        }
        let has_app = ["app_function", "django_settings"].iter().any(|key| self.settings.get(key).is_some());
        if !has_app && self.settings.get("events").is_none() {
            let what = format!(
                "the stage {} has neither app_function nor django_settings",
                shortened(&self.stage.key)
            );
            let fix = "write app_function: module.name of the WSGI or ASGI app";
            self.findings.wrong("E0116", self.stage.line, what, fix);
        }
    }
}

/// The event with `kwargs`, as Zappa lets EventBridge send it; none for what EventBridge sends by itself.
fn input(event: &Node) -> Option<serde_json::Value> {
    let arguments = event.get("kwargs").filter(|node| node.unknown_within().is_none())?;
    Some(serde_json::json!({"kwargs": arguments.to_json()}))
}

#[cfg(test)]
mod tests;
