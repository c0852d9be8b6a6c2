//! What a timer function is told: the value of its parameter, in the JSON that the SDK reads (facts 4.3).

use std::time::SystemTime;

use serde_json::{Value, json};

use super::TimeZone;

/// .NET's `DateTime.MinValue`, which stands for "never".
const NEVER: &str = "0001-01-01T00:00:00+00:00";

/// The value of a timer's parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct TimerInfo {
    /// Absent if the timer is not monitored.
    pub status: Option<ScheduleStatus>,
    pub is_past_due: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// The occurrence before this one; `None` if the function has never run.
    pub last: Option<SystemTime>,
    /// The occurrence after this one; `None` if there is none.
    pub next: Option<SystemTime>,
    /// When this was found out.
    pub updated: SystemTime,
}

impl TimerInfo {
    pub fn to_json(&self) -> String {
        let time = |time: Option<SystemTime>| {
            time.map_or_else(|| NEVER.to_owned(), |time| TimeZone::UTC.iso_text(time))
        };
        let status = self.status.map_or(Value::Null, |status| {
            json!({"Last": time(status.last), "Next": time(status.next), "LastUpdated": time(Some(status.updated))})
        });
        json!({"Schedule": {"AdjustForDST": true}, "ScheduleStatus": status, "IsPastDue": self.is_past_due})
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_unix_ms;

    #[test]
    fn the_shape_is_that_of_azures_host() {
        let next = Some(from_unix_ms(1_792_886_400_000));
        let status = ScheduleStatus { last: None, next, updated: from_unix_ms(1_792_800_000_999) };
        let text = TimerInfo { status: Some(status), is_past_due: true }.to_json();
        assert_eq!(
            text,
            "{\"Schedule\":{\"AdjustForDST\":true},\"ScheduleStatus\":{\"Last\":\"0001-01-01T00:00:00+00:00\",\
             \"Next\":\"2026-10-25T00:00:00+00:00\",\"LastUpdated\":\"2026-10-24T00:00:00+00:00\"},\"IsPastDue\":true}"
        );
        let text = TimerInfo { status: None, is_past_due: false }.to_json();
        assert!(text.contains("\"ScheduleStatus\":null"), "{text}");
    }
}
