//! Projects of Zappa, as they are; answers are compared with those of Zappa's own handler.

use ingle_testkit::{App, Python, Request, Server, workspace};
use serde_json::{Value, json};

/// The Python that has `zappa`, `django` and `functions-framework`.
pub(crate) fn dialects() -> Python {
    let program = workspace().join("target/venvs/functions-framework/bin/python");
    assert!(program.exists(), "no functions-framework: run `cargo xtask setup`");
    Python { version: "3", program }
}

fn tea_room() -> App {
    App::folder("examples/zappa-app")
}

fn start(app: &App) -> Server {
    app.launch(&dialects()).argument("--stage").argument("dev").start()
}

/// Method, path, query, headers, body.
const REQUESTS: &str = r#"[
    ["GET", "/", "", {}, ""],
    ["GET", "/", "name=Ada%20L", {}, ""],
    ["POST", "/pots", "", {"content-type": "application/json", "x-waiter": "Bob"}, "{\"pot\": \"green\"}"],
    ["POST", "/pots", "", {"content-type": "application/json"}, "no JSON"],
    ["POST", "/pots", "", {"content-type": "text/plain"}, "{}"],
    ["GET", "/echo/a/b%20c/%C3%A4", "x=1&x=2&y=", {}, ""],
    ["PUT", "/echo/x", "", {"content-type": "text/plain"}, "one\ntwo"],
    ["DELETE", "/echo/x", "", {}, ""],
    ["GET", "/stage", "", {}, ""],
    ["GET", "/none", "", {}, ""],
    ["GET", "/broken", "", {}, ""]
]"#;

/// What Zappa's own handler answers (which names each cookie twice) to events of a REST API: status, content type, cookies, body.
const ORACLE: &str = r#"
import base64, json, os, sys, types, urllib.parse
os.chdir(sys.argv[1])
sys.path.insert(0, ".")
settings = types.ModuleType("zappa_settings")
settings.__dict__.update(
    LOG_LEVEL="CRITICAL", DEBUG=False, BINARY_SUPPORT=True, API_STAGE="dev", PROJECT_NAME="tea-room", DOMAIN=None,
    ENVIRONMENT_VARIABLES={"GREETING": "Hello"}, APP_MODULE="app", APP_FUNCTION="app", DJANGO_SETTINGS=None,
    EXCEPTION_HANDLER=None, BASE_PATH=None, CONTEXT_HEADER_MAPPINGS={}, AWS_EVENT_MAPPING={}, AWS_BOT_EVENT_MAPPING={},
    COGNITO_TRIGGER_MAPPING={}, ASYNC_RESPONSE_TABLE="", SETTINGS_FILE=None, ADDITIONAL_TEXT_MIMETYPES=[],
    PAYLOAD_COMPRESSION=False, PAYLOAD_MINIMUM_COMPRESSION_SIZE=0)
sys.modules["zappa_settings"] = settings
from zappa.handler import LambdaHandler
handler = LambdaHandler("zappa_settings")
answers = []
for method, path, query, headers, body in json.loads(sys.argv[2]):
    headers = dict(headers, Host="localhost")
    event = {"httpMethod": method, "path": path, "headers": headers, "pathParameters": {"proxy": path[1:]},
             "multiValueHeaders": {name: [value] for name, value in headers.items()},
             "multiValueQueryStringParameters": urllib.parse.parse_qs(query, keep_blank_values=True),
             "requestContext": {"identity": {"sourceIp": "127.0.0.1"}}, "isBase64Encoded": False, "body": body}
    answer = handler.handler(event, None)
    raw = answer.get("body") or ""
    raw = base64.b64decode(raw).decode("latin-1") if answer.get("isBase64Encoded") else raw
    named = {name.lower(): values for name, values in answer["multiValueHeaders"].items()}
    answers.append([answer["statusCode"], named["content-type"][0], list(dict.fromkeys(named.get("set-cookie", []))), raw])
print(json.dumps(answers))
"#;

