//! Templates of AWS SAM.

use super::*;

/// The shape that `sam init` makes.
const HELLO_WORLD: &str = r#"AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Description: >
  shop

  A template with one function.

Globals:
  Function:
    Timeout: 5
    LoggingConfig:
      LogFormat: JSON

Resources:
  HelloFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: hello/
      Handler: app.lambda_handler
      Runtime: python3.12
      Architectures:
        - x86_64
      Events:
        Hello:
          Type: Api
          Properties:
            Path: /hello
            Method: get

Outputs:
  Api:
    Value: !Sub "https://${ServerlessRestApi}.execute-api.${AWS::Region}.amazonaws.com/Prod/hello/"
  Role:
    Value: !GetAtt HelloFunctionRole.Arn
"#;

#[test]
fn a_new_template_is_read() {
    let files = [("template.yaml", HELLO_WORLD), ("hello/app.py", "")];
    check_with(
        &files,
        &ProjectOptions::default(),
        "
15 HelloFunction = HelloFunction: app.lambda_handler in `hello`, python3.12, 5s, 128 MB
  24 rest ServerlessRestApi Prod: GET /hello
ignored 11: LoggingConfig of HelloFunction: logs and traces are Ingle's own
",
    );
}

pub(super) const SHOP: &str = r#"Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Parameters:
  Stage: {Type: String, Default: dev}
  Levels: {Type: CommaDelimitedList, Default: "INFO, DEBUG"}
  Size: {Type: Number, Default: 512}
  Secret: {Type: String, NoEcho: true}
  Image: {Type: "AWS::SSM::Parameter::Value<String>", Default: /x/y}
Mappings:
  Stages:
    dev: {Workers: "2"}
    prod: {Workers: "20"}
Conditions:
  IsProduction: !Equals [!Ref Stage, prod]
  IsDevelopment: !Not [!Condition IsProduction]
  Both: !And [!Condition IsProduction, !Condition IsDevelopment]
  Either: !Or [!Condition IsProduction, !Condition IsDevelopment]
