//! The start screen: what was detected and why, what runs where, what is wrong. At most 15 lines when all is well.

use std::time::SystemTime;

use ingle_control::{Confined, Event, Generation};
use ingle_types::clock::iso_text;
use ingle_types::log_levels::{LogLevels, Threshold};
use ingle_types::problem::{Problem, Severity};
use ingle_types::spec::{AppSpec, AuthLevel, Dialect, FunctionSpec, Isolation, TriggerSpec};
use serde_json::{Value, json};

use crate::app::App;
use crate::keys::Keys;
use crate::printer::{Color, Style, harmless};

/// Functions listed before the rest is only counted; keeps the screen within its 15 lines.
const FUNCTIONS_SHOWN: usize = 8;

pub(crate) fn text(app: &App, summary: &Generation, took_ms: u128, style: Style) -> String {
    let mut lines =
        vec![head(summary, style), python(summary), confined(&summary.confined, style), String::new()];
    let base = format!("http://{}", app.address());
    let shown: Vec<&FunctionSpec> = summary.app.functions.iter().take(FUNCTIONS_SHOWN).collect();
    let width = shown.iter().map(|function| function.name.as_str().len()).max().unwrap_or(0);
    for function in &shown {
        let name = format!("{:width$}", function.name.as_str());
        let (kind, target) = trigger(function, &base, &summary.app.host.http.route_prefix);
        let next = next_run(function, app.now());
        let outputs = outputs(function);
        let off = if function.disabled { " (disabled)" } else { "" };
        let level = level(function, app.guard.asks());
        lines.push(format!(
            "  {}  {kind:<7} {target}{next}{outputs}{level}{off}",
            style.paint(Color::Bold, &name)
        ));
    }
    let rest = summary.app.functions.len() - shown.len();
    if rest > 0 {
        lines.push(format!("  … and {rest} more"));
    }
    lines.extend(summary.prepared.folder.notes.iter().map(|note| format!("note: {note}")));
    if app.moved.is_some() {
        let now = iso_text(app.now());
        lines.push(format!("note: for tests: the clock stands still at {now} until it is moved (--clock)"));
    }
    lines.push(String::new());
    lines.extend(problems(&summary.app.problems, style));
    lines.push(if summary.app.functions.is_empty() {
        style.paint(Color::Red, "nothing to serve: the app has no function that can run")
    } else {
        format!(
            "{} in {took_ms} ms · {} · Ctrl-C stops{}",
            style.paint(Color::Green, "ready"),
            auth(app),
            if Keys::are_read(style) { ", h shows the keys" } else { "" }
        )
    });
    lines.join("\n")
}

/// Whether callers need keys, and how to get one.
fn auth(app: &App) -> String {
    let has_keys = || app.guard.file().read().ok().flatten().is_some_and(|ring| !ring.is_empty());
    match (app.guard.asks(), app.address().ip().is_loopback()) {
        (true, _) if has_keys() => "keys are asked for".to_owned(),
        (true, _) => "keys are asked for, but there are none: `ingle keys create`".to_owned(),
        (false, true) => "open to this machine, without keys (--auth)".to_owned(),
        (false, false) => "open to everybody who reaches it, without keys (--auth asks for them)".to_owned(),
    }
}

fn head(summary: &Generation, style: Style) -> String {
    let model = match summary.app.dialect {
        Dialect::AzureV1 => "Azure Functions v1",
        Dialect::AzureV2 => "Azure Functions v2",
        Dialect::Lambda => "AWS Lambda",
        Dialect::Web => "web app",
    };
    let name = style.paint(Color::Bold, &summary.app.name);
    format!("ingle {} · {name} · {model}: {}", env!("CARGO_PKG_VERSION"), summary.prepared.folder.why)
}

fn python(summary: &Generation) -> String {
    let (major, minor, patch) = summary.prepared.interpreter.version;
    let sdk = summary
        .loaded
        .sdk
        .as_ref()
        .map(|version| format!(" · azure-functions {version}"))
        .unwrap_or_default();
    let processes = match summary.process_count {
        1 => String::new(),
        count => format!(" · {count} worker processes"),
    };
    let slow = match summary.loaded.modules_max.first() {
        Some((module, ms)) if *ms > 300.0 => format!(" (slowest: {module} {ms:.0} ms)"),
        _ => String::new(),
    };
    let imported = match summary.loaded.import_ms {
        known if known > 0.0 => format!("imported in {known:.0} ms"),
        _ => "known from an earlier start, and imported when there is work".to_owned(),
    };
    format!(
        "Python {major}.{minor}.{patch}: {} · environment: {}{sdk} · {imported}{slow}{processes}",
        summary.prepared.interpreter.why, summary.prepared.environment.why
    )
}

