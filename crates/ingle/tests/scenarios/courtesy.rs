//! Who computes for long gives way to who does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use ingle_testkit::{App, Python, Server, on_each_python};

on_each_python!(who_computes_gives_way_until_it_is_done, a_large_family_is_not_moved);

const APP: &str = r#"
@app.route(route="hello")
def hello(req: func.HttpRequest) -> str:
    return "hello"

@app.route(route="compute")
def compute(req: func.HttpRequest) -> str:
    open("begun", "w").close()
    while not os.path.exists("enough"):
        pass
    return "done"

@app.route(route="wait")
def wait(req: func.HttpRequest) -> str:
    open("begun", "w").close()
    while not os.path.exists("enough"):
        time.sleep(0.005)
    return "done"
"#;

/// T-021: a neighbour is not kept waiting, as what computes runs when nobody else wants the processor. Who only waits is in
/// nobody's way.
fn who_computes_gives_way_until_it_is_done(python: &Python) {
    let server = App::python(APP).start(python);
    server.get("/api/hello").status(200);
    if server.events().look_until("a worker", || idle_file(&server)).is_none() {
        no_groups();
        return;
    }
    let gives_way = || idle_file(&server).flatten().is_some_and(|file| is_idle(&file));
    let enough = server.folder().join("enough");
    for (path, computes) in [("/api/compute", true), ("/api/wait", false)] {
        thread::scope(|scope| {
            let call = scope.spawn(|| server.get(path).status(200));
            server.events().look_until("work", || server.folder().join("begun").exists().then_some(()));
            // The first milliseconds of what only waits may well look like work; then it is found out, and stays so. Looks are many,
            // as it is looked at often.
            let (looks, mut same) = (if computes { 1 } else { 50 }, 0);
            server.events().look_until("a worker that is found out", || {
                same = if gives_way() == computes { same + 1 } else { 0 };
                (same >= looks).then_some(())
            });
            fs::write(&enough, "").unwrap();
            call.join().unwrap();
        });
        server.events().look_until("a worker that does not", || (!gives_way()).then_some(()));
        fs::remove_file(&enough).unwrap();
        fs::remove_file(server.folder().join("begun")).unwrap();
    }
}

const FORKS: &str = r#"
GROUPS = open("/proc/self/cgroup").read()

@app.route(route="end")
def end(req: func.HttpRequest) -> str:
    os._exit(1)

@app.route(route="forks/{count}")
def forks(req: func.HttpRequest) -> str:
    children, began = [], time.monotonic()
    for _ in range(int(req.route_params["count"])):
        # Quicker than a fork, however large this process is.
        children.append(os.posix_spawn("/bin/sleep", ["sleep", "60"], {}))
    # It is moved after a quarter of a second, with those that are there by then.
    is_late = time.monotonic() - began > 0.2
    until = time.monotonic() + 2
    while open("/proc/self/cgroup").read() == GROUPS and time.monotonic() < until:
        time.sleep(0.01)
    has_stayed = open("/proc/self/cgroup").read() == GROUPS
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    if is_late:
        return "late"
    return "stayed" if has_stayed else "moved"
"#;

/// T-013: a worker joins a group of its own with what it has forked, but not with hundreds, which would keep all others from
/// forking meanwhile.
fn a_large_family_is_not_moved(python: &Python) {
    let server = App::python(FORKS).start(python);
    server.get("/api/forks/0").status(200);
    if server.events().look_until("a worker", || idle_file(&server)).is_none() {
        no_groups();
        return;
    }
    for (count, expected) in [(3, "moved"), (45, "stayed")] {
        let found = server.events().look_until("children that are there in time", || {
            // The next worker is new, so it is not in its own group yet.
            server.get("/api/end").status(502);
            let found = server.get(&format!("/api/forks/{count}")).status(200).text();
            (found != "late").then_some(found)
        });
        assert_eq!(found, expected, "{count} children");
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn no_groups() {
    eprintln!("skipped: this server has no control group for the processor, or Linux is older than 5.15");
}

fn is_idle(file: &Path) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
}

/// The file that says whether the worker's group gives way: nothing without a worker, and `None` in it on a machine where
/// this server has no groups for the processor.
fn idle_file(server: &Server) -> Option<Option<PathBuf>> {
    let worker = server.workers().first().copied()?;
    let groups = fs::read_to_string(format!("/proc/{worker}/cgroup")).ok()?;
    let folder = groups.lines().find_map(|line| {
        let (tree, folder) = line.split_once(':')?.1.split_once(':')?;
        let mount = match tree {
            "" => PathBuf::from("/sys/fs/cgroup"),
            _ if tree.split(',').any(|controller| controller == "cpu") => PathBuf::from("/sys/fs/cgroup/cpu"),
            _ => return None,
        };
        let file = mount.join(folder.trim_start_matches('/')).join("cpu.idle");
        (folder.contains("ingle-") && file.exists()).then_some(file)
    });
    Some(folder)
}
