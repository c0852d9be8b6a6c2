//! What a timer does next, whatever the clock does.

use std::time::SystemTime;

use ingle_types::schedule::TimeZone;
use ingle_types::spec::{CatchUp, TimerTrigger};
use proptest::prelude::*;

use super::super::plan::{Kind, ON_TIME, Occurrence, Plan, State, Step};
use super::super::stored::{self, Stored};
use super::{HOUR, MINUTE, SECOND, start, trigger};

/// `08:05:00`, or `startup`, each with `late` where it is.
fn show(time: SystemTime, kind: Kind) -> String {
    let clock = TimeZone::UTC.iso_text(time)[11..19].to_owned();
    match kind {
        Kind::OnTime => clock,
        Kind::Late => format!("{clock} late"),
        Kind::Startup => "startup".to_owned(),
    }
}

/// Works off what is due; the function takes no time.
fn drain(plan: &mut Plan, now: SystemTime) -> Vec<String> {
    let mut ran = Vec::new();
    while let Step::Run(occurrence) = plan.step(now) {
        ran.push(show(occurrence.time, occurrence.kind));
        plan.done(occurrence, now);
    }
    ran
}

fn restart(plan: &Plan, trigger: TimerTrigger, now: SystemTime, catch_up: CatchUp) -> Plan {
    let stored = Stored::read(&stored::text(&plan.trigger, plan.state, now)).unwrap();
    Plan::open(trigger, Some(&stored), now, catch_up)
}

/// T-069: what passed while nothing ran, by policy.
#[test]
fn t_069_late_occurrences_follow_the_policy() {
    let check = |catch_up, expected: &[&str]| {
        for is_restarted in [false, true] {
            let mut plan = Plan::open(trigger("0 */5 * * * *"), None, start(), catch_up);
            let mut now = start() + 17 * MINUTE;
            if is_restarted {
                plan = restart(&plan, trigger("0 */5 * * * *"), now, catch_up);
            }
            let mut ran = drain(&mut plan, now);
            now += 3 * MINUTE;
            ran.extend(drain(&mut plan, now));
            assert_eq!(ran, expected, "{catch_up:?}, restarted: {is_restarted}");
        }
    };
    check(CatchUp::None, &["08:20:00"]);
    check(CatchUp::One, &["08:15:00 late", "08:20:00"]);
    check(CatchUp::All, &["08:05:00 late", "08:10:00 late", "08:15:00 late", "08:20:00"]);
}

/// A start that is a little late is still that of its second, whatever the policy.
#[test]
fn a_short_delay_is_not_late() {
    for catch_up in [CatchUp::None, CatchUp::One, CatchUp::All] {
        let mut plan = Plan::open(trigger("* * * * * *"), None, start(), catch_up);
        assert_eq!(drain(&mut plan, start() + 3 * SECOND + SECOND / 2), ["08:00:01", "08:00:02", "08:00:03"]);
        assert_eq!(drain(&mut plan, start() + 4 * SECOND), ["08:00:04"]);
    }
}

/// T-069: an occurrence that is done does not come back with the hands of the clock.
#[test]
fn t_069_a_clock_that_is_set_back_repeats_nothing() {
    let mut plan = Plan::open(trigger("0 */5 * * * *"), None, start(), CatchUp::One);
    assert_eq!(drain(&mut plan, start() + 5 * MINUTE), ["08:05:00"]);
    let set_back = start() - HOUR;
    assert_eq!(drain(&mut plan, set_back), [""; 0]);
    let mut plan = restart(&plan, trigger("0 */5 * * * *"), set_back, CatchUp::One);
    assert_eq!(drain(&mut plan, start() + 9 * MINUTE), [""; 0]);
    assert_eq!(drain(&mut plan, start() + 10 * MINUTE), ["08:10:00"]);
    // A changed schedule starts from what is done, too.
    let mut plan = restart(&plan, trigger("0 */2 * * * *"), set_back, CatchUp::One);
    assert_eq!(drain(&mut plan, start() + 11 * MINUTE), [""; 0]);
    assert_eq!(drain(&mut plan, start() + 12 * MINUTE), ["08:12:00"]);
}

/// T-069: a clock that ran days ahead was wrong; a timer does not wait for that time to come.
#[test]
fn t_069_a_state_from_a_wrong_clock_is_forgotten() {
    let mut plan = Plan::open(trigger("0 */5 * * * *"), None, start() + 48 * HOUR, CatchUp::One);
    assert_eq!(drain(&mut plan, start() + 48 * HOUR + 5 * MINUTE), ["08:05:00"]);
    let mut plan = restart(&plan, trigger("0 */5 * * * *"), start(), CatchUp::One);
    assert_eq!(drain(&mut plan, start() + 5 * MINUTE), ["08:05:00"]);
}

