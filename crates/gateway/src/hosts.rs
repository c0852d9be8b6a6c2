//! Which app a request is for: the first label of the host that it names.
//!
//! `shop.localhost:7071` is the app `shop`, and so is `shop.example.org`: what stands behind the first dot is the
//! business of whoever leads names to this machine. A server with one app serves it under every name, and one with a project
//! of functions its APIs under every name that is none of a function.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{Response, StatusCode};

use crate::apis::{self, Apis, Chosen, Cors, Matched};
use crate::failure;
use crate::lambda;
use crate::service::Service;

/// Names of apps that a refusal tells.
const NAMES_TOLD_MAX: usize = 20;

/// The apps behind one port.
pub enum Hosts {
    /// Every host is this app's.
    Any(Arc<Service>),
    /// By label, in small letters.
    ByLabel {
        services: BTreeMap<String, Arc<Service>>,
        /// Refusals say which apps there are.
        development: bool,
    },
    /// Functions by label, which have URLs there, and the APIs in front of them.
    Project { services: BTreeMap<String, Arc<Service>>, apis: Apis },
}

/// Who answers a request.
pub(crate) enum Host<'a> {
    Of(&'a Arc<Service>),
    /// A function behind an API, and what the request is there.
    Behind(&'a Arc<Service>, Matched),
    /// The URL of a function, with its rules for other origins.
    Url(&'a Arc<Service>, &'a Cors),
}

impl Hosts {
    /// The app that a request is for.
    ///
    /// # Errors
    /// The answer (404) when the host belongs to none, or that of an API which has no such route.
    pub(crate) fn choose(&self, head: &Parts) -> Result<Host<'_>, Response<Bytes>> {
        let named = || host(head).and_then(label);
        let (services, development) = match self {
            Self::Any(service) => return Ok(Host::Of(service)),
            Self::ByLabel { services, development } => (services, *development),
            Self::Project { services, apis } => return behind(services, apis, head, named()),
        };
        let named = named();
        named.as_ref().and_then(|label| services.get(label)).map(Host::Of).ok_or_else(|| {
            let what = named.map_or_else(
                || "the request does not name an app".to_owned(),
                |label| format!("there is no app '{label}' here"),
            );
            let names: Vec<&str> = services.keys().map(String::as_str).collect();
            let hint = development.then(|| hint(&names));
            failure::refusal(StatusCode::NOT_FOUND, "E0511", &what, hint.as_deref())
        })
    }
}

/// A name as a part of a host's name.
pub fn label_of(name: &str) -> String {
    name.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// AWS's API for functions names them in its path, under every host.
fn behind<'a>(
    services: &'a BTreeMap<String, Arc<Service>>,
    apis: &'a Apis,
    head: &Parts,
    label: Option<String>,
) -> Result<Host<'a>, Response<Bytes>> {
    if let Some((label, service)) = label.and_then(|label| services.get_key_value(&label)) {
        let Some(cors) = apis.url_cors(label) else { return Ok(Host::Of(service)) };
        return match apis::url_preflight(cors, head) {
            Some(answer) => Err(answer),
            None => Ok(Host::Url(service, cors)),
        };
    }
    if let Some(named) = lambda::api::name_in(head.uri.path()) {
        // Any of them can say that there is no such function.
        if let Some(service) = services.get(&label_of(&named)).or_else(|| services.values().next()) {
            return Ok(Host::Of(service));
        }
    }
    if let Some(site) = apis.site() {
        return Ok(Host::Of(site));
    }
    match apis.choose(head) {
        Chosen::Function(service, matched) => Ok(Host::Behind(service, matched)),
        Chosen::Answer(answer) => Err(answer),
    }
}

fn hint(names: &[&str]) -> String {
    let (told, rest) = names.split_at(names.len().min(NAMES_TOLD_MAX));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("the first part of the host is the app, as in `shop.localhost`; apps: {}{more}", told.join(", "))
}

fn host(head: &Parts) -> Option<&str> {
    let named = || head.headers.get(HOST).and_then(|value| value.to_str().ok());
    head.uri.authority().map(http::uri::Authority::as_str).or_else(named)
}

/// `shop` of `Shop.localhost:7071`; none of an address, or of nothing.
fn label(authority: &str) -> Option<String> {
    if authority.starts_with('[') {
        return None;
    }
    let host = authority.split(':').next().unwrap_or_default();
    if host.parse::<IpAddr>().is_ok() {
        return None;
    }
    let first = host.split('.').next().unwrap_or_default();
    // What else a name may be is not known to any app; such bytes are not told back.
    let is_label =
        !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_label.then(|| first.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_label_names_the_app() {
        let check = |authority: &str, expected: Option<&str>| {
            assert_eq!(label(authority).as_deref(), expected, "{authority}");
        };
        check("shop.localhost:7071", Some("shop"));
        check("Shop.Example.org", Some("shop"));
        check("shop", Some("shop"));
        check("web-shop-2.localhost", Some("web-shop-2"));
        check("127.0.0.1:7071", None);
        check("[::1]:7071", None);
        check("", None);
        check(":80", None);
        check(".localhost", None);
        check("sh<p>.localhost", None);
    }

    #[test]
    fn a_refusal_tells_some_names() {
        assert!(hint(&["blog", "shop"]).ends_with("apps: blog, shop"));
        assert!(hint(&["a"; 25]).ends_with("a and 5 more"));
    }
}
