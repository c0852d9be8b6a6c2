//! `local.settings.json` (facts 6.2): settings of the developer's machine. Their values are secrets: messages name
//! settings, never values.

use std::collections::BTreeMap;
use std::path::Path;

use ingle_types::problem::Problem;
use ingle_types::spec::CorsOptions;

use crate::Error;
use crate::folder::{find, place, read_json};
use crate::json_place::{Kind, Node};
use crate::suggest::{correction, nearest};

const FILE: &str = "local.settings.json";

#[derive(Default)]
pub(crate) struct LocalSettings {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) port: Option<u16>,
    pub(crate) cors: Option<CorsOptions>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<String>,
}

/// # Errors
/// The file is there, but the system refuses to read it.
pub(crate) fn read(root: &Path, environment: &BTreeMap<String, String>) -> Result<LocalSettings, Error> {
    let mut settings = LocalSettings::default();
    if let Some(document) = read_json(root, FILE, &mut settings.problems)? {
        settings.take(&document.root, environment);
    }
    Ok(settings)
}

impl LocalSettings {
    fn warn(&mut self, node: &Node, message: String, fix: &str) {
        self.problems.push(place(Problem::warning("E0113", message), FILE, node).fix(fix));
    }

    fn take(&mut self, root: &Node, environment: &BTreeMap<String, String>) {
        if !matches!(root.kind, Kind::Object(_)) {
            let message = format!("{FILE} holds {} instead of an object; it is ignored", root.describe());
            self.warn(root, message, "write { \"Values\": { … } }");
            return;
        }
        self.take_top(root);
        if let Some(values) = root.get("Values") {
            self.take_values(values);
        }
        if let Some(connections) = root.get("ConnectionStrings") {
            self.take_connections(connections);
        }
        if let Some(host) = root.get("Host") {
            self.take_host(host);
        }
        self.let_environment_win(environment);
    }

    fn take_top(&mut self, root: &Node) {
        const KNOWN: [&str; 4] = ["IsEncrypted", "Values", "Host", "ConnectionStrings"];
        for member in root.members() {
            let known = KNOWN.iter().any(|name| name.eq_ignore_ascii_case(&member.key));
            // Other tools keep keys of their own here, so only a likely misspelling is worth a word.
            if let Some(name) = nearest(&member.key, KNOWN).filter(|_| !known) {
                let message = format!("`{}` has no effect; did you mean `{name}`?", member.key);
                let problem = Problem::warning("E0113", message).at(FILE, Some(member.line));
                self.problems.push(problem.fix(correction(Some(name))));
            }
        }
        let encrypted = root.get("IsEncrypted");
        if let Some(node) = encrypted.filter(|node| is_true(node)) {
            self.warn(
                node,
                "IsEncrypted is true, but encrypted values can't be read; they are taken as plain text"
                    .to_owned(),
                "write the values as plain text, and set IsEncrypted to false",
            );
        }
    }

    fn take_values(&mut self, values: &Node) {
        if !matches!(values.kind, Kind::Object(_)) {
            let message = format!("Values is {} instead of an object; it is ignored", values.describe());
            self.warn(values, message, "write an object with a text for each setting");
            return;
        }
        for member in values.members() {
            match text_of(&member.value) {
                Some(text) => {
                    self.values.insert(member.key.clone(), text);
                }
                None if member.value.kind == Kind::Null => {}
                None => {
                    let what = member.value.describe();
                    self.warn(
                        &member.value,
                        format!("the setting `{}` is {what}; only texts can be settings", member.key),
                        "write it as a text, with quotes inside escaped",
                    );
                }
            }
        }
    }

    fn take_connections(&mut self, connections: &Node) {
        for member in connections.members() {
            let node = member.value.get("ConnectionString").unwrap_or(&member.value);
            match text_of(node) {
                Some(text) => {
                    self.values.insert(format!("ConnectionStrings:{}", member.key), text);
                }
                None => {
                    let message = format!("the connection string `{}` is {}", member.key, node.describe());
                    self.warn(node, message, "write it as a text");
                }
            }
        }
    }

    fn take_host(&mut self, host: &Node) {
        if let Some(node) = host.get("LocalHttpPort") {
            self.port = text_of(node).and_then(|text| text.trim().parse().ok()).filter(|port| *port > 0);
            if self.port.is_none() {
                let message = "LocalHttpPort is no port".to_owned();
                self.warn(node, message, "write a number from 1 to 65535");
            }
        }
        let credentials = host.get("CORSCredentials").is_some_and(is_true);
        let Some(node) = host.get("CORS") else { return };
        let origins: Vec<String> = match &node.kind {
            Kind::List(items) => items.iter().filter_map(Node::as_text).map(str::to_owned).collect(),
            _ => text_of(node).unwrap_or_default().split(',').map(str::to_owned).collect(),
        };
        let origins: Vec<String> = origins
            .iter()
            .map(|origin| origin.trim().trim_end_matches('/').to_owned())
            .filter(|origin| !origin.is_empty())
            .collect();
        if !origins.is_empty() {
            self.cors = Some(CorsOptions { origins, credentials });
        }
    }

    fn let_environment_win(&mut self, environment: &BTreeMap<String, String>) {
        for (name, value) in &mut self.values {
            if let Some(set) = find(environment, name).filter(|set| !set.is_empty() && set != value) {
                self.notes.push(format!("{name} comes from the environment, not from {FILE}"));
                set.clone_into(value);
            }
        }
    }
}

fn is_true(node: &Node) -> bool {
    text_of(node).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Texts, numbers and truth values as text.
fn text_of(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Text(text) | Kind::Number(text) => Some(text.clone()),
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Null | Kind::List(_) | Kind::Object(_) => None,
    }
}
