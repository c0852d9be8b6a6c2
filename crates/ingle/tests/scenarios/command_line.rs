//! The commands, their exit codes, and what programs read from them.

use ingle_testkit::{App, Call, Done, Launch, Python};
use serde_json::{Value, json};

const APP: &str = r#"
@app.route(route="hello/{name}", methods=["GET", "POST"])
@app.queue_output(arg_name="out", queue_name="greeted", connection="S")
def hello(req: func.HttpRequest, out: func.Out[str]) -> func.HttpResponse:
    out.set(req.route_params["name"])
    return func.HttpResponse("Hello " + req.route_params["name"] + req.get_body().decode(), status_code=201)

@app.route(route="fail")
def fail(req: func.HttpRequest) -> str:
    raise ValueError("kaput")

@app.queue_trigger(arg_name="message", queue_name="work", connection="S")
@app.cosmos_db_output(arg_name="out", connection="S", database_name="shop", container_name="done",
                      create_if_not_exists=True, partition_key="/id")
def work(message: func.QueueMessage, out: func.Out[func.Document]) -> None:
    out.set(func.Document.from_dict({"id": message.get_body().decode()}))
"#;

fn app() -> App {
    App::python(APP).settings(&json!({"S": "embedded"}))
}

fn launch() -> Launch {
    app().launch(&Python::any())
}

fn assert_plain(done: &Done) {
    assert!(
        !done.stdout.contains('\u{1b}') && !done.stderr.contains('\u{1b}'),
        "colours in a pipe: {done:?}"
    );
}

#[test]
fn messages_are_sent_with_and_without_a_server() {
    let launch = launch();
    let sent = launch.call(&["send", "queue", "work", "early", "--json"]).run().code(0);
    assert_eq!(sent.json(), json!({"queue": "work", "bytes": 5, "delaySeconds": 0}));
    let from_input = launch.call(&["send", "queue", "work", "@-"]).input(b"from input").run().code(0);
    assert_eq!(from_input.stdout.trim(), "put 10 bytes into queue work");
    let waiting = launch.call(&["state", "peek", "work", "--json"]).run().code(0).json();
    assert_eq!(
        (&waiting["messages"][0]["text"], &waiting["messages"][0]["state"]),
        (&json!("early"), &json!("ready"))
    );
    let server = launch.start();
    server.call(&["send", "queue", "work", "late"]).code(0);
    server.call(&["send", "queue", "work", "delayed", "--delay", "3600"]).code(0);
    server.invocations("work", 3);
    let mut done: Vec<String> =
        server.documents("shop/done").iter().map(|document| document["id"].to_string()).collect();
    done.sort();
    assert_eq!(done, ["\"early\"", "\"from input\"", "\"late\""]);
    assert_eq!(server.messages("work")[0]["state"], "delayed");
    server.call(&["send", "queue", "No Name", "x"]).code(2);
    server.call(&["send", "queue", "work", "@/no/such/file"]).code(2);
}

#[test]
fn the_state_is_listed_peeked_at_and_reset() {
    let launch = launch();
    let nothing = launch.call(&["state", "ls"]).run().code(0);
    assert_eq!(nothing.stdout.trim(), "nothing is stored");
    launch.call(&["send", "queue", "spare", "one"]).run().code(0);
    let server = launch.start();
    server.call(&["send", "queue", "work", "first"]).code(0);
    server.invocations("work", 1);
    let listed = server.call(&["state", "ls", "--json"]).code(0).json();
    let names = |kind: &str| -> Vec<Value> {
        listed[kind].as_array().into_iter().flatten().map(|entry| entry["name"].clone()).collect()
    };
    assert!(names("queues").contains(&json!("spare")) && names("containers") == ["shop/done"], "{listed}");
    let text = server.call(&["state", "ls"]).code(0);
    assert_plain(&text);
    assert!(text.stdout.contains("spare  1 ready, 0 in work, 0 delayed"), "{}", text.stdout);
    let peeked = server.call(&["state", "peek", "shop/done", "--json"]).code(0).json();
    assert_eq!(peeked["documents"][0]["id"], "first");
    let unsure = server.call(&["state", "reset"]).code(2);
    assert!(unsure.stderr.contains("--yes"), "{unsure:?}");
    assert_eq!(server.queue_length("spare"), 1);
    let one = server.call(&["state", "reset", "spare", "--yes", "--json"]).code(0).json();
    assert_eq!(one, json!({"messages": 1, "documents": 0, "entities": 0, "blobs": 0}));
    let all = server.call(&["state", "reset", "--yes", "--json"]).code(0).json();
    assert_eq!(all, json!({"messages": 0, "documents": 1, "entities": 0, "blobs": 0}));
    assert!(server.documents("shop/done").is_empty());
}

