//! Building a cached environment: one builder at a time, whole or not there.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_sandbox::boxes::machine;
use ingle_sandbox::command::Output;
use ingle_sandbox::remove;
use ingle_types::outcome::Blame;

use super::{Plan, Progress, READY, failure};
use crate::Error;
use crate::bench::{self, Bench, Needs, Work};
use crate::requirements::RequirementsSource;

/// What `venv` says when it can't put pip into an environment.
const NO_ENSUREPIP: &str = "ensurepip is not";
/// How long one step may take. A large install over a slow line is minutes, not hours.
const STEP_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How often a waiting start looks whether the other one is done.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// Variables that would lead Python or pip away from the environment.
pub(crate) const MISLEADING: [&str; 8] = [
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_REQUIRE_VIRTUALENV",
];

/// Builds the environment unless it is there; returns whether it was built.
pub(super) async fn ensure(
    plan: &Plan<'_>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<bool, Error> {
    if is_ready(plan) {
        return Ok(false);
    }
    std::fs::create_dir_all(&plan.store).map_err(|source| cache_error(&plan.store, source))?;
    // Held until the end; the system lets go of it when the process dies.
    let lock = lock(plan, progress).await?;
    if is_ready(plan) {
        return Ok(false);
    }
    let failures = &plan.options.failures;
    if let Some(error) = failures.of(&plan.environment) {
        return Err(error);
    }
    let built = build(plan, progress).await;
    // Before others get the lock.
    let built = built.inspect_err(|error| failures.keep(&plan.environment, error));
    drop(lock);
    built.map(|()| true)
}

async fn build(plan: &Plan<'_>, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), Error> {
    if plan.environment.exists() {
        // A build that did not come to its end.
        remove::tree(&plan.environment).map_err(|source| cache_error(&plan.environment, source))?;
    }
    let path = plan.file("work");
    let work = Work::make(path.clone()).map_err(|source| cache_error(&path, source))?;
    write_dependencies(plan)?;
    let bench = bench(plan, &work)?;
    let mut builder =
        Builder { plan, bench, work: work.path(), progress, log: String::new(), pip_from_outside: false };
    builder.build().await
}

fn is_ready(plan: &Plan<'_>) -> bool {
    // The interpreter that an environment links to may have been removed since.
    plan.environment.join(READY).is_file() && plan.environment.join("bin/python").exists()
}

/// What is written in pyproject.toml, as installers read it.
fn write_dependencies(plan: &Plan<'_>) -> Result<(), Error> {
    let path = plan.file("requirements.txt");
    let text = plan.folder.requirements.dependencies.join("\n") + "\n";
    std::fs::write(&path, text).map_err(|source| cache_error(&path, source))
}

/// Where the programs run. What they are to write must be there before they see it.
fn bench<'a>(plan: &Plan<'a>, work: &Work) -> Result<Bench<'a>, Error> {
    let needs = Needs {
        pythons: vec![plan.interpreter.path.clone()],
        read: plan.uv.iter().cloned().chain([plan.file("requirements.txt")]).collect(),
        write: vec![plan.environment.clone()],
        work: work.path().to_owned(),
        downloads: plan.options.cache.join("downloads").join(&plan.hash),
        app: plan.is_local,
    };
    if bench::is_confined(plan.folder, plan.options) {
        // An empty one does not disturb those who make an environment.
        std::fs::create_dir_all(&plan.environment)
            .map_err(|source| cache_error(&plan.environment, source))?;
    }
    Ok(Bench::new(plan.folder, plan.options, &needs))
}

/// What is kept of a log, half of it from its begin: a package may print for as long as it is built.
const LOG_BYTES_MAX: usize = 4 << 20;
const LEFT_OUT: &str = "… some lines are left out here\n";

fn keep_line(log: &mut String, line: &str) {
    log.push_str(line);
    log.push('\n');
    if log.len() > LOG_BYTES_MAX {
        let begin = log.ceil_char_boundary(LOG_BYTES_MAX / 2);
        // Half of the rest, so that not every further line moves all the others.
        let end = log.ceil_char_boundary(begin + LOG_BYTES_MAX / 4);
        log.replace_range(begin..end, LEFT_OUT);
    }
}

