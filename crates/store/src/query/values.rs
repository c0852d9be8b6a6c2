//! Comparing, ordering and calculating with JSON values, as Cosmos DB does. Pure.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::expression::Operator;

/// Comparison or arithmetic. `None` is *undefined*: operands of different types, or of a type that the operator
/// does not take.
pub(super) fn apply(operator: Operator, left: &Value, right: &Value) -> Option<Value> {
    let ordered = |wanted: &[Ordering]| Some(Value::Bool(wanted.contains(&compare(left, right)?)));
    match operator {
        Operator::Equal => Some(Value::Bool(same_type(left, right)? && equal(left, right))),
        Operator::NotEqual => Some(Value::Bool(same_type(left, right)? && !equal(left, right))),
        Operator::Less => ordered(&[Ordering::Less]),
        Operator::LessOrEqual => ordered(&[Ordering::Less, Ordering::Equal]),
        Operator::Greater => ordered(&[Ordering::Greater]),
        Operator::GreaterOrEqual => ordered(&[Ordering::Greater, Ordering::Equal]),
        Operator::Concatenate => Some(Value::String(format!("{}{}", left.as_str()?, right.as_str()?))),
        Operator::Coalesce => Some(left.clone()),
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            calculate(operator, left.as_number()?, right.as_number()?)
        }
    }
}

/// `Some(true)` or nothing, so that `?` reads as "else undefined".
fn same_type(left: &Value, right: &Value) -> Option<bool> {
    (rank(left) == rank(right)).then_some(true)
}

/// Order of two plain values of one type.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    // Integers are compared as such: beyond 2^53 different ones are the same float.
    match (integer(left), integer(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn integer(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// Deep equality; `1` equals `1.0`, and the order of members does not matter.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => compare(left, right) == Some(Ordering::Equal),
    }
}

/// The order of `ORDER BY`, `MIN` and `MAX`: undefined, null, booleans, numbers, strings, arrays, objects.
pub(super) fn order(left: Option<&Value>, right: Option<&Value>) -> Ordering {
    let by_type = left.map_or(0, rank).cmp(&right.map_or(0, rank));
    by_type.then_with(|| match (left, right) {
        (Some(left), Some(right)) => compare(left, right).unwrap_or(Ordering::Equal),
        _ => Ordering::Equal,
    })
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 1,
        Value::Bool(_) => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    }
}

fn calculate(operator: Operator, left: &Number, right: &Number) -> Option<Value> {
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let exact = match operator {
            Operator::Add => left.checked_add(right),
            Operator::Subtract => left.checked_sub(right),
            Operator::Multiply => left.checked_mul(right),
            Operator::Remainder => left.checked_rem(right),
            _ => None,
        };
        if let Some(exact) = exact {
            return Some(Value::from(exact));
        }
    }
    let (left, right) = (left.as_f64()?, right.as_f64()?);
    number(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Remainder => left % right,
        _ => return None,
    })
}

/// A number as JSON; whole ones without a fraction. What JSON can't write is undefined.
pub(super) fn number(value: f64) -> Option<Value> {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and the bound keeps it exact")]
        return Some(Value::from(value as i64));
    }
    Number::from_f64(value).map(Value::Number)
}

/// A text that is the same for equal values, for `DISTINCT`.
pub(super) fn fingerprint(value: &Value) -> String {
    match value {
        Value::Number(given) => match (integer(given), given.as_f64().and_then(number)) {
            (Some(integer), _) => integer.to_string(),
            (None, Some(normal)) => normal.to_string(),
            (None, None) => given.to_string(),
        },
        Value::Array(items) => format!("[{}]", items.iter().map(fingerprint).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let mut parts: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), fingerprint(value)))
                .collect();
            parts.sort_unstable();
            format!("{{{}}}", parts.join(","))
        }
        plain @ (Value::Null | Value::Bool(_) | Value::String(_)) => plain.to_string(),
    }
}
