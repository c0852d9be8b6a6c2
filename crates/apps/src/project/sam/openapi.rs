//! OpenAPI documents of a template's APIs: `DefinitionBody`, and files that `DefinitionUri` or `AWS::Include` name.
//!
//! Both versions that API Gateway imports are read: Swagger 2.0 and OpenAPI 3. Of a document only what decides about requests counts:
//! paths, integrations, security and media types of bytes.

use std::path::{Path, PathBuf};

use ingle_types::front::FrontSpec;

use super::super::findings::{Findings, shortened};
use super::super::front::{Asked, function_in_arn};
use super::super::intrinsics::Evaluator;
use super::super::node::{Fault, Kind, Member, Node};
use super::super::place::{self, Misplaced};
use super::super::resources::Kind as ResourceKind;
use super::super::{Api, EventSource, HttpSource, Payload, ProjectFunction, http, tree};
use super::{Template, api, auth, integration, security};
use crate::folder::read_bytes;

const INTEGRATION: &str = "x-amazon-apigateway-integration";
const CORS: &str = "x-amazon-apigateway-cors";
const BINARY_TYPES: &str = "x-amazon-apigateway-binary-media-types";
/// Of a path's members those that are no methods.
const BESIDE_METHODS: [&str; 5] = ["parameters", "summary", "description", "servers", "$ref"];
/// Members of a document that are for the deployment, or for people, or are read.
const APPLIED: [&str; 17] = [
    "swagger",
    "openapi",
    "info",
    "host",
    "basePath",
    "schemes",
    "servers",
    "tags",
    "paths",
    "definitions",
    "components",
    "securityDefinitions",
    "security",
    "produces",
    "consumes",
    BINARY_TYPES,
    CORS,
];

/// A document of an API.
pub(super) struct Document {
    /// The API's key in the template.
    api: String,
    kind: ResourceKind,
    /// Relative to the project's folder; `None` for the template itself.
    file: Option<String>,
    root: Node,
}

/// The documents of all APIs; what is wrong with one is found, and its API has none.
///
/// # Errors
/// What references repeat passes the bounds of a tree.
pub(super) fn read(
    findings: &mut Findings,
    evaluator: &mut Evaluator<'_>,
    root: &Path,
    (written, resources): (&Node, &[Member]),
) -> Result<Vec<Document>, Fault> {
    let mut found = Vec::new();
    for resource in resources {
        let Some(kind) = ResourceKind::of(&resource.value) else { continue };
        if !matches!(kind, ResourceKind::RestApi | ResourceKind::HttpApi) {
            continue;
        }
        let written = written.get(&resource.key).and_then(|one| one.get("Properties"));
        let (file, root) = match written.and_then(file_of) {
            Some(node) => {
                let Some((file, tree)) = load(findings, root, node) else { continue };
                (Some(file), evaluator.evaluate(&tree)?)
            }
            None => (None, resource.value.at(&["Properties", "DefinitionBody"]).cloned()),
        };
        let api = resource.key.clone();
        found.extend(root.map(|root| Document { api, kind, file, root }));
    }
    Ok(found)
}

/// Where a document that is a file of its own is.
fn file_of(properties: &Node) -> Option<&Node> {
    let included = || {
        let transform = properties.at(&["DefinitionBody", "Fn::Transform"])?;
        let is_include = transform.get("Name").and_then(Node::scalar) == Some("AWS::Include");
        transform.at(&["Parameters", "Location"]).filter(|_| is_include)
    };
    properties.get("DefinitionUri").or_else(included)
}

/// The tree of a file of the project, with its path.
fn load(findings: &mut Findings, root: &Path, node: &Node) -> Option<(String, Node)> {
    let text = node.scalar().filter(|text| !text.contains("://"));
    let Some(text) = text else {
        findings.missing(
            node.line,
            "an OpenAPI document",
            "it is not in this folder, so its routes are not served",
        );
        return None;
    };
    let shown = shortened(text);
    let path = match place::beneath(root, text) {
        Ok(path) => path,
        Err(Misplaced::Missing) => {
            let what = format!("the OpenAPI document `{shown}` is not there");
            findings.wrong(
                "E0117",
                node.line,
                what,
                format!("make it, or name it from the folder of {}", findings.file),
            );
            return None;
        }
        Err(Misplaced::Outside) => {
            let what = format!("the OpenAPI document `{shown}` is not in the project's folder");
            findings.wrong("E0221", node.line, what, "move it into the project's folder");
            return None;
        }
    };
    let file = path.display().to_string();
    let bytes = match read_bytes(&root.join(&path)) {
        Ok(Some(bytes)) => bytes,
        Ok(None) | Err(_) => {
            let what = format!("the OpenAPI document `{shown}` can't be read");
            findings.wrong("E0117", node.line, what, "name a file");
            return None;
        }
    };
    match tree(&file, bytes) {
        Ok(loaded) => Some((file, loaded.root)),
        Err(Fault { line, what }) => {
            let fix = "write an OpenAPI document in YAML or JSON";
            findings.within(Some(&file), |findings| findings.wrong("E0116", line, what, fix));
            None
        }
    }
}

