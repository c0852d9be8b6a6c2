//! Step one: reading a folder without running anything in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ingle_sandbox::means::Means;
use ingle_types::problem::Problem;
use ingle_types::spec::{
    AdmissionOptions, DeclaredFunction, Dialect, HostConfig, Isolation, LambdaOptions, SandboxOptions,
    ScalePlan, WorkerOptions,
};

use crate::detect::Detected;
use crate::environment::Failures;
use crate::ingle_toml::IngleToml;
use crate::json_place::{self, Document, Node};
use crate::kinds::Looked;
use crate::project::Member;
use crate::web::Maker;
use crate::{
    Error, bindings, detect, encoding, function_json, host_json, ingle_toml, lambda, local_settings,
    requirements, web,
};

/// Largest settings file in bytes that is read; what is longer is no settings file.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

const DEBUG_LOGGING: &str = "PYTHON_ENABLE_DEBUG_LOGGING";

/// Settings that decide only what is logged.
fn is_of_logging(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(':', "__");
    name.eq_ignore_ascii_case(DEBUG_LOGGING) || name.starts_with("azurefunctionsjobhost__logging__loglevel__")
}

/// What the caller knows besides the folder.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// Only these functions (`--functions`); empty means what host.json says.
    pub functions: Vec<String>,
    /// The interpreter asked for (`--python`): a path, a name on PATH, or a version such as `3.12`.
    pub python: Option<PathBuf>,
    /// Where the command was typed; a relative `python` starts there.
    pub directory: PathBuf,
    /// The environment of the process; this room does not read it itself.
    pub environment: BTreeMap<String, String>,
    pub home: PathBuf,
    /// Where built environments are kept, e.g. `~/.cache/ingle`.
    pub cache: PathBuf,
    /// What Ingle keeps of the app, if it is not in `.ingle` of its folder: nothing that builders may see.
    pub state: Option<PathBuf>,
    /// With what builders are confined; without it nothing is.
    pub means: Option<Means>,
    /// As the command line has it; it wins over the app's own word.
    pub isolation: Option<Isolation>,
    /// The handler of AWS Lambda that is meant, as `module.function`; it wins over the app's own word.
    pub handler: Option<String>,
    /// The function of a project that is meant.
    pub member: Option<Box<Member>>,
    /// Installs that have failed and are not tried again.
    pub failures: Failures,
}

/// What stands in a folder. The functions of a v2 app are not known before its code is imported.
#[derive(Clone, Debug)]
pub struct AppFolder {
    /// Absolute, links resolved.
    pub root: PathBuf,
    /// The folder's name.
    pub name: String,
    pub dialect: Dialect,
    /// Why it is taken for that dialect, e.g. `function_app.py with decorators (v2)`.
    pub why: String,
    /// The script with the decorators, relative to the root; for v1 the name that would be one.
    pub script_file: String,
    /// v1 only.
    pub declared: Vec<DeclaredFunction>,
    pub host: HostConfig,
    /// App settings for the worker's environment: names from local.settings.json, the value of the process
    /// environment where that has one.
    pub settings: BTreeMap<String, String>,
    /// `Host.LocalHttpPort` of local.settings.json.
    pub port: Option<u16>,
    pub requirements: requirements::Requirements,
    /// `[workers]` of ingle.toml.
    pub workers: WorkerOptions,
    /// `[admission]`, `[loops]` and `[functions]` of ingle.toml.
    pub admission: AdmissionOptions,
    /// `[sandbox]` of ingle.toml.
    pub sandbox: SandboxOptions,
    /// `[lambda]` of ingle.toml.
    pub lambda: LambdaOptions,
    pub problems: Vec<Problem>,
    /// Worth knowing, but nothing to mend.
    pub notes: Vec<String>,
    /// As in [`ReadOptions`]; settings are looked up there first.
    pub environment: BTreeMap<String, String>,
    /// `--functions`.
    pub filter: Vec<String>,
    /// Each function.json with its places, by function name.
    pub(crate) places: BTreeMap<String, Node>,
}