#[test]
fn a_changed_schedule_or_zone_starts_from_now() {
    let plan = Plan::open(trigger("0 */5 * * * *"), None, start(), CatchUp::One);
    let later = start() + HOUR;
    let mut changed = restart(&plan, trigger("0 */7 * * * *"), later, CatchUp::One);
    assert_eq!(drain(&mut changed, later + 7 * MINUTE), ["09:07:00"]);
    let elsewhere = TimerTrigger { zone: "Asia/Tokyo".parse().unwrap(), ..trigger("0 */5 * * * *") };
    let mut changed = restart(&plan, elsewhere, later, CatchUp::One);
    assert_eq!(drain(&mut changed, later), [""; 0]);
}

#[test]
fn startup_runs_once_unless_a_late_one_does() {
    let at_startup = TimerTrigger { run_on_startup: true, ..trigger("0 */5 * * * *") };
    let mut plan = Plan::open(at_startup.clone(), None, start(), CatchUp::One);
    assert_eq!(drain(&mut plan, start()), ["startup"]);
    assert_eq!(drain(&mut plan, start() + 5 * MINUTE), ["08:05:00"]);
    let mut plan = restart(&plan, at_startup, start() + HOUR, CatchUp::One);
    assert_eq!(drain(&mut plan, start() + HOUR), ["09:00:00 late"]);
}

#[test]
fn a_timer_without_monitor_knows_no_yesterday() {
    let unmonitored = TimerTrigger { use_monitor: false, ..trigger("0 */5 * * * *") };
    let plan = Plan::open(unmonitored.clone(), None, start(), CatchUp::All);
    let mut plan = restart(&plan, unmonitored, start() + HOUR, CatchUp::All);
    assert_eq!(drain(&mut plan, start() + HOUR + 5 * MINUTE), ["09:05:00"]);
    let Step::WaitUntil(next) = plan.step(start() + HOUR + 5 * MINUTE) else { panic!("{plan:?}") };
    assert_eq!(plan.status(Occurrence { time: next, kind: Kind::OnTime }, next), None);
}

#[test]
fn intervals_do_not_drift() {
    let mut plan = Plan::open(trigger("00:07:00"), None, start() + SECOND / 3, CatchUp::One);
    assert_eq!(drain(&mut plan, start() + 7 * MINUTE + 4 * SECOND), ["08:07:00"]);
    assert_eq!(drain(&mut plan, start() + 14 * MINUTE), ["08:14:00"]);
    assert_eq!(drain(&mut plan, start() + 40 * MINUTE), ["08:35:00 late"]);
}

#[test]
fn a_stored_state_reads_back_and_others_are_none() {
    let trigger = trigger("0 0 3 * * *");
    let state = State { last: None, next: Some(start() + SECOND / 4) };
    let stored = Stored::read(&stored::text(&trigger, state, start())).unwrap();
    assert!(stored.is_for(&trigger));
    assert_eq!(stored.state, state);
    for text in ["", "[]", "{}", r#"{"schedule":"a","zone":"UTC","last":"yesterday","next":null}"#] {
        assert_eq!(Stored::read(text), None, "{text}");
    }
}

#[derive(Clone, Debug)]
enum Move {
    Forward(u64),
    Back(u64),
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => (1_u64..40).prop_map(Move::Forward),
        2 => (1_u64..7200).prop_map(Move::Forward),
        1 => (1_u64..7200).prop_map(Move::Back),
        1 => Just(Move::Restart),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// T-069: whatever the clock does, no occurrence runs twice; with `all` each one up to the latest time that was
    /// seen has run, with `one` the latest of them.
    #[test]
    fn t_069_no_occurrence_is_lost_or_doubled_by_any_clock(
        moves in moves(),
        schedule in proptest::sample::select(vec!["*/20 * * * * *", "0 */3 * * * *", "15 7 * * * *", "00:00:50"]),
        catch_up in proptest::sample::select(vec![CatchUp::None, CatchUp::One, CatchUp::All]),
    ) {
        let trigger = trigger(schedule);
        let mut plan = Plan::open(trigger.clone(), None, start(), catch_up);
        let (mut now, mut latest) = (start(), start());
        let mut ran: Vec<SystemTime> = Vec::new();
        for step in moves {
            match step {
                Move::Forward(seconds) => now += SECOND * u32::try_from(seconds).unwrap(),
                Move::Back(seconds) => now -= SECOND * u32::try_from(seconds).unwrap(),
                Move::Restart => plan = restart(&plan, trigger.clone(), now, catch_up),
            }
            latest = latest.max(now);
            while let Step::Run(occurrence) = plan.step(now) {
                prop_assert!(occurrence.time <= now);
                let is_late = now.duration_since(occurrence.time).unwrap() > ON_TIME;
                prop_assert!(!is_late || occurrence.kind == Kind::Late);
                ran.push(occurrence.time);
                plan.done(occurrence, now);
            }
        }
        prop_assert!(ran.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", ran);
        let mut expected = Vec::new();
        let mut time = start();
        while let Some(next) = trigger.schedule.next_after(time, TimeZone::UTC).filter(|next| *next <= latest) {
            expected.push(next);
            time = next;
        }
        prop_assert!(ran.iter().all(|time| expected.contains(time)));
        match catch_up {
            CatchUp::All => prop_assert_eq!(ran, expected),
            CatchUp::One => prop_assert_eq!(ran.last(), expected.last()),
            CatchUp::None => {}
        }
    }
}
