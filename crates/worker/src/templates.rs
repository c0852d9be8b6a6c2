//! The templates of a server: one for each interpreter and environment, shared by the apps that agree in these.
//!
//! A template is started when it is needed first, survives reloads, and is ended when no pool that could need it is
//! left. What belongs to one app alone (its folder, its settings) is not in its environment: a process gets that with
//! `load`, after the fork.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingle_types::ids::WorkerId;

use crate::birth::{Maker, Newborn};
use crate::error::Error;
use crate::pool::Options;
use crate::process::{Phase, Worker};

/// Templates and zygotes are no workers; what they say while they import the app is under this number.
pub(crate) const NO_WORKER: WorkerId = WorkerId(0);

/// The templates of a server. Cheap to clone.
#[derive(Clone, Default)]
pub struct Templates(Arc<Mutex<Kept>>);

type Kept = HashMap<Arc<Key>, Entry>;

#[derive(Default)]
struct Entry {
    users: usize,
    process: Option<Arc<Worker>>,
}

/// What a process can't change once it runs.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Key {
    python: PathBuf,
    shim: PathBuf,
    environment: BTreeMap<String, String>,
    /// The folder in which it starts.
    directory: PathBuf,
}

impl Key {
    fn of(options: &Options) -> Self {
        let directory =
            if has_relative_path(&options.environment) { &options.app.root } else { &options.shim };
        Self {
            python: options.python.clone(),
            shim: options.shim.clone(),
            environment: options.environment.clone(),
            directory: directory.clone(),
        }
    }
}

/// Whether the interpreter's search path depends on where it is started.
fn has_relative_path(environment: &BTreeMap<String, String>) -> bool {
    environment
        .get("PYTHONPATH")
        .is_some_and(|paths| !paths.is_empty() && paths.split(':').any(|path| !Path::new(path).is_absolute()))
}

impl Templates {
    /// Says that processes with these options will be made, as long as the answer is held.
    pub(crate) fn used_by(&self, options: &Options) -> TemplateUse {
        let mut kept = self.kept();
        let key = Key::of(options);
        // Those that share a template share its key.
        let key = kept.get_key_value(&key).map_or_else(|| Arc::new(key), |(known, _)| known.clone());
        kept.entry(key.clone()).or_default().users += 1;
        TemplateUse { templates: self.clone(), key }
    }

    /// Ends all templates. What was forked from them stays.
    pub fn stop(&self) {
        for template in self.kept().values_mut().filter_map(|entry| entry.process.take()) {
            template.end();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a template for as long as it lives.
pub(crate) struct TemplateUse {
    templates: Templates,
    key: Arc<Key>,
}

impl TemplateUse {
    /// The template; a new one if there is none that lives.
    pub(crate) fn get(&self, maker: &Maker<'_>) -> Result<Arc<Worker>, Error> {
        let mut kept = self.templates.kept();
        let entry = kept.entry(self.key.clone()).or_default();
        if let Some(template) = &entry.process {
            if template.state().phase == Phase::Parent {
                return Ok(template.clone());
            }
            template.end();
        }
        let template = Newborn::start_in(&self.key.directory, NO_WORKER, maker)?.into_worker(Phase::Parent);
        entry.process = Some(template.clone());
        Ok(template)
    }
}

impl Drop for TemplateUse {
    fn drop(&mut self) {
        let mut kept = self.templates.kept();
        let Some(entry) = kept.get_mut(&self.key) else { return };
        entry.users = entry.users.saturating_sub(1);
        if entry.users == 0
            && let Some(template) = kept.remove(&self.key).and_then(|entry| entry.process)
        {
            template.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_relative_search_path_depends_on_the_folder() {
        let check = |paths: &str, expected| {
            let environment = BTreeMap::from([("PYTHONPATH".to_owned(), paths.to_owned())]);
            assert_eq!(has_relative_path(&environment), expected, "{paths}");
        };
        check("", false);
        check("/a:/b", false);
        check("/a:lib", true);
        check(".", true);
        check("/a:", true);
        assert!(!has_relative_path(&BTreeMap::new()));
    }
}
