//! Integrations of OpenAPI documents that have templates: `aws` with a function, and `mock` without one.

use ingle_types::front::{Integration, IntegrationKind, PassThrough, ResponseRule};

use super::super::findings::{Findings, shortened};
use super::super::front;
use super::super::node::Node;

const JSON: &str = "application/json";
/// The rule for what no other one is for.
const DEFAULT: &str = "default";
const HEADER: &str = "method.response.header.";

/// Members that are read, or that are for the deployment.
const APPLIED: [&str; 8] = [
    "type",
    "uri",
    "httpMethod",
    "credentials",
    "payloadFormatVersion",
    "passthroughBehavior",
    "requestTemplates",
    "responses",
];
/// What functions behind `aws_proxy` do not heed at AWS either.
const UNHEEDED: &str = "contentHandling";

/// What of an integration has no effect.
pub(super) fn note_others(findings: &mut Findings, settings: &Node, shown: &str, kind: &str) {
    let is_heeded = |key: &str| kind != "aws_proxy" || key != UNHEEDED;
    for member in settings.members() {
        let key = member.key.as_str();
        if !APPLIED.contains(&key) && is_heeded(key) {
            findings.ignore_of(member.line, &shortened(key), shown, "it is not applied here");
        }
    }
}

/// `None`, with a finding, if it can't be applied.
pub(super) fn read(findings: &mut Findings, settings: &Node, is_mock: bool) -> Option<Integration> {
    let mut requests = Vec::new();
    for member in settings.get("requestTemplates").map(Node::members).unwrap_or_default() {
        requests.push((member.key.to_ascii_lowercase(), findings.text(&member.value, "a template")?));
    }
    let wanted = findings.optional(settings, "passthroughBehavior", Findings::text);
    let pass_through = match wanted.unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "WHEN_NO_MATCH" => PassThrough::WhenNoMatch,
        "WHEN_NO_TEMPLATES" => PassThrough::WhenNoTemplates,
        "NEVER" => PassThrough::Never,
        other => {
            let what = format!("passthroughBehavior is `{}`", shortened(other));
            let fix = "write never, when_no_match or when_no_templates";
            findings.wrong("E0122", settings.line, what, fix);
            return None;
        }
    };
    let mut responses = Vec::new();
    for member in settings.get("responses").map(Node::members).unwrap_or_default() {
        let pattern = Some(member.key.clone()).filter(|pattern| pattern != DEFAULT);
        responses.push(response(findings, &member.value, pattern)?);
    }
    let kind = if is_mock { IntegrationKind::Mock } else { IntegrationKind::Function };
    Some(Integration { kind, requests, pass_through, responses })
}

fn response(findings: &mut Findings, config: &Node, pattern: Option<String>) -> Option<ResponseRule> {
    let status = match config.get("statusCode") {
        Some(node) => u16::try_from(findings.number(node, "statusCode", 100..=599)?).ok()?,
        None => {
            findings.wrong("E0122", config.line, "a response has no statusCode", "write statusCode: \"200\"");
            return None;
        }
    };
    let templates = config.get("responseTemplates").map(Node::members).unwrap_or_default();
    let template = templates.iter().find(|member| member.key == JSON).or(templates.first());
    let template = match template {
        Some(member) => Some(findings.text(&member.value, "a template")?),
        None => None,
    };
    let mut headers = Vec::new();
    for member in config.get("responseParameters").map(Node::members).unwrap_or_default() {
        let Some(name) = member.key.strip_prefix(HEADER) else {
            findings.ignore(member.line, shortened(&member.key), "only headers of responses are mapped");
            continue;
        };
        headers.extend(front::mapping(findings, member)?.map(|mapped| (name.to_owned(), mapped)));
    }
    Some(ResponseRule { status, pattern, template, headers })
}
