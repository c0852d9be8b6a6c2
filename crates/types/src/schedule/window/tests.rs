//! Parts of the day against a second opinion that looks at each minute.

use std::time::Duration;

use chrono::NaiveDateTime;
use proptest::prelude::*;

use super::*;
use crate::clock::read_date;

fn window(days: &str, from: u16, to: u16, zone: &str) -> Window {
    Window::new(Weekdays::parse(days).unwrap(), from, to, zone.parse().unwrap()).unwrap()
}

fn at(text: &str) -> SystemTime {
    read_date(text).unwrap()
}

/// From `after` on the window begins and ends at these times, in turn.
#[track_caller]
fn check(window: Window, after: &str, expected: &[&str]) {
    let mut time = at(after);
    for edge in expected {
        time = window.next_edge_after(time).unwrap();
        assert_eq!(time, at(edge), "{}", window.zone.iso_text(time));
    }
}

#[test]
fn a_window_comes_on_its_days_at_the_times_of_its_zone() {
    // Friday, 7 August 2026; in Berlin two hours ahead of UTC.
    let mornings = window("mon-fri", 7 * 60 + 50, 9 * 60, "Europe/Berlin");
    check(
        mornings,
        "2026-08-07T00:00:00Z",
        &["2026-08-07T05:50:00Z", "2026-08-07T07:00:00Z", "2026-08-10T05:50:00Z"],
    );
    assert!(!mornings.is_open(at("2026-08-07T05:49:59Z")));
    assert!(mornings.is_open(at("2026-08-07T05:50:00Z")) && mornings.is_open(at("2026-08-07T06:59:59Z")));
    assert!(!mornings.is_open(at("2026-08-07T07:00:00Z")) && !mornings.is_open(at("2026-08-08T06:00:00Z")));
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let nights = window("fri", 22 * 60, 6 * 60, "UTC");
    check(nights, "2026-08-07T12:00:00Z", &["2026-08-07T22:00:00Z", "2026-08-08T06:00:00Z"]);
    assert!(nights.is_open(at("2026-08-08T05:59:00Z")));
    assert!(!nights.is_open(at("2026-08-07T05:59:00Z")) && !nights.is_open(at("2026-08-08T22:30:00Z")));
    let days = window("daily", 0, 24 * 60, "UTC");
    assert!(days.is_open(at("2026-08-08T00:00:00Z")) && days.is_open(at("2026-08-08T23:59:59Z")));
}

#[test]
fn windows_keep_to_the_clock_on_the_wall_when_that_is_moved() {
    // On 25 October 2026 the hour from 2 to 3 comes twice in Berlin, on 29 March it does not come.
    let twice = window("daily", 2 * 60 + 15, 2 * 60 + 45, "Europe/Berlin");
    check(twice, "2026-10-24T12:00:00Z", &["2026-10-25T00:15:00Z", "2026-10-25T01:45:00Z"]);
    let never = window("sun", 2 * 60 + 15, 2 * 60 + 45, "Europe/Berlin");
    assert!(
        (0..2 * 60)
            .all(|minute| { !never.is_open(at("2026-03-29T00:00:00Z") + Duration::from_secs(60 * minute)) })
    );
    let from_gap = window("daily", 2 * 60 + 30, 4 * 60, "Europe/Berlin");
    check(from_gap, "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
    let up_to_gap = window("daily", 60, 2 * 60 + 30, "Europe/Berlin");
    check(up_to_gap, "2026-03-28T12:00:00Z", &["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"]);
}

#[test]
fn days_are_read_in_these_forms() {
    let shown = |text: &str| {
        Weekdays::parse(text)
            .map(|days| days.0.iter().map(|is_one| if *is_one { 'x' } else { '-' }).collect::<String>())
    };
    for (text, expected) in [
        ("daily", "xxxxxxx"),
        ("mon-fri", "xxxxx--"),
        ("Sat, Sun", "-----xx"),
        ("fri-mon", "x---xxx"),
        ("wed", "--x----"),
        ("mon-tue,thu", "xx-x---"),
    ] {
        assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
    }
    for text in ["", "mon-", "monday", "mon fri", "1-5", "mon,,tue", "mon-wed-fri"] {
        assert_eq!(shown(text), None, "{text}");
    }
}

#[test]
fn what_is_on_no_clock_is_no_window() {
    let new = |from, to| Window::new(Weekdays::DAILY, from, to, TimeZone::UTC);
    assert!(new(0, 1440).is_some() && new(1439, 0).is_some());
    assert!(new(60, 60).is_none() && new(1440, 60).is_none() && new(0, 1441).is_none());
}

/// Longest repetition of a wall-clock time, in minutes.
const AROUND: i64 = 4 * 60;

/// What the documentation says, minute by minute: the clocks have shown the beginning or more at some time up to now,
/// and will show less than the end at some time from now on.
fn naive(window: &Window, time: DateTime<Utc>) -> bool {
    let shown = |minute: i64| -> NaiveDateTime {
        (time + TimeDelta::minutes(minute)).with_timezone(&window.zone.0).naive_local()
    };
    let most = (-AROUND..=0).map(shown).max().unwrap();
    let least = (0..=AROUND).map(shown).min().unwrap();
    let dates = (-4..=4_i64).map(|day| shown(0).date() + TimeDelta::days(day));
    dates.filter(|date| window.days.0[date.weekday().num_days_from_monday() as usize]).any(|date| {
        let midnight = date.and_time(NaiveTime::MIN);
        let at = |minute: u16| midnight + TimeDelta::minutes(i64::from(minute));
        at(window.from) <= most && least < at(window.to)
    })
}

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kolkata",
    "Pacific/Apia",
];

proptest! {
    /// Half of the times lie near a day on which some of these clocks are moved.
    #[test]
    fn it_agrees_with_looking_at_each_minute(
        zone in 0..ZONES.len(), days in proptest::array::uniform7(any::<bool>()),
        from in 0..1440_u16, to in 0..=1440_u16, start in 0..20_u64,
        minute in prop_oneof![0..10_500_000_u64, 13_000_u64..16_000, 425_000_u64..440_000, 156_000_u64..160_000],
    ) {
        let zone: TimeZone = ZONES[zone].parse().unwrap();
        let Some(window) = Window::new(Weekdays(days), from, to, zone) else { return Ok(()) };
        // Minutes of a year between 2007 and 2026.
        let time = at("2007-01-01") + Duration::from_secs(60 * (minute + start * 525_960));
        let expected = naive(&window, utc(time).unwrap());
        prop_assert_eq!(window.is_open(time), expected, "{} {:?}", zone.iso_text(time), window);
        // Nothing changes before the next edge.
        if let Some(edge) = window.next_edge_after(time) {
            prop_assert!(edge > time);
            let between = edge.duration_since(time).unwrap();
            for part in 1..=4 {
                let sample = time + between * part / 5;
                let sample = time + Duration::from_secs(sample.duration_since(time).unwrap().as_secs() / 60 * 60);
                prop_assert_eq!(window.is_open(sample), expected, "{}", zone.iso_text(sample));
            }
            prop_assert_eq!(window.is_open(edge - Duration::from_secs(60)), expected);
        } else {
            prop_assert!(days.iter().all(|is_one| !is_one));
        }
    }
}
