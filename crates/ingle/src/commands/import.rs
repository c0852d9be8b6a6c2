//! `ingle import`: what of an app that another tool deployed runs here, and an `ingle.toml` for it.
//!
//! What is served is never listed here: the readers of projects and apps say it, and what they found is sorted into what
//! runs, what has no effect and what is missing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ingle_apps::project::{EventSource, Ignored, Project, ProjectFunction};
use ingle_apps::{AppFolder, archive};
use ingle_control::absolute;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::problem::{Problem, Severity};
use ingle_types::spec::{AppSpec, Dialect};
use serde::Serialize;
use serde_json::{Value, json};

use crate::chalice::Importer;
use crate::cli::AppArguments;
use crate::commands::check;
use crate::exit::{CommandError, USAGE};
use crate::files;
use crate::printer::{Color, Printer, Style, harmless};
use crate::project;
use crate::surroundings::Surroundings;

const FILE: &str = "ingle.toml";

#[derive(Args, Debug)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    pub(crate) app: AppArguments,
    /// Print the ingle.toml instead of writing it
    #[arg(long, conflicts_with = "force")]
    pub(crate) stdout: bool,
    /// Write over an ingle.toml that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// What becomes of something that an app declares.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Runs,
    /// It has no effect here, and nothing fails without it.
    Ignored,
    /// It does something where the app comes from, and nothing here.
    Missing,
}

/// One line of the report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Entry {
    status: Status,
    file: String,
    line: Option<u32>,
    what: String,
    why: Option<String>,
}

#[derive(Debug)]
struct Report {
    /// `SAM`, `Azure Functions v2`.
    kind: &'static str,
    /// What says what the app is.
    file: String,
    entries: Vec<Entry>,
    /// What ingle.toml says, besides comments.
    settings: Vec<String>,
}

impl Report {
    fn count(&self, status: Status) -> usize {
        self.entries.iter().filter(|entry| entry.status == status).count()
    }

    /// Of everything that matters to those who use the app, how much runs, in percent and rounded down, so that 100 is all.
    fn score(&self) -> usize {
        let (runs, missing) = (self.count(Status::Runs), self.count(Status::Missing));
        (100 * runs).checked_div(runs + missing).unwrap_or(0)
    }

    /// The text of ingle.toml.
    fn toml(&self) -> String {
        let mut lines = vec![
            format!(
                "# {}: {} of {} parts run here ({} %).",
                self.file,
                self.count(Status::Runs),
                self.count(Status::Runs) + self.count(Status::Missing),
                self.score()
            ),
            format!("# {} is read at each start; what stands here wins.", self.file),
        ];
        let missing = self.entries.iter().filter(|entry| entry.status == Status::Missing);
        lines.extend(missing.map(|entry| {
            let text: String =
                entry.text().chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
            format!("# missing: {text}")
        }));
        if !self.settings.is_empty() {
            lines.push(String::new());
            lines.extend(self.settings.clone());
        }
        lines.join("\n") + "\n"
    }

    fn json(&self, written: Option<&Path>) -> Value {
        json!({"event": "imported", "kind": self.kind, "file": self.file, "score": self.score(),
            "runs": self.count(Status::Runs), "ignored": self.count(Status::Ignored),
            "missing": self.count(Status::Missing), "entries": self.entries, "written": written,
            "toml": self.toml()})
    }
}

impl Entry {
    fn text(&self) -> String {
        let line = self.line.map_or_else(String::new, |line| format!(":{line}"));
        let why = self.why.as_ref().map_or_else(String::new, |why| format!(", {why}"));
        format!("{}{line} {}{why}", self.file, self.what)
    }
}

pub(crate) async fn run(
    mut arguments: ImportArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    if archive::is_zip(&arguments.app.folder) && arguments.app.folder.is_file() {
        let message = "an ingle.toml can't be written into a zip".to_owned();
        return Err(CommandError::new(USAGE, "E0703", message).hint("unpack it, and name the folder"));
    }
    let target = absolute(&arguments.app.folder).join(FILE);
    if !arguments.stdout && !arguments.force && target.symlink_metadata().is_ok() {
        let message = format!("'{}' is there already", target.display());
        let hint = "--force writes over it, --stdout prints what would be written";
        return Err(CommandError::new(USAGE, "E0704", message).hint(hint));
    }
    arguments.app.functions.clear();
    let tasks = Tasks::new();
    let printer = Printer::start(style, &tasks);
    let report = look(&arguments.app, surroundings, (&tasks, &printer, style)).await;
    let code = report.and_then(|report| tell(&arguments, &target, &report, (&printer, style)));
    drop(printer);
    // What was said before an error stands before it.
    tasks.stop(TaskKind::Printer, Duration::from_secs(2)).await;
    code.map(|()| 0)
}

