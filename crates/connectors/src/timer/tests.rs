//! The plan against random clocks, and the listener with a scripted invoker, a store on disk and a clock that is moved
//! by hand. Tokio's time is paused: it jumps on as soon as nothing else is left to do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use ingle_store::Store;
use ingle_tasks::{Stopper, TaskKind, Tasks};
use ingle_types::clock::{ManualClock, from_unix_ms};
use ingle_types::datum::Datum;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Delivery, Invocation, Invoker, Phases};
use ingle_types::faults::Faults;
use ingle_types::ids::FunctionName;
use ingle_types::outcome::{Blame, Failure, Outcome, Outputs};
use ingle_types::schedule::{Schedule, TimeZone};
use ingle_types::spec::{CatchUp, FunctionSpec, HostConfig, TimerTrigger, TriggerSpec};
use proptest::prelude::*;

use super::plan::{Kind, ON_TIME, Plan, Step};
use super::stored::{self, Stored};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// 2027-01-15 08:00:00 UTC, when every test begins.
fn start() -> SystemTime {
    from_unix_ms(1_800_000_000_000)
}

fn trigger(schedule: &str) -> TimerTrigger {
    TimerTrigger {
        schedule: Schedule::parse(schedule).unwrap(),
        zone: TimeZone::UTC,
        run_on_startup: false,
        use_monitor: true,
    }
}

/// `08:05:00`, or `startup`, each with `late` where it is.
fn show(time: SystemTime, kind: Kind) -> String {
    let clock = TimeZone::UTC.iso_text(time)[11..19].to_owned();
    match kind {
        Kind::OnTime => clock,
        Kind::Late => format!("{clock} late"),
        Kind::Startup => "startup".to_owned(),
    }
}

// === The plan ===

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
    let state = plan::State { last: None, next: Some(start() + SECOND / 4) };
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

// === The listener ===

/// Answers as told, commits what it acknowledges, and writes down what it was called with.
struct Script {
    store: Store,
    clock: Arc<ManualClock>,
    calls: Mutex<Vec<(String, Invocation)>>,
    answers: Mutex<VecDeque<Answer>>,
}

enum Answer {
    Ok,
    Fail(Failure),
    /// The function runs for this long.
    Takes(Duration),
    /// The server is killed after the function, before the commit.
    Killed,
}

impl Invoker for Script {
    fn invoke(&self, invocation: Invocation) -> BoxFuture<Completion> {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Ok);
        let id = invocation.id;
        let Delivery::Checkpoint(delivery) = invocation.event.delivery.clone() else {
            panic!("{invocation:?}")
        };
        let summary = invocation.event.summary.clone();
        let line = format!("{} {}", invocation.function, summary.trim_start_matches("timer "));
        self.calls.lock().unwrap().push((line, invocation));
        let outcome = match answer {
            Answer::Fail(failure) => Outcome::Failed(failure),
            Answer::Takes(time) => {
                self.clock.advance(time);
                Outcome::Success(Outputs::default())
            }
            Answer::Ok => Outcome::Success(Outputs::default()),
            Answer::Killed => return Box::pin(std::future::pending()),
        };
        let store = self.store.clone();
        Box::pin(async move {
            if let Some(operation) = crate::checkpoint::acknowledge(&delivery, &outcome) {
                store.commit(vec![operation]).await.unwrap();
            }
            Completion { id, outcome, phases: Phases::default(), effects: Vec::new() }
        })
    }
}

struct Fixture {
    script: Arc<Script>,
    rooms: ListenerRooms,
    board: Board,
    clock: Arc<ManualClock>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(start()));
        let options = ingle_store::Options::new(directory.path());
        let store = Store::open(options, clock.clone(), Faults::none()).unwrap();
        let script = Arc::new(Script {
            store: store.clone(),
            clock: clock.clone(),
            calls: Mutex::default(),
            answers: Mutex::default(),
        });
        let rooms = ListenerRooms {
            store,
            invoker: script.clone(),
            tasks: Tasks::new(),
            clock: clock.clone(),
            host: HostConfig::default(),
        };
        Self { script, rooms, board: Board::default(), clock, _directory: directory }
    }

    fn listen(&self, functions: &[FunctionSpec]) -> Stopper {
        listen_all(functions, &self.rooms, &self.board).unwrap()
    }

    fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.answers.lock().unwrap().extend(answers);
    }

    /// Moves the wall clock and lets everything happen that then does.
    async fn after(&self, time: Duration) -> Vec<String> {
        self.clock.advance(time);
        self.settle().await;
        self.calls()
    }

    async fn settle(&self) {
        // Each round is one look of the listener with what follows from it; opening takes two.
        for _ in 0..4 {
            tokio::time::sleep(MINUTE).await;
            self.store_is_idle().await;
            while self.rooms.tasks.count(TaskKind::Invocation) > 0 {
                self.store_is_idle().await;
            }
        }
    }

    /// The store works in threads of its own, for which paused time does not wait. It answers in order.
    async fn store_is_idle(&self) {
        self.rooms.store.read_checkpoint("nobody").await.unwrap();
        self.rooms.store.lease_messages("nothing", 1, SECOND).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    fn calls(&self) -> Vec<String> {
        self.script.calls.lock().unwrap().drain(..).map(|(line, _)| line).collect()
    }
}

