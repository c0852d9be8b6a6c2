//! What functions see: files, processes, descriptors, rights, other apps, what others have left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use ingle_testkit::Request;
use serde_json::{Value, json};

use crate::stage::{Class, KEYS, Stage, User, show};

pub(crate) fn all(stage: &mut Stage) {
    // First, in a worker that has not been told of any place.
    secrets(stage);
    host(stage);
    rights(stage);
    spool(stage);
    left_overs(stage);
    import(stage);
}

/// T-048, T-050: canaries.
fn secrets(stage: &mut Stage) {
    let arguments = json!({"halves": stage.secrets.halves(), "skipped": []});
    let answer = stage.answer("canary/look", &arguments);
    show(&answer.to_string());
    assert!(answer["files"].as_u64() > Some(100) && answer["bytes"].as_u64() > Some(10 << 20), "{answer}");
    let found = answer["found"].as_array().unwrap();
    let result = if found.is_empty() { "stopped".to_owned() } else { format!("REACHED: {found:?}") };
    stage.row("T-050", "search files, `/proc`, memory and environment for secrets of the host", result);
}

fn host(stage: &mut Stage) {
    let server = &stage.server;
    let (folder, state) = (server.folder(), server.state_folder());
    let neighbour = stage.secrets.of("folder");
    let process = server.process_id();
    let paths: Vec<String> = [
        folder.with_file_name("planted.txt"),
        server.folder_of(neighbour).join("local.settings.json"),
        server.folder_of(neighbour).join("function_app.py"),
        state.join("app/planted.txt"),
        state.join("app").join(KEYS),
        state.join("app/store/ingle.db"),
        state.join(neighbour).join("planted.txt"),
        state.join(neighbour).join("store/ingle.db"),
    ]
    .iter()
    .map(|path| path.display().to_string())
    .chain([
        format!("/proc/{process}/environ"),
        format!("/proc/{process}/cmdline"),
        format!("/proc/{process}/root"),
    ])
    .collect();
    stage.tries(
        "T-001",
        "read files of the host, of Ingle and of another app",
        "host_files/host",
        &json!({"paths": paths}),
    );
    stage.tries("T-002", "see, signal or read other processes", "host_files/processes", &json!({}));
    stage.tries("T-001", "change what is seen", "host_files/change", &json!({"paths": []}));
    let sockets = [
        "/var/run/docker.sock",
        "/run/containerd/containerd.sock",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
        "/run/podman/podman.sock",
    ];
    stage.tries(
        "T-007",
        "use the socket or token of a container platform",
        "host_files/host",
        &json!({"paths": sockets}),
    );
}

fn rights(stage: &mut Stage) {
    let answer = stage.answer("host_files/descriptors", &json!({}));
    let found = answer["found"].as_object().unwrap();
    let under_gvisor = stage.class == Class::Gvisor;
    let is_own = |target: &str| {
        target == "/dev/null"
            || ["pipe:", "socket:", "anon_inode:[eventpoll]"].iter().any(|own| target.starts_with(own))
            // What the worker was given, as gVisor names it.
            || under_gvisor && target.starts_with("host:")
    };
    let others: Vec<&Value> = found.values().filter(|target| !is_own(target.as_str().unwrap())).collect();
    let sockets = found.values().filter(|target| target.as_str().unwrap().starts_with("socket:")).count();
    // Control socket, lane, life line, and a pair of the event loop.
    let fits = others.is_empty() && sockets <= 5;
    let result = if fits { "stopped".to_owned() } else { format!("REACHED: {found:?}") };
    stage.row("T-003", "find descriptors that are not the worker's own", result);
    stage.tries(
        "T-004",
        "call what opens the kernel: namespaces, mounts, bpf, keys, tracing, io_uring",
        "kernel_calls/calls",
        &json!({}),
    );
    stage.tries("T-004", "open sockets that know no namespace", "kernel_calls/sockets", &json!({}));
    let other = "call the kernel as a program of i386";
    if under_gvisor && cfg!(target_arch = "x86_64") {
        let answer = stage.answer("kernel_calls/other_interface", &json!({}));
        // Number 20 is getpid there, and writev here, which knows no such descriptor (EBADF).
        assert_eq!(answer["got"]["i386"], -9, "{answer}");
        const WHY: &str = "gVisor has one interface and takes each number for one of that";
        stage.differs("T-004", other, "nothing comes of it", WHY);
    } else if cfg!(target_arch = "x86_64") {
        let ended = stage.call("app", "kernel_calls/other_interface", &json!({}));
        assert!(ended.status == 502 && ended.text().contains("E0303"), "{}", ended.text());
        stage.is_told("system call");
        stage.row("T-004", other, "ends alone");
    }
    stage.tries("T-005", "have or take rights", "host_files/rights", &json!({}));
    stage.tries(
        "T-006",
        "make files that act as their owner, devices; become root",
        "host_files/acting",
        &json!({}),
    );
    stage.row("T-009", "reach a helper with rights", "there is none");
    stage.tries("T-056", "open the server's terminal", "kernel_calls/terminal", &json!({}));
}

