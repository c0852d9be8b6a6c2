//! What requests to a route of a template have to be like.

use ingle_types::front::{Model, Parameter, Validation};
use serde_json::{Map, Value, json};

use super::super::findings::{Findings, shortened};
use super::super::front;
use super::super::node::{Kind, Node};

pub(super) const MODEL: &str = "RequestModel";
pub(super) const PARAMETERS: &str = "RequestParameters";

type Made = fn(String) -> Parameter;
/// As API Gateway calls them below a method.
const KINDS: [(&str, Option<Made>); 3] = [
    ("method.request.header.", Some(Parameter::Header)),
    ("method.request.querystring.", Some(Parameter::Query)),
    // A path that has matched has them.
    ("method.request.path.", None),
];

/// `RequestModel` and `RequestParameters` of an event. As at AWS nothing is looked at unless `ValidateBody` or
/// `ValidateParameters` say so. `None`, with a finding, if they can't be applied.
pub(super) fn read(findings: &mut Findings, models: Option<&Node>, properties: &Node) -> Option<Validation> {
    let empty = Node::new(Kind::Map(Vec::new()), properties.line);
    let model = properties.get(MODEL).unwrap_or(&empty);
    let flag =
        |findings: &mut Findings, key: &str| findings.optional(model, key, Findings::flag).unwrap_or(false);
    let (has_body, has_parameters) = (flag(findings, "ValidateBody"), flag(findings, "ValidateParameters"));
    let mut found = Validation::default();
    if let Some(name) = model.get("Model").filter(|_| has_body) {
        found.models.push(named(findings, models, name)?);
    }
    if let Some(listed) = properties.get(PARAMETERS).filter(|_| has_parameters) {
        for item in findings.items(listed, PARAMETERS) {
            found.required.extend(parameter(findings, item)?);
        }
    }
    Some(found)
}

/// With the API's other models, which it may refer to as `#/definitions/Name`.
fn named(findings: &mut Findings, models: Option<&Node>, name: &Node) -> Option<Model> {
    let text = findings.text(name, "the model")?;
    let Some(schema) = models.and_then(|models| models.get(&text)) else {
        let what = format!("the API has no model `{}`", shortened(&text));
        findings.wrong("E0121", name.line, what, "write it below Models: of the API");
        return None;
    };
    let mut schema = front::schema(findings, schema)?;
    let others = models.map(Node::to_json);
    if let (Value::Object(schema), Some(Value::Object(others))) = (&mut schema, others) {
        let own = schema.entry("definitions").or_insert_with(|| json!({}));
        if let Value::Object(own) = own {
            let mut all: Map<String, Value> = others;
            all.append(own);
            *own = all;
        }
    }
    Some(Model { content_type: front::JSON.to_owned(), schema })
}

/// Outer `None` with a finding; inner for one that may be absent.
fn parameter(findings: &mut Findings, item: &Node) -> Option<Option<Parameter>> {
    let (text, is_required) = match item.members() {
        [member] => {
            let required = findings.optional(&member.value, "Required", Findings::flag);
            (member.key.clone(), required.unwrap_or(false))
        }
        _ => (findings.text(item, PARAMETERS)?, false),
    };
    let found = KINDS.iter().find_map(|(prefix, made)| Some((text.strip_prefix(prefix)?, made)));
    let Some((name, made)) = found else {
        let what = format!("`{}` is no parameter of a request", shortened(&text));
        findings.wrong("E0121", item.line, what, "write e.g. method.request.header.Authorization");
        return None;
    };
    Some(made.filter(|_| is_required).map(|made| made(name.to_owned())))
}
