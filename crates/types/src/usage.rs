//! Keys of callers of an API of AWS, and how much of it each may use.
//!
//! Projects declare them, and the gateway keeps to them. What each part means is in AWS's documentation of API Gateway's usage plans.

use std::time::SystemTime;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};

/// A key that callers may show.
#[derive(Clone, PartialEq, Debug)]
pub struct ApiKey {
    pub name: String,
    /// What they show; without it, one is made here and kept with the other keys of the project.
    pub value: Option<String>,
    /// Without one there are no limits.
    pub plan: Option<UsagePlan>,
}

/// What the holder of each key may use.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct UsagePlan {
    pub name: String,
    pub throttle: Option<Throttle>,
    pub quota: Option<Quota>,
}

/// How fast. A bucket holds `burst` requests, and is filled with `rate` requests a second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Throttle {
    pub rate: f64,
    pub burst: u32,
}

/// How many requests in a period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    pub limit: u64,
    pub period: Period,
    /// The day with which a period begins: with 1, a week begins on Monday, and a month with its second day.
    pub offset: u32,
}

/// In UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    Day,
    /// From Sunday on.
    Week,
    Month,
}

impl Period {
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// As AWS spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::Week => "WEEK",
            Self::Month => "MONTH",
        }
    }

    /// Most days by which one can begin later.
    pub fn offset_max(self) -> u32 {
        match self {
            Self::Day => 0,
            Self::Week => 6,
            Self::Month => 27,
        }
    }
}

impl std::str::FromStr for Period {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|period| period.as_str().eq_ignore_ascii_case(text)).ok_or(())
    }
}

impl Quota {
    /// The number of the period that a time is in; a later one has a greater one.
    pub fn period(&self, now: SystemTime) -> i64 {
        let began = DateTime::<Utc>::from(now) - TimeDelta::days(i64::from(self.offset));
        let day = i64::from(began.num_days_from_ce());
        match self.period {
            Period::Day => day,
            // The first of January of the year 1 is a Monday, and day 1.
            Period::Week => day.div_euclid(7),
            Period::Month => i64::from(began.year()) * 12 + i64::from(began.month0()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(period: Period, offset: u32, date: &str) -> i64 {
        let time = DateTime::parse_from_rfc3339(&format!("{date}Z")).unwrap();
        Quota { limit: 1, period, offset }.period(time.into())
    }

    /// `before` is in the period before that of `after`.
    #[track_caller]
    fn check(kind: Period, offset: u32, before: &str, after: &str) {
        assert_eq!(period(kind, offset, before) + 1, period(kind, offset, after), "{kind:?} {offset}");
    }

    #[test]
    fn periods_begin_at_midnight() {
        check(Period::Day, 0, "2026-11-22T23:59:59", "2026-11-23T00:00:00");
        // A Saturday, and a Sunday.
        check(Period::Week, 0, "2026-11-21T23:59:59", "2026-11-22T00:00:00");
        check(Period::Week, 1, "2026-11-22T23:59:59", "2026-11-23T00:00:00");
        check(Period::Month, 0, "2026-12-31T23:59:59", "2027-01-01T00:00:00");
        check(Period::Month, 9, "2026-12-09T23:59:59", "2026-12-10T00:00:00");
        assert_eq!(
            period(Period::Week, 0, "2026-11-22T00:00:00"),
            period(Period::Week, 0, "2026-11-28T23:59:59")
        );
    }

    #[test]
    fn periods_have_the_names_of_aws() {
        assert_eq!("month".parse(), Ok(Period::Month));
        assert_eq!("WEEK".parse(), Ok(Period::Week));
        assert_eq!("YEAR".parse::<Period>(), Err(()));
    }
}
