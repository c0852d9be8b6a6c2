//! Where a request comes from, as far as that can be trusted.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{FORWARDED, HOST, ORIGIN};
use http::request::Parts;

use super::Peer;

/// Set by proxies; a request that has one was made somewhere else.
const FORWARDING: [&str; 4] = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Whether the request was made on this machine and by no page of another site: a page can make a browser send
/// requests to this machine, but can neither choose `Host` nor leave out `Origin` (T-043).
pub(super) fn is_local(head: &Parts) -> bool {
    let is_direct = !head.headers.contains_key(FORWARDED)
        && FORWARDING.iter().all(|name| !head.headers.contains_key(*name));
    let text = |name| head.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = head.uri.authority().map(|authority| authority.as_str()).or_else(|| text(HOST));
    let origin_is_local = text(ORIGIN).is_none_or(|origin| {
        origin
            .split_once("://")
            .is_some_and(|(_, authority)| is_local_host(authority) || Some(authority) == host)
    });
    let fetched_elsewhere =
        head.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site");
    let host_is_local = host.is_some_and(|host| is_local_host(host) || is_app_of_ours(host));
    is_of_this_machine(head) && is_direct && host_is_local && origin_is_local && !fetched_elsewhere
}

/// `localhost:7071`, `127.0.0.1`, `[::1]:80`.
fn is_local_host(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `shop.localhost:7071`. Such a name never leads to another machine (RFC 6761, 6.3), but pages of two of them are not
/// of one mind.
fn is_app_of_ours(authority: &str) -> bool {
    let host = authority.split(':').next().unwrap_or_default();
    host.to_ascii_lowercase().strip_suffix(".localhost").is_some_and(|app| !app.is_empty())
}

/// Whom failures are counted against: the other end of the connection, or, behind a proxy on this machine, the address
/// that this proxy saw (it adds it at the end).
pub(crate) fn caller(head: &Parts) -> IpAddr {
    let peer = peer(head).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    if !peer.is_loopback() {
        return peer;
    }
    let forwarded = head.headers.get_all("x-forwarded-for").iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    last.unwrap_or(peer)
}

/// Whether the other end of the connection is on this machine: who called, or a proxy.
pub(crate) fn is_of_this_machine(head: &Parts) -> bool {
    peer(head).is_some_and(|address| address.is_loopback())
}

fn peer(head: &Parts) -> Option<IpAddr> {
    head.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn head(peer: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/admin/host/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let address = peer.parse().unwrap();
        request.extension(Peer(address)).body(()).unwrap().into_parts().0
    }

    fn check(peer: &str, headers: &[(&str, &str)], expected: bool) {
        assert_eq!(is_local(&head(peer, headers)), expected, "{peer} {headers:?}");
    }

    /// T-039, T-043: another machine, a proxy or a page of another site is not this machine.
    #[test]
    fn only_direct_requests_of_this_machine_are_local() {
        let (local, good) = ("127.0.0.1:5000", ("host", "localhost:7071"));
        check(local, &[good], true);
        check("[::1]:5000", &[("host", "[::1]:7071")], true);
        check("[::ffff:127.0.0.1]:5000", &[("host", "127.0.0.1")], true);
        check(local, &[good, ("origin", "http://localhost:3000")], true);
        check("192.0.2.7:5000", &[good], false);
        check(local, &[], false);
        check(local, &[("host", "evil.example:7071")], false);
        check(local, &[("host", "localhost.evil.example")], false);
        let shop = ("host", "shop.localhost:7071");
        check(local, &[shop], true);
        check(local, &[shop, ("origin", "http://shop.localhost:7071")], true);
        check(local, &[shop, ("origin", "http://blog.localhost:7071")], false);
        check(local, &[("host", ".localhost")], false);
        check(local, &[("host", "127.0.0.1.evil.example")], false);
        check(local, &[good, ("origin", "https://evil.example")], false);
        check(local, &[good, ("origin", "null")], false);
        check(local, &[good, ("sec-fetch-site", "cross-site")], false);
        check(local, &[good, ("x-forwarded-for", "192.0.2.7")], false);
        check(local, &[good, ("forwarded", "for=192.0.2.7")], false);
        check(local, &[good, ("x-real-ip", "127.0.0.1")], false);
    }

    #[test]
    fn failures_count_against_whoever_a_local_proxy_saw() {
        let check = |peer, forwarded: &str, expected: &str| {
            let caller = caller(&head(peer, &[("x-forwarded-for", forwarded)]));
            assert_eq!(caller.to_string(), expected, "{forwarded}");
        };
        check("127.0.0.1:1", "198.51.100.1, 192.0.2.7", "192.0.2.7");
        check("127.0.0.1:1", "nonsense", "127.0.0.1");
        check("192.0.2.9:1", "198.51.100.1", "192.0.2.9");
    }
}
