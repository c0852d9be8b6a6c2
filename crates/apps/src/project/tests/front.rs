//! What stands in front of routes.

use ingle_types::front::{Authorizer, AuthorizerKind, IdentitySource};

use super::*;

/// `GET /a: Token(shop-decide) Header(x) 60s [scope]` for each route.
#[track_caller]
fn check(name: &str, text: &str, expected: &[&str]) {
    let found = project(&[(name, text), ("a.py", "")], &ProjectOptions::default());
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let routes = found.functions.iter().flat_map(|function| &function.sources);
    let routes: Vec<String> = routes.filter_map(route).collect();
    assert_eq!(routes, expected);
}

fn route(source: &EventSource) -> Option<String> {
    let EventSource::Http(http) = source else { return None };
    let decided = http.front.authorizer.as_ref().map(authorizer).unwrap_or_default();
    let scopes =
        if http.front.scopes.is_empty() { String::new() } else { format!(" {:?}", http.front.scopes) };
    let guard = http.guard.as_ref().map(|guard| format!(" not: {guard}")).unwrap_or_default();
    Some(format!("{}:{decided}{scopes}{}{guard}", http.path, shown_keys(http)))
}

fn authorizer(one: &Authorizer) -> String {
    let kind = match &one.kind {
        AuthorizerKind::Token { function, pattern } => format!("Token({function} {pattern:?})"),
        AuthorizerKind::Request { function, format } => format!("Request({function} {format:?})"),
        AuthorizerKind::Jwt { issuer, audiences } => format!("Jwt({issuer} {audiences:?})"),
    };
    let sources = one.sources.iter().map(|source| match source {
        IdentitySource::Header(name) => format!("header:{name}"),
        IdentitySource::Query(name) => format!("query:{name}"),
        IdentitySource::Context(name) => format!("context:{name}"),
        IdentitySource::StageVariable(name) => format!("stage:{name}"),
    });
    format!(" {} {kind} {} {:?}", one.name, sources.collect::<Vec<_>>().join(","), one.ttl)
}

#[track_caller]
fn check_wrong(name: &str, text: &str, expected: &[&str]) {
    let found = project(&[(name, text), ("a.py", "")], &ProjectOptions::default());
    let problems = found
        .problems
        .iter()
        .map(|one| format!("{}:{} {}", one.code, one.line.unwrap_or_default(), one.message));
    assert_eq!(problems.collect::<Vec<_>>(), expected);
}

const SAM: &str = r#"
Transform: AWS::Serverless-2016-10-31
Globals:
  HttpApi:
    Auth:
      Authorizers:
        Tokens:
          JwtConfiguration: {issuer: "https://id.test/", audience: [a, b]}
          AuthorizationScopes: [read]
        Simple:
          FunctionArn: !GetAtt Decide.Arn
          AuthorizerPayloadFormatVersion: 2.0
          EnableSimpleResponses: true
          Identity: {Headers: [x-user], QueryStrings: [q], ReauthorizeEvery: 60}
        Policy: {FunctionArn: !GetAtt Decide.Arn, AuthorizerPayloadFormatVersion: "1.0"}
      DefaultAuthorizer: Tokens
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      Auth:
        DefaultAuthorizer: Token
        AddDefaultAuthorizerToCorsPreflight: false
        Authorizers:
          Token:
            FunctionArn: !GetAtt Decide.Arn
            Identity: {Header: X-Token, ValidationExpression: "^Bearer ", ReauthorizeEvery: 10}
          Request:
            FunctionArn: !GetAtt Decide.Arn
            FunctionPayloadType: REQUEST
            Identity: {Headers: [a], Context: [identity.sourceIp]}
          Users: {UserPoolArn: x}
  Decide:
    Type: AWS::Serverless::Function
    Properties: {Handler: a.b, FunctionName: decide-it}
  Shop:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Events:
        A: {Type: Api, Properties: {Path: /a, Method: get, RestApiId: !Ref Api}}
        B: {Type: Api, Properties: {Path: /b, Method: get, RestApiId: !Ref Api, Auth: {Authorizer: Request, ApiKeyRequired: true}}}
        C: {Type: Api, Properties: {Path: /c, Method: get, RestApiId: !Ref Api, Auth: {Authorizer: NONE}}}
        D: {Type: Api, Properties: {Path: /d, Method: get, RestApiId: !Ref Api, Auth: {Authorizer: Users}}}
        E: {Type: HttpApi, Properties: {Path: /e, Method: get}}
        F: {Type: HttpApi, Properties: {Path: /f, Method: get, Auth: {Authorizer: Tokens, AuthorizationScopes: [write]}}}
        G: {Type: HttpApi, Properties: {Path: /g, Method: get, Auth: {Authorizer: Simple}}}
        H: {Type: HttpApi, Properties: {Path: /h, Method: get, Auth: {Authorizer: Policy}}}
