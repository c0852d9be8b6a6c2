//! One line of a list of what may be reached: `host:port`, in the forms that people write.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::place::{Place, plain};

/// A place that functions may connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    host: Host,
    /// `None` is any port.
    port: Option<u16>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    Network(Network),
}

/// Addresses with common first bits. A single address is one whose bits are all common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Network {
    address: IpAddr,
    bits: u32,
}

/// Why a text is no target, and how it is to be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    #[error("a target is empty; write `host:port`, e.g. `db.example.com:5432`")]
    Empty,
    #[error("`{text}` has a scheme; write host and port only, e.g. `{host}:443`")]
    Scheme { text: String, host: String },
    #[error("`{text}` has no port; write `{text}:443`, or `{text}:*` for all ports")]
    NoPort { text: String },
    #[error("`{port}` in `{text}` is not a port; write a number from 1 to 65535, or `*` for all ports")]
    Port { text: String, port: String },
    #[error("`{text}` has an IPv6 address without brackets; write e.g. `[::1]:53`, or `[fd00::]/8:443`")]
    Brackets { text: String },
    #[error("`{host}` is not an address; write IPv4 as `10.0.0.1:443` and IPv6 as `[fd00::1]:443`")]
    Address { host: String },
    #[error("`/{bits}` in `{text}` is not a length of a network; write a number from 0 to {most}")]
    Bits { text: String, bits: String, most: u32 },
    #[error("`{text}` has bits behind the length of its network; write `{network}`")]
    Network { text: String, network: String },
    #[error("`{host}` has a `*`; names are compared as a whole, so list each of them")]
    Wildcard { host: String },
    #[error("`{host}` is not a name of a host; names have letters, digits, `-`, `_` and dots")]
    Name { host: String },
}

impl Target {
    /// Reads `host:port`, `1.2.3.4:5432`, `[::1]:53`, `10.0.0.0/8:443`, `[fd00::]/8:443` or `host:*`.
    ///
    /// # Errors
    /// The text is none of these; the error says what is wrong with it and how to write it.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', ':', '?']).next().unwrap_or(rest).to_owned();
            return Err(TargetError::Scheme { text: text.to_owned(), host });
        }
        let (host, port) = split(text)?;
        let host = match host.strip_prefix('[') {
            Some(inside) => bracketed(text, inside)?,
            None => unbracketed(text, host)?,
        };
        Ok(Self { host, port: parse_port(text, port)? })
    }

    /// Where a URL leads to, or what is written as `host:port`; `None` if the text is neither.
    pub fn of_url(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let authority = rest.split(['/', '?', '#']).next()?;
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => (host, port),
            Some(_) => return None,
            None => (authority, usual_port(scheme)?),
        };
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._[]:".contains(letter);
        let is_host = !host.is_empty() && host.chars().all(is_host);
        is_host.then(|| Self::parse(&format!("{host}:{port}")).ok()).flatten()
    }

    /// The name, if it is one that has to be looked up.
    pub fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) if name != "localhost" => Some(name),
            Host::Name(_) | Host::Network(_) => None,
        }
    }

    pub(super) fn has_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    /// Whether the target names the address itself, without a name to look up.
    ///
    /// A wide network does not mean what is special about some of its addresses: `0.0.0.0/0` is the internet, and
    /// neither the host's loopback nor a cloud's metadata. Only a network inside such a range names its addresses.
    pub(super) fn names_address(&self, address: IpAddr) -> bool {
        let address = plain(address);
        match &self.host {
            Host::Name(name) => name == "localhost" && is_localhost(address),
            Host::Network(network) => {
                let either = network.contains(address)
                    || (address.is_unspecified() && network.contains(loopback_beside(address)));
                either && (!Place::of(address).is_touchy() || network.lies_in_place(address))
            }
        }
    }
}

fn usual_port(scheme: &str) -> Option<&'static str> {
    // `git+https` is what pip calls a repository behind HTTPS.
    let scheme = scheme.rsplit('+').next().unwrap_or(scheme);
    Some(match scheme {
        "http" => "80",
        "https" => "443",
        "ssh" => "22",
        "postgres" | "postgresql" => "5432",
        "mysql" => "3306",
        "redis" => "6379",
        "amqp" => "5672",
        "mongodb" => "27017",
        _ => return None,
    })
}

/// What `localhost` stands for. The unspecified address is the same place to `connect`.
fn is_localhost(address: IpAddr) -> bool {
    address == Ipv4Addr::LOCALHOST || address == Ipv6Addr::LOCALHOST || address.is_unspecified()
}

