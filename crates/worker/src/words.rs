//! How fast the words of an app are taken.
//!
//! Reading, parsing and showing a line takes the server some microseconds, so an app that speaks without end would have
//! the server to itself. What is too much in a moment stays where it is, in a pipe or a socket, until its time comes: then the
//! app waits (T-018), and its neighbours do not (T-021).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ingle_types::log::{LogLine, LogSinkHandle};
use ingle_types::mask::Secrets;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bounds::Unclaimed;

/// The price of a line: 10,000 a second may be said for long.
const LINE: Duration = Duration::from_micros(100);
/// The price of 1024 bytes: 10 MB a second.
const KILOBYTE: Duration = Duration::from_micros(100);
/// What may be said at once after silence: 2,000 lines, or 2 MB.
const CREDIT: Duration = Duration::from_millis(200);
/// What is said for less than that takes no turn of its own.
const TURN: Duration = Duration::from_micros(1000);

/// Where the words of one app go, those of all of its workers.
pub(crate) struct Words {
    /// Gets lines without secrets.
    sink: LogSinkHandle,
    secrets: Secrets,
    account: Mutex<Account>,
}

/// A process that says something.
#[derive(Default)]
pub(crate) struct Speaker {
    has_ended: AtomicBool,
    end: Notify,
    unclaimed: Mutex<Unclaimed>,
}

impl Speaker {
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    /// What it says past the log of any invocation.
    pub(crate) fn unclaimed(&self) -> MutexGuard<'_, Unclaimed> {
        self.unclaimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    async fn ended(&self) {
        let mut end = pin!(self.end.notified());
        // Before the look: who ends between the two is heard.
        end.as_mut().enable();
        if !self.has_ended() {
            end.await;
        }
    }
}

struct Account {
    /// When all that was said will be paid for: the past if there is credit.
    paid_at: Instant,
    /// Said since others had their turn.
    in_turn: Duration,
}

/// What whoever reads has to do before it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    GoOn,
    /// Other tasks come first.
    Yield,
    Wait(Duration),
}

impl Words {
    /// `secrets`: of the app. No line has them, nor what is told otherwise of what its processes say.
    pub(crate) fn new(sink: &LogSinkHandle, secrets: Secrets) -> Self {
        let sink = secrets.lines(sink.clone());
        Self { sink, secrets, account: Mutex::new(Account::new(Instant::now())) }
    }

    pub(crate) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// For what the server says about the app.
    pub(crate) fn sink(&self) -> &LogSinkHandle {
        &self.sink
    }

    /// Hands a line on, and comes back when the next one of this process may be taken.
    pub(crate) async fn say(&self, line: LogLine, speaker: &Speaker) {
        let bytes = line.message.len();
        self.sink.line(line);
        self.took(bytes, speaker).await;
    }

    /// Counts a line, also one that nobody is to see, and comes back when the next one may be taken.
    pub(crate) async fn took(&self, bytes: usize, speaker: &Speaker) {
        let then = {
            let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
            account.take(bytes, Instant::now())
        };
        match then {
            Then::GoOn => {}
            Then::Yield => tokio::task::yield_now().await,
            // Last words are no more than what is in its pipes and sockets, and somebody waits for them.
            Then::Wait(wait) => drop(tokio::time::timeout(wait, speaker.ended()).await),
        }
    }
}

impl Account {
    /// Without any debt.
    fn new(now: Instant) -> Self {
        Self { paid_at: now.checked_sub(CREDIT).unwrap_or(now), in_turn: Duration::ZERO }
    }

    fn take(&mut self, bytes: usize, now: Instant) -> Then {
        let kilobytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        let price = LINE + KILOBYTE.saturating_mul(kilobytes);
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        self.paid_at = self.paid_at.max(earliest) + price;
        self.in_turn += price;
        if self.in_turn < TURN {
            return Then::GoOn;
        }
        self.in_turn = Duration::ZERO;
        match self.paid_at.saturating_duration_since(now) {
            Duration::ZERO => Then::Yield,
            debt => Then::Wait(debt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it takes to say so many lines of so many bytes, if whoever reads does nothing else.
    fn lasts(lines: u32, bytes: usize) -> Duration {
        let begin = Instant::now() + Duration::from_secs(1);
        let (mut account, mut now) = (Account::new(begin), begin);
        for _ in 0..lines {
            if let Then::Wait(wait) = account.take(bytes, now) {
                now += wait;
            }
        }
        now - begin
    }

    #[test]
    fn t_018_little_is_taken_at_once_and_much_in_its_time() {
        for (lines, bytes, expected_ms) in [
            (1, 100, 0),
            (1_900, 100, 0),
            (20_000, 100, 1_800),
            (160, 64 * 1024, 840),
            (1, 100 << 20, 10_040),
        ] {
            let lasts = lasts(lines, bytes);
            let expected = Duration::from_millis(expected_ms);
            assert!(
                lasts.abs_diff(expected) < Duration::from_millis(15),
                "{lines} lines of {bytes} bytes: {lasts:?}"
            );
        }
    }

    #[test]
    fn t_021_others_have_their_turn_also_while_there_is_credit() {
        let now = Instant::now();
        let mut account = Account::new(now);
        let turns = (0..100).filter(|_| account.take(0, now) == Then::Yield).count();
        assert_eq!(turns, 10);
    }

    /// T-018: what explains a crash is not waited for behind a flood.
    #[tokio::test]
    async fn who_has_ended_is_heard_to_the_end_at_once() {
        struct Nobody;
        impl ingle_types::log::LogSink for Nobody {
            fn line(&self, _: LogLine) {}
        }
        let nobody: LogSinkHandle = std::sync::Arc::new(Nobody);
        let (words, speaker) = (Words::new(&nobody, Secrets::default()), Speaker::default());
        let heard = async {
            // Some minutes' worth.
            for _ in 0..20 {
                words.took(100 << 20, &speaker).await;
            }
        };
        let ending = async { speaker.end() };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(heard, ending) }).await.unwrap();
    }

    #[test]
    fn silence_gives_credit_back_but_no_more_than_there_was() {
        let mut now = Instant::now();
        let mut account = Account::new(now);
        while !matches!(account.take(4096, now), Then::Wait(_)) {}
        now += Duration::from_secs(3600);
        let mut taken = 0;
        while !matches!(account.take(0, now), Then::Wait(_)) {
            taken += 1;
        }
        assert!((1_900..=2_100).contains(&taken), "{taken}");
    }
}
