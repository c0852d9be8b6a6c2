//! Who wants to hear of which container.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ObjectHook;

type ByContainer = HashMap<String, Vec<(u64, ObjectHook)>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks(Arc<Mutex<(u64, ByContainer)>>);

impl Hooks {
    pub(crate) fn add(&self, container: &str, hook: ObjectHook) -> ObjectWatch {
        let mut state = self.state();
        state.0 += 1;
        let id = state.0;
        state.1.entry(container.to_owned()).or_default().push((id, hook.clone()));
        ObjectWatch { hooks: self.clone(), container: container.to_owned(), id, hook }
    }

    pub(crate) fn of(&self, container: &str) -> Vec<ObjectHook> {
        let state = self.state();
        state
            .1
            .get(container)
            .map_or_else(Vec::new, |hooks| hooks.iter().map(|(_, hook)| hook.clone()).collect())
    }

    fn state(&self) -> MutexGuard<'_, (u64, ByContainer)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While it lives, its hook is asked about each object that is put into its container.
#[derive(Debug)]
pub struct ObjectWatch {
    hooks: Hooks,
    pub(super) container: String,
    id: u64,
    pub(super) hook: ObjectHook,
}

impl Drop for ObjectWatch {
    fn drop(&mut self) {
        let mut state = self.hooks.state();
        if let Some(hooks) = state.1.get_mut(&self.container) {
            hooks.retain(|(id, _)| *id != self.id);
            if hooks.is_empty() {
                state.1.remove(&self.container);
            }
        }
    }
}
