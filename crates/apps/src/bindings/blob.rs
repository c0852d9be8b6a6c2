//! `blobTrigger` and `blob`.

use ingle_types::blob::{BlobPattern, check_container, check_name};
use ingle_types::expression::{Part, Template};
use ingle_types::spec::{BindingKind, BlobTrigger, DataType};

use super::Reported;
use super::account::{self, Service};
use super::properties::Properties;

const KEY: &str = "path";
const MODE: &str = "mode";

pub(super) fn trigger(properties: &mut Properties<'_>, data_type: DataType) -> Result<BlobTrigger, Reported> {
    properties.direction(&["in"], "in")?;
    account::read(properties, Service::Blobs)?;
    // Both mean the same here: who puts a blob pushes it to the function.
    properties.one_of("source", &["LogsAndContainerScan", "EventGrid"])?;
    let as_file = as_file(properties, data_type)?;
    let path = properties.required_text(KEY)?;
    let (container, pattern) = path.split_once('/').unwrap_or((&path, ""));
    if container.contains(['{', '}']) {
        let message =
            format!("the container of a blobTrigger must be a plain name, and this is `{container}`");
        let fix = "name the container, as in images/{name}; one function listens to one container".to_owned();
        return Err(properties.error("E0237", KEY, message, fix));
    }
    check_container(container).map_err(|problem| refused(properties, container, problem))?;
    let pattern = BlobPattern::parse(pattern).map_err(|mut error| {
        error.position += container.chars().count() + 1;
        properties.error("E0237", KEY, format!("path: {error}"), "write it like images/{name}.{extension}")
    })?;
    let account = std::mem::take(&mut properties.account);
    Ok(BlobTrigger { container: container.to_owned(), account, pattern, data_type, as_file })
}

pub(super) fn binding(properties: &mut Properties<'_>, data_type: DataType) -> Result<BindingKind, Reported> {
    let Some(direction) = properties.one_of("direction", &["in", "out"])? else {
        let message = "a blob binding needs a direction: in or out".to_owned();
        return Err(properties.error("E0232", "direction", message, "add it"));
    };
    account::read(properties, Service::Blobs)?;
    let text = properties.required_text(KEY)?;
    let path = properties.parse(KEY, &text)?;
    check_path(properties, &path)?;
    if direction == "out" {
        return Ok(BindingKind::BlobOutput { path });
    }
    Ok(BindingKind::BlobInput { path, as_file: as_file(properties, data_type)? })
}

fn as_file(properties: &mut Properties<'_>, data_type: DataType) -> Result<bool, Reported> {
    let as_file = properties.one_of(MODE, &["content", "file"])? == Some("file");
    if as_file && data_type == DataType::Binary {
        let message = "a file is handed over as its path, which dataType can't change".to_owned();
        return Err(properties.error("E0232", "dataType", message, "remove dataType, or the mode"));
    }
    Ok(as_file)
}

/// What is known before an event: a container that stands there as text, and a name without expressions.
fn check_path(properties: &mut Properties<'_>, path: &Template) -> Result<(), Reported> {
    let Some(Part::Literal(start)) = path.parts().first() else { return Ok(()) };
    match (start.split_once('/'), path.as_literal()) {
        (Some((container, name)), literal) => {
            check_container(container).map_err(|problem| refused(properties, container, problem))?;
            if literal.is_some() {
                check_name(name).map_err(|problem| refused(properties, name, problem))?;
            }
            Ok(())
        }
        (None, Some(text)) => {
            let message = format!("`{text}` is no path of a blob; container/name is");
            Err(properties.error("E0237", KEY, message, "write it like images/thumbnail.png"))
        }
        (None, None) => Ok(()),
    }
}

fn refused(properties: &mut Properties<'_>, name: &str, problem: &str) -> Reported {
    properties.error("E0237", KEY, format!("`{name}`: {problem}"), "choose another name")
}
