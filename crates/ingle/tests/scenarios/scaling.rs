//! Workers come and go with the work: from zero, in bursts, back to zero, and over the bodies of their zygotes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use ingle_testkit::{App, Python, Server, on_each_python, on_the_pythons_between, whoami_of};
use rustix::process::Signal;

on_each_python!(
    no_worker_runs_without_work_and_the_next_call_makes_one,
    five_hundred_first_calls_are_all_answered,
    workers_that_come_and_go_under_traffic_drop_nothing,
    what_waits_for_long_gets_more_workers,
    a_worn_worker_is_replaced,
    killed_parents_are_made_anew,
    workers_outlive_their_zygote_and_die_with_the_server,
    what_can_not_be_in_two_processes_is_found,
    the_way_can_be_chosen,
    workers_draw_numbers_of_their_own,
    a_wrong_ingle_toml_is_named_with_its_line,
    processes_are_shown,
    an_import_that_hangs_is_stopped_with_its_stack,
);
on_the_pythons_between!(
    no_worker_runs_without_work_and_the_next_call_makes_one,
    what_can_not_be_in_two_processes_is_found,
    workers_draw_numbers_of_their_own,
);

const APP: &str = r#"
import random, threading

IMPORTED_BY = whoami()
DRAWN = random.Random(7)
FORKS = []
os.register_at_fork(after_in_child=lambda: FORKS.append(whoami()))

@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    time.sleep(0.05)
    return "%d" % whoami()

@app.route(route="quick")
async def quick(req: func.HttpRequest) -> str:
    return "%d" % whoami()

@app.route(route="origin")
def origin(req: func.HttpRequest) -> str:
    return json.dumps({"imported_by": IMPORTED_BY, "pid": whoami(), "drawn": random.random(), "forks": FORKS[-1:],
                       "threads": threading.active_count(), "main": threading.main_thread().name})
"#;

fn app(workers: &str) -> App {
    App::python(APP).file("ingle.toml", &format!("[workers]\n{workers}\n"))
}

fn wait_for_workers(server: &Server, what: &str, count: usize) {
    server.events().look_until(what, || (server.workers().len() == count).then_some(()));
}

fn no_worker_runs_without_work_and_the_next_call_makes_one(python: &Python) {
    let server = app("spare = 0\nidle_timeout = \"300ms\"").start(python);
    assert_eq!(server.workers(), [0; 0]);
    let zygote = server.zygote();
    let first = server.get("/api/quick").status(200).text();
    wait_for_workers(&server, "no worker", 0);
    let second = server.get("/api/pid").status(200).text();
    assert_ne!(first, second);
    assert_eq!(server.zygote(), zygote, "it imported the app once");
    wait_for_workers(&server, "no worker again", 0);
    // A spare is there before anybody asks, and is the one that answers.
    drop(server);
    let server = app("spare = 1").start(python);
    let spare = server.workers();
    assert_eq!(server.get("/api/pid").status(200).text(), whoami_of(spare[0]).to_string());
}

/// T-079: a burst finds no worker at all.
fn five_hundred_first_calls_are_all_answered(python: &Python) {
    let server = app("spare = 0\nmax = 3").start(python);
    let seen: BTreeSet<String> = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..500).map(|_| scope.spawn(|| server.get("/api/pid").status(200).text())).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!((1..=3).contains(&seen.len()), "no more processes than allowed: {seen:?}");
}

/// T-080: workers are retired while calls come in.
fn workers_that_come_and_go_under_traffic_drop_nothing(python: &Python) {
    const CALLS: usize = 1500;
    let server =
        app("spare = 0\nmax = 3\nconcurrency = 2\nidle_timeout = \"1ms\"\nrecycle_after = 7").start(python);
    let next = AtomicUsize::new(0);
    let seen: BTreeSet<String> = thread::scope(|scope| {
        let call = || {
            let mut seen = BTreeSet::new();
            while next.fetch_add(1, Ordering::Relaxed) < CALLS {
                seen.insert(server.get("/api/quick").status(200).text());
            }
            seen
        };
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(call)).collect();
        calls.into_iter().flat_map(|call| call.join().unwrap()).collect()
    });
    assert!(seen.len() > 20, "many workers have come and gone: {}", seen.len());
}

const HELD: &str = r#"
@app.route(route="held")
def held(req: func.HttpRequest) -> str:
    print("held in %d" % whoami())
    while not os.path.exists("go"):
        time.sleep(0.01)
    return "%d" % whoami()
"#;

