//! Functions for the Functions Framework, as they are; answers are compared with those of the framework's own server.

use ingle_testkit::{App, Request};
use serde_json::{Value, json};

use crate::zappa::dialects;

fn example() -> App {
    App::folder("examples/functions-framework")
}

/// Starts the framework's server for a target, and tells what it answers: status, type, header of the app, body.
const ORACLE: &str = r#"
import http.client, json, os, socket, subprocess, sys, time
folder, target, signature, requests = sys.argv[1:5]
with socket.socket() as chosen:
    chosen.bind(("127.0.0.1", 0))
    port = chosen.getsockname()[1]
words = [os.path.join(os.path.dirname(sys.executable), "functions-framework"), "--target", target, "--port", str(port),
         "--host", "127.0.0.1", "--source", os.path.join(folder, "main.py")]
words += ["--signature-type", signature] if signature else []
server = subprocess.Popen(words, cwd=folder, env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1", FUNCTION_TARGET=target),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert server.poll() is None, "it ended"
            time.sleep(0.05)
    answers = []
    for method, path, headers, body in json.loads(requests):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request(method, path, body.encode(), headers)
        answer = connection.getresponse()
        answers.append([answer.status, answer.getheader("content-type") or "", answer.getheader("x-target") or "",
                        answer.read().decode()])
    print(json.dumps(answers))
finally:
    server.terminate()
    server.wait()
"#;

/// One target, with its signature if it has no decorator.
fn compare(target: &str, signature: &str, requests: &Value) -> ingle_testkit::Server {
    let python = dialects();
    let launch = example().launch(&python).variable("FUNCTION_TARGET", target);
    let launch = match signature {
        "" => launch,
        signature => launch.variable("FUNCTION_SIGNATURE_TYPE", signature),
    };
    let server = launch.start();
    let folder = server.folder().display().to_string();
    let expected = python.run(ORACLE, &[&folder, target, signature, &requests.to_string()]);
    let expected: Vec<Value> = serde_json::from_str(expected.lines().last().unwrap()).unwrap();
    assert_eq!(requests.as_array().unwrap().len(), expected.len());
    for (request, expected) in requests.as_array().unwrap().iter().zip(expected) {
        let text = |index: usize| request[index].as_str().unwrap();
        let sent = Request::new(text(0), text(1)).body(text(3).to_owned());
        let headers = request[2].as_object().unwrap().iter();
        let sent = headers.fold(sent, |sent, (name, value)| sent.header(name, value.as_str().unwrap()));
        let answer = server.send(sent);
        let named = |name: &str| answer.all(name).first().copied().unwrap_or_default().to_owned();
        let seen = json!([answer.status, named("content-type"), named("x-target"), shown(&answer.text())]);
        let mut expected = expected;
        expected[3] = shown(expected[3].as_str().unwrap()).into();
        assert_eq!(seen, expected, "{request}");
    }
    server
}

/// A refused event is told with all headers that the client sent, which differ.
fn shown(body: &str) -> String {
    body.split("Got HTTP headers").next().unwrap_or_default().to_owned()
}

#[test]
fn http_functions_answer_as_the_framework_does() {
    let json_type = json!({"content-type": "application/json"});
    let requests = json!([
        ["GET", "/", {}, ""],
        ["GET", "/?name=Ada%20L", {}, ""],
        ["GET", "/some/path?name=Ada", {}, ""],
        ["GET", "/?name=nobody", {}, ""],
        ["GET", "/?name=all", {}, ""],
        ["POST", "/orders/7", json_type, "{\"dish\": \"soup\"}"],
        ["POST", "/", json_type, "no JSON"],
        ["POST", "/", {}, "{}"],
        ["PUT", "/", {}, ""],
        ["GET", "/robots.txt", {}, ""],
        ["GET", "/favicon.ico", {}, ""],
    ]);
    let server = compare("hello", "", &requests);
    let why = server.ready()["why"].as_str().unwrap().to_owned();
    assert!(why.contains("the function hello for the Functions Framework"), "{why}");
}

#[test]
fn cloud_events_come_in_both_modes() {
    let head = json!({"ce-id": "1", "ce-source": "/oven", "ce-type": "baked", "ce-specversion": "1.0",
        "content-type": "application/json"});
    let event = json!({"specversion": "1.0", "id": "2", "source": "/stove", "type": "cooked",
        "datacontenttype": "application/json", "data": {"pots": 3}});
    let structured = json!({"content-type": "application/cloudevents+json"});
    let requests = json!([
        ["POST", "/", head, "{\"loaves\": 2}"],
        ["POST", "/", structured, event.to_string()],
        ["POST", "/", structured, "no JSON"],
        ["POST", "/", {"content-type": "application/json"}, "{}"],
        ["GET", "/", {}, ""],
    ]);
    let server = compare("noted", "", &requests);
    server.log("noted baked from /oven: {'loaves': 2}");
    server.log("noted cooked from /stove: {'pots': 3}");
}

#[test]
fn typed_functions_take_their_class() {
    let json_type = json!({"content-type": "application/json"});
    let requests = json!([
        ["POST", "/", json_type, "{\"dish\": \"soup\", \"count\": 2}"],
        ["POST", "/", json_type, "no JSON"],
    ]);
    drop(compare("doubled", "", &requests));
}

#[test]
fn background_functions_get_data_and_context() {
    let event = json!({"context": {"eventId": "7", "timestamp": "2026-01-12T15:37:00Z", "eventType": "google.storage.object.finalize",
        "resource": {"service": "storage.googleapis.com", "name": "projects/_/buckets/b/objects/leaf", "type": "storage#object"}},
        "data": {"name": "leaf", "bucket": "b"}});
    let requests = json!([
        ["POST", "/", {"content-type": "application/json"}, event.to_string()],
        ["POST", "/", {"content-type": "application/json"}, "{}"],
    ]);
    let server = compare("stored", "event", &requests);
    server.log("stored leaf of google.storage.object.finalize: 7");
}

/// Ingle makes the environment; nothing names the framework.
#[test]
fn the_framework_is_installed_by_itself() {
    let app = App::default().file(
        "main.py",
        "import functions_framework\n@functions_framework.http\ndef only(request):\n    return 'here'\n",
    );
    let server = app.launch(&ingle_testkit::Python::any()).own_choice_of_python().start();
    assert_eq!(server.get("/").status(200).text(), "here");
}

#[test]
fn what_is_wrong_is_said() {
    let check = |app: App, code: &str, part: &str| {
        let error = app.launch(&dialects()).may_complain("").run().code(1).json();
        assert!(error["code"] == code && error.to_string().contains(part), "{error}");
    };
    check(example().file("ingle.toml", ""), "E0249", "hello, noted, doubled");
    check(example().file("ingle.toml", "[function]\ntarget = \"gone\"\n"), "E0249", "does not define");
}
