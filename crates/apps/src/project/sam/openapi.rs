//! OpenAPI documents of a template's APIs: `DefinitionBody`, and files that `DefinitionUri` or `AWS::Include` name.
//!
//! Both versions that API Gateway imports are read: Swagger 2.0 and OpenAPI 3. Of a document only what decides about requests counts:
//! paths, integrations, security and media types of bytes.

use std::path::{Path, PathBuf};

use ingle_types::front::FrontSpec;

use super::super::findings::{Findings, shortened};
use super::super::front::{self, Asked, function_in_arn};
use super::super::intrinsics::Evaluator;
use super::super::node::{Kind, Member, Node};
use super::super::resources::Kind as ResourceKind;
use super::super::{Api, EventSource, HttpSource, Payload, ProjectFunction, http};
use super::{Template, api, auth, integration, merged, security};
use events::Event;

mod events;
mod files;

const INTEGRATION: &str = "x-amazon-apigateway-integration";
const OF_GATEWAY: &str = "x-amazon-";
const CORS: &str = "x-amazon-apigateway-cors";
const BINARY_TYPES: &str = "x-amazon-apigateway-binary-media-types";
/// Of a path's members: all of them are elsewhere.
const REFERENCE: &str = "$ref";
/// Of a path's members those that are no methods.
const BESIDE_METHODS: [&str; 4] = ["parameters", "summary", "description", "servers"];
const EXTENSION: &str = "x-";
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
    /// `None` for one that can't be read, which was said.
    root: Option<Node>,
    /// Whether SAM itself has it: `DefinitionBody`, and not `DefinitionUri`.
    is_inline: bool,
    /// `MergeDefinitions`.
    merges: bool,
    /// Of the API.
    line: u32,
}

impl Document {
    fn is_rest(&self) -> bool {
        self.kind == ResourceKind::RestApi
    }

    /// Whether events of functions add their routes to it.
    fn takes_events(&self) -> bool {
        self.is_inline && (self.merges || !self.is_rest())
    }

    /// `None` if they can't be read.
    fn path_items(&self) -> Option<&[Member]> {
        let paths = &self.root.as_ref()?.member("paths")?.value;
        (paths.is_null() || matches!(paths.kind, Kind::Map(_))).then(|| paths.members())
    }

    /// The path of one of them, as routes have it.
    fn path_of<'a>(&self, key: &'a str) -> &'a str {
        let is_default = !self.is_rest() && matches!(key, http::DEFAULT | "/$default");
        if is_default { http::DEFAULT } else { key }
    }
}

/// The documents of all APIs; what is wrong with one is found.
pub(super) fn read(
    findings: &mut Findings,
    evaluator: &mut Evaluator<'_>,
    (root, globals): (&Path, Option<&Node>),
    (written, resources): (&Node, &[Member]),
) -> Vec<Document> {
    let mut found = Vec::new();
    for resource in resources {
        let Some(kind) = ResourceKind::of(&resource.value) else { continue };
        let section = match kind {
            ResourceKind::RestApi => "Api",
            ResourceKind::HttpApi => "HttpApi",
            _ => continue,
        };
        let empty = || Node::new(Kind::Map(Vec::new()), resource.line);
        let own = resource.value.get("Properties").cloned().unwrap_or_else(empty);
        let properties = match globals.and_then(|globals| globals.get(section)) {
            Some(globals) => merged(globals, own),
            None => own,
        };
        let uri = properties.get("DefinitionUri");
        let written = written.get(&resource.key).and_then(|one| one.get("Properties"));
        let (file, root) = match (uri.or_else(|| files::included(written?)), properties.get("DefinitionBody"))
        {
            (Some(node), _) => match files::load(findings, root, node) {
                Some((file, tree)) => {
                    let root = files::evaluated(findings, evaluator, (&file, &tree));
                    (Some(file), root)
                }
                None => (None, None),
            },
            (None, Some(body)) => (None, Some(body.clone())),
            (None, None) => continue,
        };
        let merges = findings.optional(&properties, "MergeDefinitions", Findings::flag).unwrap_or(false);
        let (api, is_inline, line) = (resource.key.clone(), uri.is_none(), resource.line);
        found.push(Document { api, kind, file, root, is_inline, merges, line });
    }
    found
}

/// The files, relative to the project's folder.
pub(super) fn files(documents: &[Document]) -> Vec<PathBuf> {
    documents.iter().filter_map(|document| document.file.as_ref().map(PathBuf::from)).collect()
}

