//! Projects of AWS SAM and of the Serverless Framework, as they are: several functions behind the routes of their APIs.

use ingle_testkit::{App, Call, Python, Request, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(
    a_project_of_sam_is_served,
    a_project_of_serverless_is_served,
    a_web_app_of_serverless_wsgi_is_served,
    functions_of_a_project_are_strangers,
    a_function_of_a_project_is_invoked_by_hand,
    what_is_wrong_with_a_project_is_said,
    the_example_is_served,
    functions_of_one_folder_are_reloaded,
    generated_events_are_taken
);

const TEMPLATE: &str = r#"
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Timeout: 5
    MemorySize: 256
    Environment:
      Variables:
        STAGE: test
Resources:
  Words:
    Type: AWS::Serverless::LayerVersion
    Properties:
      ContentUri: words/
  ShowFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: show/
      Handler: app.handler
      Layers:
        - !Ref Words
      Environment:
        Variables:
          TABLE: !Ref Orders
      Events:
        Order:
          Type: Api
          Properties:
            Path: /orders/{id}
            Method: get
        Rest:
          Type: HttpApi
          Properties:
            Path: /v2/{rest+}
            Method: any
  OtherFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: other/
      Handler: app.handler
      Policies: AWSLambdaBasicExecutionRole
      FunctionUrlConfig:
        AuthType: NONE
      Events:
        Make:
          Type: Api
          Properties:
            Path: /orders
            Method: post
        Nightly:
          Type: Schedule
          Properties:
            Schedule: rate(1 day)
        Letters:
          Type: SQS
          Properties:
            Queue: arn:aws:sqs:us-east-1:000000000000:letters.fifo
  Orders:
    Type: AWS::DynamoDB::Table
"#;

const SHOW: &str = r#"
import json, os
import words

def handler(event, context):
    told = {
        "event": event, "word": words.WORD, "stage": os.environ["STAGE"], "table": os.environ["TABLE"],
        "name": context.function_name, "memory": context.memory_limit_in_mb, "folder": os.listdir("."),
        "remaining": context.get_remaining_time_in_millis(), "variable": os.environ["AWS_LAMBDA_FUNCTION_NAME"],
    }
    return {"statusCode": 200, "multiValueHeaders": {"set-cookie": ["a=1", "b=2"]}, "body": json.dumps(told)}
"#;

/// Has the same module's name as its sibling.
const OTHER: &str = r#"
import json

count = 0

def handler(event, context):
    global count
    count += 1
    if "fail" in (event.get("body") or ""):
        return "no response"
    return {"statusCode": 201, "body": json.dumps({"count": count, "version": event.get("version"), "id": event.get("id")})}
"#;

fn sam() -> App {
    App::default()
        .file("template.yaml", TEMPLATE)
        .file("show/app.py", SHOW)
        .file("other/app.py", OTHER)
        .file("words/python/words.py", "WORD = 'from a layer'\n")
}

fn a_project_of_sam_is_served(python: &Python) {
    let server = sam().start(python);
    let told = server.get("/orders/a%20b?x=1&x=2").status(200).json();
    let event = &told["event"];
    assert_eq!((&event["resource"], &event["path"]), (&json!("/orders/{id}"), &json!("/orders/a%20b")));
    assert_eq!(
        (&event["pathParameters"], &event["queryStringParameters"]),
        (&json!({"id": "a%20b"}), &json!({"x": "2"}))
    );
    assert_eq!(event["requestContext"]["stage"], "Prod");
    assert_eq!(
        (&told["word"], &told["stage"], &told["table"]),
        (&json!("from a layer"), &json!("test"), &json!("Orders"))
    );
    assert_eq!((&told["name"], &told["variable"]), (&json!("ShowFunction"), &json!("ShowFunction")));
    assert_eq!(told["memory"], "256");
    assert!(told["remaining"].as_u64().unwrap() <= 5000, "{told}");

    let told = server.get("/v2/a%20b/c").status(200).json();
    let event = &told["event"];
    assert_eq!((&event["version"], &event["routeKey"]), (&json!("2.0"), &json!("ANY /v2/{rest+}")));
    assert_eq!(
        (&event["rawPath"], &event["pathParameters"]),
        (&json!("/v2/a b/c"), &json!({"rest": "a b/c"}))
    );

    // Its globals live as long as its worker.
    for count in 1..=2 {
        let made = server.send(Request::post("/orders", "{}")).status(201).json();
        assert_eq!((&made["count"], &made["version"]), (&json!(count), &Value::Null));
    }
    let failed = server.send(Request::post("/orders", "fail"));
    assert_eq!(failed.status(502).text(), "{\"message\":\"Internal server error\"}");
    assert_eq!(server.get("/unknown").status(404).text(), "{\"message\":\"Not Found\"}");

    // The function's own URL, and AWS's API.
    let host = format!("otherfunction.localhost:{}", port(&server));
    let made = server.send(Request::post("/any", "{}").header("host", &host)).status(201).json();
    assert_eq!(made["version"], "2.0");
    let host = format!("showfunction.localhost:{}", port(&server));
    server.send(Request::new("GET", "/").header("host", &host)).status(404);
    let path = "/2015-03-31/functions/OtherFunction/invocations";
    let made = server.send(Request::post(path, "{\"id\": 7}")).status(200).json();
    assert_eq!(made["statusCode"], 201);
    server.send(Request::post("/2015-03-31/functions/Nobody/invocations", "{}")).status(404);
}

/// What has no effect is said with its line, once, before anything is served.
/// `Cors` of a URL is Lambda's business, and not the function's.
#[test]
fn the_url_of_a_function_answers_browsers() {
    let template = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      FunctionUrlConfig:
        AuthType: NONE
        Cors: {AllowOrigins: ["https://a.example"], AllowMethods: [PUT], AllowHeaders: [x-a], ExposeHeaders: [x-b], MaxAge: 60}
"#;
    let code = "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    \
        return {'statusCode': 200, 'headers': {'access-control-allow-origin': '*'}, 'body': str(count)}\n";
    let app = App::default().file("template.yaml", template).file("app.py", code);
    let server = app.start(&Python::any());
    let host = format!("f.localhost:{}", server.address().rsplit(':').next().unwrap());
    let ask = |method: &str, origin: &str| {
        let request = Request::new(method, "/").header("host", &host).header("origin", origin);
        server.send(request.header("access-control-request-method", "PUT"))
    };
    let answer = ask("OPTIONS", "https://a.example").status(200);
    assert_eq!(answer.all("access-control-allow-origin"), ["https://a.example"]);
    assert_eq!(answer.all("access-control-allow-methods"), ["PUT"]);
    assert_eq!(answer.all("access-control-allow-headers"), ["x-a"]);
    assert_eq!(answer.all("access-control-max-age"), ["60"]);
    let refused = ask("OPTIONS", "https://b.example").status(200);
    assert_eq!(refused.all("access-control-allow-origin"), [""; 0]);
    // No question has run the function, and its own words about it do not count.
    let answer = ask("PUT", "https://a.example").status(200);
    assert_eq!(answer.all("access-control-allow-origin"), ["https://a.example"]);
    assert_eq!(answer.all("access-control-expose-headers"), ["x-b"]);
    assert_eq!(answer.text(), "1");
    let other = ask("PUT", "https://b.example").status(200);
    assert_eq!(other.all("access-control-allow-origin"), [""; 0]);
}

fn what_is_wrong_with_a_project_is_said(python: &Python) {
    let server = sam().start(python);
    let project = server.wait_for("the project", |event| event["event"] == "project");
    assert_eq!((&project["kind"], &project["file"]), (&json!("SAM"), &json!("template.yaml")));
    assert_eq!(project["functions"], json!(["ShowFunction", "OtherFunction"]));
    let line = |list: &str, word: &str| {
        let entries = project[list].as_array().unwrap().iter();
        let mut found = entries.filter(|entry| entry["what"].as_str().unwrap().contains(word));
        found
            .next()
            .map(|entry| TEMPLATE.lines().nth(entry["line"].as_u64().unwrap() as usize - 1).unwrap().trim())
    };
    assert_eq!(line("ignored", "Policies"), Some("Policies: AWSLambdaBasicExecutionRole"));

    let broken = App::default()
        .file("template.yaml", "Resources:\n  A:\n    Type: AWS::Serverless::Function\n   x: [\n");
    let error = broken.launch(python).run().code(1).json();
    assert_eq!(error["code"], "E0115", "{error}");
    assert!(error["message"].as_str().unwrap().contains("template.yaml:4"), "{error}");
}

const SERVERLESS: &str = r#"
service: shop
frameworkVersion: "3"
custom:
  path: items
provider:
  name: aws
  stage: ${opt:stage, 'dev'}
  timeout: 4
  environment:
    STAGE: ${self:provider.stage}
functions:
  hello:
    handler: src/handlers.hello
    events:
      - httpApi: "GET /${self:custom.path}/{id}"
  rest:
    handler: src/handlers.rest
    memorySize: 512
    events:
      - http:
          path: rest/{name}
          method: get
          cors: true
"#;

const HANDLERS: &str = r#"
import json, os

def hello(event, context):
    return {"id": event["pathParameters"]["id"], "stage": os.environ["STAGE"], "name": context.function_name}

def rest(event, context):
    body = {"name": event["pathParameters"]["name"], "stage": event["requestContext"]["stage"], "memory": context.memory_limit_in_mb}
    return {"statusCode": 200, "body": json.dumps(body)}
"#;

fn a_project_of_serverless_is_served(python: &Python) {
    let server =
        App::default().file("serverless.yml", SERVERLESS).file("src/handlers.py", HANDLERS).start(python);
    let told = server.get("/items/7").status(200).json();
    assert_eq!(told, json!({"id": "7", "stage": "dev", "name": "shop-dev-hello"}));
    let told = server.get("/rest/Ada").status(200).json();
    assert_eq!(told, json!({"name": "Ada", "stage": "dev", "memory": "512"}));
    assert_eq!(server.get("/dev/rest/Ada").status(200).json()["name"], "Ada");
    let asked = Request::new("OPTIONS", "/rest/Ada").header("origin", "https://a.example");
    assert_eq!(server.send(asked).status(200).header("access-control-allow-origin"), "*");
}

const WSGI: &str = r#"
service: tea
plugins: [serverless-wsgi]
custom: {wsgi: {app: app.app}}
provider:
  name: aws
  httpApi: {cors: true}
functions:
  api:
    handler: wsgi_handler.handler
    events:
      - http: ANY /
      - http: "ANY {proxy+}"
      - httpApi: GET /open
      - http: {path: closed, method: get, private: true}
  other:
    handler: app.other
    events:
      - http: GET other
"#;

const WSGI_APP: &str = r#"
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Access-Control-Allow-Origin", "own")])
    return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}".encode()]

