//! Mapping templates: the part of Apache Velocity's language that API Gateway's templates use (AWS's "Mapping template reference"; facts
//! of Lambda, section 5.4).
//!
//! Pure: a text and values in, a text out. A template comes from a project's file, but what it is filled with comes from anybody, so
//! steps, sizes and depth have bounds. Values are copied where Velocity shares them: a list that was put into two variables is two
//! lists.

mod call;
mod expression;
mod given;
mod parse;
mod path;
mod render;
mod value;

pub(crate) use render::{Input, Outcome};
pub(crate) use value::Value;

/// Maps and lists within each other; whoever drops or prints a value recurses.
const VALUE_DEPTH_MAX: usize = 200;

/// A template that can be filled.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

/// Why a text is no template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Counted from 1.
    pub(crate) line: u32,
    pub(crate) what: String,
}

#[derive(Clone, PartialEq, Debug)]
enum Part {
    Text(String),
    /// Printed as it is written if it has no value, unless it is quiet.
    Print {
        reference: Reference,
        is_quiet: bool,
        written: String,
    },
    Set(Reference, Expression),
    /// Conditions with what is done, and what is done otherwise.
    If(Vec<(Expression, Vec<Part>)>, Vec<Part>),
    Each {
        name: String,
        list: Expression,
        body: Vec<Part>,
    },
    Break,
    Stop,
}

/// `$name.property.method(1)[0]`.
#[derive(Clone, PartialEq, Debug)]
struct Reference {
    name: String,
    steps: Vec<Step>,
}

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Property(String),
    Index(Expression),
    Call(String, Vec<Expression>),
}

#[derive(Clone, PartialEq, Debug)]
enum Expression {
    Value(Value),
    /// A text in double quotes, with references in it.
    Text(Vec<Part>),
    Reference(Reference),
    List(Vec<Expression>),
    Range(Box<Expression>, Box<Expression>),
    Map(Vec<(Expression, Expression)>),
    Not(Box<Expression>),
    Two(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
}

impl Template {
    /// # Errors
    /// It is no template, or has a directive that is not served; with its line.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        parse::template(text).map(|parts| Self { parts })
    }

    /// # Errors
    /// It takes too many steps, grows too long, or asks for what there is not; in words.
    pub(crate) fn fill(&self, input: &Input) -> Result<Outcome, String> {
        render::fill(&self.parts, input)
    }
}

#[cfg(test)]
mod tests;
