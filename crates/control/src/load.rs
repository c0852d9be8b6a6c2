//! From a folder to a loaded app: read, choose an interpreter, prepare the environment, import, resolve.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ingle_apps::{AppFolder, Environment, Interpreter, Progress, ReadOptions};
use ingle_sandbox::boxes::machine::{self, Crowd};
use ingle_sandbox::boxes::{BoxError, Network, Protection};
use ingle_sandbox::egress::Rules;
use ingle_sandbox::egress::policy::Policy;
use ingle_sandbox::means::Means;
use ingle_sandbox::temporary::Temporary;
use ingle_tasks::Tasks;
use ingle_types::clock::ClockHandle;
use ingle_types::log::LogSinkHandle;
use ingle_types::problem::Problem;
use ingle_types::spec::{
    AppSpec, DeclaredFunction, Dialect, Fork, IdleTimeout, Isolation, ScalePlan, WarmWindow, WorkerOptions,
};
use ingle_worker::debug::Debugging;
use ingle_worker::pool::{AppToLoad, Recycle};
use ingle_worker::scale::Limits;
use ingle_worker::{Confinement, ForkPolicy, Loaded, Parents, Pool, Way, shim};

use crate::confine::{self, Confined, Needs};
use crate::error::Error;
use crate::examine::EXAMINED_EXIT;
use crate::handler;
use crate::index::Index;

/// Longest time for importing an app.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(120);
/// What Azure's host sets when the app does not (facts 0.11).
const LANES_DEFAULT: usize = 1000;
const PROCESSES_MAX: usize = 10;

/// A folder that was read, with what runs it. Nothing of the app has run yet.
#[derive(Clone)]
pub struct Prepared {
    pub folder: AppFolder,
    pub interpreter: Interpreter,
    pub environment: Environment,
    /// The folder that has `debugpy`, if the environment has not and it is needed.
    pub debugger: Option<PathBuf>,
}

/// An app whose first worker has imported it.
pub(crate) struct Imported {
    pub(crate) pool: Pool,
    /// Without its functions: they have become those of `app`.
    pub(crate) loaded: Loaded,
    /// Its functions, as they were declared.
    pub(crate) declared: Vec<DeclaredFunction>,
    pub(crate) app: AppSpec,
    pub(crate) process_count: usize,
    pub(crate) confined: Confined,
}

/// Reads the folder, chooses an interpreter and prepares its environment.
///
/// # Errors
/// [`Error::App`].
pub async fn prepare(
    folder: &Path,
    options: &ReadOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Prepared, Error> {
    let folder = ingle_apps::read(folder, options)?;
    // Before anything of its packages runs.
    check_isolation(folder.isolation(options), options.means.as_ref())?;
    let interpreter = ingle_apps::choose_interpreter(&folder, options)?;
    let environment = ingle_apps::prepare_environment(&folder, &interpreter, options, progress).await?;
    Ok(Prepared { folder, interpreter, environment, debugger: None })
}

/// The folder in which the states of all functions of a project are, if this is one of them.
fn of_all(state: &Path) -> Option<PathBuf> {
    state
        .parent()
        .filter(|parent| parent.file_name().is_some_and(|name| name == ".ingle"))
        .map(Path::to_owned)
}

/// Whether this machine has what a class of isolation is made of.
fn check_isolation(isolation: Isolation, means: Option<&Means>) -> Result<(), Error> {
    match (isolation, means) {
        (Isolation::Gvisor, Some(means)) => confine::gvisor(&means.strength).map(drop),
        (Isolation::Strict, Some(means)) => confine::check_strict(&means.strength),
        _ => Ok(()),
    }
}

/// Finds `debugpy` for the app's Python, or installs it into the cache.
///
/// # Errors
/// [`Error::App`].
pub async fn prepare_debugger(
    prepared: &mut Prepared,
    options: &ReadOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let python = (&prepared.interpreter, &prepared.environment);
    prepared.debugger = ingle_apps::prepare_debugger(&prepared.folder, python, options, progress).await?;
    Ok(())
}

/// What importing needs besides the app.
pub(crate) struct Importing<'a> {
    pub(crate) cache: &'a Path,
    /// The environment of the process, which the worker inherits but for our own variables.
    pub(crate) variables: &'a BTreeMap<String, String>,
    pub(crate) hostname: &'a str,
    pub(crate) tasks: &'a Tasks,
    pub(crate) clock: ClockHandle,
    pub(crate) sink: LogSinkHandle,
    pub(crate) parents: &'a Parents,
    /// Where workers write large outputs.
    pub(crate) spool: Option<PathBuf>,
    /// Where workers find large inputs.
    pub(crate) handed: Option<PathBuf>,
    /// What Ingle keeps of the app, of which functions see only the two above.
    pub(crate) state: Option<PathBuf>,
    /// As the command line has it; it wins over the app's own word.
    pub(crate) isolation: Option<Isolation>,
    /// Variables of the process that functions see, besides those that the app names.
    pub(crate) named: &'a [String],
    /// Whether Python's debug lines are wanted.
    pub(crate) debug_lines: bool,
    pub(crate) debugging: Option<Debugging>,
    /// Where what the app declares is kept.
    pub(crate) index: Option<IndexPlace<'a>>,
}