def other(event, context):
    return {"statusCode": 200, "body": "other"}
"#;

/// The plugin serverless-wsgi: the app itself answers, and routes of other functions are theirs.
fn a_web_app_of_serverless_wsgi_is_served(python: &Python) {
    let server = App::default().file("serverless.yml", WSGI).file("app.py", WSGI_APP).start(python);
    assert_eq!(server.get("/").status(200).text(), "GET /");
    let sent = server.send(Request::new("PUT", "/a/b").body("x")).status(200);
    assert_eq!((sent.text(), sent.header("access-control-allow-origin")), ("PUT /a/b".to_owned(), "own"));
    assert_eq!(server.get("/other").status(200).text(), "other");
    // What stands in front of a route stands in front of a web app, too.
    server.get("/closed").status(403);
    let asked = Request::new("GET", "/open").header("origin", "https://a.example");
    assert_eq!(server.send(asked).status(200).header("access-control-allow-origin"), "*");
}

/// T-003: functions of one folder don't see each other's variables, memory or files of theirs.
fn functions_of_a_project_are_strangers(python: &Python) {
    let code = "import os\nseen = []\ndef a(event, context):\n    seen.append(context.function_name)\n    \
        open('/tmp/' + context.function_name, 'w').close()\n    \
        return [seen, os.environ.get('OWN'), [name for name in os.listdir('/tmp') if name.startswith('s-dev')]]\nb = a\n";
    let file = "service: s\nprovider:\n  name: aws\nfunctions:\n  a:\n    handler: app.a\n    url: true\n    \
        environment:\n      OWN: secret\n  b:\n    handler: app.b\n    url: true\n";
    let server = App::default().file("serverless.yml", file).file("app.py", code).start(python);
    let call = |name: &str| {
        let host = format!("s-dev-{name}.localhost:{}", port(&server));
        server.send(Request::new("GET", "/").header("host", &host)).status(200).json()
    };
    assert_eq!(call("a"), json!([["s-dev-a"], "secret", ["s-dev-a"]]));
    assert_eq!(call("b"), json!([["s-dev-b"], null, ["s-dev-b"]]));
}

