//! The kinds of apps that a folder may hold, in the order in which they are looked for.
//!
//! What somebody named goes before what is found, and files that have one meaning before those that have several. A new kind is a
//! line in [`KINDS`] and a module that knows its marks ([why so](../../../docs/adr/0025-kinds-of-apps.md)).

use std::collections::BTreeMap;
use std::path::Path;

use ingle_types::spec::Dialect;

use crate::detect::{self, Detected};
use crate::ingle_toml::Targets;
use crate::{Error, functions_framework, lambda, openwhisk, web};

/// A folder that is looked at.
pub(crate) struct Looked<'a> {
    pub(crate) root: &'a Path,
    /// The value of the setting PYTHON_SCRIPT_FILE_NAME.
    pub(crate) script: Option<&'a str>,
    /// A handler that is named, and what names it.
    pub(crate) handler: Option<(&'a str, &'a str)>,
    /// What ingle.toml names.
    pub(crate) targets: &'a Targets,
    /// Of the process.
    pub(crate) environment: &'a BTreeMap<String, String>,
}

/// What looks for one kind: `None` if the folder has no mark of it.
type Find = fn(&Looked<'_>) -> Result<Option<Detected>, Error>;

/// The first that finds something decides.
const KINDS: [Find; 8] = [
    // Named by somebody.
    named,
    openwhisk::named,
    functions_framework::named,
    // Files that mean one thing.
    detect::azure,
    of_lambda,
    // Files of common names, by what stands in them.
    functions_framework::found,
    of_web,
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
