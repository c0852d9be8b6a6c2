//! Who took the memory, as far as that is known, when a worker wanted more than it may have.
//!
//! The system counts memory for processes and not for invocations, so what several take in one process nothing tells
//! apart. What is known is how much the worker held when each of them began, and so by how much it grew since: one that
//! began behind the growth has not caused it. More than that is not claimed.

use ingle_sandbox::cgroup::OutOfMemory;
use ingle_types::ids::InvocationId;
use ingle_types::outcome::{Blame, Failure};

use crate::ending::{Ending, Ran};

/// Invocations that are named besides the one that is told.
const NAMED_MAX: usize = 4;
/// Growth that is less than one part in so many of another's is not what ended the worker.
const LITTLE: u64 = 10;

/// T-013: all that ran in it are told, each how much it may have to do with it.
pub(super) fn exceeded(id: InvocationId, shortage: &OutOfMemory, ending: &Ending) -> Failure {
    let limit =
        shortage.limit_bytes.map(|bytes| format!(" of its {} MB", mebibytes(bytes))).unwrap_or_default();
    let peak = mebibytes(shortage.peak_bytes);
    let who = who_ran(id, shortage.peak_bytes, &ending.ran);
    let message = format!("the worker needed more memory than it may have: {peak} MB{limit}{who}");
    let mut failure = Failure::new(Blame::App, "E0314", "MemoryLimitExceeded", message);
    failure.suspect = ending.in_work > 1;
    failure.hint = Some("raise memory in [sandbox] of ingle.toml, or hold less at once".to_owned());
    failure
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn who_ran(id: InvocationId, peak_bytes: u64, ran: &[Ran]) -> String {
    let Some(own) = ran.iter().find(|ran| ran.id == id) else { return String::new() };
    let growth = |ran: &Ran| peak_bytes.saturating_sub(ran.memory_bytes);
    let others: Vec<&Ran> = ran.iter().filter(|ran| ran.id != id).collect();
    let Some(most) = others.iter().map(|other| growth(other)).max() else {
        let before = mebibytes(own.memory_bytes);
        return format!(". It held {before} MB of that when this invocation began, which ran alone in it");
    };
    let own_growth = growth(own);
    let judged = if most < own_growth / LITTLE {
        "it was most likely this one"
    } else if own_growth < most / LITTLE {
        "it was hardly this one"
    } else {
        "nothing tells which of them it was"
    };
    let named = others.iter().take(NAMED_MAX).map(|other| {
        let (function, lasted) = (&other.function, other.lasted.as_secs_f64());
        format!("since {function} ({}, {lasted:.1} s) by {} MB", other.id, mebibytes(growth(other)))
    });
    let named: Vec<String> = named.collect();
    let rest = match others.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        rest => format!(", and {rest} more ran"),
    };
    format!(
        ". {} invocations ran in it, and {judged}: since this one began it grew by about {} MB, {}{rest}",
        ran.len(),
        mebibytes(own_growth),
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ingle_types::ids::FunctionName;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn ran(function: &str, seconds: u64, mebibytes: u64) -> Ran {
        Ran {
            id: InvocationId::random(),
            function: FunctionName::new(function),
            lasted: Duration::from_secs(seconds),
            memory_bytes: mebibytes * MIB,
        }
    }

    fn told(which: usize, ran: &[Ran]) -> String {
        who_ran(ran[which].id, 1000 * MIB, ran)
    }

    #[test]
    fn t_013_one_alone_is_told_what_was_there_before() {
        let alone = told(0, &[ran("report", 3, 700)]);
        assert_eq!(alone, ". It held 700 MB of that when this invocation began, which ran alone in it");
    }

    #[test]
    fn t_013_who_came_behind_the_growth_has_not_caused_it() {
        let both = [ran("report", 3, 100), ran("ping", 0, 990)];
        let report = told(0, &both);
        assert!(report.contains("2 invocations ran in it, and it was most likely this one"), "{report}");
        assert!(report.contains("this one began it grew by about 900 MB"), "{report}");
        assert!(report.contains(&format!("since ping ({}, 0.0 s) by 10 MB", both[1].id)), "{report}");
        let ping = told(1, &both);
        assert!(ping.contains("it was hardly this one") && ping.contains("since report"), "{ping}");
    }

    #[test]
    fn t_013_who_grew_together_can_not_be_told_apart() {
        let many: Vec<Ran> = (0..8).map(|number| ran("report", 8 - number, 100 + number)).collect();
        let one = told(3, &many);
        assert!(one.contains("8 invocations ran in it, and nothing tells which of them it was"), "{one}");
        assert!(one.ends_with(", and 3 more ran") && one.matches("since report").count() == 4, "{one}");
        assert_eq!(who_ran(InvocationId::random(), 1, &many), "", "one that had not begun");
    }
}
