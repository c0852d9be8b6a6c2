//! `timerTrigger`.

use ingle_types::schedule::{Schedule, TimeZone, UnknownZone};
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

/// The zone of times that name none: `WEBSITE_TIME_ZONE`, as in Azure; else `TZ`; else UTC, as in Azure, so that a
/// schedule means the same on every machine. A zone in `TZ` that is not known is UTC.
///
/// # Errors
/// The zone that `WEBSITE_TIME_ZONE` names is not known.
pub(crate) fn default_zone<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<TimeZone, UnknownZone> {
    match setting(ZONE_SETTING) {
        Some(name) => name.parse(),
        None => Ok(setting("TZ").and_then(|name| name.parse().ok()).unwrap_or(TimeZone::UTC)),
    }
}

fn zone(properties: &mut Properties<'_>) -> Result<TimeZone, Reported> {
    let zone = default_zone(|name| properties.setting(name));
    if properties.setting(ZONE_SETTING).is_none()
        && let Some(error) = properties.setting("TZ").and_then(|name| name.parse::<TimeZone>().err())
    {
        let message = format!("{error}, which TZ names; UTC is used instead");
        properties.warn("E0238", KEY, message, "set WEBSITE_TIME_ZONE to choose another");
    }
    zone.map_err(|error| {
        let meant = did_you_mean(nearest(&error.name, TimeZone::names()));
        let message = format!("{error}, which the setting {ZONE_SETTING} names{meant}");
        let fix =
            "write a name such as Europe/Berlin or W. Europe Standard Time, or leave the setting out for UTC";
        properties.error("E0238", KEY, message, fix.to_owned())
    })
}
