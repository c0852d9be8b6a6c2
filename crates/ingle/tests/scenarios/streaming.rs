//! HTTP bodies in pieces, with the real FastAPI extension from requirements.txt.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use ingle_testkit::{App, DEADLINE, Python, Request, Server};
use serde_json::json;

const MEGABYTE: usize = 1024 * 1024;

fn start(app: App) -> Server {
    app.launch(&Python::any()).own_choice_of_python().start()
}

fn example() -> App {
    App::folder("examples/fastapi-streaming")
}

/// The example's environment with another app in it.
fn app(functions: &str) -> App {
    const HEAD: &str = "import asyncio, os, time\nimport azure.functions as func\n\
        from azurefunctions.extensions.http.fastapi import JSONResponse, Request, Response, StreamingResponse\n\
        app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n";
    example().file("function_app.py", &format!("{HEAD}{functions}"))
}

/// A caller who sees the pieces of an answer as they come.
struct Caller {
    reader: BufReader<TcpStream>,
}

impl Caller {
    fn send(server: &Server, head: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(format!("{head}\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    /// The head of the answer.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.reader.read_line(&mut head).unwrap(), 0, "the connection ended: {head}");
        }
        head
    }

    /// The next chunk; empty for the last one, `None` if the connection ends before it.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk).ok()?;
        chunk.truncate(length);
        Some(chunk)
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.chunk().unwrap()).unwrap()
    }
}

