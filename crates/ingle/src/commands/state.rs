//! `ingle state` and `ingle send`: the embedded store, through the running server or, without one, directly.

use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use ingle_apps::ReadOptions;
use ingle_connectors::queue::check_name;
use ingle_control::absolute;
use ingle_gateway::state;
use ingle_store::Store;
use ingle_tasks::Tasks;
use ingle_types::clock::{SystemClock, from_unix_ms, iso_text};
use ingle_types::faults::Faults;
use serde_json::Value;

use crate::app::open_store;
use crate::cli::{Place, SendCommand, StateCommand};
use crate::client::Client;
use crate::commands::topic;
use crate::exit::{CommandError, USAGE};
use crate::printer::{Style, harmless, write_out};
use crate::project;
use crate::surroundings::Surroundings;

/// Whoever holds the store.
pub(super) enum Holder {
    Server(Client),
    Us(Store),
}

pub(super) async fn holder(place: &Place) -> Result<Holder, CommandError> {
    let state = Surroundings::state(&absolute(&place.folder), place.state.as_ref());
    if let Some(client) = Client::connect(&state, &Tasks::new()).await {
        return Ok(Holder::Server(client));
    }
    if !place.folder.is_dir() {
        let message = format!("there is no folder '{}'", place.folder.display());
        return Err(CommandError::new(USAGE, "E0101", message).hint("name the app's folder with --app"));
    }
    if !state.exists() {
        // A store is made only for an app: a slip in the folder's name must not leave one behind.
        ingle_apps::read(&place.folder, &ReadOptions::default()).map_err(ingle_control::Error::from)?;
    }
    if let Some(of_project) = project::state_above(&state) {
        let message = format!(
            "'{}' is the folder of one function, and its project's store is in '{}'",
            state.display(),
            of_project.display()
        );
        return Err(CommandError::new(USAGE, "E0125", message)
            .hint("leave --state out, or name the project's folder"));
    }
    Ok(Holder::Us(open_store(&state, Arc::new(SystemClock), Faults::none())?))
}

pub(crate) async fn run(command: StateCommand, style: Style) -> Result<u8, CommandError> {
    let shown = match command {
        StateCommand::Ls { all, at } => match holder(&at).await? {
            Holder::Server(client) => {
                let query: &[(&str, &str)] = if all { &[("all", "true")] } else { &[] };
                client.request(Method::GET, "/v1/state", query, Bytes::new()).await?
            }
            Holder::Us(store) => closing(&store, state::list(&store, all)).await?,
        },
        StateCommand::Peek { name, count, at } => match holder(&at).await? {
            Holder::Server(client) => {
                let query = [("name", name.as_str()), ("count", &count.to_string())];
                client.request(Method::GET, "/v1/state/entries", &query, Bytes::new()).await?
            }
            Holder::Us(store) => closing(&store, state::peek(&store, &name, count)).await?,
        },
        StateCommand::Reset { name, yes, at } => {
            if !yes && !confirmed(name.as_deref())? {
                return Ok(0);
            }
            match holder(&at).await? {
                Holder::Server(client) => {
                    let query: Vec<(&str, &str)> = name.iter().map(|name| ("name", name.as_str())).collect();
                    client.request(Method::POST, "/v1/state/reset", &query, Bytes::new()).await?
                }
                Holder::Us(store) => closing(&store, state::reset(&store, name.as_deref())).await?,
            }
        }
    };
    show(&shown, style);
    Ok(0)
}

pub(crate) async fn send(command: SendCommand, style: Style) -> Result<u8, CommandError> {
    let (name, message, delay, at) = match command {
        SendCommand::Queue { name, message, delay, at } => (name, message, delay, at),
        SendCommand::Topic(arguments) => return topic::send(arguments, style).await,
    };
    check_name(&name)
        .map_err(|problem| CommandError::new(USAGE, "E0228", format!("queue '{name}': {problem}")))?;
    let body = payload(&message)?;
    let shown = match holder(&at).await? {
        Holder::Server(client) => {
            let query = [("name", name.as_str()), ("delay", &delay.to_string())];
            client.request(Method::POST, "/v1/queues/messages", &query, body).await?
        }
        Holder::Us(store) => {
            closing(&store, state::send(&store, &name, body, Duration::from_secs(delay))).await?
        }
    };
    show(&shown, style);
    Ok(0)
}

pub(super) async fn closing(
    store: &Store,
    work: impl Future<Output = Result<Value, ingle_store::Error>>,
) -> Result<Value, CommandError> {
    let done = work.await;
    store.close().await;
    Ok(done?)
}

/// What an argument stands for: itself, `@file`, or `@-` for standard input.
pub(crate) fn payload(argument: &str) -> Result<Bytes, CommandError> {
    let cannot = |what: &str, error: std::io::Error| {
        CommandError::new(USAGE, "E0106", format!("can't read {what}: {error}"))
    };
    match argument.strip_prefix('@') {
        Some("-") => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .map_err(|error| cannot("standard input", error))?;
            Ok(Bytes::from(bytes))
        }
        Some(file) => std::fs::read(Path::new(file))
            .map(Bytes::from)
            .map_err(|error| cannot(&format!("'{file}'"), error)),
        None => Ok(Bytes::copy_from_slice(argument.as_bytes())),
    }
}

