//! What the gaps are good for: cold starts and worker-seconds over made-up traces, beside a fixed time.
//!
//! `cargo nextest run -p ingle-worker simulation --no-capture` prints the table of docs/scaling.md.

use super::*;

const FIXED: Duration = Duration::from_secs(300);
const HOUR: f64 = 3600.0;
const DAY: f64 = 24.0 * HOUR;
/// Of each trace.
const DAYS: f64 = 14.0;

/// A generator with a fixed seed (the step of Knuth's MMIX), so that the figures stay what they are.
struct Dice(u64);

impl Dice {
    /// From 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The time until the next of independent events, which are so far apart on average.
    fn gap(&mut self, average: f64) -> f64 {
        -average * (1.0 - self.roll()).ln()
    }
}

/// Times of events in seconds, of which `next` tells the one that follows.
fn trace(next: impl FnMut(f64, &mut Dice) -> f64) -> Vec<f64> {
    trace_with(&mut Dice(7), next)
}

fn trace_with(dice: &mut Dice, mut next: impl FnMut(f64, &mut Dice) -> f64) -> Vec<f64> {
    let (mut times, mut now) = (Vec::new(), 0.0);
    while now < DAYS * DAY {
        times.push(now);
        now = next(now, dice);
    }
    times
}

/// A hundred apps, called as often as those of a large cloud: 45 of 100 at most once an hour, 81 at most once a minute; 29
/// have a timer (Shahrad and others, sections 3.2 and 3.3). Of the rest every other one has its calls in bursts.
fn cloud() -> Vec<Vec<f64>> {
    let mut dice = Dice(11);
    let mut app = |number: u32| {
        let (shortest, longest) = match number {
            0..45 => (HOUR, DAY),
            45..81 => (60.0, HOUR),
            _ => (10.0, 60.0),
        };
        let average = shortest * f64::powf(longest / shortest, dice.roll());
        match number % 7 {
            0 | 3 => trace_with(&mut dice, |now, _| now + average),
            1 | 4 | 6 => trace_with(&mut dice, |now, dice| now + dice.gap(average)),
            _ => trace_with(&mut dice, |now, dice| {
                now + if dice.roll() < 0.9 { 0.1 * average } else { dice.gap(9.1 * average) }
            }),
        }
    };
    (0..100).map(&mut app).collect()
}

/// During work from 9 to 17 events come one after the other, then none until the next day.
fn working_hours(now: f64, dice: &mut Dice, average: f64) -> f64 {
    let next = now + dice.gap(average);
    let hour = next % DAY / HOUR;
    if (9.0..17.0).contains(&hour) {
        return next;
    }
    let today = (next / DAY).floor() * DAY;
    if hour < 9.0 { today + 9.0 * HOUR } else { today + DAY + 9.0 * HOUR }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    cold_starts: u32,
    worker_seconds: f64,
}

/// Of all apps together.
fn simulate(traces: &[Vec<f64>], adapts: bool) -> Cost {
    let mut sum = Cost { cold_starts: 0, worker_seconds: 0.0 };
    for times in traces {
        let cost = simulate_app(times, adapts);
        sum.cold_starts += cost.cold_starts;
        sum.worker_seconds += cost.worker_seconds;
    }
    sum
}

fn simulate_app(times: &[f64], adapts: bool) -> Cost {
    let (mut gaps, mut cost) = (Gaps::default(), Cost { cold_starts: 1, worker_seconds: 0.0 });
    for pair in times.windows(2) {
        let gap = Duration::from_secs_f64(pair[1] - pair[0]);
        let kept = if adapts { gaps.idle_timeout(FIXED) } else { FIXED };
        cost.cold_starts += u32::from(gap > kept);
        cost.worker_seconds += gap.min(kept).as_secs_f64();
        gaps.observe(gap);
    }
    cost
}

#[test]
#[expect(clippy::print_stdout, reason = "it makes the table of the documentation")]
fn the_gaps_buy_fewer_cold_starts_or_fewer_worker_seconds() {
    let bursts = trace(|now, dice| {
        // Twenty calls, then a pause of eight minutes or so.
        now + if dice.roll() < 0.95 { 0.5 } else { 240.0 + dice.gap(240.0) }
    });
    let traces = [
        ("steady, each 5 s", vec![trace(|now, dice| now + dice.gap(5.0))]),
        ("bursts, 4 minutes and more apart", vec![bursts]),
        ("9 to 17 o'clock, each 40 s", vec![trace(|now, dice| working_hours(now, dice, 40.0))]),
        ("9 to 17 o'clock, each 4 minutes", vec![trace(|now, dice| working_hours(now, dice, 240.0))]),
        ("each 15 minutes", vec![trace(|now, _| now + 900.0)]),
        ("each 4 hours", vec![trace(|now, dice| now + dice.gap(4.0 * HOUR))]),
        ("100 apps of a large cloud", cloud()),
    ];
    println!(
        "| trace, 14 days | events | cold starts, fixed | from gaps | worker-seconds, fixed | from gaps |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, apps) in &traces {
        let (fixed, chosen) = (simulate(apps, false), simulate(apps, true));
        println!(
            "| {name} | {} | {} | {} | {:.0} | {:.0} |",
            apps.iter().map(Vec::len).sum::<usize>(),
            fixed.cold_starts,
            chosen.cold_starts,
            fixed.worker_seconds,
            chosen.worker_seconds
        );
        let is_no_worse =
            chosen.cold_starts <= fixed.cold_starts || chosen.worker_seconds <= fixed.worker_seconds;
        assert!(is_no_worse, "{name}: {chosen:?} instead of {fixed:?}");
    }
    let [_, bursts, dense, sparse, _, rare, cloud] = &traces;
    let (fixed, chosen) = (simulate(&bursts.1, false), simulate(&bursts.1, true));
    assert!(chosen.cold_starts * 5 < fixed.cold_starts, "most bursts find a worker: {chosen:?} {fixed:?}");
    let (fixed, chosen) = (simulate(&sparse.1, false), simulate(&sparse.1, true));
    assert!(chosen.cold_starts * 2 < fixed.cold_starts, "{chosen:?} {fixed:?}");
    let (fixed, chosen) = (simulate(&dense.1, false), simulate(&dense.1, true));
    assert!(chosen.worker_seconds < fixed.worker_seconds * 1.1, "{chosen:?} {fixed:?}");
    assert!(chosen.cold_starts < 5 * fixed.cold_starts, "{chosen:?} {fixed:?}");
    let (fixed, chosen) = (simulate(&rare.1, false), simulate(&rare.1, true));
    assert!(chosen.worker_seconds * 5.0 < fixed.worker_seconds, "{chosen:?} {fixed:?}");
    let (fixed, chosen) = (simulate(&cloud.1, false), simulate(&cloud.1, true));
    assert!(chosen.cold_starts < fixed.cold_starts, "{chosen:?} {fixed:?}");
}
