//! Where namespaces are forbidden, as they are in many containers: what is left is Landlock, seccomp and limits.

use ingle_testkit::{App, Launch, Python, Request, Server};
use serde_json::{Value, json};

use crate::stage::{Secrets, is_root, launch, python_for_all, show, skip, stopped};
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

/// T-010b: it is said what is missing, functions run all the same, and strict isolation is refused.
#[test]
fn t_010b_without_namespaces() {
    let (_folder, python) = python_for_all();
    let secrets = Secrets::new();
    let server = without_namespaces(launch(&python, &secrets)).start();
    let app =
        server.wait_for("the app that attacks", |event| event["event"] == "app" && event["app"] == "app");
    let missing: Vec<&str> = app["isolation"]["missing"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["protection"].as_str())
        .collect();
    if !missing.contains(&"user namespace") {
        skip("this machine does not let namespaces be forbidden");
        return;
    }
    for protection in ["file view", "own processes", "own network"] {
        assert!(missing.contains(&protection), "{app}");
    }
    if missing.contains(&"landlock") {
        skip("this machine has no Landlock, which is what this is about");
        return;
    }
    let rows = attack(&server, &secrets);
    table::settle("Without namespaces, as an ordinary user", &rows);
    server.stop();
    said_to_people(&python);
    strict_is_refused(&python);
}

fn attack(server: &Server, secrets: &Secrets) -> Vec<Row> {
    let call = |attack: &str, arguments: &Value| {
        let request = Request::post(&format!("/api/attack/{attack}"), arguments.to_string());
        server.send(request.header("host", "app.localhost")).status(200).json()
    };
    let neighbour = server.folder_of(secrets.of("folder"));
    let state = server.state_folder();
    let none = json!({});
    let server_files = json!({"paths": [
        neighbour.join("local.settings.json"), neighbour.join("function_app.py"), state.join("app/store/ingle.db"),
        server.folder().with_file_name("planted.txt"), format!("/proc/{}/environ", server.process_id()),
        format!("/proc/{}/mem", server.process_id()),
    ]});
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
        ("T-002", "see, signal or read other processes", "host_files/processes", &none),
        ("T-004", "call what opens the kernel", "kernel_calls/calls", &none),
        ("T-004", "open sockets that know no namespace", "kernel_calls/sockets", &none),
        ("T-005", "have or take rights", "host_files/rights", &none),
        ("T-006", "make files that act as their owner, devices; become root", "host_files/acting", &none),
        ("T-051", "connect to services of the machine", "network/reach", &reach(server)),
    ];
    tries
        .into_iter()
        .map(|(id, what, attack, arguments)| {
            let answer = call(attack, arguments);
            show(&format!("{id} | {what} | {answer}"));
            Row { id, what: what.to_owned(), result: reached(&answer) }
        })
        .collect()
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
