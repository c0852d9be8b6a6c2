//! Queues that a project declares (`AWS::SQS::Queue`), in a template or below `resources` of a serverless.yml.

use std::ops::RangeInclusive;
use std::time::Duration;

use ingle_types::queue::QueueSettings;
use ingle_types::spec::Redrive;

use super::findings::Findings;
use super::intrinsics::Evaluator;
use super::later;
use super::node::{Fault, Member, Node};
use super::resources::Kind;
use super::{EventSource, ProjectFunction};

/// As SQS takes them.
const VISIBILITY_SECONDS_RANGE: RangeInclusive<u64> = 0..=43_200;
const DELAY_SECONDS_RANGE: RangeInclusive<u64> = 0..=900;
const WAIT_SECONDS_RANGE: RangeInclusive<u64> = 0..=20;
const RECEIVES_RANGE: RangeInclusive<u64> = 1..=1000;

/// In the order of the file.
///
/// # Errors
/// The file grows past its bounds.
pub(super) fn read(
    findings: &mut Findings,
    evaluator: &mut Evaluator<'_>,
    resources: &[Member],
) -> Result<Vec<QueueSettings>, Fault> {
    let mut found = Vec::new();
    for resource in resources.iter().filter(|one| Kind::of(&one.value) == Some(Kind::Queue)) {
        let name = evaluator.name(&resource.key, &resource.value, Kind::Queue)?;
        let Some(value) = evaluator.evaluate(&resource.value)? else { continue };
        // What is wrong with a name was told of where it is read.
        if let Ok(name) = name {
            found.push(settings(findings, name, &Member { value, ..resource.clone() }));
        }
    }
    Ok(found)
}

fn settings(findings: &mut Findings, name: String, resource: &Member) -> QueueSettings {
    let mut settings = QueueSettings::new(&name);
    let Some(properties) = resource.value.get("Properties") else { return settings };
    let mut seconds = |key: &str, range: RangeInclusive<u64>| {
        let node = properties.get(key).filter(|node| !node.is_null())?;
        findings.number(node, &format!("{key} of {}", resource.key), range).map(Duration::from_secs)
    };
    settings.visibility = seconds("VisibilityTimeout", VISIBILITY_SECONDS_RANGE);
    if let Some(delay) = seconds("DelaySeconds", DELAY_SECONDS_RANGE) {
        settings.delay = delay;
    }
    if let Some(wait) = seconds("ReceiveMessageWaitTimeSeconds", WAIT_SECONDS_RANGE) {
        settings.wait = wait;
    }
    // Nothing else says that the content is enough.
    settings.deduplicates_by_content = settings.is_fifo()
        && findings.optional(properties, "ContentBasedDeduplication", Findings::flag).unwrap_or(false);
    settings.redrive =
        properties.get("RedrivePolicy").and_then(|policy| redrive(findings, &resource.key, policy));
    settings
}

fn redrive(findings: &mut Findings, id: &str, policy: &Node) -> Option<Redrive> {
    let (Some(arn), Some(count)) = (policy.get("deadLetterTargetArn"), policy.get("maxReceiveCount")) else {
        let fix = "write deadLetterTargetArn and maxReceiveCount below it";
        findings.wrong("E0116", policy.line, format!("the RedrivePolicy of {id} says too little"), fix);
        return None;
    };
    let receives_max = findings.number(count, "maxReceiveCount", RECEIVES_RANGE);
    let queue = later::queue(findings, id, "deadLetterTargetArn", arn);
    Some(Redrive { queue: queue?, receives_max: u32::try_from(receives_max?).ok()? })
}

/// Lets the queues of functions have what was said of them, by their names.
pub(super) fn apply(functions: &mut [ProjectFunction], queues: &[QueueSettings]) {
    for source in functions.iter_mut().flat_map(|function| &mut function.sources) {
        if let EventSource::Queue(source) = source {
            let declared = queues.iter().find(|declared| declared.name == source.queue);
            source.visibility = declared.and_then(|declared| declared.visibility);
            source.redrive = declared.and_then(|declared| declared.redrive.clone());
        }
    }
}
