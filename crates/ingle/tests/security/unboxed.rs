//! Where namespaces are forbidden, as they are in many containers: what is left is Landlock, seccomp and limits.

use ingle_testkit::{App, Launch, Python, Request, Response, Server};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};

use crate::stage::{KEYS, Secrets, descendants, is_root, launch, python_for_all, show, skip, stopped};
use crate::table::{self, Row};

/// Forbids further namespaces to all that comes after it, and gives up the rights that it had for that.
const FORBID: &str = "echo 0 > /proc/sys/user/max_user_namespaces && \
                      exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all \"$@\"";

/// An ordinary user in a namespace in which there can be no other, which is how a container looks that forbids them.
fn without_namespaces(launch: Launch) -> Launch {
    let launch = launch.started_by(&[
        "unshare",
        "--user",
        "--map-current-user",
        "--keep-caps",
        "sh",
        "-c",
        FORBID,
        "forbid",
    ]);
    if is_root() { launch.user(64_998) } else { launch }
}

/// Root in a container as most are: with few rights, and no namespaces. It sees the machine's files as they are, so the
/// kernel treats it as the machine's own root.
const CONTAINER: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
ready, made = os.pipe(), os.pipe()
own = os.getpid()
if os.fork() == 0:
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{own}/{name}", "w") as file:
            file.write("0 0 2000000000")
    os.write(made[1], b"1")
    os._exit(0)
assert libc.unshare(0x10000000) == 0, "no namespace of users"
os.write(ready[1], b"1")
os.read(made[0], 1)
os.wait()
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
# What Docker leaves its containers.
kept = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
for right in set(range(64)) - kept:
    libc.prctl(24, right, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"#;

fn as_root_in_a_container(launch: Launch) -> Launch {
    launch.started_by(&["/usr/bin/python3", "-c", CONTAINER])
}

/// T-010b: it is said what is missing, functions run all the same, and strict isolation is refused.
#[test]
fn t_010b_without_namespaces() {
    let (_folder, python) = python_for_all();
    let mut secrets = Secrets::new();
    let server = without_namespaces(launch(&python, &secrets)).start();
    let Some(missing) = missing(&server) else { return };
    assert!(missing.iter().any(|one| one == "own user"), "{missing:?}");
    // Who runs it can't look into it either: what it has in /proc is root's (T-002).
    let memory = format!("/proc/{}/mem", server.process_id());
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(memory).unwrap()),
        0,
        "it can be dumped"
    );
    let rows = attack(&server, &mut secrets);
    table::settle("Without namespaces, as an ordinary user", &rows);
    server.stop();
    said_to_people(&python);
    strict_is_refused(&python);
}

/// T-010b: also there each app has a user of its own, if the server is root.
#[test]
fn t_010b_without_namespaces_as_root() {
    if !is_root() {
        skip("only root can be root in a container that sees the machine's own users");
        return;
    }
    let (_folder, python) = python_for_all();
    let mut secrets = Secrets::new();
    let server = as_root_in_a_container(launch(&python, &secrets)).start();
    let Some(missing) = missing(&server) else { return };
    assert!(!missing.iter().any(|one| one == "own user"), "{missing:?}");
    let rows = attack(&server, &mut secrets);
    table::settle("Without namespaces, as root", &rows);
    server.stop();
}

/// What is missing, unless this machine can't show it.
fn missing(server: &Server) -> Option<Vec<String>> {
    let app =
        server.wait_for("the app that attacks", |event| event["event"] == "app" && event["app"] == "app");
    let missing = app["isolation"]["missing"].as_array().unwrap();
    let missing: Vec<String> =
        missing.iter().filter_map(|one| one["protection"].as_str()).map(str::to_owned).collect();
    let has = |part: &str| missing.iter().any(|one| one == part);
    if !has("user namespace") {
        skip("this machine does not let namespaces be forbidden");
        return None;
    }
    for protection in ["file view", "own processes", "own network"] {
        assert!(has(protection), "{app}");
    }
    if has("landlock") {
        skip("this machine has no Landlock, which is what this is about");
        return None;
    }
    Some(missing)
}