/// Where and how an index is used.
#[derive(Clone, Copy)]
pub(crate) struct IndexPlace<'a> {
    /// The app's state folder.
    pub(crate) state: &'a Path,
    /// An app with an index is imported only when there is work for it.
    pub(crate) is_lazy: bool,
}

/// Imports the app; what was named as a handler and turns out to be a web app once more, as one.
pub(crate) async fn import_as_found<'a>(
    prepared: &mut Prepared,
    with: impl Fn(&Prepared) -> Importing<'a>,
) -> Result<Imported, Error> {
    let imported = Box::pin(import(prepared, with(prepared))).await?;
    let Some(folder) = prepared.folder.with_web_app(&imported.declared) else { return Ok(imported) };
    imported.pool.stop(EXAMINED_EXIT).await;
    prepared.folder = folder;
    Box::pin(import(prepared, with(prepared))).await
}

/// Imports the app in its first worker and resolves what it declares.
pub(crate) async fn import(prepared: &Prepared, with: Importing<'_>) -> Result<Imported, Error> {
    let folder = &prepared.folder;
    let shim = shim::install(with.cache)
        .map_err(|source| ingle_worker::Error::Shim { folder: with.cache.to_owned(), source })?;
    let mut problems = Vec::new();
    let mut process_count = folder
        .setting("FUNCTIONS_WORKER_PROCESS_COUNT")
        .map(|_| number(folder, "FUNCTIONS_WORKER_PROCESS_COUNT", 1, PROCESSES_MAX, &mut problems));
    if with.debugging.is_some() {
        // An editor is attached to one process, and stays attached to it.
        process_count = Some(1);
    }
    let lanes_max =
        number(folder, "PYTHON_THREADPOOL_THREAD_COUNT", LANES_DEFAULT, LANES_DEFAULT, &mut problems);
    let isolation = with.isolation.or(folder.sandbox.isolation).unwrap_or(Isolation::Default);
    let confinement = confinement(prepared, &with, isolation, &shim)?;
    let confined = Confined::new(isolation, confinement.as_ref());
    let python = without_links(&prepared.environment.python);
    let inherited = inherited(folder, &with, (&python, confinement.as_ref()));
    let (environment, settings) = match folder.dialect {
        Dialect::Lambda | Dialect::Web => handler::environment(prepared, &inherited),
        Dialect::AzureV1 | Dialect::AzureV2 => worker_environment(prepared, &inherited, &shim, with.hostname),
    };
    let workers = handler::worker_options(folder);
    let limits = limits(process_count, &workers, cores());
    let options = ingle_worker::Options {
        python,
        shim: shim.clone(),
        app: AppToLoad {
            root: folder.root.clone(),
            dialect: folder.dialect,
            script_file: folder.script_file.clone(),
            functions: folder.declared.clone(),
        },
        environment,
        settings,
        fork: fork_policy(folder.workers.fork),
        limits,
        warm: warm_windows(&folder.workers.warm, limits.max, &mut problems),
        recycle: Recycle {
            after_invocations: folder.workers.recycle_after,
            above_memory: folder.workers.recycle_memory,
        },
        concurrency: workers.concurrency,
        lanes_max,
        import_timeout: folder.workers.init_timeout.unwrap_or(IMPORT_TIMEOUT),
        development: true,
        spool: with.spool,
        debug_lines: with.debug_lines,
        debugging: with.debugging,
        bounds: handler::bounds(folder),
        confinement,
    };
    let index = with.index.filter(|_| options.debugging.is_none());
    let is_lazy = index.is_some_and(|index| index.is_lazy);
    let index_of = || Index::of(index?.state, prepared, &shim, with.variables);
    let pool = Pool::new(options, with.parents, with.tasks.clone(), with.sink, with.clock);
    let mut loaded = begin(&pool, index_of, is_lazy).await?;
    problems.extend(loaded.problems.clone());
    problems.extend(pool.way().and_then(unsafe_to_fork));
    problems.extend(prepared.interpreter.problems.clone());
    problems.extend(prepared.environment.problems.clone());
    let declared = std::mem::take(&mut loaded.functions);
    let app = ingle_apps::resolve(folder, declared.clone(), problems);
    Ok(Imported { pool, loaded, declared, app, process_count: process_count.unwrap_or(1), confined })
}

