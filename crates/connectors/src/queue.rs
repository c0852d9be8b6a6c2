//! Queues in the embedded store: trigger, output, acknowledging.

pub mod batch;
mod gather;
pub(crate) mod listener;
mod record;
pub mod remote;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use ingle_store::{MessageLease, NewMessage, Operation};
use ingle_types::account::Account;
use ingle_types::datum::Datum;
use ingle_types::event::QueueDelivery;
use ingle_types::expression::Template;
use ingle_types::outcome::{Blame, Outcome};

use crate::OutputContext;
use crate::blob;
use crate::collect::{Element, elements};
use crate::error::Error;
use crate::foreign::{ForeignWrite, What, Writes};
use crate::later;

pub use listener::{Form, Listener, ListenerOptions, MessageReader, Messages, Reading};
pub use record::sample;

const POISON_SUFFIX: &str = "-poison";
const NAME_LENGTH_MAX: usize = 63;
/// A failed message that has no poison queue to go to is not tried again for this long.
const NO_POISON_QUEUE_DELAY: Duration = Duration::from_secs(600);

/// The messages that writing `value` to a queue output comes to.
///
/// # Errors
/// [`Error`]: an expression without value, or a resolved name that no queue can have.
pub fn write(
    (binding, account): (&str, &Account),
    queue: &Template,
    value: Datum,
    context: &OutputContext<'_>,
) -> Result<Writes, Error> {
    let queue = queue
        .resolve(context.scope)
        .map_err(|source| Error::Expression { binding: binding.to_owned(), source })?
        // As for names that stand in the app: Azure lowers them too.
        .to_lowercase();
    check_name(&queue).map_err(|problem| Error::QueueName { queue: queue.clone(), problem })?;
    if let Some(account) = account.remote() {
        let message = |element| {
            let refused = |problem| Error::Value { binding: binding.to_owned(), problem };
            let text = remote::encode(&element, context.encoding).map_err(refused)?;
            let what = What::Message { queue: queue.clone(), text };
            Ok(ForeignWrite { binding: binding.to_owned(), account: account.clone(), what })
        };
        let messages: Result<Vec<ForeignWrite>, Error> = elements(value).into_iter().map(message).collect();
        return messages.map(Writes::from);
    }
    let message = |element| {
        let body = match element {
            Element::Text(text) => Bytes::from(text),
            Element::Bytes(bytes) => bytes,
        };
        Operation::Enqueue(NewMessage {
            hop_count: context.hop_count + 1,
            trace_parent: context.trace.parent.clone(),
            ..NewMessage::new(&queue, body)
        })
    };
    Ok(elements(value).into_iter().map(message).collect::<Vec<_>>().into())
}

/// What becomes of a leased message after an attempt.
pub fn acknowledge(delivery: &QueueDelivery, outcome: &Outcome) -> Operation {
    let lease = lease(delivery);
    match verdict(delivery, outcome) {
        Verdict::Done => Operation::DeleteMessage(lease),
        Verdict::Again { visible_after, counts } => {
            Operation::ReleaseMessage { lease, visible_after, counts }
        }
        Verdict::Poison { poison_queue, reason } => Operation::PoisonMessage { lease, poison_queue, reason },
    }
}

/// What shall become of a message after an attempt, wherever its queue is.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Done,
    /// It comes again; `counts` says whether this was an attempt.
    Again {
        visible_after: Duration,
        counts: bool,
    },
    Poison {
        poison_queue: String,
        reason: String,
    },
}

pub(crate) fn verdict(delivery: &QueueDelivery, outcome: &Outcome) -> Verdict {
    let Some(failure) = outcome.failure() else { return Verdict::Done };
    // What was not the message's doing does not bring it nearer to the poison queue. The app's own mistakes are,
    // also those that are found before its code runs, or the message would come back for ever.
    let counts = !failure.bystander && (failure.started || failure.blame == Blame::App);
    if !counts {
        return Verdict::Again { visible_after: failure.retry_after.unwrap_or(Duration::ZERO), counts };
    }
    if !failure.is_final && delivery.dequeue_count < delivery.max_dequeue_count {
        return Verdict::Again { visible_after: delivery.retry_delay, counts };
    }
    match delivery.dead_letters.clone().or_else(|| poison_queue(&delivery.queue)) {
        Some(poison_queue) => {
            Verdict::Poison { poison_queue, reason: format!("{}: {}", failure.kind, failure.message) }
        }
        None => Verdict::Again { visible_after: NO_POISON_QUEUE_DELAY, counts },
    }
}

/// For the log line: that a message which its listener holds goes to its poison queue.
pub fn poison_effect(delivery: &QueueDelivery, outcome: &Outcome) -> Option<String> {
    match verdict(delivery, outcome) {
        Verdict::Poison { poison_queue, .. } => Some(format!("poison {poison_queue}")),
        Verdict::Done | Verdict::Again { .. } => None,
    }
}

/// For the log line: to which poison queues messages go, `poison orders-poison ×2`.
pub fn poison_effects(operations: &[Operation]) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for operation in operations {
        if let Operation::PoisonMessage { poison_queue, .. } = operation {
            *counts.entry(poison_queue.as_str()).or_insert(0_u32) += 1;
        }
    }
    let text = |(queue, count)| match count {
        1 => format!("poison {queue}"),
        _ => format!("poison {queue} ×{count}"),
    };
    counts.into_iter().map(text).collect()
}

pub(crate) fn lease(delivery: &QueueDelivery) -> MessageLease {
    MessageLease {
        queue: delivery.queue.clone(),
        message_id: delivery.message_id.clone(),
        pop_receipt: delivery.pop_receipt.clone(),
    }
}

