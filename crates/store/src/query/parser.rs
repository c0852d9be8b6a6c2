//! Tokens to a query: the clauses, in order. Expressions are in `parser::expressions`.

mod expressions;

use serde_json::Value;

use super::expression::{Aggregate, Expression};
use super::lexer::{Positioned, Token, tokens};
use super::run::natural_name;
use super::{Count, Direction, Query, Select, problem};
use crate::error::Error;

/// Words that can't be names, upper case.
const RESERVED: [&str; 22] = [
    "SELECT",
    "FROM",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "ORDER",
    "BY",
    "OFFSET",
    "LIMIT",
    "TOP",
    "DISTINCT",
    "VALUE",
    "AS",
    "ASC",
    "DESC",
    "TRUE",
    "FALSE",
    "NULL",
    "UNDEFINED",
];

/// Words of the full language that get an answer of their own, upper case.
const UNSUPPORTED: [&str; 11] =
    ["JOIN", "GROUP", "HAVING", "UNION", "LIKE", "EXISTS", "ARRAY", "UDF", "ESCAPE", "CASE", "WITH"];

pub(super) fn parse(text: &str) -> Result<Query, Error> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
        operators: 0,
        aggregates: Vec::new(),
        allows_aggregates: false,
        is_in_aggregate: false,
        documents: Vec::new(),
        parameters: Vec::new(),
    };
    let query = parser.query()?;
    Ok(query)
}

struct Parser {
    tokens: Vec<Positioned>,
    next: usize,
    depth: usize,
    /// Operators so far, which bound the depth of the tree.
    operators: usize,
    aggregates: Vec<(Aggregate, Expression)>,
    allows_aggregates: bool,
    is_in_aggregate: bool,
    /// Uses of the document: alias, position, and whether inside an aggregate.
    documents: Vec<(String, usize, bool)>,
    parameters: Vec<(String, usize)>,
}

impl Parser {
    fn query(&mut self) -> Result<Query, Error> {
        self.expect_word("SELECT")?;
        let top = if self.accept_word("TOP") { Some(self.count()?) } else { None };
        let is_distinct = self.accept_word("DISTINCT");
        // Cosmos DB takes the two in either order.
        let top = if top.is_none() && self.accept_word("TOP") { Some(self.count()?) } else { top };
        self.allows_aggregates = true;
        let select = self.select()?;
        self.allows_aggregates = false;
        self.check_aggregates()?;
        self.expect_word("FROM")?;
        let alias = self.from()?;
        let filter = if self.accept_word("WHERE") { Some(self.expression()?) } else { None };
        let order = self.order()?;
        let position = self.position();
        let range = if self.accept_word("OFFSET") {
            let offset = self.count()?;
            self.expect_word("LIMIT")?;
            Some((offset, self.count()?))
        } else {
            None
        };
        if top.is_some() && range.is_some() {
            return Err(problem(position, "OFFSET can't be used with TOP"));
        }
        if *self.peek() != Token::End {
            return Err(self.unexpected("the end of the query"));
        }
        if let Some((name, position, _)) = self.documents.iter().find(|(name, ..)| *name != alias) {
            return Err(problem(
                *position,
                format!("{name} is not known; the documents are called {alias} here"),
            ));
        }
        let aggregates = std::mem::take(&mut self.aggregates);
        let parameters = std::mem::take(&mut self.parameters);
        Ok(Query { select, is_distinct, filter, order, top, range, aggregates, parameters })
    }

    fn select(&mut self) -> Result<Select, Error> {
        if self.accept_symbol("*") {
            return Ok(Select::Whole);
        }
        if self.accept_word("VALUE") {
            return Ok(Select::Value(self.expression()?));
        }
        let mut members: Vec<(String, Expression)> = Vec::new();
        let mut unnamed = 0;
        loop {
            let position = self.position();
            let expression = self.expression()?;
            let name = if self.accept_word("AS") {
                self.name("a name")?
            } else if let Some(name) = natural_name(&expression) {
                name.to_owned()
            } else {
                unnamed += 1;
                format!("${unnamed}")
            };
            if members.iter().any(|(other, _)| *other == name) {
                return Err(problem(position, format!("there are two values named {name}; use AS")));
            }
            members.push((name, expression));
            if !self.accept_symbol(",") {
                return Ok(Select::Members(members));
            }
        }
    }

