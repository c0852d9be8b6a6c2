//! A message as a record of SQS (facts of Lambda, section 4.1).

use std::time::SystemTime;

use bytes::Bytes;
use ingle_store::{LeasedMessage, MessageLease};
use ingle_types::clock::unix_ms;
use ingle_types::pattern::Pattern;
use ingle_types::topic::{self, md5};
use serde_json::{Value, json};
use uuid::Uuid;

/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";
const BODY: &str = "body";

/// Where AWS would have the queue.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// As AWS names it.
    pub(super) queue: &'a str,
    pub(super) region: &'a str,
}

/// JSON; `None` if the body is no text.
pub(super) fn record(message: &LeasedMessage, place: Place<'_>, now: SystemTime) -> Option<Value> {
    let body = std::str::from_utf8(&message.body).ok()?;
    // When it was received first is not kept: of a later time, the earliest that it can have been.
    let first = if message.dequeue_count > 1 { message.inserted_at } else { now };
    let Place { queue, region } = place;
    // As the door for clients of AWS has written them.
    let attributes = message.attributes.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let attributes = attributes.unwrap_or_else(|| json!({"record": {}, "md5": null}));
    let mut system = json!({
        "ApproximateReceiveCount": message.dequeue_count.to_string(),
        "SentTimestamp": unix_ms(message.inserted_at).to_string(),
        "SenderId": ACCOUNT,
        "ApproximateFirstReceiveTimestamp": unix_ms(first).to_string(),
    });
    if let Some(group) = &message.group {
        system["MessageGroupId"] = group.as_str().into();
        system["SequenceNumber"] = topic::sequence_number(message.sequence).into();
        system["MessageDeduplicationId"] = attributes["deduplicationId"].clone();
    }
    Some(json!({
        "messageId": message.lease.message_id,
        "receiptHandle": message.lease.receipt_handle(),
        BODY: body,
        "attributes": system,
        "messageAttributes": attributes["record"],
        "md5OfMessageAttributes": attributes["md5"],
        "md5OfBody": md5(&message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:{region}:{ACCOUNT}:{queue}"),
        "awsRegion": region,
    }))
}

/// The event of a message that nobody has sent, as JSON text; one of a queue whose name ends with `.fifo` is of a group. `None` if the
/// body is no text.
pub fn sample(queue: &str, body: Bytes, region: &str, now: SystemTime) -> Option<String> {
    let is_fifo = queue.ends_with(".fifo");
    let attributes =
        json!({"record": {}, "md5": null, "deduplicationId": is_fifo.then(|| Uuid::new_v4().to_string())});
    let message = LeasedMessage {
        lease: MessageLease {
            queue: queue.to_owned(),
            message_id: Uuid::new_v4().to_string(),
            pop_receipt: Uuid::new_v4().simple().to_string(),
        },
        body,
        dequeue_count: 1,
        inserted_at: now,
        expires_at: now,
        next_visible_at: now,
        hop_count: 0,
        trace_parent: String::new(),
        attributes: Some(attributes.to_string()),
        group: is_fifo.then(|| "sample".to_owned()),
        sequence: 1,
    };
    let record = record(&message, Place { queue, region }, now)?;
    Some(json!({"Records": [record]}).to_string())
}

/// Whether a record fits one of the patterns, if there are any. To them a body that is JSON has members, and any other is a text, so
/// what is written for the one does not fit the other.
pub(super) fn is_wanted(record: &Value, filters: &[Pattern]) -> bool {
    let Value::Object(members) = record else { return false };
    if filters.is_empty() {
        return true;
    }
    let body = members.get(BODY).and_then(Value::as_str).unwrap_or_default();
    let parsed =
        serde_json::from_str(body).ok().filter(|value: &Value| value.is_object() || value.is_array());
    let mut members = members.clone();
    members.extend(parsed.map(|body| (BODY.to_owned(), body)));
    filters.iter().any(|filter| filter.matches(&members))
}

#[cfg(test)]
mod tests {
    use ingle_types::pattern::Shape;

    use super::*;

    #[test]
    fn a_filter_is_about_the_record_and_about_a_body_that_is_json() {
        let check = |body: &str, filter: Value, expected: bool| {
            let record = json!({"body": body, "messageAttributes": {"kind": {"stringValue": "new"}}});
            let filter = Pattern::new(&filter, Shape::Nested).unwrap();
            assert_eq!(is_wanted(&record, std::slice::from_ref(&filter)), expected, "{body} {filter:?}");
        };
        check("{\"price\": 7}", json!({"body": {"price": [{"numeric": [">", 5]}]}}), true);
        check("{\"price\": 4}", json!({"body": {"price": [{"numeric": [">", 5]}]}}), false);
        check("[{\"price\": 7}]", json!({"body": {"price": [7]}}), true);
        check("soup", json!({"body": ["soup"]}), true);
        check("7", json!({"body": ["7"]}), true);
        // Patterns for texts and for JSON do not fit each other.
        check("soup", json!({"body": {"price": [{"exists": false}]}}), false);
        check("{\"price\": 7}", json!({"body": [{"prefix": "{"}]}), false);
        check("{\"price\": 7}", json!({"body": [{"anything-but": "soup"}]}), false);
        let attribute = |value: &str| json!({"messageAttributes": {"kind": {"stringValue": [value]}}});
        check("soup", attribute("new"), true);
        check("soup", attribute("old"), false);
    }

    #[test]
    fn a_sample_is_an_event_of_a_message() {
        let sample = |queue: &str, body: &'static [u8]| {
            let text = sample(queue, Bytes::from_static(body), "eu-west-1", SystemTime::UNIX_EPOCH)?;
            Some(serde_json::from_str::<Value>(&text).unwrap()["Records"][0].clone())
        };
        let plain = sample("orders", b"soup").unwrap();
        assert_eq!((&plain["body"], &plain["awsRegion"]), (&json!("soup"), &json!("eu-west-1")));
        assert_eq!(plain["eventSourceARN"], "arn:aws:sqs:eu-west-1:000000000000:orders");
        assert!(plain["attributes"].get("MessageGroupId").is_none(), "{plain}");
        let grouped = sample("orders.fifo", b"soup").unwrap();
        for name in ["MessageGroupId", "SequenceNumber", "MessageDeduplicationId"] {
            assert!(grouped["attributes"][name].is_string(), "{name} {grouped}");
        }
        assert_eq!(sample("orders", b"\xff"), None);
    }

    #[test]
    fn without_filters_everything_is_wanted_and_with_several_what_fits_one() {
        let record = json!({"body": "soup"});
        let filter = |text: &str| Pattern::new(&json!({"body": [text]}), Shape::Nested).unwrap();
        assert!(is_wanted(&record, &[]));
        assert!(is_wanted(&record, &[filter("tea"), filter("soup")]));
        assert!(!is_wanted(&record, &[filter("tea"), filter("bread")]));
    }
}
