//! What may not be shown, out of all that is: the secrets among an app's settings ([`Secrets`]), and
//! keys of callers out of everything that is shown or kept (T-041): `?code=…` in addresses, `x-functions-key: …` and
//! `x-api-key: …` in headers. User code may print a request or raise with its address; the key in it is not for the log.

mod secrets;

use std::borrow::Cow;

pub use secrets::Secrets;

const MASKED: &str = "***";
const QUERY: &str = "code=";
const HEADERS: [&str; 2] = ["x-functions-key", "x-api-key"];

/// The text with the value of each key replaced by `***`. Text without one is not copied.
pub fn keys(text: &str) -> Cow<'_, str> {
    let Some((mut from, mut to)) = next(text, 0) else { return Cow::Borrowed(text) };
    let mut shown = String::with_capacity(text.len());
    let mut done = 0;
    loop {
        shown.push_str(&text[done..from]);
        shown.push_str(MASKED);
        done = to;
        match next(text, done) {
            Some(value) => (from, to) = value,
            None => break,
        }
    }
    shown.push_str(&text[done..]);
    Cow::Owned(shown)
}

/// Where the next value begins and ends.
fn next(text: &str, start: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        let found = match bytes[at] {
            b'c' | b'C' => query_value(bytes, at),
            b'x' | b'X' => header_value(bytes, at),
            _ => None,
        };
        // Both ends stand beside ASCII characters or at an end of the text, so they never split a character.
        if let Some((from, to)) = found.filter(|(from, to)| from < to) {
            return Some((from, to));
        }
        at += 1;
    }
    None
}

/// `code=` counts as the name of a query parameter only: after `?`, `&`, or an `&` that was escaped.
fn query_value(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let before = at.checked_sub(1).map(|before| bytes[before])?;
    let from = after(bytes, at, QUERY).filter(|_| matches!(before, b'?' | b'&' | b';'))?;
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"&#\"'`<>)]},;\\|".contains(byte);
    Some((from, end(bytes, from, ends)))
}

/// `x-functions-key: VALUE`, also as Python shows a dictionary or a list of pairs.
fn header_value(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let name_end = HEADERS.iter().find_map(|name| after(bytes, at, name))?;
    let between = |byte: &u8| !b" \t:=,\"'".contains(byte);
    let from = end(bytes, name_end, between);
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,;)]}<>\\|".contains(byte);
    let is_named = bytes[name_end..from].iter().any(|byte| b":=,".contains(byte));
    is_named.then(|| (from, end(bytes, from, ends)))
}

/// The place behind `word`, if it stands at `at` in any case.
fn after(bytes: &[u8], at: usize, word: &str) -> Option<usize> {
    let end = at + word.len();
    bytes.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes())).then_some(end)
}

fn end(bytes: &[u8], from: usize, ends: impl Fn(&u8) -> bool) -> usize {
    bytes[from..].iter().position(ends).map_or(bytes.len(), |length| from + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// T-041.
    #[test]
    fn keys_are_masked_where_they_stand() {
        let check = |text: &str, expected: &str| assert_eq!(keys(text), expected);
        check("GET /api/a?code=secret== 200", "GET /api/a?code=*** 200");
        check("http://h/a?x=1&CODE=s%2Fe&y=2", "http://h/a?x=1&CODE=***&y=2");
        check("url='http://h/?code=secret'", "url='http://h/?code=***'");
        check("?code=one&code=two", "?code=***&code=***");
        check("{'x-functions-key': 'secret', 'a': 1}", "{'x-functions-key': '***', 'a': 1}");
        check("[(\"X-Functions-Key\", \"secret\")]", "[(\"X-Functions-Key\", \"***\")]");
        check("{'X-Api-Key': 'secret'}", "{'X-Api-Key': '***'}");
        check("x-functions-key: secret\nhost: h", "x-functions-key: ***\nhost: h");
        check("-H x-functions-key:sécret", "-H x-functions-key:***");
    }

    #[test]
    fn nothing_else_is_touched() {
        for text in
            ["", "status code=7", "?encode=1", "exit code=", "the x-functions-key header", "?code=", "é?code"]
        {
            assert!(matches!(keys(text), Cow::Borrowed(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it_and_no_key_stays(before in ".{0,20}", key in "[A-Za-z0-9_=%-]{8,60}", rest in ".{0,20}") {
            let shown = keys(&format!("{before}?code={key} {rest}")).into_owned();
            prop_assert!(shown.contains("?code=*** "));
            keys(&rest);
        }
    }
}
