//! Keys of callers of a serverless.yml, below `provider: apiGateway:`.

use ingle_types::usage::{ApiKey, UsagePlan};

use super::super::findings::Findings;
use super::super::front;
use super::super::keys::{self, Words};
use super::super::node::{Kind, Node};

const WORDS: Words =
    Words { rate: "rateLimit", burst: "burstLimit", limit: "limit", period: "period", offset: "offset" };
/// The plan without a name.
const ONLY: &str = "default";

/// `None`, with a finding, if they can't be applied.
pub(super) fn read(findings: &mut Findings, provider: &Node) -> Option<Vec<ApiKey>> {
    let of = |name: &str| provider.at(&["apiGateway", name]).or_else(|| provider.get(name));
    let plans = of("usagePlan");
    let mut found = Vec::new();
    let Some(listed) = of("apiKeys") else { return Some(found) };
    for item in findings.items(listed, "apiKeys") {
        // Keys of a plan stand below its name.
        match item.members() {
            [group] if matches!(group.value.kind, Kind::List(_)) => {
                let plan = plan(findings, plans, Some(&group.key))?;
                for item in group.value.items() {
                    let key = key(findings, item, (found.len(), plan.clone()))?;
                    add(findings, &mut found, key, item.line)?;
                }
            }
            _ => {
                let plan = plan(findings, plans, None)?;
                let key = key(findings, item, (found.len(), plan))?;
                add(findings, &mut found, key, item.line)?;
            }
        }
    }
    Some(found)
}

/// `None`, with a finding, if it would be one with another.
fn add(findings: &mut Findings, found: &mut Vec<ApiKey>, key: Option<ApiKey>, line: u32) -> Option<()> {
    let Some(key) = key else { return Some(()) };
    let is_twin = |other: &&ApiKey| other.value.is_none() && keys::are_one(&other.name, &key.name);
    if let Some(twin) = found.iter().find(is_twin)
        && key.value.is_none()
    {
        keys::wrong_pair(findings, line, (&key.name, &twin.name));
        return None;
    }
    found.push(key);
    Some(())
}

/// Outer `None` with a finding; inner for a key that is not enabled.
fn key(
    findings: &mut Findings,
    item: &Node,
    (count, plan): (usize, Option<UsagePlan>),
) -> Option<Option<ApiKey>> {
    if matches!(item.kind, Kind::Scalar { .. }) {
        let name = findings.text(item, "the name of a key")?;
        return keys::key(findings, (&name, item.line), None, plan).map(Some);
    }
    findings.members(item, "a key");
    let name = findings.optional(item, "name", Findings::text);
    let name = name.unwrap_or_else(|| format!("key-{}", count + 1));
    if let Some(node) = item.get("enabled")
        && !front::flag(findings, node, "enabled")?
    {
        findings.ignore(item.line, format!("the key {name}"), "it is not enabled");
        return Some(None);
    }
    keys::key(findings, (&name, item.line), item.get("value"), plan).map(Some)
}

/// Of a name, or the only one. Outer `None` with a finding.
fn plan(findings: &mut Findings, plans: Option<&Node>, name: Option<&str>) -> Option<Option<UsagePlan>> {
    let Some(plans) = plans else { return Some(None) };
    let limits = match name {
        Some(name) => plans.items().iter().find_map(|one| one.get(name)),
        None => Some(plans),
    };
    let Some(limits) = limits else { return Some(None) };
    let limits = (limits.get("throttle"), limits.get("quota"));
    keys::plan(findings, name.unwrap_or(ONLY), limits, &WORDS).map(Some)
}
