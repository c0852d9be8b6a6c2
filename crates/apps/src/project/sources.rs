//! Schedules, queues and topics, as all kinds of projects name them.

use std::time::Duration;

use ingle_types::pattern::{Pattern, Shape};
use ingle_types::schedule::{Schedule, TimeZone};
use ingle_types::topic::FilterPolicy;

use super::QueueSource;
use super::findings::{Findings, shortened};
use super::node::Node;
use super::resources::name_in_arn;

/// As Lambda takes them for SQS (facts of Lambda, section 3.9).
const BATCH_DEFAULT: u32 = 10;
const BATCH_RANGE: std::ops::RangeInclusive<u64> = 1..=10_000;
const WINDOW_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 0..=300;
const CONCURRENCY_RANGE: std::ops::RangeInclusive<u64> = 2..=1000;
/// What becomes of objects here.
const BUCKET_EVENTS: [&str; 6] = [
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
];
/// Begin the names of all that S3 tells.
const BUCKET_GROUPS: [&str; 9] = [
    "s3:ObjectCreated:",
    "s3:ObjectRemoved:",
    "s3:ObjectRestore:",
    "s3:ObjectTagging:",
    "s3:ObjectAcl:",
    "s3:Replication:",
    "s3:Lifecycle",
    "s3:ReducedRedundancyLostObject",
    "s3:IntelligentTiering",
];
/// Patterns of one source, and characters of one of them, as Lambda takes them.
const FILTERS_MAX: usize = 10;
const FILTER_CHARACTERS_MAX: usize = 4096;
const REPORTS_FAILURES: &str = "ReportBatchItemFailures";

/// An expression that AWS would take.
pub(super) fn expression(findings: &mut Findings, node: &Node) -> Option<String> {
    let text = findings.text(node, "the schedule")?;
    match Schedule::parse_aws(&text) {
        Ok(_) => Some(text),
        Err(error) => {
            let what = format!("the schedule `{}` can't be read: {error}", shortened(&text));
            findings.wrong("E0243", node.line, what, error.fix);
            None
        }
    }
}

/// The name of a time zone.
pub(super) fn zone(findings: &mut Findings, node: &Node) -> Option<String> {
    let text = findings.text(node, "the time zone")?;
    if text.parse::<TimeZone>().is_err() {
        let what = format!("there is no time zone `{}`", shortened(&text));
        findings.wrong("E0238", node.line, what, "write a name of the IANA database, e.g. Europe/Berlin");
        return None;
    }
    Some(text)
}

/// What a schedule sends: JSON in a text, or a map.
pub(super) fn input(findings: &mut Findings, node: &Node) -> Option<serde_json::Value> {
    if let Some(unknown) = node.unknown_within() {
        findings.wrong_kind(unknown, "the input", "JSON");
        return None;
    }
    let Some(text) = node.scalar() else { return Some(node.to_json()) };
    let parsed = serde_json::from_str(text);
    if parsed.is_err() {
        findings.wrong(
            "E0116",
            node.line,
            "the input of the schedule is no JSON",
            "write e.g. '{\"key\": \"value\"}'",
        );
    }
    parsed.ok()
}

/// The name of a queue from its ARN.
pub(super) fn queue_name(findings: &mut Findings, node: &Node) -> Option<String> {
    let text = findings.text(node, "the queue")?;
    let name = name_in_arn(&text, "sqs").map(str::to_owned);
    if name.is_none() {
        let fix = "write !GetAtt Queue.Arn for a queue of this file, or an ARN as arn:aws:sqs:us-east-1:000000000000:name";
        findings.wrong("E0116", node.line, format!("`{}` is no ARN of a queue", shortened(&text)), fix);
    }
    name
}

/// The name of a topic: at the end of an ARN, or as it is.
pub(super) fn topic_name(findings: &mut Findings, node: &Node) -> Option<String> {
    let text = findings.text(node, "the topic")?;
    let name = if text.starts_with("arn:") { name_in_arn(&text, "sns") } else { Some(text.as_str()) };
    if name.is_none_or(|name| name.is_empty() || name.contains(char::is_whitespace)) {
        let fix = "write the name of a topic, or an ARN as arn:aws:sns:us-east-1:000000000000:name";
        findings.wrong("E0116", node.line, format!("`{}` is no topic", shortened(&text)), fix);
        return None;
    }
    name.map(str::to_owned)
}

/// What a function wants to hear of a topic. `scope`: `MessageBody` or, without it, `MessageAttributes`.
///
/// # Errors
/// It is wrong, which was found.
pub(super) fn filter_policy(
    findings: &mut Findings,
    policy: Option<&Node>,
    scope: Option<&Node>,
) -> Result<Option<FilterPolicy>, ()> {
    let Some(node) = policy else { return Ok(None) };
    let scope = scope.and_then(Node::scalar).unwrap_or("MessageAttributes");
    let is_of_body = match scope {
        "MessageBody" => true,
        "MessageAttributes" => false,
        other => {
            let what = format!("`{}` is no scope of a filter policy", shortened(other));
            findings.wrong("E0116", node.line, what, "write MessageAttributes or MessageBody");
            return Err(());
        }
    };
    let value = match node.scalar() {
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        None => node.to_json(),
    };
    FilterPolicy::new(&value, is_of_body).map(Some).map_err(|what| {
        findings.wrong("E0116", node.line, what, "write e.g. store: [books, {prefix: mu}]");
    })
}

