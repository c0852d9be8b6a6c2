//! Routes whose callers need a key.

use ingle_testkit::{App, Python, Request, Response, Server, workspace};
use serde_json::{Value, json};

const VALUE: &str = "a-value-of-20-letters-or-more";

const SERVERLESS: &str = r#"
service: shop
provider:
  name: aws
  apiGateway:
    apiKeys:
      - fast: [{name: given, value: a-value-of-20-letters-or-more}, partner]
      - few: [{name: trial, value: another-value-of-20-letters}]
    usagePlan:
      - fast: {throttle: {rateLimit: 0.001, burstLimit: 3}}
      - few: {quota: {limit: 2, period: MONTH}}
functions:
  show:
    handler: shop.show
    events:
      - http: {path: private, method: get, private: true}
      - http: {path: open, method: get}
"#;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      Auth:
        ApiKeyRequired: true
        UsagePlan: {CreateUsagePlan: PER_API, Quota: {Limit: 2, Period: DAY}}
        Authorizers: {Token: {FunctionArn: !GetAtt Decide.Arn}}
  Decide:
    Type: AWS::Serverless::Function
    Properties: {Handler: shop.decide}
  Show:
    Type: AWS::Serverless::Function
    Properties:
      Handler: shop.show
      Events:
        Private: {Type: Api, Properties: {Path: /private, Method: get, RestApiId: !Ref Api}}
        Both: {Type: Api, Properties: {Path: /both, Method: get, RestApiId: !Ref Api, Auth: {Authorizer: Token}}}
        Open: {Type: Api, Properties: {Path: /open, Method: get, RestApiId: !Ref Api, Auth: {ApiKeyRequired: false}}}
"#;

/// Two APIs, each with a plan and a key of its own.
const TWO: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  One:
    Type: AWS::Serverless::Api
    Properties: {StageName: v1, Auth: {ApiKeyRequired: true, UsagePlan: {CreateUsagePlan: PER_API}}}
  Other:
    Type: AWS::Serverless::Api
    Properties: {StageName: v1, Auth: {ApiKeyRequired: true, UsagePlan: {CreateUsagePlan: PER_API}}}
  Show:
    Type: AWS::Serverless::Function
    Properties:
      Handler: shop.show
      Events:
        One: {Type: Api, Properties: {Path: /one, Method: get, RestApiId: !Ref One}}
        Other: {Type: Api, Properties: {Path: /other, Method: get, RestApiId: !Ref Other}}
"#;

const HANDLERS: &str = r#"
import json

def show(event, context):
    return {"statusCode": 200, "body": json.dumps(event["requestContext"]["identity"])}

def decide(event, context):
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
"#;

fn app(file: &str, text: &str) -> App {
    App::default().file(file, text).file("shop.py", HANDLERS)
}

fn with(server: &Server, path: &str, key: &str) -> Response {
    server.send(Request::new("GET", path).header("x-api-key", key))
}

#[track_caller]
fn refused(response: Response, status: u16, message: &str, kind: &str) {
    let response = response.status(status);
    assert_eq!(response.json(), json!({"message": message}));
    assert_eq!(response.header("x-amzn-errortype"), kind);
}

/// The key that a start has made and shown.
fn made(server: &Server) -> Value {
    server.wait_for("the key", |event| event["event"] == "key")
}

