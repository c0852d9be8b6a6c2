//! Clients who leave, and those who only look as if they did, on real sockets.

use std::io::{Read, Write};
use std::net::Shutdown;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Long enough for whatever happens on the loopback address, and much longer than [`ASK_AFTER`].
const PATIENCE: Duration = Duration::from_secs(30);
/// After this a client who is there has been asked and has not been found gone.
const A_WHILE: Duration = Duration::from_millis(500);

/// A connection whose client has sent one byte, which was read.
async fn connected() -> (Line, Client, std::net::TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    theirs.write_all(b"x").unwrap();
    let (mut line, client) = split(listener.accept().await.unwrap().0);
    assert_eq!(line.read_u8().await.unwrap(), b'x');
    (line, client, theirs)
}

async fn leaves(waiting: &CallerHandle) -> bool {
    tokio::time::timeout(PATIENCE, waiting.0.gone()).await.is_ok()
}

async fn stays(waiting: &CallerHandle) -> bool {
    tokio::time::timeout(A_WHILE, waiting.0.gone()).await.is_err()
}

#[tokio::test]
async fn a_closed_connection_is_a_departure() {
    let (_line, client, theirs) = connected().await;
    let waiting = client.waits(Version::HTTP_11);
    assert!(stays(&waiting).await);
    drop(theirs);
    assert!(leaves(&waiting).await);
    assert!(leaves(&waiting).await, "and stays one");
}

#[tokio::test]
async fn a_reset_is_a_departure_for_every_version() {
    for version in [Version::HTTP_10, Version::HTTP_11] {
        let (_line, client, theirs) = connected().await;
        set_socket_linger(&theirs, Some(Duration::ZERO)).unwrap();
        drop(theirs);
        assert!(leaves(&client.waits(version)).await, "{version:?}");
    }
}

#[tokio::test]
async fn a_half_closed_connection_is_asked_once_and_still_answered() {
    let (mut line, client, mut theirs) = connected().await;
    theirs.shutdown(Shutdown::Write).unwrap();
    let waiting = client.waits(Version::HTTP_11);
    assert!(stays(&waiting).await);
    assert!(stays(&waiting).await);
    line.write_all(b"the answer").await.unwrap();
    line.shutdown().await.unwrap();
    let mut got = String::new();
    theirs.read_to_string(&mut got).unwrap();
    assert_eq!(got, "HTTP/1.1 100 Continue\r\n\r\nthe answer");
}

/// RFC 9110, section 15.2: no interim response to HTTP/1.0. And none in the middle of an answer.
#[tokio::test]
async fn nothing_is_sent_to_who_would_not_understand_it() {
    let check = async |version: Version, begun: &[u8]| {
        let (mut line, client, mut theirs) = connected().await;
        theirs.shutdown(Shutdown::Write).unwrap();
        let waiting = client.waits(version);
        line.write_all(begun).await.unwrap();
        assert!(stays(&waiting).await);
        line.write_all(b"answer").await.unwrap();
        line.shutdown().await.unwrap();
        let mut got = String::new();
        theirs.read_to_string(&mut got).unwrap();
        got
    };
    assert_eq!(check(Version::HTTP_10, b"").await, "answer");
    assert_eq!(check(Version::HTTP_11, b"the ").await, "the answer");
}

/// While the answer before is still on its way, bytes in between would be a part of it.
#[tokio::test]
async fn nobody_is_asked_before_the_last_answer_has_left() {
    let (mut line, client, theirs) = connected().await;
    line.write_all(b"a part").await.unwrap();
    client.waits(Version::HTTP_11);
    assert!(!client.0.sent().may_ask);
    line.flush().await.unwrap();
    client.waits(Version::HTTP_11);
    assert!(client.0.sent().may_ask);
    drop(theirs);
}

#[tokio::test]
async fn the_next_request_is_no_departure_and_is_not_lost() {
    let (mut line, client, mut theirs) = connected().await;
    let waiting = client.waits(Version::HTTP_11);
    theirs.write_all(b"next").unwrap();
    assert!(stays(&waiting).await);
    let mut next = [0; 4];
    line.read_exact(&mut next).await.unwrap();
    assert_eq!(&next, b"next");
    theirs.write_all(&[7; 100_000]).unwrap();
    let mut much = vec![0; 100_000];
    line.read_exact(&mut much).await.unwrap();
    assert_eq!(much, [7; 100_000]);
}

#[tokio::test]
async fn a_departure_is_seen_behind_what_nobody_has_read() {
    for linger in [None, Some(Duration::ZERO)] {
        let (_line, client, mut theirs) = connected().await;
        let waiting = client.waits(Version::HTTP_11);
        theirs.write_all(b"next").unwrap();
        assert!(stays(&waiting).await);
        set_socket_linger(&theirs, linger).unwrap();
        drop(theirs);
        assert!(leaves(&waiting).await, "{linger:?}");
    }
}

#[tokio::test]
async fn who_left_during_a_step_is_known_right_after_it() {
    let (_line, client, theirs) = connected().await;
    drop(theirs);
    let connection = client.0.clone();
    let step = async move {
        while !connection.is_gone.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        "done"
    };
    assert_eq!(client.noticed(Version::HTTP_11, step).await, "done");
    let waiting = client.waits(Version::HTTP_11);
    assert!(tokio::time::timeout(Duration::ZERO, waiting.0.gone()).await.is_ok());
}
