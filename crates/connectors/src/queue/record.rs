//! A message as a record of SQS (facts of Lambda, section 4.1).

use std::time::SystemTime;

use ingle_store::LeasedMessage;
use ingle_types::clock::unix_ms;
use ingle_types::pattern::Pattern;
use ingle_types::topic::{self, md5};
use serde_json::{Value, json};

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
        "receiptHandle": message.lease.pop_receipt,
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
    fn without_filters_everything_is_wanted_and_with_several_what_fits_one() {
        let record = json!({"body": "soup"});
        let filter = |text: &str| Pattern::new(&json!({"body": [text]}), Shape::Nested).unwrap();
        assert!(is_wanted(&record, &[]));
        assert!(is_wanted(&record, &[filter("tea"), filter("soup")]));
        assert!(!is_wanted(&record, &[filter("tea"), filter("bread")]));
    }
}
