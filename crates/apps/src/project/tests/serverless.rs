//! Projects of the Serverless Framework.

use super::*;

pub(super) const SHOP: &str = r#"service: shop
frameworkVersion: "3"
useDotenv: true
plugins:
  - serverless-python-requirements
  - serverless-offline
custom:
  table: items-${self:provider.stage}
  stages:
    dev: {size: 256, name: '${self:service}-d'}
    prod: {size: 1024, name: '${self:service}-p'}
  size: ${self:custom.stages.${sls:stage}.size, 128}
  shared: ${file(./config/shared.yml):all}
  pythonRequirements: {dockerizePip: true}
params:
  default: {domain: example.test}
  prod: {domain: shop.example}
provider:
  name: aws
  runtime: python3.12
  stage: ${opt:stage, 'dev'}
  region: eu-west-1
  memorySize: ${self:custom.size}
  timeout: 10
  environment:
    STAGE: ${sls:stage}
    TABLE: ${self:custom.table}
    SECRET: ${ssm:/shop/secret}
    LEVEL: ${env:LEVEL, 'INFO'}
    DOMAIN: https://${param:domain}/
    PLACE: ${aws:region}-${aws:accountId}
    QUEUE_URL: !Ref OrdersQueue
    REMOTE: ${cf:other.Out, 'fallback'}
    NAME: ${self:custom.stages.${self:provider.stage}.name}
    SHARED: ${self:custom.shared.greeting}
    PSEUDO: !Sub "${AWS::Region}-${self:service}"
  iam:
    role: {statements: []}
  httpApi:
    cors: {allowedOrigins: [https://shop.example], allowedMethods: [GET], maxAge: 300}
  apiGateway:
    binaryMediaTypes: ['*/*']
  tracing: {lambda: true}
package:
  patterns: ['!node_modules/**']
layers:
  common-code:
    path: layers/common
functions:
  hello:
    handler: src/hello.handler
    events:
      - httpApi: 'GET /hello/{name}'
      - httpApi: '*'
      - httpApi: {method: POST, path: /hello, authorizer: {type: aws_iam}}
      - schedule: rate(10 minutes)
      - schedule: {rate: [cron(0 2 * * ? *), rate(1 day)], enabled: false, input: {full: true, n: 2}, timezone: Europe/Berlin, method: scheduler}
  take-order:
    handler: src/orders.take
    name: take-${sls:stage}
    timeout: 60
    memorySize: 512
    reservedConcurrency: 2
    role: arn:x
    layers: [!Ref CommonDashcodeLambdaLayer, 'arn:aws:lambda:eu-west-1:770693421928:layer:Klayers-p312-numpy:1']
    environment:
      STAGE: null
      HELLO: !Ref HelloLambdaFunction
      HELLO_ARN: !GetAtt HelloLambdaFunction.Arn
    url: {cors: true, authorizer: aws_iam, invokeMode: RESPONSE_STREAM}
    events:
      - sqs: {arn: !GetAtt OrdersQueue.Arn, batchSize: 3, maximumBatchingWindow: 5, functionResponseType: ReportBatchItemFailures, filterPatterns: [{body: {kind: [soup]}}]}
      - sqs: arn:aws:sqs:eu-west-1:000000000000:plain
      - s3: photos
      - s3: {bucket: uploads, event: 's3:ObjectRemoved:*', rules: [{prefix: in/}, {suffix: .jpg}], existing: true}
      - http: GET orders
      - http: {path: 'orders/{id}/', method: any, cors: {origins: [https://a.test], headers: [x-a], allowCredentials: true}, private: true}
      - http: {path: /raw, method: post, integration: mock}
      - sns: topic
      - alexaSkill
  node:
    handler: index.handler
    runtime: nodejs20.x
  box:
    image: x
resources:
  Resources:
    OrdersQueue:
      Type: AWS::SQS::Queue
      Properties: {QueueName: 'orders-${sls:stage}'}
    Topic:
      Type: AWS::SNS::Topic
    Wish:
      Type: AWS::SNS::Subscription
      Properties: {TopicArn: !Ref Topic, Protocol: sqs, Endpoint: !GetAtt OrdersQueue.Arn}
"#;

const SHARED: &str = "all:\n  greeting: hello ${self:service}\n";

fn shop() -> Vec<(&'static str, &'static str)> {
    vec![
        ("serverless.yml", SHOP),
        ("config/shared.yml", SHARED),
        ("layers/common/", ""),
        ("src/hello.py", ""),
    ]
}

#[test]
fn an_app_with_everything_is_read() {
    check_with(&shop(), &ProjectOptions::default(), include_str!("serverless.txt"));
}

#[test]
fn files_that_were_read_are_named() {
    let found = project(&shop(), &ProjectOptions::default());
    assert_eq!(found.included, [PathBuf::from("config/shared.yml")]);
    assert_eq!((found.region.as_str(), found.kind), ("eu-west-1", ProjectKind::Serverless));
}

#[test]
fn the_stage_decides() {
    let given = options(&[("LEVEL", "DEBUG")], Some("prod"), &[("domain", "given.test")]);
    let found = project(&shop(), &given);
    let hello = &found.functions[0];
    assert_eq!((hello.name.as_str(), hello.memory_mb), ("shop-prod-hello", 1024));
    for (name, value) in [
        ("STAGE", "prod"),
        ("TABLE", "items-prod"),
        ("LEVEL", "DEBUG"),
        ("DOMAIN", "https://given.test/"),
        ("NAME", "shop-p"),
        ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/orders-prod"),
    ] {
        assert_eq!(hello.variables.get(name).map(String::as_str), Some(value), "{name}");
    }
    let found = project(&shop(), &options(&[], Some("prod"), &[]));
    assert_eq!(found.functions[0].variables["DOMAIN"], "https://shop.example/");
    // A stage that is not listed has the fallback.
    let found = project(&shop(), &options(&[], Some("beta"), &[]));
    assert_eq!(found.functions[0].memory_mb, 128);
}

#[test]
fn the_smallest_file_is_read() {
    check_with(
        &[("serverless.yml", "service: a\nprovider: aws\nfunctions:\n  hello: {handler: handler.hello}\n")],
        &ProjectOptions::default(),
        "4 hello = a-dev-hello: handler.hello in ``, -, 6s, 1024 MB",
    );
    check_with(&[("serverless.yml", "service: a\nprovider: {name: aws}\n")], &ProjectOptions::default(), "");
    // Functions may be a list of maps, and be in files of their own.
    check_with(
        &[
            (
                "serverless.yaml",
                "service: {name: a}\nprovider: aws\nfunctions:\n  - ${file(one.yml)}\n  - two: {handler: b.c}\n",
            ),
            ("one.yml", "\n\none:\n  handler: a.b\n"),
        ],
        &ProjectOptions::default(),
        "4 one = a-dev-one: a.b in ``, -, 6s, 1024 MB\n5 two = a-dev-two: b.c in ``, -, 6s, 1024 MB",
    );
    check_with(
        &[(
            "serverless.json",
            r#"{"service": "a", "provider": "aws", "functions": {"x": {"handler": "a.b"}}}"#,
        )],
        &ProjectOptions::default(),
        "1 x = a-dev-x: a.b in ``, -, 6s, 1024 MB",
    );
    check_with(
        &[
            (
                "serverless.yml",
                "service: a\nprovider: aws\npackage: {artifact: b.zip}\nfunctions:\n  x: {handler: a.b}\n  y: {handler: a.b, package: {artifact: c.zip}}\n",
            ),
            ("b.zip", ""),
            ("c.zip", ""),
        ],
        &ProjectOptions::default(),
        "5 x = a-dev-x: a.b in `b.zip`, -, 6s, 1024 MB\n6 y = a-dev-y: a.b in `c.zip`, -, 6s, 1024 MB",
    );
}

/// What answers browsers: method and path of a route, origins, methods, whether the headers are the framework's, or which.
#[track_caller]
fn check_cors(provider: &str, events: &[&str], expected: &[&str]) {
    let events: String = events.iter().map(|event| format!("      - {event}\n")).collect();
    let text = format!(
        "service: a\nprovider: {{name: aws{provider}}}\nfunctions:\n  f:\n    handler: a.b\n    events:\n{events}"
    );
    let found = project(&[("serverless.yml", &text)], &ProjectOptions::default());
    let usual = "Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token,X-Amz-User-Agent,X-Amzn-Trace-Id";
    let routes = found.functions[0].sources.iter().filter_map(|source| match source {
        EventSource::Http(http) => http.cors.as_ref().map(|cors| (http, cors)),
        _ => None,
    });
    let shown: Vec<String> = routes
        .map(|(http, cors)| {
            let headers = cors.headers.join(",");
            let headers = if headers == usual { "the usual" } else { &headers };
            let (method, origins) = (http.method.as_deref().unwrap_or("ANY"), cors.origins.join(" "));
            let credentials = if cors.credentials { ", credentials" } else { "" };
            let methods = cors.methods.join(",");
            format!("{method} {}: {origins}; {methods}; {headers}{credentials}", http.path)
        })
        .collect();
    assert_eq!(shown, expected);
}

#[test]
fn a_path_of_a_rest_api_has_one_answer_to_browsers() {
    let all = "DELETE,GET,HEAD,PATCH,POST,PUT";
    let http = |rest: &str| format!("http: {{{rest}}}");
    let check = |events: &[&str], expected: &[&str]| {
        let events: Vec<String> = events.iter().map(|event| http(event)).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        check_cors("", &events, expected);
    };
    check(&["path: a, method: get, cors: true"], &["GET /a: *; OPTIONS,GET; the usual"]);
    check(&["path: a, method: any, cors: true"], &[&format!("ANY /a: *; OPTIONS,{all}; the usual")]);
    check(
        &["path: a, method: get, cors: {origins: [https://a, 'http://*'], methods: [PUT]}"],
        &["GET /a: https://a http://*; PUT,OPTIONS,GET; the usual"],
    );
    check(
        &["path: a, method: get, cors: {methods: [ANY], headers: [x-a]}"],
        &[&format!("GET /a: *; {all},OPTIONS; x-a")],
    );
    check(
        &["path: a, method: get, cors: {origin: 'https://a, https://b'}"],
        &["GET /a: https://a https://b; OPTIONS,GET; the usual"],
    );
    // What events say of one path is said for all of them; other paths are on their own.
    check(
        &[
            "path: a, method: get, cors: {origin: https://a, headers: [x-a]}",
            "path: a, method: post, cors: {origin: https://b, headers: [x-b], allowCredentials: true}",
            "path: a, method: put",
            "path: b, method: put, cors: true",
        ],
        &[
            "GET /a: https://b https://a; OPTIONS,POST,GET; x-b,x-a, credentials",
            "POST /a: https://b https://a; OPTIONS,POST,GET; x-b,x-a, credentials",
            "PUT /b: *; OPTIONS,PUT; the usual",
        ],
    );
}

#[test]
fn an_http_api_has_one_answer_to_browsers() {
    let get_and_put = ["httpApi: GET /a", "httpApi: PUT /b"];
    check_cors(
        ", httpApi: {cors: true}",
        &get_and_put,
        &["GET /a: *; OPTIONS,GET,PUT; the usual", "PUT /b: *; OPTIONS,GET,PUT; the usual"],
    );
    check_cors(
        ", httpApi: {cors: {allowedOrigins: [https://a], allowCredentials: true}}",
        &["httpApi: '*'"],
        &["ANY $default: https://a; OPTIONS,GET,POST,PUT,PATCH,HEAD,DELETE; the usual, credentials"],
    );
    check_cors(
        ", httpApi: {cors: {allowedMethods: [GET], allowedHeaders: [x-a]}}",
        &get_and_put,
        &["GET /a: *; GET; x-a", "PUT /b: *; GET; x-a"],
    );
}

/// One function `f` whose keys begin in line 5.
#[track_caller]
fn check_wrong(keys: &str, expected: &str) {
    let text = format!(
        "service: a\nprovider: aws\nfunctions:\n  f:\n{keys}custom: {{a: 1, loop: '${{self:custom.loop}}', map: {{b: 2}}}}\n"
    );
    let found = project(
        &[("serverless.yml", &text), ("x.js", ""), ("bad.yml", "a: [\n"), ("text.txt", "t")],
        &ProjectOptions::default(),
    );
    let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    let first = problems
        .first()
        .map(|problem| problem.split("\n  fix:").next().unwrap().to_owned())
        .unwrap_or_default();
    assert_eq!(first, expected, "{problems:?}");
    assert_eq!(found.problems[0].function.as_deref(), Some("f"));
    assert!(found.functions.is_empty(), "{keys}");
}

#[test]
fn variables_without_value_are_errors_with_their_line() {
    let timeout = |value: &str| format!("    handler: a.b\n    timeout: {value}\n");
    let at = |rest: &str| format!("error[E0118] serverless.yml:6: timeout has no value: {rest}");
    check_wrong(&timeout("${self:custom.none}"), &at("`${self:custom.none}` is not set anywhere"));
    check_wrong(&timeout("${env:NONE}"), &at("`${env:NONE}` is not set anywhere"));
    check_wrong(&timeout("${opt:none, ${env:NONE}}"), &at("`${env:NONE}` is not set anywhere"));
    check_wrong(&timeout("${param:none}"), &at("`${param:none}` is not set anywhere"));
    check_wrong(&timeout("${self:custom.loop}"), &at("`${self:custom.loop}` leads back to itself"));
    check_wrong(
        &timeout("1${self:custom.map}"),
        &at("`${self:custom.map}` is a map in the middle of a text"),
    );
    check_wrong(&timeout("${what:x}"), &at("`what` is no source of variables that is known here"));
    check_wrong(&timeout("${self:custom.a"), &at("`${self:custom.a` has a `${` without `}`"));
    check_wrong(&timeout("${file(./none.yml):a}"), &at("`${file(./none.yml):a}` is not set anywhere"));
    check_wrong(&timeout("${file(./x.js):a}"), &at("the file x.js is a program, and is not run"));
    check_wrong(
        &timeout("${file(./bad.yml):a}"),
        &at("bad.yml:2: while parsing a node, did not find expected node content"),
    );
    check_wrong(
        "    handler: a.b\n    timeout: ${file(./text.txt)}\n",
        "error[E0116] serverless.yml:6: timeout is `t`",
    );
    // T-026.
    for outside in ["../x.yml", "/etc/passwd", "./a/../../x.yml"] {
        check_wrong(
            &timeout(&format!("${{file({outside})}}")),
            &at(&format!("the file {outside} is not in the project's folder")),
        );
    }
}

#[test]
fn a_variable_that_nobody_needs_does_no_harm() {
    let text = "service: a\nprovider: aws\ncustom: {x: '${env:NONE}', y: '${ssm:/a}'}\nresources: {Resources: {R: '${file(none.yml)}'}}\nfunctions:\n  f: {handler: a.b}\n";
    check_with(
        &[("serverless.yml", text)],
        &ProjectOptions::default(),
        "6 f = a-dev-f: a.b in ``, -, 6s, 1024 MB\nignored 4: the resource R: `${file(none.yml)}` is not set anywhere",
    );
}

#[test]
fn what_is_wrong_has_its_line() {
    let at = |line: u32, rest: &str| format!("error[E0116] serverless.yml:{line}: {rest}");
    check_wrong("    timeout: 5\n", &at(4, "the function f has no handler"));
    check_wrong("    handler: {a: b}\n", &at(5, "the handler is a map"));
    let event = |text: &str| format!("    handler: a.b\n    events:\n      - {text}\n");
    check_wrong(&event("http"), &at(7, "an event is a text or a number"));
    check_wrong(
        &event("http:\n        path: x\n        method: get"),
        &at(8, "`path` stands beside the event http"),
    );
    check_wrong(&event("http: {method: get}"), &at(7, "the event http has no path"));
    check_wrong(&event("http: FETCH /x"), &at(7, "`FETCH` is no method"));
    check_wrong(&event("http: GET /{x"), &at(7, "`/{x` is no path of an API"));
    check_wrong(&event("http: '*'"), &at(7, "`*` is no path of a REST API"));
    check_wrong(&event("httpApi: [x]"), &at(7, "the event httpApi is a list"));
    check_wrong(&event("sqs: {batchSize: 1}"), &at(7, "the event sqs has no arn"));
    check_wrong(&event("sqs: queue"), &at(7, "`queue` is no ARN of a queue"));
    check_wrong(&event("s3: {event: x}"), &at(7, "the event s3 has no bucket"));
    check_wrong(&event("schedule: {enabled: true}"), &at(7, "a schedule has no rate"));
    check_wrong(
        &event("schedule: rate(1 minutes)"),
        "error[E0243] serverless.yml:7: the schedule `rate(1 minutes)` can't be read: AWS refuses `minutes` behind 1, at character 8",
    );
    check_wrong(
        "    handler: a.b\n    package: {artifact: none.zip}\n",
        "error[E0117] serverless.yml:6: artifact is `none.zip`, which is not there",
    );
    check_wrong(
        "    handler: ../a.b\n",
        "error[E0215] serverless.yml:5: the handler `../a.b` is no module.function",
    );
}

#[test]
fn an_input_that_is_not_known_is_not_sent() {
    let text = "service: a\nprovider: aws\nfunctions:\n  f:\n    handler: a.b\n    events:\n      - schedule: {rate: rate(1 day), input: {key: '${ssm:/x}'}}\n";
    check_with(
        &[("serverless.yml", text)],
        &ProjectOptions::default(),
        "
4 f = a-dev-f: a.b in ``, -, 6s, 1024 MB
  7 rule f-schedule-1: rate(1 day) UTC
ignored 7: the input: `ssm:/x` is kept at AWS
",
    );
}

#[test]
fn variables_of_files_beside_it_are_read() {
    let text = "service: a\nuseDotenv: true\nprovider: {name: aws, region: '${env:REGION}', environment: {A: '${env:A}', B: '${env:B, \"none\"}', C: '${env:C, \"none\"}'}}\nfunctions:\n  f: {handler: a.b}\n";
    let files = [
        ("serverless.yml", text),
        (".env", "A=all\nB=all\nREGION=eu-north-1"),
        (".env.prod", "A=prod\nREGION=eu-west-1"),
    ];
    let check = |files: &[(&str, &str)], environment: &[(&str, &str)], stage: &str, expected: [&str; 4]| {
        let found = project(files, &options(environment, Some(stage), &[]));
        let variables = &found.functions[0].variables;
        assert_eq!([&*found.region, &variables["A"], &variables["B"], &variables["C"]], expected);
        assert_eq!((found.problems.len(), found.ignored.len()), (0, 0));
        // Others are for the file alone.
        assert_eq!(variables.len(), 3);
        found.included
    };
    let read = check(&files, &[], "dev", ["eu-north-1", "all", "all", "none"]);
    assert_eq!(read, [PathBuf::from(".env")]);
    // The file of a stage stands for the other one, and is not laid over it.
    let read = check(&files, &[], "prod", ["eu-west-1", "prod", "none", "none"]);
    assert_eq!(read, [PathBuf::from(".env.prod")]);
    check(&files, &[("A", "real"), ("C", "real")], "dev", ["eu-north-1", "real", "all", "real"]);
    let without = text.replace("useDotenv: true", "useDotenv: false");
    let environment = [("A", "real"), ("REGION", "eu-west-3")];
    let expected = ["eu-west-3", "real", "none", "none"];
    check(&[("serverless.yml", &without), files[1]], &environment, "dev", expected);
    check(&[files[0]], &environment, "dev", expected);
}

#[test]
fn rules_of_event_bridge_are_schedules() {
    let event = |text: &str| format!("      - eventBridge: {{{text}}}\n");
    let text = format!(
        "service: a\nprovider: aws\nfunctions:\n  f:\n    handler: a.b\n    events:\n{}{}{}{}",
        event("schedule: rate(10 minutes), input: {a: 1}, enabled: false, name: often"),
        event("schedule: 'cron(0 12 * * ? *)', eventBus: own"),
        event("pattern: {source: [a]}"),
        event("schedule: rate(1 day), pattern: {source: [a]}"),
    );
    check_with(
        &[("serverless.yml", &text)],
        &ProjectOptions::default(),
        "
4 f = a-dev-f: a.b in ``, -, 6s, 1024 MB
  7 rule often: rate(10 minutes) UTC, sends {\"a\":1}, disabled
  8 rule f-rule-2: cron(0 12 * * ? *) UTC
  10 rule f-rule-3: rate(1 day) UTC
ignored 8: eventBus of eventBridge: it is not applied here
ignored 9: an event of f: events of EventBridge are not served, only schedules
ignored 10: an event of f: events of EventBridge are not served, only schedules
",
    );
    let found = project(&[("serverless.yml", &text)], &ProjectOptions::default());
    let missing: Vec<u32> = found.ignored.iter().filter(|one| one.is_missing).map(|one| one.line).collect();
    assert_eq!(missing, [9, 10]);
    check_wrong(
        "    handler: a.b\n    events:\n      - eventBridge: {enabled: true}\n",
        "error[E0116] serverless.yml:7: an event eventBridge has no schedule",
    );
}

#[test]
fn the_plugin_for_wsgi_makes_a_function_a_web_app() {
    let text = |app: &str, more: &str| {
        format!(
            "service: a\nplugins: [serverless-wsgi]\ncustom: {{wsgi: {app}}}\nprovider: aws\nfunctions:\n  api:\n    handler: wsgi_handler.handler\n    events:\n      - http: ANY /\n      - httpApi: '*'\n{more}  other: {{handler: b.c}}\n"
        )
    };
    let with = |app: &str, more: &str| {
        project(&[("serverless.yml", &text(app, more)), ("api/app.py", "")], &ProjectOptions::default())
    };
    let found = with("{app: api/app.app}", "      - schedule: rate(5 minutes)\n");
    let seen: Vec<_> =
        found.functions.iter().map(|one| (&*one.handler, one.entry, one.sources.len())).collect();
    assert_eq!(seen, [("api/app.app", Entry::WebApp, 2), ("b.c", Entry::Handler, 0)]);
    let [ignored] = &found.ignored[..] else { panic!("{:?}", found.ignored) };
    assert_eq!((&*ignored.what, ignored.is_missing), ("the events of api", true));
    let wrong = |app: &str, expected: &str| {
        let found = with(app, "");
        assert!(found.problems[0].to_string().starts_with(expected), "{:?}", found.problems);
        assert_eq!(found.functions.len(), 1);
    };
    wrong(
        "{app: none.app}",
        "error[E0215] serverless.yml:2: custom.wsgi.app is `none.app`, which is no name",
    );
    wrong("{}", "error[E0215] serverless.yml:2: custom.wsgi.app is ``");
    // Without the plugin, the module has to be there as any other.
    let plain = text("{app: api/app.app}", "").replace("[serverless-wsgi]", "[]");
    let found = project(&[("serverless.yml", &plain)], &ProjectOptions::default());
    assert_eq!(found.functions[0].handler, "wsgi_handler.handler");
    assert_eq!(found.functions[0].entry, Entry::Handler);
}

#[test]
fn events_whose_source_is_at_aws_are_missing() {
    let text = "service: a\nprovider: aws\nfunctions:\n  f:\n    handler: a.b\n    environment: {A: '${ssm:/a}'}\n    events:\n      - sqs: ${cf:other.Queue}\n      - sqs: {arn: !ImportValue Queue}\n      - sns: ${ssm:/topic}\n      - s3: {bucket: '${cf:other.Bucket}'}\n      - schedule: ${ssm:/rate}\n";
    let found = project(&[("serverless.yml", text)], &ProjectOptions::default());
    // Why is told of each value; the variable is no event.
    assert!(found.ignored.iter().any(|one| one.line == 6));
    let missing: Vec<u32> = found.ignored.iter().filter(|one| one.is_missing).map(|one| one.line).collect();
    assert_eq!(missing, [8, 9, 10, 11, 12]);
}

#[test]
fn what_the_framework_makes_has_its_ids() {
    let variables = "{REST: !Ref ApiGatewayRestApi, HTTP: !Ref HttpApi, URL: !Sub 'https://${HttpApi}.x', OTHER: !GetAtt HttpApi.ApiEndpoint, SOCKET: !Ref WebsocketsApi, ROLE: !GetAtt IamRoleLambdaExecution.Arn, NONE: !Ref Nobody}";
    let text = format!(
        "service: a\nprovider: aws\nfunctions:\n  f:\n    handler: a.b\n    environment: {variables}\n"
    );
    check_with(
        &[("serverless.yml", &text)],
        &ProjectOptions::default(),
        "
4 f = a-dev-f: a.b in ``, -, 6s, 1024 MB
  HTTP=httpapi
  REST=apigatewayrestapi
  URL=https://httpapi.x
ignored 6: the variable OTHER: `ApiEndpoint` of HttpApi is not known here
ignored 6: the variable SOCKET: WebsocketsApi is of type AWS::ApiGatewayV2::Api, which Ingle does not have
ignored 6: the variable ROLE: IamRoleLambdaExecution is of type AWS::IAM::Role, which Ingle does not have
ignored 6: the variable NONE: the template has no resource or parameter `Nobody`
",
    );
}

/// A name of many functions, of which each has ten of the next.
#[test]
fn variables_are_no_bombs() {
    let mut custom = String::new();
    for level in 0..30 {
        custom
            .push_str(&format!("  a{level}: '{}'\n", format!("${{self:custom.a{}}}", level + 1).repeat(10)));
    }
    let text = format!(
        "service: a\nprovider: aws\ncustom:\n{custom}  a30: x\nfunctions:\n  f: {{handler: '${{self:custom.a0}}'}}\n"
    );
    let folder = folder(&[("serverless.yml", &text)]);
    let error = read(folder.path(), &ProjectOptions::default()).unwrap_err();
    assert_eq!(error.code(), "E0115");
    assert!(error.to_string().contains("more than 200000 values"), "{error}");
}
