//! What a folder is, and why; or what it nearly is.

use std::path::{Path, PathBuf};

use ingle_types::problem::Problem;
use ingle_types::spec::{Dialect, LambdaRuntime};

use crate::Error;
use crate::kinds::{self, Looked};
use crate::lambda::{self, Handler};
use crate::openwhisk;
use crate::project::{Entry, Member};
use crate::python_names::MODULES;
use crate::suggest::nearest;
use crate::web::{self, Maker};

/// The script that holds the decorators unless a setting names another.
const DEFAULT_SCRIPT: &str = "function_app.py";

/// How much is looked at to say what was perhaps meant.
const NEAR_DEPTH_MAX: usize = 3;
const NEAR_ENTRIES_MAX: usize = 2000;
const NEAR_MISSES_MAX: usize = 5;

pub(crate) struct Detected {
    pub(crate) dialect: Dialect,
    pub(crate) why: String,
    pub(crate) script_file: String,
    /// v1: names of the folders with a function.json, sorted.
    pub(crate) directories: Vec<String>,
    /// Of an app for AWS Lambda, or a web app.
    pub(crate) handler: Option<Handler>,
    /// Of an app for AWS Lambda.
    pub(crate) runtime: LambdaRuntime,
    /// What makes the web app, if it is not there under its name.
    pub(crate) maker: Option<Maker>,
}

/// What a folder is.
///
/// # Errors
/// Nothing that is known, or two things at once; or what is named can't be there.
pub(crate) fn detect(looked: &Looked<'_>) -> Result<Detected, Error> {
    if let Some(found) = kinds::find(looked)? {
        return Ok(found);
    }
    let (root, script) = (looked.root, looked.script);
    let script_file = script_file(script);
    let mut near_misses = near_misses(root, &script_file);
    if let Some(name) = script.filter(|name| !is_script_name(name)) {
        let refused =
            format!("PYTHON_SCRIPT_FILE_NAME is `{name}`, which is no name of a Python file in this folder");
        near_misses.insert(0, refused);
    }
    Err(Error::NoApp { root: root.to_owned(), looked_for: script_file, near_misses })
}

fn script_file(script: Option<&str>) -> String {
    script.filter(|name| is_script_name(name)).unwrap_or(DEFAULT_SCRIPT).to_owned()
}

/// Functions of Azure, of either model.
pub(crate) fn azure(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let root = looked.root;
    let script_file = script_file(looked.script);
    let directories = function_directories(root)?;
    let has_script = root.join(&script_file).is_file();
    let found = |dialect, why, script_file, directories| {
        let runtime = LambdaRuntime::Worker;
        Ok(Some(Detected { dialect, why, script_file, directories, handler: None, runtime, maker: None }))
    };
    match (has_script, directories.as_slice()) {
        (true, [first, ..]) => {
            Err(Error::BothModels { script: script_file, function_json: format!("{first}/function.json") })
        }
        (true, []) => {
            let by_setting =
                if script_file == DEFAULT_SCRIPT { "" } else { ", named by PYTHON_SCRIPT_FILE_NAME" };
            let why = format!("{script_file} with decorators (v2){by_setting}");
            found(Dialect::AzureV2, why, script_file, directories)
        }
        (false, [_, ..]) => {
            let why = match directories.as_slice() {
                [one] => format!("{one}/function.json (v1)"),
                all => format!("{} folders with a function.json (v1)", all.len()),
            };
            found(Dialect::AzureV1, why, script_file, directories)
        }
        (false, []) => Ok(None),
    }
}

/// The web app that a function of a project is, if it is one.
pub(crate) fn web_app_of(root: &Path, member: &Member) -> Option<Detected> {
    let function = &member.function;
    let (whole, maker) = match function.entry {
        Entry::Handler => return None,
        Entry::WebApp => (function.handler.clone(), None),
        Entry::DjangoSettings => (format!("{}.settings", function.handler), Some(Maker::Django)),
    };
    let script_file = lambda::script_of(root, &whole)?;
    let why = format!("{}, named by {}", function.handler, member.place());
    let handler = Handler { name: function.handler.clone(), script_file, why };
    Some(Detected { maker, ..of_handler(Dialect::Web, handler) })
}

/// Of a handler that somebody named. Where its file does not show what it is, the worker will.
pub(crate) fn of_named(root: &Path, handler: Handler) -> Detected {
    match web::named(root, &handler.name) {
        Some(what) => {
            let why = format!("{}: {what}", handler.why);
            of_handler(Dialect::Web, Handler { why, ..handler })
        }
        None => of_handler(Dialect::Lambda, handler),
    }
}

pub(crate) fn of_handler(dialect: Dialect, handler: Handler) -> Detected {
    Detected {
        dialect,
        why: handler.why.clone(),
        script_file: handler.script_file.clone(),
        directories: Vec::new(),
        handler: Some(handler),
        runtime: LambdaRuntime::Worker,
        maker: None,
    }
}

/// Of a handler that a program runs.
pub(crate) fn of_runtime(handler: Handler, runtime: LambdaRuntime) -> Detected {
    Detected { runtime, ..of_handler(Dialect::Lambda, handler) }
}

