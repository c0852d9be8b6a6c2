//! `ingle event generate`: an event as one of the sources sends it, for `ingle invoke` or a test.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Method, Request, Uri};
use ingle_connectors::timer::scheduled_event;
use ingle_connectors::{buckets, queue, topics};
use ingle_gateway::samples::{Entry, event};
use ingle_types::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::cli::{EventCommand, EventSource, GenerateArguments};
use crate::commands::state::payload;
use crate::exit::{CommandError, USAGE};
use crate::printer::{Style, write_out};
use crate::surroundings::Surroundings;

const REGION: &str = "us-east-1";

pub(crate) fn run(
    command: EventCommand,
    surroundings: &Surroundings,
    style: Style,
) -> Result<u8, CommandError> {
    let EventCommand::Generate(arguments) = command;
    let now = SystemClock.now();
    let region = surroundings.get("AWS_REGION").filter(|region| !region.is_empty()).unwrap_or(REGION);
    let name = arguments.name.as_deref().unwrap_or("sample");
    let text = match arguments.source {
        EventSource::Schedule => scheduled_event(name, region, now),
        EventSource::S3 => {
            let size = u64::try_from(payload(&arguments.data)?.len()).unwrap_or(u64::MAX);
            let key = arguments.path.trim_start_matches('/');
            buckets::sample(name, if key.is_empty() { "sample.txt" } else { key }, size, region, now)
        }
        EventSource::Sqs => queue::sample(name, payload(&arguments.data)?, region, now).ok_or_else(|| {
            CommandError::new(USAGE, "E0703", "--data: a message of SQS is text".to_owned())
        })?,
        EventSource::Sns => {
            let message = String::from_utf8_lossy(&payload(&arguments.data)?).into_owned();
            topics::sample(name, message, region, now)
        }
        EventSource::Url => request(Entry::Url, &arguments, now)?,
        EventSource::RestApi => request(Entry::RestApi, &arguments, now)?,
        EventSource::HttpApi => request(Entry::HttpApi, &arguments, now)?,
        EventSource::HttpApiV1 => request(Entry::HttpApiV1, &arguments, now)?,
        EventSource::Alb => request(Entry::Alb { multi_value: false }, &arguments, now)?,
        EventSource::AlbMultiValue => request(Entry::Alb { multi_value: true }, &arguments, now)?,
    };
    // For people with indentation, for programs in one line.
    let shown = match serde_json::from_str::<Value>(&text) {
        Ok(value) if !style.json => format!("{value:#}"),
        _ => text,
    };
    write_out(&format!("{shown}\n"));
    Ok(0)
}

fn request(entry: Entry, arguments: &GenerateArguments, now: SystemTime) -> Result<String, CommandError> {
    let wrong = |message: String| CommandError::new(USAGE, "E0703", message);
    let body = payload(&arguments.data)?;
    let usual = if body.is_empty() { Method::GET } else { Method::POST };
    let method = match &arguments.method {
        Some(text) => Method::from_bytes(text.as_bytes())
            .map_err(|error| wrong(format!("--method {text:?}: {error}")))?,
        None => usual,
    };
    let uri: Uri =
        arguments.path.parse().map_err(|error| wrong(format!("--path {:?}: {error}", arguments.path)))?;
    let path = uri.path().to_owned();
    let route = arguments.route.as_deref().unwrap_or(&path);
    let mut request = Request::builder().method(method).uri(uri).header("host", "localhost:7071");
    request = request.header("user-agent", concat!("ingle/", env!("CARGO_PKG_VERSION")));
    if serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok() {
        request = request.header("content-type", "application/json");
    }
    for header in &arguments.header {
        let Some((name, value)) = header.split_once(':') else {
            return Err(wrong(format!("--header {header:?} is no `Name: value`")));
        };
        request = request.header(name.trim(), value.trim());
    }
    let request: Request<Bytes> = request.body(body).map_err(|error| wrong(error.to_string()))?;
    event(entry, route, request, now)
        .ok_or_else(|| wrong(format!("the path {path} does not fit the route {route}")))
}
