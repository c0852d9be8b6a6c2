//! `ingle check`: find what is wrong with an app, without serving it.

use std::sync::Arc;
use std::time::Duration;

use ingle_apps::Requirements;
use ingle_control::{Examining, examine, prepare};
use ingle_sandbox::means::Means;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::problem::Severity;
use ingle_types::spec::AppSpec;
use ingle_worker::Parents;
use serde_json::json;

use crate::app::inspect;
use crate::archive;
use crate::cli::{AppArguments, CheckArguments};
use crate::commands::start::progress;
use crate::exit::{APP, CommandError};
use crate::mend::Plan;
use crate::printer::{Color, Printer, Style, harmless};
use crate::screen;
use crate::surroundings::Surroundings;

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
    let means = surroundings.means().await;
    let look = async || look(&arguments.app, (surroundings, means.clone()), (tasks, printer, style)).await;
    let (mut app, requirements) = look().await?;
    if arguments.fix {
        let plan = Plan::new(&app.root, &app.problems, &requirements);
        plan.write(&app.root)?;
        show_changes(&plan, printer, style);
        if !plan.changes.is_empty() {
            (app, _) = look().await?;
        }
    }
    let errors = report(&app, printer, style);
    Ok(if errors > 0 || app.functions.is_empty() { APP } else { 0 })
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
fn show_changes(plan: &Plan, printer: &Printer, style: Style) {
    for change in &plan.changes {
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
    if plan.changes.is_empty() && !style.json {
        printer.text("nothing has a mend that is certain".to_owned());
    }
}

/// Prints the findings and counts the errors among them.
fn report(app: &AppSpec, printer: &Printer, style: Style) -> usize {
    let problems = &app.problems;
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if style.json {
        let functions: Vec<&str> = app.functions.iter().map(|function| function.name.as_str()).collect();
        let report = json!({"event": "checked", "errors": errors, "warnings": problems.len() - errors,
            "functions": functions, "problems": problems});
        printer.text(report.to_string());
    } else {
        for problem in screen::problems(problems, style) {
            printer.text(problem);
        }
        printer.text(format!(
            "{}: {} functions, {errors} errors, {} warnings",
            app.name,
            app.functions.len(),
            problems.len() - errors
        ));
    }
    errors
}
