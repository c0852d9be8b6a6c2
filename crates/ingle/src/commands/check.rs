//! `ingle check`: find what is wrong with an app, without serving it.

use std::sync::Arc;
use std::time::Duration;

use ingle_control::{examine, prepare};
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::problem::Severity;
use serde_json::json;

use crate::cli::AppArguments;
use crate::commands::start::progress;
use crate::exit::{APP, CommandError};
use crate::printer::{Printer, Style};
use crate::screen;
use crate::server::inspect;
use crate::surroundings::Surroundings;

pub(crate) async fn run(
    arguments: AppArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    let tasks = Tasks::new();
    let printer = Printer::start(style, &tasks);
    let options = surroundings.read_options(&arguments);
    let prepared = prepare(&arguments.folder, &options, &mut progress(style, &printer)).await?;
    let sink = Arc::new(printer.clone());
    let examined = examine(&prepared, &surroundings.cache, &surroundings.variables, &tasks, sink).await?;
    let mut app = examined.app;
    inspect(&mut app);
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
    drop(printer);
    tasks.stop(TaskKind::Printer, Duration::from_secs(2)).await;
    Ok(if errors > 0 || app.functions.is_empty() { APP } else { 0 })
}
