//! What the log of a failed install means: whose fault it is and what to do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingle_types::outcome::Blame;

use crate::Error;

/// Lines of the log that an error shows.
const TAIL_LINES: usize = 15;

/// What installers say when nobody answers. pip says so in warnings before it claims that nothing matches, so these
/// are looked for first.
const NO_NETWORK: [&str; 9] = [
    "NewConnectionError",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "ConnectTimeoutError",
    "dns error",
    "error sending request",
    "ProxyError",
];

/// Phrases, whose fault, and what to do.
const KNOWN: [(&str, Blame, &str); 12] = [
    ("No space left on device", Blame::Platform, "make room on the disk of the cache folder"),
    ("ensurepip is not", Blame::Platform, "install the package python3-venv of your system, or uv"),
    ("No module named venv", Blame::Platform, "install the package python3-venv of your system, or uv"),
    ("No module named pip", Blame::Platform, "install pip for this Python, or uv"),
    ("ResolutionImpossible", Blame::App, "two requirements contradict each other: loosen one of them"),
    (
        "No solution found",
        Blame::App,
        "two requirements contradict each other, or one does not exist for this Python",
    ),
    ("Invalid requirement", Blame::App, "mend the line that the log names"),
    (
        "No matching distribution",
        Blame::App,
        "check the spelling and the version; it may not exist for this Python",
    ),
    ("error: command '", Blame::App, COMPILE),
    ("fatal error: ", Blame::App, COMPILE),
    ("Failed building wheel", Blame::App, BUILD),
    ("Failed to build", Blame::App, BUILD),
];
/// What setuptools and compilers say when there is no compiler, or it finds no headers.
const COMPILE: &str = "a package must be compiled: choose a version with a wheel for this Python, or install a compiler and its headers";
/// A package is published as its source alone, and its own program could not make it installable.
const BUILD: &str = "the build of a package failed, and the log says which and why; or choose a version with a wheel for this Python";

/// Installs that failed when a server started, so that functions with the same requirements don't wait each for the same
/// failure. Later it is tried again, as something may have been mended. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Mutex<HashMap<PathBuf, Failed>>>);

/// What an error is made of again.
#[derive(Clone, Debug)]
enum Failed {
    Install { log: PathBuf, tail: String, blame: Blame, hint: String },
    NoNetwork { log: PathBuf, tail: String },
}

impl Failures {
    pub(super) fn of(&self, environment: &Path) -> Option<Error> {
        let failed = self.lock().get(environment).cloned()?;
        Some(match failed {
            Failed::Install { log, tail, blame, hint } => Error::Install { log, tail, blame, hint },
            Failed::NoNetwork { log, tail } => Error::NoNetwork { log, tail },
        })
    }

    /// Other errors are of the machine, and found quickly.
    pub(super) fn keep(&self, environment: &Path, error: &Error) {
        let failed = match error {
            Error::Install { log, tail, blame, hint } => {
                Failed::Install { log: log.clone(), tail: tail.clone(), blame: *blame, hint: hint.clone() }
            }
            Error::NoNetwork { log, tail } => Failed::NoNetwork { log: log.clone(), tail: tail.clone() },
            _ => return,
        };
        self.lock().insert(environment.to_owned(), failed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn explain(log: &str, path: PathBuf, version: (u32, u32, u32)) -> Error {
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    if NO_NETWORK.iter().any(|phrase| log.contains(phrase)) {
        return Error::NoNetwork { log: path, tail };
    }
    let (major, minor, _) = version;
    let (blame, hint) = match KNOWN.iter().find(|(phrase, _, _)| log.contains(phrase)) {
        Some((_, blame, hint)) => (*blame, (*hint).to_owned()),
        None => (
            Blame::App,
            format!("try the same by hand with Python {major}.{minor}; the log names the package"),
        ),
    };
    Error::Install { log: path, tail, blame, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, code: &str, blame: Blame, hint_part: &str) {
        let error = explain(log, PathBuf::from("/cache/x.log"), (3, 11, 7));
        assert_eq!((error.code(), error.blame()), (code, blame), "{log}");
        assert!(error.hint().unwrap().contains(hint_part), "{:?}", error.hint());
    }

    #[test]
    fn logs_are_explained() {
        check(
            "WARNING: NewConnectionError\nERROR: No matching distribution found",
            "E0604",
            Blame::Platform,
            "network",
        );
        check("ERROR: No matching distribution found for flsk", "E0603", Blame::App, "spelling");
        check("OSError: [Errno 28] No space left on device", "E0603", Blame::Platform, "disk");
        let compiler =
            "error: command 'gcc' failed: No such file or directory\n  ERROR: Failed building wheel for x";
        check(compiler, "E0603", Blame::App, "must be compiled");
        check("OSError: whatever\n  ERROR: Failed building wheel for x", "E0603", Blame::App, "build of a");
        check("something else", "E0603", Blame::App, "Python 3.11");
    }

    #[test]
    fn the_end_of_the_log_is_shown() {
        let log: String = (0..40).map(|number| format!("line {number}\n")).collect();
        let detail = explain(&log, PathBuf::from("/cache/x.log"), (3, 11, 7)).detail().unwrap();
        assert!(
            detail.starts_with("line 25\n") && detail.ends_with("line 39\nthe whole log: /cache/x.log"),
            "{detail}"
        );
    }
}
