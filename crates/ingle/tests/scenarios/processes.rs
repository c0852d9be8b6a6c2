//! Several worker processes: all of them work, and the death of one is mended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ingle_testkit::{App, Python, Server, on_each_python, whoami_of};
use rustix::process::Signal;
use serde_json::json;

on_each_python!(
    three_processes_share_the_work,
    a_killed_process_takes_only_its_own_requests_along,
    a_request_that_never_reached_a_killed_process_is_run_by_another,
    the_number_is_checked,
    files_are_moved_between_folders,
);

const APP: &str = r#"
@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    time.sleep(0.05)
    return "pid %d" % whoami()

@app.route(route="begin/{number:int}", methods=["POST"])
def begin(req: func.HttpRequest) -> str:
    # One write with O_APPEND is whole, whatever happens next.
    file = os.open("begun.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, b"%d %s\n" % (whoami(), req.route_params["number"].encode()))
    os.close(file)
    time.sleep(0.03)
    return "done " + req.route_params["number"]
"#;

const MOVE: &str = r#"
@app.route(route="move")
def move(req: func.HttpRequest) -> str:
    import tempfile
    made, moved = (os.path.join(tempfile.mkdtemp(), "file") for _ in range(2))
    open(made, "w").close()
    os.rename(made, moved)
    os.link(moved, made)
    return "moved"
"#;

/// In a box as outside of it, a file that was made in one folder is moved to another.
fn files_are_moved_between_folders(python: &Python) {
    let server = App::python(MOVE).start(python);
    assert_eq!(server.get("/api/move").status(200).text(), "moved");
}

fn start(python: &Python) -> Server {
    let server = App::python(APP).settings(&json!({"FUNCTIONS_WORKER_PROCESS_COUNT": "3"})).start(python);
    server.events().look_until("three workers", || (server.workers().len() == 3).then_some(()));
    server
}

fn three_processes_share_the_work(python: &Python) {
    let server = start(python);
    let mut workers: Vec<u64> = server.workers().into_iter().map(whoami_of).collect();
    workers.sort_unstable();
    let mut seen: Vec<u64> = thread::scope(|scope| {
        let calls: Vec<_> =
            (0..24).map(|_| scope.spawn(|| server.get("/api/pid").status(200).text())).collect();
        let text = |call: thread::ScopedJoinHandle<'_, String>| call.join().unwrap();
        calls.into_iter().map(text).filter_map(|text| text.strip_prefix("pid ")?.parse().ok()).collect()
    });
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, workers);
}

/// T-064: a worker is killed under load.
fn a_killed_process_takes_only_its_own_requests_along(python: &Python) {
    const REQUESTS: usize = 400;
    const CALLERS: usize = 12;
    let server = start(python);
    let victim = server.workers()[1];
    let next = AtomicUsize::new(0);
    let failed: Vec<(usize, u16, String)> = thread::scope(|scope| {
        let call = || {
            let mut failed = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number == REQUESTS / 4 {
                    kill(victim);
                }
                if number >= REQUESTS {
                    return failed;
                }
                let answer = server.post(&format!("/api/begin/{number}"), "");
                if answer.status == 200 {
                    assert_eq!(answer.text(), format!("done {number}"));
                } else {
                    failed.push((number, answer.status, answer.text()));
                }
            }
        };
        let calls: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
        calls.into_iter().flat_map(|call| call.join().unwrap()).collect()
    });
    // Only who was in the killed process may fail; each of the callers was there once at most.
    assert!(failed.len() <= CALLERS, "{failed:#?}");
    for (number, status, text) in &failed {
        assert!(
            *status == 502 && text.contains("E0303") && text.contains("SIGKILL"),
            "{number}: {status} {text}"
        );
    }
    let begun = std::fs::read_to_string(server.folder().join("begun.txt")).unwrap();
    for number in 0..REQUESTS {
        let ending = format!(" {number}");
        let times = begun.lines().filter(|line| line.ends_with(&ending)).count();
        let fits = times == 1 || (times == 0 && failed.iter().any(|(failed, ..)| *failed == number));
        assert!(fits, "request {number}, which is not safe to repeat, was run {times} times");
    }
    server.events().look_until("three workers again", || (server.workers().len() == 3).then_some(()));
    assert!(!server.workers().contains(&victim));
}

/// T-064: a process that does not listen any more is sent requests and then killed. It never read them, so they are as
/// good as new.
fn a_request_that_never_reached_a_killed_process_is_run_by_another(python: &Python) {
    let server = start(python);
    // Each process gets lanes first, so that a request is written to an open one.
    thread::scope(|scope| {
        (0..24).for_each(|_| drop(scope.spawn(|| server.get("/api/pid").status(200))));
    });
    let victim = server.workers()[0];
    signal(victim, Signal::STOP);
    // Each of its threads stops when it has the processor next, and reads what has come until then.
    server.events().look_until("a process that stands still", || stands_still(victim).then_some(()));
    let answers: Vec<String> = thread::scope(|scope| {
        let server = &server;
        let call = |number| scope.spawn(move || server.post(&format!("/api/begin/{number}"), ""));
        let calls: Vec<_> = (0..9).map(call).collect();
        server.invocations("begin", 4);
        signal(victim, Signal::KILL);
        calls.into_iter().map(|call| call.join().unwrap()).map(|answer| answer.status(200).text()).collect()
    });
    assert_eq!(answers.len(), 9);
    let begun = std::fs::read_to_string(server.folder().join("begun.txt")).unwrap();
    assert_eq!(begun.lines().count(), 9, "each was run once: {begun}");
}

/// Whether every thread of a process is stopped.
fn stands_still(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let state = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).ok()?;
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    };
    threads.filter_map(state).all(|state| state == 'T')
}

fn kill(process: u32) {
    signal(process, Signal::KILL);
}

fn signal(process: u32, signal: Signal) {
    let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    rustix::process::kill_process(process, signal).unwrap();
}

fn the_number_is_checked(python: &Python) {
    let server = App::python(APP).settings(&json!({"FUNCTIONS_WORKER_PROCESS_COUNT": "many"})).start(python);
    let ready = server.ready();
    assert_eq!(ready["problems"][0]["code"], "E0240", "{ready}");
    assert_eq!(server.workers().len(), 1);
}