"#;

#[test]
fn authorizers_of_a_template_are_read() {
    check(
        "template.yaml",
        SAM,
        &[
            "/a: Token Token(decide-it Some(\"^Bearer \")) header:X-Token 10s",
            "/b: Request Request(decide-it V1) header:a,context:identity.sourceIp 300s, wants a key of []",
            "/c:",
            "/d: not: the authorizer Users of Cognito",
            "/e: Tokens Jwt(https://id.test/ [\"a\", \"b\"]) header:Authorization 0ns [\"read\"]",
            "/f: Tokens Jwt(https://id.test/ [\"a\", \"b\"]) header:Authorization 0ns [\"write\"]",
            "/g: Simple Request(decide-it V2Simple) header:x-user,query:q 60s",
            "/h: Policy Request(decide-it V1)  0ns",
        ],
    );
}

const SERVERLESS: &str = r#"
service: shop
provider:
  name: aws
  httpApi:
    authorizers:
      tokens: {type: jwt, issuerUrl: "https://id.test", audience: shop, identitySource: $request.header.X-Token}
      asked: {type: request, functionName: decide, enableSimpleResponses: true, resultTtlInSeconds: 5, identitySource: [$request.header.a]}
functions:
  decide: {handler: a.b}
  other: {handler: a.b, name: own-name}
  shop:
    handler: a.b
    events:
      - http: {path: a, method: get, authorizer: decide}
      - http: {path: b, method: get, authorizer: {name: other, resultTtlInSeconds: 0, type: request, identitySource: "method.request.header.a, method.request.querystring.b"}}
      - http: {path: c, method: get, authorizer: {arn: "arn:aws:lambda:us-east-1:000000000000:function:own-name", identityValidationExpression: x.*}}
      - http: {path: d, method: get, authorizer: aws_iam}
      - http: {path: e, method: get, authorizer: {name: pool, arn: "arn:aws:cognito-idp:us-east-1:1:userpool/x"}}
      - httpApi: {path: /f, method: get, authorizer: tokens}
      - httpApi: {path: /g, method: get, authorizer: {name: tokens, scopes: [read]}}
      - httpApi: {path: /h, method: get, authorizer: asked}
"#;

#[test]
fn authorizers_of_a_serverless_yml_are_read() {
    check(
        "serverless.yml",
        SERVERLESS,
        &[
            "/a: decide Token(shop-dev-decide None) header:Authorization 300s",
            "/b: other Request(own-name V1) header:a,query:b 0ns",
            "/c: arn:aws:lambda:us-east-1:000000000000:function:own-name Token(own-name Some(\"x.*\")) header:Authorization 300s",
            "/d: not: the authorizer aws_iam",
            "/e: not: the authorizer of Cognito",
            "/f: tokens Jwt(https://id.test [\"shop\"]) header:X-Token 0ns",
            "/g: tokens Jwt(https://id.test [\"shop\"]) header:X-Token 0ns [\"read\"]",
            "/h: asked Request(shop-dev-decide V2Simple) header:a 5s",
        ],
    );
}

