//! The plan against random clocks; the listener with a scripted invoker, a store on disk and a clock that is moved by hand.

use std::time::{Duration, SystemTime};

use ingle_types::clock::from_unix_ms;
use ingle_types::schedule::{Schedule, TimeZone};
use ingle_types::spec::TimerTrigger;

mod listener;
mod plan;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// 2027-01-15 08:00:00 UTC, when every test begins.
fn start() -> SystemTime {
    from_unix_ms(1_800_000_000_000)
}

fn trigger(schedule: &str) -> TimerTrigger {
    TimerTrigger {
        schedule: Schedule::parse(schedule).unwrap(),
        zone: TimeZone::UTC,
        run_on_startup: false,
        use_monitor: true,
    }
}