fn function(name: &str, trigger: TimerTrigger) -> FunctionSpec {
    FunctionSpec {
        name: FunctionName::new(name),
        trigger: TriggerSpec::Timer(trigger),
        trigger_parameter: "timer".to_owned(),
        bindings: Vec::new(),
        disabled: false,
        retry: None,
        is_async: false,
        location: None,
    }
}

#[tokio::test(start_paused = true)]
async fn each_timer_fires_at_its_times_and_is_told_of_them() {
    let fixture = Fixture::new();
    let functions = [function("five", trigger("0 */5 * * * *")), function("ten", trigger("00:10:00"))];
    let _stopper = fixture.listen(&functions);
    fixture.settle().await;
    assert_eq!(fixture.calls(), [""; 0]);
    assert_eq!(fixture.after(4 * MINUTE + 59 * SECOND).await, [""; 0]);
    assert_eq!(fixture.after(SECOND).await, ["five 0 */5 * * * *"]);
    fixture.clock.advance(5 * MINUTE);
    fixture.settle().await;
    let mut calls: Vec<(String, Invocation)> = fixture.script.calls.lock().unwrap().drain(..).collect();
    calls.sort_by(|left, right| left.0.cmp(&right.0));
    let [(five, invocation), (ten, _)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!((five.as_str(), ten.as_str()), ("five 0 */5 * * * *", "ten 00:10:00"));
    assert_eq!(
        invocation.event.payload,
        Datum::Json(
            "{\"Schedule\":{\"AdjustForDST\":true},\"ScheduleStatus\":{\"Last\":\"2027-01-15T08:05:00+00:00\",\
             \"Next\":\"2027-01-15T08:15:00+00:00\",\"LastUpdated\":\"2027-01-15T08:10:00+00:00\"},\"IsPastDue\":false}"
                .to_owned()
        )
    );
    assert_eq!(
        invocation.event.metadata,
        [("TimerTrigger".to_owned(), Datum::Text("01/15/2027 08:10:00".to_owned()))]
    );
}

/// P-34: neither the first slot of a new timer nor any later one is missed over a restart.
#[tokio::test(start_paused = true)]
async fn p_34_what_passed_between_two_starts_is_caught_up_with() {
    let fixture = Fixture::new();
    let functions = [function("nine", trigger("0 0 9 * * *"))];
    let stopper = fixture.listen(&functions);
    fixture.settle().await;
    drop(stopper);
    assert_eq!(fixture.after(3 * HOUR).await, [""; 0]);
    let _stopper = fixture.listen(&functions);
    fixture.settle().await;
    assert_eq!(fixture.calls(), ["nine 0 0 9 * * * (late)"]);
    assert_eq!(fixture.after(21 * HOUR).await, [""; 0]);
    assert_eq!(fixture.after(HOUR).await, ["nine 0 0 9 * * *"]);
}

/// T-065: a server that is killed between the function and the commit does the occurrence again.
#[tokio::test(start_paused = true)]
async fn what_was_not_committed_runs_again() {
    let fixture = Fixture::new();
    let functions = [function("five", trigger("0 */5 * * * *"))];
    let stopper = fixture.listen(&functions);
    fixture.answer([Answer::Killed]);
    for _ in 0..4 {
        tokio::time::sleep(MINUTE).await;
        fixture.store_is_idle().await;
    }
    fixture.clock.advance(5 * MINUTE);
    while fixture.script.calls.lock().unwrap().is_empty() {
        tokio::time::sleep(SECOND).await;
        fixture.store_is_idle().await;
    }
    drop(stopper);
    fixture.rooms.tasks.stop(TaskKind::Invocation, SECOND).await;
    assert_eq!(fixture.calls(), ["five 0 */5 * * * *"]);
    let next = Fixture { board: Board::default(), ..fixture };
    let _stopper = next.listen(&functions);
    next.settle().await;
    assert_eq!(next.calls(), ["five 0 */5 * * * * (late)"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_never_overlaps_itself() {
    let fixture = Fixture::new();
    let _stopper = fixture.listen(&[function("five", trigger("0 */5 * * * *"))]);
    fixture.settle().await;
    fixture.answer([Answer::Takes(12 * MINUTE)]);
    // The run from 08:05 ends at 08:17; one late run stands for 08:10 and 08:15.
    assert_eq!(fixture.after(5 * MINUTE).await, ["five 0 */5 * * * *", "five 0 */5 * * * * (late)"]);
    assert_eq!(fixture.after(3 * MINUTE).await, ["five 0 */5 * * * *"]);
}

/// P-34: two listeners, such as two generations of an app, share one schedule.
#[tokio::test(start_paused = true)]
async fn p_34_two_listeners_do_not_run_an_occurrence_twice() {
    let fixture = Fixture::new();
    let functions = [function("five", trigger("0 */5 * * * *"))];
    let _one = fixture.listen(&functions);
    let _other = fixture.listen(&functions);
    fixture.settle().await;
    for _ in 0..5 {
        assert_eq!(fixture.after(5 * MINUTE).await, ["five 0 */5 * * * *"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_found_no_room_is_tried_again_and_what_failed_is_not() {
    let fixture = Fixture::new();
    let _stopper = fixture.listen(&[function("five", trigger("0 */5 * * * *"))]);
    fixture.settle().await;
    let no_room = || Failure::new(Blame::Platform, "E0308", "TooManyRequests", "full").not_started();
    fixture.answer([Answer::Fail(no_room()), Answer::Fail(no_room())]);
    assert_eq!(fixture.after(5 * MINUTE).await, ["five 0 */5 * * * *"]);
    assert_eq!(fixture.after(SECOND).await, ["five 0 */5 * * * *"]);
    assert_eq!(fixture.after(SECOND).await, [""; 0]);
    assert_eq!(fixture.after(SECOND).await, ["five 0 */5 * * * *"]);
    fixture.answer([Answer::Fail(Failure::new(Blame::App, "E0301", "ValueError", "kaput"))]);
    assert_eq!(fixture.after(5 * MINUTE).await, ["five 0 */5 * * * *"]);
    assert_eq!(fixture.after(4 * MINUTE).await, [""; 0]);
}

/// T-069: a clock that was set back by days is seen while the server runs.
#[tokio::test(start_paused = true)]
async fn t_069_a_running_listener_follows_a_clock_that_was_wrong() {
    let fixture = Fixture::new();
    fixture.clock.advance(72 * HOUR);
    let _stopper = fixture.listen(&[function("five", trigger("0 */5 * * * *"))]);
    fixture.settle().await;
    assert_eq!(fixture.after(5 * MINUTE).await, ["five 0 */5 * * * *"]);
    fixture.clock.set(start());
    assert_eq!(fixture.after(SECOND).await, [""; 0]);
    assert_eq!(fixture.after(5 * MINUTE).await, ["five 0 */5 * * * *"]);
}

/// 20,000 timers in one app, and no second is missed.
#[tokio::test(start_paused = true)]
async fn twenty_thousand_timers_miss_no_second() {
    let fixture = Fixture::new();
    let functions: Vec<FunctionSpec> = (0..20_000)
        .map(|number| {
            let schedule = format!("{} {} * * * *", number % 60, number / 60 % 60);
            function(&format!("timer{number}"), trigger(&schedule))
        })
        .collect();
    let _stopper = fixture.listen(&functions);
    while fixture.rooms.store.checkpoints("timer/").await.unwrap().len() < functions.len() {
        fixture.settle().await;
    }
    fixture.settle().await;
    for second in 1..4 {
        let mut ran = fixture.after(SECOND).await;
        ran.sort();
        let mut expected: Vec<String> = (0..20_000)
            .filter(|number| number % 3600 == second)
            .map(|number| format!("timer{number} {second} 0 * * * *"))
            .collect();
        expected.sort();
        assert_eq!(ran, expected);
    }
}
