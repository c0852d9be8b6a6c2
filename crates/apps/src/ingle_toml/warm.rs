//! `[[workers.warm]]`: parts of the day in which workers are kept.

use ingle_types::schedule::{TimeZone, UnknownZone, Weekdays, Window};
use ingle_types::spec::WarmWindow;
use serde::Deserialize;
use toml::Spanned;

use super::{Reader, line_of};
use crate::suggest::{did_you_mean, nearest};

/// One entry, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Warm {
    from: Spanned<String>,
    to: Spanned<String>,
    days: Option<Spanned<String>>,
    time_zone: Option<Spanned<String>>,
    workers: Spanned<i64>,
}

/// The zone of entries that name none, or the setting that names one which is not there.
pub(crate) type DefaultZone = Result<TimeZone, UnknownZone>;

impl Reader<'_> {
    /// Entries with something wrong in them are left out.
    pub(super) fn warm(
        &mut self,
        entries: Vec<Spanned<Warm>>,
        default_zone: &DefaultZone,
    ) -> Vec<WarmWindow> {
        "workers.warm".clone_into(&mut self.table);
        let read: Vec<_> =
            entries.into_iter().filter_map(|entry| self.warm_window(entry, default_zone)).collect();
        "workers".clone_into(&mut self.table);
        read
    }

    fn warm_window(&mut self, entry: Spanned<Warm>, default_zone: &DefaultZone) -> Option<WarmWindow> {
        let start = entry.span().start;
        let entry = entry.into_inner();
        let (from_text, to_place) = (entry.from.get_ref().clone(), entry.to.span().start);
        let from = self.converted(
            "from",
            Some(entry.from),
            |text| minute_of_day(text, 23),
            "a time such as \"07:50\"",
        );
        let to =
            self.converted("to", Some(entry.to), |text| minute_of_day(text, 24), "a time such as \"09:00\"");
        let days = match entry.days {
            None => Some(Weekdays::DAILY),
            days => self.converted("days", days, Weekdays::parse, "\"daily\", \"mon-fri\" or \"sat,sun\""),
        };
        let zone = match entry.time_zone {
            Some(name) => self.zone(&name),
            None => self.default_zone(start, default_zone),
        };
        let workers = self.count("workers", Some(entry.workers), 1);
        let (from, to, days, zone, workers) = (from?, to?, days?, zone?, workers?);
        let Some(window) = Window::new(days, from, to, zone) else {
            let found = format!("{from_text:?}, and so is from");
            self.wrong("to", to_place, &found, "another time, or \"00:00\" and \"24:00\" for the whole day");
            return None;
        };
        Some(WarmWindow { window, workers, line: line_of(self.text, start) })
    }

    fn zone(&mut self, name: &Spanned<String>) -> Option<TimeZone> {
        let zone = name.get_ref().parse().ok();
        if zone.is_none() {
            let meant = did_you_mean(nearest(name.get_ref(), TimeZone::names()));
            let found = format!("{:?}, which is no time zone{meant}", name.get_ref());
            self.wrong("time_zone", name.span().start, &found, "a name such as \"Europe/Berlin\"");
        }
        zone
    }

    fn default_zone(&mut self, start: usize, zone: &DefaultZone) -> Option<TimeZone> {
        if let Err(UnknownZone { name }) = zone {
            let found = format!("missing, and WEBSITE_TIME_ZONE is {name:?}, which is no time zone");
            self.wrong("time_zone", start, &found, "a name such as \"Europe/Berlin\" here or there");
        }
        zone.clone().ok()
    }
}

/// `07:50`, in minutes after midnight; `24:00` only where `hour_max` is 24.
fn minute_of_day(text: &str, hour_max: u16) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_plain = matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
        is_plain.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let is_fine = hour <= hour_max && minute < 60 && (hour < 24 || minute == 0);
    is_fine.then_some(hour * 60 + minute)
}
