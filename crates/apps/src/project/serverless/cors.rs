//! Rules for pages of other origins of a serverless.yml, with what the framework adds to them.

use super::super::findings::Findings;
use super::super::node::Node;
use super::super::{Api, Cors, EventSource, HttpSource, ProjectFunction, http};

/// What pages may send if an event names no headers.
const HEADERS: [&str; 7] = [
    "Content-Type",
    "X-Amz-Date",
    "Authorization",
    "X-Api-Key",
    "X-Amz-Security-Token",
    "X-Amz-User-Agent",
    "X-Amzn-Trace-Id",
];
const OPTIONS: &str = "OPTIONS";
/// What `any` stands for behind a REST API, and behind an HTTP API.
const ANY_OF_REST: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];
const ANY_OF_HTTP: [&str; 7] = ["GET", "POST", "PUT", "PATCH", OPTIONS, "HEAD", "DELETE"];

/// `cors` of an event of type http, of a URL, or of the provider's HTTP API. Methods of APIs come when all routes are known.
pub(super) fn read(findings: &mut Findings, node: &Node) -> Option<Cors> {
    let mut cors = http::cors(findings, node)?;
    if cors.headers.is_empty() || node.flag() == Some(true) {
        cors.headers = HEADERS.map(str::to_owned).into();
    }
    Some(cors)
}

/// Completes the rules of all routes: a path of a REST API has one answer to browsers, and an HTTP API one for all paths.
pub(super) fn complete(functions: &mut [ProjectFunction]) {
    let mut paths: Vec<(String, Cors)> = Vec::new();
    let mut methods = vec![OPTIONS.to_owned()];
    for http in routes(functions) {
        let method = http.method.as_deref();
        match (&http.api, &http.cors) {
            (Api::Rest { .. }, Some(cors)) => {
                let cors = of_rest(cors, method);
                match paths.iter_mut().find(|(path, _)| *path == http.path) {
                    Some((_, known)) => *known = joined(cors, known),
                    None => paths.push((http.path.clone(), cors)),
                }
            }
            (Api::Http { .. }, Some(_)) => add(&mut methods, method, &ANY_OF_HTTP),
            (Api::Rest { .. } | Api::Http { .. } | Api::Url(_) | Api::Alb { .. }, _) => {}
        }
    }
    for http in routes(functions) {
        let HttpSource { api, path, cors: Some(cors), .. } = http else { continue };
        match api {
            Api::Rest { .. } => {
                if let Some((_, known)) = paths.iter().find(|(known, _)| known == path) {
                    cors.clone_from(known);
                }
            }
            Api::Http { .. } if cors.methods.is_empty() => cors.methods.clone_from(&methods),
            Api::Http { .. } | Api::Url(_) | Api::Alb { .. } => {}
        }
    }
}

fn routes(functions: &mut [ProjectFunction]) -> impl Iterator<Item = &mut HttpSource> {
    functions.iter_mut().flat_map(|function| &mut function.sources).filter_map(|source| match source {
        EventSource::Http(http) => Some(http),
        EventSource::Schedule(_) | EventSource::Queue(_) | EventSource::Bucket(_) | EventSource::Topic(_) => {
            None
        }
    })
}

/// Of one event, with its own method.
fn of_rest(cors: &Cors, method: Option<&str>) -> Cors {
    let mut methods = Vec::new();
    for written in &cors.methods {
        add(&mut methods, Some(written.as_str()).filter(|written| *written != "ANY"), &ANY_OF_REST);
    }
    add(&mut methods, Some(OPTIONS), &ANY_OF_REST);
    add(&mut methods, method, &ANY_OF_REST);
    Cors { methods, ..cors.clone() }
}

/// `None` is any.
fn add(methods: &mut Vec<String>, method: Option<&str>, any: &[&str]) {
    for method in method.as_ref().map_or(any, std::slice::from_ref) {
        if !methods.iter().any(|known| known == method) {
            methods.push((*method).to_owned());
        }
    }
}

/// What two events with one path say: the later one goes first.
fn joined(later: Cors, earlier: &Cors) -> Cors {
    let union = |mut first: Vec<String>, second: &[String]| {
        for one in second {
            if !first.contains(one) {
                first.push(one.clone());
            }
        }
        first
    };
    Cors {
        origins: union(later.origins, &earlier.origins),
        methods: union(later.methods, &earlier.methods),
        headers: union(later.headers, &earlier.headers),
        exposed_headers: union(later.exposed_headers, &earlier.exposed_headers),
        credentials: later.credentials || earlier.credentials,
        max_age: later.max_age.or(earlier.max_age),
    }
}
