//! `*/function.json`, the v1 model (facts 5.1).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use ingle_types::problem::Problem;
use ingle_types::spec::DeclaredFunction;
use serde_json::{Map, Value};

use crate::Error;
use crate::folder::{find, place, read_json};
use crate::json_place::{Kind, Node};

/// What is done about a file of another shape.
const SHAPE: &str = "write { \"bindings\": [ … ] } with one object for each binding";
const ENTRY_POINT_FIX: &str = "write the name of a function in the script, or leave it out for `main`";

#[derive(Default)]
pub(crate) struct Functions {
    pub(crate) declared: Vec<DeclaredFunction>,
    /// Each function.json with its places, by function name.
    pub(crate) places: BTreeMap<String, Node>,
    pub(crate) problems: Vec<Problem>,
}

/// # Errors
/// The system refuses to read one of the files.
pub(crate) fn read_all(
    root: &Path,
    directories: &[String],
    settings: &BTreeMap<String, String>,
) -> Result<Functions, Error> {
    let mut functions = Functions::default();
    for name in directories {
        let file = format!("{name}/function.json");
        let mut problems = Vec::new();
        if let Some(document) = read_json(root, &file, &mut problems)? {
            let reader = Reader { root, name, file: &file, settings };
            match reader.declare(&document.root) {
                Ok(declared) => functions.declared.push(declared),
                Err(problem) => problems.push(*problem),
            }
            functions.places.insert(name.clone(), document.root);
        }
        functions.problems.extend(problems.into_iter().map(|problem| problem.function(name)));
    }
    Ok(functions)
}

struct Reader<'a> {
    root: &'a Path,
    name: &'a str,
    file: &'a str,
    settings: &'a BTreeMap<String, String>,
}

type Declared<T> = Result<T, Box<Problem>>;

