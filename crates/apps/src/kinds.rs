//! The kinds of apps that a folder may hold, in the order in which they are looked for.
//!
//! What somebody named goes before what is found, and files that have one meaning before those that have several. A new kind is a
//! line in [`KINDS`] and a module that knows its marks ([why so](../../../docs/adr/0025-kinds-of-apps.md)).

use std::collections::BTreeMap;
use std::path::Path;

use ingle_types::spec::{Dialect, LambdaRuntime};

use crate::detect::{self, Detected};
use crate::ingle_toml::Targets;
use crate::lambda::runtime;
use crate::{Error, functions_framework, lambda, openwhisk, web};

/// A folder that is looked at.
pub(crate) struct Looked<'a> {
    pub(crate) root: &'a Path,
    /// The value of the setting PYTHON_SCRIPT_FILE_NAME.
    pub(crate) script: Option<&'a str>,
    /// A handler that is named, and what names it.
    pub(crate) handler: Option<(&'a str, &'a str)>,
    /// What the app, or the project, says that a function for AWS Lambda is to run in.
    pub(crate) runtime: LambdaRuntime,
    /// What ingle.toml names.
    pub(crate) targets: &'a Targets,
    /// Of the process.
    pub(crate) environment: &'a BTreeMap<String, String>,
}

/// What looks for one kind: `None` if the folder has no mark of it.
type Find = fn(&Looked<'_>) -> Result<Option<Detected>, Error>;

/// The first that finds something decides.
const KINDS: [Find; 10] = [
    // Named by somebody.
    of_program,
    named,
    openwhisk::named,
    functions_framework::named,
    // Files that mean one thing.
    detect::azure,
    of_lambda,
    // Files of common names, by what stands in them.
    functions_framework::found,
    of_web,
    of_provided,
    openwhisk::found,
];

/// What a folder is; `None` if it is nothing that is known.
///
/// # Errors
/// It is two things at once, or what is named can't be there.
pub(crate) fn find(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    for find in KINDS {
        if let Some(found) = find(looked)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A function for AWS Lambda that a program runs, because it is said so, or because the named handler can only be that program's.
fn of_program(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let root = looked.root;
    let is_no_file =
        |name: &str| lambda::script_of(root, name).is_none_or(|script| !root.join(script).is_file());
    let is_its = |(name, _): (&str, &str)| runtime::is_provided(root) && is_no_file(name);
    if looked.runtime == LambdaRuntime::Provided || looked.handler.is_some_and(is_its) {
        let handler = runtime::find(looked.handler)?;
        return Ok(Some(detect::of_runtime(handler, LambdaRuntime::Provided)));
    }
    if !looked.runtime.is_program() {
        return Ok(None);
    }
    let found = lambda::find(root, looked.handler)?;
    Ok(found.map(|handler| detect::of_runtime(handler, looked.runtime)))
}

fn of_provided(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    if !runtime::is_provided(looked.root) {
        return Ok(None);
    }
    Ok(Some(detect::of_runtime(runtime::find(None)?, LambdaRuntime::Provided)))
}

fn named(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let Some(handler) = looked.handler else { return Ok(None) };
    let found = lambda::find(looked.root, Some(handler))?;
    Ok(found.map(|handler| detect::of_named(looked.root, handler)))
}

fn of_lambda(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    let found = lambda::find(looked.root, None).ok().flatten();
    Ok(found.map(|handler| detect::of_handler(Dialect::Lambda, handler)))
}

fn of_web(looked: &Looked<'_>) -> Result<Option<Detected>, Error> {
    Ok(web::find(looked.root).map(|handler| detect::of_handler(Dialect::Web, handler)))
}
