//! What templates refer to: what SAM makes, and what is not there.

use super::*;

const MADE: &str = r#"Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {AutoPublishAlias: live}
Resources:
  Public: {Type: AWS::Serverless::Api, Properties: {StageName: prod}}
  Http: {Type: AWS::Serverless::HttpApi}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      FunctionName: made
      FunctionUrlConfig: {AuthType: NONE}
      Events:
        One: {Type: Api, Properties: {Path: /one, Method: get, RestApiId: !Ref ServerlessRestApi}}
        Two: {Type: HttpApi, Properties: {Path: /two, Method: get, ApiId: !Ref ServerlessHttpApi}}
      Environment:
        Variables:
          REST: !Ref ServerlessRestApi
          HTTP: !Sub "https://${ServerlessHttpApi}.example"
          STAGE: !Ref Public.Stage
          SUB: !Sub "${Public.Stage}/${Http.Stage}"
          ALIAS: !Ref F.Alias
          VERSION: !Ref F.Version
          ROLE: !GetAtt FRole.Arn
          URL: !GetAtt FUrl.FunctionUrl
          DEPLOYMENT: !Ref Public.Deployment
"#;

#[test]
fn what_sam_makes_has_the_values_that_can_be_given() {
    check_with(
        &[("template.yaml", MADE)],
        &ProjectOptions::default(),
        "
7 F = made: a.b in ``, -, 3s, 128 MB
  ALIAS=arn:aws:lambda:us-east-1:000000000000:function:made:live
  HTTP=https://ServerlessHttpApi.example
  REST=ServerlessRestApi
  STAGE=prod
  SUB=prod/$default
  VERSION=arn:aws:lambda:us-east-1:000000000000:function:made:1
  12 url $default: ANY $default
  14 rest ServerlessRestApi Prod: GET /one
  15 http ServerlessHttpApi V2 $default: GET /two
ignored 3: AutoPublishAlias of F: there is one version of a function, and every alias leads to it
ignored 24: the variable ROLE: SAM makes `FRole`, and Ingle has no value for it
ignored 25: the variable URL: the address of FUrl is known only while it is served
ignored 26: the variable DEPLOYMENT: SAM makes `Public.Deployment`, and Ingle has no value for it
",
    );
}

/// A template whose one function refers to all of that in its variables, and the problems of it.
fn undefined(head: &str, variables: &str) -> Vec<String> {
    let template = format!(
        "{head}\nParameters: {{Stage: {{Type: String, Default: dev}}}}\nConditions: {{Is: !Equals [a, a]}}\nResources:\n  \
         Table: {{Type: AWS::DynamoDB::Table}}\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
         Handler: a.b\n      Environment: {{Variables: {variables}}}\n"
    );
    let found = project(&[("template.yaml", &template)], &ProjectOptions::default());
    // CloudFormation takes nothing of such a template; here what can run runs.
    assert_eq!(found.functions.len(), 1);
    found.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn names_that_are_not_there_are_errors() {
    let check = |variable: &str, expected: &str| {
        let fix = "correct the name, or add it: CloudFormation refuses the template as it is";
        let all = undefined("Transform: AWS::Serverless-2016-10-31", &format!("{{A: {variable}}}"));
        let wanted = format!("error[E0116] template.yaml:10: the template has no {expected}\n  fix: {fix}");
        assert_eq!(all, [wanted], "{variable}");
    };
    check("!Ref Tabel", "resource or parameter `Tabel`; did you mean `Table`?");
    check("!Ref Stagee", "resource or parameter `Stagee`; did you mean `Stage`?");
    check("!Sub \"${Tabel}-x\"", "resource or parameter `Tabel`; did you mean `Table`?");
    check("!Sub [\"${A}${Nowhere.Arn}\", {A: b}]", "resource `Nowhere`");
    check("!GetAtt Nope.Arn", "resource `Nope`");
    check("{\"Fn::GetAtt\": [Nope, Arn]}", "resource `Nope`");
    check("!Ref Fn", "resource or parameter `Fn`; did you mean `F`?");
    check("!If [It, !Ref Table, x]", "condition `It`; did you mean `Is`?");
}

#[test]
fn names_that_are_there_or_may_be_made_are_none() {
    let good = "{A: !Ref Table, B: !Sub \"${Stage}${!Nope}${AWS::Region}${F}\", C: !GetAtt FRole.Arn, D: !Ref F.Version, E: !If [Is, x, y], \
        G: !Ref ServerlessRestApi}";
    assert_eq!(undefined("Transform: AWS::Serverless-2016-10-31", good), Vec::<String>::new());
    // A macro may make everything.
    let wrong = "{A: !Ref Nope}";
    assert_eq!(undefined("Transform: [Own, AWS::Serverless-2016-10-31]", wrong), Vec::<String>::new());
    assert_eq!(undefined("Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]", wrong).len(), 1);
}