/// Where the failed messages of a queue go: notifications of blobs to one place, as in Azure; a poison queue itself has none, nor has one whose name would be too long.
pub fn poison_queue(queue: &str) -> Option<String> {
    if blob::is_internal(queue) {
        return Some(blob::POISON_QUEUE.to_owned());
    }
    if later::is_internal(queue) {
        return Some(later::POISON_QUEUE.to_owned());
    }
    if queue.ends_with(POISON_SUFFIX) || queue.len() + POISON_SUFFIX.len() > NAME_LENGTH_MAX {
        return None;
    }
    Some(format!("{queue}{POISON_SUFFIX}"))
}

/// Azure's rule for names of queues.
///
/// # Errors
/// The rule that is broken.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if !(3..=NAME_LENGTH_MAX).contains(&name.len()) {
        return Err("it must have 3 to 63 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err("only lower-case letters, digits and dashes are allowed");
    }
    if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        return Err("a dash stands between two letters or digits");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_types::event::Trace;
    use ingle_types::expression::BindingData;
    use ingle_types::outcome::{Failure, Outputs};
    use ingle_types::spec::MessageEncoding;
    use std::time::UNIX_EPOCH;

    fn delivery(queue: &str, dequeue_count: u32) -> QueueDelivery {
        QueueDelivery {
            queue: queue.to_owned(),
            message_id: "m".to_owned(),
            pop_receipt: "r".to_owned(),
            dequeue_count,
            max_dequeue_count: 5,
            retry_delay: Duration::from_secs(3),
            dead_letters: None,
            group: None,
        }
    }

    fn failed() -> Failure {
        Failure::new(Blame::App, "E0301", "ValueError", "kaput")
    }

    /// T-061: the life of a message that fails.
    #[test]
    fn a_message_is_deleted_released_or_given_up() {
        let check = |queue: &str, count, outcome: Outcome| acknowledge(&delivery(queue, count), &outcome);
        let lease = lease(&delivery("orders", 1));
        assert_eq!(
            check("orders", 1, Outcome::Success(Outputs::default())),
            Operation::DeleteMessage(lease.clone())
        );
        assert_eq!(
            check("orders", 4, Outcome::Failed(failed())),
            Operation::ReleaseMessage {
                lease: lease.clone(),
                visible_after: Duration::from_secs(3),
                counts: true
            }
        );
        assert_eq!(
            check("orders", 5, Outcome::TimedOut(failed())),
            Operation::PoisonMessage {
                lease,
                poison_queue: "orders-poison".to_owned(),
                reason: "ValueError: kaput".to_owned()
            }
        );
        let kept = check("orders-poison", 5, Outcome::Failed(failed()));
        assert!(
            matches!(kept, Operation::ReleaseMessage { visible_after: NO_POISON_QUEUE_DELAY, .. }),
            "{kept:?}"
        );
    }

    #[test]
    fn what_was_not_the_messages_doing_does_not_count() {
        let check = |failure: Failure| acknowledge(&delivery("orders", 5), &Outcome::Failed(failure));
        let busy = Failure::new(Blame::Platform, "E0308", "NoRoom", "busy").not_started();
        for failure in [busy, Failure { bystander: true, ..failed() }] {
            assert!(matches!(check(failure), Operation::ReleaseMessage { counts: false, .. }));
        }
    }

    /// T-061: an input that can't be bound fails before the function runs, each time.
    #[test]
    fn the_apps_own_mistake_counts_also_before_its_code_runs() {
        let operation = acknowledge(&delivery("orders", 5), &Outcome::Failed(failed().not_started()));
        assert!(matches!(operation, Operation::PoisonMessage { .. }), "{operation:?}");
    }

    #[test]
    fn a_list_becomes_messages_that_carry_trace_and_hops() {
        let scope = BindingData::new("f", &[], &Datum::Nothing, UNIX_EPOCH);
        let trace = Trace { parent: "00-a-b-01".to_owned(), state: String::new() };
        let context =
            OutputContext { scope: &scope, trace: &trace, hop_count: 3, encoding: MessageEncoding::Base64 };
        let list = Datum::Json("[\"a\",\"b\"]".to_owned());
        let writes = write(("out", &Account::Embedded), &Template::literal("orders"), list, &context);
        let messages: Vec<NewMessage> = writes
            .unwrap()
            .operations
            .into_iter()
            .map(|operation| match operation {
                Operation::Enqueue(message) => message,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(messages.iter().map(|message| &message.body[..]).collect::<Vec<_>>(), [b"a", b"b"]);
        assert!(messages.iter().all(|message| message.hop_count == 4 && message.trace_parent == "00-a-b-01"));
        let error = write(
            ("out", &Account::Embedded),
            &Template::literal("or ders"),
            Datum::Text("x".to_owned()),
            &context,
        )
        .unwrap_err();
        assert_eq!(error.code(), "E0228");
    }

    /// T-081: what has gone round in a loop is not tried again.
    #[test]
    fn what_is_final_goes_to_the_poison_queue_at_the_first_attempt() {
        let failure = Failure { is_final: true, ..failed().not_started() };
        let operation = acknowledge(&delivery("orders", 1), &Outcome::Failed(failure));
        assert!(matches!(operation, Operation::PoisonMessage { .. }), "{operation:?}");
    }

    #[test]
    fn names_follow_azures_rule() {
        for (name, good) in
            [("abc", true), ("a-b-9", true), ("ab", false), ("a--b", false), ("-abc", false), ("aBc", false)]
        {
            assert_eq!(check_name(name).is_ok(), good, "{name}");
        }
        assert_eq!(poison_queue(&"a".repeat(60)), None);
    }
}
