//! Vectors for what is read and refused, for daylight saving, and two second opinions: croner for the calendar, and a
//! walker that looks at every minute for zones.

use chrono::{NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SystemTime {
    system_time(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
}

fn zone(name: &str) -> TimeZone {
    name.parse().unwrap()
}

/// The occurrences after `after`, in local time with offset.
fn occurrences(schedule: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
    let (schedule, zone) = (Schedule::parse(schedule).unwrap(), zone(zone_name));
    let mut time = at(after);
    let mut found = Vec::new();
    for _ in 0..count {
        time = schedule.next_after(time, zone).unwrap();
        found.push(zone.iso_text(time));
    }
    found
}

#[track_caller]
fn check(schedule: &str, after: &str, expected: &[&str]) {
    let found = occurrences(schedule, "UTC", after, expected.len());
    let expected: Vec<String> = expected.iter().map(|time| format!("{time}+00:00")).collect();
    assert_eq!(found, expected, "{schedule}");
}

#[track_caller]
fn check_zone(schedule: &str, zone: &str, after: &str, expected: &[&str]) {
    assert_eq!(occurrences(schedule, zone, after, expected.len()), expected, "{schedule} in {zone}");
}

#[test]
fn schedules_are_read_as_azure_reads_them() {
    check("0 */5 * * * *", "2026-01-01T00:03:00Z", &["2026-01-01T00:05:00", "2026-01-01T00:10:00"]);
    check("30 0 */2 * * *", "2026-01-01T01:00:00Z", &["2026-01-01T02:00:30", "2026-01-01T04:00:30"]);
    check("*/20 * * * *", "2026-01-01T00:20:00Z", &["2026-01-01T00:40:00", "2026-01-01T01:00:00"]);
    check("0 30 9 * Jan Mon-Fri", "2026-01-02T10:00:00Z", &["2026-01-05T09:30:00", "2026-01-06T09:30:00"]);
    check("0 0 0 1,15 * *", "2026-01-01T00:00:00Z", &["2026-01-15T00:00:00", "2026-02-01T00:00:00"]);
    check("0 50/4 3 * * *", "2026-01-01T00:00:00Z", &["2026-01-01T03:50:00", "2026-01-01T03:54:00"]);
    check("0 10-20/5 3 * * *", "2026-01-01T03:15:00Z", &["2026-01-01T03:20:00", "2026-01-02T03:10:00"]);
    // Day and day of the week both restrict: Friday the 13th.
    check("0 0 0 13 * FRIDAY", "2026-01-01T00:00:00Z", &["2026-02-13T00:00:00", "2026-03-13T00:00:00"]);
    // T-070: leap days, also across a century that has none.
    check("0 0 12 29 2 *", "2026-01-01T00:00:00Z", &["2028-02-29T12:00:00", "2032-02-29T12:00:00"]);
    check("0 0 12 29 2 *", "2096-03-01T00:00:00Z", &["2104-02-29T12:00:00"]);
    check("0 0 12 29 2 SUN", "2032-03-01T00:00:00Z", &["2060-02-29T12:00:00"]);
    check("59 59 23 31 12 *", "2026-06-30T23:59:59Z", &["2026-12-31T23:59:59", "2027-12-31T23:59:59"]);
}

#[test]
fn intervals_count_from_the_time_given() {
    check("00:10:00", "2026-01-01T00:03:07Z", &["2026-01-01T00:13:07", "2026-01-01T00:23:07"]);
    check("24:00:00", "2026-01-01T00:00:00Z", &["2026-01-02T00:00:00"]);
    check("1.02:03:04", "2026-01-01T00:00:00Z", &["2026-01-02T02:03:04"]);
    check("36:00:00", "2026-01-01T00:00:00Z", &["2026-01-02T12:00:00"]);
    // An hour is an hour, whatever the clocks do.
    check_zone("01:00:00", "Europe/Berlin", "2026-03-29T00:30:00Z", &["2026-03-29T03:30:00+02:00"]);
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_a_fix() {
    let refused = |text: &str, message: &str, fix: &str| {
        let error = Schedule::parse(text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
        assert!(error.fix.contains(fix), "{text}: {}", error.fix);
    };
    refused("", "the schedule is empty, at character 1", "six fields");
    refused("* * *", "there are 3 fields instead of five or six, at character 1", "six fields");
    refused("@daily", "`@daily` is a name that NCRONTAB does not know, at character 1", "six fields");
    refused(
        "0 0 0 1 1 * 2026",
        "there are seven fields; NCRONTAB knows no years, at character 13",
        "leave the year",
    );
    refused("0 61 * * * *", "`61` is no minute, at character 3", "0 to 59");
    refused("0 0 24 * * *", "`24` is no hour, at character 5", "0 to 23");
    refused("0 0 0 0 * *", "`0` is no day, at character 7", "1 to 31");
    refused("0 0 0 * 13 *", "`13` is no month, at character 9", "Jan to Dec");
    refused("0 0 0 * * 7", "`7` is no day of week, at character 11", "0 for Sunday");
    refused("0 0 0 * * 1,Funday", "`Funday` is no day of week, at character 13", "Sun to Sat");
    refused(
        "0 0 0 * * FRI-MON",
        "the day of week range `FRI-MON` runs backwards, at character 11",
        "5-6,0-1",
    );
    refused("0 */0 * * * *", "`0` is no step of the minute field, at character 5", "1 to 59");
    refused("0 */-5 * * * *", "`-5` is no step of the minute field, at character 5", "1 to 59");
    refused("0 0,,5 * * * *", "a part of the minute field is empty, at character 5", "0 to 59");
    refused("0 0 0 ? * *", "`?` is not known, at character 7", "`*`");
    refused("0 0 0 L * *", "`L` is no day: NCRONTAB does not know L, W and #, at character 7", "1 to 31");
    refused(
        "0 0 0 * * MON#2",
        "`MON#2` is no day of week: NCRONTAB does not know L, W and #, at character 11",
        "",
    );
    refused("0 0 0 30 2 *", "day 30 never comes in month 2, at character 7", "29 February");
    refused("0 0 31 4,6 *", "day 31 never comes in month 4,6, at character 5", "29 February");
    refused("00:00:00", "an interval of zero never ends, at character 1", "hh:mm:ss");
    refused("00:60:00", "`60` is no number of minutes from 0 to 59, at character 4", "hh:mm:ss");
    refused("1.24:00:00", "`24` is no number of hours from 0 to 23, at character 3", "hh:mm:ss");
    refused("00:05", "`00:05` is no interval of hours, minutes and seconds, at character 1", "hh:mm:ss");
    refused(
        "00:00:00.5",
        "`00:00:00.5` is no interval of hours, minutes and seconds, at character 1",
        "hh:mm:ss",
    );
    refused(" 9999.00:00:00", "`9999` is no number of days, at character 2", "hh:mm:ss");
}

/// T-070: clocks go forward over 02:00 to 03:00 in Berlin on 29 March 2026.
#[test]
fn t_070_a_time_that_does_not_exist_runs_once_right_after_the_gap() {
    let berlin = "Europe/Berlin";
    let before = "2026-03-28T12:00:00Z";
    check_zone("0 30 2 * * *", berlin, before, &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]);
    // All that fall into the gap are one, also with one that exists right after it.
    check_zone(
        "0 */20 2-3 * * *",
        berlin,
        before,
        &["2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00", "2026-03-29T03:40:00+02:00"],
    );
    // A gap of half an hour, and one at midnight.
    check_zone("0 10 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", &["2026-10-04T02:30:00+11:00"]);
    check_zone("0 0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", &["2018-11-04T01:00:00-02:00"]);
    // Samoa left out 30 December 2011 altogether.
    check_zone(
        "0 0 12 30 12 *",
        "Pacific/Apia",
        "2011-12-01T00:00:00Z",
        &["2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"],
    );
    // Every hour means every hour: no bunch, no pause.
    check_zone(
        "0 30 * * * *",
        berlin,
        "2026-03-29T00:00:00Z",
        &["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"],
    );
}

/// T-070: clocks go back over 03:00 to 02:00 in Berlin on 25 October 2026.
#[test]
fn t_070_a_time_that_exists_twice_runs_once() {
    let berlin = "Europe/Berlin";
    let before = "2026-10-24T12:00:00Z";
    check_zone("0 30 2 * * *", berlin, before, &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]);
    check_zone(
        "0 */30 1-3 * * *",
        berlin,
        "2026-10-25T00:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00", "2026-10-25T03:30:00+01:00"],
    );
    // From within the second time around, the next one is after it.
    check_zone("* * 2 * * *", berlin, "2026-10-25T01:10:00Z", &["2026-10-26T02:00:00+01:00"]);
    // Every hour means every hour.
    check_zone(
        "0 30 * * * *",
        berlin,
        "2026-10-25T00:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"],
    );
    check_zone(
        "0 10 * * * *",
        berlin,
        "2026-10-25T00:30:00Z",
        &["2026-10-25T02:10:00+01:00", "2026-10-25T03:10:00+01:00"],
    );
    check_zone(
        "0 */15 * * * *",
        "Australia/Lord_Howe",
        "2026-04-04T14:50:00Z",
        &["2026-04-05T01:30:00+10:30", "2026-04-05T01:45:00+10:30", "2026-04-05T02:00:00+10:30"],
    );
}