Globals:
  Function:
    Runtime: python3.11
    CodeUri: src
    MemorySize: !Ref Size
    Layers: [!Ref CommonLayer]
    Environment:
      Variables:
        STAGE: !Ref Stage
        LEVEL: !Select [1, !Ref Levels]
        PORT: 8080
        DEBUG: true
  Api:
    Cors: "'*'"
    BinaryMediaTypes: [image~1png]
    TracingEnabled: true
  HttpApi:
    CorsConfiguration:
      AllowOrigins: [https://shop.example]
      AllowMethods: [GET, POST]
      AllowCredentials: true
      MaxAge: 600
Resources:
  CommonLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {LayerName: common, ContentUri: layers/common, CompatibleRuntimes: [python3.11]}
  MoreLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/more.zip}
  Orders:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Sub "orders-${Stage}", VisibilityTimeout: 60}
  Jobs:
    Type: AWS::SQS::Queue
    Properties: {FifoQueue: true}
  Uploads:
    Type: AWS::S3::Bucket
  Table:
    Type: AWS::DynamoDB::Table
    Properties: {TableName: !Join ["-", [items, !Ref Stage]]}
  Role:
    Type: AWS::IAM::Role
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: !Ref Stage
      Auth: {DefaultAuthorizer: Users, Authorizers: {Users: {UserPoolArn: x}}}
  Take:
    Type: AWS::Serverless::Function
    Properties:
      FunctionName: !Sub "${AWS::StackName}-take"
      Handler: orders.take
      Timeout: 30
      Policies: [SQSPollerPolicy: {QueueName: !GetAtt Orders.QueueName}]
      Layers: [!Ref MoreLayer, "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV2:40"]
      Environment:
        Variables:
          LEVEL: WARNING
          QUEUE_URL: !Ref Orders
          QUEUE_ARN: {"Fn::GetAtt": [Orders, Arn]}
          TABLE: !Ref Table
          TABLE_ARN: !GetAtt Table.Arn
          BUCKET: !Ref Uploads
          OTHER: !GetAtt Resize.Arn
          OTHER_NAME: !Ref Resize
          WORKERS: !FindInMap [Stages, !Ref Stage, Workers]
          MODE: !If [IsProduction, live, test]
          NOTHING: !If [IsProduction, live, !Ref AWS::NoValue]
          EITHER: !If [Either, yes-either, no]
          BOTH: !If [Both, x, y]
          PLACE: !Sub "${AWS::Region}/${AWS::AccountId}/${!Literal}"
          MIXED: !Sub ["${A}-${Stage}", {A: !Ref Size}]
          PART: !Select [1, !Split ["/", "a/b/c"]]
          SECRET: !Ref Secret
          IMAGE: !Ref Image
          IMPORTED: !ImportValue other-stack
          ROLE: !GetAtt Role.Arn
          STREAM: !GetAtt Table.StreamArn
          AWS_REGION: eu-west-1
      Events:
        Message:
          Type: SQS
          Properties:
            Queue: !GetAtt Orders.Arn
            BatchSize: 5
            MaximumBatchingWindowInSeconds: 20
            FunctionResponseTypes: [ReportBatchItemFailures]
            ScalingConfig: {MaximumConcurrency: 4}
            FilterCriteria: {Filters: [{Pattern: '{"body": {"kind": [{"prefix": "so"}]}}'}, {Pattern: '{}'}]}
        Job:
          Type: SQS
          Properties: {Queue: !GetAtt Jobs.Arn, Enabled: false}
        Foreign:
          Type: SQS
          Properties: {Queue: "arn:aws:sqs:eu-west-1:123456789012:foreign"}
        Post: {Type: HttpApi, Properties: {Path: "/orders/{id}", Method: POST}}
        Rest: {Type: HttpApi}
        Old: {Type: HttpApi, Properties: {Path: /old, PayloadFormatVersion: "1.0", Auth: {Authorizer: AWS_IAM}}}
        Topic: {Type: SNS, Properties: {Topic: x, FilterPolicy: {store: [books]}, Region: eu-west-1}}
  Resize:
    Type: AWS::Serverless::Function
    DependsOn: Uploads
    Properties:
      Handler: images/resize.handler
      FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM, Cors: {AllowOrigins: ["*"], AllowHeaders: [x-a]}}
      Events:
        Upload:
          Type: S3
          Properties:
            Bucket: !Ref Uploads
            Events: s3:ObjectCreated:*
            Filter: {S3Key: {Rules: [{Name: prefix, Value: in/}, {Name: suffix, Value: .png}]}}
        Nightly:
          Type: Schedule
          Properties: {Schedule: cron(0 2 * * ? *), Input: '{"full": true}', Enabled: !If [IsProduction, true, false]}
        Often:
          Type: ScheduleV2
          Properties: {ScheduleExpression: rate(5 minutes), ScheduleExpressionTimezone: Europe/Berlin, Name: often, FlexibleTimeWindow: {Mode: "OFF"}}
        Any: {Type: Api, Properties: {Path: "/images/{proxy+}", Method: ANY, RestApiId: !Ref Api}}
        Open: {Type: Api, Properties: {Path: /open, Method: any, RestApiId: !Ref Api, Auth: {Authorizer: NONE}}}
        Key: {Type: Api, Properties: {Path: /key, Method: put, Auth: {ApiKeyRequired: true}}}
  Production:
    Type: AWS::Serverless::Function
    Condition: IsProduction
    Properties: {Handler: a.b}
  Node:
    Type: AWS::Serverless::Function
    Properties: {Handler: index.handler, Runtime: nodejs20.x}
  Container:
    Type: AWS::Serverless::Function
    Properties: {PackageType: Image, ImageUri: x}
  Inline:
    Type: AWS::Serverless::Function
    Properties: {Handler: index.handler, InlineCode: "def handler(e, c): ..."}
  Remote:
    Type: AWS::Serverless::Function
    Properties: {Handler: index.handler, CodeUri: s3://bucket/key.zip}
  Plain:
    Type: AWS::Lambda::Function
    Properties:
      Handler: plain.handler
      Runtime: python3.13
      Code: src
      Role: !GetAtt Role.Arn
      VpcConfig: {SubnetIds: [x]}
      Events: {Ignored: {Type: Api}}
"#;

#[test]
fn an_app_with_everything_is_read() {
    let files = [
        ("template.yaml", SHOP),
        ("src/orders.py", ""),
        ("layers/common/python/a.py", ""),
        ("layers/more.zip", ""),
    ];
    let found = project(&files, &options(&[("AWS_REGION", "eu-west-1")], None, &[]));
    let text = shown(&found).replace(&found.functions[0].name, "STACK-take");
    assert_shown(&text, include_str!("shop.txt"));
}

#[track_caller]
fn assert_shown(found: &str, expected: &str) {
    assert_eq!(found.trim_end(), expected.trim_end(), "\n{found}");
}

#[test]
fn parameters_and_conditions_follow_what_is_given() {
    let files =
        [("template.yaml", SHOP), ("src/orders.py", ""), ("layers/common/", ""), ("layers/more.zip", "")];
    let found = project(&files, &options(&[], None, &[("Stage", "prod"), ("Secret", "s3cret")]));
    let take = &found.functions[0];
    let variable = |name: &str| take.variables.get(name).map(String::as_str);
    assert_eq!(variable("WORKERS"), Some("20"));
    assert_eq!(variable("MODE"), Some("live"));
    assert_eq!(variable("NOTHING"), Some("live"));
    assert_eq!(variable("SECRET"), Some("s3cret"));
    assert_eq!(variable("PLACE"), Some("us-east-1/000000000000/${Literal}"));
    assert!(found.functions.iter().any(|function| function.id == "Production"));
}

const JSON: &str = r#"{
  "Resources": {
    "Hello": {
      "Type": "AWS::Lambda::Function",
      "Properties": {
        "Handler": "app.handler",
        "Runtime": "python3.9",
        "Code": ".",
        "Environment": {"Variables": {"SELF": {"Fn::Sub": "${AWS::Partition}-${Queue.Arn}"}}}
      }
    },
    "Queue": {"Type": "AWS::SQS::Queue"}
  }
}"#;

#[test]
fn templates_may_be_json() {
    let expected = "
3 Hello = Hello: app.handler in ``, python3.9, 3s, 128 MB
  SELF=aws-arn:aws:sqs:us-east-1:000000000000:Queue
";
    check_with(&[("template.json", JSON)], &ProjectOptions::default(), expected);
    // JSON is YAML.
    check_with(&[("template.yaml", JSON)], &ProjectOptions::default(), expected);
}

