//! Who may come in by the routes of a project: functions that are asked, and signed tokens.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// Makes an RSA key and signs tokens with it, by arithmetic alone: what the server checks was made by other means.
const ISSUER: &str = r#"
import base64, hashlib, json, random, sys, time

def is_prime(n):
    d, s = n - 1, 0
    while d % 2 == 0:
        d, s = d // 2, s + 1
    for a in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29):
        x = pow(a, d, n)
        if x in (1, n - 1):
            continue
        for _ in range(s - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True

def prime():
    while True:
        n = random.getrandbits(1024) | (3 << 1022) | 1
        if n % 65537 != 1 and all(n % p for p in (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)) and is_prime(n):
            return n

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

p, q = prime(), prime()
n, d = p * q, pow(65537, -1, (p - 1) * (q - 1)) if sys.version_info >= (3, 8) else None

def sign(text, name):
    prefix = bytes.fromhex("3031300d060960864801650304020105000420" if name == "RS256" else "3051300d060960864801650304020305000440")
    digest = prefix + hashlib.new({"RS256": "sha256", "RS512": "sha512"}[name], text).digest()
    padded = b"\x00\x01" + b"\xff" * (256 - 3 - len(digest)) + b"\x00" + digest
    return pow(int.from_bytes(padded, "big"), d, n).to_bytes(256, "big")

def token(name="RS256", kid="one", **claims):
    now = int(time.time())
    all = dict({"iss": sys.argv[1], "aud": "shop", "exp": now + 600, "iat": now - 5, "sub": "ada", "groups": ["a", "b"]}, **claims)
    head = b64(json.dumps({"alg": name, "kid": kid}).encode()) + "." + b64(json.dumps(all).encode())
    return head + "." + b64(sign(head.encode(), name) if name.startswith("RS") else b"")

good = token(scope="read other")
head, claims, signature = good.split(".")
print(json.dumps({
    "keys": {"keys": [{"kty": "oct", "kid": "secret", "k": "AAAA"},
        {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "n": b64(n.to_bytes(256, "big")), "e": "AQAB"},
        {"kty": "RSA", "kid": "any", "n": b64(n.to_bytes(256, "big")), "e": "AQAB"}]},
    "good": good, "long": token("RS512", "any", aud=["x", "shop"]), "other_key": token("RS512"), "expired": token(exp=1),
    "foreign": token(iss="https://other.test"), "audience": token(aud="other"), "unsigned": token("none"),
    "unknown": token(kid="two"), "forged": head + "." + b64(json.dumps({"sub": "eve"}).encode()) + "." + signature,
    "changed": head + "." + claims + "." + b64(b"\x00" * 256)}))
"#;

/// Answers requests for these paths with JSON, as long as the test lives. How often it was asked.
fn publish(listener: TcpListener, documents: Vec<(&'static str, String)>) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut line).unwrap();
            let mut other = String::new();
            while reader.read_line(&mut other).unwrap() > 2 {
                other.clear();
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let path = line.split(' ').nth(1).unwrap_or_default();
            let (_, body) = documents.iter().find(|(known, _)| *known == path).unwrap();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    count
}

const TENANTS: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      Auth:
        DefaultAuthorizer: Tenant
        Authorizers:
          Tenant:
            FunctionArn: !GetAtt Decide.Arn
            FunctionPayloadType: REQUEST
            Identity: {Headers: [Authorization], QueryStrings: [tenant]}
  Decide:
    Type: AWS::Serverless::Function
    Properties: {Handler: decide.handler}
  Shop:
    Type: AWS::Serverless::Function
    Properties:
      Handler: shop.handler
      Events:
        Orders: {Type: Api, Properties: {Path: /orders, Method: get, RestApiId: !Ref Api}}
"#;

/// Lets in who asks for a tenant of their own.
const OWNER: &str = r#"
def handler(event, context):
    mine = event["queryStringParameters"]["tenant"] == event["headers"]["Authorization"]
    statement = {"Effect": "Allow" if mine else "Deny", "Action": "execute-api:Invoke", "Resource": "*"}
    return {"principalId": "ada", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
"#;

#[test]
fn a_decision_is_remembered_for_what_was_judged() {
    let app = App::default().file("template.yaml", TENANTS).file("decide.py", OWNER).file("shop.py", SHOP);
    let server = app.start(&Python::any());
    let ask = |query: &str| get(&server, &format!("/orders?{query}"), "authorization", "mine").status;
    assert_eq!(ask("tenant=mine"), 200);
    assert_eq!(ask("Tenant=victim&tenant=mine"), 200);
    assert_eq!(ask("tenant=victim&tenant=mine"), 200);
    assert_eq!(ask("tenant=victim"), 403);
    assert_eq!(ask("Tenant=mine"), 401);
}

#[test]
fn tokens_of_an_issuer_are_checked() {
    let python = Python::any();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let made: Value = serde_json::from_str(&python.run(ISSUER, &[&issuer])).unwrap();
    let about = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string();
    let documents = vec![("/.well-known/openid-configuration", about), ("/keys", made["keys"].to_string())];
    let count = publish(listener, documents);
    let template = format!(
        r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth:
        DefaultAuthorizer: Tokens
        Authorizers:
          Tokens: {{JwtConfiguration: {{issuer: "{issuer}", audience: [shop]}}}}
  Shop:
    Type: AWS::Serverless::Function
    Properties:
      Handler: shop.handler
      Events:
        Any: {{Type: HttpApi, Properties: {{Path: /any, Method: get, ApiId: !Ref Api}}}}
        Read: {{Type: HttpApi, Properties: {{Path: /read, Method: get, ApiId: !Ref Api, Auth: {{AuthorizationScopes: [read, write]}}}}}}
        Open: {{Type: HttpApi, Properties: {{Path: /open, Method: get, ApiId: !Ref Api, Auth: {{Authorizer: NONE}}}}}}
"#
    );
    let server = App::default().file("template.yaml", &template).file("shop.py", SHOP).start(&python);
    let shown = |path: &str, name: &str| {
        get(&server, path, "authorization", &format!("Bearer {}", made[name].as_str().unwrap()))
    };
    let told = shown("/any", "good").status(200).json();
    let claims = &told["jwt"]["claims"];
    assert_eq!((&claims["sub"], &claims["groups"]), (&json!("ada"), &json!("[a b]")));
    assert!(claims["exp"].is_string() && told["jwt"]["scopes"].is_null(), "{told}");
    assert_eq!(shown("/read", "good").status(200).json()["jwt"]["scopes"], json!(["read"]));
    shown("/any", "long").status(200);
    assert_eq!(count.load(Ordering::SeqCst), 2, "keys are got once");
    server.get("/open").status(200);

    let refused = server.get("/any").status(401);
    assert_eq!(
        (refused.text().as_str(), refused.header("www-authenticate")),
        ("{\"message\":\"Unauthorized\"}", "Bearer")
    );
    for name in ["expired", "foreign", "audience", "unsigned", "other_key", "forged", "changed", "unknown"] {
        let refused = shown("/any", name).status(401);
        assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""), "{name}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 2, "an unknown key is not asked for again so soon");
    let refused = shown("/read", "long").status(403);
    assert_eq!(refused.text(), "{\"message\":\"Forbidden\"}");
    assert!(refused.header("www-authenticate").contains("insufficient_scope"));
}

#[test]
fn without_the_keys_of_an_issuer_nobody_comes_in() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let python = Python::any();
    let made: Value = serde_json::from_str(&python.run(ISSUER, &[&issuer])).unwrap();
    let file = format!(
        "service: s\nprovider: {{name: aws, httpApi: {{authorizers: {{t: {{issuerUrl: '{issuer}', audience: shop}}}}}}}}\n\
        functions:\n  f:\n    handler: shop.handler\n    events:\n      - httpApi: {{path: /a, method: get, authorizer: t}}\n"
    );
    let app = App::default().file("serverless.yml", &file).file("shop.py", SHOP);
    let server = app.launch(&python).may_complain("E0513").start();
    let token = made["good"].as_str().unwrap();
    let refused = get(&server, "/a", "authorization", token).status(401);
    assert!(refused.header("www-authenticate").contains("the keys of the issuer are not known"));
}
