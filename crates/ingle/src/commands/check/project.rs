//! `ingle check` of a project: what its file says, and what each of its functions is when it is imported.

use std::sync::Arc;

use ingle_apps::ReadOptions;
use ingle_apps::project::{Member, Project};
use ingle_control::{Error, Examining, absolute, examine, prepare};
use ingle_types::problem::Problem;
use ingle_types::spec::AppSpec;
use ingle_worker::Parents;

use crate::app::inspect;
use crate::chalice::Importer;
use crate::commands::start::progress;
use crate::exit::{CommandError, USAGE, chain};
use crate::project;

/// What was found out about a project.
pub(super) struct Checked {
    pub(super) project: Project,
    /// Those that can run, as the project names them.
    pub(super) functions: Vec<String>,
    /// Of the functions, with files relative to the project's folder. Those of the project are its own.
    pub(super) problems: Vec<Problem>,
}

/// The project of the folder with what its functions say when they are imported, one after another; `None` if the
/// folder is no project.
pub(super) async fn look(with: Importer<'_>) -> Result<Option<Checked>, CommandError> {
    let root = absolute(&with.arguments.folder);
    if with.arguments.handler.is_some() {
        return Ok(None);
    }
    let Some(project) = project::read(&root, with).await? else { return Ok(None) };
    if !with.arguments.functions.is_empty() {
        let message = "--functions is for one app, and this is a project".to_owned();
        return Err(
            CommandError::new(USAGE, "E0703", message).hint("leave it out: all functions are checked")
        );
    }
    let (mut functions, mut problems) = (Vec::new(), Vec::new());
    for member in project.members(&root) {
        match import(&member, with).await {
            Ok(app) => {
                if !app.functions.is_empty() {
                    functions.push(member.function.name.clone());
                }
                problems.extend(app.problems.into_iter().map(|problem| of_member(problem, &member)));
            }
            // The others may be as they should.
            Err(error) => problems.push(refused(&error, &member)),
        }
    }
    Ok(Some(Checked { project, functions, problems }))
}

/// A function as it would be served, without its server.
async fn import(member: &Member, with: Importer<'_>) -> Result<AppSpec, Error> {
    let surroundings = with.surroundings;
    let means = surroundings.means().await;
    let state = project::state(member, with.arguments.state.as_ref());
    let options = ReadOptions {
        isolation: with.isolation,
        member: Some(Box::new(member.clone())),
        state: Some(state.clone()),
        ..surroundings.read_options(with.arguments, means.clone())
    };
    let prepared = prepare(&member.folder(), &options, &mut progress(with.style, with.printer)).await?;
    let parents = Parents { means, ..Parents::default() };
    let how = Examining { isolation: with.isolation, named: with.named.to_vec(), state: Some(state) };
    let rooms = (with.tasks, &parents);
    let sink = Arc::new(with.printer.of_app(&member.function.name));
    let examined =
        examine(&prepared, &surroundings.cache, &surroundings.variables, rooms, (sink, how)).await?;
    let mut app = examined.app;
    inspect(&mut app);
    Ok(app)
}

/// As those see it who are in the project's folder.
fn of_member(mut problem: Problem, member: &Member) -> Problem {
    // Within its app, the function of a handler has a name of its own.
    problem.function = Some(member.function.name.clone());
    let Some(file) = &mut problem.file else {
        let (file, line) = declared(member);
        return problem.at(file, Some(line));
    };
    let code = &member.function.code;
    let beside = code.join(&*file);
    // What was unpacked from a zip keeps its names in it.
    if code.is_relative() && member.root.join(&beside).is_file() {
        *file = beside.display().to_string();
    }
    problem
}

/// Where the project's file names it.
fn declared(member: &Member) -> (String, u32) {
    let file = member.function.file.as_ref().unwrap_or(&member.file);
    (file.display().to_string(), member.function.line)
}

/// Why a function can't even be imported.
fn refused(error: &Error, member: &Member) -> Problem {
    let (file, line) = declared(member);
    let mut problem =
        Problem::error(error.code(), chain(error)).at(file, Some(line)).function(&member.function.name);
    problem.fix = error.hint();
    problem.detail = error.detail();
    problem
}
