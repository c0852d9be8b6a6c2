//! Schedule expressions of Amazon EventBridge and of its Scheduler.
//!
//! The fields, their ranges and wildcards are those that AWS documents. Where that is silent, ranges run over the end
//! (`FRI-MON`) and `LW` is the last weekday, as in Quartz, whose language this is.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

use super::cron::{MONTHS, WEEKDAYS, Word, at_least, first_of_next_month, has, plain_number, words};
use super::{INTERVAL_MAX, Rule, ScheduleError, next};

const FIX: &str =
    "write cron(minute hour day month day-of-week year), e.g. cron(0 9 ? * MON-FRI *), or rate(5 minutes)";

/// Fields as sets: bit `n` is set if `n` fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    years: BTreeSet<u32>,
}

/// Which days of a month fit; days of the week are 1 (Sunday) to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Days {
    OfMonth(u64),
    /// `L`.
    Last,
    /// `LW`: the last from Monday to Friday.
    LastWeekday,
    /// `15W`: the day from Monday to Friday that is nearest, within the month.
    NearestWeekday(u32),
    OfWeek(u64),
    /// `6L`: the last Friday of the month.
    LastOfWeek(u32),
    /// `3#2`: the second Tuesday of the month.
    Nth {
        weekday: u32,
        nth: u32,
    },
}

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    fix: &'static str,
}

const MINUTE: Field = Field { name: "minute", min: 0, max: 59, names: &[], fix: "minutes are 0 to 59" };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, names: &[], fix: "hours are 0 to 23" };
const DAY: Field =
    Field { name: "day", min: 1, max: 31, names: &[], fix: "days of the month are 1 to 31, L, or e.g. 15W" };
const MONTH: Field =
    Field { name: "month", min: 1, max: 12, names: &MONTHS, fix: "months are 1 to 12 or JAN to DEC" };
const WEEKDAY: Field = Field {
    name: "day of week",
    min: 1,
    max: 7,
    names: &WEEKDAYS,
    fix: "days of the week are 1 (Sunday) to 7 or SUN to SAT, L, e.g. 6L, or e.g. 3#2",
};
const YEAR: Field = Field { name: "year", min: 1970, max: 2199, names: &[], fix: "years are 1970 to 2199" };

/// Reads `cron(…)`, `rate(…)` or `at(…)`.
pub(super) fn parse(text: &str) -> Result<Rule, ScheduleError> {
    let blanks = text.chars().take_while(|character| character.is_whitespace()).count();
    let trimmed = text.trim();
    let whole = Word { text: trimmed, position: blanks + 1 };
    let Some((name, rest)) = trimmed.split_once('(') else {
        return Err(whole.fail(format!("`{trimmed}` is neither cron(…) nor rate(…)"), FIX));
    };
    let Some(inner) = rest.strip_suffix(')') else {
        return Err(whole.fail("the closing `)` is missing".to_owned(), FIX));
    };
    let inner = Word { text: inner, position: whole.position + name.chars().count() + 1 };
    match name {
        "cron" => Cron::parse(inner).map(Rule::Aws),
        "rate" => rate(inner).map(Rule::Every),
        "at" => at(inner).map(Rule::At),
        _ => Err(whole.fail(format!("`{name}` is neither cron nor rate"), FIX)),
    }
}

/// `5 minutes`.
fn rate(inner: Word<'_>) -> Result<Duration, ScheduleError> {
    const FIX: &str = "write a whole number and minutes, hours or days, e.g. rate(5 minutes) or rate(1 hour)";
    let words = words_at(inner);
    let [count, unit] = words[..] else {
        return Err(inner.fail("a rate has a number and a unit".to_owned(), FIX));
    };
    let plain = count.text.len() <= 9 && count.text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = plain
        .then(|| count.text.parse().ok())
        .flatten()
        .filter(|number| *number > 0)
        .ok_or_else(|| count.fail(format!("`{}` is no positive whole number", count.text), FIX))?;
    let (seconds, singular) = match unit.text {
        "minute" | "minutes" => (60, "minute"),
        "hour" | "hours" => (3600, "hour"),
        "day" | "days" => (86_400, "day"),
        other => return Err(unit.fail(format!("`{other}` is no unit of a rate"), FIX)),
    };
    let is_plural = unit.text.ends_with('s');
    if is_plural == (number == 1) {
        let plural = if number == 1 { "" } else { "s" };
        let fix = format!("write rate({number} {singular}{plural})");
        return Err(unit.fail(format!("AWS refuses `{}` behind {number}", unit.text), &fix));
    }
    let interval = Duration::from_secs(number * seconds);
    if interval > INTERVAL_MAX {
        return Err(count.fail("the rate is longer than ten years".to_owned(), FIX));
    }
    Ok(interval)
}

