//! `integration: lambda` of events of type http: templates instead of the whole request.

use ingle_types::front::{Integration, IntegrationKind, PassThrough, ResponseRule};

use super::super::findings::{Findings, shortened};
use super::super::front;
use super::super::node::{Kind, Node};

/// As the framework has them for an event that names none.
const STATUS_CODES: [(u16, &str); 9] = [
    (200, ""),
    (400, r"[\s\S]*\[400\][\s\S]*"),
    (401, r"[\s\S]*\[401\][\s\S]*"),
    (403, r"[\s\S]*\[403\][\s\S]*"),
    (404, r"[\s\S]*\[404\][\s\S]*"),
    (422, r"[\s\S]*\[422\][\s\S]*"),
    (500, r"[\s\S]*(Process\s?exited\s?before\s?completing\s?request|\[500\])[\s\S]*"),
    (502, r"[\s\S]*\[502\][\s\S]*"),
    (504, r"([\s\S]*\[504\][\s\S]*)|(^[Tt]ask timed out after \d+\.\d+ seconds$)"),
];
const JSON: &str = "application/json";

/// `None`, with a finding, if it can't be applied.
pub(super) fn read(findings: &mut Findings, config: &Node) -> Option<Integration> {
    let empty = Node::new(Kind::Map(Vec::new()), config.line);
    let request = config.get("request").unwrap_or(&empty);
    let mut requests = Vec::new();
    for member in request.get("template").map(Node::members).unwrap_or_default() {
        requests.push((member.key.to_ascii_lowercase(), findings.text(&member.value, "a template")?));
    }
    let pass_through = match findings.optional(request, "passThrough", Findings::text).as_deref() {
        None | Some("NEVER") => PassThrough::Never,
        Some("WHEN_NO_MATCH") => PassThrough::WhenNoMatch,
        Some("WHEN_NO_TEMPLATES") => PassThrough::WhenNoTemplates,
        Some(other) => {
            let what = format!("passThrough is `{}`", shortened(other));
            let fix = "write NEVER, WHEN_NO_MATCH or WHEN_NO_TEMPLATES";
            findings.wrong("E0122", request.line, what, fix);
            return None;
        }
    };
    let responses = responses(findings, config.get("response").unwrap_or(&empty))?;
    Some(Integration { kind: IntegrationKind::Framework, requests, pass_through, responses })
}

fn responses(findings: &mut Findings, response: &Node) -> Option<Vec<ResponseRule>> {
    let shared = headers(findings, response)?;
    let template = template(findings, response)?;
    let made = |status: u16, pattern: Option<String>| ResponseRule {
        status,
        pattern,
        template: template.clone(),
        headers: shared.clone(),
    };
    let Some(listed) = response.get("statusCodes") else {
        let usual = STATUS_CODES.iter().map(|(status, pattern)| {
            let rule = made(*status, Some((*pattern).to_owned()).filter(|pattern| !pattern.is_empty()));
            // What went wrong is told as it is.
            if *status == 200 { rule } else { ResponseRule { template: None, ..rule } }
        });
        return Some(usual.collect());
    };
    let mut found = Vec::new();
    for member in listed.members() {
        let Some(status) = member.key.parse().ok().filter(|status| (100..600).contains(status)) else {
            let what = format!("`{}` is no status code", shortened(&member.key));
            findings.wrong("E0122", member.line, what, "write a number from 100 to 599");
            return None;
        };
        let config = &member.value;
        let pattern = findings.optional(config, "pattern", Findings::text);
        let own = self::template(findings, config)?;
        let mut rule = made(status, pattern.filter(|pattern| !pattern.is_empty()));
        rule.template = own.or(if rule.pattern.is_none() { rule.template } else { None });
        rule.headers.extend(headers(findings, config)?);
        found.push(rule);
    }
    if found.iter().all(|rule| rule.pattern.is_some()) {
        found.push(made(200, None));
    }
    Some(found)
}

/// A text, or one by media type, of which that for JSON counts. Outer `None` with a finding.
fn template(findings: &mut Findings, config: &Node) -> Option<Option<String>> {
    let Some(node) = config.get("template") else { return Some(None) };
    match node.members() {
        [] => findings.text(node, "a template").map(Some),
        members => {
            let member = members.iter().find(|member| member.key == JSON).or(members.first())?;
            findings.text(&member.value, "a template").map(Some)
        }
    }
}

fn headers(findings: &mut Findings, config: &Node) -> Option<Vec<(String, String)>> {
    let listed = config.get("headers").map(Node::members).unwrap_or_default();
    let mut found = Vec::new();
    for header in listed {
        found.extend(front::mapping(findings, header)?.map(|mapped| (header.key.clone(), mapped)));
    }
    Some(found)
}
