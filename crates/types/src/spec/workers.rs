//! How an app wants its workers: the table `[workers]` of `ingle.toml`, resolved.

use std::time::Duration;

use crate::schedule::Window;

/// When a worker is made in the life of its interpreter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fork {
    /// After the import of the app if that is safe, else before it.
    #[default]
    Auto,
    /// After the import, whatever it left behind.
    AfterImport,
    BeforeImport,
    /// Each worker is started from the interpreter.
    Never,
}

/// What is said about workers; what is not said is the caller's to choose.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorkerOptions {
    pub plan: Option<ScalePlan>,
    /// Workers that are kept also without work.
    pub min: Option<usize>,
    pub max: Option<usize>,
    /// Workers that wait beside those in use, while there is or was work lately.
    pub spare: Option<usize>,
    /// Workers that wait beside those in use, always.
    pub prewarmed: Option<usize>,
    /// Invocations that one worker has at once, at most.
    pub concurrency: Option<usize>,
    /// How long a worker without work is kept.
    pub idle_timeout: Option<IdleTimeout>,
    /// Longest time for importing the app.
    pub init_timeout: Option<Duration>,
    pub fork: Fork,
    /// A worker is replaced after so many invocations.
    pub recycle_after: Option<u64>,
    /// A worker is replaced when it holds more memory, in bytes.
    pub recycle_memory: Option<u64>,
    /// What runs in a worker while nobody waits for it.
    pub warm_up: Option<WarmUp>,
    /// When more than `min` workers are kept.
    pub warm: Vec<WarmWindow>,
}

/// A function that prepares a worker by running in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WarmUp {
    /// Its name, as written.
    pub function: String,
    /// Of ingle.toml, counted from 1.
    pub line: u32,
}

/// A part of the day in which workers are kept also without work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WarmWindow {
    pub window: Window,
    pub workers: usize,
    /// Of ingle.toml, counted from 1.
    pub line: u32,
}

/// How long a worker without work is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdleTimeout {
    After(Duration),
    /// As long as the gaps between events, as far as they were seen.
    Auto,
}

/// A preset of the numbers above, named as Azure names its plans.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScalePlan {
    /// From zero to as many as there is work for.
    Consumption,
    /// At least one, and one more that waits.
    Premium,
    /// A fixed number, always.
    Dedicated,
}
