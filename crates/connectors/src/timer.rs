//! Timers: the listener of all `timerTrigger`s of an app, and the events it makes.
//!
//! An occurrence is remembered as done in the same commit as the outputs of its invocation, on top of the version that
//! was stored when it was started. So none runs twice and none is lost, also when the server is killed in between; what
//! ran but was not committed runs again. Which late ones run is the policy in [`plan`].

mod board;
mod fire;
mod listener;
mod plan;
mod stored;
#[cfg(test)]
mod tests;

use std::time::SystemTime;

use ingle_types::datum::Datum;
use ingle_types::event::{CheckpointDelivery, Delivery, Event, Trace};
use ingle_types::ids::{FunctionName, InvocationId};
use ingle_types::schedule::{ScheduleStatus, TimeZone, TimerInfo};
use ingle_types::spec::{FunctionSpec, HandlerSchedule, TimerTrigger, TriggerSpec};

use serde_json::json;

use crate::ListenerRooms;
pub use board::Board;
use ingle_tasks::Stopper;
use plan::{Kind, Occurrence};

/// Starts one listener for all timers among these functions; `None` if there are none. Generations of an app that
/// follow each other share the board.
pub fn listen_all<'a>(
    functions: impl IntoIterator<Item = &'a FunctionSpec>,
    rooms: &ListenerRooms,
    board: &Board,
) -> Option<Stopper> {
    let timers: Vec<(Source, TimerTrigger)> =
        functions.into_iter().filter(|function| !function.disabled).flat_map(timers_of).collect();
    (!timers.is_empty()).then(|| listener::Listener::new(timers, rooms.clone(), board.clone()).start())
}

fn timers_of(function: &FunctionSpec) -> Vec<(Source, TimerTrigger)> {
    match &function.trigger {
        TriggerSpec::Timer(trigger) => {
            vec![(Source { function: function.name.clone(), scheduled: None }, trigger.clone())]
        }
        TriggerSpec::Handler(handler) => {
            let source = |schedule: &HandlerSchedule| {
                let scheduled = Scheduled {
                    name: schedule.name.clone(),
                    input: schedule.input.clone(),
                    region: handler.region.clone(),
                };
                let source = Source { function: function.name.clone(), scheduled: Some(scheduled) };
                (source, schedule.timer.clone())
            };
            handler.schedules.iter().map(source).collect()
        }
        _ => Vec::new(),
    }
}

/// Whose occurrences they are.
#[derive(Clone)]
struct Source {
    function: FunctionName,
    scheduled: Option<Scheduled>,
}

/// A schedule of a handler, whose event is taken and run as those are that nobody waits for.
#[derive(Clone)]
struct Scheduled {
    name: String,
    input: Option<String>,
    region: String,
}

impl Source {
    /// Whose checkpoint it is.
    fn consumer(&self) -> String {
        let function = &self.function;
        match &self.scheduled {
            None => format!("{PREFIX}{function}"),
            Some(scheduled) => format!("{PREFIX}{function}/{}", scheduled.name),
        }
    }
}

impl Scheduled {
    /// What EventBridge sends (facts of Lambda, section 4.1).
    fn event(&self, occurrence: SystemTime, id: InvocationId) -> String {
        if let Some(input) = &self.input {
            return input.clone();
        }
        let Self { name, region, .. } = self;
        let time = TimeZone::UTC.iso_text(occurrence);
        json!({
            "version": "0", "id": id.uuid().to_string(), "detail-type": "Scheduled Event", "source": "aws.events",
            "account": ACCOUNT, "time": format!("{}Z", time.get(..19).unwrap_or(&time)), "region": region,
            "resources": [format!("arn:aws:events:{region}:{ACCOUNT}:rule/{name}")], "detail": {},
        })
        .to_string()
    }
}

/// The event of an occurrence as EventBridge sends it for a rule, as JSON text.
pub fn scheduled_event(name: &str, region: &str, occurrence: SystemTime) -> String {
    let scheduled = Scheduled { name: name.to_owned(), input: None, region: region.to_owned() };
    scheduled.event(occurrence, InvocationId::random())
}

/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";

const PREFIX: &str = "timer/";

fn event(
    trigger: &TimerTrigger,
    occurrence: Occurrence,
    status: Option<ScheduleStatus>,
    now: SystemTime,
    id: InvocationId,
    delivery: CheckpointDelivery,
) -> Event {
    let is_past_due = occurrence.kind == Kind::Late;
    let word = match occurrence.kind {
        Kind::OnTime => "",
        Kind::Late => " (late)",
        Kind::Startup => " (at startup)",
    };
    Event {
        payload: Datum::Json(TimerInfo { status, is_past_due }.to_json()),
        metadata: vec![("TimerTrigger".to_owned(), Datum::Text(trigger.zone.date_text(now)))],
        summary: format!("timer {}{word}", trigger.schedule),
        received_at: now,
        trace: Trace { parent: format!("00-{}-{:016x}-01", id.uuid().simple(), 1), state: String::new() },
        hop_count: 0,
        delivery: Delivery::Checkpoint(delivery),
    }
}
