//! What `host.json` says, with Azure's defaults (facts 6.1).

use std::time::Duration;

use super::trigger::{CatchUp, RetryPolicy};

/// What `host.json` says, with Azure's defaults (facts 6.1).
#[derive(Clone, Debug, PartialEq)]
pub struct HostConfig {
    /// `None`: no limit.
    pub function_timeout: Option<Duration>,
    /// Only these functions run; empty means all.
    pub functions: Vec<String>,
    pub http: HttpOptions,
    pub queues: QueueOptions,
    pub blobs: BlobOptions,
    /// `extensions.timers.catchUp`, a key of ours.
    pub catch_up: CatchUp,
    /// For every function without a policy of its own.
    pub retry: Option<RetryPolicy>,
    pub cors: Option<CorsOptions>,
    /// `watchFiles` and `watchDirectories`: what is watched besides what every app is made of.
    pub watch_files: Vec<String>,
    pub watch_directories: Vec<String>,
    /// Category to level, as written.
    pub log_levels: Vec<(String, String)>,
    /// Accepted and without effect: bindings are built in.
    pub extension_bundle: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpOptions {
    /// Without slashes at its ends; may be empty.
    pub route_prefix: String,
    /// Largest request body in bytes.
    pub body_bytes_max: u64,
    /// Requests in work at once; more wait. `None`: no limit.
    pub concurrent_requests_max: Option<u32>,
    /// Requests in work or waiting; more are answered with 429. `None`: no limit.
    pub outstanding_requests_max: Option<u32>,
    /// Added to every response.
    pub custom_headers: Vec<(String, String)>,
}

/// Cross-origin rules from `local.settings.json` or flags.
#[derive(Clone, Debug, PartialEq)]
pub struct CorsOptions {
    /// `*` or a list of origins.
    pub origins: Vec<String>,
    pub credentials: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MessageEncoding {
    #[default]
    Base64,
    None,
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueueOptions {
    pub batch_size: u32,
    /// The next batch is fetched when no more than this many messages are in work.
    pub new_batch_threshold: u32,
    pub max_dequeue_count: u32,
    /// How long a failed message stays invisible before its next attempt.
    pub visibility_timeout: Duration,
    /// Longest pause between two looks into an empty queue; `None`: not said.
    pub max_polling_interval: Option<Duration>,
    pub message_encoding: MessageEncoding,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobOptions {
    /// Attempts before a notification goes to the poison queue.
    pub poison_threshold: u32,
    /// Blobs that one function works on at once; `None`: eight for each core, as in Azure.
    pub parallelism_max: Option<u32>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            function_timeout: Some(Duration::from_secs(30 * 60)),
            functions: Vec::new(),
            http: HttpOptions::default(),
            queues: QueueOptions::default(),
            blobs: BlobOptions::default(),
            catch_up: CatchUp::default(),
            retry: None,
            cors: None,
            watch_files: Vec::new(),
            watch_directories: Vec::new(),
            log_levels: Vec::new(),
            extension_bundle: None,
        }
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            route_prefix: "api".to_owned(),
            body_bytes_max: 104_857_600,
            concurrent_requests_max: None,
            outstanding_requests_max: None,
            custom_headers: Vec::new(),
        }
    }
}

impl Default for BlobOptions {
    fn default() -> Self {
        Self { poison_threshold: 5, parallelism_max: None }
    }
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            batch_size: 16,
            new_batch_threshold: 8,
            max_dequeue_count: 5,
            visibility_timeout: Duration::ZERO,
            max_polling_interval: None,
            message_encoding: MessageEncoding::Base64,
        }
    }
}
