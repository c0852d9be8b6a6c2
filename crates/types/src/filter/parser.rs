//! Text to a filter.
//!
//! ```text
//! any      = all { "or" all }
//! all      = not { "and" not }
//! not      = "not" not | "(" any ")" | property operator literal
//! operator = "eq" | "ne" | "gt" | "ge" | "lt" | "le"
//! literal  = 'text' | number | "true" | "false" | datetime'…' | guid'…'
//! ```

use serde_json::Number;
use uuid::Uuid;

use super::literal::{Literal, date};
use super::{Expression, FilterError, Operator};

/// Longer filters are refused before they are read. Azure takes what fits into an address.
const FILTER_BYTES_MAX: usize = 32 * 1024;
/// Brackets and `not` inside each other.
const DEPTH_MAX: usize = 32;
const COMPARISONS_MAX: usize = 200;

const OPERATORS: [(&str, Operator); 6] = [
    ("eq", Operator::Equal),
    ("ne", Operator::NotEqual),
    ("gt", Operator::Greater),
    ("ge", Operator::GreaterOrEqual),
    ("lt", Operator::Less),
    ("le", Operator::LessOrEqual),
];
/// Words that can't be properties.
const RESERVED: [&str; 11] = ["eq", "ne", "gt", "ge", "lt", "le", "and", "or", "not", "true", "false"];

pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(problem(1, format!("the filter is longer than {FILTER_BYTES_MAX} bytes")));
    }
    let mut parser = Parser { rest: text, position: 1, depth: 0, comparisons: 0 };
    let expression = parser.any()?;
    parser.skip_spaces();
    match parser.peek() {
        None => Ok(expression),
        Some(_) => Err(parser.expected("`and`, `or` or the end")),
    }
}

fn problem(position: usize, message: impl Into<String>) -> FilterError {
    FilterError { position, message: message.into() }
}

struct Parser<'a> {
    rest: &'a str,
    position: usize,
    depth: usize,
    comparisons: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.all()?];
        while self.accept_word("or") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.not()?];
        while self.accept_word("and") {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expression::All))
    }

    fn not(&mut self) -> Result<Expression, FilterError> {
        self.skip_spaces();
        let position = self.position;
        let is_not = self.accept_word("not");
        if !is_not && self.peek() != Some('(') {
            return self.comparison();
        }
        if self.depth == DEPTH_MAX {
            return Err(problem(position, format!("there are more than {DEPTH_MAX} levels of brackets")));
        }
        self.depth += 1;
        let expression = if is_not {
            Expression::Not(Box::new(self.not()?))
        } else {
            self.take(1);
            let inner = self.any()?;
            self.skip_spaces();
            if self.peek() != Some(')') {
                return Err(self.expected("`)`, `and` or `or`"));
            }
            self.take(1);
            inner
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn comparison(&mut self) -> Result<Expression, FilterError> {
        self.skip_spaces();
        let position = self.position;
        self.comparisons += 1;
        if self.comparisons > COMPARISONS_MAX {
            return Err(problem(position, format!("there are more than {COMPARISONS_MAX} comparisons")));
        }
        let property = self.word();
        if property.is_empty()
            || property.starts_with(|first: char| first.is_numeric())
            || is_reserved(property)
        {
            return Err(problem(
                position,
                format!("{} is not the name of a property", shown(property, self.rest)),
            ));
        }
        self.skip_spaces();
        let position = self.position;
        let word = self.word();
        let Some((_, operator)) = OPERATORS.into_iter().find(|(name, _)| *name == word) else {
            let found = shown(word, self.rest);
            return Err(problem(position, format!("{found} is no operator; eq, ne, gt, ge, lt and le are")));
        };
        let literal = self.literal()?;
        Ok(Expression::Compare { property: property.to_owned(), operator, literal })
    }

    fn literal(&mut self) -> Result<Literal, FilterError> {
        self.skip_spaces();
        let position = self.position;
        match self.peek() {
            Some('\'') => return self.text().map(Literal::Text),
            Some('0'..='9' | '-' | '+') => return self.number(),
            _ => {}
        }
        let word = self.word();
        match (word, self.peek()) {
            ("true", _) => Ok(Literal::Bool(true)),
            ("false", _) => Ok(Literal::Bool(false)),
            ("datetime", Some('\'')) => {
                let text = self.text()?;
                let wrong = || problem(position, format!("`{text}` is no date like 2026-10-25T08:00:00Z"));
                date(&text).map(Literal::Date).ok_or_else(wrong)
            }
            ("guid", Some('\'')) => {
                let text = self.text()?;
                let wrong = |_| problem(position, format!("`{text}` is no GUID"));
                Uuid::try_parse(&text).map(Literal::Guid).map_err(wrong)
            }
            _ => {
                let found = shown(word, self.rest);
                let known = "a text in single quotes, a number, true, false, datetime'…' and guid'…' are";
                Err(problem(position, format!("{found} is no value; {known}")))
            }
        }
    }

    /// A text in single quotes; two of them stand for one.
    fn text(&mut self) -> Result<String, FilterError> {
        let start = self.position;
        self.take(1);
        let mut text = String::new();
        loop {
            let Some(end) = self.rest.find('\'') else {
                return Err(problem(start, "this text does not end"));
            };
            text.push_str(self.take(end));
            self.take(1);
            if self.peek() != Some('\'') {
                return Ok(text);
            }
            text.push_str(self.take(1));
        }
    }

    fn number(&mut self) -> Result<Literal, FilterError> {
        let position = self.position;
        let is_part = |character: char| character.is_alphanumeric() || "+-._".contains(character);
        let length = self.rest.find(|character| !is_part(character)).unwrap_or(self.rest.len());
        let text = self.take(length);
        // `L` marks a 64-bit number, which all whole numbers are here.
        let plain = text.strip_suffix(['L', 'l']).unwrap_or(text);
        let whole = plain.parse::<i64>().ok().map(Number::from);
        let is_float = plain == text && plain.contains(['.', 'e', 'E']);
        let number =
            whole.or_else(|| plain.parse::<f64>().ok().filter(|_| is_float).and_then(Number::from_f64));
        number
            .map(Literal::Number)
            .ok_or_else(|| problem(position, format!("`{text}` is no number in range")))
    }

    fn accept_word(&mut self, wanted: &str) -> bool {
        self.skip_spaces();
        let (rest, position) = (self.rest, self.position);
        if self.word() == wanted {
            return true;
        }
        (self.rest, self.position) = (rest, position);
        false
    }

    fn word(&mut self) -> &'a str {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let length = self.rest.find(|character| !is_part(character)).unwrap_or(self.rest.len());
        self.take(length)
    }

    fn skip_spaces(&mut self) {
        self.take(self.rest.len() - self.rest.trim_start().len());
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn expected(&self, wanted: &str) -> FilterError {
        problem(self.position, format!("{wanted} is expected instead of {}", shown("", self.rest)))
    }

    /// Takes that many bytes, which end between two characters.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.position += taken.chars().count();
        taken
    }
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// The word, or what stands where one should.
fn shown(word: &str, rest: &str) -> String {
    match (word, rest.chars().next()) {
        ("", None) => "the end of the filter".to_owned(),
        ("", Some(next)) => format!("`{next}`"),
        (word, _) => format!("`{}`", word.chars().take(40).collect::<String>()),
    }
}
