//! The built-in functions. An argument of the wrong type gives *undefined*.

use std::borrow::Cow;

use serde_json::{Number, Value};

use super::values::{equal, number};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Lower,
    Upper,
    Contains,
    StartsWith,
    EndsWith,
    Length,
    Absolute,
    IsDefined,
    IsNull,
    ArrayContains,
}

/// Names, and the least and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 10] = [
    ("LOWER", Function::Lower, 1, 1),
    ("UPPER", Function::Upper, 1, 1),
    ("CONTAINS", Function::Contains, 2, 3),
    ("STARTSWITH", Function::StartsWith, 2, 3),
    ("ENDSWITH", Function::EndsWith, 2, 3),
    ("LENGTH", Function::Length, 1, 1),
    ("ABS", Function::Absolute, 1, 1),
    ("IS_DEFINED", Function::IsDefined, 1, 1),
    ("IS_NULL", Function::IsNull, 1, 1),
    ("ARRAY_CONTAINS", Function::ArrayContains, 2, 3),
];

impl Function {
    /// The function and how many arguments it takes. Names are upper case.
    pub(super) fn named(name: &str) -> Option<(Self, std::ops::RangeInclusive<usize>)> {
        let (_, function, least, most) = FUNCTIONS.into_iter().find(|(known, ..)| *known == name)?;
        Some((function, least..=most))
    }

    pub(super) fn names() -> String {
        FUNCTIONS.map(|(name, ..)| name).join(", ")
    }

    /// `arguments` are as many as [`Function::named`] said, undefined ones as `None`.
    pub(super) fn call(self, arguments: &[Option<Cow<'_, Value>>]) -> Option<Value> {
        let argument = |index: usize| arguments.get(index).and_then(Option::as_deref);
        let first = argument(0);
        Some(match self {
            Self::IsDefined => Value::Bool(first.is_some()),
            Self::IsNull => Value::Bool(first.is_some_and(Value::is_null)),
            Self::Lower => Value::String(first?.as_str()?.to_lowercase()),
            Self::Upper => Value::String(first?.as_str()?.to_uppercase()),
            Self::Length => Value::from(first?.as_str()?.chars().count()),
            Self::Absolute => absolute(first?)?,
            Self::Contains | Self::StartsWith | Self::EndsWith => {
                let ignores_case = flag(arguments)?;
                Value::Bool(self.finds(first?.as_str()?, argument(1)?.as_str()?, ignores_case))
            }
            Self::ArrayContains => {
                let (items, wanted, partly) = (first?.as_array()?, argument(1)?, flag(arguments)?);
                Value::Bool(
                    items.iter().any(|item| equal(item, wanted) || (partly && includes(item, wanted))),
                )
            }
        })
    }

    fn finds(self, text: &str, part: &str, ignores_case: bool) -> bool {
        if ignores_case {
            return self.finds(&text.to_lowercase(), &part.to_lowercase(), false);
        }
        match self {
            Self::StartsWith => text.starts_with(part),
            Self::EndsWith => text.ends_with(part),
            _ => text.contains(part),
        }
    }
}

/// The optional third argument, false if it is left out.
fn flag(arguments: &[Option<Cow<'_, Value>>]) -> Option<bool> {
    arguments.get(2).map_or(Some(false), |argument| argument.as_deref()?.as_bool())
}

fn absolute(value: &Value) -> Option<Value> {
    let given = value.as_number()?;
    match given.as_i64() {
        Some(integer) => Some(Value::Number(Number::from(integer.unsigned_abs()))),
        None => number(given.as_f64()?.abs()),
    }
}

/// Whether the object has all members of the other with equal values.
fn includes(object: &Value, part: &Value) -> bool {
    match (object, part) {
        (Value::Object(object), Value::Object(part)) => {
            part.iter().all(|(name, wanted)| object.get(name).is_some_and(|found| equal(found, wanted)))
        }
        _ => false,
    }
}