impl AppFolder {
    /// How much of the machine is kept from the app.
    pub fn isolation(&self, options: &ReadOptions) -> Isolation {
        options.isolation.or(self.sandbox.isolation).unwrap_or(Isolation::Default)
    }

    /// The same folder with what was named as a handler taken for a web app, as a worker has found that it is one;
    /// none if it was not found to be so.
    #[must_use]
    pub fn with_web_app(&self, found: &[DeclaredFunction]) -> Option<Self> {
        let kind =
            |function: &DeclaredFunction| function.bindings.first()?.get("type")?.as_str().map(str::to_owned);
        let is_web = |function: &DeclaredFunction| kind(function).as_deref() == Some(web::KIND);
        if self.dialect != Dialect::Lambda || !found.iter().any(is_web) {
            return None;
        }
        let handler = |declared: &DeclaredFunction| lambda::Handler {
            name: declared.entry_point.clone(),
            script_file: declared.script_file.clone(),
            why: String::new(),
        };
        let declared =
            self.declared.iter().map(|declared| web::declare(&self.name, &handler(declared), None)).collect();
        let why = format!("{}: a web app", self.why);
        Some(Self { dialect: Dialect::Web, host: web::host(), declared, why, ..self.clone() })
    }

    /// An app setting, found without regard to case; the process environment wins over local.settings.json.
    pub fn setting(&self, name: &str) -> Option<&str> {
        find(&self.environment, name).filter(|value| !value.is_empty()).or_else(|| find(&self.settings, name))
    }

    /// `PYTHON_ENABLE_DEBUG_LOGGING`. What is not written for Azure says itself what its log has.
    pub fn logs_debug_lines(&self) -> bool {
        if !self.dialect.is_azure() {
            return true;
        }
        let value = self.setting(DEBUG_LOGGING).unwrap_or_default().trim().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "true" | "t" | "yes" | "y")
    }

    /// Whether a version of the same folder would run as this one does, but for what is logged.
    pub fn differs_only_in_logging(&self, other: &Self) -> bool {
        let host = |folder: &Self| HostConfig { log_levels: Vec::new(), ..folder.host.clone() };
        let settings = |folder: &Self| -> BTreeMap<String, String> {
            let rest = folder.settings.iter().filter(|(name, _)| !is_of_logging(name));
            rest.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        // Not the lines, as they move with what stands above them.
        let problems = |folder: &Self| -> Vec<(String, Option<String>, String)> {
            let problem = |one: &Problem| (one.code.clone(), one.file.clone(), one.message.clone());
            folder.problems.iter().map(problem).collect()
        };
        host(self) == host(other)
            && settings(self) == settings(other)
            && problems(self) == problems(other)
            && (&self.root, self.dialect, &self.script_file, self.port)
                == (&other.root, other.dialect, &other.script_file, other.port)
            && self.declared == other.declared
            && self.requirements == other.requirements
            && self.workers == other.workers
            && self.admission == other.admission
            && self.sandbox == other.sandbox
            && self.lambda == other.lambda
    }

    /// Names of all settings, those of the environment included.
    pub(crate) fn setting_names(&self) -> impl Iterator<Item = &str> {
        self.settings.keys().chain(self.environment.keys()).map(String::as_str)
    }
}

pub(crate) fn find<'a>(settings: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let exact = settings.get(name);
    let any_case = || settings.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    exact.or_else(any_case).map(String::as_str)
}

