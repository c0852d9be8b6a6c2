//! TOML as a tree in which everything knows its line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::node::{DEPTH_MAX, Fault, Kind, Member, Node};
use super::yaml::Loaded;

/// Reads a document. A key that is there twice is refused by TOML itself.
///
/// # Errors
/// It is no TOML, or nested too deeply.
pub(super) fn parse(text: &str) -> Result<Loaded, Fault> {
    let line_of = |offset: usize| line_of(text, offset);
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        Fault::new(line, error.message().to_owned())
    })?;
    let root = map(table.get_ref(), 1, (text, 0))?;
    Ok(Loaded { root, doubles: Vec::new() })
}

fn map(table: &DeTable<'_>, line: u32, (text, depth): (&str, usize)) -> Result<Node, Fault> {
    if depth > DEPTH_MAX {
        return Err(Fault::new(line, format!("values are nested more than {DEPTH_MAX} deep")));
    }
    let mut members = Vec::new();
    for (key, value) in table {
        let line = line_of(text, key.span().start);
        members.push(Member { key: key.get_ref().to_string(), line, value: node(value, (text, depth + 1))? });
    }
    members.sort_by_key(|member| member.line);
    Ok(Node::new(Kind::Map(members), line))
}

fn node(value: &Spanned<DeValue<'_>>, (text, depth): (&str, usize)) -> Result<Node, Fault> {
    let line = line_of(text, value.span().start);
    Ok(match value.get_ref() {
        DeValue::String(value) => Node::text(value.to_string(), line),
        DeValue::Integer(value) => Node::plain(value.to_string(), line),
        DeValue::Float(value) => Node::plain(value.to_string(), line),
        DeValue::Boolean(value) => Node::plain(value.to_string(), line),
        DeValue::Datetime(value) => Node::text(value.to_string(), line),
        DeValue::Table(table) => map(table, line, (text, depth))?,
        DeValue::Array(items) => {
            if depth > DEPTH_MAX {
                return Err(Fault::new(line, format!("values are nested more than {DEPTH_MAX} deep")));
            }
            let items = items.iter().map(|item| node(item, (text, depth + 1)));
            Node::new(Kind::List(items.collect::<Result<_, _>>()?), line)
        }
    })
}

fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_lines() {
        let text = "[dev]\napp_function = \"app.app\"\n\n[dev.environment_variables]\nA = 7\n\n[[dev.events]]\nx = true\n";
        let root = parse(text).unwrap().root;
        let place =
            |path: &[&str]| root.at(path).map(|node| (node.scalar().unwrap_or("").to_owned(), node.line));
        assert_eq!(place(&["dev", "app_function"]), Some(("app.app".to_owned(), 2)));
        assert_eq!(place(&["dev", "environment_variables", "A"]), Some(("7".to_owned(), 5)));
        let events = root.at(&["dev", "events"]).unwrap();
        assert_eq!(events.items()[0].get("x").and_then(Node::flag), Some(true));
    }

    #[test]
    fn what_is_wrong_has_its_line() {
        let check = |text: &str, line: u32| assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        check("[dev]\na = \n", 2);
        check("a = 1\nb = 2\na = 3\n", 3);
        check(&format!("a = {}{}", "[".repeat(100), "]".repeat(100)), 1);
    }
}
