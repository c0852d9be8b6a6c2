//! `.funcignore`: which files stay at home when an app is packaged (facts 6.3).
//!
//! Looks like `.gitignore`, but a pattern is always compared with the start of the path from the app's root, and a
//! negation always wins, wherever it stands.

use std::path::Path;

use crate::Error;
use crate::folder::read_bytes;

/// The patterns of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FuncIgnore {
    ignored: Vec<Pattern>,
    kept: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq)]
struct Pattern(Vec<Token>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Character(char),
    /// `*`: one or more characters but `/`.
    Some,
    /// `**`: anything.
    Any,
}

impl FuncIgnore {
    /// Reads `.funcignore` of an app; without the file nothing is ignored.
    ///
    /// # Errors
    /// The file is there, but the system refuses to read it.
    pub fn read(root: &Path) -> Result<Self, Error> {
        let bytes = read_bytes(&root.join(".funcignore"))?.unwrap_or_default();
        Ok(Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    pub fn parse(text: &str) -> Self {
        let mut patterns = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line.strip_prefix('!') {
                Some(pattern) => patterns.kept.push(Pattern::parse(pattern)),
                None => patterns.ignored.push(Pattern::parse(line)),
            }
        }
        patterns
    }

    /// Whether the file at this path, relative to the app with `/` between its parts, is left out.
    pub fn matches(&self, path: &str) -> bool {
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(path));
        matches(&self.ignored) && !matches(&self.kept)
    }
}

impl Pattern {
    fn parse(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = text.trim_start_matches('/').chars().peekable();
        while let Some(character) = rest.next() {
            tokens.push(match character {
                '*' if rest.next_if_eq(&'*').is_some() => Token::Any,
                '*' => Token::Some,
                other => Token::Character(other),
            });
        }
        Self(tokens)
    }

    /// Whether the path starts with the pattern, which must end at the edge of a word.
    fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.trim_start_matches('/').chars().collect();
        // All places that the tokens so far can reach: time is pattern times path, also for many stars.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for token in &self.0 {
            reached = step(*token, &reached, &path);
        }
        (0..=path.len()).any(|end| reached[end] && is_edge(&path, end))
    }
}

fn step(token: Token, reached: &[bool], path: &[char]) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    for (index, character) in path.iter().enumerate() {
        next[index + 1] = match token {
            Token::Character(wanted) => reached[index] && *character == wanted,
            Token::Some => *character != '/' && (reached[index] || next[index]),
            Token::Any => reached[index + 1] || reached[index] || next[index],
        };
    }
    if token == Token::Any {
        next[0] = reached[0];
    }
    next
}

/// A word begins or ends here.
fn is_edge(path: &[char], end: usize) -> bool {
    let is_word = |index: usize| {
        path.get(index).is_some_and(|character| character.is_alphanumeric() || *character == '_')
    };
    let before = end > 0 && is_word(end - 1);
    before != is_word(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(patterns: &str, path: &str, ignored: bool) {
        assert_eq!(FuncIgnore::parse(patterns).matches(path), ignored, "{patterns:?} {path}");
    }

    #[test]
    fn patterns_match_from_the_root() {
        check("test", "test/a.py", true);
        check("test", "tests/a.py", false);
        check("test", "src/test/a.py", false);
        check("/test/", "test/a.py", true);
        check(".git*", ".gitignore", true);
        check(".git*", ".git/config", false);
        check("*.md", "README.md", true);
        check("*.md", "docs/README.md", false);
        check("**.md", "docs/README.md", true);
        check("**/cache", "cache", false);
        check("__azurite_db*__.json", "__azurite_db_queue__.json", true);
        check("# test\n\n", "test", false);
        check("local.settings.json", "local.settings.json", true);
        check("!test/keep.txt\ntest", "test/keep.txt", false);
        check("test\n!test/keep.txt", "test/other.txt", true);
    }

    proptest! {
        #[test]
        fn any_pattern_and_path_can_be_compared(patterns in any::<String>(), path in any::<String>()) {
            FuncIgnore::parse(&patterns).matches(&path);
        }

        #[test]
        fn many_stars_do_not_hang(count in 1_usize..60) {
            check(&"*a".repeat(count), &"a".repeat(200).replace("aa", "ab"), false);
        }
    }
}
