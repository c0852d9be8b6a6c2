//! What an app lets in, and how far an event may go: `[admission]`, `[loops]` and `[functions.NAME]` of `ingle.toml`.

use std::collections::BTreeMap;
use std::time::Duration;

/// Functions that an event may have passed through before it is put aside, unless the app says another number.
pub const HOPS_MAX: u32 = 16;

/// What is said about letting work in; what is not said is the caller's to choose.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AdmissionOptions {
    /// Invocations of one function that may wait.
    pub waiting_max: Option<usize>,
    /// How long someone who waits for the answer may wait for room.
    pub wait_max: Option<Duration>,
    /// Functions that an event may pass through; 0: any number.
    pub hops_max: Option<u32>,
    /// Invocations of a function at once, by its name in lower case.
    pub concurrency: BTreeMap<String, usize>,
}

impl AdmissionOptions {
    /// The number of functions after which an event is put aside; `None`: it never is.
    pub fn hops_max(&self) -> Option<u32> {
        Some(self.hops_max.unwrap_or(HOPS_MAX)).filter(|most| *most > 0)
    }
}