/// The files, relative to the project's folder.
pub(super) fn files(documents: &[Document]) -> Vec<PathBuf> {
    documents.iter().filter_map(|document| document.file.as_ref().map(PathBuf::from)).collect()
}

/// Gives functions the routes that documents have for them. An event of the same route gives way, as it only allows the API to call.
pub(super) fn attach(
    findings: &mut Findings,
    template: &Template<'_>,
    documents: &[Document],
    functions: &mut [ProjectFunction],
) {
    for document in documents {
        let id = Node::text(document.api.clone(), document.root.line);
        let Some(mut door) = api::door(findings, template, document.kind, Some(&id)) else { continue };
        let of_api = auth::asked(findings, (&door, None), document.root.line);
        let file = document.file.as_deref();
        if let Some(cors) = document.root.get(CORS) {
            door.cors = findings.within(file, |findings| http::cors(findings, cors));
        }
        let reader = Reader { document, door, of_api };
        for (function, route) in findings.within(file, |findings| reader.routes(findings)) {
            let place = match &function {
                Some(name) => functions.iter().position(|one| one.name == *name),
                // No function runs; one of them lends its door.
                None => (!functions.is_empty()).then_some(0),
            };
            let Some(place) = place else {
                let name = function.unwrap_or_default();
                let what = format!(
                    "the integration of {} names the function {}, which is not served",
                    route.path,
                    shortened(&name)
                );
                let fix = "name a function of the template: ${MyFunction.Arn} in Fn::Sub";
                findings.within(file, |findings| findings.wrong("E0116", route.line, what, fix));
                continue;
            };
            for function in functions.iter_mut() {
                function.sources.retain(|source| !is_same(source, &route));
            }
            functions[place].sources.push(EventSource::Http(route));
        }
    }
}

/// Whether an event is the same route of the same API.
fn is_same(source: &EventSource, route: &HttpSource) -> bool {
    let EventSource::Http(event) = source else { return false };
    let id = |api: &Api| match api {
        Api::Rest { id, .. } | Api::Http { id, .. } => Some(id.clone()),
        Api::Url(_) | Api::Alb { .. } => None,
    };
    (&event.method, &event.path) == (&route.method, &route.path) && id(&event.api) == id(&route.api)
}

struct Reader<'a> {
    document: &'a Document,
    door: api::Door,
    /// What SAM says of the whole API; none if it is wrong.
    of_api: Option<Asked>,
}

/// Of an operation: the name of its function, or none for a mock.
type Found = (Option<String>, HttpSource);

