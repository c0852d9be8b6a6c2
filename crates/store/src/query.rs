//! A subset of the SQL of Azure Cosmos DB for NoSQL, over one container, in memory and pure.
//!
//! The subset and its meaning are described for users in `docs/documents.md`; keep the two together. Whatever is
//! outside of it is an error with the position of the first character that is not understood, never a wrong answer.
//!
//! | to find | look in |
//! |---|---|
//! | characters to tokens | `lexer` |
//! | tokens to a [`Query`]; limits on length and depth | `parser`, `expression` |
//! | one expression on one document, with *undefined* | `evaluate`, `functions` |
//! | comparing, ordering and calculating with JSON values | `values` |
//! | documents to result: filter, project, aggregate, sort, cut | `run` |

mod evaluate;
mod expression;
mod functions;
mod lexer;
mod parser;
mod run;
mod values;

pub use run::Run;

use expression::{Aggregate, Expression};

use crate::error::Error;

/// For hints.
pub(crate) const SUPPORTED: &str = "supported: SELECT [TOP n] [DISTINCT] [VALUE] … FROM c [WHERE …] [ORDER BY …] \
     [OFFSET n LIMIT m], COUNT, SUM, MIN, MAX and AVG over everything that is selected, and the operators and \
     functions in docs/documents.md; do the rest in Python";

/// A parsed query.
#[derive(Clone, Debug)]
pub struct Query {
    select: Select,
    is_distinct: bool,
    filter: Option<Expression>,
    order: Vec<(Expression, Direction)>,
    top: Option<Count>,
    /// `OFFSET` and `LIMIT`.
    range: Option<(Count, Count)>,
    aggregates: Vec<(Aggregate, Expression)>,
    /// Every `@name` with the position where it stands first.
    parameters: Vec<(String, usize)>,
}

#[derive(Clone, Debug)]
enum Select {
    /// `*`
    Whole,
    /// `VALUE expression`
    Value(Expression),
    /// Names and what they hold.
    Members(Vec<(String, Expression)>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    Ascending,
    Descending,
}

/// A number of rows.
#[derive(Clone, Debug)]
enum Count {
    Literal(usize),
    Parameter { name: String, position: usize },
}

impl Query {
    /// Reads the text of a query. Never panics and never recurses deeply, whatever the text.
    ///
    /// # Errors
    /// [`Error::Query`] with the position of the first character that is wrong or not supported.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parser::parse(text)
    }
}

fn problem(position: usize, message: impl Into<String>) -> Error {
    Error::Query { position, message: message.into() }
}

#[cfg(test)]
mod tests;
