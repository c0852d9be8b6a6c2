//! `timerTrigger`.

use ingle_types::schedule::{Schedule, TimeZone};
use ingle_types::spec::TimerTrigger;

use super::Reported;
use super::properties::Properties;
use crate::suggest::{did_you_mean, nearest};

const KEY: &str = "schedule";
const ZONE_SETTING: &str = "WEBSITE_TIME_ZONE";

pub(super) fn trigger(properties: &mut Properties<'_>) -> Result<TimerTrigger, Reported> {
    properties.direction(&["in"], "in")?;
    let text = properties.required_text(KEY)?;
    let run_on_startup = properties.truth("runOnStartup")?.unwrap_or(false);
    let use_monitor = properties.truth("useMonitor")?.unwrap_or(true);
    let schedule = Schedule::parse(&text).map_err(|error| {
        let message = format!("the schedule `{text}` can't be used: {error}");
        properties.error("E0235", KEY, message, error.fix)
    })?;
    Ok(TimerTrigger { schedule, zone: zone(properties)?, run_on_startup, use_monitor })
}

/// `WEBSITE_TIME_ZONE`, as in Azure; else `TZ`; else UTC, as in Azure, so that a schedule means the same on every
/// machine.
fn zone(properties: &mut Properties<'_>) -> Result<TimeZone, Reported> {
    if let Some(name) = properties.setting(ZONE_SETTING).map(str::to_owned) {
        return name.parse().map_err(|error: ingle_types::schedule::UnknownZone| {
            let meant = did_you_mean(nearest(&name, TimeZone::names()));
            let message = format!("{error}, which the setting {ZONE_SETTING} names{meant}");
            let fix = "write a name such as Europe/Berlin or W. Europe Standard Time, or leave the setting out for UTC";
            properties.error("E0238", KEY, message, fix.to_owned())
        });
    }
    let Some(name) = properties.setting("TZ").map(str::to_owned) else { return Ok(TimeZone::UTC) };
    Ok(name.parse().unwrap_or_else(|error: ingle_types::schedule::UnknownZone| {
        let message = format!("{error}, which TZ names; UTC is used instead");
        properties.warn("E0238", KEY, message, "set WEBSITE_TIME_ZONE to choose another");
        TimeZone::UTC
    }))
}