/// By their number three calls need one worker, but that has a single thread, and each of them takes long.
fn what_waits_for_long_gets_more_workers(python: &Python) {
    let server = App::python(HELD)
        .settings(&serde_json::json!({"PYTHON_THREADPOOL_THREAD_COUNT": "1"}))
        .file("ingle.toml", "[workers]\nspare = 0\nmax = 3\n")
        .start(python);
    let seen: BTreeSet<String> = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..3).map(|_| scope.spawn(|| server.get("/api/held").status(200).text())).collect();
        let begins = |event: &serde_json::Value| {
            event["message"].as_str().is_some_and(|message| message.starts_with("held in "))
        };
        server.wait_for_many(3, "calls in work", begins);
        std::fs::write(server.folder().join("go"), "").unwrap();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(seen.len(), 3, "{seen:?}");
}

fn a_worn_worker_is_replaced(python: &Python) {
    let server = app("recycle_after = 3").start(python);
    let pids: Vec<String> = (0..10).map(|_| server.get("/api/quick").status(200).text()).collect();
    let distinct: BTreeSet<&String> = pids.iter().collect();
    assert!(distinct.len() >= 2, "{pids:?}");
}

/// Kills the zygote, then the template, in the middle of calls.
fn killed_parents_are_made_anew(python: &Python) {
    let server = app("spare = 1\nmax = 2\nrecycle_after = 4")
        .launch(python)
        .may_complain("the zygote is gone")
        .start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let call = || {
            while !done.load(Ordering::Relaxed) {
                server.get("/api/quick").status(200);
            }
        };
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(call)).collect();
        // Also when the story fails, so that its threads do not wait for each other.
        let _done = AtEnd(|| done.store(true, Ordering::Relaxed));
        for _ in 0..2 {
            let zygote = server.zygote();
            kill(zygote);
            server.events().look_until("another zygote", || {
                (server.zygote() != zygote && server.zygote() != 0).then_some(())
            });
        }
        let (template, zygote) = (parent(server.zygote()), server.zygote());
        kill(template);
        kill(zygote);
        let what = format!(
            "another zygote than {zygote} and another template than {template}, now {}",
            server.zygote()
        );
        server.events().look_until(&what, || {
            let now = server.zygote();
            (now != 0 && now != zygote && parent(now) != template).then_some(())
        });
        done.store(true, Ordering::Relaxed);
        calls.into_iter().for_each(|call| call.join().unwrap());
    });
    assert_eq!(server.ready()["problems"].as_array().map(Vec::len), Some(0));
}

/// T-068 of a kind: nobody is left behind, whoever dies first.
fn workers_outlive_their_zygote_and_die_with_the_server(python: &Python) {
    let mut server = app("recycle_after = 1000").launch(python).may_complain("the zygote is gone").start();
    let worker = server.workers()[0];
    let (zygote, template) = (server.zygote(), parent(server.zygote()));
    let number = whoami_of(worker);
    kill(zygote);
    server
        .events()
        .look_until("another zygote", || (server.zygote() != zygote && server.zygote() != 0).then_some(()));
    assert_eq!(server.get("/api/quick").status(200).text(), number.to_string());
    // Its end is seen by the server, which is its parent now.
    kill(worker);
    server
        .events()
        .look_until("another worker", || server.workers().first().filter(|now| **now != worker).copied());
    let others = [server.workers()[0], server.zygote(), template];
    server.kill9();
    server.events().look_until("no process of the server", || {
        others.iter().all(|process| is_gone(*process)).then_some(())
    });
}

#[track_caller]
fn check_unsafe(python: &Python, source: &str, reason: &str) {
    let server = App::python(&format!("{source}\n{APP}")).start(python);
    let ready = server.ready();
    assert_eq!(ready["problems"][0]["code"], "E0250", "{ready}");
    let message = ready["problems"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains(reason), "{message}");
    let origin = server.get("/api/origin").status(200).json();
    assert_eq!(origin["imported_by"], origin["pid"], "the worker imported the app itself");
}

fn what_can_not_be_in_two_processes_is_found(python: &Python) {
    let thread = "import threading\nthreading.Thread(target=time.sleep, args=(1000,), name='ticker', daemon=True).start()";
    check_unsafe(python, thread, "the thread 'ticker'");
    check_unsafe(python, "import socket\nPAIR = socket.socketpair()", "open");
    check_unsafe(python, "LOG = open('log.txt', 'w')", "log.txt open for writing");
    check_unsafe(python, "import select\nPOLL = select.epoll()", "eventpoll");
    check_unsafe(python, "ENDS = os.pipe()", "a pipe");
    // Reading, appending and threads that have ended are no reason.
    let harmless = "import threading\nTHREAD = threading.Thread(target=print)\nTHREAD.start()\nTHREAD.join()\n\
                    READ = open('host.json')\nAPPENDED = open('log.txt', 'a')";
    let server = App::python(&format!("{harmless}\n{APP}")).start(python);
    assert_eq!(server.ready()["problems"].as_array().map(Vec::len), Some(0), "{}", server.ready());
}