fn cache_error(path: &Path, source: io::Error) -> Error {
    Error::Cache { path: path.to_owned(), source }
}

async fn lock(plan: &Plan<'_>, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<File, Error> {
    let path = plan.file("lock");
    let failed = |source| cache_error(&path, source);
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    let mut said = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut said, true) {
                    progress(Progress::Waiting);
                }
                tokio::time::sleep(LOCK_INTERVAL).await;
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

struct Builder<'a, 'p> {
    plan: &'a Plan<'a>,
    bench: Bench<'a>,
    work: &'a Path,
    progress: &'p mut (dyn FnMut(Progress) + Send),
    /// What the programs said: the begin and the end, if it is much.
    log: String,
    /// The environment has no pip of its own.
    pip_from_outside: bool,
}

impl Builder<'_, '_> {
    async fn build(&mut self) -> Result<(), Error> {
        self.create().await?;
        let interpreter = machine::real(&self.python());
        self.install().await?;
        (self.progress)(Progress::Compiling);
        let lib = self.plan.environment.join("lib").display().to_string();
        // Some packages ship files that no Python can compile; that is no reason to stop.
        self.run_module(&self.python(), &["compileall", "-q", &lib]).await?;
        self.write_log()?;
        bench::drop_set_user_bits(&self.plan.environment);
        self.check_interpreter(&interpreter)?;
        self.write_ready()
    }

    /// Functions see the folder of the program to which the environment's `bin/python` leads, so a package that puts another
    /// link there would have them see what is beside that.
    fn check_interpreter(&self, expected: &Path) -> Result<(), Error> {
        let found = machine::real(&self.python());
        let programs = self.plan.environment.join("bin");
        let is_own = machine::real(&programs) == machine::real(&self.plan.environment).join("bin");
        if found == expected && is_own {
            return Ok(());
        }
        let tail = format!(
            "{} leads to {}, not to {}",
            self.python().display(),
            found.display(),
            expected.display()
        );
        let hint = "a package has replaced the environment's Python; find out which, and do without it";
        Err(Error::Install { log: self.plan.file("log"), tail, blame: Blame::App, hint: hint.to_owned() })
    }

    /// A package may have put something there, such as a link to another file: it is removed, and not followed.
    fn write_ready(&self) -> Result<(), Error> {
        let path = self.plan.environment.join(READY);
        let failed = |source| cache_error(&path, source);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut file = File::create_new(&path).map_err(failed)?;
        file.write_all(self.plan.folder.requirements.text.as_bytes()).map_err(failed)
    }

