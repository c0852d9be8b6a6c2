//! Fault points set from outside, for tests of the real binary (CONTRIBUTING, "Fault points").
//!
//! `INGLE_FAULTS=store.commit.before@5=abort,dispatch.commit.before@2=fail`: at its fifth pass the first point ends the
//! process as `kill -9` would, at its second pass the other reports an error.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use ingle_types::faults::{Fault, Faults};

/// Reads the variable's text.
///
/// # Errors
/// The part that can't be read.
pub(crate) fn parse(text: &str) -> Result<Faults, String> {
    let mut plan = HashMap::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let entry = part.split_once('=').and_then(|(at, action)| {
            let (point, pass) = at.split_once('@').unwrap_or((at, "1"));
            let abort = match action {
                "abort" => true,
                "fail" => false,
                _ => return None,
            };
            Some((point.to_owned(), (pass.parse::<u64>().ok()?, abort)))
        });
        let (point, action) = entry.ok_or_else(|| part.to_owned())?;
        plan.insert(point, action);
    }
    if plan.is_empty() {
        return Ok(Faults::none());
    }
    let passes = Mutex::new(HashMap::<&'static str, u64>::new());
    Ok(Faults::hook(move |point| {
        let Some((pass, abort)) = plan.get(point) else { return Fault::None };
        let mut passes = passes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passes.entry(point).or_insert(0);
        *count += 1;
        match (*count == *pass, abort) {
            (true, true) => std::process::abort(),
            (true, false) => Fault::Fail,
            (false, _) => Fault::None,
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_fails_at_its_pass_and_only_then() {
        let faults = parse("store.commit.before@2=fail").unwrap();
        let seen: Vec<Fault> = (0..3).map(|_| faults.at("store.commit.before")).collect();
        assert_eq!(seen, [Fault::None, Fault::Fail, Fault::None]);
        assert_eq!(faults.at("store.commit.after"), Fault::None);
        assert_eq!(parse("nonsense").unwrap_err(), "nonsense");
    }
}
