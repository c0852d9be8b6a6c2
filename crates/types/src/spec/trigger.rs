//! What starts a function.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::account::Account;
use crate::blob::BlobPattern;
use crate::datum::Datum;
use crate::pattern::Pattern;
use crate::schedule::{Schedule, ScheduleStatus, TimeZone, TimerInfo};
use crate::spec::{InvokeMode, LambdaLogFormat, LaterOptions};

/// What starts a function.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerSpec {
    Http(HttpTrigger),
    Queue(QueueTrigger),
    Timer(TimerTrigger),
    Blob(BlobTrigger),
    Documents(DocumentsTrigger),
    EventGrid,
    Warmup,
    Handler(HandlerTrigger),
}

impl TriggerSpec {
    /// The route at which it takes requests, if it does.
    pub fn http(&self) -> Option<&HttpTrigger> {
        match self {
            Self::Http(trigger) => Some(trigger),
            Self::Handler(trigger) => trigger.url.as_ref(),
            _ => None,
        }
    }

    /// One word for screens and JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Queue(_) => "queue",
            Self::Timer(_) => "timer",
            Self::Blob(_) => "blob",
            Self::Documents(_) => "documents",
            Self::EventGrid => "eventGrid",
            Self::Warmup => "warmup",
            Self::Handler(_) => "handler",
        }
    }

    /// What it listens to: a queue, a schedule, a container. Empty where that says nothing.
    pub fn source(&self) -> String {
        match self {
            Self::Http(trigger) => trigger.route.clone(),
            Self::Queue(trigger) => trigger.queue.clone(),
            Self::Timer(trigger) => trigger.schedule.to_string(),
            Self::Blob(trigger) => format!("{}/{}", trigger.container, trigger.pattern),
            Self::Documents(trigger) => format!("{}/{}", trigger.database, trigger.container),
            Self::EventGrid | Self::Warmup => String::new(),
            Self::Handler(trigger) => trigger.url.as_ref().map(|url| url.route.clone()).unwrap_or_default(),
        }
    }
}

/// A function that takes any event as JSON and gives back JSON, such as a handler for AWS Lambda. Whatever has an event for it
/// makes that JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerTrigger {
    /// Where requests become events, as at a function URL.
    pub url: Option<HttpTrigger>,
    /// How requests there are answered.
    pub invoke_mode: InvokeMode,
    /// When an event comes by itself.
    pub schedules: Vec<HandlerSchedule>,
    /// Whose messages come in batches.
    pub queues: Vec<HandlerQueue>,
    /// What becomes of events that nobody waits for.
    pub later: LaterOptions,
    /// Longest time of one event, which callers are told of.
    pub timeout: Duration,
    /// The region of AWS that the function believes to be in.
    pub region: String,
    /// Memory that the function believes to have, in MiB.
    pub memory_mib: u64,
    /// How its log looks to whoever asks for it at a call.
    pub log_format: LambdaLogFormat,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpTrigger {
    /// Route template without the prefix, e.g. `orders/{id:int}`.
    pub route: String,
    /// Upper case; empty means every method.
    pub methods: Vec<String>,
    pub auth_level: AuthLevel,
}

impl HttpTrigger {
    /// Whether a path has to say something besides the literals of the route: `{id}`, but not `{id?}`, `{id=1}`, `{*rest}`.
    pub fn has_required_parameter(&self) -> bool {
        let parameters = self.route.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        let mut names = parameters.map(|(name, _)| name);
        names.any(|name| !name.starts_with('*') && !name.ends_with('?') && !name.contains('='))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthLevel {
    Anonymous,
    Function,
    Admin,
}

#[derive(Clone, Debug, PartialEq)]
pub struct QueueTrigger {
    pub queue: String,
    pub data_type: DataType,
    pub account: Account,
}

/// `timerTrigger`: six- or five-field cron, or an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct TimerTrigger {
    pub schedule: Schedule,
    /// Whose wall-clock times the schedule means.
    pub zone: TimeZone,
    /// Also run when the listener starts.
    pub run_on_startup: bool,
    /// Occurrences are remembered across restarts, so that missed ones can be caught up with.
    pub use_monitor: bool,
}

impl TimerTrigger {
    /// The first occurrence after `now`.
    pub fn next_after(&self, now: SystemTime) -> Option<SystemTime> {
        self.schedule.next_after(now, self.zone)
    }

