//! Sockets: what they are, what they are told to connect to, and making one like another.

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::notification::last_error;

/// asm-generic/socket.h, the same on all architectures that we know.
const SO_NETNS_COOKIE: i32 = 71;
const SO_BUF_LOCK: i32 = 72;

/// linux/net_tcp_states.h.
pub(super) const TCP_SYN_SENT: u8 = 2;
pub(super) const TCP_SYN_RECEIVED: u8 = 3;
pub(super) const TCP_CLOSE: u8 = 7;

/// The protocol of a TCP connection over several ways; a plain one is its usual case.
const IPPROTO_MPTCP: i32 = 262;

/// Options that a connection has from the socket that was to be connected. Those that can't be set any more by the
/// time a program has its connection, and those that it usually sets before.
const COPIED: [(i32, i32); 9] = [
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::SOL_SOCKET, libc::SO_LINGER),
    (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
    (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
];

/// What an address leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Destination {
    Unspecified,
    Internet(SocketAddr),
    Path(Vec<u8>),
    /// A name that is not a file's, which belongs to the network namespace of the socket; or none.
    Abstract,
    Other,
}

/// What kind of socket it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Kind {
    pub(super) domain: i32,
    pub(super) transport: Way,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Tcp,
    /// UDP and what else sends packets one by one.
    Datagram,
    Other,
}

impl Destination {
    /// Reads an address as the kernel does.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Errno> {
        let family = i32::from(u16::from_ne_bytes(field(bytes, 0)?));
        match family {
            libc::AF_UNSPEC => Ok(Self::Unspecified),
            libc::AF_UNIX => Ok(match bytes.get(2..) {
                None | Some([] | [0, ..]) => Self::Abstract,
                Some(path) => Self::Path(path.split(|byte| *byte == 0).next().unwrap_or(path).to_vec()),
            }),
            libc::AF_INET => {
                // The kernel wants the padding too.
                let _padding: [u8; 8] = field(bytes, 8)?;
                let port = u16::from_be_bytes(field(bytes, 2)?);
                Ok(Self::Internet((Ipv4Addr::from(field::<4>(bytes, 4)?), port).into()))
            }
            libc::AF_INET6 => {
                let port = u16::from_be_bytes(field(bytes, 2)?);
                let host = Ipv6Addr::from(field::<16>(bytes, 8)?);
                let scope = field(bytes, 24).map_or(0, u32::from_ne_bytes);
                Ok(Self::Internet(SocketAddrV6::new(host, port, 0, scope).into()))
            }
            _ => Ok(Self::Other),
        }
    }
}

fn field<const LENGTH: usize>(bytes: &[u8], start: usize) -> Result<[u8; LENGTH], Errno> {
    let part = bytes.get(start..start + LENGTH).ok_or(Errno::INVAL)?;
    part.try_into().map_err(|_| Errno::INVAL)
}

impl Kind {
    pub(super) fn of(socket: &OwnedFd) -> Result<Self, Errno> {
        let [domain, kind, protocol] = [libc::SO_DOMAIN, libc::SO_TYPE, libc::SO_PROTOCOL]
            .map(|name| integer(socket, libc::SOL_SOCKET, name));
        let (domain, kind, protocol) = (domain?, kind?, protocol?);
        let transport = match kind {
            libc::SOCK_STREAM if protocol == libc::IPPROTO_TCP || protocol == IPPROTO_MPTCP => Way::Tcp,
            libc::SOCK_DGRAM | libc::SOCK_RAW => Way::Datagram,
            _ => Way::Other,
        };
        Ok(Self { domain, transport })
    }

    pub(super) fn is_internet(self) -> bool {
        self.domain == libc::AF_INET || self.domain == libc::AF_INET6
    }

    /// Whether the address is one that a stream socket of this family takes.
    pub(super) fn fits(self, address: IpAddr) -> bool {
        self.domain == if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
    }
}

