//! Acknowledging events that are places in a schedule or a stream.

use ingle_store::Operation;
use ingle_types::event::CheckpointDelivery;
use ingle_types::outcome::Outcome;

/// Whether the place has been passed. A failure passes it too: neither timers nor change feeds deliver again (facts
/// 7.3, 7.4), retries are the business of a policy. What never reached the function, because there was no room or the
/// server stops, has not passed it, unless it never will (T-081); nor has what another invocation took down with it (T-064).
pub fn is_passed(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Success(_) => true,
        Outcome::Failed(failure) | Outcome::TimedOut(failure) => {
            failure.is_final || (failure.started && !failure.bystander)
        }
        Outcome::Cancelled(_) | Outcome::Rejected(_) => false,
    }
}

/// What remembers the place; `None` if the event is to be delivered again.
pub fn acknowledge(delivery: &CheckpointDelivery, outcome: &Outcome) -> Option<Operation> {
    is_passed(outcome).then(|| Operation::SaveCheckpoint {
        consumer: delivery.consumer.clone(),
        follows: delivery.follows,
        value: delivery.value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use ingle_types::outcome::{Blame, Failure, Outputs};

    use super::*;

    #[test]
    fn what_did_not_reach_the_function_is_delivered_again() {
        let failure = |blame| Failure::new(blame, "E0301", "ValueError", "kaput");
        let check = |outcome: Outcome, expected| {
            let delivery =
                CheckpointDelivery { consumer: "timer/a".to_owned(), follows: 3, value: "{}".to_owned() };
            assert_eq!(acknowledge(&delivery, &outcome).is_some(), expected, "{outcome:?}");
        };
        check(Outcome::Success(Outputs::default()), true);
        check(Outcome::Failed(failure(Blame::App)), true);
        check(Outcome::Failed(failure(Blame::Platform)), true);
        check(Outcome::TimedOut(failure(Blame::App)), true);
        check(Outcome::Failed(Failure { is_final: true, ..failure(Blame::App).not_started() }), true);
        check(Outcome::Failed(Failure { bystander: true, ..failure(Blame::App) }), false);
        check(Outcome::Failed(failure(Blame::App).not_started()), false);
        check(Outcome::Failed(failure(Blame::Platform).not_started()), false);
        check(Outcome::Rejected(failure(Blame::Platform).not_started()), false);
        check(Outcome::Cancelled(failure(Blame::Platform).not_started()), false);
    }
}
