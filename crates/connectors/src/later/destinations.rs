//! What becomes of an event that was done or given up on, where its function has destinations or a queue for dead letters (facts
//! of Lambda, section 3.7).
//!
//! The record goes out in the commit that ends the event.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use ingle_store::{LeasedMessage, MessageLease, NewMessage, Operation};
use ingle_types::datum::Datum;
use ingle_types::event::QueueDelivery;
use ingle_types::ids::FunctionName;
use ingle_types::outcome::{Failure, Outcome};
use ingle_types::spec::{LaterOptions, LaterTarget};
use serde_json::{Value, json};

use super::{Events, queue_name, split};
use crate::queue::{self, Verdict};

/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";
/// Longest error in an attribute, in bytes.
const ERROR_BYTES_MAX: usize = 1024;
/// The output under which a worker gives back what the function returned.
const RETURNED: &str = "$return";

/// For log lines and verdicts: where an event goes that is given up on, if it is told of.
pub(super) fn dead_letters(options: &LaterOptions) -> Option<String> {
    let told = options.on_failure.as_ref().map(|target| match target {
        LaterTarget::Queue(queue) => queue.clone(),
        LaterTarget::Function(function) => queue_name(&FunctionName::new(function)),
    });
    options.dead_letters.clone().or(told)
}

/// How an event ended.
struct End<'a> {
    /// `Success`, `RetriesExhausted` or `EventAgeExceeded`.
    condition: &'static str,
    attempts: u32,
    response: Option<Value>,
    /// `Unhandled`, if the function failed.
    failure: Option<&'a Failure>,
}

impl Events {
    /// What ends the delivery of an event after an attempt.
    pub(super) fn ended(
        &self,
        message: &LeasedMessage,
        delivery: &QueueDelivery,
        outcome: &Outcome,
    ) -> Vec<Operation> {
        let attempts = delivery.dequeue_count;
        match queue::verdict(delivery, outcome) {
            Verdict::Again { visible_after, counts } => {
                let lease = message.lease.clone();
                vec![Operation::ReleaseMessage { lease, visible_after, counts }]
            }
            Verdict::Done => {
                let response = match outcome {
                    Outcome::Success(outputs) => returned(outputs.get(RETURNED)),
                    _ => Value::Null,
                };
                let end = End { condition: "Success", attempts, response: Some(response), failure: None };
                let told = self.options.on_success.iter().map(|target| self.told(message, target, &end));
                std::iter::once(Operation::DeleteMessage(message.lease.clone())).chain(told).collect()
            }
            Verdict::Poison { poison_queue, reason } => {
                let failure = outcome.failure();
                let end = End { condition: "RetriesExhausted", attempts, response: None, failure };
                let told = self.ends_of(message, &end, &reason);
                told.unwrap_or_else(|| poison(message.lease.clone(), poison_queue, reason))
            }
        }
    }

    /// Of an event that is not run once more: it has waited for too long, or was delivered too often. `None` if nobody is told of it.
    pub(super) fn given_up_on(
        &self,
        message: &LeasedMessage,
        condition: &'static str,
        reason: &str,
    ) -> Option<Vec<Operation>> {
        let attempts = message.dequeue_count.saturating_sub(1);
        let end = End { condition, attempts, response: None, failure: None };
        self.ends_of(message, &end, reason)
    }

    /// Who is told of an event that is given up on; `None` if nobody is.
    fn ends_of(&self, message: &LeasedMessage, end: &End<'_>, reason: &str) -> Option<Vec<Operation>> {
        let dead = self.options.dead_letters.as_ref().map(|queue| self.dead(message, queue, reason));
        let told = self.options.on_failure.as_ref().map(|target| self.told(message, target, end));
        let told: Vec<Operation> = dead.into_iter().chain(told).collect();
        let done = Operation::DeleteMessage(message.lease.clone());
        (!told.is_empty()).then(|| std::iter::once(done).chain(told).collect())
    }

