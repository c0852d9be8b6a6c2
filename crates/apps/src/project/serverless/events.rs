//! What starts a function of a serverless.yml.

use super::super::findings::{Findings, shortened};
use super::super::front::{self, Asked};
use super::super::node::{Kind, Member, Node};
use super::super::sources::{self, Filters, QueueWords};
use super::super::{Api, BucketSource, EventSource, HttpSource, Payload, ScheduleSource, TopicSource, http};
use super::auth::{self, Names};
use super::{balancer, cors, integration, validation};

/// The framework's own ids of its APIs.
pub(super) const REST_API: &str = "ApiGatewayRestApi";
pub(super) const HTTP_API: &str = "HttpApi";
/// Types of events that are served.
const SERVED: [&str; 8] = ["http", "httpApi", "alb", "schedule", "eventBridge", "sqs", "s3", "sns"];
const CREATED: &str = "s3:ObjectCreated:*";

const QUEUE_WORDS: QueueWords = QueueWords {
    batch_size: "batchSize",
    window: "maximumBatchingWindow",
    response: "functionResponseType",
    enabled: "enabled",
    concurrency: "maximumConcurrency",
    filters: Some(Filters::List("filterPatterns")),
};

/// What all routes of a project have.
pub(super) struct Door<'a> {
    pub(super) provider: &'a Node,
    pub(super) stage: &'a str,
    pub(super) region: &'a str,
    pub(super) names: &'a Names,
}

/// The events of one function. A wrong one is a problem of the function.
pub(super) fn read(findings: &mut Findings, door: &Door<'_>, id: &str, config: &Node) -> Vec<EventSource> {
    let mut found = Vec::new();
    if let Some(url) = config.member("url") {
        found.extend(function_url(findings, url).map(EventSource::Http));
    }
    let Some(events) = config.get("events") else { return found };
    for event in findings.items(events, "events") {
        let [member, others @ ..] = event.members() else {
            match event.scalar().filter(|kind| !kind.is_empty() && !SERVED.contains(kind)) {
                // `- alexaSkill` says all there is to say.
                Some(kind) => note_unserved(findings, event.line, id, kind),
                None => {
                    let fix = "write e.g. - httpApi: GET /hello";
                    findings.wrong("E0116", event.line, format!("an event is {}", event.describe()), fix);
                }
            }
            continue;
        };
        if let Some(other) = others.first() {
            let what =
                format!("`{}` stands beside the event {}", shortened(&other.key), shortened(&member.key));
            findings.wrong("E0116", other.line, what, "indent it twice more than the dash");
            continue;
        }
        let before = (findings.errors(), findings.missing_count());
        let sources = of_event(findings, door, (id, config), found.len(), member);
        if sources.is_empty() && (findings.errors(), findings.missing_count()) == before {
            findings.missing(member.line, format!("an event of {id}"), "what it needs is not known here");
        }
        found.extend(sources);
    }
    found
}

/// What one event says; `place` is that of its first source.
fn of_event(
    findings: &mut Findings,
    door: &Door<'_>,
    (id, config): (&str, &Node),
    place: usize,
    member: &Member,
) -> Vec<EventSource> {
    let source = match member.key.as_str() {
        "http" => rest_route(findings, door, member).map(EventSource::Http),
        "httpApi" => http_route(findings, door, config, member).map(EventSource::Http),
        "alb" => balancer::rule(findings, door, id, member).map(EventSource::Http),
        "schedule" => return schedules(findings, id, place, member).into_iter().collect(),
        "eventBridge" => rule(findings, id, place, member).map(EventSource::Schedule),
        "sqs" => queue(findings, member).map(EventSource::Queue),
        "sns" => topic(findings, member).map(EventSource::Topic),
        "s3" => bucket(findings, door, member).map(EventSource::Bucket),
        other => {
            note_unserved(findings, member.line, id, other);
            None
        }
    };
    source.into_iter().collect()
}

fn note_unserved(findings: &mut Findings, line: u32, id: &str, kind: &str) {
    let why = format!("events of type {} are not served", shortened(kind));
    findings.missing(line, format!("an event of {id}"), why);
}

