//! The process environment, read once. Only this room reads it; everything below gets values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ingle_apps::{Failures, ReadOptions};
use ingle_sandbox::means::Means;

use crate::cli::{AppArguments, Global};

/// What the surroundings say.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) variables: BTreeMap<String, String>,
    /// Where the command was typed; empty if that folder is gone.
    pub(crate) directory: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    pub(crate) fn read(global: &Global) -> Self {
        // A variable that is no text can't be passed on through JSON or settings; nobody sets such names on purpose.
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let path = |name: &str| variables.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME").unwrap_or_else(|| PathBuf::from("/"));
        let cache = global
            .cache
            .clone()
            .or_else(|| path("INGLE_CACHE"))
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("ingle")))
            .unwrap_or_else(|| home.join(".cache/ingle"));
        let directory = std::env::current_dir().unwrap_or_default();
        // Processes that are in other folders are told of it, too.
        let cache = directory.join(cache);
        Self { home, cache, variables, directory }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// How an app's folder is read.
    pub(crate) fn read_options(&self, arguments: &AppArguments, means: Option<Means>) -> ReadOptions {
        ReadOptions {
            functions: arguments.functions.clone(),
            python: arguments.python.clone(),
            directory: self.directory.clone(),
            environment: self.variables.clone(),
            home: self.home.clone(),
            cache: self.cache.clone(),
            state: arguments.state.clone(),
            means,
            isolation: None,
            handler: arguments.handler.clone(),
            member: None,
            failures: Failures::default(),
        }
    }

    /// With what apps are confined on this machine. This binary makes their boxes, in a process of its own.
    pub(crate) async fn means(&self) -> Option<Means> {
        let program = std::env::current_exe().ok()?;
        // The same for each server: only so a server finds what one that was killed has left.
        Some(Means::find(program, "ingle").await)
    }

    /// Where an app's queues and documents are kept.
    pub(crate) fn state(folder: &Path, chosen: Option<&PathBuf>) -> PathBuf {
        chosen.cloned().unwrap_or_else(|| folder.join(".ingle"))
    }
}