fn tell(
    arguments: &ImportArguments,
    target: &Path,
    report: &Report,
    (printer, style): (&Printer, Style),
) -> Result<(), CommandError> {
    if !arguments.stdout {
        files::replace(target, &report.toml())?;
    }
    let written = (!arguments.stdout).then_some(target);
    if style.json {
        printer.text(report.json(written).to_string());
        return Ok(());
    }
    for (status, word, color) in [
        (Status::Runs, "runs", Color::Green),
        (Status::Ignored, "no effect", Color::Dim),
        (Status::Missing, "missing", Color::Yellow),
    ] {
        for entry in report.entries.iter().filter(|entry| entry.status == status) {
            printer.text(format!(
                "  {} {}",
                style.paint(color, &format!("{word:9}")),
                harmless(&entry.text())
            ));
        }
    }
    let (runs, ignored, missing) =
        (report.count(Status::Runs), report.count(Status::Ignored), report.count(Status::Missing));
    printer.text(format!(
        "{} {}: {runs} run, {ignored} without effect, {missing} missing · score {}",
        report.kind,
        harmless(&report.file),
        report.score()
    ));
    match written {
        Some(target) => printer.text(format!("written: {}", target.display())),
        None => printer.text(report.toml().trim_end().to_owned()),
    }
    Ok(())
}

/// Reads the folder and, where only an import tells what there is, imports the app in its box.
async fn look(
    arguments: &AppArguments,
    surroundings: &Surroundings,
    (tasks, printer, style): (&Tasks, &Printer, Style),
) -> Result<Report, CommandError> {
    let folder = absolute(&arguments.folder);
    let importer = Importer { arguments, isolation: None, named: &[], surroundings, printer, style, tasks };
    let found = if arguments.handler.is_none() { project::read(&folder, importer).await? } else { None };
    if let Some(project) = found {
        return Ok(of_project(&project));
    }
    let means = surroundings.means().await;
    let options = surroundings.read_options(arguments, means.clone());
    let read = ingle_apps::read(&arguments.folder, &options).map_err(ingle_control::Error::from)?;
    let (app, _) = check::look(arguments, (surroundings, means), (tasks, printer, style)).await?;
    Ok(of_app(&read, &app))
}

fn of_project(project: &Project) -> Report {
    let file = |own: Option<&PathBuf>| own.unwrap_or(&project.file).display().to_string();
    let missing = project::not_yet(project);
    let missing: Vec<Entry> = missing
        .map(|(path, line, text)| {
            let (what, why) = text.split_once(": ").unzip();
            let (what, why) = (what.unwrap_or(&text).to_owned(), why.map(str::to_owned));
            Entry { status: Status::Missing, file: path.display().to_string(), line: Some(line), what, why }
        })
        .collect();
    let mut entries = Vec::new();
    for function in &project.functions {
        let own = file(function.file.as_ref());
        let runs = |file: String, line, what| Entry {
            status: Status::Runs,
            file,
            line: Some(line),
            what,
            why: None,
        };
        entries.push(runs(own.clone(), function.line, format!("function {}", function.name)));
        for source in &function.sources {
            let (place, line, what) = told(source, function);
            let one = runs(place.map_or_else(|| own.clone(), |place| file(Some(place))), line, what);
            // Others may stand at the same line: those of another file, which a reference stands for.
            let is_asked_elsewhere = matches!(source, EventSource::Http(http) if http.guard.is_some());
            if !is_asked_elsewhere {
                entries.push(one);
            }
        }
    }
    entries.extend(missing);
    entries.extend(project.problems.iter().map(|problem| of_problem(problem, &file(None))));
    entries.extend(project.ignored.iter().map(|one: &Ignored| Entry {
        status: if one.is_missing { Status::Missing } else { Status::Ignored },
        file: file(one.file.as_ref()),
        line: Some(one.line),
        what: one.what.clone(),
        why: Some(one.why.clone()),
    }));
    Report { kind: project::kind(project), file: file(None), entries: sorted(entries), settings: Vec::new() }
}

/// Where and what a source of events is. The file is another than the function's own only for routes.
fn told<'a>(source: &'a EventSource, function: &ProjectFunction) -> (Option<&'a PathBuf>, u32, String) {
    let of = &function.name;
    if let EventSource::Http(http) = source {
        let method = http.method.as_deref().unwrap_or("ANY");
        (http.file.as_ref(), http.line, format!("{method} {} of {of}", http.path))
    } else if let EventSource::Schedule(schedule) = source {
        (None, schedule.line, format!("schedule {} of {of}", schedule.expression))
    } else if let EventSource::Queue(queue) = source {
        (None, queue.line, format!("queue {} of {of}", queue.queue))
    } else if let EventSource::Bucket(bucket) = source {
        (None, bucket.line, format!("bucket {} of {of}", bucket.bucket))
    } else if let EventSource::Topic(topic) = source {
        (None, topic.line, format!("topic {} of {of}", topic.topic))
    } else {
        (None, function.line, format!("an event of {of}"))
    }
}

