//! An editor is attached once and stays attached: across breakpoints that last longer than any time limit, and across
//! new versions of the app.

use std::path::Path;
use std::thread;
use std::time::Duration;

use ingle_testkit::{App, Editor, Launch, Python, Request, Server, on_each_python};
use serde_json::{Value, json};
use tokio::time::Instant;

on_each_python!(
    d_11_time_limits_stand_still_at_a_breakpoint,
    d_11_async_functions_stop_as_well,
    p_04_the_editor_stays_attached_across_versions,
    p_04_what_stands_at_a_breakpoint_goes_on_when_a_new_version_takes_over,
    an_editor_that_leaves_takes_its_breakpoints_along,
    a_worker_that_dies_is_debugged_again,
    the_app_waits_for_the_editor_and_stops_at_its_first_line,
    debugpy_is_installed_once_into_the_cache,
);

/// The lines where the stories stop are below; what `App::python` puts before it is line 1.
const APP: &str = r#"@app.route(route="add")
def add(req: func.HttpRequest) -> str:
    total = int(req.params["a"]) + 2
    return f"one {total}"

@app.route(route="later")
async def later(req: func.HttpRequest) -> str:
    total = int(req.params["a"]) + 3
    return f"later {total}"

@app.route(route="die")
def die(req: func.HttpRequest) -> str:
    os._exit(3)
"#;
const STOP: u32 = 5;
const LATER: u32 = 10;

fn app(text: &str) -> App {
    App::python(text).host(&json!({"version": "2.0", "functionTimeout": "00:00:01"}))
}

fn launch(python: &Python, debug: &str) -> Launch {
    app(APP).launch(python).argument(debug)
}

/// What `ingle start` said of its debugger.
fn address(event: &Value) -> String {
    event["address"].as_str().unwrap().to_owned()
}

fn attach(server: &Server) -> Editor {
    let mut editor =
        Editor::connect(&address(&server.wait_for("debugger", |event| event["event"] == "debugger")));
    let (folder, file) = (server.folder(), script(server));
    editor.attach(&folder.display().to_string(), &file, &[STOP]);
    editor
}

fn script(server: &Server) -> String {
    server.folder().canonicalize().unwrap().join("function_app.py").display().to_string()
}

/// A call that will stop at the breakpoint, from a thread of its own.
fn call(server: &Server) -> thread::JoinHandle<(u16, String)> {
    let mut client = server.client();
    thread::spawn(move || {
        let answer = client.send(Request::get("/api/add?a=40")).unwrap();
        (answer.status, answer.text())
    })
}

fn save(server: &Server, text: &str, generation: u32) {
    std::fs::write(server.folder().join("function_app.py"), app(text).text("function_app.py")).unwrap();
    server.wait_for("reloaded", |event| event["event"] == "reloaded" && event["generation"] == generation);
}

fn d_11_time_limits_stand_still_at_a_breakpoint(python: &Python) {
    let server = launch(python, "--debug=0").start();
    let mut editor = attach(&server);
    let answer = call(&server);
    let (thread, file, line) = editor.stopped();
    assert_eq!((file, line), (script(&server), u64::from(STOP)));
    // The limit of the function is one second.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        assert_eq!(editor.variable(&thread, "total"), "42");
    }
    editor.go_on(&thread);
    assert_eq!(answer.join().unwrap(), (200, "one 42".to_owned()));
    assert_eq!(server.invocations("add", 1)[0]["outcome"], "success");
}

/// The thread at the breakpoint is the one that hears the server: other calls wait for it, and are not over their time.
fn d_11_async_functions_stop_as_well(python: &Python) {
    let server = launch(python, "--debug=0").start();
    let mut editor = attach(&server);
    editor.breakpoints(&script(&server), &[LATER]);
    let calls: Vec<_> = ["/api/later?a=40", "/api/add?a=1"]
        .map(|target| {
            let mut client = server.client();
            let call = thread::spawn(move || client.send(Request::get(target)).unwrap().text());
            if target.contains("later") {
                return (call, Some(editor.stopped()));
            }
            (call, None)
        })
        .into();
    let (thread, _, line) = calls[0].1.clone().unwrap();
    assert_eq!(line, u64::from(LATER));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(editor.variable(&thread, "total"), "43");
    }
    editor.go_on(&thread);
    let answers: Vec<String> = calls.into_iter().map(|(call, _)| call.join().unwrap()).collect();
    assert_eq!(answers, ["later 43", "one 3"]);
}

fn p_04_the_editor_stays_attached_across_versions(python: &Python) {
    let server = launch(python, "--debug=0").start();
    let mut editor = attach(&server);
    for generation in 2..4 {
        save(&server, &APP.replace("one", &format!("version {generation}")), generation);
        let answer = call(&server);
        let (thread, file, line) = editor.stopped();
        assert_eq!((file, line), (script(&server), u64::from(STOP)));
        editor.go_on(&thread);
        assert_eq!(answer.join().unwrap(), (200, format!("version {generation} 42")));
    }
    // A version with an error changes nothing.
    std::fs::write(server.folder().join("function_app.py"), "def broken(:\n").unwrap();
    server.wait_for("kept", |event| event["event"] == "kept");
    let answer = call(&server);
    let (thread, _, _) = editor.stopped();
    editor.go_on(&thread);
    assert_eq!(answer.join().unwrap().1, "version 3 42");
}

fn p_04_what_stands_at_a_breakpoint_goes_on_when_a_new_version_takes_over(python: &Python) {
    let server = launch(python, "--debug=0").start();
    let mut editor = attach(&server);
    let answer = call(&server);
    editor.stopped();
    save(&server, &APP.replace("one", "two"), 2);
    assert_eq!(answer.join().unwrap(), (200, "one 42".to_owned()));
    editor.event("continued");
    let answer = call(&server);
    let (thread, _, _) = editor.stopped();
    editor.go_on(&thread);
    assert_eq!(answer.join().unwrap(), (200, "two 42".to_owned()));
}

