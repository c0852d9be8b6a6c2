//! `cargo xtask bench`: prepares the peers and the load generator, and hands over to `bench/run.py`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::interpreters;
use crate::process::Program;
use crate::setup;

/// How long is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    Full,
    /// Two minutes, to see that everything runs. Its page stays in the target folder.
    Quick,
}

/// Measures Ingle beside its peers and writes `docs/performance.md`.
///
/// # Errors
/// If something can't be installed or built, or if a server under test fails.
pub(crate) fn bench(root: &Path, extent: Extent) -> anyhow::Result<()> {
    load_generator(root)?;
    let python = environment(root)?;
    let offline = setup::npm::install(root, "serverless", &SERVERLESS)?;
    let offline =
        offline.context("npm is missing: install it with Node.js, for the peer serverless-offline")?;
    Program::new("cargo", root).args(["build", "--release", "--package", "ingle", "--locked"]).run()?;
    let target = setup::target(root)?;
    let scratch = target.join("bench");
    let page = match extent {
        Extent::Full => root.join("docs/performance.md"),
        Extent::Quick => scratch.join("performance.md"),
    };
    let quick = if extent == Extent::Quick { &["--quick"][..] } else { &[] };
    let run =
        Program::new(python, root).args(["bench/run.py", "--binary"]).args([target.join("release/ingle")]);
    let run = run.args(["--scratch"]).args([scratch]).args(["--page"]).args([page]).args(quick);
    run.args(["--serverless"]).args([offline]).env("PYTHONUNBUFFERED", "1").run()
}

/// The last versions that want no account.
const SERVERLESS: [&str; 2] = ["serverless@3.40.0", "serverless-offline@13.9.0"];

fn load_generator(root: &Path) -> anyhow::Result<()> {
    // `wrk --version` prints its version and exits with 1, so only its absence tells.
    let works = || Program::new("sh", root).args(["-c", "command -v wrk"]).read().is_ok();
    if works() {
        return Ok(());
    }
    let is_root = Program::new("id", root).args(["-u"]).read().is_ok_and(|user| user == "0");
    if !is_root || Program::new("apt-get", root).args(["--version"]).read().is_err() {
        bail!("the load generator `wrk` is missing; install it (on Debian: `apt-get install wrk`)");
    }
    println!("installing wrk: it makes the load");
    Program::new("apt-get", root).args(["update", "--quiet"]).run()?;
    let install = Program::new("apt-get", root).args(["install", "--yes", "--quiet", "wrk"]);
    install.env("DEBIAN_FRONTEND", "noninteractive").run()?;
    if works() { Ok(()) } else { bail!("wrk was installed and is still not on the PATH") }
}

/// The virtual environment of the peers, on the interpreter that Ingle will find too. Like the environments of the
/// tests it is made anew unless the file that is written last is there and fits.
fn environment(root: &Path) -> anyhow::Result<PathBuf> {
    let interpreter = interpreters::find(root)?.default;
    let requirements = root.join("bench/requirements.txt");
    let packages = std::fs::read_to_string(&requirements)
        .with_context(|| format!("{} can't be read", requirements.display()))?;
    let wanted = format!("{}\n{packages}", interpreter.path.display());
    let folder = setup::target(root)?.join("venvs/bench");
    let program = folder.join("bin/python");
    let ready = folder.join("ready");
    if std::fs::read_to_string(&ready).is_ok_and(|text| text == wanted) {
        return Ok(program);
    }
    println!("making {} with the peers", folder.display());
    let make = Program::new(&interpreter.path, root).args(["-m", "venv", "--clear"]).args([&folder]);
    make.run().context("no virtual environment for the peers")?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"];
    let install = Program::new(&program, root).args(install).args([&requirements]);
    install.run().context("the peers could not be installed")?;
    std::fs::write(&ready, wanted).with_context(|| format!("{} can't be written", ready.display()))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reading and writing of the benchmark, without measuring anything.
    #[test]
    fn the_benchmark_reads_and_writes_right() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let python = interpreters::find(root).unwrap().default.path;
        let tests = ["-m", "unittest", "discover", "-s", "bench/tests"];
        Program::new(python, root).args(tests).env("PYTHONDONTWRITEBYTECODE", "1").read().unwrap();
    }
}