/// A route whose authorizer can't be asked would be open to all.
#[test]
fn an_authorizer_that_can_not_be_asked_is_a_problem() {
    let file = |events: &str, authorizers: &str| {
        format!(
            "service: s\nprovider: {{name: aws, httpApi: {{authorizers: {{{authorizers}}}}}}}\nfunctions:\n  f:\n    handler: a.b\n    events:\n      - {events}\n"
        )
    };
    let name = "serverless.yml";
    check_wrong(
        name,
        &file("http: {path: a, method: get, authorizer: none}", ""),
        &["E0120:7 the authorizer `none` is no function of this file"],
    );
    check_wrong(
        name,
        &file("httpApi: {path: /a, method: get, authorizer: none}", ""),
        &["E0120:7 the provider has no authorizer `none`"],
    );
    check_wrong(
        name,
        &file("httpApi: {path: /a, method: get, authorizer: x}", "x: {issuerUrl: 'ftp://x', audience: a}"),
        &["E0120:2 the issuer `ftp://x` of x is no URL"],
    );
    let elsewhere = "'arn:aws:lambda:us-east-1:000000000000:function:gone'";
    check_wrong(
        name,
        &file(&format!("http: {{path: a, method: get, authorizer: {elsewhere}}}"), ""),
        &[
            "E0120:7 the authorizer arn:aws:lambda:us-east-1:000000000000:function:gone of /a asks the function gone, \
           which is none of this project that is served",
        ],
    );
    let sam = SAM.replace("Auth: {Authorizer: Simple}", "Auth: {Authorizer: Simpel}");
    check_wrong("template.yaml", &sam, &["E0120:48 the API has no authorizer `Simpel`"]);
}

