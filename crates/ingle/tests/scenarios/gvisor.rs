//! Apps whose workers run under gVisor, with the real `runsc` that the set-up installs.
#![expect(clippy::print_stdout, reason = "a story that can't be told says so")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use ingle_testkit::{App, DEADLINE, Launch, Python, Server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

/// Where Debian has it.
const PROGRAM: &str = "/usr/bin/runsc";

const APP: &str = r#"
import asyncio, ctypes, socket, urllib.request

@app.route(route="kernel")
def kernel(req: func.HttpRequest) -> str:
    with open("/proc/version") as version:
        return version.read()

@app.route(route="kernel-async")
async def kernel_async(req: func.HttpRequest) -> str:
    await asyncio.sleep(0)
    print("an async function looks")
    return kernel_text()

def kernel_text():
    with open("/proc/version") as version:
        return version.read()

@app.route(route="read")
def read(req: func.HttpRequest) -> str:
    try:
        with open(req.params["path"]) as file:
            return file.read()
    except OSError as error:
        return type(error).__name__

@app.route(route="write")
def write(req: func.HttpRequest) -> str:
    try:
        with open(req.params["path"], "w") as file:
            file.write("written")
        return "written"
    except OSError as error:
        return type(error).__name__

@app.route(route="environment")
def environment(req: func.HttpRequest) -> str:
    return json.dumps(dict(os.environ))

@app.route(route="processes")
def processes(req: func.HttpRequest) -> str:
    return json.dumps([int(name) for name in os.listdir("/proc") if name.isdigit()])

together = threading.Barrier(6)

@app.route(route="together")
def meet(req: func.HttpRequest) -> str:
    together.wait(30)
    return "met"

@app.route(route="reach")
async def reach(req: func.HttpRequest) -> str:
    try:
        reader, writer = await asyncio.open_connection(req.params["host"], int(req.params["port"]))
    except OSError as error:
        return type(error).__name__
    said = await reader.read(100)
    writer.close()
    return said.decode()

@app.route(route="crash")
def crash(req: func.HttpRequest) -> str:
    ctypes.string_at(0)

@app.route(route="hang")
def hang(req: func.HttpRequest) -> str:
    threading.Event().wait()

@app.route(route="hold")
def hold(req: func.HttpRequest) -> str:
    return str(len(b"x" * (400 << 20)))
"#;

fn app(settings: &str) -> App {
    App::python(APP).file("ingle.toml", &format!("[sandbox]\nisolation = \"gvisor\"\n{settings}"))
}

/// `None`, and a word about it, where the set-up could not install gVisor.
fn launch(app: &App) -> Option<Launch> {
    if !Path::new(PROGRAM).is_file() {
        println!("skipped: there is no {PROGRAM} on this machine");
        return None;
    }
    Some(app.launch(&Python::any()))
}

/// A process with all that it has started, and what that has.
fn family(first: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([first]);
    let mut unseen = vec![first];
    while let Some(process) = unseen.pop() {
        for child in children(process) {
            if found.insert(child) {
                unseen.push(child);
            }
        }
    }
    found
}

fn children(process: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Waits until none of them runs. One that has ended and waits for a parent to take its status has nothing any more.
#[track_caller]
fn assert_all_gone(processes: &BTreeSet<u32>) {
    let limit = Timespec { tv_sec: DEADLINE.as_secs().cast_signed(), tv_nsec: 0 };
    for process in processes {
        let number = Pid::from_raw(process.cast_signed()).unwrap();
        // One that is gone has no descriptor; that of another becomes readable when it ends.
        let Ok(process) = pidfd_open(number, PidfdFlags::empty()) else { continue };
        let ended = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)).unwrap();
        assert!(ended > 0, "this process is left: {number:?}");
    }
}

fn folders() -> BTreeSet<std::ffi::OsString> {
    let entries = std::fs::read_dir("/tmp").into_iter().chain(std::fs::read_dir("/run"));
    let names = entries.flatten().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().contains("runsc")).collect()
}

#[test]
fn orders_become_documents() {
    let Some(launch) = launch(&App::folder("examples/restaurant")) else { return };
    let server = launch.argument("--isolation=gvisor").start();
    let order = json!({"customer": "Ada", "dish": "soup", "quantity": 2});
    let taken = server.post("/api/orders", order.to_string()).status(202).json();
    server.invocations("kitchen", 1);
    let listed = server.get("/api/orders").status(200).json();
    assert_eq!(listed[0]["id"], taken["id"]);
    assert_eq!(listed[0]["status"], "prepared");
    assert_eq!(server.stop().code, Some(0));
}

#[test]
fn functions_see_the_kernel_of_gvisor() {
    let Some(launch) = launch(&app("")) else { return };
    let server = launch.start();
    let ours = std::fs::read_to_string("/proc/version").unwrap();
    for target in ["/api/kernel", "/api/kernel-async"] {
        let theirs = server.get(target).status(200).text();
        assert!(theirs.starts_with("Linux version 4.4.0 ") && theirs != ours, "{theirs}");
    }
    server.log("an async function looks");
    let processes = server.get("/api/processes").status(200).json();
    assert_eq!(processes, json!([1]), "a worker is process 1 of a machine of its own");
}

/// Each waits for the others, so each has a lane of its own.
#[test]
fn plain_functions_run_beside_each_other() {
    let Some(launch) = launch(&app("")) else { return };
    let server = launch.start();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..6).map(|_| scope.spawn(|| server.get("/api/together"))).collect();
        for caller in callers {
            assert_eq!(caller.join().unwrap().status(200).text(), "met");
        }
    });
}

