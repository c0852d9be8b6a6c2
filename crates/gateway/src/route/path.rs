//! The one place where a request's path becomes what routes, keys and functions see (T-038).
//!
//! Whoever decides something by path decides by [`RequestPath`], never by the raw text, so that no two spellings of a
//! path can get two answers.

use std::borrow::Cow;

use thiserror::Error;

use ingle_types::outcome::Blame;

/// A path that no route can have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadPath {
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    #[error("`%` in the path is not followed by two hexadecimal digits")]
    BadEscape,
    #[error("the path holds an encoded control character")]
    ControlCharacter,
    #[error("the path is not UTF-8 once decoded")]
    NotUtf8,
    #[error("the path climbs above its root")]
    AboveRoot,
    #[error("the path hides `..` between encoded slashes")]
    HiddenClimb,
}

impl BadPath {
    pub fn code(self) -> &'static str {
        "E0505"
    }

    pub fn blame(self) -> Blame {
        Blame::Caller
    }

    pub fn hint(self) -> Option<String> {
        Some("percent-encode each segment of the path exactly once, as UTF-8".to_owned())
    }
}

/// A request's path in segments, each percent-decoded exactly once.
///
/// `.` is gone, `..` has taken its parent with it, also when they were written `%2e`. An encoded slash stays inside its
/// segment. Empty segments (`//`) stay, so that only a catch-all parameter can take them. One slash at the end is
/// remembered apart and does not matter to routes, except as text of a catch-all parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath<'a> {
    pub(crate) segments: Vec<Cow<'a, str>>,
    pub(crate) trailing_slash: bool,
}

impl<'a> RequestPath<'a> {
    /// Reads the path of a request target, without its query.
    ///
    /// # Errors
    /// [`BadPath`]: answer 400.
    pub fn parse(raw: &'a str) -> Result<Self, BadPath> {
        let relative = raw.strip_prefix('/').ok_or(BadPath::NotAbsolute)?;
        let mut segments = Vec::new();
        let mut trailing_slash = false;
        for text in relative.split('/') {
            let segment = decode(text)?;
            // What a dot segment leaves behind is a folder, hence the slash.
            trailing_slash = matches!(&*segment, "" | "." | "..");
            match &*segment {
                "." => {}
                ".." => {
                    segments.pop().ok_or(BadPath::AboveRoot)?;
                }
                _ => segments.push(segment),
            }
        }
        if relative.ends_with('/') || relative.is_empty() {
            segments.pop();
        }
        trailing_slash &= !segments.is_empty();
        Ok(Self { segments, trailing_slash })
    }

    /// The decoded segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(AsRef::as_ref)
    }
}

/// Decodes one segment. Where there is nothing to decode or to doubt it is borrowed.
fn decode(text: &str) -> Result<Cow<'_, str>, BadPath> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(BadPath::ControlCharacter);
    }
    if !text.contains(['%', '\\']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, remaining) = if *first == b'%' { escape(after)? } else { (*first, after) };
        bytes.push(byte);
        rest = remaining;
    }
    if bytes.iter().any(u8::is_ascii_control) {
        return Err(BadPath::ControlCharacter);
    }
    let decoded = String::from_utf8(bytes).map_err(|_| BadPath::NotUtf8)?;
    // User code joins such a value to a folder; nobody sends it for an honest reason.
    let hides_climb =
        decoded.contains(['/', '\\']) && decoded.split(['/', '\\']).any(|component| component == "..");
    if hides_climb { Err(BadPath::HiddenClimb) } else { Ok(Cow::Owned(decoded)) }
}

/// The byte of the two digits behind a `%`, and what follows them.
pub(crate) fn escape(digits: &[u8]) -> Result<(u8, &[u8]), BadPath> {
    let [high, low, rest @ ..] = digits else { return Err(BadPath::BadEscape) };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let (high, low) = digit(high).zip(digit(low)).ok_or(BadPath::BadEscape)?;
    Ok((high << 4 | low, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Segments, with a last empty one for a trailing slash.
    fn check(raw: &str, expected: Result<&[&str], BadPath>) {
        let read = RequestPath::parse(raw).map(|path| {
            let mut segments: Vec<String> = path.segments().map(str::to_owned).collect();
            segments.extend(path.trailing_slash.then(String::new));
            segments
        });
        let expected = expected.map(|segments| segments.iter().map(|&segment| segment.to_owned()).collect());
        assert_eq!(read, expected, "{raw:?}");
    }

    #[test]
    fn plain_paths() {
        check("/", Ok(&[]));
        check("/api", Ok(&["api"]));
        check("/api/", Ok(&["api", ""]));
        check("/api/orders/7", Ok(&["api", "orders", "7"]));
        check("/a;b=c/d.", Ok(&["a;b=c", "d."]));
        check("/a+b", Ok(&["a+b"]));
    }

    #[test]
    fn segments_are_decoded_once() {
        check("/Z%C3%BCrich", Ok(&["Zürich"]));
        check("/a%2Fb/c", Ok(&["a/b", "c"]));
        check("/a%252Fb", Ok(&["a%2Fb"]));
        check("/%20", Ok(&[" "]));
    }

    #[test]
    fn path_confusion_has_one_reading_t_038() {
        check("/a/./b", Ok(&["a", "b"]));
        check("/a/../b", Ok(&["b"]));
        check("/a/%2e%2E/b", Ok(&["b"]));
        check("/a/b/..", Ok(&["a", ""]));
        check("/a/.", Ok(&["a", ""]));
        check("/a/b/../", Ok(&["a", ""]));
        check("/a//b", Ok(&["a", "", "b"]));
        check("/a//", Ok(&["a", "", ""]));
        check("//", Ok(&["", ""]));
        check("/..", Err(BadPath::AboveRoot));
        check("/api/%2e%2e/../admin", Err(BadPath::AboveRoot));
        check("/a/..%2f..%2fetc", Err(BadPath::HiddenClimb));
        check("/a/..%5cb", Err(BadPath::HiddenClimb));
        check(r"/a/..\b", Err(BadPath::HiddenClimb));
        check("/a/..b%2f", Ok(&["a", "..b/"]));
    }

    #[test]
    fn unreadable_paths_are_refused_t_038() {
        check("", Err(BadPath::NotAbsolute));
        check("*", Err(BadPath::NotAbsolute));
        check("/a%00", Err(BadPath::ControlCharacter));
        check("/a%0d%0aSet-Cookie:x", Err(BadPath::ControlCharacter));
        check("/a\n", Err(BadPath::ControlCharacter));
        check("/%c3", Err(BadPath::NotUtf8));
        check("/%c0%ae", Err(BadPath::NotUtf8));
        check("/50%", Err(BadPath::BadEscape));
        check("/%zz", Err(BadPath::BadEscape));
        check("/%4", Err(BadPath::BadEscape));
        check("/%+1", Err(BadPath::BadEscape));
    }

    proptest! {
        #[test]
        fn no_dot_segment_survives(raw in "/([a./\\\\]|%2[efEF]|%5c|%25){0,24}") {
            if let Ok(path) = RequestPath::parse(&raw) {
                for segment in path.segments() {
                    prop_assert!(segment.split(['/', '\\']).all(|component| component != ".."));
                    prop_assert!(segment != ".");
                }
            }
        }
    }
}
