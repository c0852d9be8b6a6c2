//! Files of variables beside a serverless.yml, which `useDotenv` lets `${env:…}` see: `NAME=value` line by line, with the
//! rules of the packages dotenv and dotenv-expand for Node.

use std::collections::BTreeMap;

/// Of one value: the longest variable that a process of Linux can have.
const VALUE_BYTES_MAX: usize = 128 << 10;

/// The variables of a file, each with what it refers to: `${NAME}`, `$NAME`, `${NAME:-default}`. The environment wins.
///
/// # Errors
/// The name of one that would be longer than any variable.
pub(super) fn read(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in written(&text.replace("\r\n", "\n")) {
        let known = |name: &str| environment.get(name).or_else(|| found.get(name)).map(String::as_str);
        let value = expanded(&value, known).ok_or_else(|| name.clone())?;
        found.insert(name, value);
    }
    Ok(found)
}

/// Names and values as they stand there. Lines that have no such form say nothing.
fn written(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or_default();
        if let Some((name, behind)) = name(line) {
            let (value, left) = value(&rest[line.len() - behind.len()..]);
            found.push((name.to_owned(), value));
            rest = left;
        }
        // What is left of the line is a comment.
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    found
}

/// The name in front of a `=`, and what is behind that.
fn name(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
    let line = exported.map_or(line, str::trim_start);
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    let rest = line.trim_start_matches(is_letter);
    let name = &line[..line.len() - rest.len()];
    let behind = rest.trim_start().strip_prefix('=').or_else(|| rest.strip_prefix(": "))?;
    (!name.is_empty()).then_some((name, behind))
}

/// The value at the beginning of a text, and the rest. One in quotes may have several lines.
fn value(text: &str) -> (String, &str) {
    let start = text.trim_start_matches([' ', '\t']);
    if let Some((quote, inner, rest)) = quoted(start) {
        let value =
            if quote == '"' { inner.replace("\\n", "\n").replace("\\r", "\r") } else { inner.to_owned() };
        return (value, rest);
    }
    let end = start.find(['\n', '#']).unwrap_or(start.len());
    (start[..end].trim().to_owned(), &start[end..])
}

/// Quote, what is between two of them, and the rest, in which only a comment may be before the end of the line.
fn quoted(text: &str) -> Option<(char, &str, &str)> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\'' | '`'))?;
    let inner = &text[1..];
    let ends = inner.match_indices(quote).map(|(at, _)| at);
    let end = ends.into_iter().find(|&at| !inner[..at].ends_with('\\'))?;
    let rest = &inner[end + 1..];
    let behind = rest.trim_start_matches([' ', '\t']);
    (behind.is_empty() || behind.starts_with(['\n', '#'])).then_some((quote, &inner[..end], rest))
}

/// A value with what it refers to; `None` if it grows too long.
fn expanded<'a>(value: &str, known: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        let (before, behind) = (&rest[..at], &rest[at + 1..]);
        if let Some(before) = before.strip_suffix('\\') {
            text.push_str(before);
            text.push('$');
            rest = behind;
            continue;
        }
        text.push_str(before);
        let Some((name, default, left)) = reference(behind) else {
            text.push('$');
            rest = behind;
            continue;
        };
        text.push_str(known(name).filter(|value| !value.is_empty()).unwrap_or(default));
        rest = left;
        if text.len() > VALUE_BYTES_MAX {
            return None;
        }
    }
    text.push_str(rest);
    (text.len() <= VALUE_BYTES_MAX).then_some(text)
}

/// The name, the default and the rest of what stands behind a `$`.
fn reference(text: &str) -> Option<(&str, &str, &str)> {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let (start, in_braces) = text.strip_prefix('{').map_or((text, false), |rest| (rest, true));
    let rest = start.trim_start_matches(is_letter);
    let name = &start[..start.len() - rest.len()];
    if name.is_empty() {
        return None;
    }
    if !in_braces {
        return Some((name, "", rest));
    }
    let (default, left) = rest.split_once('}')?;
    if default.is_empty() { Some((name, "", left)) } else { Some((name, default.strip_prefix(":-")?, left)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let environment = BTreeMap::from([("HOME".to_owned(), "/home".to_owned())]);
        let found = read(text, &environment).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn lines_are_names_and_values() {
        check(
            "A=1\r\nB = two words  # why\n\n# C=3\nnothing\nD=\n",
            &[("A", "1"), ("B", "two words"), ("D", "")],
        );
        check(
            "export A=1\n  export\tB=2\nexported=3\nC: 4",
            &[("A", "1"), ("B", "2"), ("C", "4"), ("exported", "3")],
        );
        check("A='a # b\\n' # c\nB=\"a\\nb\"\nC=`it's`", &[("A", "a # b\\n"), ("B", "a\nb"), ("C", "it's")]);
        check(
            "A=\"one\ntwo\"\nB=\"x\" y\nC=\"open\nD=1",
            &[("A", "one\ntwo"), ("B", "\"x\" y"), ("C", "\"open"), ("D", "1")],
        );
        // The last one of a name counts.
        check("A=1\nA=2", &[("A", "2")]);
    }

    #[test]
    fn values_refer_to_others() {
        check("A=x\nB=${A}-$A/${HOME}\nHOME=own", &[("A", "x"), ("B", "x-x//home"), ("HOME", "own")]);
        check("A=${NONE:-b}${NONE}.\nB=\\$A $ ${ 5$", &[("A", "b."), ("B", "$A $ ${ 5$")]);
    }

    /// T-026: each name has ten of the one before.
    #[test]
    fn values_are_no_bombs() {
        let text: String = std::iter::once("A0=xxxxxxxxxx\n".to_owned())
            .chain((1..30).map(|level| format!("A{level}={}\n", format!("$A{}", level - 1).repeat(10))))
            .collect();
        assert_eq!(read(&text, &BTreeMap::new()), Err("A5".to_owned()));
    }
}
