//! What an app is, fully resolved: app settings filled in, defaults applied, every name checked.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::expression::Template;
use crate::ids::FunctionName;
use crate::problem::Problem;

/// Which programming model the folder is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// `*/function.json`.
    AzureV1,
    /// Decorators in `function_app.py`.
    AzureV2,
}

/// One unit of deploy, settings, isolation and scale.
#[derive(Clone, Debug)]
pub struct AppSpec {
    /// The folder's name.
    pub name: String,
    pub root: PathBuf,
    pub dialect: Dialect,
    pub host: HostConfig,
    /// Sorted by name without regard to case; the order in which routes are tried (facts 3.1).
    pub functions: Vec<FunctionSpec>,
    /// Everything that was found wrong; functions with an error are not in `functions`.
    pub problems: Vec<Problem>,
}

/// One function that can run.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    pub name: FunctionName,
    pub trigger: TriggerSpec,
    /// Name of the Python parameter that takes the trigger's value.
    pub trigger_parameter: String,
    /// Declared inputs and outputs besides the trigger, in order.
    pub bindings: Vec<BindingSpec>,
    pub disabled: bool,
    /// Runs on the worker's event loop rather than in a thread.
    pub is_async: bool,
    /// `file:line` of its definition, relative to the app.
    pub location: Option<String>,
}

/// What starts a function.
#[derive(Clone, Debug, PartialEq)]
pub enum TriggerSpec {
    Http(HttpTrigger),
    Queue(QueueTrigger),
}

#[derive(Clone, Debug, PartialEq)]
pub struct HttpTrigger {
    /// Route template without the prefix, e.g. `orders/{id:int}`.
    pub route: String,
    /// Upper case; empty means every method.
    pub methods: Vec<String>,
    pub auth_level: AuthLevel,
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
}

/// How text-or-bytes payloads reach the function (`dataType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DataType {
    #[default]
    Undefined,
    String,
    Binary,
}

/// An input or output besides the trigger.
#[derive(Clone, Debug)]
pub struct BindingSpec {
    /// The Python parameter, or `$return`.
    pub name: String,
    pub kind: BindingKind,
    pub data_type: DataType,
}

#[derive(Clone, Debug)]
pub enum BindingKind {
    /// The HTTP response.
    HttpOutput,
    QueueOutput {
        queue: Template,
    },
    DocumentInput(DocumentInput),
    DocumentOutput(DocumentOutput),
}

impl BindingKind {
    pub fn is_output(&self) -> bool {
        match self {
            Self::HttpOutput | Self::QueueOutput { .. } | Self::DocumentOutput(_) => true,
            Self::DocumentInput(_) => false,
        }
    }
}

/// `cosmosDB` with direction `in`: by id and partition key, or by query.
#[derive(Clone, Debug)]
pub struct DocumentInput {
    pub database: Template,
    pub container: Template,
    pub id: Option<Template>,
    pub partition_key: Option<Template>,
    /// `{name}` in it becomes a query parameter, never part of the text.
    pub sql_query: Option<Template>,
}

/// `cosmosDB` with direction `out`: upserts.
#[derive(Clone, Debug)]
pub struct DocumentOutput {
    pub database: Template,
    pub container: Template,
    /// Path of the partition key for a container that does not exist yet, e.g. `/customer`; `/id` if absent.
    pub partition_key_path: Option<String>,
}

/// What `host.json` says, with Azure's defaults (facts 6.1).
#[derive(Clone, Debug, PartialEq)]
pub struct HostConfig {
    /// `None`: no limit.
    pub function_timeout: Option<Duration>,
    /// Only these functions run; empty means all.
    pub functions: Vec<String>,
    pub http: HttpOptions,
    pub queues: QueueOptions,
    pub cors: Option<CorsOptions>,
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
    pub max_polling_interval: Duration,
    pub message_encoding: MessageEncoding,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            function_timeout: Some(Duration::from_secs(30 * 60)),
            functions: Vec::new(),
            http: HttpOptions::default(),
            queues: QueueOptions::default(),
            cors: None,
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

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            batch_size: 16,
            new_batch_threshold: 8,
            max_dequeue_count: 5,
            visibility_timeout: Duration::ZERO,
            max_polling_interval: Duration::from_secs(60),
            message_encoding: MessageEncoding::Base64,
        }
    }
}

/// A function as its source declares it: from `function.json`, or from the worker that imported the
/// decorators. Not yet checked or resolved; that is the business of the room `apps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeclaredFunction {
    pub name: String,
    /// Folder relative to the app (`""` for v2).
    #[serde(default)]
    pub directory: String,
    /// Relative to the app, e.g. `OrderForm/__init__.py`.
    pub script_file: String,
    pub entry_point: String,
    /// The objects of `bindings`, keys and values as written (v2: upper-case enum names).
    pub bindings: Vec<Map<String, Value>>,
    #[serde(default)]
    pub is_async: bool,
    /// The file that `line` is in, relative to the app; `function.json` for what it declares.
    #[serde(default)]
    pub file: Option<String>,
    #[serde(default)]
    pub line: Option<u32>,
    #[serde(default)]
    pub disabled: bool,
    /// `retry` as written, if any.
    #[serde(default)]
    pub retry: Option<Map<String, Value>>,
}
