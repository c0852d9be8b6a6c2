//! A folder with a handler for AWS Lambda and nothing that says more about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ingle_types::account::Account;
use ingle_types::ids::FunctionName;
use ingle_types::problem::Problem;
use ingle_types::schedule::{Schedule, TimeZone};
use ingle_types::spec::{
    AuthLevel, BindingKind, BindingSpec, CatchUp, DataType, DeclaredFunction, FunctionSpec, HandlerQueue,
    HandlerSchedule, HandlerTrigger, HostConfig, HttpOptions, HttpTrigger, LambdaLogFormat, LambdaLogLevel,
    LambdaOptions, SandboxOptions, TimerTrigger, TriggerSpec, embedded_name,
};
use serde_json::{Map, Value, json};

use crate::Error;
use crate::folder::{AppFolder, find as find_setting, read_bytes};
use crate::project::{Api, EventSource, HttpSource, Member, ProjectKind};

pub(crate) mod runtime;

/// What the console of AWS makes, so what a file of this name with this function is.
const SCRIPT: &str = "lambda_function.py";
const HANDLER: &str = "lambda_handler";
/// As Lambda has it for a function that says nothing.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Largest event and result, in bytes (facts of Lambda, section 1.2).
pub const PAYLOAD_BYTES_MAX: u64 = 6_291_556;
/// Of a worker whose app does not say how much it may have, in MB; that of `control`.
const MEMORY_MB: u64 = 1536;
/// What clients of AWS look for.
const DOOR_VARIABLES: [&str; 3] = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
const LOG_FORMAT: &str = "AWS_LAMBDA_LOG_FORMAT";
const LOG_LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
const NAME_CHARACTERS_MAX: usize = 64;

/// A handler, as `module.function` names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Handler {
    /// The whole name.
    pub(crate) name: String,
    /// The module's file, relative to the folder.
    pub(crate) script_file: String,
    pub(crate) why: String,
}

/// The handler of a folder: the one that is named, or the one that every folder of a new function has.
///
/// # Errors
/// What is named is no `module.function`.
pub(crate) fn find(root: &Path, named: Option<(&str, &str)>) -> Result<Option<Handler>, Error> {
    if let Some((name, source)) = named {
        let Some(script_file) = script_of(root, name) else {
            return Err(Error::NoHandler { name: name.to_owned(), named_by: source.to_owned() });
        };
        let why = format!("{name}, named by {source}");
        return Ok(Some(Handler { name: name.to_owned(), script_file, why }));
    }
    let Ok(Some(source)) = read_bytes(&root.join(SCRIPT)) else { return Ok(None) };
    if !String::from_utf8_lossy(&source).contains(HANDLER) {
        return Ok(None);
    }
    let why = format!("{SCRIPT} with {HANDLER}");
    Ok(Some(Handler { name: default_name(), script_file: SCRIPT.to_owned(), why }))
}

fn default_name() -> String {
    format!("{}.{HANDLER}", SCRIPT.trim_end_matches(".py"))
}

/// `a/b.handler` and `a.b.handler` both mean the function `handler` of the module `a.b`. Nothing leads out of the folder
/// (T-026).
pub(crate) fn script_of(root: &Path, name: &str) -> Option<String> {
    let (module, function) = name.rsplit_once('.')?;
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'))
    };
    let module = module.replace('.', "/");
    // The ending of a file is no part of a module's name.
    let has_ending = function == "py" || module.ends_with("/py");
    if has_ending || !is_word(function) || !module.split('/').all(is_word) {
        return None;
    }
    let package = format!("{module}/__init__.py");
    let is_package = root.join(&package).is_file();
    Some(if is_package { package } else { format!("{module}.py") })
}

/// What the file of a project says of one of its functions, unless ingle.toml does.
pub(crate) fn take_over_member(member: &Member, options: &mut LambdaOptions, sandbox: &mut SandboxOptions) {
    let function = &member.function;
    options.timeout.get_or_insert(function.timeout);
    options.region.clone_from(&member.region);
    let url = function.sources.iter().find_map(|source| match source {
        EventSource::Http(HttpSource { api: Api::Url(mode), .. }) => Some(*mode),
        _ => None,
    });
    (options.has_url, options.invoke_mode) = (url.is_some(), url.unwrap_or_default());
    options.takes_fewer_arguments = member.kind == ProjectKind::Zappa;
    options.schedules = function.sources.iter().filter_map(schedule).collect();
    options.queues = function.sources.iter().filter_map(queue).collect();
    options.runtime =
        function.runtime.as_deref().and_then(|name| name.parse().ok()).unwrap_or(options.runtime);
    options.later = function.later.clone();
    options.layers = function.layers.iter().map(|layer| member.root.join(layer)).collect();
    sandbox.memory.get_or_insert(function.memory_mb << 20);
    sandbox.door = member.door.as_ref().map(|door| door.address.clone());
}

