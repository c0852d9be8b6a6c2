//! What kind of place an address is: somebody's private network, the machine itself, or the world.
//!
//! The ranges are those of the registries of special-purpose addresses (RFC 6890 and its successors), and the
//! addresses at which clouds hand out secrets of the machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// 127.0.0.0/8, `::1`, and the unspecified addresses, which are the same place to `connect`.
    Loopback,
    /// 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// Where a cloud hands out secrets of the machine.
    Metadata,
    /// Networks that belong to an organisation or a provider.
    Private,
    Multicast,
    /// What no host on the internet has.
    Reserved,
    Public,
}

/// Addresses at which clouds answer to whoever is on the machine, other than the link-local 169.254.169.254:
/// Azure's wire server and Alibaba's metadata. The one is in a public range and the other in the shared one.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];

/// Those of AWS and of Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

/// An IPv4 address that is written as an IPv6 one (`::ffff:1.2.3.4`) as itself: the kernel speaks IPv4 to it.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl Place {
    pub(super) fn of(address: IpAddr) -> Self {
        match plain(address) {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Places to which a name never leads, as whoever owns the name chooses where it leads to.
    pub(super) fn is_touchy(self) -> bool {
        !matches!(self, Self::Private | Self::Public)
    }
}

fn of_v4(address: Ipv4Addr) -> Place {
    if METADATA_V4.contains(&address) {
        return Place::Metadata;
    }
    match address.octets() {
        [0, 0, 0, 0] | [127, ..] => Place::Loopback,
        [169, 254, ..] => Place::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Place::Private,
        [224..=239, ..] => Place::Multicast,
        [0, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [240..=255, ..] => Place::Reserved,
        _ => Place::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Place {
    if METADATA_V6.contains(&address) {
        return Place::Metadata;
    }
    if let Some(inner) = embedded(address) {
        // A gateway would speak to the address inside. That it is the gateway's loopback makes it no better.
        return match of_v4(inner) {
            Place::Loopback => Place::Reserved,
            place => place,
        };
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Place::Loopback,
        [0xfe80..=0xfebf, ..] => Place::LinkLocal,
        // Unique local, the deprecated site-local, and the prefix for translators inside an organisation.
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x0064, 0xff9b, 1, ..] => Place::Private,
        [0xff00..=0xffff, ..] => Place::Multicast,
        // What is left of 0::/8 is either deprecated (`::1.2.3.4`) or was never given out.
        [0x0000..=0x00ff, ..] | [0x0100, 0, 0, 0, ..] => Place::Reserved,
        _ => Place::Public,
    }
}

/// The IPv4 address that a translator or tunnel would speak to: NAT64 (64:ff9b::/96), 6to4 (2002::/16) and Teredo
/// (2001::/32, in which it is inverted).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(from(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(from(!high, !low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(place: Place, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(Place::of(address.parse().unwrap()), place, "{address}");
        }
    }

    /// T-051.
    #[test]
    fn ranges_of_this_machine_and_its_neighbours_are_known_in_every_form() {
        check(
            Place::Loopback,
            &["127.0.0.1", "127.255.255.255", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"],
        );
        check(
            Place::LinkLocal,
            &[
                "169.254.169.254",
                "169.254.0.0",
                "::ffff:169.254.169.254",
                "fe80::1",
                "febf::1",
                "64:ff9b::169.254.169.254",
                "2002:a9fe:a9fe::",
                "2001:0:1:1:0:0:5601:5601",
            ],
        );
        check(
            Place::Metadata,
            &["168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "64:ff9b::168.63.129.16"],
        );
        check(
            Place::Private,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.168.0.1",
                "100.64.0.0",
                "100.127.255.255",
                "fc00::",
                "fdff::1",
                "fec0::1",
                "::ffff:10.0.0.1",
                "64:ff9b::10.0.0.1",
                "64:ff9b:1::1",
                "2002:0a00:0001::1",
                "2002:c0a8:0101::",
            ],
        );
    }

    #[test]
    fn ranges_of_nobody_and_of_everybody_are_known() {
        check(Place::Multicast, &["224.0.0.1", "239.255.255.255", "ff02::1", "::ffff:224.0.0.1"]);
        check(
            Place::Reserved,
            &[
                "0.0.0.1",
                "0.255.255.255",
                "192.0.0.192",
                "198.18.0.1",
                "198.19.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::2",
                "::127.0.0.1",
                "::10.0.0.1",
                "100::1",
                "64:ff9b::127.0.0.1",
                "2002:7f00:0001::",
            ],
        );
        check(
            Place::Public,
            &[
                "1.1.1.1",
                "8.8.8.8",
                "11.0.0.0",
                "9.255.255.255",
                "172.15.255.255",
                "172.32.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "192.0.2.1",
                "198.17.255.255",
                "198.20.0.0",
                "203.0.113.1",
                "223.255.255.255",
                "126.255.255.255",
                "128.0.0.1",
                "2606:4700::1111",
                "64:ff9b::8.8.8.8",
                "2002:0808:0808::1",
                "::ffff:8.8.8.8",
                "2001:db8::1",
            ],
        );
    }
}
