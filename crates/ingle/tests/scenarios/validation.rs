//! Requests that are not what a project says they have to be, and never reach its functions.

use ingle_testkit::{App, Python, Request, Server};
use serde_json::json;

const HANDLER: &str = "
def handler(event, context):
    return {'statusCode': 200, 'body': 'it ran'}
";

const TEMPLATE: &str = r##"
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      Models:
        Age: {type: integer, minimum: 18}
        User:
          type: object
          required: [name]
          properties: {name: {type: string}, age: {$ref: "#/definitions/Age"}}
  Shop:
    Type: AWS::Serverless::Function
    Properties:
      Handler: shop.handler
      Events:
        Make:
          Type: Api
          Properties:
            Path: /users
            Method: post
            RestApiId: !Ref Api
            RequestModel: {Model: User, Required: true, ValidateBody: true, ValidateParameters: true}
            RequestParameters:
              - method.request.header.X-User: {Required: true}
              - method.request.querystring.page: {Required: true}
              - method.request.querystring.other
        Loose:
          Type: Api
          Properties: {Path: /loose, Method: post, RestApiId: !Ref Api, RequestModel: {Model: User, Required: true}}
"##;

const SERVERLESS: &str = r#"
service: shop
provider:
  name: aws
  apiGateway:
    request:
      schemas:
        user: {name: User, schema: {type: object, required: [name]}}
functions:
  shop:
    handler: shop.handler
    events:
      - http:
          path: users
          method: post
          request:
            schemas: {application/json: user, application/xml: {type: string}}
            parameters: {querystrings: {page: true, other: false}, headers: {X-User: {required: true}}}
      - http:
          path: file
          method: post
          request: {schemas: {application/json: "${file(schema.json)}"}}
"#;

#[track_caller]
fn check(server: &Server, request: Request, expected: Option<&str>) {
    let answer = server.send(request.header("content-type", "application/json"));
    match expected {
        None => assert_eq!(answer.status(200).text(), "it ran"),
        Some(message) => assert_eq!(answer.status(400).json(), json!({"message": message})),
    }
}

fn check_users(server: &Server) {
    let sent = |path: &str, body: &str| Request::post(path, body.to_owned()).header("x-user", "ada");
    check(server, sent("/users?page=1", "{\"name\": \"a\"}"), None);
    check(server, sent("/users?page=1", "{\"nome\": \"a\"}"), Some("Invalid request body"));
    check(server, sent("/users?page=1", "{"), Some("Invalid request body"));
    check(server, sent("/users?page=1", ""), Some("Invalid request body"));
    let missing = "Missing required request parameters: [page]";
    check(server, sent("/users", "{\"name\": \"a\"}"), Some(missing));
    let plain = Request::post("/users?page=1", "{}");
    check(server, plain, Some("Missing required request parameters: [X-User]"));
}

#[test]
fn a_template_says_what_requests_have_to_be() {
    let app = App::default().file("template.yaml", TEMPLATE).file("shop.py", HANDLER);
    let server = app.start(&Python::any());
    check_users(&server);
    let sent = |body: &str| Request::post("/users?page=1", body.to_owned()).header("x-user", "ada");
    check(&server, sent("{\"name\": \"a\", \"age\": 17}"), Some("Invalid request body"));
    check(&server, sent("{\"name\": \"a\", \"age\": 18}"), None);
    check(&server, Request::post("/loose", "no JSON"), None);
}

#[test]
fn a_serverless_yml_says_what_requests_have_to_be() {
    let app = App::default().file("serverless.yml", SERVERLESS).file("shop.py", HANDLER);
    let app = app.file("schema.json", "{\"type\": \"array\", \"maxItems\": 2}");
    let server = app.start(&Python::any());
    check_users(&server);
    check(&server, Request::post("/file", "[1, 2]"), None);
    check(&server, Request::post("/file", "[1, 2, 3]"), Some("Invalid request body"));
}

#[test]
fn a_schema_that_is_none_is_told_with_its_line() {
    let broken = TEMPLATE.replace("{type: integer, minimum: 18}", "{type: integer, minimum: many}");
    let app = App::default().file("template.yaml", &broken).file("shop.py", HANDLER);
    let server = app.launch(&Python::any()).may_complain("E0121").start();
    let project = server.wait_for("the project", |event| event["event"] == "project");
    let problem = &project["problems"][0];
    assert_eq!((&problem["code"], &problem["line"]), (&json!("E0121"), &json!(19)), "{project}");
    let request = Request::post("/users?page=1", "{\"name\": \"a\"}").header("x-user", "ada");
    server.send(request).status(500);
    check(&server, Request::post("/loose", "{}"), None);
}
