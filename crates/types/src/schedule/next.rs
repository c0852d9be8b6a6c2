//! From wall-clock times to instants: daylight saving, as documented in the parent module.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone as _, Timelike, Utc};
use chrono_tz::Tz;

use super::cron::Cron;

/// No zone's clocks were ever put back by more at once, but for changes of the date line.
const REPEATED_MAX: TimeDelta = TimeDelta::hours(3);
/// Longest gap that is looked over; a change of the date line skips a whole day.
const GAP_MINUTES_MAX: u32 = 26 * 60;

/// The first instant strictly after `after`, which has whole seconds.
pub(super) fn next_after(cron: &Cron, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
    let local = after.with_timezone(&zone).naive_local();
    if cron.covers_every_hour() {
        every_fitting(cron, after, local, zone)
    } else {
        once_a_day(cron, after, local, zone)
    }
}

/// Every named wall-clock time gives one instant, and later times never give earlier ones: the first that lies
/// after `after` is it.
fn once_a_day(cron: &Cron, after: DateTime<Utc>, local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let mut from = local;
    loop {
        let candidate = cron.next_local(from)?;
        let (instant, is_repeated) = match instants(candidate, zone) {
            (Some(first), second) => (first, second.is_some()),
            (None, _) => (after_gap(candidate, zone)?, false),
        };
        if instant > after {
            return Some(instant);
        }
        // The whole minute is repeated, as clocks are moved at whole minutes.
        from = if is_repeated { candidate.with_second(59)? } else { candidate };
    }
}

/// Each instant whose wall-clock time fits.
fn every_fitting(cron: &Cron, after: DateTime<Utc>, local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let later = |candidate| {
        let (first, second) = instants(candidate, zone);
        first.filter(|instant| *instant > after).or(second.filter(|instant| *instant > after))
    };
    let mut from = local;
    let found = loop {
        let candidate = cron.next_local(from)?;
        if let Some(instant) = later(candidate) {
            break instant;
        }
        from = candidate;
    };
    // If the clocks were put back in between, wall-clock times that had passed come once more before that.
    if offset(found, zone) >= offset(after, zone) {
        return Some(found);
    }
    let mut from = local - REPEATED_MAX;
    while let Some(candidate) = cron.next_local(from).filter(|candidate| *candidate <= local) {
        if let Some(instant) = later(candidate).filter(|instant| *instant < found) {
            return Some(instant);
        }
        from = candidate;
    }
    Some(found)
}

/// The instants with this wall-clock time: none in a gap, two where the clocks are put back.
pub(super) fn instants(local: NaiveDateTime, zone: Tz) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    match zone.from_local_datetime(&local) {
        LocalResult::Single(time) => (Some(time.to_utc()), None),
        LocalResult::Ambiguous(first, second) => {
            let (first, second) = (first.to_utc(), second.to_utc());
            (Some(first.min(second)), Some(first.max(second)))
        }
        LocalResult::None => (None, None),
    }
}

/// The first instant after the gap that this wall-clock time lies in.
pub(super) fn after_gap(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let minute = local.with_second(0)?;
    (1..=GAP_MINUTES_MAX).find_map(|minutes| {
        let later = minute.checked_add_signed(TimeDelta::minutes(i64::from(minutes)))?;
        instants(later, zone).0
    })
}

fn offset(instant: DateTime<Utc>, zone: Tz) -> i32 {
    zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
}
