//! Projects of AWS SAM (`template.yaml`), of the Serverless Framework (`serverless.yml`), of Chalice (`.chalice/config.json`)
//! and of Zappa (`zappa_settings.json`): which functions a folder has, and what starts them.
//!
//! Reading is pure: files of the folder in, a [`Project`] out. Nothing is run, and nothing is asked of AWS. Each part of
//! the file that does something at AWS and nothing here is in [`Project::ignored`] with its line, so that nothing is
//! silently without effect. What is wrong is in [`Project::problems`]: the function that it belongs to is left out, and
//! the others are there.
//!
//! | to find | look in |
//! |---|---|
//! | YAML, JSON and TOML with lines | `node`, `yaml`, `toml_tree` |
//! | `Ref`, `Fn::Sub`, conditions | `intrinsics`, `resources` |
//! | `${self:custom.x}` | `serverless::variables` |
//! | functions and events of a template | `sam` |
//! | functions and events of a serverless.yml | `serverless` |
//! | settings of a Chalice project, and what its app declares | [`chalice`] |
//! | who may come in | `front`, `keys` |
//! | rules of load balancers | `balancer` |
//! | stages of Zappa | `zappa` |
//! | zips, and code that stands in a file | `unpack` |
//! | what they have in common | `function`, `http`, `findings`, `later`, `queues`, `place`, `stored` |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_types::balancer::Rule;
use ingle_types::front::FrontSpec;
use ingle_types::pattern::Pattern;
use ingle_types::problem::Problem;
use ingle_types::queue::QueueSettings;
use ingle_types::spec::{InvokeMode, LaterOptions, Redrive};
use ingle_types::topic::FilterPolicy;

use crate::folder::{existing_folder, read_bytes};
use crate::{Error, encoding};
use findings::shortened;
use node::Fault;
use yaml::Loaded;

mod balancer;
pub mod chalice;
mod findings;
mod front;
mod function;
mod http;
mod intrinsics;
mod keys;
mod later;
mod node;
mod place;
mod queues;
mod resources;
mod sam;
mod serverless;
mod sources;
mod stored;
mod subscriptions;
mod toml_tree;
mod unpack;
mod yaml;
mod zappa;

#[cfg(test)]
mod tests;

/// Largest file in bytes: that of a template at AWS.
const FILE_BYTES_MAX: usize = 1 << 20;
const TEMPLATES: [&str; 3] = ["template.yaml", "template.yml", "template.json"];
const SERVERLESS: [&str; 3] = ["serverless.yml", "serverless.yaml", "serverless.json"];
/// As Zappa prefers them.
const ZAPPA: [&str; 4] =
    ["zappa_settings.json", "zappa_settings.toml", "zappa_settings.yml", "zappa_settings.yaml"];
/// Of a key that is there twice.
const TWICE: &str = "the same key is there again further down, and counts";
/// Where AWS is if nobody says it.
const REGION: &str = "us-east-1";

