//! `ingle traces`: what an app has traced with the SDK of AWS X-Ray.

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::cli::Place;
use crate::client::Client;
use crate::exit::{APP, CommandError};
use crate::printer::{Style, aligned, harmless, write_out};

#[derive(Args, Debug)]
pub(crate) struct TracesArguments {
    /// A trace, e.g. 1-5bef4de7-ad49b0e87f6ef6c87fc2e700; without it the newest are listed
    id: Option<String>,
    #[command(flatten)]
    at: Place,
}

const LISTED_MAX: usize = 50;
/// Deeper than segments of people are.
const DEPTH_MAX: usize = 32;

pub(crate) async fn run(arguments: &TracesArguments, style: Style) -> Result<u8, CommandError> {
    let client = Client::of(&arguments.at).await?;
    let query: Vec<(&str, &str)> = arguments.id.iter().map(|id| ("trace", id.as_str())).collect();
    let shown = client.request(Method::GET, "/v1/spans", &query, Bytes::new()).await?;
    let spans = shown["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let (Some(id), true) = (&arguments.id, spans.is_empty()) {
        let error = CommandError::new(APP, "E0702", format!("the server knows of no trace {id}"));
        return Err(error.hint("`ingle traces` lists those that it keeps: the newest, since it runs"));
    }
    let text = match (&arguments.id, style.json) {
        (Some(_), true) => format!("{shown}\n"),
        (None, true) => format!(
            "{}\n",
            json!({"traces": traces(spans), "forgotten": shown["forgotten"],
            "malformed": shown["malformed"], "complaint": shown["complaint"]})
        ),
        (Some(_), false) => harmless(&tree(spans)),
        (None, false) => harmless(&list(spans, &shown)),
    };
    write_out(&text);
    Ok(0)
}

fn seconds(span: &Value, member: &str) -> Option<f64> {
    span[member].as_f64()
}

fn begin(span: &Value) -> f64 {
    seconds(span, "start_time").unwrap_or_default()
}

fn is_wrong(span: &Value) -> bool {
    ["error", "fault", "throttle"].iter().any(|mark| span[*mark] == true)
}