/// How functions are kept from what is not theirs; loud when they are not.
fn confined(confined: &Confined, style: Style) -> String {
    if confined.isolation == Isolation::Off {
        let text = "not boxed: functions have every right of this server (isolation = \"off\")";
        return style.paint(Color::Red, text);
    }
    let class = confined.isolation.name();
    if confined.missing.is_empty() {
        return format!("boxed ({class}): with every protection");
    }
    let names: Vec<&str> = confined.missing.iter().map(|(protection, _)| protection.name()).collect();
    let text = format!("boxed ({class}) without {}", names.join(", "));
    format!("{}: ingle doctor --security says why", style.paint(Color::Yellow, &text))
}

fn confined_json(confined: &Confined) -> Value {
    let missing: Vec<Value> = confined
        .missing
        .iter()
        .map(|(protection, reason)| json!({"protection": protection.name(), "reason": reason}))
        .collect();
    json!({"class": confined.isolation.name(), "missing": missing})
}

fn trigger(function: &FunctionSpec, base: &str, prefix: &str) -> (String, String) {
    match &function.trigger {
        TriggerSpec::Http(trigger) => {
            let methods =
                if trigger.methods.is_empty() { "ANY".to_owned() } else { trigger.methods.join(",") };
            let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
            (methods, format!("{base}{prefix}/{}", trigger.route.trim_start_matches('/')))
        }
        TriggerSpec::Handler(_) => ("URL".to_owned(), format!("{base}/")),
        TriggerSpec::EventGrid => {
            let door = format!("{base}/runtime/webhooks/eventgrid?functionName={}", function.name);
            (function.trigger.kind().to_owned(), door)
        }
        other => (other.kind().to_owned(), other.source()),
    }
}

/// ` · next 14:05:00 UTC` for a timer; with the date if that is not today.
fn next_run(function: &FunctionSpec, now: SystemTime) -> String {
    let timer = match &function.trigger {
        TriggerSpec::Timer(timer) => timer,
        TriggerSpec::Handler(handler) => {
            let Some(first) = handler.schedules.first() else { return String::new() };
            &first.timer
        }
        _ => return String::new(),
    };
    let Some(next) = timer.next_after(now) else { return " · never again".to_owned() };
    let (now, next) = (timer.zone.iso_text(now), timer.zone.iso_text(next));
    let part = |text: &str, from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
    let day = if part(&now, 0, 10) == part(&next, 0, 10) { String::new() } else { part(&next, 0, 10) + " " };
    format!(" · next {day}{} {}", part(&next, 11, 19), timer.zone)
}

/// When a timer runs next, with the offset of its zone; null for every other function.
fn next_json(function: &FunctionSpec, now: SystemTime) -> Value {
    match &function.trigger {
        TriggerSpec::Timer(timer) => {
            timer.next_after(now).map_or(Value::Null, |next| json!(timer.zone.iso_text(next)))
        }
        _ => Value::Null,
    }
}

/// What callers have to show, where keys are asked for.
fn level(function: &FunctionSpec, is_asked: bool) -> &'static str {
    match &function.trigger {
        TriggerSpec::Http(trigger) if is_asked => match trigger.auth_level {
            AuthLevel::Anonymous => " (open)",
            AuthLevel::Function => " (key)",
            AuthLevel::Admin => " (master key)",
        },
        _ => "",
    }
}

fn outputs(function: &FunctionSpec) -> String {
    let targets: Vec<String> =
        function.bindings.iter().filter_map(|binding| binding.kind.output_target()).collect();
    if targets.is_empty() { String::new() } else { format!(" → {}", targets.join(", ")) }
}

/// Findings, errors first.
pub(crate) fn problems(found: &[Problem], style: Style) -> Vec<String> {
    let mut found = found.to_vec();
    found.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
    found
        .iter()
        .map(|problem| {
            let color = if problem.severity == Severity::Error { Color::Red } else { Color::Yellow };
            let text = harmless(&problem.to_string());
            match text.split_once('\n') {
                Some((first, rest)) => format!("{}\n{rest}", style.paint(color, first)),
                None => style.paint(color, &text),
            }
        })
        .collect()
}

/// How many findings are errors.
pub(crate) fn errors(found: &[Problem]) -> usize {
    found.iter().filter(|problem| problem.severity == Severity::Error).count()
}

/// One app of several that has started: a line, and what is wrong.
pub(crate) fn short(generation: &Generation, took_ms: u128, style: Style) -> String {
    let AppSpec { functions, problems: found, .. } = &generation.app;
    let head = if functions.is_empty() && errors(found) > 0 {
        waits_for_change(style)
    } else {
        format!("{} in {took_ms} ms · {} functions", style.paint(Color::Green, "serves"), functions.len())
    };
    let mut lines = vec![head];
    lines.extend(problems(found, style));
    lines.join("\n")
}

fn waits_for_change(style: Style) -> String {
    format!("{}; it is tried again when its files change", style.paint(Color::Red, "can't be served"))
}

/// One app of several that could not be started.
pub(crate) fn not_started(event: &Event, style: Style) -> String {
    let found = match event {
        Event::Kept { problems, .. } => &problems[..],
        Event::Reloaded { .. } => &[],
    };
    let mut lines = vec![waits_for_change(style)];
    lines.extend(problems(found, style));
    lines.join("\n")
}