/// What leads clients of AWS to the project's queues and buckets, unless the app says itself where they are to go.
pub(crate) fn door_variables(member: &Member, sandbox: &SandboxOptions) -> Vec<(String, String)> {
    let Some(door) = &member.door else { return Vec::new() };
    let variables = [
        (DOOR_VARIABLES[0], format!("http://{}", door.address)),
        (DOOR_VARIABLES[1], door.access_key.clone()),
        (DOOR_VARIABLES[2], door.secret_key.clone()),
    ];
    let is_taken = |name: &str| sandbox.environment.iter().any(|named| named == name);
    if variables.iter().any(|(name, _)| is_taken(name) || member.function.variables.contains_key(*name)) {
        return Vec::new();
    }
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn schedule(source: &EventSource) -> Option<HandlerSchedule> {
    let EventSource::Schedule(source) = source else { return None };
    let zone = source.zone.as_deref().map_or(Ok(TimeZone::UTC), str::parse);
    // That it can be read is known already.
    let (schedule, zone) = (Schedule::parse_aws(&source.expression).ok()?, zone.ok()?);
    let nothing = source.is_scheduler.then(|| "{}".to_owned());
    let input = source.input.as_ref().map(ToString::to_string).or(nothing);
    let timer = TimerTrigger { schedule, zone, run_on_startup: false, use_monitor: true };
    source.enabled.then(|| HandlerSchedule { name: source.name.clone(), timer, input })
}

fn queue(source: &EventSource) -> Option<HandlerQueue> {
    let EventSource::Queue(source) = source else { return None };
    source.enabled.then(|| HandlerQueue {
        name: source.queue.clone(),
        queue: embedded_name(&source.queue, "queue"),
        batch_size: source.batch_size,
        window: source.window,
        reports_failures: source.reports_failures,
        parallel_max: source.concurrency,
        visibility: source.visibility,
        redrive: source.redrive.clone(),
        filters: source.filters.clone(),
    })
}

/// What the app's one function is, before it is imported.
pub(crate) fn declare(
    (root, folder_name): (&Path, &str),
    handler: &Handler,
    options: &LambdaOptions,
    sandbox: &SandboxOptions,
) -> DeclaredFunction {
    let name = name_of(folder_name);
    let memory = sandbox.memory.map_or(MEMORY_MB, |bytes| bytes >> 20);
    let mut settings = json!({
        "type": "handler",
        "timeout_seconds": options.timeout.unwrap_or(TIMEOUT).as_secs_f64(),
        "memory_mb": memory,
        "arn": format!("arn:aws:lambda:{}:{ACCOUNT}:function:{name}", options.region),
        "takes_fewer_arguments": options.takes_fewer_arguments,
    });
    runtime::declare(&mut settings, root, options);
    DeclaredFunction {
        name,
        directory: String::new(),
        script_file: handler.script_file.clone(),
        entry_point: handler.name.clone(),
        bindings: vec![settings.as_object().cloned().unwrap_or_else(Map::new)],
        is_async: false,
        streams: false,
        file: Some(handler.script_file.clone()),
        line: None,
        disabled: false,
        retry: None,
    }
}

/// Stands for an account where there is none.
const ACCOUNT: &str = "000000000000";

/// The folder's name with what a function's name may hold.
pub(crate) fn name_of(folder: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    folder
        .chars()
        .take(NAME_CHARACTERS_MAX)
        .map(|letter| if allowed(letter) { letter } else { '-' })
        .collect()
}

/// Takes over what the environment says about a handler as AWS does: its region, and how its log looks. Gives what is wrong there.
pub(crate) fn take_over(options: &mut LambdaOptions, environment: &BTreeMap<String, String>) -> Vec<Problem> {
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| find_setting(environment, name));
    region.into_iter().for_each(|region| region.clone_into(&mut options.region));
    let mut problems = Vec::new();
    let formats = LambdaLogFormat::ALL.map(LambdaLogFormat::as_str);
    if let Some(format) = setting(environment, LOG_FORMAT, &formats, &mut problems) {
        options.log_format = Some(format);
    }
    let levels = LambdaLogLevel::ALL.map(LambdaLogLevel::as_str);
    if let Some(level) = setting(environment, LOG_LEVEL, &levels, &mut problems) {
        options.log_level = Some(level);
    }
    problems
}

