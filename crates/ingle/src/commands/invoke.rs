//! `ingle invoke`: run one function now. Through the running server, or, without one, in a server that lives just
//! for this call.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use ingle_apps::ReadOptions;
use ingle_control::{absolute, prepare};
use ingle_gateway::hosts::Hosts;
use ingle_tasks::{TaskKind, Tasks};
use ingle_types::clock::SystemClock;
use ingle_types::log::{InvocationRecord, RecordSink};
use ingle_types::problem::{Problem, Severity};
use ingle_worker::Parents;
use serde_json::Value;

use crate::app::{App, Entrance, Measured, Plan, open_store};
use crate::chalice::Importer;
use crate::cli::{AppArguments, InvokeArguments};
use crate::client::Client;
use crate::commands::start::{planned_faults, progress};
use crate::commands::state::payload;
use crate::exit::{APP, CommandError, MACHINE, USAGE};
use crate::printer::{Printer, Style, harmless, write_out};
use crate::project::{self, ProjectArguments};
use crate::server::Server;
use crate::surroundings::Surroundings;

/// The record is not printed: what the function returned is what was asked for.
struct Quiet;

impl RecordSink for Quiet {
    fn record(&self, _record: InvocationRecord) {}
}

pub(crate) async fn run(
    arguments: InvokeArguments,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    let body = payload(&arguments.data)?;
    let folder = absolute(&arguments.at.folder);
    let tasks = Tasks::new();
    let printer = Printer::start(style, &tasks);
    let app = AppArguments {
        folder: folder.clone(),
        python: None,
        functions: Vec::new(),
        state: arguments.at.state.clone(),
        handler: None,
        project: ProjectArguments {
            stage: arguments.stage.clone(),
            parameters: arguments.template_parameter.clone(),
        },
    };
    let importer = Importer {
        arguments: &app,
        isolation: None,
        named: &[],
        surroundings,
        printer: &printer,
        style,
        tasks: &tasks,
    };
    let member = project::member(&folder, &arguments.function, importer).await?;
    // A function of a project may be named by its key in the project's file, too.
    let function = member.as_ref().map_or(&arguments.function, |member| &member.function.name);
    let query = query(&arguments, function)?;
    let state = match &member {
        Some(member) => project::state(member, arguments.at.state.as_ref()),
        None => Surroundings::state(&folder, arguments.at.state.as_ref()),
    };
    let of_project = member.as_ref().map(|_| Surroundings::state(&folder, arguments.at.state.as_ref()));
    if let Some(client) = Client::connect(&state, &tasks).await {
        return Ok(show(&call(client, &query, body).await?, style));
    }
    let at = (member.as_ref().map_or(folder, |member| member.folder()), state);
    let read = ReadOptions { member, state: Some(at.1.clone()), ..ReadOptions::default() };
    let called = call_once((at, read, of_project), surroundings, (&printer, style), &tasks, (&query, body));
    let answer = Box::pin(called).await;
    drop(printer);
    // What was said before an error stands before it.
    tasks.stop(TaskKind::Printer, Duration::from_secs(2)).await;
    Ok(show(&answer?, style))
}

