//! Subscriptions to topics that stand beside functions: `AWS::SNS::Subscription`, and `Subscription` of `AWS::SNS::Topic`.

use std::collections::BTreeSet;

use super::findings::{Findings, shortened};
use super::intrinsics::Evaluator;
use super::node::{Fault, Member, Node};
use super::resources::{Kind, name_in_arn};
use super::{EventSource, ProjectFunction, QueueSubscription, TopicSource, sources};

const SUBSCRIPTION: &str = "AWS::SNS::Subscription";
/// Properties of a subscription that are applied.
const APPLIED: [&str; 6] =
    ["TopicArn", "Protocol", "Endpoint", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery"];

/// Who a subscription is for.
enum Subscriber {
    Queue(QueueSubscription),
    /// A function, by its name.
    Function(String, TopicSource),
}

/// Those of queues. Functions that are subscribed get the topic as a source.
///
/// # Errors
/// The file grows past its bounds.
pub(super) fn read(
    findings: &mut Findings,
    evaluator: &mut Evaluator<'_>,
    resources: &[Member],
    functions: &mut [ProjectFunction],
) -> Result<Vec<QueueSubscription>, Fault> {
    let mut found = Vec::new();
    for resource in resources {
        let is_topic = Kind::of(&resource.value) == Some(Kind::Topic);
        if !is_topic && !is_one(resource) {
            continue;
        }
        let name =
            if is_topic { evaluator.name(&resource.key, &resource.value, Kind::Topic)?.ok() } else { None };
        let Some(value) = evaluator.evaluate(&resource.value)? else { continue };
        let Some(properties) = value.get("Properties") else { continue };
        match name {
            Some(topic) => {
                let listed = properties.get("Subscription").map_or(&[][..], Node::items);
                found
                    .extend(listed.iter().filter_map(|one| subscriber(findings, &resource.key, &topic, one)));
            }
            None if is_topic => {}
            None => found.extend(of_resource(findings, &resource.key, properties)),
        }
    }
    let mut queues = Vec::new();
    for subscriber in found {
        match subscriber {
            Subscriber::Queue(subscription) => queues.push(subscription),
            Subscriber::Function(name, source) => match functions.iter_mut().find(|one| one.name == name) {
                Some(function) => function.sources.push(EventSource::Topic(source)),
                None => {
                    findings.missing(source.line, "a subscription", format!("there is no function {name}"))
                }
            },
        }
    }
    Ok(queues)
}

/// Whether a resource is a subscription.
pub(super) fn is_one(resource: &Member) -> bool {
    resource.value.get("Type").and_then(Node::scalar) == Some(SUBSCRIPTION)
}

/// Keys of all of them, which do something.
pub(super) fn keys(resources: &[Member]) -> BTreeSet<String> {
    resources.iter().filter(|one| is_one(one)).map(|one| one.key.clone()).collect()
}

fn of_resource(findings: &mut Findings, id: &str, properties: &Node) -> Option<Subscriber> {
    for property in properties.members().iter().filter(|one| !APPLIED.contains(&one.key.as_str())) {
        findings.ignore_of(property.line, &property.key, id, "it is not applied here");
    }
    let Some(node) = properties.get("TopicArn") else {
        let what = format!("the subscription {id} has no TopicArn");
        findings.wrong("E0116", properties.line, what, "write TopicArn: !Ref and the topic");
        return None;
    };
    let topic = sources::topic_name(findings, node)?;
    subscriber(findings, id, &topic, properties)
}

/// Who hears of a topic; other protocols than those of queues and functions are told of.
fn subscriber(findings: &mut Findings, id: &str, topic: &str, node: &Node) -> Option<Subscriber> {
    let line = node.line;
    let protocol = node.get("Protocol").and_then(Node::scalar).unwrap_or_default().to_owned();
    let service = match protocol.as_str() {
        "sqs" => "sqs",
        "lambda" => "lambda",
        "" => {
            findings.wrong(
                "E0116",
                line,
                format!("a subscription of {id} has no Protocol"),
                "write Protocol: sqs",
            );
            return None;
        }
        other => {
            let why = format!("nobody is told by {} here", shortened(other));
            findings.ignore(line, format!("a subscription of {id}"), why);
            return None;
        }
    };
    let Some(endpoint) = node.get("Endpoint") else {
        let what = format!("a subscription of {id} has no Endpoint");
        findings.wrong("E0116", line, what, "write Endpoint: !GetAtt Queue.Arn");
        return None;
    };
    let text = findings.text(endpoint, "the endpoint of a subscription")?;
    let Some(name) = name_in_arn(&text, service) else {
        let what =
            format!("`{}` is no ARN of {service}, which the endpoint of {id} has to be", shortened(&text));
        findings.wrong("E0116", endpoint.line, what, "write Endpoint: !GetAtt Queue.Arn");
        return None;
    };
    let (policy, scope) = (node.get("FilterPolicy"), node.get("FilterPolicyScope"));
    let filter = sources::filter_policy(findings, policy, scope).ok()?;
    let is_raw = findings.optional(node, "RawMessageDelivery", Findings::flag).unwrap_or(false);
    let topic = topic.to_owned();
    Some(if service == "sqs" {
        Subscriber::Queue(QueueSubscription { topic, queue: name.to_owned(), filter, is_raw, line })
    } else {
        let name = name.strip_prefix("function:").unwrap_or(name);
        let name = name.split(':').next().unwrap_or(name).to_owned();
        Subscriber::Function(name, TopicSource { topic, filter, line })
    })
}
