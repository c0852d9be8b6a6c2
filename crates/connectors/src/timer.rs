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
use ingle_types::schedule::{ScheduleStatus, TimerInfo};
use ingle_types::spec::{FunctionSpec, TimerTrigger, TriggerSpec};

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
    let timers: Vec<(FunctionName, TimerTrigger)> = functions
        .into_iter()
        .filter(|function| !function.disabled)
        .filter_map(|function| match &function.trigger {
            TriggerSpec::Timer(trigger) => Some((function.name.clone(), trigger.clone())),
            _ => None,
        })
        .collect();
    (!timers.is_empty()).then(|| listener::Listener::new(timers, rooms.clone(), board.clone()).start())
}

/// Whose checkpoint a function's is.
fn consumer(function: &FunctionName) -> String {
    format!("{PREFIX}{function}")
}

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
