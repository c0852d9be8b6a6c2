//! Starts programs, and says in one sentence which one failed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

/// A program to start in the workspace's folder.
pub(crate) struct Program {
    command: Command,
    text: String,
}

impl Program {
    #[expect(clippy::disallowed_methods, reason = "chores start programs; the rule is for the server")]
    pub(crate) fn new(program: impl AsRef<OsStr>, directory: &Path) -> Self {
        let text = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new(program);
        command.current_dir(directory);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_package(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        Self { command, text }
    }

    #[must_use]
    pub(crate) fn args<Argument: AsRef<OsStr>>(
        mut self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Self {
        for argument in arguments {
            self.text.push(' ');
            self.text.push_str(&argument.as_ref().to_string_lossy());
            self.command.arg(argument);
        }
        self
    }

    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it with its output on the terminal.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        let status =
            self.command.status().with_context(|| format!("`{}` could not be started", self.text))?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.text);
        }
        Ok(())
    }

    /// Runs it and shows its output only if it fails, in the error.
    pub(crate) fn run_quietly(mut self) -> anyhow::Result<()> {
        self.command.stdin(Stdio::null());
        let output =
            self.command.output().with_context(|| format!("`{}` could not be started", self.text))?;
        if !output.status.success() {
            let told = [output.stdout, output.stderr].concat();
            bail!(
                "`{}` ended with {}:\n{}",
                self.text,
                output.status,
                String::from_utf8_lossy(&told).trim_end()
            );
        }
        Ok(())
    }

    /// Runs it quietly and returns what it wrote to standard output, without white space at the ends.
    ///
    /// # Errors
    /// If it can't be started or fails; then with what it wrote to standard error.
    pub(crate) fn read(mut self) -> anyhow::Result<String> {
        self.command.stdin(Stdio::null());
        let output =
            self.command.output().with_context(|| format!("`{}` could not be started", self.text))?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` ended with {}: {}", self.text, output.status, complaint.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Whether `cargo run` sets this variable to tell a program of its package.
///
/// A cargo that we start must not see them: build scripts that watch them (ring's does) would run anew at
/// each change between a cargo of ours and one of the user's, and all that depends on them be compiled again.
fn is_of_this_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_tells_of_this_package_is_not_handed_on() {
        let read = Program::new("env", here()).read().unwrap();
        // cargo and nextest tell tests of both.
        assert!(!read.contains("CARGO_PKG_NAME"), "{read}");
        assert!(!read.contains("CARGO_MANIFEST_DIR"), "{read}");
        assert!(is_of_this_package("CARGO_MANIFEST_DIR") && !is_of_this_package("CARGO_TARGET_DIR"));
    }

    fn here() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    #[test]
    fn a_program_answers_with_its_output() {
        assert_eq!(Program::new("echo", here()).args(["one", "two"]).read().unwrap(), "one two");
    }

    #[test]
    fn a_failure_names_the_program_and_repeats_its_complaint() {
        let script = "echo broken pipe wrench >&2; exit 3";
        let error = Program::new("sh", here()).args(["-c", script]).read().unwrap_err().to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("broken pipe wrench"), "{error}");
        assert!(Program::new("sh", here()).args(["-c", "exit 1"]).run().is_err());
        let both = "echo one; echo two >&2; exit 1";
        let error = Program::new("sh", here()).args(["-c", both]).run_quietly().unwrap_err().to_string();
        assert!(error.ends_with("one\ntwo"), "{error}");
        Program::new("sh", here()).args(["-c", "echo one"]).run_quietly().unwrap();
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Program::new("no-such-program", here()).read().unwrap_err().to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }
}
