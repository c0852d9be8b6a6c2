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
    /// It took no time of its own.
    is_beside: bool,
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
        self.ended((name, advice), result, took)
    }

    fn ended<Value>(
        &mut self,
        (name, advice): (&str, &str),
        result: anyhow::Result<Value>,
        took: Duration,
    ) -> anyhow::Result<Value> {
        let state = if result.is_ok() { State::Passed } else { State::Failed };
        println!("== {name}: {} in {}", word(state), seconds(took));
        self.rows.push(Row { name: name.to_owned(), state, took, is_beside: false });
        result.map_err(|error| anyhow::anyhow!("{name}: {error:#}\n  what to do: {advice}"))
    }

    /// Runs a step while other steps run, and ends with both. What fails first in time is not known; the other steps' failure goes
    /// before.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn beside<Value: Send>(
        &mut self,
        name: &str,
        advice: &str,
        step: impl FnOnce() -> anyhow::Result<Value> + Send,
        others: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<Value> {
        let (others, (result, took)) = std::thread::scope(|scope| {
            let beside = scope.spawn(|| timed(step));
            let others = others(self);
            let ended =
                beside.join().unwrap_or_else(|_panic| (Err(anyhow::anyhow!("it panicked")), Duration::ZERO));
            (others, ended)
        });
        let ended = self.ended((name, advice), result, took);
        self.rows.last_mut().into_iter().for_each(|row| row.is_beside = true);
        others.and(ended)
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
        let total: Duration = self.rows.iter().filter(|row| !row.is_beside).map(|row| row.took).sum();
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

    #[test]
    fn a_step_runs_beside_others_and_both_are_heard_of() {
        let (say, hear) = std::sync::mpsc::channel();
        let mut steps = Steps::default();
        let found = steps.beside(
            "environments",
            "wait",
            move || Ok(hear.recv()?),
            |steps| steps.run("lints", "mend them", || Ok(say.send(7)?)),
        );
        assert_eq!(found.unwrap(), 7);
        let names = |steps: &Steps| steps.rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&steps), ["lints", "environments"]);
        let failing = |what: &'static str| move || -> anyhow::Result<()> { anyhow::bail!("{what}") };
        let error = steps.beside("a", "do a", failing("one"), |_steps| Ok(())).unwrap_err().to_string();
        assert_eq!(error, "a: one\n  what to do: do a");
        let both = steps.beside("a", "do a", failing("one"), |steps| steps.run("b", "do b", failing("two")));
        assert!(both.unwrap_err().to_string().starts_with("b: two"));
    }
}
