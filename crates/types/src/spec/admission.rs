//! What an app lets in, and how far an event may go: `[admission]`, `[loops]`, `[http]` and
//! `[functions.NAME]` of `ingle.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::ids::FunctionName;

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
    pub departures: Departures,
}

/// What becomes of an invocation whose HTTP client has gone away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnDisconnect {
    /// One that waits is not run, and what an `async def` function awaits is cancelled.
    #[default]
    Cancel,
    /// It runs to its end; it may look whether anybody is still there.
    Finish,
}

/// [`OnDisconnect`] of each function.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Departures {
    pub of_any: OnDisconnect,
    /// Of single functions, by their names in lower case.
    pub of_function: BTreeMap<String, OnDisconnect>,
}

impl Departures {
    pub fn of(&self, function: &FunctionName) -> OnDisconnect {
        self.of_function.get(&function.as_str().to_lowercase()).copied().unwrap_or(self.of_any)
    }
}

impl AdmissionOptions {
    /// The functions of which something is said, in lower case.
    pub fn named_functions(&self) -> BTreeSet<&String> {
        self.concurrency.keys().chain(self.departures.of_function.keys()).collect()
    }

    /// The number of functions after which an event is put aside; `None`: it never is.
    pub fn hops_max(&self) -> Option<u32> {
        Some(self.hops_max.unwrap_or(HOPS_MAX)).filter(|most| *most > 0)
    }
}