#[test]
fn a_project_answers_as_zappa_itself() {
    let server = start(&tea_room());
    let folder = server.folder().display().to_string();
    let expected = dialects().run(ORACLE, &[&folder, REQUESTS]);
    let expected: Vec<Value> = serde_json::from_str(expected.lines().last().unwrap()).unwrap();
    let requests: Vec<(String, String, String, Value, String)> = serde_json::from_str(REQUESTS).unwrap();
    assert_eq!(requests.len(), expected.len());
    for ((method, path, query, headers, body), expected) in requests.into_iter().zip(expected) {
        let target = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        let request = Request::new(&method, &target).body(body);
        let named = headers.as_object().unwrap().iter();
        let request =
            named.fold(request, |request, (name, value)| request.header(name, value.as_str().unwrap()));
        let answer = server.send(request);
        let seen =
            json!([answer.status, answer.header("content-type"), answer.all("set-cookie"), answer.text()]);
        assert_eq!(seen, expected, "{method} {target}");
    }
    assert_eq!(server.get("/leaf.png").status(200).body.to_vec(), (0..=255).collect::<Vec<u8>>());
}

#[test]
fn functions_of_its_events_run() {
    let server = start(&tea_room());
    let event = json!({"kwargs": {"room": "back"}});
    let path = "/2015-03-31/functions/tea-room-dev-chores-sweep/invocations";
    let swept = server.send(Request::post(path, event.to_string())).status(200).json();
    assert_eq!(swept, json!({"room": "back"}));
    server.call_of("tea-room-dev-chores-brew", &["send", "queue", "pots", "assam"]).code(0);
    server.wait_for("its line", |event| event.to_string().contains("brewed assam"));
    let project = server.wait_for("the project", |event| event["event"] == "project");
    assert_eq!((&project["kind"], &project["file"]), (&json!("Zappa"), &json!("zappa_settings.json")));
    let ignored: Vec<(u64, &str)> = project["ignored"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), one["what"].as_str().unwrap()))
        .collect();
    assert_eq!(ignored, [(2, "the stage base"), (5, "s3_bucket"), (7, "keep_warm"), (24, "the stage prod")]);
}

#[test]
fn the_stage_is_asked_for_where_there_are_several() {
    let launch = tea_room().launch(&dialects());
    let error = launch.clone().may_complain("").run().code(2).json();
    assert_eq!(error["code"], "E0248", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("base, dev, prod"), "{error}");
    let server = launch.variable("INGLE_STAGE", "dev").start();
    assert_eq!(server.get("/stage").status(200).json()["STAGE"], "dev");
}

/// Without Zappa in its environment, which Ingle makes.
#[test]
fn a_django_project_needs_no_zappa() {
    let urls = "import os\nfrom django.http import JsonResponse\nfrom django.urls import path\n\
        def seen(request, name):\n    return JsonResponse({'name': name, 'of': os.environ['KITCHEN']})\n\
        urlpatterns = [path('dishes/<str:name>/', seen)]\n";
    let settings = "SECRET_KEY = 'for tests'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'shop.urls'\n\
        MIDDLEWARE = ['django.middleware.common.CommonMiddleware']\nAPPEND_SLASH = True\n";
    let zappa =
        "[live]\ndjango_settings = \"shop.settings\"\n[live.environment_variables]\nKITCHEN = \"front\"\n";
    let app = App::default()
        .file("zappa_settings.toml", zappa)
        .file("requirements.txt", "django>=4.2\n")
        .file("shop/__init__.py", "")
        .file("shop/settings.py", settings)
        .file("shop/urls.py", urls);
    let server = app.launch(&Python::any()).own_choice_of_python().start();
    let seen = server.get("/dishes/Sp%C3%A4tzle/").status(200).json();
    assert_eq!(seen, json!({"name": "Spätzle", "of": "front"}));
    assert_eq!(server.get("/dishes/soup").status(301).header("location"), "/dishes/soup/");
}

#[test]
fn settings_of_django_that_fail_are_told_of() {
    let app = App::default()
        .file("zappa_settings.yml", "live:\n  django_settings: shop.settings\n")
        .file("shop/__init__.py", "")
        .file("shop/settings.py", "import nothing_like_it\n");
    let server = app.launch(&dialects()).may_complain("").start();
    assert!(server.get("/").status(503).text().contains("nothing_like_it"));
}
