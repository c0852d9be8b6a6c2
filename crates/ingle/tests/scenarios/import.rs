//! `ingle import`: what runs of an app from elsewhere, and the file that is written for it.

use ingle_testkit::{App, Done, Python};
use serde_json::{Value, json};

use crate::zappa::dialects;

/// Imports an app and gives the report, with the ingle.toml that was written.
fn import(app: &App, python: &Python, words: &[&str]) -> (Value, Option<String>) {
    let launch = app.clone().read_only().launch(python);
    let done = call(&launch.folder(), python, words).code(0);
    let written = std::fs::read_to_string(launch.folder().join("ingle.toml")).ok();
    (done.json(), written)
}

fn call(folder: &std::path::Path, python: &Python, words: &[&str]) -> Done {
    let call = ingle_testkit::Call::new(&["import", "--json"]).path(folder);
    let call = words.iter().fold(call, |call, word| call.word(word));
    call.word("--python").path(&python.program).run()
}

/// The places of everything that has a status.
fn places(report: &Value, status: &str) -> Vec<String> {
    let entries = report["entries"].as_array().unwrap().iter().filter(|entry| entry["status"] == status);
    entries
        .map(|entry| {
            format!(
                "{}:{} {}",
                entry["file"].as_str().unwrap(),
                entry["line"],
                entry["what"].as_str().unwrap()
            )
        })
        .collect()
}

const SAM: &str = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n    \
    Properties:\n      CodeUri: src\n      Handler: app.handler\n      Runtime: python3.11\n      \
    Policies: [AmazonS3ReadOnlyAccess]\n      Events:\n        Get:\n          Type: HttpApi\n          \
    Properties: {Path: /hello, Method: get}\n        Say:\n          Type: AlexaSkill\n";

#[test]
fn a_report_says_what_runs_and_what_is_missing() {
    let app = App::default()
        .file("template.yaml", SAM)
        .file("src/app.py", "def handler(event, context):\n    return 'hello'\n");
    let (report, written) = import(&app, &Python::any(), &[]);
    assert_eq!((&report["kind"], &report["file"]), (&json!("SAM"), &json!("template.yaml")));
    assert_eq!(
        places(&report, "runs"),
        ["template.yaml:3 function Hello", "template.yaml:11 GET /hello of Hello"]
    );
    assert_eq!(places(&report, "missing"), ["template.yaml:14 the event Say"]);
    assert_eq!(places(&report, "ignored"), ["template.yaml:9 Policies of Hello"]);
    // Two of three, rounded down.
    assert_eq!(report["score"], 66);
    let written = written.unwrap();
    assert!(written.contains("# missing: template.yaml:14 the event Say"), "{written}");
    assert_eq!(report["toml"], json!(written));
    // With it, the app is served as before.
    let server = app.file("ingle.toml", &written).start(&Python::any());
    assert_eq!(server.get("/hello").status(200).text(), "hello");
}

/// What comes from another file stands at the line of its reference, and counts one by one all the same.
#[test]
fn parts_that_share_a_line_count_one_by_one() {
    let file = "service: shop\nprovider: {name: aws, runtime: python3.11}\nfunctions:\n  hello: ${file(hello.yml)}\n";
    let included = "handler: app.handler\nevents:\n  - httpApi: GET /open\n  - httpApi: {method: get, path: /closed, authorizer: {type: aws_iam}}\n  - http: GET /rest\n";
    let app = App::default()
        .file("serverless.yml", file)
        .file("hello.yml", included)
        .file("app.py", "def handler(event, context): ...\n");
    let (report, _) = import(&app, &Python::any(), &[]);
    let at = |what: &str| format!("serverless.yml:4 {what}");
    let runs =
        ["function shop-dev-hello", "GET /open of shop-dev-hello", "GET /rest of shop-dev-hello"].map(at);
    assert_eq!(places(&report, "runs"), runs);
    assert_eq!(places(&report, "missing"), [at("the authorizer aws_iam of /closed")]);
    assert_eq!(report["score"], 75);
}

const OPEN: &str = "Transform: AWS::Serverless-2016-10-31\nParameters:\n  Where: {Type: String}\nResources:\n  Hello:\n    \
    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: src\n      Handler: !Sub \"${Where}.handler\"\n";

