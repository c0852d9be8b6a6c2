//! The start screen: what was detected and why, what runs where, what is wrong. At most 15 lines when all is well.

use ingle_types::problem::Severity;
use ingle_types::spec::{Dialect, FunctionSpec, TriggerSpec};
use serde_json::{Value, json};

use crate::printer::{Color, Style, harmless};
use crate::server::{Server, Summary};

/// Functions listed before the rest is only counted; keeps the screen within its 15 lines.
const FUNCTIONS_SHOWN: usize = 8;

pub(crate) fn text(server: &Server, took_ms: u128, style: Style) -> String {
    let summary = &server.running;
    let mut lines = vec![head(summary, style), python(summary), String::new()];
    let base = format!("http://{}", server.address);
    let shown: Vec<&FunctionSpec> = summary.app.functions.iter().take(FUNCTIONS_SHOWN).collect();
    let width = shown.iter().map(|function| function.name.as_str().len()).max().unwrap_or(0);
    for function in &shown {
        let name = format!("{:width$}", function.name.as_str());
        let (kind, target) = trigger(function, &base, &summary.app.host.http.route_prefix);
        let outputs = outputs(function);
        let off = if function.disabled { " (disabled)" } else { "" };
        lines.push(format!("  {}  {kind:<7} {target}{outputs}{off}", style.paint(Color::Bold, &name)));
    }
    let rest = summary.app.functions.len() - shown.len();
    if rest > 0 {
        lines.push(format!("  … and {rest} more"));
    }
    lines.extend(summary.prepared.folder.notes.iter().map(|note| format!("note: {note}")));
    lines.push(String::new());
    lines.extend(problems(summary, style));
    lines.push(format!("{} in {took_ms} ms · Ctrl-C stops", style.paint(Color::Green, "ready")));
    lines.join("\n")
}

fn head(summary: &Summary, style: Style) -> String {
    let model = match summary.app.dialect {
        Dialect::AzureV1 => "Azure Functions v1",
        Dialect::AzureV2 => "Azure Functions v2",
    };
    let name = style.paint(Color::Bold, &summary.app.name);
    format!("ingle {} · {name} · {model}: {}", env!("CARGO_PKG_VERSION"), summary.prepared.folder.why)
}

fn python(summary: &Summary) -> String {
    let (major, minor, patch) = summary.prepared.interpreter.version;
    let sdk = summary.sdk.as_ref().map(|version| format!(" · azure-functions {version}")).unwrap_or_default();
    let processes = match summary.process_count {
        1 => String::new(),
        count => format!(" · {count} worker processes"),
    };
    let slow = match summary.slowest.first() {
        Some((module, ms)) if *ms > 300.0 => format!(" (slowest: {module} {ms:.0} ms)"),
        _ => String::new(),
    };
    format!(
        "Python {major}.{minor}.{patch}: {} · environment: {}{sdk} · imported in {:.0} ms{slow}{processes}",
        summary.prepared.interpreter.why, summary.prepared.environment.why, summary.import_ms
    )
}

fn trigger(function: &FunctionSpec, base: &str, prefix: &str) -> (String, String) {
    match &function.trigger {
        TriggerSpec::Http(trigger) => {
            let methods =
                if trigger.methods.is_empty() { "ANY".to_owned() } else { trigger.methods.join(",") };
            let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
            (methods, format!("{base}{prefix}/{}", trigger.route.trim_start_matches('/')))
        }
        other => (other.kind().to_owned(), other.source()),
    }
}

fn outputs(function: &FunctionSpec) -> String {
    let targets: Vec<String> =
        function.bindings.iter().filter_map(|binding| binding.kind.output_target()).collect();
    if targets.is_empty() { String::new() } else { format!(" → {}", targets.join(", ")) }
}

fn problems(summary: &Summary, style: Style) -> Vec<String> {
    let mut found = summary.app.problems.clone();
    found.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    found
        .iter()
        .map(|problem| {
            let color = if problem.severity == Severity::Error { Color::Red } else { Color::Yellow };
            let text = harmless(&problem.to_string());
            let (first, rest) =
                text.split_once('\n').map_or((text.as_str(), None), |(first, rest)| (first, Some(rest)));
            let first = style.paint(color, first);
            rest.map_or_else(|| first.clone(), |rest| format!("{first}\n{rest}"))
        })
        .collect()
}

/// `{"event":"ready", …}`; docs/cli.md has the shape.
pub(crate) fn json(server: &Server, took_ms: u128) -> Value {
    let summary = &server.running;
    let base = format!("http://{}", server.address);
    let (major, minor, patch) = summary.prepared.interpreter.version;
    let functions: Vec<Value> = summary
        .app
        .functions
        .iter()
        .map(|function| {
            let (_, target) = trigger(function, &base, &summary.app.host.http.route_prefix);
            let methods = match &function.trigger {
                TriggerSpec::Http(trigger) => json!(trigger.methods),
                _ => Value::Null,
            };
            json!({"name": function.name.as_str(), "trigger": function.trigger.kind(), "methods": methods, "target": target,
                "location": function.location, "async": function.is_async, "disabled": function.disabled})
        })
        .collect();
    json!({"event": "ready", "address": base, "app": summary.app.name, "why": summary.prepared.folder.why,
        "python": {"version": format!("{major}.{minor}.{patch}"), "why": summary.prepared.interpreter.why,
            "path": summary.prepared.environment.python},
        "sdk": summary.sdk, "importMs": summary.import_ms, "tookMs": u64::try_from(took_ms).unwrap_or(u64::MAX),
        "functions": functions, "problems": summary.app.problems, "notes": summary.prepared.folder.notes})
}