impl Reader<'_> {
    fn wrong(&self, code: &str, node: &Node, message: String, fix: impl Into<String>) -> Box<Problem> {
        Box::new(place(Problem::error(code, message), self.file, node).fix(fix))
    }

    fn declare(&self, root: &Node) -> Declared<DeclaredFunction> {
        if !matches!(root.kind, Kind::Object(_)) {
            return Err(self.wrong(
                "E0232",
                root,
                format!("function.json holds {} instead of an object", root.describe()),
                SHAPE,
            ));
        }
        let retry = match root.get("retry").map(|node| (node, &node.kind)) {
            None | Some((_, Kind::Null)) => None,
            Some((node, Kind::Object(_))) => Some(node.to_map()),
            Some((node, _)) => {
                return Err(self.wrong(
                    "E0232",
                    node,
                    format!("retry is {} instead of an object", node.describe()),
                    "write an object with a strategy, or leave retry out",
                ));
            }
        };
        Ok(DeclaredFunction {
            name: self.name.to_owned(),
            directory: self.name.to_owned(),
            script_file: self.script_file(root)?,
            entry_point: self.entry_point(root)?,
            bindings: self.bindings(root)?,
            is_async: false,
            streams: false,
            file: Some(self.file.to_owned()),
            line: Some(root.line),
            disabled: self.disabled(root)?,
            retry,
        })
    }

    fn bindings(&self, root: &Node) -> Declared<Vec<Map<String, Value>>> {
        let Some(node) = root.get("bindings") else {
            return Err(self.wrong("E0232", root, "function.json has no bindings".to_owned(), SHAPE));
        };
        let Kind::List(items) = &node.kind else {
            return Err(self.wrong(
                "E0232",
                node,
                format!("bindings is {} instead of a list", node.describe()),
                SHAPE,
            ));
        };
        match items.iter().find(|item| !matches!(item.kind, Kind::Object(_))) {
            Some(odd) => {
                let message = format!("a binding is {} instead of an object", odd.describe());
                Err(self.wrong("E0232", odd, message, "write an object with type, direction and name"))
            }
            None => Ok(items.iter().map(Node::to_map).collect()),
        }
    }

    /// `true`, or the name of a setting that says so.
    fn disabled(&self, root: &Node) -> Declared<bool> {
        match root.get("disabled").map(|node| (node, &node.kind)) {
            None | Some((_, Kind::Null)) => Ok(false),
            Some((_, Kind::Bool(value))) => Ok(*value),
            Some((_, Kind::Text(text))) => {
                let setting = find(self.settings, text.trim_matches('%'));
                Ok(is_on(text) || setting.is_some_and(is_on))
            }
            Some((node, _)) => Err(self.wrong(
                "E0232",
                node,
                format!("disabled is {}", node.describe()),
                "write true, false or the name of a setting",
            )),
        }
    }

    fn entry_point(&self, root: &Node) -> Declared<String> {
        match root.get("entryPoint").map(|node| (node, &node.kind)) {
            None | Some((_, Kind::Null)) => Ok("main".to_owned()),
            Some((_, Kind::Text(text))) if text.is_empty() => Ok("main".to_owned()),
            Some((_, Kind::Text(text))) if is_identifier(text) => Ok(text.clone()),
            Some((node, Kind::Text(text))) => {
                let message = format!("entryPoint `{text}` is no name of a Python function");
                Err(self.wrong("E0232", node, message, ENTRY_POINT_FIX))
            }
            Some((node, _)) => {
                let message = format!("entryPoint is {} instead of a text", node.describe());
                Err(self.wrong("E0232", node, message, ENTRY_POINT_FIX))
            }
        }
    }

    /// Path of the script relative to the app. Without `scriptFile`: the only file of the folder, else `__init__.py`.
    fn script_file(&self, root: &Node) -> Declared<String> {
        match root.get("scriptFile").map(|node| (node, &node.kind)) {
            None | Some((_, Kind::Null)) => self.default_script(root),
            Some((_, Kind::Text(text))) if text.is_empty() => self.default_script(root),
            Some((node, Kind::Text(text))) => self.named_script(node, text),
            Some((node, _)) => {
                let message = format!("scriptFile is {} instead of a text", node.describe());
                Err(self.wrong("E0232", node, message, "write the file's name, e.g. \"__init__.py\""))
            }
        }
    }

    fn default_script(&self, root: &Node) -> Declared<String> {
        let mut files: Vec<String> = std::fs::read_dir(self.root.join(self.name))
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "function.json" && !name.starts_with('.'))
            .collect();
        files.sort();
        let only = (files.len() == 1).then(|| files[0].clone());
        let usual = || ["__init__.py", "run.py"].iter().find(|name| files.iter().any(|file| file == *name));
        match only.or_else(|| usual().map(|name| (*name).to_owned())) {
            Some(name) => self.named_script(root, &name),
            None => {
                let fix = format!("add {}/__init__.py, or name the script with scriptFile", self.name);
                Err(self.wrong("E0213", root, format!("{} has no script", self.name), fix))
            }
        }
    }

    /// Checks that the script is there and below the app: neither `..`, nor an absolute path, nor a link may lead
    /// out (T-026).
    fn named_script(&self, node: &Node, script: &str) -> Declared<String> {
        let leaves = || {
            let message = format!("scriptFile `{script}` leads out of the app");
            self.wrong("E0221", node, message, "put the script into the app's folder and name it there")
        };
        let written = script.replace('\\', "/");
        let relative = below_root(&Path::new(self.name).join(&written)).ok_or_else(leaves)?;
        match self.root.join(&relative).canonicalize() {
            Ok(real) if !real.starts_with(self.root) => Err(leaves()),
            Ok(real) if real.is_file() => Ok(relative.to_string_lossy().into_owned()),
            _ => {
                let message = format!("the script {} is not there", relative.display());
                Err(self.wrong("E0213", node, message, "create it, or correct scriptFile"))
            }
        }
    }
}

/// The path without `.` and `..`; `None` if it leads out or is absolute.
fn below_root(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// What the cloud's host takes for yes.
pub(crate) fn is_on(value: &str) -> bool {
    let value = value.trim();
    value == "1" || value.eq_ignore_ascii_case("true")
}

/// A Python name (identifiers of any script; keywords are left to Python).
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|character| character == '_' || character.is_alphanumeric())
}