#[test]
fn the_last_occurrence_is_found_without_walking() {
    let check = |schedule: &str, first: &str, time: &str, expected: &str| {
        let schedule = Schedule::parse(schedule).unwrap();
        assert_eq!(schedule.last_until(at(first), at(time), TimeZone::UTC), at(expected), "{schedule}");
    };
    // Ten years of seconds.
    check("* * * * * *", "2016-01-01T00:00:00Z", "2026-01-01T00:00:07Z", "2026-01-01T00:00:07Z");
    check("0 0 0 1 1 *", "2016-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-01-01T00:00:00Z");
    check("0 0 0 1 1 *", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-01-01T00:00:00Z");
    check("00:07:00", "2026-01-01T00:00:01Z", "2026-01-01T00:20:00Z", "2026-01-01T00:14:01Z");
    check("00:07:00", "2026-01-01T00:00:01Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:01Z");
}

/// One field as text, from sets that both readers know.
fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let number = move || min..=max;
    let part = prop_oneof![
        3 => Just("*".to_owned()),
        3 => number().prop_map(|first| first.to_string()),
        2 => (number(), number()).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (1..=max.div_ceil(2).max(1)).prop_map(|step| format!("*/{step}")),
        1 => (number(), number(), 1_u32..4)
            .prop_map(|(one, other, step)| format!("{}-{}/{step}", one.min(other), one.max(other))),
    ];
    // croner refuses a star in a list, so there is none but alone.
    let join = |parts: Vec<String>| {
        if parts.iter().any(|part| part == "*") { "*".to_owned() } else { parts.join(",") }
    };
    proptest::collection::vec(part, 1..3).prop_map(join)
}

