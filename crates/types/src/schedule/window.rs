//! A part of the day that comes again on certain days of the week, as wall-clock times in a zone.
//!
//! # Daylight saving
//!
//! A window begins when the clocks first show its beginning or more, and ends when they have shown its end for the last
//! time: where the clocks are put back over one of its ends, the window is longer rather than interrupted, and one that
//! lies in a gap as a whole does not come on that day.

use std::time::SystemTime;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::next::{after_gap, instants};
use super::{TimeZone, system_time, utc};

const MINUTES_A_DAY: u16 = 24 * 60;
/// Names of days, Monday first.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Days before the present one on which an open window may have begun; a change of the date line skips one more.
const DAYS_BACK: u64 = 3;
/// Days ahead among which each day of the week is.
const DAYS_AHEAD: u64 = 9;

/// Days of the week.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weekdays([bool; 7]);

impl Weekdays {
    pub const DAILY: Self = Self([true; 7]);

    /// Reads `daily`, days and ranges of days with commas between them: `mon-fri`, `sat,sun`, `fri-mon`. `None` for
    /// anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "daily" {
            return Some(Self::DAILY);
        }
        let day = |name: &str| DAYS.iter().position(|day| *day == name.trim());
        let mut days = [false; 7];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            let count = (last + 7 - first) % 7;
            (0..=count).for_each(|step| days[(first + step) % 7] = true);
        }
        Some(Self(days))
    }

    fn has(self, date: NaiveDate) -> bool {
        usize::try_from(date.weekday().num_days_from_monday()).is_ok_and(|day| self.0[day])
    }
}

/// A part of the day, on certain days.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// On which it begins.
    days: Weekdays,
    /// Minutes after midnight.
    from: u16,
    /// Minutes after midnight of the day on which it begins; more than a day if it ends on the next one.
    to: u16,
    zone: TimeZone,
}

impl Window {
    /// `from` and `to` in minutes after midnight; a window whose `to` is before its `from` ends on the next day. `None`
    /// if they are the same, or no such time is on a clock (24:00 is, as an end).
    pub fn new(days: Weekdays, from: u16, to: u16, zone: TimeZone) -> Option<Self> {
        if from == to || from >= MINUTES_A_DAY || to > MINUTES_A_DAY {
            return None;
        }
        let to = if to < from { to + MINUTES_A_DAY } else { to };
        Some(Self { days, from, to, zone })
    }

    /// Whether `time` lies in it: its end does not.
    pub fn is_open(&self, time: SystemTime) -> bool {
        let Some(time) = utc(time) else { return false };
        self.around(time, 1).any(|(begins, ends)| begins <= time && time < ends)
    }

    /// The first time after `time` at which it begins or ends. There may be nothing to notice then, as where two windows
    /// follow each other. `None` after the end of the calendar.
    pub fn next_edge_after(&self, time: SystemTime) -> Option<SystemTime> {
        let time = utc(time)?;
        let edges = self.around(time, DAYS_AHEAD).flat_map(|(begins, ends)| [begins, ends]);
        edges.filter(|edge| *edge > time).min().map(system_time)
    }

    /// Beginnings and ends around `time`.
    fn around(
        &self,
        time: DateTime<Utc>,
        days_ahead: u64,
    ) -> impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)> + '_ {
        let today = time.with_timezone(&self.zone.0).date_naive();
        let first = today.checked_sub_days(Days::new(DAYS_BACK)).unwrap_or(today);
        let dates =
            (0..=DAYS_BACK + days_ahead).filter_map(move |day| first.checked_add_days(Days::new(day)));
        dates.filter(|date| self.days.has(*date)).filter_map(|date| {
            let begins = first_instant(date, self.from, self.zone.0)?;
            // Where the minute before is, so that an end at the edge of a repeated hour belongs to its first showing.
            let ends = last_instant(date, self.to - 1, self.zone.0)?;
            Some((begins, ends))
        })
    }
}

fn local(date: NaiveDate, minute: u16) -> Option<chrono::NaiveDateTime> {
    date.and_time(NaiveTime::MIN).checked_add_signed(TimeDelta::minutes(i64::from(minute)))
}

/// When the clocks first show this minute of the day, or more.
fn first_instant(date: NaiveDate, minute: u16, zone: Tz) -> Option<DateTime<Utc>> {
    let shown = local(date, minute)?;
    instants(shown, zone).0.or_else(|| after_gap(shown, zone))
}

/// When the clocks have shown this minute of the day for the last time.
fn last_instant(date: NaiveDate, minute: u16, zone: Tz) -> Option<DateTime<Utc>> {
    let shown = local(date, minute)?;
    match instants(shown, zone) {
        (None, _) => after_gap(shown, zone),
        (Some(only), None) => only.checked_add_signed(TimeDelta::minutes(1)),
        (Some(_), Some(second)) => second.checked_add_signed(TimeDelta::minutes(1)),
    }
}

#[cfg(test)]
mod tests;
