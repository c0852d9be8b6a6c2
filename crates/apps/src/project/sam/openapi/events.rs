//! Events of functions whose API has a document.
//!
//! SAM adds the route of an event to a document that stands in the template: of an HTTP API always, of a REST API with
//! `MergeDefinitions`. Every other event only allows its API to call, and the document alone says which routes there are. What
//! an event wants to know of callers is asked on the document's route in either case, as a route that a project wants guarded
//! is never open.

use super::super::super::findings::Findings;
use super::super::super::front::{self, Asked};
use super::super::super::node::{Kind, Node};
use super::super::super::{Api, EventSource, HttpSource, ProjectFunction, http};
use super::super::Template;
use super::super::auth::NONE;
use super::{Document, REFERENCE};

/// A route that an event says.
pub(super) struct Event {
    /// The name of its function.
    pub(super) function: String,
    pub(super) route: HttpSource,
    /// Its own `Auth`.
    auth: Option<Node>,
}

/// Takes the routes of one API out of the functions: none is served before the document was looked at.
pub(super) fn take(functions: &mut [ProjectFunction], template: &Template<'_>, api: &str) -> Vec<Event> {
    let mut taken = Vec::new();
    for function in functions {
        let mut others = Vec::new();
        for source in std::mem::take(&mut function.sources) {
            match source {
                EventSource::Http(route) if api_of(&route) == Some(api) => {
                    let auth = own_auth(template, &function.id, &route).cloned();
                    taken.push(Event { function: function.name.clone(), route, auth });
                }
                other => others.push(other),
            }
        }
        function.sources = others;
    }
    taken
}

fn api_of(route: &HttpSource) -> Option<&str> {
    match &route.api {
        Api::Rest { id, .. } | Api::Http { id, .. } => Some(id),
        Api::Url(_) | Api::Alb { .. } => None,
    }
}

/// What the event of a route says of its callers by itself.
fn own_auth<'a>(template: &Template<'a>, function: &str, route: &HttpSource) -> Option<&'a Node> {
    let events = template.resources.get(function)?.value.at(&["Properties", "Events"])?;
    let event = events.members().iter().find(|event| {
        let of = |key: &str| event.value.at(&["Properties", key]).and_then(Node::scalar);
        // In JSON all of a file may stand in one line.
        event.line == route.line
            && of("Path").unwrap_or(http::DEFAULT) == route.path
            && of("Method").map_or(Some(None), http::method_of).as_ref() == Some(&route.method)
    });
    event?.value.at(&["Properties", "Auth"])
}

impl Event {
    pub(super) fn is_for(&self, method: Option<&str>, path: &str) -> bool {
        self.route.method.as_deref() == method && is_same_path(&self.route.path, path)
    }

    /// What is asked of its callers, with what its API asks of all.
    pub(super) fn asked(&self) -> Asked {
        Asked { front: self.route.front.clone(), guard: self.route.guard.clone() }
    }

    /// The authorizer that it names itself; `NONE` is none.
    pub(super) fn authorizer(&self) -> Option<&str> {
        let named = self.auth.as_ref()?.get("Authorizer")?.scalar()?;
        Some(named).filter(|name| *name != NONE)
    }

    /// Whether its word counts instead of the document's, which only a REST API knows.
    pub(super) fn overrides(&self, document: &Document) -> bool {
        let Some(auth) = &self.auth else { return false };
        let is_wanted = document.merges || auth.get("OverrideApiAuth").and_then(Node::flag) == Some(true);
        document.is_rest() && document.is_inline && is_wanted && auth.get("Authorizer").is_some()
    }
}

/// What becomes of an event that has become none of the document's routes: one of its own, if nothing in the document is about
/// the same requests.
pub(super) fn settle(
    findings: &mut Findings,
    document: &Document,
    event: Event,
    functions: &mut [ProjectFunction],
) {
    let (line, path) = (event.route.line, event.route.path.as_str());
    let shown = format!("{} {path}", event.route.method.as_deref().unwrap_or("ANY"));
    let Some(items) = document.path_items() else {
        let why = "the document of its API can't be read, so it is not served";
        findings.missing(line, format!("the event {shown}"), why);
        return;
    };
    for item in items.iter().filter(|item| is_same_path(document.path_of(&item.key), path)) {
        let method = event.route.method.as_ref();
        let is_about = |key: &str| match http::method_of(key) {
            Some(None) if !document.takes_events() => true,
            found => found.as_ref().map(Option::as_ref) == Some(method),
        };
        let mut operations = item.value.members().iter().filter(|one| is_about(&one.key));
        let is_readable = |node: &Node| node.is_null() || matches!(node.kind, Kind::Map(_));
        let is_hidden = !is_readable(&item.value) || item.value.get(REFERENCE).is_some();
        if is_hidden || operations.clone().any(|one| !is_readable(&one.value)) {
            let what = format!("who may come in by {shown} is not known: the document can't be read there");
            let fix = format!("write it out in the document, line {}", item.line);
            front::wrong(findings, line, what, fix);
            return;
        }
        if operations.next().is_some() {
            return;
        }
    }
    if document.takes_events() {
        let function = functions.iter_mut().find(|one| one.name == event.function);
        function.into_iter().for_each(|one| one.sources.push(EventSource::Http(event.route.clone())));
    } else {
        let why = "the document of its API says which routes there are, so it is not served";
        findings.missing(line, format!("the event {shown}"), why);
    }
}

/// Whether two paths take the same requests: the names of parameters are all that may be otherwise.
pub(super) fn is_same_path(one: &str, other: &str) -> bool {
    let mut pairs = one.split('/').zip(other.split('/'));
    let is_same = |(one, other): (&str, &str)| match (parameter(one), parameter(other)) {
        (None, None) => one == other,
        (one, other) => one == other,
    };
    one.split('/').count() == other.split('/').count() && pairs.all(is_same)
}

/// Of a segment that is a parameter whether it takes the rest of the path.
fn parameter(segment: &str) -> Option<bool> {
    let name = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(name.ends_with('+'))
}