fn setting<Value: FromStr>(
    environment: &BTreeMap<String, String>,
    name: &str,
    allowed: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let text = environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())?;
    let value = text.parse().ok();
    if value.is_none() {
        let problem = Problem::warning("E0240", format!("{name} is {text:?}, and is left out of account"));
        problems.push(problem.fix(format!("set it to one of {}", allowed.join(", "))));
    }
    value
}

/// How the function is served: one event at a time takes as long as Lambda lets it, at a URL of its own.
pub(crate) fn host(options: &LambdaOptions) -> HostConfig {
    HostConfig {
        function_timeout: Some(options.timeout.unwrap_or(TIMEOUT)),
        // EventBridge makes up for nothing.
        catch_up: CatchUp::None,
        http: HttpOptions {
            route_prefix: String::new(),
            body_bytes_max: PAYLOAD_BYTES_MAX,
            ..HttpOptions::default()
        },
        ..HostConfig::default()
    }
}

/// The function that runs.
pub(crate) fn function(
    declared: &DeclaredFunction,
    options: &LambdaOptions,
    location: Option<String>,
) -> FunctionSpec {
    let url =
        HttpTrigger { route: "{*path}".to_owned(), methods: Vec::new(), auth_level: AuthLevel::Anonymous };
    FunctionSpec {
        name: FunctionName::new(&declared.name),
        trigger: TriggerSpec::Handler(HandlerTrigger {
            url: options.has_url.then_some(url),
            invoke_mode: options.invoke_mode,
            schedules: options.schedules.clone(),
            queues: options.queues.clone(),
            later: options.later.clone(),
            timeout: options.timeout.unwrap_or(TIMEOUT),
            region: options.region.clone(),
            memory_mib: declared
                .bindings
                .first()
                .and_then(|settings| settings.get("memory_mb"))
                .and_then(Value::as_u64)
                .unwrap_or(MEMORY_MB),
            log_format: options.log_format.unwrap_or_default(),
        }),
        trigger_parameter: "event".to_owned(),
        bindings: vec![BindingSpec {
            name: "$return".to_owned(),
            kind: BindingKind::HttpOutput,
            data_type: DataType::default(),
            account: Account::default(),
        }],
        disabled: false,
        retry: None,
        is_async: false,
        streams: false,
        location,
    }
}

