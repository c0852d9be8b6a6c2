//! What is told of several apps when all were tried.

use ingle_apps::project::Project;
use serde_json::{Value, json};

use crate::keys::Keys;
use crate::printer::{Color, Style};
use crate::project;
use crate::server::Server;

/// What became of the first start of an app.
pub(super) struct Started {
    pub(super) name: String,
    /// Functions and errors; none if it can't be served.
    pub(super) counts: Option<(usize, usize)>,
}

/// That all apps were tried: `{"event":"ready", …}` or some lines; docs/cli.md has the shape.
pub(super) fn ready(
    server: &Server,
    (mut all, project): (Vec<Started>, Option<&Project>),
    took_ms: u128,
    style: Style,
) -> String {
    all.sort_by(|one, other| one.name.cmp(&other.name));
    let address = server.shared.address;
    if style.json {
        let apps: Vec<Value> = all.iter().map(|app| app.to_json(address.port())).collect();
        let took = u64::try_from(took_ms).unwrap_or(u64::MAX);
        return json!({"event": "ready", "address": format!("http://{address}"), "apps": apps, "tookMs": took})
            .to_string();
    }
    let bad = all.iter().filter(|app| app.counts.is_none()).count();
    let word = style.paint(if bad == 0 { Color::Green } else { Color::Yellow }, "ready");
    let without = if bad == 0 { String::new() } else { format!(", {bad} can't be served") };
    let first = all.first().map_or("app", |app| &app.name);
    let keys = if Keys::are_read(style) { ", h shows the keys" } else { "" };
    if let Some(project) = project {
        let first = format!(
            "{word} in {took_ms} ms · {} functions{without} · http://{address} · Ctrl-C stops{keys}",
            all.len()
        );
        let routes = project::routes(project, &address.to_string(), address.port(), style);
        return std::iter::once(first).chain(routes).collect::<Vec<_>>().join("\n");
    }
    format!(
        "{word} in {took_ms} ms · {} apps{without} · http://{first}.localhost:{}/ and so on · Ctrl-C stops{keys}",
        all.len(),
        address.port()
    )
}

impl Started {
    fn to_json(&self, port: u16) -> Value {
        let (functions, errors) = self.counts.unzip();
        json!({"app": self.name, "address": format!("http://{}.localhost:{port}", self.name),
            "functions": functions, "errors": errors})
    }
}
