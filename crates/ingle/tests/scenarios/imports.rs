//! What an import may do to the process that is to be forked: each app works, and what makes its start slow is told.

use std::collections::BTreeSet;
use std::thread;

use ingle_testkit::{App, Python, Server, on_each_python, whoami_of};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

on_each_python!(
    processes_that_an_import_leaves_running_are_found,
    an_import_may_fork_and_wait,
    a_child_that_runs_on_is_no_second_worker,
    signal_handlers_of_an_import_are_those_of_the_workers,
    ends_of_workers_are_seen_though_the_app_ignores_its_children,
    a_policy_of_event_loops_is_kept,
    parents_killed_in_a_burst_lose_no_call,
);

const APP: &str = r#"
import asyncio, signal, subprocess

IMPORTED_BY = whoami()

@app.route(route="origin")
def origin(req: func.HttpRequest) -> str:
    return json.dumps({"imported_by": IMPORTED_BY, "pid": whoami()})

@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    time.sleep(0.02)
    return "%d" % whoami()

@app.route(route="quick")
async def quick(req: func.HttpRequest) -> str:
    await asyncio.sleep(0)
    return "%d" % whoami()
"#;

/// Starts an app whose import does something more.
fn start(python: &Python, more: &str) -> Server {
    App::python(&format!("{APP}\n{more}")).start(python)
}

fn problems(server: &Server) -> usize {
    server.ready()["problems"].as_array().map(Vec::len).unwrap_or_default()
}

/// Workers are forked from a zygote that has imported the app, and both kinds of functions run in them.
#[track_caller]
fn check_forked(server: &Server) {
    assert_eq!(problems(server), 0, "{}", server.ready());
    let origin = server.get("/api/origin").status(200).json();
    assert_eq!(origin["imported_by"], whoami_of(server.zygote()), "{origin}");
    assert_eq!(server.get("/api/quick").status(200).text(), origin["pid"].to_string());
}

#[track_caller]
fn check_unsafe(python: &Python, more: &str, reason: &str) {
    let server = start(python, more);
    let problem = server.ready()["problems"][0].clone();
    assert_eq!(problem["code"], "E0250", "{problem}");
    assert!(problem["message"].as_str().unwrap().contains(reason), "{problem}");
    let origin = server.get("/api/origin").status(200).json();
    assert_eq!(origin["imported_by"], origin["pid"], "{origin}");
    server.get("/api/quick").status(200);
}

fn processes_that_an_import_leaves_running_are_found(python: &Python) {
    check_unsafe(python, "SLEEPER = subprocess.Popen(['sleep', '1000'])", "running (sleep)");
    let child = "import multiprocessing\n\
        CHILD = multiprocessing.get_context('fork').Process(target=time.sleep, args=(1000,), daemon=True)\n\
        CHILD.start()";
    check_unsafe(python, child, "the import left the process ");
    let listener = "import socket\nLISTENER = socket.create_server(('127.0.0.1', 0))";
    check_unsafe(python, listener, "socket");
    let loops = "LOOP = asyncio.new_event_loop()";
    check_unsafe(python, loops, "eventpoll");
}

fn an_import_may_fork_and_wait(python: &Python) {
    let fork = "CHILD = os.fork()\nif CHILD == 0:\n    os._exit(0)\nos.waitpid(CHILD, 0)\n\
        subprocess.run(['true'], check=True)";
    check_forked(&start(python, fork));
    // One that has ended, and that nobody has asked for, holds nothing.
    let unasked = "CHILD = os.fork()\nif CHILD == 0:\n    os._exit(0)\n\
        while ') Z ' not in open('/proc/%d/stat' % CHILD).read():\n    time.sleep(0.001)";
    check_forked(&start(python, unasked));
}

/// A fork at import time without an exit: the child comes to the end of the import, too, but does not serve.
fn a_child_that_runs_on_is_no_second_worker(python: &Python) {
    let server = start(python, "CHILD = os.fork()\nif CHILD:\n    os.waitpid(CHILD, 0)");
    server.log("forked by the app came back from its code");
    check_forked(&server);
    for _ in 0..20 {
        server.get("/api/quick").status(200);
    }
}

fn signal_handlers_of_an_import_are_those_of_the_workers(python: &Python) {
    let handlers = r#"
SEEN = []
signal.signal(signal.SIGUSR1, lambda number, frame: SEEN.append(whoami()))
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, lambda number, frame: SEEN.append("asked to end"))
signal.signal(signal.SIGALRM, lambda number, frame: SEEN.append("alarm"))
signal.setitimer(signal.ITIMER_REAL, 1000)

@app.route(route="signalled")
async def signalled(req: func.HttpRequest) -> str:
    os.kill(os.getpid(), signal.SIGUSR1)
    while not SEEN:
        await asyncio.sleep(0.001)
    return json.dumps(SEEN)
"#;
    let mut server = start(python, handlers);
    check_forked(&server);
    let worker = server.get("/api/origin").status(200).json()["pid"].clone();
    assert_eq!(server.get("/api/signalled").status(200).json(), serde_json::json!([worker]));
    let worker = server.process_of(worker.as_u64().unwrap());
    // Whatever the app does with its signals, it ends with the server.
    server.interrupt();
    assert_eq!(server.wait_for_end().code(), Some(0));
    server.events().look_until("the worker's end", || is_gone(worker).then_some(()));
}