impl Reader<'_> {
    fn is_rest(&self) -> bool {
        self.document.kind == ResourceKind::RestApi
    }

    fn routes(&self, findings: &mut Findings) -> Vec<Found> {
        let root = &self.document.root;
        let mut found = Vec::new();
        if matches!(root.kind, Kind::Unknown(_)) {
            findings.wrong_kind(root, "an OpenAPI document", "a map");
            return found;
        }
        for member in findings.members(root, "the OpenAPI document") {
            if !APPLIED.contains(&member.key.as_str()) {
                let why = "it is not applied here";
                findings.ignore_of(member.line, &shortened(&member.key), &self.document.api, why);
            }
        }
        let Some(paths) = root.get("paths") else {
            findings.wrong("E0116", root.line, "the OpenAPI document has no paths", "write paths:");
            return found;
        };
        for path in findings.members(paths, "paths") {
            for operation in findings.members(&path.value, &shortened(&path.key)) {
                if !BESIDE_METHODS.contains(&operation.key.as_str()) {
                    found.extend(self.operation(findings, path, operation));
                }
            }
        }
        found
    }

    /// `None`, with a finding, for one that is not served.
    fn operation(&self, findings: &mut Findings, path: &Member, operation: &Member) -> Option<Found> {
        let shown = format!("{} {}", operation.key, path.key);
        let method = http::method(findings, &Node::text(operation.key.clone(), operation.line))?;
        let is_default = !self.is_rest() && matches!(path.key.as_str(), http::DEFAULT | "/$default");
        let text =
            if is_default { http::DEFAULT.to_owned() } else { http::path(findings, &path.key, path.line)? };
        let Some(settings) = operation.value.get(INTEGRATION) else {
            findings.missing(
                operation.line,
                format!("the event {shown}"),
                "it has no integration, so it is not served",
            );
            return None;
        };
        let kind = settings.get("type").and_then(Node::scalar).unwrap_or_default().to_ascii_lowercase();
        let mut door = self.door.clone();
        self.adapt(findings, &mut door.api, settings)?;
        let asked = security::asked(findings, &self.document.root, operation, self.is_rest())?;
        let Asked { mut front, guard } = self.joined(asked)?;
        if let Some(keys) = &mut front.keys {
            keys.clone_from(&door.keys);
        }
        let function = match kind.as_str() {
            "aws_proxy" => Some(self.function(findings, settings, &shown)?),
            "aws" if self.is_rest() => {
                front.integration = Some(integration::read(findings, settings, false)?);
                Some(self.function(findings, settings, &shown)?)
            }
            "mock" if self.is_rest() => {
                front.integration = Some(integration::read(findings, settings, true)?);
                None
            }
            other => {
                let why = format!("the integration {} is not served", shortened(other));
                findings.missing(operation.line, format!("the event {shown}"), why);
                return None;
            }
        };
        let route = self.route((door, method, text), (front, guard), operation.line);
        Some((function, route))
    }

    /// What the document asks with what SAM adds to all routes of the API. As there, neither takes away what the other wants.
    fn joined(&self, asked: Option<Asked>) -> Option<Asked> {
        let mut joined = self.of_api.clone()?;
        let Some(asked) = asked else { return Some(joined) };
        if asked.front.keys.is_some() {
            joined.front.keys.get_or_insert_default();
        }
        if asked.front.authorizer.is_some() || asked.guard.is_some() {
            joined.front.authorizer = asked.front.authorizer;
            joined.front.scopes = asked.front.scopes;
            joined.guard = asked.guard;
        }
        Some(joined)
    }

    fn route(
        &self,
        (door, method, path): (api::Door, Option<String>, String),
        (front, guard): (Box<FrontSpec>, Option<String>),
        line: u32,
    ) -> HttpSource {
        let file = self.document.file.as_ref().map(PathBuf::from);
        HttpSource {
            api: door.api,
            method,
            path,
            stage: door.stage,
            cors: door.cors,
            front,
            guard,
            file,
            line,
        }
    }

    /// What the document says of the events of its routes.
    fn adapt(&self, findings: &mut Findings, api: &mut Api, settings: &Node) -> Option<()> {
        match api {
            Api::Rest { binary_types, .. } => {
                if let Some(types) = self.document.root.get(BINARY_TYPES) {
                    binary_types.extend(findings.texts(types, BINARY_TYPES));
                }
            }
            Api::Http { payload, .. } => {
                *payload = match settings.get("payloadFormatVersion") {
                    Some(node) => http::payload(findings, node)?,
                    None => Payload::V1,
                };
            }
            Api::Url(_) | Api::Alb { .. } => {}
        }
        Some(())
    }

    /// The function of `arn:aws:apigateway:…:lambda:path/2015-03-31/functions/{ARN}/invocations`, or of its ARN alone.
    fn function(&self, findings: &mut Findings, settings: &Node, shown: &str) -> Option<String> {
        let uri = settings.get("uri");
        let name = uri.and_then(Node::scalar).and_then(in_uri);
        if name.is_none() {
            let line = uri.map_or(settings.line, |uri| uri.line);
            let what = format!("the integration of {shown} names no function that is known here");
            let fix = "write uri: !Sub arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${MyFunction.Arn}/invocations";
            findings.wrong("E0116", line, what, fix);
        }
        name
    }
}

/// The function that a URI invokes.
pub(super) fn in_uri(uri: &str) -> Option<String> {
    let arn = uri.split_once("/functions/").map_or(uri, |(_, arn)| arn);
    function_in_arn(arn.strip_suffix("/invocations").unwrap_or(arn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_names_a_function() {
        let check = |uri: &str, expected: Option<&str>| assert_eq!(in_uri(uri).as_deref(), expected, "{uri}");
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:hello";
        let path = "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions";
        check(&format!("{path}/{arn}/invocations"), Some("hello"));
        check(&format!("{path}/{arn}:live/invocations"), Some("hello"));
        check(arn, Some("hello"));
        check("https://example.com/functions/x", None);
        check(&format!("{path}//invocations"), None);
    }
}
