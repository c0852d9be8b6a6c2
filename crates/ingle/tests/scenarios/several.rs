//! Several apps on one port: chosen by the host, and otherwise strangers to each other.

use std::thread;

use ingle_testkit::{App, Call, Launch, Python, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    each_app_has_its_host_its_store_and_its_doors,
    a_broken_app_does_not_stop_the_others_and_is_served_when_mended,
    a_flood_of_one_app_leaves_the_others_answered,
    apps_of_one_interpreter_share_a_template,
    apps_that_are_known_are_imported_at_their_first_event,
    one_app_can_wait_for_its_first_event_too,
    keys_and_lines_are_for_all_apps,
);

fn app(name: &str) -> App {
    let source = format!(
        r#"
@app.route(route="name")
def name(req: func.HttpRequest) -> str:
    return "{name} %s %s" % (os.environ["SAID"], os.path.basename(os.getcwd()))

@app.route(route="gate")
def gate(req: func.HttpRequest) -> str:
    while not os.path.exists("gate.txt"):
        time.sleep(0.01)
    return "open"

@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
def work(message: func.QueueMessage) -> None:
    print("{name} works on", message.get_body().decode())
"#
    );
    App::python(&source).settings(&json!({"S": "", "SAID": format!("by {name}")}))
}

fn two(python: &Python) -> Launch {
    app("first").launch(python).beside("shop", &app("shop"))
}

fn of<'a>(app: &'a str, event: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |found| found["event"] == event && found["app"] == app
}

fn each_app_has_its_host_its_store_and_its_doors(python: &Python) {
    let server = two(python).start();
    assert_eq!(server.get_of("app", "/api/name").status(200).text(), "first by first app");
    assert_eq!(server.get_of("shop", "/api/name").status(200).text(), "shop by shop shop");
    assert_eq!(server.get_of("SHOP", "/api/name").status(200).text(), "shop by shop shop");
    let unknown = server.get_of("blog", "/api/name").status(404).text();
    assert!(
        unknown.contains("E0511") && unknown.contains("'blog'") && unknown.contains("app, shop"),
        "{unknown}"
    );
    server.get("/api/name").status(404);
    // The same name of a queue, in two stores.
    server.call_of("shop", &["send", "queue", "work", "a coat"]).code(0);
    let line = server.log("works on a coat");
    assert_eq!((&line["app"], &line["message"]), (&json!("shop"), &json!("shop works on a coat")));
    let record = server.invocations("work", 1)[0].clone();
    assert_eq!(record["app"], "shop");
    // Doors and commands.
    for app in ["app", "shop"] {
        server.call_of(app, &["invoke", "name"]).code(0);
    }
    server.get_of("shop", "/admin/functions").status(200);
    let zygote = |app: &str| server.processes_of(app)["zygote"]["processId"].clone();
    assert_ne!(zygote("app"), zygote("shop"));
    // A reload of one is none of the other.
    let file = server.folder_of("shop").join("function_app.py");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"shop %s", "\"store %s")).unwrap();
    server.wait_for("a reload of the shop", of("shop", "reloaded"));
    assert_eq!(server.get_of("shop", "/api/name").status(200).text(), "store by shop shop");
    assert_eq!((server.processes_of("app")["generation"].clone()), json!(1));
    assert_eq!(server.stop().code, Some(0));
}

fn a_broken_app_does_not_stop_the_others_and_is_served_when_mended(python: &Python) {
    let good = app("shop").text("function_app.py");
    let broken = app("shop").file("function_app.py", &format!("import nothing_of_this_name\n{good}"));
    let worse = App::files(&[("notes.txt", "no function yet")]);
    let server = app("first").launch(python).beside("shop", &broken).beside("blog", &worse).start();
    assert_eq!(server.get_of("app", "/api/name").status(200).text(), "first by first app");
    let answer = server.get_of("shop", "/api/name").status(503).text();
    assert!(answer.contains("nothing_of_this_name") && answer.contains("E0203"), "{answer}");
    let answer = server.get_of("blog", "/api/name").status(503).text();
    assert!(answer.contains("can't be served") && answer.contains("E01"), "{answer}");
    std::fs::write(server.folder_of("shop").join("function_app.py"), good).unwrap();
    server.wait_for("the mended shop", of("shop", "reloaded"));
    assert_eq!(server.get_of("shop", "/api/name").status(200).text(), "shop by shop shop");
    app("blog").write(&server.folder_of("blog"));
    server
        .events()
        .look_until("the mended blog", || (server.get_of("blog", "/api/name").status == 200).then_some(()));
}

/// Fair between apps: each has workers and a queue of its own.
fn a_flood_of_one_app_leaves_the_others_answered(python: &Python) {
    let server = two(python).start();
    thread::scope(|scope| {
        let flood: Vec<_> =
            (0..200).map(|_| scope.spawn(|| server.get_of("shop", "/api/gate").status(200))).collect();
        server.events().look_until("work in the shop", || {
            server.processes_of("shop")["workers"][0]["inWork"].as_u64().filter(|in_work| *in_work > 10)
        });
        for _ in 0..20 {
            server.get_of("app", "/api/name").status(200);
        }
        std::fs::write(server.folder_of("shop").join("gate.txt"), "").unwrap();
        flood.into_iter().for_each(|call| drop(call.join().unwrap()));
    });
}

