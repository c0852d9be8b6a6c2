//! A function for AWS Lambda in Rust, on AWS's own crate.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(greet)).await
}

async fn greet(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let name = event.payload["queryStringParameters"]["name"].as_str().unwrap_or("world");
    if name == "nobody" {
        return Err("there is nobody to greet".into());
    }
    println!("greeting {name}");
    let body = format!("Hello {name}, from {}", event.context.env_config.function_name);
    Ok(json!({"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": body}))
}