    /// Without GROUP BY there is no one document whose property could stand beside an aggregate.
    fn check_aggregates(&self) -> Result<(), Error> {
        let beside = self.documents.iter().find(|(.., is_in_aggregate)| !is_in_aggregate);
        match beside {
            Some((_, position, _)) if !self.aggregates.is_empty() => Err(problem(
                *position,
                "a property beside an aggregate needs GROUP BY, which is not supported",
            )),
            _ => Ok(()),
        }
    }

    /// The alias of the documents: `FROM c`, `FROM orders o` or `FROM orders AS o`.
    fn from(&mut self) -> Result<String, Error> {
        let container = self.name("the name of the documents, such as c")?;
        if self.word_is("IN") || matches!(self.peek(), Token::Symbol("." | "[")) {
            return Err(problem(self.position(), "FROM can only name the container"));
        }
        if self.accept_word("AS") {
            return self.name("an alias");
        }
        match self.peek() {
            Token::Word(word) if !is_one_of(&RESERVED, word) && !is_one_of(&UNSUPPORTED, word) => {
                self.name("an alias")
            }
            _ => Ok(container),
        }
    }

    fn order(&mut self) -> Result<Vec<(Expression, Direction)>, Error> {
        let mut keys = Vec::new();
        let position = self.position();
        if !self.accept_word("ORDER") {
            return Ok(keys);
        }
        if !self.aggregates.is_empty() {
            return Err(problem(position, "ORDER BY can't be used with an aggregate"));
        }
        self.expect_word("BY")?;
        loop {
            let key = self.expression()?;
            let is_descending = !self.accept_word("ASC") && self.accept_word("DESC");
            keys.push((key, if is_descending { Direction::Descending } else { Direction::Ascending }));
            if !self.accept_symbol(",") {
                return Ok(keys);
            }
        }
    }

    fn count(&mut self) -> Result<Count, Error> {
        let position = self.position();
        let count = match self.peek().clone() {
            Token::Number(number) => {
                number.as_u64().and_then(|rows| usize::try_from(rows).ok()).map(Count::Literal)
            }
            Token::Parameter(name) => {
                self.parameters.push((name.clone(), position));
                Some(Count::Parameter { name, position })
            }
            _ => None,
        };
        let count = count.ok_or_else(|| self.unexpected("a whole number of rows"))?;
        self.next += 1;
        Ok(count)
    }

    fn name(&mut self, wanted: &str) -> Result<String, Error> {
        match self.peek().clone() {
            Token::Word(word)
                if !is_one_of(&RESERVED, &word) && !word.starts_with(|first: char| first.is_numeric()) =>
            {
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.unexpected(wanted)),
        }
    }

    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(token, _)| token)
    }

    fn position(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(1, |(_, position)| *position)
    }

    fn word_is(&self, keyword: &str) -> bool {
        matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn accept_word(&mut self, keyword: &str) -> bool {
        let is_here = self.word_is(keyword);
        self.next += usize::from(is_here);
        is_here
    }

    fn expect_word(&mut self, keyword: &str) -> Result<(), Error> {
        if self.accept_word(keyword) { Ok(()) } else { Err(self.unexpected(keyword)) }
    }

    fn accept_symbol(&mut self, symbol: &str) -> bool {
        let is_here = matches!(self.peek(), Token::Symbol(here) if *here == symbol);
        self.next += usize::from(is_here);
        is_here
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), Error> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.peek() {
            Token::Word(word) if is_one_of(&UNSUPPORTED, word) => {
                return problem(self.position(), format!("{} is not supported", word.to_uppercase()));
            }
            Token::Symbol("?") => return problem(self.position(), "the operator ? : is not supported"),
            Token::Word(word) => word.clone(),
            Token::Number(number) => number.to_string(),
            Token::Text(text) => Value::from(text.as_str()).to_string(),
            Token::Parameter(name) => format!("@{name}"),
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::End => "the end".to_owned(),
        };
        problem(self.position(), format!("{wanted} was expected, and {found} was found"))
    }
}

fn is_one_of(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}
