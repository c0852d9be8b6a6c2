//! `cosmosDB` and `cosmosDBTrigger`, with the names of version 4 of the extension and of version 3.

use std::time::Duration;

use ingle_types::clock::read_date;
use ingle_types::expression::Template;
use ingle_types::spec::{BindingKind, DocumentInput, DocumentOutput, DocumentsTrigger, FeedStart};

use super::Reported;
use super::properties::Properties;

/// `feedPollDelay` where nothing is said (facts 5.1).
const POLL_DELAY_DEFAULT_MS: u32 = 5000;

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

/// Properties that steer how Azure's listeners share a container, which one listener need not.
const LEASE_PROPERTIES: [&str; 17] = [
    "leaseConnection",
    "leaseConnectionStringSetting",
    "leaseDatabaseName",
    "leaseContainerName",
    "leaseCollectionName",
    "createLeaseContainerIfNotExists",
    "createLeaseCollectionIfNotExists",
    "leasesContainerThroughput",
    "leasesCollectionThroughput",
    "leaseAcquireInterval",
    "leaseExpirationInterval",
    "leaseRenewInterval",
    "checkpointInterval",
    "checkpointDocumentCount",
    "maxDegreeOfParallelism",
    "preferredLocations",
    "useMultipleWriteLocations",
];

pub(super) fn trigger(properties: &mut Properties<'_>) -> Result<DocumentsTrigger, Reported> {
    properties.direction(&["in"], "in")?;
    properties.connection(&["connection", "connectionStringSetting"])?;
    properties.ignore(&LEASE_PROPERTIES);
    let database = plain_name(properties, &["databaseName"])?;
    let container = plain_name(properties, &["containerName", "collectionName"])?;
    let prefix = ["leaseContainerPrefix", "leaseCollectionPrefix"];
    let mut lease_prefix = String::new();
    for key in prefix {
        lease_prefix = properties.text(key)?.unwrap_or(lease_prefix);
    }
    let items_max = properties.whole_number("maxItemsPerInvocation")?;
    if items_max == Some(0) {
        let message = "maxItemsPerInvocation is 0, so no change could ever be handed over".to_owned();
        return Err(properties.error(
            "E0232",
            "maxItemsPerInvocation",
            message,
            "set 1 or more, or leave it out",
        ));
    }
    // Changes are told at once, so the pause between two looks has nothing to say.
    let poll_delay = properties.whole_number("feedPollDelay")?.unwrap_or(POLL_DELAY_DEFAULT_MS);
    Ok(DocumentsTrigger {
        database,
        container,
        lease_prefix,
        start: start(properties)?,
        items_max,
        poll_delay: Duration::from_millis(u64::from(poll_delay)),
    })
}

fn start(properties: &mut Properties<'_>) -> Result<FeedStart, Reported> {
    const TIME: &str = "startFromTime";
    let from_beginning = properties.truth("startFromBeginning")?.unwrap_or(false);
    let Some(text) = properties.text(TIME)?.filter(|text| !text.is_empty()) else {
        return Ok(if from_beginning { FeedStart::Beginning } else { FeedStart::Now });
    };
    if from_beginning {
        let message = "startFromBeginning and startFromTime can't both be set";
        return Err(properties.error("E0232", TIME, message, "remove one of them"));
    }
    match read_date(&text) {
        Some(time) => Ok(FeedStart::Time(time)),
        None => {
            let message = format!("startFromTime is `{text}`, which is no date");
            Err(properties.error("E0232", TIME, message, "write a time in UTC such as 2026-10-25T08:00:00Z"))
        }
    }
}

/// A name that must be known before any event comes.
fn plain_name(properties: &mut Properties<'_>, keys: &[&str]) -> Result<String, Reported> {
    let template = name(properties, keys)?;
    match template.as_literal() {
        Some(name) => Ok(name.to_owned()),
        None => {
            let message = format!("{} of a trigger can't hold an expression like `{template}`", keys[0]);
            Err(properties.error("E0232", keys[0], message, "write the name itself, or a setting as %NAME%"))
        }
    }
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
