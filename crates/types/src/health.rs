//! What is in trouble right now although the server runs, such as an account that can't be reached (T-073).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::clock::iso_text;

/// One thing in trouble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// Who is in trouble, e.g. `queue orders in AzureWebJobsStorage, for function work`.
    pub what: String,
    pub reason: String,
    pub since: SystemTime,
}

/// A board of troubles that several rooms write on and the doors read. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, Trouble>>>);

impl Health {
    fn board(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a trouble. One that is known keeps the time since when it is; its reason is the newest.
    pub fn degraded(&self, what: &str, reason: &str, now: SystemTime) {
        let mut board = self.board();
        let trouble = board.entry(what.to_owned()).or_insert_with(|| Trouble {
            what: what.to_owned(),
            reason: String::new(),
            since: now,
        });
        reason.clone_into(&mut trouble.reason);
    }

    /// Takes a trouble away.
    pub fn well(&self, what: &str) {
        self.board().remove(what);
    }

    /// As doors show it: `{"what","reason","since"}`, the time in ISO 8601.
    pub fn to_json(&self) -> Vec<Value> {
        let shown = |trouble: Trouble| json!({"what": trouble.what, "reason": trouble.reason, "since": iso_text(trouble.since)});
        self.troubles().into_iter().map(shown).collect()
    }

    /// All troubles, by name.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.board().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_trouble_keeps_its_beginning_and_ends() {
        let health = Health::default();
        health.degraded("b", "down", UNIX_EPOCH);
        health.degraded("b", "slow", UNIX_EPOCH + Duration::from_secs(5));
        health.degraded("a", "down", UNIX_EPOCH);
        let troubles = health.troubles();
        let shown: Vec<_> =
            troubles.iter().map(|trouble| (trouble.what.as_str(), trouble.reason.as_str())).collect();
        assert_eq!(shown, [("a", "down"), ("b", "slow")]);
        assert_eq!(troubles[1].since, UNIX_EPOCH);
        let expected = json!({"what": "b", "reason": "slow", "since": "1970-01-01T00:00:00.000000Z"});
        assert_eq!(health.to_json()[1], expected);
        health.well("b");
        assert_eq!(health.troubles().len(), 1);
    }
}
