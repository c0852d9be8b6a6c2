//! Answers the calls of one box: looks at a call, asks the rules, does what was asked for, and lets the call return.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::caller::{Caller, Credentials, is_nonblocking};
use super::notification::{Call, Listener, Notification, Received};
use super::policy::{Decision, Reason};
use super::rules::Rules;
use super::sockets::{self, Destination, Kind, TCP_CLOSE, TCP_SYN_RECEIVED, TCP_SYN_SENT, Way};
use super::unix::{self, Peer};

/// Calls of one box that are in work at once; who calls beyond that is told to try again.
const CALLS_MAX: usize = 1024;

/// Threads that one box may hold up. All that can wait for the box itself is done by them.
const HANDS_MAX: usize = 8;

/// Calls taken in one go, before those in work get their turn.
const TAKEN_MAX: usize = 64;

/// How often it is asked whether the caller of a connection that takes its time is still there.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long the kernel holds a thread for a connection within the box. It is there at once, unless the queue of
/// whoever listens is full; then it is waited for without a thread.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Between two looks whether a peer on a Unix socket has room: the kernel tells nobody but a thread that waits.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// What a denied connection is answered with. The kernel uses it for routes of the type `prohibit`, it is documented
/// for `connect`, and programs take it as a matter of one address. `EPERM`, which firewalls give as well, makes some
/// tell their users to become root.
const DENIED: Errno = Errno::ACCESS;

/// Something that a function could not reach.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Refused {
    pub address: SocketAddr,
    pub transport: Transport,
    pub reason: Reason,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    Tcp,
    Datagram,
}

impl Refused {
    /// What would allow it, if anything does.
    pub fn hint(&self) -> Option<String> {
        let port = self.address.port();
        match self.reason {
            Reason::NobodyInBox => {
                Some(format!("to reach this machine's loopback, allow `localhost:{port}`"))
            }
            Reason::NotListed | Reason::Private | Reason::OwnAddress => {
                Some(format!("allow `{}`, or the name with its port", self.address))
            }
            Reason::LinkLocal | Reason::Metadata | Reason::Multicast | Reason::Reserved => {
                Some(format!("allow `{}` if this is meant", self.address))
            }
            Reason::NoNetwork | Reason::Datagram => None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} can't be reached: {}", self.address, self.reason)
    }
}

/// Answers the calls of one box.
pub struct Supervisor {
    listener: Arc<Listener>,
    rules: Arc<Rules>,
    on_refused: Box<dyn Fn(Refused) + Send + Sync>,
    /// The network namespace of the server. What belongs to it is not the box's own.
    namespace: u64,
    hands: Arc<Semaphore>,
}

/// What was learnt about a call of `connect`.
struct Asked {
    /// Closing the last descriptor of a socket may wait for its peer (`SO_LINGER`), who may be the box: not in a thread of ours.
    socket: Arc<OwnedFd>,
    kind: Kind,
    /// Whether the socket belongs to the server's namespace, as one does that we put into the box.
    is_of_host: bool,
    is_nonblocking: bool,
    close_on_exec: bool,
    /// The address in the form that the kernel takes: a copy, which the box can't change.
    bytes: Vec<u8>,
    target: Aim,
}

enum Aim {
    Unspecified,
    Internet(SocketAddr),
    Unix(Peer, Credentials),
    Other,
}

impl Supervisor {
    /// Supervises the box whose filter gave this listener. `on_refused` is told of what could not be reached; it is
    /// called in the course of the connection, so it must not wait.
    ///
    /// # Errors
    /// The kernel can't tell network namespaces apart (before Linux 5.14), or has no room for a socket.
    pub fn new(
        listener: OwnedFd,
        rules: Arc<Rules>,
        on_refused: impl Fn(Refused) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let own = std::os::unix::net::UnixDatagram::unbound()?;
        Ok(Self {
            listener: Arc::new(Listener::new(listener)),
            rules,
            on_refused: Box::new(on_refused),
            namespace: sockets::namespace(&own)?,
            hands: Arc::new(Semaphore::new(HANDS_MAX)),
        })
    }

