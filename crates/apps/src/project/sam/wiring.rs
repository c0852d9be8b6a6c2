//! Resources beside a function that start it: what CloudFormation has where SAM has `Events`.

use std::collections::BTreeSet;

use super::super::findings::Findings;
use super::super::node::{Kind, Member, Node};
use super::super::resources::name_in_arn;
use super::super::{EventSource, ScheduleSource, sources};
use super::{Template, balancer, events};

/// The function that is looked for.
pub(super) struct Target<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
}

impl Target<'_> {
    /// Whether a value is the function's name or ARN.
    pub(super) fn is_meant(&self, node: Option<&Node>) -> bool {
        let Some(node) = node else { return false };
        if let Some(id) = &node.reference {
            return id == self.id;
        }
        let name = node.scalar().map(|text| {
            let in_arn = name_in_arn(text, "lambda").and_then(|rest| rest.strip_prefix("function:"));
            in_arn.map_or(text, |rest| rest.split(':').next().unwrap_or(rest))
        });
        name == Some(self.name)
    }
}

/// What the template's resources have for one function. `taken` gets the keys of those that do something.
pub(super) fn read(
    findings: &mut Findings,
    template: &Template<'_>,
    target: &Target<'_>,
    taken: &mut BTreeSet<String>,
) -> Vec<EventSource> {
    let mut found = Vec::new();
    for resource in template.resources.values() {
        let kind = resource.value.get("Type").and_then(Node::scalar).unwrap_or_default();
        let Some(properties) = resource.value.get("Properties") else { continue };
        let count = found.len();
        match kind {
            "AWS::Lambda::EventSourceMapping" => {
                found.extend(queue(findings, resource, properties, target).map(EventSource::Queue));
            }
            "AWS::Lambda::Url" if target.is_meant(properties.get("TargetFunctionArn")) => {
                let url =
                    Member { key: resource.key.clone(), line: resource.line, value: properties.clone() };
                found.extend(events::function_url(findings, &url).map(EventSource::Http));
            }
            "AWS::Events::Rule" => found.extend(rule(findings, resource, properties, target)),
            "AWS::Scheduler::Schedule" => {
                let receiver = properties.get("Target").filter(|one| target.is_meant(one.get("Arn")));
                let Some(receiver) = receiver else { continue };
                let schedule = schedule(findings, resource, properties, receiver, true);
                found.extend(schedule.map(EventSource::Schedule));
            }
            _ => {}
        }
        if found.len() > count {
            taken.insert(resource.key.clone());
        }
    }
    found.extend(balancer::read(findings, template, target, taken));
    found
}

/// Of mappings only those of queues.
fn queue(
    findings: &mut Findings,
    resource: &Member,
    properties: &Node,
    target: &Target<'_>,
) -> Option<super::super::QueueSource> {
    let arn = properties.get("EventSourceArn").and_then(Node::scalar);
    let name = name_in_arn(arn?, "sqs").filter(|_| target.is_meant(properties.get("FunctionName")))?;
    let known = ["EventSourceArn", "FunctionName", "Tags"];
    let known = [&known[..], &events::QUEUE_PROPERTIES].concat();
    events::note_others(findings, properties, &resource.key, &known);
    Some(sources::queue(findings, name.to_owned(), properties, &events::QUEUE_WORDS, resource.line))
}

/// A rule with a schedule, for each of its targets that is the function.
fn rule(
    findings: &mut Findings,
    resource: &Member,
    properties: &Node,
    target: &Target<'_>,
) -> Vec<EventSource> {
    let mut found = Vec::new();
    if properties.get("ScheduleExpression").is_none() {
        return found;
    }
    for receiver in properties.get("Targets").map_or(&[][..], Node::items) {
        if target.is_meant(receiver.get("Arn")) {
            let schedule = schedule(findings, resource, properties, receiver, false);
            found.extend(schedule.map(EventSource::Schedule));
        }
    }
    found
}

fn schedule(
    findings: &mut Findings,
    resource: &Member,
    properties: &Node,
    receiver: &Node,
    is_scheduler: bool,
) -> Option<ScheduleSource> {
    let known = ["Arn", "Id", "Input", "RoleArn"];
    events::note_others(findings, receiver, &resource.key, &known);
    // The event stands at the one who gets it, and the rest is as in an event of SAM.
    let mut members = properties.members().to_vec();
    members.retain(|member| !matches!(member.key.as_str(), "Target" | "Targets" | "Input"));
    members.extend(receiver.member("Input").cloned());
    let properties = Node::new(Kind::Map(members), properties.line);
    let source =
        events::schedule(findings, resource, &properties, "ScheduleExpression", &events::SCHEDULE_V2)?;
    Some(ScheduleSource { is_scheduler, ..source })
}
