//! Routes in OpenAPI documents of templates, and mocks.

use ingle_testkit::{App, Python, Request, Server};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Rest:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      DefinitionBody:
        Fn::Transform: {Name: AWS::Include, Parameters: {Location: api/rest.yaml}}
  Plain:
    Type: AWS::Serverless::HttpApi
    Properties:
      DefinitionBody:
        openapi: 3.0.1
        info: {title: plain, version: "1"}
        paths:
          /v2/{id}:
            get:
              x-amazon-apigateway-integration:
                type: aws_proxy
                httpMethod: POST
                payloadFormatVersion: "2.0"
                uri: !Sub arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Show.Arn}/invocations
          /v1:
            x-amazon-apigateway-any-method:
              x-amazon-apigateway-integration: {type: aws_proxy, httpMethod: POST, payloadFormatVersion: "1.0", uri: !GetAtt Show.Arn}
          $default:
            x-amazon-apigateway-any-method:
              x-amazon-apigateway-integration: {type: aws_proxy, payloadFormatVersion: "2.0", uri: !GetAtt Show.Arn}
  Show:
    Type: AWS::Serverless::Function
    Properties: {Handler: shop.show}
  Decide:
    Type: AWS::Serverless::Function
    Properties: {Handler: shop.decide}
"#;

const REST: &str = r##"
swagger: "2.0"
info: {title: rest, version: "1"}
x-amazon-apigateway-binary-media-types: [image/png]
paths:
  /orders/{id}:
    get: &proxied
      x-amazon-apigateway-integration: &show
        type: AWS_PROXY
        httpMethod: POST
        uri: {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Show.Arn}/invocations"}
    options:
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: {application/json: '{"statusCode": 200}'}
        responses:
          default:
            statusCode: "204"
            responseParameters:
              method.response.header.Access-Control-Allow-Origin: "'https://shop.test'"
  /safe:
    get:
      security: [{token: []}]
      x-amazon-apigateway-integration: *show
  /keyed:
    get:
      security: [{key: []}]
      x-amazon-apigateway-integration: *show
  /mapped:
    post:
      x-amazon-apigateway-integration:
        type: aws
        httpMethod: POST
        uri: {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Show.Arn}/invocations"}
        requestTemplates: {application/json: '{"name": $input.json("$.name")}'}
        responses:
          default: {statusCode: 201, responseTemplates: {application/json: '$input.json("$.name")'}}
          ".*bad.*": {statusCode: "409"}
  /mock/{status}:
    get:
      x-amazon-apigateway-integration:
        type: MOCK
        requestTemplates:
          application/json: |
            #if($input.params("status") == "none"){}#else{"statusCode": $input.params("status")}#end
        responses:
          "2..": {statusCode: 200, responseTemplates: {application/json: '{"well": "$context.resourcePath"}'}}
          default: {statusCode: 503, responseTemplates: {application/json: '{"well": false}'}}
securityDefinitions:
  key: {type: apiKey, name: x-api-key, in: header}
  token:
    type: apiKey
    name: X-Token
    in: header
    x-amazon-apigateway-authtype: custom
    x-amazon-apigateway-authorizer:
      type: token
      authorizerUri: {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Decide.Arn}/invocations"}
      identityValidationExpression: "[a-z]+"
"##;

const HANDLERS: &str = r#"
import json

def show(event, context):
    if "name" in event:
        if event["name"] == "bad":
            raise ValueError("a bad name")
        return event
    return {"statusCode": 200, "body": json.dumps(event)}

def decide(event, context):
    effect = "Allow" if event["authorizationToken"] == "ada" else "Deny"
    statement = {"Effect": effect, "Action": "*", "Resource": "*"}
    return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
"#;

fn served() -> Server {
    let app =
        App::default().file("template.yaml", TEMPLATE).file("api/rest.yaml", REST).file("shop.py", HANDLERS);
    app.launch(&Python::any()).may_complain("ValueError").may_complain("E0514").start()
}

#[test]
fn documents_have_routes() {
    let server = served();
    let event = server.get("/orders/7?x=1").status(200).json();
    assert_eq!((&event["resource"], &event["pathParameters"]), (&json!("/orders/{id}"), &json!({"id": "7"})));
    assert_eq!(event["requestContext"]["stage"], "v1");
    let event = server.get("/v2/7").status(200).json();
    assert_eq!((&event["version"], &event["routeKey"]), (&json!("2.0"), &json!("GET /v2/{id}")));
    let event = server.send(Request::new("PUT", "/v1")).status(200).json();
    assert_eq!((&event["version"], &event["httpMethod"]), (&json!("1.0"), &json!("PUT")));
    let event = server.get("/anything").status(200).json();
    assert_eq!(event["routeKey"], "$default");
    let picture = Request::new("GET", "/orders/1").header("content-type", "image/png").body("PNG");
    assert_eq!(server.send(picture).status(200).json()["isBase64Encoded"], true);
}

#[test]
fn security_of_documents_is_kept_to() {
    let server = served();
    let safe = |token: &str| server.send(Request::new("GET", "/safe").header("x-token", token));
    server.get("/safe").status(401);
    safe("123").status(401);
    safe("eve").status(403);
    assert_eq!(safe("ada").status(200).json()["requestContext"]["authorizer"]["principalId"], "ada");
    server.get("/keyed").status(403);
    let made = server.call(&["keys", "create", "partner", "--api", "--json"]).code(0).json();
    let keyed = Request::new("GET", "/keyed").header("x-api-key", made["value"].as_str().unwrap());
    server.send(keyed).status(200);
}

#[test]
fn templates_of_documents_are_filled() {
    let server = served();
    let mapped = |body: Value| {
        server.send(Request::post("/mapped", body.to_string()).header("content-type", "application/json"))
    };
    assert_eq!(mapped(json!({"name": "tea"})).status(201).text(), "\"tea\"");
    mapped(json!({"name": "bad"})).status(409);
}

/// No function runs for a mock.
#[test]
fn mocks_answer_by_themselves() {
    let server = served();
    let options = server.send(Request::new("OPTIONS", "/orders/7")).status(204);
    assert_eq!(options.header("access-control-allow-origin"), "https://shop.test");
    assert_eq!(server.get("/mock/201").status(200).json(), json!({"well": "/mock/{status}"}));
    assert_eq!(server.get("/mock/404").status(503).json(), json!({"well": false}));
    let broken = server.get("/mock/none").status(500);
    assert_eq!(broken.json(), json!({"message": "Internal server error"}));
    assert!(!server.events().all().iter().any(|event| event["event"] == "invocation"));
}

#[test]
fn what_is_wrong_with_a_document_has_its_place() {
    let wrong = REST.replace("${Show.Arn}", "${Nobody.Arn}");
    let app = App::default()
        .file("template.yaml", TEMPLATE)
        .file("api/rest.yaml", &wrong)
        .file("shop.py", HANDLERS);
    let server = app.start(&Python::any());
    let project = server.wait_for("the project", |event| event["event"] == "project");
    let problems = project["problems"].as_array().unwrap();
    let found: Vec<_> = problems
        .iter()
        .map(|one| (one["code"].as_str(), one["file"].as_str(), one["line"].as_u64()))
        .collect();
    assert!(found.contains(&(Some("E0116"), Some("api/rest.yaml"), Some(11))), "{problems:?}");
    server.get("/v2/7").status(200);
}
