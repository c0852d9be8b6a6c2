//! Rules of an Application Load Balancer of AWS: which requests go to a function behind it.
//!
//! Projects declare them, and the gateway keeps to them. What each condition means is in AWS's documentation of listener rules.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The ARN of a target group.
pub fn target_group(region: &str, account: &str, name: &str) -> String {
    format!("arn:aws:elasticloadbalancing:{region}:{account}:targetgroup/{name}/0000000000000000")
}

/// A rule of a listener. All of its conditions have to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The rule with the smallest one is looked at first.
    pub priority: u32,
    pub conditions: Vec<Condition>,
}

/// What a request must have: one of these. In patterns, `*` is any text and `?` one letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Patterns of the path as it was sent.
    Path(Vec<String>),
    /// Patterns of the host without its port, in any case of letters.
    Host(Vec<String>),
    /// As they are sent: `GET`.
    Method(Vec<String>),
    /// Patterns of a header's value, in any case of letters.
    Header { name: String, values: Vec<String> },
    /// Patterns of a key, or none for any, and of its value, in any case of letters.
    Query(Vec<(Option<String>, String)>),
    /// Where the caller is.
    Source(Vec<Network>),
}

/// Addresses that begin alike: `192.0.2.0/24`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    /// That addresses of it have in common.
    bits: u32,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        differing >= self.bits
    }
}

/// As AWS writes them: an address with the number of bits. What is none is none.
impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').ok_or(())?;
        let address: IpAddr = address.parse().map_err(|_no_address| ())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.parse().ok().filter(|bits| *bits <= bits_max).ok_or(())?;
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// `rule 3: path /a* or /b, method GET`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_empty() {
            return write!(f, "the last rule: everything");
        }
        let conditions: Vec<String> = self.conditions.iter().map(ToString::to_string).collect();
        write!(f, "rule {}: {}", self.priority, conditions.join(", "))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(patterns) => write!(f, "path {}", patterns.join(" or ")),
            Self::Host(patterns) => write!(f, "host {}", patterns.join(" or ")),
            Self::Method(methods) => write!(f, "method {}", methods.join(" or ")),
            Self::Header { name, values } => write!(f, "header {name} {}", values.join(" or ")),
            Self::Query(pairs) => {
                let written = |(key, value): &(Option<String>, String)| match key {
                    Some(key) => format!("{key}={value}"),
                    None => value.clone(),
                };
                let pairs: Vec<String> = pairs.iter().map(written).collect();
                write!(f, "query {}", pairs.join(" or "))
            }
            Self::Source(networks) => {
                let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
                write!(f, "address {}", networks.join(" or "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_the_addresses_that_begin_like_them() {
        let check = |network: &str, address: &str, expected: bool| {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network} {address}");
        };
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.0/24", "192.0.3.0", false);
        check("192.0.2.7/32", "192.0.2.7", true);
        check("192.0.2.7/32", "192.0.2.6", false);
        check("0.0.0.0/0", "198.51.100.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("192.0.2.0/24", "::ffff:192.0.2.9", true);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        for bad in ["192.0.2.0", "192.0.2.0/33", "2001:db8::/129", "a/8", "192.0.2.0/-1", "/"] {
            assert_eq!(bad.parse::<Network>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn a_rule_is_told_in_words() {
        let rule = Rule {
            priority: 3,
            conditions: vec![
                Condition::Path(vec!["/a*".to_owned(), "/b".to_owned()]),
                Condition::Query(vec![(Some("v".to_owned()), "1".to_owned()), (None, "x".to_owned())]),
                Condition::Source(vec!["192.0.2.0/24".parse().unwrap()]),
            ],
        };
        assert_eq!(rule.to_string(), "rule 3: path /a* or /b, query v=1 or x, address 192.0.2.0/24");
    }
}