/// What functions see of the server's environment: all of it without a box.
fn inherited(
    folder: &AppFolder,
    with: &Importing<'_>,
    (python, confinement): (&Path, Option<&Confinement>),
) -> BTreeMap<String, String> {
    let Some(confinement) = confinement else { return with.variables.clone() };
    let named = [with.named, &folder.sandbox.environment[..]].concat();
    confine::variables(with.variables, (python, temporary(confinement)), &named)
}

/// The box of the app, unless it is to have none.
fn confinement(
    prepared: &Prepared,
    with: &Importing<'_>,
    isolation: Isolation,
    shim: &Path,
) -> Result<Option<Confinement>, Error> {
    let Some(means) = with.parents.means.clone() else { return Ok(None) };
    let folder = &prepared.folder;
    match isolation {
        Isolation::Off => return Ok(None),
        Isolation::Gvisor => {}
        Isolation::Strict => confine::check_strict(&means.strength)?,
        Isolation::Default => {}
    }
    let gvisor = match isolation {
        Isolation::Gvisor => Some(confine::gvisor(&means.strength)?),
        _ => None,
    };
    let python = without_links(&prepared.environment.python);
    let mut read: Vec<PathBuf> = prepared.debugger.iter().chain(&with.handed).cloned().collect();
    read.extend(prepared.environment.linked.iter().cloned());
    let paths = folder.settings.get("PYTHONPATH").into_iter().flat_map(|paths| paths.split(':'));
    read.extend(paths.map(PathBuf::from).filter(|path| path.is_absolute()));
    read.extend(folder.lambda.layers.iter().cloned());
    let identity = machine::identity(&folder.root, Crowd::Functions, &means.strength);
    let temporary = if means.strength.has(Protection::FileView) {
        None
    } else {
        Some(Arc::new(Temporary::new(identity).map_err(no_temporary)?))
    };
    let needs = Needs {
        root: &folder.root,
        python: &python,
        shim,
        read,
        write: with.spool.iter().cloned().chain(temporary.iter().map(|one| one.path().to_owned())).collect(),
        hidden: with
            .state
            .iter()
            .cloned()
            .chain(with.state.iter().filter_map(|state| of_all(state)))
            .collect(),
        layers: (folder.dialect == Dialect::Lambda).then_some(&folder.lambda.layers),
    };
    let policy = confine::policy(&folder.sandbox, &folder.settings);
    // An editor comes in over the host's loopback.
    let network = match &policy {
        _ if with.debugging.is_some() || !means.strength.has(Protection::OwnNetwork) => Network::Host,
        Policy::All => Network::Host,
        policy => Network::Own { resolver: *policy != Policy::None },
    };
    let mut spec = confine::box_spec(&needs, &folder.sandbox, (identity, network), &means.strength);
    spec.gvisor = gvisor;
    let limits = confine::limits(&folder.sandbox, isolation);
    let rules = (network != Network::Host).then(|| Arc::new(Rules::new(policy)));
    let resolver = machine::resolver();
    Ok(Some(Confinement { means, spec: Arc::new(spec), limits, rules, resolver, temporary }))
}

fn no_temporary(source: std::io::Error) -> ingle_worker::Error {
    let step = "make a folder for temporary files".to_owned();
    ingle_worker::Error::Box { source: BoxError::Step { step, source } }
}