#[test]
fn functions_see_nothing_of_the_machine() {
    let Some(launch) = launch(&app("")) else { return };
    let server = launch.variable("SECRET_OF_THE_SERVER", "hush").start();
    let read = |path: &str| server.get(&format!("/api/read?path={path}")).status(200).text();
    let folder = server.folder();
    let state = server.state_folder();
    assert!(read(&folder.join("function_app.py").display().to_string()).contains("def read"));
    for path in ["/etc/shadow", "/root/.profile", "/etc/hostname", env!("CARGO_MANIFEST_DIR")] {
        assert_eq!(read(path), "FileNotFoundError", "{path}");
    }
    assert_eq!(read(&state.join("keys.json").display().to_string()), "FileNotFoundError");
    let write = |path: &str| server.get(&format!("/api/write?path={path}")).status(200).text();
    assert_eq!(write("/tmp/mine"), "written");
    assert!(!Path::new("/tmp/mine").exists(), "its /tmp is its own");
    assert_eq!(write(&folder.join("new.txt").display().to_string()), "OSError", "a read-only file system");
    let environment = server.get("/api/environment").status(200).text();
    assert!(!environment.contains("hush"), "{environment}");
    let of_process_1 = read("/proc/1/environ");
    assert!(!of_process_1.contains("hush"), "{of_process_1}");
}

#[test]
fn a_crash_is_told_as_what_it_was() {
    let Some(launch) = launch(&app("")) else { return };
    let server = launch.start();
    let text = server.get("/api/crash").status(502).text();
    for part in ["SIGSEGV", "in crash", "E0303"] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    server.get("/api/kernel").status(200);
}

#[test]
fn a_function_over_its_time_ends_with_its_machine() {
    let app = app("").host(&json!({"version": "2.0", "functionTimeout": "00:00:02"}));
    let Some(launch) = launch(&app) else { return };
    let server = launch.start();
    server.get("/api/kernel").status(200);
    let machine = family(server.workers()[0]);
    assert!(machine.len() > 2, "{machine:?}");
    let text = server.get("/api/hang").status(504).text();
    assert!(text.contains("E0302") && text.contains("in hang"), "{text}");
    assert_all_gone(&machine);
    server.get("/api/kernel").status(200);
}

#[test]
fn a_machine_has_no_more_memory_than_its_worker_may_have() {
    let Some(launch) = launch(&app("memory = \"300MB\"\n")) else { return };
    let server = launch.start();
    let text = server.get("/api/hold").status(500).text();
    assert!(text.contains("E0314"), "{text}");
    server.get("/api/kernel").status(200);
}

/// Connections of a machine are asked for like those of any box.
#[test]
fn functions_reach_what_egress_allows() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(b"hello from outside").unwrap();
        }
    });
    let check = |egress: &str, expected: &str| {
        let Some(launch) = launch(&app(&format!("egress = {egress}\n"))) else { return };
        let server = launch.start();
        let said = server.get(&format!("/api/reach?host=localhost&port={port}")).status(200).text();
        assert_eq!(said, expected, "egress = {egress}");
    };
    check(&format!("[\"localhost:{port}\"]"), "hello from outside");
    check("\"all\"", "hello from outside");
    check("\"none\"", "ConnectionRefusedError");
    check("[\"localhost:1\"]", "ConnectionRefusedError");
}

#[test]
fn a_stopped_server_leaves_nothing_of_its_machines() {
    let Some(launch) = launch(&app("[workers]\nmin = 2\nmax = 2\n")) else { return };
    let before = folders();
    let server = launch.start();
    server.get("/api/kernel").status(200);
    let all = family(server.process_id());
    assert!(all.len() > 6, "{all:?}");
    assert_eq!(server.stop().code, Some(0));
    assert_all_gone(&all);
    assert_eq!(folders(), before);
}

#[test]
fn a_killed_server_leaves_nothing_of_its_machines() {
    let Some(launch) = launch(&app("")) else { return };
    let before = folders();
    let mut server = launch.start();
    server.get("/api/kernel").status(200);
    let all = family(server.process_id());
    server.kill9();
    assert_all_gone(&all);
    assert_eq!(folders(), before);
}

/// The second event is made when the first has arrived and somebody has asked for it.
#[test]
fn events_arrive_one_by_one() {
    const EVENTS: &str = "import asyncio\nimport azure.functions as func\n\
        from azurefunctions.extensions.http.fastapi import Request, StreamingResponse\n\
        app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n\
        gate = asyncio.Queue()\n\
        async def numbers():\n    for number in range(2):\n        yield f'event {number}'\n        await gate.get()\n\
        @app.route(route='numbers')\n\
        async def stream(req: Request) -> StreamingResponse:\n    return StreamingResponse(numbers())\n\
        @app.route(route='next')\n\
        async def next_one(req: func.HttpRequest) -> str:\n    await gate.put(None)\n    return 'asked'\n";
    let app = App::folder("examples/fastapi-streaming").file("function_app.py", EVENTS);
    let Some(launch) = launch(&app) else { return };
    let server = launch.own_choice_of_python().argument("--isolation=gvisor").start();
    let mut reader = begin(&server, "/api/numbers");
    for number in 0..2 {
        assert_eq!(chunk(&mut reader), format!("event {number}"));
        assert_eq!(server.get("/api/next").status(200).text(), "asked");
    }
    assert_eq!(chunk(&mut reader), "");
    let record: Value = server.invocations("stream", 1).remove(0);
    assert_eq!(record["outcome"], "success");
}

/// Sends a request and reads the head of its answer.
fn begin(server: &Server, target: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the connection ended: {head}");
    }
    reader
}

fn chunk(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut chunk = vec![0; usize::from_str_radix(line.trim_end(), 16).unwrap() + 2];
    reader.read_exact(&mut chunk).unwrap();
    String::from_utf8_lossy(&chunk).trim_end().to_owned()
}
