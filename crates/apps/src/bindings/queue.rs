//! `queueTrigger` and `queue`.

use ingle_types::expression::Template;
use ingle_types::spec::{BindingKind, DataType, QueueTrigger};

use super::Reported;
use super::account::{self, Service};
use super::properties::Properties;

const KEY: &str = "queueName";

pub(super) fn trigger(
    properties: &mut Properties<'_>,
    data_type: DataType,
) -> Result<QueueTrigger, Reported> {
    properties.direction(&["in"], "in")?;
    account::read(properties, Service::Queues)?;
    // Azure's host lowers the case as well, so `Orders` and `orders` are one queue.
    let queue = properties.required_text(KEY)?.to_lowercase();
    check_name(properties, &queue)?;
    Ok(QueueTrigger { queue, data_type, account: std::mem::take(&mut properties.account) })
}

pub(super) fn output(properties: &mut Properties<'_>) -> Result<BindingKind, Reported> {
    properties.direction(&["out"], "out")?;
    account::read(properties, Service::Queues)?;
    let text = properties.required_text(KEY)?;
    let queue = properties.parse(KEY, &text)?.map_literals(str::to_lowercase);
    check_template(properties, &queue)?;
    Ok(BindingKind::QueueOutput { queue })
}

/// A name with expressions can only be checked when they have values.
fn check_template(properties: &mut Properties<'_>, queue: &Template) -> Result<(), Reported> {
    match queue.as_literal() {
        Some(name) => check_name(properties, name),
        None => Ok(()),
    }
}

fn check_name(properties: &mut Properties<'_>, name: &str) -> Result<(), Reported> {
    if is_queue_name(name) {
        return Ok(());
    }
    let message = format!("`{name}` can't be the name of a queue");
    let fix = "a name has 3 to 63 letters, digits and single dashes, and a letter or digit at both ends";
    Err(properties.error("E0228", KEY, message, fix))
}

/// Rules of Azure Queue Storage ("Naming Queues and Metadata").
fn is_queue_name(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}
