//! When a timer fires: NCRONTAB expressions and intervals, in a time zone, as pure functions (facts 7.3); and parts of
//! the day that come again ([`Window`]).
//!
//! # Daylight saving
//!
//! A schedule that names hours means wall-clock times. One that does not exist, because the clocks go forward over
//! it, runs at the first instant after the gap, once for all that fall into the gap. One that exists twice, because
//! the clocks go back, runs the first time only.
//!
//! A schedule that covers every hour (`*` in the hour field) means "every so often": it runs at each instant whose
//! wall-clock time fits. So it neither pauses in the repeated hour nor bunches up behind the gap.
//!
//! An interval counts elapsed time and does not see zones at all.
//!
//! # Expressions of AWS
//!
//! [`Schedule::parse_aws`] reads `cron(…)`, `rate(…)` and `at(…)`. Their hours are those of EventBridge Scheduler: a time
//! that does not exist is left out, one that exists twice runs the first time.

mod aws;
mod cron;
mod info;
mod next;
mod window;
mod zone;

use std::fmt;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::clock::unix_ms;
use cron::Cron;
pub use info::{ScheduleStatus, TimerInfo};
pub use window::{Weekdays, Window};
pub use zone::{TimeZone, UnknownZone};

/// Longest interval that is accepted: ten years.
const INTERVAL_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A schedule that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// As written, single spaces between the fields.
    text: String,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Cron(Cron),
    Every(Duration),
    Aws(aws::Cron),
    /// A wall-clock time, once.
    At(NaiveDateTime),
}

/// What is wrong with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at character {position}")]
pub struct ScheduleError {
    /// In characters, counted from 1.
    pub position: usize,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

impl Schedule {
    /// Reads an NCRONTAB expression `{second} {minute} {hour} {day} {month} {day of week}`, the same without its
    /// seconds (then second 0), or an interval `hh:mm:ss` or `d.hh:mm:ss`.
    ///
    /// A field is `*`, a number, a range `a-b`, either with a step `/n`, or a list of these. Months and days of the
    /// week may be English names. Days of the week are 0 (Sunday) to 6. Day and day of the week both restrict.
    /// Unlike in Azure, `24:00:00` is a day, not 24 days.
    ///
    /// # Errors
    /// What is wrong, where, and what to write instead; also for a day that never comes, such as 30 February.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let rule =
            if text.contains(':') { Rule::Every(interval(text)?) } else { Rule::Cron(Cron::parse(text)?) };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { text, rule })
    }

    /// Reads an expression of Amazon EventBridge and its Scheduler: `cron({minute} {hour} {day} {month} {day of week}
    /// {year})`, `rate({number} {unit})` or `at({yyyy}-{mm}-{dd}T{hh}:{mm}:{ss})`.
    ///
    /// One of day and day of the week is `?`. Days of the week are 1 (Sunday) to 7. `L`, `W` and `#` are known where
    /// AWS knows them. A unit is minute, hour or day, with an `s` unless the number is 1.
    ///
    /// # Errors
    /// What is wrong, where, and what to write instead; also for a day that never comes.
    pub fn parse_aws(text: &str) -> Result<Self, ScheduleError> {
        let rule = aws::parse(text)?;
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { text, rule })
    }

    /// The first occurrence strictly after `time`. For an interval that is `time` plus the interval. `None` after the
    /// end of the calendar.
    pub fn next_after(&self, time: SystemTime, zone: TimeZone) -> Option<SystemTime> {
        match &self.rule {
            Rule::Every(interval) => time.checked_add(*interval),
            Rule::Cron(cron) => next::next_after(cron, utc(time)?, zone.0).map(system_time),
            Rule::Aws(cron) => cron.next_after(utc(time)?, zone.0).map(system_time),
            Rule::At(local) => {
                let instant = next::instants(*local, zone.0).0.or_else(|| next::after_gap(*local, zone.0))?;
                Some(system_time(instant)).filter(|instant| *instant > time)
            }
        }
    }

    /// The last occurrence that is not after `time`, if `first` is an occurrence that is not after it either.
    /// Meant for long silences: it does not walk through all that passed.
    pub fn last_until(&self, first: SystemTime, time: SystemTime, zone: TimeZone) -> SystemTime {
        match &self.rule {
            Rule::Every(interval) => {
                let passed = time.duration_since(first).unwrap_or_default().as_nanos() / interval.as_nanos();
                let passed = u32::try_from(passed).unwrap_or(u32::MAX);
                interval.checked_mul(passed).and_then(|passed| first.checked_add(passed)).unwrap_or(first)
            }
            Rule::Cron(_) | Rule::Aws(_) | Rule::At(_) => self.search_back(first, time, zone),
        }
    }

    /// Steps back in windows that double, then walks forward within the last one.
    fn search_back(&self, first: SystemTime, time: SystemTime, zone: TimeZone) -> SystemTime {
        let mut window = Duration::from_secs(1);
        let mut last = loop {
            let from = time.checked_sub(window).filter(|from| *from > first);
            let Some(from) = from else { break first };
            match self.next_after(from, zone) {
                Some(found) if found <= time => break found,
                _ => window *= 2,
            }
        };
        while let Some(next) = self.next_after(last, zone).filter(|next| *next <= time) {
            last = next;
        }
        last
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whole seconds: what lies between two is nearer to the earlier one.
fn utc(time: SystemTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(unix_ms(time).div_euclid(1000), 0)
}

fn system_time(time: DateTime<Utc>) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

/// `hh:mm:ss` or `d.hh:mm:ss`.
fn interval(text: &str) -> Result<Duration, ScheduleError> {
    let fix = || "write an interval as hh:mm:ss, e.g. 00:05:00, or d.hh:mm:ss, e.g. 1.00:00:00".to_owned();
    let offset = text.chars().take_while(|character| character.is_whitespace()).count();
    let fail =
        |position: usize, what: String| ScheduleError { position: offset + position, what, fix: fix() };
    let trimmed = text.trim();
    let (days, clock, has_days) = match trimmed.split_once('.') {
        Some((days, clock)) => (days, clock, true),
        None => ("0", trimmed, false),
    };
    let start = if has_days { days.chars().count() + 2 } else { 1 };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hours, minutes, seconds] = parts.as_slice() else {
        return Err(fail(1, format!("`{trimmed}` is no interval of hours, minutes and seconds")));
    };
    let hours_max = if has_days { 23 } else { 9_999 };
    let days = number(days, 3_660).ok_or_else(|| fail(1, format!("`{days}` is no number of days")))?;
    let mut position = start;
    let mut total = days * 24;
    for (part, max, unit) in [(hours, hours_max, "hours"), (minutes, 59, "minutes"), (seconds, 59, "seconds")]
    {
        let value = number(part, max)
            .ok_or_else(|| fail(position, format!("`{part}` is no number of {unit} from 0 to {max}")))?;
        total = if unit == "hours" { total + value } else { total * 60 + value };
        position += part.chars().count() + 1;
    }
    let total = Duration::from_secs(total);
    if total.is_zero() {
        return Err(fail(1, "an interval of zero never ends".to_owned()));
    }
    if total > INTERVAL_MAX {
        return Err(fail(1, "the interval is longer than ten years".to_owned()));
    }
    Ok(total)
}

/// Plain digits, at most `max`.
fn number(text: &str, max: u64) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().filter(|number| *number <= max)
}

#[cfg(test)]
mod tests;
