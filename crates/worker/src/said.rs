//! The last words of an invocation, for callers who ask for the end of its log.

/// As much as AWS Lambda gives with the answer of a call.
const BYTES_MAX: usize = 4096;

/// The end of what was said, in the form of the platform that the app was written for.
#[derive(Default, Debug)]
pub(crate) struct Said(String);

impl Said {
    /// Adds a line. What is older than can be asked for is forgotten.
    pub(crate) fn add(&mut self, line: &str) {
        self.0.push_str(end_of(line));
        if !line.ends_with('\n') {
            self.0.push('\n');
        }
        // Not at each line: what is kept has to be moved then.
        if self.0.len() > 2 * BYTES_MAX {
            self.0 = end_of(&self.0).to_owned();
        }
    }

    pub(crate) fn take(&mut self) -> String {
        let said = std::mem::take(&mut self.0);
        match end_of(&said) {
            end if end.len() < said.len() => end.to_owned(),
            _ => said,
        }
    }
}

fn end_of(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(BYTES_MAX))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        let mut said = Said::default();
        lines.iter().for_each(|line| said.add(line));
        assert_eq!(said.take(), expected);
        assert_eq!(said.take(), "");
    }

    #[test]
    fn the_end_is_kept_and_each_line_ends() {
        check(&[], "");
        check(&["a", "b\nc\n", ""], "a\nb\nc\n\n");
        let long = "x".repeat(BYTES_MAX + 100);
        check(&["first", &long], &format!("{}\n", &long[..BYTES_MAX - 1]));
        let many: Vec<String> = (0..5000).map(|number| format!("line {number:04}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let whole = format!("{}\n", many.join("\n"));
        check(&many, &whole[whole.len() - BYTES_MAX..]);
        // A letter is whole or absent.
        let umlauts = "ü".repeat(BYTES_MAX);
        let mut said = Said::default();
        said.add(&umlauts);
        let end = said.take();
        assert!(
            end.len() >= BYTES_MAX - 1 && end.trim_end().chars().all(|letter| letter == 'ü'),
            "{}",
            end.len()
        );
    }
}
