//! A message as a record of SQS (facts of Lambda, section 4.1).

use std::fmt::Write as _;
use std::time::SystemTime;

use ingle_store::LeasedMessage;
use ingle_types::clock::unix_ms;
use md5::{Digest as _, Md5};
use serde_json::{Value, json};

/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";

/// Where AWS would have the queue.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// As AWS names it.
    pub(super) queue: &'a str,
    pub(super) region: &'a str,
}

/// JSON text; `None` if the body is no text.
pub(super) fn record(message: &LeasedMessage, place: Place<'_>, now: SystemTime) -> Option<String> {
    let body = std::str::from_utf8(&message.body).ok()?;
    // When it was received first is not kept: of a later time, the earliest that it can have been.
    let first = if message.dequeue_count > 1 { message.inserted_at } else { now };
    let Place { queue, region } = place;
    // As the door for clients of AWS has written them.
    let attributes = message.attributes.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let attributes = attributes.unwrap_or_else(|| json!({"record": {}, "md5": null}));
    let record = json!({
        "messageId": message.lease.message_id,
        "receiptHandle": message.lease.pop_receipt,
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": message.dequeue_count.to_string(),
            "SentTimestamp": unix_ms(message.inserted_at).to_string(),
            "SenderId": ACCOUNT,
            "ApproximateFirstReceiveTimestamp": unix_ms(first).to_string(),
        },
        "messageAttributes": attributes["record"],
        "md5OfMessageAttributes": attributes["md5"],
        "md5OfBody": digest(&message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:{region}:{ACCOUNT}:{queue}"),
        "awsRegion": region,
    });
    Some(record.to_string())
}

fn digest(body: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(body) {
        // Writing to a text can't fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}
