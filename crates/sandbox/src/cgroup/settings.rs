//! Which file of a group gets which value. Pure, so that both versions can be read and tested side by side.

use std::io;
use std::path::Path;

use super::{Controller, Version, files};

/// What one worker may use. `None` sets no limit.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Limits {
    /// Bytes of memory, files in the page cache included. Nothing of it is swapped out where the kernel lets us say so:
    /// a worker that swaps is slow for ever instead of ended, and its neighbours with it.
    pub memory: Option<u64>,
    /// Share of the processors when they are scarce, from 1 to 10000; 100 is usual.
    pub cpu_weight: Option<u16>,
    /// Processors that may be used even when nobody else wants them, e.g. 0.5.
    pub cpu_quota: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) struct Setting {
    file: &'static str,
    value: String,
    /// Kernels without the file are well, e.g. those without swap.
    optional: bool,
}

/// The span over which a quota is counted: the kernel's own default.
const PERIOD_MICROSECONDS: u32 = 100_000;

/// What a group has that was given none, and the least that one can have.
const WEIGHT: u32 = 100;
const WEIGHT_MIN: u32 = 1;

/// The kernel takes no quota below this.
const QUOTA_MICROSECONDS_MIN: f64 = 1_000.0;

impl Limits {
    /// # Errors
    /// A limit is out of range.
    pub(super) fn check(&self) -> io::Result<()> {
        let bad = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if self.memory == Some(0) || self.pids == Some(0) {
            return bad("a limit of memory or processes is at least 1");
        }
        if self.cpu_weight.is_some_and(|weight| !(1..=10_000).contains(&weight)) {
            return bad("the weight of a processor is from 1 to 10000");
        }
        if self.cpu_quota.is_some_and(|cores| !(cores.is_finite() && cores > 0.0 && cores < 1_000_000.0)) {
            return bad("a quota of processors is a number above 0 and below a million");
        }
        Ok(())
    }

    /// In the order in which they must be written.
    pub(super) fn settings(&self, controller: Controller, version: Version) -> Vec<Setting> {
        match controller {
            Controller::Memory => self.memory.map(|bytes| memory(bytes, version)).unwrap_or_default(),
            Controller::Cpu => self.processor(version),
            Controller::Pids => self.pids.map(|count| needed("pids.max", &count)).into_iter().collect(),
            Controller::Kill | Controller::CpuTime => Vec::new(),
        }
    }

    /// The weight of a group that gives way where it can't be idle, or its own.
    pub(super) fn weight(&self, gives_way: bool, version: Version) -> Setting {
        let weight = if gives_way { WEIGHT_MIN } else { self.cpu_weight.map_or(WEIGHT, u32::from) };
        weight_setting(weight, version)
    }

    fn processor(&self, version: Version) -> Vec<Setting> {
        let quota = self.cpu_quota.map(quota_microseconds);
        let weight = self.cpu_weight.map(|weight| weight_setting(weight.into(), version));
        let settings = match version {
            Version::V1 => [
                weight,
                quota.map(|_| needed("cpu.cfs_period_us", &PERIOD_MICROSECONDS)),
                quota.map(|quota| needed("cpu.cfs_quota_us", &quota)),
            ],
            Version::V2 => [
                weight,
                quota.map(|quota| needed("cpu.max", &format!("{quota} {PERIOD_MICROSECONDS}"))),
                None,
            ],
        };
        settings.into_iter().flatten().collect()
    }
}

fn weight_setting(weight: u32, version: Version) -> Setting {
    match version {
        // 1024 shares are what a weight of 100 is.
        Version::V1 => needed("cpu.shares", &(weight * 1024 / 100).max(2)),
        Version::V2 => needed("cpu.weight", &weight),
    }
}

fn memory(bytes: u64, version: Version) -> Vec<Setting> {
    match version {
        Version::V1 => vec![
            needed("memory.limit_in_bytes", &bytes),
            // Memory and swap together: no more than memory alone. It must not be below the limit above at any time.
            optional("memory.memsw.limit_in_bytes", &bytes),
            optional("memory.swappiness", &0),
        ],
        Version::V2 => vec![
            needed("memory.max", &bytes),
            optional("memory.swap.max", &0),
            // All processes of a worker end together: half a worker is worse than none.
            optional("memory.oom.group", &1),
        ],
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be above 0 and below a million"
)]
fn quota_microseconds(cores: f64) -> u64 {
    (cores * f64::from(PERIOD_MICROSECONDS)).max(QUOTA_MICROSECONDS_MIN).round() as u64
}

fn needed(file: &'static str, value: &impl ToString) -> Setting {
    Setting { file, value: value.to_string(), optional: false }
}

fn optional(file: &'static str, value: &impl ToString) -> Setting {
    Setting { optional: true, ..needed(file, value) }
}

impl Setting {
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        match files::write(folder, self.file, &self.value) {
            Err(error) if self.optional && error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limits: Limits, controller: Controller, version: Version, expected: &[(&str, &str)]) {
        let settings = limits.settings(controller, version);
        let written: Vec<(&str, &str)> =
            settings.iter().map(|setting| (setting.file, setting.value.as_str())).collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn each_version_gets_its_own_files() {
        let limits =
            Limits { memory: Some(67_108_864), cpu_weight: Some(100), cpu_quota: Some(0.5), pids: Some(32) };
        let bytes = "67108864";
        let v1 = [
            ("memory.limit_in_bytes", bytes),
            ("memory.memsw.limit_in_bytes", bytes),
            ("memory.swappiness", "0"),
        ];
        check(limits, Controller::Memory, Version::V1, &v1);
        let v2 = [("memory.max", bytes), ("memory.swap.max", "0"), ("memory.oom.group", "1")];
        check(limits, Controller::Memory, Version::V2, &v2);
        let v1 = [("cpu.shares", "1024"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "50000")];
        check(limits, Controller::Cpu, Version::V1, &v1);
        check(limits, Controller::Cpu, Version::V2, &[("cpu.weight", "100"), ("cpu.max", "50000 100000")]);
        for version in [Version::V1, Version::V2] {
            check(limits, Controller::Pids, version, &[("pids.max", "32")]);
            check(limits, Controller::Kill, version, &[]);
            check(limits, Controller::CpuTime, version, &[]);
        }
    }

    #[test]
    fn what_is_not_limited_is_not_written() {
        for controller in Controller::ALL {
            check(Limits::default(), controller, Version::V1, &[]);
            check(Limits::default(), controller, Version::V2, &[]);
        }
    }

    #[test]
    fn small_values_are_raised_to_what_the_kernel_takes() {
        let limits = Limits { cpu_weight: Some(1), cpu_quota: Some(0.0001), ..Limits::default() };
        let v1 = [("cpu.shares", "10"), ("cpu.cfs_period_us", "100000"), ("cpu.cfs_quota_us", "1000")];
        check(limits, Controller::Cpu, Version::V1, &v1);
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        let none = Limits::default();
        assert!(none.check().is_ok());
        for quota in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(Limits { cpu_quota: Some(quota), ..none }.check().is_err(), "{quota}");
        }
        assert!(Limits { memory: Some(0), ..none }.check().is_err());
        assert!(Limits { pids: Some(0), ..none }.check().is_err());
        for weight in [0, 10_001] {
            assert!(Limits { cpu_weight: Some(weight), ..none }.check().is_err(), "{weight}");
        }
    }
}