/// Gives functions the routes that documents have for them, in the place of those that their events say.
pub(super) fn attach(
    findings: &mut Findings,
    template: &Template<'_>,
    documents: &[Document],
    functions: &mut [ProjectFunction],
) {
    for document in documents {
        let events = events::take(functions, template, &document.api);
        let id = Node::text(document.api.clone(), document.line);
        let door = api::door(findings, template, document.kind, Some(&id));
        if let (Some(root), Some(mut door)) = (&document.root, door) {
            let of_api = auth::asked(findings, (&door, None), root.line);
            let file = document.file.as_deref();
            if let Some(cors) = root.get(CORS) {
                door.cors = findings.within(file, |findings| http::cors(findings, cors));
            }
            let reader = Reader { document, root, door, of_api, events: &events };
            for (function, route) in findings.within(file, |findings| reader.routes(findings)) {
                findings.within(file, |findings| place_route(findings, functions, function, route));
            }
        }
        for event in events {
            events::settle(findings, document, event, functions);
        }
    }
}

/// Gives a route to its function. Behind a mock runs none; one of them lends its door.
fn place_route(
    findings: &mut Findings,
    functions: &mut [ProjectFunction],
    function: Option<String>,
    route: HttpSource,
) {
    let place = match &function {
        Some(name) => functions.iter_mut().find(|one| one.name == *name),
        None => functions.first_mut(),
    };
    let Some(place) = place else {
        let name = function.unwrap_or_default();
        let what = format!(
            "the integration of {} names the function {}, which is not served",
            route.path,
            shortened(&name)
        );
        let fix = "name a function of the template: ${MyFunction.Arn} in Fn::Sub";
        findings.wrong("E0116", route.line, what, fix);
        return;
    };
    place.sources.push(EventSource::Http(route));
}

struct Reader<'a> {
    document: &'a Document,
    root: &'a Node,
    door: api::Door,
    /// What SAM says of the whole API; none if it is wrong.
    of_api: Option<Asked>,
    /// Those of the API.
    events: &'a [Event],
}

/// Of an operation: the name of its function, or none for a mock.
type Found = (Option<String>, HttpSource);