fn a_function_of_a_project_is_invoked_by_hand(python: &Python) {
    let server = sam().start(python);
    let call = |function: &str, code: i32| {
        server.call(&["invoke", function, "--data", "{\"id\": 3}", "--json"]).code(code)
    };
    let made = call("OtherFunction", 0).json();
    assert_eq!(made["outcome"], "success", "{made}");
    let refused = call("Nobody", 2);
    assert!(
        refused.stderr.contains("OtherFunction") || refused.stdout.contains("OtherFunction"),
        "{refused:?}"
    );
}

/// What `ingle event generate` prints is what the sources send, and `ingle invoke` takes it.
fn generated_events_are_taken(python: &Python) {
    let server = sam().start(python);
    let generate = |words: &[&str]| Call::new(&[&["event", "generate"], words].concat()).run();
    let words =
        ["rest-api", "--path", "/orders/7?x=1&x=2", "--route", "/orders/{id}", "-H", "X-Own: a", "--json"];
    let made = generate(&words).code(0);
    let real = server.send(Request::new("GET", "/orders/7?x=1&x=2").header("x-own", "a")).status(200).json();
    let members = |event: &Value| event.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&made.json()), members(&real["event"]));
    for name in ["resource", "path", "pathParameters", "multiValueQueryStringParameters"] {
        assert_eq!(made.json()[name], real["event"][name], "{name}");
    }
    let (folder, state) = (server.folder(), server.state_folder());
    let invoke = Call::new(&["invoke", "ShowFunction", "--data", "@-", "--json", "--app"]);
    let invoke = invoke.path(&folder).word("--state").path(&state).input(made.stdout.as_bytes());
    let done = invoke.run().code(0).json();
    let body: Value = serde_json::from_str(done["outputs"]["$return"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["event"]["headers"]["X-Own"], "a");

    let posted = generate(&["http-api", "--data", "{\"a\": 1}", "--json"]).code(0).json();
    assert_eq!((&posted["routeKey"], &posted["body"]), (&json!("POST /"), &json!("{\"a\": 1}")));
    assert_eq!(generate(&["http-api-v1", "--json"]).code(0).json()["version"], "1.0");
    assert_eq!(generate(&["url", "--json"]).code(0).json()["routeKey"], "$default");
    let scheduled = generate(&["schedule", "--name", "nightly", "--json"]).code(0).json();
    assert!(scheduled["resources"][0].as_str().unwrap().ends_with(":rule/nightly"), "{scheduled}");
    let queued =
        generate(&["sqs", "--name", "orders", "--data", "{\"dish\": \"soup\"}", "--json"]).code(0).json();
    let record = &queued["Records"][0];
    assert_eq!(
        (&record["body"], &record["eventSource"]),
        (&json!("{\"dish\": \"soup\"}"), &json!("aws:sqs"))
    );
    assert!(generate(&["rest-api", "--path", "/a", "--route", "/b"]).code(2).stderr.contains("E0703"));
}

