//! APIs of a template, and what of them concerns a route.

use ingle_types::usage::ApiKey;

use super::super::findings::Findings;
use super::super::http;
use super::super::node::{Kind, Member, Node};
use super::super::resources::Kind as ResourceKind;
use super::super::{Api, Cors, Payload};
use super::auth::{self, AUTH};
use super::{Template, keys, merged};

/// The APIs that SAM makes for routes that name none.
const IMPLICIT_REST: &str = "ServerlessRestApi";
const IMPLICIT_HTTP: &str = "ServerlessHttpApi";
const IMPLICIT_STAGE: &str = "Prod";

const APPLIED: [&str; 12] = [
    "StageName",
    "Cors",
    "CorsConfiguration",
    "BinaryMediaTypes",
    "Name",
    "Description",
    "Tags",
    AUTH,
    "Models",
    "DefinitionBody",
    "DefinitionUri",
    "MergeDefinitions",
];

/// What a route has from its API.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) api: Api,
    pub(super) stage: String,
    pub(super) cors: Option<Cors>,
    /// Who is let in, if the route does not say it, and who may be asked.
    pub(super) auth: Option<Node>,
    /// What callers may show where a key is asked for.
    pub(super) keys: Vec<ApiKey>,
    /// Schemas of bodies, by name.
    pub(super) models: Option<Node>,
}

/// The API that a route names, or the one that SAM would make. `None`, with a finding, if it is none of the template.
pub(super) fn door(
    findings: &mut Findings,
    template: &Template<'_>,
    wanted: ResourceKind,
    named: Option<&Node>,
) -> Option<Door> {
    let (section, implicit) = match wanted {
        ResourceKind::RestApi => ("Api", IMPLICIT_REST),
        _ => ("HttpApi", IMPLICIT_HTTP),
    };
    let mut id = implicit.to_owned();
    let mut properties = Node::new(Kind::Map(Vec::new()), 1);
    if let Some(node) = named {
        id = findings.text(node, "the API")?;
    }
    // Whoever names the one that SAM makes names none of the template.
    if let Some(node) = named.filter(|_| id != implicit) {
        let resource = template.resources.get(id.as_str()).map(|member| &member.value);
        let Some(resource) = resource.filter(|resource| ResourceKind::of(resource) == Some(wanted)) else {
            let what = format!("the template has no AWS::Serverless::{section} `{id}`");
            findings.wrong("E0116", node.line, what, "write !Ref and the key of one, or leave it out");
            return None;
        };
        if let Some(own) = resource.get("Properties") {
            properties = own.clone();
        }
    }
    let globals = template.globals.and_then(|globals| globals.get(section));
    // What can't be known of either one would be lost with the other's.
    let hidden =
        globals.and_then(|globals| globals.get(AUTH)).filter(|auth| matches!(auth.kind, Kind::Unknown(_)));
    let hidden = hidden.cloned();
    if let Some(globals) = globals {
        properties = merged(globals, properties);
    }
    let default_stage = if wanted == ResourceKind::RestApi { IMPLICIT_STAGE } else { http::DEFAULT };
    let stage = findings.optional(&properties, "StageName", Findings::text);
    let cors = properties.get("Cors").or(properties.get("CorsConfiguration"));
    let cors = cors.and_then(|node| http::cors(findings, node));
    let keys = match wanted {
        ResourceKind::RestApi => keys::read(findings, template, &id, properties.get(AUTH))?,
        _ => Vec::new(),
    };
    let api = match wanted {
        ResourceKind::RestApi => {
            let types = properties.get("BinaryMediaTypes");
            let types = types.map(|node| findings.texts(node, "BinaryMediaTypes")).unwrap_or_default();
            // SAM writes the slash as JSON pointers do.
            let binary_types = types.iter().map(|name| name.replace("~1", "/")).collect();
            Api::Rest { id, binary_types }
        }
        _ => Api::Http { id, payload: Payload::V2 },
    };
    let (auth, models) = (properties.get(AUTH).cloned(), properties.get("Models").cloned());
    let auth = hidden.or(auth);
    Some(Door { api, stage: stage.unwrap_or_else(|| default_stage.to_owned()), cors, auth, keys, models })
}

/// What of an API has no effect.
pub(super) fn note_ignored(findings: &mut Findings, member: &Member) {
    let properties = member.value.get("Properties").map_or(&[][..], Node::members);
    note_properties(findings, properties, &member.key);
}

/// Properties of an API, or those that `Globals` has for all.
pub(super) fn note_properties(findings: &mut Findings, properties: &[Member], subject: &str) {
    if let Some(auth) = properties.iter().find(|one| one.key == AUTH) {
        auth::note_ignored(findings, &auth.value, subject);
    }
    for property in properties.iter().filter(|one| !APPLIED.contains(&one.key.as_str())) {
        let why = match property.key.as_str() {
            "Domain" => "names and certificates belong to the server in front",
            _ => "it is not applied here",
        };
        findings.ignore_of(property.line, &property.key, subject, why);
    }
}