/// Reads the folder: what it is, its settings, its requirements, and for v1 its functions.
///
/// # Errors
/// The folder is not there, holds no app, or holds two. What is wrong inside its files is in
/// [`AppFolder::problems`].
pub fn read(root: &Path, options: &ReadOptions) -> Result<AppFolder, Error> {
    let root = existing_folder(root)?;
    let local = local_settings::read(&root, &options.environment)?;
    let script = setting_of(&options.environment, &local.values, "PYTHON_SCRIPT_FILE_NAME");
    let zone = bindings::default_zone(|name| {
        setting_of(&options.environment, &local.values, name).filter(|value| !value.trim().is_empty())
    });
    let member = options.member.as_deref();
    let mut own = ingle_toml::read(member.map_or(&root, |member| &member.root), &zone)?;
    let named = named_handler(options, &own.lambda);
    let named = named.as_ref().map(|(name, source)| (name.as_str(), source.as_str()));
    let detected = detected(&root, (script, named), &own, options)?;
    if let (Dialect::Web, Some(member)) = (detected.dialect, member) {
        own.sandbox.memory.get_or_insert(member.function.memory_mb << 20);
    }
    if detected.maker.as_ref().is_some_and(Maker::takes_one_at_a_time) {
        own.workers.concurrency.get_or_insert(1);
        own.workers.plan.get_or_insert(ScalePlan::Consumption);
    }
    if detected.dialect == Dialect::Lambda {
        own.lambda.runtime = detected.runtime;
        own.problems.extend(lambda::take_over(&mut own.lambda, &options.environment));
        if let Some(member) = member {
            lambda::take_over_member(member, &mut own.lambda, &mut own.sandbox);
        }
    }
    let settings = detect_settings(&options.environment, &local.values);
    let folder_name = match member {
        Some(member) => member.function.name.clone(),
        None => root.file_name().map_or_else(|| "app".to_owned(), |name| name.to_string_lossy().into_owned()),
    };
    let host = host(&root, detected.dialect, (&own, member), &settings)?;
    let functions = declared(&root, &detected, &settings, (&folder_name, &own))?;
    let requirements = requirements::read(&root)?;
    let mut problems = local.problems;
    problems.extend(host.problems);
    problems.extend(functions.problems);
    problems.extend(requirements.problems);
    problems.extend(detect::hidden_modules(&root));
    problems.extend(own.problems);
    let mut notes = local.notes;
    notes.extend(host.notes);
    let mut values = local.values;
    values.extend(member.iter().flat_map(|member| member.function.variables.clone()));
    values.extend(member.iter().flat_map(|member| lambda::door_variables(member, &own.sandbox)));
    let mut config = host.config;
    config.cors = local.cors;
    Ok(AppFolder {
        name: folder_name,
        root,
        dialect: detected.dialect,
        why: detected.why,
        script_file: detected.script_file,
        declared: functions.declared,
        host: config,
        settings: values,
        port: local.port,
        requirements: requirements.requirements,
        workers: own.workers,
        admission: own.admission,
        sandbox: own.sandbox,
        lambda: own.lambda,
        problems,
        notes,
        environment: options.environment.clone(),
        filter: options.functions.clone(),
        places: functions.places,
    })
}

/// What the folder is.
fn detected(
    root: &Path,
    (script, handler): (Option<&str>, Option<(&str, &str)>),
    own: &IngleToml,
    options: &ReadOptions,
) -> Result<Detected, Error> {
    let of_member = options.member.as_ref().and_then(|member| detect::web_app_of(root, member));
    let of_function =
        options.member.as_ref().and_then(|member| member.function.runtime.as_deref()?.parse().ok());
    let runtime = of_function.unwrap_or(own.lambda.runtime);
    let (targets, environment) = (&own.targets, &options.environment);
    let looked = Looked { root, script, handler, runtime, targets, environment };
    of_member.map_or_else(|| detect::detect(&looked), Ok)
}

/// How it is served: as host.json says, or as its kind is.
fn host(
    root: &Path,
    dialect: Dialect,
    (own, member): (&IngleToml, Option<&Member>),
    settings: &BTreeMap<String, String>,
) -> Result<host_json::Host, Error> {
    let built_in = |config| host_json::Host { config, problems: Vec::new(), notes: Vec::new() };
    Ok(match dialect {
        Dialect::Lambda => built_in(lambda::host(&own.lambda)),
        Dialect::Web => {
            let usual = web::host();
            let function_timeout = member.map(|member| member.function.timeout).or(usual.function_timeout);
            built_in(HostConfig { function_timeout, ..usual })
        }
        Dialect::AzureV1 | Dialect::AzureV2 => host_json::read(root, settings)?,
    })
}