/// Nobody knows here whom such a value lets in, so it lets nobody in.
#[test]
fn what_a_template_does_not_know_opens_no_route() {
    let sam = |api: &str, event: &str| {
        format!(
            r#"Transform: AWS::Serverless-2016-10-31
Parameters: {{P: {{Type: String}}}}
Conditions: {{IsProd: !Equals [!Ref P, prod]}}
Globals: {{HttpApi: {{Auth: {{Authorizers: {{A: {{JwtConfiguration: {{issuer: "https://a.test", audience: [a]}}}}}}}}}}}}
Resources:
  Api: {{Type: AWS::Serverless::Api, Properties: {{StageName: v, Auth: {api}}}}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      {event}
"#
        )
    };
    let given = "the parameter P has no default; `--parameter P=VALUE` gives it a value";
    let (why, of_condition) = (given, format!("whether IsProd is met is not known, as {given}"));
    let check_sam = |api: &str, event: &str, expected: &str| {
        let expected = format!("E0120:{expected}");
        check_wrong("template.yaml", &sam(api, event), &[&expected]);
    };
    let rest = |auth: &str| {
        format!(
            "Events: {{E: {{Type: Api, Properties: {{Path: /a, Method: get, RestApiId: !Ref Api, Auth: {auth}}}}}}}"
        )
    };
    let condition = &format!("11 Auth is not known: {of_condition}");
    check_sam("{}", &rest("!If [IsProd, {Authorizer: A}, !Ref AWS::NoValue]"), condition);
    check_sam("{}", &rest("[A]"), "11 Auth is a list");
    check_sam("{}", &rest("{ApiKeyRequired: !Ref P}"), &format!("11 ApiKeyRequired is not known: {why}"));
    check_sam("{}", &rest("{ApiKeyRequired: maybe}"), "11 ApiKeyRequired is a text or a number");
    check_sam("{}", &rest("{Authorizer: !Ref P}"), &format!("11 the authorizer is not known: {why}"));
    let of_api = &format!("6 Auth is not known: {of_condition}");
    check_sam("!If [IsProd, {ApiKeyRequired: true}, {}]", &rest("{}"), of_api);
    check_sam("{DefaultAuthorizer: !Ref P}", &rest("{}"), &format!("6 the authorizer is not known: {why}"));
    let identity =
        "{FunctionArn: !GetAtt F.Arn, FunctionPayloadType: REQUEST, Identity: {Headers: [a, !Ref P]}}";
    let of_identity = format!("6 Headers is not known: {why}");
    check_sam(
        &format!("{{DefaultAuthorizer: A, Authorizers: {{A: {identity}}}}}"),
        &rest("{}"),
        &of_identity,
    );
    let kind = "{FunctionArn: !GetAtt F.Arn, FunctionPayloadType: !Ref P}";
    let of_kind = format!("6 FunctionPayloadType is not known: {why}");
    check_sam(&format!("{{DefaultAuthorizer: A, Authorizers: {{A: {kind}}}}}"), &rest("{}"), &of_kind);
    let http = |auth: &str| {
        format!("Events: {{E: {{Type: HttpApi, Properties: {{Path: /a, Method: get, Auth: {auth}}}}}}}")
    };
    let scopes = "11 AuthorizationScopes is not known: it is exported by another stack";
    check_sam("{}", &http("{Authorizer: A, AuthorizationScopes: [a, !ImportValue x]}"), scopes);
    check_sam("{}", "FunctionUrlConfig: {AuthType: !Ref P}", &format!("11 AuthType is not known: {why}"));
    let config = format!("11 FunctionUrlConfig is not known: {of_condition}");
    check_sam("{}", "FunctionUrlConfig: !If [IsProd, {AuthType: AWS_IAM}, {AuthType: NONE}]", &config);
}

#[test]
fn what_is_kept_at_aws_opens_no_route() {
    let check_yml = |settings: &str, expected: &str| {
        let text = format!(
            "service: s\nprovider: {{name: aws, apiGateway: {{apiKeys: [{{name: k, enabled: '${{ssm:/x}}'}}]}}, httpApi: {{authorizers: {{t: {{issuerUrl: 'https://a.test', audience: a}}}}}}}}\nfunctions:\n  f:\n    handler: a.b\n    {settings}\n"
        );
        check_wrong("serverless.yml", &text, &[&format!("E0120:{expected}")]);
    };
    let why = "`ssm:/x` is kept at AWS";
    check_yml("events: [{http: {path: a, method: get, private: 'yes'}}]", "6 private is a text or a number");
    check_yml(
        "events: [{http: {path: a, method: get, private: '${ssm:/x}'}}]",
        &format!("6 private is not known: {why}"),
    );
    check_yml(
        "events: [{http: {path: a, method: get, private: true}}]",
        &format!("2 enabled is not known: {why}"),
    );
    check_yml(
        "events: [{httpApi: {path: /a, method: get, authorizer: {name: t, scopes: [a, '${ssm:/x}']}}}]",
        &format!("6 scopes is not known: {why}"),
    );
    check_yml("url: '${ssm:/x}'", &format!("6 url is not known: {why}"));
}

/// The file may want less than what holds if nothing is said.
#[test]
fn a_decision_is_not_kept_for_a_time_that_is_not_known() {
    let sam = SAM.replace("ReauthorizeEvery: 10}", "ReauthorizeEvery: !ImportValue x}");
    let found = project(&[("template.yaml", &sam), ("a.py", "")], &ProjectOptions::default());
    let first = found.functions.iter().flat_map(|function| &function.sources).find_map(route).unwrap();
    assert_eq!(first, "/a: Token Token(decide-it Some(\"^Bearer \")) header:X-Token 0ns");
}

/// Of `Globals` and of an API, neither hides that the other is not known.
#[test]
fn an_api_does_not_hide_that_what_holds_for_all_is_not_known() {
    let sam = SAM.replace(
        "    Auth:\n      Authorizers:\n        Tokens",
        "    Auth: !ImportValue x\n    Unread:\n      Authorizers:\n        Tokens",
    );
    let found = project(&[("template.yaml", &sam), ("a.py", "")], &ProjectOptions::default());
    let problems: Vec<String> =
        found.problems.iter().map(|one| format!("{} {}", one.code, one.message)).collect();
    assert_eq!(problems, ["E0120 Auth is not known: it is exported by another stack"]);
    let own = sam
        .replace("Resources:", "Resources:\n  Own: {Type: AWS::Serverless::HttpApi, Properties: {Auth: {}}}");
    let own = own.replace("Type: HttpApi, Properties: {", "Type: HttpApi, Properties: {ApiId: !Ref Own, ");
    let found = project(&[("template.yaml", &own), ("a.py", "")], &ProjectOptions::default());
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
}
