//! Names of queues and buckets that would be one in the store, and destinations that are nowhere.

use super::*;

/// Names of the functions that are served, and what is wrong.
#[track_caller]
fn check(name: &str, text: &str, (functions, problems): (&[&str], &[&str])) -> Project {
    let found = project(&[(name, text), ("a.py", "")], &ProjectOptions::default());
    let told = |one: &Problem| format!("{}:{} {}", one.code, one.line.unwrap_or_default(), one.message);
    let ids: Vec<&str> = found.functions.iter().map(|function| function.id.as_str()).collect();
    assert_eq!(ids, functions);
    assert_eq!(found.problems.iter().map(told).collect::<Vec<_>>(), problems);
    found
}

const SAM: &str = r#"Transform: AWS::Serverless-2016-10-31
Resources:
  First: {Type: AWS::SQS::Queue, Properties: {QueueName: orders.fifo, FifoQueue: true}}
  Second: {Type: AWS::SQS::Queue, Properties: {QueueName: other}}
  Photos: {Type: AWS::S3::Bucket, Properties: {BucketName: orders-fifo}}
  Heard: {Type: AWS::SNS::Subscription, Properties: {TopicArn: arn:aws:sns:us-east-1:000000000000:t, Protocol: sqs, Endpoint: !GetAtt Second.Arn}}
  One:
    Type: AWS::Serverless::Function
    Properties: {Handler: a.b, Events: {E: {Type: SQS, Properties: {Queue: !GetAtt First.Arn}}}}
  Two:
    Type: AWS::Serverless::Function
    Properties: {Handler: a.b, Events: {E: {Type: SQS, Properties: {Queue: !GetAtt Second.Arn}}}}
"#;

/// Messages of one would be run by the function of the other.
#[test]
fn names_that_would_be_one_are_told() {
    let found = check("template.yaml", SAM, (&["One", "Two"], &[]));
    assert_eq!(found.subscriptions.len(), 1);
    let one = "the queues `orders.fifo` and `Orders-Fifo` are one here";
    let same = SAM.replace("QueueName: other", "QueueName: Orders-Fifo");
    let expected = [&*format!("E0116:4 {one}"), &format!("E0116:6 {one}"), &format!("E0116:12 {one}")];
    let found = check("template.yaml", &same, (&["One"], &expected));
    assert_eq!(found.subscriptions, []);
    // Of a name that no resource has, too.
    let elsewhere =
        SAM.replace("Queue: !GetAtt Second.Arn", "Queue: arn:aws:sqs:us-east-1:000000000000:ORDERS.fifo");
    let expected = "E0116:12 the queues `orders.fifo` and `ORDERS.fifo` are one here";
    check("template.yaml", &elsewhere, (&["One"], &[expected]));
}

#[test]
fn long_names_are_told_apart_by_what_is_kept_of_them() {
    let yml = |first: &str, second: &str| {
        format!(
            "service: s\nprovider: {{name: aws}}\nfunctions:\n  one: {{handler: a.b, events: [{{s3: {first}}}]}}\n  two: {{handler: a.b, events: [{{s3: {second}}}]}}\n"
        )
    };
    let long = "b".repeat(56);
    let (first, second) = (format!("{long}-in"), format!("{long}-out"));
    let expected = format!("E0116:5 the buckets `{first}` and `{second}` are one here");
    check("serverless.yml", &yml(&first, &second), (&["one"], &[&expected]));
    check("serverless.yml", &yml(&first, &first), (&["one", "two"], &[]));
    check("serverless.yml", &yml(&first[1..], &second), (&["one", "two"], &[]));
}

/// Where a record of an event goes, for each function.
fn targets(found: &Project) -> Vec<String> {
    let all =
        found.functions.iter().map(|one| format!("{:?} {:?}", one.later.on_success, one.later.on_failure));
    let ignored = found.ignored.iter().map(|one| format!("{}: {}: {}", one.line, one.what, one.why));
    all.chain(ignored).collect()
}

/// What nobody serves would fill a queue that nobody reads.
#[test]
fn destinations_are_functions_that_are_served() {
    let template = r#"Transform: AWS::Serverless-2016-10-31
Resources:
  Node: {Type: AWS::Serverless::Function, Properties: {Handler: a.b, Runtime: nodejs22.x}}
  Good: {Type: AWS::Serverless::Function, Properties: {Handler: a.b}}
  One:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      EventInvokeConfig:
        DestinationConfig: {OnSuccess: {Type: Lambda, Destination: !GetAtt Good.Arn}, OnFailure: {Type: Lambda, Destination: !GetAtt Node.Arn}}
"#;
    let found = check("template.yaml", template, (&["Good", "One"], &[]));
    assert_eq!(
        targets(&found),
        [
            "None None",
            "Some(Function(\"Good\")) None",
            "3: the function Node: its runtime nodejs22.x is not served; python3.8 to python3.13 and provided.al2023 are",
            "5: its destination of what failed of One: the function Node is not served",
        ]
    );
    assert!(found.ignored[1].is_missing);
    let yml = "service: s\nprovider: {name: aws}\nfunctions:\n  good: {handler: a.b}\n  own: {handler: a.b, name: named}\n  node: {handler: a.b, runtime: nodejs22.x}\n  one: {handler: a.b, destinations: {onSuccess: own, onFailure: good}}\n  two: {handler: a.b, destinations: {onSuccess: godo, onFailure: node}}\n";
    let found = check("serverless.yml", yml, (&["good", "own", "one", "two"], &[]));
    assert_eq!(
        targets(&found),
        [
            "None None",
            "None None",
            "Some(Function(\"named\")) Some(Function(\"s-dev-good\"))",
            "None None",
            "6: the function node: its runtime nodejs22.x is not served; python3.8 to python3.13 and provided.al2023 are",
            "8: onSuccess of two: `godo` is neither a queue nor a function",
            "8: its destination of what failed of two: the function s-dev-node is not served",
        ]
    );
}
