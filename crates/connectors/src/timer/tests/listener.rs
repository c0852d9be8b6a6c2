//! The listener with a scripted invoker. Tokio's time is paused: it jumps on as soon as nothing else is left to do.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ingle_store::Store;
use ingle_tasks::{Stopper, TaskKind, Tasks};
use ingle_types::clock::{Clock, ManualClock};
use ingle_types::datum::Datum;
use ingle_types::event::futures::BoxFuture;
use ingle_types::event::{Completion, Delivery, Invocation, Invoker, Phases};
use ingle_types::faults::Faults;
use ingle_types::health::Health;
use ingle_types::ids::FunctionName;
use ingle_types::outcome::{Blame, Failure, Outcome, Outputs};
use ingle_types::schedule::Schedule;
use ingle_types::spec::{
    FunctionSpec, HandlerSchedule, HandlerTrigger, HostConfig, LambdaLogFormat, TimerTrigger, TriggerSpec,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::{Board, listen_all};
use super::{HOUR, MINUTE, SECOND, start, trigger};
use crate::{Accounts, ListenerRooms, later};

/// Answers as told, commits what it acknowledges, and writes down what it was called with.
struct Script {
    store: Store,
    clock: Arc<ManualClock>,
    calls: Mutex<Vec<(String, Invocation)>>,
    answers: Mutex<VecDeque<Answer>>,
    /// How many calls there were.
    called: watch::Sender<usize>,
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
        self.called.send_modify(|count| *count += 1);
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
            Completion { id, outcome, phases: Phases::default(), effects: Vec::new(), log: None }
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
            called: watch::Sender::new(0),
        });
        let rooms = ListenerRooms {
            store,
            invoker: script.clone(),
            tasks: Tasks::new(),
            clock: clock.clone(),
            host: HostConfig::default(),
            accounts: Accounts::new(clock.clone(), Health::default()),
            hops_max: None,
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

    /// Waits until nothing is in work and nothing is due.
    async fn settle(&self) {
        // Paused time: in this minute every listener has looked at the wall clock, as it does so twice in one.
        tokio::time::sleep(MINUTE).await;
        while self.board.busy(self.clock.now()) > 0 {
            tokio::time::sleep(SECOND).await;
        }
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
        streams: false,
        location: None,
    }
}

/// S-093: occurrences of a handler's schedules become events that are kept until the handler has run, once each.
#[tokio::test(start_paused = true)]
async fn a_handler_s_schedules_put_events_into_its_queue() {
    let fixture = Fixture::new();
    let schedule = |name: &str, expression: &str, input: Option<&str>| HandlerSchedule {
        name: name.to_owned(),
        timer: TimerTrigger { schedule: Schedule::parse_aws(expression).unwrap(), ..trigger("0 0 0 1 1 *") },
        input: input.map(str::to_owned),
    };
    let handler = TriggerSpec::Handler(HandlerTrigger {
        url: None,
        invoke_mode: ingle_types::spec::InvokeMode::default(),
        schedules: vec![
            schedule("often", "rate(5 minutes)", None),
            schedule("at-ten-past", "cron(10 * * * ? *)", Some("{\"a\": 1}")),
        ],
        queues: Vec::new(),
        later: ingle_types::spec::LaterOptions::default(),
        timeout: SECOND,
        region: "eu-west-1".to_owned(),
        memory_mib: 128,
        log_format: LambdaLogFormat::Text,
    });
    let functions = [FunctionSpec { trigger: handler, ..function("work", trigger("0 0 0 1 1 *")) }];
    let _stopper = fixture.listen(&functions);
    fixture.settle().await;
    let taken = async || {
        let queue = later::queue_name(&FunctionName::new("work"));
        let leased = fixture.rooms.store.lease_messages(&queue, 32, HOUR).await.unwrap();
        leased
            .into_iter()
            .map(|message| String::from_utf8(message.body.to_vec()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(taken().await, [""; 0]);
    fixture.after(5 * MINUTE).await;
    let events = taken().await;
    let event: Value = serde_json::from_str(&events[0]).unwrap();
    let expected = json!({
        "version": "0", "id": event["id"], "detail-type": "Scheduled Event", "source": "aws.events",
        "account": "000000000000", "time": "2027-01-15T08:05:00Z", "region": "eu-west-1",
        "resources": ["arn:aws:events:eu-west-1:000000000000:rule/often"], "detail": {},
    });
    assert_eq!((events.len(), &event), (1, &expected));
    fixture.after(5 * MINUTE).await;
    let mut events = taken().await;
    events.sort();
    assert_eq!((events.len(), events[1].as_str().len() > 100, events[0].as_str()), (2, true, "{\"a\": 1}"));
    // Nothing was invoked but by way of the queue, and a second listener finds nothing left to do.
    assert_eq!(fixture.calls(), [""; 0]);
    let _other = fixture.listen(&functions);
    fixture.settle().await;
    assert_eq!(taken().await, [""; 0]);
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
    fixture.settle().await;
    fixture.clock.advance(5 * MINUTE);
    let mut called = fixture.script.called.subscribe();
    called.wait_for(|count| *count == 1).await.unwrap();
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

/// D-03: the key `p`.
#[tokio::test(start_paused = true)]
async fn d_03_paused_timers_start_nothing_and_are_late_afterwards() {
    let fixture = Fixture::new();
    let _stopper = fixture.listen(&[function("five", trigger("0 */5 * * * *"))]);
    fixture.settle().await;
    fixture.board.pause(true);
    assert_eq!(fixture.after(12 * MINUTE).await, [""; 0]);
    fixture.board.pause(false);
    fixture.settle().await;
    assert_eq!(fixture.calls(), ["five 0 */5 * * * * (late)"]);
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
