//! What starts a function of a template: its `Events` and its URL.

use super::super::findings::Findings;
use super::super::front::{self, Asked};
use super::super::node::{Kind, Member, Node};
use super::super::resources::Kind as ResourceKind;
use super::super::sources::{self, Filters, QueueWords};
use super::super::{Api, BucketSource, EventSource, HttpSource, ScheduleSource, TopicSource, http};
use super::validation::{self, MODEL, PARAMETERS};
use super::{Template, api, auth};

pub(super) const QUEUE_WORDS: QueueWords = QueueWords {
    batch_size: "BatchSize",
    window: "MaximumBatchingWindowInSeconds",
    response: "FunctionResponseTypes",
    enabled: "Enabled",
    concurrency: "MaximumConcurrency",
    filters: Some(Filters::Criteria),
};

/// Properties of a queue's event besides the queue.
pub(super) const QUEUE_PROPERTIES: [&str; 6] = [
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "FunctionResponseTypes",
    "Enabled",
    "ScalingConfig",
    "FilterCriteria",
];
/// Properties of a schedule of EventBridge Scheduler that are applied.
pub(super) const SCHEDULE_V2: [&str; 6] =
    ["ScheduleExpression", "ScheduleExpressionTimezone", "Input", "State", "Name", "Description"];

/// The events of one function. A wrong one is a problem of the function.
pub(super) fn read(
    findings: &mut Findings,
    template: &Template<'_>,
    properties: &Node,
    is_serverless: bool,
) -> Vec<EventSource> {
    // A plain function has neither of them.
    if !is_serverless {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(url) = properties.member("FunctionUrlConfig").filter(|url| !url.value.is_null()) {
        found.extend(function_url(findings, url).map(EventSource::Http));
    }
    let Some(events) = properties.get("Events") else { return found };
    for event in findings.members(events, "Events") {
        let before = (findings.errors(), findings.missing_count());
        let source = one(findings, template, event);
        if source.is_none() && (findings.errors(), findings.missing_count()) == before {
            let what = format!("the event {}", event.key);
            findings.missing(event.line, what, "what it needs is not known here");
        }
        found.extend(source);
    }
    found
}

/// `None`, with a finding, if it can't be known who may come in.
pub(super) fn function_url(findings: &mut Findings, url: &Member) -> Option<HttpSource> {
    let config = front::map(findings, &url.value, "FunctionUrlConfig")?;
    let auth = match config.get("AuthType") {
        Some(node) => Some(front::text(findings, node, "AuthType")?),
        None => None,
    };
    let cors = config.get("Cors").and_then(|node| http::cors(findings, node));
    let mode = http::invoke_mode(findings, config.get("InvokeMode"));
    let known = ["AuthType", "Cors", "InvokeMode", "TargetFunctionArn"];
    note_others(findings, config, "the function's URL", &known);
    Some(HttpSource {
        api: Api::Url(mode),
        method: None,
        path: http::DEFAULT.to_owned(),
        stage: http::DEFAULT.to_owned(),
        cors,
        front: Box::default(),
        guard: auth.filter(|auth| auth != "NONE").map(|auth| format!("the authorizer {auth}")),
        file: None,
        line: url.line,
    })
}

fn one(findings: &mut Findings, template: &Template<'_>, event: &Member) -> Option<EventSource> {
    let Some(kind) = event.value.get("Type") else {
        let what = format!("the event {} has no Type", event.key);
        findings.wrong("E0116", event.line, what, "write Api, HttpApi, Schedule, ScheduleV2, SQS, S3 or SNS");
        return None;
    };
    let kind = findings.text(kind, "the type of an event")?;
    let empty = Node::new(Kind::Map(Vec::new()), event.line);
    let properties = event.value.get("Properties").unwrap_or(&empty);
    findings.members(properties, "Properties");
    match kind.as_str() {
        "Api" => rest_route(findings, template, event, properties).map(EventSource::Http),
        "HttpApi" => http_route(findings, template, event, properties).map(EventSource::Http),
        "Schedule" => {
            let known = ["Schedule", "Input", "Enabled", "State", "Name", "Description"];
            schedule(findings, event, properties, "Schedule", &known).map(EventSource::Schedule)
        }
        "ScheduleV2" => schedule(findings, event, properties, "ScheduleExpression", &SCHEDULE_V2)
            .map(EventSource::Schedule),
        "SQS" => {
            let node = required(findings, event, properties, "Queue")?;
            let name = sources::queue_name(findings, node)?;
            let known = [&["Queue"][..], &QUEUE_PROPERTIES].concat();
            note_others(findings, properties, &event.key, &known);
            let queue = sources::queue(findings, name, properties, &QUEUE_WORDS, event.line);
            Some(EventSource::Queue(queue))
        }
        "S3" => bucket(findings, event, properties).map(EventSource::Bucket),
        "SNS" => topic(findings, event, properties).map(EventSource::Topic),
        other => {
            let why = format!("events of type {other} are not served");
            findings.missing(event.line, format!("the event {}", event.key), why);
            None
        }
    }
}

fn required<'a>(
    findings: &mut Findings,
    event: &Member,
    properties: &'a Node,
    key: &str,
) -> Option<&'a Node> {
    let found = properties.get(key);
    if found.is_none() {
        let what = format!("the event {} has no {key}", event.key);
        findings.wrong("E0116", event.line, what, format!("write {key} below its Properties"));
    }
    found
}