/// Asks on the terminal; without one, deleting needs `--yes`.
fn confirmed(name: Option<&str>) -> Result<bool, CommandError> {
    let what = name.map_or("everything".to_owned(), |name| format!("'{name}'"));
    if !std::io::stdin().is_terminal() {
        let message = format!("deleting {what} needs --yes when there is no terminal to ask on");
        return Err(CommandError::new(USAGE, "E0703", message));
    }
    write_out(&format!("Delete {what}? [y/N] "));
    std::io::stdout().flush().ok();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).ok();
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

pub(super) fn show(shown: &Value, style: Style) {
    let text = if style.json { shown.to_string() } else { harmless(&plain(shown)) };
    write_out(&format!("{}\n", text.trim_end()));
}

/// A few lines for people.
fn plain(shown: &Value) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let Some(messages) = shown.get("messages").and_then(Value::as_array) {
        if messages.is_empty() {
            return format!("queue {} is empty", text(&shown["queue"]));
        }
        let line = |message: &Value| {
            let body =
                message.get("text").map_or_else(|| format!("{} bytes", message["bytes"]["size"]), text);
            let poison = message
                .get("poison")
                .map(|poison| format!("  ({})", text(&poison["reason"])))
                .unwrap_or_default();
            format!(
                "{}  {:8} tries {}  {body}{poison}\n",
                text(&message["id"]),
                text(&message["state"]),
                message["dequeueCount"]
            )
        };
        return messages.iter().map(line).collect();
    }
    if let Some(topic) = shown.get("topic") {
        let hear = if shown["events"] == 1 { "subscriber hears" } else { "subscribers hear" };
        return format!("published to topic {}: {} {hear} of it", text(topic), shown["events"]);
    }
    if let Some(file) = shown.get("file") {
        return format!("wrote {} bytes to {}", shown["bytes"], text(file));
    }
    if let Some(blob) = shown.get("blob") {
        return format!("put {} bytes into blob {}", shown["bytes"], text(blob));
    }
    if let Some(blobs) = shown.get("blobs").and_then(Value::as_array) {
        let lines = blob_lines(blobs);
        return if lines.is_empty() { format!("no blobs in {}", text(&shown["container"])) } else { lines };
    }
    if let Some(documents) = shown.get("documents").and_then(Value::as_array) {
        if documents.is_empty() {
            return format!("container {} is empty", text(&shown["container"]));
        }
        return documents.iter().map(|document| format!("{document}\n")).collect();
    }
    if let Some(entities) = shown.get("entities").and_then(Value::as_array) {
        if entities.is_empty() {
            return format!("table {} is empty", text(&shown["table"]));
        }
        return entities.iter().map(|entity| format!("{entity}\n")).collect();
    }
    if shown.get("queues").is_some() {
        let lines = listing(&list(&shown["queues"]), &list(&shown["containers"]), &list(&shown["tables"]));
        let lines = lines + &blob_containers(&list(&shown["blobContainers"]));
        return if lines.is_empty() { "nothing is stored".to_owned() } else { lines };
    }
    if let Some(containers) = shown.get("blobContainers") {
        let lines = blob_containers(&list(containers));
        return if lines.is_empty() { "there are no blobs".to_owned() } else { lines };
    }
    if let Some(queue) = shown.get("queue") {
        return format!("put {} bytes into queue {}", shown["bytes"], text(queue));
    }
    let (messages, documents, entities) = (&shown["messages"], &shown["documents"], &shown["entities"]);
    format!(
        "deleted {messages} messages, {documents} documents, {entities} entities and {} blobs",
        shown["blobs"]
    )
}

fn listing(queues: &[Value], containers: &[Value], tables: &[Value]) -> String {
    let mut lines = String::new();
    for queue in queues {
        let name = queue["name"].as_str().unwrap_or_default();
        lines.push_str(&format!(
            "queue      {name}  {} ready, {} in work, {} delayed\n",
            queue["ready"], queue["leased"], queue["delayed"]
        ));
    }
    for container in containers {
        let name = container["name"].as_str().unwrap_or_default();
        lines.push_str(&format!("documents  {name}  {}\n", container["documents"]));
    }
    for table in tables {
        let name = table["name"].as_str().unwrap_or_default();
        lines.push_str(&format!("table      {name}  {}\n", table["entities"]));
    }
    lines
}

fn blob_containers(containers: &[Value]) -> String {
    let line = |container: &Value| {
        let name = container["name"].as_str().unwrap_or_default();
        format!("blobs      {name}  {} with {} bytes\n", container["blobs"], container["bytes"])
    };
    containers.iter().map(line).collect()
}

fn blob_lines(blobs: &[Value]) -> String {
    let line = |blob: &Value| {
        let updated = blob["updatedAt"].as_i64().map(from_unix_ms).map(iso_text).unwrap_or_default();
        format!("{updated}  {:>12}  {}\n", blob["size"], blob["name"].as_str().unwrap_or_default())
    };
    blobs.iter().map(line).collect()
}