fn expression() -> impl Strategy<Value = String> {
    (field(0, 59), field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)).prop_map(
        |(second, minute, hour, day, month, weekday)| {
            format!("{second} {minute} {hour} {day} {month} {weekday}")
        },
    )
}

/// The rule, literally: looks at every minute of `span` minutes and says which are occurrences.
fn walk(cron: &Cron, from: DateTime<Utc>, minutes: i64, zone: Tz) -> Vec<DateTime<Utc>> {
    let local = |instant: DateTime<Utc>| instant.with_timezone(&zone).naive_local();
    let minute = chrono::TimeDelta::minutes(1);
    // Long enough before to know which wall-clock times have been there already.
    let mut seen: std::collections::HashSet<NaiveDateTime> =
        (1..=240).map(|back| local(from - minute * back)).collect();
    let mut found = Vec::new();
    for step in 0..minutes {
        let instant = from + minute * i32::try_from(step).unwrap();
        let now = local(instant);
        let is_first = seen.insert(now);
        let mut fits = cron.fits(now) && (is_first || cron.covers_every_hour());
        // The wall-clock times that were jumped over just now.
        let mut jumped = local(instant - minute) + minute;
        while jumped < now {
            fits |= cron.fits(jumped) && !cron.covers_every_hour();
            jumped += minute;
        }
        if fits {
            found.push(instant);
        }
    }
    found
}

