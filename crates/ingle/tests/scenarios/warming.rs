//! Workers that are ready before anybody asks: at times of the day, warmed by a function of the app, renewed by hooks.

use std::time::SystemTime;

use ingle_testkit::{App, Launch, Python, Request, Server, on_each_python, whoami_of};
use ingle_types::clock::{read_date, unix_ms};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

on_each_python!(
    workers_are_kept_in_their_part_of_the_day,
    an_app_that_is_imported_late_is_imported_for_its_part_of_the_day,
    a_worker_is_warmed_before_it_is_offered,
    the_warmup_trigger_needs_no_setting,
    nobody_waits_for_a_warm_up,
    what_is_wrong_with_warming_is_named_with_its_line,
    the_parts_of_a_start_are_in_the_record,
);

/// S-015: workers appear and go at the times of the wall clock, over midnight, and when the clocks were put back.
fn workers_are_kept_in_their_part_of_the_day(python: &Python) {
    let toml = "[workers]\nspare = 0\nmax = 3\nidle_timeout = \"50ms\"\n\
        [[workers.warm]]\nfrom = \"07:50\"\nto = \"09:00\"\ndays = \"mon-fri\"\nworkers = 2\n\
        [[workers.warm]]\nfrom = \"23:30\"\nto = \"00:30\"\ndays = \"sun\"\ntime_zone = \"UTC\"\nworkers = 1\n";
    let app = App::python(WARMED).settings(&json!({"S": "embedded", "WEBSITE_TIME_ZONE": "Europe/Berlin"}));
    // A Friday; Berlin is two hours ahead.
    let server = on_clock(app.file("ingle.toml", toml).launch(python), "2026-08-07T05:00:00Z").start();
    assert_eq!(server.workers(), [0; 0]);
    let check = |time: &str, count: usize| {
        move_clock(&server, time);
        wait_for_workers(&server, count, time);
    };
    check("2026-08-07T05:50:00Z", 2);
    let kept = server.workers();
    let answered = server.get("/api/seen").status(200).json()["pid"].clone();
    assert!(kept.iter().any(|worker| answered == whoami_of(*worker)), "{answered} is one of {kept:?}");
    check("2026-08-07T06:59:59Z", 2);
    check("2026-08-07T07:00:00Z", 0);
    // Not on Saturday.
    check("2026-08-08T06:00:00Z", 0);
    check("2026-08-09T23:30:00Z", 1);
    check("2026-08-10T00:29:59Z", 1);
    check("2026-08-10T00:30:00Z", 0);
    // On Monday, and after the clocks were put back in October.
    check("2026-08-10T05:50:00Z", 2);
    check("2026-10-26T06:49:59Z", 0);
    check("2026-10-26T06:50:00Z", 2);
}

/// S-015 with an app that is known from an earlier start: nobody waits for its import when the day begins.
fn an_app_that_is_imported_late_is_imported_for_its_part_of_the_day(python: &Python) {
    let toml = "[workers]\nspare = 0\nmax = 1\n[[workers.warm]]\nfrom = \"07:50\"\nto = \"09:00\"\n\
        time_zone = \"UTC\"\nworkers = 1\n";
    let launch = app(toml).launch(python).argument("--lazy");
    let mut server = on_clock(launch, "2026-08-07T05:00:00Z").start();
    assert_ne!(server.zygote(), 0, "the first start imports it");
    server.kill9();
    server.restart();
    assert_eq!((server.zygote(), server.workers()), (0, vec![]));
    move_clock(&server, "2026-08-07T07:50:00Z");
    wait_for_workers(&server, 1, "07:50");
    let kept = server.workers()[0];
    assert_eq!(server.get("/api/seen").status(200).json()["pid"], whoami_of(kept));
}

/// `prepare` waits until the file `go` is there.
const WARMED: &str = r#"
WARM = []

@app.route(route="prepare", methods=["GET"])
@app.queue_output(arg_name="out", queue_name="prepared", connection="S")
def prepare(req: func.HttpRequest, out: func.Out[str]) -> str:
    print("prepare begins in %d" % whoami())
    while not os.path.exists("go"):
        time.sleep(0.01)
    WARM.append(req.method + " " + req.url)
    out.set("prepared")
    return "prepared"

@app.route(route="seen", methods=["GET"])
def seen(req: func.HttpRequest) -> str:
    return json.dumps({"warm": WARM, "pid": whoami()})

