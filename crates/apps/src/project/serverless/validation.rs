//! What requests to an event of type http have to be like.

use ingle_types::front::{Model, Parameter, Validation};

use super::super::findings::{Findings, shortened};
use super::super::front;
use super::super::node::{Kind, Node};

/// `request` of an event: `schemas` by media type, and `parameters`. `None`, with a finding, if it can't be applied.
pub(super) fn read(findings: &mut Findings, provider: &Node, config: &Node) -> Option<Validation> {
    let mut found = Validation::default();
    let Some(request) = config.get("request") else { return Some(found) };
    for member in request.get("schemas").map(Node::members).unwrap_or_default() {
        let shared = provider.at(&["apiGateway", "request", "schemas"]);
        let schema = match member.value.scalar() {
            Some(name) => match shared.and_then(|shared| shared.get(name)) {
                Some(shared) => shared,
                None => {
                    let what = format!("the provider has no schema `{}`", shortened(name));
                    let fix = "write it below provider: apiGateway: request: schemas:";
                    findings.wrong("E0121", member.line, what, fix);
                    return None;
                }
            },
            None => &member.value,
        };
        // With a name and a description, or alone.
        let schema = schema.get("schema").filter(|one| matches!(one.kind, Kind::Map(_))).unwrap_or(schema);
        let schema = front::schema(findings, schema)?;
        found.models.push(Model { content_type: member.key.to_ascii_lowercase(), schema });
    }
    type Made = fn(String) -> Parameter;
    let kinds: [(&str, Made); 2] = [("querystrings", Parameter::Query), ("headers", Parameter::Header)];
    for (key, made) in kinds {
        let listed = request.at(&["parameters", key]);
        for member in listed.map(Node::members).unwrap_or_default() {
            let required = member.value.get("required").unwrap_or(&member.value);
            if findings.flag(required, &format!("whether {} is required", member.key))? {
                found.required.push(made(member.key.clone()));
            }
        }
    }
    Some(found)
}