fn assert_invokes(call: impl Fn(&[&str]) -> Done) {
    let hello = call(&["invoke", "hello", "-p", "name=Ada", "--data", "!", "--json"]).code(0).json();
    assert_eq!((&hello["outcome"], &hello["effects"]), (&json!("success"), &json!(["queue greeted"])));
    assert_eq!(hello["outputs"]["$return"]["status"], 201);
    assert_eq!(hello["outputs"]["$return"]["body"], "Hello Ada!");
    let text = call(&["invoke", "hello", "-p", "name=Bob"]).code(0);
    assert_plain(&text);
    assert!(
        text.stdout.contains("201\nHello Bob\n") && text.stdout.contains("→ queue greeted"),
        "{}",
        text.stdout
    );
    let fails = call(&["invoke", "fail", "--json"]).code(1).json();
    assert_eq!((&fails["outcome"], &fails["failure"]["kind"]), (&json!("failed"), &json!("ValueError")));
    let work = call(&["invoke", "work", "--data", "by hand", "--json"]).code(0).json();
    assert_eq!(work["effects"], json!(["documents shop/done"]));
    let unknown = call(&["invoke", "nobody", "--json"]).code(1).json();
    assert_eq!(unknown["code"], "E0231");
    assert!(unknown["message"].as_str().is_some_and(|message| message.contains("hello")), "{unknown}");
    call(&["invoke", "hello", "-p", "no-value"]).code(2);
}

#[test]
fn a_function_is_invoked_through_the_server() {
    let server = launch().start();
    assert_invokes(|words| server.call(words));
    assert_eq!(server.invoke("hello", "")["outcome"], "failed", "without its route parameter");
}

#[test]
fn a_function_is_invoked_without_a_server() {
    let launch = launch();
    let environment = Python::any().environment().display().to_string();
    assert_invokes(|words| launch.call(words).variable("VIRTUAL_ENV", &environment).run());
}

#[test]
fn the_machine_is_examined() {
    let launch = launch();
    let python = Python::any();
    let call = || Call::new(&["doctor"]).path(&launch.folder()).word("--python").path(&python.program);
    let findings = call().word("--json").run().code(0).json_lines();
    for name in ["app", "python", "installer", "cache", "disk", "port", "kernel"] {
        let finding = findings.iter().find(|finding| finding["check"] == name);
        assert!(
            finding.is_some_and(|finding| finding["verdict"] != "bad" && finding["detail"].is_string()),
            "{name}: {findings:#?}"
        );
    }
    assert_plain(&call().run().code(0));
    let bad =
        Call::new(&["doctor", "--json", "--python", "/no/such/python"]).path(&launch.folder()).run().code(3);
    assert!(
        bad.json_lines().iter().any(|finding| finding["check"] == "python" && finding["verdict"] == "bad")
    );
}

#[test]
fn codes_are_explained_offline() {
    let page = Call::new(&["explain", "e0203"]).run().code(0);
    assert!(page.stdout.contains("E0203"), "{}", page.stdout);
    let json = Call::new(&["explain", "E0203", "--json"]).run().code(0).json();
    assert!(json["code"] == "E0203" && json["title"].is_string() && json["page"].is_string(), "{json}");
    let all = Call::new(&["explain"]).run().code(0);
    assert!(all.stdout.lines().count() > 50, "{}", all.stdout);
    Call::new(&["explain", "E9999"]).run().code(2);
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let done = Call::new(&["completions", shell]).run().code(0);
        assert!(done.stdout.contains("ingle") && done.stdout.contains("start"), "{shell}");
    }
}

#[test]
fn bad_arguments_are_exit_code_two() {
    for words in [&["serve-coffee"][..], &["start", "--no-such-flag"], &["start", "--port", "many"], &[]] {
        let done = Call::new(words).run().code(2);
        assert_plain(&done);
        assert!(!done.stderr.is_empty());
    }
    assert!(Call::new(&["--version"]).run().code(0).stdout.starts_with("ingle "));
    assert!(Call::new(&["--help"]).run().code(0).stdout.contains("start"));
}