/// What the caller knows besides the folder.
#[derive(Clone, Debug, Default)]
pub struct ProjectOptions {
    /// The environment of the process, for `${env:NAME}` and `AWS_REGION`.
    pub environment: BTreeMap<String, String>,
    /// `${opt:stage}` of a serverless.yml, and the stage of Chalice or Zappa.
    pub stage: Option<String>,
    /// Wins over the file's own.
    pub region: Option<String>,
    /// Values for `Parameters` of a template, `${param:name}` and `${opt:name}` of a serverless.yml.
    pub parameters: BTreeMap<String, String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProjectKind {
    Sam,
    Serverless,
    Chalice,
    Zappa,
}

/// A folder with several functions for AWS Lambda.
#[derive(Clone, PartialEq, Debug)]
pub struct Project {
    pub kind: ProjectKind,
    /// `template.yaml`, relative to the folder.
    pub file: PathBuf,
    /// More files of the folder that were read, relative to it: a change of one is a change of the project.
    pub included: Vec<PathBuf>,
    /// Where AWS would be, for `AWS_REGION` and ARNs.
    pub region: String,
    /// In the order of the file.
    pub functions: Vec<ProjectFunction>,
    /// Those that it declares, in the order of the file. Others come to be with their first message.
    pub queues: Vec<QueueSettings>,
    /// Queues that hear of topics, beside the functions.
    pub subscriptions: Vec<QueueSubscription>,
    /// Code of functions that stands in the file itself, by their ids. [`Project::unpack`] makes folders of it.
    pub inline: BTreeMap<String, String>,
    /// In the order of their lines.
    pub ignored: Vec<Ignored>,
    /// In the order of their lines. A function with an error is not among `functions`.
    pub problems: Vec<Problem>,
}

/// Something in the file that has no effect here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ignored {
    /// Relative to the project's folder; `None` for the project's own file.
    pub file: Option<PathBuf>,
    /// Counted from 1; of several places the first.
    pub line: u32,
    /// `Policies of Hello, Bye`.
    pub what: String,
    /// Half a sentence.
    pub why: String,
    /// Whether it starts, guards or is a function where the project comes from, so that something is missing here. All else is of
    /// the deployment, or is said otherwise here.
    pub is_missing: bool,
}

/// What the handler of a function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Entry {
    /// It takes events.
    #[default]
    Handler,
    /// A web app, which takes the requests that are for no other function.
    WebApp,
    /// The module with the settings of a Django project, which becomes such a web app.
    DjangoSettings,
}

/// One function of a project.
#[derive(Clone, PartialEq, Debug)]
pub struct ProjectFunction {
    /// Its key in the file: the logical id of a template.
    pub id: String,
    /// What callers at AWS name it by; of all functions another one.
    pub name: String,
    /// `module.function`, the module by its path from `code`.
    pub handler: String,
    pub entry: Entry,
    /// `python3.12`.
    pub runtime: Option<String>,
    /// Its folder, or a zip file, relative to the project's folder; empty for that folder itself. Absolute for what was
    /// unpacked.
    pub code: PathBuf,
    /// Longest time of one event.
    pub timeout: Duration,
    pub memory_mb: u64,
    /// Environment variables, but those that Lambda sets by itself.
    pub variables: BTreeMap<String, String>,
    /// Folders or zip files like `code`, in the order in which they go over each other below `/opt`.
    pub layers: Vec<PathBuf>,
    pub sources: Vec<EventSource>,
    /// What becomes of events that nobody waits for.
    pub later: LaterOptions,
    /// Where it is, relative to the project's folder; `None` for the project's own file.
    pub file: Option<PathBuf>,
    /// Where it begins.
    pub line: u32,
}

/// One of the functions of a project, as an app of its own.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    pub kind: ProjectKind,
    /// The project's folder.
    pub root: PathBuf,
    /// The project's file, relative to it.
    pub file: PathBuf,
    pub region: String,
    pub function: ProjectFunction,
    /// Where its clients of AWS find the project's queues and buckets, while it is served.
    pub door: Option<MemberDoor>,
}

/// The project's door for clients of AWS, as a function is told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberDoor {
    /// `127.0.0.1:41234`.
    pub address: String,
    pub access_key: String,
    pub secret_key: String,
}

impl Member {
    /// The folder with its code.
    pub fn folder(&self) -> PathBuf {
        self.root.join(&self.function.code)
    }

    /// `template.yaml:12`.
    pub fn place(&self) -> String {
        let file = self.function.file.as_ref().unwrap_or(&self.file);
        format!("{}:{}", file.display(), self.function.line)
    }
}

