//! Vectors for what AWS documents, and croner as a second opinion about the calendar.

use std::time::SystemTime;

use proptest::prelude::*;

use super::*;
use crate::schedule::{Schedule, TimeZone, system_time, utc};

fn at(text: &str) -> SystemTime {
    system_time(DateTime::parse_from_rfc3339(text).unwrap().to_utc())
}

#[track_caller]
fn check_zone(text: &str, zone: &str, after: &str, expected: &[&str]) {
    let schedule = Schedule::parse_aws(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let zone: TimeZone = zone.parse().unwrap();
    let mut time = at(after);
    let mut found = Vec::new();
    while let Some(next) = schedule.next_after(time, zone).filter(|_| found.len() < expected.len()) {
        found.push(zone.iso_text(next));
        time = next;
    }
    assert_eq!(found, expected, "{text} in {zone}");
}

#[track_caller]
fn check(text: &str, after: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|time| format!("{time}+00:00")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check_zone(text, "UTC", after, &expected);
}

#[test]
fn expressions_are_read_as_aws_reads_them() {
    let new_year = "2026-01-01T00:00:00Z";
    check("cron(0 10 * * ? *)", new_year, &["2026-01-01T10:00:00", "2026-01-02T10:00:00"]);
    check("cron(15 12 * * ? *)", "2026-01-01T12:15:00Z", &["2026-01-02T12:15:00"]);
    check("cron(0 18 ? * MON-FRI *)", "2026-01-02T18:00:00Z", &["2026-01-05T18:00:00"]);
    check("cron(0 8 1 * ? *)", new_year, &["2026-01-01T08:00:00", "2026-02-01T08:00:00"]);
    check("cron(0/15 * * * ? *)", new_year, &["2026-01-01T00:15:00", "2026-01-01T00:30:00"]);
    check("cron(1/10 * * * ? *)", new_year, &["2026-01-01T00:01:00", "2026-01-01T00:11:00"]);
    check(
        "cron(0/5 8-17 ? * mon-fri *)",
        "2026-01-02T17:50:00Z",
        &["2026-01-02T17:55:00", "2026-01-05T08:00:00"],
    );
    check("cron(0 9 ? * 2#1 *)", new_year, &["2026-01-05T09:00:00", "2026-02-02T09:00:00"]);
    check("cron(0 9 ? * TUE#5 *)", new_year, &["2026-03-31T09:00:00", "2026-06-30T09:00:00"]);
    check("cron(0 9 ? * 6L *)", new_year, &["2026-01-30T09:00:00", "2026-02-27T09:00:00"]);
    check("cron(0 9 ? * L *)", new_year, &["2026-01-03T09:00:00", "2026-01-10T09:00:00"]);
    check("cron(0 9 L * ? *)", new_year, &["2026-01-31T09:00:00", "2026-02-28T09:00:00"]);
    check("cron(0 9 LW * ? *)", new_year, &["2026-01-30T09:00:00", "2026-02-27T09:00:00"]);
    // 3 January 2026 is a Saturday, 1 February a Sunday, 1 August a Saturday, 31 May a Sunday.
    check("cron(0 9 3W JAN ? *)", new_year, &["2026-01-02T09:00:00"]);
    check("cron(0 9 1W FEB,AUG ? *)", new_year, &["2026-02-02T09:00:00", "2026-08-03T09:00:00"]);
    check("cron(0 9 31W 4-5 ? 2026)", new_year, &["2026-05-29T09:00:00"]);
    // 1 is Sunday, and a range may run over the end.
    check("cron(0 9 ? * 1 *)", new_year, &["2026-01-04T09:00:00"]);
    check(
        "cron(0 23-1 ? * SAT-SUN *)",
        "2026-01-02T23:30:00Z",
        &["2026-01-03T00:00:00", "2026-01-03T01:00:00"],
    );
    // Years, also ones that have passed.
    check(
        "cron(0 0 1 1 ? 2027-2028)",
        "2026-06-01T00:00:00Z",
        &["2027-01-01T00:00:00", "2028-01-01T00:00:00"],
    );
    check("cron(0 0 29 2 ? *)", "2096-03-01T00:00:00Z", &["2104-02-29T00:00:00"]);
    let past = Schedule::parse_aws("cron(0 0 1 1 ? 2020)").unwrap();
    assert_eq!(past.next_after(at(new_year), TimeZone::UTC), None);
    // Seconds are left out, not rounded.
    check("cron(* * * * ? *)", "2026-01-01T00:00:59Z", &["2026-01-01T00:01:00"]);
}

#[test]
fn rates_and_points_in_time_are_read() {
    check("rate(1 minute)", "2026-01-01T00:00:07Z", &["2026-01-01T00:01:07", "2026-01-01T00:02:07"]);
    check(" rate( 12  hours ) ", "2026-01-01T00:00:00Z", &["2026-01-01T12:00:00"]);
    check("rate(7 days)", "2026-01-01T00:00:00Z", &["2026-01-08T00:00:00"]);
    check_zone(
        "at(2026-07-01T09:00:00)",
        "Europe/Berlin",
        "2026-01-01T00:00:00Z",
        &["2026-07-01T09:00:00+02:00"],
    );
    let once = Schedule::parse_aws("at(2026-07-01T09:00:00)").unwrap();
    assert_eq!(once.next_after(at("2026-07-01T09:00:00Z"), TimeZone::UTC), None);
    let (first, time) = (at("2026-07-01T09:00:00Z"), at("2030-01-01T00:00:00Z"));
    assert_eq!(once.last_until(first, time, TimeZone::UTC), first);
    let weekly = Schedule::parse_aws("cron(0 9 ? * MON *)").unwrap();
    let last = weekly.last_until(at("2020-01-06T09:00:00Z"), at("2026-01-06T00:00:00Z"), TimeZone::UTC);
    assert_eq!(last, at("2026-01-05T09:00:00Z"));
    assert_eq!(weekly.to_string(), "cron(0 9 ? * MON *)");
}

/// As EventBridge Scheduler has it: nothing in the gap, the first of two.
#[test]
fn t_070_clocks_that_are_moved() {
    let berlin = "Europe/Berlin";
    check_zone("cron(30 2 * * ? *)", berlin, "2026-03-28T12:00:00Z", &["2026-03-30T02:30:00+02:00"]);
    check_zone(
        "cron(30 2 * * ? *)",
        berlin,
        "2026-10-24T12:00:00Z",
        &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
    );
    check_zone("cron(0/30 * * * ? *)", berlin, "2026-10-25T01:10:00Z", &["2026-10-25T03:00:00+01:00"]);
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_a_fix() {
    let refused = |text: &str, message: &str, fix: &str| {
        let error = Schedule::parse_aws(text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
        assert!(error.fix.contains(fix), "{text}: {}", error.fix);
    };
    refused("", "`` is neither cron(…) nor rate(…), at character 1", "rate(5 minutes)");
    refused("0 */5 * * * *", "`0 */5 * * * *` is neither cron(…) nor rate(…), at character 1", "cron(");
    refused("cron(0 9 * * ? *", "the closing `)` is missing, at character 1", "cron(");
    refused("every(5)", "`every` is neither cron nor rate, at character 1", "rate(");
    refused("cron(0 9 * * ?)", "there are 5 fields instead of six, at character 6", "year");
    refused("cron(0 9 * * * *)", "day and day of week are both given, at character 14", "`?`");
    refused("cron(0 9 1 * 2 *)", "day and day of week are both given, at character 14", "`?`");
    refused("cron(0 9 ? * ? *)", "day and day of week are both `?`, at character 10", "");
    refused("cron(60 9 * * ? *)", "`60` is no minute, at character 6", "0 to 59");
    refused("cron(0 24 * * ? *)", "`24` is no hour, at character 8", "0 to 23");
    refused("cron(0 0 0 * ? *)", "`0` is no day, at character 10", "1 to 31");
    refused("cron(0 0 ? * 0 *)", "`0` is no day of week, at character 14", "1 for Sunday");
    refused("cron(0 0 ? * 3#6 *)", "`6` is no number of a week in a month, at character 16", "3#2");
    refused(
        "cron(0 0 ? * 3#1,6#3 *)",
        "`1,6#3` is no number of a week in a month, at character 16",
        "one day",
    );
    refused("cron(0 0 L,1 * ? *)", "`L` is no day, at character 10", "");
    refused("cron(0 0 * 13 ? *)", "`13` is no month, at character 12", "JAN to DEC");
    refused("cron(0 0 * ? ? *)", "`?` can't be in the month field, at character 12", "`*`");
    refused("cron(0 0 * * ? 1969)", "`1969` is no year, at character 16", "1970 to 2199");
    refused("cron(0 0 * * ? 2030-2026)", "the year range `2030-2026` runs backwards, at character 16", "");
    refused("cron(*/0 0 * * ? *)", "`0` is no step of the minute field, at character 8", "1 to 59");
    refused("cron(0 0 1,,2 * ? *)", "a part of the day field is empty, at character 12", "");
    refused("cron(0 0 30 2 ? *)", "day 30 never comes in month 2, at character 10", "29 February");
    refused("cron(0 0 29 2 ? 2027)", "day 29 never comes in month 2, at character 10", "leap");
    refused("rate(5 minute)", "AWS refuses `minute` behind 5, at character 8", "write rate(5 minutes)");
    refused("rate(1 hours)", "AWS refuses `hours` behind 1, at character 8", "write rate(1 hour)");
    refused("rate(0 minutes)", "`0` is no positive whole number, at character 6", "");
    refused("rate(1.5 hours)", "`1.5` is no positive whole number, at character 6", "");
    refused("rate(30 seconds)", "`seconds` is no unit of a rate, at character 9", "minutes");
    refused("rate(5)", "a rate has a number and a unit, at character 6", "");
    refused("rate(99999 days)", "the rate is longer than ten years, at character 6", "");
    refused("at(tomorrow)", "`tomorrow` is no point in time, at character 4", "at(2026");
}

/// One field as text, from what croner reads alike.
fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let number = move || min..=max;
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => number().prop_map(|first| first.to_string()),
        2 => (number(), number()).prop_map(|(one, other)| format!("{}-{}", one.min(other), one.max(other))),
        1 => (1..=(max - min).div_ceil(2)).prop_map(|step| format!("*/{step}")),
        1 => proptest::collection::vec(number(), 1..4)
            .prop_map(|numbers| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
    ]
}

/// Day and day of the week: one of them restricts.
fn days() -> impl Strategy<Value = (String, String)> {
    let any = || Just("?".to_owned());
    prop_oneof![
        (field(1, 31), any()),
        (Just("L".to_owned()), any()),
        ((1_u32..=28).prop_map(|day| format!("{day}W")), any()),
        (any(), field(1, 7)),
        (any(), (1_u32..=7).prop_map(|weekday| format!("{weekday}L"))),
        (any(), (1_u32..=7, 1_u32..=5).prop_map(|(weekday, nth)| format!("{weekday}#{nth}"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "\\PC{0,40}|(cron|rate|at)\\([0-9*/,?#LW :T-]{0,30}\\)") {
        drop(Schedule::parse_aws(&text));
    }

    /// croner with Quartz's numbers of days. It looks for a shorter time than we do, so only what it finds is compared.
    #[test]
    fn croner_agrees_about_the_calendar(
        (minute, hour, month) in (field(0, 59), field(0, 23), field(1, 12)),
        (day, weekday) in days(),
        seconds in 1_500_000_000_i64..2_500_000_000,
    ) {
        let text = format!("cron({minute} {hour} {day} {month} {weekday} *)");
        let Ok(schedule) = Schedule::parse_aws(&text) else { return Ok(()) };
        let star = |text: &str| if text == "?" { "*".to_owned() } else { text.to_owned() };
        let other = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Disallowed)
            .dom_and_dow(true)
            .alternative_weekdays(true)
            .build()
            .parse(&format!("{minute} {hour} {} {month} {}", star(&day), star(&weekday)))
            .unwrap();
        let mut time = DateTime::from_timestamp(seconds, 0).unwrap();
        for _ in 0..5 {
            let Ok(expected) = other.find_next_occurrence(&time, false) else { return Ok(()) };
            let found = schedule.next_after(system_time(time), TimeZone::UTC).map(|found| utc(found).unwrap());
            prop_assert_eq!(found, Some(expected), "{} after {}", text, time);
            time = expected;
        }
    }
}