/// `2026-11-20T13:00:00`, a wall-clock time.
fn at(inner: Word<'_>) -> Result<NaiveDateTime, ScheduleError> {
    NaiveDateTime::parse_from_str(inner.text.trim(), "%Y-%m-%dT%H:%M:%S").map_err(|_syntax| {
        let what = format!("`{}` is no point in time", inner.text);
        inner.fail(what, "write it as at(2026-11-20T13:00:00)")
    })
}

fn words_at(inner: Word<'_>) -> Vec<Word<'_>> {
    let mut found = words(inner.text);
    for word in &mut found {
        word.position += inner.position - 1;
    }
    found
}

impl Cron {
    fn parse(inner: Word<'_>) -> Result<Self, ScheduleError> {
        let words = words_at(inner);
        let [minute, hour, day, month, weekday, year] = words[..] else {
            let what = format!("there are {} fields instead of six", words.len());
            return Err(inner.fail(what, FIX));
        };
        let days = match (day.text, weekday.text) {
            ("?", "?") => return Err(day.fail("day and day of week are both `?`".to_owned(), FIX)),
            ("?", _) => days_of_week(weekday)?,
            (_, "?") => days_of_month(day)?,
            _ => {
                let fix = "write `?` for the one that does not matter, e.g. cron(0 9 * * ? *)";
                return Err(weekday.fail("day and day of week are both given".to_owned(), fix));
            }
        };
        let cron = Self {
            minutes: bits(&read(&MINUTE, minute)?),
            hours: bits(&read(&HOUR, hour)?),
            days,
            months: bits(&read(&MONTH, month)?),
            years: read(&YEAR, year)?.into_iter().collect(),
        };
        if cron.next_local(DateTime::UNIX_EPOCH.naive_utc() - TimeDelta::minutes(1)).is_none() {
            let fix = "give the month a day that it has; 29 February is fine in a leap year";
            return Err(day.fail(format!("day {} never comes in month {}", day.text, month.text), fix));
        }
        Ok(cron)
    }

    /// The first instant strictly after `after`, which has whole seconds. A wall-clock time that does not exist is left
    /// out, of two instants with one wall-clock time the first counts.
    pub(super) fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let mut local = after.with_timezone(&zone).naive_local();
        loop {
            local = self.next_local(local)?;
            if let Some(instant) = next::instants(local, zone).0.filter(|instant| *instant > after) {
                return Some(instant);
            }
        }
    }

    /// The first wall-clock time strictly after `after` that fits, in a calendar without zones.
    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let minute = after.with_second(0)?.with_nanosecond(0)?;
        let start = minute.checked_add_signed(TimeDelta::minutes(1))?;
        let (mut date, mut time) = (start.date(), start.time());
        loop {
            let year = u32::try_from(date.year()).unwrap_or(0);
            let fitting = *self.years.range(year..).next()?;
            if fitting != year {
                date = NaiveDate::from_ymd_opt(i32::try_from(fitting).ok()?, 1, 1)?;
            } else if !has(self.months, date.month()) {
                date = first_of_next_month(date)?;
            } else {
                if self.days.contain(date)
                    && let Some(found) = self.next_time(time)
                {
                    return Some(date.and_time(found));
                }
                date = date.succ_opt()?;
            }
            time = NaiveTime::MIN;
        }
    }

    /// The first fitting time of day that is not before `time`.
    fn next_time(&self, time: NaiveTime) -> Option<NaiveTime> {
        if has(self.hours, time.hour())
            && let Some(minute) = at_least(self.minutes, time.minute())
        {
            return NaiveTime::from_hms_opt(time.hour(), minute, 0);
        }
        let hour = at_least(self.hours, time.hour() + 1)?;
        NaiveTime::from_hms_opt(hour, self.minutes.trailing_zeros(), 0)
    }
}

impl Days {
    fn contain(self, date: NaiveDate) -> bool {
        let weekday = date.weekday().number_from_sunday();
        let day = date.day();
        let last = days_in_month(date);
        match self {
            Self::OfMonth(days) => has(days, day),
            Self::OfWeek(weekdays) => has(weekdays, weekday),
            Self::Last => day == last,
            Self::LastWeekday => nearest_weekday(date, last) == Some(day),
            Self::NearestWeekday(wanted) => wanted <= last && nearest_weekday(date, wanted) == Some(day),
            Self::LastOfWeek(wanted) => weekday == wanted && day + 7 > last,
            Self::Nth { weekday: wanted, nth } => weekday == wanted && day.div_ceil(7) == nth,
        }
    }
}

fn days_in_month(date: NaiveDate) -> u32 {
    first_of_next_month(date).and_then(|next| next.pred_opt()).map_or(31, |last| last.day())
}

/// The day from Monday to Friday that is nearest to a day of the month of `date`, without leaving that month.
fn nearest_weekday(date: NaiveDate, day: u32) -> Option<u32> {
    let last = days_in_month(date);
    let nearest = match date.with_day(day)?.weekday() {
        chrono::Weekday::Sat if day == 1 => day + 2,
        chrono::Weekday::Sat => day - 1,
        chrono::Weekday::Sun if day == last => day - 2,
        chrono::Weekday::Sun => day + 1,
        _ => day,
    };
    Some(nearest)
}

