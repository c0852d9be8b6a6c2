//! What is otherwise for a Chalice project: which functions it has is known when its app has been imported.

use std::path::Path;
use std::sync::Arc;

use ingle_apps::ReadOptions;
use ingle_apps::project::Project;
use ingle_apps::project::chalice::Chalice;
use ingle_control::{Examining, examine, prepare};
use ingle_sandbox::means::Means;
use ingle_tasks::Tasks;
use ingle_types::spec::Isolation;
use ingle_worker::Parents;

use crate::cli::AppArguments;
use crate::commands::start::progress;
use crate::exit::CommandError;
use crate::printer::{Printer, Style};
use crate::surroundings::Surroundings;

/// With what the app is imported.
#[derive(Clone, Copy)]
pub(crate) struct Importer<'a> {
    pub(crate) arguments: &'a AppArguments,
    pub(crate) isolation: Option<Isolation>,
    /// Variables of the process that the app sees, besides those that it names.
    pub(crate) named: &'a [String],
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) printer: &'a Printer,
    pub(crate) style: Style,
    pub(crate) tasks: &'a Tasks,
}

/// The project of an app: imported in its box, as a function would be, and ended again.
pub(crate) async fn project(
    chalice: &Chalice,
    folder: &Path,
    with: Importer<'_>,
) -> Result<Project, CommandError> {
    let means: Option<Means> = with.surroundings.means().await;
    let options = ReadOptions {
        isolation: with.isolation,
        member: Some(Box::new(chalice.api())),
        ..with.surroundings.read_options(with.arguments, means.clone())
    };
    let prepared = prepare(folder, &options, &mut progress(with.style, with.printer)).await?;
    let parents = Parents { means, ..Parents::default() };
    let how = Examining {
        isolation: with.isolation,
        named: with.named.to_vec(),
        state: Some(Surroundings::state(folder, with.arguments.state.as_ref())),
    };
    let surroundings = with.surroundings;
    let sink = Arc::new(with.printer.clone());
    let rooms = (with.tasks, &parents);
    let examined =
        examine(&prepared, &surroundings.cache, &surroundings.variables, rooms, (sink, how)).await?;
    // What each function says of itself when it starts is not said twice.
    let problems = if examined.declared.is_empty() { examined.app.problems } else { Vec::new() };
    Ok(chalice.project(examined.declared.first(), problems))
}
