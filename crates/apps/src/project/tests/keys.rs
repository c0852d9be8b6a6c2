//! Keys of callers, and usage plans.

use super::*;

/// What each route wants.
#[track_caller]
fn check(name: &str, text: &str, expected: &[&str], ignored: &[&str]) {
    let found = project(&[(name, text), ("a.py", "")], &ProjectOptions::default());
    assert!(found.problems.is_empty(), "{:?}", found.problems);
    let sources = found.functions.iter().flat_map(|function| &function.sources);
    let wanted = sources.filter_map(|source| match source {
        EventSource::Http(http) => Some(format!("{}{}", http.path, shown_keys(http))),
        _ => None,
    });
    assert_eq!(wanted.collect::<Vec<_>>(), expected);
    let found: Vec<String> = found.ignored.iter().map(|one| format!("{}: {}", one.what, one.why)).collect();
    assert_eq!(found, ignored);
}

#[track_caller]
fn check_wrong(name: &str, text: &str, expected: &str) {
    let found = project(&[(name, text), ("a.py", "")], &ProjectOptions::default());
    let told = |one: &Problem| format!("{}:{} {}", one.code, one.line.unwrap_or_default(), one.message);
    assert_eq!(found.problems.iter().map(told).collect::<Vec<_>>(), [expected]);
}

pub(super) const SAM: &str = r#"Transform: AWS::Serverless-2016-10-31
Globals:
  Api: {Auth: {ApiKeyRequired: true}}
Resources:
  Own:
    Type: AWS::Serverless::Api
    Properties:
      StageName: v1
      Auth: {UsagePlan: {CreateUsagePlan: PER_API, Quota: {Limit: 5, Period: week, Offset: 1}, Throttle: {RateLimit: 0.5, BurstLimit: 2}}}
  Other: {Type: AWS::Serverless::Api, Properties: {StageName: v1}}
  Partner: {Type: AWS::ApiGateway::ApiKey, Properties: {Name: big partner, Enabled: true}}
  Given: {Type: AWS::ApiGateway::ApiKey, Properties: {Enabled: true, Value: a-value-of-20-letters}}
  Off: {Type: AWS::ApiGateway::ApiKey, Properties: {Value: another-value-of-20-letters}}
  Lost: {Type: AWS::ApiGateway::ApiKey, Properties: {Enabled: true}}
  Plan:
    Type: AWS::ApiGateway::UsagePlan
    Properties: {ApiStages: [{ApiId: !Ref Other, Stage: v1}], Throttle: {RateLimit: 10, BurstLimit: 20}}
  One: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Partner, KeyType: API_KEY, UsagePlanId: !Ref Plan}}
  Two: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Given, KeyType: API_KEY, UsagePlanId: !Ref Plan}}
  Three: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Off, KeyType: API_KEY, UsagePlanId: !Ref Plan}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Events:
        A: {Type: Api, Properties: {Path: /own, Method: get, RestApiId: !Ref Own}}
        B: {Type: Api, Properties: {Path: /other, Method: get, RestApiId: !Ref Other}}
        C: {Type: Api, Properties: {Path: /open, Method: get, RestApiId: !Ref Other, Auth: {ApiKeyRequired: false}}}
"#;

#[test]
fn templates_have_keys_and_plans() {
    check(
        "template.yaml",
        SAM,
        &[
            "/own, wants a key of [OwnApiKey in OwnUsagePlan 0.5/s 2 5 WEEK+1]",
            "/other, wants a key of [big-partner in Plan 10/s 20, Given=a-value-of-20-letters in Plan 10/s 20]",
            "/open",
        ],
        &[
            "the key Off: it is not Enabled",
            "the type AWS::ApiGateway::ApiKey of Lost: resources of this type do nothing here",
        ],
    );
    let wrong = |from: &str, to: &str, expected: &str| {
        check_wrong("template.yaml", &SAM.replace(from, to), expected);
    };
    wrong("Value: a-value-of-20-letters", "Value: short", "E0116:12 the value of the key Given can't be one");
    let one = "E0116:14 the keys `big-Partner` and `big partner` are one here";
    wrong(
        "Lost: {Type: AWS::ApiGateway::ApiKey, Properties: {Enabled: true}}",
        "Lost: {Type: AWS::ApiGateway::ApiKey, Properties: {Enabled: true, Name: big-Partner}}\n  Four: {Type: AWS::ApiGateway::UsagePlanKey, Properties: {KeyId: !Ref Lost, UsagePlanId: !Ref Plan}}",
        one,
    );
    wrong("Name: big partner", "Name: ''", "E0116:11 `` can't be the name of a key");
    let long = "k".repeat(128);
    let found = format!("E0116:11 `{}…` can't be the name of a key", &long[..80]);
    wrong("Name: big partner", &format!("Name: {long}"), &found);
    wrong("Period: week", "Period: year", "E0116:9 Period is `year`");
    wrong("Offset: 1", "Offset: 7", "E0116:9 Offset is `7`");
    wrong("RateLimit: 0.5", "RateLimit: fast", "E0116:9 RateLimit is `fast`");
    wrong("RateLimit: 0.5, ", "", "E0116:9 a plan has RateLimit or BurstLimit alone");
    wrong("CreateUsagePlan: PER_API, ", "", "E0116:9 UsagePlan does not say whose it is");
}

pub(super) const SERVERLESS: &str = r#"service: s
provider:
  name: aws
  apiGateway:
    apiKeys:
      - plain
      - {value: a-value-of-20-letters}
      - {name: off, enabled: false}
    usagePlan: {quota: {limit: 100, period: MONTH, offset: 2}, throttle: {rateLimit: 10, burstLimit: 20}}
functions:
  a:
    handler: a.b
    events:
      - http: {path: a, method: get, private: true}
      - http: GET open
"#;

#[test]
fn a_serverless_yml_has_keys_and_plans() {
    check(
        "serverless.yml",
        SERVERLESS,
        &[
            "/a, wants a key of [plain in default 10/s 20 100 MONTH+2, key-2=a-value-of-20-letters in default 10/s 20 100 MONTH+2]",
            "/open",
        ],
        &["the key off: it is not enabled"],
    );
    let named = SERVERLESS
        .replace("      - plain\n      - {value: a-value-of-20-letters}\n      - {name: off, enabled: false}\n", "      - free: [one, {name: two}]\n      - paid: [three]\n")
        .replace("    usagePlan: {quota: {limit: 100, period: MONTH, offset: 2}, throttle: {rateLimit: 10, burstLimit: 20}}", "    usagePlan: [{free: {quota: {limit: 1, period: DAY}}}]");
    let expected = ["/a, wants a key of [one in free 1 DAY+0, two in free 1 DAY+0, three]", "/open"];
    check("serverless.yml", &named, &expected, &[]);
    let twice = SERVERLESS.replace("- {name: off, enabled: false}", "- {name: Plain}");
    check_wrong("serverless.yml", &twice, "E0116:8 the keys `Plain` and `plain` are one here");
    // One that has a value is not kept here.
    let given = SERVERLESS
        .replace("- {name: off, enabled: false}", "- {name: plain, value: another-value-of-20-letters}");
    assert!(
        project(&[("serverless.yml", &given), ("a.py", "")], &ProjectOptions::default()).problems.is_empty()
    );
    check_wrong(
        "serverless.yml",
        &SERVERLESS.replace("      - plain", "      - ''"),
        "E0116:6 `` can't be the name of a key",
    );
    check_wrong(
        "serverless.yml",
        &SERVERLESS.replace("period: MONTH, ", ""),
        "E0116:9 a quota has limit or period alone",
    );
}