fn loopback_beside(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Whether the network's first and last address are as special as the one asked about. The ranges that matter are
    /// connected, so what is between them is too; but for the unspecified address, which stands alone.
    fn lies_in_place(self, address: IpAddr) -> bool {
        if self.bits == most_bits(self.address) {
            return true;
        }
        let place = Place::of(address);
        !self.address.is_unspecified() && Place::of(self.address) == place && Place::of(self.last()) == place
    }

    fn last(self) -> IpAddr {
        match self.address {
            IpAddr::V4(own) => {
                Ipv4Addr::from_bits(own.to_bits() | u32::MAX.checked_shr(self.bits).unwrap_or(0)).into()
            }
            IpAddr::V6(own) => {
                Ipv6Addr::from_bits(own.to_bits() | u128::MAX.checked_shr(self.bits).unwrap_or(0)).into()
            }
        }
    }

    fn first(self) -> IpAddr {
        match self.address {
            IpAddr::V4(own) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                Ipv4Addr::from_bits(own.to_bits() & mask).into()
            }
            IpAddr::V6(own) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                Ipv6Addr::from_bits(own.to_bits() & mask).into()
            }
        }
    }
}

fn most_bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Cuts at the colon before the port, which for IPv6 stands behind the brackets.
fn split(text: &str) -> Result<(&str, &str), TargetError> {
    let without_port = || TargetError::NoPort { text: text.to_owned() };
    if text.starts_with('[') {
        let end = text.find(']').ok_or_else(|| TargetError::Brackets { text: text.to_owned() })?;
        let colon = text[end..].find(':').ok_or_else(without_port)?;
        return Ok((&text[..end + colon], &text[end + colon + 1..]));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(without_port)?;
    if host.contains(':') {
        return Err(TargetError::Brackets { text: text.to_owned() });
    }
    Ok((host, port))
}

fn parse_port(text: &str, port: &str) -> Result<Option<u16>, TargetError> {
    if port == "*" {
        return Ok(None);
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse::<u16>().ok().filter(|number| digits && *number > 0);
    number.map(Some).ok_or_else(|| TargetError::Port { text: text.to_owned(), port: port.to_owned() })
}

/// `::1]`, `fd00::]/8` or `fd00::/8]`.
fn bracketed(text: &str, inside: &str) -> Result<Host, TargetError> {
    let (before, behind) =
        inside.split_once(']').ok_or_else(|| TargetError::Brackets { text: text.to_owned() })?;
    let (address, bits) = match (before.split_once('/'), behind.strip_prefix('/')) {
        (Some((address, bits)), None) if behind.is_empty() => (address, Some(bits)),
        (None, Some(bits)) => (before, Some(bits)),
        (None, None) if behind.is_empty() => (before, None),
        _ => return Err(TargetError::Brackets { text: text.to_owned() }),
    };
    let address =
        Ipv6Addr::from_str(address).map_err(|_| TargetError::Address { host: address.to_owned() })?;
    network(text, address.into(), bits)
}

fn unbracketed(text: &str, host: &str) -> Result<Host, TargetError> {
    let (address, bits) = match host.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (host, None),
    };
    let looks_like_address = address.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if bits.is_some() || (looks_like_address && !address.is_empty()) {
        let address =
            Ipv4Addr::from_str(address).map_err(|_| TargetError::Address { host: address.to_owned() })?;
        return network(text, address.into(), bits);
    }
    name(host)
}

fn network(text: &str, address: IpAddr, bits: Option<&str>) -> Result<Host, TargetError> {
    let most = most_bits(address);
    let length = match bits {
        None => most,
        Some(bits) => bits
            .parse()
            .ok()
            .filter(|length| *length <= most)
            .ok_or_else(|| TargetError::Bits { text: text.to_owned(), bits: bits.to_owned(), most })?,
    };
    // A mapped address is the same place as the IPv4 address in it, and is compared as that.
    let written = match plain(address) {
        IpAddr::V4(inner) if address.is_ipv6() && length >= 96 => {
            Network { address: inner.into(), bits: length - 96 }
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Network { address, bits: length },
    };
    if written.first() != written.address {
        let first =
            Target { host: Host::Network(Network { address: written.first(), ..written }), port: None };
        let port = text.rsplit(':').next().unwrap_or("*");
        let network = first.to_string().replace(":*", &format!(":{port}"));
        return Err(TargetError::Network { text: text.to_owned(), network });
    }
    Ok(Host::Network(written))
}

fn name(host: &str) -> Result<Host, TargetError> {
    if host.contains('*') {
        return Err(TargetError::Wildcard { host: host.to_owned() });
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_symbol = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_symbol);
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(TargetError::Name { host: host.to_owned() });
    }
    Ok(Host::Name(name))
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(formatter, "{name}")?,
            Host::Network(Network { address: IpAddr::V4(address), bits }) => {
                write!(formatter, "{address}")?;
                if *bits < 32 {
                    write!(formatter, "/{bits}")?;
                }
            }
            Host::Network(Network { address: IpAddr::V6(address), bits }) => {
                write!(formatter, "[{address}]")?;
                if *bits < 128 {
                    write!(formatter, "/{bits}")?;
                }
            }
        }
        match self.port {
            Some(port) => write!(formatter, ":{port}"),
            None => write!(formatter, ":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_read_and_written_the_same() {
        let table = [
            ("db.example.com:5432", "db.example.com:5432"),
            ("  DB.Example.com.:5432 ", "db.example.com:5432"),
            ("my_service-1:*", "my_service-1:*"),
            ("localhost:8080", "localhost:8080"),
            ("1.2.3.4:5432", "1.2.3.4:5432"),
            ("10.0.0.0/8:443", "10.0.0.0/8:443"),
            ("0.0.0.0/0:443", "0.0.0.0/0:443"),
            ("[::1]:53", "[::1]:53"),
            ("[fd00::]/8:*", "[fd00::]/8:*"),
            ("[fd00::/8]:443", "[fd00::]/8:443"),
            ("[::ffff:10.0.0.1]:80", "10.0.0.1:80"),
            ("3com.example:80", "3com.example:80"),
        ];
        for (text, expected) in table {
            assert_eq!(
                Target::parse(text).map(|target| target.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_target_says_how_to_write_it() {
        let table = [
            ("", "a target is empty; write `host:port`, e.g. `db.example.com:5432`"),
            ("https://a.b/c", "`https://a.b/c` has a scheme; write host and port only, e.g. `a.b:443`"),
            ("a.b", "`a.b` has no port; write `a.b:443`, or `a.b:*` for all ports"),
            ("[::1]", "`[::1]` has no port; write `[::1]:443`, or `[::1]:*` for all ports"),
            ("a:0", "`0` in `a:0` is not a port; write a number from 1 to 65535, or `*` for all ports"),
            ("a:", "`` in `a:` is not a port; write a number from 1 to 65535, or `*` for all ports"),
            ("a:+1", "`+1` in `a:+1` is not a port; write a number from 1 to 65535, or `*` for all ports"),
            (
                "a:65536",
                "`65536` in `a:65536` is not a port; write a number from 1 to 65535, or `*` for all ports",
            ),
            (
                "::1:53",
                "`::1:53` has an IPv6 address without brackets; write e.g. `[::1]:53`, or `[fd00::]/8:443`",
            ),
            (
                "[::1:53",
                "`[::1:53` has an IPv6 address without brackets; write e.g. `[::1]:53`, or `[fd00::]/8:443`",
            ),
            ("[x]:1", "`x` is not an address; write IPv4 as `10.0.0.1:443` and IPv6 as `[fd00::1]:443`"),
            (
                "1.2.3:1",
                "`1.2.3` is not an address; write IPv4 as `10.0.0.1:443` and IPv6 as `[fd00::1]:443`",
            ),
            (
                "10.0.0.0/33:1",
                "`/33` in `10.0.0.0/33:1` is not a length of a network; write a number from 0 to 32",
            ),
            (
                "10.0.0.1/8:1",
                "`10.0.0.1/8:1` has bits behind the length of its network; write `10.0.0.0/8:1`",
            ),
            ("*.b.c:1", "`*.b.c` has a `*`; names are compared as a whole, so list each of them"),
            ("a b:1", "`a b` is not a name of a host; names have letters, digits, `-`, `_` and dots"),
            ("a..b:1", "`a..b` is not a name of a host; names have letters, digits, `-`, `_` and dots"),
            (":1", "`` is not a name of a host; names have letters, digits, `-`, `_` and dots"),
        ];
        for (text, expected) in table {
            let error = Target::parse(text).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            if let Ok(target) = Target::parse(&text) {
                prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
            }
        }

        #[test]
        fn nothing_that_looks_like_an_address_makes_it_panic(text in r"\[?[0-9a-f:.]{0,20}\]?/?[0-9]{0,3}:[0-9*]{0,5}") {
            if let Ok(target) = Target::parse(&text) {
                prop_assert_eq!(Target::parse(&target.to_string()), Ok(target));
            }
        }
    }
}