    /// The event itself, with what was wrong as attributes.
    fn dead(&self, message: &LeasedMessage, queue: &str, reason: &str) -> Operation {
        let error = reason.char_indices().take_while(|(place, _)| *place < ERROR_BYTES_MAX);
        let error: String = error.map(|(_, letter)| letter).collect();
        let attribute = |kind: &str, value: &str| json!({"stringValue": value, "stringListValues": [], "binaryListValues": [], "dataType": kind});
        let record = json!({
            "RequestID": attribute("String", &message.lease.message_id),
            "ErrorCode": attribute("Number", "200"),
            "ErrorMessage": attribute("String", &error),
        });
        let attributes = json!({"record": record, "md5": null}).to_string();
        Operation::Enqueue(NewMessage {
            attributes: Some(attributes),
            ..self.next(message, queue, payload(message))
        })
    }

    /// The record of an event, as a message or as the event of a function.
    fn told(&self, message: &LeasedMessage, target: &LaterTarget, end: &End<'_>) -> Operation {
        let record = self.record(message, end).to_string();
        let queue = match target {
            LaterTarget::Queue(queue) => queue.clone(),
            LaterTarget::Function(function) => queue_name(&FunctionName::new(function)),
        };
        Operation::Enqueue(self.next(message, &queue, record))
    }

    fn next(&self, message: &LeasedMessage, queue: &str, body: String) -> NewMessage {
        NewMessage {
            hop_count: message.hop_count + 1,
            trace_parent: message.trace_parent.clone(),
            ..NewMessage::new(queue, Bytes::from(body))
        }
    }

    fn record(&self, message: &LeasedMessage, end: &End<'_>) -> Value {
        let now = DateTime::<Utc>::from(self.clock.now()).to_rfc3339_opts(SecondsFormat::Millis, true);
        let arn = format!("arn:aws:lambda:{}:{ACCOUNT}:function:{}:$LATEST", self.region, self.function);
        let request: Value = serde_json::from_str(&payload(message)).unwrap_or(Value::Null);
        let mut record = json!({
            "version": "1.0",
            "timestamp": now,
            "requestContext": {
                "requestId": message.lease.message_id,
                "functionArn": arn,
                "condition": end.condition,
                "approximateInvokeCount": end.attempts,
            },
            "requestPayload": request,
        });
        let answer = match end.failure {
            Some(failure) => Some(json!({
                "errorMessage": failure.message,
                "errorType": failure.kind,
                "requestId": message.lease.message_id,
                "stackTrace": failure.frames(),
            })),
            None => end.response.clone(),
        };
        if let Some(answer) = answer {
            let mut context = json!({"statusCode": 200, "executedVersion": "$LATEST"});
            if end.failure.is_some() {
                context["functionError"] = "Unhandled".into();
            }
            record["responseContext"] = context;
            record["responsePayload"] = answer;
        }
        record
    }
}

/// The event, without what its caller said of itself.
fn payload(message: &LeasedMessage) -> String {
    let body = String::from_utf8_lossy(&message.body);
    split(&body).0.trim().to_owned()
}

