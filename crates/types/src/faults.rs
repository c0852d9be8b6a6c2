//! Named points at which a test may end or fail the process, to prove that nothing is lost there (T-065).

use std::sync::Arc;

/// What to do at a fault point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The step reports an error as if the machine had failed.
    Fail,
}

/// A hook that is called at each fault point with its name, e.g. `store.commit.before`.
///
/// The hook itself may abort the process. Without a hook a fault point costs one branch.
#[derive(Clone, Default)]
pub struct Faults(Option<Arc<dyn Fn(&'static str) -> Fault + Send + Sync>>);

impl Faults {
    pub fn none() -> Self {
        Self(None)
    }

    pub fn hook(hook: impl Fn(&'static str) -> Fault + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hook)))
    }

    pub fn at(&self, point: &'static str) -> Fault {
        self.0.as_ref().map_or(Fault::None, |hook| hook(point))
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Faults({})", if self.0.is_some() { "hooked" } else { "none" })
    }
}
