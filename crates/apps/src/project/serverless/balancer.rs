//! Events of type alb of a serverless.yml.

use ingle_types::balancer::{Condition, Rule, target_group};

use super::super::HttpSource;
use super::super::balancer::{self, Target};
use super::super::findings::Findings;
use super::super::intrinsics::ACCOUNT;
use super::super::node::{Member, Node};
use super::events::{Door, note_others};

const CONDITIONS: [&str; 6] = ["path", "host", "method", "header", "query", "ip"];

/// The rule of an event; `None`, with a finding, if it is none.
pub(super) fn rule(findings: &mut Findings, door: &Door<'_>, id: &str, event: &Member) -> Option<HttpSource> {
    let config = &event.value;
    findings.members(config, "the event alb");
    let known =
        ["listenerArn", "priority", "conditions", "multiValueHeaders", "authorizer", "targetGroupName"];
    note_others(findings, config, "alb", &known);
    let mut required = |key: &str, fix: &str| {
        let found = config.get(key);
        if found.is_none() {
            findings.wrong("E0116", event.line, format!("the event alb has no {key}"), fix);
        }
        found
    };
    let listener = required("listenerArn", "write listenerArn: and the listener of the load balancer");
    let priority = required("priority", "write priority: and a number, e.g. 1");
    let wanted = required("conditions", "write conditions: with e.g. path: /hello");
    let listener = balancer::listener(findings, listener?)?;
    let priority = balancer::priority(findings, priority?)?;
    let conditions = conditions(findings, wanted?)?;
    let shared = door.provider.get("alb");
    let multi_value = config.get("multiValueHeaders").or(shared.and_then(|alb| alb.get("multiValueHeaders")));
    let multi_value = multi_value.map_or(Some(false), |node| findings.flag(node, "multiValueHeaders"))?;
    let name = findings.optional(config, "targetGroupName", Findings::text);
    let group = target_group(door.region, ACCOUNT, name.as_deref().unwrap_or(id));
    let guard = config.get("authorizer").map(|node| {
        let names: Vec<&str> = node.items().iter().chain([node]).filter_map(Node::scalar).collect();
        format!("the authorizer {}", names.join(", "))
    });
    let target = Target { listener, group, multi_value, guard };
    Some(balancer::source(Rule { priority, conditions }, target, event.line))
}

fn conditions(findings: &mut Findings, node: &Node) -> Option<Vec<Condition>> {
    let mut found = Vec::new();
    for member in findings.members(node, "conditions") {
        let (key, value) = (member.key.as_str(), &member.value);
        let what = format!("the condition {key}");
        match key {
            "path" => found.push(Condition::Path(balancer::values(findings, value, &what)?)),
            "host" => found.push(Condition::Host(balancer::values(findings, value, &what)?)),
            "method" => found.push(Condition::Method(balancer::values(findings, value, &what)?)),
            "header" => {
                let headers =
                    if value.items().is_empty() { std::slice::from_ref(value) } else { value.items() };
                for header in headers {
                    found.push(self::header(findings, header, &what)?);
                }
            }
            "query" => {
                let mut pairs = Vec::new();
                for pair in findings.members(value, &what) {
                    pairs.push((Some(pair.key.clone()), findings.text(&pair.value, &what)?));
                }
                found.push(balancer::query(findings, member.line, pairs)?);
            }
            "ip" => found.push(balancer::networks(findings, value, &what)?),
            _ => {
                balancer::unknown_condition(findings, member.line, key, &CONDITIONS);
                return None;
            }
        }
    }
    if found.is_empty() {
        findings.wrong("E0116", node.line, "the event alb has no conditions", "write e.g. path: /hello");
        return None;
    }
    Some(found)
}

fn header(findings: &mut Findings, node: &Node, what: &str) -> Option<Condition> {
    let (Some(name), Some(values)) = (node.get("name"), node.get("values")) else {
        let fix = "write name: and values:, e.g. {name: X-Kind, values: [big]}";
        findings.wrong("E0116", node.line, format!("{what} has no name, or no values"), fix);
        return None;
    };
    let name = findings.text(name, "the name of a header")?;
    Some(Condition::Header { name, values: balancer::values(findings, values, what)? })
}
