//! Functions behind Application Load Balancers.

use ingle_testkit::{App, Call, Python, Request, Server};
use serde_json::{Value, json};

const PROJECT: &str = r#"
service: shop
provider: {name: aws, region: eu-west-1}
functions:
  late:
    handler: shop.late
    events:
      - alb: {listenerArn: &listener "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/web/1/2", priority: 20, conditions: {path: /*}}
  show:
    handler: shop.show
    events:
      - httpApi: GET /api
      - alb: {listenerArn: *listener, priority: 3, conditions: {path: [/orders/*, /items], method: [GET, POST], query: {kind: "B*"}}}
      - alb: {listenerArn: *listener, priority: 2, multiValueHeaders: true, conditions: {path: "/orders/*", header: {name: X-Many, values: ["2"]}}}
  answer:
    handler: shop.answer
    events:
      - alb: {listenerArn: *listener, priority: 1, targetGroupName: answers, conditions: {path: /answer, host: [localhost, 127.*]}}
"#;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Show:
    Type: AWS::Serverless::Function
    Properties: {Handler: shop.show}
  Late:
    Type: AWS::Serverless::Function
    Properties: {Handler: shop.late}
  Group:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      Name: shows
      TargetType: lambda
      Targets: [{Id: !GetAtt Show.Arn}]
      TargetGroupAttributes: [{Key: lambda.multi_value_headers.enabled, Value: "true"}]
  Last:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties: {TargetType: lambda, Targets: [{Id: !GetAtt Late.Arn}]}
  Listener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties: {Port: 80, DefaultActions: [{Type: forward, TargetGroupArn: !Ref Last}]}
  Rule:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref Listener
      Priority: 1
      Conditions: [{Field: path-pattern, PathPatternConfig: {Values: ["/show/*"]}}]
      Actions: [{Type: forward, TargetGroupArn: !Ref Group}]
"#;

/// `show` gives back its event; `answer` what it was sent.
const HANDLERS: &str = r#"
import json

def show(event, context):
    kind = "multiValueHeaders" if "multiValueHeaders" in event else "headers"
    value = ["application/json"] if kind == "multiValueHeaders" else "application/json"
    return {"statusCode": 200, kind: {"Content-Type": value}, "body": json.dumps(event)}

def late(event, context):
    return {"statusCode": 200, "headers": {"Content-Type": "text/plain"}, "body": "late"}

def answer(event, context):
    said = json.loads(event["body"])
    if said == "raise":
        raise ValueError("no")
    if said == "long":
        return {"statusCode": 200, "body": "a" * (1 << 20)}
    return said
"#;

fn served(file: &str, text: &str) -> Server {
    let app = App::default().file(file, text).file("shop.py", HANDLERS);
    app.launch(&Python::any()).may_complain("E0504").may_complain("ValueError").start()
}

#[test]
fn rules_choose_by_their_priorities() {
    let server = served("serverless.yml", PROJECT);
    let group = "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/show/0000000000000000";
    let request = Request::post("/orders/7%2F8?kind=big&kind=Blue%20one", "{}")
        .header("content-type", "application/json");
    let request = request.header("X-Forwarded-For", "198.51.100.7").header("host", "localhost:8123");
    let event = server.send(request).status(200).json();
    assert_eq!(event["requestContext"], json!({"elb": {"targetGroupArn": group}}));
    assert_eq!((&event["httpMethod"], &event["path"]), (&json!("POST"), &json!("/orders/7%2F8")));
    assert_eq!(event["queryStringParameters"], json!({"kind": "Blue%20one"}));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{}"), &json!(false)));
    let headers = &event["headers"];
    assert_eq!(
        (&headers["x-forwarded-for"], &headers["x-forwarded-proto"]),
        (&json!("198.51.100.7"), &json!("http"))
    );
    assert_eq!(headers["x-forwarded-port"], "8123");
    let forms = server.send(
        Request::post("/items?KIND=b", "a=1").header("content-type", "application/x-www-form-urlencoded"),
    );
    assert_eq!((&forms.json()["body"], &forms.json()["isBase64Encoded"]), (&json!("YT0x"), &json!(true)));

    // The smaller number is looked at first, and it wants lists.
    let many = Request::new("GET", "/orders/7?kind=B&x=1&x=2").header("x-many", "1").header("x-many", "2");
    let event = server.send(many).status(200).json();
    assert_eq!(event["multiValueHeaders"]["x-many"], json!(["1", "2"]));
    assert_eq!(event["multiValueQueryStringParameters"], json!({"kind": ["B"], "x": ["1", "2"]}));
    assert!(event.get("headers").is_none() && event.get("queryStringParameters").is_none(), "{event}");
    // A condition that does not hold leaves it to the last rule; what an API names is for the API.
    for path in ["/orders/7", "/items?kind=red", "/else"] {
        assert_eq!(server.get(path).status(200).text(), "late", "{path}");
    }
    assert_eq!(server.get("/api").status(200).json()["version"], "2.0");
    assert_eq!(server.send(Request::new("DELETE", "/api")).status(200).text(), "late");
}

#[test]
fn answers_are_those_of_a_load_balancer() {
    let server = served("serverless.yml", PROJECT);
    let answer = |said: &Value| server.send(Request::post("/answer", said.to_string()));
    let whole = json!({"statusCode": 299, "statusDescription": "299 Almost well", "isBase64Encoded": true,
        "headers": {"Content-Type": "image/png", "X-Own": "a"}, "body": "AAE="});
    let response = answer(&whole).status(299);
    assert_eq!((&response.body[..], response.header("x-own")), ([0, 1].as_slice(), "a"));
    assert_eq!(
        answer(&json!({"statusCode": 200})).status(200).header("content-type"),
        "application/octet-stream"
    );

    let page = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";
    for wrong in
        [json!({"statusCode": "200"}), json!({"body": "a"}), json!("text"), json!("raise"), json!("long")]
    {
        let response = answer(&wrong).status(502);
        assert_eq!(
            (response.text().as_str(), response.header("content-type")),
            (page, "text/html"),
            "{wrong}"
        );
    }
    let long = Request::post("/answer", vec![b'a'; (1 << 20) + 1]);
    let refused = server.send(long).status(413);
    assert!(refused.text().contains("<h1>413 Payload Too Large</h1>"), "{}", refused.text());
    server.send(Request::post("/answer", vec![b' '; 1 << 20])).status(502);
}

#[test]
fn templates_have_listeners_and_rules() {
    let server = served("template.yaml", TEMPLATE);
    let event = server.get("/show/me").status(200).json();
    let group = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/shows/0000000000000000";
    assert_eq!(event["requestContext"]["elb"]["targetGroupArn"], group);
    assert!(event["multiValueHeaders"].is_object(), "{event}");
    assert_eq!(server.get("/show").status(200).text(), "late");
}

#[test]
fn what_no_rule_takes_is_not_found() {
    let project = PROJECT.replace("path: /*}", "path: /late}").replace("      - httpApi: GET /api\n", "");
    let server = served("serverless.yml", &project);
    assert_eq!(server.get("/late").status(200).text(), "late");
    let page = server.get("/else").status(404);
    assert!(page.text().contains("<h1>404 Not Found</h1>"), "{}", page.text());
}

/// A sample is what a function gets.
#[test]
fn samples_are_taken() {
    let server = served("serverless.yml", PROJECT);
    for (source, member) in [("alb", "headers"), ("alb-multi-value", "multiValueHeaders")] {
        let words = ["event", "generate", source, "--path", "/a?x=%20", "-H", "X-Own: a", "--json"];
        let made = Call::new(&words).run().code(0);
        let (folder, state) = (server.folder(), server.state_folder());
        let invoke = Call::new(&["invoke", "shop-dev-show", "--data", "@-", "--json", "--app"]);
        let invoke = invoke.path(&folder).word("--state").path(&state).input(made.stdout.as_bytes());
        let done = invoke.run().code(0).json();
        let body: Value = serde_json::from_str(done["outputs"]["$return"]["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, made.json());
        let own = &body[member]["x-own"];
        assert!(own == "a" || *own == json!(["a"]), "{body}");
    }
}
