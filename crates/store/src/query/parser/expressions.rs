//! Expressions, from the loosest operator to the tightest: OR, AND, NOT, comparisons, `??`, `||`, `+ -`, `* / %`,
//! signs, paths.

use serde_json::Value;

use super::{Parser, RESERVED, UNSUPPORTED, is_one_of};
use crate::error::Error;
use crate::query::expression::{Aggregate, Expression, Key, Operator};
use crate::query::functions::Function;
use crate::query::lexer::Token;
use crate::query::problem;

/// Brackets, signs and NOTs inside each other.
const DEPTH_MAX: usize = 32;

/// A chain of operators is as deep as it is long, so their number bounds the depth of evaluation. AND, OR and
/// lists are not counted.
const OPERATORS_MAX: usize = 500;

type Level = fn(&mut Parser) -> Result<Expression, Error>;

const COMPARISONS: [(&str, Operator); 7] = [
    ("=", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<>", Operator::NotEqual),
    ("<", Operator::Less),
    ("<=", Operator::LessOrEqual),
    (">", Operator::Greater),
    (">=", Operator::GreaterOrEqual),
];

impl Parser {
    pub(super) fn expression(&mut self) -> Result<Expression, Error> {
        self.deeper(|parser| {
            parser.junction("OR", Expression::Any, |parser| {
                parser.junction("AND", Expression::All, Self::negation)
            })
        })
    }

    /// Every recursion goes through here.
    fn deeper(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Expression, Error>,
    ) -> Result<Expression, Error> {
        if self.depth == DEPTH_MAX {
            return Err(problem(
                self.position(),
                format!("this is nested more than {DEPTH_MAX} levels deep"),
            ));
        }
        self.depth += 1;
        let expression = parse(self);
        self.depth -= 1;
        expression
    }

    fn junction(
        &mut self,
        word: &str,
        join: fn(Vec<Expression>) -> Expression,
        part: Level,
    ) -> Result<Expression, Error> {
        let first = part(self)?;
        if !self.word_is(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.accept_word(word) {
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn negation(&mut self) -> Result<Expression, Error> {
        if self.accept_word("NOT") {
            return self.deeper(|parser| Ok(Expression::Not(Box::new(parser.negation()?))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expression, Error> {
        let left = self.chain(&COMPARISONS, Self::coalescing)?;
        let is_negated = self.accept_word("NOT");
        let found = if self.accept_word("IN") {
            self.expect_symbol("(")?;
            self.refuse_subquery()?;
            Expression::In(Box::new(left), self.list(")")?)
        } else if self.accept_word("BETWEEN") {
            let low = self.coalescing()?;
            self.expect_word("AND")?;
            Expression::Between(Box::new([left, low, self.coalescing()?]))
        } else if is_negated {
            return Err(self.unexpected("IN or BETWEEN"));
        } else {
            return Ok(left);
        };
        Ok(if is_negated { Expression::Not(Box::new(found)) } else { found })
    }

    fn coalescing(&mut self) -> Result<Expression, Error> {
        self.chain(&[("??", Operator::Coalesce)], |parser| {
            parser.chain(&[("||", Operator::Concatenate)], |parser| {
                parser.chain(&[("+", Operator::Add), ("-", Operator::Subtract)], |parser| {
                    let products =
                        [("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)];
                    parser.chain(&products, Self::signed)
                })
            })
        })
    }

    /// Operators of one level, from left to right.
    fn chain(&mut self, operators: &[(&str, Operator)], part: Level) -> Result<Expression, Error> {
        let mut left = part(self)?;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.accept_symbol(symbol)) {
            self.count_operator()?;
            left = Expression::Binary(*operator, Box::new(left), Box::new(part(self)?));
        }
        Ok(left)
    }

    fn count_operator(&mut self) -> Result<(), Error> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(problem(
                self.position(),
                format!("the query has more than {OPERATORS_MAX} operators"),
            ));
        }
        Ok(())
    }

    fn signed(&mut self) -> Result<Expression, Error> {
        if self.accept_symbol("-") {
            return self.deeper(|parser| Ok(Expression::Negate(Box::new(parser.signed()?))));
        }
        if self.accept_symbol("+") {
            return self.deeper(Self::signed);
        }
        let mut value = self.primary()?;
        loop {
            let key = if self.accept_symbol(".") {
                // Any word is a property's name here, `c.order` among them.
                match self.peek().clone() {
                    Token::Word(name) => Key::Name(name),
                    _ => return Err(self.unexpected("the name of a property")),
                }
            } else if self.accept_symbol("[") {
                match self.peek().clone() {
                    Token::Text(name) => Key::Name(name),
                    Token::Number(number) if number.is_u64() => Key::Index(
                        number.as_u64().and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX),
                    ),
                    _ => return Err(self.unexpected("a string or an index")),
                }
            } else {
                return Ok(value);
            };
            let is_bracket =
                matches!(self.tokens.get(self.next.wrapping_sub(1)), Some((Token::Symbol("["), _)));
            self.next += 1;
            if is_bracket {
                self.expect_symbol("]")?;
            }
            self.count_operator()?;
            value = Expression::Member(Box::new(value), key);
        }
    }

    fn primary(&mut self) -> Result<Expression, Error> {
        let position = self.position();
        match self.peek().clone() {
            Token::Number(number) => self.literal(Value::Number(number)),
            Token::Text(text) => self.literal(Value::String(text)),
            Token::Parameter(name) => {
                self.next += 1;
                self.parameters.push((name.clone(), position));
                Ok(Expression::Parameter(name))
            }
            Token::Symbol("(") => {
                self.next += 1;
                self.refuse_subquery()?;
                let inner = self.expression()?;
                self.expect_symbol(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => {
                self.next += 1;
                Ok(Expression::Array(self.list("]")?))
            }
            Token::Symbol("{") => self.object(),
            Token::Word(word) => self.word(&word, position),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn literal(&mut self, value: Value) -> Result<Expression, Error> {
        self.next += 1;
        Ok(Expression::Literal(value))
    }

    fn word(&mut self, word: &str, position: usize) -> Result<Expression, Error> {
        let upper = word.to_ascii_uppercase();
        match upper.as_str() {
            "TRUE" => return self.literal(Value::Bool(true)),
            "FALSE" => return self.literal(Value::Bool(false)),
            "NULL" => return self.literal(Value::Null),
            "UNDEFINED" => {
                self.next += 1;
                return Ok(Expression::Undefined);
            }
            _ if is_one_of(&RESERVED, word) => return Err(self.unexpected("a value")),
            _ => {}
        }
        if self.tokens.get(self.next + 1).is_some_and(|(token, _)| *token == Token::Symbol("(")) {
            return self.call(&upper, position);
        }
        if is_one_of(&UNSUPPORTED, word) {
            return Err(self.unexpected("a value"));
        }
        self.next += 1;
        self.documents.push((word.to_owned(), position, self.is_in_aggregate));
        Ok(Expression::Document(word.to_owned()))
    }

    fn call(&mut self, name: &str, position: usize) -> Result<Expression, Error> {
        if let Some(aggregate) = Aggregate::named(name) {
            return self.aggregate(aggregate, name, position);
        }
        let Some((function, count)) = Function::named(name) else {
            let message = format!("the function {name} is not supported; there are {}", Function::names());
            return Err(problem(position, message));
        };
        self.next += 2;
        let arguments = self.list(")")?;
        if !count.contains(&arguments.len()) {
            let message = format!("{name} takes {} to {} arguments", count.start(), count.end());
            return Err(problem(position, message));
        }
        Ok(Expression::Call(function, arguments))
    }

    fn aggregate(&mut self, aggregate: Aggregate, name: &str, position: usize) -> Result<Expression, Error> {
        if !self.allows_aggregates {
            return Err(problem(
                position,
                format!("{name} can only stand after SELECT, and not inside an aggregate"),
            ));
        }
        self.next += 2;
        self.allows_aggregates = false;
        self.is_in_aggregate = true;
        let argument = self.expression()?;
        self.is_in_aggregate = false;
        self.allows_aggregates = true;
        self.expect_symbol(")")?;
        self.aggregates.push((aggregate, argument));
        Ok(Expression::Aggregate(self.aggregates.len() - 1))
    }

    fn object(&mut self) -> Result<Expression, Error> {
        self.next += 1;
        let mut members = Vec::new();
        while !self.accept_symbol("}") {
            if !members.is_empty() {
                self.expect_symbol(",")?;
            }
            let name = match self.peek().clone() {
                Token::Text(name) | Token::Word(name) => name,
                _ => return Err(self.unexpected("the name of a property")),
            };
            self.next += 1;
            self.expect_symbol(":")?;
            members.push((name, self.expression()?));
        }
        Ok(Expression::Object(members))
    }

    /// Expressions up to the closing bracket, perhaps none.
    fn list(&mut self, close: &str) -> Result<Vec<Expression>, Error> {
        let mut items = Vec::new();
        while !self.accept_symbol(close) {
            if !items.is_empty() {
                self.expect_symbol(",")?;
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn refuse_subquery(&self) -> Result<(), Error> {
        if self.word_is("SELECT") {
            return Err(problem(self.position(), "a query inside a query is not supported"));
        }
        Ok(())
    }
}
