//! Arguments as they are typed. What they mean is decided in the commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use ingle_types::spec::Isolation;

use crate::commands::import::ImportArguments;
use crate::commands::metrics::MetricsArguments;
use crate::commands::topic::TopicArguments;
use crate::commands::traces::TracesArguments;
use crate::debug::DebugChoice;
use crate::moved::ClockChoice;
use crate::project::{ProjectArguments, name_and_value};

#[derive(Parser, Debug)]
#[command(
    name = "ingle",
    version,
    about = "Runs functions in Python, for Azure or AWS Lambda: no account, no container, no network",
    after_help = "Exit codes: 0 done, 1 the app has errors or the invocation failed, 2 bad arguments,\n3 the machine or the server stands in the way, 130 stopped by a second Ctrl-C."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct Global {
    /// Write one JSON object per line instead of text (docs/cli.md has the shapes)
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Never use colours (they are off anyway when the output is no terminal, or NO_COLOR is set)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Folder for environments that Ingle builds [default: ~/.cache/ingle]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serve the functions of a folder
    Start(StartArguments),
    /// The same as `start`, as Azure's tool spells it
    #[command(hide = true)]
    Host {
        #[command(subcommand)]
        command: HostCommand,
    },
    /// Say what of an app that another tool deployed runs here, and write an ingle.toml for it
    Import(ImportArguments),
    /// Make a new app
    Init(InitArguments),
    /// Add a function to an app; without a template, the templates are listed
    New(NewArguments),
    /// Find what is wrong with an app, without serving it
    Check(CheckArguments),
    /// Run one function now and print what it returns
    Invoke(InvokeArguments),
    /// Events as functions of AWS Lambda get them
    #[command(subcommand)]
    Event(EventCommand),
    /// Hand something to a function's source
    #[command(subcommand)]
    Send(SendCommand),
    /// Store something
    #[command(subcommand)]
    Put(PutCommand),
    /// Read something back
    #[command(subcommand)]
    Get(GetCommand),
    /// List what is stored
    #[command(subcommand)]
    Ls(LsCommand),
    /// Look into the embedded store, or empty it
    #[command(subcommand)]
    State(StateCommand),
    /// The keys that callers of functions show
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Show the processes of the running server: zygote, workers, what they do and hold
    Ps(Place),
    /// Show what the app has measured, as it writes it into its log in CloudWatch's embedded metric format
    Metrics(MetricsArguments),
    /// Show what the app has traced with the SDK of AWS X-Ray: all traces, or one
    Traces(TracesArguments),
    /// Show what the running server logs, or change it at once, until it is stopped
    LogLevel(LogLevelArguments),
    /// Check the machine: interpreters, folders, ports; with --security, what functions are confined with
    Doctor(DoctorArguments),
    /// Explain an error code
    Explain {
        /// For example E0203; without it, all codes are listed
        code: Option<String>,
    },
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Subcommand, Debug)]
pub(crate) enum HostCommand {
    Start(StartArguments),
}

#[derive(Args, Debug, Clone)]
pub(crate) struct AppArguments {
    /// Folder of the app, or a zip with it
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Interpreter to use instead of the one that is found
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) python: Option<PathBuf>,
    /// Only these functions
    #[arg(long, num_args = 1.., value_name = "NAME")]
    pub(crate) functions: Vec<String>,
    /// Where queues and documents are kept [default: .ingle in the app's folder]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state: Option<PathBuf>,
    /// The handler of an app for AWS Lambda, e.g. app.handler
    #[arg(long, value_name = "MODULE.FUNCTION")]
    pub(crate) handler: Option<String>,
    #[command(flatten)]
    pub(crate) project: ProjectArguments,
}

#[derive(Args, Debug, Clone)]
pub(crate) struct StartArguments {
    #[command(flatten)]
    pub(crate) app: AppArguments,
    /// More apps on the same port; the first part of the host chooses one, as in shop.localhost
    #[arg(value_name = "FOLDER")]
    pub(crate) more: Vec<PathBuf>,
    /// Each app in a folder of this folder
    #[arg(long, value_name = "PARENT", conflicts_with_all = ["folder", "more"])]
    pub(crate) apps: Option<PathBuf>,
    /// Port for HTTP [default: Host.LocalHttpPort of local.settings.json, else 7071]; 0 takes a free one
    #[arg(long, short)]
    pub(crate) port: Option<u16>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: std::net::IpAddr,
    /// Origins that pages may call from, or `*`
    #[arg(long, value_delimiter = ',', value_name = "ORIGIN")]
    pub(crate) cors: Vec<String>,
    /// Keep serving the version that was started when files change
    #[arg(long)]
    pub(crate) no_reload: bool,
    /// Ask callers of functions for the keys that `authLevel` says (see `ingle keys`)
    #[arg(long, alias = "enableAuth")]
    pub(crate) auth: bool,
    /// Answer errors as in production: without traceback
    #[arg(long)]
    pub(crate) hide_errors: bool,
    /// Let an editor attach its Python debugger; `wait` imports the app when one is there, `brk` also stops at its
    /// first line; `wait:PORT` and `brk:PORT` choose the port as well [port: 5678]
    #[arg(long, value_name = "PORT|wait|brk", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) debug: Option<DebugChoice>,
    /// Memory that imported apps may hold while they have no work, e.g. 512MB; beyond it, those that were not needed for
    /// the longest time are imported anew at their next event [default: INGLE_ZYGOTE_MEMORY, else a quarter of the
    /// machine's]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub(crate) zygote_memory: Option<u64>,
    /// Import the app only when there is work for it, if it is known from an earlier start; so it is with several apps
    #[arg(long)]
    pub(crate) lazy: bool,
    /// How strongly functions are kept from what is not theirs: default, strict, gvisor or off
    #[arg(long, value_name = "CLASS", value_parser = isolation)]
    pub(crate) isolation: Option<Isolation>,
    /// A variable of this shell that functions see, besides those that the app names
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: Vec<String>,
    /// For tests: time stands still until it is moved through the admin socket
    #[arg(long, hide = true, value_name = "moved[=TIME]")]
    pub(crate) clock: Option<ClockChoice>,
}

