//! The nearest name, for "did you mean".

/// The candidate that `wanted` is most likely a misspelling of; `None` if nothing is near.
///
/// Near means: at most a third of the characters (and never more than four) have to be added, left out, changed
/// or swapped with their neighbour, without regard to case.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let limit = (wanted.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| (distance(&wanted, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean NAME?`, or nothing.
pub fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// What to do about a name that has no effect.
pub fn correction(near: Option<&str>) -> String {
    near.map_or_else(|| "remove it".to_owned(), |name| format!("write `{name}`, or remove it"))
}

/// Optimal string alignment distance: edits and swaps of neighbours (Damerau 1964, restricted form). Long names are
/// compared by their first 64 characters, which bounds the work.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let right: Vec<char> = right.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let changed = previous[column] + usize::from(from != to);
            let mut best = changed.min(previous[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && *from == right[column - 1] && left[row - 1] == *to {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, expected: Option<&str>) {
        let names = ["httpTrigger", "queueTrigger", "queue", "http", "batchSize", "functionTimeout"];
        assert_eq!(nearest(wanted, names), expected, "{wanted}");
    }

    #[test]
    fn a_misspelled_name_is_recognised() {
        check("httptriger", Some("httpTrigger"));
        check("queuTriger", Some("queueTrigger"));
        check("qeueu", None);
        check("qeue", Some("queue"));
        check("functionTimeOuts", Some("functionTimeout"));
        check("batchSzie", Some("batchSize"));
        check("", None);
        check("blob", None);
    }
}