fn of_problem(problem: &Problem, file: &str) -> Entry {
    let is_error = problem.severity == Severity::Error;
    Entry {
        status: if is_error { Status::Missing } else { Status::Ignored },
        file: problem.file.clone().unwrap_or_else(|| file.to_owned()),
        line: problem.line,
        what: format!("{} ({})", problem.message, problem.code),
        why: problem.fix.clone(),
    }
}

fn of_app(read: &AppFolder, app: &AppSpec) -> Report {
    let script = read.declared.first().map_or(&read.script_file, |declared| &declared.script_file).clone();
    let mut entries = Vec::new();
    for function in &app.functions {
        let place = function.location.as_deref().and_then(|place| place.rsplit_once(':'));
        let (file, line) = place.map_or((script.as_str(), None), |(file, line)| (file, line.parse().ok()));
        let runs = |what| Entry { status: Status::Runs, file: file.to_owned(), line, what, why: None };
        entries.push(runs(format!("function {} ({})", function.name, function.trigger.kind())));
        let bindings = function.bindings.iter().filter(|binding| binding.name != "$return");
        entries
            .extend(bindings.map(|binding| runs(format!("binding {} of {}", binding.name, function.name))));
    }
    entries.extend(app.problems.iter().map(|problem| of_problem(problem, &script)));
    let (kind, settings) = named(read);
    Report { kind, file: script, entries: sorted(entries), settings }
}

/// What kind of app it is, and what names it in ingle.toml, so that a later start finds the same.
fn named(read: &AppFolder) -> (&'static str, Vec<String>) {
    let declared = read.declared.first();
    let maker = declared.and_then(|declared| declared.bindings.first()?.get("maker")?.as_object());
    let text = |key: &str| maker.and_then(|maker| maker.get(key)?.as_str());
    let table = |name: &str, pairs: &[(&str, Option<&str>)]| {
        let pairs = pairs.iter().filter_map(|(key, value)| Some(format!("{key} = {}", json!((*value)?))));
        std::iter::once(format!("[{name}]")).chain(pairs).collect::<Vec<_>>()
    };
    let entry = declared.map(|declared| declared.entry_point.as_str());
    let script = declared.map(|declared| declared.script_file.as_str());
    let function = entry.and_then(|entry| entry.rsplit_once('.')).map(|(_, function)| function);
    match (read.dialect, text("kind")) {
        (Dialect::AzureV1, _) => ("Azure Functions v1", Vec::new()),
        (Dialect::AzureV2, _) => ("Azure Functions v2", Vec::new()),
        (Dialect::Lambda, _) => ("AWS Lambda", table("lambda", &[("handler", entry)])),
        (Dialect::Web, Some("functions-framework")) => {
            let pairs = [("target", text("target")), ("source", script), ("signature", text("signature"))];
            ("Functions Framework", table("function", &pairs))
        }
        (Dialect::Web, Some("open-whisk")) => {
            ("OpenWhisk", table("openwhisk", &[("file", script), ("main", function)]))
        }
        (Dialect::Web, Some("program")) => {
            let mut lines = table("openwhisk", &[("file", script)]);
            lines.push("exec = true".to_owned());
            ("OpenWhisk", lines)
        }
        (Dialect::Web, _) => ("web app", table("lambda", &[("handler", entry)])),
    }
}

/// In the order of the files.
fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    entries.dedup();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(statuses: &[Status]) -> Report {
        let entry = |status: &Status| Entry {
            status: *status,
            file: "a.yml".to_owned(),
            line: Some(1),
            what: "x\ny".to_owned(),
            why: None,
        };
        let entries = statuses.iter().map(entry).collect();
        Report { kind: "SAM", file: "a.yml".to_owned(), entries, settings: vec!["[lambda]".to_owned()] }
    }

    #[test]
    fn the_score_is_what_runs_of_what_matters() {
        use Status::{Ignored, Missing, Runs};
        let check = |statuses: &[Status], expected: usize| assert_eq!(report(statuses).score(), expected);
        check(&[], 0);
        check(&[Ignored], 0);
        check(&[Runs, Ignored], 100);
        check(&[Runs, Runs, Missing], 66);
        check(&[Missing], 0);
        check(&vec![Runs; 999].into_iter().chain([Missing]).collect::<Vec<_>>(), 99);
    }

    /// Whatever names files have, what is written can be read again.
    #[test]
    fn what_is_written_is_toml() {
        let text = report(&[Status::Runs, Status::Missing]).toml();
        assert!(text.contains("# missing: a.yml:1 x y\n"), "{text}");
        assert!(text.ends_with("\n[lambda]\n"), "{text}");
    }
}
