//! Routes in OpenAPI documents.

use super::*;

/// Routes of functions, a line for each, and what is ignored or wrong: `file:line code or what`.
fn found(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let files = [files, &[("a.py", "")]].concat();
    let found = project(&files, &ProjectOptions::default());
    let routes = found.functions.iter().flat_map(|function| {
        function
            .sources
            .iter()
            .map(|source| format!("{}: {}{}", function.id, shown_source(source), front(source)))
    });
    let ignored = found.ignored.iter().map(|one| {
        let file = one.file.as_ref().unwrap_or(&found.file).display().to_string();
        format!("{file}:{} {}: {}", one.line, one.what, one.why)
    });
    let problems = found.problems.iter().map(|one| {
        let (file, line) = (one.file.clone().unwrap_or_default(), one.line.unwrap_or_default());
        format!("{file}:{line} {} {}", one.code, one.message)
    });
    (routes.collect(), ignored.chain(problems).collect())
}

/// What is asked, and with which templates.
fn front(source: &EventSource) -> String {
    let EventSource::Http(http) = source else { return String::new() };
    let asked =
        http.front.authorizer.as_ref().map(|one| format!(", {} {:?} {:?}", one.name, one.kind, one.ttl));
    let integration = http.front.integration.as_ref().map(|one| format!(", {one:?}"));
    asked.unwrap_or_default() + &integration.unwrap_or_default()
}

