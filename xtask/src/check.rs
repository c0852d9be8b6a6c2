//! `cargo xtask test`: everything that has to hold, cheapest first.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::bail;

use crate::process::Program;
use crate::setup::{self, Ready, TestPython};
use crate::steps::Steps;
use crate::tidy;

/// How much is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    Full,
    /// No scenarios, no licences, one Python.
    Fast,
}

/// Prepares the machine and runs the checks; stops at the first that fails.
///
/// # Errors
/// What failed and what to do about it. The table has been printed before.
pub(crate) fn test(root: &Path, extent: Extent) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    let result = run_steps(root, extent, &mut steps);
    println!("\n{}", steps.table());
    result
}

fn run_steps(root: &Path, extent: Extent, steps: &mut Steps) -> anyhow::Result<()> {
    let full = extent == Extent::Full;
    let advice = "read the lines above; CONTRIBUTING.md lists what is needed";
    let interpreters = steps.run("tools", advice, || setup::tools(root))?;
    // Environments wait for registries most of the time, and lints for nobody.
    let ready = steps.beside(
        "environments",
        advice,
        || setup::environments(root, &interpreters),
        |steps| lints(root, full, steps),
    )?;
    for what in &ready.skipped {
        steps.skip(what.clone());
    }
    python_tests(root, extent, &ready, steps)?;
    if full { all_tests(root, &ready, steps) } else { quick_tests(root, steps) }
}

fn lints(root: &Path, full: bool, steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("formatting", "run `cargo fmt --all`", || cargo(root, &["fmt", "--all", "--check"]))?;
    steps.run("tidy", "each line names the rule and the place", || tidy::tidy(root))?;
    steps.run(
        "lints",
        "mend what clippy says; `#[expect(…, reason = \"…\")]` where it is wrong",
        || {
            cargo(
                root,
                &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"],
            )
        },
    )?;
    if full {
        steps.run("licences and sources", "choose another crate, or change deny.toml and say why", || {
            cargo(root, &["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
        })?;
    }
    Ok(())
}

/// Two Pythons at a time: one test at a time is all that each of them does.
fn python_tests(root: &Path, extent: Extent, ready: &Ready, steps: &mut Steps) -> anyhow::Result<()> {
    let chosen = ready.pythons.iter().filter(|python| extent == Extent::Full || python.is_default);
    let chosen: Vec<&TestPython> = chosen.collect();
    let versions: Vec<&str> = chosen.iter().map(|python| python.version.as_str()).collect();
    let name = format!("worker and ingle_testing on Python {}", versions.join(", "));
    let advice = format!(
        "run one test: `<python> -m unittest discover -s python/tests -k <name>`, or `<python> -m pytest {TESTING}/tests -k <name>`"
    );
    let left = Mutex::new(chosen.into_iter());
    let one_after_the_other = || -> anyhow::Result<()> {
        loop {
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(python) = next else { return Ok(()) };
            unittest(root, python).and_then(|()| pytest(root, python))?;
        }
    };
    steps.run(&name, &advice, || {
        std::thread::scope(|scope| {
            let other = scope.spawn(one_after_the_other);
            let ours = one_after_the_other();
            other.join().unwrap_or_else(|_panic| bail!("a thread of the checks panicked")).and(ours)
        })
    })
}

/// The package for users' tests. Those of its own tests that need the program run in a scenario.
const TESTING: &str = "python/ingle_testing";

fn pytest(root: &Path, python: &TestPython) -> anyhow::Result<()> {
    let tests = format!("{TESTING}/tests");
    Program::new(&python.program, root)
        .args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", &tests])
        .env("PYTHONPATH", root.join(TESTING).join("src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .run_quietly()
}

fn unittest(root: &Path, python: &TestPython) -> anyhow::Result<()> {
    let tests = ["-m", "unittest", "discover", "-s", "python/tests"];
    Program::new(&python.program, root).args(tests).env("PYTHONDONTWRITEBYTECODE", "1").run_quietly()
}

/// Builds and tests in the profile of the lints, whose build scripts have run by now: with optimization
/// and its thin link of thirty programs, compiling took longer than all tests.
fn all_tests(root: &Path, ready: &Ready, steps: &mut Steps) -> anyhow::Result<()> {
    let binary = steps.run("build", "the compiler says where", || build(root))?;
    steps.run("tests and scenarios", "run one: `cargo nextest run <part of its name>`", || {
        let run = ["nextest", "run", "--workspace", "--locked"];
        let mut nextest = Program::new("cargo", root).args(run).env("INGLE_BINARY", &binary);
        for python in &ready.pythons {
            nextest = nextest.env(&variable(&python.version), &python.program);
        }
        nextest.run()
    })
}

/// The environment variable under which a scenario finds a Python with the SDK: `INGLE_TEST_PYTHON_3_9`.
fn variable(version: &str) -> String {
    format!("INGLE_TEST_PYTHON_{}", version.replace('.', "_"))
}

/// With the tests, whose libraries have more features: without them, most of what is built here is built again for the tests.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    cargo(root, &["build", "--workspace", "--bins", "--tests", "--locked"])?;
    Ok(setup::target(root)?.join("debug/ingle"))
}

fn quick_tests(root: &Path, steps: &mut Steps) -> anyhow::Result<()> {
    steps.run("tests of the rooms", "run one: `cargo nextest run <part of its name>`", || {
        cargo(root, &["nextest", "run", "--workspace", "--lib", "--bins", "--locked"])
    })
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    Program::new("cargo", root).args(arguments).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_finds_its_python_by_version() {
        assert_eq!(variable("3.13"), "INGLE_TEST_PYTHON_3_13");
    }
}