    /// What runs Python's own modules. In the folder where it runs, an app or package may have one of the same name.
    fn module_options(&self) -> Vec<&'static str> {
        if self.bench.is_confined() { vec!["-I", "-u", "-m"] } else { vec!["-m"] }
    }

    async fn run_module(&mut self, python: &Path, arguments: &[&str]) -> Result<Output, Error> {
        let words = [&self.module_options(), arguments].concat();
        self.run(python, &words).await
    }

    fn python(&self) -> PathBuf {
        self.plan.environment.join("bin/python")
    }

    async fn create(&mut self) -> Result<(), Error> {
        let environment = self.plan.environment.display().to_string();
        (self.progress)(Progress::Creating { environment: self.plan.environment.clone() });
        let interpreter = self.plan.interpreter.path.clone();
        let output = match &self.plan.uv {
            Some(uv) => {
                let python = interpreter.display().to_string();
                self.run(&uv.clone(), &["venv", "--quiet", "--python", &python, &environment]).await?
            }
            None => self.create_with_venv(&interpreter, &environment).await?,
        };
        self.check(&output)
    }

    /// Debian ships `venv` without what puts pip into it, as a package of its own. The pip of the interpreter, if it
    /// has one, can install into the environment from outside.
    async fn create_with_venv(&mut self, interpreter: &Path, environment: &str) -> Result<Output, Error> {
        let output = self.run_module(interpreter, &["venv", environment]).await?;
        if output.status.success() || !self.log.contains(NO_ENSUREPIP) {
            return Ok(output);
        }
        self.pip_from_outside = true;
        let arguments = ["venv", "--clear", "--without-pip", environment];
        self.run_module(interpreter, &arguments).await
    }

    async fn install(&mut self) -> Result<(), Error> {
        let list = self.requirements_file().await?;
        let what =
            self.plan.folder.requirements.source.file().or(self.plan.sdk).unwrap_or_default().to_owned();
        let python = self.python().display().to_string();
        let (program, with, mut args) = match self.plan.uv.clone() {
            Some(uv) => (uv, "uv", vec!["pip", "install", "--python", &python]),
            None => {
                let quiet = ["install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"];
                let (program, pip): (_, &[&str]) = match self.pip_from_outside {
                    true => (self.plan.interpreter.path.clone(), &["pip", "--python", &python]),
                    false => (self.python(), &["pip"]),
                };
                (program, "pip", [&self.module_options(), pip, &quiet].concat())
            }
        };
        if let Some(list) = &list {
            args.extend(["-r", list]);
        }
        args.extend(self.plan.sdk);
        (self.progress)(Progress::Installing { what, with });
        let output = self.run(&program, &args).await?;
        self.check(&output)
    }

    /// The file that the installer reads: the app's own, or one made from pyproject.toml or uv.lock.
    async fn requirements_file(&mut self) -> Result<Option<String>, Error> {
        let requirements = &self.plan.folder.requirements;
        match (requirements.source, self.plan.uv.clone()) {
            (RequirementsSource::Nothing, _) => Ok(None),
            (RequirementsSource::RequirementsTxt, _) if self.runs_in_app() => {
                Ok(Some("requirements.txt".to_owned()))
            }
            (RequirementsSource::RequirementsTxt, _) => {
                Ok(Some(self.plan.folder.root.join("requirements.txt").display().to_string()))
            }
            (RequirementsSource::UvLock, Some(uv)) => {
                let shown = self.work.join("uv.requirements.txt").display().to_string();
                let args = [
                    "export",
                    "--frozen",
                    "--no-dev",
                    "--no-emit-project",
                    "--no-hashes",
                    "--format",
                    "requirements-txt",
                    "-q",
                    "-o",
                    &shown,
                ];
                let output = self.run(&uv, &args).await?;
                self.check(&output)?;
                Ok(Some(shown))
            }
            (RequirementsSource::Pyproject | RequirementsSource::UvLock, _) => {
                Ok(Some(self.plan.file("requirements.txt").display().to_string()))
            }
        }
    }

    /// Whether programs find the app where they run. Elsewhere no file of it can change what an environment becomes
    /// that other apps with the same requirements use.
    fn runs_in_app(&self) -> bool {
        self.plan.is_local || !self.bench.is_confined()
    }

    async fn run(&mut self, program: &Path, args: &[&str]) -> Result<Output, Error> {
        let directory = if self.runs_in_app() { &self.plan.folder.root } else { self.work };
        self.log.push_str(&format!("$ {} {}\n", program.display(), args.join(" ")));
        let (progress, log) = (&mut self.progress, &mut self.log);
        let mut on_line = |_, line: &str| {
            keep_line(log, line);
            progress(Progress::Line(line.to_owned()));
        };
        Ok(self.bench.run(program, args, (directory, STEP_TIMEOUT), &mut on_line).await?)
    }

    fn check(&self, output: &Output) -> Result<(), Error> {
        if output.status.success() {
            return Ok(());
        }
        self.write_log()?;
        Err(failure::explain(&self.log, self.plan.file("log"), self.plan.interpreter.version))
    }

    fn write_log(&self) -> Result<(), Error> {
        let path = self.plan.file("log");
        std::fs::write(&path, &self.log).map_err(|source| cache_error(&path, source))
    }
}