/// Which network namespace a socket belongs to, as a number that is never used again.
pub(super) fn namespace(socket: impl AsFd) -> Result<u64, Errno> {
    option(socket, libc::SOL_SOCKET, SO_NETNS_COOKIE).map(u64::from_ne_bytes)
}

/// The state of a TCP socket; the first byte of what the kernel tells.
pub(super) fn tcp_state(socket: &OwnedFd) -> Result<u8, Errno> {
    option::<1>(socket, libc::IPPROTO_TCP, libc::TCP_INFO).map(|[state]| state)
}

fn integer(socket: &OwnedFd, level: i32, name: i32) -> Result<i32, Errno> {
    option(socket, level, name).map(i32::from_ne_bytes)
}

fn option<const LENGTH: usize>(socket: impl AsFd, level: i32, name: i32) -> Result<[u8; LENGTH], Errno> {
    let mut value = [0_u8; LENGTH];
    match read_option(socket, level, name, &mut value)? {
        length if length == LENGTH => Ok(value),
        _ => Err(Errno::INVAL),
    }
}

fn read_option(socket: impl AsFd, level: i32, name: i32, value: &mut [u8]) -> Result<usize, Errno> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: `value` has `length` bytes, of which the kernel writes at most so many.
    #[expect(unsafe_code, reason = "rustix does not have all of these options")]
    let result = unsafe { libc::getsockopt(number, level, name, value.as_mut_ptr().cast(), &raw mut length) };
    if result < 0 { Err(last_error()) } else { Ok(length as usize) }
}

