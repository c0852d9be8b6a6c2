//! Telling processes apart that have the same number in different boxes.

/// The number by which a process knows itself (`whoami()` of [`App::python`](crate::App::python)): of its namespace of process
/// numbers, of when it was started, and the one that it has in its namespace. 0 when it is gone.
pub fn whoami_of(process: u32) -> u64 {
    numbers_of(process).map_or(0, |(namespace, started, own)| {
        namespace % 1_000_000 * 10_000_000_000_000 + started % 100_000_000 * 100_000 + own % 100_000
    })
}

fn numbers_of(process: u32) -> Option<(u64, u64, u64)> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/pid")).ok()?;
    let namespace = link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let started = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let own = numbers.split_ascii_whitespace().last()?.parse().ok()?;
    Some((namespace, started, own))
}
