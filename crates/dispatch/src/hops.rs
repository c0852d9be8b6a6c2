//! The loop breaker: an event that has passed through too many functions is put aside instead of run (T-081).
//!
//! Each output carries one hop more than the event that it was made of. A loop of functions that feed each other would
//! go on for ever and fill the disk, and nobody else would notice.

use ingle_connectors::queue::poison_queue;
use ingle_types::event::{Delivery, Event};
use ingle_types::outcome::{Blame, Failure};
use ingle_types::spec::FunctionSpec;

/// Whether the event may be run.
///
/// # Errors
/// A final [`Failure`]: it has passed through too many functions.
pub(crate) fn check(hops_max: Option<u32>, function: &FunctionSpec, event: &Event) -> Result<(), Failure> {
    let Some(most) = hops_max else { return Ok(()) };
    if event.hop_count < most + extra(event) {
        return Ok(());
    }
    let message = format!(
        "{} has passed through {} functions, each started by the output of the one before; {} was not run",
        event.summary, event.hop_count, function.name
    );
    let hint =
        "break the circle of outputs and triggers, or raise max_hops in [loops] of ingle.toml (0: no limit)";
    let failure = Failure::new(Blame::App, "E0310", "EventLoop", message).not_started().hint(hint);
    Err(Failure { is_final: true, ..failure })
}

/// Whoever listens to a poison queue may see what was put aside there, one time.
fn extra(event: &Event) -> u32 {
    match &event.delivery {
        Delivery::Queue(delivery) | Delivery::Remote(delivery) => {
            u32::from(poison_queue(&delivery.queue).is_none())
        }
        Delivery::Batch(batch) => u32::from(poison_queue(batch.queue()).is_none()),
        Delivery::Direct | Delivery::Checkpoint(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use ingle_types::account::Account;
    use ingle_types::datum::Datum;
    use ingle_types::event::{QueueDelivery, Trace};
    use ingle_types::ids::FunctionName;
    use ingle_types::spec::{DataType, QueueTrigger, TriggerSpec};

    use super::*;

    fn function() -> FunctionSpec {
        let trigger = QueueTrigger {
            queue: "orders".to_owned(),
            data_type: DataType::String,
            account: Account::Embedded,
        };
        FunctionSpec {
            name: FunctionName::new("Ship"),
            trigger: TriggerSpec::Queue(trigger),
            trigger_parameter: "message".to_owned(),
            bindings: Vec::new(),
            disabled: false,
            retry: None,
            is_async: false,
            streams: false,
            location: None,
        }
    }

    fn message(queue: &str) -> Delivery {
        Delivery::Queue(QueueDelivery {
            queue: queue.to_owned(),
            message_id: "m".to_owned(),
            pop_receipt: "r".to_owned(),
            dequeue_count: 1,
            max_dequeue_count: 5,
            retry_delay: Duration::ZERO,
            dead_letters: None,
            group: None,
        })
    }

    #[track_caller]
    fn check_runs(delivery: Delivery, hop_count: u32, hops_max: Option<u32>, expected: bool) {
        let event = Event {
            payload: Datum::Nothing,
            metadata: Vec::new(),
            delivery,
            received_at: UNIX_EPOCH,
            trace: Trace::default(),
            hop_count,
            summary: "queue orders".to_owned(),
        };
        let checked = check(hops_max, &function(), &event);
        assert_eq!(checked.is_ok(), expected, "{checked:?}");
        if let Err(failure) = checked {
            assert_eq!((failure.code, failure.is_final, failure.started), ("E0310", true, false));
            assert!(
                failure.message.contains("Ship") && failure.message.contains("queue orders"),
                "{failure:?}"
            );
        }
    }

    /// T-081: an event goes so far and no further, and what was put aside is seen one time.
    #[test]
    fn t_081_an_event_goes_so_far_and_no_further() {
        check_runs(message("orders"), 15, Some(16), true);
        check_runs(message("orders"), 16, Some(16), false);
        check_runs(Delivery::Direct, 16, Some(16), false);
        check_runs(message("orders"), u32::MAX, None, true);
        check_runs(message("orders-poison"), 16, Some(16), true);
        check_runs(message("orders-poison"), 17, Some(16), false);
    }
}