fn days_of_month(word: Word<'_>) -> Result<Days, ScheduleError> {
    match word.text {
        "L" => Ok(Days::Last),
        "LW" => Ok(Days::LastWeekday),
        text => match text.strip_suffix('W') {
            Some(day) if !text.contains(',') => {
                value(&DAY, Word { text: day, ..word }).map(Days::NearestWeekday)
            }
            _ => read(&DAY, word).map(|days| Days::OfMonth(bits(&days))),
        },
    }
}

fn days_of_week(word: Word<'_>) -> Result<Days, ScheduleError> {
    if word.text == "L" {
        return Ok(Days::OfWeek(1 << WEEKDAY.max));
    }
    if let Some((weekday, nth)) = word.text.split_once('#') {
        let position = word.position + weekday.chars().count() + 1;
        let weekday = value(&WEEKDAY, Word { text: weekday, ..word })?;
        let nth = Word { text: nth, position };
        return match plain_number(nth.text) {
            Some(nth @ 1..=5) => Ok(Days::Nth { weekday, nth }),
            _ => {
                let fix =
                    "write one day of the week and a number from 1 to 5, e.g. 3#2 for the second Tuesday";
                Err(nth.fail(format!("`{}` is no number of a week in a month", nth.text), fix))
            }
        };
    }
    match word.text.strip_suffix('L') {
        Some(weekday) => value(&WEEKDAY, Word { text: weekday, ..word }).map(Days::LastOfWeek),
        None => read(&WEEKDAY, word).map(|days| Days::OfWeek(bits(&days))),
    }
}

fn bits(numbers: &[u32]) -> u64 {
    numbers.iter().fold(0, |set, number| set | 1 << number)
}

/// One field: a list of parts.
fn read(field: &Field, word: Word<'_>) -> Result<Vec<u32>, ScheduleError> {
    let mut numbers = Vec::new();
    let mut position = word.position;
    for part in word.text.split(',') {
        numbers.extend(read_part(field, Word { text: part, position })?);
        // A year's list of stars is the longest that means anything.
        numbers.sort_unstable();
        numbers.dedup();
        position += part.chars().count() + 1;
    }
    Ok(numbers)
}

/// `*`, `a`, `a-b`, each with `/n` or without. A step behind a single number counts from it to the end.
fn read_part(field: &Field, part: Word<'_>) -> Result<Vec<u32>, ScheduleError> {
    let (range, step) = match part.text.split_once('/') {
        None => (part, None),
        Some((range, step)) => {
            let position = part.position + range.chars().count() + 1;
            (Word { text: range, ..part }, Some(read_step(field, Word { text: step, position })?))
        }
    };
    let (first, last) = match range.text.split_once('-') {
        _ if range.text == "*" => (field.min, field.max),
        Some((first, last)) => {
            let position = range.position + first.chars().count() + 1;
            (value(field, Word { text: first, ..range })?, value(field, Word { text: last, position })?)
        }
        None => {
            let first = value(field, range)?;
            (first, if step.is_some() { field.max } else { first })
        }
    };
    let step = step.unwrap_or(1);
    if first <= last {
        return Ok((first..=last).step_by(step).collect());
    }
    if field.min == YEAR.min {
        return Err(range.fail(format!("the year range `{}` runs backwards", range.text), field.fix));
    }
    Ok((first..=field.max).chain(field.min..=last).step_by(step).collect())
}

fn read_step(field: &Field, step: Word<'_>) -> Result<usize, ScheduleError> {
    let most = field.max - field.min;
    let number = plain_number(step.text).filter(|number| (1..=most).contains(number));
    number.and_then(|number| usize::try_from(number).ok()).ok_or_else(|| {
        let what = format!("`{}` is no step of the {} field", step.text, field.name);
        step.fail(what, &format!("write a step from 1 to {most}"))
    })
}

fn value(field: &Field, word: Word<'_>) -> Result<u32, ScheduleError> {
    let lower = word.text.to_ascii_lowercase();
    let named = || {
        let index = field.names.iter().position(|name| name.get(..3) == Some(lower.as_str()))?;
        u32::try_from(index).ok().map(|index| index + field.min)
    };
    match plain_number(word.text).or_else(named) {
        Some(number) if (field.min..=field.max).contains(&number) => Ok(number),
        _ => Err(refused(field, word)),
    }
}

fn refused(field: &Field, word: Word<'_>) -> ScheduleError {
    let what = format!("`{}` is no {}", word.text, field.name);
    match word.text {
        "" => word.fail(format!("a part of the {} field is empty", field.name), field.fix),
        "0" if field.max == WEEKDAY.max => word.fail(what, "write 1 for Sunday; AWS counts from 1"),
        "?" => word.fail(format!("`?` can't be in the {} field", field.name), "write `*`"),
        _ => word.fail(what, field.fix),
    }
}

#[cfg(test)]
mod tests;
