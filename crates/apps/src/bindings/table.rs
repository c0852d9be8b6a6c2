//! `table`.

use ingle_types::expression::{Part, Template};
use ingle_types::filter::Filter;
use ingle_types::spec::{BindingKind, TableInput};

use super::Reported;
use super::account::{self, Service};
use super::properties::Properties;

const TABLE: &str = "tableName";
const FILTER: &str = "filter";

pub(super) fn binding(properties: &mut Properties<'_>) -> Result<BindingKind, Reported> {
    let Some(direction) = properties.one_of("direction", &["in", "out"])? else {
        let message = "a table binding needs a direction: in or out".to_owned();
        return Err(properties.error("E0232", "direction", message, "add it"));
    };
    account::read(properties, Service::Tables)?;
    let text = properties.required_text(TABLE)?;
    let table = properties.parse(TABLE, &text)?;
    check_name(properties, &table)?;
    let partition_key = properties.template("partitionKey")?.filter(is_given);
    let row_key = properties.template("rowKey")?.filter(is_given);
    if direction == "out" {
        properties.ignore(&["take", FILTER]);
        return Ok(BindingKind::TableOutput { table, partition_key, row_key });
    }
    let filter = properties.template(FILTER)?.filter(is_given);
    let take = properties.whole_number("take")?;
    if let Some(filter) = &filter {
        check_filter(properties, filter)?;
    }
    if row_key.is_some() && partition_key.is_none() {
        let message = "a table input with a rowKey needs a partitionKey too".to_owned();
        return Err(properties.error("E0232", "rowKey", message, "add the partitionKey"));
    }
    if row_key.is_some() && (filter.is_some() || take.is_some()) {
        let message =
            "a table input has a rowKey, which names one entity, or a filter and a number to take".to_owned();
        return Err(properties.error("E0232", "rowKey", message, "keep one of them"));
    }
    Ok(BindingKind::TableInput(TableInput { table, partition_key, row_key, filter, take }))
}

fn is_given(template: &Template) -> bool {
    template.as_literal() != Some("")
}

/// A name with expressions can only be checked when they have values.
fn check_name(properties: &mut Properties<'_>, table: &Template) -> Result<(), Reported> {
    let Some(name) = table.as_literal() else { return Ok(()) };
    let is_name = (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && name.starts_with(|first: char| first.is_ascii_alphabetic());
    if is_name {
        return Ok(());
    }
    let message = format!("`{name}` can't be the name of a table");
    let fix = "a name has 3 to 63 letters and digits and starts with a letter".to_owned();
    Err(properties.error("E0232", TABLE, message, fix))
}

/// Reads the filter as it will be read when events come, with a number for each value that is not known yet: inside
/// quotes it is text, elsewhere a value.
fn check_filter(properties: &mut Properties<'_>, filter: &Template) -> Result<(), Reported> {
    let mut text = String::new();
    for part in filter.parts() {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            // What a date or a GUID will be can't be known, so their forms are not checked.
            Part::Expression { .. } if text.ends_with("datetime'") => text.push_str("2000-01-01"),
            Part::Expression { .. } if text.ends_with("guid'") => {
                text.push_str("00000000-0000-0000-0000-000000000000")
            }
            Part::Expression { .. } => text.push('0'),
        }
    }
    match Filter::parse(&text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let fix = "docs/tables.md describes what a filter can say".to_owned();
            Err(properties.error("E0417", FILTER, format!("filter: {error}"), fix))
        }
    }
}
