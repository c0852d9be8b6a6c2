//! Keys that callers of a project's APIs show, as far as the project names them without a value.

use std::collections::BTreeSet;

use ingle_apps::project::Project;
use ingle_store::keys::{KeyFile, KeyRing, KeyScope, KeyText};
use ingle_types::clock::{Clock as _, SystemClock};

use super::http_sources;
use crate::commands::keys::shown;
use crate::exit::CommandError;
use crate::printer::{Printer, Style};

/// Makes those that are not there yet, and shows each, this once.
pub(crate) fn make(
    project: &Project,
    file: &KeyFile,
    (printer, style): (&Printer, Style),
) -> Result<(), CommandError> {
    let of_routes = http_sources(project).filter_map(|(_, http)| http.front.keys.as_ref()).flatten();
    let names: BTreeSet<&str> =
        of_routes.filter(|key| key.value.is_none()).map(|key| key.name.as_str()).collect();
    let scope = KeyScope::Api;
    let known = file.read()?;
    let has = |name: &&str| known.as_ref().is_some_and(|ring| ring.has(&scope, name));
    for name in names.into_iter().filter(|name| !has(name)) {
        let text = KeyText::random()?;
        file.edit(|ring: &mut KeyRing| ring.set(&scope, name, &text, SystemClock.now()))?;
        printer.text(shown(&scope, name, &text, style));
    }
    Ok(())
}