fn attack(server: &Server, secrets: &mut Secrets) -> Vec<Row> {
    secrets.plant_key(server, "app");
    let call = |attack: &str, arguments: &Value| {
        let request = Request::post(&format!("/api/attack/{attack}"), arguments.to_string());
        server.send(request.header("host", "app.localhost")).status(200).json()
    };
    let neighbour = server.folder_of(secrets.of("folder"));
    let state = server.state_folder();
    let none = json!({});
    // They may write somewhere, and nobody else finds it.
    let temporary = call("host_files/temporary", &none);
    let folder = temporary["folder"].as_str().unwrap();
    assert_ne!(folder, "/tmp", "{temporary}");
    assert_eq!(temporary["mode"], json!("0o700"), "{temporary}");
    let server_files = json!({"paths": [
        neighbour.join("local.settings.json"), neighbour.join("function_app.py"), state.join("app/store/ingle.db"),
        state.join("app").join(KEYS),
        server.folder().with_file_name("planted.txt"), format!("/proc/{}/environ", server.process_id()),
        format!("/proc/{}/mem", server.process_id()),
    ]});
    let servers = json!({"servers": [server.process_id()]});
    let tries: [(&'static str, &str, &str, &Value); 9] = [
        // First, in a worker that has not been told of any place.
        (
            "T-050",
            "search files, `/proc` and memory for secrets of the host",
            "canary/look",
            &json!({
                "halves": secrets.halves(), "skipped": ["/sys", "/tmp", "/work", "/root", "/home", "/var"],
            }),
        ),
        ("T-001", "read files of the host, of Ingle and of another app", "host_files/host", &server_files),
        ("T-001", "change what is seen", "host_files/change", &json!({"paths": []})),
        ("T-002", "see, signal or read other processes", "host_files/processes", &servers),
        ("T-004", "call what opens the kernel", "kernel_calls/calls", &none),
        ("T-004", "open sockets that know no namespace", "kernel_calls/sockets", &none),
        ("T-005", "have or take rights", "host_files/rights", &none),
        ("T-006", "make files that act as their owner, devices; become root", "host_files/acting", &none),
        ("T-051", "connect to services of the machine", "network/reach", &reach(server)),
    ];
    let tried = tries.into_iter().map(|(id, what, attack, arguments)| {
        let answer = call(attack, arguments);
        show(&format!("{id} | {what} | {answer}"));
        Row::new(id, what, reached(&answer))
    });
    let mut rows: Vec<Row> = tried.collect();
    rows.push(other_apps(server));
    rows.push(survivors(server));
    rows.extend(bombs(server));
    rows
}

fn call_of(server: &Server, app: &str, attack: &str, arguments: &Value) -> Response {
    let request = Request::post(&format!("/api/attack/{attack}"), arguments.to_string());
    server.send(request.header("host", &format!("{app}.localhost")))
}

/// T-051: as there is one network for all.
fn other_apps(server: &Server) -> Row {
    let mark = format!("served-{}", server.process_id());
    let mut places = call_of(server, "app", "network/serve", &json!({"mark": mark})).status(200).json();
    places["own"] = json!([]);
    let answer = call_of(server, "hurried", "network/visit", &places).status(200).json();
    show(&answer.to_string());
    Row::new("T-051", "reach what another app serves", reached(&answer))
}

/// T-012, T-013: what is left where nobody counts for the server but the server.
fn bombs(server: &Server) -> Vec<Row> {
    let works = || {
        server.events().look_until("an answer of the app that attacks", || {
            (server.get_of("app", "/api/pid").status == 200).then_some(())
        });
    };
    let before = descendants(server.process_id()).len();
    let forks = call_of(server, "app", "bombs/forks", &json!({})).status(200).json();
    // Without process numbers of its own nothing tells what is its: what it forks in its first quarter of a second stays
    // in the group of its box, under the same limit of 128 as its own group afterwards.
    assert!(forks["refused"] == "EAGAIN" && forks["born"].as_u64() < Some(2 * 128), "{forks}");
    call_of(server, "app", "survivors/end", &json!({}));
    works();
    server.events().look_until("the end of what was forked", || {
        (descendants(server.process_id()).len() < before + 10).then_some(())
    });
    let mut rows = vec![Row::new("T-012", "fork until that is refused", "limited")];
    for (bomb, manner) in [
        ("bytes_without_end", "large pieces"),
        ("memory_files", "files in memory"),
        ("daemon", "a process that has left its worker"),
    ] {
        let ended = call_of(server, "app", &format!("bombs/{bomb}"), &json!({}));
        crate::using_up::memory_told(&ended, bomb);
        works();
        let what = format!("take memory without end: {manner}");
        rows.push(Row::new("T-013", what, "ends alone: MemoryLimitExceeded, with the peak"));
    }
    rows
}

/// T-016: also without process numbers of their own, those who leave their worker's group end with it.
fn survivors(server: &Server) -> Row {
    let mark = crate::ending::mark();
    let seen = call_of(server, "app", "survivors/daemons", &json!({"mark": mark})).status(200).json();
    assert!(seen["seen"].as_u64() >= Some(4), "{seen}");
    call_of(server, "app", "survivors/end", &json!({}));
    let left = crate::ending::wait_until_gone(&mark);
    let numbers =
        left.iter().filter_map(|path| path.rsplit('/').next()?.parse().ok().and_then(Pid::from_raw));
    for process in numbers {
        kill_process(process, Signal::KILL).unwrap();
        // Some lead a group with what they have started.
        kill_process_group(process, Signal::KILL).ok();
    }
    let result = if left.is_empty() { "stopped" } else { "possible" };
    Row::new("T-016", "leave daemons behind when the worker ends itself", result)
}

fn reach(server: &Server) -> Value {
    let port = server.address().rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let door = server.state_folder().join("app/admin.sock");
    json!({"ports": [port], "own": [], "paths": [door], "abstract": [], "only_here": true})
}

/// Kinds of what was reached, as numbers of processes and names of files differ each time.
fn reached(answer: &Value) -> String {
    if let Some(found) = answer["found"].as_array() {
        return if found.is_empty() { "stopped".to_owned() } else { format!("possible: {found:?}") };
    }
    if stopped(answer) == "stopped" {
        return "stopped".to_owned();
    }
    let mut kinds: Vec<String> = answer["got"].as_object().unwrap().keys().map(|name| kind(name)).collect();
    kinds.sort();
    kinds.dedup();
    format!("possible: {}", kinds.join(", "))
}

fn kind(name: &str) -> String {
    if name.ends_with("admin.sock") {
        return "Ingle's own door".to_owned();
    }
    let plain = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    if plain.contains("port ") {
        "this machine's own loopback".to_owned()
    } else {
        plain.trim_end().to_owned()
    }
}

/// The screen says it in words, where people see it.
fn said_to_people(python: &Python) {
    let app = App::folder("tests/security/neighbour");
    let server = without_namespaces(app.launch(python)).text().start();
    let line = server.events().wait_for_line("boxed (default) without");
    for protection in ["user namespace", "file view", "own processes", "own network"] {
        assert!(line.contains(protection), "{line}");
    }
    assert!(line.contains("ingle doctor --security"), "{line}");
    assert_eq!(server.get("/api/ping").status(200).text(), "pong");
}

fn strict_is_refused(python: &Python) {
    let app = App::folder("tests/security/neighbour");
    let launch = app.launch(python).argument("--isolation").argument("strict").may_complain("E0622");
    let ended = without_namespaces(launch).begin().wait();
    assert_ne!(ended.code, Some(0));
    let said = format!("{:?}{:?}", ended.lines, ended.stderr);
    for part in ["E0622", "user namespace", "file view", "own network"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

/// What this machine allows is said, each protection by its name; and a server without a box says so aloud.
#[test]
fn what_is_active_is_said() {
    let told = ingle_testkit::Call::new(&["doctor", "--security"]).run().code(0);
    for protection in
        ["user namespace", "own user", "file view", "own network", "system calls", "landlock", "memory limit"]
    {
        assert!(told.stdout.contains(protection), "{protection}: {}", told.stdout);
    }
    let (_folder, python) = python_for_all();
    let app = App::folder("tests/security/neighbour");
    let server = app.launch(&python).argument("--isolation").argument("off").text().start();
    server.events().wait_for_line("not boxed: functions have every right of this server");
}