#[test]
fn a_folder_that_is_no_app_is_exit_code_two() {
    let empty = tempfile::tempdir().unwrap();
    let done = Call::new(&["start", "--json"]).path(empty.path()).run().code(2);
    assert!(done.json()["code"].as_str().is_some_and(|code| code.starts_with("E01")), "{done:?}");
    assert!(done.json()["hint"].is_string(), "{done:?}");
    let done = Call::new(&["check", "/no/such/folder"]).run().code(2);
    assert!(done.stderr.contains("/no/such/folder"), "{done:?}");
}

/// A path on the command line is meant from where it is typed.
#[test]
fn a_relative_python_is_found() {
    let launch = launch();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(Python::any().environment(), folder.path().join("env")).unwrap();
    for python in ["env/bin/python", "./env"] {
        let call = Call::new(&["check", "--json", "--python", python]).path(&launch.folder());
        assert_eq!(call.inside(folder.path()).run().code(0).json()["errors"], 0, "{python}");
    }
}

/// A cache, too: workers, which are in other folders, find it all the same.
#[test]
fn a_relative_cache_is_found() {
    let launch = launch();
    let folder = tempfile::tempdir().unwrap();
    let call = || {
        let call = Call::new(&["check", "--json", "--python"]).path(&Python::any().program);
        call.path(&launch.folder()).inside(folder.path())
    };
    assert_eq!(call().word("--cache").word("here/cache").run().code(0).json()["errors"], 0);
    assert_eq!(call().variable("INGLE_CACHE", "there").run().code(0).json()["errors"], 0);
    let made = ["here/cache", "there"].map(|made| folder.path().join(made).is_dir());
    assert_eq!(made, [true, true]);
}

#[test]
fn a_port_in_use_is_exit_code_three() {
    let server = launch().start();
    let port = server.address().rsplit(':').next().unwrap_or_default().to_owned();
    let second = Call::new(&["start", "--json", "--port", &port, "--python"]).path(&Python::any().program);
    let done =
        second.word("--state").path(&server.state_folder().join("second")).path(&server.folder()).run();
    let error = done.code(3).json();
    assert_eq!(error["code"], "E0701", "{error}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("--port")), "{error}");
}

#[test]
fn a_store_in_use_is_exit_code_three() {
    let launch = launch();
    let server = launch.clone().start();
    let error = launch.run().code(3).json();
    assert_eq!(error["code"], "E0401", "{error}");
    assert!(error["hint"].is_string(), "{error}");
    assert!(
        server.get("/api/hello/Ada").status(201).text().contains("Ada"),
        "the first server is not disturbed"
    );
}

#[test]
fn only_the_chosen_functions_are_served() {
    let server = launch().argument("--functions").argument("hello").start();
    server.get("/api/hello/Ada").status(201);
    server.get("/api/fail").status(404);
    let names: Vec<Value> = server.ready()["functions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|function| function["name"].clone())
        .collect();
    assert_eq!(names, ["hello"]);
}

#[test]
fn the_start_screen_has_at_most_fifteen_lines() {
    let server = App::folder("examples/restaurant").launch(&Python::any()).text().start();
    let lines = server.events().lines();
    assert!(lines.len() <= 15, "{lines:#?}");
    let screen = lines.join("\n");
    for part in
        ["Azure Functions v2", "Python 3.", "take_order", "/api/orders", "queue", "kitchen", "ready in"]
    {
        assert!(screen.contains(part), "{part:?} is not on the screen:\n{screen}");
    }
    server.post("/api/orders", r#"{"customer": "Ada", "dish": "soup"}"#).status(202);
    let line = server.events().wait_for_line("kitchen queue orders success");
    assert!(line.contains("→ documents restaurant/orders") && line.contains("user"), "{line}");
    let ended = server.stop();
    assert!(!ended.lines.join("").contains('\u{1b}'), "colours in a pipe");
}

#[test]
fn the_json_shape_of_a_start_is_kept() {
    let ready = launch().start().ready();
    for (name, is_there) in [
        ("address", ready["address"].is_string()),
        ("app", ready["app"].is_string()),
        ("why", ready["why"].is_string()),
        ("python.version", ready["python"]["version"].is_string()),
        ("python.why", ready["python"]["why"].is_string()),
        ("tookMs", ready["tookMs"].is_u64()),
        ("functions", ready["functions"].as_array().is_some_and(|functions| functions.len() == 3)),
        ("problems", ready["problems"].is_array()),
        ("functions[0].location", ready["functions"][0]["location"].is_string()),
    ] {
        assert!(is_there, "{name} is not as promised: {ready}");
    }
}
