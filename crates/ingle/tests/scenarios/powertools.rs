//! Powertools for AWS Lambda, the real package: what its features need of the platform is there, on the oldest and the newest Python.

use ingle_testkit::{App, Python, Request, Server, workspace};
use serde_json::{Value, json};

const HANDLER: &str = r#"
import os
from typing import List
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, APIGatewayRestResolver, LambdaFunctionUrlResolver
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.parser import BaseModel, ValidationError, parse
from aws_lambda_powertools.utilities.parser.envelopes import SqsEnvelope

logger = Logger(service="orders")
tracer = Tracer(service="orders")
metrics = Metrics(namespace="shop", service="orders")
app = LambdaFunctionUrlResolver()
processor = BatchProcessor(event_type=EventType.SQS)


class Order(BaseModel):
    dish: str
    quantity: int


@app.get("/orders/<order_id>")
@tracer.capture_method
def show(order_id: str):
    if order_id == "none":
        raise NotFoundError("no such order")
    metrics.add_metric(name="Asked", unit=MetricUnit.Count, value=1)
    logger.info("asked", extra={"order": order_id})
    return {"order": order_id, "page": app.current_event.get_query_string_value("page", "1")}


@app.post("/orders")
def take():
    try:
        order = parse(event=app.current_event.json_body, model=Order)
    except ValidationError as error:
        return {"wrong": len(error.errors())}, 422
    return {"dish": order.dish, "quantity": order.quantity}, 201


@app.get("/broken")
@tracer.capture_method
def broken():
    raise ValueError("not today")


@tracer.capture_method
def work(record):
    if record.json_body["dish"] == "bad":
        raise ValueError("nobody eats that")


@logger.inject_lambda_context(correlation_id_path=correlation_paths.LAMBDA_FUNCTION_URL)
@tracer.capture_lambda_handler
@metrics.log_metrics(capture_cold_start_metric=True)
def lambda_handler(event, context):
    if "Records" in event:
        orders = parse(event=event, model=Order, envelope=SqsEnvelope)
        metrics.add_metric(name="Batch", unit=MetricUnit.Count, value=len(orders))
        return process_partial_response(event=event, record_handler=work, processor=processor, context=context)
    return app.resolve(event, context)
"#;

fn python(version: &'static str) -> Python {
    let program = workspace().join(format!("target/venvs/powertools-{version}/bin/python"));
    assert!(program.exists(), "no Powertools: run `cargo xtask setup`");
    Python { version, program }
}

fn tell(version: &'static str, story: impl FnOnce(&Server)) {
    story(&App::default().file("lambda_function.py", HANDLER).start(&python(version)));
}

mod python_3_9 {
    use super::*;

    #[test]
    fn events_are_routed_and_read() {
        tell("3.9", routes);
    }

    #[test]
    fn metrics_and_segments_are_kept() {
        tell("3.9", measures);
    }

    #[test]
    fn a_batch_fails_in_part() {
        tell("3.9", batch);
    }
}

mod python_3_13 {
    use super::*;

    #[test]
    fn events_are_routed_and_read() {
        tell("3.13", routes);
    }

    #[test]
    fn metrics_and_segments_are_kept() {
        tell("3.13", measures);
    }

    #[test]
    fn a_batch_fails_in_part() {
        tell("3.13", batch);
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

fn routes(server: &Server) {
    let answer = server.get("/orders/7?page=2").status(200);
    assert_eq!(json_of(&answer.text()), json!({"order": "7", "page": "2"}));
    let answer = server.get("/orders/none").status(404);
    assert_eq!(json_of(&answer.text())["message"], "no such order");
    let answer = server.post("/orders", r#"{"dish": "soup", "quantity": "2"}"#).status(201);
    assert_eq!(json_of(&answer.text()), json!({"dish": "soup", "quantity": 2}));
    let answer = server.post("/orders", r#"{"quantity": "many"}"#).status(422);
    assert_eq!(json_of(&answer.text()), json!({"wrong": 2}));
    // Logger: one JSON object a line, with what the context says.
    let said = server
        .wait_for("the line", |event| event["message"].as_str().is_some_and(|m| m.contains("\"asked\"")));
    let line = json_of(said["message"].as_str().unwrap());
    let told = |name: &str| line[name].clone();
    assert_eq!(
        (told("service"), told("order"), told("function_name")),
        (json!("orders"), json!("7"), json!("app"))
    );
    let trace = told("xray_trace_id");
    assert!(trace.as_str().unwrap().starts_with("1-"), "{line}");
    let id = said["invocation"].as_str().unwrap().trim_start_matches("inv_");
    assert_eq!(told("function_request_id").as_str().unwrap().replace('-', ""), id);
    assert_eq!(told("correlation_id").as_str().unwrap().replace('-', ""), id);
}

fn measures(server: &Server) {
    for _ in 0..2 {
        server.get("/orders/7").status(200);
    }
    server.get("/broken").status(502);
    server.invocations("app", 3);
    let shown = server.call(&["metrics", "--json"]).code(0).json();
    let series = |name: &str| {
        let all = shown["series"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {shown}")).clone()
    };
    let asked = series("Asked");
    assert_eq!(
        (&asked["namespace"], &asked["count"], &asked["sum"]),
        (&json!("shop"), &json!(2), &json!(2.0))
    );
    assert_eq!(asked["dimensions"], json!({"service": "orders"}));
    assert_eq!(series("ColdStart")["dimensions"]["function_name"], "app");
    let text = server.call(&["metrics", "--openmetrics"]).code(0).stdout;
    assert!(text.contains("shop_Asked_count{service=\"orders\",unit=\"Count\"} 2\n"), "{text}");
    assert!(server.call(&["metrics"]).code(0).stdout.contains("shop/Asked"));
    // Tracer: what it sends is a part of the call's own segment, and the exception is seen.
    let spans = server.events().look_until("the segments", || {
        let shown = server.call(&["traces", "--json"]).code(0).json();
        let traces = shown["traces"].as_array().unwrap().clone();
        (traces.len() == 3 && traces.iter().all(|trace| trace["spans"].as_u64() >= Some(2))).then_some(traces)
    });
    let broken = spans.iter().find(|trace| trace["faults"].as_u64() > Some(0)).unwrap();
    assert_eq!(broken["name"], "app");
    let text = server.call(&["traces", broken["id"].as_str().unwrap()]).code(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("app ") && lines[1].starts_with("  ## lambda_handler "), "{text}");
    assert!(lines[2].starts_with("    ## lambda_function.broken "), "{text}");
    assert!(lines[2].ends_with("ValueError: not today"), "{text}");
    let none = server.call(&["traces", "1-5bef4de7-ad49b0e87f6ef6c87fc2e700"]).code(1);
    assert!(none.stderr.contains("knows of no trace"), "{}", none.stderr);
}

fn batch(server: &Server) {
    let record = |id: &str, dish: &str| {
        json!({"messageId": id, "receiptHandle": "r", "body": json!({"dish": dish, "quantity": 1}).to_string(),
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183", "SenderId": "AIDA",
                "ApproximateFirstReceiveTimestamp": "1545082649185"},
            "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:orders", "awsRegion": "us-east-1"})
    };
    let event = json!({"Records": [record("one", "soup"), record("two", "bad"), record("three", "tea")]});
    let request = Request::post("/2015-03-31/functions/app/invocations", event.to_string());
    let answer = server.send(request).status(200);
    assert_eq!(json_of(&answer.text()), json!({"batchItemFailures": [{"itemIdentifier": "two"}]}));
}
