//! Filters of queues: a function gets the messages that it wants, and the others are deleted.

use ingle_testkit::{App, Python, Server, on_each_python};
use serde_json::{Value, json};

on_each_python!(a_function_of_a_template_gets_what_its_filters_want);

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Resources:
  Kitchen:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.cook
      Runtime: python3.12
      Events:
        Orders:
          Type: SQS
          Properties:
            Queue: arn:aws:sqs:us-east-1:000000000000:orders
            FilterCriteria:
              Filters:
                - Pattern: '{"body": {"dish": [{"prefix": "soup"}], "count": [{"numeric": [">", 0, "<=", 5]}]}}'
                - Pattern: '{"body": [{"suffix": "please"}]}'
"#;

const CODE: &str = r#"
import json

def cook(event, context):
    print("cooks", json.dumps([record["body"] for record in event["Records"]]))
"#;

/// Bodies of the messages that came.
fn cooked(server: &Server, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    let mut events = 1;
    while found.len() < count {
        let is_one = |event: &Value| event["message"].as_str().is_some_and(|text| text.starts_with("cooks "));
        let lines = server.wait_for_many(events, "what was cooked", is_one);
        let bodies = |line: &Value| -> Vec<Value> {
            serde_json::from_str(line["message"].as_str().unwrap().trim_start_matches("cooks ")).unwrap()
        };
        found = lines.iter().flat_map(bodies).collect();
        events = lines.len() + 1;
    }
    found
}

fn a_function_of_a_template_gets_what_its_filters_want(python: &Python) {
    let server = App::default().file("template.yaml", TEMPLATE).file("app.py", CODE).launch(python).start();
    let wanted = [r#"{"dish": "soup of the day", "count": 2}"#, "a tea, please"];
    let messages =
        [r#"{"dish": "soup", "count": 6}"#, wanted[0], r#"{"dish": "tea", "count": 1}"#, "soup", wanted[1]];
    for message in messages {
        server.call(&["send", "queue", "orders", message]).code(0);
    }
    // Events are in work side by side, so which of them is told of first is chance.
    let mut found = cooked(&server, 2);
    found.sort_by_key(ToString::to_string);
    assert_eq!(found, [json!(wanted[1]), json!(wanted[0])]);
    // The others came before or between those, and are nowhere now.
    let left = server.call(&["state", "peek", "orders", "--json"]).code(0).json();
    let is_wanted = |message: &Value| wanted.iter().any(|body| message["text"] == **body);
    assert!(left["messages"].as_array().is_none_or(|left| left.iter().all(is_wanted)), "{left}");
    let told = server.call(&["state", "ls", "--json"]).code(0).json();
    assert_eq!(told["queues"].as_array().map(Vec::len), Some(1), "no poison queue: {told}");
    assert_eq!(server.stop().code, Some(0));
}
