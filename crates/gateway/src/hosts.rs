//! Which app a request is for: the first label of the host that it names.
//!
//! `shop.localhost:7071` is the app `shop`, and so is `shop.example.org`: what stands behind the first dot is the
//! business of whoever leads names to this machine. A server with one app serves it under every name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{Response, StatusCode};

use crate::failure;
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
}

impl Hosts {
    /// The app that a request is for.
    ///
    /// # Errors
    /// The answer (404) when the host belongs to none.
    pub(crate) fn choose(&self, head: &Parts) -> Result<&Arc<Service>, Response<Bytes>> {
        let (services, development) = match self {
            Self::Any(service) => return Ok(service),
            Self::ByLabel { services, development } => (services, *development),
        };
        let named = host(head).and_then(label);
        named.as_ref().and_then(|label| services.get(label)).ok_or_else(|| {
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