fn an_editor_that_leaves_takes_its_breakpoints_along(python: &Python) {
    let server = launch(python, "--debug=0").start();
    let mut editor = attach(&server);
    let answer = call(&server);
    editor.stopped();
    editor.ask("disconnect", json!({"terminateDebuggee": false}));
    assert_eq!(answer.join().unwrap().0, 200, "what was stopped goes on");
    assert_eq!(server.get("/api/add?a=1").status(200).text(), "one 3");
    // Another one, that goes without a word.
    let mut editor = attach(&server);
    let answer = call(&server);
    editor.stopped();
    drop(editor);
    assert_eq!(answer.join().unwrap().0, 200);
    // And one that stands at a breakpoint when the server is stopped.
    let mut editor = attach(&server);
    let answer = call(&server);
    editor.stopped();
    let ended = server.stop();
    assert_eq!((ended.code, answer.join().unwrap().0), (Some(0), 200));
}

fn a_worker_that_dies_is_debugged_again(python: &Python) {
    let server = launch(python, "--debug=0").variable("FUNCTIONS_WORKER_PROCESS_COUNT", "3").start();
    let notes = server.ready()["notes"].to_string();
    assert!(notes.contains("one worker process"), "{notes}");
    let mut editor = attach(&server);
    let before = server.workers();
    assert_eq!(before.len(), 1);
    server.get("/api/die").status(502);
    server.events().look_until("another worker", || {
        let now = server.workers();
        (!now.is_empty() && now != before).then_some(())
    });
    // The threads of the new process are told of when its breakpoints are set.
    for reason in ["exited", "started"] {
        while editor.event("thread")["reason"] != reason {}
    }
    let answer = call(&server);
    let (thread, _, _) = editor.stopped();
    editor.go_on(&thread);
    assert_eq!(answer.join().unwrap().0, 200);
}

fn the_app_waits_for_the_editor_and_stops_at_its_first_line(python: &Python) {
    let starting = launch(python, "--debug=brk:0").begin();
    let event = starting.wait_for("debugger", |event| event["event"] == "debugger");
    assert_eq!(event["waits"], true);
    let mut editor = Editor::connect(&address(&event));
    let folder = starting.folder().display().to_string();
    editor.attach(&folder, &format!("{folder}/function_app.py"), &[STOP]);
    let (thread, file, line) = editor.stopped();
    assert!(file.ends_with("function_app.py") && line == 1, "{file}:{line}");
    editor.go_on(&thread);
    let server = starting.wait_until_it_serves();
    let answer = call(&server);
    let (thread, _, _) = editor.stopped();
    editor.go_on(&thread);
    assert_eq!(answer.join().unwrap(), (200, "one 42".to_owned()));
}

/// Makes a wheel of what is installed in a folder (PyPA specifications, "Binary distribution format").
const PACK: &str = r#"
import importlib.metadata as metadata, pathlib, sys, zipfile
source, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True)
found = next(iter(metadata.distributions(name="debugpy", path=[str(source)])))
tag = [line[5:] for line in found.read_text("WHEEL").splitlines() if line.startswith("Tag: ")][0]
with zipfile.ZipFile(target / ("debugpy-%s-%s.whl" % (found.version, tag)), "w") as wheel:
    for file in found.files:
        path = str(file)
        if not path.startswith("..") and (source / path).is_file() and not path.endswith((".pyc", "INSTALLER", "REQUESTED")):
            wheel.write(source / path, path)
"#;

fn debugpy_is_installed_once_into_the_cache(python: &Python) {
    let beside = |launch: &Launch, name: &str| {
        launch.folder().parent().unwrap_or(Path::new("/")).join(name).display().to_string()
    };
    // The server of this first story has put it into the cache of all stories.
    drop(launch(python, "--debug=0").start());
    let cached = std::fs::read_dir(ingle_testkit::cache().join("debugger")).unwrap().flatten();
    let mut cached = cached.map(|entry| entry.path().display().to_string());
    // Each environment has its own.
    let cached = cached.find(|path| path.contains(&format!("/{}", python.version))).unwrap();
    let offline = |name: &str| {
        let launch = launch(python, "--debug=0");
        let (cache, packages) = (beside(&launch, "cache"), beside(&launch, name));
        let launch = launch.variable("INGLE_CACHE", &cache).variable("PIP_NO_INDEX", "1");
        launch
            .variable("PIP_FIND_LINKS", &packages)
            .variable("UV_NO_INDEX", "1")
            .variable("UV_FIND_LINKS", &packages)
    };
    let nowhere = offline("nothing-is-here").run().code(3).json();
    assert_eq!(nowhere["code"], "E0607", "{nowhere}");
    assert!(nowhere["hint"].as_str().unwrap().contains("pip install debugpy"), "{nowhere}");
    let launch = offline("packages");
    python.run(PACK, &[&cached, &beside(&launch, "packages")]);
    let is_install = |event: &&Value| event["message"].to_string().contains("installing debugpy");
    let first = launch.clone().start();
    let mut editor = attach(&first);
    let answer = call(&first);
    let (thread, _, _) = editor.stopped();
    editor.go_on(&thread);
    assert_eq!(answer.join().unwrap().0, 200);
    assert_eq!(first.stop().events.iter().filter(is_install).count(), 1);
    let second = launch.start().stop().events;
    assert_eq!(second.iter().filter(is_install).count(), 0, "it is kept");
}
