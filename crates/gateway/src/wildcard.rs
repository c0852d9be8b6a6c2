//! Patterns with `*` and `?`, as policies and rules of AWS have them.

/// Whether a text fits a pattern, in which `*` is any text and `?` one letter. Takes no more than the product of both lengths.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen) = (0, 0);
    // Where the last `*` was, and up to where it has been stretched.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&letter) if letter == b'?' || Some(&letter) == text.get(seen) => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((place, stretched)) => {
                    star = Some((place, stretched + 1));
                    at = place + 1;
                    seen = stretched + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|&letter| letter == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The short way finds what trying everything finds.
        #[test]
        fn patterns_fit_as_they_read(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            fn slow(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern, text) {
                    ([], rest) => rest.is_empty(),
                    ([b'*', others @ ..], _) => (0..=text.len()).any(|count| slow(others, &text[count..])),
                    ([b'?', others @ ..], [_, rest @ ..]) => slow(others, rest),
                    ([letter, others @ ..], [first, rest @ ..]) => letter == first && slow(others, rest),
                    (_, []) => false,
                }
            }
            prop_assert_eq!(fits(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