/// Starts a server for one call, and stops it. `project`: the state folder of the function's project, with its store.
async fn call_once(
    ((folder, state), of_member, project): ((PathBuf, PathBuf), ReadOptions, Option<PathBuf>),
    surroundings: &Surroundings,
    (printer, style): (&Printer, Style),
    tasks: &Tasks,
    (query, body): (&[(String, String)], Bytes),
) -> Result<Value, CommandError> {
    let app = AppArguments {
        folder,
        python: None,
        functions: Vec::new(),
        state: of_member.state,
        handler: None,
        project: ProjectArguments::default(),
    };
    let means = surroundings.means().await;
    let read = ReadOptions { member: of_member.member, ..surroundings.read_options(&app, means.clone()) };
    let prepared = prepare(&app.folder, &read, &mut progress(style, printer)).await?;
    let faults = planned_faults(surroundings)?;
    let open = |state: &PathBuf| open_store(state, Arc::new(SystemClock), faults.clone());
    let store = project.as_ref().map(open).transpose()?;
    let plan = Plan {
        folder: app.folder,
        store: store.clone(),
        read,
        host: "localhost".to_owned(),
        variables: surroundings.variables.clone(),
        cors: None,
        state: state.clone(),
        hide_errors: false,
        // Its port is for nobody.
        auth: true,
        sink: Arc::new(printer.clone()),
        records: Arc::new(Quiet),
        measured: Measured::default(),
        faults,
        listen: false,
        is_lazy: false,
        isolation: None,
        environment: Vec::new(),
        debugger: None,
        moved: None,
    };
    let parents = Parents { means, ..Parents::default() };
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let mut server = Server::listen(address, parents, tasks.clone()).await?;
    let entrance = Entrance::new(&plan);
    let app = App::open(plan, entrance.clone(), &server.shared)?;
    let started = app.start(prepared).await?;
    app.serve_admin()?;
    server.apps().add(Arc::new(app));
    server.serve(Hosts::Any(entrance.service));
    let answer = match Client::connect(&state, tasks).await {
        _ if started.app.functions.is_empty() => Err(nothing_runs(&started.app.problems)),
        Some(client) => call(client, query, body).await,
        None => Err(CommandError::new(MACHINE, "E0702", "the server that was just started can't be reached")),
    };
    server.stop().await;
    if let Some(store) = store {
        store.close().await;
    }
    answer
}

/// Why an app without any function that can run has none.
fn nothing_runs(problems: &[Problem]) -> CommandError {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let errors: Vec<String> = errors.map(ToString::to_string).collect();
    CommandError::new(APP, "E0206", format!("no function can run:\n{}", errors.join("\n")))
}

fn query(arguments: &InvokeArguments, function: &str) -> Result<Vec<(String, String)>, CommandError> {
    let mut query = vec![("function".to_owned(), function.to_owned())];
    query.extend(arguments.method.iter().map(|method| ("method".to_owned(), method.clone())));
    for parameter in &arguments.parameter {
        let Some((name, value)) = parameter.split_once('=') else {
            let message = format!("'{parameter}' is no NAME=VALUE");
            return Err(CommandError::new(USAGE, "E0703", message));
        };
        query.push((format!("p.{name}"), value.to_owned()));
    }
    Ok(query)
}

async fn call(client: Client, query: &[(String, String)], body: Bytes) -> Result<Value, CommandError> {
    let query: Vec<(&str, &str)> =
        query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    client.request(Method::POST, "/v1/invoke", &query, body).await
}

fn show(answer: &Value, style: Style) -> u8 {
    let good = answer["outcome"] == "success";
    let code = if good { 0 } else { APP };
    if style.json {
        write_out(&format!("{answer}\n"));
        return code;
    }
    write_out(&harmless(&text(answer)));
    code
}

/// What came of a call, for people.
pub(crate) fn text(answer: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut shown = String::new();
    if let Some(outputs) = answer["outputs"].as_object() {
        for (name, value) in outputs {
            match value.get("status") {
                Some(status) => shown.push_str(&format!("{status}\n{}\n", text(&value["body"]))),
                None if name == "$return" => shown.push_str(&format!("{}\n", text(value))),
                None => shown.push_str(&format!("{name}: {}\n", text(value))),
            }
        }
    }
    for effect in answer["effects"].as_array().into_iter().flatten() {
        shown.push_str(&format!("→ {}\n", text(effect)));
    }
    if let Some(failure) = answer.get("failure") {
        let traceback = text(&failure["traceback"]);
        shown.push_str(&format!("{}: {}\n{}", text(&failure["kind"]), text(&failure["message"]), traceback));
        let hint = failure["hint"].as_str().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        shown.push_str(&format!("{hint}\n{} · {}\n", text(&failure["code"]), text(&answer["id"])));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failure_is_shown_with_what_to_do() {
        let failure = |hint: Value| json!({"kind": "OSError", "message": "no", "traceback": "", "code": "E0301", "hint": hint});
        let shown = |hint| text(&json!({"id": "inv_1", "failure": failure(hint)}));
        assert_eq!(shown(json!("write into /tmp")), "OSError: no\n\nhint: write into /tmp\nE0301 · inv_1\n");
        assert_eq!(shown(Value::Null), "OSError: no\n\nE0301 · inv_1\n");
    }
}
