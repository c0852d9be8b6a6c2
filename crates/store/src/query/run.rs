//! Documents to result: filter, project, aggregate, sort, cut.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::evaluate::{Scope, object};
use super::expression::{Aggregate, Expression, Operator};
use super::values::{apply, fingerprint, order};
use super::{Count, Direction, Query, Select, problem};
use crate::error::Error;

/// A query on its way through the documents of a container.
#[derive(Debug)]
pub struct Run<'q> {
    query: &'q Query,
    parameters: HashMap<String, Value>,
    skip: usize,
    take: usize,
    rows: Vec<Row>,
    totals: Vec<Total>,
}

#[derive(Debug)]
struct Row {
    keys: Vec<Option<Value>>,
    value: Value,
}

impl Query {
    /// Begins to run the query. Names of parameters may start with `@` or not.
    ///
    /// # Errors
    /// [`Error::Query`] for a parameter that is missing, or is no number of rows where one is needed.
    pub fn start(&self, parameters: &[(String, Value)]) -> Result<Run<'_>, Error> {
        let parameters: HashMap<String, Value> = parameters
            .iter()
            .map(|(name, value)| (name.strip_prefix('@').unwrap_or(name).to_owned(), value.clone()))
            .collect();
        if let Some((name, position)) =
            self.parameters.iter().find(|(name, _)| !parameters.contains_key(name))
        {
            return Err(problem(*position, format!("there is no value for the parameter @{name}")));
        }
        let rows = |count: &Count| count.resolve(&parameters);
        let (skip, take) = match (&self.top, &self.range) {
            (Some(top), _) => (0, rows(top)?),
            (None, Some((offset, limit))) => (rows(offset)?, rows(limit)?),
            (None, None) => (0, usize::MAX),
        };
        let totals = self.aggregates.iter().map(|(aggregate, _)| Total::new(*aggregate)).collect();
        Ok(Run { query: self, parameters, skip, take, rows: Vec::new(), totals })
    }
}

impl Count {
    fn resolve(&self, parameters: &HashMap<String, Value>) -> Result<usize, Error> {
        match self {
            Self::Literal(rows) => Ok(*rows),
            Self::Parameter { name, position } => parameters
                .get(name)
                .and_then(Value::as_u64)
                .and_then(|rows| usize::try_from(rows).ok())
                .ok_or_else(|| problem(*position, format!("@{name} must be a whole number of rows"))),
        }
    }
}

impl Run<'_> {
    /// Takes one document into account.
    pub fn visit(&mut self, document: &Value) {
        let query = self.query;
        let scope = Scope { document, parameters: &self.parameters, aggregates: &[] };
        if query.filter.as_ref().is_some_and(|filter| filter.truth(scope) != Some(true)) {
            return;
        }
        if !self.totals.is_empty() {
            for (total, (_, argument)) in self.totals.iter_mut().zip(&query.aggregates) {
                if let Some(value) = argument.evaluate(scope) {
                    total.add(&value);
                }
            }
            return;
        }
        let keys = query.order.iter().map(|(key, _)| key.evaluate(scope).map(Cow::into_owned)).collect();
        if let Some(value) = query.select.project(scope) {
            self.rows.push(Row { keys, value });
        }
    }

    /// The result, once every document was visited.
    pub fn finish(mut self) -> Vec<Value> {
        if !self.totals.is_empty() {
            let totals: Vec<Option<Value>> = self.totals.drain(..).map(Total::finish).collect();
            let scope = Scope { document: &Value::Null, parameters: &self.parameters, aggregates: &totals };
            let value = self.query.select.project(scope);
            self.rows.extend(value.map(|value| Row { keys: Vec::new(), value }));
        }
        let directions = &self.query.order;
        self.rows.sort_by(|left, right| {
            directions
                .iter()
                .zip(left.keys.iter().zip(&right.keys))
                .map(|((_, direction), (left, right))| match direction {
                    Direction::Ascending => order(left.as_ref(), right.as_ref()),
                    Direction::Descending => order(right.as_ref(), left.as_ref()),
                })
                .find(|ordering| *ordering != Ordering::Equal)
                .unwrap_or(Ordering::Equal)
        });
        let mut seen = HashSet::new();
        let values = self.rows.into_iter().map(|row| row.value);
        let distinct = values.filter(|value| !self.query.is_distinct || seen.insert(fingerprint(value)));
        distinct.skip(self.skip).take(self.take).collect()
    }
}

impl Select {
    fn project(&self, scope: Scope<'_>) -> Option<Value> {
        match self {
            Self::Whole => Some(scope.document.clone()),
            Self::Value(value) => value.evaluate(scope).map(Cow::into_owned),
            Self::Members(members) => Some(object(members, scope)),
        }
    }
}

/// An aggregate on its way. Undefined values are not added.
#[derive(Debug)]
struct Total {
    aggregate: Aggregate,
    count: u64,
    /// Sum, least or greatest so far. `None` once a sum met something that is no number.
    value: Option<Value>,
}

impl Total {
    fn new(aggregate: Aggregate) -> Self {
        Self { aggregate, count: 0, value: Some(Value::from(0)) }
    }

    fn add(&mut self, value: &Value) {
        let is_first = self.count == 0;
        self.count += 1;
        let is_better = |wanted| is_first || order(Some(value), self.value.as_ref()) == wanted;
        match self.aggregate {
            Aggregate::Count => {}
            Aggregate::Sum | Aggregate::Average => {
                self.value = self.value.as_ref().and_then(|sum| apply(Operator::Add, sum, value));
            }
            Aggregate::Minimum if is_better(Ordering::Less) => self.value = Some(value.clone()),
            Aggregate::Maximum if is_better(Ordering::Greater) => self.value = Some(value.clone()),
            Aggregate::Minimum | Aggregate::Maximum => {}
        }
    }

    /// Over nothing the count and the sum are 0, and the others are undefined.
    fn finish(self) -> Option<Value> {
        match self.aggregate {
            Aggregate::Count => Some(Value::from(self.count)),
            Aggregate::Sum => self.value,
            Aggregate::Average => apply(Operator::Divide, &self.value?, &Value::from(self.count)),
            Aggregate::Minimum | Aggregate::Maximum => self.value.filter(|_| self.count > 0),
        }
    }
}

/// The name that an expression without `AS` gets: that of the last property on its path.
pub(super) fn natural_name(expression: &Expression) -> Option<&str> {
    match expression {
        Expression::Document(alias) => Some(alias),
        Expression::Member(_, super::expression::Key::Name(name)) => Some(name),
        _ => None,
    }
}