/// The most memory that a process has had, in bytes (`VmHWM`, proc(5)).
fn memory_peak(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

const EVENTS: &str = r#"
gate = asyncio.Queue()

async def numbers():
    for number in range(1, 4):
        yield f"data: {number}\n\n"
        await gate.get()

@app.route(route="numbers")
async def stream(req: Request) -> StreamingResponse:
    return StreamingResponse(numbers(), media_type="text/event-stream")

@app.route(route="next")
async def next_one(req: func.HttpRequest) -> str:
    await gate.put(None)
    return "classic"
"#;

/// Nothing of a later event exists before the caller has the one before it. A function with the SDK's own types stands
/// beside the streaming one.
#[test]
fn events_arrive_one_by_one() {
    let server = start(app(EVENTS));
    let mut caller = Caller::send(&server, "GET /api/numbers HTTP/1.1");
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/event-stream"), "{head}");
    for number in 1..4 {
        assert_eq!(caller.text(), format!("data: {number}\n\n"));
        assert_eq!(server.get("/api/next").status(200).text(), "classic");
    }
    assert_eq!(caller.text(), "", "the clean end");
    let record = server.invocations("stream", 1).remove(0);
    assert_eq!((&record["outcome"], &record["status"]), (&json!("success"), &json!(200)));
}

/// P-22a: neither the server nor the worker holds a body.
#[test]
fn large_bodies_need_little_memory() {
    const MEGABYTES: usize = 300;
    let server = start(example());
    // Once around, so that what is loaded on first use is loaded.
    assert_eq!(server.post("/api/digest", vec![0; MEGABYTE]).status(200).json()["length"], MEGABYTE);
    let worker = server.workers()[0];
    let before = [server.process_id(), worker].map(memory_peak);
    let mut caller = Caller::send(&server, "POST /api/digest HTTP/1.1\r\nTransfer-Encoding: chunked");
    let piece = [format!("{MEGABYTE:x}\r\n").as_bytes(), &vec![7; MEGABYTE], b"\r\n"].concat();
    let mut stream = caller.reader.get_ref().try_clone().unwrap();
    for _ in 0..MEGABYTES {
        stream.write_all(&piece).unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: "), "{head}");
    let mut download = Caller::send(&server, &format!("GET /api/zeros/{MEGABYTES} HTTP/1.1"));
    download.head();
    let mut length = 0;
    while let Some(chunk @ [_, ..]) = download.chunk().as_deref() {
        length += chunk.len();
    }
    assert_eq!(length, MEGABYTES * MEGABYTE);
    let after = [server.process_id(), worker].map(memory_peak);
    let digest = server.invocations("digest", 2).remove(1);
    assert_eq!((&digest["outcome"], &digest["status"]), (&json!("success"), &json!(200)));
    for (before, after) in before.into_iter().zip(after) {
        assert!(after < before + 40 * MEGABYTE, "memory grew from {before} to {after} bytes");
    }
}

/// T-046: a caller who does not read holds up nobody, and fills nobody's memory.
#[test]
fn a_caller_who_does_not_read_holds_up_nobody() {
    let server = start(example());
    let mut idle = Caller::send(&server, "GET /api/zeros/500 HTTP/1.1");
    idle.head();
    let before = memory_peak(server.process_id());
    for _ in 0..50 {
        assert_eq!(server.get("/api/hello?name=me").status(200).json(), json!({"hello": "me"}));
    }
    let after = memory_peak(server.process_id());
    assert!(after < before + 30 * MEGABYTE, "memory grew from {before} to {after} bytes");
    let mut length = 0;
    while let Some(chunk @ [_, ..]) = idle.chunk().as_deref() {
        length += chunk.len();
    }
    assert_eq!(length, 500 * MEGABYTE, "the rest comes when it is read");
}

/// The generator's `finally` runs, and the invocation is told of as what it is.
#[test]
fn a_caller_who_leaves_ends_the_generator() {
    let server = start(example());
    let mut caller = Caller::send(&server, "GET /api/count/1000000 HTTP/1.1");
    caller.head();
    assert_eq!(caller.text(), "data: 1\n\n");
    caller.reader.get_ref().shutdown(Shutdown::Both).unwrap();
    drop(caller);
    let record = server.invocations("events", 1).remove(0);
    assert_eq!((&record["outcome"], &record["failure"]["code"]), (&json!("cancelled"), &json!("E0313")));
    assert_eq!(record["failure"]["blame"], "caller");
    assert_eq!(server.log("the counting ends")["function"], "events");
    // Whoever sends a body and leaves in the middle of it is gone as well.
    let mut sender = Caller::send(&server, "POST /api/digest HTTP/1.1\r\nContent-Length: 1000");
    sender.reader.get_mut().write_all(b"only this").unwrap();
    drop(sender);
    assert_eq!(server.invocations("digest", 1)[0]["outcome"], "cancelled");
}

const SLOW: &str = r#"
@app.route(route="before")
async def before(req: Request) -> StreamingResponse:
    try:
        print("before begins")
        await asyncio.sleep(3600)
    finally:
        print("before ends")
"#;

/// T-089: there is no piece yet whose sending could tell that nobody is there.
#[test]
fn a_caller_who_leaves_before_the_head_cancels_the_function() {
    let server = start(app(SLOW));
    let caller = Caller::send(&server, "GET /api/before HTTP/1.1");
    server.log("before begins");
    drop(caller);
    let record = server.invocations("before", 1).remove(0);
    assert_eq!((&record["outcome"], &record["failure"]["code"]), (&json!("cancelled"), &json!("E0313")));
    assert_eq!(record["status"], serde_json::Value::Null);
    assert_eq!(server.log("before ends")["function"], "before");
}

const FAILING: &str = r#"
async def two(then):
    yield "first"
    yield "second"
    then()
    yield "never"

def kaput():
    raise ValueError("in the middle")

@app.route(route="before")
async def before(req: Request) -> StreamingResponse:
    raise ValueError("before the head")

@app.route(route="middle")
async def middle(req: Request) -> StreamingResponse:
    return StreamingResponse(two(kaput))

@app.route(route="dies")
async def dies(req: Request) -> StreamingResponse:
    return StreamingResponse(two(lambda: os._exit(3)))

@app.route(route="short")
async def short(req: Request) -> StreamingResponse:
    return StreamingResponse(two(lambda: None), headers={"content-length": "100"})

@app.route(route="bad")
async def bad(req: Request) -> Response:
    return Response("x", status_code=99)
"#;

/// T-087: a response that is not whole never looks whole.
#[test]
fn a_response_that_fails_in_the_middle_breaks_off() {
    let server = start(app(FAILING));
    let failed = server.get("/api/before").status(500);
    assert!(failed.text().contains("before the head"), "{}", failed.text());
    for (function, code) in [("middle", "E0301"), ("dies", "E0303")] {
        let mut caller = Caller::send(&server, &format!("GET /api/{function} HTTP/1.1"));
        assert!(caller.head().starts_with("HTTP/1.1 200 "));
        assert_eq!([caller.text(), caller.text()], ["first", "second"], "{function}");
        assert_eq!(caller.chunk(), None, "{function}: no clean end");
        let record = server.invocations(function, 1).remove(0);
        let seen = (&record["outcome"], &record["status"], &record["failure"]["code"]);
        assert_eq!(seen, (&json!("failed"), &json!(200), &json!(code)));
    }
    // A body that is shorter than it says breaks off too.
    let mut caller = Caller::send(&server, "GET /api/short HTTP/1.1");
    assert!(caller.head().contains("content-length: 100"));
    let mut body = String::new();
    caller.reader.read_to_string(&mut body).ok();
    assert_eq!(body, "firstsecondnever");
    assert!(server.get("/api/bad").status(502).text().contains("E0504"));
    assert_eq!(server.get("/api/before").status(500).status, 500, "the next worker serves");
}

/// T-035: the limit on bodies holds for those that are read in pieces.
#[test]
fn a_body_over_the_limit_is_refused() {
    let server = start(example().settings(&json!({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000"})));
    assert_eq!(server.post("/api/digest", vec![0; 1000]).status(200).json()["length"], 1000);
    assert!(server.post("/api/digest", vec![0; 1001]).status(413).text().contains("E0503"));
    let chunks = ["x".repeat(600), "x".repeat(600)];
    let chunked = Request::new("POST", "/api/digest").chunks(&[&chunks[0], &chunks[1]]);
    assert!(server.send(chunked).status(413).text().contains("E0503"));
    assert_eq!(server.post("/api/digest", "12345").status(200).json()["length"], 5);
}

#[test]
fn every_kind_of_response_is_sent() {
    let server = start(example());
    let source = server.get("/api/source").status(200);
    assert_eq!(source.header("content-length"), source.body.len().to_string());
    assert_eq!(source.text(), example().text("function_app.py"));
    assert_eq!(server.get("/api/hello").status(200).json(), json!({"hello": "world"}));
    assert_eq!(server.get("/api/zeros/0").status(200).body.len(), 0);
    assert_eq!(server.get("/api/zeros/3").status(200).body.len(), 3 * MEGABYTE);
    server.send(Request::new("HEAD", "/api/source")).status(405);
    // Run by hand, it has whole bodies.
    let by_hand = server.invoke("digest", "12345");
    assert!(
        by_hand.to_string().contains("5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"),
        "{by_hand}"
    );
}
