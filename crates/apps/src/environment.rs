//! The packages of an app: found where they are, or installed once into a cached virtual environment.
//!
//! A cached environment is named by a hash of everything that decides what is in it, so it is never changed, only
//! built; a file written last says that it is whole. The second start needs neither network nor installer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ingle_types::problem::Problem;
use ingle_types::spec::Dialect;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::bench;
use crate::folder::{AppFolder, ReadOptions, find, read_bytes};
use crate::functions_framework;
use crate::interpreter::{Interpreter, configured, is_shim, programs};
use crate::project::ProjectKind;
use crate::requirements::{RequirementsSource, normalise};

mod build;
mod failure;
mod linked;

pub(crate) use build::MISLEADING;
pub use failure::Failures;

/// The SDK that every app for Azure needs, whether it says so or not.
const SDK: &str = "azure-functions";
/// What every Chalice project needs; Chalice's own deployment adds it, so most don't name it.
const CHALICE: &str = "chalice";
const CHALICE_LINE: &str = "chalice>=1.26,<2";
/// Of the framework that makes the app of its functions; where Google runs them it is there without being named, too.
const FRAMEWORK_LINE: &str = "functions-framework>=3.5,<4";

/// Written into an environment when it is whole.
const READY: &str = ".ingle-ready";

/// Changes when environments are built in another way.
const LAYOUT_VERSION: &str = "1";

/// What runs the app.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// The program to start.
    pub python: PathBuf,
    pub site: Site,
    /// Folders elsewhere whose modules the environment is made to find, as an editable installation does.
    pub linked: Vec<PathBuf>,
    /// E.g. `.venv in the app`, `cached environment 1f2e…`.
    pub why: String,
    /// Something was installed just now.
    pub built: bool,
    pub seconds: f64,
    pub problems: Vec<Problem>,
}

/// Where the packages are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// `python` finds them by itself.
    Python,
    /// This folder must come first on the module search path.
    Folder(PathBuf),
}

/// What happens while an environment is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another start builds the same environment.
    Waiting,
    Creating {
        environment: PathBuf,
    },
    Installing {
        /// E.g. `requirements.txt`.
        what: String,
        /// `uv` or `pip`.
        with: &'static str,
    },
    /// A line that the installer printed.
    Line(String),
    Compiling,
}

/// Finds or builds the environment of an app.
///
/// # Errors
/// Installing failed, there is no network and nothing is cached, or the cache can't be written.
pub async fn prepare_environment(
    folder: &AppFolder,
    interpreter: &Interpreter,
    options: &ReadOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Environment, Error> {
    let packaged = folder.root.join(".python_packages/lib/site-packages");
    // The author's own environment is as trusted as the app's settings; in one that was built here, a package could name
    // any folder of the machine. What the app itself requires is known from its list.
    let own = interpreter.environment.as_deref().map(linked::folders).unwrap_or_default();
    let required = folder.requirements.places.iter().filter(|place| place.is_dir());
    let linked: Vec<PathBuf> = own.into_iter().chain(required.cloned()).collect();
    let found = |site, why: String, problems| Environment {
        python: interpreter.path.clone(),
        site,
        linked: linked.clone(),
        why,
        built: false,
        seconds: 0.0,
        problems,
    };
    if packaged.join("azure/functions").is_dir() && folder.dialect.is_azure() {
        return Ok(found(Site::Folder(packaged), ".python_packages in the app".to_owned(), Vec::new()));
    }
    if let Some(root) = &interpreter.environment {
        let problems =
            missing(folder, interpreter, (root, options)).map(|names| vec![report(folder, &names, root)]);
        return Ok(found(Site::Python, interpreter.why.clone(), problems.unwrap_or_default()));
    }
    if sdk(folder, options).is_none() && folder.requirements.source == RequirementsSource::Nothing {
        let why = format!("{}, as the app requires nothing", interpreter.why);
        return Ok(found(Site::Python, why, Vec::new()));
    }
    let plan = Plan::new(folder, interpreter, options);
    let python = plan.environment.join("bin/python");
    let why = format!("cached environment {}", plan.hash);
    let started = tokio::time::Instant::now();
    let built = build::ensure(&plan, progress).await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Environment { python, site: Site::Python, linked, why, built, seconds, problems: Vec::new() })
}

/// Everything that decides how an environment is built, and where.
struct Plan<'a> {
    folder: &'a AppFolder,
    interpreter: &'a Interpreter,
    options: &'a ReadOptions,
    uv: Option<PathBuf>,
    /// The requirement for the SDK, unless the app has its own.
    sdk: Option<&'static str>,
    /// Files of the app decide what is installed, besides the requirements.
    is_local: bool,
    hash: String,
    /// `<cache>/environments`.
    store: PathBuf,
    /// The folder of this environment. A virtual environment can't be moved, so it is built in place.
    environment: PathBuf,
}