/// What a reload came to.
pub(crate) fn reload(event: &Event, changed: &str, style: Style) -> String {
    match event {
        Event::Reloaded { generation, took } => {
            let took = took.as_millis();
            let count = generation.app.functions.len();
            let head = format!(
                "{} in {took} ms: {changed} · {count} functions",
                style.paint(Color::Green, "reloaded")
            );
            let mut lines = vec![head];
            lines.extend(problems(&generation.app.problems, style));
            lines.join("\n")
        }
        Event::Kept { problems: found, took } => {
            let took = took.as_millis();
            let word = style.paint(Color::Red, "not reloaded");
            let mut lines =
                vec![format!("{word} ({took} ms): {changed} · the last good version keeps serving")];
            lines.extend(problems(found, style));
            lines.join("\n")
        }
    }
}

/// `[{"category","level","from"}]`, the rules that count; docs/cli.md has the shape.
pub(crate) fn log_levels_json(levels: &LogLevels) -> Value {
    let rule = |(category, level, is_over): (&str, Threshold, bool)| json!({"category": category, "level": level.as_str(), "from": if is_over { "command" } else { "app" }});
    let rules: Vec<Value> = levels.rules().map(rule).collect();
    json!({"event": "log_levels", "rules": rules, "default": levels.threshold("").as_str(),
        "debugLines": levels.wants_debug_lines()})
}

/// One line: `Function Error, default Warning`.
pub(crate) fn log_levels(shown: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rule = |rule: &Value| {
        let mark = if rule["from"] == "command" { " (by command)" } else { "" };
        format!("{} {}{mark}", text(&rule["category"]), text(&rule["level"]))
    };
    let rules: Vec<String> = shown["rules"].as_array().into_iter().flatten().map(rule).collect();
    if rules.is_empty() { format!("everything {}", text(&shown["default"])) } else { rules.join(", ") }
}

/// `{"event":"reloaded"|"kept", …}`; docs/cli.md has the shape.
pub(crate) fn reload_json(event: &Event, changed: &[String]) -> Value {
    match event {
        Event::Reloaded { generation, took } => {
            let names: Vec<&str> =
                generation.app.functions.iter().map(|function| function.name.as_str()).collect();
            json!({"event": "reloaded", "changed": changed, "generation": generation.number, "functions": names,
                "tookMs": took.as_secs_f64() * 1000.0, "problems": generation.app.problems})
        }
        Event::Kept { problems, took } => {
            json!({"event": "kept", "changed": changed, "tookMs": took.as_secs_f64() * 1000.0, "problems": problems})
        }
    }
}

/// `{"event":"ready", …}`; docs/cli.md has the shape.
pub(crate) fn json(app: &App, summary: &Generation, took_ms: u128) -> Value {
    let base = format!("http://{}", app.address());
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
                "next": next_json(function, app.now()), "location": function.location, "async": function.is_async, "disabled": function.disabled})
        })
        .collect();
    let clock = app.moved.as_ref().map(|_| iso_text(app.now()));
    json!({"event": "ready", "clock": clock, "address": base, "auth": app.guard.asks(), "app": summary.app.name, "why": summary.prepared.folder.why,
        "python": {"version": format!("{major}.{minor}.{patch}"), "why": summary.prepared.interpreter.why,
            "path": summary.prepared.environment.python},
        "isolation": confined_json(&summary.confined),
        "sdk": summary.loaded.sdk, "importMs": summary.loaded.import_ms, "tookMs": u64::try_from(took_ms).unwrap_or(u64::MAX),
        "functions": functions, "problems": summary.app.problems, "notes": summary.prepared.folder.notes})
}

#[cfg(test)]
mod tests {
    use ingle_types::clock::from_unix_ms;
    use ingle_types::ids::FunctionName;
    use ingle_types::schedule::Schedule;
    use ingle_types::spec::TimerTrigger;

    use super::*;

    /// D-02: when a timer runs next is told in its own zone.
    #[test]
    fn d_02_a_timer_shows_its_next_run() {
        let check = |schedule: &str, zone: &str, expected: &str| {
            let trigger = TimerTrigger {
                schedule: Schedule::parse(schedule).unwrap(),
                zone: zone.parse().unwrap(),
                run_on_startup: false,
                use_monitor: true,
            };
            let function = FunctionSpec {
                name: FunctionName::new("tick"),
                trigger: TriggerSpec::Timer(trigger),
                trigger_parameter: "timer".to_owned(),
                bindings: Vec::new(),
                disabled: false,
                retry: None,
                is_async: false,
                streams: false,
                location: None,
            };
            // 2027-01-15 08:00:00 UTC.
            assert_eq!(next_run(&function, from_unix_ms(1_800_000_000_000)), expected, "{schedule}");
        };
        check("0 */5 * * * *", "UTC", " · next 08:05:00 UTC");
        check("0 */5 * * * *", "Europe/Berlin", " · next 09:05:00 Europe/Berlin");
        check("0 0 7 * * *", "Europe/Berlin", " · next 2027-01-16 07:00:00 Europe/Berlin");
    }
}
