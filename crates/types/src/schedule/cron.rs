//! NCRONTAB expressions: reading the fields, and the next wall-clock time that fits.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};

use super::ScheduleError;

/// How many years ahead a fitting day is looked for. 29 February on one day of the week comes at least every 40.
const YEARS_AHEAD: i32 = 100;

/// Fields as sets: bit `n` is set if `n` fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
}

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
    /// What to write in general.
    fix: &'static str,
}

pub(super) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
pub(super) const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

const FIELDS: [Field; 6] = [
    Field { name: "second", min: 0, max: 59, names: &[], fix: "seconds are 0 to 59" },
    Field { name: "minute", min: 0, max: 59, names: &[], fix: "minutes are 0 to 59" },
    Field { name: "hour", min: 0, max: 23, names: &[], fix: "hours are 0 to 23" },
    Field { name: "day", min: 1, max: 31, names: &[], fix: "days of the month are 1 to 31" },
    Field { name: "month", min: 1, max: 12, names: &MONTHS, fix: "months are 1 to 12 or Jan to Dec" },
    Field {
        name: "day of week",
        min: 0,
        max: 6,
        names: &WEEKDAYS,
        fix: "days of the week are 0 (Sunday) to 6 (Saturday) or Sun to Sat",
    },
];

/// A word of the text and where it starts, in characters from 1.
#[derive(Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) position: usize,
}

impl Word<'_> {
    pub(super) fn fail(self, what: String, fix: &str) -> ScheduleError {
        ScheduleError { position: self.position, what, fix: fix.to_owned() }
    }
}

impl Cron {
    pub(super) fn parse(text: &str) -> Result<Self, ScheduleError> {
        let words = words(text);
        let sets = match words.as_slice() {
            [_, _, _, _, _] => {
                let mut sets = vec![1];
                for (field, word) in FIELDS[1..].iter().zip(&words) {
                    sets.push(read(field, *word)?);
                }
                sets
            }
            [_, _, _, _, _, _] => {
                let mut sets = Vec::new();
                for (field, word) in FIELDS.iter().zip(&words) {
                    sets.push(read(field, *word)?);
                }
                sets
            }
            other => return Err(wrong_count(text, other)),
        };
        let [seconds, minutes, hours, days, months, weekdays] = sets[..] else {
            return Err(wrong_count(text, &words));
        };
        let cron = Self { seconds, minutes, hours, days, months, weekdays };
        if !cron.can_happen() {
            let day = words[words.len() - 3];
            let fix = "give the month a day that it has; 29 February is fine";
            return Err(day.fail(
                format!("day {} never comes in month {}", day.text, words[words.len() - 2].text),
                fix,
            ));
        }
        Ok(cron)
    }

    fn can_happen(&self) -> bool {
        const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        (1..=12)
            .zip(LENGTHS)
            .any(|(month, length)| has(self.months, month) && self.days.trailing_zeros() <= length)
    }

    /// Whether the hour field leaves none out.
    pub(super) fn covers_every_hour(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// The first wall-clock time strictly after `after` that fits, in a calendar without zones.
    pub(super) fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let start = after.checked_add_signed(TimeDelta::seconds(1))?;
        let mut date = start.date();
        let mut time = start.time();
        let year_max = date.year() + YEARS_AHEAD;
        loop {
            if has(self.months, date.month()) {
                if self.fits_day(date)
                    && let Some(found) = self.next_time(time)
                {
                    return Some(date.and_time(found));
                }
                date = date.succ_opt()?;
            } else {
                date = first_of_next_month(date)?;
            }
            time = NaiveTime::MIN;
            if date.year() > year_max {
                return None;
            }
        }
    }

    /// Whether a wall-clock time fits; sub-seconds aside.
    #[cfg(test)]
    pub(super) fn fits(&self, time: NaiveDateTime) -> bool {
        self.fits_day(time.date())
            && has(self.hours, time.hour())
            && has(self.minutes, time.minute())
            && has(self.seconds, time.second())
    }

    fn fits_day(&self, date: NaiveDate) -> bool {
        has(self.months, date.month())
            && has(self.days, date.day())
            && has(self.weekdays, date.weekday().num_days_from_sunday())
    }

    /// The first fitting time of day that is not before `time`.
    fn next_time(&self, time: NaiveTime) -> Option<NaiveTime> {
        let (first_second, first_minute) = (self.seconds.trailing_zeros(), self.minutes.trailing_zeros());
        let (hour, minute) = (time.hour(), time.minute());
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = at_least(self.seconds, time.second())
            {
                return NaiveTime::from_hms_opt(hour, minute, second);
            }
            if let Some(minute) = at_least(self.minutes, minute + 1) {
                return NaiveTime::from_hms_opt(hour, minute, first_second);
            }
        }
        let hour = at_least(self.hours, hour + 1)?;
        NaiveTime::from_hms_opt(hour, first_minute, first_second)
    }
}

