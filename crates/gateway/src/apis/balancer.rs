//! Which rule of a load balancer a request fits.

use http::header::HOST;
use http::request::Parts;
use ingle_types::balancer::{Condition, Rule};

use crate::auth::caller_of;
use crate::wildcard;

/// Whether all conditions hold.
pub(super) fn fits(rule: &Rule, head: &Parts) -> bool {
    rule.conditions.iter().all(|condition| holds(condition, head))
}

fn holds(condition: &Condition, head: &Parts) -> bool {
    match condition {
        Condition::Path(patterns) => patterns.iter().any(|pattern| wildcard::fits(pattern, head.uri.path())),
        Condition::Host(patterns) => {
            let host = head.headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let name = match host.rsplit_once(':') {
                Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => host,
            };
            patterns.iter().any(|pattern| fits_in_any_case(pattern, name))
        }
        Condition::Method(methods) => methods.iter().any(|method| method == head.method.as_str()),
        Condition::Header { name, values } => head
            .headers
            .get_all(name.as_str())
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| values.iter().any(|pattern| fits_in_any_case(pattern, value))),
        Condition::Query(wanted) => {
            let items = head.uri.query().unwrap_or_default().split('&').filter(|item| !item.is_empty());
            let mut sent = items.map(|item| item.split_once('=').unwrap_or((item, "")));
            sent.any(|(key, value)| {
                wanted.iter().any(|(wanted_key, wanted_value)| {
                    wanted_key.as_ref().is_none_or(|pattern| fits_in_any_case(pattern, key))
                        && fits_in_any_case(wanted_value, value)
                })
            })
        }
        Condition::Source(networks) => {
            let caller = caller_of(head);
            networks.iter().any(|network| network.contains(caller))
        }
    }
}

fn fits_in_any_case(pattern: &str, text: &str) -> bool {
    wildcard::fits(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::auth::Peer;

    fn head() -> Parts {
        let request = Request::post("/api/v1/Orders?version=V1&debug&x=%41")
            .header("Host", "Shop.example.com:7071")
            .header("X-Kind", "big")
            .header("x-kind", "Red thing")
            .extension(Peer("192.0.2.7:9".parse().unwrap()));
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn each_kind_of_condition_looks_at_its_part() {
        let check = |condition: Condition, expected: bool| {
            assert_eq!(holds(&condition, &head()), expected, "{condition}");
        };
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        check(Condition::Path(texts(&["/x", "/api/*/Orders"])), true);
        check(Condition::Path(texts(&["/api/v?/Orders"])), true);
        // Paths are compared to the letter, and whole.
        check(Condition::Path(texts(&["/api/*/orders"])), false);
        check(Condition::Path(texts(&["/api"])), false);
        check(Condition::Host(texts(&["*.EXAMPLE.com"])), true);
        check(Condition::Host(texts(&["example.com"])), false);
        check(Condition::Method(texts(&["GET", "POST"])), true);
        check(Condition::Method(texts(&["post"])), false);
        let header =
            |name: &str, values: &[&str]| Condition::Header { name: name.to_owned(), values: texts(values) };
        check(header("X-KIND", &["red *"]), true);
        check(header("x-kind", &["red"]), false);
        check(header("x-other", &["*"]), false);
        let query = |key: Option<&str>, value: &str| {
            Condition::Query(vec![(key.map(str::to_owned), value.to_owned())])
        };
        check(query(Some("VERSION"), "v1"), true);
        check(query(Some("version"), "v2"), false);
        check(query(None, "v?"), true);
        check(query(Some("debug"), ""), true);
        check(query(Some("x"), "%41"), true);
        check(query(Some("x"), "A"), false);
        check(Condition::Source(vec!["192.0.2.0/24".parse().unwrap()]), true);
        check(Condition::Source(vec!["198.51.100.0/24".parse().unwrap()]), false);
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let path = Condition::Path(vec!["/api/*".to_owned()]);
        let get = Condition::Method(vec!["GET".to_owned()]);
        let rule = |conditions: &[&Condition]| Rule {
            priority: 1,
            conditions: conditions.iter().map(|&one| one.clone()).collect(),
        };
        assert!(fits(&rule(&[&path]), &head()));
        assert!(!fits(&rule(&[&path, &get]), &head()));
        assert!(fits(&rule(&[]), &head()), "a listener's last rule takes everything");
    }
}
