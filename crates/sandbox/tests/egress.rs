//! Functions in a box, on the real kernel: what they reach, and what they don't, however they try.

#![expect(clippy::unwrap_used, reason = "a test may panic, also in the functions that its tests share")]
#![expect(clippy::print_stderr, reason = "who reads the output of a test shall know that it did nothing")]

#[path = "egress/names.rs"]
mod names;
#[path = "egress/support.rs"]
mod support;
#[path = "egress/unix.rs"]
mod unix;

use std::net::SocketAddr;

use ingle_sandbox::egress::policy::{Policy, Reason};
use ingle_sandbox::egress::{Refused, Transport};
use support::{FullServer, Server, closed_port, only, rules, run};

fn target(port: impl std::fmt::Display) -> String {
    format!("127.0.0.1:{port}")
}

fn refusals(refused: &[Refused], reason: Reason) -> Vec<String> {
    let of_reason = refused.iter().filter(|event| event.reason == reason);
    of_reason.map(|event| event.address.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_connection_carries_bytes_both_ways() {
    let server = Server::start();
    let code = r#"
import asyncio, fcntl
text = os.urandom(300_000)
with socket.socket() as client:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    number = client.fileno()
    client.connect(("127.0.0.1", port))
    print("peer", client.getpeername() == ("127.0.0.1", port), client.fileno() == number)
    print("options", client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
    print("closed by exec", fcntl.fcntl(client, fcntl.F_GETFD), "waits", os.get_blocking(number))
    import threading
    sender = threading.Thread(target=client.sendall, args=(text,))
    sender.start()
    received = b""
    while len(received) < len(text):
        received += client.recv(65536)
    sender.join()
    print("blocking", received == text, attempt(client.connect, ("127.0.0.1", port)))
with socket.socket() as client:
    client.set_inheritable(True)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    print("closed by exec", fcntl.fcntl(client, fcntl.F_GETFD), "waits", os.get_blocking(client.fileno()), echo(client, b"x"))
with socket.create_connection(("localhost", port)) as client:
    print("localhost", echo(client, b"x"))
with socket.socket(socket.AF_INET6) as client:
    client.connect(("::ffff:127.0.0.1", port))
    print("mapped", echo(client, b"x"))
async def ask():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    received = await reader.readexactly(len(text))
    writer.close()
    return received == text
async def main():
    print("asyncio", await asyncio.gather(*(ask() for _ in range(20))) == [True] * 20)
asyncio.run(main())
"#;
    let rules = only(&[target(server.address.port())]);
    let Some(done) = run(rules, code, &[("port", server.port())]).await else { return };
    let expected = [
        "peer True True",
        "options 1 1",
        "closed by exec 1 waits True",
        "blocking True EISCONN",
        "closed by exec 0 waits False True",
        "localhost True",
        "mapped True",
        "asyncio True",
    ];
    assert_eq!(done.said, expected);
    assert_eq!(server.accepted(), 24);
    assert_eq!(refusals(&done.refused, Reason::NotListed), [""; 0]);
}

/// T-051: what listens on this machine's loopback is not for functions, unless it is listed.
#[tokio::test(flavor = "multi_thread")]
async fn t_051_loopback_is_the_box_s_own() {
    let server = Server::start();
    let code = r#"
import asyncio
print(connect_to("127.0.0.1", port), connect_to("::ffff:127.0.0.1", port), connect_to("0.0.0.0", port))
async def main():
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        print(errno.errorcode[error.errno])
asyncio.run(main())
# But a server of the box's own is there.
with socket.create_server(("127.0.0.1", 0)) as own:
    with socket.create_connection(own.getsockname()) as client:
        accepted, _ = own.accept()
        accepted.sendall(b"own")
        print(client.recv(3))
    with socket.socket() as client:
        client.setblocking(False)
        print(errno.errorcode[client.connect_ex(own.getsockname())])
        own.accept()
        print(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
print(connect_to("127.0.0.1", port, socket.SOCK_DGRAM))
"#;
    for policy in [Policy::None, Policy::Only(Vec::new()), Policy::Public { also: Vec::new() }] {
        let Some(done) = run(rules(policy), code, &[("port", server.port())]).await else { return };
        let expected =
            ["ECONNREFUSED ECONNREFUSED ECONNREFUSED", "ECONNREFUSED", "b'own'", "EINPROGRESS", "0", "OK"];
        assert_eq!(done.said, expected);
        let port = server.address.port();
        let addresses = ["127.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0", "127.0.0.1"];
        let expected = addresses.map(|address| format!("{address}:{port}"));
        assert_eq!(refusals(&done.refused, Reason::NobodyInBox), expected);
        assert_eq!(done.refused.len(), 4);
        assert_eq!(
            done.refused[0].hint().unwrap(),
            format!("to reach this machine's loopback, allow `localhost:{port}`")
        );
    }
    assert_eq!(server.accepted(), 0);
}

/// Without limits a function finds what a program on this machine finds, and its own servers first.
#[tokio::test(flavor = "multi_thread")]
async fn without_limits_loopback_is_also_the_machine_s() {
    let server = Server::start();
    let code = r#"
import asyncio
print(connect_to("127.0.0.1", port))
async def main():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x")
    print(await reader.read(1))
asyncio.run(main())
with socket.create_server(("127.0.0.1", port)) as own:
    with socket.create_connection(("127.0.0.1", port)):
        own.accept()
        print("own")
"#;
    let Some(done) = run(rules(Policy::All), code, &[("port", server.port())]).await else { return };
    assert_eq!(done.said, ["OK", "b'x'", "own"]);
    assert_eq!((server.accepted(), done.refused), (2, Vec::new()));
}

/// T-051: neither the metadata of a cloud nor a private network, in whatever form their addresses are written.
#[tokio::test(flavor = "multi_thread")]
async fn t_051_metadata_and_private_networks_are_denied() {
    let code = r#"
for host in ["169.254.169.254", "::ffff:169.254.169.254", "10.1.2.3", "64:ff9b::10.1.2.3", "fd00:ec2::254"]:
    print(connect_to(host, 80))
try:
    socket.create_connection(("10.1.2.3", 80))
except PermissionError:
    print("a PermissionError")
print(connect_to("192.0.2.1", 53, socket.SOCK_DGRAM), connect_to("192.0.2.1", 0, socket.SOCK_DGRAM))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    print(attempt(client.sendto, b"x", ("192.0.2.1", 53)))
"#;
    let public = rules(Policy::Public { also: Vec::new() });
    for rules in [public, only(&["10.1.2.3:81".to_owned()])] {
        let is_list = matches!(rules.policy(), Policy::Only(_));
        let Some(done) = run(rules, code, &[]).await else { return };
        let mut expected = ["EACCES"; 5].to_vec();
        expected.extend(["a PermissionError", "ENETUNREACH ENETUNREACH", "ENETUNREACH"]);
        assert_eq!(done.said, expected);
        let reasons: Vec<Reason> = done.refused.iter().map(|event| event.reason).collect();
        if is_list {
            let mut expected = vec![Reason::NotListed; 6];
            expected.push(Reason::Datagram);
            assert_eq!(reasons, expected);
        } else {
            use Reason::{LinkLocal, Metadata, Private};
            assert_eq!(reasons, [LinkLocal, LinkLocal, Private, Private, Metadata, Private]);
        }
        let first = Refused {
            address: SocketAddr::from(([169, 254, 169, 254], 80)),
            transport: Transport::Tcp,
            reason: reasons[0],
        };
        assert_eq!(done.refused[0], first);
    }
}

/// T-051: another thread changes the address while the call is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn t_051_an_address_that_changes_is_looked_at_once() {
    let (allowed, forbidden) = (Server::start(), Server::start());
    let code = r#"
import threading
address = ctypes.create_string_buffer(struct.pack("=HH4s8x", socket.AF_INET, socket.htons(allowed), socket.inet_aton("127.0.0.1")))
ports = [struct.pack("!H", allowed), struct.pack("!H", forbidden)]
running = True
def flip():
    while running:
        for port in ports * 50:
            ctypes.memmove(ctypes.byref(address, 2), port, 2)
sys.setswitchinterval(1e-5)
flipper = threading.Thread(target=flip)
flipper.start()
results = set()
reached = 0
for _ in range(400):
    with socket.socket() as client:
        result = libc.connect(client.fileno(), address, 16)
        results.add("OK" if result == 0 else errno.errorcode[ctypes.get_errno()])
        if result == 0:
            reached += client.getpeername()[1] == allowed
            assert client.getpeername()[1] == allowed
running = False
flipper.join()
print(sorted(results), reached)
"#;
    let values = [("allowed", allowed.port()), ("forbidden", forbidden.port())];
    let Some(done) = run(only(&[target(allowed.port())]), code, &values).await else { return };
    let reached = allowed.accepted();
    assert_eq!(done.said, [format!("['ECONNREFUSED', 'OK'] {reached}")]);
    assert_eq!(forbidden.accepted(), 0);
    assert!(reached > 0);
}

/// T-051: another thread puts another socket under the number while the call is looked at. One of them belongs to the
/// host's namespace, where the address that is of the box for the other would be the forbidden server.
#[tokio::test(flavor = "multi_thread")]
async fn t_051_a_socket_that_changes_is_looked_at_once() {
    let forbidden = Server::start();
    let (_holder, closed) = closed_port();
    let code = r#"
import threading
of_host = failed_of_host(closed)
of_host.setblocking(True)
of_box = socket.socket()
pipe, _ = os.pipe()
number = os.dup(of_box.fileno())
running = True
def flip():
    while running:
        for other in (of_host.fileno(), of_box.fileno(), pipe) * 20:
            os.dup2(other, number)
sys.setswitchinterval(1e-5)
flipper = threading.Thread(target=flip)
flipper.start()
address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(forbidden), socket.inet_aton("127.0.0.1"))
results = set()
for _ in range(600):
    result = libc.connect(number, address, 16)
    results.add("OK" if result == 0 else errno.errorcode[ctypes.get_errno()])
    libc.listen(number, 1)
running = False
flipper.join()
print("OK" in results, "EPERM" in results, attempt(of_host.listen))
"#;
    let values = [("forbidden", forbidden.port()), ("closed", closed.to_string())];
    let Some(done) = run(only(&[target(closed)]), code, &values).await else { return };
    // The box's socket may listen and so connect to itself, but that is in the box.
    assert!(done.said[0].ends_with("True EPERM"), "{:?}", done.said);
    assert_eq!(forbidden.accepted(), 0);
}

/// T-051: a socket that was put into the box can't be used for anything else.
#[tokio::test(flavor = "multi_thread")]
async fn t_051_a_failed_socket_of_the_host_is_not_used_again() {
    let (allowed, forbidden) = (Server::start(), Server::start());
    let (_holder, closed) = closed_port();
    let code = r#"
failed = failed_of_host(closed)
nobody = struct.pack("=H14x", socket.AF_UNSPEC)
print(attempt(failed.connect, ("127.0.0.1", forbidden)), attempt(failed.connect, ("169.254.169.254", 80)))
print("EPERM" if libc.connect(failed.fileno(), nobody, 16) < 0 and ctypes.get_errno() == errno.EPERM else "forgotten")
failed.bind(("127.0.0.1", 0))
print(attempt(failed.listen), attempt(failed.accept))
# But what is allowed may be tried again, as with any socket.
failed.setblocking(True)
print(attempt(failed.connect, ("127.0.0.1", allowed)), echo(failed, b"again"), attempt(failed.listen))
# Who does not ask for the error gets it from the next call.
client = socket.socket()
client.setblocking(False)
client.connect_ex(("127.0.0.1", closed))
import select
select.select([], [client], [])
print(attempt(client.connect, ("127.0.0.1", closed)))
# A blocking one leaves the socket as it was.
client = socket.socket()
print(attempt(client.connect, ("127.0.0.1", closed)), attempt(client.connect, ("127.0.0.1", allowed)), echo(client, b"x"))
"#;
    let values =
        [("allowed", allowed.port()), ("forbidden", forbidden.port()), ("closed", closed.to_string())];
    let Some(done) = run(only(&[target(allowed.port()), target(closed)]), code, &values).await else {
        return;
    };
    let expected =
        ["EPERM EACCES", "EPERM", "EPERM EINVAL", "OK True EPERM", "ECONNREFUSED", "ECONNREFUSED OK True"];
    assert_eq!(done.said, expected);
    assert_eq!((allowed.accepted(), forbidden.accepted()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_waits_holds_up_no_other() {
    let (full, server) = (FullServer::start(), Server::start());
    let code = r#"
import signal, threading, time
def wait():
    with socket.socket() as client:
        client.connect(("127.0.0.1", full))
waiting = [threading.Thread(target=wait, daemon=True) for _ in range(40)]
for thread in waiting:
    thread.start()
clients = [threading.Thread(target=lambda: print(connect_to("127.0.0.1", port))) for _ in range(2)]
for client in clients:
    client.start()
for client in clients:
    client.join()
# A limit of the socket's own is kept.
with socket.socket() as client:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 50_000))
    print(attempt(client.connect, ("127.0.0.1", full)))
print(all(thread.is_alive() for thread in waiting), flush=True)
os._exit(0)
"#;
    let rules = only(&[target(full.port), target(server.port())]);
    let values = [("full", full.port.to_string()), ("port", server.port())];
    let Some(done) = run(rules, code, &values).await else { return };
    assert_eq!(done.said, ["OK", "OK", "EINPROGRESS", "True"]);
}

/// The run of the supervisor ends, so nothing of the dead process is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_be_killed_while_its_connection_waits() {
    let (full, server) = (FullServer::start(), Server::start());
    let code = r#"
import signal
ready, tell = os.pipe()
child = os.fork()
if child == 0:
    client = socket.socket()
    os.write(tell, b".")
    client.connect(("127.0.0.1", full))
    os._exit(1)
os.read(ready, 1)
# It waits in its call: the thing to wait for is said by its state.
while open(f"/proc/{child}/syscall").read().split()[0] not in ("42", "203"):
    pass
os.kill(child, signal.SIGKILL)
print(os.WTERMSIG(os.waitpid(child, 0)[1]), connect_to("127.0.0.1", port))
"#;
    let rules = only(&[target(full.port), target(server.port())]);
    let values = [("full", full.port.to_string()), ("port", server.port())];
    let Some(done) = run(rules, code, &values).await else { return };
    assert_eq!(done.said, ["9 OK"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_get_the_errors_of_the_kernel() {
    let code = r#"
def call(number, address, length):
    return "OK" if libc.connect(number, address, length) == 0 else errno.errorcode[ctypes.get_errno()]
client, unix = socket.socket(), socket.socket(socket.AF_UNIX)
number = client.fileno()
v4 = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(9), socket.inet_aton("127.0.0.1"))
print(call(999, v4, 16), call(-1, v4, 16), call(0, v4, 16), call(number, ctypes.c_void_p(8), 16))
print(call(number, v4, 15), call(number, v4, -1), call(number, v4, 1 << 20), call(number, None, 16))
print(call(number, struct.pack("=H26x", socket.AF_INET6), 28), call(number, b"\x01\0/a\0", 5), call(unix.fileno(), v4, 16))
print(call(number, struct.pack("=H14x", 40), 16), call(unix.fileno(), b"\x01\0", 2), call(number, struct.pack("=H14x", 0), 16))
print(attempt(unix.listen), "OK" if libc.listen(999, 1) == 0 else errno.errorcode[ctypes.get_errno()])
"#;
    let Some(done) = run(rules(Policy::None), code, &[]).await else { return };
    let expected = [
        "EBADF EBADF ENOTSOCK EFAULT",
        "EINVAL EINVAL EINVAL EFAULT",
        "EAFNOSUPPORT EAFNOSUPPORT EINVAL",
        "EAFNOSUPPORT EINVAL OK",
        "EINVAL EBADF",
    ];
    assert_eq!(done.said, expected);
}
