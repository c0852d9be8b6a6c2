//! Text files in other encodings than UTF-8, named so that their owner can save them anew.

use ingle_types::problem::Problem;

/// The marks with which UTF-16 begins, little and big endian.
const MARKS: [[u8; 2]; 2] = [[0xFF, 0xFE], [0xFE, 0xFF]];
const FIX: &str = "save the file as UTF-8";

/// The text of a file, or what is wrong with it and on which line.
pub(crate) fn text(bytes: Vec<u8>, name: &str) -> Result<String, Box<Problem>> {
    if is_utf16(&bytes) {
        let problem = Problem::error("E0112", format!("{name} is UTF-16, and not UTF-8"));
        return Err(Box::new(problem.at(name, Some(1)).fix(FIX)));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = error.as_bytes()[valid];
        let message = format!("{name} is not UTF-8: the byte 0x{byte:02X} begins no character");
        Box::new(Problem::error("E0112", message).at(name, u32::try_from(line).ok()).fix(FIX))
    })
}

/// With its mark, or without it as ASCII with a zero beside each character.
fn is_utf16(bytes: &[u8]) -> bool {
    let is_wide = matches!(bytes, [0, 1..=255, 0, 1..=255, ..] | [1..=255, 0, 1..=255, 0, ..]);
    is_wide || MARKS.iter().any(|mark| bytes.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let shown = text(bytes.to_vec(), "host.json").unwrap_or_else(|problem| problem.to_string());
        let (first, fix) = shown.split_once("\n  fix: ").unwrap_or((&shown, FIX));
        assert_eq!((first, fix), (expected, FIX), "{bytes:?}");
    }

    #[test]
    fn other_encodings_are_named_with_their_line() {
        check(b"", "");
        check("{}\ncaf\u{e9}".as_bytes(), "{}\ncaf\u{e9}");
        let wide = "error[E0112] host.json:1: host.json is UTF-16, and not UTF-8";
        check(b"\xff\xfe{\0}\0", wide);
        check(b"\xfe\xff\0{\0}", wide);
        check(b"{\0}\0", wide);
        check(b"\0{\0}", wide);
        check(
            b"{}\ncaf\xe9\n",
            "error[E0112] host.json:2: host.json is not UTF-8: the byte 0xE9 begins no character",
        );
    }
}