impl Project {
    /// One that has nothing yet.
    fn new(kind: ProjectKind, file: &str, region: &str) -> Self {
        Self {
            kind,
            file: PathBuf::from(file),
            included: Vec::new(),
            region: region.to_owned(),
            functions: Vec::new(),
            queues: Vec::new(),
            subscriptions: Vec::new(),
            inline: BTreeMap::new(),
            ignored: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Its functions, if `root` is its folder.
    pub fn members<'a>(&'a self, root: &'a Path) -> impl Iterator<Item = Member> + 'a {
        self.functions.iter().map(|function| Member {
            kind: self.kind,
            root: root.to_owned(),
            file: self.file.clone(),
            region: self.region.clone(),
            function: function.clone(),
            door: None,
        })
    }
}

/// What starts a function.
#[derive(Clone, PartialEq, Debug)]
pub enum EventSource {
    Http(HttpSource),
    Schedule(ScheduleSource),
    Queue(QueueSource),
    Bucket(BucketSource),
    Topic(TopicSource),
}

/// A route of an API, or the function's own URL.
#[derive(Clone, PartialEq, Debug)]
pub struct HttpSource {
    pub api: Api,
    /// `GET`; `None` for any.
    pub method: Option<String>,
    /// `/items/{id}` or `/files/{path+}`. `$default` is every path that no other route of the API has; a URL has it. Of a rule
    /// of a load balancer only for people: the patterns of paths.
    pub path: String,
    /// `Prod`, which a REST API has in front of its paths at AWS; `$default` of an API or URL that has none there.
    pub stage: String,
    pub cors: Option<Cors>,
    /// What is asked, and looked at, before the function runs.
    pub front: Box<FrontSpec>,
    /// What lets only some callers through at AWS, e.g. `the authorizer Users`, and is not asked here.
    pub guard: Option<String>,
    /// Where it is, relative to the project's folder; `None` for the project's own file.
    pub file: Option<PathBuf>,
    pub line: u32,
}

/// Which kind of HTTP door, which decides how an event and its answer look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Api {
    Rest {
        /// Its key in the file, or the id of the one that is made if there is none.
        id: String,
        /// Media types whose bodies are bytes: `image/png`, `*/*`.
        binary_types: Vec<String>,
    },
    Http {
        id: String,
        payload: Payload,
    },
    Url(InvokeMode),
    /// A rule of an Application Load Balancer.
    Alb {
        /// Its key in the file, or its ARN.
        listener: String,
        rule: Rule,
        /// An ARN.
        target_group: String,
        /// Whether events and answers have lists of values.
        multi_value: bool,
    },
}

/// The format of the events of an HTTP API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    V1,
    V2,
}

/// Rules for requests from pages of other origins. An empty list says nothing about its part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cors {
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub exposed_headers: Vec<String>,
    pub credentials: bool,
    /// For how long a browser may keep them.
    pub max_age: Option<Duration>,
}

/// A schedule of EventBridge.
#[derive(Clone, PartialEq, Debug)]
pub struct ScheduleSource {
    /// The rule's own name, or the event's key.
    pub name: String,
    /// As written; `ingle_types::schedule::Schedule::parse_aws` has accepted it.
    pub expression: String,
    /// IANA's name of a time zone; UTC if absent.
    pub zone: Option<String>,
    /// Of EventBridge Scheduler, which sends `input` or an empty event. A rule without input sends a description of itself.
    pub is_scheduler: bool,
    pub enabled: bool,
    /// The event, instead of the description of the occurrence.
    pub input: Option<serde_json::Value>,
    pub line: u32,
}

/// A topic of SNS.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicSource {
    /// Its name, without the ARN around it.
    pub topic: String,
    /// Which of its messages the function gets; all of them without one.
    pub filter: Option<FilterPolicy>,
    pub line: u32,
}

/// A queue of SQS that gets the messages of a topic of SNS.
#[derive(Clone, PartialEq, Debug)]
pub struct QueueSubscription {
    /// Its name, without the ARN around it.
    pub topic: String,
    /// Its name, not its ARN.
    pub queue: String,
    /// Which messages it gets; all of them without one.
    pub filter: Option<FilterPolicy>,
    /// A message is the body itself, with its attributes (`RawMessageDelivery`); else the body is JSON with all of it.
    pub is_raw: bool,
    pub line: u32,
}

