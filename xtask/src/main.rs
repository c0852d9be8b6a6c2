//! The chores of this repository: `cargo xtask test`, `setup`, `tidy` and `bench`.
//!
//! | to find | look in |
//! |---|---|
//! | what the whole check consists of | [`check`] |
//! | what it installs | [`setup`] |
//! | which interpreters it finds | [`interpreters`] |
//! | the rules about files and edges | [`tidy`] |
//! | what is prepared for measuring | [`bench`] |
//! | how a program is started | [`process`] |
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for the terminal talks to the terminal"
)]

mod bench;
mod check;
mod debugpy;
mod interpreters;
mod process;
mod setup;
mod steps;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

const USAGE: &str = "\
Usage: cargo xtask <command>

  test [--fast]  prepare this machine and run every check
                 --fast leaves out the scenarios, the licences and all Pythons but one
  setup          install what the checks need, and say what
  tidy           check the rules about files and edges
  bench [--quick]
                 measure Ingle beside its peers and write docs/performance.md (ten minutes)
                 --quick only sees that everything runs (two minutes)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let root = root()?;
    match arguments {
        ["test"] => check::test(&root, check::Extent::Full),
        ["test", "--fast"] => check::test(&root, check::Extent::Fast),
        ["setup"] => setup::setup(&root).map(|_| ()),
        ["tidy"] => tidy::tidy(&root),
        ["bench"] => bench::bench(&root, bench::Extent::Full),
        ["bench", "--quick"] => bench::bench(&root, bench::Extent::Quick),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no `{}`\n\n{USAGE}", other.join(" ")),
    }
}

/// The folder of the workspace: the parent of this package's.
fn root() -> anyhow::Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().map(Path::to_path_buf).context("xtask is not inside a workspace")
}
