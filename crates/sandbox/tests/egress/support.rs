//! Makes boxes, and servers of this machine for them to reach or not.

use std::collections::BTreeMap;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingle_sandbox::egress::policy::{Policy, Target};
use ingle_sandbox::egress::resolver::Configuration;
use ingle_sandbox::egress::{Refused, Relay, Rules, Supervisor};
use ingle_sandbox::process::{Process, ProcessSpec};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::AsyncReadExt as _;

/// Far more than any of it takes.
const LONG: Duration = Duration::from_secs(60);

/// What a piece of code in a box has said, and could not reach.
pub(crate) struct Done {
    pub(crate) said: Vec<String>,
    pub(crate) refused: Vec<Refused>,
}

/// Nothing but what is listed.
pub(crate) fn only(targets: &[String]) -> Arc<Rules> {
    rules(Policy::Only(parse(targets)))
}

pub(crate) fn parse(targets: &[String]) -> Vec<Target> {
    targets.iter().map(|target| Target::parse(target).unwrap()).collect()
}

/// Rules on a machine whose names lead nowhere.
pub(crate) fn rules(policy: Policy) -> Arc<Rules> {
    let lookup = Box::new(|_: &str| -> ingle_sandbox::egress::Looking { Box::pin(async { Ok(Vec::new()) }) });
    Arc::new(Rules::with(policy, lookup, Box::new(|| Ok(Vec::new()))))
}

/// Runs a piece of code in a box until all its processes have ended. `None` if there can be no box here.
pub(crate) async fn run(rules: Arc<Rules>, code: &str, values: &[(&str, String)]) -> Option<Done> {
    run_with_names(rules, Configuration::default(), code, values).await
}

pub(crate) async fn run_with_names(
    rules: Arc<Rules>,
    names: Configuration,
    code: &str,
    values: &[(&str, String)],
) -> Option<Done> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut process = start(code, values, theirs);
    let (mut output, mut errors) = process.take_output().unwrap();
    let Some([listener, packets, connections]) = receive(&ours) else {
        let mut why = String::new();
        output.read_to_string(&mut why).await.unwrap();
        errors.read_to_string(&mut why).await.unwrap();
        assert!(why.starts_with("SKIPPED"), "{why}");
        eprintln!("skipped, as there can be no box here: {why}");
        return None;
    };
    let refused = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&refused);
    let supervisor =
        Supervisor::new(listener, Arc::clone(&rules), move |event| events.lock().unwrap().push(event))
            .unwrap();
    let relay = Relay::new(packets, connections, names, rules).unwrap();
    (&ours).write_all(b"!").unwrap();
    let (mut said, mut complaints) = (String::new(), String::new());
    let (supervised, relayed) = (can_be_a_task(supervisor.run()), can_be_a_task(relay.run()));
    let all = async {
        tokio::select! {
            result = relayed => panic!("the relay ended: {result:?}"),
            (supervised, _, _) = async { tokio::join!(
                supervised, output.read_to_string(&mut said), errors.read_to_string(&mut complaints),
            ) } => supervised.unwrap(),
        }
    };
    let in_time = tokio::time::timeout(LONG, all).await;
    assert!(in_time.is_ok(), "the box does not end");
    assert!(process.wait().await.unwrap().success(), "{said}{complaints}");
    let refused = refused.lock().unwrap().clone();
    Some(Done { said: said.lines().map(str::to_owned).collect(), refused })
}

/// The server runs both as tasks of their own, which may move between threads.
fn can_be_a_task<F: Future + Send + 'static>(future: F) -> F {
    future
}

fn start(code: &str, values: &[(&str, String)], socket: UnixStream) -> Process {
    let values: Vec<String> = values.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
    Process::start(ProcessSpec {
        program: PathBuf::from("python3"),
        arguments: vec![
            "-c".into(),
            include_str!("box.py").into(),
            code.into(),
            format!("{{{}}}", values.join(", ")).into(),
        ],
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())]),
        directory: PathBuf::from("/"),
        socket: socket.into(),
    })
    .unwrap()
}

fn receive(socket: &UnixStream) -> Option<[OwnedFd; 3]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let messages = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    messages.flatten().collect::<Vec<_>>().try_into().ok()
}

/// A server of this machine that sends back what it gets.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    looks: AtomicUsize,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        std::thread::spawn(move || {
            for mut connection in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 65536];
                    while let Ok(length @ 1..) = connection.read(&mut buffer) {
                        if connection.write_all(&buffer[..length]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, accepted, looks: AtomicUsize::new(0) }
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// How many have connected by now. Connections are accepted in their order, so one of our own that was answered
    /// says that all before it are counted.
    pub(crate) fn accepted(&self) -> usize {
        let mut own = TcpStream::connect(self.address).unwrap();
        own.write_all(b"!").unwrap();
        own.read_exact(&mut [0]).unwrap();
        let looks = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        self.accepted.load(Ordering::SeqCst) - looks
    }
}

/// A port of this machine on which nobody listens, and nobody will: it is taken by a socket that does not.
pub(crate) fn closed_port() -> (OwnedFd, u16) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let holder = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&holder, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = SocketAddr::try_from(getsockname(&holder).unwrap()).unwrap();
    (holder, address.port())
}

/// A server of this machine whose queue is full, so that whoever connects waits.
pub(crate) struct FullServer {
    pub(crate) port: u16,
    _kept: (OwnedFd, Vec<OwnedFd>),
}

impl FullServer {
    pub(crate) fn start() -> Self {
        use rustix::net::{
            AddressFamily, SocketFlags, SocketType, connect, getsockname, listen, socket_with,
        };
        let make =
            || socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap();
        let listener = make();
        rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
        // One is queued; what comes after that finds no room.
        let clients: Vec<OwnedFd> = (0..4).map(|_| make()).collect();
        for client in &clients {
            connect(client, &address).ok();
        }
        Self { port: address.port(), _kept: (listener, clients) }
    }
}