pub(super) fn note_others(findings: &mut Findings, properties: &Node, subject: &str, known: &[&str]) {
    for property in properties.members().iter().filter(|one| !known.contains(&one.key.as_str())) {
        findings.ignore_of(property.line, &property.key, subject, "it is not applied here");
    }
}

fn rest_route(
    findings: &mut Findings,
    template: &Template<'_>,
    event: &Member,
    properties: &Node,
) -> Option<HttpSource> {
    let (path, method) =
        (required(findings, event, properties, "Path"), required(findings, event, properties, "Method"));
    let (path, method) = (path?, http::method(findings, method?));
    let path = findings.text(path, "Path").and_then(|text| http::path(findings, &text, path.line));
    let door = api::door(findings, template, ResourceKind::RestApi, properties.get("RestApiId"))?;
    note_others(
        findings,
        properties,
        &event.key,
        &["Path", "Method", "RestApiId", "Auth", MODEL, PARAMETERS],
    );
    let Asked { mut front, guard } = auth::asked(findings, (&door, properties.get("Auth")), event.line)?;
    front.validation = validation::read(findings, door.models.as_ref(), properties)?;
    let (path, method) = (path?, method?);
    Some(HttpSource {
        api: door.api,
        method,
        path,
        stage: door.stage,
        cors: door.cors,
        front,
        guard,
        file: None,
        line: event.line,
    })
}

fn http_route(
    findings: &mut Findings,
    template: &Template<'_>,
    event: &Member,
    properties: &Node,
) -> Option<HttpSource> {
    // Without a path it is what takes the rest, and without a method any.
    let path = match properties.get("Path") {
        Some(node) => {
            let text = findings.text(node, "Path")?;
            if text == http::DEFAULT { text } else { http::path(findings, &text, node.line)? }
        }
        None => http::DEFAULT.to_owned(),
    };
    let method = match properties.get("Method") {
        Some(node) => http::method(findings, node)?,
        None => None,
    };
    let mut door = api::door(findings, template, ResourceKind::HttpApi, properties.get("ApiId"))?;
    if let (Some(node), Api::Http { payload, .. }) = (properties.get("PayloadFormatVersion"), &mut door.api) {
        *payload = http::payload(findings, node)?;
    }
    note_others(
        findings,
        properties,
        &event.key,
        &["Path", "Method", "ApiId", "Auth", "PayloadFormatVersion"],
    );
    let Asked { front, guard } = auth::asked(findings, (&door, properties.get("Auth")), event.line)?;
    Some(HttpSource {
        api: door.api,
        method,
        path,
        stage: door.stage,
        cors: door.cors,
        front,
        guard,
        file: None,
        line: event.line,
    })
}

pub(super) fn schedule(
    findings: &mut Findings,
    event: &Member,
    properties: &Node,
    key: &str,
    known: &[&str],
) -> Option<ScheduleSource> {
    let node = required(findings, event, properties, key)?;
    let expression = sources::expression(findings, node);
    let state = findings.optional(properties, "State", Findings::text);
    let enabled = findings.optional(properties, "Enabled", Findings::flag);
    let input = properties.get("Input").and_then(|node| sources::input(findings, node));
    let name = findings.optional(properties, "Name", Findings::text);
    let zone = properties.get("ScheduleExpressionTimezone").and_then(|node| sources::zone(findings, node));
    note_others(findings, properties, &event.key, known);
    Some(ScheduleSource {
        name: name.unwrap_or_else(|| event.key.clone()),
        expression: expression?,
        zone,
        is_scheduler: key == "ScheduleExpression",
        enabled: enabled.unwrap_or(true) && state.is_none_or(|state| state != "DISABLED"),
        input,
        line: event.line,
    })
}

fn topic(findings: &mut Findings, event: &Member, properties: &Node) -> Option<TopicSource> {
    let node = required(findings, event, properties, "Topic")?;
    let topic = sources::topic_name(findings, node);
    let (policy, scope) = (properties.get("FilterPolicy"), properties.get("FilterPolicyScope"));
    let filter = sources::filter_policy(findings, policy, scope);
    note_others(findings, properties, &event.key, &["Topic", "FilterPolicy", "FilterPolicyScope"]);
    Some(TopicSource { topic: topic?, filter: filter.ok()?, line: event.line })
}

fn bucket(findings: &mut Findings, event: &Member, properties: &Node) -> Option<BucketSource> {
    let node = required(findings, event, properties, "Bucket")?;
    let bucket = findings.text(node, "Bucket");
    let events = required(findings, event, properties, "Events")?;
    let line = events.line;
    let names = findings.texts(events, "Events");
    let events = sources::bucket_events(findings, names, &event.key, line);
    let mut source = BucketSource { bucket: bucket?, events, prefix: None, suffix: None, line: event.line };
    note_others(findings, properties, &event.key, &["Bucket", "Events", "Filter"]);
    let Some(rules) = properties.at(&["Filter", "S3Key", "Rules"]) else { return Some(source) };
    for rule in findings.items(rules, "Rules") {
        let name = rule.get("Name").and_then(Node::scalar).unwrap_or_default().to_ascii_lowercase();
        let value = rule.get("Value").and_then(|node| findings.text(node, "Value"));
        match name.as_str() {
            "prefix" => source.prefix = value,
            "suffix" => source.suffix = value,
            _ => findings.wrong(
                "E0116",
                rule.line,
                "a rule is for neither prefix nor suffix",
                "write Name: prefix",
            ),
        }
    }
    Some(source)
}
