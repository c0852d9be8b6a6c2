//! `debugpy` for the app's Python: that of its environment, else one of Ingle's own in the cache.
//!
//! It is never put into the user's environment. The folder is used only by the process that is debugged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_sandbox::command::{Command, run, run_with};

use crate::Error;
use crate::environment::{Environment, MISLEADING, Progress, Site};
use crate::folder::{ReadOptions, find};
use crate::interpreter::{Interpreter, programs};

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
    interpreter: &Interpreter,
    environment: &Environment,
    options: &ReadOptions,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Option<PathBuf>, Error> {
    if has_own(environment, options).await {
        return Ok(None);
    }
    let (major, minor, _) = interpreter.version;
    let store = options.cache.join("debugger");
    let folder = store.join(format!("{major}.{minor}"));
    if folder.join(PACKAGE).is_dir() {
        return Ok(Some(folder));
    }
    let failed = |source| Error::Cache { path: store.clone(), source };
    std::fs::create_dir_all(&store).map_err(failed)?;
    // Another start may do the same: each writes a folder of its own, the first rename wins.
    let draft = store.join(format!("draft-{major}.{minor}-{}", std::process::id()));
    let installed = install(interpreter, environment, options, &draft, progress).await;
    let renamed = installed.and_then(|()| match std::fs::rename(&draft, &folder) {
        Ok(()) => Ok(()),
        Err(_) if folder.join(PACKAGE).is_dir() => Ok(()),
        Err(source) => Err(failed(source)),
    });
    std::fs::remove_dir_all(&draft).ok();
    renamed.map(|()| Some(folder))
}

async fn has_own(environment: &Environment, options: &ReadOptions) -> bool {
    if let Site::Folder(site) = &environment.site
        && site.join(PACKAGE).is_dir()
    {
        return true;
    }
    let look = command(&environment.python, &["-c", IS_THERE], options, LOOK_TIMEOUT);
    run(look).await.is_ok_and(|output| output.status.success())
}

/// Tries the installers of this machine one after the other.
async fn install(
    interpreter: &Interpreter,
    environment: &Environment,
    options: &ReadOptions,
    draft: &Path,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), Error> {
    let target = draft.display().to_string();
    let python = environment.python.display().to_string();
    let pip =
        ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--target", &target, PACKAGE];
    let with_uv = ["pip", "install", "--quiet", "--python", &python, "--target", &target, PACKAGE];
    let uv = find(&options.environment, "PATH").and_then(|path| programs(path, "uv").next());
    let mut ways: Vec<(PathBuf, &str, &[&str])> = uv.into_iter().map(|uv| (uv, "uv", &with_uv[..])).collect();
    ways.push((environment.python.clone(), "pip", &pip));
    // An environment may have been made without pip; the Python that it came from has one.
    ways.push((interpreter.path.clone(), "pip", &pip));
    let mut tail = String::new();
    for (program, with, arguments) in ways {
        let what = format!("{PACKAGE} for --debug into {}", draft.parent().unwrap_or(draft).display());
        progress(Progress::Installing { what, with });
        let output = run_with(command(&program, arguments, options, INSTALL_TIMEOUT), &mut |_, _| {}).await?;
        if output.status.success() {
            return Ok(());
        }
        let said = format!("{}{}", output.stdout, output.stderr);
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        if !said.contains("No module named pip") {
            break;
        }
    }
    Err(Error::NoDebugger { python: environment.python.clone(), tail })
}

fn command(program: &Path, arguments: &[&str], options: &ReadOptions, timeout: Duration) -> Command {
    let mut env = options.environment.clone();
    env.retain(|name, _| !MISLEADING.contains(&name.as_str()));
    Command {
        program: program.to_owned(),
        args: arguments.iter().map(Into::into).collect(),
        env,
        cwd: options.cache.clone(),
        timeout,
    }
}