pub(super) fn has(set: u64, number: u32) -> bool {
    set >> number & 1 == 1
}

/// The smallest number of the set that is `from` or more.
pub(super) fn at_least(set: u64, from: u32) -> Option<u32> {
    let rest = set.checked_shr(from)?;
    (rest != 0).then(|| from + rest.trailing_zeros())
}

pub(super) fn first_of_next_month(date: NaiveDate) -> Option<NaiveDate> {
    match date.month() {
        12 => NaiveDate::from_ymd_opt(date.year() + 1, 1, 1),
        month => NaiveDate::from_ymd_opt(date.year(), month + 1, 1),
    }
}

pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text;
    let mut position = 1;
    loop {
        let trimmed = rest.trim_start();
        position += rest[..rest.len() - trimmed.len()].chars().count();
        let end = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        if end == 0 {
            return words;
        }
        words.push(Word { text: &trimmed[..end], position });
        position += trimmed[..end].chars().count();
        rest = &trimmed[end..];
    }
}

fn wrong_count(text: &str, words: &[Word<'_>]) -> ScheduleError {
    let whole = Word { text, position: 1 };
    let fix = "write six fields: second minute hour day month day-of-week, e.g. `0 */5 * * * *`, or five without the second";
    match words {
        [] => whole.fail("the schedule is empty".to_owned(), fix),
        [word] if word.text.starts_with('@') => {
            word.fail(format!("`{}` is a name that NCRONTAB does not know", word.text), fix)
        }
        [.., year] if words.len() == 7 => {
            year.fail("there are seven fields; NCRONTAB knows no years".to_owned(), "leave the year out")
        }
        words => whole.fail(format!("there are {} fields instead of five or six", words.len()), fix),
    }
}

/// One field: a list of parts.
fn read(field: &Field, word: Word<'_>) -> Result<u64, ScheduleError> {
    let mut set = 0;
    let mut position = word.position;
    for part in word.text.split(',') {
        set |= read_part(field, Word { text: part, position })?;
        position += part.chars().count() + 1;
    }
    Ok(set)
}

/// `*`, `a`, `a-b`, each with `/n` or without. A step behind a single number counts from it to the end.
fn read_part(field: &Field, part: Word<'_>) -> Result<u64, ScheduleError> {
    let (range, step) = match part.text.split_once('/') {
        Some((range, step)) => (Word { text: range, ..part }, Some(step)),
        None => (part, None),
    };
    let step = match step {
        None => None,
        Some(step) => {
            let position = part.position + range.text.chars().count() + 1;
            Some(read_step(field, Word { text: step, position })?)
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
    if first > last {
        let fix = format!("write two ranges: {first}-{},{}-{last}", field.max, field.min);
        return Err(range.fail(format!("the {} range `{}` runs backwards", field.name, range.text), &fix));
    }
    let step = usize::try_from(step.unwrap_or(1)).unwrap_or(usize::MAX);
    Ok((first..=last).step_by(step).fold(0, |set, number| set | 1 << number))
}

fn read_step(field: &Field, step: Word<'_>) -> Result<u32, ScheduleError> {
    match plain_number(step.text) {
        Some(number) if (1..=field.max).contains(&number) => Ok(number),
        _ => {
            let what = format!("`{}` is no step of the {} field", step.text, field.name);
            Err(step.fail(what, &format!("write a step from 1 to {}", field.max)))
        }
    }
}

fn value(field: &Field, word: Word<'_>) -> Result<u32, ScheduleError> {
    let found = plain_number(word.text).or_else(|| named(field, word.text));
    match found {
        Some(number) if (field.min..=field.max).contains(&number) => Ok(number),
        _ => Err(refused(field, word)),
    }
}

pub(super) fn plain_number(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// `Jan` or `January`, in any case.
fn named(field: &Field, text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let index = field.names.iter().position(|name| *name == lower || name[..3] == lower)?;
    u32::try_from(index).ok().map(|index| index + field.min)
}

fn refused(field: &Field, word: Word<'_>) -> ScheduleError {
    let what = format!("`{}` is no {}", word.text, field.name);
    match word.text {
        "" => word.fail(format!("a part of the {} field is empty", field.name), field.fix),
        "7" if field.max == 6 => word.fail(what, "write 0 for Sunday; NCRONTAB has no 7"),
        "?" => word.fail("`?` is not known".to_owned(), "write `*`"),
        text if text.contains('#') || text.ends_with(['L', 'W']) => {
            word.fail(format!("{what}: NCRONTAB does not know L, W and #"), field.fix)
        }
        _ => word.fail(what, field.fix),
    }
}
