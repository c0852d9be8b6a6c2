//! Names of blobs, and the patterns that a blob trigger compares them with.

use std::fmt;

/// Longest name of a blob, in characters, as in Azure Blob Storage.
const NAME_LENGTH_MAX: usize = 1024;

/// Queues whose names begin so hold the notifications of blob triggers; they are Ingle's own.
pub const INTERNAL_QUEUE_PREFIX: &str = "ingle-blobs-";

/// Azure's rule for the names of containers.
///
/// # Errors
/// The rule that is broken.
pub fn check_container(name: &str) -> Result<(), &'static str> {
    if matches!(name, "$root" | "$web" | "$logs") {
        return Ok(());
    }
    if !(3..=63).contains(&name.len()) {
        return Err("the name of a container has 3 to 63 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        return Err("the name of a container has only lower-case letters, digits and dashes");
    }
    if name.starts_with('-') || name.ends_with('-') || name.contains("--") {
        return Err("in the name of a container, a dash stands between two letters or digits");
    }
    Ok(())
}

/// Any text can be the name of a blob, as it is never used as a path of a file (T-026): `../x` is only a name.
/// Control characters are kept out of terminals, headers and logs.
///
/// # Errors
/// The rule that is broken.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("the name of a blob is empty");
    }
    if name.chars().count() > NAME_LENGTH_MAX {
        return Err("the name of a blob has at most 1024 characters");
    }
    if name.chars().any(char::is_control) {
        return Err("the name of a blob has no control characters");
    }
    Ok(())
}

/// What the name of a blob must look like, e.g. `in/{name}.{extension}`, with names for its parts.
///
/// A part takes as many characters as it can, slashes too, and may be empty; parts on the left come first. So
/// `{name}.{extension}` splits `a.b.txt` at its last dot. That is what Azure's host does, whose patterns become
/// regular expressions with `.*` for each part; the rest compares letter by letter.
#[derive(Clone, Debug, PartialEq)]
pub struct BlobPattern {
    written: String,
    /// What stands before the first part.
    head: String,
    /// Each part with the text that follows it.
    parts: Vec<(String, String)>,
}

/// A pattern that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at character {}", .position + 1)]
pub struct PatternError {
    /// Characters before the culprit.
    pub position: usize,
    /// One sentence without a full stop.
    pub message: String,
}

impl BlobPattern {
    /// Reads a pattern. `{{` and `}}` stand for single braces; the empty pattern fits every name.
    ///
    /// # Errors
    /// A brace without its partner, and a part without a plain name or with one that another part has.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let mut pattern = Self { written: text.to_owned(), head: String::new(), parts: Vec::new() };
        let mut rest = text.chars().enumerate().peekable();
        while let Some((position, character)) = rest.next() {
            let error = |message: String| PatternError { position, message };
            match character {
                '{' if rest.next_if(|(_, next)| *next == '{').is_some() => pattern.literal().push('{'),
                '}' if rest.next_if(|(_, next)| *next == '}').is_some() => pattern.literal().push('}'),
                '}' => {
                    return Err(error("`}` without `{`; write `}}` for the character itself".to_owned()));
                }
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some((_, '}')) => break,
                            Some((_, '{')) | None => {
                                let message = "`{` without `}`; write `{{` for the character itself";
                                return Err(error(message.to_owned()));
                            }
                            Some((_, character)) => name.push(character),
                        }
                    }
                    pattern.check_part(&name).map_err(error)?;
                    pattern.parts.push((name, String::new()));
                }
                other => pattern.literal().push(other),
            }
        }
        Ok(pattern)
    }

    fn literal(&mut self) -> &mut String {
        match self.parts.last_mut() {
            Some((_, tail)) => tail,
            None => &mut self.head,
        }
    }

    fn check_part(&self, name: &str) -> Result<(), String> {
        let plain = |character: char| character.is_alphanumeric() || character == '_';
        if name.is_empty() {
            return Err("a part needs a name between its braces".to_owned());
        }
        if !name.chars().all(plain) || name.starts_with(char::is_numeric) {
            return Err(format!(
                "`{name}` can't name a part of a blob's name; letters, digits and `_` can, a letter first"
            ));
        }
        if self.parts.iter().any(|(other, _)| other.to_lowercase() == name.to_lowercase()) {
            return Err(format!("two parts are named `{name}`"));
        }
        Ok(())
    }

    /// The parts of `name` in order, or `None` if it does not fit.
    ///
    /// Placing each text between two parts as far to the right as it goes, from the last to the first, gives each
    /// part on the left the most. That takes no more than one look back through the name.
    pub fn captures<'n>(&self, name: &'n str) -> Option<Vec<(&str, &'n str)>> {
        if self.written.is_empty() {
            return Some(Vec::new());
        }
        let mut rest = name.strip_prefix(self.head.as_str())?;
        if self.parts.is_empty() {
            return rest.is_empty().then(Vec::new);
        }
        let mut found = Vec::with_capacity(self.parts.len());
        let last = self.parts.len() - 1;
        // Where the part that was found last begins; its text ends before it.
        for (index, (part, tail)) in self.parts.iter().enumerate().rev() {
            let at = if index == last {
                rest.len()
                    .checked_sub(tail.len())
                    .filter(|at| rest.is_char_boundary(*at) && rest[*at..] == **tail)?
            } else {
                rest.rfind(tail.as_str())?
            };
            // The value of the part to the right of this text is settled now.
            if let Some((_, value)) = found.last_mut() {
                *value = &rest[at + tail.len()..];
            }
            rest = &rest[..at];
            found.push((part.as_str(), rest));
        }
        found.reverse();
        Some(found)
    }

    pub fn is_match(&self, name: &str) -> bool {
        self.captures(name).is_some()
    }
}

