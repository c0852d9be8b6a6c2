//! Names for a box: takes the queries of its resolver, and asks this machine's nameservers in its place.
//!
//! A box whose policy is a list can ask for the names in the list only: the names asked for are a message to whoever
//! runs the nameserver of a domain, and so a way out.

mod configuration;
mod message;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

pub use configuration::Configuration;
use message::{Code, PACKET_BYTES_MAX, Query};

use super::policy::{Policy, Target};
use super::rules::Rules;

/// Queries in packets that are in work at once. Beyond that they wait in the socket, which drops what it can't hold.
const PACKETS_MAX: usize = 256;

/// Connections of the box at once. Beyond that they wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// How long one nameserver is waited for. The C library waits for five seconds before it asks again.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long no connection is accepted after that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection may be without a query, or take to send one.
const IDLE: Duration = Duration::from_secs(10);

/// Answers the queries of one box.
#[derive(Debug)]
pub struct Relay {
    packets: UdpSocket,
    connections: TcpListener,
    configuration: Configuration,
    rules: Arc<Rules>,
}

/// How a query came and so its answer goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Packet,
    Connection,
}

impl Relay {
    /// A relay for two sockets of the box's namespace, which are bound to the address that its `/etc/resolv.conf`
    /// names: a UDP socket, and a TCP socket that listens. Must be called within a runtime.
    ///
    /// # Errors
    /// The sockets are others than that.
    pub fn new(
        packets: OwnedFd,
        connections: OwnedFd,
        configuration: Configuration,
        rules: Arc<Rules>,
    ) -> io::Result<Self> {
        let packets = std::net::UdpSocket::from(packets);
        packets.set_nonblocking(true)?;
        let connections = std::net::TcpListener::from(connections);
        connections.set_nonblocking(true)?;
        Ok(Self {
            packets: UdpSocket::from_std(packets)?,
            connections: TcpListener::from_std(connections)?,
            configuration,
            rules,
        })
    }

    /// Answers until it is dropped: the sockets are ours, so they outlive the box.
    ///
    /// # Errors
    /// A socket failed.
    pub async fn run(self) -> io::Result<()> {
        let mut packets_in_work = FuturesUnordered::new();
        let mut connections_in_work = FuturesUnordered::new();
        let mut buffer = vec![0; usize::from(PACKET_BYTES_MAX)];
        loop {
            tokio::select! {
                Some(()) = packets_in_work.next(), if !packets_in_work.is_empty() => {}
                Some(()) = connections_in_work.next(), if !connections_in_work.is_empty() => {}
                received = self.packets.recv_from(&mut buffer), if packets_in_work.len() < PACKETS_MAX => {
                    let (length, from) = received?;
                    if let Some(query) = Query::parse(&buffer[..length]) {
                        packets_in_work.push(self.answer_packet(query, from));
                    }
                }
                connection = self.accept(), if connections_in_work.len() < CONNECTIONS_MAX => {
                    connections_in_work.extend(connection.map(|connection| self.answer_connection(connection)));
                }
            }
        }
    }

    /// The next connection. If it can't be taken, e.g. as there are too many descriptors, it is left waiting for a while.
    async fn accept(&self) -> Option<TcpStream> {
        match self.connections.accept().await {
            Ok((connection, _)) => Some(connection),
            Err(_) => {
                sleep(PAUSE).await;
                None
            }
        }
    }

    async fn answer_packet(&self, query: Query, from: SocketAddr) {
        let mut answer = self.answer(&query, Way::Packet).await;
        if answer.len() > query.packet_bytes() {
            answer = query.reply_truncated();
        }
        // Who is not there any more has no use for it, and a packet may always be lost.
        self.packets.send_to(&answer, from).await.ok();
    }