impl StartArguments {
    /// Whether the host chooses the app.
    pub(crate) fn names_several(&self) -> bool {
        self.apps.is_some() || !self.more.is_empty()
    }
}

/// A class of isolation, from its name.
fn isolation(text: &str) -> Result<Isolation, String> {
    Isolation::parse(text).ok_or_else(|| "it is one of default, strict, gvisor, off".to_owned())
}

/// Bytes, from a text such as `512MB`.
pub(crate) fn memory_size(text: &str) -> Result<u64, String> {
    ingle_apps::memory_size(text).ok_or_else(|| "it is a size such as 512MB or 1GB".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) app: AppArguments,
    /// Try what this machine has to confine functions with, and say what is missing
    #[arg(long)]
    pub(crate) security: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) app: AppArguments,
    /// Make the changes that can't be anything else, show them, and check again
    #[arg(long)]
    pub(crate) fix: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Model {
    /// A folder with function.json for each function
    V1,
    /// Decorators in function_app.py
    V2,
}

#[derive(Args, Debug)]
pub(crate) struct InitArguments {
    /// Folder of the new app
    #[arg(default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Programming model [default: v2]
    #[arg(long, short, ignore_case = true)]
    pub(crate) model: Option<Model>,
    /// Version for .python-version, e.g. 3.12 [default: none]
    #[arg(long, value_name = "VERSION")]
    pub(crate) python: Option<String>,
    /// Template of the first function, or `none` [default: http]
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) sample: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct NewArguments {
    /// For example `queue` or `http-to-blob`
    pub(crate) template: Option<String>,
    /// Name of the function [default: that of the template]
    #[arg(long, short)]
    pub(crate) name: Option<String>,
    /// Folder of the app
    #[arg(long = "app", default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct InvokeArguments {
    /// Name of the function
    pub(crate) function: String,
    /// Body or message; `@file` reads a file, `@-` standard input
    #[arg(long, short, default_value = "", value_name = "TEXT|@FILE")]
    pub(crate) data: String,
    /// Method, for an HTTP function [default: the first that its route allows]
    #[arg(long, short = 'X')]
    pub(crate) method: Option<String>,
    /// Route parameter or query parameter, for an HTTP function
    #[arg(long, short = 'p', value_name = "NAME=VALUE")]
    pub(crate) parameter: Vec<String>,
    /// Stage of the function's project, as `ingle start` takes it
    #[arg(long, value_name = "NAME")]
    pub(crate) stage: Option<String>,
    /// A parameter of the file of the function's project, as `ingle start --parameter` takes it
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) template_parameter: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) at: Place,
}

#[derive(Subcommand, Debug)]
pub(crate) enum EventCommand {
    /// Print an event of a source, for `ingle invoke FUNCTION --data @-`
    Generate(GenerateArguments),
}

#[derive(Args, Debug)]
pub(crate) struct GenerateArguments {
    /// What sends it
    pub(crate) source: EventSource,
    /// Path of the request, with its query; of an object its key
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub(crate) path: String,
    /// Route that the path fits, e.g. /items/{id} [default: the path]
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Option<String>,
    /// Method of the request [default: GET, with data POST]
    #[arg(long, short = 'X')]
    pub(crate) method: Option<String>,
    /// Header of the request
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub(crate) header: Vec<String>,
    /// Body of the request, content of the object, or the message; `@file` reads a file, `@-` standard input
    #[arg(long, short, default_value = "", value_name = "TEXT|@FILE")]
    pub(crate) data: String,
    /// Name of the rule of a schedule, of a bucket, a queue or a topic
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// What sends events.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(crate) enum EventSource {
    /// A request to a function URL
    Url,
    /// A request to a REST API (payload format 1.0)
    RestApi,
    /// A request to an HTTP API (payload format 2.0)
    HttpApi,
    /// A request to an HTTP API with payload format 1.0
    HttpApiV1,
    /// A request to an Application Load Balancer
    Alb,
    /// A request to an Application Load Balancer with lists of values
    AlbMultiValue,
    /// An occurrence of a schedule
    Schedule,
    /// An object that was put into a bucket
    S3,
    /// A message of a queue
    Sqs,
    /// A message of a topic
    Sns,
}