pub(super) const TEMPLATE: &str = r#"Transform: AWS::Serverless-2016-10-31
Resources:
  Rest:
    Type: AWS::Serverless::Api
    Properties: {StageName: v1, DefinitionUri: api.json, BinaryMediaTypes: [a/b]}
  Http:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth:
        DefaultAuthorizer: Tokens
        Authorizers: {Tokens: {JwtConfiguration: {issuer: "https://id.test/", audience: [a]}}}
      DefinitionBody:
        openapi: 3.0.1
        x-amazon-apigateway-cors: {allowOrigins: ["https://a.test"]}
        x-amazon-apigateway-importexport-version: "1.0"
        paths:
          /a:
            get: {x-amazon-apigateway-integration: {type: AWS_PROXY, uri: !GetAtt F.Arn, payloadFormatVersion: "2.0"}}
            post: {security: [], x-amazon-apigateway-integration: {type: aws_proxy, uri: !GetAtt F.Arn}}
            put: {x-amazon-apigateway-integration: {type: http_proxy, uri: "https://a.test"}}
            delete: {responses: {}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Events:
        A: {Type: Api, Properties: {Path: /x, Method: get, RestApiId: !Ref Rest}}
        B: {Type: Api, Properties: {Path: /other, Method: get, RestApiId: !Ref Rest}}
"#;

pub(super) const DOCUMENT: &str = r#"{
  "swagger": "2.0",
  "security": [{"ask": []}],
  "x-amazon-apigateway-binary-media-types": ["c/d"],
  "paths": {
    "/x": {
      "get": {"x-amazon-apigateway-integration": {"type": "aws_proxy",
        "uri": {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${F.Arn}/invocations"}}},
      "options": {"security": [], "x-amazon-apigateway-integration": {"type": "mock",
        "requestTemplates": {"application/json": "{}"},
        "responses": {"default": {"statusCode": "204", "responseParameters": {"method.response.header.X": "'y'"}}}}}
    }
  },
  "securityDefinitions": {
    "ask": {"type": "apiKey", "name": "Unused", "in": "header", "x-amazon-apigateway-authtype": "custom",
      "x-amazon-apigateway-authorizer": {"type": "request", "identitySource": "method.request.header.X", "authorizerResultTtlInSeconds": 7,
        "authorizerUri": {"Fn::Sub": "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${F.Arn}/invocations"}}}
  }
}"#;

#[test]
fn documents_and_events_are_together() {
    let (routes, others) = found(&[("template.yaml", TEMPLATE), ("api.json", DOCUMENT)]);
    let asked = r#"ask Request { function: "F", format: V1 } 7s"#;
    let tokens = r#"Tokens Jwt { issuer: "https://id.test/", audiences: ["a"] } 0ns"#;
    let cors = r#"Cors { origins: ["https://a.test"], methods: [], headers: [], exposed_headers: [], credentials: false, max_age: None }"#;
    let mock = r#"Integration { kind: Mock, requests: [("application/json", "{}")], pass_through: WhenNoMatch, responses: [ResponseRule { status: 204, pattern: None, template: None, headers: [("X", "'y'")] }] }"#;
    assert_eq!(
        routes,
        [
            // That of the document counts, with what it asks.
            format!(r#"F: 7 rest Rest ["a/b", "c/d"] v1: GET /x, {asked}"#),
            format!(r#"F: 9 rest Rest ["a/b", "c/d"] v1: OPTIONS /x, {mock}"#),
            format!("F: 18 http Http V2 $default: GET /a, {cors}, {tokens}"),
            format!("F: 19 http Http V1 $default: POST /a, {cors}, {tokens}"),
        ]
    );
    assert_eq!(
        others,
        [
            "template.yaml:15 x-amazon-apigateway-importexport-version of Http: it is not applied here",
            "template.yaml:20 the event put /a: the integration http_proxy is not served",
            "template.yaml:21 the event delete /a: it has no integration, so it is not served",
            "template.yaml:28 the event GET /other: the document of its API says which routes there are, so it is not served",
        ]
    );
}

#[test]
fn what_is_wrong_is_told_where_it_stands() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let document = DOCUMENT.replace(from, to);
        let (_, others) = found(&[("template.yaml", TEMPLATE), ("api.json", &document)]);
        let others: Vec<&str> = others
            .iter()
            .map(String::as_str)
            .filter(|one| !one.contains("ignored") && one.contains(" E0"))
            .collect();
        assert_eq!(others, expected, "{to}");
    };
    check(
        "/functions/${F.Arn}/invocations\"}}},",
        "\"}}},",
        &["api.json:8 E0116 the integration of get /x names no function that is known here"],
    );
    check(
        "[{\"ask\": []}]",
        "[{\"nobody\": []}]",
        &["api.json:3 E0120 the document has no security scheme `nobody`"],
    );
    check("\"paths\"", "\"path\"", &["api.json:1 E0116 the OpenAPI document has no paths"]);
    check("\"/x\"", "\"x\"", &["api.json:6 E0116 `x` is no path of an API"]);
    check("\"options\"", "\"fetch\"", &["api.json:9 E0116 `fetch` is no method"]);
    check("\"204\"", "\"some\"", &["api.json:11 E0116 statusCode is `some`"]);
    check(
        "\"type\": \"request\"",
        "\"type\": \"guess\"",
        &["api.json:15 E0120 the type of the security scheme ask is `guess`"],
    );
    let of_uri = |uri: &str| {
        let template = TEMPLATE.replace("DefinitionUri: api.json", &format!("DefinitionUri: {uri}"));
        found(&[("template.yaml", &template), ("api.json", "{")]).1
    };
    let starts = |uri: &str, expected: &str| {
        let others = of_uri(uri);
        assert!(others.iter().any(|one| one.starts_with(expected)), "{others:?}");
    };
    starts("none.json", "template.yaml:5 E0117 the OpenAPI document `none.json` is not there");
    starts("../api.json", "template.yaml:5 E0221 the OpenAPI document `../api.json` is not in");
    starts("s3://bucket/api.json", "template.yaml:5 an OpenAPI document: it is not in this folder");
    starts("api.json", "api.json:1 E0116");
}

/// A route is as guarded as the stricter of the two wants it.
#[test]
fn what_sam_asks_for_all_routes_is_asked_besides() {
    let template = TEMPLATE.replace("BinaryMediaTypes: [a/b]", "Auth: {ApiKeyRequired: true}");
    let (routes, _) = found(&[("template.yaml", &template), ("api.json", DOCUMENT)]);
    let of = |route: &str| routes.iter().find(|one| one.contains(route)).unwrap();
    assert!(of("GET /x").contains(", wants a key of [], ask Request"), "{routes:?}");
    assert!(of("OPTIONS /x").contains(", wants a key of []"), "{routes:?}");
}

/// An API with its document in the template, and events of the function F.
fn inline(kind: &str, properties: &str, paths: &str, events: &str) -> Vec<String> {
    let of_api = if kind == "Api" { "RestApiId" } else { "ApiId" };
    let authorizer = |issuer: &str| match kind {
        "Api" => "{FunctionArn: !GetAtt F.Arn}".to_owned(),
        _ => format!("{{JwtConfiguration: {{issuer: 'https://{issuer}.test', audience: [a]}}}}"),
    };
    let template = format!(
        r#"Transform: AWS::Serverless-2016-10-31
Parameters:
  Unknown: {{Type: String}}
Conditions:
  Unknown: !Equals [!Ref Unknown, a]
Resources:
  Shop:
    Type: AWS::Serverless::{kind}
    Properties:
      StageName: v1
      {properties}
      Auth: {{Authorizers: {{A: {a}, B: {b}}}}}
      DefinitionBody:
        openapi: 3.0.1
        paths:
          {paths}
        components:
          securitySchemes:
            A: {{x-amazon-apigateway-authorizer: {{type: request, authorizerUri: !GetAtt F.Arn}}}}
            key: {{type: apiKey, name: x-api-key, in: header}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Events:
        {events}
"#,
        a = authorizer("a"),
        b = authorizer("b"),
    );
    let template = template.replace("OF_SHOP", &format!("{of_api}: !Ref Shop"));
    let template =
        template.replace("CALL", "x-amazon-apigateway-integration: {type: aws_proxy, uri: !GetAtt F.Arn}");
    let found = project(&[("template.yaml", &template), ("a.py", "")], &ProjectOptions::default());
    let routes = found.functions.iter().flat_map(|function| &function.sources).filter_map(|source| {
        let EventSource::Http(http) = source else { return None };
        let by = http.front.authorizer.as_ref().map(|one| format!(" by {}", one.name)).unwrap_or_default();
        let key = if http.front.keys.is_some() { " with a key" } else { "" };
        let payload =
            if let Api::Http { payload, .. } = http.api { format!(" {payload:?}") } else { String::new() };
        let guard = http.guard.as_ref().map(|guard| format!(" not asked: {guard}")).unwrap_or_default();
        Some(format!("{} {}{by}{key}{guard}{payload}", http.method.as_deref().unwrap_or("ANY"), http.path))
    });
    let ignored = found.ignored.iter().filter(|one| one.what.starts_with("the event"));
    let ignored = ignored.map(|one| format!("{} {}: {}", one.line, one.what, one.why));
    let problems =
        found.problems.iter().map(|one| format!("{} {} {}", one.line.unwrap(), one.code, one.message));
    routes.chain(ignored).chain(problems).collect()
}

#[test]
fn what_an_event_asks_is_asked_on_the_route_of_the_document() {
    let get = "/a: {get: {CALL}}";
    let secured = "/a: {get: {security: [{A: []}], CALL}}";
    let event = |auth: &str| {
        format!("E: {{Type: HttpApi, Properties: {{Path: /a, Method: get, OF_SHOP, Auth: {{{auth}}}}}}}")
    };
    let http = |paths: &str, auth: &str| inline("HttpApi", "", paths, &event(auth));
    assert_eq!(http(get, ""), ["GET /a V1"]);
    assert_eq!(http(get, "Authorizer: B"), ["GET /a by B V1"]);
    // What one says the other can't take away.
    assert_eq!(http(secured, "Authorizer: NONE"), ["GET /a by A V1"]);
    assert_eq!(http(secured, "Authorizer: A"), ["GET /a by A V1"]);
    assert_eq!(
        http(secured, "Authorizer: B"),
        ["16 E0120 get wants two: the authorizer A, and B of its event"]
    );

    let event = |auth: &str| {
        format!("E: {{Type: Api, Properties: {{Path: /a, Method: get, OF_SHOP, Auth: {{{auth}}}}}}}")
    };
    let rest = |paths: &str, auth: &str| inline("Api", "", paths, &event(auth));
    assert_eq!(rest(get, "Authorizer: B, ApiKeyRequired: true"), ["GET /a by B with a key"]);
    assert_eq!(rest(get, "ApiKeyRequired: true"), ["GET /a with a key"]);
    // Behind a REST API the document's word counts, unless the event's is said to.
    assert_eq!(rest(secured, "Authorizer: B"), ["GET /a by A"]);
    assert_eq!(rest(secured, "Authorizer: NONE"), ["GET /a by A"]);
    assert_eq!(rest(secured, "Authorizer: B, OverrideApiAuth: true"), ["GET /a by B"]);
    assert_eq!(rest(secured, "Authorizer: NONE, OverrideApiAuth: true"), ["GET /a"]);
    assert_eq!(rest(secured, "Authorizer: NONE, OverrideApiAuth: !Ref Unknown"), ["GET /a by A"]);
}

/// Otherwise the route would be open, or hidden by one that is.
#[test]
fn no_event_stands_in_for_what_the_document_guards() {
    let events = "E: {Type: HttpApi, Properties: {Path: '/a/{id}', Method: get, OF_SHOP}}";
    let http = |paths: &str| inline("HttpApi", "", paths, events);
    // One that is not in the document is added to it.
    assert_eq!(http("/a: {get: {CALL}}"), ["GET /a V1", "GET /a/{id} V2"]);
    assert_eq!(http("/a/{id}: {post: {CALL}}"), ["POST /a/{id} V1", "GET /a/{id} V2"]);
    // To the operation of the document only its integration is added.
    assert_eq!(http("/a/{id}: {get: {security: [{A: []}]}}"), ["GET /a/{id} by A V2"]);
    // Names of parameters make no other path.
    assert_eq!(http("'/a/{user}': {get: {security: [{A: []}], CALL}}"), ["GET /a/{user} by A V1"]);
    assert_eq!(
        http("'/a/{user}': {get: {security: [{none: []}], CALL}}"),
        ["16 E0120 the document has no security scheme `none`"]
    );
    let hidden = "26 E0120 who may come in by GET /a/{id} is not known: the document can't be read there";
    let not_followed = "16 the events of /a/{user}: references to paths are not followed";
    assert_eq!(http("'/a/{user}': {$ref: 'paths.yaml#/a'}"), [not_followed, hidden]);
    assert_eq!(http("'/a/{user}': !If [Unknown, {get: {}}, {}]"), [hidden]);
    let of_operation = http("'/a/{user}': {get: !If [Unknown, {CALL}, {}]}");
    assert_eq!(of_operation.last().map(String::as_str), Some(hidden), "{of_operation:?}");
    assert_eq!(
        http("!If [Unknown, {}, {}]"),
        ["26 the event GET /a/{id}: the document of its API can't be read, so it is not served"]
    );
}

/// Nothing that can't be read opens a route.
#[test]
fn what_a_document_asks_is_read_or_its_route_is_not_served() {
    let event = "E: {Type: Schedule, Properties: {Schedule: rate(1 day)}}";
    let check = |kind: &str, operation: &str, expected: &str| {
        assert_eq!(
            inline(kind, "", &format!("/a: {{get: {{{operation}, CALL}}}}"), event),
            [expected],
            "{operation}"
        );
    };
    check("Api", "security: []", "GET /a");
    check("Api", "security: [{key: []}]", "GET /a with a key");
    check("Api", "security: {A: []}", "16 E0120 security is a map");
    check("Api", "security: [A]", "16 E0120 security is a text or a number");
    check("Api", "security: [{A: []}, A]", "16 E0120 security is a text or a number");
    let unknown = "16 E0120 security is not known: whether Unknown is met is not known, as the parameter Unknown has no default; `--parameter Unknown=VALUE` gives it a value";
    check("HttpApi", "security: !If [Unknown, [{A: []}], []]", unknown);
    let scopes = "16 E0120 scopes is not known: it is exported by another stack";
    check("HttpApi", "security: [{A: [!ImportValue x]}]", scopes);
    check("Api", "x-amazon-apigateway-auth: {type: none}", "GET /a");
    check("Api", "x-amazon-apigateway-auth: {type: aws_iam}", "GET /a not asked: the authorizer AWS_IAM");
    let both = "GET /a by A not asked: the authorizer AWS_IAM";
    check("Api", "security: [{A: []}], x-amazon-apigateway-auth: {type: AWS_IAM}", both);
    let other = "16 E0120 the type of x-amazon-apigateway-auth is `custom`";
    check("Api", "x-amazon-apigateway-auth: {type: custom}", other);
    check("Api", "x-amazon-apigateway-auth: {}", "16 E0120 the type of x-amazon-apigateway-auth is ``");
    let unknown = "16 E0120 the type of x-amazon-apigateway-auth is not known: the parameter Unknown has no default; `--parameter Unknown=VALUE` gives it a value";
    check("Api", "x-amazon-apigateway-auth: {type: !Ref Unknown}", unknown);
    check(
        "Api",
        "x-amazon-apigateway-auth: AWS_IAM",
        "16 E0120 x-amazon-apigateway-auth is a text or a number",
    );
}

/// A document alone says which routes a REST API has.
#[test]
fn events_of_rest_apis_are_routes_if_definitions_are_merged() {
    let events = "E: {Type: Api, Properties: {Path: /a, Method: get, OF_SHOP}}";
    let alone = |paths: &str| inline("Api", "", paths, events);
    assert_eq!(
        alone("/b: {get: {CALL}}"),
        [
            "GET /b",
            "26 the event GET /a: the document of its API says which routes there are, so it is not served"
        ]
    );
    // It only allows the call.
    assert_eq!(alone("/a: {x-amazon-apigateway-any-method: {CALL}}"), ["ANY /a"]);
    let merged = |paths: &str| inline("Api", "MergeDefinitions: true", paths, events);
    assert_eq!(merged("/b: {get: {CALL}}"), ["GET /b", "GET /a"]);
    assert_eq!(merged("/a: {get: {security: [{key: []}]}}"), ["GET /a with a key"]);
    let own = "E: {Type: Api, Properties: {Path: /a, Method: get, OF_SHOP, Auth: {Authorizer: B}}}";
    assert_eq!(
        inline("Api", "MergeDefinitions: true", "/a: {get: {security: [{A: []}]}}", own),
        ["GET /a by B"]
    );
}

/// A document elsewhere may guard what an event does not.
#[test]
fn events_are_no_routes_if_their_document_is_not_here() {
    let template = TEMPLATE.replace("DefinitionUri: api.json", "DefinitionUri: s3://bucket/api.json");
    let (routes, others) = found(&[("template.yaml", &template)]);
    assert!(routes.iter().all(|one| one.contains(" http Http ")), "{routes:?}");
    let why = "the document of its API can't be read, so it is not served";
    for event in ["template.yaml:27 the event GET /x", "template.yaml:28 the event GET /other"] {
        assert!(others.contains(&format!("{event}: {why}")), "{others:?}");
    }
    // One document may be that of all APIs.
    let template = TEMPLATE.replace(", DefinitionUri: api.json", "");
    let template = template.replace("Resources:", "Globals: {Api: {DefinitionUri: api.json}}\nResources:");
    let (routes, _) = found(&[("template.yaml", &template), ("api.json", DOCUMENT)]);
    assert!(routes.iter().any(|one| one.contains("GET /x, ask Request")), "{routes:?}");
    assert!(!routes.iter().any(|one| one.contains("GET /other")), "{routes:?}");
}

/// What the document says of others than functions and callers is told, each with its line.
#[test]
fn what_a_document_says_without_effect_is_told() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let document = DOCUMENT.replace(from, to);
        assert_ne!(document, DOCUMENT, "{from}");
        let (routes, others) = found(&[("template.yaml", TEMPLATE), ("api.json", &document)]);
        assert!(routes.iter().any(|one| one.contains("OPTIONS /x")), "{routes:?} {others:?}");
        let others: Vec<&str> =
            others.iter().map(String::as_str).filter(|one| one.starts_with("api.json")).collect();
        assert_eq!(others, expected, "{to}");
    };
    let mock = "\"type\": \"mock\",";
    check(
        mock,
        "\"type\": \"mock\", \"timeoutInMillis\": 5, \"credentials\": \"x\", \"contentHandling\": \"y\",",
        &[
            "api.json:9 timeoutInMillis of options /x: it is not applied here",
            "api.json:9 contentHandling of options /x: it is not applied here",
        ],
    );
    // Behind a proxy it says nothing at AWS either.
    check(
        "\"type\": \"aws_proxy\",",
        "\"type\": \"aws_proxy\", \"contentHandling\": \"y\", \"requestParameters\": {},",
        &["api.json:7 requestParameters of get /x: it is not applied here"],
    );
    check(
        "\"options\": {",
        "\"options\": {\"x-amazon-apigateway-request-validator\": \"all\", \"x-tool\": 1, \"summary\": \"s\",",
        &["api.json:9 x-amazon-apigateway-request-validator of options /x: it is not applied here"],
    );
    check(
        "\"/x\": {",
        "\"x-tool\": 1, \"/x\": {\"x-other\": 2, \"$ref\": \"y\",",
        &[
            "api.json:6 x-tool of Rest: it is not applied here",
            "api.json:6 x-other of Rest: it is not applied here",
            "api.json:6 the events of /x: references to paths are not followed",
        ],
    );
    check(
        "\"'y'\"",
        "\"context.requestId\"",
        &["api.json:11 method.response.header.X: headers are not made from context.requestId here"],
    );
    check(
        "\"swagger\": \"2.0\",",
        "\"swagger\": \"2.0\", \"host\": 1, \"host\": 2,",
        &["api.json:2 the key host: the same key is there again further down, and counts"],
    );
}

#[test]
fn a_header_is_made_from_what_can_be_evaluated() {
    let check = |mapped: &str, expected: &[&str]| {
        let document = DOCUMENT.replace("\"'y'\"", &format!("\"{mapped}\""));
        let (routes, others) = found(&[("template.yaml", TEMPLATE), ("api.json", &document)]);
        let is_set = routes.iter().any(|one| one.contains(&format!("(\"X\", \"{mapped}\")")));
        let others: Vec<&str> =
            others.iter().map(String::as_str).filter(|one| one.starts_with("api.json")).collect();
        assert_eq!((is_set, &*others), (expected.is_empty(), expected), "{mapped}");
    };
    check("integration.response.body.a.b_c-1", &[]);
    check("''", &[]);
    let not = |mapped: &str| {
        check(
            mapped,
            &[&*format!("api.json:11 method.response.header.X: headers are not made from {mapped} here")],
        );
    };
    not("integration.response.header.a");
    not("integration.response.body");
    not("integration.response.body.a[0]");
    not("stageVariables.a");
    check("*", &["api.json:11 E0122 the header method.response.header.X is made from `*`"]);
    check(
        "method.request.header.a",
        &["api.json:11 E0122 the header method.response.header.X is made from `method.request.header.a`"],
    );
}

/// Lines of a document are not those of the template.
#[test]
fn what_grows_too_large_is_told_in_its_file() {
    let wide = format!("[{}]", vec!["1"; 1000].join(", "));
    let template =
        TEMPLATE.replace("Resources:", &format!("Mappings: {{M: {{a: {{b: {wide}}}}}}}\nResources:"));
    let finds = vec![r#"{"Fn::FindInMap": ["M", "a", "b"]}"#; 300].join(",\n");
    let document = DOCUMENT.replace("\"swagger\"", &format!("\"tags\": [\n{finds}],\n\"swagger\""));
    let (routes, others) = found(&[("template.yaml", &template), ("api.json", &document)]);
    assert!(routes.iter().all(|one| one.contains(" http Http ")), "{routes:?}");
    let problem = others.iter().find(|one| one.contains(" E0116 ")).unwrap();
    let expected = "with all that is repeated, there are more than 200000 values, or more than 8 MiB of text";
    assert!(problem.starts_with("api.json:") && problem.ends_with(expected), "{problem}");
}

/// A change of the document is a change of the project.
#[test]
fn documents_are_among_the_files() {
    let found = project(
        &[("template.yaml", TEMPLATE), ("api.json", DOCUMENT), ("a.py", "")],
        &ProjectOptions::default(),
    );
    assert_eq!(found.included, [PathBuf::from("api.json")]);
}
