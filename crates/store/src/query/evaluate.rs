//! One expression on one document. `None` is Cosmos DB's *undefined*: a property that is not there, and whatever
//! is calculated from it.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::expression::{Expression, Key, Operator};
use super::values::{apply, number};

/// What names mean.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) document: &'a Value,
    pub(super) parameters: &'a HashMap<String, Value>,
    /// Results of the aggregates once everything has been seen.
    pub(super) aggregates: &'a [Option<Value>],
}

type Found<'a> = Option<Cow<'a, Value>>;

impl Expression {
    pub(super) fn evaluate<'a>(&'a self, scope: Scope<'a>) -> Found<'a> {
        match self {
            Self::Undefined => None,
            Self::Literal(value) => Some(Cow::Borrowed(value)),
            Self::Parameter(name) => scope.parameters.get(name).map(Cow::Borrowed),
            Self::Document(_) => Some(Cow::Borrowed(scope.document)),
            Self::Member(value, key) => member(value.evaluate(scope)?, key),
            Self::Not(value) => owned(Value::Bool(!value.truth(scope)?)),
            Self::Negate(value) => negated(value.evaluate(scope)?.as_ref()),
            Self::All(values) => every(values.iter().map(|value| value.truth(scope)), true),
            Self::Any(values) => every(values.iter().map(|value| value.truth(scope)), false),
            Self::Binary(operator, left, right) => binary(*operator, left, right, scope),
            Self::In(value, list) => is_in(value, list, scope),
            Self::Between(parts) => between(parts, scope),
            Self::Call(function, arguments) => {
                let arguments: Vec<_> = arguments.iter().map(|argument| argument.evaluate(scope)).collect();
                function.call(&arguments).and_then(owned)
            }
            Self::Object(members) => owned(object(members, scope)),
            Self::Array(items) => {
                // An undefined element is left out, as an undefined member is.
                let items = items.iter().filter_map(|item| item.evaluate(scope).map(Cow::into_owned));
                owned(Value::Array(items.collect()))
            }
            Self::Aggregate(index) => scope.aggregates.get(*index)?.as_ref().map(Cow::Borrowed),
        }
    }

    /// True, false, or undefined for everything else.
    pub(super) fn truth(&self, scope: Scope<'_>) -> Option<bool> {
        self.evaluate(scope)?.as_bool()
    }
}

// Small functions on purpose: what `evaluate` keeps on the stack is multiplied by the depth of the expression.

fn owned<'a>(value: Value) -> Found<'a> {
    Some(Cow::Owned(value))
}

fn member<'a>(value: Cow<'a, Value>, key: &Key) -> Found<'a> {
    match value {
        Cow::Borrowed(value) => match key {
            Key::Name(name) => value.as_object()?.get(name).map(Cow::Borrowed),
            Key::Index(index) => value.as_array()?.get(*index).map(Cow::Borrowed),
        },
        Cow::Owned(value) => match key {
            Key::Name(name) => value.as_object()?.get(name).cloned().map(Cow::Owned),
            Key::Index(index) => value.as_array()?.get(*index).cloned().map(Cow::Owned),
        },
    }
}

fn negated<'a>(value: &Value) -> Found<'a> {
    apply(Operator::Subtract, &number(0.0)?, value).map(Cow::Owned)
}

/// `AND` (neutral: true) and `OR` (neutral: false): the opposite of the neutral value decides, whatever else is
/// undefined.
fn every<'a>(mut values: impl Iterator<Item = Option<bool>>, neutral: bool) -> Found<'a> {
    let mut is_defined = true;
    let is_decided = values.any(|value| {
        is_defined &= value.is_some();
        value == Some(!neutral)
    });
    if is_decided {
        owned(Value::Bool(!neutral))
    } else {
        is_defined.then(|| Cow::Owned(Value::Bool(neutral)))
    }
}

fn binary<'a>(
    operator: Operator,
    left: &'a Expression,
    right: &'a Expression,
    scope: Scope<'a>,
) -> Found<'a> {
    let left = left.evaluate(scope);
    if operator == Operator::Coalesce {
        return left.or_else(|| right.evaluate(scope));
    }
    apply(operator, left?.as_ref(), right.evaluate(scope)?.as_ref()).map(Cow::Owned)
}

/// The same as a chain of `=` and `OR`.
fn is_in<'a>(value: &'a Expression, list: &'a [Expression], scope: Scope<'a>) -> Found<'a> {
    let value = value.evaluate(scope)?;
    let equal =
        |item: &'a Expression| apply(Operator::Equal, &value, item.evaluate(scope)?.as_ref())?.as_bool();
    every(list.iter().map(equal), false)
}

fn between<'a>(parts: &'a [Expression; 3], scope: Scope<'a>) -> Found<'a> {
    let [value, low, high] = parts.each_ref().map(|part| part.evaluate(scope));
    let value = value?;
    let is_above = low.and_then(|low| apply(Operator::GreaterOrEqual, &value, &low)?.as_bool());
    let is_below = high.and_then(|high| apply(Operator::LessOrEqual, &value, &high)?.as_bool());
    every([is_above, is_below].into_iter(), true)
}

pub(super) fn object(members: &[(String, Expression)], scope: Scope<'_>) -> Value {
    let members =
        members.iter().filter_map(|(name, value)| Some((name.clone(), value.evaluate(scope)?.into_owned())));
    Value::Object(members.collect::<Map<_, _>>())
}
