//! `ingle check`: find what is wrong with an app, without serving it.

use std::sync::Arc;
use std::time::Duration;

use ingle_tasks::{TaskKind, Tasks};
use ingle_types::problem::Severity;
use serde_json::json;

use crate::app::{error_count, prepare, run as load};
use crate::cli::AppArguments;
use crate::commands::start::progress;
use crate::exit::{APP, CommandError};
use crate::printer::{Color, Printer, Style, harmless};
use crate::surroundings::Surroundings;

pub(crate) async fn run(
    arguments: AppArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    let tasks = Tasks::new();
    let printer = Printer::start(style, &tasks);
    let prepared = prepare(&arguments, surroundings, &mut progress(style, &printer)).await?;
    let running = load(prepared, surroundings, 0, &tasks, Arc::new(printer.clone())).await?;
    running.pool.stop(Duration::from_secs(2)).await;
    let problems = &running.app.problems;
    let errors = error_count(problems);
    if style.json {
        let functions: Vec<&str> =
            running.app.functions.iter().map(|function| function.name.as_str()).collect();
        let report = json!({"event": "checked", "errors": errors, "warnings": problems.len() - errors,
            "functions": functions, "problems": problems});
        printer.text(report.to_string());
    } else {
        for problem in problems {
            let color = if problem.severity == Severity::Error { Color::Red } else { Color::Yellow };
            let text = harmless(&problem.to_string());
            let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
            printer.text(format!(
                "{}{}{rest}",
                style.paint(color, first),
                if rest.is_empty() { "" } else { "\n" }
            ));
        }
        printer.text(format!(
            "{}: {} functions, {errors} errors, {} warnings",
            running.app.name,
            running.app.functions.len(),
            problems.len() - errors
        ));
    }
    drop(printer);
    tasks.stop(TaskKind::Printer, Duration::from_secs(2)).await;
    Ok(if errors > 0 || running.app.functions.is_empty() { APP } else { 0 })
}
