//! What stands where a value can stand.

use serde_json::Value;

use super::functions::Function;

#[derive(Clone, Debug)]
pub(super) enum Expression {
    Undefined,
    Literal(Value),
    Parameter(String),
    /// The document, by its alias.
    Document(String),
    Member(Box<Expression>, Key),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    /// `AND` of all; flat, so that a long chain is not deep.
    All(Vec<Expression>),
    /// `OR` of all.
    Any(Vec<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
    In(Box<Expression>, Vec<Expression>),
    Between(Box<[Expression; 3]>),
    Call(Function, Vec<Expression>),
    Object(Vec<(String, Expression)>),
    Array(Vec<Expression>),
    /// Result of an aggregate, by its number in the query.
    Aggregate(usize),
}

#[derive(Clone, Debug)]
pub(super) enum Key {
    Name(String),
    Index(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Concatenate,
    Coalesce,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Aggregate {
    Count,
    Sum,
    Minimum,
    Maximum,
    Average,
}

impl Aggregate {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "COUNT" => Self::Count,
            "SUM" => Self::Sum,
            "MIN" => Self::Minimum,
            "MAX" => Self::Maximum,
            "AVG" => Self::Average,
            _ => return None,
        })
    }
}
