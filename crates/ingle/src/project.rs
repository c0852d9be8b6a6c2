//! A project of functions for AWS Lambda: each is served as an app of its own, with the project's APIs in front of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ingle_apps::project::{
    Api, Entry, EventSource, HttpSource, Member, Payload, Project, ProjectFunction, ProjectKind,
    ProjectOptions,
};
use ingle_control::absolute;
use ingle_control::watch::{Extra, Watch, Watcher};
use ingle_gateway::apis::{self, Apis, Format, Route};
use ingle_gateway::auth::Guard;
use ingle_gateway::front;
use ingle_gateway::hosts::label_of;
use ingle_gateway::service::Service;
use ingle_types::front::IntegrationKind;
use ingle_types::problem::Problem;
use serde_json::{Value, json};

use crate::chalice::{self, Importer};
use crate::exit::{APP, CommandError, USAGE};
use crate::printer::{Color, Printer, Style, harmless};
use crate::screen;
use crate::surroundings::Surroundings;

pub(crate) mod api_keys;
pub(crate) mod common;

/// The folder of the store in a state folder.
const STORE: &str = "store";
/// In the state folder of a project: says that the folders beside it are of its functions.
const MARK: &str = "project";

/// Files of an app for Azure Functions, which may have such a project's file for its deployment.
const OF_AZURE: [&str; 2] = ["host.json", "function_app.py"];

/// The project of the folder that is to be served, if it is one.
pub(crate) async fn find(with: Importer<'_>) -> Result<Option<Project>, CommandError> {
    let folder = absolute(&with.arguments.folder);
    if with.arguments.handler.is_some() {
        return Ok(None);
    }
    let Some(project) = read(&folder, with).await? else { return Ok(None) };
    if project.functions.is_empty() {
        let problems: Vec<String> = project.problems.iter().map(ToString::to_string).collect();
        let why = if problems.is_empty() {
            "it names no function in Python".to_owned()
        } else {
            problems.join("\n")
        };
        let message = format!("{} has nothing that can be served: {why}", project.file.display());
        return Err(CommandError::new(APP, "E0115", message));
    }
    Ok(Some(project))
}

/// The function of this name, if the folder is a project.
pub(crate) async fn member(
    folder: &Path,
    name: &str,
    with: Importer<'_>,
) -> Result<Option<Box<Member>>, CommandError> {
    let Some(project) = read(folder, with).await? else { return Ok(None) };
    let mut members = project.members(folder);
    let found = members.find(|member| member.function.name == name || member.function.id == name);
    found.map(|member| Some(Box::new(member))).ok_or_else(|| {
        let names: Vec<&str> = project.functions.iter().map(|function| &*function.name).collect();
        let message = format!("{} has no function '{name}'", project.file.display());
        CommandError::new(USAGE, "E0703", message).hint(format!("its functions: {}", names.join(", ")))
    })
}

/// What is kept of a function: in its project's folder, as many functions may have one folder. The project's store is there, too.
pub(crate) fn state(member: &Member, chosen: Option<&PathBuf>) -> PathBuf {
    let label = label_of(&member.function.name);
    // No label has such a dash.
    let folder = if label == STORE { format!("{STORE}_") } else { label };
    Surroundings::state(&member.root, chosen).join(folder)
}

/// The state folder of the project, if this is that of one of its functions.
pub(crate) fn state_above(state: &Path) -> Option<&Path> {
    let above = state.parent()?;
    (!state.join(STORE).exists() && above.join(STORE).is_dir() && above.join(MARK).is_file()).then_some(above)
}

/// The project of a folder, if it has one.
pub(crate) async fn read(folder: &Path, with: Importer<'_>) -> Result<Option<Project>, CommandError> {
    if !folder.is_dir() || OF_AZURE.iter().any(|file| folder.join(file).is_file()) {
        return Ok(None);
    }
    let variables = with.surroundings.variables.clone();
    let of_environment = || with.surroundings.get("INGLE_STAGE").filter(|stage| !stage.is_empty());
    let stage = with.arguments.project.stage.as_deref().or_else(of_environment).map(str::to_owned);
    let parameters = with.arguments.project.parameters.iter().cloned().collect();
    let options = ProjectOptions { environment: variables, stage, parameters, region: None };
    let failed = |error: ingle_apps::Error| CommandError::from(ingle_control::Error::from(error));
    if let Some(mut project) = ingle_apps::project::read(folder, &options).map_err(failed)? {
        project.unpack(folder, &with.surroundings.cache);
        return Ok(Some(examined(project)));
    }
    match ingle_apps::project::chalice::find(folder, &options).map_err(failed)? {
        Some(found) => chalice::project(&found, folder, with).await.map(examined).map(Some),
        None => Ok(None),
    }
}

/// With what is wrong in front of its routes, which only the gateway knows. Such a route lets nobody in.
fn examined(mut project: Project) -> Project {
    let mut found = Vec::new();
    for (function, http) in http_sources(&project) {
        for (code, what) in front::faults(&http.front) {
            let file = http.file.as_ref().unwrap_or(&project.file).display().to_string();
            let what = format!("{what} (in front of {} of {function})", http.path);
            found.push(Problem::error(code, what).at(file, Some(http.line)));
        }
    }
    found.extend(shadowed(&project));
    project.problems.extend(found);
    project
}

