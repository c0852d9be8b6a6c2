//! What can be said about a handler for AWS Lambda.

use std::path::PathBuf;
use std::time::Duration;

/// `[lambda]` of `ingle.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaOptions {
    /// `module.function`, if the app names one.
    pub handler: Option<String>,
    /// Longest time of one event.
    pub timeout: Option<Duration>,
    /// The region that the function believes to be in.
    pub region: String,
    /// Whether it has a URL of its own.
    pub has_url: bool,
    /// Folders with what the function finds besides its own packages, below `python`; a later one goes before.
    pub layers: Vec<PathBuf>,
}

impl Default for LambdaOptions {
    fn default() -> Self {
        Self {
            handler: None,
            timeout: None,
            region: "us-east-1".to_owned(),
            has_url: true,
            layers: Vec::new(),
        }
    }
}
