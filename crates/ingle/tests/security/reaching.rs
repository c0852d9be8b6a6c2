//! What functions reach: services of the machine, the server itself, and the server's ends of their own sockets.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ingle_testkit::Request;
use serde_json::json;

use crate::stage::{Class, Stage};

pub(crate) fn all(stage: &mut Stage) {
    network(stage);
    other_apps(stage);
    frames(stage);
    answers(stage);
}

/// Services of the host that count who comes.
struct Services {
    tcp: TcpListener,
    abstract_name: String,
    udp: UdpSocket,
    visitors: Arc<AtomicUsize>,
}

impl Services {
    fn start(name: u32) -> Self {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let abstract_name = format!("ingle-attack-{name}");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let unix = UnixListener::bind_addr(&address).unwrap();
        let udp = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        udp.set_nonblocking(true).unwrap();
        let visitors = Arc::new(AtomicUsize::new(0));
        let (count, listening) = (visitors.clone(), tcp.try_clone().unwrap());
        thread::spawn(move || {
            for mut visitor in listening.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
                visitor.write_all(b"secret of the host").ok();
            }
        });
        let count = visitors.clone();
        thread::spawn(move || {
            for _visitor in unix.incoming().flatten() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { tcp, abstract_name, udp, visitors }
    }
}

/// An address of this machine by which others reach it, if it has one.
fn own_address() -> Vec<String> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    // This sends nothing: it only asks which way it would be sent.
    let found = socket.connect(("192.0.2.1", 9)).and_then(|()| socket.local_addr());
    found.into_iter().map(|address| address.ip().to_string()).filter(|ip| !ip.starts_with("127.")).collect()
}

/// T-051: nothing of the machine is reached by any name or address.
fn network(stage: &mut Stage) {
    let services = Services::start(stage.server.process_id());
    let port =
        |address: &str| address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).unwrap();
    let (theirs, own) = (services.tcp.local_addr().unwrap().port(), port(stage.server.address()));
    let state = stage.server.state_folder();
    let neighbour = stage.secrets.of("folder");
    let arguments = json!({
        "ports": [theirs, own],
        "own": own_address(),
        "paths": [state.join("app/admin.sock"), state.join(neighbour).join("admin.sock")],
        "abstract": [services.abstract_name],
    });
    stage.tries(
        "T-051",
        "connect to services of the machine, metadata, private networks and Ingle's own doors",
        "network/reach",
        &arguments,
    );
    stage.is_told("network");
    let names = [
        "localhost",
        "ip6-localhost",
        "host.docker.internal",
        "metadata.google.internal",
        "127.0.0.1.nip.io",
    ];
    stage.tries(
        "T-051",
        "reach them by names that lead there",
        "network/dns",
        &json!({"names": names, "port": theirs}),
    );
    let udp = services.udp.local_addr().unwrap().port();
    stage.answer("network/datagrams", &json!({"port": udp, "own": own_address(), "text": "out"}));
    let arrived = services.udp.recv(&mut [0; 16]).is_ok();
    stage.row("T-051", "send datagrams", if arrived { "REACHED" } else { "stopped" });
    let listen = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).unwrap().port();
    let answer = stage.answer("network/slyly", &json!({"port": theirs, "listen": listen}));
    let result = crate::stage::stopped(&answer);
    stage.row("T-051", "connect by sending, or with an address that changes meanwhile", result);
    assert_eq!(answer["listens"], listen, "in its own box a function may listen: {answer}");
    let outside = TcpStream::connect(("127.0.0.1", listen)).is_ok();
    stage.row(
        "T-051",
        "listen where others of the machine come in",
        if outside { "REACHED" } else { "stopped" },
    );
    assert_eq!(services.visitors.load(Ordering::Relaxed), 0, "somebody came");
    stage.row("T-051", "rebind a name to another address", "tested in the sandbox: `egress::rules`");
}

/// T-051: what one app serves is not there for another, although both are of one server.
fn other_apps(stage: &mut Stage) {
    let mark = format!("served-{}", stage.server.process_id());
    let served = stage.answer("network/serve", &json!({"mark": mark}));
    let mut places = served.clone();
    places["own"] = json!([]);
    // Else it would prove nothing that others can't.
    let own = stage.answer("network/visit", &places);
    let reached: Vec<&String> = own["got"].as_object().unwrap().keys().collect();
    assert_eq!(reached.len(), 4, "where it was served: {own}");
    places["own"] = json!(own_address());
    let other = stage.call("hurried", "network/visit", &places).status(200).json();
    let result = crate::stage::stopped(&other);
    stage.row(
        "T-051",
        "reach what another app serves: TCP, UDP, Unix sockets with and without a path",
        result,
    );
}

/// Kinds of frames. Each may end its worker, and under gVisor another takes a second or two, so there only one that can't be read
/// and one that can.
fn kinds(class: Class) -> Vec<&'static str> {
    if class == Class::Gvisor {
        return vec!["no_json", "done_of_another"];
    }
    vec![
        "no_json",
        "huge_header",
        "huge_body",
        "no_type",
        "unknown_type",
        "deep",
        "forked",
        "reaped",
        "loaded",
        "hello",
        "exiting",
        "debugger",
        "chunks",
        "done_of_another",
    ]
}