/// The functions that are known before anything is imported.
fn declared(
    root: &Path,
    detected: &Detected,
    settings: &BTreeMap<String, String>,
    (folder_name, own): (&str, &IngleToml),
) -> Result<function_json::Functions, Error> {
    let one = |declared| function_json::Functions {
        declared: vec![declared],
        ..function_json::Functions::default()
    };
    Ok(match (detected.dialect, &detected.handler) {
        (Dialect::AzureV1, _) => function_json::read_all(root, &detected.directories, settings)?,
        (Dialect::Lambda, Some(handler)) => {
            one(lambda::declare((root, folder_name), handler, &own.lambda, &own.sandbox))
        }
        (Dialect::Web, Some(handler)) => one(web::declare(folder_name, handler, detected.maker.as_ref())),
        (Dialect::AzureV2 | Dialect::Lambda | Dialect::Web, _) => function_json::Functions::default(),
    })
}

/// The handler that is named, and what names it.
fn named_handler(options: &ReadOptions, own: &LambdaOptions) -> Option<(String, String)> {
    let of_member = options.member.as_ref().map(|member| (member.function.handler.clone(), member.place()));
    let of_caller = || options.handler.clone().map(|name| (name, "--handler".to_owned()));
    let of_file = || own.handler.clone().map(|name| (name, "handler in [lambda] of ingle.toml".to_owned()));
    of_member.or_else(of_caller).or_else(of_file)
}

/// Both sources of settings in one map, the environment winning where it is not empty.
fn detect_settings(
    environment: &BTreeMap<String, String>,
    values: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = values.clone();
    all.extend(
        environment
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    all
}

fn setting_of<'a>(
    environment: &'a BTreeMap<String, String>,
    values: &'a BTreeMap<String, String>,
    name: &str,
) -> Option<&'a str> {
    find(environment, name)
        .filter(|value| !value.is_empty())
        .or_else(|| find(values, name))
        .filter(|value| !value.is_empty())
}

pub(crate) fn existing_folder(root: &Path) -> Result<PathBuf, Error> {
    match root.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(path) => Err(Error::NotAFolder(path)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::FolderMissing(root.to_owned()))
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotADirectory => {
            Err(Error::NotAFolder(root.to_owned()))
        }
        Err(source) => Err(Error::Unreadable { path: root.to_owned(), source }),
    }
}

/// The bytes of a small file; `None` if it is not there.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    ingle_sandbox::read::file(path, FILE_BYTES_MAX)
        .map_err(|source| Error::Unreadable { path: path.to_owned(), source })
}

/// A JSON file; `Ok(None)` if it is not there. What is wrong or forgiven in it goes to `problems`; with an error there
/// the file counts as not there.
pub(crate) fn read_json(
    root: &Path,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Result<Option<Document>, Error> {
    let Some(bytes) = read_bytes(&root.join(name))? else { return Ok(None) };
    let text = match encoding::text(bytes, name) {
        Ok(text) => text,
        Err(problem) => {
            problems.push(*problem);
            return Ok(None);
        }
    };
    match json_place::read(&text) {
        Ok(document) => {
            let forgiven = document.notes.iter().map(|note| {
                Problem::warning("E0112", format!("{}; it is read all the same", note.message))
                    .at(name, Some(note.line))
                    .fix("other readers of JSON refuse it: write plain JSON")
            });
            problems.extend(forgiven);
            Ok(Some(document))
        }
        Err(error) => {
            let problem = Problem::error("E0112", format!("{name} is no JSON: {error}"));
            // The mark is where reading stopped; what is missing often belongs to the line above.
            problems.push(
                problem.at(name, Some(error.line)).fix("correct it there, or at the end of the line above"),
            );
            Ok(None)
        }
    }
}

/// A problem at a value: in the file, or in the app setting that stands for it.
pub(crate) fn place(problem: Problem, file: &str, node: &Node) -> Problem {
    match &node.setting {
        Some(setting) => problem.at(format!("app setting {setting}"), None),
        None => problem.at(file, Some(node.line).filter(|line| *line > 0)),
    }
}