fn temporary(confinement: &Confinement) -> &Path {
    confinement.temporary.as_ref().map_or(Path::new("/tmp"), |temporary| temporary.path())
}

/// Imports the app, or takes what an import of the same files has found before.
async fn begin(
    pool: &Pool,
    index_of: impl Fn() -> Option<Index>,
    is_lazy: bool,
) -> Result<Loaded, ingle_worker::Error> {
    let index = index_of();
    if let Some(kept) = index.as_ref().filter(|_| is_lazy).and_then(Index::read) {
        pool.resume(&kept);
        return Ok(kept);
    }
    // Of many apps most have no work soon.
    let loaded = pool.start(!is_lazy).await?;
    // Files that changed during the import may or may not have been read before.
    if let (Some(before), Some(after)) = (index, index_of())
        && before.is_of_the_same(&after)
    {
        after.write(&loaded);
    }
    Ok(loaded)
}

/// Why each worker imports the app itself, if it does so against the wish of the app.
fn unsafe_to_fork(way: Way) -> Option<Problem> {
    let Way::BeforeImport(reasons) = way else { return None };
    if reasons.is_empty() {
        return None;
    }
    let message = format!("each worker imports the app itself, which is slow: {}", reasons.join("; "));
    Some(
        Problem::warning("E0250", message)
            .fix("make clients and start threads in functions, when they are used first"),
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn fork_policy(fork: Fork) -> ForkPolicy {
    match fork {
        Fork::Auto => ForkPolicy::Auto,
        Fork::AfterImport => ForkPolicy::AfterImport,
        Fork::BeforeImport => ForkPolicy::BeforeImport,
        Fork::Never => ForkPolicy::Never,
    }
}

/// How many workers: what `ingle.toml` says, else its plan, else the setting of Azure, else one while there is work.
///
/// Whoever sets `FUNCTIONS_WORKER_PROCESS_COUNT` wants that many processes, always. `cores`: most workers of a plan
/// that names no number.
fn limits(process_count: Option<usize>, wished: &WorkerOptions, cores: usize) -> Limits {
    let usual = Limits::default();
    let preset = match (wished.plan, process_count) {
        (None, None) => usual,
        (None | Some(ScalePlan::Dedicated), Some(count)) => Limits { min: count, max: count, ..usual },
        (Some(ScalePlan::Dedicated), None) => Limits { min: cores, max: cores, ..usual },
        (Some(ScalePlan::Consumption), count) => Limits { max: count.unwrap_or(cores), ..usual },
        (Some(ScalePlan::Premium), count) => {
            Limits { min: 1, prewarmed: 1, max: count.unwrap_or(cores + 1), ..usual }
        }
    };
    let min = wished.min.unwrap_or(preset.min);
    let max = wished.max.unwrap_or(preset.max.max(min));
    let idle_timeout = match wished.idle_timeout {
        Some(IdleTimeout::After(time)) => time,
        Some(IdleTimeout::Auto) | None => preset.idle_timeout,
    };
    Limits {
        min: min.min(max),
        max,
        spare: wished.spare.unwrap_or(preset.spare),
        prewarmed: wished.prewarmed.unwrap_or(preset.prewarmed),
        target: wished.concurrency.unwrap_or(preset.target),
        idle_timeout,
        adapts: wished.idle_timeout == Some(IdleTimeout::Auto),
    }
}

/// Those that the most workers leave room for; others are named.
fn warm_windows(wished: &[WarmWindow], max: usize, problems: &mut Vec<Problem>) -> Vec<WarmWindow> {
    let is_possible = |warm: &&WarmWindow| {
        if warm.workers > max {
            let message = format!("workers.warm.workers is {}, more than max = {max}", warm.workers);
            let problem = Problem::error("E0114", message).at("ingle.toml", Some(warm.line));
            problems.push(problem.fix(format!("write a number up to {max}, or raise max in [workers]")));
        }
        warm.workers <= max
    };
    wished.iter().filter(is_possible).copied().collect()
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
/// host sets (facts 2.2, 6.2). First what its interpreter is started with, then what is the app's alone.
fn worker_environment(
    prepared: &Prepared,
    inherited: &BTreeMap<String, String>,
    shim: &Path,
    hostname: &str,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let folder = &prepared.folder;
    let inherited = inherited.iter().filter(|(name, _)| !name.starts_with("INGLE_"));
    let mut variables: BTreeMap<String, String> =
        inherited.map(|(name, value)| (name.clone(), value.clone())).collect();
    let (early, mut settings): (BTreeMap<_, _>, BTreeMap<_, _>) =
        folder.settings.clone().into_iter().partition(|(name, _)| is_read_at_start(name));
    variables.extend(early);
    let (major, minor, _) = prepared.interpreter.version;
    let mut set = |name: &str, value: String| {
        settings.remove(name);
        variables.insert(name.to_owned(), value);
    };
    set("AZURE_FUNCTIONS_ENVIRONMENT", "Development".to_owned());
    set("FUNCTIONS_WORKER_DIRECTORY", shim.display().to_string());
    set("FUNCTIONS_WORKER_RUNTIME", "python".to_owned());
    set("FUNCTIONS_WORKER_RUNTIME_VERSION", format!("{major}.{minor}"));
    let python = without_links(&prepared.environment.python);
    let environment = python.parent().and_then(Path::parent);
    if let Some(environment) = environment.filter(|root| root.join("pyvenv.cfg").is_file()) {
        set("VIRTUAL_ENV", environment.display().to_string());
    }
    let root = folder.root.display().to_string();
    settings.insert("FUNCTIONS_APPLICATION_DIRECTORY".to_owned(), root.clone());
    settings.insert("AzureWebJobsScriptRoot".to_owned(), root);
    settings.insert("WEBSITE_HOSTNAME".to_owned(), hostname.to_owned());
    (variables, settings)
}

/// The program in the folder that it is really in, so that apps whose `.venv` leads to the same environment share a
/// template. The program itself may be a link: by its place it knows its environment.
fn without_links(python: &Path) -> PathBuf {
    let real = python.parent().and_then(|folder| Some(folder.canonicalize().ok()?.join(python.file_name()?)));
    real.unwrap_or_else(|| python.to_owned())
}

/// Whether the interpreter, or a library that it starts with, looks at a variable only when it starts.
pub(crate) fn is_read_at_start(name: &str) -> bool {
    const FIRST_PARTS: [&str; 6] = ["PYTHON", "LD_", "LC_", "MALLOC_", "GLIBC_", "OPENSSL_"];
    matches!(name, "HOME" | "LANG" | "TZ") || FIRST_PARTS.iter().any(|part| name.starts_with(part))
}

/// A folder as it was given, made absolute as far as it exists.
pub fn absolute(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(process_count: Option<usize>, wished: WorkerOptions, expected: (usize, usize, usize, usize)) {
        let found = limits(process_count, &wished, 2);
        assert_eq!((found.min, found.max, found.spare, found.prewarmed), expected);
    }

    #[test]
    fn an_environment_is_known_by_where_it_really_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("shared/bin")).unwrap();
        std::fs::create_dir(root.join("app")).unwrap();
        let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, root.join(at)).unwrap();
        link(Path::new("/usr/bin/env"), "shared/bin/python");
        link(&root.join("shared"), "app/.venv");
        assert_eq!(without_links(&root.join("app/.venv/bin/python")), root.join("shared/bin/python"));
        assert_eq!(without_links(Path::new("/nowhere/bin/python")), Path::new("/nowhere/bin/python"));
    }

    #[test]
    fn numbers_win_over_the_plan_and_the_plan_over_the_setting() {
        let plan = |plan| WorkerOptions { plan: Some(plan), ..WorkerOptions::default() };
        check(None, WorkerOptions::default(), (0, 1, 1, 0));
        check(Some(3), WorkerOptions::default(), (3, 3, 1, 0));
        check(None, plan(ScalePlan::Consumption), (0, 2, 1, 0));
        check(None, plan(ScalePlan::Premium), (1, 3, 1, 1));
        check(None, plan(ScalePlan::Dedicated), (2, 2, 1, 0));
        check(Some(5), plan(ScalePlan::Dedicated), (5, 5, 1, 0));
        check(None, WorkerOptions { min: Some(3), ..WorkerOptions::default() }, (3, 3, 1, 0));
        check(
            Some(3),
            WorkerOptions { max: Some(2), spare: Some(0), ..WorkerOptions::default() },
            (2, 2, 0, 0),
        );
    }
}