@app.route(route="items/{id}", methods=["GET"])
def item(req: func.HttpRequest) -> str:
    return "item"

@app.route(route="add", methods=["POST"])
def add(req: func.HttpRequest) -> str:
    return "added"
"#;

fn app(toml: &str) -> App {
    App::python(WARMED).settings(&json!({"S": "embedded"})).file("ingle.toml", toml)
}

fn on_clock(launch: Launch, start: &str) -> Launch {
    launch.argument("--clock").argument(&format!("moved={start}"))
}

fn move_clock(server: &Server, to: &str) {
    let to: SystemTime = read_date(to).unwrap();
    let request = Request::post(&format!("/v1/clock?to={}", unix_ms(to)), "");
    server.admin_client().send(request).unwrap().status(200);
}

fn wait_for_workers(server: &Server, count: usize, when: &str) {
    let what = format!("{count} workers at {when}");
    server.events().look_until(&what, || (server.workers().len() == count).then_some(()));
}

/// Its outputs are not written.
fn a_worker_is_warmed_before_it_is_offered(python: &Python) {
    let server = app("[workers]\nmin = 2\nmax = 2\nconcurrency = 1\nwarm_up = \"Prepare\"\n")
        .file("go", "")
        .start(python);
    wait_for_workers(&server, 2, "once they are warm");
    for record in server.invocations("prepare", 2) {
        assert_eq!(record["outcome"], "success", "{record}");
        assert!(record["summary"].as_str().unwrap().starts_with("warmup of wrk_"), "{record}");
        assert_eq!(record["effects"], json!([]), "{record}");
    }
    for _ in 0..2 {
        let seen = server.get("/api/seen").status(200).json();
        assert_eq!(seen["warm"], json!(["GET http://localhost/prepare"]));
        let worker = server.process_of(seen["pid"].as_u64().unwrap());
        // The other one answers next.
        std::fs::remove_file(server.folder().join("go")).ok();
        kill(worker);
        server.events().look_until("its end", || (!server.workers().contains(&worker)).then_some(()));
    }
    assert_eq!(server.queue_length("prepared"), 0);
}

fn the_warmup_trigger_needs_no_setting(python: &Python) {
    let trigger = "\n@app.warm_up_trigger(arg_name=\"warm\")\n\
        @app.queue_output(arg_name=\"out\", queue_name=\"prepared\", connection=\"S\")\n\
        def begin(warm, out: func.Out[str]) -> None:\n    WARM.append(\"begun\")\n    out.set(\"begun\")\n";
    let server = App::python(&format!("{WARMED}{trigger}")).settings(&json!({"S": "embedded"})).start(python);
    assert_eq!(server.get("/api/seen").status(200).json()["warm"], json!(["begun"]));
    assert_eq!(server.queue_length("prepared"), 1);
}

/// A worker that is being warmed is given to whoever waits, and one that was made for somebody is not warmed.
fn nobody_waits_for_a_warm_up(python: &Python) {
    let server = app("[workers]\nspare = 0\nmax = 1\nwarm_up = \"prepare\"\n").start(python);
    let first = server.get("/api/seen").status(200).json();
    assert_eq!(first["warm"], json!([]));
    drop(server);
    let server = app("[workers]\nspare = 1\nmax = 1\nwarm_up = \"prepare\"\n").file("go", "").start(python);
    let before = server.get("/api/seen").status(200).json();
    assert_eq!(before["warm"].as_array().map(Vec::len), Some(1));
    std::fs::remove_file(server.folder().join("go")).unwrap();
    kill(server.process_of(before["pid"].as_u64().unwrap()));
    // The next one is being warmed, and goes on with that while it answers.
    let next = server.wait_for_many(2, "warm-ups", |event| {
        event["message"].as_str().is_some_and(|message| message.starts_with("prepare begins"))
    });
    let answer = server.get("/api/seen").status(200).json();
    assert_eq!(answer["warm"], json!([]));
    assert_eq!(next[1]["message"], format!("prepare begins in {}", answer["pid"]));
    std::fs::write(server.folder().join("go"), "").unwrap();
    server.invocations("prepare", 2);
    assert_eq!(server.get("/api/seen").status(200).json()["warm"].as_array().map(Vec::len), Some(1));
}

