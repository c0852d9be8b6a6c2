//! Messages of queues whose names end in `.fifo`: their groups, and what keeps them from being put in twice ("Amazon SQS FIFO
//! queues" in Amazon's developer guide).

use std::time::Duration;

use ingle_store::Once;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Fault, signature, sqs, text};

const GROUP: &str = "MessageGroupId";
const DEDUPLICATION: &str = "MessageDeduplicationId";
const CHARACTERS_MAX: usize = 128;
/// As SQS has it.
const ONCE_WITHIN: Duration = Duration::from_secs(300);

/// Where a message stands among others.
pub(super) struct Place {
    pub(super) group: String,
    pub(super) once: Once,
}

/// The place that a request names. Without an id the content is one if the queue has `ContentBasedDeduplication`.
///
/// # Errors
/// 400 as SQS has them.
pub(super) fn place(entry: &Value, body: &str, by_content: bool) -> Result<Place, Fault> {
    if entry.get("DelaySeconds").is_some_and(|delay| !delay.is_null() && delay != 0) {
        return Err(not_of_this_type("DelaySeconds", "a queue with groups has delays of its own only"));
    }
    let group = name(entry, GROUP)?.ok_or_else(|| sqs::missing(GROUP))?;
    let id = match name(entry, DEDUPLICATION)? {
        Some(id) => id,
        None if by_content => signature::hex(&Sha256::digest(body.as_bytes())),
        None => {
            let message = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly";
            return Err(Fault::bad("InvalidParameterValue", message));
        }
    };
    Ok(Place { group, once: Once { id, within: ONCE_WITHIN } })
}

/// What a queue without order can't keep. A group is fine there, and means nothing to the order.
///
/// # Errors
/// 400 as SQS has it.
pub(super) fn refuse(entry: &Value) -> Result<(), Fault> {
    match text(entry, DEDUPLICATION) {
        Some(_) => Err(not_of_this_type(DEDUPLICATION, "names of queues that know it end in .fifo")),
        None => Ok(()),
    }
}

fn not_of_this_type(name: &str, why: &str) -> Fault {
    let message =
        format!("The request includes the parameter {name}, which is not valid for this queue type: {why}.");
    Fault::bad("InvalidParameterValue", message)
}

fn name(entry: &Value, key: &str) -> Result<Option<String>, Fault> {
    let Some(name) = text(entry, key) else { return Ok(None) };
    if name.is_empty() || name.len() > CHARACTERS_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!(
            "Value {name} for parameter {key} is invalid. It has 1 to {CHARACTERS_MAX} letters, digits and punctuation."
        );
        return Err(Fault::bad("InvalidParameterValue", message));
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_has_a_group_and_an_id() {
        let place = |entry: Value| place(&entry, "soup", true).map(|place| (place.group, place.once.id));
        let named = place(json!({"MessageGroupId": "a", "MessageDeduplicationId": "b"})).unwrap();
        assert_eq!(named, ("a".to_owned(), "b".to_owned()));
        // As `sha256sum` has it.
        let of_content = "9014fac8184d7ba9e1dcd80b8c1e1aa2906af8a01fc1e6e9092e575eabf7b80d";
        assert_eq!(place(json!({"MessageGroupId": "a"})).unwrap().1, of_content);
        // Zero is no delay of its own.
        assert!(place(json!({"MessageGroupId": "a", "DelaySeconds": 0})).is_ok());
        let code = |entry: Value| place(entry).unwrap_err().code;
        assert_eq!(code(json!({})), "MissingParameter");
        assert_eq!(code(json!({"MessageGroupId": ""})), "InvalidParameterValue");
        assert_eq!(code(json!({"MessageGroupId": "a b"})), "InvalidParameterValue");
        assert_eq!(code(json!({"MessageGroupId": "a".repeat(129)})), "InvalidParameterValue");
        assert_eq!(code(json!({"MessageGroupId": "a", "DelaySeconds": 1})), "InvalidParameterValue");
    }

    #[test]
    fn content_is_an_id_only_where_the_queue_says_so() {
        let place = |entry: Value| super::place(&entry, "soup", false).map(|place| place.once.id);
        assert_eq!(place(json!({"MessageGroupId": "a"})).unwrap_err().code, "InvalidParameterValue");
        let named = json!({"MessageGroupId": "a", "MessageDeduplicationId": "b"});
        assert_eq!(place(named).unwrap(), "b");
    }

    #[test]
    fn other_queues_know_no_ids() {
        assert_eq!(refuse(&json!({"MessageGroupId": "a"})), Ok(()));
        assert_eq!(
            refuse(&json!({"MessageDeduplicationId": "a"})).unwrap_err().code,
            "InvalidParameterValue"
        );
    }
}