#[test]
fn a_private_route_wants_a_key_of_a_plan() {
    let launch = app("serverless.yml", SERVERLESS).launch(&Python::any());
    let server = launch.clone().start();
    refused(server.get("/private"), 403, "Forbidden", "ForbiddenException");
    refused(with(&server, "/private", "a-value-of-nobody-at-all"), 403, "Forbidden", "ForbiddenException");
    let identity = with(&server, "/private", VALUE).status(200).json();
    assert_eq!(identity["apiKey"], VALUE);
    assert_eq!(identity["apiKeyId"].as_str().map(str::len), Some(10), "{identity}");
    assert_eq!(server.get("/open").status(200).json().get("apiKey"), None);

    // So fast, each key for itself.
    for _ in 0..2 {
        with(&server, "/private", VALUE).status(200);
    }
    refused(with(&server, "/private", VALUE), 429, "Too Many Requests", "TooManyRequestsException");
    // So many.
    for _ in 0..2 {
        with(&server, "/private", "another-value-of-20-letters").status(200);
    }
    let used_up = with(&server, "/private", "another-value-of-20-letters");
    refused(used_up, 429, "Limit Exceeded", "LimitExceededException");

    // A key without a value is made and shown once, and kept as the others are.
    let partner = made(&server);
    assert_eq!((&partner["kind"], &partner["name"]), (&json!("api"), &json!("partner")));
    let value = partner["value"].as_str().unwrap().to_owned();
    with(&server, "/private", &value).status(200);
    let listed = server.call(&["keys", "ls", "--json"]).code(0).json();
    assert_eq!((&listed["keys"][0]["kind"], &listed["keys"][0]["name"]), (&json!("api"), &json!("partner")));
    server.stop();
    let server = launch.start();
    with(&server, "/private", &value).status(200);
    assert!(!server.events().all().iter().any(|event| event["event"] == "key"));
    // A new one, and one that the project does not name.
    let rotated =
        server.call(&["keys", "rotate", "partner", "--api", "--overlap", "0", "--json"]).code(0).json();
    with(&server, "/private", &value).status(403);
    with(&server, "/private", rotated["value"].as_str().unwrap()).status(200);
    let other = server.call(&["keys", "create", "other", "--api", "--json"]).code(0).json();
    with(&server, "/private", other["value"].as_str().unwrap()).status(200);
}

#[test]
fn a_key_is_looked_at_after_the_authorizer() {
    let server = app("template.yaml", TEMPLATE).start(&Python::any());
    server.get("/open").status(200);
    refused(server.get("/private"), 403, "Forbidden", "ForbiddenException");
    server.get("/both").status(401);
    let both = |key: Option<&str>| {
        let request = Request::new("GET", "/both").header("authorization", "token");
        server.send(key.into_iter().fold(request, |request, key| request.header("x-api-key", key)))
    };
    refused(both(None), 403, "Forbidden", "ForbiddenException");
    let key = made(&server);
    assert_eq!(key["name"], "ApiApiKey");
    let value = key["value"].as_str().unwrap();
    both(Some(value)).status(200);
    // One plan for all routes of the API.
    with(&server, "/private", value).status(200);
    refused(both(Some(value)), 429, "Limit Exceeded", "LimitExceededException");
}

/// T-040.
#[test]
fn a_key_opens_the_api_that_names_it() {
    let server = app("template.yaml", TWO).start(&Python::any());
    let made = |name: &str| {
        let key = server.wait_for(name, |event| event["event"] == "key" && event["name"] == name);
        key["value"].as_str().unwrap().to_owned()
    };
    let (one, other) = (made("OneApiKey"), made("OtherApiKey"));
    with(&server, "/one", &one).status(200);
    with(&server, "/other", &other).status(200);
    refused(with(&server, "/other", &one), 403, "Forbidden", "ForbiddenException");
    refused(with(&server, "/one", &other), 403, "Forbidden", "ForbiddenException");
    let by_hand = server.call(&["keys", "create", "partner", "--api", "--json"]).code(0).json();
    for path in ["/one", "/other"] {
        with(&server, path, by_hand["value"].as_str().unwrap()).status(200);
    }
    // More tries than are there: some of them come back while it is tried.
    let tries = (0..200).map(|number| with(&server, "/one", &format!("guess-{number}-of-somebody")));
    let too_many = tries.into_iter().find(|response| response.status == 429);
    let too_many = too_many.expect("nobody counts wrong keys");
    assert_eq!(too_many.header("ingle-error"), "E0508");
    assert!(too_many.header("retry-after").parse::<u32>().unwrap() <= 3);
}

/// Chalice leaves keys to who deploys.
#[test]
fn routes_of_chalice_want_a_key_made_by_hand() {
    let code = "from chalice import Chalice\napp = Chalice(app_name='shop')\n\n\
        @app.route('/private', api_key_required=True)\ndef private():\n    return {'ok': True}\n";
    let config = r#"{"app_name": "shop", "version": "2.0"}"#;
    let app = App::default().file("app.py", code).file(".chalice/config.json", config);
    let program = workspace().join("target/venvs/chalice/bin/python");
    assert!(program.exists(), "no chalice: run `cargo xtask setup`");
    let server = app.start(&Python { version: "3", program });
    refused(server.get("/private"), 403, "Forbidden", "ForbiddenException");
    let made = server.call(&["keys", "create", "partner", "--api", "--json"]).code(0).json();
    assert_eq!(
        with(&server, "/private", made["value"].as_str().unwrap()).status(200).json(),
        json!({"ok": true})
    );
}