/// The events of a bucket that are chosen, as S3 names them. Those that are never sent are told of.
pub(super) fn bucket_events(
    findings: &mut Findings,
    names: Vec<String>,
    subject: &str,
    line: u32,
) -> Vec<String> {
    let mut found = Vec::new();
    for name in names {
        if BUCKET_EVENTS.contains(&name.as_str()) {
            found.push(name);
        } else if BUCKET_GROUPS.iter().any(|group| name.starts_with(group)) {
            findings.missing_of(line, &shortened(&name), subject, "such changes do not happen here");
        } else {
            let what = format!("`{}` is no event of a bucket", shortened(&name));
            findings.wrong("E0116", line, what, "write e.g. s3:ObjectCreated:*");
        }
    }
    found
}

/// How the properties of a queue's event are called.
pub(super) struct QueueWords {
    pub(super) batch_size: &'static str,
    pub(super) window: &'static str,
    pub(super) response: &'static str,
    pub(super) enabled: &'static str,
    pub(super) concurrency: &'static str,
    /// None of a kind that has no filters.
    pub(super) filters: Option<Filters>,
}

/// Where patterns of messages are.
pub(super) enum Filters {
    /// `FilterCriteria: {Filters: [{Pattern: '{…}'}]}`, as Lambda's own API has them.
    Criteria,
    /// A list of patterns below this key.
    List(&'static str),
}

/// The rest of a queue's event.
pub(super) fn queue(
    findings: &mut Findings,
    name: String,
    properties: &Node,
    words: &QueueWords,
    line: u32,
) -> QueueSource {
    let mut number = |node: &Node, key: &str, range| {
        node.get(key)
            .and_then(|node| findings.number(node, key, range))
            .and_then(|number| u32::try_from(number).ok())
    };
    let batch_size = number(properties, words.batch_size, BATCH_RANGE).unwrap_or(BATCH_DEFAULT);
    let window = number(properties, words.window, WINDOW_SECONDS_RANGE).unwrap_or(0);
    let scaling = properties.get("ScalingConfig").unwrap_or(properties);
    let concurrency = number(scaling, words.concurrency, CONCURRENCY_RANGE);
    let mut reports_failures = false;
    if let Some(node) = properties.get(words.response) {
        for kind in findings.texts(node, words.response) {
            reports_failures |= kind == REPORTS_FAILURES;
            if kind != REPORTS_FAILURES {
                let what = format!("`{}` is no response of a function to a queue", shortened(&kind));
                findings.wrong("E0116", node.line, what, format!("write {REPORTS_FAILURES}"));
            }
        }
    }
    let enabled = findings.optional(properties, words.enabled, Findings::flag).unwrap_or(true);
    let window = Duration::from_secs(u64::from(window));
    let filters =
        words.filters.as_ref().map(|place| filters(findings, properties, place)).unwrap_or_default();
    QueueSource {
        queue: name,
        batch_size,
        window,
        reports_failures,
        enabled,
        concurrency,
        visibility: None,
        redrive: None,
        filters,
        line,
    }
}

/// Patterns of the messages that a function wants.
fn filters(findings: &mut Findings, properties: &Node, place: &Filters) -> Vec<Pattern> {
    let list = match place {
        Filters::Criteria => properties.at(&["FilterCriteria", "Filters"]),
        Filters::List(key) => properties.get(key),
    };
    let Some(list) = list else { return Vec::new() };
    let items = findings.items(list, "the list of filters");
    if items.len() > FILTERS_MAX {
        let what = format!("there are {} filters", items.len());
        findings.wrong("E0116", list.line, what, format!("write at most {FILTERS_MAX}"));
    }
    items.iter().filter_map(|item| filter(findings, item, place)).collect()
}

fn filter(findings: &mut Findings, item: &Node, place: &Filters) -> Option<Pattern> {
    const FIX: &str = "write e.g. '{\"body\": {\"kind\": [\"order\", {\"prefix\": \"re\"}]}}'";
    let value = match place {
        Filters::Criteria => {
            let Some(node) = item.get("Pattern") else {
                findings.wrong("E0116", item.line, "a filter has no Pattern", FIX);
                return None;
            };
            let text = findings.text(node, "the pattern of a filter")?;
            let parsed = serde_json::from_str(&text);
            parsed.map_err(|error| (node.line, format!("the pattern of a filter is no JSON: {error}")))
        }
        Filters::List(_) => match item.unknown_within() {
            Some(unknown) => {
                findings.wrong_kind(unknown, "the pattern of a filter", "a value");
                return None;
            }
            None => Ok(item.to_json()),
        },
    };
    let line = item.line;
    let pattern = value.and_then(|value: serde_json::Value| {
        if value.to_string().chars().count() > FILTER_CHARACTERS_MAX {
            let what = format!("the pattern of a filter has more than {FILTER_CHARACTERS_MAX} characters");
            return Err((line, what));
        }
        Pattern::new(&value, Shape::Nested).map_err(|what| (line, format!("the pattern of a filter: {what}")))
    });
    pattern.map_err(|(line, what)| findings.wrong("E0116", line, what, FIX)).ok()
}