/// The sockets of the worker in the hands of a function.
fn frames(stage: &mut Stage) {
    for socket in ["lane", "control"] {
        for (number, kind) in kinds(stage.class).into_iter().enumerate() {
            if number % 5 == 0 {
                stage.renew("app");
            }
            let arguments = json!({"kind": kind, "socket": socket});
            let answer = stage.call("app", "frames/nonsense", &arguments);
            assert!(
                matches!(answer.status, 200 | 204 | 500..=504),
                "{socket} {kind}: {} {}",
                answer.status,
                answer.text()
            );
            stage.works();
        }
    }
    stage.is_told("protocol");
    stage.row("T-087", "send the server frames that no worker sends", "ends alone, or nothing comes of it");
    // The server reads what was sent without them, piece by piece, which may take longer than the function may.
    stage.call("hurried", "frames/descriptors", &json!({}));
    stage.works();
    let open = std::fs::read_dir(format!("/proc/{}/fd", stage.server.process_id())).unwrap().count();
    let result = if open < 500 { "nothing comes of it".to_owned() } else { format!("REACHED: {open}") };
    stage.row("T-017", "send the server descriptors", result);
}

/// T-019: answers that no library would make.
fn answers(stage: &mut Stage) {
    let http =
        |status: i64, headers: serde_json::Value| json!(["http", {"status": status, "headers": headers}, 0]);
    let many: Vec<(String, String)> =
        (0..50_000).map(|number| (format!("x-{number}"), "v".repeat(100))).collect();
    stage.renew("app");
    // As with frames: what comes of the others is decided by the server, which is the same.
    let most = if stage.class == Class::Gvisor { 2 } else { usize::MAX };
    for (number, value) in [
        http(99_999, json!([])),
        http(-1, json!([])),
        http(100, json!([])),
        http(200, json!([["x-split", "a\r\nset-cookie: b=c"]])),
        http(200, json!([["x y", "a"], ["", "a"]])),
        http(200, json!([["content-length", "1000"], ["transfer-encoding", "chunked"]])),
        http(200, json!(many)),
        json!(["bytes", null, 999_999]),
        json!(["file", {"name": "../../planted.txt"}, 0]),
        json!(["file", {"path": "/etc/shadow"}, 0]),
        json!(["collection_bytes", [4_000_000_000_u64, 4_000_000_000_u64], 8_000_000_000_u64]),
    ]
    .into_iter()
    .take(most)
    .enumerate()
    {
        if number % 5 == 4 {
            stage.renew("app");
        }
        let answer = stage.call("app", "frames/answer", &json!({"value": value}));
        let shown: String = answer.text().chars().take(300).collect();
        let has_split = !answer.header("set-cookie").is_empty();
        assert!(!has_split && !shown.contains("root:"), "{value}: {shown}");
        assert!(answer.status == 200 || answer.status >= 500, "{value}: {} {shown}", answer.status);
        // The function has answered twice; nobody else may get the second one.
        let next = stage.server.get_of("app", "/api/pid");
        assert!(
            next.status != 200 || next.text().bytes().all(|byte| byte.is_ascii_digit()),
            "{}",
            next.text()
        );
        stage.works();
    }
    stage.row(
        "T-048",
        "answer twice, so that the next caller gets an answer that is not for them",
        "ends alone",
    );
    stage.renew("app");
    stage.row("T-019", "answer with broken statuses, headers, sizes and files", "refused, the app goes on");
    for (attack, arguments) in [("floods/bad_headers", json!({})), ("floods/status", json!({"status": 7}))] {
        let answer = stage.call("app", attack, &arguments);
        assert!(
            answer.status >= 200 && answer.header("set-cookie").is_empty(),
            "{attack}: {}",
            answer.status
        );
        stage.works();
    }
    long_answers(stage);
}

fn long_answers(stage: &mut Stage) {
    let process = stage.server.process_id();
    let before = crate::using_up::memory_peak(process);
    let long = stage.call("app", "frames/large", &json!({"bytes": 400 << 20}));
    assert!(long.status == 500 && long.text().contains("E0316"), "{} {}", long.status, long.text());
    let grown = crate::using_up::memory_peak(process).saturating_sub(before);
    let result = if grown < 200 << 20 { "ends alone" } else { "REACHED: memory grows" };
    stage.row("T-019", "send the server more than the worker itself may hold", result);
    stage.works();
    // More than this client takes: its connection breaks, and nobody else's.
    let request = Request::post("/api/attack/floods/headers", json!({"count": 20_000}).to_string());
    stage.server.client().send(request.header("host", "app.localhost")).unwrap_err();
    stage.works();
    let large = stage.call("app", "floods/body", &json!({"bytes": 60 << 20}));
    assert_eq!(
        (large.status, large.body.len()),
        (200, 60 << 20),
        "{}",
        large.text().chars().take(300).collect::<String>()
    );
    stage.row(
        "T-019",
        "answer with thousands of headers",
        "possible, up to 32,768: what its own caller takes",
    );
}
