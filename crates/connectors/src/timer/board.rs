//! Whose turn it is: a timer never overlaps itself, also not across the generations of an app.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ingle_types::ids::FunctionName;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Which timers are in work. Cheap to clone; shared by listeners that follow each other.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<HashMap<FunctionName, Arc<Turn<()>>>>>);

impl Board {
    /// Waits until nobody else runs this timer.
    pub(super) async fn turn(&self, function: &FunctionName) -> OwnedMutexGuard<()> {
        let turn = self.turns().entry(function.clone()).or_default().clone();
        turn.lock_owned().await
    }

    fn turns(&self) -> std::sync::MutexGuard<'_, HashMap<FunctionName, Arc<Turn<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Board")
    }
}
