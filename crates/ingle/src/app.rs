//! From a folder to a loaded app: read, choose an interpreter, prepare the environment, import, resolve.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ingle_apps::{AppFolder, Environment, Interpreter, Progress, ReadOptions};
use ingle_gateway::site::Site;
use ingle_tasks::Tasks;
use ingle_types::log::LogSinkHandle;
use ingle_types::problem::{Problem, Severity};
use ingle_types::spec::AppSpec;
use ingle_worker::pool::AppToLoad;
use ingle_worker::{Loaded, Pool, shim};

use crate::cli::AppArguments;
use crate::exit::{APP, CommandError, chain, exit_of};
use crate::surroundings::Surroundings;

/// Longest time for importing an app.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(120);
/// What Azure's host sets when the app does not (facts 0.11).
const LANES_DEFAULT: usize = 1000;
const PROCESSES_MAX: usize = 10;

/// A folder that was read, with what runs it.
pub(crate) struct Prepared {
    pub(crate) folder: AppFolder,
    pub(crate) interpreter: Interpreter,
    pub(crate) environment: Environment,
}

/// An app whose first worker has imported it.
pub(crate) struct Running {
    pub(crate) prepared: Prepared,
    pub(crate) pool: Pool,
    pub(crate) loaded: Loaded,
    pub(crate) app: AppSpec,
    pub(crate) site: Site,
    pub(crate) process_count: usize,
}

/// Steps one and two: nothing of the app is run.
pub(crate) async fn prepare(
    arguments: &AppArguments,
    surroundings: &Surroundings,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Prepared, CommandError> {
    let options = ReadOptions {
        functions: arguments.functions.clone(),
        python: arguments.python.clone(),
        directory: surroundings.directory.clone(),
        environment: surroundings.variables.clone(),
        home: surroundings.home.clone(),
        cache: surroundings.cache.clone(),
    };
    let folder = ingle_apps::read(&arguments.folder, &options).map_err(|error| from_apps(&error))?;
    let interpreter = ingle_apps::choose_interpreter(&folder, &options).map_err(|error| from_apps(&error))?;
    let prepared = ingle_apps::prepare_environment(&folder, &interpreter, &options, progress).await;
    let environment = prepared.map_err(|error| from_apps(&error))?;
    Ok(Prepared { folder, interpreter, environment })
}

pub(crate) fn from_apps(error: &ingle_apps::Error) -> CommandError {
    let exit = exit_of(error.blame());
    let detail = error.detail().map(|detail| format!("\n{detail}")).unwrap_or_default();
    CommandError { exit, code: error.code(), message: chain(error) + &detail, hint: error.hint() }
}

/// Step three: imports the app in its first worker and resolves what it declares.
pub(crate) async fn run(
    prepared: Prepared,
    surroundings: &Surroundings,
    port: u16,
    tasks: &Tasks,
    sink: LogSinkHandle,
) -> Result<Running, CommandError> {
    let folder = &prepared.folder;
    let shim = shim::install(&surroundings.cache)
        .map_err(|source| ingle_worker::Error::Shim { folder: surroundings.cache.clone(), source })?;
    let mut problems = Vec::new();
    let process_count = number(folder, "FUNCTIONS_WORKER_PROCESS_COUNT", 1, PROCESSES_MAX, &mut problems);
    let lanes_max =
        number(folder, "PYTHON_THREADPOOL_THREAD_COUNT", LANES_DEFAULT, LANES_DEFAULT, &mut problems);
    let options = ingle_worker::Options {
        python: prepared.environment.python.clone(),
        shim: shim.clone(),
        app: AppToLoad {
            root: folder.root.clone(),
            dialect: folder.dialect,
            script_file: folder.script_file.clone(),
            functions: folder.declared.clone(),
        },
        environment: worker_environment(&prepared, surroundings, &shim, port),
        process_count,
        lanes_max,
        import_timeout: IMPORT_TIMEOUT,
        development: true,
    };
    let pool = Pool::new(options, tasks.clone(), sink);
    let loaded = pool.start().await?;
    problems.extend(loaded.problems.clone());
    problems.extend(prepared.interpreter.problems.clone());
    problems.extend(prepared.environment.problems.clone());
    let declared = loaded.functions.clone();
    let mut app = ingle_apps::resolve(&prepared.folder, declared, problems);
    let (site, route_problems) = Site::new(&app).map_err(|error| CommandError {
        exit: APP,
        code: error.code(),
        message: chain(&error),
        hint: error.hint(),
    })?;
    let broken: Vec<String> = route_problems.iter().filter_map(|problem| problem.function.clone()).collect();
    app.functions.retain(|function| !broken.iter().any(|name| name == function.name.as_str()));
    app.problems.extend(route_problems);
    Ok(Running { prepared, pool, loaded, app, site, process_count })
}

/// Errors among the findings.
pub(crate) fn error_count(problems: &[Problem]) -> usize {
    problems.iter().filter(|problem| problem.severity == Severity::Error).count()
}

/// A whole number from the settings, within its bounds; what is no such number is named and the default taken.
fn number(folder: &AppFolder, name: &str, default: usize, max: usize, problems: &mut Vec<Problem>) -> usize {
    let Some(text) = folder.setting(name) else { return default };
    match text.trim().parse::<usize>() {
        Ok(number) if (1..=max).contains(&number) => number,
        _ => {
            let message = format!("{name} is {text:?}; {default} is used instead");
            problems
                .push(Problem::warning("E0240", message).fix(format!("set a whole number from 1 to {max}")));
            default
        }
    }
}

/// Everything that a worker finds in its environment: that of the user's shell, the app's settings, and what Azure's
/// host sets (facts 2.2, 6.2).
fn worker_environment(
    prepared: &Prepared,
    surroundings: &Surroundings,
    shim: &std::path::Path,
    port: u16,
) -> BTreeMap<String, String> {
    let folder = &prepared.folder;
    let mut variables: BTreeMap<String, String> = surroundings
        .variables
        .iter()
        .filter(|(name, _)| !name.starts_with("INGLE_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    variables.extend(folder.settings.clone());
    let root = folder.root.display().to_string();
    let (major, minor, _) = prepared.interpreter.version;
    let mut set = |name: &str, value: String| {
        variables.insert(name.to_owned(), value);
    };
    set("AZURE_FUNCTIONS_ENVIRONMENT", "Development".to_owned());
    set("FUNCTIONS_APPLICATION_DIRECTORY", root.clone());
    set("AzureWebJobsScriptRoot", root);
    set("FUNCTIONS_WORKER_DIRECTORY", shim.display().to_string());
    set("FUNCTIONS_WORKER_RUNTIME", "python".to_owned());
    set("FUNCTIONS_WORKER_RUNTIME_VERSION", format!("{major}.{minor}"));
    set("WEBSITE_HOSTNAME", format!("localhost:{port}"));
    let environment = prepared.environment.python.parent().and_then(std::path::Path::parent);
    if let Some(environment) = environment.filter(|root| root.join("pyvenv.cfg").is_file()) {
        set("VIRTUAL_ENV", environment.display().to_string());
    }
    variables
}

/// The folder of the app as it was given, made absolute as far as it exists.
pub(crate) fn absolute(folder: &std::path::Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
