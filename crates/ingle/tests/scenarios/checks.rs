//! `ingle check` of projects: what their file says, and what each of their functions does when it is imported.

use std::path::Path;

use ingle_testkit::{App, Call, Done, Launch, Python, on_each_python};
use serde_json::{Value, json};

on_each_python!(what_is_wrong_with_each_function_is_found);

const TEMPLATE: &str = "\
Transform: AWS::Serverless-2016-10-31
Resources:
  Good:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: good/
      Handler: app.handler
      Policies: AWSLambdaBasicExecutionRole
      Events:
        Get: {Type: HttpApi, Properties: {Path: /good, Method: get}}
  Misspelt:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: bad/
      Handler: app.handlr
  Unfinished:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: bad/
      Handler: unfinished.handler
  Elsewhere:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: elsewhere/
      Handler: app.handler
";

const HANDLER: &str = "def handler(event, context):\n    return {'statusCode': 200}\n";

fn project() -> App {
    App::default()
        .file("template.yaml", TEMPLATE)
        .file("good/app.py", HANDLER)
        .file("bad/app.py", HANDLER)
        .file("bad/unfinished.py", "def handler(event, context):\n    return (\n")
}

fn problem_of<'a>(report: &'a Value, function: &str) -> &'a Value {
    let problems = report["problems"].as_array().unwrap();
    problems.iter().find(|one| one["function"] == function).unwrap_or_else(|| panic!("{report:#}"))
}

/// The last line.
fn report_of(done: &Done) -> Value {
    done.json_lines().pop().unwrap()
}

fn check_as_text(launch: &Launch, python: &Python) -> Done {
    Call::new(&["check", "--python"]).path(&python.program).path(&launch.folder()).run()
}

fn what_is_wrong_with_each_function_is_found(python: &Python) {
    let launch = project().launch(python);
    let done = launch.check().code(1);
    let told = done.json_lines();
    let of_project = told.iter().find(|event| event["event"] == "project").unwrap();
    assert_eq!(of_project["ignored"][0]["line"], 8, "{of_project:#}");
    let report = report_of(&done);
    assert_eq!((&report["event"], &report["errors"]), (&json!("checked"), &json!(5)), "{report:#}");
    assert_eq!(report["functions"], json!(["Good"]), "{report:#}");
    // Files are named from the project's folder, and lines are those of the code.
    let unfinished = problem_of(&report, "Unfinished");
    assert_eq!((&unfinished["file"], &unfinished["line"]), (&json!("bad/unfinished.py"), &json!(2)));
    let misspelt = problem_of(&report, "Misspelt");
    assert!(misspelt["message"].as_str().unwrap().contains("handlr"), "{misspelt:#}");
    let elsewhere = problem_of(&report, "Elsewhere");
    assert_eq!(elsewhere["file"], "template.yaml", "{elsewhere:#}");
    assert!(elsewhere["message"].as_str().unwrap().contains("elsewhere"), "{elsewhere:#}");

    let text = check_as_text(&launch, python).code(1).stdout;
    assert!(text.contains("SAM project template.yaml"), "{text}");
    assert!(text.trim_end().ends_with("template.yaml: 1 function, 5 errors, 0 warnings"), "{text}");
    assert_eq!(text.matches("E0117").count(), 1, "nothing is said twice: {text}");
}

#[test]
fn the_example_is_right() {
    let report = report_of(&App::folder("examples/sam-project").launch(&Python::any()).check().code(0));
    assert_eq!((&report["errors"], &report["warnings"]), (&json!(0), &json!(0)), "{report:#}");
    assert_eq!(report["functions"].as_array().map(Vec::len), Some(2), "{report:#}");
}

/// Two APIs share one address here: which of them answers is said, and how the other one is called.
#[test]
fn a_route_that_two_apis_have_is_told_of() {
    let template = "Transform: AWS::Serverless-2016-10-31\nResources:\n  Shop: {Type: AWS::Serverless::Api, Properties: {StageName: shop}}\n  \
        Admin: {Type: AWS::Serverless::Api, Properties: {StageName: admin}}\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
        Handler: app.handler\n      Events:\n        A: {Type: Api, Properties: {RestApiId: !Ref Shop, Path: '/users/{id}', Method: get}}\n        \
        B: {Type: Api, Properties: {RestApiId: !Ref Admin, Path: '/users/{name}', Method: get}}\n";
    let code = "import json\ndef handler(event, context):\n    of = event['requestContext']\n    return {'statusCode': 200, 'body': of['stage'] + event['path']}\n";
    let app = App::default().file("template.yaml", template).file("app.py", code);
    let launch = app.launch(&Python::any());
    let report = report_of(&launch.check().code(0));
    let problem = &report["problems"][0];
    assert_eq!((&problem["code"], &problem["line"]), (&json!("E0226"), &json!(11)), "{report:#}");
    assert_eq!(problem["message"], "GET /users/{name} of Admin is a route of Shop, too");
    assert!(problem["fix"].as_str().unwrap().contains("/admin/users/{name}"), "{problem}");
    let server = launch.start();
    let answers =
        ["/users/1", "/admin/users/1", "/shop/users/1"].map(|path| server.get(path).status(200).text());
    assert_eq!(answers, ["shop/users/1", "admin/users/1", "shop/users/1"]);
}

#[test]
fn a_project_whose_file_cannot_be_read_is_told_of() {
    let broken = "Resources:\n  A:\n    Type: AWS::Serverless::Function\n   x: [\n";
    let launch = App::default().file("template.yaml", broken).launch(&Python::any());
    let error = launch.check().code(1).json();
    assert_eq!(error["code"], "E0115", "{error}");
    assert!(error["message"].as_str().unwrap().starts_with("template.yaml:4: "), "{error}");
}

/// Azure's cloud installs nothing by itself, and AWS has no use for its package.
#[test]
fn no_package_of_azure_is_added_for_aws() {
    let app = App::default().file("requirements.txt", "# none\n").file("lambda_function.py", HANDLER);
    let handler = "def lambda_handler(event, context):\n    return 1\n";
    let launch = app.file("lambda_function.py", handler).launch(&Python::any());
    let fix = |folder: &Path| {
        Call::new(&["check", "--fix", "--json", "--python"])
            .path(&Python::any().program)
            .path(folder)
            .run()
            .code(0)
    };
    assert!(fix(&launch.folder()).json_lines().iter().all(|event| event["event"] != "changed"));
    assert_eq!(std::fs::read_to_string(launch.folder().join("requirements.txt")).unwrap(), "# none\n");
}