impl Reader<'_> {
    fn routes(&self, findings: &mut Findings) -> Vec<Found> {
        let root = self.root;
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
        let Some(paths) = root.member("paths") else {
            findings.wrong("E0116", root.line, "the OpenAPI document has no paths", "write paths:");
            return found;
        };
        for path in findings.members(&paths.value, "paths") {
            if self.is_extension(findings, path) {
                continue;
            }
            for operation in findings.members(&path.value, &shortened(&path.key)) {
                let key = operation.key.as_str();
                if key == REFERENCE {
                    let what = format!("the events of {}", shortened(&path.key));
                    findings.missing(operation.line, what, "references to paths are not followed");
                } else if !BESIDE_METHODS.contains(&key) && !self.is_extension(findings, operation) {
                    found.extend(self.operation(findings, path, operation));
                }
            }
        }
        found
    }

    /// Whether it is something for another tool, of which is told; any method is not.
    fn is_extension(&self, findings: &mut Findings, member: &Member) -> bool {
        let is_one = member.key.starts_with(EXTENSION) && http::method_of(&member.key).is_none();
        if is_one {
            let why = "it is not applied here";
            findings.ignore_of(member.line, &shortened(&member.key), &self.document.api, why);
        }
        is_one
    }

    /// `None`, with a finding, for one that is not served.
    fn operation(&self, findings: &mut Findings, path: &Member, operation: &Member) -> Option<Found> {
        let shown = format!("{} {}", operation.key, path.key);
        let method = http::method(findings, &Node::text(operation.key.clone(), operation.line))?;
        let text = self.document.path_of(&path.key);
        let text =
            if text == http::DEFAULT { text.to_owned() } else { http::path(findings, text, path.line)? };
        findings.members(&operation.value, &shown);
        let event = self.events.iter().find(|event| event.is_for(method.as_deref(), &text));
        let settings = operation.value.get(INTEGRATION);
        // SAM adds the integration to an HTTP API that has none, and with `MergeDefinitions` in any case.
        let added =
            event.filter(|_| self.document.takes_events() && (self.document.is_rest() || settings.is_none()));
        if added.is_none() && settings.is_none() {
            let why = "it has no integration, so it is not served";
            findings.missing(operation.line, format!("the event {shown}"), why);
            return None;
        }
        self.note_others(findings, operation, &shown);
        let mut door = self.door.clone();
        self.adapt(findings, &mut door.api, (settings, added))?;
        let asked = security::asked(findings, self.root, operation, self.document.is_rest())?;
        let Asked { mut front, guard } = self.joined(findings, operation, asked, event)?;
        if let Some(keys) = &mut front.keys {
            keys.clone_from(&door.keys);
        }
        let function = match (added, settings) {
            (Some(event), _) => {
                front.validation = event.route.front.validation.clone();
                Some(event.function.clone())
            }
            (None, Some(settings)) => {
                self.function(findings, (operation.line, &shown), settings, &mut front)?
            }
            (None, None) => return None,
        };
        let route = self.route((door, method, text), (front, guard), operation.line);
        Some((function, route))
    }

    /// What API Gateway would read of an operation, and nobody does here.
    fn note_others(&self, findings: &mut Findings, operation: &Member, shown: &str) {
        for member in operation.value.members() {
            let key = member.key.as_str();
            if key.starts_with(OF_GATEWAY) && ![INTEGRATION, security::AUTH].contains(&key) {
                findings.ignore_of(member.line, &shortened(key), &shortened(shown), "it is not applied here");
            }
        }
    }

    /// The function behind an integration, or none for a mock.
    fn function(
        &self,
        findings: &mut Findings,
        (line, shown): (u32, &str),
        settings: &Node,
        front: &mut FrontSpec,
    ) -> Option<Option<String>> {
        let kind = settings.get("type").and_then(Node::scalar).unwrap_or_default().to_ascii_lowercase();
        integration::note_others(findings, settings, &shortened(shown), &kind);
        match kind.as_str() {
            "aws_proxy" => named(findings, settings, shown).map(Some),
            "aws" if self.document.is_rest() => {
                front.integration = Some(integration::read(findings, settings, false)?);
                named(findings, settings, shown).map(Some)
            }
            "mock" if self.document.is_rest() => {
                front.integration = Some(integration::read(findings, settings, true)?);
                Some(None)
            }
            other => {
                let why = format!("the integration {} is not served", shortened(other));
                findings.missing(line, format!("the event {shown}"), why);
                None
            }
        }
    }

    /// What the document asks with what SAM adds: for all routes of the API, and for an event of the same route. As there, none
    /// takes away what another wants.
    fn joined(
        &self,
        findings: &mut Findings,
        operation: &Member,
        asked: Option<Asked>,
        event: Option<&Event>,
    ) -> Option<Asked> {
        let mut joined = self.of_api.clone()?;
        let mut asked = asked.unwrap_or_default();
        let mut wants_key = asked.front.keys.is_some();
        if let Some(event) = event {
            let (own, overrides) = (event.asked(), event.overrides(self.document));
            let counts = overrides || self.document.takes_events();
            wants_key |= own.front.keys.is_some() || (!counts && joined.front.keys.is_some());
            if overrides {
                asked = Asked::default();
            } else if !self.document.is_rest()
                && let (Some(name), Some(other)) = (event.authorizer(), asked.authorizer())
                && other != format!("the authorizer {name}")
            {
                let what = format!("{} wants two: {other}, and {name} of its event", operation.key);
                front::wrong(findings, operation.line, what, "leave one of the authorizers out");
                return None;
            }
            // An event with `NONE` opens a route only where its word counts.
            if counts || own.is_decided() {
                joined = own;
            }
        }
        if asked.is_decided() {
            joined.front.authorizer = asked.front.authorizer;
            joined.front.scopes = asked.front.scopes;
            joined.guard = asked.guard;
        }
        if wants_key {
            joined.front.keys.get_or_insert_default();
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

    /// What the document says of the events of its routes, or the event of a function that adds the integration.
    fn adapt(
        &self,
        findings: &mut Findings,
        api: &mut Api,
        (settings, added): (Option<&Node>, Option<&Event>),
    ) -> Option<()> {
        match api {
            Api::Rest { binary_types, .. } => {
                if let Some(types) = self.root.get(BINARY_TYPES) {
                    binary_types.extend(findings.texts(types, BINARY_TYPES));
                }
            }
            Api::Http { payload, .. } => {
                let written = settings.and_then(|settings| settings.get("payloadFormatVersion"));
                *payload = match (written, added.map(|event| &event.route.api)) {
                    (_, Some(Api::Http { payload, .. })) => *payload,
                    (Some(node), _) => http::payload(findings, node)?,
                    (None, _) => Payload::V1,
                };
            }
            Api::Url(_) | Api::Alb { .. } => {}
        }
        Some(())
    }
}

/// The function of `arn:aws:apigateway:…:lambda:path/2015-03-31/functions/{ARN}/invocations`, or of its ARN alone.
fn named(findings: &mut Findings, settings: &Node, shown: &str) -> Option<String> {
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
