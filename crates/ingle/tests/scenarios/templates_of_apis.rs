//! Functions behind mapping templates.

use ingle_testkit::{App, Python, Request, Server};
use serde_json::{Value, json};

const PROJECT: &str = r##"
service: shop
provider: {name: aws}
functions:
  shop:
    handler: shop.handler
    events:
      - http: {path: "usual/{id}", method: any, integration: lambda}
      - http:
          path: own/{id}
          method: post
          integration: lambda
          request:
            passThrough: NEVER
            template:
              application/json: >
                {"id": "$input.params('id')", "names": [#foreach($item in $input.path('$.items'))"$util.escapeJavaScript($item.name)"#if($foreach.hasNext),#end#end],
                 "all": $input.json('$'), "from": "$context.identity.sourceIp"}
          response:
            headers:
              Content-Type: "'text/plain'"
              X-Count: integration.response.body.count
            template: "#set($root = $input.path('$'))count $root.count"
            statusCodes:
              201: {pattern: ""}
              409:
                pattern: ".*taken.*"
                template: {application/json: '{"why": "$input.path("$.errorMessage")"}'}
                headers: {Content-Type: "'application/json'"}
"##;

const HANDLER: &str = "
def handler(event, context):
    body = event.get('body') or {}
    if body == {'fail': 404} or event.get('all', {}).get('fail'):
        raise ValueError('[404] it is taken')
    return dict(event, count=len(event.get('names', [])))
";

fn server(project: &str) -> Server {
    let app = App::default().file("serverless.yml", project).file("shop.py", HANDLER);
    app.launch(&Python::any()).may_complain("ValueError").may_complain("E0122").may_complain("E0514").start()
}

fn sent(path: &str, body: &str) -> Request {
    Request::post(path, body.to_owned()).header("content-type", "application/json")
}

#[test]
fn templates_make_events_and_answers() {
    let server = server(PROJECT);
    let event = server.send(sent("/usual/7?x=1", "{\"a\": 1}")).status(200).json();
    assert_eq!((&event["body"], &event["method"]), (&json!({"a": 1}), &json!("POST")));
    assert_eq!((&event["path"], &event["query"]), (&json!({"id": "7"}), &json!({"x": "1"})));
    assert_eq!((&event["stage"], &event["requestPath"]), (&json!("dev"), &json!("/usual/{id}")));
    assert_eq!(event["identity"]["sourceIp"], "127.0.0.1");
    let form =
        Request::post("/usual/7", "a=1&b=%20").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(server.send(form).status(200).json()["body"], json!({"a": "1", "b": " "}));
    // What the message of an error begins with decides.
    let failed = server.send(sent("/usual/7", "{\"fail\": 404}")).status(404).json();
    assert_eq!(
        (&failed["errorMessage"], &failed["errorType"]),
        (&json!("[404] it is taken"), &json!("ValueError"))
    );
    let plain = Request::post("/usual/7", "x").header("content-type", "text/plain");
    assert_eq!(server.send(plain).status(415).json(), json!({"message": "Unsupported Media Type"}));

    let body = "{\"items\": [{\"name\": \"a\\\"b\"}, {\"name\": \"c\"}]}";
    let made = server.send(sent("/own/7", body)).status(201);
    assert_eq!((made.text().as_str(), made.header("content-type")), ("count 2", "text/plain"));
    assert_eq!(made.header("x-count"), "2");
    let taken = server.send(sent("/own/7", "{\"fail\": 1}")).status(409);
    assert_eq!(taken.json(), json!({"why": "[404] it is taken"}));
    assert_eq!(taken.header("content-type"), "application/json");
}

const ANSWERS: &str = r##"
service: shop
provider: {name: aws}
functions:
  shop:
    handler: shop.handler
    events:
      - http:
          path: whole/{id}
          method: post
          integration: lambda
          request: {template: {application/json: '{"names": [], "user": "$input.params(''x-user'')"}'}}
          response:
            headers: {Content-Length: integration.response.body.count, Connection: "'close'"}
            template: >-
              #set($context.responseOverride.header['Content-Length'] = "1")#set($context.responseOverride.header.X-Mine = 'yes')for
              $input.path('$.user')
"##;

/// T-032: whoever sets the length of a body could begin another answer within it.
#[test]
fn a_mapped_answer_has_the_length_of_its_body() {
    let server = server(ANSWERS);
    for name in ["x-user", "X-User", "X-USER"] {
        let made = server.send(sent("/whole/7", "{}").header(name, "ada")).status(200);
        assert_eq!((made.text().as_str(), made.header("content-length")), ("for ada", "7"));
        assert_eq!(made.header("x-mine"), "yes");
    }
}

#[test]
fn a_template_that_is_none_is_told_with_its_line() {
    let broken = PROJECT.replace("#if($foreach.hasNext),#end#end]", "#if($foreach.hasNext),#end]");
    let server = server(&broken);
    let project = server.wait_for("the project", |event| event["event"] == "project");
    let problem: &Value = &project["problems"][0];
    assert_eq!((&problem["code"], &problem["line"]), (&json!("E0122"), &json!(9)), "{project}");
    assert!(problem["message"].as_str().unwrap().contains("#foreach has no #end"), "{problem}");
    server.send(sent("/own/7", "{}")).status(500);
    server.send(sent("/usual/7", "{}")).status(200);
}