/// The example, as its README has it.
fn the_example_is_served(python: &Python) {
    let server = App::folder("examples/sam-project").start(python);
    assert_eq!(server.get("/hello/Ada").status(200).json(), json!({"message": "Hello Ada"}));
    assert_eq!(server.get("/orders/7").status(200).json(), json!({"id": "7", "currency": "EUR"}));
    let done = server.call(&["invoke", "OrdersFunction", "--data", "{\"report\": true}", "--json"]).code(0);
    assert_eq!(done.json()["outcome"], "success");
}

/// All functions of one folder are taken over anew when its code changes; the project's file is told of.
fn functions_of_one_folder_are_reloaded(python: &Python) {
    let file = "service: s\nprovider:\n  name: aws\nfunctions:\n  a:\n    handler: app.a\n    url: true\n  b:\n    \
        handler: app.b\n    url: true\n";
    let code = "def a(event, context):\n    return 'old'\nb = a\n";
    let server = App::default().file("serverless.yml", file).file("app.py", code).start(python);
    let call = |name: &str| {
        let host = format!("s-dev-{name}.localhost:{}", port(&server));
        server.send(Request::new("GET", "/").header("host", &host)).status(200).text().to_owned()
    };
    assert_eq!((call("a").as_str(), call("b").as_str()), ("old", "old"));
    std::fs::write(server.folder().join("app.py"), code.replace("old", "new")).unwrap();
    for name in ["a", "b"] {
        server.events().look_until("the new code", || (call(name) == "new").then_some(()));
    }
    std::fs::write(server.folder().join("serverless.yml"), format!("{file}# more\n")).unwrap();
    let told = server.wait_for("the file's change", |event| event["event"] == "projectChanged");
    assert_eq!(told["file"], "serverless.yml");
}

fn port(server: &Server) -> &str {
    server.address().rsplit_once(':').unwrap().1
}
