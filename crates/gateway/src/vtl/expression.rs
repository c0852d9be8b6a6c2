//! Expressions, by their rank.

use super::parse::Reader;
use super::{Expression, Fault, Operator, Value};

/// From the weakest to the strongest; longer signs before those that begin them.
const RANKS: [&[(&str, Operator)]; 6] = [
    &[("||", Operator::Or), ("or", Operator::Or)],
    &[("&&", Operator::And), ("and", Operator::And)],
    &[("==", Operator::Equal), ("!=", Operator::Unequal), ("eq", Operator::Equal), ("ne", Operator::Unequal)],
    &[
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("le", Operator::LessOrEqual),
        ("ge", Operator::GreaterOrEqual),
        ("lt", Operator::Less),
        ("gt", Operator::Greater),
    ],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Divide), ("%", Operator::Modulo)],
];

pub(super) fn read(reader: &mut Reader<'_>) -> Result<Expression, Fault> {
    reader.deeper(|reader| ranked(reader, 0))
}

fn ranked(reader: &mut Reader<'_>, rank: usize) -> Result<Expression, Fault> {
    let Some(operators) = RANKS.get(rank) else { return single(reader) };
    let mut left = ranked(reader, rank + 1)?;
    // Each adds a level to what is evaluated.
    let mut count = 0;
    while let Some(operator) = operator(reader, operators) {
        count += 1;
        if count > super::parse::DEPTH_MAX {
            return Err(reader.fault("an expression has too many parts"));
        }
        let right = ranked(reader, rank + 1)?;
        left = Expression::Two(operator, Box::new(left), Box::new(right));
    }
    Ok(left)
}

fn operator(reader: &mut Reader<'_>, operators: &[(&str, Operator)]) -> Option<Operator> {
    reader.blanks();
    let rest = reader.rest();
    let (sign, operator) = operators.iter().find(|(sign, _)| {
        let is_word = sign.starts_with(|letter: char| letter.is_ascii_alphabetic());
        let after = rest.strip_prefix(sign);
        after.is_some_and(|after| {
            !is_word || !after.starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_')
        })
    })?;
    reader.takes(sign).then_some(*operator)
}

fn single(reader: &mut Reader<'_>) -> Result<Expression, Fault> {
    reader.blanks();
    let rest = reader.rest();
    match reader.peek() {
        Some('$') => match reader.reference()? {
            Some((reference, _)) => Ok(Expression::Reference(reference)),
            None => Err(reader.fault("`$` has no name")),
        },
        Some('!') => {
            reader.takes("!");
            reader.deeper(single).map(|inner| Expression::Not(Box::new(inner)))
        }
        Some('(') => {
            reader.takes("(");
            let inner = read(reader)?;
            reader.expect(")")?;
            Ok(inner)
        }
        Some('[') => list(reader),
        Some('{') => map(reader),
        Some('\'') => quoted(reader, '\'').map(|text| Expression::Value(text.into())),
        Some('"') => {
            let text = quoted(reader, '"')?;
            reader.inner(&text).map(Expression::Text)
        }
        Some(letter) if letter == '-' || letter.is_ascii_digit() => number(reader),
        _ => match reader.name() {
            Some("true") => Ok(Expression::Value(true.into())),
            Some("false") => Ok(Expression::Value(false.into())),
            Some("null") => Ok(Expression::Value(Value::Null)),
            Some("not") => reader.deeper(single).map(|inner| Expression::Not(Box::new(inner))),
            _ => {
                let near: String = rest.chars().take(20).collect();
                Err(reader.fault(format!("a value is missing before `{}`", near.escape_default())))
            }
        },
    }
}

fn list(reader: &mut Reader<'_>) -> Result<Expression, Fault> {
    reader.takes("[");
    reader.blanks();
    if reader.takes("]") {
        return Ok(Expression::List(Vec::new()));
    }
    let first = read(reader)?;
    reader.blanks();
    if reader.takes("..") {
        let last = read(reader)?;
        reader.expect("]")?;
        return Ok(Expression::Range(Box::new(first), Box::new(last)));
    }
    let mut found = vec![first];
    if !reader.takes("]") {
        reader.expect(",")?;
        found.extend(reader.list("]")?);
    }
    Ok(Expression::List(found))
}

fn map(reader: &mut Reader<'_>) -> Result<Expression, Fault> {
    reader.takes("{");
    let mut found = Vec::new();
    reader.blanks();
    if reader.takes("}") {
        return Ok(Expression::Map(found));
    }
    loop {
        reader.blanks();
        let key = match reader.name() {
            Some(name) => Expression::Value(name.into()),
            None => read(reader)?,
        };
        reader.expect(":")?;
        found.push((key, read(reader)?));
        reader.blanks();
        if reader.takes("}") {
            return Ok(Expression::Map(found));
        }
        reader.expect(",")?;
    }
}

/// What stands in quotes. Two quotes are one; a backslash stays, and keeps a double quote from being the end.
fn quoted(reader: &mut Reader<'_>, quote: char) -> Result<String, Fault> {
    let fault = reader.fault("a text has no end");
    reader.next();
    let mut text = String::new();
    loop {
        match reader.next() {
            None => return Err(fault),
            Some(letter) if letter == quote => {
                if reader.peek() != Some(quote) {
                    return Ok(text);
                }
                reader.next();
                text.push(quote);
            }
            Some('\\') if quote == '"' && reader.peek() == Some('"') => {
                reader.next();
                text.push_str("\\\"");
            }
            Some(letter) => text.push(letter),
        }
    }
}

fn number(reader: &mut Reader<'_>) -> Result<Expression, Fault> {
    let rest = reader.rest();
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let sign = usize::from(rest.starts_with('-'));
    let mut length = sign + digits(rest.get(sign..).unwrap_or_default());
    // Two full stops make a range.
    let fraction = rest.get(length..).and_then(|rest| rest.strip_prefix('.')).map_or(0, digits);
    if fraction > 0 {
        length += 1 + fraction;
    }
    let text = rest.get(..length).unwrap_or_default();
    let found =
        text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<f64>().map(super::value::number));
    let Ok(found) = found else { return Err(reader.fault("a number is missing behind `-`")) };
    reader.takes(text);
    Ok(Expression::Value(found))
}