/// CloudFormation reads YAML 1.1, where more words than `true` and `false` are booleans.
#[test]
fn booleans_are_those_of_yaml_1_1() {
    let key = |value: &str| {
        let events = format!(
            "      Handler: a.b\n      Events: {{E: {{Type: Api, Properties: {{Path: /, Method: get, Auth: {{ApiKeyRequired: {value}}}}}}}}}\n"
        );
        let found = project(&[("template.yaml", &one(&events))], &ProjectOptions::default());
        let EventSource::Http(http) = &found.functions[0].sources[0] else { panic!("{value}") };
        http.front.keys.is_some()
    };
    for value in ["yes", "Yes", "YES", "on", "On", "true", "TRUE", "\"true\""] {
        assert!(key(value), "{value}");
    }
    for value in ["no", "No", "NO", "off", "OFF", "false", "False"] {
        assert!(!key(value), "{value}");
    }
    let properties = "      Handler: a.b\n      Environment: {Variables: {A: yes, B: 'yes', C: y, D: yEs, on: Off, E: !Ref Off}}\n      Events: {S: {Type: Schedule, Properties: {Schedule: rate(1 day), Enabled: no}}}\n";
    let template = format!("{}Parameters: {{Off: {{Type: String, Default: NO}}}}\n", one(properties));
    check_with(
        &[("template.yaml", &template)],
        &ProjectOptions::default(),
        "
2 F = F: a.b in ``, -, 3s, 128 MB
  A=true
  B=yes
  C=y
  D=yEs
  E=false
  on=false
  7 rule S: rate(1 day) UTC, disabled
",
    );
}

/// One function whose properties begin in line 4.
fn one(properties: &str) -> String {
    format!("Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n{properties}")
}

#[track_caller]
fn check_wrong(properties: &str, expected: &str) {
    let template = one(properties);
    let found =
        project(&[("template.yaml", &template), ("a.py", ""), ("text.txt", "")], &ProjectOptions::default());
    let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    let first = problems.first().map(|problem| problem.replace("\n  fix:", "; fix:")).unwrap_or_default();
    assert_eq!(first, expected, "{problems:?}");
    assert_eq!(found.problems[0].function.as_deref(), Some("F"));
    assert!(found.functions.is_empty(), "{properties}");
}

#[test]
fn what_is_wrong_has_its_line_code_and_fix() {
    let at = |line: u32, code: &str, rest: &str| format!("error[{code}] template.yaml:{line}: {rest}");
    check_wrong(
        "      CodeUri: .\n",
        &at(2, "E0116", "the function F has no Handler; fix: write Handler: module.function"),
    );
    check_wrong(
        "      Handler: a.b\n      Timeout: 10s\n",
        &at(6, "E0116", "Timeout is `10s`; fix: write a whole number from 1 to 5400"),
    );
    check_wrong("      Handler: [a.b]\n", &at(5, "E0116", "the handler is a list; fix: write a text"));
    check_wrong(
        "      Handler: a.b\n      MemorySize: 64\n",
        &at(6, "E0116", "MemorySize is `64`; fix: write a whole number from 128 to 32768"),
    );
    check_wrong(
        "      Handler: a.b\n      CodeUri: src/\n",
        &at(
            6,
            "E0117",
            "CodeUri is `src/`, which is not there; fix: make src/, or name the folder that holds the code, from the folder of template.yaml",
        ),
    );
    check_wrong(
        "      Handler: a.b\n      CodeUri: text.txt\n",
        &at(
            6,
            "E0117",
            "CodeUri is `text.txt`, which is no folder and no zip file; fix: name a folder, or a file that ends in .zip",
        ),
    );
    check_wrong(
        "      Handler: a.b\n      FunctionName: a b\n",
        &at(
            2,
            "E0116",
            "`a b` can't be the name of a function; fix: write at most 64 letters, digits, hyphens and underscores",
        ),
    );
    check_wrong(
        "      Handler: a.b\n      Environment:\n        Variables: {A-B: 1}\n",
        &at(7, "E0116", "`A-B` can't be the name of a variable; fix: write letters, digits and underscores"),
    );
    check_wrong(
        "      Handler: a.b\n      Environment:\n        Variables: {A: [1]}\n",
        &at(7, "E0116", "the variable A is a list; fix: write a text or a number"),
    );
    check_wrong(
        "      Handler: a.b\n      Environment:\n        Variables: {A: !Sub [x]}\n",
        &at(
            7,
            "E0118",
            "the variable A has no value: `Fn::Sub` has not the arguments that CloudFormation wants; fix: write a value, a fallback behind a comma, or set what it names",
        ),
    );
    check_wrong(
        "      Handler: a.b\n      Events: [x]\n",
        &at(6, "E0116", "Events is a list; fix: write a map of keys and values"),
    );
}

