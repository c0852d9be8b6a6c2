//! What SAM makes beside the resources that a template names, and what references to it give
//! (<https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-generated-resources.html>).

use std::collections::BTreeMap;

use super::super::node::{Fault, Node};
use super::super::resources::{Kind, Place};
use super::{ACCOUNT, Evaluator};

/// Hexadecimal digits that SAM puts behind the name of a version of a layer.
const DIGITS: usize = 10;
const REST_API: &str = "ServerlessRestApi";
const HTTP_API: &str = "ServerlessHttpApi";
const ALIAS: &str = "AutoPublishAlias";

/// Begin the names of what there is once for all.
const SHARED: [&str; 6] = [
    REST_API,
    HTTP_API,
    "ServerlessDeploymentApplication",
    "CodeDeployServiceRole",
    "ServerlessUsagePlan",
    "ServerlessApiKey",
];

/// Whether SAM may make something of this name, beside these resources of a template.
pub(in super::super) fn is_made(name: &str, resources: &BTreeMap<&str, &Node>) -> bool {
    let is_serverless = |id: &str| {
        let kind = resources.get(id).and_then(|resource| resource.get("Type")).and_then(Node::scalar);
        kind.is_some_and(|kind| kind.starts_with("AWS::Serverless::"))
    };
    if let Some((id, _)) = name.split_once('.') {
        return is_serverless(id);
    }
    let behind = |id: &str| {
        let rest = name.strip_prefix(id)?;
        let is_hash = rest.len() == DIGITS && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(is_hash || rest.starts_with(|first: char| first.is_ascii_uppercase()))
    };
    SHARED.iter().any(|start| name.starts_with(start))
        || resources.keys().any(|id| is_serverless(id) && behind(id) == Some(true))
}

impl Evaluator<'_> {
    /// What a reference to something that SAM makes gives. `None` if it makes nothing of this name.
    pub(super) fn made(&mut self, name: &str, attribute: &str, line: u32) -> Result<Option<Node>, Fault> {
        if !is_made(name, &self.scope.resources) {
            return Ok(None);
        }
        let text = match (name, attribute) {
            (REST_API | HTTP_API, "") => Some(name.to_owned()),
            ("ServerlessRestApiProdStage", "") => Some("Prod".to_owned()),
            ("ServerlessHttpApiApiGatewayDefaultStage", "") => Some("$default".to_owned()),
            (_, "") => match name.split_once('.') {
                Some((id, property)) => self.referable(id, property)?,
                None => None,
            },
            _ => None,
        };
        let why = if attribute == "FunctionUrl" {
            format!("the address of {name} is known only while it is served")
        } else {
            format!("SAM makes `{name}`, and Ingle has no value for it")
        };
        Ok(Some(text.map_or_else(|| Node::unknown(why, false, line), |text| Node::text(text, line))))
    }

    /// What SAM makes of a resource, by the word that a template has for it: `Stage` of an API, `Alias` of a function.
    pub(super) fn referable(&mut self, id: &str, property: &str) -> Result<Option<String>, Fault> {
        let Some(resource) = self.scope.resources.get(id).copied() else { return Ok(None) };
        let Some(kind) =
            Kind::of(resource).filter(|_| is_made(&format!("{id}.{property}"), &self.scope.resources))
        else {
            return Ok(None);
        };
        match (kind, property) {
            (Kind::RestApi, "Stage") => self.property(resource, "Api", "StageName"),
            (Kind::HttpApi, "Stage") => {
                let stage = self.property(resource, "HttpApi", "StageName")?;
                Ok(stage.or_else(|| Some("$default".to_owned())))
            }
            (Kind::Function, "Alias" | "Version") => {
                let Some(alias) = self.property(resource, "Function", ALIAS)? else { return Ok(None) };
                let Ok(name) = self.name(id, resource, kind)? else { return Ok(None) };
                let place = Place { region: self.scope.region, account: ACCOUNT };
                // There is one version of a function here.
                let qualifier = if property == "Alias" { &alias } else { "1" };
                Ok(kind.attribute("Arn", &name, place).map(|arn| format!("{arn}:{qualifier}")))
            }
            _ => Ok(None),
        }
    }

    /// A text of a resource, or of the `Globals` for its kind.
    fn property(&mut self, resource: &Node, section: &str, key: &str) -> Result<Option<String>, Fault> {
        let own = resource.at(&["Properties", key]);
        let Some(node) = own.or_else(|| self.globals?.at(&[section, key])) else { return Ok(None) };
        Ok(self.evaluate(node)?.as_ref().and_then(Node::scalar).map(str::to_owned))
    }
}