fn write_option(socket: &OwnedFd, level: i32, name: i32, value: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: `value` has `length` bytes, which the kernel only reads.
    #[expect(unsafe_code, reason = "rustix does not have all of these options")]
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), length) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Makes a TCP socket of this thread's network namespace that is set up like another. It does not wait.
pub(super) fn make_like(pattern: &OwnedFd, kind: Kind) -> Result<OwnedFd, Errno> {
    let family = if kind.domain == libc::AF_INET { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let made = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // An option that can't be read or set is one that this kernel, or a multipath socket, does not have: the
    // connection works without.
    for (level, name) in COPIED {
        let mut value = [0_u8; 16];
        if let Ok(length) = read_option(pattern, level, name, &mut value) {
            write_option(&made, level, name, &value[..length.min(16)]).ok();
        }
    }
    if kind.domain == libc::AF_INET6 {
        let only = integer(pattern, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY).unwrap_or(0);
        write_option(&made, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &only.to_ne_bytes()).ok();
    }
    copy_buffers(pattern, &made);
    Ok(made)
}

/// Buffers grow by themselves unless a program has set them, so only those that were set are copied.
fn copy_buffers(pattern: &OwnedFd, made: &OwnedFd) {
    let set = integer(pattern, libc::SOL_SOCKET, SO_BUF_LOCK).unwrap_or(0);
    for (bit, name) in [(1, libc::SO_SNDBUF), (2, libc::SO_RCVBUF)] {
        if set & bit != 0 {
            // The kernel doubles what it is given, and tells what it has made of it.
            let size = integer(pattern, libc::SOL_SOCKET, name).unwrap_or(0) / 2;
            write_option(made, libc::SOL_SOCKET, name, &size.to_ne_bytes()).ok();
        }
    }
}

/// Connects a socket to an address in the form that the kernel takes.
pub(super) fn connect(socket: &OwnedFd, address: &[u8]) -> Result<(), Errno> {
    // The kernel reads the family whatever the length says.
    if address.len() < size_of::<libc::sa_family_t>() {
        return Err(Errno::INVAL);
    }
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: `address` has `length` bytes, which the kernel copies, so they need no alignment.
    #[expect(unsafe_code, reason = "an address of any family, as it came from the box")]
    let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr().cast(), length) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// Connects while the socket is told to wait only so long: it may be one that waits, and its flags are not ours to
/// change, as those who have it would see that. The limit that was set before is put back.
pub(super) fn connect_within(socket: &OwnedFd, address: &[u8], limit: Duration) -> Result<(), Errno> {
    let before = sockopt::socket_timeout(socket, Timeout::Send)?;
    sockopt::set_socket_timeout(socket, Timeout::Send, Some(limit))?;
    let result = connect(socket, address);
    sockopt::set_socket_timeout(socket, Timeout::Send, before)?;
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn internet(text: &str) -> Result<Destination, Errno> {
        Ok(Destination::Internet(text.parse().unwrap()))
    }

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let v4 = [2, 0, 0x1f, 0x90, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Destination::decode(&v4), internet("10.0.0.1:8080"));
        assert_eq!(Destination::decode(&v4[..15]), Err(Errno::INVAL));
        let mut v6 = vec![10, 0, 0, 53, 0, 0, 0, 0];
        v6.extend([0; 15]);
        v6.push(1);
        assert_eq!(Destination::decode(&v6), internet("[::1]:53"));
        assert_eq!(Destination::decode(&v6[..23]), Err(Errno::INVAL));
        assert_eq!(Destination::decode(b"\x01\0/run/a\0b"), Ok(Destination::Path(b"/run/a".to_vec())));
        assert_eq!(Destination::decode(b"\x01\0run"), Ok(Destination::Path(b"run".to_vec())));
        assert_eq!(Destination::decode(b"\x01\0\0name"), Ok(Destination::Abstract));
        assert_eq!(Destination::decode(b"\x01\0"), Ok(Destination::Abstract));
        assert_eq!(Destination::decode(b"\0\0"), Ok(Destination::Unspecified));
        assert_eq!(Destination::decode(b"\x28\0\0\0"), Ok(Destination::Other));
        assert_eq!(Destination::decode(b"\x02"), Err(Errno::INVAL));
    }

    #[test]
    fn a_socket_is_made_like_another() {
        let pattern = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        sockopt::set_tcp_nodelay(&pattern, true).unwrap();
        sockopt::set_socket_keepalive(&pattern, true).unwrap();
        sockopt::set_tcp_keepidle(&pattern, Duration::from_secs(11)).unwrap();
        sockopt::set_socket_recv_buffer_size(&pattern, 9000).unwrap();
        sockopt::set_socket_linger(&pattern, Some(Duration::from_secs(3))).unwrap();
        sockopt::set_socket_timeout(&pattern, Timeout::Recv, Some(Duration::from_millis(2500))).unwrap();
        sockopt::set_ipv6_v6only(&pattern, true).unwrap();
        sockopt::set_tcp_user_timeout(&pattern, 1234).unwrap();
        let kind = Kind::of(&pattern).unwrap();
        assert_eq!(kind, Kind { domain: libc::AF_INET6, transport: Way::Tcp });
        let made = make_like(&pattern, kind).unwrap();
        assert!(sockopt::tcp_nodelay(&made).unwrap());
        assert!(sockopt::socket_keepalive(&made).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&made).unwrap(), Duration::from_secs(11));
        let sizes = [&made, &pattern].map(|socket| sockopt::socket_recv_buffer_size(socket).unwrap());
        assert_eq!(sizes[0], sizes[1]);
        assert_eq!(sockopt::socket_linger(&made).unwrap(), Some(Duration::from_secs(3)));
        let timeout = sockopt::socket_timeout(&made, Timeout::Recv).unwrap();
        assert_eq!(timeout, Some(Duration::from_millis(2500)));
        assert!(sockopt::ipv6_v6only(&made).unwrap());
        assert_eq!(sockopt::tcp_user_timeout(&made).unwrap(), 1234);
        assert_eq!(namespace(&made).unwrap(), namespace(&pattern).unwrap());
        assert_eq!(tcp_state(&made).unwrap(), TCP_CLOSE);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..130)) {
            Destination::decode(&bytes).ok();
        }
    }
}
