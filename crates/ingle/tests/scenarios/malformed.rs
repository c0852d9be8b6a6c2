//! Requests that no honest client sends (T-032, T-034): refused, and nothing behind them is taken for a second request.

use ingle_testkit::{App, Python, Server, raw_cut};

/// Whatever follows a refused request on the same connection. Were it served, a proxy in front could be deceived.
const SMUGGLED: &str = "GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

fn server() -> Server {
    App::python(
        r#"
@app.route(route="echo")
def echo(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(req.get_body())

@app.route(route="smuggled")
def smuggled(req: func.HttpRequest) -> str:
    return "SMUGGLED"
"#,
    )
    .start(&Python::any())
}

fn refused(server: &Server, head: &str, statuses: &[&str]) {
    let answer = server.raw(format!("{head}{SMUGGLED}"));
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("none");
    assert!(statuses.contains(&status), "{head:?} is answered with {answer:?}, not with {statuses:?}");
    assert!(!answer.contains("SMUGGLED"), "{head:?} lets a second request through: {answer}");
}

/// T-032.
#[test]
fn a_body_of_unclear_length_is_refused_and_the_connection_closed() {
    let server = server();
    let check =
        |lines: &str| refused(&server, &format!("POST /api/echo HTTP/1.1\r\nHost: x\r\n{lines}"), &["400"]);
    check("Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd");
    check("Content-Length: 4, 5\r\n\r\nabcd");
    check("Content-Length: +4\r\n\r\nabcd");
    check("Content-Length: -1\r\n\r\nabcd");
    check("Content-Length: 0x4\r\n\r\nabcd");
    check("Content-Length: 4 4\r\n\r\nabcd");
    check("Content-Length:\r\n\r\nabcd");
    check("Content-Length: 18446744073709551616\r\n\r\nabcd");
    check("Transfer-Encoding: gzip\r\n\r\nabcd");
    check("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n");
    check("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n");
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n");
    check("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n");
    check("Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(server.get("/api/smuggled").text(), "SMUGGLED", "honest requests are served all the same");
}

/// T-032: a server behind a proxy must not believe the length when there are chunks.
#[test]
fn chunks_count_more_than_a_stated_length() {
    let server = server();
    let answer = server.raw(
        "POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         5\r\nabcde\r\n0\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("abcde"), "{answer}");
    for lengths in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\nContent-Length: 15",
    ] {
        let head = format!("POST /api/echo HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n5\r\nabcde\r\n0\r\n\r\n");
        refused(&server, &head, &["200"]);
    }
}

/// T-032.
#[test]
fn broken_chunks_are_refused() {
    let server = server();
    let check = |chunks: &str| {
        let head =
            format!("POST /api/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        refused(&server, &head, &["400"]);
    };
    check("zz\r\nabc\r\n0\r\n\r\n");
    check("-1\r\nabc\r\n0\r\n\r\n");
    check("3\r\nabcX\r\n0\r\n\r\n");
    check("ffffffffffffffffff\r\nabc\r\n0\r\n\r\n");
    check("3 3\r\nabc\r\n0\r\n\r\n");
}

/// T-032.
#[test]
fn a_head_that_is_none_is_refused() {
    let server = server();
    let check = |head: &str| refused(&server, head, &["400"]);
    check("GET /api/echo HTTP/1.1\r\n\r\n");
    check("GET /api/echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    check("GET /api/echo HTTP/1.1\r\nHost: x\r\n folded: line\r\n\r\n");
    check("GET /api/echo HTTP/1.1\r\nHost: x\r\nX-A: one\r\n two\r\n\r\n");
    check("GET /api/echo HTTP/1.1\r\nHost: x\r\nX-A\0: one\r\n\r\n");
    check("GET /api/echo HTTP/1.1\r\nHost: x\r\nX-A: o\0ne\r\n\r\n");
    check("GET /api/echo HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n");
    check("GET /api/echo HTTP/1.1\r\nHost: x\r\n: no name\r\n\r\n");
    check("GET  /api/echo HTTP/1.1\r\nHost: x\r\n\r\n");
    check("GET /api/echo HTTP/9.9\r\nHost: x\r\n\r\n");
    check("GET /api/e cho HTTP/1.1\r\nHost: x\r\n\r\n");
    check("G\0T /api/echo HTTP/1.1\r\nHost: x\r\n\r\n");
    check("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\r\n\r\n");
}

#[test]
fn a_path_with_two_readings_is_refused() {
    let server = server();
    for path in [
        "/api/%zz",
        "/api/%0d%0aX-Forged:1",
        "/api/%00",
        "/api/%ff%fe",
        "/../../api/echo",
        "/api/a%2f..%2fecho",
    ] {
        let answer = server.raw(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("E0505"), "{path}: {answer}");
    }
}

/// T-034: sizes.
#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = server();
    let start = "GET /api/echo HTTP/1.1\r\nHost: x\r\n";
    let long = "a".repeat(9000);
    refused(&server, &format!("GET /api/{long} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), &["414"]);
    refused(
        &server,
        &format!("GET /api/echo?{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", &long[..5000]),
        &["414"],
    );
    let many: String = (0..150).map(|number| format!("X-{number}: 1\r\n")).collect();
    refused(&server, &format!("{start}{many}Connection: close\r\n\r\n"), &["431"]);
    let large: String = (0..20).map(|number| format!("X-{number}: {}\r\n", &long[..4000])).collect();
    refused(&server, &format!("{start}{large}Connection: close\r\n\r\n"), &["431"]);
    assert_eq!(server.get("/api/smuggled").text(), "SMUGGLED");
}

#[test]
fn a_body_that_breaks_off_reaches_no_function() {
    let server = server();
    let answer =
        raw_cut(server.address(), b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    server.get("/api/smuggled").status(200);
    server.invocations("smuggled", 1);
    let ended = server.stop();
    let runs =
        ended.events.iter().filter(|event| event["event"] == "invocation" && event["function"] == "echo");
    assert_eq!(runs.count(), 0, "half a request was served");
}
