//! Keys of callers of a template: those that SAM makes with a usage plan, and those that stand there as resources.

use std::collections::BTreeSet;

use ingle_types::usage::ApiKey;

use super::super::findings::Findings;
use super::super::keys::{self, Words};
use super::super::node::{Member, Node};
use super::Template;

const WORDS: Words =
    Words { rate: "RateLimit", burst: "BurstLimit", limit: "Limit", period: "Period", offset: "Offset" };
const KEY: &str = "AWS::ApiGateway::ApiKey";
const PLAN: &str = "AWS::ApiGateway::UsagePlan";
const LINK: &str = "AWS::ApiGateway::UsagePlanKey";
const SHARED: &str = "Serverless";

/// The keys that open the routes of an API. `auth`: of the API.
pub(super) fn read(
    findings: &mut Findings,
    template: &Template<'_>,
    api: &str,
    auth: Option<&Node>,
) -> Option<Vec<ApiKey>> {
    let mut found = Vec::new();
    if let Some(plan) = auth.and_then(|auth| auth.get("UsagePlan")) {
        found.extend(made_by_sam(findings, api, plan)?);
    }
    let links = links(template);
    for Link { key, plan, apis, .. } in &links {
        if !apis.contains(&api) {
            continue;
        }
        let empty = Node::plain("", key.line);
        let properties = key.value.get("Properties").unwrap_or(&empty);
        if properties.get("Enabled").and_then(Node::flag) != Some(true) {
            findings.ignore(key.line, format!("the key {}", key.key), "it is not Enabled");
            continue;
        }
        let limits = plan.value.get("Properties");
        let of = |name: &str| limits.and_then(|limits| limits.get(name));
        let plan = keys::plan(findings, &plan.key, (of("Throttle"), of("Quota")), &WORDS)?;
        let (name, value) = (name_of(key), properties.get("Value"));
        let is_twin =
            |other: &&Link<'_>| other.key.key != key.key && keys::are_one(name_of(other.key).0, name.0);
        if let Some(twin) = links.iter().filter(|other| !has_value(other.key)).find(is_twin)
            && value.is_none()
        {
            keys::wrong_pair(findings, name.1, (name.0, name_of(twin.key).0));
            return None;
        }
        found.push(keys::key(findings, name, value, Some(plan))?);
    }
    Some(found)
}

/// One key with one plan, for the API or for all that say so.
fn made_by_sam(findings: &mut Findings, api: &str, plan: &Node) -> Option<Option<ApiKey>> {
    let wanted = findings.optional(plan, "CreateUsagePlan", Findings::text);
    let owner = match wanted.as_deref() {
        Some("PER_API") => api,
        Some("SHARED") => SHARED,
        Some("NONE") => return Some(None),
        _ => {
            let fix = "write CreateUsagePlan: PER_API, SHARED or NONE";
            findings.wrong("E0116", plan.line, "UsagePlan does not say whose it is", fix);
            return None;
        }
    };
    let (limits, line) = ((plan.get("Throttle"), plan.get("Quota")), plan.line);
    let plan = keys::plan(findings, &format!("{owner}UsagePlan"), limits, &WORDS)?;
    keys::key(findings, (&format!("{owner}ApiKey"), line), None, Some(plan)).map(Some)
}

/// With its line.
fn name_of(key: &Member) -> (&str, u32) {
    let node = key.value.at(&["Properties", "Name"]);
    node.and_then(|node| Some((node.scalar()?, node.line))).unwrap_or((&key.key, key.line))
}

fn has_value(key: &Member) -> bool {
    key.value.at(&["Properties", "Value"]).is_some()
}

/// A key in a plan.
struct Link<'a> {
    member: &'a Member,
    key: &'a Member,
    plan: &'a Member,
    /// Keys of the APIs that the plan is for.
    apis: Vec<&'a str>,
}

fn links<'a>(template: &Template<'a>) -> Vec<Link<'a>> {
    let is = |member: &Member, kind: &str| member.value.get("Type").and_then(Node::scalar) == Some(kind);
    let find = |node: Option<&Node>, kind: &str| -> Option<&'a Member> {
        let found = *template.resources.get(node?.reference.as_deref()?)?;
        is(found, kind).then_some(found)
    };
    let listed = template.resources.values().filter(|member| is(member, LINK));
    let link = |member: &&'a Member| {
        let properties = member.value.get("Properties")?;
        let key = find(properties.get("KeyId"), KEY)?;
        let plan = find(properties.get("UsagePlanId"), PLAN)?;
        let stages = plan.value.at(&["Properties", "ApiStages"]).map_or(&[][..], Node::items);
        let apis = stages.iter().filter_map(|stage| stage.get("ApiId")?.reference.as_deref());
        Some(Link { member, key, plan, apis: apis.collect() })
    };
    listed.filter_map(link).collect()
}

/// The resources that say who may call an API of the template.
pub(super) fn taken(template: &Template<'_>) -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    for Link { member, key, plan, apis } in links(template) {
        if apis.iter().any(|api| template.resources.contains_key(api)) {
            taken.extend([member, key, plan].map(|one| one.key.clone()));
        }
    }
    taken
}
