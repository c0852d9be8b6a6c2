//! Who may come in by the routes of a project: functions that are asked, and signed tokens.

use ingle_testkit::{App, Python, Request, Response, Server};
use serde_json::{Value, json};

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  HttpApi:
    Auth:
      Authorizers:
        Simple:
          FunctionArn: !GetAtt Decide.Arn
          AuthorizerPayloadFormatVersion: 2.0
          EnableSimpleResponses: true
          Identity: {Headers: [x-user], QueryStrings: [q]}
        Policy:
          FunctionArn: !GetAtt Decide.Arn
          AuthorizerPayloadFormatVersion: "1.0"
          Identity: {Headers: [x-user]}
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      Auth:
        DefaultAuthorizer: Token
        Authorizers:
          Token:
            FunctionArn: !GetAtt Decide.Arn
            Identity: {Header: X-Token, ValidationExpression: "[a-z]+"}
          Request:
            FunctionArn: !GetAtt Decide.Arn
            FunctionPayloadType: REQUEST
            Identity: {Headers: [X-User], ReauthorizeEvery: 0}
  Decide:
    Type: AWS::Serverless::Function
    Properties: {Handler: decide.handler}
  Shop:
    Type: AWS::Serverless::Function
    Properties:
      Handler: shop.handler
      Events:
        Orders: {Type: Api, Properties: {Path: "/orders/{id}", Method: get, RestApiId: !Ref Api}}
        Admin: {Type: Api, Properties: {Path: /admin, Method: get, RestApiId: !Ref Api}}
        Asked: {Type: Api, Properties: {Path: "/asked/{id}", Method: get, RestApiId: !Ref Api, Auth: {Authorizer: Request}}}
        Open: {Type: Api, Properties: {Path: /open, Method: get, RestApiId: !Ref Api, Auth: {Authorizer: NONE}}}
        Simple: {Type: HttpApi, Properties: {Path: "/simple/{id}", Method: get, Auth: {Authorizer: Simple}}}
        Policy: {Type: HttpApi, Properties: {Path: /policy, Method: get, Auth: {Authorizer: Policy}}}
"#;

/// Tells what it was asked, and how often, in its context.
const DECIDE: &str = r#"
import json

asked = 0

