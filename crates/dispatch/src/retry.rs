//! Retry policies: more attempts of one invocation (facts 7.4).
//!
//! Between attempts nothing is held but the event: no worker, no place among those who wait. Neither a stop of the
//! server nor a new version of the app waits for the next attempt: the event goes back to where it came from.

use std::time::Duration;

use ingle_connectors::due;
use ingle_types::clock::ClockHandle;
use ingle_types::event::{Delivery, Event};
use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Blame, Failure, Outcome};
use ingle_types::spec::{RetryPolicy, RetryStrategy};
use ingle_worker::Retry;

/// How far a delay is spread: 20 % in both directions.
const SPREAD: f64 = 0.2;
/// Failures that say that the event is no longer ours: another attempt could not commit either.
const LOST: [&str; 2] = ["E0402", "E0416"];

/// The attempts of one invocation.
pub(crate) struct Attempts<'a> {
    policy: Option<&'a RetryPolicy>,
    id: InvocationId,
    /// Retries before the current attempt.
    count: u32,
    previous: Option<Failure>,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(policy: Option<&'a RetryPolicy>, id: InvocationId) -> Self {
        Self { policy, id, count: 0, previous: None }
    }

    /// What the current attempt is told; `None` without a policy.
    pub(crate) fn retry(&self) -> Option<Retry> {
        let max = self.policy?.retries_max.map_or(-1, |max| i32::try_from(max).unwrap_or(i32::MAX));
        Some(Retry { count: self.count, max, previous: self.previous.clone() })
    }

    /// `attempt 2 of 4`; `None` if the first one was enough.
    pub(crate) fn effect(&self) -> Option<String> {
        (self.count > 0).then(|| self.label())
    }

    /// `attempt 1 of 4`.
    pub(crate) fn label(&self) -> String {
        let most = self.policy.map(|policy| policy.retries_max.map_or(-1, |max| i64::from(max) + 1));
        match most {
            Some(-1) | None => format!("attempt {}", self.count + 1),
            Some(most) => format!("attempt {} of {most}", self.count + 1),
        }
    }

    /// How long to wait for another attempt after this outcome; `None` if it is final.
    pub(crate) fn delay_after(&self, outcome: &Outcome) -> Option<Duration> {
        let policy = self.policy.filter(|policy| policy.retries_max.is_none_or(|max| self.count < max))?;
        is_worth_another(outcome).then(|| delay(&policy.strategy, self.count, self.id))
    }

    /// Waits for the next attempt, or, if there is a stop before it, gives the event back. On a moved clock its time has to
    /// be reached.
    pub(crate) async fn wait(
        &mut self,
        delay: Duration,
        event: &Event,
        outcome: Outcome,
        stop: impl Future<Output = ()>,
        clock: &ClockHandle,
    ) -> Result<(), Outcome> {
        let pause = async {
            match clock.moved() {
                Some(moved) => moved.rest_until(clock.now() + delay, &source(event)).await,
                None => tokio::time::sleep(delay).await,
            }
        };
        tokio::select! {
            biased;
            () = stop => Err(given_back(event, outcome, self.count + 1)),
            () = pause => {
                self.previous = outcome.failure().cloned();
                self.count = self.count.saturating_add(1);
                Ok(())
            }
        }
    }
}

/// Where an event that rests came from, as [`due`] knows it.
fn source(event: &Event) -> String {
    match &event.delivery {
        Delivery::Direct => String::new(),
        Delivery::Queue(delivery) | Delivery::Remote(delivery) => due::source(&delivery.queue),
        Delivery::Batch(batch) => due::source(batch.queue()),
        Delivery::Checkpoint(delivery) => delivery.consumer.clone(),
    }
}

fn is_worth_another(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(failure) | Outcome::TimedOut(failure) => {
            failure.blame != Blame::Caller && !LOST.contains(&failure.code)
        }
        Outcome::Success(_) | Outcome::Cancelled(_) | Outcome::Rejected(_) => false,
    }
}

/// Someone who waits for the answer gets the failure; a message or a place in a schedule is left for the next start.
fn given_back(event: &Event, outcome: Outcome, attempts: u32) -> Outcome {
    if event.delivery == Delivery::Direct {
        return outcome;
    }
    let last = outcome
        .failure()
        .map_or_else(String::new, |failure| format!("{}: {}", failure.kind, failure.message));
    let message = format!(
        "the server stops or the app was changed before attempt {}; the last failure was {last}",
        attempts + 1
    );
    let failure = Failure::new(Blame::Platform, "E0312", "StoppedBeforeRetry", message);
    Outcome::Cancelled(failure.not_started())
}

