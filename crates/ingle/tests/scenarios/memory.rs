//! Zygotes within a budget of memory: ended while their app has no work, made anew when it has some.

use ingle_testkit::{App, Python, Server, on_each_python};
use rustix::process::Signal;

on_each_python!(
    a_zygote_beyond_the_budget_goes_and_is_made_anew_for_the_next_call,
    a_zygote_that_can_not_be_made_anew_fails_the_call_until_the_file_is_mended,
    after_a_failed_reload_the_last_good_version_is_kept,
);

const APP: &str = r#"
@app.route(route="pid")
def pid(req: func.HttpRequest) -> str:
    return "%d" % whoami()

@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    print("begun")
    while not os.path.exists(os.path.join(os.path.dirname(os.path.abspath(__file__)), "gate.txt")):
        time.sleep(0.01)
    return "done"
"#;

fn app() -> App {
    App::python(APP).file("ingle.toml", "[workers]\nspare = 0\nidle_timeout = \"100ms\"\n")
}

fn wait_for_no_process(server: &Server) {
    server.events().look_until("no zygote and no worker", || {
        (server.zygote() == 0 && server.workers().is_empty()).then_some(())
    });
}

fn a_zygote_beyond_the_budget_goes_and_is_made_anew_for_the_next_call(python: &Python) {
    let launch = app().launch(python).argument("--zygote-memory").argument("1KB");
    let server = launch.clone().variable("INGLE_LOG", "ingle=debug,ingle_worker=debug").start();
    wait_for_no_process(&server);
    let first = server.get("/api/pid").status(200).text();
    wait_for_no_process(&server);
    // What is left is the template; without it, too, the next call is answered.
    let template = server.children().into_iter().next().unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(template).unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::KILL).unwrap();
    let second = server.get("/api/pid").status(200).text();
    assert_ne!(first, second);
    wait_for_no_process(&server);
    assert!(server.children().iter().all(|child| *child != template), "there is another template");
    let shown = server.call(&["ps"]).code(0).stdout;
    assert!(shown.contains("no process: the next call makes one"), "{shown}");
    let said = server.stop().stderr;
    assert!(
        said.iter().any(|line| line.contains("DEBUG") && line.contains("the zygote was ended")),
        "{said:#?}"
    );
    assert!(!said.iter().any(|line| line.contains("WARN")), "{said:#?}");
    // Nothing is said of it otherwise.
    let server = launch.variable("INGLE_ZYGOTE_MEMORY", "none of its business: the argument wins").start();
    wait_for_no_process(&server);
    server.get("/api/pid").status(200);
    assert_eq!(server.stop().stderr, [""; 0]);
}

fn a_zygote_that_can_not_be_made_anew_fails_the_call_until_the_file_is_mended(python: &Python) {
    let server = app()
        .launch(python)
        .argument("--no-reload")
        .variable("INGLE_ZYGOTE_MEMORY", "1KB")
        .may_complain("can't be imported any more")
        .start();
    wait_for_no_process(&server);
    let file = server.folder().join("function_app.py");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("import nothing_of_this_name\n{good}")).unwrap();
    server.get("/api/pid").status(503);
    let failure = server.invocations("pid", 1)[0]["failure"].clone();
    let message = failure["message"].as_str().unwrap_or_default();
    assert!(message.contains("nothing_of_this_name") && message.contains("'pid' is missing"), "{failure}");
    assert_eq!(
        (failure["code"].as_str(), failure["blame"].as_str()),
        (Some("E0304"), Some("app")),
        "{failure}"
    );
    std::fs::write(&file, good).unwrap();
    server
        .events()
        .look_until("an answer of the mended app", || (server.get("/api/pid").status == 200).then_some(()));
}

/// What the zygote has imported is nowhere else any more.
fn after_a_failed_reload_the_last_good_version_is_kept(python: &Python) {
    let server = app().launch(python).argument("--zygote-memory").argument("1KB").start();
    wait_for_no_process(&server);
    let gate = server.folder().join("gate.txt");
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| server.get("/api/slow").status(200));
        server.log("begun");
        // Work in hand holds the zygote.
        assert_ne!(server.zygote(), 0);
        std::fs::write(server.folder().join("function_app.py"), "import nothing_of_this_name\n").unwrap();
        server.wait_for("kept", |event| event["event"] == "kept");
        std::fs::write(&gate, "open").unwrap();
        slow.join().unwrap();
    });
    server.events().look_until("no worker", || server.workers().is_empty().then_some(()));
    server.get("/api/pid").status(200);
}
