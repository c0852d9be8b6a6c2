//! Secrets of an app's settings in nothing that the server writes, whatever the app does with them (T-050).

use ingle_testkit::{App, Ended, Python, Request, on_each_python};
use serde_json::{Value, json};

on_each_python!(t_050_no_secret_is_in_anything_that_the_server_writes, t_050_the_end_of_a_log_has_no_secret);

/// Each by its name or by its form, with the part of it that is secret.
const SETTINGS: [(&str, &str, &str); 5] = [
    ("DB_PASSWORD", "canary-password", "canary-password"),
    ("StripeApiKey", "canary/api+key", "canary/api+key"),
    (
        "STORAGE",
        "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey=Y2FuYXJ5LWFjY291bnQ=;EndpointSuffix=example.net",
        "Y2FuYXJ5LWFjY291bnQ=",
    ),
    ("DATABASE", "postgresql://app:canary-address@db.example.net/shop", "canary-address"),
    ("UPLOADS", "https://shop.example.net/c?sv=1&sig=canary%2Bsignature", "canary%2Bsignature"),
];

const FUNCTIONS: &str = r#"
import subprocess, urllib.parse
NAMES = ["DB_PASSWORD", "StripeApiKey", "STORAGE", "DATABASE", "UPLOADS"]
ALL = " ".join(os.environ[name] for name in NAMES)
print("imported with", ALL)

@app.route(route="say")
def say(req: func.HttpRequest) -> str:
    print("by print", ALL)
    print("by stderr", ALL, file=sys.stderr)
    logging.info("by logging %r", {name: os.environ[name] for name in NAMES})
    logging.info("by json %s", json.dumps({name: os.environ[name] for name in NAMES}))
    logging.info("encoded %s", urllib.parse.quote(ALL, safe=""))
    try:
        raise ValueError(ALL)
    except ValueError:
        logging.exception("caught")
    os.write(1, f"by descriptor {ALL}\n".encode())
    subprocess.run(["/bin/echo", "by a program", ALL])
    return "said"

@app.route(route="fail")
def fail(req: func.HttpRequest) -> str:
    raise ValueError("can't go on with " + ALL)

@app.route(route="end")
def end(req: func.HttpRequest) -> str:
    os.write(2, f"last words {ALL}\n".encode())
    os.abort()

@app.route(route="greet")
def greet(req: func.HttpRequest) -> str:
    return os.environ["DB_PASSWORD"]
"#;

fn settings() -> Value {
    SETTINGS
        .iter()
        .map(|(name, value, _)| ((*name).to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Nothing of it, as it stands, as it is in an address, or as it was before it was put into one.
#[track_caller]
fn has_none(what: &str, text: &str) {
    for (name, _, secret) in SETTINGS {
        for form in
            [secret.to_owned(), secret.replace('/', "%2F").replace('+', "%2B"), secret.replace("%2B", "+")]
        {
            assert!(!text.contains(&form), "{name} is in {what}: {text}");
        }
    }
}

#[track_caller]
fn nothing_was_written(ended: &Ended) {
    assert!(ended.lines.iter().any(|line| line.contains("***")), "{:?}", ended.lines);
    ended.lines.iter().for_each(|line| has_none("what was printed", line));
    ended.stderr.iter().for_each(|line| has_none("standard error", line));
}

fn t_050_no_secret_is_in_anything_that_the_server_writes(python: &Python) {
    let app = App::python(FUNCTIONS).settings(&settings());
    let server = app.start(python);
    server.get("/api/say").status(200);
    for said in [
        "imported with",
        "by print",
        "by stderr",
        "by logging",
        "by json",
        "encoded",
        "caught",
        "by descriptor",
        "by a program",
    ] {
        let line = server.log(said);
        assert!(line["message"].as_str().unwrap().matches("***").count() >= SETTINGS.len(), "{line}");
    }
    // What is no secret is shown.
    server.log("AccountName=shop;AccountKey=***;EndpointSuffix=example.net");
    let failed = server.get("/api/fail").status(500);
    has_none("the answer of a failure", &failed.text());
    let record = server.invocations("fail", 1).remove(0);
    assert!(record["failure"]["message"].as_str().unwrap().starts_with("can't go on with ***"), "{record}");
    let ended = server.send(Request::post("/api/end", "")).status(502);
    has_none("the answer of an end", &ended.text());
    // What a function answers is its own.
    assert_eq!(server.get("/api/greet").status(200).text(), "canary-password");
    nothing_was_written(&server.stop());
}

/// The end of a log, which the server gives to callers of handlers for AWS Lambda.
fn t_050_the_end_of_a_log_has_no_secret(python: &Python) {
    let handler =
        "import os\ndef lambda_handler(event, context):\n    print('with', os.environ['DB_PASSWORD'])\n";
    let app = App::files(&[("lambda_function.py", handler)]).settings(&settings());
    let server = app.start(python);
    let (_, _, tail) = crate::custom_runtimes::invoke_named(python, &server, "app", &json!({}));
    assert!(tail.contains("with ***"), "{tail}");
    nothing_was_written(&server.stop());
}
