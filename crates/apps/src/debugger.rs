//! `debugpy` for the app's Python: that of its environment, else one of Ingle's own in the cache.
//!
//! It is never put into the user's environment. The folder is used only by the process that is debugged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::bench::{self, Bench, Needs, Work};
use crate::environment::{Environment, Progress, Site};
use crate::folder::{AppFolder, ReadOptions, find};
use crate::interpreter::{Interpreter, is_shim, programs};

const PACKAGE: &str = "debugpy";
/// Exits with 0 if the package is there; looks for it without running it.
const IS_THERE: &str = "import importlib.util, sys; sys.exit(importlib.util.find_spec('debugpy') is None)";
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
const INSTALL_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Lines of the installer that are shown when it fails.
const TAIL_LINES: usize = 8;

/// Finds `debugpy`; `None` if the environment has it, else the folder to put first on the path for its import.
///
/// # Errors
/// [`Error::NoDebugger`]: it is not there and can't be installed.
pub async fn prepare_debugger(
    app: &AppFolder,
    (interpreter, environment): (&Interpreter, &Environment),
    options: &ReadOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Option<PathBuf>, Error> {
    let store = options.cache.join("debugger");
    let failed = |source| Error::Cache { path: store.clone(), source };
    let name = name(interpreter, environment, bench::is_confined(app, options));
    // Another start may do the same: each writes a folder of its own, the first rename wins.
    let work = Work::make(store.join(format!("work-{name}-{}", std::process::id()))).map_err(failed)?;
    let uv = find(&options.environment, "PATH").and_then(|path| programs(path, "uv").find(|uv| !is_shim(uv)));
    let needs = Needs {
        pythons: vec![environment.python.clone(), interpreter.path.clone()],
        read: uv.iter().cloned().collect(),
        work: work.path().to_owned(),
        downloads: options.cache.join("downloads").join(&name),
        ..Needs::default()
    };
    let bench = Bench::new(app, options, &needs);
    if has_own(environment, &bench, work.path()).await {
        return Ok(None);
    }
    let folder = store.join(name);
    if folder.join(PACKAGE).is_dir() {
        return Ok(Some(folder));
    }
    let draft = work.path().join(PACKAGE);
    let installer = Installer { interpreter, environment, bench, uv, work: work.path() };
    installer.install(&draft, &store, progress).await?;
    bench::drop_set_user_bits(&draft);
    match std::fs::rename(&draft, &folder) {
        Ok(()) => Ok(Some(folder)),
        Err(_) if folder.join(PACKAGE).is_dir() => Ok(Some(folder)),
        Err(source) => Err(failed(source)),
    }
}

/// The folder for a Python. What an environment holds takes part when something is installed with it, so no other
/// environment gets that where apps are kept from each other.
fn name(interpreter: &Interpreter, environment: &Environment, is_confined: bool) -> String {
    let (major, minor, _) = interpreter.version;
    if !is_confined {
        return format!("{major}.{minor}");
    }
    let hash = Sha256::digest(environment.python.as_os_str().as_encoded_bytes());
    let hash: String = hash.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    format!("{major}.{minor}-{hash}")
}

async fn has_own(environment: &Environment, bench: &Bench<'_>, work: &Path) -> bool {
    if let Site::Folder(site) = &environment.site
        && site.join(PACKAGE).is_dir()
    {
        return true;
    }
    let looked =
        bench.run(&environment.python, &["-c", IS_THERE], (work, LOOK_TIMEOUT), &mut |_, _| {}).await;
    looked.is_ok_and(|output| output.status.success())
}

struct Installer<'a> {
    interpreter: &'a Interpreter,
    environment: &'a Environment,
    bench: Bench<'a>,
    uv: Option<PathBuf>,
    work: &'a Path,
}

impl Installer<'_> {
    /// Tries the installers of this machine one after the other.
    async fn install(
        &self,
        draft: &Path,
        store: &Path,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), Error> {
        let target = draft.display().to_string();
        let own = &self.environment.python;
        let python = own.display().to_string();
        let pip = [
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--target",
            &target,
            PACKAGE,
        ];
        let with_uv = ["pip", "install", "--quiet", "--python", &python, "--target", &target, PACKAGE];
        let uv = self.uv.iter().cloned();
        let mut ways: Vec<(PathBuf, &str, &[&str])> = uv.map(|uv| (uv, "uv", &with_uv[..])).collect();
        ways.push((own.clone(), "pip", &pip));
        // An environment may have been made without pip; the Python that it came from has one.
        ways.push((self.interpreter.path.clone(), "pip", &pip));
        let mut tail = String::new();
        for (program, with, arguments) in ways {
            progress(Progress::Installing {
                what: format!("{PACKAGE} for --debug into {}", store.display()),
                with,
            });
            let place = (self.work, INSTALL_TIMEOUT);
            let mut refused = String::new();
            let mut on_line = |_, line: &str| {
                if bench::is_ours(line) {
                    refused.push_str(line);
                    refused.push('\n');
                }
            };
            let output = self.bench.run(&program, arguments, place, &mut on_line).await?;
            if output.status.success() {
                return Ok(());
            }
            let said = format!("{}{}{refused}", output.stdout, output.stderr);
            let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
            tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
            if !said.contains("No module named pip") {
                break;
            }
        }
        Err(Error::NoDebugger { python: self.environment.python.clone(), tail })
    }
}
