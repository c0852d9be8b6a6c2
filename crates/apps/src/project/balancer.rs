//! Rules of load balancers, as templates and a serverless.yml have them in common.

use std::collections::BTreeSet;

use ingle_types::balancer::{Condition, Network, Rule};

use super::findings::{Findings, shortened};
use super::node::{Kind, Node};
use super::{Api, EventSource, HttpSource, ProjectFunction, http};

/// As Elastic Load Balancing takes them.
const PRIORITY_RANGE: std::ops::RangeInclusive<u64> = 1..=50_000;
/// After every rule that has a priority.
pub(super) const DEFAULT_PRIORITY: u32 = u32::MAX;

/// Where the requests of a rule go.
pub(super) struct Target {
    /// The listener, by its key in the file or its ARN.
    pub(super) listener: String,
    /// An ARN.
    pub(super) group: String,
    pub(super) multi_value: bool,
    /// Who lets only some callers through at AWS.
    pub(super) guard: Option<String>,
}

/// The listener by what the file says of it: which one it is matters only for what is not in the file.
pub(super) fn listener(findings: &mut Findings, node: &Node) -> Option<String> {
    match (&node.reference, &node.kind) {
        (Some(id), _) => Some(id.clone()),
        (None, Kind::Unknown(unknown)) if !unknown.is_error => Some("listener".to_owned()),
        (None, _) => findings.text(node, "the listener"),
    }
}

pub(super) fn priority(findings: &mut Findings, node: &Node) -> Option<u32> {
    let number = findings.number(node, "the priority", PRIORITY_RANGE)?;
    u32::try_from(number).ok()
}

/// Patterns or values of a condition, one or several.
pub(super) fn values(findings: &mut Findings, node: &Node, what: &str) -> Option<Vec<String>> {
    let errors = findings.errors();
    let found = findings.texts(node, what);
    // With a value less the rule would take other requests.
    if findings.errors() > errors {
        return None;
    }
    if found.is_empty() || found.iter().any(String::is_empty) {
        findings.wrong("E0116", node.line, format!("{what} has no value"), "write at least one");
        return None;
    }
    Some(found)
}

/// Members of a query. Without any, no request would fit.
pub(super) fn query(
    findings: &mut Findings,
    line: u32,
    pairs: Vec<(Option<String>, String)>,
) -> Option<Condition> {
    if pairs.is_empty() {
        findings.wrong("E0116", line, "the condition on the query has no value", "write at least one");
        return None;
    }
    Some(Condition::Query(pairs))
}

/// Where callers are.
pub(super) fn networks(findings: &mut Findings, node: &Node, what: &str) -> Option<Condition> {
    let mut networks = Vec::new();
    for text in values(findings, node, what)? {
        let Ok(network) = text.parse::<Network>() else {
            let found = format!("`{}` is no network", shortened(&text));
            findings.wrong("E0116", node.line, found, "write an address and its bits: 192.0.2.0/24");
            return None;
        };
        networks.push(network);
    }
    Some(Condition::Source(networks))
}

/// A kind of condition that is none. The rule is not served, as it would take more than it says.
pub(super) fn unknown_condition(findings: &mut Findings, line: u32, name: &str, known: &[&str]) {
    let what = format!("`{}` is no condition of a rule", shortened(name));
    findings.wrong("E0116", line, what, format!("write one of {}", known.join(", ")));
}

/// The route that a rule is.
pub(super) fn source(rule: Rule, target: Target, line: u32) -> HttpSource {
    let path = rule.conditions.iter().find_map(|condition| match condition {
        Condition::Path(patterns) => Some(patterns.join(" or ")),
        _ => None,
    });
    let Target { listener, group, multi_value, guard } = target;
    HttpSource {
        api: Api::Alb { listener, rule, target_group: group, multi_value },
        method: None,
        path: path.unwrap_or_else(|| http::DEFAULT.to_owned()),
        stage: http::DEFAULT.to_owned(),
        cors: None,
        front: Box::default(),
        guard,
        file: None,
        line,
    }
}

/// That a listener has one rule of a priority, as at AWS.
pub(super) fn check(findings: &mut Findings, functions: &[ProjectFunction]) {
    let mut taken = BTreeSet::new();
    for function in functions {
        for source in &function.sources {
            let EventSource::Http(HttpSource { api: Api::Alb { listener, rule, .. }, line, .. }) = source
            else {
                continue;
            };
            if taken.insert((listener, rule.priority)) {
                continue;
            }
            findings.function = Some(function.id.clone());
            let what = format!("another rule of the listener has the priority {}, too", rule.priority);
            findings.wrong("E0116", *line, what, "give one of them another priority");
            findings.function = None;
        }
    }
}
