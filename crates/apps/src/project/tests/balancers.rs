//! Rules of load balancers.

use super::*;

/// The problems: `E0116:12 words`.
#[track_caller]
fn check_wrong(name: &str, text: &str, expected: &[&str]) {
    let found = project(&[(name, text), ("a.py", "")], &ProjectOptions::default());
    let told = |one: &Problem| format!("{}:{} {}", one.code, one.line.unwrap_or_default(), one.message);
    assert_eq!(found.problems.iter().map(told).collect::<Vec<_>>(), expected);
}

pub(super) const SERVERLESS: &str = r#"service: s
provider: {name: aws, alb: {multiValueHeaders: true, authorizers: {users: {type: cognito}}}}
functions:
  a:
    handler: a.b
    events:
      - alb:
          listenerArn: !Ref Web
          priority: 7
          authorizer: users
          healthCheck: true
          conditions:
            path: [/a, /b*]
            host: x.test
            method: GET
            header: [{name: X-Kind, values: [one, two]}, {name: X-Size, values: ["1?"]}]
            query: {q: "*"}
            ip: [192.0.2.0/24, "2001:db8::/32"]
      - alb: {listenerArn: arn:x, priority: 7, multiValueHeaders: false, targetGroupName: mine, conditions: {method: [GET, POST]}}
resources:
  Resources:
    Web: {Type: AWS::ElasticLoadBalancingV2::Listener, Properties: {Port: 80}}
"#;

#[test]
fn events_of_serverless_are_rules() {
    let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup";
    let expected = format!(
        "4 a = s-dev-a: a.b in ``, -, 6s, 1024 MB
  7 alb Web to {arn}/a/0000000000000000 (rule 7: path /a or /b*, host x.test, method GET, header X-Kind one or two, header X-Size 1?, query q=*, address 192.0.2.0/24 or 2001:db8::/32), lists true, $default: ANY /a or /b*, guarded by the authorizer users
  19 alb arn:x to {arn}/mine/0000000000000000 (rule 7: method GET or POST), lists false, $default: ANY $default
ignored 11: healthCheck of alb: it is not applied here
ignored 22: the type AWS::ElasticLoadBalancingV2::Listener of Web: resources of this type do nothing here"
    );
    check_with(&[("serverless.yml", SERVERLESS), ("a.py", "")], &ProjectOptions::default(), &expected);
}

#[test]
fn a_rule_that_is_wrong_takes_nothing() {
    let of = |event: &str| {
        format!(
            "service: s\nprovider: {{name: aws}}\nfunctions:\n  a:\n    handler: a.b\n    events:\n      - alb: {event}\n"
        )
    };
    let check = |event: &str, expected: &[&str]| check_wrong("serverless.yml", &of(event), expected);
    check(
        "{}",
        &[
            "E0116:7 the event alb has no listenerArn",
            "E0116:7 the event alb has no priority",
            "E0116:7 the event alb has no conditions",
        ],
    );
    let with = |conditions: &str| format!("{{listenerArn: x, priority: 1, conditions: {conditions}}}");
    check(&with("{}"), &["E0116:7 the event alb has no conditions"]);
    check(&with("{paths: /a}"), &["E0116:7 `paths` is no condition of a rule"]);
    check(&with("{path: []}"), &["E0116:7 the condition path has no value"]);
    check(&with("{path: [/a, {}]}"), &["E0116:7 the condition path is a map"]);
    check(&with("{header: {name: x}}"), &["E0116:7 the condition header has no name, or no values"]);
    check(&with("{query: {}}"), &["E0116:7 the condition on the query has no value"]);
    check(&with("{ip: 192.0.2.1}"), &["E0116:7 `192.0.2.1` is no network"]);
    check(&with("{path: /a}").replace("priority: 1", "priority: 0"), &["E0116:7 the priority is `0`"]);
    let twice = of(&with("{path: /a}")) + &format!("      - alb: {}\n", with("{path: /b}"));
    check_wrong("serverless.yml", &twice, &["E0116:8 another rule of the listener has the priority 1, too"]);
}

pub(super) const TEMPLATE: &str = r#"Transform: AWS::Serverless-2016-10-31
Resources:
  F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, Runtime: python3.12}}
  Group:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties:
      TargetType: lambda
      Targets: [{Id: !GetAtt F.Arn}]
      TargetGroupAttributes: [{Key: lambda.multi_value_headers.enabled, Value: true}]
  Other:
    Type: AWS::ElasticLoadBalancingV2::TargetGroup
    Properties: {Name: other, TargetType: instance}
  Web:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties: {DefaultActions: [{Type: forward, TargetGroupArn: !Ref Group}]}
  Rule:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties:
      ListenerArn: !Ref Web
      Priority: 5
      Conditions:
        - {Field: path-pattern, Values: [/a]}
        - {Field: http-header, HttpHeaderConfig: {HttpHeaderName: X, Values: [y]}}
        - {Field: query-string, QueryStringConfig: {Values: [{Key: k, Value: v}, {Value: w}]}}
        - {Field: source-ip, SourceIpConfig: {Values: [192.0.2.0/24]}}
      Actions:
        - {Type: authenticate-cognito}
        - {Type: forward, ForwardConfig: {TargetGroups: [{TargetGroupArn: !Ref Group}]}}
  Elsewhere:
    Type: AWS::ElasticLoadBalancingV2::ListenerRule
    Properties: {ListenerArn: !Ref Web, Priority: 6, Conditions: [], Actions: [{Type: forward, TargetGroupArn: !Ref Other}]}
"#;

#[test]
fn resources_of_templates_are_rules() {
    let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/Group/0000000000000000";
    let expected = format!(
        "3 F = F: a.b in ``, python3.12, 3s, 128 MB
  16 alb Web to {arn} (rule 5: path /a, header X y, query k=v or w, address 192.0.2.0/24), lists true, $default: ANY /a, guarded by the action authenticate-cognito
  13 alb Web to {arn} (the last rule: everything), lists true, $default: ANY $default
ignored 10: the type AWS::ElasticLoadBalancingV2::TargetGroup of Other: resources of this type do nothing here
ignored 29: the type AWS::ElasticLoadBalancingV2::ListenerRule of Elsewhere: resources of this type do nothing here"
    );
    check_with(&[("template.yaml", TEMPLATE), ("a.py", "")], &ProjectOptions::default(), &expected);
}

#[test]
fn a_rule_of_a_template_may_be_wrong() {
    let check = |from: &str, to: &str, expected: &str| {
        check_wrong("template.yaml", &TEMPLATE.replace(from, to), &[expected]);
    };
    check("Priority: 5", "Priority: many", "E0116:20 the priority is `many`");
    check("path-pattern", "path", "E0116:22 `path` is no condition of a rule");
    let conditions =
        &TEMPLATE[TEMPLATE.find("        - {Field: path").unwrap()..TEMPLATE.find("      Actions").unwrap()];
    let empty = TEMPLATE.replace(&format!("Conditions:\n{conditions}"), "Conditions: []\n");
    check_wrong("template.yaml", &empty, &["E0116:21 the rule Rule has no conditions"]);
    let unknown = TEMPLATE.replace(&format!("Conditions:\n{conditions}"), "Conditions: !ImportValue x\n");
    check_wrong("template.yaml", &unknown, &["E0116:21 the rule Rule has no conditions"]);
    check("[{Key: k, Value: v}, {Value: w}]", "[]", "E0116:24 the condition on the query has no value");
    check("      Priority: 5\n", "", "E0116:16 the rule Rule has no Priority, or no Conditions");
}
