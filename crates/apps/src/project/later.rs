//! What becomes of events that nobody waits for, as both kinds of projects say it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ingle_types::spec::{LaterOptions, LaterTarget, embedded_name};

use super::ProjectFunction;
use super::findings::{Findings, shortened};
use super::node::{Kind, Node};
use super::resources::name_in_arn;

/// As Lambda takes them.
const RETRIES_RANGE: std::ops::RangeInclusive<u64> = 0..=2;
const AGE_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 60..=21_600;

/// Of a function in a template.
pub(super) fn of_template(findings: &mut Findings, id: &str, properties: &Node) -> LaterOptions {
    let empty = Node::new(Kind::Map(Vec::new()), properties.line);
    let config = properties.get("EventInvokeConfig").unwrap_or(&empty);
    let mut later = numbers(findings, config, ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"]);
    let mut target = |key: &str| {
        let destination = config.at(&["DestinationConfig", key])?;
        let Some(node) = destination.get("Destination") else {
            let why = "it names no Destination, and Ingle makes none";
            findings.ignore_of(destination.line, key, id, why);
            return None;
        };
        target(findings, id, key, node, None)
    };
    (later.on_success, later.on_failure) = (target("OnSuccess"), target("OnFailure"));
    let dead =
        ["DeadLetterQueue", "DeadLetterConfig"].iter().find_map(|key| properties.at(&[key, "TargetArn"]));
    later.dead_letters = dead.and_then(|node| queue(findings, id, "the dead-letter queue", node));
    later
}

/// Of a function in a serverless.yml. `names`: of its functions, by their keys.
pub(super) fn of_serverless(
    findings: &mut Findings,
    names: &BTreeMap<String, String>,
    id: &str,
    config: &Node,
) -> LaterOptions {
    let mut later = numbers(findings, config, ["maximumRetryAttempts", "maximumEventAge"]);
    let mut target = |key: &str| {
        let node = config.at(&["destinations", key])?;
        target(findings, id, key, node.get("arn").unwrap_or(node), Some(names))
    };
    (later.on_success, later.on_failure) = (target("onSuccess"), target("onFailure"));
    let dead = config.get("onError").map(|node| node.get("arn").unwrap_or(node));
    later.dead_letters = dead.and_then(|node| queue(findings, id, "onError", node));
    later
}

fn numbers(findings: &mut Findings, config: &Node, [retries, age]: [&str; 2]) -> LaterOptions {
    let mut later = LaterOptions::default();
    let found = config.get(retries).and_then(|node| findings.number(node, retries, RETRIES_RANGE));
    if let Some(count) = found.and_then(|count| u32::try_from(count).ok()) {
        later.retries_max = count;
    }
    if let Some(seconds) = config.get(age).and_then(|node| findings.number(node, age, AGE_SECONDS_RANGE)) {
        later.age_max = Duration::from_secs(seconds);
    }
    later
}

/// A queue or a function of the project; what else AWS takes is told of. `names`: a key alone is that of a function.
fn target(
    findings: &mut Findings,
    id: &str,
    key: &str,
    node: &Node,
    names: Option<&BTreeMap<String, String>>,
) -> Option<LaterTarget> {
    let text = findings.text(node, key)?;
    if let Some(name) = name_in_arn(&text, "sqs") {
        return Some(LaterTarget::Queue(embedded_name(name, "queue")));
    }
    if let Some(rest) = name_in_arn(&text, "lambda") {
        let name = rest.strip_prefix("function:").unwrap_or(rest);
        return Some(LaterTarget::Function(name.split(':').next().unwrap_or(name).to_owned()));
    }
    if let Some(name) = names.and_then(|names| names.get(&text)) {
        return Some(LaterTarget::Function(name.clone()));
    }
    let why = format!("`{}` is neither a queue nor a function", shortened(&text));
    findings.ignore_of(node.line, key, id, &why);
    None
}

/// A queue by its ARN; what else stands there is told of.
pub(super) fn queue(findings: &mut Findings, id: &str, key: &str, node: &Node) -> Option<String> {
    match target(findings, id, key, node, None)? {
        LaterTarget::Queue(queue) => Some(queue),
        LaterTarget::Function(_) => {
            findings.ignore_of(node.line, key, id, "it is no queue");
            None
        }
    }
}

/// Drops destinations that are no functions here: nobody would hear of what is sent there.
pub(super) fn check(findings: &mut Findings, functions: &mut [ProjectFunction]) {
    let names: BTreeSet<String> = functions.iter().map(|function| function.name.clone()).collect();
    for function in functions {
        let targets = [
            ("its destination of what was done", &mut function.later.on_success),
            ("its destination of what failed", &mut function.later.on_failure),
        ];
        for (what, target) in targets {
            let unknown = match target {
                Some(LaterTarget::Function(name)) if !names.contains(name) => shortened(name),
                _ => continue,
            };
            *target = None;
            let why = format!("the function {unknown} is not served");
            findings.missing_of(function.line, what, &function.id, &why);
        }
    }
}