/// Modules and packages of the app that are found in the place of Python's own: the app's folder comes first on the path.
pub(crate) fn hidden_modules(root: &Path) -> Vec<Problem> {
    let mut names: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        // Without this file a folder comes after everything else on the path.
        let is_package = || entry.path().join("__init__.py").is_file();
        let module = match file.strip_suffix(".py") {
            Some(stem) => stem.to_owned(),
            None if is_package() => file.clone(),
            None => continue,
        };
        if MODULES.contains(&module.as_str()) {
            names.push((file, module));
        }
    }
    names.sort();
    let problem = |(file, module): (String, String)| {
        let message = format!(
            "`{file}` hides Python's module `{module}`: whatever imports `{module}`, libraries too, may get this one"
        );
        Problem::warning("E0239", message).at(&file, None).fix("give it another name")
    };
    names.into_iter().map(problem).collect()
}

/// A plain file name: nothing that could lead out of the folder (T-026).
fn is_script_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".py") else { return false };
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    !stem.is_empty() && !stem.starts_with('-') && stem.chars().all(plain)
}

fn function_directories(root: &Path) -> Result<Vec<String>, Error> {
    let unreadable = |source| Error::Unreadable { path: root.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().join("function.json").is_file() {
            names.push(name);
        }
    }
    names.sort_by_key(|name| name.to_lowercase());
    Ok(names)
}

/// One line for each thing that looks like the app that was meant.
fn near_misses(root: &Path, script_file: &str) -> Vec<String> {
    let files = look_around(root);
    let mut misses = Vec::new();
    for file in &files {
        let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let folder = file.parent().map_or_else(String::new, |folder| folder.display().to_string());
        let depth = file.components().count();
        let shown = file.display();
        if depth == 1 && name.ends_with(".py") {
            if nearest(&name, [script_file]).is_some() {
                misses.push(format!("{shown} is nearly {script_file}: rename it"));
            } else if mentions_functions(&root.join(file)) {
                misses.push(format!(
                    "{shown} uses azure.functions: rename it to {script_file}, or set PYTHON_SCRIPT_FILE_NAME={name}"
                ));
            } else if let Some(miss) = web::near_miss(root, &name) {
                misses.push(miss);
            } else if let Some(miss) = openwhisk_miss(&root.join(file), &name) {
                misses.push(miss);
            } else if matches!(name.as_str(), "main.py" | "app.py" | "handler.py" | "lambda_function.py") {
                misses.push(match handler_in(&root.join(file)) {
                    Some(handler) => {
                        let module = name.trim_end_matches(".py");
                        format!("{shown} may hold a handler of AWS Lambda: say --handler {module}.{handler}")
                    }
                    None => format!("{shown} is Python, but uses no azure.functions"),
                });
            }
        } else if depth > 1 && (name == DEFAULT_SCRIPT || name == "host.json") {
            misses.push(format!("{folder} looks like an app: name that folder"));
        } else if depth > 2 && name == "function.json" {
            misses.push(format!("{shown} lies too deep: it must be in a folder right below the app"));
        } else if depth == 1 && name == "function.json" {
            misses.push(
                "function.json lies here itself: move it into a folder with the name of the function"
                    .to_owned(),
            );
        }
    }
    misses.dedup();
    misses.truncate(NEAR_MISSES_MAX);
    misses
}

fn openwhisk_miss(path: &Path, name: &str) -> Option<String> {
    let bytes = crate::folder::read_bytes(path).ok().flatten()?;
    openwhisk::near_miss(&String::from_utf8_lossy(&bytes), name)
}

/// The name of a function of two parameters that is called like a handler.
fn handler_in(path: &Path) -> Option<String> {
    let bytes = crate::folder::read_bytes(path).ok().flatten()?;
    let text = String::from_utf8_lossy(&bytes);
    let names = text.lines().filter_map(|line| line.strip_prefix("def ")?.split_once('('));
    let mut names = names.filter(|(name, rest)| name.contains("handler") && rest.contains(','));
    names.next().map(|(name, _)| name.trim().to_owned())
}

fn mentions_functions(path: &Path) -> bool {
    crate::folder::read_bytes(path)
        .ok()
        .flatten()
        .is_some_and(|bytes| String::from_utf8_lossy(&bytes).contains("azure.functions"))
}

/// Files below `root`, relative to it, sorted, near ones first; bounded in depth and number.
fn look_around(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![PathBuf::new()];
    let mut seen_count = 0;
    for _ in 0..NEAR_DEPTH_MAX {
        let mut below = Vec::new();
        for folder in level {
            let Ok(entries) = std::fs::read_dir(root.join(&folder)) else { continue };
            for entry in entries.flatten() {
                seen_count += 1;
                if seen_count > NEAR_ENTRIES_MAX {
                    return found;
                }
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = folder.join(&name);
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !is_noise(&name) => below.push(path),
                    Ok(kind) if kind.is_file() => found.push(path),
                    _ => {}
                }
            }
        }
        level = below;
    }
    found.sort_by_key(|path| (path.components().count(), path.clone()));
    found
}

/// Folders that hold others' code.
fn is_noise(name: &str) -> bool {
    name.starts_with('.') || matches!(name, "venv" | "env" | "node_modules" | "__pycache__" | "site-packages")
}
