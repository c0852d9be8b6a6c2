//! `ingle check`: find what is wrong with an app, without serving it.

use std::sync::Arc;
use std::time::Duration;

use ingle_apps::Requirements;
use ingle_control::{Examining, examine, prepare};
use ingle_sandbox::means::Means;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::problem::{Problem, Severity};
use ingle_types::spec::{AppSpec, Dialect};
use ingle_worker::Parents;
use serde_json::json;

use crate::app::inspect;
use crate::archive;
use crate::chalice::Importer;
use crate::cli::{AppArguments, CheckArguments};
use crate::commands::start::progress;
use crate::exit::{APP, CommandError};
use crate::mend::{Change, Plan};
use crate::printer::{Color, Printer, Style, harmless};
use crate::screen;
use crate::surroundings::Surroundings;

mod project;

pub(crate) async fn run(
    mut arguments: CheckArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    archive::unpack(&mut arguments.app, surroundings)?;
    let tasks = Tasks::new();
    let printer = Printer::start(style, &tasks);
    let checked = check(&arguments, surroundings, (&tasks, &printer, style)).await;
    drop(printer);
    // What was said before an error stands before it.
    tasks.stop(TaskKind::Printer, Duration::from_secs(2)).await;
    checked
}

async fn check(
    arguments: &CheckArguments,
    surroundings: &Surroundings,
    (tasks, printer, style): (&Tasks, &Printer, Style),
) -> Result<u8, CommandError> {
    let app = &arguments.app;
    let importer =
        Importer { arguments: app, isolation: None, named: &[], surroundings, printer, style, tasks };
    if let Some(checked) = project::look(importer).await? {
        return Ok(of_project(checked, arguments.fix, printer, style));
    }
    let means = surroundings.means().await;
    let look = async || look(&arguments.app, (surroundings, means.clone()), (tasks, printer, style)).await;
    let (mut app, requirements) = look().await?;
    if arguments.fix {
        // Where only Azure's own installation needs its package.
        let is_azure = matches!(app.dialect, Dialect::AzureV1 | Dialect::AzureV2);
        let plan = Plan::new(&app.root, &app.problems, is_azure.then_some(&requirements));
        plan.write(&app.root)?;
        show_changes(&plan.changes, printer, style);
        if !plan.changes.is_empty() {
            (app, _) = look().await?;
        }
    }
    let functions: Vec<&str> = app.functions.iter().map(|function| function.name.as_str()).collect();
    let findings = Findings { of: &app.name, functions, problems: app.problems.iter().collect() };
    Ok(findings.report(&app.problems, printer, style))
}

/// Tells what was found in a project. Nothing in one has a change that is certain.
fn of_project(checked: project::Checked, fixes: bool, printer: &Printer, style: Style) -> u8 {
    let project::Checked { project, functions, problems } = checked;
    printer.text(crate::project::told(&project, style));
    if fixes {
        show_changes(&[], printer, style);
    }
    let findings = Findings {
        of: &project.file.display().to_string(),
        functions: functions.iter().map(String::as_str).collect(),
        problems: project.problems.iter().chain(&problems).collect(),
    };
    findings.report(&problems, printer, style)
}

/// The app with all findings, and what its requirements are.
pub(crate) async fn look(
    arguments: &AppArguments,
    (surroundings, means): (&Surroundings, Option<Means>),
    (tasks, printer, style): (&Tasks, &Printer, Style),
) -> Result<(AppSpec, Requirements), CommandError> {
    let options = surroundings.read_options(arguments, means.clone());
    let prepared = prepare(&arguments.folder, &options, &mut progress(style, printer)).await?;
    let sink = Arc::new(printer.clone());
    let parents = Parents { means, ..Parents::default() };
    let rooms = (tasks, &parents);
    let examined =
        examine(&prepared, &surroundings.cache, &surroundings.variables, rooms, (sink, Examining::default()))
            .await?;
    let mut app = examined.app;
    inspect(&mut app);
    Ok((app, prepared.folder.requirements))
}

/// What was changed, as a person would mark it in the margin.
fn show_changes(changes: &[Change], printer: &Printer, style: Style) {
    for change in changes {
        if style.json {
            let shown = json!({"event": "changed", "place": change.place, "before": change.before,
                "after": change.after});
            printer.text(shown.to_string());
            continue;
        }
        let mut text = harmless(&change.place);
        if let Some(before) = &change.before {
            text.push_str(&format!("\n{}", style.paint(Color::Red, &format!("  - {}", harmless(before)))));
        }
        text.push_str(&format!(
            "\n{}",
            style.paint(Color::Green, &format!("  + {}", harmless(&change.after)))
        ));
        printer.text(text);
    }
    if changes.is_empty() && !style.json {
        printer.text("nothing has a mend that is certain".to_owned());
    }
}

/// What is wrong with an app or a project.
struct Findings<'a> {
    of: &'a str,
    /// Those that can run.
    functions: Vec<&'a str>,
    problems: Vec<&'a Problem>,
}

impl Findings<'_> {
    /// Prints them, and gives the exit code. As text, only those of `news` are printed: the others were already.
    fn report(&self, news: &[Problem], printer: &Printer, style: Style) -> u8 {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        let warnings = self.problems.len() - errors;
        if style.json {
            let report = json!({"event": "checked", "errors": errors, "warnings": warnings,
                "functions": self.functions, "problems": self.problems});
            printer.text(report.to_string());
        } else {
            for problem in screen::problems(news, style) {
                printer.text(problem);
            }
            let functions = counted(self.functions.len(), "function");
            let (errors, warnings) = (counted(errors, "error"), counted(warnings, "warning"));
            printer.text(format!("{}: {functions}, {errors}, {warnings}", self.of));
        }
        if errors > 0 || self.functions.is_empty() { APP } else { 0 }
    }
}

fn counted(count: usize, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}