#[test]
fn wrong_filters_have_their_lines() {
    let check = |filters: &str, what: &str| {
        let text = format!(
            "      Handler: a.b\n      Events:\n        E:\n          Type: SQS\n          Properties:\n            \
             Queue: arn:aws:sqs:us-east-1:000000000000:orders\n            FilterCriteria:\n              Filters:\n{filters}"
        );
        let fix = "write e.g. '{\"body\": {\"kind\": [\"order\", {\"prefix\": \"re\"}]}}'";
        check_wrong(&text, &format!("error[E0116] template.yaml:{what}; fix: {fix}"));
    };
    let pattern =
        |text: &str| format!("                - Pattern: '{{}}'\n                - Pattern: '{text}'\n");
    check(
        &pattern(r#"{"body": {"kind": [{"regex": "a"}]}}"#),
        "14: the pattern of a filter: `kind`: the operator `regex` is not known",
    );
    check(&pattern(r#"{"body": "soup"}"#), "14: the pattern of a filter: `body` has no list of conditions");
    check(
        &pattern("{body"),
        "14: the pattern of a filter is no JSON: key must be a string at line 1 column 2",
    );
    check("                - {}\n", "13: a filter has no Pattern");
    let long = format!(r#"{{"body": ["{}"]}}"#, "a".repeat(4096));
    check(&pattern(&long), "14: the pattern of a filter has more than 4096 characters");
    let many = "                - Pattern: '{}'\n".repeat(11);
    let text = format!(
        "      Handler: a.b\n      Events:\n        E:\n          Type: SQS\n          Properties:\n            \
         Queue: arn:aws:sqs:us-east-1:000000000000:orders\n            FilterCriteria:\n              Filters:\n{many}"
    );
    check_wrong(&text, "error[E0116] template.yaml:13: there are 11 filters; fix: write at most 10");
}

#[test]
fn wrong_events_have_their_lines() {
    let event = |text: &str| format!("      Handler: a.b\n      Events:\n        E: {text}\n");
    let at = |code: &str, rest: &str| format!("error[{code}] template.yaml:7: {rest}");
    check_wrong(
        &event("{Properties: {}}"),
        &at(
            "E0116",
            "the event E has no Type; fix: write Api, HttpApi, Schedule, ScheduleV2, SQS, S3 or SNS",
        ),
    );
    check_wrong(
        &event("{Type: Api, Properties: {Path: /a}}"),
        &at("E0116", "the event E has no Method; fix: write Method below its Properties"),
    );
    check_wrong(
        &event("{Type: Api, Properties: {Path: a, Method: get}}"),
        &at(
            "E0116",
            "`a` is no path of an API; fix: write /, and parameters as whole segments: /items/{id}, or at the end /files/{path+}",
        ),
    );
    check_wrong(
        &event("{Type: Api, Properties: {Path: /a, Method: fetch}}"),
        &at(
            "E0116",
            "`fetch` is no method; fix: write any, or one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
    );
    check_wrong(
        &event("{Type: Api, Properties: {Path: /a, Method: get, RestApiId: Other}}"),
        &at(
            "E0116",
            "the template has no AWS::Serverless::Api `Other`; fix: write !Ref and the key of one, or leave it out",
        ),
    );
    check_wrong(
        &event("{Type: Schedule, Properties: {Schedule: cron(0 9 * * * *)}}"),
        &at(
            "E0243",
            "the schedule `cron(0 9 * * * *)` can't be read: day and day of week are both given, at character 14; fix: write `?` for the one that does not matter, e.g. cron(0 9 * * ? *)",
        ),
    );
    check_wrong(
        &event("{Type: Schedule, Properties: {Schedule: rate(1 day), Input: '{'}}"),
        &at("E0116", "the input of the schedule is no JSON; fix: write e.g. '{\"key\": \"value\"}'"),
    );
    check_wrong(
        &event(
            "{Type: ScheduleV2, Properties: {ScheduleExpression: rate(1 day), ScheduleExpressionTimezone: Berlin}}",
        ),
        &at(
            "E0238",
            "there is no time zone `Berlin`; fix: write a name of the IANA database, e.g. Europe/Berlin",
        ),
    );
    check_wrong(
        &event("{Type: SQS, Properties: {Queue: orders}}"),
        &at(
            "E0116",
            "`orders` is no ARN of a queue; fix: write !GetAtt Queue.Arn for a queue of this file, or an ARN as arn:aws:sqs:us-east-1:000000000000:name",
        ),
    );
    check_wrong(
        &event("{Type: SQS, Properties: {Queue: 'arn:aws:sqs:a:1:q', BatchSize: 0}}"),
        &at("E0116", "BatchSize is `0`; fix: write a whole number from 1 to 10000"),
    );
    check_wrong(
        &event("{Type: S3, Properties: {Bucket: b}}"),
        &at("E0116", "the event E has no Events; fix: write Events below its Properties"),
    );
}

/// T-026: nothing leads out of the project's folder.
#[test]
fn t_026_code_and_handlers_stay_in_the_project() {
    for code in ["..", "../other", "/etc"] {
        let expected = format!(
            "error[E0221] template.yaml:6: CodeUri is `{code}`, which is not in the project's folder; fix: move the code into the project's folder"
        );
        check_wrong(&format!("      Handler: a.b\n      CodeUri: {code}\n"), &expected);
    }
    for handler in ["../../x.main", "/etc/x.main", "a", "a.py"] {
        let expected = format!(
            "error[E0215] template.yaml:5: the handler `{handler}` is no module.function; fix: write module.function, e.g. app.lambda_handler for lambda_handler in app.py"
        );
        check_wrong(&format!("      Handler: {handler}\n"), &expected);
    }
}

#[test]
fn one_wrong_function_does_not_stop_the_others() {
    let template =
        format!("{HELLO}  Bad:\n    Type: AWS::Serverless::Function\n    Properties: {{CodeUri: .}}\n");
    let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
    let ids: Vec<&str> = found.functions.iter().map(|function| function.id.as_str()).collect();
    assert_eq!(ids, ["Hello"]);
    assert_eq!(found.problems.len(), 1);
    assert_eq!((found.problems[0].function.as_deref(), found.problems[0].line), (Some("Bad"), Some(5)));
}

#[test]
fn two_functions_have_two_names() {
    let function = |id: &str| {
        format!(
            "  {id}:\n    Type: AWS::Serverless::Function\n    Properties: {{Handler: a.b, FunctionName: same}}\n"
        )
    };
    let template = format!("Resources:\n{}{}", function("One"), function("Two"));
    let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
    assert_eq!(found.functions.len(), 1);
    check_findings(
        &[("template.yaml", &template)],
        "error",
        &[
            "error[E0116] template.yaml:5: another function has the name same, too; fix: give one of them another name",
        ],
    );
}

#[test]
fn what_is_ignored_is_said_once_for_all() {
    let function = |id: &str| {
        format!(
            "  {id}:\n    Type: AWS::Serverless::Function\n    Properties: {{Handler: a.b, Policies: [x], Role: y}}\n"
        )
    };
    let functions: String = ["A", "B", "C", "D", "E"].map(function).concat();
    let template = format!("Resources:\n{functions}");
    check_findings(
        &[("template.yaml", &template)],
        "ignored",
        &[
            "ignored 4: Policies of A, B, C and 2 more: functions have no role at AWS here",
            "ignored 4: Role of A, B, C and 2 more: functions have no role at AWS here",
        ],
    );
}

#[test]
fn only_python_that_can_run_and_programs_are_served() {
    for (runtime, served) in [
        ("python3.8", true),
        ("python3.13", true),
        ("python3.7", false),
        ("python3.14", false),
        ("python2.7", false),
        ("python3", false),
        ("python3.+9", false),
        ("provided", true),
        ("provided.al2023", true),
        ("provided.al", false),
        ("awslambdaric", false),
        ("java21", false),
    ] {
        let template = one(&format!("      Handler: a.b\n      Runtime: {runtime}\n"));
        let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
        assert_eq!(found.functions.len() == 1, served, "{runtime}");
        assert_eq!(found.ignored.len(), usize::from(!served), "{runtime}");
        assert!(found.problems.is_empty(), "{runtime}");
    }
}

/// A program says itself what its handlers are called.
#[test]
fn the_handler_of_a_program_is_any_name() {
    let check = |runtime: &str, handler: &str, expected: Option<&str>| {
        let template = one(&format!("      Handler: {handler}\n      Runtime: {runtime}\n"));
        let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
        let handlers: Vec<&str> = found.functions.iter().map(|function| function.handler.as_str()).collect();
        assert_eq!(handlers.first().copied(), expected, "{runtime} {handler}");
        assert_eq!(found.problems.len(), usize::from(expected.is_none()), "{runtime} {handler}");
    };
    check("provided.al2023", "com.example::Main", Some("com.example::Main"));
    check("provided.al2023", "a b", None);
    check("python3.13", "com.example::Main", None);
}

/// References that go in circles end, and what they would give is left out.
#[test]
fn circles_end() {
    let template = "Conditions:\n  A: !Condition B\n  B: !Condition A\nResources:\n  Q:\n    Type: AWS::SQS::Queue\n    Properties: {QueueName: !Ref R}\n  R:\n    Type: AWS::SQS::Queue\n    Properties: {QueueName: !GetAtt Q.QueueName}\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: a.b\n      Environment: {Variables: {Q: !Ref Q, A: !If [A, x, y], Z: z}}\n";
    let found = project(&[("template.yaml", template)], &ProjectOptions::default());
    let variables: Vec<&str> = found.functions[0].variables.keys().map(String::as_str).collect();
    assert_eq!(variables, ["Z"]);
    assert_eq!(found.ignored.len(), 2, "{:?}", found.ignored);
    let mut conditions = "Conditions:\n".to_owned();
    for number in 0..2000 {
        conditions.push_str(&format!("  C{number}: !And [!Condition C{0}, !Condition C{0}]\n", number + 1));
    }
    let template = format!(
        "{conditions}{}",
        one("      Handler: a.b\n      Environment: {Variables: {A: !If [C0, x, y]}}\n")
    );
    let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
    assert!(found.functions[0].variables.is_empty());
}

#[test]
fn conditions_are_evaluated() {
    let check = |condition: &str, expected: Option<&str>| {
        let head = "Parameters: {Open: {Type: String}}\nConditions:\n  Met: !Equals [a, a]\n  Not: !Equals [a, b]\n  Open: !Equals [!Ref Open, a]\n";
        let function = one("      Handler: a.b\n      Environment: {Variables: {V: !If [C, x, y]}}\n");
        let template = format!("{head}  C: {condition}\n{function}");
        let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
        assert_eq!(found.functions[0].variables.get("V").map(String::as_str), expected, "{condition}");
        assert_eq!(found.ignored.is_empty(), expected.is_some(), "{condition}");
    };
    let (yes, no, open) = ("!Condition Met", "!Condition Not", "!Condition Open");
    check(&format!("!And [{yes}, {yes}]"), Some("x"));
    check(&format!("!And [{yes}, {no}]"), Some("y"));
    check(&format!("!And [{open}, {no}]"), Some("y"));
    check(&format!("!And [{yes}, {open}]"), None);
    check(&format!("!Or [{no}, {no}]"), Some("y"));
    check(&format!("!Or [{no}, {yes}]"), Some("x"));
    check(&format!("!Or [{open}, {yes}]"), Some("x"));
    check(&format!("!Or [{no}, {open}]"), None);
    check(&format!("!Not [{no}]"), Some("x"));
    check(&format!("!Not [{open}]"), None);
    check("{Condition: Met}", Some("x"));
    check("!Condition Nowhere", None);
    check("!What [x]", None);
}

/// Resources beside the function that start it, by reference, ARN or name.
#[test]
fn plain_resources_start_functions() {
    let template = r#"Resources:
  Plain:
    Type: AWS::Lambda::Function
    Properties: {Handler: a.b, Runtime: python3.12, Code: ., FunctionName: plain}
  Queue: {Type: AWS::SQS::Queue}
  FromQueue:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {FunctionName: !Ref Plain, EventSourceArn: !GetAtt Queue.Arn, BatchSize: 2, BisectBatchOnFunctionError: true}
  FromStream:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {FunctionName: !Ref Plain, EventSourceArn: "arn:aws:kinesis:us-east-1:000000000000:stream/s"}
  Url:
    Type: AWS::Lambda::Url
    Properties: {TargetFunctionArn: !GetAtt Plain.Arn, AuthType: AWS_IAM}
  Nightly:
    Type: AWS::Events::Rule
    Properties:
      ScheduleExpression: cron(0 2 * * ? *)
      State: DISABLED
      Targets:
        - {Id: one, Arn: "arn:aws:lambda:us-east-1:000000000000:function:plain:live", Input: '{"a": 1}', InputPath: $.a}
        - {Id: two, Arn: "arn:aws:lambda:us-east-1:000000000000:function:other"}
  Pattern:
    Type: AWS::Events::Rule
    Properties: {EventPattern: {source: [x]}, Targets: [{Id: one, Arn: !GetAtt Plain.Arn}]}
  Often:
    Type: AWS::Scheduler::Schedule
    Properties: {ScheduleExpression: rate(1 hour), FlexibleTimeWindow: {Mode: "OFF"}, Target: {Arn: plain, RoleArn: x, RetryPolicy: {}, DeadLetterConfig: {}}}
"#;
    check_with(
        &[("template.yaml", template)],
        &ProjectOptions::default(),
        r#"
2 Plain = plain: a.b in ``, python3.12, 3s, 128 MB
  6 queue Queue: 2 in 0ns, reports false, enabled true, None
  15 rule Nightly: cron(0 2 * * ? *) UTC, sends {"a":1}, disabled
  26 scheduler Often: rate(1 hour) UTC
  12 url $default: ANY $default, guarded by the authorizer AWS_IAM
ignored 8: BisectBatchOnFunctionError of FromQueue: it is not applied here
ignored 9: the type AWS::Lambda::EventSourceMapping of FromStream: resources of this type do nothing here
ignored 21: InputPath of Nightly: it is not applied here
ignored 23: the type AWS::Events::Rule of Pattern: resources of this type do nothing here
ignored 28: RetryPolicy of Often: it is not applied here
ignored 28: DeadLetterConfig of Often: it is not applied here
ignored 28: FlexibleTimeWindow of Often: it is not applied here
"#,
    );
    let wrong = template.replace("rate(1 hour)", "rate(1 hours)");
    let found = project(&[("template.yaml", &wrong)], &ProjectOptions::default());
    assert!(found.functions.is_empty());
    assert_eq!((found.problems[0].code.as_str(), found.problems[0].line), ("E0243", Some(28)));
    let wrong = template.replace("AuthType: AWS_IAM", "InvokeMode: STREAM");
    let found = project(&[("template.yaml", &wrong)], &ProjectOptions::default());
    let problem = &found.problems[0];
    assert_eq!((problem.code.as_str(), problem.line), ("E0116", Some(14)), "{problem}");
    assert!(problem.to_string().contains("write BUFFERED or RESPONSE_STREAM"), "{problem}");
}

/// A function that is there twice is one function, and somebody should know.
#[test]
fn a_key_that_is_there_twice_is_said() {
    check_with(
        &[(
            "template.yaml",
            &format!(
                "{HELLO}  Hello:\n    Type: AWS::Serverless::Function\n    Properties: {{Handler: b.c}}\n"
            ),
        )],
        &ProjectOptions::default(),
        "
5 Hello = Hello: b.c in ``, -, 3s, 128 MB
ignored 2: the key Hello: the same key is there again further down, and counts
",
    );
}

/// What a function can't do without, and nobody knows.
#[test]
fn a_function_without_a_known_handler_is_left_out_with_a_word() {
    let template = format!("Parameters:\n  H: {{Type: String}}\n{}", one("      Handler: !Ref H\n"));
    check_with(
        &[("template.yaml", &template)],
        &ProjectOptions::default(),
        "
ignored 4: the function F: what it needs is not known here
ignored 7: the handler: the parameter H has no default; `--parameter H=VALUE` gives it a value
",
    );
}

/// Names that are made of names, each within many lists: what is on the stack at once has a bound.
#[test]
fn references_within_values_within_references_end() {
    let mut resources = String::new();
    for number in 0..200 {
        let (open, close) = ("!Join ['', [".repeat(12), "]]".repeat(12));
        let next = format!("{open}!Ref Q{}{close}", number + 1);
        resources.push_str(&format!(
            "  Q{number}:\n    Type: AWS::SQS::Queue\n    Properties: {{QueueName: {next}}}\n"
        ));
    }
    let function = one("      Handler: a.b\n      Environment: {Variables: {A: !Ref Q0, B: b}}\n");
    let found = project(&[("template.yaml", &format!("{function}{resources}"))], &ProjectOptions::default());
    assert_eq!(found.functions[0].variables.keys().collect::<Vec<_>>(), ["B"]);
}

#[test]
fn more_layers_than_lambda_takes_are_refused() {
    check_wrong(
        "      Handler: a.b\n      Layers: [a, b, c, d, e, f]\n",
        "error[E0116] template.yaml:6: there are 6 layers; fix: write at most 5",
    );
}

#[test]
fn what_is_built_is_said() {
    let template = one("      Handler: a.b\n    Metadata: {BuildMethod: makefile}\n");
    check_findings(
        &[("template.yaml", &template)],
        "ignored",
        &["ignored 6: BuildMethod of F: requirements.txt is installed, and nothing else is built"],
    );
}

/// A file with thousands of mistakes is read in time, and its list has an end.
#[test]
fn findings_have_an_end() {
    let wrong: String = (0..20_000).map(|number| format!("          A-{number}: x\n")).collect();
    let reserved: String = (0..10_000).map(|number| format!("          AWS_LAMBDA_{number}: x\n")).collect();
    let template =
        one(&format!("      Handler: a.b\n      Environment:\n        Variables:\n{wrong}{reserved}"));
    let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
    let last = found.problems.last().unwrap();
    assert_eq!((found.problems.len(), last.message.as_str()), (201, "there are 19800 more errors"));
    let last = found.ignored.last().unwrap();
    assert_eq!((found.ignored.len(), last.what.as_str()), (1001, "9000 more"));
}

/// What references repeat is bounded as what aliases repeat.
#[test]
fn references_are_no_bombs() {
    let long = "x".repeat(200_000);
    let references = "${P}".repeat(100);
    let template = format!(
        "Parameters:\n  P: {{Type: String, Default: {long}}}\n{}",
        one(&format!("      Handler: a.b\n      Environment: {{Variables: {{A: !Sub \"{references}\"}}}}\n"))
    );
    let folder = folder(&[("template.yaml", &template)]);
    let error = read(folder.path(), &ProjectOptions::default()).unwrap_err();
    assert_eq!(error.code(), "E0115");
    assert!(error.to_string().contains("MiB of text"), "{error}");
}

const SUBSCRIBED: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  News:
    Type: AWS::SNS::Topic
    Properties:
      TopicName: latest
      Subscription:
        - {Protocol: sqs, Endpoint: !GetAtt Letters.Arn}
        - {Protocol: email, Endpoint: ada@example.com}
  Letters: {Type: AWS::SQS::Queue}
  Chosen:
    Type: AWS::SNS::Subscription
    Properties:
      TopicArn: !Ref News
      Protocol: sqs
      Endpoint: arn:aws:sqs:us-east-1:000000000000:others
      FilterPolicy: {kind: [a]}
      RawMessageDelivery: "true"
      RedrivePolicy: {deadLetterTargetArn: x}
  Told: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref News, Protocol: lambda, Endpoint: !GetAtt F.Arn}}
  Lost: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref News, Protocol: lambda, Endpoint: "arn:aws:lambda:us-east-1:000000000000:function:g"}}
  F:
    Type: AWS::Serverless::Function
    Properties: {Handler: a.b, Runtime: python3.12}
"#;

#[test]
fn queues_and_functions_subscribe_beside_functions() {
    let expected = "
23 F = F: a.b in ``, python3.12, 3s, 128 MB
  21 topic latest: filtered false
9 topic latest to queue Letters: filtered false, raw false
15 topic latest to queue others: filtered true, raw true
ignored 10: a subscription of News: nobody is told by email here
ignored 20: RedrivePolicy of Chosen: it is not applied here
ignored 22: a subscription: there is no function g
";
    check_with(&[("template.yaml", SUBSCRIBED), ("a.py", "")], &ProjectOptions::default(), expected);
}

#[test]
fn wrong_subscriptions_have_their_lines() {
    let check = |properties: &str, expected: &str| {
        let template = format!(
            "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    \
             Properties: {{Handler: a.b, Runtime: python3.12}}\n  S:\n    Type: AWS::SNS::Subscription\n    \
             Properties: {properties}\n"
        );
        check_findings(
            &[("template.yaml", &template), ("a.py", "")],
            "error",
            &[&format!("error[E0116] template.yaml:8: {expected}")],
        );
    };
    let queue = "Endpoint: arn:aws:sqs:us-east-1:000000000000:q";
    check(
        &format!("{{Protocol: sqs, {queue}}}"),
        "the subscription S has no TopicArn; fix: write TopicArn: !Ref and the topic",
    );
    check(
        &format!("{{TopicArn: t, {queue}}}"),
        "a subscription of S has no Protocol; fix: write Protocol: sqs",
    );
    check(
        "{TopicArn: t, Protocol: sqs}",
        "a subscription of S has no Endpoint; fix: write Endpoint: !GetAtt Queue.Arn",
    );
    check(
        "{TopicArn: t, Protocol: sqs, Endpoint: q}",
        "`q` is no ARN of sqs, which the endpoint of S has to be; fix: write Endpoint: !GetAtt Queue.Arn",
    );
    check(
        &format!("{{TopicArn: t, Protocol: sqs, {queue}, RawMessageDelivery: 7}}"),
        "RawMessageDelivery is a text or a number; fix: write true or false",
    );
    check(
        &format!("{{TopicArn: t, Protocol: sqs, {queue}, FilterPolicy: {{a: b}}}}"),
        "the filter policy: `a` has no list of conditions; fix: write e.g. store: [books, {prefix: mu}]",
    );
}

/// What starts, guards or is a function elsewhere is missing; what is of the deployment is not.
#[test]
fn lost_triggers_and_guards_are_missing() {
    let template = r#"Transform: AWS::Serverless-2016-10-31
Resources:
  Rest: {Type: AWS::ApiGateway::RestApi, Properties: {Name: x}}
  Part: {Type: AWS::ApiGateway::Resource, Properties: {PathPart: items}}
  Get: {Type: AWS::ApiGateway::Method, Properties: {HttpMethod: GET}}
  Sockets: {Type: AWS::ApiGatewayV2::Api, Properties: {ProtocolType: WEBSOCKET}}
  Nested: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: nested.yaml}}
  Other: {Type: AWS::Serverless::Application, Properties: {Location: other.yaml}}
  Steps: {Type: AWS::Serverless::StateMachine, Properties: {DefinitionUri: x.json}}
  Later: {Type: AWS::Lambda::EventInvokeConfig, Properties: {FunctionName: F}}
  Uploads:
    Type: AWS::S3::Bucket
    Properties:
      NotificationConfiguration: {LambdaConfigurations: []}
      VersioningConfiguration: {Status: Enabled}
  Role: {Type: AWS::IAM::Role}
  Allowed: {Type: AWS::Lambda::Permission, Properties: {FunctionName: F}}
  Api: {Type: AWS::Serverless::Api, Properties: {StageName: x, Auth: {ResourcePolicy: {IpRangeBlacklist: [10.0.0.0/8]}, InvokeRole: NONE}}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Policies: [x]
      Events:
        Foreign: {Type: SQS, Properties: {Queue: !ImportValue other}}
        Alexa: {Type: AlexaSkill}
        Tagged: {Type: S3, Properties: {Bucket: !Ref Uploads, Events: "s3:ObjectTagging:Put"}}
  Java: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, Runtime: java21}}
