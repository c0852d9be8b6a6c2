//! What can be said about a handler for AWS Lambda.

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
}

impl Default for LambdaOptions {
    fn default() -> Self {
        Self { handler: None, timeout: None, region: "us-east-1".to_owned() }
    }
}
