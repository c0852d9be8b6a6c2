//! What a gateway tells of where a request comes from: `X-Forwarded-For`, `-Port` and `-Proto`.
//!
//! Anybody can send these headers. What a proxy on this machine says is believed; of all others, the list of addresses ends
//! with the one that called here, and the rest is what this server has seen itself (T-037).

use http::HeaderValue;
use http::header::HOST;
use http::request::Parts;

use super::url_event::{LOCALHOST, split};
use crate::auth::{caller_of, is_of_this_machine};

const FOR: &str = "x-forwarded-for";
const PORT: &str = "x-forwarded-port";
const PROTO: &str = "x-forwarded-proto";

/// Names, in small letters, with the one value that each has.
pub(super) fn headers(head: &Parts) -> [(&'static str, String); 3] {
    let host = head.headers.get_all(HOST).iter().next_back().map(text);
    let (_, port) = split(host.as_deref().unwrap_or(LOCALHOST));
    let by_proxy = |name: &str| {
        let told = head.headers.get_all(name).iter().next_back().map(text);
        told.filter(|told| !told.is_empty() && is_of_this_machine(head))
    };
    [
        (FOR, addresses(head)),
        (PORT, by_proxy(PORT).unwrap_or_else(|| port.to_owned())),
        (PROTO, by_proxy(PROTO).unwrap_or_else(|| "http".to_owned())),
    ]
}

/// All that was sent, and the caller.
fn addresses(head: &Parts) -> String {
    let known: Vec<String> = head.headers.get_all(FOR).iter().map(text).collect();
    let (known, caller) = (known.join(", "), caller_of(head).to_string());
    // A proxy on this machine has added the caller already.
    let has_caller = known.rsplit(',').next().is_some_and(|last| last.trim() == caller);
    match known.as_str() {
        "" => caller,
        _ if has_caller => known,
        _ => format!("{known}, {caller}"),
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::auth::Peer;

    /// T-037.
    #[test]
    fn only_a_proxy_of_this_machine_is_believed() {
        let check = |peer: &str, sent: &[(&str, &str)], expected: [&str; 3]| {
            let request = Request::get("/").header("Host", "shop.localhost:7071");
            let request = sent.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let request = request.extension(Peer(peer.parse().unwrap()));
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(headers(&head).map(|(_, value)| value), expected, "{peer} {sent:?}");
        };
        let (elsewhere, here) = ("192.0.2.7:9", "127.0.0.1:9");
        let spoofed = [(FOR, "10.0.0.1"), (PORT, "443"), (PROTO, "https")];
        check(elsewhere, &[], ["192.0.2.7", "7071", "http"]);
        check(elsewhere, &spoofed, ["10.0.0.1, 192.0.2.7", "7071", "http"]);
        check(
            elsewhere,
            &[(FOR, "10.0.0.1"), (FOR, "10.0.0.2, 10.0.0.3")],
            ["10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7", "7071", "http"],
        );
        check(here, &[], ["127.0.0.1", "7071", "http"]);
        check(here, &spoofed, ["10.0.0.1", "443", "https"]);
        check(
            here,
            &[(FOR, "198.51.100.1, 192.0.2.9"), (PORT, "")],
            ["198.51.100.1, 192.0.2.9", "7071", "http"],
        );
        check(here, &[(FOR, "nonsense")], ["nonsense, 127.0.0.1", "7071", "http"]);
        check("[::ffff:127.0.0.1]:9", &spoofed, ["10.0.0.1", "443", "https"]);
    }
}