/// Whose store or server is meant.
#[derive(Args, Debug, Clone)]
pub(crate) struct Place {
    /// Folder of the app
    #[arg(long = "app", default_value = ".", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// Where its queues and documents are kept [default: .ingle in the app's folder]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum SendCommand {
    /// Put a message into a queue; without a running server it is worked on at the next start
    Queue {
        name: String,
        /// The message; `@file` reads a file, `@-` standard input
        message: String,
        /// Seconds until it becomes visible
        #[arg(long, default_value_t = 0, value_name = "SECONDS")]
        delay: u64,
        #[command(flatten)]
        at: Place,
    },
    /// Publish a message to the functions of a project that subscribe to a topic
    Topic(TopicArguments),
}

#[derive(Subcommand, Debug)]
pub(crate) enum KeysCommand {
    /// Names and kinds; values are never kept, so they can't be listed
    Ls {
        #[command(flatten)]
        at: Place,
    },
    /// Make a key and print it, once
    Create {
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Take over a key that others use already
    Set {
        #[command(flatten)]
        key: KeyArguments,
        /// `@-` reads it from standard input, `@file` from a file
        #[arg(long, value_name = "@-|@FILE|KEY")]
        value: String,
    },
    /// Make a key void at once
    Delete {
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Replace a key and print the new one; the old one is taken for a while longer
    Rotate {
        #[command(flatten)]
        key: KeyArguments,
        /// How long the old key is still taken, in seconds
        #[arg(long, default_value_t = 86_400, value_name = "SECONDS")]
        overlap: u64,
    },
}

/// Which key is meant; without an option, one that opens every function.
#[derive(Args, Debug, Clone)]
pub(crate) struct KeyArguments {
    /// Name of the key
    #[arg(default_value = "default")]
    pub(crate) name: String,
    /// A key for this function only
    #[arg(long, value_name = "NAME", conflicts_with_all = ["system", "master", "api"])]
    pub(crate) function: Option<String>,
    /// A key for a webhook, named `<extension>_extension`
    #[arg(long, conflicts_with_all = ["master", "api"])]
    pub(crate) system: bool,
    /// A key for routes of a project's APIs that ask for one
    #[arg(long, conflicts_with = "master")]
    pub(crate) api: bool,
    /// The key for everything, also for /admin; it has no name
    #[arg(long)]
    pub(crate) master: bool,
    #[command(flatten)]
    pub(crate) at: Place,
}

#[derive(Subcommand, Debug)]
pub(crate) enum PutCommand {
    /// Make or replace a blob; functions that wait for it run at once, or at the next start
    Blob {
        /// `container/name`
        path: String,
        /// The content; `@file` reads a file, `@-` or `-` standard input
        content: String,
        /// Its type [default: application/octet-stream]
        #[arg(long = "type", value_name = "TYPE")]
        content_type: Option<String>,
        #[command(flatten)]
        at: Place,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum GetCommand {
    /// Write the content of a blob to a file or to standard output
    Blob {
        /// `container/name`
        path: String,
        /// Write to this file; it is there only when it is whole
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        at: Place,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum LsCommand {
    /// Containers of blobs, or the blobs of a container whose names begin with a prefix
    Blob {
        /// `container` or `container/prefix`
        path: Option<String>,
        #[command(flatten)]
        at: Place,
    },
}

#[derive(Args, Debug)]
pub(crate) struct LogLevelArguments {
    /// `[CATEGORY] LEVEL`, for example `debug`, or `Function.kitchen.User trace`; nothing shows the rules
    #[arg(num_args = 0..=2, value_name = "CATEGORY] [LEVEL")]
    pub(crate) rule: Vec<String>,
    /// Let the app's own rules count again, all or that of a category
    #[arg(long)]
    pub(crate) reset: bool,
    #[command(flatten)]
    pub(crate) at: Place,
}

#[derive(Subcommand, Debug)]
pub(crate) enum StateCommand {
    /// Queues, containers and tables with their sizes
    Ls {
        /// Also the queues that Ingle keeps for itself
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        at: Place,
    },
    /// The first messages of a queue, documents of a container or entities of a table, without taking them
    Peek {
        /// `orders`, `restaurant/orders` or `table:Notes`
        name: String,
        #[arg(long, short = 'n', default_value_t = 10)]
        count: u32,
        #[command(flatten)]
        at: Place,
    },
    /// Delete everything, or one queue, container or table
    Reset {
        /// `orders`, `restaurant/orders` or `table:Notes`; without it, everything
        name: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: Place,
    },
}