/// With SIGCHLD ignored the system tells nobody how a child ended.
fn ends_of_workers_are_seen_though_the_app_ignores_its_children(python: &Python) {
    let server = start(python, "signal.signal(signal.SIGCHLD, signal.SIG_IGN)");
    for _ in 0..3 {
        let worker = server.get("/api/origin").status(200).json()["pid"].as_u64().unwrap();
        let worker = server.process_of(worker);
        kill(worker);
        server.events().look_until("another worker", || {
            let now = server.workers();
            (!now.is_empty() && !now.contains(&worker)).then_some(())
        });
    }
    check_forked(&server);
}

fn a_policy_of_event_loops_is_kept(python: &Python) {
    let policy = r#"
class Policy(asyncio.DefaultEventLoopPolicy):
    made = 0

    def new_event_loop(self):
        Policy.made += 1
        return super().new_event_loop()

asyncio.set_event_loop_policy(Policy())

@app.route(route="policy")
def policy(req: func.HttpRequest) -> str:
    async def answer():
        return type(asyncio.get_event_loop_policy()).__name__
    name = asyncio.run(answer())
    return "%s %d" % (name, Policy.made)
"#;
    let server = start(python, policy);
    check_forked(&server);
    assert_eq!(server.get("/api/policy").status(200).text(), "Policy 1");
}

/// T-079 with T-068: zygote and template are killed while first calls are waiting for what they fork.
fn parents_killed_in_a_burst_lose_no_call(python: &Python) {
    const CALLS: usize = 150;
    let toml = "[workers]\nspare = 0\nmax = 3\nconcurrency = 1\nrecycle_after = 5\nidle_timeout = \"1ms\"\n";
    let server =
        App::python(APP).file("ingle.toml", toml).launch(python).may_complain("the zygote is gone").start();
    for with_template in [false, true] {
        thread::scope(|scope| {
            let calls: Vec<_> =
                (0..CALLS).map(|_| scope.spawn(|| server.get("/api/slow").status(200).text())).collect();
            // The first are being answered, and the others wait for workers that are being forked.
            server.events().look_until("a worker", || server.workers().first().copied());
            for _ in 0..2 {
                let zygote = server.zygote();
                if with_template {
                    kill(parent(zygote));
                }
                kill(zygote);
                let is_another = |now: u32| now != 0 && now != zygote;
                server.events().look_until("another zygote", || is_another(server.zygote()).then_some(()));
            }
            let seen: BTreeSet<String> = calls.into_iter().map(|call| call.join().unwrap()).collect();
            assert!(seen.len() > 3, "workers of more than one zygote answered: {seen:?}");
        });
    }
    assert_eq!(problems(&server), 0);
}

const HUGE: &str = r#"
HUGE = bytearray(1 << 30)
for place in range(0, len(HUGE), 4096):
    HUGE[place] = 1

@app.route(route="huge")
def huge(req: func.HttpRequest) -> str:
    time.sleep(0.05)
    return "%d %d" % (len(HUGE), whoami())
"#;

/// An app that holds a gigabyte once it is imported: it is there once, however many workers there are.
#[test]
#[expect(
    clippy::print_stdout,
    reason = "whoever reads the test's output should know that nothing was tested"
)]
fn the_zygote_of_a_gigabyte_is_shared() {
    const MIB: u64 = 1 << 20;
    if available_mib() < 3 * 1024 {
        println!("skipped: less than 3 GB of memory are available");
        return;
    }
    let toml = "[workers]\nspare = 0\nmax = 2\nconcurrency = 1\n";
    let launch = App::python(HUGE).file("ingle.toml", toml).launch(&Python::any());
    // Its budget is another story.
    let server = launch.argument("--zygote-memory").argument("4GB").start();
    assert_eq!(problems(&server), 0, "{}", server.ready());
    let first = server.get("/api/huge").status(200).text();
    assert!(first.starts_with("1073741824 "), "{first}");
    let with_one = proportional(&server, 1);
    let (one, other) = thread::scope(|scope| {
        let calls = [(); 2].map(|()| scope.spawn(|| server.get("/api/huge").status(200).text()));
        let [one, other] = calls.map(|call| call.join().unwrap());
        (one, other)
    });
    server.events().look_until("two workers", || (server.workers().len() == 2).then_some(()));
    let with_two = proportional(&server, 2);
    assert!(with_one > 1024 * MIB, "{with_one} bytes with one worker: {one}, {other}");
    assert!(with_two < with_one + 64 * MIB, "{with_one} bytes with one worker, {with_two} with two");
    for worker in server.workers() {
        kill(worker);
    }
    assert!(server.get("/api/huge").status(200).text().starts_with("1073741824 "));
}

/// What the zygote and its workers hold together: each page is counted once.
fn proportional(server: &Server, workers: usize) -> u64 {
    let shown = server.call(&["ps", "--json"]).code(0).json();
    let listed = shown["workers"].as_array().unwrap();
    assert_eq!(listed.len(), workers, "{shown}");
    let bytes = |process: &Value| process["proportionalBytes"].as_u64().unwrap();
    listed.iter().map(bytes).sum::<u64>() + bytes(&shown["zygote"])
}

fn available_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Kills a process, unless it has ended.
fn kill(process: u32) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        kill_process(process, Signal::KILL).ok();
    }
}

fn parent(process: u32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

fn is_gone(process: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    text.is_empty() || text.lines().any(|line| line.starts_with("State:\tZ"))
}
