//! What an app is, fully resolved: app settings filled in, defaults applied, every name checked.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ids::FunctionName;
use crate::problem::Problem;

mod admission;
mod binding;
mod host;
mod lambda;
mod sandbox;
mod trigger;
mod workers;

pub use admission::{AdmissionOptions, Departures, HOPS_MAX, OnDisconnect};
pub use binding::{BindingKind, BindingSpec, DocumentInput, DocumentOutput, TableInput};
pub use host::{BlobOptions, CorsOptions, HostConfig, HttpOptions, MessageEncoding, QueueOptions};
pub use lambda::{
    InvokeMode, LambdaLogFormat, LambdaLogLevel, LambdaOptions, LambdaRuntime, LaterOptions, LaterTarget,
    embedded_name,
};
pub use sandbox::{CpuQuota, Egress, Isolation, SandboxOptions};
pub use trigger::{
    AuthLevel, BlobTrigger, CatchUp, DataType, DocumentsTrigger, FeedStart, HandlerQueue, HandlerSchedule,
    HandlerTrigger, HttpTrigger, QueueTrigger, Redrive, RetryPolicy, RetryStrategy, TimerTrigger,
    TriggerSpec,
};
pub use workers::{Fork, IdleTimeout, ScalePlan, WarmUp, WarmWindow, WorkerOptions};

/// Which programming model the folder is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// `*/function.json`.
    AzureV1,
    /// Decorators in `function_app.py`.
    AzureV2,
    /// A handler for AWS Lambda.
    Lambda,
    /// An app of a web framework, as WSGI or ASGI has it.
    Web,
}

impl Dialect {
    /// Whether the app is written for Azure's host, and finds here what it would find there.
    #[must_use]
    pub fn is_azure(self) -> bool {
        matches!(self, Self::AzureV1 | Self::AzureV2)
    }
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
    pub retry: Option<RetryPolicy>,
    /// Runs on the worker's event loop rather than in a thread.
    pub is_async: bool,
    /// Takes and gives HTTP bodies in pieces ([`crate::exchange`]).
    pub streams: bool,
    /// `file:line` of its definition, relative to the app.
    pub location: Option<String>,
}

impl FunctionSpec {
    /// Why it can't be called without an input, in a few words; `None` if it can.
    pub fn needs_input(&self) -> Option<String> {
        match &self.trigger {
            TriggerSpec::Warmup => None,
            TriggerSpec::Http(http) => {
                let takes_get = http.methods.is_empty() || http.methods.iter().any(|method| method == "GET");
                let why = match (takes_get, http.has_required_parameter(), self.streams) {
                    (false, _, _) => "does not take GET",
                    (_, true, _) => "has parameters in its route",
                    (_, _, true) => "takes its body in pieces",
                    (true, false, false) => return None,
                };
                Some(why.to_owned())
            }
            trigger => Some(format!("has a trigger of the kind {}", trigger.kind())),
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
    /// HTTP bodies go in pieces; only the worker knows.
    #[serde(default)]
    pub streams: bool,
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
