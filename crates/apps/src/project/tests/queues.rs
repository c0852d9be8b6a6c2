//! Queues that projects declare.

use super::*;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Plain: {Type: AWS::SQS::Queue}
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: orders
      VisibilityTimeout: 90
      DelaySeconds: "5"
      ReceiveMessageWaitTimeSeconds: 20
      MessageRetentionPeriod: 60
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
  Dead: {Type: AWS::SQS::Queue, Properties: {ContentBasedDeduplication: true}}
  Steps: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
  Contents: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true, ContentBasedDeduplication: true}}
  F:
    Type: AWS::Serverless::Function
    Properties:
      Handler: a.b
      Runtime: python3.12
      Events:
        Order: {Type: SQS, Properties: {Queue: !GetAtt Orders.Arn}}
"#;

#[test]
fn a_queue_is_what_the_template_says() {
    let folder = folder(&[("template.yaml", TEMPLATE), ("a.py", "")]);
    let project = read(folder.path(), &ProjectOptions::default()).unwrap().unwrap();
    let names: Vec<&str> = project.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!(names, ["Plain", "orders", "Dead", "Steps.fifo", "Contents.fifo"]);
    let redrive = Redrive { queue: "dead".to_owned(), receives_max: 3 };
    let expected = QueueSettings {
        visibility: Some(Duration::from_secs(90)),
        delay: Duration::from_secs(5),
        wait: Duration::from_secs(20),
        redrive: Some(redrive.clone()),
        ..QueueSettings::new("orders")
    };
    assert_eq!(project.queues[1], expected);
    // Only queues with groups know contents again, and only where it is said.
    let by_content: Vec<bool> = project.queues.iter().map(|queue| queue.deduplicates_by_content).collect();
    assert_eq!(by_content, [false, false, false, false, true]);
    let EventSource::Queue(source) = &project.functions[0].sources[0] else { panic!("no queue") };
    assert_eq!((source.visibility, source.redrive.clone()), (Some(Duration::from_secs(90)), Some(redrive)));
    let ignored: Vec<String> = project.ignored.iter().map(|one| one.what.clone()).collect();
    assert_eq!(ignored, ["MessageRetentionPeriod of Orders"]);
}

#[test]
fn wrong_numbers_have_their_lines() {
    let check = |property: &str, expected: &str| {
        let template = format!(
            "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    \
             Properties: {{Handler: a.b, Runtime: python3.12}}\n  Q:\n    Type: AWS::SQS::Queue\n    Properties:\n      {property}\n"
        );
        let expected = format!("error[E0116] template.yaml:9: {expected}");
        check_findings(&[("template.yaml", &template), ("a.py", "")], "error", &[&expected]);
    };
    check(
        "VisibilityTimeout: 43201",
        "VisibilityTimeout of Q is `43201`; fix: write a whole number from 0 to 43200",
    );
    check("DelaySeconds: soon", "DelaySeconds of Q is `soon`; fix: write a whole number from 0 to 900");
    check(
        "ReceiveMessageWaitTimeSeconds: 21",
        "ReceiveMessageWaitTimeSeconds of Q is `21`; fix: write a whole number from 0 to 20",
    );
}