/// What AWS's runtime sets for a function (facts of Lambda, section 1.7), but for what names its machine.
pub fn variables(folder: &AppFolder, version: (u32, u32, u32)) -> Vec<(String, String)> {
    let Some(declared) = folder.declared.first() else { return Vec::new() };
    let setting = |name: &str| declared.bindings.first().and_then(|settings| settings.get(name));
    let memory = setting("memory_mb").and_then(Value::as_u64).unwrap_or(MEMORY_MB);
    let root = folder.root.display().to_string();
    let packages = packages(&folder.lambda.layers, folder.setting("PYTHONPATH"), version);
    let region = folder.lambda.region.clone();
    let mut variables = log_variables(&folder.lambda);
    variables.extend(runtime::variables(folder.lambda.runtime, version));
    variables.extend([
        ("AWS_LAMBDA_FUNCTION_NAME", declared.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", declared.name)),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_REGION", region.clone()),
        ("AWS_DEFAULT_REGION", region),
        ("_HANDLER", declared.entry_point.clone()),
        ("LAMBDA_TASK_ROOT", root.clone()),
        ("PWD", root),
        ("TZ", ":UTC".to_owned()),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR".to_owned()),
    ]);
    variables.extend(packages.map(|paths| ("PYTHONPATH", paths)));
    variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Where Python finds the packages of layers, as if they lay over each other below `/opt`.
fn packages(layers: &[PathBuf], own: Option<&str>, (major, minor, _): (u32, u32, u32)) -> Option<String> {
    let of_version = format!("python/lib/python{major}.{minor}/site-packages");
    let folders = layers.iter().rev().flat_map(|layer| [layer.join(&of_version), layer.join("python")]);
    let paths = folders.filter(|folder| folder.is_dir()).map(|folder| folder.display().to_string());
    let paths: Vec<String> = own.map(str::to_owned).into_iter().chain(paths).collect();
    (!layers.is_empty() && !paths.is_empty()).then(|| paths.join(":"))
}

/// On AWS they are there if the log of a function is one of JSON, whose level is then INFO unless it is another.
fn log_variables(options: &LambdaOptions) -> Vec<(&'static str, String)> {
    let format = options.log_format.unwrap_or_default();
    let is_json = format == LambdaLogFormat::Json;
    let level = options.log_level.or(is_json.then_some(LambdaLogLevel::Info));
    let level = level.map(|level| (LOG_LEVEL, level.as_str().to_owned()));
    is_json.then(|| (LOG_FORMAT, format.as_str().to_owned())).into_iter().chain(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn the_console_s_file_is_known_by_its_function() {
        let found =
            find(folder(&[(SCRIPT, "def lambda_handler(event, context): ...")]).path(), None).unwrap();
        let found = found.unwrap();
        assert_eq!(
            (found.name.as_str(), found.script_file.as_str()),
            ("lambda_function.lambda_handler", SCRIPT)
        );
        assert_eq!(find(folder(&[(SCRIPT, "x = 1")]).path(), None).unwrap(), None);
        assert_eq!(find(folder(&[("app.py", "def lambda_handler(e, c): ...")]).path(), None).unwrap(), None);
    }

    #[test]
    fn queues_of_a_member_are_sources_unless_they_are_switched_off() {
        let check = |name: &str, concurrency: Option<u32>, enabled: bool| {
            queue(&EventSource::Queue(crate::project::QueueSource {
                queue: name.to_owned(),
                batch_size: 7,
                window: Duration::from_secs(2),
                reports_failures: true,
                enabled,
                concurrency,
                visibility: None,
                redrive: None,
                filters: Vec::new(),
                line: 1,
            }))
        };
        let expected = HandlerQueue {
            name: "Orders".to_owned(),
            queue: "orders".to_owned(),
            batch_size: 7,
            window: Duration::from_secs(2),
            reports_failures: true,
            parallel_max: Some(4),
            visibility: None,
            redrive: None,
            filters: Vec::new(),
        };
        assert_eq!(check("Orders", Some(4), true), Some(expected));
        assert_eq!(check("Orders", None, true).and_then(|source| source.parallel_max), None);
        assert_eq!(check("Orders", None, false), None);
    }

    /// T-026: no handler leads out of its folder.
    #[test]
    fn t_026_a_named_handler_is_a_function_of_the_folder() {
        let root = folder(&[("package/__init__.py", ""), ("app.py", "")]);
        let check = |name: &str, expected: Option<&str>| {
            let found = find(root.path(), Some((name, "--handler"))).ok().flatten();
            assert_eq!(found.map(|handler| handler.script_file).as_deref(), expected, "{name}");
        };
        check("app.handler", Some("app.py"));
        check("src/orders.take", Some("src/orders.py"));
        check("src.orders.take", Some("src/orders.py"));
        check("package.take", Some("package/__init__.py"));
        for bad in [
            "app",
            "",
            ".",
            "app.",
            ".handler",
            "../app.handler",
            "/etc/x.y",
            "a//b.c",
            "a b.c",
            "app.py",
            "app.py.handler",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn the_log_of_a_function_is_what_the_environment_says() {
        let check = |variables: &[(&str, &str)], expected: &[&str], wrong: usize| {
            let mut options =
                LambdaOptions { log_format: Some(LambdaLogFormat::Json), ..LambdaOptions::default() };
            let variables =
                variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let problems = take_over(&mut options, &variables);
            assert!(problems.len() == wrong && problems.iter().all(|problem| problem.code == "E0240"));
            let seen: Vec<String> =
                log_variables(&options).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(seen, expected);
        };
        check(&[], &["AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_LAMBDA_LOG_LEVEL=INFO"], 0);
        check(&[(LOG_LEVEL, "debug")], &["AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_LAMBDA_LOG_LEVEL=DEBUG"], 0);
        check(&[(LOG_FORMAT, "Text")], &[], 0);
        check(&[(LOG_FORMAT, "text"), (LOG_LEVEL, "Warn")], &["AWS_LAMBDA_LOG_LEVEL=WARN"], 0);
        check(
            &[(LOG_FORMAT, "XML"), (LOG_LEVEL, "loud")],
            &["AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_LAMBDA_LOG_LEVEL=INFO"],
            2,
        );
    }

    #[test]
    fn a_function_is_named_after_its_folder() {
        assert_eq!(name_of("my.app (2)"), "my-app--2-");
        assert_eq!(name_of(&"é".repeat(100)).len(), NAME_CHARACTERS_MAX);
    }
}