pub(super) fn note_others(findings: &mut Findings, node: &Node, event: &str, known: &[&str]) {
    for member in node.members().iter().filter(|one| !known.contains(&one.key.as_str())) {
        findings.ignore_of(member.line, &member.key, event, "it is not applied here");
    }
}

fn function_url(findings: &mut Findings, url: &Member) -> Option<HttpSource> {
    let config = &url.value;
    match config.flag() {
        Some(false) => return None,
        Some(true) => {}
        None => {
            front::map(findings, config, "url")?;
        }
    }
    note_others(findings, config, "url", &["authorizer", "cors", "invokeMode"]);
    Some(HttpSource {
        api: Api::Url(http::invoke_mode(findings, config.get("invokeMode"))),
        method: None,
        path: http::DEFAULT.to_owned(),
        stage: http::DEFAULT.to_owned(),
        cors: config.get("cors").and_then(|node| cors::read(findings, node)),
        front: Box::default(),
        guard: config
            .get("authorizer")
            .map(|node| format!("the authorizer {}", node.scalar().unwrap_or("of the URL"))),
        file: None,
        line: url.line,
    })
}

/// `GET hello`, or `*` alone: method and path.
fn written_route(text: &str) -> (&str, &str) {
    match text.trim().split_once(char::is_whitespace) {
        Some((method, path)) => (method, path.trim()),
        None => ("*", text.trim()),
    }
}

/// Method and path of a route, as one text or as a map.
fn route(findings: &mut Findings, event: &Member) -> Option<(Option<String>, String)> {
    let (method, path) = match &event.value.kind {
        Kind::Scalar { text, .. } if !event.value.is_null() => {
            let (method, path) = written_route(text);
            (Node::plain(method, event.line), Node::plain(path, event.line))
        }
        Kind::Map(_) => {
            let default = |text: &str| Node::text(text, event.line);
            let method = event.value.get("method").cloned().unwrap_or_else(|| default("*"));
            let Some(path) = event.value.member("path") else {
                let what = format!("the event {} has no path", event.key);
                findings.wrong("E0116", event.line, what, "write path: and method: below it");
                return None;
            };
            (method, if path.value.is_null() { default("/") } else { path.value.clone() })
        }
        _ => {
            findings.wrong_kind(
                &event.value,
                &format!("the event {}", event.key),
                "a method and a path, e.g. GET /hello",
            );
            return None;
        }
    };
    let method = http::method(findings, &method);
    let text = findings.text(&path, "path")?;
    if text == "*" {
        return Some((method?, http::DEFAULT.to_owned()));
    }
    // The framework writes the slash by itself, and a REST API has no paths that end in one.
    let bare = text.strip_prefix('/').unwrap_or(&text);
    let bare = if event.key == "http" { bare.strip_suffix('/').unwrap_or(bare) } else { bare };
    let path = http::path(findings, &format!("/{bare}"), path.line);
    Some((method?, path?))
}

fn rest_route(findings: &mut Findings, door: &Door<'_>, event: &Member) -> Option<HttpSource> {
    let config = &event.value;
    let integration = config.get("integration").and_then(Node::scalar).map(str::to_ascii_lowercase);
    let integration = integration
        .filter(|kind| !matches!(kind.as_str(), "lambda-proxy" | "lambda_proxy" | "aws-proxy" | "aws_proxy"));
    let is_mapped = matches!(integration.as_deref(), Some("lambda"));
    if let Some(kind) = integration.filter(|_| !is_mapped) {
        let why = format!("the integration {} is not served, only lambda-proxy and lambda", shortened(&kind));
        findings.missing(event.line, "an event of type http", why);
        return None;
    }
    let (method, path) = route(findings, event)?;
    if path == http::DEFAULT {
        findings.wrong("E0116", event.line, "`*` is no path of a REST API", "write {proxy+}");
        return None;
    }
    note_others(
        findings,
        config,
        "http",
        &["path", "method", "cors", "private", "authorizer", "integration", "request", "response"],
    );
    let cors = config.get("cors").and_then(|node| cors::read(findings, node));
    let types = door.provider.at(&["apiGateway", "binaryMediaTypes"]);
    let binary_types = types.map(|node| findings.texts(node, "binaryMediaTypes")).unwrap_or_default();
    let api = Api::Rest { id: REST_API.to_owned(), binary_types };
    let Asked { mut front, guard } = auth::rest(findings, door.names, door.provider, config)?;
    front.validation = validation::read(findings, door.provider, config)?;
    if is_mapped {
        front.integration = Some(integration::read(findings, config)?);
    }
    Some(HttpSource {
        api,
        method,
        path,
        stage: door.stage.to_owned(),
        cors,
        front,
        guard,
        file: None,
        line: event.line,
    })
}