fn apps_of_one_interpreter_share_a_template(python: &Python) {
    // A box has a template of its own, as interpreters run code of packages when they start.
    let server = two(python).beside("blog", &app("blog")).argument("--isolation").argument("off").start();
    let parent = |app: &str| {
        let zygote = server.processes_of(app)["zygote"]["processId"].clone();
        let status = std::fs::read_to_string(format!("/proc/{zygote}/status")).unwrap();
        status.lines().find_map(|line| line.strip_prefix("PPid:")).map(|pid| pid.trim().to_owned())
    };
    assert_eq!(parent("app"), parent("shop"));
    assert_eq!(parent("app"), parent("blog"));
    assert!(parent("app").is_some_and(|pid| server.children().iter().any(|child| child.to_string() == pid)));
}

fn apps_that_are_known_are_imported_at_their_first_event(python: &Python) {
    let timer = r#"
@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
def tick(timer: func.TimerRequest) -> None:
    print("tick")
"#;
    let ticking = App::python(timer).settings(&json!({"S": ""}));
    let mut server = two(python).beside("clock", &ticking).beside("blog", &app("blog")).start();
    let imported = |server: &Server, app: &str| {
        let shown = server.processes_of(app);
        shown["zygote"].is_object() || shown["workers"].as_array().is_some_and(|workers| !workers.is_empty())
    };
    assert!(imported(&server, "app") && imported(&server, "shop"));
    // A file that changes between two starts makes the app another one.
    let file = server.folder_of("blog").join("function_app.py");
    server.kill9();
    std::fs::write(&file, app("letters").text("function_app.py")).unwrap();
    server.restart();
    assert!(!imported(&server, "app") && !imported(&server, "shop"), "nobody has called them");
    assert_eq!(server.get_of("blog", "/api/name").status(200).text(), "letters by blog blog");
    // Timers and queues do not wait for a call.
    server.log("tick");
    server.call_of("shop", &["send", "queue", "work", "a hat"]).code(0);
    server.log("shop works on a hat");
    assert!(!imported(&server, "app"));
    assert_eq!(server.get_of("app", "/api/name").status(200).text(), "first by first app");
    assert!(imported(&server, "app"));
}

fn one_app_can_wait_for_its_first_event_too(python: &Python) {
    let mut server = app("first").launch(python).argument("--lazy").start();
    assert_ne!(server.zygote(), 0);
    server.restart();
    assert_eq!((server.zygote(), server.workers()), (0, Vec::new()));
    assert_eq!(server.get("/api/name").status(200).text(), "first by first app");
}

fn keys_and_lines_are_for_all_apps(python: &Python) {
    let mut server = two(python).terminal().start();
    assert!(
        server
            .events()
            .lines()
            .iter()
            .any(|line| line.contains("shop serves in") && line.contains("3 functions"))
    );
    server.press("h");
    server.events().wait_for_line("r reload · q quit");
    server.press("r");
    for app in ["app", "shop"] {
        server.events().wait_for_line(&format!("{app} reloaded in"));
    }
    server.call_of("shop", &["send", "queue", "work", "a hat"]).code(0);
    server.events().wait_for_line("shop works on a hat");
    assert!(
        server
            .events()
            .lines()
            .iter()
            .any(|line| line.starts_with("shop ") && line.contains("works on a hat"))
    );
    server.press("q");
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn what_can_not_be_said_of_several_apps_is_refused() {
    let check = |launch: Launch, part: &str| {
        let done = launch.run().code(2);
        assert!((done.stdout + &done.stderr).contains(part));
    };
    let python = Python::any();
    let same = two(&python).beside("other/shop", &app("shop"));
    check(same, "would both be the app 'shop'");
    check(two(&python).argument("--clock").argument("moved"), "are for one app");
    let mistyped = app("first").launch(&python);
    let folder = mistyped.folder().with_file_name("shpo");
    check(mistyped.argument(&folder.display().to_string()), "shpo' is no folder");
    assert!(!folder.exists());
    let empty = app("first").launch(&python);
    let folder = empty.folder().with_file_name("empty");
    std::fs::create_dir(&folder).unwrap();
    let done = Call::new(&["start", "--apps"]).path(&folder).run().code(2);
    assert!(done.stderr.contains("no folder in"), "{}", done.stderr);
}

/// `--apps` takes every app in a folder.
#[test]
fn the_apps_of_a_folder_are_served() {
    let launch = app("first").launch(&Python::any()).by_parent().beside("shop", &app("shop"));
    std::fs::create_dir(launch.folder().with_file_name("notes")).unwrap();
    let server = launch.start();
    let ready = server.ready();
    let names: Vec<&Value> = ready["apps"].as_array().unwrap().iter().map(|app| &app["app"]).collect();
    assert_eq!(names, ["app", "shop"]);
    assert_eq!(server.get_of("shop", "/api/name").status(200).text(), "shop by shop shop");
}
