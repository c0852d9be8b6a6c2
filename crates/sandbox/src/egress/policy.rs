//! Who may be connected to, as values: no socket, no clock, no lookup.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::place::{Place, plain};
pub use super::target::{Target, TargetError};

/// What the functions of a box may reach. A box's own loopback it may always reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Everything that the server can. What nobody in the box listens on is the host's loopback.
    All,
    /// Nothing.
    None,
    /// The internet, but no private network and not this machine; and `also`.
    Public { also: Vec<Target> },
    /// What is listed.
    Only(Vec<Target>),
}

/// What becomes of one attempt to connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// The server connects, and hands the connection over.
    Host,
    /// It is about the box's own loopback.
    Box,
    /// The box's own loopback, and the host's if nobody listens there.
    BoxThenHost,
    Denied(Reason),
}

/// Why something could not be reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// The policy is to reach nothing.
    NoNetwork,
    /// It is not in the list.
    NotListed,
    /// It is in a private network.
    Private,
    /// It is an address of this machine.
    OwnAddress,
    /// It is link-local, as many clouds' metadata are.
    LinkLocal,
    /// It is where a cloud hands out secrets of the machine.
    Metadata,
    Multicast,
    /// No host on the internet has this address.
    Reserved,
    /// Only TCP leaves the box.
    Datagram,
    /// The address is the box's own loopback, and nobody listens there.
    NobodyInBox,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NoNetwork => "functions of this app may reach nothing",
            Self::NotListed => "it is not in the list of what functions may reach",
            Self::Private => "it is in a private network",
            Self::OwnAddress => "it is an address of this machine",
            Self::LinkLocal => "it is a link-local address, as those of clouds' metadata are",
            Self::Metadata => "a cloud hands out secrets of the machine there",
            Self::Multicast => "it is a multicast address",
            Self::Reserved => "it is a reserved address",
            Self::Datagram => "only TCP leaves the box of a function",
            Self::NobodyInBox => "loopback is the box's own, and nothing in the box listens there",
        })
    }
}

/// What a policy says about an address before any name is looked up.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Judgement<'a> {
    Settled(Decision),
    /// Allowed if one of these names leads there.
    IfNamed(Vec<&'a str>, Reason),
}

impl Policy {
    /// What is listed, besides what the policy allows by itself.
    pub fn targets(&self) -> &[Target] {
        match self {
            Self::All | Self::None => &[],
            Self::Public { also: targets } | Self::Only(targets) => targets,
        }
    }

