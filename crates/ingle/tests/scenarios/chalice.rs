//! Projects of Chalice, as they are; answers are compared with those of Chalice's own test client.

use ingle_testkit::{App, Python, Request, Server, workspace};
use serde_json::{Value, json};

/// The Python that has `chalice`. Which version of Python it is does not matter.
fn chalice() -> Python {
    let program = workspace().join("target/venvs/chalice/bin/python");
    assert!(program.exists(), "no chalice: run `cargo xtask setup`");
    Python { version: "3", program }
}

fn shop() -> App {
    App::folder("examples/chalice-app")
}

/// Method, path, headers and body of requests; what their order changes is compared, too.
const REQUESTS: &str = r#"[
    ["GET", "/items?x=1&y=%20", {}, ""],
    ["GET", "/items/1", {}, ""],
    ["GET", "/items/none", {}, ""],
    ["PUT", "/items/3", {"content-type": "application/json"}, "{\"name\": \"tea\"}"],
    ["PUT", "/items/3", {"content-type": "application/json"}, "no JSON"],
    ["PUT", "/items/3", {"content-type": "text/plain"}, "tea"],
    ["GET", "/items/3", {"cookie": "a=1; b=2"}, ""],
    ["POST", "/notes", {"content-type": "application/json"}, "{\"text\": \"milk\"}"],
    ["POST", "/notes", {"content-type": "application/x-www-form-urlencoded"}, "text=milk"],
    ["GET", "/notes", {}, ""],
    ["GET", "/broken", {}, ""],
    ["GET", "/secret", {"authorization": "ada"}, ""],
    ["GET", "/secret", {"authorization": "bob"}, ""],
    ["GET", "/secret", {}, ""],
    ["POST", "/picture", {"content-type": "image/png", "accept": "image/png"}, "PNG"],
    ["POST", "/picture", {"content-type": "image/png"}, "PNG"],
    ["POST", "/picture", {"content-type": "text/plain"}, "PNG"]
]"#;

/// What Chalice's own client gets for them: status, headers that the app made, body.
const ORACLE: &str = r#"
import json, os, sys
os.chdir(sys.argv[1])
sys.path.insert(0, ".")
from app import app
from chalice.test import Client
answers = []
with Client(app) as client:
    for method, path, headers, body in json.loads(sys.argv[2]):
        answer = client.http.request(method, path, headers=headers, body=body.encode())
        kept = {name.lower(): value for name, value in answer.headers.items()
                if name.lower().startswith(("x-shop", "access-control-", "content-type"))}
        answers.append([answer.status_code, kept, answer.body.decode()])
print(json.dumps(answers))
"#;

/// Its functions are known only by an import, and each is then imported for itself.
#[test]
fn the_functions_of_a_project_are_checked() {
    let report = shop().launch(&chalice()).check().code(0).json_lines().pop().unwrap();
    assert_eq!((&report["event"], &report["problems"]), (&json!("checked"), &json!([])), "{report:#}");
    assert!(report["functions"].as_array().unwrap().len() > 1, "{report:#}");
}

#[test]
fn a_project_answers_as_chalice_itself() {
    let python = chalice();
    let server = shop().start(&python);
    let folder = server.folder().display().to_string();
    let expected = python.run(ORACLE, &[&folder, REQUESTS]);
    let expected: Vec<Value> = serde_json::from_str(expected.lines().last().unwrap()).unwrap();
    let requests: Vec<(String, String, Value, String)> = serde_json::from_str(REQUESTS).unwrap();
    assert_eq!(requests.len(), expected.len());
    for ((method, path, headers, body), expected) in requests.into_iter().zip(expected) {
        let request = Request::new(&method, &path).body(body);
        let headers = headers.as_object().unwrap();
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()));
        let answer = server.send(request).status(u16::try_from(expected[0].as_u64().unwrap()).unwrap());
        for (name, value) in expected[1].as_object().unwrap() {
            assert_eq!(answer.header(name), value.as_str().unwrap(), "{name} of {method} {path}");
        }
        // Only the blanks of refusals differ.
        let expected = expected[2].as_str().unwrap().replace("\"Message\": ", "\"Message\":");
        assert_eq!(answer.text(), expected, "{method} {path}");
    }
}

#[test]
fn what_its_api_does_before_the_app_is_as_at_aws() {
    let server = shop().start(&chalice());
    let asked = Request::new("OPTIONS", "/items/3").header("origin", "https://shop.example");
    let answer = server.send(asked).status(200);
    assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
    assert_eq!(answer.header("access-control-allow-methods"), "GET,PUT,OPTIONS");
    assert_eq!(answer.header("access-control-max-age"), "60");
    for (method, path) in [("GET", "/unknown"), ("DELETE", "/items"), ("OPTIONS", "/items")] {
        let refused = server.send(Request::new(method, path)).status(403);
        assert_eq!(refused.text(), "{\"message\":\"Missing Authentication Token\"}", "{method} {path}");
    }
    // The stage stands before paths, where callers know it from AWS.
    assert_eq!(server.get("/api/items/1").status(200).json()["name"], "bread");
}