fn the_way_can_be_chosen(python: &Python) {
    let socket = format!("import socket\nPAIR = socket.socketpair()\n{APP}");
    let with = |fork: &str| {
        let server =
            App::python(&socket).file("ingle.toml", &format!("[workers]\nfork = \"{fork}\"\n")).start(python);
        assert_eq!(server.ready()["problems"].as_array().map(Vec::len), Some(0), "{}", server.ready());
        let origin = server.get("/api/origin").status(200).json();
        (origin["imported_by"] == origin["pid"], server.zygote() != 0)
    };
    assert_eq!(with("after-import"), (false, true));
    assert_eq!(with("before-import"), (true, false));
    assert_eq!(with("never"), (true, false));
}

fn workers_draw_numbers_of_their_own(python: &Python) {
    let server = app("min = 3\nmax = 3").start(python);
    wait_for_workers(&server, "three workers", 3);
    let origins: Vec<serde_json::Value> =
        (0..30).map(|_| server.get("/api/origin").status(200).json()).collect();
    let drawn: BTreeSet<String> = origins.iter().map(|origin| origin["drawn"].to_string()).collect();
    assert_eq!(drawn.len(), 30);
    for origin in &origins {
        assert_eq!(origin["forks"][0], origin["pid"], "the hooks of os.register_at_fork run");
        assert_ne!(origin["imported_by"], origin["pid"]);
        assert_eq!(origin["main"], "MainThread");
    }
}

fn a_wrong_ingle_toml_is_named_with_its_line(python: &Python) {
    let server = app("max = 2\nplan = \"free\"").launch(python).start();
    let problem = server.ready()["problems"][0].clone();
    assert_eq!((problem["code"].as_str(), problem["line"].as_u64()), (Some("E0114"), Some(3)), "{problem}");
}

fn processes_are_shown(python: &Python) {
    let server = app("min = 2\nmax = 2").start(python);
    wait_for_workers(&server, "two workers", 2);
    let shown = server.call(&["ps", "--json"]).code(0).json();
    assert_eq!(shown["workers"].as_array().map(Vec::len), Some(2), "{shown}");
    assert_eq!(shown["zygote"]["phase"], "Parent", "{shown}");
    for process in [&shown["workers"][0], &shown["zygote"]] {
        let bytes = |name: &str| process[name].as_u64().unwrap_or_default();
        assert!(
            bytes("proportionalBytes") > 0 && bytes("proportionalBytes") < bytes("memoryBytes"),
            "{process}"
        );
    }
}

/// numpy, pandas, scikit-learn and lxml can be forked, and so can gRPC until somebody uses it.
#[test]
fn native_libraries_are_imported_once() {
    let app = App::folder("examples/native-libraries");
    let source = app.text("function_app.py");
    let server = app.launch(&Python::any()).own_choice_of_python().start();
    assert_eq!(server.ready()["problems"].as_array().map(Vec::len), Some(0), "{}", server.ready());
    let sales = server.get("/api/sales").status(200).json();
    assert_eq!(sales["pieces"], serde_json::json!({"a": 7, "b": 11}));
    assert_eq!((&sales["shops"], &sales["trend"]), (&serde_json::json!(2.0), &serde_json::json!(1.0)));
    assert_eq!(sales["forked"], true);
    assert_ne!(server.get("/api/inventory").status(200).text(), "OK");
    drop(server);
    // Threads of gRPC do not live on after a fork.
    let eager = format!("{source}\nchannel()\n");
    let server = App::folder("examples/native-libraries")
        .file("function_app.py", &eager)
        .launch(&Python::any())
        .own_choice_of_python()
        .start();
    let problem = server.ready()["problems"][0].clone();
    assert_eq!(problem["code"], "E0250", "{problem}");
    assert!(problem["message"].to_string().contains("grpc"), "{problem}");
    assert_eq!(server.get("/api/sales").status(200).json()["forked"], false);
    assert_ne!(server.get("/api/inventory").status(200).text(), "OK");
}

struct AtEnd<Act: Fn()>(Act);

impl<Act: Fn()> Drop for AtEnd<Act> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// T-088: the start ends with the place where the import hangs; a reload keeps the version before.
fn an_import_that_hangs_is_stopped_with_its_stack(python: &Python) {
    let hanging = "import time\n\ndef wait_for_the_world():\n    time.sleep(1000)\n\nwait_for_the_world()\n";
    let app = App::python(hanging).file("ingle.toml", "[workers]\ninit_timeout = \"1s\"\n");
    let ended = app.launch(python).run().code(1);
    let error = ended.stdout + &ended.stderr;
    assert!(error.contains("E0304") && error.contains("not imported after 1 s"), "{error}");
    assert!(error.contains("wait_for_the_world"), "the stack is told: {error}");
}

fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::KILL).unwrap();
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