/// Routes that another API has, too. At AWS each API has an address of its own; here they share one, and the first wins.
fn shadowed(project: &Project) -> Vec<Problem> {
    let mut first: BTreeMap<(Option<&str>, String), &str> = BTreeMap::new();
    let mut found = Vec::new();
    for (_, http) in http_sources(project) {
        let (Api::Rest { id, .. } | Api::Http { id, .. }) = &http.api else { continue };
        let method = http.method.as_deref();
        let winner = *first.entry((method, apis::shape(&http.path))).or_insert(id);
        if winner == id {
            continue;
        }
        let what = format!("{} {} of {id} is a route of {winner}, too", method.unwrap_or("ANY"), http.path);
        let fix = if http.stage == apis::DEFAULT {
            format!("{winner} answers it; give {id} a stage of its own (StageName), or another path")
        } else {
            format!("{winner} answers it; call it with its stage: /{}{}", http.stage, http.path)
        };
        let file = http.file.as_ref().unwrap_or(&project.file).display().to_string();
        found.push(Problem::warning("E0226", what).at(file, Some(http.line)).fix(fix));
    }
    found
}

/// Its APIs, before the functions with these labels.
/// `guard`: has the project's keys.
pub(crate) fn apis(project: &Project, services: &BTreeMap<String, Arc<Service>>, guard: Guard) -> Apis {
    let specs = http_sources(project).map(|(_, http)| &*http.front);
    let (mut apis, mut fronts) = (Apis::default(), front::Builder::new(services, guard, specs));
    let site = web_app(project).and_then(|name| services.get(&label_of(name)));
    site.into_iter().for_each(|service| apis.set_site(service.clone()));
    for (function, http) in http_sources(project) {
        if let (Api::Url(_), Some(cors)) = (&http.api, cors(http)) {
            apis.set_url_cors(label_of(function), cors);
        }
        let (Some(service), Some(route)) = (services.get(&label_of(function)), route(http)) else { continue };
        let front = fronts.front(&route.api, &http.front);
        match &http.api {
            Api::Alb { rule, .. } => apis.add_rule(rule.clone(), route, front, service.clone()),
            _ => apis.add(route, front, service.clone()),
        }
    }
    apis
}

fn http_sources(project: &Project) -> impl Iterator<Item = (&str, &HttpSource)> {
    project.functions.iter().flat_map(|function| {
        function.sources.iter().filter_map(|source| match source {
            EventSource::Http(http) => Some((&*function.name, http)),
            EventSource::Schedule(_)
            | EventSource::Queue(_)
            | EventSource::Bucket(_)
            | EventSource::Topic(_) => None,
        })
    })
}

/// The function that takes all requests that are for no other: a web app to which no routes lead.
fn web_app(project: &Project) -> Option<&str> {
    let is_one = |one: &&ProjectFunction| one.entry != Entry::Handler && one.sources.is_empty();
    project.functions.iter().find(is_one).map(|one| &*one.name)
}

/// What a project's file leaves open.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct ProjectArguments {
    /// Stage of a project, where its file has several [default: INGLE_STAGE, else the one that its tool takes]
    #[arg(long, value_name = "NAME")]
    pub(crate) stage: Option<String>,
    /// A parameter of a project's file: of `Parameters` of a template, or `${param:NAME}` of a serverless.yml
    #[arg(long = "parameter", alias = "template-parameter", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) parameters: Vec<(String, String)>,
}

pub(crate) fn name_and_value(text: &str) -> Result<(String, String), String> {
    let found = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let found = found.map(|(name, value)| (name.to_owned(), value.to_owned()));
    found.ok_or_else(|| "it is no NAME=VALUE".to_owned())
}

fn cors(http: &HttpSource) -> Option<apis::Cors> {
    http.cors.clone().map(|cors| apis::Cors {
        origins: cors.origins,
        methods: cors.methods,
        headers: cors.headers,
        exposed_headers: cors.exposed_headers,
        credentials: cors.credentials,
        max_age: cors.max_age,
    })
}

/// None of a URL, which is the function's own.
fn route(http: &HttpSource) -> Option<Route> {
    let (format, api) = match &http.api {
        Api::Rest { id, binary_types } => (Format::Rest { binary_types: binary_types.clone() }, id),
        Api::Http { id, payload: Payload::V1 } => (Format::Http1, id),
        Api::Http { id, payload: Payload::V2 } => (Format::Http2, id),
        Api::Alb { listener, target_group, multi_value, .. } => {
            (Format::Alb { target_group: target_group.clone(), multi_value: *multi_value }, listener)
        }
        Api::Url(_) => return None,
    };
    let cors = cors(http);
    Some(Route {
        format,
        method: http.method.clone(),
        path: http.path.clone(),
        stage: http.stage.clone(),
        api: api.to_ascii_lowercase(),
        cors,
        is_guarded: http.guard.is_some(),
    })
}

