//! The plugin serverless-wsgi: a function whose handler the plugin would pack is the web app that `custom.wsgi.app` names.

use std::path::Path;

use super::super::findings::{Findings, shortened};
use super::super::node::{Fault, Node};
use super::super::{EventSource, ProjectFunction};
use super::variables::Variables;
use crate::lambda::script_of;

pub(super) const PLUGIN: &str = "serverless-wsgi";
/// What the plugin packs, as it is named now and was before.
const HANDLERS: [&str; 2] = ["wsgi_handler.handler", "wsgi.handler"];

/// The web app; `None` if the plugin is not there.
///
/// # Errors
/// What its name leads to passes the bounds of a tree.
pub(super) fn app(variables: &mut Variables<'_>) -> Result<Option<Node>, Fault> {
    let plugins = variables.tree.get("plugins").map_or(&[][..], Node::items);
    let Some(plugin) = plugins.iter().find(|plugin| plugin.scalar() == Some(PLUGIN)) else { return Ok(None) };
    let written = Node::text("${self:custom.wsgi.app, ''}", plugin.line);
    variables.fill(&written).map(Some)
}

pub(super) fn is_handler(node: &Node) -> bool {
    node.scalar().is_some_and(|handler| HANDLERS.contains(&handler))
}

/// The app as a handler in the folder `code`; `None`, with a finding, if it is none.
pub(super) fn handler(findings: &mut Findings, code: &Path, app: &Node) -> Option<String> {
    let name = findings.text(app, "custom.wsgi.app")?;
    if script_of(code, &name).is_some_and(|script| code.join(script).is_file()) {
        return Some(name);
    }
    let what =
        format!("custom.wsgi.app is `{}`, which is no name in a module of this folder", shortened(&name));
    findings.wrong("E0215", app.line, what, "write module.name, e.g. app.app for app in app.py");
    None
}

/// Takes away what does not come as a request, which no web app answers.
pub(super) fn keep_requests(findings: &mut Findings, function: &mut ProjectFunction) {
    let (id, line) = (function.id.clone(), function.line);
    function.sources.retain(|source| {
        let is_request = matches!(source, EventSource::Http(_));
        if !is_request {
            findings.missing(line, format!("the events of {id}"), "a web app takes requests alone");
        }
        is_request
    });
}
