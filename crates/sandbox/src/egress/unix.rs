//! Unix sockets: connecting and listening with the rights of the process that called.
//!
//! The kernel asks whether the *caller* may write to the socket's file, and tells the peer who the *caller* is. As it
//! is the server that calls, both would be answered for the server, and a function could speak as root to whatever
//! socket it sees. So the call is made by a thread that has taken on the user and groups of the process in the box and
//! has no capability. Such a thread is used once.

use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::caller::{Credentials, Files};
use super::sockets;

/// How long a try waits for room in the peer's queue. Whoever wants to wait longer tries again, so that no thread is
/// held by a peer that does not accept.
const AT_ONCE: Duration = Duration::from_millis(1);

/// What a Unix socket is to be connected to.
#[derive(Debug)]
pub(super) enum Peer {
    /// A path, and the view of files in which it has its meaning.
    Path(Files, Vec<u8>),
    /// An address as it is: the name belongs to the network namespace of the socket.
    Address(Vec<u8>),
}

/// Tries to connect; `AGAIN` if the peer has no room now.
pub(super) fn connect(socket: &OwnedFd, peer: &Peer, credentials: &Credentials) -> Result<(), Errno> {
    with_rights(credentials, || match peer {
        Peer::Path(files, path) => {
            // Kept open until the socket is connected: the address names it by number.
            let file = files.find(path)?;
            sockets::connect_within(socket, &address_of(&file)?, AT_ONCE)
        }
        Peer::Address(address) => sockets::connect_within(socket, address, AT_ONCE),
    })
}

pub(super) fn listen(socket: &OwnedFd, backlog: i32, credentials: &Credentials) -> Result<(), Errno> {
    with_rights(credentials, || rustix::net::listen(socket, backlog))
}

/// The address of a socket's file that has no path we could use: through our own table of descriptors.
fn address_of(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let family = u16::try_from(libc::AF_UNIX).map_err(|_| Errno::AFNOSUPPORT)?;
    let mut address = family.to_ne_bytes().to_vec();
    address.extend(format!("/proc/self/fd/{}\0", file.as_raw_fd()).as_bytes());
    Ok(address)
}

fn with_rights<T: Send>(
    credentials: &Credentials,
    work: impl FnOnce() -> Result<T, Errno> + Send,
) -> Result<T, Errno> {
    let own = rustix::process::geteuid();
    if !own.is_root() {
        // An ordinary user can't become another, and has no more rights than this one.
        let same = own == credentials.user && rustix::process::getegid() == credentials.group;
        return if same { work() } else { Err(Errno::PERM) };
    }
    thread::scope(|scope| {
        let rights = thread::Builder::new().name("egress-rights".to_owned()).spawn_scoped(scope, || {
            assume(credentials)?;
            work()
        });
        let rights = rights.map_err(|_| Errno::AGAIN)?;
        rights.join().unwrap_or(Err(Errno::IO))
    })
}

/// Makes this thread, and no other, one with these rights. There is no way back.
fn assume(credentials: &Credentials) -> Result<(), Errno> {
    let Credentials { user, group, groups } = credentials;
    rustix::thread::set_thread_groups(groups)?;
    rustix::thread::set_thread_res_gid(*group, *group, *group)?;
    rustix::thread::set_thread_res_uid(*user, *user, *user)?;
    // A change of user takes them away, but not if that user is root.
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::path::Path;

    use rustix::net::sockopt::{self, Timeout};
    use rustix::net::{AddressFamily, SocketType};
    use rustix::process::{Gid, Uid};

    use super::*;

    fn address(path: &Path) -> Vec<u8> {
        let mut address = 1_u16.to_ne_bytes().to_vec();
        address.extend(path.as_os_str().as_encoded_bytes());
        address
    }

    fn socket() -> OwnedFd {
        rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap()
    }

    /// T-051: a function is to its peers who it is, and not the server.
    #[test]
    #[expect(clippy::print_stderr, reason = "who reads the test's output shall know that it did nothing")]
    fn a_peer_sees_the_rights_of_the_caller_and_files_are_closed_to_others() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can take on the rights of another");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let nobody =
            Credentials { user: Uid::from_raw(65_534), group: Gid::from_raw(65_534), groups: Vec::new() };
        let closed = connect(&socket(), &Peer::Address(address(&path)), &nobody);
        assert_eq!(closed, Err(Errno::ACCESS));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let client = socket();
        connect(&client, &Peer::Address(address(&path)), &nobody).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let peer = sockopt::socket_peercred(&accepted).unwrap();
        assert_eq!((peer.uid, peer.gid), (nobody.user, nobody.group));
        assert!(rustix::process::geteuid().is_root(), "it was another thread");
    }

    #[test]
    fn a_full_queue_holds_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = socket();
        rustix::net::bind(&listener, &rustix::net::SocketAddrUnix::new(&path).unwrap()).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let own = Credentials {
            user: rustix::process::geteuid(),
            group: rustix::process::getegid(),
            groups: Vec::new(),
        };
        let peer = Peer::Address(address(&path));
        let (first, second) = (socket(), socket());
        connect(&first, &peer, &own).unwrap();
        assert_eq!(connect(&second, &peer, &own), Err(Errno::AGAIN));
        assert_eq!(sockopt::socket_timeout(&second, Timeout::Send), Ok(None));
        let _accepted = rustix::net::accept(&listener).unwrap();
        connect(&second, &peer, &own).unwrap();
    }
}