/// Two days around a change of the clocks, in zones that do it in different ways.
const CHANGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-28T00:00:00Z"),
    ("Europe/Berlin", "2026-10-24T00:00:00Z"),
    ("America/New_York", "2026-03-07T12:00:00Z"),
    ("America/New_York", "2026-10-31T12:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T00:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T00:00:00Z"),
    ("America/Sao_Paulo", "2018-02-17T00:00:00Z"),
    ("America/Sao_Paulo", "2018-11-03T00:00:00Z"),
    ("Asia/Kathmandu", "2026-03-28T00:00:00Z"),
    ("Africa/Casablanca", "2026-02-14T00:00:00Z"),
    ("Antarctica/Troll", "2026-03-28T00:00:00Z"),
    ("Antarctica/Troll", "2026-10-24T00:00:00Z"),
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,40}|[0-9*/,. :-]{0,30}") {
        drop(Schedule::parse(&text));
    }

    /// croner reads the same language when both kinds of days restrict. It looks for a shorter time than we do, so only
    /// what it finds is compared.
    #[test]
    fn croner_agrees_about_the_calendar(text in expression(), seconds in 1_500_000_000_i64..2_500_000_000) {
        let Ok(schedule) = Schedule::parse(&text) else { return Ok(()) };
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Required)
            .dom_and_dow(true)
            .build();
        let other = parser.parse(&text).unwrap();
        let mut time = DateTime::from_timestamp(seconds, 0).unwrap();
        for _ in 0..5 {
            let Ok(expected) = other.find_next_occurrence(&time, false) else { return Ok(()) };
            let found = schedule.next_after(system_time(time), TimeZone::UTC).map(|found| utc(found).unwrap());
            prop_assert_eq!(found, Some(expected), "{} after {}", text, time);
            time = expected;
        }
    }

    /// T-070: every minute around a change of the clocks, against the rule as it is documented.
    #[test]
    fn t_070_a_walker_agrees_around_changes_of_clocks(
        change in proptest::sample::select(CHANGES),
        minute in field(0, 59),
        hour in prop_oneof![field(0, 23), field(0, 4), Just("*".to_owned())],
        weekday in prop_oneof![3 => Just("*".to_owned()), 1 => field(0, 6)],
    ) {
        let (name, from) = change;
        let schedule = Schedule::parse(&format!("{minute} {hour} * * {weekday}")).unwrap();
        let Rule::Cron(cron) = &schedule.rule else { unreachable!() };
        let zone: Tz = name.parse().unwrap();
        let from = DateTime::parse_from_rfc3339(from).unwrap().to_utc();
        let minutes = 3 * 24 * 60;
        let expected = walk(cron, from, minutes, zone);
        let end = from + chrono::TimeDelta::minutes(minutes);
        let mut found = Vec::new();
        let mut time = from - chrono::TimeDelta::seconds(1);
        while let Some(next) = next::next_after(cron, time, zone).filter(|next| *next < end) {
            found.push(next);
            time = next;
        }
        let shown = |times: &[DateTime<Utc>]| -> Vec<String> {
            times.iter().map(|time| zone.from_utc_datetime(&time.naive_utc()).to_rfc3339()).collect()
        };
        prop_assert_eq!(shown(&found), shown(&expected), "{} in {}", schedule, name);
    }
}
