//! Installs what the checks need and this machine lacks, and says each thing that it does.

mod azurite;
mod gvisor;
pub(crate) mod npm;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::debugpy;
use crate::interpreters::{self, Interpreter, Interpreters};
use crate::process::Program;

/// A Python with `azure-functions` and `pytest`, for the tests of the worker and of `ingle_testing`.
#[derive(Debug)]
pub(crate) struct TestPython {
    pub(crate) version: String,
    pub(crate) program: PathBuf,
    pub(crate) is_default: bool,
}

/// What is ready after the set-up.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) pythons: Vec<TestPython>,
    /// What this machine lacks and the checks go without.
    pub(crate) skipped: Vec<String>,
}

/// Prepares this machine. Whatever is there already is left as it is, so a second run takes a second.
///
/// # Errors
/// If something is missing that can't be installed here.
pub(crate) fn setup(root: &Path) -> anyhow::Result<Ready> {
    environments(root, &tools(root)?)
}

/// The half that lints need, and what everything else is made with.
///
/// # Errors
/// As [`setup`].
pub(crate) fn tools(root: &Path) -> anyhow::Result<Interpreters> {
    let interpreters = interpreters::find(root)?;
    for interpreter in &interpreters.found {
        let mark = if *interpreter == interpreters.default { " (default)" } else { "" };
        println!("found Python {} at {}{mark}", interpreter.version(), interpreter.path.display());
    }
    rust_component(root, "fmt", "rustfmt")?;
    rust_component(root, "clippy", "clippy")?;
    cargo_tool(root, "nextest", "cargo-nextest", &[])?;
    cargo_tool(root, "deny", "cargo-deny", &["--no-default-features"])?;
    venv_module(root, &interpreters.default)?;
    Ok(interpreters)
}

/// The half that tests need: environments with the packages of others.
///
/// # Errors
/// As [`setup`].
pub(crate) fn environments(root: &Path, interpreters: &Interpreters) -> anyhow::Result<Ready> {
    let mut ready = Ready { pythons: Vec::new(), skipped: Vec::new() };
    ready.skipped.extend(azurite::install(root, &interpreters.default)?);
    environment_with(root, &interpreters.default, "lambda", &CLIENTS_OF_LAMBDA)?;
    for (name, version) in OLDER_RUNTIMES {
        environment_with(root, &interpreters.default, name, &[version, CLIENTS_OF_LAMBDA[1]])?;
    }
    if let Some(oldest) = interpreters.with_minor(9) {
        environment_with(root, oldest, "lambda-on-3.9", &[RUNTIME_ON_3_9, CLIENTS_OF_LAMBDA[1]])?;
    }
    environment_with(root, &interpreters.default, "chalice", &[CHALICE])?;
    for minor in [9, 13] {
        if let Some(interpreter) = interpreters.with_minor(minor) {
            environment_with(root, interpreter, &format!("powertools-3.{minor}"), &[POWERTOOLS])?;
        }
    }
    environment_with(root, &interpreters.default, "functions-framework", &DIALECTS)?;
    ready.skipped.extend(gvisor::install(root));
    for minor in interpreters::SUPPORTED {
        add_python(root, interpreters, minor, &mut ready)?;
    }
    for what in &ready.skipped {
        println!("skipped: {what}");
    }
    Ok(ready)
}

fn add_python(root: &Path, interpreters: &Interpreters, minor: u32, ready: &mut Ready) -> anyhow::Result<()> {
    let Some(interpreter) = interpreters.with_minor(minor) else {
        ready.skipped.push(format!("Python 3.{minor} not on this machine"));
        return Ok(());
    };
    let is_default = minor == interpreters.default.minor;
    let program = environment(root, interpreter)?;
    let python = TestPython { version: interpreter.version(), program, is_default };
    debugpy::install(root, &python)?;
    ready.pythons.push(python);
    Ok(())
}

/// rustfmt and clippy belong to the toolchain, so only rustup can add them.
fn rust_component(root: &Path, name: &str, component: &str) -> anyhow::Result<()> {
    if Program::new("cargo", root).args([name, "--version"]).read().is_ok() {
        return Ok(());
    }
    println!("installing {component}: `cargo {name}` is not there yet");
    let add = Program::new("rustup", root).args(["component", "add", component]);
    add.run().with_context(|| format!("{component} is missing; install it with your Rust toolchain"))
}

/// Makes sure that `cargo <name>` works. cargo itself is there, or we would not run.
fn cargo_tool(root: &Path, name: &str, package: &str, options: &[&str]) -> anyhow::Result<()> {
    if Program::new("cargo", root).args([name, "--version"]).read().is_ok() {
        return Ok(());
    }
    println!("installing {package}: `cargo {name}` is not there yet; this takes a few minutes, once");
    let install = Program::new("cargo", root).args(["install", "--locked", package]).args(options);
    install.run().with_context(|| format!("{package} could not be installed"))
}