fn http_route(
    findings: &mut Findings,
    door: &Door<'_>,
    function: &Node,
    event: &Member,
) -> Option<HttpSource> {
    let (method, path) = route(findings, event)?;
    note_others(findings, &event.value, "httpApi", &["path", "method", "authorizer"]);
    let shared = door.provider.get("httpApi");
    let payload = function.at(&["httpApi", "payload"]).or(shared.and_then(|api| api.get("payload")));
    let payload = payload.map_or(Some(Payload::V2), |node| http::payload(findings, node));
    let cors = shared.and_then(|api| api.get("cors")).and_then(|node| cors::read(findings, node));
    let api = Api::Http { id: HTTP_API.to_owned(), payload: payload? };
    let stage = http::DEFAULT.to_owned();
    let Asked { front, guard } = auth::http_api(findings, door.names, door.provider, &event.value)?;
    Some(HttpSource { api, method, path, stage, cors, front, guard, file: None, line: event.line })
}

/// One source for each of the event's rates.
fn schedules(findings: &mut Findings, id: &str, count: usize, event: &Member) -> Vec<EventSource> {
    let config = &event.value;
    let rates = match &config.kind {
        Kind::Map(_) => match config.get("rate") {
            Some(rate) if matches!(rate.kind, Kind::List(_)) => rate.items().to_vec(),
            Some(rate) => vec![rate.clone()],
            None => {
                findings.wrong("E0116", event.line, "a schedule has no rate", "write rate: rate(5 minutes)");
                return Vec::new();
            }
        },
        _ => vec![config.clone()],
    };
    let known = ["rate", "enabled", "input", "name", "description", "method", "timezone"];
    note_others(findings, config, "schedule", &known);
    let name = findings.optional(config, "name", Findings::text);
    let enabled = findings.optional(config, "enabled", Findings::flag).unwrap_or(true);
    let input = config.get("input").and_then(|node| sources::input(findings, node));
    let zone = config.get("timezone").and_then(|node| sources::zone(findings, node));
    let is_scheduler = config.get("method").and_then(Node::scalar) == Some("scheduler");
    let mut found = Vec::new();
    for rate in &rates {
        let Some(expression) = sources::expression(findings, rate) else { continue };
        let number = count + found.len() + 1;
        let name = name.clone().unwrap_or_else(|| format!("{id}-schedule-{number}"));
        let (zone, input, line) = (zone.clone(), input.clone(), event.line);
        let source = ScheduleSource { name, expression, zone, is_scheduler, enabled, input, line };
        found.push(EventSource::Schedule(source));
    }
    found
}

