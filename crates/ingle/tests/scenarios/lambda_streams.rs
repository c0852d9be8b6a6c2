//! `InvokeWithResponseStream` and `InvokeAsync`, as boto3 calls them.

use ingle_testkit::{App, Python, workspace};
use serde_json::{Value, json};

const HANDLER: &str = r#"
def lambda_handler(event, context):
    print("handling", event)
    if "fail" in event:
        raise ValueError("not today")
    return {"size": event["size"], "text": "x" * event["size"]}
"#;

const CALLS: &str = r#"
import base64, boto3, json, sys
from botocore.config import Config
client = boto3.client("lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="test",
                      aws_secret_access_key="test", config=Config(retries={"max_attempts": 0}))

def stream(event):
    answer = client.invoke_with_response_stream(FunctionName="app", Payload=json.dumps(event), LogType="Tail")
    chunks, ends = [], []
    for message in answer["EventStream"]:
        if "PayloadChunk" in message:
            chunks.append(message["PayloadChunk"]["Payload"])
        else:
            ends.append(message["InvokeComplete"])
    end, = ends
    log = base64.b64decode(end.pop("LogResult")).decode()
    return {"status": answer["StatusCode"], "type": answer["ResponseStreamContentType"], "chunks": len(chunks), "size": len(b"".join(chunks)),
            "end": end, "said": "handling" in log}

print(json.dumps(stream({"size": 3})))
print(json.dumps(stream({"size": 3_000_000})))
print(json.dumps(stream({"fail": 1})))
try:
    client.invoke_with_response_stream(FunctionName="app", InvocationType="Event")
except client.exceptions.ClientError as error:
    print(json.dumps(error.response["Error"]["Code"]))
print(json.dumps(client.invoke_async(FunctionName="app", InvokeArgs=b'{"size": 5}')["Status"]))
"#;

#[test]
fn a_result_comes_as_a_stream() {
    let program = workspace().join("target/venvs/lambda/bin/python");
    assert!(program.exists(), "no boto3: run `cargo xtask setup`");
    let clients = Python { version: "3", program };
    let server = App::default().file("lambda_function.py", HANDLER).launch(&clients).may_complain("").start();
    let told = clients.run(CALLS, &[&format!("http://{}", server.address())]);
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let size = |of: &Value| of["size"].as_u64().unwrap();
    assert_eq!((&told[0]["status"], &told[0]["chunks"], size(&told[0])), (&json!(200), &json!(1), 26));
    assert_eq!((&told[0]["end"], &told[0]["said"]), (&json!({}), &json!(true)));
    assert!(told[1]["chunks"].as_u64() > Some(1) && size(&told[1]) > 3_000_000, "{}", told[1]);
    let end = &told[2]["end"];
    assert_eq!((&told[2]["chunks"], &end["ErrorCode"]), (&json!(0), &json!("ValueError")));
    let details: Value = serde_json::from_str(end["ErrorDetails"].as_str().unwrap()).unwrap();
    assert_eq!(details["errorMessage"], "not today");
    assert_eq!((&told[3], &told[4]), (&json!("ValidationException"), &json!(202)));
    let is_async = |event: &Value| event["event"] == "invocation" && event["summary"] == "event";
    assert_eq!(server.wait_for("the old call", is_async)["outcome"], "success");
}