fn what_is_wrong_with_warming_is_named_with_its_line(python: &Python) {
    let check = |toml: &str, line: u64, part: &str| {
        let server = app(toml).launch(python).start();
        let problem = server.ready()["problems"][0].clone();
        assert_eq!((&problem["code"], &problem["line"]), (&json!("E0114"), &json!(line)), "{problem}");
        assert!(problem.to_string().contains(part), "{problem}");
    };
    let entry = "[[workers.warm]]\nfrom = \"07:50\"\nto = \"09:00\"\n";
    check(&format!("[workers]\nmax = 2\n{entry}workers = 3\n"), 3, "more than max = 2");
    check(&format!("[workers]\nmax = 2\n{entry}days = \"weekdays\"\nworkers = 2\n"), 6, "mon-fri");
    check("[workers]\nwarm_up = \"prepar\"\n", 2, "prepare");
    check("[workers]\nwarm_up = \"item\"\n", 2, "has parameters in its route");
    check("[workers]\nwarm_up = \"add\"\n", 2, "does not take GET");
}

/// S-105: what waited for a new worker tells what of that time went into which step; others do not.
fn the_parts_of_a_start_are_in_the_record(python: &Python) {
    let launch = app("[workers]\nspare = 0\nmax = 1\n").launch(python);
    let server = launch.clone().start();
    server.get("/api/seen").status(200);
    server.get("/api/seen").status(200);
    let records = server.invocations("seen", 2);
    let of = |record: &Value, name: &str| record["phasesMs"][name].as_f64();
    let (fork, ready) = (of(&records[0], "fork").unwrap(), of(&records[0], "ready").unwrap());
    assert!(fork > 0.0 && ready >= 0.0, "{}", records[0]);
    let (start, total) = (of(&records[0], "start").unwrap(), of(&records[0], "total").unwrap());
    assert!((start - fork - ready).abs() < 0.01 && start <= total, "{}", records[0]);
    assert_eq!((of(&records[1], "fork"), of(&records[1], "start")), (None, Some(0.0)), "{}", records[1]);
    drop(server);
    let server = launch.text().start();
    server.get("/api/seen").status(200);
    let line = server.events().wait_for_line("/api/seen 200");
    assert!(line.contains(" · fork ") && line.contains(" · ready "), "{line}");
    server.get("/api/seen").status(200);
    server.events().wait_for_line(" · start 0.0 · ");
}

const HOOKS: &str = r#"
import uuid
import numpy
from snapshot_restore_py import register_after_restore, register_before_snapshot

BEFORE, AFTER = [], []
register_before_snapshot(lambda: BEFORE.append(whoami()))
register_after_restore(lambda name: AFTER.append((name, whoami())), "first")

@register_after_restore
def fails():
    raise ValueError("not today")

register_after_restore(lambda name: AFTER.append((name, whoami())), "last")
numpy.random.seed(7)

@app.route(route="hooks")
def hooks(req: func.HttpRequest) -> str:
    return json.dumps({"pid": whoami(), "before": BEFORE, "after": AFTER, "drawn": numpy.random.random(),
                       "id": str(uuid.uuid1()), "secret": uuid.uuid4().hex})
"#;

/// The hooks of AWS's package run around the fork, and workers of one zygote draw different numbers.
#[test]
fn hooks_of_snapshots_run_around_the_fork() {
    let server = App::python(HOOKS)
        .file("requirements.txt", "azure-functions\nsnapshot-restore-py\nnumpy\n")
        .file("ingle.toml", "[workers]\nmin = 3\nmax = 3\nconcurrency = 1\n")
        .launch(&Python::any())
        .own_choice_of_python()
        .start();
    wait_for_workers(&server, 3, "the start");
    let zygote = whoami_of(server.zygote());
    server.log("not today");
    let (mut workers, mut drawn) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for _ in 0..3 {
        let seen = server.get("/api/hooks").status(200).json();
        assert_eq!(seen["before"], json!([zygote]), "{seen}");
        assert_eq!(seen["after"], json!([["first", seen["pid"]], ["last", seen["pid"]]]), "{seen}");
        for name in ["drawn", "id", "secret"] {
            assert!(drawn.insert(seen[name].to_string()), "{seen}");
        }
        let worker = server.process_of(seen["pid"].as_u64().unwrap());
        assert!(workers.insert(seen["pid"].as_u64().unwrap()), "{workers:?}");
        kill(worker);
        server.events().look_until("its end", || (!server.workers().contains(&worker)).then_some(()));
    }
}

fn kill(process: u32) {
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(process, Signal::KILL).unwrap();
}