/// A queue of SQS.
#[derive(Clone, PartialEq, Debug)]
pub struct QueueSource {
    /// Its name, not its ARN.
    pub queue: String,
    /// Most messages in one event.
    pub batch_size: u32,
    /// How long is waited for a full batch.
    pub window: Duration,
    /// The answer names the messages that failed (`ReportBatchItemFailures`).
    pub reports_failures: bool,
    pub enabled: bool,
    /// Most events at once (`MaximumConcurrency`).
    pub concurrency: Option<u32>,
    /// What the queue itself says about messages that fail: when they come again,
    pub visibility: Option<Duration>,
    /// and when no longer.
    pub redrive: Option<Redrive>,
    /// The function gets what fits one of them; everything without any.
    pub filters: Vec<Pattern>,
    pub line: u32,
}

/// Changes in a bucket of S3.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketSource {
    pub bucket: String,
    /// `s3:ObjectCreated:*`.
    pub events: Vec<String>,
    /// Of the object's key.
    pub prefix: Option<String>,
    pub suffix: Option<String>,
    pub line: u32,
}

/// Reads the project of a folder; `None` if it has none.
///
/// # Errors
/// The folder or its file can't be read at all: E0115 with the line, e.g. for a syntax error.
pub fn read(root: &Path, options: &ProjectOptions) -> Result<Option<Project>, Error> {
    let root = existing_folder(root)?;
    let mut found: Option<Project> = None;
    for name in TEMPLATES.into_iter().chain(SERVERLESS).chain(ZAPPA) {
        let Some(bytes) = read_bytes(&root.join(name))? else { continue };
        let is_template = TEMPLATES.contains(&name);
        if is_template && !looks_like_template(&bytes) {
            continue;
        }
        if let Some(project) = &mut found {
            let why = format!("{} is the project's file", project.file.display());
            project.ignored.push(Ignored {
                file: None,
                line: 1,
                what: name.to_owned(),
                why,
                is_missing: false,
            });
            continue;
        }
        found = read_one(&root, name, bytes, options)?;
    }
    Ok(found)
}

fn read_one(
    root: &Path,
    name: &str,
    bytes: Vec<u8>,
    options: &ProjectOptions,
) -> Result<Option<Project>, Error> {
    let fault = |Fault { line, what }| Error::Project { file: name.to_owned(), line, what };
    let Loaded { root: mut tree, doubles } = tree(name, bytes).map_err(fault)?;
    let mut found = if TEMPLATES.contains(&name) {
        // CloudFormation and SAM read YAML 1.1.
        tree = tree.with_old_booleans();
        sam::read(root, name, &tree, options).map_err(fault)?
    } else if SERVERLESS.contains(&name) {
        Some(serverless::read(root, name, &tree, options).map_err(fault)?)
    } else {
        Some(zappa::read(root, name, &tree, options)?)
    };
    if let Some(project) = &mut found {
        let doubles = doubles.into_iter().map(|(line, key)| Ignored {
            file: None,
            line,
            what: format!("the key {}", shortened(&key)),
            why: TWICE.to_owned(),
            is_missing: false,
        });
        project.ignored.extend(doubles);
        project.ignored.sort_by_key(|ignored| ignored.line);
    }
    Ok(found)
}

/// Other tools have files of this name, too.
fn looks_like_template(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    ["AWS::Serverless", "AWS::Lambda::Function"].iter().any(|word| text.contains(word))
}

/// The tree of a file, by its ending.
fn tree(name: &str, bytes: Vec<u8>) -> Result<Loaded, Fault> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Fault::new(1, format!("the file has more than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    let text = encoding::text(bytes, name)
        .map_err(|problem| Fault::new(problem.line.unwrap_or(1), problem.message.clone()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("json") => yaml::parse_json(text),
        Some("toml") => toml_tree::parse(text),
        _ => yaml::parse(text),
    }
}

/// Where AWS is: what the caller says, then the file, then the environment.
fn region(options: &ProjectOptions, of_file: Option<String>) -> String {
    let of_environment = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .iter()
        .find_map(|name| options.environment.get(*name).filter(|region| !region.is_empty()));
    options.region.clone().or(of_file).or(of_environment.cloned()).unwrap_or_else(|| REGION.to_owned())
}