fn returned(value: Option<&Datum>) -> Value {
    match value {
        Some(Datum::Json(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(Datum::Text(text)) => text.as_str().into(),
        _ => Value::Null,
    }
}

fn poison(lease: MessageLease, poison_queue: String, reason: String) -> Vec<Operation> {
    vec![Operation::PoisonMessage { lease, poison_queue, reason }]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use ingle_types::clock::MovedClock;
    use ingle_types::outcome::{Blame, Outputs};

    use super::*;
    use crate::queue::MessageReader as _;

    fn events(options: LaterOptions) -> Events {
        let clock = Arc::new(MovedClock::at(SystemTime::UNIX_EPOCH));
        Events { function: FunctionName::new("work"), options, region: "eu-west-1".to_owned(), clock }
    }

    fn message() -> LeasedMessage {
        LeasedMessage {
            lease: MessageLease { queue: "q".into(), message_id: "id".into(), pop_receipt: "r".into() },
            body: Bytes::from("{\"order\": 7}\n{\"custom\": {}}"),
            dequeue_count: 3,
            inserted_at: SystemTime::UNIX_EPOCH,
            expires_at: SystemTime::UNIX_EPOCH,
            next_visible_at: SystemTime::UNIX_EPOCH,
            hop_count: 4,
            trace_parent: "00-a-b-01".into(),
            attributes: None,
            group: None,
            sequence: 0,
        }
    }

    fn delivery(options: &LaterOptions, dequeue_count: u32) -> QueueDelivery {
        QueueDelivery {
            queue: queue_name(&FunctionName::new("work")),
            message_id: "id".into(),
            pop_receipt: "r".into(),
            dequeue_count,
            max_dequeue_count: 3,
            retry_delay: std::time::Duration::from_secs(60),
            dead_letters: dead_letters(options),
            group: None,
        }
    }

    /// What is put into queues, besides the end of the event.
    fn sent(options: LaterOptions, attempts: u32, outcome: &Outcome) -> Vec<NewMessage> {
        let operations = events(options.clone()).ended(&message(), &delivery(&options, attempts), outcome);
        let (first, rest) = operations.split_first().unwrap();
        assert!(rest.is_empty() || matches!(first, Operation::DeleteMessage(_)), "{operations:?}");
        rest.iter()
            .map(|operation| match operation {
                Operation::Enqueue(message) => message.clone(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn failed() -> Outcome {
        let mut failure = Failure::new(Blame::App, "E0301", "ValueError", "not today");
        failure.started = true;
        Outcome::Failed(failure)
    }

    fn body(message: &NewMessage) -> Value {
        serde_json::from_slice(&message.body).unwrap()
    }

    #[test]
    fn who_wants_to_know_of_success_gets_a_record() {
        let options = LaterOptions {
            on_success: Some(LaterTarget::Function("next".into())),
            ..LaterOptions::default()
        };
        let outputs =
            Outputs([(RETURNED.to_owned(), Datum::Json("{\"n\": 1}".into()))].into_iter().collect());
        let found = sent(options.clone(), 1, &Outcome::Success(outputs));
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].queue, found[0].hop_count), (&*queue_name(&FunctionName::new("next")), 5));
        let expected = json!({
            "version": "1.0", "timestamp": "1970-01-01T00:00:00.000Z",
            "requestContext": {"requestId": "id", "functionArn": "arn:aws:lambda:eu-west-1:000000000000:function:work:$LATEST",
                "condition": "Success", "approximateInvokeCount": 1},
            "requestPayload": {"order": 7},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": {"n": 1}});
        assert_eq!(body(&found[0]), expected);
        // Of a failure nobody is told, so it is kept.
        let operations = events(options.clone()).ended(&message(), &delivery(&options, 3), &failed());
        assert!(matches!(&operations[..], [Operation::PoisonMessage { .. }]), "{operations:?}");
    }

    #[test]
    fn who_wants_to_know_of_failure_gets_a_record_after_the_last_attempt() {
        let options = LaterOptions {
            on_failure: Some(LaterTarget::Queue("failed".into())),
            dead_letters: Some("dead".into()),
            ..LaterOptions::default()
        };
        assert!(sent(options.clone(), 2, &failed()).is_empty());
        let found = sent(options.clone(), 3, &failed());
        assert_eq!(found.iter().map(|message| &*message.queue).collect::<Vec<_>>(), ["dead", "failed"]);
        assert_eq!(body(&found[0]), json!({"order": 7}));
        let attributes: Value = serde_json::from_str(found[0].attributes.as_deref().unwrap()).unwrap();
        assert_eq!(attributes["record"]["ErrorMessage"]["stringValue"], "ValueError: not today");
        let record = body(&found[1]);
        assert_eq!(record["requestContext"]["condition"], "RetriesExhausted");
        assert_eq!(record["responseContext"]["functionError"], "Unhandled");
        assert_eq!(record["responsePayload"]["errorType"], "ValueError");
        let old = events(options).given_up_on(&message(), "EventAgeExceeded", "too old").unwrap();
        assert_eq!(old.len(), 3);
    }

    /// The number of attempts was made smaller while it waited, or the server ended in the last one.
    #[test]
    fn one_that_was_delivered_too_often_is_told_of_as_any_other() {
        let options = LaterOptions {
            on_failure: Some(LaterTarget::Function("told".into())),
            ..LaterOptions::default()
        };
        let operations = events(options).given_up(&message(), "delivered 4 times").unwrap();
        let [Operation::DeleteMessage(_), Operation::Enqueue(told)] = &operations[..] else {
            panic!("{operations:?}")
        };
        assert_eq!((&*told.queue, told.hop_count), (&*queue_name(&FunctionName::new("told")), 5));
        assert_eq!(body(told)["requestContext"]["condition"], "RetriesExhausted");
        // To whom nobody says anything, it is kept as a whole.
        assert_eq!(events(LaterOptions::default()).given_up(&message(), "delivered 4 times"), None);
    }
}