impl fmt::Display for BlobPattern {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `expected`: the parts as `name=value`, or `None`.
    fn check(pattern: &str, name: &str, expected: Option<&[&str]>) {
        let pattern = BlobPattern::parse(pattern).unwrap();
        let found = pattern.captures(name).map(|found| {
            found.into_iter().map(|(part, value)| format!("{part}={value}")).collect::<Vec<_>>()
        });
        let expected = expected.map(|parts| parts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found, expected, "{pattern} on {name}");
    }

    #[test]
    fn names_are_taken_apart() {
        check("", "any/thing", Some(&[]));
        check("{name}", "a/b/c.txt", Some(&["name=a/b/c.txt"]));
        check("in/{name}", "in/x", Some(&["name=x"]));
        check("in/{name}", "In/x", None);
        check("in/{name}", "in/", Some(&["name="]));
        check("{name}.{extension}", "a.b.txt", Some(&["name=a.b", "extension=txt"]));
        check("{name}.{extension}", "plain", None);
        check("{folder}/{name}.{e}", "a/b/c.d.e", Some(&["folder=a/b", "name=c.d", "e=e"]));
        check("{name}.txt", "a.txt.txt", Some(&["name=a.txt"]));
        check("{name}.txt", "a.TXT", None);
        check("{a}{b}", "xyz", Some(&["a=xyz", "b="]));
        check("report.csv", "report.csv", Some(&[]));
        check("report.csv", "report.csv2", None);
        check("{{{name}}}", "{x}", Some(&["name=x"]));
        check("{name}-ü{n}", "ü-üü", Some(&["name=ü", "n=ü"]));
        check("ab{name}ba", "aba", None);
        check("{id}-{id2}", "1-2-3", Some(&["id=1-2", "id2=3"]));
    }

    #[test]
    fn what_is_misspelled_is_named_with_its_place() {
        let refused = |pattern: &str| BlobPattern::parse(pattern).unwrap_err().to_string();
        assert_eq!(
            refused("a/{name"),
            "`{` without `}`; write `{{` for the character itself, at character 3"
        );
        assert_eq!(refused("a}"), "`}` without `{`; write `}}` for the character itself, at character 2");
        assert_eq!(refused("{}"), "a part needs a name between its braces, at character 1");
        assert_eq!(refused("{a}/{A}"), "two parts are named `A`, at character 5");
        assert!(refused("{a.b}").starts_with("`a.b` can't name a part"));
        assert!(refused("{rand-guid}").starts_with("`rand-guid` can't name a part"));
    }

    /// T-026: names with tricks in them are either plain texts or refused.
    #[test]
    fn t_026_names_of_containers_and_blobs() {
        for (name, good) in [
            ("../../etc/passwd", true),
            ("/absolute", true),
            ("a\\b", true),
            ("..", true),
            ("snow-☃-man", true),
            ("", false),
            ("a\0b", false),
            ("a\nb", false),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name:?}");
        }
        assert!(check_name(&"ü".repeat(1024)).is_ok() && check_name(&"x".repeat(1025)).is_err());
        for (name, good) in [
            ("images", true),
            ("a-1", true),
            ("$web", true),
            ("..", false),
            ("a/b", false),
            ("Images", false),
            ("a--b", false),
            ("ab", false),
        ] {
            assert_eq!(check_container(name).is_ok(), good, "{name:?}");
        }
    }

    /// Tries every split, the longest part first.
    fn naive<'n>(parts: &[(String, String)], name: &'n str) -> Option<Vec<&'n str>> {
        let Some(((_, tail), rest)) = parts.split_first() else {
            return name.is_empty().then(Vec::new);
        };
        let ends = (0..=name.len()).rev().filter(|end| name.is_char_boundary(*end));
        ends.filter_map(|end| Some((end, name[end..].strip_prefix(tail.as_str())?))).find_map(
            |(end, after)| {
                let mut found = vec![&name[..end]];
                found.extend(naive(rest, after)?);
                Some(found)
            },
        )
    }

    proptest! {
        #[test]
        fn it_finds_what_trying_everything_finds(
            head in "[a./ü]{0,2}",
            tails in prop::collection::vec("[a./ü]{0,3}", 1..4),
            name in "[ab./ü]{0,12}",
        ) {
            let mut written = head.clone();
            let mut parts = Vec::new();
            for (index, tail) in tails.into_iter().enumerate() {
                written.push_str(&format!("{{p{index}}}{tail}"));
                parts.push((format!("p{index}"), tail));
            }
            let pattern = BlobPattern::parse(&written).unwrap();
            let expected = name.strip_prefix(head.as_str()).and_then(|rest| naive(&parts, rest));
            let found = pattern.captures(&name).map(|found| found.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_text_panics(pattern in "\\PC{0,20}", name in "\\PC{0,20}") {
            if let Ok(pattern) = BlobPattern::parse(&pattern) {
                pattern.is_match(&name);
            }
        }
    }
}