/// The newest first: `{"id","name","start","durationMs","spans","faults"}`; `name` is that of the first span.
fn traces(spans: &[Value]) -> Vec<Value> {
    let mut ids: Vec<&str> = Vec::new();
    for id in spans.iter().filter_map(|span| span["trace_id"].as_str()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let mut found: Vec<Value> = ids.into_iter().rev().take(LISTED_MAX).map(|id| trace(id, spans)).collect();
    found.sort_by(|one, other| begin_of(other).total_cmp(&begin_of(one)));
    found
}

fn begin_of(trace: &Value) -> f64 {
    trace["start"].as_f64().unwrap_or_default()
}

fn trace(id: &str, spans: &[Value]) -> Value {
    let of_it: Vec<&Value> = spans.iter().filter(|span| span["trace_id"] == id).collect();
    let first = of_it.iter().min_by(|one, other| begin(one).total_cmp(&begin(other)));
    let start = first.map_or(0.0, |span| begin(span));
    let end = of_it.iter().filter_map(|span| seconds(span, "end_time")).fold(start, f64::max);
    json!({"id": id, "name": first.map_or(&Value::Null, |span| &span["name"]), "start": start,
        "durationMs": (end - start) * 1000.0, "spans": of_it.len(),
        "faults": of_it.iter().filter(|span| is_wrong(span)).count()})
}

fn list(spans: &[Value], shown: &Value) -> String {
    let header = ["trace", "first", "duration", "spans", "faults"].map(str::to_owned);
    let mut rows = vec![header];
    rows.extend(traces(spans).iter().map(|trace| {
        let text = |member: &str| trace[member].as_str().unwrap_or("-").to_owned();
        let duration = duration(trace["durationMs"].as_f64());
        [text("id"), text("name"), duration, trace["spans"].to_string(), trace["faults"].to_string()]
    }));
    let mut told = if rows.len() == 1 {
        "the app has traced nothing since the server runs\n".to_owned()
    } else {
        aligned(&rows)
    };
    if let Some(count @ 1..) = shown["forgotten"].as_u64() {
        told.push_str(&format!("{count} older spans are forgotten\n"));
    }
    if let Some(count @ 1..) = shown["malformed"].as_u64() {
        let why = shown["complaint"].as_str().unwrap_or_default();
        told.push_str(&format!("{count} datagrams are no segments, the last because: {why}\n"));
    }
    told
}

fn duration(milliseconds: Option<f64>) -> String {
    milliseconds.map_or_else(|| "in work".to_owned(), |milliseconds| format!("{milliseconds:.1} ms"))
}

/// The spans of a trace below those that they are part of, in the order in which they began.
fn tree(spans: &[Value]) -> String {
    let is_known = |id: &Value| id.is_string() && spans.iter().any(|span| span["id"] == *id);
    let mut roots: Vec<&Value> = spans.iter().filter(|span| !is_known(&span["parent_id"])).collect();
    roots.sort_by(|one, other| begin(one).total_cmp(&begin(other)));
    let mut rows = Vec::new();
    let start = roots.first().map_or(0.0, |span| begin(span));
    for root in roots {
        branch(root, spans, (start, 0), &mut rows);
    }
    aligned(&rows)
}

/// A span and what is part of it: in its document, or sent by itself.
fn branch(span: &Value, spans: &[Value], (start, depth): (f64, usize), rows: &mut Vec<[String; 4]>) {
    let took = seconds(span, "end_time").map(|end| (end - begin(span)) * 1000.0);
    rows.push([
        format!("{}{}", "  ".repeat(depth), span["name"].as_str().unwrap_or("-")),
        format!("+{:.1} ms", (begin(span) - start) * 1000.0),
        duration(took),
        if is_wrong(span) { complaint(span) } else { String::new() },
    ]);
    if depth == DEPTH_MAX {
        return;
    }
    let within = span["subsegments"].as_array().into_iter().flatten();
    let sent =
        spans.iter().filter(|other| other["parent_id"].is_string() && other["parent_id"] == span["id"]);
    let mut parts: Vec<&Value> = within.chain(sent).collect();
    parts.sort_by(|one, other| begin(one).total_cmp(&begin(other)));
    for part in parts {
        branch(part, spans, (start, depth + 1), rows);
    }
}

fn complaint(span: &Value) -> String {
    let exception = &span["cause"]["exceptions"][0];
    match (exception["type"].as_str(), exception["message"].as_str()) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(id: &str, parent: Option<&str>, name: &str, (start, end): (f64, f64)) -> Value {
        json!({"trace_id": "1-a-b", "id": id, "parent_id": parent, "name": name, "start_time": start, "end_time": end})
    }

    fn spans() -> Vec<Value> {
        let mut query = span("3", Some("2"), "query", (10.001, 10.003));
        query["fault"] = json!(true);
        query["cause"] = json!({"exceptions": [{"type": "OSError", "message": "gone"}]});
        query["subsegments"] =
            json!([{"id": "9", "name": "connect", "start_time": 10.002, "end_time": 10.0025}]);
        vec![
            query,
            span("2", Some("1"), "## handler", (10.0005, 10.004)),
            span("1", None, "orders", (10.0, 10.005)),
        ]
    }

    #[test]
    fn parts_stand_below_what_they_are_part_of() {
        let text = tree(&spans());
        let names: Vec<&str> =
            text.lines().map(|line| line.split("  +").next().unwrap().trim_end()).collect();
        assert_eq!(names, ["orders", "  ## handler", "    query", "      connect"], "{text}");
        assert!(text.lines().nth(2).unwrap().ends_with("OSError: gone"), "{text}");
        assert!(text.starts_with("orders"), "{text}");
        assert!(text.lines().next().unwrap().trim_end().ends_with("5.0 ms"), "{text}");
    }

    #[test]
    fn the_newest_trace_is_first() {
        let mut all = spans();
        all.push(json!({"trace_id": "1-c-d", "id": "5", "name": "later", "start_time": 20.0}));
        let found = traces(&all);
        assert_eq!(
            found[0],
            json!({"id": "1-c-d", "name": "later", "start": 20.0, "durationMs": 0.0, "spans": 1, "faults": 0})
        );
        assert_eq!(
            (&found[1]["name"], &found[1]["spans"], &found[1]["faults"]),
            (&json!("orders"), &json!(3), &json!(1))
        );
        let told = list(&[], &json!({"forgotten": 2, "malformed": 1, "complaint": "no"}));
        assert_eq!(told.lines().count(), 3, "{told}");
    }

    #[test]
    fn segments_that_are_each_other_s_parts_come_to_an_end() {
        let one = span("1", Some("1"), "itself", (1.0, 2.0));
        let root = span("0", None, "root", (0.0, 1.0));
        assert_eq!(tree(std::slice::from_ref(&one)), "");
        let mut first = one;
        first["parent_id"] = json!("0");
        first["subsegments"] = json!([{"id": "0", "name": "round", "start_time": 1.0}]);
        assert!(tree(&[root, first]).lines().count() <= 2 * DEPTH_MAX + 2);
    }
}