#[test]
fn its_other_functions_are_invoked_by_their_names() {
    let server = shop().start(&chalice());
    let counted = server.call(&["invoke", "count", "--data", "{\"add\": 3}", "--json"]).code(0).json();
    assert_eq!(counted["outcome"], "success", "{counted}");
    let path = "/2015-03-31/functions/shop-dev-count/invocations";
    let counted = server.send(Request::post(path, "{\"add\": 3}")).status(200).json();
    // Settings of the function win over those of its stage.
    assert_eq!(counted, json!({"count": 2, "add": 3, "memory": "512"}));
    let path = "/2015-03-31/functions/shop-dev-hourly/invocations";
    let event = json!({"version": "0", "id": "1", "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "1", "time": "2026-01-12T15:37:00Z", "region": "us-east-1", "resources": [], "detail": {}});
    server.send(Request::post(path, event.to_string())).status(200);
    server
        .wait_for("its line", |event| event.to_string().contains("an hour has passed: 2026-01-12T15:37:00Z"));
}

#[test]
fn messages_come_to_the_handler_of_their_queue() {
    let server = shop().start(&chalice());
    server.call_of("shop-dev-take", &["send", "queue", "orders", "bread"]).code(0);
    server.wait_for("its line", |event| event.to_string().contains("order bread"));
}

#[test]
fn messages_come_to_the_handler_of_their_topic() {
    let server = shop().start(&chalice());
    server.call(&["send", "topic", "news", "bread is here", "--subject", "today"]).code(0);
    server.wait_for("its line", |event| event.to_string().contains("news: today bread is here"));
}

#[test]
fn what_is_not_served_of_a_project_is_said() {
    let closed = "\n\nfrom chalice import IAMAuthorizer\n\n@app.route('/closed', authorizer=IAMAuthorizer())\n\
        def closed():\n    return {}\n";
    let source = shop().text("app.py") + closed;
    let server = shop().file("app.py", &source).start(&chalice());
    let project = project(&server);
    assert_eq!((&project["kind"], &project["file"]), (&json!("Chalice"), &json!(".chalice/config.json")));
    let names = json!([
        "shop-dev",
        "shop-dev-count",
        "shop-dev-hourly",
        "shop-dev-take",
        "shop-dev-told",
        "shop-dev-only_ada"
    ]);
    assert_eq!(project["functions"], names);
    let place = |word: &str| {
        let mut entries = project["notYet"].as_array().unwrap().iter();
        let found = entries.find(|entry| entry["what"].as_str().unwrap().contains(word)).unwrap();
        assert_eq!(found["file"], "app.py");
        source.lines().nth(found["line"].as_u64().unwrap() as usize - 1).unwrap().to_owned()
    };
    assert_eq!(place("the authorizer sigv4 of /closed"), "def closed():");
}

#[test]
fn guarded_routes_want_a_key() {
    let server = shop().launch(&chalice()).argument("--auth").start();
    server.get("/secret").status(401);
    server.get("/items").status(200);
}

/// What stands in `vendor` is found, and what is wrong with a project has its place.
#[test]
fn what_is_wrong_with_a_project_has_its_place() {
    let head = "from chalice import Chalice\napp = Chalice(app_name='x')\n";
    let made = |config: &str, code: &str| {
        App::default().file(".chalice/config.json", config).file("app.py", &format!("{head}{code}"))
    };
    let check = |app: App, code: &str, parts: &[&str]| {
        let error = app.launch(&chalice()).may_complain("").run().code(1).json();
        assert_eq!(error["code"], code, "{error}");
        for part in parts {
            assert!(error["message"].as_str().unwrap().contains(part), "{part}: {error}");
        }
    };
    check(made("{\"version\": \"2.0\",\n \"app_name\" \"x\"}", ""), "E0115", &[".chalice/config.json:2"]);
    check(
        made("{\"app_name\": \"x\"}", "import nothing_like_it\n"),
        "E0115",
        &["app.py", ":3", "nothing_like_it"],
    );
    check(made("{\"app_name\": \"x\"}", "app = 7\n"), "E0115", &["app.py"]);
    check(App::default().file(".chalice/config.json", "{}"), "E0115", &[".chalice/config.json:1", "app.py"]);

    let vendored = "import given\n@app.route('/')\ndef index():\n    return {'word': given.WORD}\n\
        @app.schedule('rate(1 fortnight)')\ndef often(event):\n    pass\n";
    let vendored = made("{\"app_name\": \"x\"}", vendored).file("vendor/given.py", "WORD = 'vendor'\n");
    let server = vendored.launch(&chalice()).may_complain("E0243").start();
    assert_eq!(server.get("/").status(200).json()["word"], "vendor");
    let problem = &project(&server)["problems"][0];
    assert_eq!(
        (&problem["code"], &problem["file"], &problem["line"]),
        (&json!("E0243"), &json!("app.py"), &json!(8))
    );
}

fn project(server: &Server) -> Value {
    server.wait_for("the project", |event| event["event"] == "project")
}
