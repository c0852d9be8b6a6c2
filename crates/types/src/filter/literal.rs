//! The values that a filter compares with.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde_json::{Number, Value};
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Bool(bool),
    Number(Number),
    Date(DateTime<Utc>),
    Guid(Uuid),
}

impl Literal {
    /// How a stored value stands to this one; `None` if the two can't be compared. Dates and GUIDs are stored as
    /// texts, so a text is read as one when it is compared with one.
    pub(super) fn order_of(&self, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Text(literal), Value::String(text)) => Some(text.as_str().cmp(literal)),
            (Self::Bool(literal), Value::Bool(found)) => Some(found.cmp(literal)),
            (Self::Number(literal), Value::Number(found)) => order(found, literal),
            (Self::Date(literal), Value::String(text)) => Some(date(text)?.cmp(literal)),
            (Self::Guid(literal), Value::String(text)) => {
                Some(Uuid::try_parse(text).ok()?.as_bytes().cmp(literal.as_bytes()))
            }
            _ => None,
        }
    }
}

/// Whole numbers exactly, others as floating-point numbers.
fn order(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

pub(super) fn date(text: &str) -> Option<DateTime<Utc>> {
    crate::clock::read_date(text).map(DateTime::from)
}