    /// Answers until no process of the box is left. If this is dropped before, every call fails with `ENOSYS`.
    ///
    /// # Errors
    /// The listener is none, or failed.
    pub async fn run(self) -> io::Result<()> {
        // SAFETY: the descriptor is owned by the listener, and stays the same open one until that is dropped.
        #[expect(unsafe_code, reason = "tokio can't know that of every type")]
        let ready =
            unsafe { AsyncFd::register_with_interest(Arc::clone(&self.listener), Interest::READABLE) }?;
        let mut in_work = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = in_work.next(), if !in_work.is_empty() => {}
                guard = ready.readable() => {
                    let mut guard = guard?;
                    for _ in 0..TAKEN_MAX {
                        match self.listener.receive()? {
                            Received::Call(notification) if in_work.len() < CALLS_MAX => {
                                in_work.push(self.attend(notification));
                            }
                            Received::Call(notification) => {
                                self.listener.answer(notification.id, Err(Errno::AGAIN));
                            }
                            Received::Lost => {}
                            Received::Nothing => {
                                guard.clear_ready();
                                break;
                            }
                            Received::HungUp => return Ok(()),
                        }
                    }
                }
            }
        }
    }

    async fn attend(&self, notification: Notification) {
        let result = match notification.call {
            Call::Connect { .. } => self.connect(notification).await,
            Call::Listen { number, backlog } => self.listen(notification, number, backlog).await,
            Call::Other => Err(Errno::NOSYS),
        };
        self.listener.answer(notification.id, result);
    }

    /// Does what can wait for the box, in a thread. Who holds up the few that there are, holds up only itself.
    async fn by_hand<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Listener) -> Result<T, Errno> + Send + 'static,
    ) -> Result<T, Errno> {
        let listener = Arc::clone(&self.listener);
        let permit = Arc::clone(&self.hands).acquire_owned().await.map_err(|_| Errno::AGAIN)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&listener);
            drop(permit);
            result
        });
        done.await.unwrap_or(Err(Errno::IO))
    }

    async fn listen(&self, notification: Notification, number: i32, backlog: i32) -> Result<(), Errno> {
        let namespace = self.namespace;
        self.by_hand(move |listener| {
            let caller = Caller::new(notification.thread)?;
            let socket = caller.socket(number)?;
            let domain = Kind::of(&socket)?.domain;
            let credentials = if domain == libc::AF_UNIX { Some(caller.credentials()?) } else { None };
            if !listener.is_valid(notification.id) {
                return Err(Errno::INTR);
            }
            if ![libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].contains(&domain) {
                return Err(Errno::OPNOTSUPP);
            }
            // What listens in the server's namespace can be reached from outside.
            if sockets::namespace(&socket)? == namespace {
                return Err(Errno::PERM);
            }
            match credentials {
                Some(credentials) => unix::listen(&socket, backlog, &credentials),
                None => rustix::net::listen(&socket, backlog),
            }
        })
        .await
    }

    async fn connect(&self, notification: Notification) -> Result<(), Errno> {
        let namespace = self.namespace;
        let asked = self.by_hand(move |listener| Asked::of(notification, listener, namespace)).await?;
        let socket = Arc::clone(&asked.socket);
        let result = self.connect_as_asked(notification, asked).await;
        self.by_hand(move |_| {
            drop(socket);
            Ok(())
        })
        .await?;
        result
    }

    async fn connect_as_asked(&self, notification: Notification, asked: Asked) -> Result<(), Errno> {
        match asked.target {
            Aim::Internet(address) => match asked.kind.transport {
                Way::Tcp => Box::pin(self.connect_tcp(notification, asked, address)).await,
                Way::Datagram => self.connect_datagram(&asked, address).await,
                Way::Other => Err(Errno::PROTONOSUPPORT),
            },
            // A socket of the host's would lose its peer, and with it what it was allowed for.
            Aim::Unspecified | Aim::Unix(..) if asked.is_of_host => Err(Errno::PERM),
            // Loses its peer at once.
            Aim::Unspecified => sockets::connect(&asked.socket, &asked.bytes),
            Aim::Unix(peer, credentials) => {
                let peer = Arc::new((peer, credentials));
                self.connect_unix(notification.id, asked.socket, asked.is_nonblocking, peer).await
            }
            Aim::Other => Err(Errno::AFNOSUPPORT),
        }
    }

    /// Tries until the peer has room, if the socket is one that waits.
    async fn connect_unix(
        &self,
        id: u64,
        socket: Arc<OwnedFd>,
        is_nonblocking: bool,
        peer: Arc<(Peer, Credentials)>,
    ) -> Result<(), Errno> {
        let limit = sockopt::socket_timeout(&socket, Timeout::Send)?;
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut pause = PAUSE_MIN;
        loop {
            let (socket, peer) = (Arc::clone(&socket), Arc::clone(&peer));
            let result = self.by_hand(move |_| unix::connect(&socket, &peer.0, &peer.1)).await;
            let is_over = deadline.is_some_and(|deadline| deadline <= Instant::now());
            if result != Err(Errno::AGAIN) || is_nonblocking || is_over || !self.listener.is_valid(id) {
                return result;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect_tcp(
        &self,
        notification: Notification,
        asked: Asked,
        address: SocketAddr,
    ) -> Result<(), Errno> {
        match sockets::tcp_state(&asked.socket)? {
            TCP_CLOSE => {}
            TCP_SYN_SENT | TCP_SYN_RECEIVED => return Err(Errno::ALREADY),
            _ => return Err(Errno::ISCONN),
        }
        // A try in the background has failed since, and this call is how the program learns of it.
        if asked.is_of_host {
            sockopt::socket_error(&asked.socket)??;
        }
        match self.rules.decide(address).await {
            Decision::Denied(reason) => {
                self.refuse(address, Transport::Tcp, reason);
                Err(DENIED)
            }
            Decision::Box => {
                let (result, refused) = self.connect_in_box(notification, &asked).await;
                if refused {
                    self.refuse(address, Transport::Tcp, Reason::NobodyInBox);
                }
                result
            }
            Decision::BoxThenHost if !asked.is_of_host => {
                match self.connect_in_box(notification, &asked).await {
                    (_, true) => {
                        // The error of the first try is not for the program.
                        sockopt::socket_error(&asked.socket)?.ok();
                        self.connect_from_host(notification, asked, address).await
                    }
                    (result, false) => result,
                }
            }
            Decision::Host | Decision::BoxThenHost => {
                self.connect_from_host(notification, asked, address).await
            }
        }
    }

    /// Connects the socket itself, which belongs to the box and reaches nothing else. Tells also whether nobody listens.
    async fn connect_in_box(&self, notification: Notification, asked: &Asked) -> (Result<(), Errno>, bool) {
        if asked.is_of_host {
            return (Err(Errno::PERM), false);
        }
        if let Err(error) = asked.fits() {
            return (Err(error), false);
        }
        let limit = sockopt::socket_timeout(&asked.socket, Timeout::Send).unwrap_or(None);
        let (socket, bytes) = (Arc::clone(&asked.socket), asked.bytes.clone());
        let begun = self.by_hand(move |_| sockets::connect_within(&socket, &bytes, AT_ONCE)).await;
        let result = match begun {
            Err(Errno::INPROGRESS) if asked.is_nonblocking => {
                // Loopback refuses at once. The error itself is left to the program.
                let refused = sockets::tcp_state(&asked.socket) == Ok(TCP_CLOSE);
                return (begun, refused);
            }
            Err(Errno::INPROGRESS) => self.wait_for(notification.id, &asked.socket, limit).await,
            result => result,
        };
        (result, result == Err(Errno::CONNREFUSED))
    }

    /// Connects a socket of the server's namespace, and puts it into the box under the number of the other.
    async fn connect_from_host(
        &self,
        notification: Notification,
        asked: Asked,
        address: SocketAddr,
    ) -> Result<(), Errno> {
        asked.fits()?;
        let made = sockets::make_like(&asked.socket, asked.kind)?;
        let Asked { is_nonblocking, close_on_exec, .. } = asked;
        drop(asked.socket);
        let result = match rustix::net::connect(&made, &address) {
            Err(Errno::INPROGRESS) if is_nonblocking => Err(Errno::INPROGRESS),
            Err(Errno::INPROGRESS) => {
                let limit = sockopt::socket_timeout(&made, Timeout::Send).unwrap_or(None);
                self.wait_for(notification.id, &made, limit).await
            }
            result => result,
        };
        // A try that failed leaves the program with its own socket, which it may use for another.
        if !matches!(result, Ok(()) | Err(Errno::INPROGRESS)) {
            // It has the options of the other, and may stand by now.
            sockopt::set_socket_linger(&made, None).ok();
            return result;
        }
        if !is_nonblocking {
            rustix::io::ioctl_fionbio(&made, false)?;
        }
        let Call::Connect { number, .. } = notification.call else { return Err(Errno::NOSYS) };
        self.by_hand(move |listener| listener.put(notification.id, made.as_fd(), number, close_on_exec))
            .await?;
        result
    }

    /// Waits until a connection stands or has failed, its limit has passed, or nobody waits for it any more.
    async fn wait_for(&self, id: u64, socket: &OwnedFd, limit: Option<Duration>) -> Result<(), Errno> {
        // SAFETY: the descriptor is borrowed for as long as this is used, and stays the same open one.
        #[expect(unsafe_code, reason = "tokio can't know that of every type")]
        let ready = unsafe { AsyncFd::register_with_interest(socket.as_fd(), Interest::WRITABLE) };
        let ready = ready.map_err(|_| Errno::NOBUFS)?;
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut look_again = interval(LOOK_AGAIN);
        look_again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                guard = ready.writable() => {
                    let mut guard = guard.map_err(|_| Errno::IO)?;
                    if !matches!(sockets::tcp_state(socket)?, TCP_SYN_SENT | TCP_SYN_RECEIVED) {
                        break;
                    }
                    guard.clear_ready();
                }
                _ = look_again.tick() => {
                    if !self.listener.is_valid(id) {
                        return Err(Errno::INTR);
                    }
                }
                () = until(deadline) => return Err(Errno::INPROGRESS),
            }
        }
        sockopt::socket_error(socket)?
    }

    /// Packets stay in the box, where they go to whoever is bound there.
    async fn connect_datagram(&self, asked: &Asked, address: SocketAddr) -> Result<(), Errno> {
        let host = address.ip().to_canonical();
        if (host.is_loopback() || host.is_unspecified()) && !asked.is_of_host {
            return sockets::connect(&asked.socket, &asked.bytes);
        }
        // To sort what they have found, resolvers connect to each address without sending anything. So it tells
        // nothing of a connection that will be allowed, and a port of zero tells nothing at all.
        if address.port() != 0 && self.rules.decide(address).await != Decision::Host {
            self.refuse(address, Transport::Datagram, Reason::Datagram);
        }
        Err(Errno::NETUNREACH)
    }

    fn refuse(&self, address: SocketAddr, transport: Transport, reason: Reason) {
        (self.on_refused)(Refused { address, transport, reason });
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Asked {
    /// Looks at a call. All that is learnt was true of the caller if it still waits at the end.
    fn of(notification: Notification, listener: &Listener, namespace: u64) -> Result<Self, Errno> {
        let Call::Connect { number, address, length } = notification.call else { return Err(Errno::NOSYS) };
        let caller = Caller::new(notification.thread)?;
        // The kernel looks for the socket first, so a number that is none is told before an address that is none.
        let socket = caller.socket(number)?;
        let kind = Kind::of(&socket)?;
        let bytes = caller.copy(address, length)?;
        let target = match Destination::decode(&bytes)? {
            Destination::Unspecified => Aim::Unspecified,
            Destination::Internet(address) => Aim::Internet(address),
            Destination::Path(path) => Aim::Unix(Peer::Path(caller.files()?, path), caller.credentials()?),
            Destination::Abstract => Aim::Unix(Peer::Address(bytes.clone()), caller.credentials()?),
            Destination::Other => Aim::Other,
        };
        let close_on_exec = caller.closes_on_exec(number);
        if !listener.is_valid(notification.id) {
            return Err(Errno::INTR);
        }
        let is_of_host = sockets::namespace(&socket)? == namespace;
        let target = match target {
            // Families of which some know no namespaces.
            _ if !kind.is_internet() && kind.domain != libc::AF_UNIX => Aim::Other,
            Aim::Internet(_) if !kind.is_internet() => return Err(Errno::INVAL),
            Aim::Unix(..) if kind.domain != libc::AF_UNIX => Aim::Other,
            target => target,
        };
        let is_nonblocking = is_nonblocking(socket.as_fd());
        Ok(Self { socket: Arc::new(socket), kind, is_of_host, is_nonblocking, close_on_exec, bytes, target })
    }

    /// Whether the address is one of the socket's family.
    fn fits(&self) -> Result<(), Errno> {
        match self.target {
            Aim::Internet(address) if self.kind.fits(address.ip()) => Ok(()),
            _ => Err(Errno::AFNOSUPPORT),
        }
    }
}