impl<'a> Plan<'a> {
    fn new(folder: &'a AppFolder, interpreter: &'a Interpreter, options: &'a ReadOptions) -> Self {
        let uv = find(&options.environment, "PATH").and_then(|path| {
            programs(path, "uv").find(|uv| !is_shim(uv) || !bench::is_confined(folder, options))
        });
        let is_missing =
            |name: &&str| !folder.requirements.mentioned.iter().any(|mentioned| mentioned == name);
        let sdk = sdk(folder, options).filter(is_missing).map(|name| sdk_line(name, interpreter.version));
        let (major, minor, patch) = interpreter.version;
        let is_locked = uv.is_some() && folder.requirements.source == RequirementsSource::UvLock;
        let is_local =
            folder.requirements.is_local || is_locked || (uv.is_some() && has_settings_of_uv(folder));
        let mut hasher = Sha256::new();
        let version = format!("{major}.{minor}.{patch}");
        let path = interpreter.path.to_string_lossy();
        let source = folder.requirements.source.file().unwrap_or_default();
        let locked = if is_locked { "locked" } else { "" };
        for part in [
            LAYOUT_VERSION,
            &version,
            &path,
            source,
            locked,
            sdk.unwrap_or_default(),
            &folder.requirements.text,
        ] {
            // The length keeps two neighbours from reading as one.
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        if is_local {
            // What is beside one app is not what is beside another.
            hasher.update(folder.root.as_os_str().as_encoded_bytes());
        }
        let hash: String = hasher.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect();
        let store = options.cache.join("environments");
        Self { folder, interpreter, options, uv, sdk, is_local, environment: store.join(&hash), store, hash }
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.store.join(format!("{}.{extension}", self.hash))
    }
}

/// Whether the app says where uv gets packages.
fn has_settings_of_uv(folder: &AppFolder) -> bool {
    let text = read_bytes(&folder.root.join("pyproject.toml")).ok().flatten().unwrap_or_default();
    folder.root.join("uv.toml").is_file() || String::from_utf8_lossy(&text).contains("[tool.uv")
}

/// The package that the app can't do without, by its normalised name.
fn sdk(folder: &AppFolder, options: &ReadOptions) -> Option<&'static str> {
    let is_chalice = options.member.as_ref().is_some_and(|member| member.kind == ProjectKind::Chalice);
    match folder.dialect {
        Dialect::AzureV1 | Dialect::AzureV2 => Some(SDK),
        Dialect::Lambda => is_chalice.then_some(CHALICE),
        Dialect::Web => is_of_framework(folder).then_some(functions_framework::PACKAGE),
    }
}

/// Whether the Functions Framework makes the app.
fn is_of_framework(folder: &AppFolder) -> bool {
    let maker =
        folder.declared.first().and_then(|declared| declared.bindings.first()?.get("maker")?.get("kind"));
    maker.and_then(serde_json::Value::as_str) == Some(functions_framework::PACKAGE)
}

/// The line of that package that supports a version of Python.
fn sdk_line(name: &str, version: (u32, u32, u32)) -> &'static str {
    match version.1 {
        _ if name == CHALICE => CHALICE_LINE,
        _ if name == functions_framework::PACKAGE => FRAMEWORK_LINE,
        ..=9 => "azure-functions~=1.24.0",
        10..=12 => "azure-functions>=1.24,<2",
        _ => "azure-functions>=2",
    }
}

/// Required names that a virtual environment does not have; `None` if it has all, or if that can't be known.
fn missing(
    folder: &AppFolder,
    interpreter: &Interpreter,
    (root, options): (&Path, &ReadOptions),
) -> Option<Vec<String>> {
    let sees_more = configured(root, &["include-system-site-packages"]);
    if sees_more.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let (major, minor, _) = interpreter.version;
    let installed = installed_names(&root.join(format!("lib/python{major}.{minor}/site-packages")));
    let sdk = sdk(folder, options).map(str::to_owned);
    let wanted = folder.requirements.names.iter().chain(&sdk);
    let missing: BTreeSet<String> = wanted.filter(|name| !installed.contains(*name)).cloned().collect();
    (!missing.is_empty()).then(|| missing.into_iter().collect())
}

/// Normalised names of the distributions in a folder, by the names of their metadata folders (PEP 376, PEP 427).
fn installed_names(site_packages: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(site_packages).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let stem =
                [".dist-info", ".egg-info", ".egg-link"].iter().find_map(|end| name.strip_suffix(end))?;
            // The parts of an egg's name are name, version and Python; of a wheel's name and version.
            Some(normalise(stem.split('-').next().unwrap_or(stem)))
        })
        .collect()
}

fn report(folder: &AppFolder, names: &[String], root: &Path) -> Problem {
    let shown = root.strip_prefix(&folder.root).unwrap_or(root).display();
    let list = names.join(", ");
    let python = root.join("bin/python");
    let file = folder.requirements.source.file();
    let what = match file {
        Some("requirements.txt") if !names.iter().any(|name| name == SDK) => "-r requirements.txt".to_owned(),
        _ => names.join(" "),
    };
    let problem = Problem::warning("E0602", format!("{shown} has not installed: {list}"));
    let problem = match file {
        Some(file) => problem.at(file, None),
        None => problem,
    };
    problem.fix(format!("{} -m pip install {what}", python.display()))
}
