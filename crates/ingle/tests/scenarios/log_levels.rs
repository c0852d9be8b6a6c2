//! What is logged is said in files, settings and commands, and changes while the server serves.

use std::thread;

use ingle_testkit::{App, Python, Request, Server, on_each_python, whoami_of};
use serde_json::{Value, json};

on_each_python!(
    rules_of_host_json_decide_what_is_shown,
    s_045_levels_change_live_and_work_in_hand_goes_on,
    s_045_a_command_changes_levels_of_the_running_server,
    debug_lines_of_a_first_call_are_there,
);

const APP: &str = r#"
@app.route(route="say")
def say(req: func.HttpRequest) -> str:
    logging.debug("by debug")
    logging.info("by info")
    logging.error("by error")
    return "said"

@app.route(route="quiet")
def quiet(req: func.HttpRequest) -> str:
    logging.info("quiet info")
    logging.error("quiet error")
    return "said"

@app.route(route="slow")
def slow(req: func.HttpRequest) -> str:
    print("begun")
    while not os.path.exists(os.path.join(os.path.dirname(os.path.abspath(__file__)), "gate.txt")):
        time.sleep(0.01)
    logging.debug("slow debug")
    return "process %d" % whoami()
"#;

fn host(rules: Value) -> Value {
    json!({"version": "2.0", "logging": {"logLevel": rules}})
}

/// What a call of `say` leaves in the log, up to the line that always comes.
fn said(server: &Server) -> Vec<String> {
    let before = server.events().all().len();
    server.get("/api/say").status(200);
    let end = |event: &Value| event["message"] == "by error";
    server.events().wait_until("by error", |events| events[before..].iter().any(end).then_some(()));
    let events = server.events().all();
    let said = events[before..].iter().filter_map(|event| event["message"].as_str()?.strip_prefix("by "));
    said.map(str::to_owned).collect()
}

fn rules_of_host_json_decide_what_is_shown(python: &Python) {
    let rules = json!({"Function": "Error", "Function.say": "Information", "Function.say.User": "Trace", "Worker": "None"});
    let settings = json!({"AzureFunctionsJobHost__logging__logLevel__Function.say.User": "Warning"});
    let app = App::python(&format!("print('at import'){APP}"));
    let server = app.host(&host(rules)).settings(&settings).start(python);
    // The setting wins over the file.
    assert_eq!(said(&server), ["error"]);
    server.get("/api/quiet").status(200);
    server.log("quiet error");
    server.invocations("say", 1);
    let events = server.stop().events;
    let is_there = |what: &str| events.iter().any(|event| event["message"] == what);
    assert!(!is_there("quiet info") && !is_there("at import"), "{events:#?}");
    let record = events.iter().find(|event| event["event"] == "invocation" && event["function"] == "quiet");
    assert_eq!(record, None, "an invocation that went well is information");
}

fn write(server: &Server, file: &str, text: &Value, count: usize) {
    std::fs::write(server.folder().join(file), text.to_string()).unwrap();
    server.wait_for_many(count, "changes of levels", |event| event["event"] == "log_levels");
}

fn s_045_levels_change_live_and_work_in_hand_goes_on(python: &Python) {
    let server = App::python(APP).settings(&json!({})).start(python);
    let worker = server.workers();
    assert_eq!(said(&server), ["info", "error"]);
    let mut client = server.client();
    let slow = thread::spawn(move || client.send(Request::get("/api/slow")).unwrap().text());
    server.log("begun");
    write(&server, "local.settings.json", &json!({"Values": {"PYTHON_ENABLE_DEBUG_LOGGING": "1"}}), 1);
    server.events().look_until("debug lines", || said(&server).contains(&"debug".to_owned()).then_some(()));
    // The same process, in the middle of its work.
    std::fs::write(server.folder().join("gate.txt"), "open").unwrap();
    assert_eq!(slow.join().unwrap(), format!("process {}", whoami_of(worker[0])));
    server.log("slow debug");
    write(&server, "host.json", &host(json!({"Function.say": "Error"})), 2);
    assert_eq!(said(&server), ["error"]);
    write(&server, "host.json", &host(json!({})), 3);
    write(&server, "local.settings.json", &json!({"Values": {}}), 4);
    server.events().look_until("no debug lines", || (said(&server) == ["info", "error"]).then_some(()));
    assert_eq!(server.workers(), worker);
    let is_reload = |event: &&Value| event["event"] == "reloaded" || event["event"] == "kept";
    assert_eq!(server.events().all().iter().find(is_reload), None);
    // Anything else in these files takes a new generation.
    std::fs::write(server.folder().join("local.settings.json"), r#"{"Values": {"OTHER": "1"}}"#).unwrap();
    server.wait_for("reloaded", |event| event["event"] == "reloaded");
}

fn s_045_a_command_changes_levels_of_the_running_server(python: &Python) {
    let server = App::python(APP).host(&host(json!({"default": "Warning"}))).start(python);
    let rules = |words: &[&str]| {
        let words: Vec<&str> = ["log-level", "--json"].iter().chain(words).copied().collect();
        server.call(&words).code(0).json()
    };
    assert_eq!(said(&server), ["error"]);
    assert_eq!(rules(&[])["rules"], json!([{"category": "default", "level": "Warning", "from": "app"}]));
    let changed = rules(&["Function.say", "debug"]);
    assert_eq!(changed["rules"][0], json!({"category": "Function.say", "level": "Debug", "from": "command"}));
    server.events().look_until("debug lines", || (said(&server) == ["debug", "info", "error"]).then_some(()));
    // It lasts over new versions of the app.
    std::fs::write(server.folder().join("other.py"), "").unwrap();
    server.wait_for("reloaded", |event| event["event"] == "reloaded");
    assert_eq!(said(&server), ["debug", "info", "error"]);
    rules(&["--reset", "Function.say"]);
    assert_eq!(said(&server), ["error"]);
    let text = server.call(&["log-level", "information"]).code(0).stdout;
    assert_eq!(text.trim(), "default Information (by command)");
    assert_eq!(said(&server), ["info", "error"]);
    assert!(server.call(&["log-level", "loud"]).code(2).stderr.contains("Trace, Debug"));
}

/// Each worker is new: what it hands over is known before it has its first call.
fn debug_lines_of_a_first_call_are_there(python: &Python) {
    let settings = json!({"PYTHON_ENABLE_DEBUG_LOGGING": "1"});
    let app = App::python(APP).settings(&settings);
    let server = app.file("ingle.toml", "[workers]\nspare = 0\nidle_timeout = \"10ms\"\n").start(python);
    for _ in 0..3 {
        server.events().look_until("no worker", || server.workers().is_empty().then_some(()));
        assert_eq!(said(&server), ["debug", "info", "error"]);
    }
}

#[test]
fn without_a_server_there_is_nothing_to_change() {
    let launch = App::python(APP).launch(&Python::any());
    let done = launch.call(&["log-level", "debug"]).run().code(3);
    assert!(done.stderr.contains("no server runs"), "{done:?}");
}