def handler(event, context):
    global asked
    asked += 1
    who = event.get("authorizationToken") or event["headers"].get("X-User") or event["headers"].get("x-user")
    told = {"event": json.dumps(event), "asked": asked, "flag": True}
    if who == "nobody":
        raise Exception("Unauthorized")
    if who == "broken":
        raise ValueError("I do not know")
    if who == "silent":
        return None
    if "routeArn" in event:
        return {"isAuthorized": who == "ada", "context": dict(told, nested={"a": [1]})}
    statements = [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:*/GET/*"}]
    if who == "stranger":
        statements = []
    if who == "bob":
        arn = event["methodArn"].split("/GET/")[0] + "/GET/admin"
        statements.append({"Effect": "Deny", "Action": "*", "Resource": arn})
    return {"principalId": who, "policyDocument": {"Version": "2012-10-17", "Statement": statements}, "context": told}
"#;

const SHOP: &str = r#"
import json

def handler(event, context):
    return {"statusCode": 200, "body": json.dumps(event["requestContext"].get("authorizer"))}
"#;

fn sam() -> App {
    App::default().file("template.yaml", TEMPLATE).file("decide.py", DECIDE).file("shop.py", SHOP)
}

fn get(server: &Server, path: &str, header: &str, value: &str) -> Response {
    server.send(Request::get(path).header(header, value))
}

/// The event that the authorizer got, as it says in its context.
fn asked(told: &Value) -> Value {
    serde_json::from_str(told["event"].as_str().unwrap()).unwrap()
}

#[test]
fn a_rest_api_asks_with_the_token() {
    let server = sam().launch(&Python::any()).may_complain("E0512").start();
    let told = get(&server, "/orders/7", "x-token", "ada").status(200).json();
    let arn = "arn:aws:execute-api:us-east-1:000000000000:api/v1/GET/orders/7";
    let expected = json!({"type": "TOKEN", "methodArn": arn, "authorizationToken": "ada"});
    assert_eq!(asked(&told), expected);
    let kinds = (&told["principalId"], &told["asked"], &told["flag"]);
    assert_eq!(kinds, (&json!("ada"), &json!("1"), &json!("true")));
    assert!(told["integrationLatency"].is_u64(), "{told}");
    // What was decided holds for the identity, on all routes.
    assert_eq!(get(&server, "/admin", "x-token", "ada").status(200).json()["asked"], "1");
    assert_eq!(get(&server, "/orders/8", "x-token", "eve").status(200).json()["asked"], "2");
    assert_eq!(server.get("/open").status(200).json(), Value::Null);

    // Without a token, or with one that is none, nobody is asked.
    let unauthorized = "{\"message\":\"Unauthorized\"}";
    assert_eq!(server.get("/orders/7").status(401).text(), unauthorized);
    assert_eq!(get(&server, "/orders/7", "x-token", "123").status(401).text(), unauthorized);
    assert_eq!(get(&server, "/orders/7", "x-token", "nobody").status(401).text(), unauthorized);
    // Bob may see orders, but not what is the administrator's, however he writes it.
    get(&server, "/orders/7", "x-token", "bob").status(200);
    for path in ["/admin", "/%61dmin", "/admin/", "/v1/admin"] {
        let denied = get(&server, path, "x-token", "bob").status(403);
        let text = "User is not authorized to access this resource with an explicit deny in an identity-based policy";
        assert_eq!(denied.json(), json!({"Message": text}), "{path}");
        assert_eq!(denied.header("x-amzn-errortype"), "AccessDeniedException");
    }
    let denied = get(&server, "/orders/7", "x-token", "stranger").status(403).json();
    assert_eq!(denied, json!({"Message": "User is not authorized to access this resource"}));
    for token in ["broken", "silent"] {
        let broken = get(&server, "/orders/7", "x-token", token).status(500);
        assert_eq!((broken.text().as_str(), broken.header("ingle-error")), ("{\"message\":null}", "E0512"));
    }
    // It is an invocation as every other, and says so.
    server.wait_for("its line", |event| event.to_string().contains("authorize GET /orders/7"));
}

#[test]
fn a_rest_api_asks_with_the_request() {
    let server = sam().start(&Python::any());
    let request = || Request::get("/asked/7?x=1").header("x-user", "ada");
    let told = server.send(request()).status(200).json();
    let event = asked(&told);
    assert_eq!((&event["type"], &event["resource"]), (&json!("REQUEST"), &json!("/asked/{id}")));
    assert_eq!(event["methodArn"], "arn:aws:execute-api:us-east-1:000000000000:api/v1/GET/asked/7");
    assert_eq!(event["pathParameters"], json!({"id": "7"}));
    assert_eq!(event["queryStringParameters"], json!({"x": "1"}));
    assert_eq!(
        (&event["headers"]["X-User"], &event["requestContext"]["stage"]),
        (&json!("ada"), &json!("v1"))
    );
    assert!(event.get("body").is_none() && event["requestContext"].get("authorizer").is_none(), "{event}");
    // Nothing is kept for no time.
    assert_eq!(server.send(request()).status(200).json()["asked"], "2");
    server.get("/asked/7").status(401);
}

#[test]
fn an_http_api_asks_in_both_formats() {
    let server = sam().launch(&Python::any()).may_complain("E0512").start();
    let told = get(&server, "/simple/7?q=1", "x-user", "ada").status(200).json();
    let told = &told["lambda"];
    assert_eq!((&told["flag"], &told["nested"]), (&json!(true), &json!({"a": [1]})));
    let event = asked(told);
    assert_eq!((&event["version"], &event["type"]), (&json!("2.0"), &json!("REQUEST")));
    assert_eq!(
        event["routeArn"],
        "arn:aws:execute-api:us-east-1:000000000000:serverlesshttpapi/$default/GET/simple/7"
    );
    assert_eq!(event["identitySource"], json!(["ada", "1"]));
    assert_eq!((&event["routeKey"], &event["rawPath"]), (&json!("GET /simple/{id}"), &json!("/simple/7")));
    assert_eq!(event["pathParameters"], json!({"id": "7"}));

    let unauthorized = "{\"message\":\"Unauthorized\"}";
    assert_eq!(get(&server, "/simple/7", "x-user", "ada").status(401).text(), unauthorized);
    let denied = get(&server, "/simple/7?q=1", "x-user", "eve").status(403);
    assert_eq!(denied.text(), "{\"message\":\"Forbidden\"}");
    let broken = get(&server, "/simple/7?q=1", "x-user", "broken").status(500);
    assert_eq!(broken.text(), "{\"message\":\"Internal Server Error\"}");

    let told = get(&server, "/policy", "x-user", "ada").status(200).json();
    let event = asked(&told["lambda"]);
    let arn = "arn:aws:execute-api:us-east-1:000000000000:serverlesshttpapi/$default/GET/policy";
    assert_eq!((&event["version"], &event["methodArn"]), (&json!("1.0"), &json!(arn)));
    assert_eq!((&event["identitySource"], &event["authorizationToken"]), (&json!("ada"), &json!("ada")));
}

const SERVERLESS: &str = r#"
service: shop
provider:
  name: aws
  runtime: python3.12
  httpApi:
    payload: "1.0"
    authorizers:
      simple: {type: request, functionName: decide, enableSimpleResponses: true, identitySource: [$request.header.x-user], resultTtlInSeconds: 60}
functions:
  decide: {handler: decide.handler}
  shop:
    handler: shop.handler
    events:
      - http: {path: orders, method: get, authorizer: decide}
      - http: {path: asked, method: get, authorizer: {name: decide, type: request, identitySource: method.request.header.x-user}}
      - httpApi: {path: /simple, method: get, authorizer: simple}
  alone:
    handler: shop.handler
    events:
      - http: {path: alone, method: get, authorizer: "arn:aws:lambda:us-east-1:000000000000:function:gone"}
"#;

#[test]
fn functions_of_a_serverless_yml_are_asked() {
    let app =
        App::default().file("serverless.yml", SERVERLESS).file("decide.py", DECIDE).file("shop.py", SHOP);
    let server = app.launch(&Python::any()).may_complain("E0512").may_complain("E0120").start();
    let told = get(&server, "/orders", "authorization", "ada").status(200).json();
    assert_eq!(
        asked(&told)["methodArn"],
        "arn:aws:execute-api:us-east-1:000000000000:apigatewayrestapi/dev/GET/orders"
    );
    assert_eq!(get(&server, "/asked", "x-user", "ada").status(200).json()["principalId"], "ada");
    server.get("/orders").status(401);
    server.get("/simple").status(401);
    // The route has events of format 1.0, and its authorizer those of 2.0.
    let told = get(&server, "/simple", "x-user", "ada").status(200).json();
    assert_eq!((&told["nested"], &asked(&told)["version"]), (&json!({"a": [1]}), &json!("2.0")));
    // A route whose authorizer is not there is open to nobody.
    get(&server, "/alone", "authorization", "ada").status(500);
    let project = server.wait_for("the project", |event| event["event"] == "project");
    let problem = &project["problems"][0];
    assert_eq!((&problem["code"], &problem["line"]), (&json!("E0120"), &json!(21)), "{project}");
}
