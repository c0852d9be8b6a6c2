//! `cosmosDB`, with the names of version 4 of the extension and of version 3.

use ingle_types::expression::Template;
use ingle_types::spec::{BindingKind, DocumentInput, DocumentOutput};

use super::Reported;
use super::properties::Properties;

pub(super) fn binding(properties: &mut Properties<'_>) -> Result<BindingKind, Reported> {
    let direction = properties.one_of("direction", &["in", "out"])?;
    let Some(direction) = direction else {
        let message = "a cosmosDB binding needs a direction";
        return Err(properties.error(
            "E0232",
            "direction",
            message,
            "write in to read documents, out to write",
        ));
    };
    properties.connection(&["connection", "connectionStringSetting"])?;
    properties.ignore(&[
        "preferredLocations",
        "createIfNotExists",
        "containerThroughput",
        "collectionThroughput",
        "useMultipleWriteLocations",
        "useDefaultJsonSerialization",
    ]);
    let database = name(properties, &["databaseName"])?;
    let container = name(properties, &["containerName", "collectionName"])?;
    if direction == "out" {
        properties.ignore(&["id", "sqlQuery"]);
        let partition_key_path = properties.text("partitionKey")?.filter(|path| !path.is_empty());
        let partition_key_path =
            partition_key_path.map(|path| if path.starts_with('/') { path } else { format!("/{path}") });
        return Ok(BindingKind::DocumentOutput(DocumentOutput { database, container, partition_key_path }));
    }
    let id = properties.template("id")?.filter(is_given);
    let sql_query = properties.template("sqlQuery")?.filter(is_given);
    let partition_key = properties.template("partitionKey")?.filter(is_given);
    if id.is_some() && sql_query.is_some() {
        let message = "a cosmosDB input has an id or a sqlQuery, not both";
        return Err(properties.error("E0232", "sqlQuery", message, "remove one of them"));
    }
    Ok(BindingKind::DocumentInput(DocumentInput { database, container, id, partition_key, sql_query }))
}

fn is_given(template: &Template) -> bool {
    template.as_literal() != Some("")
}

/// The first of the keys that is there; the first one is named when none is.
fn name(properties: &mut Properties<'_>, keys: &[&str]) -> Result<Template, Reported> {
    for key in keys {
        if let Some(template) = properties.template(key)?.filter(is_given) {
            properties.ignore(keys);
            return Ok(template);
        }
    }
    let text = properties.required_text(keys[0])?;
    properties.parse(keys[0], &text)
}