    pub(super) fn judge(&self, address: SocketAddr, own_addresses: &HashSet<IpAddr>) -> Judgement<'_> {
        let host = plain(address.ip());
        let place = Place::of(host);
        if place == Place::Loopback {
            return Judgement::Settled(self.judge_loopback(host, address.port()));
        }
        let mut targets = self.targets().iter().filter(|target| target.has_port(address.port()));
        let reason = match self {
            Self::All => return Judgement::Settled(Decision::Host),
            Self::None => return Judgement::Settled(Decision::Denied(Reason::NoNetwork)),
            Self::Public { .. } => self.reason_in_public(host, place, own_addresses),
            Self::Only(_) => Some(Reason::NotListed),
        };
        let Some(reason) = reason else { return Judgement::Settled(Decision::Host) };
        if targets.clone().any(|target| target.names_address(host)) {
            return Judgement::Settled(Decision::Host);
        }
        let names: Vec<&str> = targets.by_ref().filter_map(Target::name).collect();
        if names.is_empty() || place.is_touchy() {
            return Judgement::Settled(Decision::Denied(reason));
        }
        Judgement::IfNamed(names, reason)
    }

    fn judge_loopback(&self, host: IpAddr, port: u16) -> Decision {
        let listed = |target: &Target| target.has_port(port) && target.names_address(host);
        match self {
            Self::All => Decision::BoxThenHost,
            Self::None | Self::Public { .. } | Self::Only(_) if self.targets().iter().any(listed) => {
                Decision::Host
            }
            Self::None | Self::Public { .. } | Self::Only(_) => Decision::Box,
        }
    }

    /// Why an address is not of the internet; `None` if it is.
    fn reason_in_public(
        &self,
        host: IpAddr,
        place: Place,
        own_addresses: &HashSet<IpAddr>,
    ) -> Option<Reason> {
        match place {
            Place::LinkLocal => Some(Reason::LinkLocal),
            Place::Metadata => Some(Reason::Metadata),
            Place::Multicast => Some(Reason::Multicast),
            Place::Loopback | Place::Reserved => Some(Reason::Reserved),
            Place::Private | Place::Public if own_addresses.contains(&host) => Some(Reason::OwnAddress),
            Place::Private => Some(Reason::Private),
            Place::Public => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|text| Target::parse(text).unwrap()).collect()
    }

    fn check(policy: &Policy, table: &[(&str, Judgement<'_>)]) {
        let own = ["198.51.100.7", "10.1.1.1", "fd01::7"].map(|text| text.parse().unwrap());
        let own = HashSet::from(own);
        for (address, expected) in table {
            assert_eq!(&policy.judge(address.parse().unwrap(), &own), expected, "{address} under {policy:?}");
        }
    }

    const HOST: Judgement<'_> = Judgement::Settled(Decision::Host);
    const BOX: Judgement<'_> = Judgement::Settled(Decision::Box);

    fn denied(reason: Reason) -> Judgement<'static> {
        Judgement::Settled(Decision::Denied(reason))
    }

    #[test]
    fn all_and_none_are_what_they_say() {
        let either = Judgement::Settled(Decision::BoxThenHost);
        check(&Policy::All, &[("8.8.8.8:1", HOST), ("10.0.0.1:1", HOST), ("169.254.169.254:80", HOST)]);
        check(
            &Policy::All,
            &[("127.0.0.1:1", either), ("[::ffff:127.0.0.1]:1", Judgement::Settled(Decision::BoxThenHost))],
        );
        let nothing = || denied(Reason::NoNetwork);
        check(
            &Policy::None,
            &[("8.8.8.8:1", nothing()), ("127.0.0.1:1", BOX), ("[::1]:1", BOX), ("[fe80::1]:1", nothing())],
        );
    }

    /// T-051: what is reachable from a machine only is not reachable from a box.
    #[test]
    fn public_is_the_internet_and_neither_networks_nor_this_machine() {
        let policy = Policy::Public { also: Vec::new() };
        check(
            &policy,
            &[
                ("8.8.8.8:53", HOST),
                ("[2606:4700::1111]:443", HOST),
                ("192.0.2.1:80", HOST),
                ("[2001:db8::1]:80", HOST),
                ("198.51.100.8:22", HOST),
                ("198.51.100.7:22", denied(Reason::OwnAddress)),
                ("[::ffff:198.51.100.7]:22", denied(Reason::OwnAddress)),
                ("10.1.1.1:22", denied(Reason::OwnAddress)),
                ("[fd01::7]:22", denied(Reason::OwnAddress)),
                ("10.0.0.1:80", denied(Reason::Private)),
                ("100.64.0.1:80", denied(Reason::Private)),
                ("[64:ff9b::10.0.0.1]:80", denied(Reason::Private)),
                ("169.254.169.254:80", denied(Reason::LinkLocal)),
                ("[::ffff:169.254.169.254]:80", denied(Reason::LinkLocal)),
                ("[fe80::1]:80", denied(Reason::LinkLocal)),
                ("[fd00:ec2::254]:80", denied(Reason::Metadata)),
                ("168.63.129.16:80", denied(Reason::Metadata)),
                ("224.0.0.1:80", denied(Reason::Multicast)),
                ("255.255.255.255:80", denied(Reason::Reserved)),
                ("0.0.0.1:80", denied(Reason::Reserved)),
                ("0.0.0.0:80", BOX),
                ("127.0.0.1:80", BOX),
                ("[::ffff:127.1.2.3]:80", BOX),
                ("[::]:80", BOX),
            ],
        );
    }

    #[test]
    fn what_is_also_listed_is_reached_and_no_more() {
        let also = targets(&[
            "10.0.0.0/8:5432",
            "localhost:6379",
            "169.254.169.254:80",
            "db.internal:1433",
            "198.51.100.7:22",
        ]);
        let policy = Policy::Public { also };
        let named = |reason| Judgement::IfNamed(vec!["db.internal"], reason);
        check(
            &policy,
            &[
                ("10.9.9.9:5432", HOST),
                ("10.9.9.9:5433", denied(Reason::Private)),
                ("10.1.1.1:5432", HOST),
                ("198.51.100.7:22", HOST),
                ("198.51.100.7:23", denied(Reason::OwnAddress)),
                ("127.0.0.1:6379", HOST),
                ("[::1]:6379", HOST),
                ("0.0.0.0:6379", HOST),
                ("127.0.0.2:6379", BOX),
                ("127.0.0.1:6380", BOX),
                ("169.254.169.254:80", HOST),
                ("169.254.169.254:81", denied(Reason::LinkLocal)),
                ("169.254.169.253:80", denied(Reason::LinkLocal)),
                ("10.0.0.1:1433", named(Reason::Private)),
                ("8.8.8.8:1433", HOST),
            ],
        );
    }

    #[test]
    fn only_a_list_is_only_the_list() {
        let policy = Policy::Only(targets(&[
            "api.example.com:443",
            "other.example.com:*",
            "1.2.3.4:5432",
            "[::1]:53",
        ]));
        let both = || Judgement::IfNamed(vec!["api.example.com", "other.example.com"], Reason::NotListed);
        check(
            &policy,
            &[
                ("8.8.8.8:443", both()),
                ("10.0.0.1:443", both()),
                ("8.8.8.8:80", Judgement::IfNamed(vec!["other.example.com"], Reason::NotListed)),
                ("1.2.3.4:5432", HOST),
                ("[::ffff:1.2.3.4]:5432", HOST),
                ("1.2.3.5:5432", Judgement::IfNamed(vec!["other.example.com"], Reason::NotListed)),
                ("[::1]:53", HOST),
                ("[::]:53", HOST),
                ("127.0.0.1:53", BOX),
            ],
        );
    }

    /// T-051: who owns a listed name chooses where it leads; it can't choose this machine or its cloud.
    #[test]
    fn a_name_never_leads_to_touchy_places() {
        let policy = Policy::Only(targets(&["evil.example.com:*", "127.example.com:*"]));
        for address in [
            "169.254.169.254:80",
            "168.63.129.16:80",
            "[fd00:ec2::254]:80",
            "[fe80::1]:80",
            "224.0.0.1:80",
            "255.255.255.255:80",
            "[64:ff9b::127.0.0.1]:80",
            "[2002:a9fe:a9fe::]:80",
        ] {
            check(&policy, &[(address, denied(Reason::NotListed))]);
        }
        for address in ["127.0.0.1:80", "[::1]:80", "0.0.0.0:80", "[::ffff:127.0.0.1]:80"] {
            check(&policy, &[(address, BOX)]);
        }
    }

    /// T-051: somebody who lists the whole internet does not mean the machine's own doors.
    #[test]
    fn a_wide_network_has_no_touchy_places() {
        let policy = Policy::Only(targets(&["0.0.0.0/0:*", "0.0.0.0/1:*", "[::]/0:*"]));
        check(
            &policy,
            &[
                ("8.8.8.8:1", HOST),
                ("10.0.0.1:1", HOST),
                ("[2606:4700::1111]:1", HOST),
                ("127.0.0.1:1", BOX),
                ("0.0.0.0:1", BOX),
                ("[::1]:1", BOX),
                ("169.254.169.254:80", denied(Reason::NotListed)),
                ("168.63.129.16:80", denied(Reason::NotListed)),
                ("[fe80::1]:1", denied(Reason::NotListed)),
                ("[::ffff:169.254.169.254]:80", denied(Reason::NotListed)),
            ],
        );
        let narrow = Policy::Only(targets(&["127.0.0.0/8:1", "169.254.0.0/16:80", "[fe80::]/64:1"]));
        check(
            &narrow,
            &[
                ("127.9.9.9:1", HOST),
                ("0.0.0.0:1", HOST),
                ("169.254.169.254:80", HOST),
                ("[fe80::1]:1", HOST),
            ],
        );
    }
}