    /// Payload and metadata of a run that nobody scheduled: as if the timer had come due at `now`.
    pub fn run_by_hand(&self, now: SystemTime) -> (Datum, Vec<(String, Datum)>) {
        let status = ScheduleStatus { last: None, next: self.next_after(now), updated: now };
        let info = TimerInfo { status: self.use_monitor.then_some(status), is_past_due: false };
        let metadata = vec![("TimerTrigger".to_owned(), Datum::Text(self.zone.date_text(now)))];
        (Datum::Json(info.to_json()), metadata)
    }
}

/// A schedule of a handler.
#[derive(Clone, PartialEq, Debug)]
pub struct HandlerSchedule {
    /// Of the handler's schedules another one each.
    pub name: String,
    pub timer: TimerTrigger,
    /// JSON text that is the event; a description of the occurrence if absent.
    pub input: Option<String>,
}

/// A queue of a handler.
#[derive(Clone, PartialEq, Debug)]
pub struct HandlerQueue {
    /// As AWS names it.
    pub name: String,
    /// The queue of the embedded store that stands for it.
    pub queue: String,
    /// Most messages of one event, at least 1.
    pub batch_size: u32,
    /// How long an event waits for more messages after its first.
    pub window: Duration,
    /// The answer may name messages that failed.
    pub reports_failures: bool,
    /// Most events in work at once, at least 1; `None`: one for each worker that there may be.
    pub parallel_max: Option<u32>,
    /// After which time messages that failed come again, as the queue itself says it.
    pub visibility: Option<Duration>,
    /// Where messages go that failed too often; to the poison queue if absent.
    pub redrive: Option<Redrive>,
    /// The handler gets what fits one of them; everything without any.
    pub filters: Vec<Pattern>,
}

/// When a queue gives a message up, and where it goes then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Redrive {
    /// The queue of the embedded store that gets it.
    pub queue: String,
    /// Most deliveries, at least 1.
    pub receives_max: u32,
}

/// What happens to occurrences that passed while nothing ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CatchUp {
    None,
    /// One late run for all of them, as Azure does.
    #[default]
    One,
    All,
}

/// `blobTrigger`: a new or changed object whose name fits the pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct BlobTrigger {
    pub container: String,
    pub account: Account,
    /// For names behind the container, e.g. `in/{name}.{extension}`; empty means every blob.
    pub pattern: BlobPattern,
    pub data_type: DataType,
    /// The function gets the path of a local file instead of the content.
    pub as_file: bool,
}

/// `cosmosDBTrigger`: the change feed of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct DocumentsTrigger {
    pub database: String,
    pub container: String,
    /// Names the reader: two functions with different prefixes each see every change.
    pub lease_prefix: String,
    pub start: FeedStart,
    pub items_max: Option<u32>,
    pub poll_delay: std::time::Duration,
}

/// What a function sees first of a container whose changes it has never followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FeedStart {
    /// What is written from its first start on.
    #[default]
    Now,
    Beginning,
    /// What was written at this time or later.
    Time(SystemTime),
}

/// Another attempt of the same invocation after a failure (facts 7.4).
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    pub strategy: RetryStrategy,
    /// Retries after the first attempt; `None` means for ever.
    pub retries_max: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RetryStrategy {
    FixedDelay { delay: std::time::Duration },
    ExponentialBackoff { minimum: std::time::Duration, maximum: std::time::Duration },
}

/// How text-or-bytes payloads reach the function (`dataType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DataType {
    #[default]
    Undefined,
    String,
    Binary,
}
