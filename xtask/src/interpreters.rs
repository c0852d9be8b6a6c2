//! Finds the CPythons of this machine, 3.9 to 3.13, one for each minor version.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::process::Program;

/// The minor versions of Python 3 that Ingle supports.
pub(crate) const SUPPORTED: std::ops::RangeInclusive<u32> = 9..=13;

/// An interpreter that exists and starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// The program itself, never a shim.
    pub(crate) path: PathBuf,
    /// 11 for Python 3.11.
    pub(crate) minor: u32,
}

impl Interpreter {
    /// `3.11`.
    pub(crate) fn version(&self) -> String {
        format!("3.{}", self.minor)
    }
}

/// The interpreters of this machine.
#[derive(Debug)]
pub(crate) struct Interpreters {
    /// At most one for each minor version, oldest first.
    pub(crate) found: Vec<Interpreter>,
    /// The one that `python3` means, or else the newest.
    pub(crate) default: Interpreter,
}

impl Interpreters {
    pub(crate) fn with_minor(&self, minor: u32) -> Option<&Interpreter> {
        self.found.iter().find(|interpreter| interpreter.minor == minor)
    }
}

/// Looks in pyenv's folder and on the search path.
///
/// # Errors
/// If there is not one supported interpreter.
pub(crate) fn find(root: &Path) -> anyhow::Result<Interpreters> {
    let installed = pyenv_versions();
    let found: Vec<Interpreter> = SUPPORTED.filter_map(|minor| find_minor(root, minor, &installed)).collect();
    let usual = ask(root, Path::new("python3")).filter(|usual| SUPPORTED.contains(&usual.minor));
    let Some(default) = usual.or_else(|| found.last().cloned()) else {
        bail!("no Python 3.9 to 3.13 on this machine: neither `python3` on PATH nor a version of pyenv");
    };
    let mut found = found;
    if !found.iter().any(|interpreter| interpreter.minor == default.minor) {
        found.push(default.clone());
        found.sort_by_key(|interpreter| interpreter.minor);
    }
    Ok(Interpreters { found, default })
}

fn find_minor(root: &Path, minor: u32, installed: &[(Vec<u32>, PathBuf)]) -> Option<Interpreter> {
    let prefix = [3, minor];
    let of_pyenv = newest(installed, &prefix).map(|folder| folder.join("bin/python"));
    of_pyenv
        .into_iter()
        .chain([PathBuf::from(format!("python3.{minor}"))])
        .filter_map(|program| ask(root, &program))
        .find(|interpreter| interpreter.minor == minor)
}

/// What the program itself says; a shim that stands for nothing fails here and is passed over.
fn ask(root: &Path, program: &Path) -> Option<Interpreter> {
    let script = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
    parse(&Program::new(program, root).args(["-c", script]).read().ok()?)
}

fn parse(answer: &str) -> Option<Interpreter> {
    let mut words = answer.splitn(3, ' ');
    let major = words.next()?;
    let minor = words.next()?.parse().ok()?;
    let path = PathBuf::from(words.next()?);
    (major == "3" && path.is_absolute()).then_some(Interpreter { path, minor })
}

/// The versions in pyenv's folder, with their numbers. Names that are not numbers (`pypy3.10`, virtual
/// environments) are left out.
#[expect(clippy::disallowed_methods, reason = "a chore, not the server: it reads its own environment")]
fn pyenv_versions() -> Vec<(Vec<u32>, PathBuf)> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let Some(entries) = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| Some((numbers(&entry.file_name().to_string_lossy())?, entry.path())))
        .collect()
}

fn numbers(name: &str) -> Option<Vec<u32>> {
    name.split('.').map(|part| part.parse().ok()).collect()
}

fn newest(installed: &[(Vec<u32>, PathBuf)], prefix: &[u32]) -> Option<PathBuf> {
    let fitting = installed.iter().filter(|(version, _)| version.starts_with(prefix));
    fitting.max_by(|one, other| one.0.cmp(&other.0)).map(|(_, folder)| folder.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_patch_of_a_minor_version_is_taken() {
        let names = ["3.9.2", "3.9.18", "3.11.7", "pypy3.9", "3.13.0t"];
        let installed: Vec<(Vec<u32>, PathBuf)> =
            names.iter().filter_map(|name| Some((numbers(name)?, PathBuf::from(name)))).collect();
        assert_eq!(installed.len(), 3);
        assert_eq!(newest(&installed, &[3, 9]), Some(PathBuf::from("3.9.18")));
        assert_eq!(newest(&installed, &[3, 10]), None);
    }

    #[test]
    fn an_answer_of_an_interpreter_is_read() {
        let interpreter = parse("3 12 /opt/my python/bin/python").unwrap();
        assert_eq!(interpreter.version(), "3.12");
        assert_eq!(interpreter.path, Path::new("/opt/my python/bin/python"));
        assert_eq!(parse("2 7 /usr/bin/python2"), None);
        assert_eq!(parse("3 12 python"), None);
        assert_eq!(parse("nonsense"), None);
    }
}