"#;
    let found = project(&[("template.yaml", template)], &ProjectOptions::default());
    let of = |is_missing: bool| -> Vec<&str> {
        let ones = found.ignored.iter().filter(|one| one.is_missing == is_missing);
        ones.map(|one| one.what.as_str()).collect()
    };
    assert_eq!(
        of(true),
        [
            "the type AWS::ApiGateway::RestApi of Rest",
            "the type AWS::ApiGateway::Method of Get",
            "the type AWS::ApiGatewayV2::Api of Sockets",
            "the type AWS::CloudFormation::Stack of Nested",
            "the type AWS::Serverless::Application of Other",
            "the type AWS::Serverless::StateMachine of Steps",
            "the type AWS::Lambda::EventInvokeConfig of Later",
            "NotificationConfiguration of Uploads",
            "Auth.ResourcePolicy of Api",
            "the event Foreign",
            "the event Alexa",
            "s3:ObjectTagging:Put of Tagged",
            "the function Java",
        ]
    );
    let ignored = [
        "the type AWS::ApiGateway::Resource of Part",
        "VersioningConfiguration of Uploads",
        "the type AWS::IAM::Role of Role",
        "the type AWS::Lambda::Permission of Allowed",
        "Auth.InvokeRole of Api",
        "Policies of F",
        "the queue",
    ];
    assert_eq!(of(false), ignored);
}