/// A function without a known handler is missing until somebody says what its template leaves open.
#[test]
fn parameters_of_a_template_are_given() {
    let app = App::default()
        .file("template.yaml", OPEN)
        .file("src/app.py", "def handler(event, context):\n    return 'hello'\n");
    let runs = |app: &App, words: &[&str]| places(&import(app, &Python::any(), words).0, "runs");
    assert_eq!(runs(&app, &["--stdout", "--parameter", "Where=app"]), ["template.yaml:5 function Hello"]);
    let overrides = "[default.deploy.parameters]\nparameter_overrides = \"Where=app\"\n";
    let app = app.file("samconfig.toml", overrides);
    assert_eq!(runs(&app, &["--stdout"]), ["template.yaml:5 function Hello"]);
    // By hand, with a value that wins: a module that is not there.
    let launch = app.launch(&Python::any());
    let folder = launch.folder().display().to_string();
    let invoke = |words: &[&str]| {
        let words = [&["invoke", "Hello", "--app", &folder, "--json"], words].concat();
        ingle_testkit::Call::new(&words).run()
    };
    assert_eq!(invoke(&[]).code(0).json()["outputs"]["$return"], "hello");
    let words = ["--template-parameter", "Where=nowhere"];
    assert!(invoke(&words).code(1).stdout.contains("nowhere"), "{words:?}");
}

#[test]
fn an_ingle_toml_is_not_written_over() {
    let own = "[workers]\nmax = 2\n";
    let app = App::folder("examples/lambda-url").file("ingle.toml", own);
    let launch = app.launch(&Python::any());
    let read = || std::fs::read_to_string(launch.folder().join("ingle.toml")).unwrap();
    let refused = call(&launch.folder(), &Python::any(), &[]).code(2).json();
    assert_eq!((&refused["code"], read().as_str()), (&json!("E0704"), own));
    let shown = call(&launch.folder(), &Python::any(), &["--stdout"]).code(0).json();
    assert_eq!((&shown["written"], read().as_str()), (&Value::Null, own));
    assert!(shown["toml"].as_str().unwrap().contains("[lambda]\nhandler = \""), "{shown}");
    call(&launch.folder(), &Python::any(), &["--force"]).code(0);
    assert_eq!(shown["toml"], json!(read()));
}

#[test]
fn every_kind_of_app_has_a_report() {
    let check = |app: &App, python: &Python, words: &[&str], kind: &str, runs: &str, settings: &str| {
        let (report, written) = import(app, python, words);
        assert_eq!(report["kind"], kind, "{report}");
        assert!(places(&report, "runs").iter().any(|place| place.contains(runs)), "{runs} in {report}");
        assert!(written.unwrap().contains(settings), "{report}");
        report
    };
    let any = Python::any();
    let azure =
        check(&App::folder("examples/poison-queue"), &any, &[], "Azure Functions v2", "function_app.py:", "");
    assert_eq!(azure["score"], 100, "{azure}");
    check(&App::folder("examples/lambda-url"), &any, &[], "AWS Lambda", "function ", "[lambda]\nhandler = ");
    let serverless = "service: shop\nprovider: {name: aws, runtime: python3.11}\nfunctions:\n  hello:\n    handler: app.handler\n    \
        events:\n      - httpApi: GET /hello\n      - alexaSkill\n";
    let app = App::default()
        .file("serverless.yml", serverless)
        .file("app.py", "def handler(event, context): ...\n");
    let found =
        check(&app, &any, &[], "Serverless", "GET /hello of shop-dev-hello", "# missing: serverless.yml:8");
    assert_eq!(found["score"], 66, "{found}");
    let zappa = check(
        &App::folder("examples/zappa-app"),
        &dialects(),
        &["--stage", "dev"],
        "Zappa",
        "queue pots",
        "100 %",
    );
    assert_eq!(places(&zappa, "missing"), Vec::<String>::new());
    let framework =
        App::folder("examples/functions-framework").file("ingle.toml", "[function]\ntarget = \"hello\"\n");
    check(
        &framework,
        &dialects(),
        &["--force"],
        "Functions Framework",
        "main.py:",
        "[function]\ntarget = \"hello\"",
    );
    check(
        &App::folder("examples/openwhisk"),
        &any,
        &[],
        "OpenWhisk",
        "__main__.py:",
        "[openwhisk]\nfile = \"__main__.py\"\nmain = \"main\"",
    );
}

/// A Chalice app says what it has when it is imported.
#[test]
fn a_chalice_project_has_a_report() {
    let program = ingle_testkit::workspace().join("target/venvs/chalice/bin/python");
    let python = Python { version: "3", program };
    let (report, _) = import(&App::folder("examples/chalice-app"), &python, &[]);
    let missing = places(&report, "missing");
    assert!(report["kind"] == "Chalice" && report["runs"].as_u64().unwrap() > 8, "{report}");
    assert!(missing.iter().all(|place| place.starts_with("app.py:")), "{missing:?}");
}

#[test]
fn what_can_not_be_read_is_said() {
    let broken = "Transform: AWS::Serverless-2016-10-31\nResources: [\n";
    let launch = App::default().file("template.yaml", broken).read_only().launch(&Python::any());
    let error = call(&launch.folder(), &Python::any(), &[]).code(1).json();
    assert_eq!(error["code"], "E0115", "{error}");
    assert!(!launch.folder().join("ingle.toml").exists());
}
