//! More work than there is room for (T-079): a clear no at once, fair shares for what waits, and all well right after it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ingle_testkit::{App, Python, Request, Response, Server, on_each_python};

on_each_python!(
    ten_times_the_load_is_refused_politely_and_all_is_well_afterwards,
    who_comes_into_a_crowd_does_not_wait_for_all_of_it,
    who_waits_too_long_is_told_so,
    a_bounded_function_leaves_room_for_the_others,
    a_flood_of_one_function_lets_the_others_through,
    a_bound_for_no_function_is_named,
);

/// `slow` waits until the file `go` is there.
const APP: &str = r#"
@app.route(route="work")
def work(req: func.HttpRequest) -> str:
    time.sleep(0.05)
    return "done"

@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    print("slow begins")
    while not os.path.exists("go"):
        time.sleep(0.01)
    time.sleep(0.05)
    return "slow"

@app.route(route="quick")
def quick(req: func.HttpRequest) -> str:
    return "quick"
"#;

/// The load ends when there were so many requests, and so many of them were answered: more than a second of the work
/// that there is room for.
const REQUESTS: usize = 5000;
const ANSWERS: usize = 100;
const CONNECTIONS: usize = 64;

fn start(python: &Python, toml: &str) -> Server {
    App::python(APP).file("ingle.toml", toml).start(python)
}

/// A no that a client can act on.
#[track_caller]
fn check_refusal(answer: &Response) {
    assert!(matches!(answer.status, 429 | 503), "{} {}", answer.status, answer.text());
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds) && answer.text().contains("E0308"), "{}", answer.text());
}

/// The most memory that the server itself ever held, in KiB.
fn peak_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn ten_times_the_load_is_refused_politely_and_all_is_well_afterwards(python: &Python) {
    let server = start(
        python,
        "[workers]\nmax = 1\nconcurrency = 4\n[admission]\nwaiting_max = 8\nwait_max = \"5s\"\n",
    );
    server.get("/api/work").status(200);
    let before = peak_kib(&server);
    let (good, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let load = || {
            let mut client = server.client();
            let is_enough = || {
                let good = good.load(Ordering::Relaxed);
                good >= ANSWERS && good + refused.load(Ordering::Relaxed) >= REQUESTS
            };
            while !is_enough() {
                // An answer comes each time, on the connection that was opened first.
                let answer = client.send(Request::get("/api/work")).unwrap();
                if answer.status == 200 {
                    good.fetch_add(1, Ordering::Relaxed);
                } else {
                    check_refusal(&answer);
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        (0..CONNECTIONS).for_each(|_| drop(scope.spawn(load)));
    });
    let (good, refused) = (good.into_inner(), refused.into_inner());
    assert!(good + refused >= 10 * good, "{good} answers and {refused} refusals are no ten times the load");
    let after = peak_kib(&server);
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
    // Nobody waits any more: nothing is left to work off.
    assert_eq!(server.get("/api/work").status(200).text(), "done");
    assert_eq!(server.workers().len(), 1);
}

/// T-079: with the default limits everything waits; who comes later is answered while there is still a crowd.
fn who_comes_into_a_crowd_does_not_wait_for_all_of_it(python: &Python) {
    const CROWD: usize = 120;
    const WORKED_OFF: usize = 50;
    let server = start(python, "[workers]\nmax = 1\nconcurrency = 1\n");
    let answered = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                server.get("/api/work").status(200);
                answered.fetch_add(1, Ordering::Relaxed);
            });
        }
        // At fifty milliseconds each, the first in line has then waited longer than a burst takes.
        server.events().look_until("a part of the crowd answered", || {
            (answered.load(Ordering::Relaxed) >= WORKED_OFF).then_some(())
        });
        server.get("/api/work").status(200);
        let before = answered.load(Ordering::Relaxed);
        assert!(before < CROWD - 20, "{before} of {CROWD} were answered before the newcomer");
    });
    assert_eq!(answered.into_inner(), CROWD, "nobody was forgotten");
}

fn who_waits_too_long_is_told_so(python: &Python) {
    let server = start(python, "[workers]\nmax = 1\nconcurrency = 1\n[admission]\nwait_max = \"200ms\"\n");
    thread::scope(|scope| {
        let first = scope.spawn(|| server.get("/api/slow"));
        server.log("slow begins");
        // More than stand at the door: those behind them wait no longer.
        let late: Vec<_> = (0..40).map(|_| scope.spawn(|| server.get("/api/slow"))).collect();
        for call in late {
            let answer = call.join().unwrap().status(503);
            check_refusal(&answer);
        }
        go(&server);
        first.join().unwrap().status(200);
    });
    server.get("/api/slow").status(200);
}

fn go(server: &Server) {
    std::fs::write(server.folder().join("go"), "").unwrap();
}

fn begun(server: &Server) -> usize {
    server.events().all().iter().filter(|event| event["message"] == "slow begins").count()
}

fn a_bounded_function_leaves_room_for_the_others(python: &Python) {
    let server = start(python, "[workers]\nmax = 1\nconcurrency = 2\n[functions.Slow]\nconcurrency = 1\n");
    thread::scope(|scope| {
        let calls: Vec<_> = (0..5).map(|_| scope.spawn(|| server.get("/api/slow"))).collect();
        server.log("slow begins");
        (0..20).for_each(|_| assert_eq!(server.get("/api/quick").status(200).text(), "quick"));
        assert_eq!(begun(&server), 1);
        go(&server);
        calls.into_iter().for_each(|call| drop(call.join().unwrap().status(200)));
    });
    assert_eq!(begun(&server), 5);
}

fn a_flood_of_one_function_lets_the_others_through(python: &Python) {
    const WAITING: usize = 100;
    let toml = format!("[workers]\nmax = 1\nconcurrency = 2\n[admission]\nwaiting_max = {WAITING}\n");
    let server = start(python, &toml);
    let (done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let slow = || match server.get("/api/slow") {
        answer if answer.status == 200 => done.fetch_add(1, Ordering::Relaxed),
        answer => {
            check_refusal(&answer.status(429));
            refused.fetch_add(1, Ordering::Relaxed)
        }
    };
    thread::scope(|scope| {
        (0..2).for_each(|_| drop(scope.spawn(slow)));
        server.events().look_until("two in work", || (begun(&server) == 2).then_some(()));
        (0..=WAITING).for_each(|_| drop(scope.spawn(slow)));
        // One too many has come, so all others wait.
        let is_full = || (refused.load(Ordering::Relaxed) == 1).then_some(());
        server.events().look_until("a full gate", is_full);
        let quick = scope.spawn(|| {
            let answer = server.get("/api/quick");
            (answer, done.load(Ordering::Relaxed))
        });
        go(&server);
        let (answer, done_before) = quick.join().unwrap();
        answer.status(200);
        assert!(done_before < WAITING * 6 / 10, "{done_before} of the flood came first");
    });
    assert_eq!((done.into_inner(), refused.into_inner()), (WAITING + 2, 1));
}

fn a_bound_for_no_function_is_named(python: &Python) {
    let server =
        App::python(APP).file("ingle.toml", "[functions.slo]\nconcurrency = 1\n").launch(python).start();
    let problem = server.ready()["problems"][0].clone();
    assert_eq!(problem["code"], "E0114", "{problem}");
    assert!(problem["fix"].to_string().contains("slow"), "{problem}");
}