#[test]
fn functions_of_language_extensions_are_evaluated() {
    let check = |value: &str, expected: Option<&str>| {
        let head = "Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]\nParameters: {Open: {Type: String}, List: {Type: CommaDelimitedList, Default: 'a,b'}}\nMappings: {M: {a: {b: mapped}}}\n";
        let function =
            one(&format!("      Handler: a.b\n      Environment: {{Variables: {{V: {value}}}}}\n"));
        let found = project(&[("template.yaml", &format!("{head}{function}"))], &ProjectOptions::default());
        let variable = found.functions.first().and_then(|function| function.variables.get("V"));
        assert_eq!(variable.map(String::as_str), expected, "{value}: {}", shown(&found));
    };
    check("{\"Fn::Base64\": !Sub \"hi ${AWS::Region}\"}", Some("aGkgdXMtZWFzdC0x"));
    check("{\"Fn::Base64\": !Ref Open}", None);
    check("!Base64 [x]", None);
    check("{\"Fn::Length\": [1, 2, !Ref Open]}", Some("3"));
    check("{\"Fn::Length\": !Ref List}", Some("2"));
    check("{\"Fn::Length\": text}", None);
    check(
        "{\"Fn::ToJsonString\": {a: !Ref List, b: 1, c: yes, d: '1'}}",
        Some(r#"{"a":["a","b"],"b":1,"c":true,"d":"1"}"#),
    );
    check("{\"Fn::ToJsonString\": {a: !Ref Open}}", None);
    check("{\"Fn::ToJsonString\": text}", None);
    check("!FindInMap [M, a, b, {DefaultValue: x}]", Some("mapped"));
    check("!FindInMap [M, a, c, {DefaultValue: !Ref AWS::Region}]", Some("us-east-1"));
    check("!FindInMap [M, a, c]", None);
}

/// As CloudFormation makes a file `index.py` of it.
#[test]
fn code_in_a_template_becomes_a_folder() {
    let template = "Resources:\n  A:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: index.handler, InlineCode: \"code a\"}\n  \
        B:\n    Type: AWS::Lambda::Function\n    Properties: {Handler: index.handler, Runtime: python3.12, Code: {ZipFile: !Sub \"${AWS::Region}\"}}\n  \
        C:\n    Type: AWS::Lambda::Function\n    Properties: {Handler: index.handler, Runtime: provided.al2023, Code: {ZipFile: x}}\n";
    let (folder, cache) = (folder(&[("template.yaml", template)]), tempfile::tempdir().unwrap());
    let mut found = read(folder.path(), &ProjectOptions::default()).unwrap().unwrap();
    // Twice, as each start finds what the one before has left.
    for _ in 0..2 {
        found.unpack(folder.path(), cache.path());
        let code = |function: &ProjectFunction| {
            assert!(function.code.starts_with(cache.path()));
            std::fs::read_to_string(function.code.join("index.py")).unwrap()
        };
        assert_eq!(found.functions.iter().map(code).collect::<Vec<_>>(), ["code a", "us-east-1"]);
    }
    assert_eq!(found.ignored[0].why, "its code stands in the template, and is no program");
    assert!(found.ignored[0].is_missing);
}