/// Debian splits `venv` and `ensurepip` from its Python; other builds have both.
fn venv_module(root: &Path, default: &Interpreter) -> anyhow::Result<()> {
    let works = || Program::new(&default.path, root).args(["-c", "import venv, ensurepip"]).read().is_ok();
    if works() {
        return Ok(());
    }
    let package = format!("python{}-venv", default.version());
    if !is_root_with_apt(root) {
        bail!(
            "{} has no module `venv`: install it (on Debian: `apt-get install {package}`)",
            default.path.display()
        );
    }
    println!("installing {package}: {} has no module `venv`", default.path.display());
    Program::new("apt-get", root).args(["update", "--quiet"]).run()?;
    let install = Program::new("apt-get", root).args(["install", "--yes", "--quiet", &package]);
    install.env("DEBIAN_FRONTEND", "noninteractive").run()?;
    if !works() {
        bail!("{package} is installed, but {} still has no module `venv`", default.path.display());
    }
    Ok(())
}

/// Whether Debian's packages can be installed.
fn is_root_with_apt(root: &Path) -> bool {
    let is_root = Program::new("id", root).args(["-u"]).read().is_ok_and(|user| user == "0");
    is_root && Program::new("apt-get", root).args(["--version"]).read().is_ok()
}

/// Makes the virtual environment of an interpreter under `target/venvs`, or finds it ready.
///
/// A file written last says that it is whole; without it the folder is made anew.
fn environment(root: &Path, interpreter: &Interpreter) -> anyhow::Result<PathBuf> {
    environment_with(root, interpreter, &interpreter.version(), &[sdk(interpreter.minor), PYTEST])
}

/// As [`environment`], with a name and packages of its own.
fn environment_with(
    root: &Path,
    interpreter: &Interpreter,
    name: &str,
    packages: &[&str],
) -> anyhow::Result<PathBuf> {
    let folder = target(root)?.join("venvs").join(name);
    let program = folder.join("bin/python");
    let ready = folder.join("ready");
    let wanted = format!("{} {}", interpreter.path.display(), packages.join(" "));
    if std::fs::read_to_string(&ready).is_ok_and(|text| text == wanted) {
        return Ok(program);
    }
    println!("making {} with {}", folder.display(), packages.join(", "));
    let make = Program::new(&interpreter.path, root).args(["-m", "venv", "--clear"]).args([&folder]);
    make.run().with_context(|| format!("no virtual environment {name}"))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    Program::new(&program, root)
        .args(install)
        .args(packages)
        .run()
        .with_context(|| format!("{} could not be installed into {name}", packages.join(", ")))?;
    std::fs::write(&ready, wanted).with_context(|| format!("{} can't be written", ready.display()))?;
    Ok(program)
}

/// AWS's own runtime and client, with which Ingle's are compared.
const CLIENTS_OF_LAMBDA: [&str; 2] = ["awslambdaric>=2.2,<5", "boto3>=1.40,<2"];

/// Environments with older lines of AWS's runtime, which behave otherwise when they start.
const OLDER_RUNTIMES: [(&str, &str); 3] = [
    ("lambda-2.0", "awslambdaric>=2,<2.1"),
    ("lambda-2.2", "awslambdaric>=2.2,<3"),
    ("lambda-3.1", "awslambdaric>=3.1,<4"),
];

/// The newest line of it that runs on the oldest Python.
const RUNTIME_ON_3_9: &str = "awslambdaric>=3.1,<4";

/// The framework whose projects run, and its own test client, with which Ingle's answers are compared.
const CHALICE: &str = "chalice>=1.34,<2";

/// What handlers of AWS are often written with, and its own needs.
const POWERTOOLS: &str = "aws-lambda-powertools[parser,tracer]>=3,<4";

/// Frameworks whose projects run, and whose own servers Ingle's answers are compared with; Flask comes with the first.
const DIALECTS: [&str; 3] = ["functions-framework>=3.8,<4", "zappa>=0.60,<1", "django>=4.2,<6"];

/// What the tests of `ingle_testing` run with.
const PYTEST: &str = "pytest>=8,<10";

/// The version line of the SDK that fits an interpreter.
fn sdk(minor: u32) -> &'static str {
    match minor {
        0..=9 => "azure-functions~=1.24.0",
        10..=12 => "azure-functions>=1.24,<2",
        _ => "azure-functions>=2",
    }
}

/// cargo's target folder.
pub(crate) fn target(root: &Path) -> anyhow::Result<PathBuf> {
    let mut metadata = cargo_metadata::MetadataCommand::new();
    metadata.manifest_path(root.join("Cargo.toml")).no_deps();
    let metadata = metadata.exec().context("cargo's target folder is unknown")?;
    Ok(metadata.target_directory.into_std_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interpreter_gets_the_sdk_line_that_supports_it() {
        assert_eq!(sdk(9), "azure-functions~=1.24.0");
        assert_eq!(sdk(10), sdk(12));
        assert_ne!(sdk(12), sdk(13));
    }
}