/// The schedule of a rule of EventBridge. What a rule hears of by a pattern is not here.
fn rule(findings: &mut Findings, id: &str, count: usize, event: &Member) -> Option<ScheduleSource> {
    let config = &event.value;
    findings.members(config, "the event eventBridge");
    if let Some(pattern) = config.member("pattern") {
        let why = "events of EventBridge are not served, only schedules";
        findings.missing(pattern.line, format!("an event of {id}"), why);
    }
    let Some(schedule) = config.get("schedule") else {
        if config.get("pattern").is_none() {
            let fix = "write schedule: rate(5 minutes)";
            findings.wrong("E0116", event.line, "an event eventBridge has no schedule", fix);
        }
        return None;
    };
    note_others(
        findings,
        config,
        "eventBridge",
        &["schedule", "pattern", "enabled", "input", "name", "description"],
    );
    let expression = sources::expression(findings, schedule)?;
    let name = findings.optional(config, "name", Findings::text);
    let name = name.unwrap_or_else(|| format!("{id}-rule-{}", count + 1));
    let enabled = findings.optional(config, "enabled", Findings::flag).unwrap_or(true);
    let input = config.get("input").and_then(|node| sources::input(findings, node));
    Some(ScheduleSource {
        name,
        expression,
        zone: None,
        is_scheduler: false,
        enabled,
        input,
        line: event.line,
    })
}

fn queue(findings: &mut Findings, event: &Member) -> Option<super::super::QueueSource> {
    let config = &event.value;
    let arn = match &config.kind {
        Kind::Map(_) => config.get("arn"),
        _ => Some(config),
    };
    let Some(arn) = arn else {
        findings.wrong(
            "E0116",
            event.line,
            "the event sqs has no arn",
            "write arn: and the ARN of the queue",
        );
        return None;
    };
    let name = sources::queue_name(findings, arn)?;
    let known = [
        "arn",
        "batchSize",
        "maximumBatchingWindow",
        "functionResponseType",
        "enabled",
        "maximumConcurrency",
        "filterPatterns",
    ];
    note_others(findings, config, "sqs", &known);
    Some(sources::queue(findings, name, config, &QUEUE_WORDS, event.line))
}

fn topic(findings: &mut Findings, event: &Member) -> Option<TopicSource> {
    let config = &event.value;
    let node = match &config.kind {
        Kind::Map(_) => config.get("arn").or_else(|| config.get("topicName")),
        _ => Some(config),
    };
    let Some(node) = node else {
        let fix = "write topicName: and its name, or arn:";
        findings.wrong("E0116", event.line, "the event sns has no topic", fix);
        return None;
    };
    let topic = sources::topic_name(findings, node);
    let (policy, scope) = (config.get("filterPolicy"), config.get("filterPolicyScope"));
    let filter = sources::filter_policy(findings, policy, scope);
    let known = ["arn", "topicName", "displayName", "filterPolicy", "filterPolicyScope"];
    note_others(findings, config, "sns", &known);
    Some(TopicSource { topic: topic?, filter: filter.ok()?, line: event.line })
}

fn bucket(findings: &mut Findings, door: &Door<'_>, event: &Member) -> Option<BucketSource> {
    let config = &event.value;
    let node = match &config.kind {
        Kind::Map(_) => config.get("bucket"),
        _ => Some(config),
    };
    let Some(node) = node else {
        findings.wrong("E0116", event.line, "the event s3 has no bucket", "write bucket: and its name");
        return None;
    };
    let name = findings.text(node, "bucket")?;
    // A bucket that the provider describes goes by its key there.
    let described = door.provider.at(&["s3", &name, "name"]).and_then(Node::scalar);
    let bucket = described.map_or_else(|| name.clone(), str::to_owned);
    let events = config.get("event").map(|node| findings.texts(node, "event"));
    let events = events.unwrap_or_else(|| vec![CREATED.to_owned()]);
    let events = sources::bucket_events(findings, events, "s3", event.line);
    note_others(findings, config, "s3", &["bucket", "event", "rules", "existing", "forceDeploy"]);
    let mut source = BucketSource { bucket, events, prefix: None, suffix: None, line: event.line };
    for rule in config.get("rules").map_or(&[][..], |node| findings.items(node, "rules")) {
        for member in rule.members() {
            let value = findings.text(&member.value, &member.key);
            match member.key.as_str() {
                "prefix" => source.prefix = value,
                "suffix" => source.suffix = value,
                _ => findings.wrong(
                    "E0116",
                    member.line,
                    "a rule is for neither prefix nor suffix",
                    "write prefix: uploads/",
                ),
            }
        }
    }
    Some(source)
}