/// What is otherwise than at AWS: file, line and words.
pub(crate) fn not_yet(project: &Project) -> impl Iterator<Item = (&Path, u32, String)> {
    project.functions.iter().flat_map(move |function| {
        function.sources.iter().filter_map(move |source| match source {
            EventSource::Http(http) => {
                let guard = http.guard.as_ref()?;
                let path = &http.path;
                let text = format!("{guard} of {path}: not asked here; with `--auth` callers need a key");
                Some((http.file.as_deref().unwrap_or(&project.file), http.line, text))
            }
            EventSource::Schedule(_)
            | EventSource::Queue(_)
            | EventSource::Bucket(_)
            | EventSource::Topic(_) => None,
        })
    })
}

pub(crate) fn kind(project: &Project) -> &'static str {
    match project.kind {
        ProjectKind::Sam => "SAM",
        ProjectKind::Serverless => "Serverless",
        ProjectKind::Chalice => "Chalice",
        ProjectKind::Zappa => "Zappa",
    }
}

/// What is known of it before a function is served: `{"event":"project", …}` or some lines; docs/lambda.md has the shape.
pub(crate) fn told(project: &Project, style: Style) -> String {
    let file = project.file.display().to_string();
    if style.json {
        let ignored = project.ignored.iter().map(|one| {
            let file = one.file.as_ref().unwrap_or(&project.file);
            json!({"file": file, "line": one.line, "what": one.what, "why": one.why})
        });
        let ignored: Vec<Value> = ignored.collect();
        let not_yet = not_yet(project);
        let not_yet: Vec<Value> =
            not_yet.map(|(file, line, what)| json!({"file": file, "line": line, "what": what})).collect();
        let functions: Vec<&str> = project.functions.iter().map(|function| &*function.name).collect();
        return json!({"event": "project", "kind": kind(project), "file": file, "functions": functions,
            "ignored": ignored, "notYet": not_yet, "problems": project.problems})
        .to_string();
    }
    let count = project.functions.len();
    let plural = if count == 1 { "" } else { "s" };
    let mut lines = vec![format!("{} project {file}: {count} function{plural}", kind(project))];
    lines.extend(screen::problems(&project.problems, style));
    for (file, line, what) in not_yet(project) {
        let text = format!("  {}:{line} {what}", file.display());
        lines.push(style.paint(Color::Yellow, &harmless(&text)));
    }
    for one in &project.ignored {
        let file = one.file.as_ref().unwrap_or(&project.file).display();
        let text = format!("  {file}:{} {}: no effect here, {}", one.line, one.what, one.why);
        lines.push(style.paint(Color::Dim, &harmless(&text)));
    }
    lines.join("\n")
}

/// Says that the project's file has changed, each time; for ever.
pub(crate) async fn follow(
    project: &Project,
    (watcher, root): (&Watcher, &Path),
    (printer, style): (&Printer, Style),
) {
    let files: BTreeSet<PathBuf> = std::iter::once(&project.file).chain(&project.included).cloned().collect();
    let Ok(mut watch) = Watch::start(watcher, root) else { return std::future::pending().await };
    let names = files.iter().map(|file| file.display().to_string()).collect();
    watch.set_extra(Extra { files: names, ..Extra::default() });
    while let Some(changed) = watch.changed().await {
        let Some(file) = changed.intersection(&files).next() else { continue };
        let message = format!("{} has changed: start anew to take it over", file.display());
        printer.text(if style.json {
            json!({"event": "projectChanged", "file": file, "message": message}).to_string()
        } else {
            style.paint(Color::Yellow, &message)
        });
    }
    std::future::pending().await
}

/// A line for each route and URL.
pub(crate) fn routes(project: &Project, address: &str, port: u16, style: Style) -> Vec<String> {
    let routes: Vec<(String, String, &str)> = http_sources(project)
        .map(|(function, http)| {
            let method = http.method.clone().unwrap_or_else(|| "ANY".to_owned());
            let target = match (&http.api, http.path.as_str()) {
                (Api::Url(_), _) => format!("http://{}.localhost:{port}/", label_of(function)),
                (Api::Alb { rule, .. }, _) => format!("http://{address} by {rule}"),
                (_, apis::DEFAULT) => format!("http://{address}/ and every other path"),
                (_, path) => format!("http://{address}{path}"),
            };
            let is_mock =
                http.front.integration.as_ref().is_some_and(|one| one.kind == IntegrationKind::Mock);
            (method, target, if is_mock { "(a mock)" } else { function })
        })
        .collect();
    let site = web_app(project)
        .map(|function| ("ANY".to_owned(), format!("http://{address}/ and every other path"), function));
    let routes: Vec<_> = routes.into_iter().chain(site).collect();
    let width = routes.iter().map(|(_, target, _)| target.len()).max().unwrap_or_default();
    let line = |(method, target, function): &(String, String, &str)| {
        harmless(&format!(
            "  {method:6} {} {function}",
            style.paint(Color::Bold, &format!("{target:width$}"))
        ))
    };
    routes.iter().map(line).collect()
}
