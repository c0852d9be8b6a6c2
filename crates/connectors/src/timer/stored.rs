//! A timer's state as it is stored: JSON text, so that `ingle state` and people can read it.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use ingle_types::clock::from_unix_ms;
use ingle_types::spec::TimerTrigger;
use serde_json::{Value, json};

use super::plan::State;

/// A state with the schedule that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    schedule: String,
    zone: String,
    pub(crate) state: State,
}

impl Stored {
    /// Whether it belongs to this schedule, in this zone.
    pub(crate) fn is_for(&self, trigger: &TimerTrigger) -> bool {
        self.schedule == trigger.schedule.to_string() && self.zone == trigger.zone.to_string()
    }

    /// Reads what [`text`] has written; `None` for anything else.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let time = |key: &str| match &value[key] {
            Value::Null => Some(None),
            Value::String(text) => Some(Some(read_time(text)?)),
            _ => None,
        };
        Some(Self {
            schedule: value["schedule"].as_str()?.to_owned(),
            zone: value["zone"].as_str()?.to_owned(),
            state: State { last: time("last")?, next: time("next")? },
        })
    }
}

/// `{"schedule","zone","last","next","lastUpdated"}`; the times in UTC, `null` for never.
pub(crate) fn text(trigger: &TimerTrigger, state: State, now: SystemTime) -> String {
    let time = |time: SystemTime| DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::AutoSi, true);
    json!({"schedule": trigger.schedule.to_string(), "zone": trigger.zone.to_string(), "last": state.last.map(time),
        "next": state.next.map(time), "lastUpdated": time(now)})
    .to_string()
}

fn read_time(text: &str) -> Option<SystemTime> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| from_unix_ms(time.timestamp_millis()))
}
