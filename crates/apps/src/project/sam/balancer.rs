//! Listeners, rules and target groups of load balancers of a template.

use std::collections::BTreeSet;

use ingle_types::balancer::{Condition, Rule};

use super::super::balancer::{self, DEFAULT_PRIORITY};
use super::super::findings::Findings;
use super::super::node::{Member, Node};
use super::super::resources::Kind as ResourceKind;
use super::super::{EventSource, HttpSource};
use super::wiring::Target;
use super::{Template, events};

const MULTI_VALUE: &str = "lambda.multi_value_headers.enabled";
const RULE: &str = "AWS::ElasticLoadBalancingV2::ListenerRule";
const FIELDS: [&str; 6] =
    ["path-pattern", "host-header", "http-request-method", "http-header", "query-string", "source-ip"];

/// The rules that lead to one function. `taken` gets the keys of the resources that do so.
pub(super) fn read(
    findings: &mut Findings,
    template: &Template<'_>,
    target: &Target<'_>,
    taken: &mut BTreeSet<String>,
) -> Vec<EventSource> {
    let mut found = Vec::new();
    for resource in template.resources.values() {
        let Some(properties) = resource.value.get("Properties") else { continue };
        let is_rule = resource.value.get("Type").and_then(Node::scalar) == Some(RULE);
        let is_listener = ResourceKind::of(&resource.value) == Some(ResourceKind::Listener);
        let actions = match (is_rule, is_listener) {
            (true, _) => properties.get("Actions"),
            (_, true) => properties.get("DefaultActions"),
            _ => None,
        };
        let Some((group, arn)) = actions.and_then(|actions| group(template, actions, target)) else {
            continue;
        };
        taken.extend([resource.key.clone(), group.key.clone()]);
        let (listener, rule) = if is_rule {
            (listener(findings, resource, properties, taken), self::rule(findings, resource, properties))
        } else {
            let rule = Rule { priority: DEFAULT_PRIORITY, conditions: Vec::new() };
            (Some(resource.key.clone()), Some(rule))
        };
        let multi_value = multi_value(findings, group);
        let (Some(listener), Some(rule), Some(multi_value)) = (listener, rule, multi_value) else { continue };
        let guard = actions.and_then(guard);
        let target = balancer::Target { listener, group: arn, multi_value, guard };
        let source: HttpSource = balancer::source(rule, target, resource.line);
        found.push(EventSource::Http(source));
    }
    found
}

/// The group of the function to which the actions lead, with its ARN.
fn group<'a>(template: &Template<'a>, actions: &Node, target: &Target<'_>) -> Option<(&'a Member, String)> {
    let forward =
        actions.items().iter().find(|one| one.get("Type").and_then(Node::scalar) == Some("forward"))?;
    let listed = forward.at(&["ForwardConfig", "TargetGroups"]).and_then(|groups| groups.items().first());
    let arn = forward.get("TargetGroupArn").or_else(|| listed?.get("TargetGroupArn"))?;
    let group = *template.resources.get(arn.reference.as_deref()?)?;
    let targets = group.value.at(&["Properties", "Targets"]).map_or(&[][..], Node::items);
    let is_meant = targets.iter().any(|one| target.is_meant(one.get("Id")));
    let is_group = ResourceKind::of(&group.value) == Some(ResourceKind::TargetGroup);
    (is_meant && is_group).then(|| Some((group, arn.scalar()?.to_owned())))?
}

/// What asks callers who they are at AWS.
fn guard(actions: &Node) -> Option<String> {
    let kinds = actions.items().iter().filter_map(|one| one.get("Type").and_then(Node::scalar));
    kinds.into_iter().find(|kind| kind.starts_with("authenticate-")).map(|kind| format!("the action {kind}"))
}

fn listener(
    findings: &mut Findings,
    resource: &Member,
    properties: &Node,
    taken: &mut BTreeSet<String>,
) -> Option<String> {
    let Some(node) = properties.get("ListenerArn") else {
        let what = format!("the rule {} has no ListenerArn", resource.key);
        findings.wrong("E0116", resource.line, what, "write it, e.g. !Ref Listener");
        return None;
    };
    taken.extend(node.reference.clone());
    balancer::listener(findings, node)
}

fn rule(findings: &mut Findings, resource: &Member, properties: &Node) -> Option<Rule> {
    events::note_others(
        findings,
        properties,
        &resource.key,
        &["ListenerArn", "Priority", "Conditions", "Actions"],
    );
    let (Some(priority), Some(listed)) = (properties.get("Priority"), properties.get("Conditions")) else {
        let what = format!("the rule {} has no Priority, or no Conditions", resource.key);
        findings.wrong("E0116", resource.line, what, "write both of them");
        return None;
    };
    let priority = balancer::priority(findings, priority)?;
    let items = findings.items(listed, "Conditions");
    if items.is_empty() {
        // It would take every request.
        let what = format!("the rule {} has no conditions", resource.key);
        findings.wrong("E0116", listed.line, what, "write e.g. - {Field: path-pattern, Values: [/hello]}");
        return None;
    }
    let conditions = items.iter().map(|item| condition(findings, item)).collect::<Option<_>>()?;
    Some(Rule { priority, conditions })
}

fn condition(findings: &mut Findings, node: &Node) -> Option<Condition> {
    let field = node.get("Field").and_then(Node::scalar).unwrap_or_default();
    // Older templates have the values beside the field.
    let mut values = |config: &str| {
        let values = node.at(&[config, "Values"]).or(node.get("Values")).unwrap_or(node);
        balancer::values(findings, values, &format!("the condition {field}"))
    };
    match field {
        "path-pattern" => values("PathPatternConfig").map(Condition::Path),
        "host-header" => values("HostHeaderConfig").map(Condition::Host),
        "http-request-method" => values("HttpRequestMethodConfig").map(Condition::Method),
        "http-header" => {
            let values = values("HttpHeaderConfig")?;
            let name = node.at(&["HttpHeaderConfig", "HttpHeaderName"]).unwrap_or(node);
            let name = findings.text(name, "the name of a header")?;
            Some(Condition::Header { name, values })
        }
        "query-string" => {
            let listed = node.at(&["QueryStringConfig", "Values"]).unwrap_or(node);
            let mut pairs = Vec::new();
            for pair in findings.items(listed, "the condition query-string") {
                let key = findings.optional(pair, "Key", Findings::text);
                pairs.push((key, findings.text(pair.get("Value").unwrap_or(pair), "Value")?));
            }
            balancer::query(findings, node.line, pairs)
        }
        "source-ip" => {
            let listed = node.at(&["SourceIpConfig", "Values"]).unwrap_or(node);
            balancer::networks(findings, listed, "the condition source-ip")
        }
        _ => {
            balancer::unknown_condition(findings, node.line, field, &FIELDS);
            None
        }
    }
}

/// Whether the group wants lists of values. What else it says is about other targets than functions.
fn multi_value(findings: &mut Findings, group: &Member) -> Option<bool> {
    let attributes = group.value.at(&["Properties", "TargetGroupAttributes"]).map_or(&[][..], Node::items);
    let one = attributes.iter().find(|one| one.get("Key").and_then(Node::scalar) == Some(MULTI_VALUE));
    one.and_then(|one| one.get("Value")).map_or(Some(false), |node| findings.flag(node, MULTI_VALUE))
}