/// T-010: what a worker names as its output, the server takes over with its own rights.
fn spool(stage: &mut Stage) {
    let state = stage.server.state_folder();
    let planted = state.join("app/planted.txt").display().to_string();
    let secret = stage.secrets.of("store").to_owned();
    let app = |request: Request| stage.server.send(request.header("host", "app.localhost"));
    let swaps = if stage.class == Class::Gvisor { 3 } else { 12 };
    let manners = ["link", "hard", "pipe", "folder", "above", "absolute"].into_iter();
    for manner in manners.chain(std::iter::repeat_n("swap", swaps)) {
        let arguments = json!({"manner": manner, "leads_to": planted});
        let answer = app(Request::post("/api/swapped", arguments.to_string()));
        let took = answer.status == 200;
        assert!(!took || manner == "swap", "{manner}: {}", answer.text());
        let content = app(Request::get("/api/swapped/content")).text();
        assert!(!content.contains(&secret), "{manner}: the server has followed a link");
    }
    for folder in ["spool", "taken"] {
        for entry in fs::read_dir(state.join("app/store").join(folder)).into_iter().flatten().flatten() {
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o6000, 0, "{} acts as its owner", entry.path().display());
        }
    }
    assert!(fs::read_to_string(&planted).unwrap().contains(&secret), "it is still there");
    stage.is_told("output");
    stage.row(
        "T-010",
        "name links, pipes, folders and paths as outputs; swap them while they are taken",
        "stopped",
    );
}

/// T-049: a worker leaves something behind for the next one.
fn left_overs(stage: &mut Stage) {
    let mark = format!("left-{}", stage.server.process_id());
    let arguments = json!({"mark": mark});
    stage.answer("canary/keep", &arguments);
    stage.call("app", "survivors/end", &json!({}));
    stage.works();
    stage.tries("T-049", "find what an earlier worker has left", "canary/left", &arguments);
    stage.answer("canary/keep", &arguments);
    stage.renew("app");
    // The worker of before goes when it has nothing to do, and takes with it what is its own on the disk.
    let result = stage.server.events().look_until("nothing of the revision before", || {
        let result = crate::stage::stopped(&stage.answer("canary/left", &arguments));
        (result != "REACHED: spool").then_some(result)
    });
    stage.row("T-049", "find what an earlier revision has left", result);
    let on_host = ["/tmp", "/dev/shm", "/var/tmp", "/run"];
    let seen: Vec<&&str> =
        on_host.iter().filter(|folder| fs::exists(format!("{folder}/{mark}")).unwrap()).collect();
    assert!(seen.is_empty(), "files of a function are on the host: {seen:?}");
    stage.row("T-048", "see settings, code, store or keys of another app", "stopped");
}

/// While an app is imported, it is in a process with two rights over its own box.
fn import(stage: &mut Stage) {
    const RIGHTS: &str = "use the rights of the process that forks workers, during the import";
    const FOLDER: &str =
        "see numbers of processes of the same app, through a folder that the import has opened";
    if stage.user == User::Root {
        stage.row("T-011", "learn from caches and timing of a shared core", "not promised");
    }
    if stage.class == Class::Gvisor {
        const WHY: &str = "each worker imports the app itself, as process 1 of a machine of its own";
        stage.differs("T-004", RIGHTS, "there is none", WHY);
        stage.differs("T-049", FOLDER, "there are none", WHY);
        return;
    }
    let answer = stage.server.get_of("eager", "/api/results").status(200).json();
    let result = crate::stage::stopped(&answer);
    stage.row("T-004", RIGHTS, result);
    let through = stage.server.get_of("eager", "/api/through").status(200).json();
    let count = through["seen"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|name| name.as_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit())));
    let sees = count.count() > 0;
    assert!(sees, "an open folder is inherited: {through}");
    stage.row("T-049", FOLDER, "possible");
}
