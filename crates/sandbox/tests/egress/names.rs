//! Names of machines, as a box asks for them.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

use ingle_sandbox::egress::policy::{Decision, Policy, Reason};
use ingle_sandbox::egress::resolver::Configuration;

use super::support::{only, parse, rules, run_with_names};

/// A nameserver that gives every name the same address, and remembers what it was asked.
fn nameserver() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let (packets, connections) = loop {
        // Both need the same port, and somebody else may have one of them.
        let packets = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(connections) = std::net::TcpListener::bind(packets.local_addr().unwrap()) {
            break (packets, connections);
        }
    };
    let address = packets.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (by_packet, by_connection) = (Arc::clone(&asked), Arc::clone(&asked));
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = packets.recv_from(&mut buffer) {
            by_packet.lock().unwrap().push(buffer[..length].to_vec());
            // One with another id first, as of somebody who guesses.
            let mut wrong = answer(&buffer[..length], [203, 0, 113, 66]);
            wrong[0] ^= 1;
            packets.send_to(&wrong, from).unwrap();
            packets.send_to(&answer(&buffer[..length], [203, 0, 113, 9]), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for connection in connections.incoming().flatten() {
            answer_connection(connection, &by_connection);
        }
    });
    (address, asked)
}

fn answer_connection(mut connection: TcpStream, asked: &Mutex<Vec<Vec<u8>>>) {
    use std::io::{Read as _, Write as _};
    let mut length = [0; 2];
    connection.read_exact(&mut length).unwrap();
    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
    connection.read_exact(&mut query).unwrap();
    let answer = answer(&query, [203, 0, 113, 10]);
    asked.lock().unwrap().push(query);
    connection.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
    connection.write_all(&answer).unwrap();
}

fn answer(query: &[u8], address: [u8; 4]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(address);
    answer
}

const ASK: &str = r#"
def query(name, id=0x1234, kind=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", id, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)
def tell(query, answer):
    assert answer[:2] == query[:2] and answer[12:len(query)] == query[12:], (query, answer)
    code, count = answer[3] & 15, answer[7]
    return [code] + [socket.inet_ntoa(answer[-4:])] * (count > 0)
def ask(name, send=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.53", 53))
        client.send(query(name))
        return tell(query(name), client.recv(4096))
def ask_over_tcp(name):
    with socket.create_connection(("127.0.0.53", 53)) as client:
        text = query(name)
        client.sendall(struct.pack("!H", len(text)) + text)
        length = struct.unpack("!H", client.recv(2, socket.MSG_WAITALL))[0]
        return tell(text, client.recv(length, socket.MSG_WAITALL))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn names_are_asked_for_in_the_place_of_the_box() {
    let (nameserver, asked) = nameserver();
    let code = format!(
        r#"{ASK}
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    # What is no query gets no answer, and does no harm.
    for nonsense in [b"", b"x", b"\xff" * 4096, query("a.example")[:-1]]:
        client.sendto(nonsense, ("127.0.0.53", 53))
print(ask("API.example.com"), ask_over_tcp("api.example.com"))
print(ask("written.example"), ask("a.localhost"), ask_over_tcp("localhost"))
"#
    );
    let names = Configuration {
        nameservers: vec![nameserver],
        ..Configuration::parse("search a.example\n", "198.51.100.4 written.example\n")
    };
    let also = parse(&["api.example.com:443".to_owned()]);
    let rules = rules(Policy::Public { also });
    let Some(done) = run_with_names(rules, names, &code, &[]).await else { return };
    let expected =
        ["[0, '203.0.113.9'] [0, '203.0.113.10']", "[0, '198.51.100.4'] [0, '127.0.0.1'] [0, '127.0.0.1']"];
    assert_eq!(done.said, expected);
    assert_eq!(asked.lock().unwrap().len(), 2);
}

/// T-051: a name is a message to the nameserver of its domain, so of a list only its names are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn t_051_names_outside_a_list_are_refused() {
    let (nameserver, asked) = nameserver();
    let code = format!(
        r#"{ASK}
for name in ["secret.evil.example", "secret.api.example.com", "example.com", "written.example"]:
    print(ask(name), ask_over_tcp(name))
print(ask("API.Example.com"), ask("api.example.com.search.example"), ask("localhost"))
"#
    );
    let names = Configuration {
        nameservers: vec![nameserver],
        ..Configuration::parse("search search.example\n", "198.51.100.4 written.example\n")
    };
    let rules = only(&["api.example.com:443".to_owned()]);
    let Some(done) = run_with_names(Arc::clone(&rules), names, &code, &[]).await else { return };
    let mut expected = ["[5] [5]"; 4].to_vec();
    expected.push("[0, '203.0.113.9'] [0, '203.0.113.9'] [0, '127.0.0.1']");
    assert_eq!(done.said, expected);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    // The letters could be a message too.
    assert!(asked[0][12..].starts_with(b"\x03api\x07example\x03com\0"), "{asked:?}");
    // What the box was told is where it may connect to, and what somebody else has said is not.
    let decide = async |text: &str| rules.decide(text.parse().unwrap()).await;
    assert_eq!(decide("203.0.113.9:443").await, Decision::Host);
    assert_eq!(decide("203.0.113.66:443").await, Decision::Denied(Reason::NotListed));
    assert_eq!(decide("203.0.113.9:80").await, Decision::Denied(Reason::NotListed));
}
