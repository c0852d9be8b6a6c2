//! What this machine knows of names by itself: its nameservers, search domains and written addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// As many as the resolver of the C library takes (resolv.conf(5)).
const NAMESERVERS_MAX: usize = 3;

const PORT: u16 = 53;

/// Whom a relay asks, and what it answers by itself.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Configuration {
    /// Asked in this order.
    pub nameservers: Vec<SocketAddr>,
    /// Domains that a resolver in the box tries behind a short name.
    pub search: Vec<String>,
    /// Addresses by name, in lower case.
    pub written: BTreeMap<String, Vec<IpAddr>>,
}

impl Configuration {
    /// Reads the texts of `/etc/resolv.conf` and `/etc/hosts`. Lines that are not understood are passed over, as the C
    /// library does.
    pub fn parse(resolv_conf: &str, hosts: &str) -> Self {
        let mut configuration = Self { written: written(hosts), ..Self::default() };
        for line in resolv_conf.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => configuration.nameservers.extend(words.next().and_then(nameserver)),
                // Of several lines the last counts; `domain` is an older word for a search in one.
                Some("search") => configuration.search = words.map(domain).collect(),
                Some("domain") => configuration.search = words.take(1).map(domain).collect(),
                _ => {}
            }
        }
        configuration.nameservers.truncate(NAMESERVERS_MAX);
        if configuration.nameservers.is_empty() {
            configuration.nameservers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        configuration
    }

    /// What is known of a name without asking anybody. `localhost` is what it is everywhere (RFC 6761).
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        if name == "localhost" || name.ends_with(".localhost") {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        self.written.get(name).cloned()
    }
}

/// An address, for a link-local one with the number of its interface.
fn nameserver(word: &str) -> Option<SocketAddr> {
    match word.split_once('%') {
        Some((address, interface)) => {
            Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, interface.parse().ok()?).into())
        }
        None => Some(SocketAddr::new(word.parse().ok()?, PORT)),
    }
}

fn domain(word: &str) -> String {
    word.trim_matches('.').to_ascii_lowercase()
}

fn written(hosts: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let mut written: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for line in hosts.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            written.entry(domain(name)).or_default().push(address);
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_as_the_c_library_reads_them() {
        let resolv_conf = "# comment\nnameserver 127.0.0.53\nnameserver fe80::1%2\nnameserver nonsense\n\
                           domain a.example\nsearch B.example. c.example\noptions ndots:5\nnameserver ::1\nnameserver 1.1.1.1\n";
        let hosts = "127.0.0.1 localhost\n::1 ip6-localhost # six\n10.0.0.5\tdb Db.internal\n10.0.0.6 db\nnonsense x\n";
        let configuration = Configuration::parse(resolv_conf, hosts);
        let servers = ["127.0.0.53:53", "[fe80::1%2]:53", "[::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(configuration.nameservers, servers);
        assert_eq!(configuration.search, ["b.example", "c.example"]);
        let both = ["10.0.0.5", "10.0.0.6"].map(|text| text.parse().unwrap());
        assert_eq!(configuration.addresses("db"), Some(both.to_vec()));
        assert_eq!(configuration.addresses("db.internal"), Some(both[..1].to_vec()));
        assert_eq!(configuration.addresses("a.localhost").map(|found| found.len()), Some(2));
        assert_eq!(configuration.addresses("x"), None);
    }

    #[test]
    fn without_a_nameserver_it_is_this_machine() {
        assert_eq!(Configuration::parse("", "").nameservers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