/// How long to wait before retry `count` (0 for the first). Exponential: the minimum, then the minimum plus a share of
/// it that doubles, spread at random, up to the maximum: the algorithm of Azure's `RandomizedExponentialBackoff`.
fn delay(strategy: &RetryStrategy, count: u32, id: InvocationId) -> Duration {
    match strategy {
        RetryStrategy::FixedDelay { delay } => *delay,
        RetryStrategy::ExponentialBackoff { minimum, .. } if count == 0 => *minimum,
        RetryStrategy::ExponentialBackoff { minimum, maximum } => {
            let exponent = i32::try_from(count - 1).unwrap_or(i32::MAX).min(64);
            let spread = 1.0 - SPREAD + 2.0 * SPREAD * fraction(id, count);
            let seconds = minimum.as_secs_f64() * (1.0 + 2.0_f64.powi(exponent) * spread);
            Duration::try_from_secs_f64(seconds).unwrap_or(*maximum).min(*maximum)
        }
    }
}

/// From 0 to 1. The id is random and the delays of its attempts shall differ, so no other chance is needed.
fn fraction(id: InvocationId, count: u32) -> f64 {
    let (high, low) = id.uuid().as_u64_pair();
    let mixed = (high ^ low.rotate_left(count)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let bits = u32::try_from(mixed >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::SystemTime;

    use ingle_tasks::{TaskKind, Tasks};
    use ingle_types::clock::{Clock, MovedClock, SystemClock};
    use ingle_types::datum::Datum;
    use ingle_types::event::{CheckpointDelivery, Trace};
    use ingle_types::outcome::Outputs;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn event(delivery: Delivery) -> Event {
        Event {
            payload: Datum::Nothing,
            metadata: Vec::new(),
            delivery,
            received_at: SystemTime::UNIX_EPOCH,
            trace: Trace::default(),
            hop_count: 0,
            summary: String::new(),
        }
    }

    fn timer() -> Delivery {
        Delivery::Checkpoint(CheckpointDelivery {
            consumer: "timer/a".to_owned(),
            follows: 0,
            value: "{}".to_owned(),
        })
    }

    fn fixed(seconds: u32, retries_max: Option<u32>) -> RetryPolicy {
        RetryPolicy { strategy: RetryStrategy::FixedDelay { delay: SECOND * seconds }, retries_max }
    }

    fn clock() -> ClockHandle {
        Arc::new(SystemClock)
    }

    fn good() -> Outcome {
        Outcome::Success(Outputs::default())
    }

    fn bad(message: &str) -> Outcome {
        Outcome::Failed(Failure::new(Blame::App, "E0301", "ValueError", message))
    }

    /// Makes attempts as an invocation does. Gives what each was told (`seconds: count of max, previous failure`), the
    /// last outcome, and what the log says.
    async fn make(
        policy: Option<&RetryPolicy>,
        outcomes: Vec<Outcome>,
    ) -> (Vec<String>, Outcome, Option<String>) {
        let (began, mut lines) = (Instant::now(), Vec::new());
        let mut outcomes = VecDeque::from(outcomes);
        let tasks = Tasks::new();
        let mut stop = tasks.stop_signal(TaskKind::Listener);
        let mut attempts = Attempts::new(policy, InvocationId::random());
        loop {
            let seconds = began.elapsed().as_secs();
            lines.push(match attempts.retry() {
                None => format!("{seconds}: none"),
                Some(Retry { count, max, previous }) => {
                    let previous =
                        previous.map_or_else(String::new, |failure| format!(", {}", failure.message));
                    format!("{seconds}: {count} of {max}{previous}")
                }
            });
            let outcome = outcomes.pop_front().unwrap();
            let Some(delay) = attempts.delay_after(&outcome) else {
                return (lines, outcome, attempts.effect());
            };
            attempts.wait(delay, &event(timer()), outcome, stop.wait(), &clock()).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_go_on_until_one_is_good_or_the_policy_is_used_up() {
        let (lines, outcome, effect) =
            make(Some(&fixed(10, Some(3))), vec![bad("a"), bad("b"), good()]).await;
        assert_eq!(lines, ["0: 0 of 3", "10: 1 of 3, a", "20: 2 of 3, b"]);
        assert!(outcome.is_success());
        assert_eq!(effect.as_deref(), Some("attempt 3 of 4"));

        let (lines, outcome, _) = make(Some(&fixed(1, Some(1))), vec![bad("a"), bad("b")]).await;
        assert_eq!(lines, ["0: 0 of 1", "1: 1 of 1, a"]);
        assert_eq!(outcome.failure().unwrap().message, "b");

        let many: Vec<Outcome> = (0..50).map(|_| bad("x")).chain([good()]).collect();
        let (lines, _, effect) = make(Some(&fixed(1, None)), many).await;
        assert_eq!((lines.len(), lines[50].as_str()), (51, "50: 50 of -1, x"));
        assert_eq!(effect.as_deref(), Some("attempt 51"));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_policy_there_is_one_attempt() {
        let (lines, _, effect) = make(None, vec![bad("a")]).await;
        assert_eq!((lines, effect), (vec!["0: none".to_owned()], None));
        let (lines, _, effect) = make(Some(&fixed(1, Some(0))), vec![bad("a")]).await;
        assert_eq!((lines, effect), (vec!["0: 0 of 0".to_owned()], None));
    }

    #[test]
    fn only_what_another_attempt_can_mend_is_tried_again() {
        let failure = |blame, code| Failure::new(blame, code, "Kind", "m");
        let check =
            |outcome: Outcome, expected| assert_eq!(is_worth_another(&outcome), expected, "{outcome:?}");
        check(Outcome::TimedOut(failure(Blame::App, "E0302")), true);
        check(Outcome::Failed(failure(Blame::Platform, "E0303")), true);
        check(Outcome::Failed(failure(Blame::Caller, "E0301")), false);
        check(Outcome::Failed(failure(Blame::Platform, "E0402")), false);
        check(Outcome::Failed(failure(Blame::Platform, "E0416")), false);
        check(Outcome::Rejected(failure(Blame::Platform, "E0308")), false);
        check(Outcome::Cancelled(failure(Blame::Platform, "E0309")), false);
        check(good(), false);
    }

    /// A stop does not wait an hour for the next attempt, and the event is not taken for done.
    #[tokio::test(start_paused = true)]
    async fn a_stop_gives_the_event_back() {
        let check = async |delivery: Delivery| {
            let (tasks, began) = (Tasks::new(), Instant::now());
            let policy = fixed(3600, Some(5));
            let mut attempts = Attempts::new(Some(&policy), InvocationId::random());
            let mut stop = tasks.stop_signal(TaskKind::Listener);
            let event = event(delivery);
            let clock = clock();
            let waiting = attempts.wait(3600 * SECOND, &event, bad("kaput"), stop.wait(), &clock);
            let stopping = async {
                tokio::time::sleep(SECOND).await;
                tasks.stop(TaskKind::Listener, SECOND).await;
            };
            let (waited, ()) = tokio::join!(waiting, stopping);
            assert!(began.elapsed() < 2 * SECOND);
            waited.unwrap_err()
        };
        let outcome = check(timer()).await;
        let failure = outcome.failure().unwrap();
        assert_eq!((outcome.label(), failure.code, failure.started), ("cancelled", "E0312", false));
        assert!(
            failure.message.contains("attempt 2") && failure.message.contains("kaput"),
            "{}",
            failure.message
        );
        assert_eq!(check(Delivery::Direct).await.failure().unwrap().message, "kaput");
    }

    /// The pause is one of wall time: on a moved clock it lasts until the clock is there, and it is known who rests.
    #[tokio::test(start_paused = true)]
    async fn a_moved_clock_is_waited_for() {
        let moved = MovedClock::at(SystemTime::UNIX_EPOCH);
        let clock: ClockHandle = Arc::new(moved.clone());
        let tasks = Tasks::new();
        let mut stop = tasks.stop_signal(TaskKind::Listener);
        let policy = fixed(60, Some(1));
        let mut attempts = Attempts::new(Some(&policy), InvocationId::random());
        let event = event(timer());
        let waiting = attempts.wait(60 * SECOND, &event, bad("kaput"), stop.wait(), &clock);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(3600 * SECOND, waiting.as_mut()).await.is_err());
        assert_eq!(moved.resting(), ["timer/a"]);
        assert_eq!(moved.next_awaited(), Some(moved.now() + 60 * SECOND));
        moved.set(moved.now() + 60 * SECOND);
        waiting.await.unwrap();
    }

    #[test]
    fn backoff_starts_at_the_minimum() {
        let strategy = RetryStrategy::ExponentialBackoff { minimum: 4 * SECOND, maximum: 900 * SECOND };
        assert_eq!(delay(&strategy, 0, InvocationId::random()), 4 * SECOND);
    }

    proptest! {
        #[test]
        fn backoff_doubles_within_its_bounds(count in 1_u32..100, minimum_s in 0_u64..100, more_s in 0_u64..10_000) {
            let (minimum, maximum) = (Duration::from_secs(minimum_s), Duration::from_secs(minimum_s + more_s));
            let strategy = RetryStrategy::ExponentialBackoff { minimum, maximum };
            let found = delay(&strategy, count, InvocationId::random()).as_secs_f64();
            let share = minimum.as_secs_f64() * 2.0_f64.powi(i32::try_from(count - 1).unwrap());
            let bounds = |spread: f64| (minimum.as_secs_f64() + share * spread).min(maximum.as_secs_f64());
            prop_assert!(found >= bounds(0.8) - 0.001 && found <= bounds(1.2) + 0.001, "{}", found);
        }

        #[test]
        fn the_spread_reaches_from_end_to_end(ids in proptest::collection::vec(any::<()>(), 200)) {
            let found: Vec<f64> = ids.iter().map(|()| fraction(InvocationId::random(), 1)).collect();
            prop_assert!(found.iter().all(|fraction| (0.0..=1.0).contains(fraction)));
            prop_assert!(found.iter().any(|fraction| *fraction < 0.5) && found.iter().any(|fraction| *fraction > 0.5));
        }
    }
}
