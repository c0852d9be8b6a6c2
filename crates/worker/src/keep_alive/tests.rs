//! What is chosen from which gaps.

use proptest::prelude::*;

use super::*;

const FALLBACK: Duration = Duration::from_secs(300);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The gaps as `(count, seconds)`; the time chosen lies within these bounds.
#[track_caller]
fn check(gaps: &[(u32, u64)], at_least: u64, at_most: u64) {
    let mut seen = Gaps::default();
    for (count, gap) in gaps {
        (0..*count).for_each(|_| seen.observe(seconds(*gap)));
    }
    let chosen = seen.idle_timeout(FALLBACK);
    assert!((seconds(at_least)..=seconds(at_most)).contains(&chosen), "{chosen:?} for {gaps:?}");
}

#[test]
fn too_few_gaps_leave_the_fixed_time() {
    check(&[], 300, 300);
    check(&[(7, 20)], 300, 300);
    // However many calls come one after the other, they have no gaps.
    check(&[(100_000, 1)], 300, 300);
    check(&[(100_000, 9), (7, 20)], 300, 300);
}

#[test]
fn ninety_five_of_a_hundred_gaps_are_covered() {
    check(&[(8, 20)], 20, 24);
    check(&[(96, 30), (4, 2000)], 30, 36);
    // The rest costs little.
    check(&[(96, 30), (4, 60)], 60, 72);
    check(&[(90, 30), (10, 2000)], 2000, 2400);
    check(&[(10, 10)], 10, 12);
    check(&[(10, 3600)], 3600, 3600);
}

#[test]
fn gaps_that_no_time_covers_are_left_out() {
    check(&[(20, 60), (10, 50_000)], 60, 72);
    // Most are: the worker goes at once.
    check(&[(10, 60), (20, 50_000)], 10, 10);
}

#[test]
fn old_habits_fade() {
    check(&[(1000, 3000), (1500, 20)], 20, 24);
}

#[test]
fn the_buckets_reach_from_the_shortest_time_to_the_longest() {
    assert!(bound(0) > IDLE_MIN && bound(0) < IDLE_MIN.mul_f64(1.2));
    assert!(bound(BUCKETS - 2) < IDLE_MAX);
    assert_eq!(bound(BUCKETS - 1), IDLE_MAX);
}

proptest! {
    #[test]
    fn the_time_stays_within_its_bounds(gaps in proptest::collection::vec(0..100_000_u64, 8..400)) {
        let mut seen = Gaps::default();
        gaps.iter().for_each(|gap| seen.observe(seconds(*gap)));
        let chosen = seen.idle_timeout(FALLBACK);
        prop_assert!((IDLE_MIN..=IDLE_MAX).contains(&chosen));
    }
}
