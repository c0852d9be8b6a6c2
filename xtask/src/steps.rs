//! Runs named steps one after the other, stops at the first failure, and closes with a table.

use std::time::{Duration, Instant};

/// What became of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Passed,
    Failed,
}

/// A row of the closing table.
#[derive(Debug)]
struct Row {
    name: String,
    state: State,
    took: Duration,
}

/// The steps so far.
#[derive(Default, Debug)]
pub(crate) struct Steps {
    rows: Vec<Row>,
    skipped: Vec<String>,
}

impl Steps {
    /// Runs one step.
    ///
    /// # Errors
    /// What the step failed with, and after it `advice`: what a person can do.
    pub(crate) fn run<Value>(
        &mut self,
        name: &str,
        advice: &str,
        step: impl FnOnce() -> anyhow::Result<Value>,
    ) -> anyhow::Result<Value> {
        println!("== {name}");
        let (result, took) = timed(step);
        let state = if result.is_ok() { State::Passed } else { State::Failed };
        println!("== {name}: {} in {}", word(state), seconds(took));
        self.rows.push(Row { name: name.to_owned(), state, took });
        result.map_err(|error| anyhow::anyhow!("{name}: {error:#}\n  what to do: {advice}"))
    }

    /// Notes something that this machine lacks, for the end of the table.
    pub(crate) fn skip(&mut self, what: String) {
        self.skipped.push(what);
    }

    /// The closing table.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for row in &self.rows {
            let line = format!("{:width$}  {:6}  {:>8}\n", row.name, word(row.state), seconds(row.took));
            text.push_str(&line);
        }
        let total: Duration = self.rows.iter().map(|row| row.took).sum();
        text.push_str(&format!("{:width$}  {:6}  {:>8}\n", "total", "", seconds(total)));
        for what in &self.skipped {
            text.push_str(&format!("skipped: {what}\n"));
        }
        text
    }
}

#[expect(clippy::disallowed_methods, reason = "a chore measures real time")]
fn timed<Value>(step: impl FnOnce() -> Value) -> (Value, Duration) {
    let start = Instant::now();
    let value = step();
    (value, start.elapsed())
}

fn word(state: State) -> &'static str {
    match state {
        State::Passed => "passed",
        State::Failed => "FAILED",
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_each_step_and_what_was_skipped() {
        let mut steps = Steps::default();
        steps.run("formatting", "", || Ok(())).unwrap();
        steps.skip("Python 3.9 not on this machine".to_owned());
        let error = steps.run("lints", "mend them", || -> anyhow::Result<()> { anyhow::bail!("two found") });
        assert_eq!(error.unwrap_err().to_string(), "lints: two found\n  what to do: mend them");
        let table = steps.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("formatting  passed"), "{table}");
        assert!(lines[1].starts_with("lints       FAILED"), "{table}");
        assert!(lines[2].starts_with("total"), "{table}");
        assert_eq!(lines[3], "skipped: Python 3.9 not on this machine");
    }
}
