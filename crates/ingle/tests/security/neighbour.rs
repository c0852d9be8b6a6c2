//! The app beside the one that attacks: called all the time, it must answer each call, whatever goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use ingle_testkit::{Client, Request};

/// Behind each answer, so that the calls are no load by themselves.
const PAUSE: Duration = Duration::from_millis(2);
const CALLS_AT_REST: usize = 500;

/// How long a call took, in each part of the story.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// The time within which this share of the calls was answered.
    fn within(&mut self, share: f64) -> Duration {
        self.0.sort_unstable();
        let index = (self.0.len() as f64 * share) as usize;
        self.0.get(index.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Calls the neighbour until `work` is done, and again after each answer. Each answer has to be right.
pub(crate) fn called_during<T>(address: &str, host: &str, work: impl FnOnce() -> T) -> (T, Times) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            let mut times = Times::default();
            let mut client = Client::connect(address).unwrap();
            while !over.load(Ordering::Relaxed) {
                times.0.push(call(&mut client, host));
                thread::park_timeout(PAUSE);
            }
            times
        });
        let end = AtTheEnd(&over);
        let done = work();
        drop(end);
        (done, calls.join().unwrap())
    })
}

/// Also when the test fails meanwhile, which else would wait for ever.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn call(client: &mut Client, host: &str) -> Duration {
    let begun = Instant::now();
    let answer = client.send(Request::get("/api/ping").header("host", host)).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "pong"), "the neighbour has noticed");
    begun.elapsed()
}

/// How the neighbour fares when nobody attacks.
pub(crate) fn at_rest(address: &str, host: &str) -> Times {
    let mut client = Client::connect(address).unwrap();
    let paced = |_| {
        thread::park_timeout(PAUSE);
        call(&mut client, host)
    };
    Times((0..CALLS_AT_REST).map(paced).collect())
}

/// For whoever reads the test's output: a machine that is busy with other things makes no failed test.
#[expect(clippy::print_stdout, reason = "times are told and not judged")]
pub(crate) fn tell(what: &str, rest: &mut Times, during: &mut Times) {
    let (before, after) = (rest.within(0.99), during.within(0.99));
    let ratio = after.as_secs_f64() / before.as_secs_f64().max(1e-6);
    let verdict = if ratio <= 1.25 { "within 25 %" } else { "more than 25 %" };
    println!(
        "neighbour | {what:<34} | {:>5} calls | p50 {:>8.2?} | p99 {:>8.2?} | at rest {:>8.2?} | × {ratio:>6.2} {verdict}",
        during.0.len(),
        during.within(0.5),
        after,
        before,
    );
}