    /// Queries of one connection are answered one after the other.
    async fn answer_connection(&self, mut connection: TcpStream) {
        loop {
            let Ok(Ok(bytes)) = timeout(IDLE, read_message(&mut connection)).await else { return };
            let Some(query) = Query::parse(&bytes) else { return };
            let answer = self.answer(&query, Way::Connection).await;
            if !matches!(timeout(IDLE, write_message(&mut connection, &answer)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn answer(&self, query: &Query, way: Way) -> Vec<u8> {
        if !query.is_question() {
            return query.reply(Code::NotImplemented);
        }
        if query.is_of_internet()
            && is_asked_freely(&query.name, self.rules.policy(), &self.configuration.search)
            && let Some(addresses) = self.configuration.addresses(&query.name)
        {
            return query.reply_with(Code::Fine, &addresses);
        }
        let listed = listed_name(&query.name, self.rules.policy().targets(), &self.configuration.search);
        if !may_ask(self.rules.policy(), listed) {
            return query.reply(Code::Refused);
        }
        for server in &self.configuration.nameservers {
            let asked = timeout(SERVER_TIMEOUT, ask(query, *server, way)).await;
            let Ok(Ok(answer)) = asked else { continue };
            if let Some(name) = listed {
                self.rules.learn(name, &message::addresses(&answer)).await;
            }
            return query.give_back(answer);
        }
        query.reply(Code::ServerFailed)
    }
}

/// Whether it is told what is written on this machine about a name.
fn is_asked_freely(name: &str, policy: &Policy, search: &[String]) -> bool {
    let is_own = name == "localhost" || name.ends_with(".localhost");
    is_own || may_ask(policy, listed_name(name, policy.targets(), search))
}

fn may_ask(policy: &Policy, listed: Option<&str>) -> bool {
    match policy {
        Policy::All | Policy::Public { .. } => true,
        Policy::None => false,
        Policy::Only(_) => listed.is_some(),
    }
}

/// The name in the list that is meant: itself, or, as a resolver tries it, with a search domain behind it.
fn listed_name<'a>(name: &str, targets: &'a [Target], search: &[String]) -> Option<&'a str> {
    let means = |listed: &&str| {
        let Some(rest) = name.strip_prefix(*listed) else { return false };
        rest.is_empty()
            || rest.strip_prefix('.').is_some_and(|rest| search.iter().any(|domain| domain == rest))
    };
    targets.iter().filter_map(Target::name).find(means)
}

/// Asks one nameserver in the way in which we were asked, from a socket of its own: so its port is one that nobody
/// can guess, and no more than the id.
async fn ask(query: &Query, server: SocketAddr, way: Way) -> io::Result<Vec<u8>> {
    let mut id = [0; 2];
    getrandom(&mut id, GetRandomFlags::empty())?;
    let id = u16::from_ne_bytes(id);
    let message = query.to_server(id);
    let answer = match way {
        Way::Packet => {
            let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
            let socket = UdpSocket::bind(any).await?;
            // From then on the kernel gives us packets of this server only.
            socket.connect(server).await?;
            socket.send(&message).await?;
            let mut buffer = vec![0; usize::from(PACKET_BYTES_MAX)];
            loop {
                let length = socket.recv(&mut buffer).await?;
                if query.is_answered_by(id, &buffer[..length]) {
                    break buffer[..length].to_vec();
                }
            }
        }
        Way::Connection => {
            let mut connection = TcpStream::connect(server).await?;
            write_message(&mut connection, &message).await?;
            let answer = read_message(&mut connection).await?;
            if !query.is_answered_by(id, &answer) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            answer
        }
    };
    Ok(answer)
}

/// Over TCP a message has its length before it.
async fn read_message(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(connection.read_u16().await?)];
    connection.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_message(connection: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(message);
    connection.write_all(&bytes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_list_only_its_names_are_asked_for() {
        let targets =
            ["db:5432", "api.example.com:443", "10.0.0.1:80"].map(|text| Target::parse(text).unwrap());
        let search = ["svc.local".to_owned()];
        let table = [
            ("db", Some("db")),
            ("db.svc.local", Some("db")),
            ("api.example.com", Some("api.example.com")),
            ("api.example.com.svc.local", Some("api.example.com")),
            ("example.com", None),
            ("secret.api.example.com", None),
            ("db.other.local", None),
            ("secret.db.svc.local", None),
            ("dbx.svc.local", None),
            ("1.0.0.10.in-addr.arpa", None),
            ("", None),
        ];
        for (name, expected) in table {
            assert_eq!(listed_name(name, &targets, &search), expected, "{name}");
        }
        let only = Policy::Only(targets.to_vec());
        assert!(may_ask(&only, Some("db")) && !may_ask(&only, None) && !may_ask(&Policy::None, None));
        assert!(may_ask(&Policy::All, None) && may_ask(&Policy::Public { also: Vec::new() }, None));
        assert!(
            is_asked_freely("localhost", &Policy::None, &[]) && !is_asked_freely("db", &Policy::None, &[])
        );
    }
}
